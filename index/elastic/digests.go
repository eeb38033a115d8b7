package elastic

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"strata/catalog"
	"strata/fault"
	"strata/index"
)

// A page of digests begins small, for who wants few; no answer may have more than max_result_window.
const firstDigests, maxDigests = 1000, index.MaxLimit

// Digests fulfils index.Reader. All that it needs is in the values that Elasticsearch sorts by, so that no document is read.
func (x *Index) Digests(ctx context.Context, dataset, shard string, after catalog.Key, f func(*index.Digest) error) error {
	op := "read digests of " + shard
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
	ours, err := x.onlyOurs(ctx, op, pit, shard)
	if err != nil {
		return err
	}
	if !ours { // by its columns alone nobody knows what a document is that somebody else wrote
		s := scan{x: x, op: op, ds: ds, shard: shard, pit: pit, sort: p.sort, after: p.after, size: firstScan}
		return s.run(ctx, func(s *index.Stored) error {
			return f(&index.Digest{Key: s.Key, Version: s.Version, Hash: s.Hash, Deleted: s.Deleted})
		})
	}
	w := digests{x: x, op: op, ds: ds, pit: pit, after: p.after,
		sort: append(p.sort, own+".deleted", own+".hash.hi", own+".hash.lo", own+".key", "_version")}
	if values, ok := p.after.([]any); ok { // what a document lacks sorts last: so this is after every document with that key
		w.after = slices.Concat(values, []any{int64(lacking), int64(lacking), int64(lacking), nil, int64(lacking)})
	}
	return w.run(ctx, f)
}

// lacking is what Elasticsearch gives as a long that a document doesn't have.
const lacking = 1<<63 - 1

// onlyOurs reports whether every document was written by strata for this shard.
func (x *Index) onlyOurs(ctx context.Context, op, pit, shard string) (bool, error) {
	var a answer
	err := x.c.call(ctx, op, request{method: http.MethodPost, path: "/_search", body: obj{"size": 0, "track_total_hits": 1,
		"query": obj{"bool": obj{"must_not": []any{term(own+".shard", shard)}}}, "pit": obj{"id": pit, "keep_alive": keepAlive}},
		params: wholeSearch()}, &a)
	if err == nil {
		err = a.whole(op, 1)
	}
	if err == nil && a.Hits.Total == nil {
		_, err = a.total(op)
	}
	return err == nil && a.Hits.Total.Value == 0, err
}

// digests is a walk over one point in time that reads one page ahead.
type digests struct {
	x     *Index
	op    string
	ds    *dataset
	pit   string
	sort  []any
	after any         // the sort values to go on after
	row   catalog.Row // of the key columns
	own   []int       // its columns: 0, 1, …
}

type digestPage struct {
	digests []index.Digest
	err     error
}

func (w *digests) run(ctx context.Context, f func(*index.Digest) error) error {
	ctx, cancel := context.WithCancel(ctx)
	pages := make(chan digestPage) // one is on its way, one is with f
	go w.fetch(ctx, pages)
	defer func() {
		cancel()
		for range pages { // until no request is under way: the point in time is closed next
		}
	}()
	var before catalog.Key
	for p := range pages {
		if p.err != nil {
			return p.err
		}
		for i := range p.digests {
			d := &p.digests[i]
			if d.Key == before && before != "" {
				return fault.New(fault.Unsafe, w.op, "there are two documents with key %s", d.Key).
					WithHint("somebody else wrote one of them: delete the one whose _id is another, and repair the key by `strata verify`")
			}
			if err := f(d); err != nil {
				return err
			}
			before = d.Key
		}
	}
	return nil
}

func (w *digests) fetch(ctx context.Context, pages chan<- digestPage) {
	defer close(pages)
	for i := range w.ds.keys {
		w.own = append(w.own, i)
	}
	for size := firstDigests; ; size = maxDigests {
		page, err := w.page(ctx, size)
		select {
		case pages <- digestPage{page, err}:
		case <-ctx.Done():
			return
		}
		if err != nil || len(page) < size {
			return
		}
	}
}

