package elastic

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
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
	w, err := x.walk(ctx, "read digests of "+shard, dataset, shard, after)
	if err != nil || w == nil {
		return err
	}
	defer w.close(ctx)
	ours, err := w.onlyOurs(ctx)
	if err != nil {
		return err
	}
	if ours {
		last, err := newDigests(w).run(ctx, f)
		if !errors.Is(err, errTwo) {
			return err
		}
		if last == "" {
			last = after
		}
		if err := w.goOn(last); err != nil {
			return err
		}
	}
	// By its columns alone nobody knows what a document is that somebody else wrote.
	return w.scan(ctx, func(s *index.Stored) error {
		return f(&index.Digest{Key: s.Key, Version: s.Version, Hash: s.Hash, Deleted: s.Deleted, Foreign: s.Foreign})
	})
}

// lacking is what Elasticsearch gives as a long that a document doesn't have.
const lacking = 1<<63 - 1

// onlyOurs reports whether every document was written by strata for this shard.
func (w *walk) onlyOurs(ctx context.Context) (bool, error) {
	var a answer
	err := w.x.c.call(ctx, w.op, request{method: http.MethodPost, path: "/_search", body: obj{"size": 0, "track_total_hits": 1,
		"query": obj{"bool": obj{"must_not": []any{term(own+".shard", w.shard.name)}}}, "pit": obj{"id": w.pit, "keep_alive": keepAlive}},
		params: wholeSearch()}, &a)
	if err == nil {
		err = a.whole(w.op, 1)
	}
	if err == nil && a.Hits.Total == nil {
		_, err = a.total(w.op)
	}
	return err == nil && a.Hits.Total.Value == 0, err
}

// digests is a walk that reads one page ahead.
type digests struct {
	*walk
	window *window
	row    catalog.Row // of the key columns
	own    []int       // its columns: 0, 1, …
}

// newDigests is a walk from where w is.
func newDigests(w *walk) *digests {
	d := &digests{walk: w, window: newWindow(w)}
	d.sort = append(d.sort, own+".deleted", own+".hash.hi", own+".hash.lo", own+".key", "_version")
	if values, ok := d.after.([]any); ok { // what a document lacks sorts last: so this is after every document with that key
		d.after = slices.Concat(values, []any{int64(lacking), int64(lacking), int64(lacking), nil, int64(lacking)})
	}
	for i := range d.ds.keys {
		d.own = append(d.own, i)
	}
	return d
}

type digestPage struct {
	digests []index.Digest
	err     error
}

// errTwo: two documents have the same key.
var errTwo = errors.New("two documents have the same key")

// run gives each digest when it is known that the next one has another key, and returns the last key that it gave.
func (w *digests) run(ctx context.Context, f func(*index.Digest) error) (last catalog.Key, err error) {
	ctx, cancel := context.WithCancel(ctx)
	pages := make(chan digestPage) // one is on its way, one is with f
	go w.fetch(ctx, pages)
	defer func() {
		cancel()
		for range pages { // until no request is under way: the point in time is closed next
		}
	}()
	var held index.Digest
	give := func() error {
		if held.Key == "" {
			return nil
		}
		last = held.Key
		return f(&held)
	}
	for p := range pages {
		if p.err != nil {
			return last, p.err
		}
		for i := range p.digests {
			if p.digests[i].Key == held.Key && held.Key != "" {
				return last, errTwo
			}
			if err := give(); err != nil {
				return last, err
			}
			held = p.digests[i]
		}
	}
	return last, give()
}

func (w *digests) fetch(ctx context.Context, pages chan<- digestPage) {
	defer close(pages)
	for size := firstDigests; ; {
		page, err := w.next(ctx, size)
		select {
		case pages <- digestPage{page, err}:
		case <-ctx.Done():
			return
		}
		if err != nil {
			return
		}
		switch {
		case len(page) == size:
			size = maxDigests
		case !w.window.spent(len(page), size):
			return
		default:
			w.after = nil // the window begins where the walk goes on
		}
	}
}

// next reads a page of the window.
func (w *digests) next(ctx context.Context, size int) ([]index.Digest, error) {
	body := obj{"size": size, "_source": false, "stored_fields": "_none_"}
	if q := w.window.query(); q != nil {
		body["query"] = q
	}
	var a struct {
		answer
		Hits struct {
			Hits json.RawMessage `json:"hits"`
		} `json:"hits"`
	}
	if err := w.page(ctx, body, &a.answer, &a); err != nil {
		return nil, err
	}
	out := make([]index.Digest, 0, size)
	var first, values []byte
	for hit, rest := element(inside(a.Hits.Hits)); hit != nil; hit, rest = element(rest) {
		var d index.Digest
		var err error
		if values, err = w.decode(hit, &d); err != nil {
			return nil, err
		}
		if out = append(out, d); len(out) == 1 {
			first = values
		}
	}
	if len(out) > 0 {
		w.after = json.RawMessage(values) // as they came
	}
	if len(out) == size {
		w.window.full(first, values, size, maxDigests)
	}
	return out, nil
}

// decode reads one hit, which has nothing of interest but its sort values: by hand, as most of the time would be spent here.
func (w *digests) decode(hit []byte, d *index.Digest) (values []byte, err error) {
	for name, rest := element(inside(hit)); name != nil; name, rest = element(rest) {
		var v []byte
		if v, rest = element(rest); string(name) == `"sort"` {
			values = v
		}
	}
	unreadable := func() error {
		return fault.New(fault.Unavailable, w.op, "%.200q is no answer to a search", hit).WithHint("does something change answers on the way?")
	}
	w.row.Reset()
	rest := inside(values)
	for _, k := range w.ds.keys {
		var cell []byte
		cell, rest = element(rest)
		if !w.ds.fields[k].appendSorted(&w.row, cell) {
			return nil, unreadable()
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
		return nil, unreadable()
	}
	d.Version = index.Version(v)
	if d.Deleted = string(deleted) == "1"; d.Deleted || string(deleted) == "0" { // else somebody took it away, and the hash counts for nothing
		d.Hash = hashOf(high, low)
	}
	if key[0] != '"' {
		d.Key = catalog.KeyOf(&w.row, w.own)
		return values, nil
	}
	text, ok := unquote(key)
	if d.Key = catalog.Key(text); !ok {
		return nil, unreadable()
	}
	return values, nil
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
