package indextest

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"strata/catalog"
	"strata/index"
)

// Same gives two empty indexes the same random rows, in three shards, with stale images and tombstones among them, and asks
// them the same random searches, page by page, and counts, which the rows in memory give too. It returns at the first
// difference.
func Same(t *testing.T, seed uint64, rows, searches int, a, b index.Index) {
	t.Helper()
	t.Logf("seed %d", seed)
	g := &generator{Rand: rand.New(rand.NewPCG(seed, 1)), d: typed(), last: map[string]int{}}
	one, two := &suite{t: t, x: a, d: g.d, ctx: t.Context()}, &suite{t: t, x: b, d: g.d, ctx: t.Context()}
	one.ok(a.Ensure(one.ctx, g.d))
	two.ok(b.Ensure(two.ctx, g.d))
	for docs := range slices.Chunk(g.documents(rows), 500) {
		x, y := one.apply(docs...), two.apply(docs...)
		for i := range docs {
			// which stored version it was may differ where the batch has a third image: one reads it at once, one at the end
			if x[i].Status != y[i].Status || x[i].Status == index.Newer && min(x[i].StoredVersion, y[i].StoredVersion) < docs[i].Version {
				t.Fatalf("other outcomes of document %d, version %d: %v and %v", i, docs[i].Version, x[i], y[i])
			}
		}
	}
	for range searches {
		s := g.search()
		want := g.count(s)
		n, err := a.Count(one.ctx, s)
		one.ok(err)
		m, err := b.Count(two.ctx, s)
		one.ok(err)
		if n != m || n != want {
			t.Fatalf("filter %s: counts %d and %d, and %d rows", s.Filter, n, m, want)
		}
		g.pages(one, two, s)
	}
	for _, shard := range g.shards() {
		if x, y := one.scan(shard), two.scan(shard); !slices.Equal(x, y) {
			t.Fatalf("scans of %s differ: %d and %d documents", shard, len(x), len(y))
		}
		one.digestsAreScan(shard)
		two.digestsAreScan(shard)
	}
}

// generator makes rows and searches.
type generator struct {
	*rand.Rand
	d    *catalog.Dataset
	rows []catalog.Row
	last map[string]int // by document id: the place in rows and docs of its newest image
	docs []index.Document
}

// count is how many rows a search finds by catalog's rules.
func (g *generator) count(s index.Search) (n int64) {
	for _, at := range g.last {
		if doc := &g.docs[at]; !doc.Deleted && slices.Contains(s.Shards, doc.Shard) && s.Filter.Accepts(g.d, &g.rows[at]) {
			n++
		}
	}
	return n
}

func (g *generator) shards() []string { return []string{"typed_a", "typed_b", "typed_c"} }

func pick[T any](g *generator, of []T) T { return of[g.IntN(len(of))] }

// cell is an edge value, or a random one of few or of many, so that equal ones meet.
func (g *generator) cell(column string) string {
	if g.IntN(4) == 0 {
		return pick(g, samples(column))
	}
	n := g.Int64N(40) - 20
	if g.IntN(2) == 0 {
		n = int64(g.Uint64()) >> g.IntN(64)
	}
	u := uint64(n)
	switch column {
	case "i":
		return fmt.Sprint(n)
	case "u":
		return fmt.Sprint(u)
	case "dec":
		sign := ""
		if n < 0 && u != 0 {
			sign, u = "-", -u
		}
		return fmt.Sprintf("%s%d.%02d", sign, u/100, u%100)
	case "dbl":
		return strings.TrimSuffix(fmt.Sprintf("%v", float64(n)/8), ".0")
	case "day":
		return fmt.Sprintf("20%02d-%02d-%02d", u%100, u/100%12+1, u/1200%28+1)
	case "dt":
		return fmt.Sprintf("2026-%02d-%02d %02d:%02d:%02d.%03d", u%12+1, u/12%28+1, u/400%24, u/7%60, u/11%60, u/13%1000)
	case "tm":
		return fmt.Sprintf("%s%02d:%02d:%02d.%d", pick(g, []string{"", "-"}), u%839, u/7%60, u/11%60, u/13%9+1)
	case "y":
		return fmt.Sprint(1901 + u%255)
	case "bin":
		return fmt.Sprintf("%0*x", 2*(1+u%4), u%16)
	}
	return g.text()
}

// text is of pieces in several scripts, with and without what separates words.
func (g *generator) text() string {
	pieces := []string{"付", "款", "付款", "账", "户", "拉面", "🀄", "é", "e\u0301", "a", "B", "\u0301", " ", "　", "，", "*", "?", "\\", "%", "_", "\"", "\n", "\x00",
		"\u2028", "\uffff", "Order", "ORDER", "order", "17", "１７", "ß", "SS", "É", "ラー", "ﾗｰ", "メン", "が", "か\u3099", "か", "결제", "한", "\u1112\u1161\u11ab", "々", "\ufe0f"}
	if g.IntN(2) == 0 { // few, so that phrases meet
		pieces = []string{"付", "款", "pay", "PAY", "Order", "17", " ", " ", ", "}
	}
	var b strings.Builder
	for range g.IntN(7) {
		b.WriteString(pick(g, pieces))
	}
	return b.String()
}

// words is a value of a Match: one that fits somewhere, or any.
func (g *generator) words(column string) string {
	for {
		v := g.text()
		if r := []rune(g.rows[g.IntN(len(g.rows))].Text(g.d.Index(column))); len(r) > 0 && g.IntN(2) == 0 {
			from := g.IntN(len(r))
			v = string(r[from:min(len(r), from+1+g.IntN(6))])
		}
		if g.IntN(3) == 0 {
			v = `"` + strings.ReplaceAll(v, `"`, " ") + `"`
		}
		if g.IntN(3) == 0 {
			v += " " + pick(g, matchable())
		}
		if match(column, v).Check(g.d) == nil {
			return v
		}
	}
}

