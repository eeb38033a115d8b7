package elastic_test

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"

	"strata/catalog"
	"strata/fault"
	"strata/index"
	"strata/index/elastic"
	"strata/index/indextest"
	"strata/index/sqlite"
)

// TestSameAnswersAsSQLite gives both indexes the same random rows and asks them the same random searches.
func TestSameAnswersAsSQLite(t *testing.T) {
	other, err := sqlite.Open(t.Context(), sqlite.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = other.Close() }()
	seed := uint64(1)
	if s, err := strconv.ParseUint(os.Getenv("STRATA_SOAK_SEED"), 10, 64); err == nil {
		seed = s
	}
	indextest.Same(t, seed, 3000, 80, other, open(t, elastic.Config{Shards: 2}))
}

// long is a dataset with texts of any length.
func long() *catalog.Dataset {
	text := catalog.Type{Kind: catalog.Text}
	return &catalog.Dataset{Name: "long", Table: "long", Key: []string{"id"}, Partitions: 1, Text: []string{"memo"}, Columns: []catalog.Column{
		{Name: "id", Type: text, Collation: "utf8mb4_bin"},
		{Name: "memo", Type: text, Nullable: true, Collation: "utf8mb4_bin"},
		{Name: "raw", Type: catalog.Type{Kind: catalog.Binary}, Nullable: true},
		{Name: "day", Type: catalog.Type{Kind: catalog.DateTime}, Nullable: true},
	}}
}

// longRows are texts around what a keyword holds, equal for longer than that.
func longRows() []catalog.Row {
	base := strings.Repeat("付", 10_000) // 30,000 bytes, 10,000 characters
	var out []catalog.Row
	for i, memo := range []string{"", "付", strings.Repeat("a", 10_922), strings.Repeat("a", 10_923), base, base + "款", base + strings.Repeat("款", 922),
		base + strings.Repeat("款", 923), base + strings.Repeat("款", 3000), base + strings.Repeat("款", 3000) + "z", strings.Repeat("🀄", 6000)} {
		id, raw, day := fmt.Sprintf("row-%02d", i), strings.Repeat("ab", i*2000), fmt.Sprintf("2026-11-%02d 00:00:00", i+1)
		out = append(out, catalog.RowOf(&id, &memo, &raw, &day))
	}
	for _, id := range []string{"row-nu", strings.Repeat("付", 700)} { // a key of 2,100 bytes: its id is longer than Elasticsearch's
		out = append(out, catalog.RowOf(&id, nil, nil, nil))
	}
	return out
}

// TestL7_long_texts_are_found_as_short_ones_are compares filters over texts that a keyword can't hold with the model.
func TestL7_long_texts_are_found_as_short_ones_are(t *testing.T) {
	t.Parallel()
	x, d, rows := open(t, elastic.Config{}), long(), longRows()
	if err := x.Ensure(t.Context(), d); err != nil {
		t.Fatal(err)
	}
	var docs []index.Document
	var values []string
	for i, r := range rows {
		docs = append(docs, indextest.Doc(d, "long", r, index.Version(i+1), false))
		values = append(values, r.Text(1))
	}
	out, err := x.Apply(t.Context(), "long", docs)
	if err != nil {
		t.Fatal(err)
	}
	for i, o := range out {
		if o.Status != index.Applied {
			t.Fatalf("row %d: %+v", i, o)
		}
	}
	if err := x.Refresh(t.Context(), "long"); err != nil {
		t.Fatal(err)
	}
	var filters []catalog.Filter
	for _, v := range values[1:9] {
		filters = append(filters, catalog.Cmp("memo", catalog.Eq, v), catalog.Cmp("memo", catalog.Ne, v))
		if len(v) > 900 {
			v = v[:900] // of 1, 3 and 4 bytes a character
		}
		for _, op := range []catalog.Op{catalog.Lt, catalog.Le, catalog.Gt, catalog.Ge, catalog.Prefix} {
			filters = append(filters, catalog.Cmp("memo", op, v))
		}
	}
	filters = append(filters, catalog.Filter{Op: catalog.IsNull, Column: "memo"}, catalog.Cmp("memo", catalog.Contains, "付款"),
		catalog.Cmp("memo", catalog.Contains, "款z"), catalog.Filter{Op: catalog.In, Column: "memo", Values: values}, catalog.Cmp("raw", catalog.Gt, "abab"),
		catalog.Cmp("memo", catalog.Match, "款"), catalog.Cmp("memo", catalog.Match, "付款款 Z"), catalog.Cmp("memo", catalog.Match, `"款 z 付"`))
	for _, f := range filters {
		for _, f := range []catalog.Filter{f, {Op: catalog.Not, Args: []catalog.Filter{f}}} {
			longFilter(t, x, d, rows, f)
		}
	}
	_, err = x.Search(t.Context(), index.Search{Dataset: "long", Shards: []string{"long"}, Limit: 5, Order: []index.Order{{Column: "memo"}, {Column: "id"}}})
	if !fault.Is(err, fault.TooLarge) || fault.HintOf(err) == "" {
		t.Errorf("an order by long texts: %v", err)
	}
	p, err := x.Search(t.Context(), index.Search{Dataset: "long", Shards: []string{"long"}, Limit: 5, Order: []index.Order{{Column: "memo", Desc: true}, {Column: "id"}},
		Filter: catalog.Cmp("id", catalog.Lt, "row-03")})
	if err != nil || len(p.Rows) != 3 || p.Rows[0].Text(1) != values[1] {
		t.Errorf("an order where none is long: %d rows, %v", len(p.Rows), err)
	}
	got, err := x.Get(t.Context(), "long", []string{docs[len(docs)-1].ID(), docs[8].ID()})
	if err != nil || len(got) != 2 || !got[0].Row.Equal(&rows[len(rows)-1]) || !got[1].Row.Equal(&rows[8]) {
		t.Errorf("Get: %d documents, %v", len(got), err)
	}
}

