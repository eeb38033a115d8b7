package elastic

import (
	"bytes"
	"encoding/json"
	"math/big"
	"slices"
	"strconv"
	"unicode/utf8"
)

// window bounds what a page of digests is looked for in: for each page Elasticsearch looks at all that the window has, and
// without one at all that comes later in the shard. It lies in one column of the key, at first in the first one: values above
// one, up to another. Where a page was within one value of it, it lies in the next column, and that value is fixed. How wide it
// is, is guessed from how far the last page went; a guess that is wrong costs time, and no document.
type window struct {
	fields []*field // of the key columns
	fixed  [][]byte // values of the columns before
	above  []byte   // nil: from the beginning
	upTo   []byte   // nil: to the end
	wide   *big.Int // as wide as a page of the first column is, about; nil: not known
	empty  int      // windows in a row that had nothing
	shard  *shard
}

// A window becomes widerAtMost times as wide where the one before had too few documents: a gap between two keys makes the next
// page dear, the wider the dearer. After emptyWindows in a row the rest is looked at whole.
const widerAtMost, emptyWindows = 4, 6

// newWindow is where a walk goes on.
func newWindow(w *walk) *window {
	n := &window{shard: w.shard}
	for _, k := range w.ds.keys {
		n.fields = append(n.fields, &w.ds.fields[k])
	}
	values, ok := w.after.([]any)
	if n.wide = w.shard.wide.Load(); ok && n.wide != nil {
		if first, err := json.Marshal(values[0]); err == nil {
			n.upTo = n.beyond(first)
		}
	}
	return n
}

// query is the window's condition; nil: none.
func (n *window) query() obj {
	var all []any
	for i, v := range n.fixed {
		all = append(all, term(n.fields[i].path(), json.RawMessage(v)))
	}
	between := obj{}
	if n.above != nil {
		between["gt"] = json.RawMessage(n.above)
	}
	if n.upTo != nil {
		between["lte"] = json.RawMessage(n.upTo)
	}
	if len(between) > 0 {
		all = append(all, obj{"range": obj{n.fields[len(n.fixed)].path(): between}})
	}
	if all == nil {
		return nil
	}
	return every(all...)
}

// full puts the window behind a page that had all the documents that were asked for, by the sort values of its first and its
// last one, and makes it as wide as the next page should be.
func (n *window) full(first, last []byte, size, next int) {
	from, to := n.values(first), n.values(last)
	n.fixed, n.above, n.upTo, n.empty = nil, nil, nil, 0
	at := 0
	for at < len(from)-1 && string(from[at]) == string(to[at]) {
		at++
	}
	if slices.ContainsFunc(to[:at+1], func(v []byte) bool { return string(v) == "null" }) {
		return
	}
	a, b := n.fields[at].place(from[at]), n.fields[at].place(to[at])
	if a == nil || b == nil {
		return
	}
	for _, v := range to[:at] {
		n.fixed = append(n.fixed, slices.Clone(v))
	}
	n.wide = b.Sub(b, a)
	n.widen(5*next, 4*size)
	if at == 0 {
		n.shard.wide.Store(n.wide)
	}
	n.upTo = n.beyond(to[at])
}

// spent puts the window behind itself, after a page with fewer documents than were asked for; false where nothing comes after
// it.
func (n *window) spent(had, size int) bool {
	at := len(n.fixed)
	switch {
	case n.upTo != nil && at > 0: // up to the end of the value that is fixed
		n.above, n.upTo = n.upTo, nil
		return true
	case n.upTo == nil && at == 0:
		return false
	case n.upTo == nil:
		n.above, n.fixed = n.fixed[at-1], n.fixed[:at-1]
		if n.wide = nil; at == 1 {
			n.wide = n.shard.wide.Load()
		}
	default:
		n.above = n.upTo
		if n.empty++; had > 0 {
			n.empty = 0
		}
		n.widen(min(5*size, 4*widerAtMost*max(had, 1)), 4*max(had, 1))
	}
	if n.upTo = nil; n.empty < emptyWindows {
		n.upTo = n.beyond(n.above)
	}
	return true
}

// widen makes the window by/from times as wide.
func (n *window) widen(by, from int) {
	w := new(big.Int).Mul(n.wide, big.NewInt(int64(by)))
	if n.wide = w.Div(w, big.NewInt(int64(from))); n.wide.Sign() == 0 {
		n.wide.SetInt64(1)
	}
}

// beyond is a value that is as far above another as the window is wide; nil: there is none, or nobody knows.
func (n *window) beyond(value []byte) []byte {
	f := n.fields[len(n.fixed)]
	from := f.place(value)
	if from == nil || n.wide == nil {
		return nil
	}
	return f.valueAt(from.Add(from, n.wide), value)
}

// values are the sort values of the key columns.
func (n *window) values(sort []byte) [][]byte {
	out := make([][]byte, len(n.fields))
	rest := inside(sort)
	for i := range out {
		out[i], rest = element(rest)
	}
	return out
}

// placeBytes is how many bytes of a text count for its place.
const placeBytes = 64

// place is where a sort value stands in the column's order, as a number; nil: it is none.
func (f *field) place(value []byte) *big.Int {
	if f.form == asLong || f.form == keyLong {
		var v int64
		if json.Unmarshal(value, &v) != nil {
			return nil
		}
		return big.NewInt(v)
	}
	text, ok := unquote(value)
	if !ok {
		return nil
	}
	var b [placeBytes]byte
	copy(b[:], text)
	return new(big.Int).SetBytes(b[:])
}

// valueAt is a sort value at a place or somewhat above it, and above another; nil: there is none.
func (f *field) valueAt(place *big.Int, above []byte) []byte {
	var out []byte
	if f.form == asLong || f.form == keyLong {
		if place.IsInt64() {
			out = strconv.AppendInt(nil, place.Int64(), 10)
		}
		return out
	}
	if place.BitLen() > 8*placeBytes {
		return nil
	}
	raw := bytes.TrimRight(place.FillBytes(make([]byte, placeBytes)), "\x00")
	whole := 0
	for whole < len(raw) {
		r, n := utf8.DecodeRune(raw[whole:])
		if r == utf8.RuneError && n < 2 {
			break
		}
		whole += n
	}
	text := string(raw[:whole])
	if whole < len(raw) {
		text += string(utf8.MaxRune)
	}
	if was, _ := unquote(above); text <= was {
		return nil
	}
	out, err := json.Marshal(text)
	if err != nil {
		return nil
	}
	return out
}
