package elastic

import (
	"context"
	"encoding/json"
	"math/big"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"

	"strata/catalog"
	"strata/fault"
)

// shard is the index of one physical shard. written counts the batches that were sent to it and are over; refreshed is
// what written was when the last successful refresh began.
type shard struct {
	name, index, uuid  string
	written, refreshed atomic.Uint64
	wide               atomic.Pointer[big.Int] // window's; nobody changes what it points to
}

// present is an index as the server describes it.
type present struct {
	made       *made // nil: not strata's
	uuid       string
	durability string // of the translog; "": request
	aliases    map[string]bool
	properties map[string]any
}

// inventory describes the indices that names, wildcards and aliases stand for, by their own names; those that are not
// there are missing.
func (x *Index) inventory(ctx context.Context, expression string) (map[string]*present, error) {
	var answer map[string]struct {
		Aliases  map[string]json.RawMessage `json:"aliases"`
		Mappings struct {
			Meta struct {
				Strata *made `json:"strata"`
			} `json:"_meta"`
			Properties map[string]any `json:"properties"`
		} `json:"mappings"`
		Settings struct {
			Index struct {
				UUID     string `json:"uuid"`
				Translog struct {
					Durability string `json:"durability"`
				} `json:"translog"`
			} `json:"index"`
		} `json:"settings"`
	}
	err := x.c.call(ctx, "list indices", request{method: http.MethodGet, path: "/" + expression,
		params: param("expand_wildcards", "all", "ignore_unavailable", "true", "allow_no_indices", "true")}, &answer)
	if err != nil {
		return nil, err
	}
	out := map[string]*present{}
	for name, is := range answer {
		p := &present{made: is.Mappings.Meta.Strata, properties: is.Mappings.Properties, aliases: map[string]bool{},
			uuid: is.Settings.Index.UUID, durability: strings.ToLower(is.Settings.Index.Translog.Durability)}
		for alias := range is.Aliases {
			p.aliases[alias] = true
		}
		out[name] = p
	}
	return out, nil
}

// Ensure fulfils index.Writer.
func (x *Index) Ensure(ctx context.Context, d *catalog.Dataset) error {
	x.mu.Lock()
	closed := x.closed
	x.mu.Unlock()
	if closed {
		return errClosed()
	}
	if err := checkColumns(d); err != nil {
		return err
	}
	if err := x.checkServer(ctx); err != nil { // it may have been replaced since Open
		return err
	}
	if err := x.ensureState(ctx); err != nil {
		return err
	}
	recorded, err := x.shardRecords(ctx, d.Name) // first: what is recorded has its index already
	if err != nil {
		return err
	}
	there, err := x.inventory(ctx, x.names.dataset(d.Name)+","+x.names.dataset(d.Name)+"-*")
	if err != nil {
		return err
	}
	rec, err := x.ensureDataset(ctx, d, there)
	if err != nil {
		return err
	}
	ds := x.keep(rec.Shape)
	if err := x.checkIndices(ctx, ds, there, recorded); err != nil {
		return err
	}
	if err := x.raisePartitions(ctx, d.Name, int(d.Partitions)); err != nil {
		return err
	}
	now := d.ShardAt(catalog.At(x.cfg.Now()))
	ahead := []string{now.Table}
	if d.Sharded() {
		ahead = append(ahead, d.ShardAt(now.Range.To).Table)
	}
	for _, name := range ahead {
		if _, err := x.ensureShard(ctx, ds, name); err != nil {
			return err
		}
	}
	return nil
}

// ensureDataset returns the dataset's record, making it where there is none: from the dataset, or from its indices, which
// outlive a state that was lost.
func (x *Index) ensureDataset(ctx context.Context, d *catalog.Dataset, there map[string]*present) (*datasetRecord, error) {
	rec, err := x.datasetRecord(ctx, d.Name)
	if err != nil {
		return nil, err
	}
	if rec == nil {
		if err := x.lostRegister(ctx, d.Name); err != nil {
			return nil, err
		}
		shape := shapeOf(d)
		for _, is := range there {
			if is.made != nil && is.made.Shape != nil {
				shape = is.made.Shape
			}
		}
		_, err := x.putState(ctx, "write index state", datasetID(d.Name), param("op_type", "create", "refresh", "true"),
			datasetRecord{ID: datasetID(d.Name), Kind: kindDataset, Dataset: d.Name, Format: format, Partitions: int(d.Partitions), Shape: shape})
		if err != nil {
			return nil, err
		}
		if rec, err = x.datasetRecord(ctx, d.Name); err != nil { // perhaps somebody else's
			return nil, err
		}
		if rec == nil {
			return nil, fault.New(fault.Unsafe, "ensure index of "+d.Name, "what was written to %s is not there", x.names.state())
		}
	}
	return rec, sameShape(rec.Shape, d)
}