func (w *digests) page(ctx context.Context, size int) ([]index.Digest, error) {
	body := obj{"size": size, "track_total_hits": false, "_source": false, "stored_fields": "_none_", "sort": w.sort,
		"pit": obj{"id": w.pit, "keep_alive": keepAlive}}
	if w.after != nil {
		body["search_after"] = w.after
	}
	var a struct {
		answer
		Hits struct {
			Hits json.RawMessage `json:"hits"`
		} `json:"hits"`
	}
	err := w.x.c.call(ctx, w.op, request{method: http.MethodPost, path: "/_search", body: body, params: wholeSearch()}, &a)
	if err == nil {
		err = a.whole(w.op, 1)
	}
	if err != nil {
		return nil, err
	}
	if a.PIT != "" {
		w.pit = a.PIT
	}
	out := make([]index.Digest, 0, size)
	for hit, rest := element(inside(a.Hits.Hits)); hit != nil; hit, rest = element(rest) {
		var d index.Digest
		if err := w.decode(hit, &d); err != nil {
			return nil, err
		}
		out = append(out, d)
	}
	return out, nil
}

// decode reads one hit, which has nothing of interest but its sort values: by hand, as most of the time would be spent here.
func (w *digests) decode(hit []byte, d *index.Digest) error {
	var values []byte
	for name, rest := element(inside(hit)); name != nil; name, rest = element(rest) {
		var v []byte
		if v, rest = element(rest); string(name) == `"sort"` {
			values = v
		}
	}
	unreadable := func() error {
		return fault.New(fault.Unavailable, w.op, "%.200q is no answer to a search", hit).WithHint("does something change answers on the way?")
	}
	w.after = json.RawMessage(values) // as they came
	w.row.Reset()
	rest := inside(values)
	for _, k := range w.ds.keys {
		var cell []byte
		cell, rest = element(rest)
		if !w.ds.fields[k].appendSorted(&w.row, cell) {
			return unreadable()
		}
	}
	var deleted, hi, lo, key, version []byte
	for _, v := range []*[]byte{&deleted, &hi, &lo, &key, &version} {
		*v, rest = element(rest)
	}
	high, errHigh := strconv.ParseInt(string(hi), 10, 64)
	low, errLow := strconv.ParseInt(string(lo), 10, 64)
	v, errVersion := strconv.ParseInt(string(version), 10, 64)
	if errHigh != nil || errLow != nil || errVersion != nil {
		return unreadable()
	}
	d.Version = index.Version(v)
	if d.Deleted = string(deleted) == "1"; d.Deleted || string(deleted) == "0" { // else somebody took it away, and the hash counts for nothing
		d.Hash = hashOf(high, low)
	}
	if key[0] != '"' {
		d.Key = catalog.KeyOf(&w.row, w.own)
		return nil
	}
	text, ok := unquote(key)
	if d.Key = catalog.Key(text); !ok {
		return unreadable()
	}
	return nil
}

// halves are a hash as two numbers, and hashOf is the hash of them.
func halves(h catalog.Hash) (hi, lo int64) {
	return int64(binary.BigEndian.Uint64(h[:8])), int64(binary.BigEndian.Uint64(h[8:]))
}

func hashOf(hi, lo int64) (h catalog.Hash) {
	binary.BigEndian.PutUint64(h[:8], uint64(hi))
	binary.BigEndian.PutUint64(h[8:], uint64(lo))
	return h
}

// sortsBack reports whether appendSorted makes the cell again from the value that Elasticsearch sorts it by.
func (f *field) sortsBack(cell []byte) bool {
	if f.form == asKeyword {
		return true
	}
	if f.form != asLong && (f.form != keyKeyword || f.t.Kind != catalog.Uint) {
		return false
	}
	digits := bytes.TrimPrefix(cell, []byte("-"))
	if len(digits) == 0 || digits[0] == '0' {
		return string(cell) == "0"
	}
	return true
}

// appendSorted appends the cell of a key column by its sort value.
func (f *field) appendSorted(row *catalog.Row, value []byte) bool {
	switch {
	case len(value) == 0:
		return false
	case value[0] == '"':
		text, ok := unquote(value)
		if f.form == keyKeyword && f.t.Kind == catalog.Uint {
			text = strings.TrimLeft(text[:max(len(text)-1, 0)], "0") + text[max(len(text)-1, 0):]
		}
		row.AppendString(text)
		return ok
	case string(value) == "null":
		row.AppendNull()
	default:
		row.Append(value)
	}
	return true
}
