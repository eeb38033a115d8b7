package indextest

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"strata/catalog"
	"strata/index"
)

// typed is a dataset with a column of every kind that sorts, nullable but for the key.
func typed() *catalog.Dataset {
	d := &catalog.Dataset{Name: "typed", Table: "typed", Key: []string{"id"}, Partitions: 1, Text: []string{"txt", "id"}}
	add := func(name string, t catalog.Type) {
		c := catalog.Column{Name: name, Type: t, Nullable: name != "id"}
		if t.Kind == catalog.Text {
			c.Collation = "utf8mb4_bin"
		}
		d.Columns = append(d.Columns, c)
	}
	add("id", catalog.Type{Kind: catalog.Text})
	add("i", catalog.Type{Kind: catalog.Int, Size: 8})
	add("u", catalog.Type{Kind: catalog.Uint, Size: 8})
	add("dec", catalog.Type{Kind: catalog.Decimal, Scale: 2})
	add("dbl", catalog.Type{Kind: catalog.Double})
	add("day", catalog.Type{Kind: catalog.Date})
	add("dt", catalog.Type{Kind: catalog.DateTime, FSP: 3})
	add("tm", catalog.Type{Kind: catalog.Time, FSP: 1})
	add("y", catalog.Type{Kind: catalog.Year})
	add("txt", catalog.Type{Kind: catalog.Text})
	add("bin", catalog.Type{Kind: catalog.Binary})
	return d
}

// samples are values of each column of typed, edges among them.
func samples(column string) []string {
	return map[string][]string{
		"id":  {"a", "A", "b", "a/b", "a,b", "%", " ", "é", "付款", "a\x01", "a ", "z"},
		"i":   {"0", "1", "-1", "9", "10", "-10", "9223372036854775807", "-9223372036854775808", "1000000000000000000"},
		"u":   {"0", "1", "10", "9", "9223372036854775807", "9223372036854775808", "18446744073709551615", "10000000000000000000"},
		"dec": {"0.00", "0.05", "-0.05", "1.00", "10.00", "9.99", "-9.99", "-10.00", "123456789012345678901234567890.12", "-123456789012345678901234567890.12"},
		"dbl": {"0", "1", "-1", "0.1", "-0.1", "1e+21", "1e-07", "123456.789", "-1e+300"},
		"day": {"2026-01-31", "2026-02-01", "0000-00-00", "9999-12-31"},
		"dt":  {"2026-01-31 00:00:00.000", "2026-01-31 00:00:00.001", "0000-00-00 00:00:00.000"},
		"tm":  {"00:00:00.0", "-00:00:01.0", "08:00:00.5", "-08:00:00.5", "99:59:59.9", "838:59:59.0", "-838:59:59.0"},
		"y":   {"0000", "1901", "2026", "2155"},
		"txt": {"", "a", "ab", "abc", "b", "A", "é", "付款", "a\x00b", "x付款y", "100%", "a_c", "Refund of ORDER 17", "订单 for José, 付款",
			"École straße", "ラーメン が ﾗｰﾒﾝ", "한국어 결제 か", "付 款 1付"},
		"bin": {"", "00", "0001", "ff", "ab00"},
	}[column]
}

// bounds are values that people compare with, although no cell has them.
func bounds(column string) []string {
	return map[string][]string{
		"i":   {"1.5", "-1.5", "99999999999999999999", "-99999999999999999999", "007", "-0", "0.0"},
		"u":   {"-1", "0.5", "18446744073709551616", "9223372036854775807.5"},
		"dec": {"0.001", "-0.001", "9.989", "5", "-9.991", "-9.999"},
		"dbl": {"0.10", "100e-2"},
		"tm":  {"08:00:00.5", "08:00:00.55", "-08:00:00.45"},
		"txt": {"a\x00", "bc", "款", "%", "_"},
	}[column]
}

func drawRow(t *rapid.T, d *catalog.Dataset, id string) catalog.Row {
	var r catalog.Row
	for _, c := range d.Columns {
		switch {
		case c.Name == "id":
			r.AppendString(id)
		case rapid.IntRange(0, 4).Draw(t, "null") == 0:
			r.AppendNull()
		default:
			r.AppendString(rapid.SampledFrom(samples(c.Name)).Draw(t, c.Name))
		}
	}
	return r
}

