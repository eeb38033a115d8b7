package elastic

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"strata/catalog"
	"strata/fault"
	"strata/index"
)

const (
	// maxGet bounds the documents of one request by id.
	maxGet = 500
	// A page of a scan begins small and follows the documents' size, so that it stays near scanBytes.
	firstScan, maxScan = 200, 5000
	scanBytes          = 4 << 20
	keepAlive          = "5m"
)

// mine is what strata added to a document.
type mine struct {
	Hash struct {
		High *int64 `json:"hi"`
		Low  *int64 `json:"lo"`
	} `json:"hash"`
	Shard   string `json:"shard"`
	Deleted *bool  `json:"deleted"`
	Bare    bool   `json:"bare"`
}

// readMine reads what strata added to a document; false where it is not as strata writes it.
func readMine(source []byte) (m mine, h catalog.Hash, ok bool) {
	key := []byte(`"` + own + `":`) // a quote inside a text would have its backslash before the colon
	at := bytes.LastIndex(source, key)
	end := bytes.LastIndexByte(source, '}')
	if at < 0 || end <= at || json.Unmarshal(source[at+len(key):end], &m) != nil || m.Deleted == nil || m.Hash.High == nil || m.Hash.Low == nil {
		return mine{}, h, false
	}
	return m, hashOf(*m.Hash.High, *m.Hash.Low), true
}

// stored decodes a document of a shard into s, whose Row is reused. A document that somebody else wrote over one of strata's
// comes back without a hash, so that who verifies sees that it differs; one that has no place among strata's is an error.
func (ds *dataset) stored(op, shard string, h *hit, s *index.Stored) error {
	m, hash, ours := readMine(h.Source)
	if _, err := catalog.ParseImage(ds.d, h.Source, &s.Row); err != nil {
		ours = false
		if err := ds.rowOfKey(catalog.Key(strings.TrimPrefix(h.ID, shard+"/")), &s.Row); err != nil {
			return foreign(op, h, err)
		}
	}
	s.Key = catalog.KeyOf(&s.Row, ds.keys)
	if id := docID(catalog.DocumentID(shard, s.Key)); id != h.ID {
		return foreign(op, h, fault.New(fault.Unsafe, "", "by its columns it is %s", id))
	}
	s.Shard, s.Version, s.Hash, s.Deleted = shard, index.Version(h.Version), hash, false
	if !ours || m.Shard != shard {
		s.Hash = catalog.Hash{}
		return nil
	}
	s.Deleted = *m.Deleted
	if m.Bare {
		s.Row.Reset()
	}
	return nil
}

func foreign(op string, h *hit, why error) error {
	return fault.New(fault.Unsafe, op, "document %s of %s is not strata's: %w", h.ID, h.Index, why).
		WithHint("somebody else wrote it: delete it, and repair the key by `strata verify`")
}

// Get fulfils index.Reader.
func (x *Index) Get(ctx context.Context, dataset string, ids []string) ([]index.Stored, error) {
	op := "get documents of " + dataset
	ds, err := x.dataset(ctx, dataset)
	if err != nil {
		return nil, err
	}
	var out []index.Stored
	for part := range slices.Chunk(ids, maxGet) {
		wanted := make([]string, len(part))
		for i, id := range part {
			wanted[i], _, _ = strings.Cut(id, "/")
		}
		shards, err := x.findShards(ctx, ds, wanted)
		if err != nil {
			return nil, err
		}
		var docs []obj
		for i, id := range part {
			at := slices.IndexFunc(shards, func(s *shard) bool { return s.name == wanted[i] })
			if at >= 0 {
				docs = append(docs, obj{"_index": shards[at].index, "_id": docID(id)})
			}
		}
		if len(docs) == 0 {
			continue
		}
		got, err := x.mget(ctx, op, request{method: http.MethodPost, path: "/_mget", body: obj{"docs": docs}}, len(docs))
		if err != nil {
			return nil, err
		}
		for i := range got {
			if !got[i].Found {
				continue
			}
			var one index.Stored
			h := hit{ID: got[i].ID, Index: got[i].Index, Version: got[i].Version, Source: got[i].Source}
			shard, _, _ := strings.Cut(h.ID, "/")
			if err := ds.stored(op, shard, &h, &one); err != nil {
				return nil, err
			}
			out = append(out, one)
		}
	}
	return out, nil
}