// checkIndices compares what is there with what the state has and with what strata would make.
func (x *Index) checkIndices(ctx context.Context, ds *dataset, there map[string]*present, recorded []shardRecord) error {
	op := "ensure index of " + ds.d.Name
	for name, is := range there {
		if err := x.checkIndex(op, ds, name, is); err != nil {
			return err
		}
	}
	for _, r := range recorded {
		if there[r.Index] == nil {
			return fault.New(fault.Unsafe, op, "index %s of shard %s is gone", r.Index, r.Shard).WithHint("%s", hintGone)
		}
		if there[r.Index].uuid != r.UUID {
			return restored(op, r.Index, r.Shard)
		}
		ds.learn(r.shard())
	}
	for name, is := range there { // made, and then the writer died before it was recorded
		if !slices.ContainsFunc(recorded, func(r shardRecord) bool { return r.Index == name }) {
			if err := x.recordShard(ctx, ds, &shard{name: is.made.Shard, index: name, uuid: is.uuid}); err != nil {
				return err
			}
		}
	}
	return nil
}

// checkIndex refuses an index that is not one of ours as we make it.
func (x *Index) checkIndex(op string, ds *dataset, name string, is *present) error {
	if is.made == nil && !strings.HasPrefix(name, x.names.dataset(ds.d.Name)) { // found by an alias only
		for alias := range is.aliases {
			if strings.HasPrefix(alias, x.names.dataset(ds.d.Name)) {
				return aliasTaken(op, alias, name)
			}
		}
	}
	if is.made == nil || is.made.Dataset != ds.d.Name || is.made.Shape == nil || name != x.names.shard(ds.d, is.made.Shard) {
		return notOurs(op, name)
	}
	if is.made.Format != format {
		return fault.New(fault.Unsafe, op, "index %s has format %d, this program writes %d", name, is.made.Format, format).
			WithHint("use the program that wrote it, or rebuild the index")
	}
	if is.durability != "" && is.durability != "request" {
		return notSynced(op, name)
	}
	for _, alias := range []string{x.names.dataset(ds.d.Name), write(name)} {
		if !is.aliases[alias] {
			return aliasMoved(op, alias, name)
		}
	}
	var wanted any
	raw, err := json.Marshal(ds.mapping())
	if err == nil {
		err = json.Unmarshal(raw, &wanted)
	}
	if err != nil {
		return fault.Wrap(fault.Internal, op, err)
	}
	if !holds(is.properties, wanted) {
		return fault.New(fault.Unsafe, op, "the mapping of index %s contradicts the dataset", name).WithHint("%s", hintGone)
	}
	return nil
}

// shardRecords lists the shards that the state has, whoever made them.
func (x *Index) shardRecords(ctx context.Context, dataset string) ([]shardRecord, error) {
	const op = "list shards"
	if err := x.refreshState(ctx); err != nil {
		return nil, err
	}
	var out []shardRecord
	err := x.eachState(ctx, op, kindShard, dataset, func(h *hit) error {
		var r shardRecord
		if err := json.Unmarshal(h.Source, &r); err != nil || r.Index == "" {
			return fault.New(fault.Unsafe, op, "document %s is not strata's: %v", h.ID, err)
		}
		out = append(out, r)
		return nil
	})
	return out, err
}

// maxStatePage bounds a page of the state.
const maxStatePage = 1000

