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

// stored decodes a document of a shard into s, whose Row is reused; asked is the key that it was asked for by, "" where it was
// come upon. A document that somebody else wrote over one of strata's comes back without a hash, so that who verifies sees that
// it differs. One whose id isn't of the key in its columns is Foreign, unless it was asked for.
func (ds *dataset) stored(shard string, asked catalog.Key, h *hit, s *index.Stored) {
	s.Shard, s.Key, s.Version, s.Hash, s.Deleted, s.Foreign = shard, "", index.Version(h.Version), catalog.Hash{}, false, ""
	m, hash, ours := readMine(h.Source)
	if _, err := catalog.ParseImage(ds.d, h.Source, &s.Row); err == nil {
		s.Key = catalog.KeyOf(&s.Row, ds.keys)
	}
	if s.Key == "" || docID(catalog.DocumentID(shard, s.Key)) != h.ID {
		ours = false
		if s.Key = asked; asked == "" || ds.rowOfKey(asked, &s.Row) != nil {
			s.Row.Reset()
			s.Key, s.Foreign = "", h.ID
		}
	}
	if !ours || m.Shard != shard {
		return
	}
	s.Hash, s.Deleted = hash, *m.Deleted
	if m.Bare {
		s.Row.Reset()
	}
}

// foreign is a document in whose place another belongs, where a page of rows is wanted.
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
		var asked []string
		for i, id := range part {
			at := slices.IndexFunc(shards, func(s *shard) bool { return s.name == wanted[i] })
			if at >= 0 {
				docs, asked = append(docs, obj{"_index": shards[at].index, "_id": docID(id)}), append(asked, id)
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
			shard, key, _ := strings.Cut(asked[i], "/")
			if ds.stored(shard, catalog.Key(key), &h, &one); one.Foreign == "" {
				out = append(out, one)
			}
		}
	}
	return out, nil
}

// Scan fulfils index.Reader.
func (x *Index) Scan(ctx context.Context, dataset, shard string, after catalog.Key, f func(*index.Stored) error) error {
	w, err := x.walk(ctx, "scan "+shard, dataset, shard, after)
	if err != nil || w == nil {
		return err
	}
	defer w.close(ctx)
	return w.scan(ctx, f)
}

// walk is over the documents of a shard at one point in time, in the order of their keys.
type walk struct {
	x     *Index
	op    string
	ds    *dataset
	shard *shard
	pit   string
	sort  []any
	after any // the sort values to go on after; nil: from the start
}

// walk begins one after a key; nil where the shard is not there.
func (x *Index) walk(ctx context.Context, op, dataset, name string, after catalog.Key) (*walk, error) {
	ds, err := x.dataset(ctx, dataset)
	if err != nil {
		return nil, err
	}
	shards, err := x.findShards(ctx, ds, []string{name})
	if err != nil || len(shards) == 0 {
		return nil, err
	}
	w := &walk{x: x, op: op, ds: ds, shard: shards[0]}
	if err := w.goOn(after); err != nil {
		return nil, err
	}
	var pit struct {
		ID string `json:"id"`
	}
	err = x.c.call(ctx, op, request{method: http.MethodPost, path: "/" + url.PathEscape(w.shard.index) + "/_pit",
		params: param("keep_alive", keepAlive)}, &pit)
	w.pit = pit.ID
	return w, err
}

// goOn makes the walk go on after a key; "": from the start.
func (w *walk) goOn(after catalog.Key) error {
	p, err := w.ds.byKey(after)
	if err == nil {
		w.sort, w.after = p.sort, p.after
	}
	return err
}

// close lets the point in time go. Elasticsearch does so by itself after keepAlive.
func (w *walk) close(ctx context.Context) {
	err := w.x.c.call(context.WithoutCancel(ctx), w.op, request{method: http.MethodDelete, path: "/_pit", body: obj{"id": w.pit}}, nil)
	if err != nil {
		w.x.cfg.Log.Info("point in time not closed", "err", err)
	}
}

// page asks for the next documents; a is part of into, which is the answer's form.
func (w *walk) page(ctx context.Context, body obj, a *answer, into any) error {
	body["track_total_hits"], body["sort"], body["pit"] = false, w.sort, obj{"id": w.pit, "keep_alive": keepAlive}
	if w.after != nil {
		body["search_after"] = w.after
	}
	err := w.x.c.call(ctx, w.op, request{method: http.MethodPost, path: "/_search", body: body, params: wholeSearch()}, into)
	if err == nil {
		err = a.whole(w.op, 1)
	}
	if a.PIT != "" {
		w.pit = a.PIT
	}
	return err
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

// wholeSearch are the parameters of a search by a point in time that must not be answered partly.
func wholeSearch() url.Values {
	return param("allow_partial_search_results", "false", "pre_filter_shard_size", allShards)
}

// scan gives the documents with their rows.
func (w *walk) scan(ctx context.Context, f func(*index.Stored) error) error {
	var one index.Stored
	for size := firstScan; ; {
		var a answer
		if err := w.page(ctx, obj{"size": size, "version": true}, &a, &a); err != nil {
			return err
		}
		bytes := 0
		for i := range a.Hits.Hits {
			h := &a.Hits.Hits[i]
			bytes += len(h.Source)
			w.ds.stored(w.shard.name, "", h, &one)
			if err := f(&one); err != nil {
				return err
			}
		}
		n := len(a.Hits.Hits)
		if n < size {
			return nil
		}
		w.after = a.Hits.Hits[n-1].Sort
		size = min(max(scanBytes/(bytes/n+1), 1), maxScan, 4*size)
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