func drawFilter(t *rapid.T, d *catalog.Dataset, depth int) catalog.Filter {
	if depth > 0 && rapid.Bool().Draw(t, "nest") {
		op := rapid.SampledFrom([]catalog.Op{catalog.And, catalog.Or, catalog.Not}).Draw(t, "op")
		n := 1
		if op != catalog.Not {
			n = rapid.IntRange(1, 3).Draw(t, "args")
		}
		f := catalog.Filter{Op: op}
		for range n {
			f.Args = append(f.Args, drawFilter(t, d, depth-1))
		}
		return f
	}
	c := rapid.SampledFrom(d.Columns).Draw(t, "column")
	ops := []catalog.Op{catalog.True, catalog.False, catalog.IsNull, catalog.In, catalog.Eq, catalog.Ne, catalog.Lt, catalog.Le, catalog.Gt, catalog.Ge}
	if c.Type.Kind == catalog.Text {
		ops = append(ops, catalog.Prefix, catalog.Contains, catalog.Match, catalog.Match)
	}
	f := catalog.Filter{Op: rapid.SampledFrom(ops).Draw(t, "leaf"), Column: c.Name}
	if f.Op == catalog.Match {
		return match(c.Name, rapid.SampledFrom(matchable()).Draw(t, "words"))
	}
	n := 1
	switch f.Op {
	case catalog.True, catalog.False, catalog.IsNull:
		n = 0
	case catalog.In:
		n = rapid.IntRange(1, 3).Draw(t, "values")
	}
	values := slices.DeleteFunc(append(slices.Clone(samples(c.Name)), bounds(c.Name)...), func(v string) bool {
		return catalog.CheckCell(c.Type, v) != nil
	})
	for range n {
		f.Values = append(f.Values, rapid.SampledFrom(values).Draw(t, "value"))
	}
	return f
}

func drawOrder(t *rapid.T, d *catalog.Dataset) (out []index.Order, by []catalog.Sort) {
	var names []string
	for range rapid.IntRange(0, 2).Draw(t, "order columns") {
		names = append(names, rapid.SampledFrom(d.Columns).Draw(t, "order").Name)
	}
	for _, name := range append(names, d.Key...) {
		if slices.ContainsFunc(out, func(o index.Order) bool { return o.Column == name }) {
			continue
		}
		o := index.Order{Column: name, Desc: rapid.Bool().Draw(t, "desc")}
		i := d.Index(name)
		out, by = append(out, o), append(by, catalog.Sort{Index: i, Type: d.Columns[i].Type, Desc: o.Desc})
	}
	return out, by
}

// world is random documents, in an index and in memory.
type world struct {
	*suite
	rows map[string][]catalog.Row // by shard; without the deleted ones
}

// newWorld is the n-th in an index: its documents are newer than those of the worlds before it, of which live is what they
// left; what it has no document for is deleted.
func newWorld(t *rapid.T, s *suite, n int, live map[string]index.Document) *world {
	w := &world{suite: s, rows: map[string][]catalog.Row{}}
	var docs []index.Document
	base := index.Version(n * 100)
	for id, doc := range live {
		doc.Version, doc.Deleted, doc.After = base, true, nil
		docs = append(docs, doc)
		delete(live, id)
	}
	for _, shard := range []string{"typed_a", "typed_b", "typed_c"} {
		ids := rapid.SliceOfNDistinct(rapid.SampledFrom(samples("id")), 0, 10, rapid.ID).Draw(t, "ids")
		for i, id := range ids {
			row := drawRow(t, w.d, shard+id)
			gone := rapid.IntRange(0, 5).Draw(t, "gone") == 0
			doc := Doc(w.d, shard, row, base+index.Version(i+1), gone)
			docs = append(docs, doc)
			if !gone {
				live[doc.ID()] = doc
				w.rows[shard] = append(w.rows[shard], row)
			}
		}
	}
	w.apply(docs...)
	return w
}

func searchModel(t *testing.T, open Open) {
	all, n := start(t, open, typed()), 0
	live := map[string]index.Document{}
	rapid.Check(t, func(rt *rapid.T) {
		n++
		w := newWorld(rt, all.with(rt), n, live)
		for range 8 {
			w.compare(rt)
		}
	})
}

// compare runs one random search over all its pages, against the model.
func (w *world) compare(t *rapid.T) {
	f := drawFilter(t, w.d, 2)
	order, by := drawOrder(t, w.d)
	shards := rapid.SampledFrom([][]string{{"typed_a"}, {"typed_a", "typed_b"}, {"typed_c", "typed_a", "typed_b", "typed_z"}}).Draw(t, "shards")
	var want []catalog.Row
	for _, s := range shards {
		for _, r := range w.rows[s] {
			if f.Accepts(w.d, &r) {
				want = append(want, r)
			}
		}
	}
	slices.SortFunc(want, func(a, b catalog.Row) int { return catalog.CompareRows(by, &a, &b) })
	s := index.Search{Dataset: w.d.Name, Shards: shards, Filter: f, Order: order, Limit: rapid.IntRange(1, 7).Draw(t, "limit")}
	n, err := w.x.Count(w.ctx, s)
	if err != nil || n != int64(len(want)) {
		t.Fatalf("filter %s: Count says %d, %v, want %d", f, n, err, len(want))
	}
	var got []catalog.Row
	for {
		p, err := w.x.Search(w.ctx, s)
		if err != nil {
			t.Fatalf("filter %s: %v", f, err)
		}
		got = append(got, p.Rows...)
		if p.More != (len(got) < len(want)) || p.More && len(p.Rows) != s.Limit {
			t.Fatalf("filter %s order %v: %d rows of %d, more %t", f, order, len(got), len(want), p.More)
		}
		if !p.More {
			break
		}
		last := &p.Rows[len(p.Rows)-1]
		s.After = make([]*string, len(order))
		for i, b := range by {
			if !last.Null(b.Index) {
				text := last.Text(b.Index)
				s.After[i] = &text
			}
		}
	}
	for i := range want {
		if i >= len(got) || !got[i].Equal(&want[i]) {
			t.Fatalf("filter %s order %v: row %d differs", f, order, i)
		}
	}
}

