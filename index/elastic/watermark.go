package elastic

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"strata/catalog"
	"strata/fault"
	"strata/index"
)

// markRecord is a watermark's document in the state.
type markRecord struct {
	ID        string          `json:"id"`
	Kind      string          `json:"kind"`
	Dataset   string          `json:"dataset"`
	Partition int32           `json:"partition"`
	Version   index.Version   `json:"version"`
	Term      uint32          `json:"term"`
	Number    uint64          `json:"number"`
	Offset    int64           `json:"offset"`
	GTID      string          `json:"gtid"`
	Heartbeat uint64          `json:"heartbeat"`
	At        catalog.Instant `json:"at"`
	Frozen    string          `json:"frozen"`
}

// PutWatermark fulfils index.Writer. A watermark is written as documents are: with an external version.
func (x *Index) PutWatermark(ctx context.Context, w index.Watermark) error {
	op := "write watermark of " + w.Dataset
	ds, err := x.dataset(ctx, w.Dataset)
	if err != nil {
		return err
	}
	if w.Partition < 0 {
		return fault.New(fault.Invalid, op, "partition %d", w.Partition)
	}
	if err := x.raiseFor(ctx, ds, int(w.Partition)); err != nil {
		return err
	}
	id := markID(w.Dataset, int(w.Partition))
	rec := markRecord{ID: id, Kind: kindMark, Dataset: w.Dataset, Partition: w.Partition, Version: w.Version, Term: w.Term, Number: w.Number,
		Offset: w.Offset, GTID: w.GTID, Heartbeat: w.Heartbeat, At: w.At, Frozen: w.Frozen}
	wait := firstPause
	for tries := 1; ; tries++ {
		_, err := x.c.send(ctx, request{method: http.MethodPut, path: "/" + x.names.state() + "/_doc/" + url.PathEscape(id), body: rec,
			params: param("require_alias", "true", "timeout", "20s", "version_type", "external", "version", strconv.FormatUint(uint64(w.Version), 10))})
		if err == nil || status(err) == http.StatusConflict { // an equal or newer one is there
			return nil
		}
		if tries == maxTries || bulkVerdict(ctx, err) != trouble {
			return classify(ctx, op, err)
		}
		if err := x.cfg.Pause(ctx, wait); err != nil {
			return classify(ctx, op, err)
		}
		wait = min(wait*2, maxPause)
	}
}

// raiseFor sees to it that a partition is among those that Watermarks asks for.
func (x *Index) raiseFor(ctx context.Context, ds *dataset, partition int) error {
	if int64(partition) < ds.partitions.Load() {
		return nil
	}
	if err := x.raisePartitions(ctx, ds.d.Name, partition+1); err != nil {
		return err
	}
	for {
		have := ds.partitions.Load()
		if have > int64(partition) || ds.partitions.CompareAndSwap(have, int64(partition)+1) {
			return nil
		}
	}
}

// Watermarks fulfils index.Reader: by id, in real time. The dataset's record, read along, says how many partitions there are.
func (x *Index) Watermarks(ctx context.Context, dataset string) ([]index.Watermark, error) {
	op := "read watermarks of " + dataset
	ds, err := x.dataset(ctx, dataset)
	if err != nil {
		return nil, err
	}
	for n := int(ds.partitions.Load()); ; {
		ids := []string{datasetID(dataset)}
		for i := range n {
			ids = append(ids, markID(dataset, i))
		}
		docs, err := x.getState(ctx, op, ids...)
		if err != nil {
			return nil, err
		}
		if !docs[0].Found {
			return nil, fault.New(fault.Unsafe, op, "dataset %s is gone from %s", dataset, x.names.state()).
				WithHint("%s", strings.ReplaceAll(hintGone, "<dataset>", dataset))
		}
		rec, err := readDataset(op, &docs[0])
		if err != nil {
			return nil, err
		}
		if rec.Partitions > n {
			n = rec.Partitions
			continue
		}
		return readMarks(op, dataset, docs[1:])
	}
}