func (g *generator) documents(n int) []index.Document {
	for i := range n {
		var r catalog.Row
		for _, c := range g.d.Columns {
			switch {
			case c.Name == "id":
				r.AppendString(fmt.Sprintf("%s%d", pick(g, []string{"k", "键", "a/", "%,"}), g.IntN(n)))
			case g.IntN(6) == 0:
				r.AppendNull()
			default:
				r.AppendString(g.cell(c.Name))
			}
		}
		g.rows = append(g.rows, r)
		// one key belongs to one shard, as rows of a table do
		shard := g.shards()[len(r.Text(0))%3]
		doc := Doc(g.d, shard, r, index.MakeVersion(uint32(1+g.IntN(2)), uint64(i+1)), g.IntN(8) == 0)
		if at, ok := g.last[doc.ID()]; !ok || g.docs[at].Version < doc.Version {
			g.last[doc.ID()] = i
		}
		g.docs = append(g.docs, doc)
	}
	return g.docs
}

func (g *generator) value(c catalog.Column) string {
	for {
		v := g.cell(c.Name)
		switch g.IntN(3) {
		case 0:
			if r := &g.rows[g.IntN(len(g.rows))]; !r.Null(g.d.Index(c.Name)) {
				v = r.Text(g.d.Index(c.Name))
			}
		case 1:
			if of := bounds(c.Name); len(of) > 0 {
				v = pick(g, of)
			}
		}
		if catalog.CheckCell(c.Type, v) == nil {
			return v
		}
	}
}

func (g *generator) filter(depth int) catalog.Filter {
	if depth > 0 && g.IntN(2) == 0 {
		f := catalog.Filter{Op: pick(g, []catalog.Op{catalog.And, catalog.Or, catalog.Not})}
		n := 1
		if f.Op != catalog.Not {
			n += g.IntN(3)
		}
		for range n {
			f.Args = append(f.Args, g.filter(depth-1))
		}
		return f
	}
	c := pick(g, g.d.Columns)
	ops := []catalog.Op{catalog.True, catalog.IsNull, catalog.In, catalog.Eq, catalog.Ne, catalog.Lt, catalog.Le, catalog.Gt, catalog.Ge}
	if c.Type.Kind == catalog.Text {
		ops = append(ops, catalog.Prefix, catalog.Contains, catalog.Contains, catalog.Match, catalog.Match, catalog.Match)
	}
	f := catalog.Filter{Op: pick(g, ops), Column: c.Name}
	if f.Op == catalog.Match {
		f.Values = []string{g.words(c.Name)}
		return f
	}
	n := 1
	switch f.Op {
	case catalog.True, catalog.IsNull:
		n = 0
	case catalog.In:
		n += g.IntN(5)
	}
	for range n {
		v := g.value(c)
		if r := []rune(v); f.Op == catalog.Prefix || f.Op == catalog.Contains {
			v = string(r[:min(len(r), 1+g.IntN(2))])
		}
		f.Values = append(f.Values, v)
	}
	return f
}

func (g *generator) search() index.Search {
	s := index.Search{Dataset: g.d.Name, Shards: g.shards()[g.IntN(3):], Filter: g.filter(3), Limit: pick(g, []int{1, 7, 100, 1000, index.MaxLimit})}
	for range g.IntN(3) {
		s.Order = append(s.Order, index.Order{Column: pick(g, g.d.Columns).Name, Desc: g.IntN(2) == 0})
	}
	s.Order = append(s.Order, index.Order{Column: "id", Desc: g.IntN(2) == 0})
	for i := range s.Order { // each once
		if at := slices.IndexFunc(s.Order, func(o index.Order) bool { return o.Column == s.Order[i].Column }); at < i {
			s.Order = slices.Delete(s.Order, i, i+1)
			break
		}
	}
	return s
}

// pages walks both, at most so many pages that it ends.
func (g *generator) pages(one, two *suite, s index.Search) {
	for range 6 {
		p, err := one.x.Search(one.ctx, s)
		if err != nil {
			one.t.Fatalf("filter %s order %v: %v", s.Filter, s.Order, err)
		}
		q, err := two.x.Search(two.ctx, s)
		if err != nil {
			one.t.Fatalf("filter %s order %v: %v", s.Filter, s.Order, err)
		}
		if len(p.Rows) != len(q.Rows) || p.More != q.More {
			one.t.Fatalf("filter %s order %v: %d rows, more %t, and %d rows, more %t", s.Filter, s.Order, len(p.Rows), p.More, len(q.Rows), q.More)
		}
		for i := range p.Rows {
			if !p.Rows[i].Equal(&q.Rows[i]) {
				one.t.Fatalf("filter %s order %v: row %d is %q and %q", s.Filter, s.Order, i, p.Rows[i].Text(0), q.Rows[i].Text(0))
			}
		}
		if !p.More {
			return
		}
		last := &p.Rows[len(p.Rows)-1]
		s.After = make([]*string, len(s.Order))
		for i, o := range s.Order {
			if at := g.d.Index(o.Column); !last.Null(at) {
				text := last.Text(at)
				s.After[i] = &text
			}
		}
	}
}

// scan is what a scan gives, in its order.
func (s *suite) scan(shard string) []string {
	var out []string
	s.ok(s.x.Scan(s.ctx, s.d.Name, shard, "", func(d *index.Stored) error {
		h, _ := d.Row.Hash(nil)
		out = append(out, fmt.Sprint(d.Shard, d.Key, d.Version, d.Hash, d.Deleted, h))
		return nil
	}))
	return out
}