// cells checks every sample, and cells whose stored form is another text, by Get and Search.
func cells(t *testing.T, open Open) {
	s := start(t, open, typed())
	odd := map[string][]string{"i": {"-0"}, "dec": {"-0.00", "1.0", "007.50"}, "dbl": {"-0", "1.0"},
		"tm": {"-00:00:00.0", "8:00:00.0"}}
	type place struct {
		column, id, text string
		row              catalog.Row
	}
	var places []place
	var docs []index.Document
	for _, c := range s.d.Columns[1:] {
		for i, v := range append(slices.Clone(samples(c.Name)), odd[c.Name]...) {
			var row catalog.Row
			id := fmt.Sprintf("%s-%d", c.Name, i)
			for _, o := range s.d.Columns {
				switch o.Name {
				case "id":
					row.AppendString(id)
				case c.Name:
					row.AppendString(v)
				default:
					row.AppendNull()
				}
			}
			docs = append(docs, Doc(s.d, "typed", row, 1, false))
			places = append(places, place{c.Name, id, v, row})
		}
	}
	for i, o := range s.apply(docs...) {
		if p := places[i]; o.Status != index.Applied {
			t.Errorf("%s = %q: %+v", p.column, p.text, o)
		} else {
			s.cell(p.column, p.id, p.text, p.row)
		}
	}
}

// cell reads one row back.
func (s *suite) cell(column, id, text string, row catalog.Row) {
	got, err := s.x.Get(s.ctx, s.d.Name, []string{catalog.DocumentID("typed", catalog.KeyOf(&row, []int{0}))})
	s.ok(err)
	if len(got) != 1 || !got[0].Row.Equal(&row) {
		s.t.Errorf("Get: %s = %q comes back changed", column, text)
	}
	p, err := s.x.Search(s.ctx, index.Search{Dataset: s.d.Name, Shards: []string{"typed"}, Columns: []string{column},
		Filter: catalog.Cmp("id", catalog.Eq, id), Order: s.keyOrder(), Limit: 2})
	s.ok(err)
	if len(p.Rows) != 1 || p.Rows[0].Text(0) != text {
		s.t.Errorf("Search: %s = %q comes back changed", column, text)
	}
}

// versionsModel applies random batches with replays, old images and deletes; what is there must always be the image of
// the highest version.
func versionsModel(t *testing.T, open Open) {
	all, n := start(t, open, Entries()), 0
	rapid.Check(t, func(rt *rapid.T) {
		n++
		s := all.with(rt) // with an account of its own
		type image struct {
			amount int
			gone   bool
		}
		newest := map[int]index.Version{}
		images := map[index.Version]image{}
		for range rapid.IntRange(1, 12).Draw(rt, "batches") {
			var docs []index.Document
			for range rapid.IntRange(1, 6).Draw(rt, "documents") {
				seq := rapid.IntRange(1, 3).Draw(rt, "seq")
				v := index.MakeVersion(uint32(rapid.IntRange(1, 3).Draw(rt, "term")), uint64(rapid.IntRange(1, 5).Draw(rt, "n"))*10+uint64(seq))
				im, known := images[v]
				if !known {
					im = image{rapid.IntRange(1, 1000).Draw(rt, "amount"), rapid.IntRange(0, 3).Draw(rt, "gone") == 0}
					images[v] = im
				}
				docs = append(docs, Doc(s.d, "entry_202611", Entry(n, seq, im.amount, "2026-11-02", nil), v, im.gone))
				newest[seq] = max(newest[seq], v)
			}
			s.apply(docs...)
			seen := 0
			s.ok(s.x.Scan(s.ctx, s.d.Name, "entry_202611", catalog.Key(fmt.Sprintf("%d,0", n)), func(d *index.Stored) error {
				seen++
				var account, seq int
				if _, err := fmt.Sscanf(string(d.Key), "%d,%d", &account, &seq); err != nil || account != n {
					return fmt.Errorf("key %s after %d,0: %w", d.Key, n, err)
				}
				im := images[newest[seq]]
				if want := Entry(n, seq, im.amount, "2026-11-02", nil); d.Version != newest[seq] || d.Deleted != im.gone || !d.Row.Equal(&want) {
					return fmt.Errorf("seq %d has version %d, want %d", seq, d.Version, newest[seq])
				}
				return nil
			}))
			if seen != len(newest) {
				rt.Fatalf("%d documents, want %d", seen, len(newest))
			}
		}
	})
}