func readMarks(op, dataset string, docs []gotten) ([]index.Watermark, error) {
	var out []index.Watermark
	for i := range docs {
		if !docs[i].Found {
			continue
		}
		var r markRecord
		if err := json.Unmarshal(docs[i].Source, &r); err != nil || r.Dataset != dataset || int(r.Partition) != i {
			return nil, fault.New(fault.Unsafe, op, "document %s is not strata's: %v", docs[i].ID, err)
		}
		out = append(out, index.Watermark{Dataset: dataset, Partition: r.Partition, Version: r.Version, Term: r.Term, Number: r.Number,
			Offset: r.Offset, GTID: r.GTID, Heartbeat: r.Heartbeat, At: r.At, Frozen: r.Frozen})
	}
	return out, nil
}

// maxPath bounds the names in a request's path; Elasticsearch takes 4,096 bytes of a first line.
const maxPath = 3000

// lookAt is how often a Refresh looks at the indices that nothing was written to.
const lookAt = 10 * time.Second

// Refresh fulfils index.Writer.
func (x *Index) Refresh(ctx context.Context, dataset string) error {
	op := "refresh index of " + dataset
	ds, err := x.dataset(ctx, dataset)
	if err != nil {
		return err
	}
	type pass struct {
		s       *shard
		written uint64
	}
	var passes []pass
	var written, known []*shard
	ds.mu.Lock()
	for _, s := range ds.shards {
		known = append(known, s)
		if w := s.written.Load(); s.refreshed.Load() < w {
			passes, written = append(passes, pass{s, w}), append(written, s)
		}
	}
	now := x.cfg.Now()
	all := now.Sub(ds.looked) >= lookAt || now.Before(ds.looked)
	ds.mu.Unlock()
	if err := inGroups(written, func(group []*shard) error { return x.refresh(ctx, op, indices(group)) }); err != nil {
		return err
	}
	if !all {
		known = written
	}
	if err := inGroups(known, func(group []*shard) error { return x.same(ctx, op, group) }); err != nil {
		return err
	}
	if all {
		ds.mu.Lock()
		ds.looked = now
		ds.mu.Unlock()
	}
	for _, p := range passes {
		for {
			have := p.s.refreshed.Load()
			if have >= p.written || p.s.refreshed.CompareAndSwap(have, p.written) {
				break
			}
		}
	}
	return ctx.Err()
}

// inGroups calls do with as many shards at a time as have room in a request's path.
func inGroups(shards []*shard, do func([]*shard) error) error {
	from, size := 0, 0
	for i, s := range shards {
		if size += len(s.index) + 1; size < maxPath && i < len(shards)-1 {
			continue
		}
		if err := do(shards[from : i+1]); err != nil {
			return err
		}
		from, size = i+1, 0
	}
	return nil
}

// same refuses indices that are other ones than they were: what was acknowledged is not in them, and no write fails.
func (x *Index) same(ctx context.Context, op string, shards []*shard) error {
	var answer map[string]struct {
		Settings struct {
			UUID string `json:"index.uuid"`
		} `json:"settings"`
	}
	err := x.c.call(ctx, op, request{method: http.MethodGet, path: "/" + strings.Join(indices(shards), ",") + "/_settings/index.uuid",
		params: param("flat_settings", "true")}, &answer)
	if err != nil {
		return err
	}
	for _, s := range shards {
		if answer[s.index].Settings.UUID != s.uuid {
			return restored(op, s.index, s.name)
		}
	}
	return nil
}

// refresh makes what was written to the indices visible. A primary that is away is no failure to Elasticsearch, only not
// among the successful ones; replicas may be.
func (x *Index) refresh(ctx context.Context, op string, names []string) error {
	var a answer
	err := x.c.call(ctx, op, request{method: http.MethodPost, path: "/" + strings.Join(names, ",") + "/_refresh"}, &a)
	if err != nil {
		return err
	}
	if a.Shards != nil && a.Shards.Failed == 0 && a.Shards.Successful == a.Shards.Total && a.Shards.Total >= len(names) {
		return nil
	}
	if a.Shards == nil || a.Shards.Failed > 0 || a.Shards.Total < len(names) {
		return a.whole(op, len(names))
	}
	var health struct {
		Status string `json:"status"`
	}
	err = x.c.call(ctx, op, request{method: http.MethodGet, path: "/_cluster/health/" + strings.Join(names, ",")}, &health)
	if err == nil && health.Status != "green" && health.Status != "yellow" {
		return a.whole(op, len(names))
	}
	return err
}