// eachState calls f for every visible document of a kind, of one dataset or ("") of all.
func (x *Index) eachState(ctx context.Context, op, kind, dataset string, f func(*hit) error) error {
	filter := []any{obj{"term": obj{"kind": kind}}}
	if dataset != "" {
		filter = append(filter, obj{"term": obj{"dataset": dataset}})
	}
	var after json.RawMessage
	for {
		body := obj{"size": maxStatePage, "query": obj{"bool": obj{"filter": filter}}, "sort": []any{"id"}}
		if after != nil {
			body["search_after"] = after
		}
		answers, err := x.msearch(ctx, op, sub{indices: []string{x.names.state()}, body: body})
		if err != nil {
			return err
		}
		hits := answers[0].Hits.Hits
		for i := range hits {
			if err := f(&hits[i]); err != nil {
				return err
			}
		}
		if len(hits) < maxStatePage {
			return nil
		}
		after = hits[len(hits)-1].Sort
	}
}

func (x *Index) refreshState(ctx context.Context) error {
	return x.refresh(ctx, "refresh index state", []string{x.names.state()})
}

// ensureShard returns a shard, making its index where there is none: the index with its aliases, then its record.
func (x *Index) ensureShard(ctx context.Context, ds *dataset, name string) (*shard, error) {
	if s := ds.known(name); s != nil {
		return s, nil
	}
	op := "make index of " + name
	select {
	case ds.making <- struct{}{}:
		defer func() { <-ds.making }()
	case <-ctx.Done():
		return nil, fault.Wrap(fault.KindOf(ctx.Err()), op, ctx.Err())
	}
	if found, err := x.findShards(ctx, ds, []string{name}); err != nil || len(found) > 0 {
		if err != nil {
			return nil, err
		}
		return found[0], nil
	}
	s := &shard{name: name, index: x.names.shard(ds.d, name)}
	if len(s.index) > 240 { // 255 with .write
		return nil, fault.New(fault.Invalid, op, "the name %s is too long for an index", s.index)
	}
	public, err := x.public(ctx, ds.d.Name)
	if err != nil {
		return nil, err
	}
	if err := x.createIndex(ctx, op, s.index, x.createBody(ds, s, public)); err != nil {
		return nil, err
	}
	there, err := x.inventory(ctx, url.PathEscape(s.index))
	if err != nil {
		return nil, err
	}
	is := there[s.index]
	if is == nil {
		return nil, fault.New(fault.Unavailable, op, "%s was made and is not there", s.index)
	}
	if err := x.checkIndex(op, ds, s.index, is); err != nil {
		return nil, err
	}
	s.uuid = is.uuid
	if err := x.recordShard(ctx, ds, s); err != nil {
		return nil, err
	}
	return ds.known(name), nil
}

// recordShard writes a shard's line into the state.
func (x *Index) recordShard(ctx context.Context, ds *dataset, s *shard) error {
	_, err := x.putState(ctx, "write index state", shardID(ds.d.Name, s.name), param("op_type", "create", "refresh", "true"),
		shardRecord{ID: shardID(ds.d.Name, s.name), Kind: kindShard, Dataset: ds.d.Name, Shard: s.name, Index: s.index, UUID: s.uuid})
	if err == nil {
		ds.learn(s)
	}
	return err
}

// findShards returns those of the shards that are there, each once, asking the state for those that are new to this
// process.
func (x *Index) findShards(ctx context.Context, ds *dataset, wanted []string) ([]*shard, error) {
	var out []*shard
	var unknown, ids []string
	for _, name := range wanted {
		s := ds.known(name)
		switch {
		case s != nil && !slices.Contains(out, s):
			out = append(out, s)
		case s == nil && !slices.Contains(unknown, name):
			unknown, ids = append(unknown, name), append(ids, shardID(ds.d.Name, name))
		}
	}
	if len(ids) == 0 {
		return out, nil
	}
	const op = "find shards"
	docs, err := x.getState(ctx, op, ids...)
	if err != nil {
		return nil, err
	}
	for i := range docs {
		if !docs[i].Found {
			continue
		}
		var r shardRecord
		if err := json.Unmarshal(docs[i].Source, &r); err != nil || r.Shard != unknown[i] {
			return nil, fault.New(fault.Unsafe, op, "document %s is not strata's: %v", docs[i].ID, err)
		}
		out = append(out, ds.learn(r.shard()))
	}
	return out, nil
}