func longFilter(t *testing.T, x index.Index, d *catalog.Dataset, rows []catalog.Row, f catalog.Filter) {
	t.Helper()
	want := 0
	for i := range rows {
		if f.Accepts(d, &rows[i]) {
			want++
		}
	}
	s := index.Search{Dataset: "long", Shards: []string{"long"}, Filter: f, Limit: 5, Order: []index.Order{{Column: "id", Desc: true}}}
	if n, err := x.Count(t.Context(), s); err != nil || n != int64(want) {
		t.Errorf("%.60s: Count says %d, %v, want %d", f, n, err, want)
	}
	found := 0
	for {
		p, err := x.Search(t.Context(), s)
		if err != nil {
			t.Fatalf("%.60s: %v", f, err)
		}
		for i := range p.Rows {
			if !f.Accepts(d, &p.Rows[i]) {
				t.Errorf("%.60s: found %s", f, p.Rows[i].Text(0))
			}
			found++
		}
		if !p.More {
			break
		}
		last := p.Rows[len(p.Rows)-1].Text(0)
		s.After = []*string{&last}
	}
	if found != want {
		t.Errorf("%.60s: %d rows, want %d", f, found, want)
	}
}

// TestEnsureRefusesWhatItCantHold has datasets that Elasticsearch can't have.
func TestEnsureRefusesWhatItCantHold(t *testing.T) {
	x := open(t, elastic.Config{})
	for _, name := range []string{"", "a.b", "_id", "_strata", "a*", " a"} {
		d := indextest.Entries()
		d.Columns[3].Name = name
		if err := x.Ensure(t.Context(), d); !fault.Is(err, fault.Invalid) || fault.HintOf(err) == "" {
			t.Errorf("column %q: %v", name, err)
		}
	}
	if err := x.Ensure(t.Context(), indextest.Entries()); err != nil {
		t.Fatal(err)
	}
	for name, f := range map[string]catalog.Filter{
		"too many values":   {Op: catalog.In, Column: "amount", Values: strings.Split(strings.Repeat("1,", 30_001)+"1", ",")},
		"too deep":          deep(30),
		"too many":          {Op: catalog.Or, Args: slicesOf(catalog.Cmp("amount", catalog.Eq, "1"), 501)},
		"too long a bound":  catalog.Cmp("memo", catalog.Ge, strings.Repeat("x", 901)),
		"too long a prefix": catalog.Cmp("memo", catalog.Prefix, strings.Repeat("x", 901)),
		"too long a text":   catalog.Cmp("memo", catalog.Contains, strings.Repeat("x", 201)),
	} {
		if _, err := x.Count(t.Context(), index.Search{Dataset: "entry", Shards: []string{november}, Filter: f}); !fault.Is(err, fault.TooLarge) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, f := range map[string]catalog.Filter{
		"values":     {Op: catalog.In, Column: "amount", Values: strings.Split(strings.Repeat("1,", 29_999)+"1", ",")},
		"deep":       deep(8),
		"conditions": {Op: catalog.Or, Args: slicesOf(catalog.Filter{Op: catalog.Not, Args: []catalog.Filter{catalog.Cmp("memo", catalog.Prefix, "1")}}, 249)},
		"bound":      catalog.Cmp("memo", catalog.Ge, strings.Repeat("x", 900)),
		"prefix":     {Op: catalog.Not, Args: []catalog.Filter{catalog.Cmp("memo", catalog.Prefix, strings.Repeat("付", 300))}},
		"text":       catalog.Cmp("memo", catalog.Contains, strings.Repeat("付", 200)),
		"pictures":   catalog.Cmp("memo", catalog.Contains, strings.Repeat("🀄", 200)),
		"wildcards":  catalog.Cmp("memo", catalog.Contains, strings.Repeat("*?", 100)),
	} {
		if n, err := x.Count(t.Context(), index.Search{Dataset: "entry", Shards: []string{november}, Filter: f}); err != nil || n != 0 {
			t.Errorf("as many %s as are allowed: %d, %v", name, n, err)
		}
	}
}

// deep is a filter of n levels.
func deep(n int) catalog.Filter {
	f := catalog.Cmp("memo", catalog.Ne, "1")
	for i := range n {
		f = catalog.Filter{Op: []catalog.Op{catalog.And, catalog.Or}[i%2], Args: []catalog.Filter{f, catalog.Cmp("amount", catalog.Ne, "1")}}
	}
	return f
}

func slicesOf(f catalog.Filter, n int) []catalog.Filter {
	out := make([]catalog.Filter, n)
	for i := range out {
		out[i] = f
	}
	return out
}