// Scan fulfils index.Reader.
func (x *Index) Scan(ctx context.Context, dataset, shard string, after catalog.Key, f func(*index.Stored) error) error {
	op := "scan " + shard
	ds, err := x.dataset(ctx, dataset)
	if err != nil {
		return err
	}
	shards, err := x.findShards(ctx, ds, []string{shard})
	if err != nil || len(shards) == 0 {
		return err
	}
	p, err := ds.byKey(after)
	if err != nil {
		return err
	}
	pit, end, err := x.pointInTime(ctx, op, shards[0])
	if err != nil {
		return err
	}
	defer end()
	s := scan{x: x, op: op, ds: ds, shard: shard, pit: pit, sort: p.sort, after: p.after, size: firstScan}
	return s.run(ctx, f)
}

// byKey is a plan with nothing but the order by key, from the first key greater than after.
func (ds *dataset) byKey(after catalog.Key) (*plan, error) {
	p := &plan{ds: ds}
	for _, k := range ds.d.Key {
		p.Order = append(p.Order, index.Order{Column: k})
	}
	if after != "" {
		cells, err := after.Cells()
		if err != nil {
			return nil, err
		}
		if len(cells) != len(ds.keys) {
			return nil, fault.New(fault.Invalid, "parse key "+string(after), "%d cells instead of %d", len(cells), len(ds.keys))
		}
		for i := range cells {
			p.After = append(p.After, &cells[i])
		}
	}
	return p, p.order()
}

// pointInTime opens one; end lets it go. Elasticsearch does so by itself after keepAlive.
func (x *Index) pointInTime(ctx context.Context, op string, s *shard) (id string, end func(), err error) {
	var pit struct {
		ID string `json:"id"`
	}
	err = x.c.call(ctx, op, request{method: http.MethodPost, path: "/" + url.PathEscape(s.index) + "/_pit",
		params: param("keep_alive", keepAlive)}, &pit)
	return pit.ID, func() {
		err := x.c.call(context.WithoutCancel(ctx), op, request{method: http.MethodDelete, path: "/_pit", body: obj{"id": pit.ID}}, nil)
		if err != nil {
			x.cfg.Log.Info("point in time not closed", "err", err)
		}
	}, err
}

// wholeSearch are the parameters of a search by a point in time that must not be answered partly.
func wholeSearch() url.Values {
	return param("allow_partial_search_results", "false", "pre_filter_shard_size", allShards)
}

// scan is a walk over one point in time.
type scan struct {
	x     *Index
	op    string
	ds    *dataset
	shard string
	pit   string
	sort  []any
	after any
	size  int
}

func (s *scan) run(ctx context.Context, f func(*index.Stored) error) error {
	var one index.Stored
	for {
		body := obj{"size": s.size, "track_total_hits": false, "version": true, "sort": s.sort, "pit": obj{"id": s.pit, "keep_alive": keepAlive}}
		if s.after != nil {
			body["search_after"] = s.after
		}
		var a answer
		err := s.x.c.call(ctx, s.op, request{method: http.MethodPost, path: "/_search", body: body, params: wholeSearch()}, &a)
		if err == nil {
			err = a.whole(s.op, 1)
		}
		if err != nil {
			return err
		}
		if a.PIT != "" {
			s.pit = a.PIT
		}
		bytes := 0
		for i := range a.Hits.Hits {
			h := &a.Hits.Hits[i]
			bytes += len(h.Source)
			if err := s.ds.stored(s.op, s.shard, h, &one); err != nil {
				return err
			}
			if err := f(&one); err != nil {
				return err
			}
		}
		n := len(a.Hits.Hits)
		if n < s.size {
			return nil
		}
		s.after = a.Hits.Hits[n-1].Sort
		s.size = min(max(scanBytes/(bytes/n+1), 1), maxScan, 4*s.size)
	}
}

// Shards fulfils index.Reader.
func (x *Index) Shards(ctx context.Context, dataset string) ([]string, error) {
	ds, err := x.dataset(ctx, dataset)
	if err != nil {
		return nil, err
	}
	recorded, err := x.shardRecords(ctx, dataset)
	if err != nil || len(recorded) == 0 {
		return nil, err
	}
	var out []string
	for part := range slices.Chunk(recorded, 200) {
		subs := make([]sub, len(part))
		for i, r := range part {
			ds.learn(r.shard())
			subs[i] = sub{[]string{r.Index}, obj{"size": 0, "track_total_hits": true}}
		}
		answers, err := x.msearch(ctx, "list shards of "+dataset, subs...)
		if err != nil {
			return nil, err
		}
		for i := range answers {
			n, err := answers[i].total("list shards of " + dataset)
			if err != nil {
				return nil, err
			}
			if n > 0 {
				out = append(out, part[i].Shard)
			}
		}
	}
	slices.Sort(out)
	return out, nil
}
