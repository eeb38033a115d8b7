package routertest

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"strata/catalog"
	"strata/fault"
	"strata/router"
)

// Place is a Source under test with what it holds.
type Place struct {
	Source router.Source
	// Load puts rows into a shard of Event and returns the holding under which the source has it.
	Load func(t testing.TB, shard catalog.Shard, rows []catalog.Row) catalog.Holding
	// Leave takes the shard away from the source; nil: the source owns nothing.
	Leave func(t testing.TB, h catalog.Holding)
	// Beat raises the heartbeat of live that the source has reached; nil: it has none.
	Beat func(t testing.TB) uint64
	// Sums: the source adds.
	Sums bool
}

// Exercise runs the sentences of router.Source's contract over a source.
func Exercise(t *testing.T, open func(t *testing.T) Place) {
	t.Run("rows are those of the plain definition, in its order", func(t *testing.T) { exerciseRows(t, open(t)) })
	t.Run("pages joined by their last cells are the whole", func(t *testing.T) { exercisePages(t, open(t)) })
	t.Run("aggregates are those of the plain definition", func(t *testing.T) { exerciseAggregates(t, open(t)) })
	t.Run("another epoch or a range that left is stale", func(t *testing.T) { exerciseStale(t, open(t)) })
	t.Run("a heartbeat that was not reached is unavailable", func(t *testing.T) { exerciseFreshness(t, open(t)) })
	t.Run("the end stays the end and a close ends", func(t *testing.T) { exerciseEnd(t, open(t)) })
	t.Run("a cancelled context is an error and not an end", func(t *testing.T) { exerciseCancel(t, open(t)) })
}

func fetch(holdings []catalog.Holding) router.Fetch {
	d := Event()
	return router.Fetch{Dataset: d, Holdings: holdings, Columns: d.Names(), Deadline: time.Now().Add(2 * time.Minute),
		Order:     []router.Order{{Column: "at"}, {Column: "account_id"}, {Column: "seq"}},
		Freshness: router.Freshness{Wait: 50 * time.Millisecond}}
}

// All reads a fetch to its end.
func All(ctx context.Context, s router.Source, f router.Fetch) ([]catalog.Row, error) {
	o, err := s.Open(ctx, f)
	if err != nil {
		return nil, err
	}
	defer func() { _ = o.Rows.Close() }() // nothing is left to say
	var out []catalog.Row
	for {
		row, err := o.Rows.Next(ctx)
		if err == io.EOF {
			return out, nil
		}
		if err != nil {
			return out, err
		}
		out = append(out, row.Clone())
	}
}

// load puts three months of rows into a place.
func load(t *testing.T, p Place, n int) ([]catalog.Holding, []catalog.Row) {
	var holdings []catalog.Holding
	var all []catalog.Row
	for month := 1; month <= 3; month++ {
		rows := RandomEvents(7, month, n)
		holdings = append(holdings, p.Load(t, Month(month), rows))
		all = append(all, rows...)
	}
	return holdings, all
}

func same(t *testing.T, what string, got, want []catalog.Row) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: %d rows instead of %d", what, len(got), len(want))
	}
	for i := range got {
		if !got[i].Equal(&want[i]) {
			t.Fatalf("%s: row %d is\n%s instead of\n%s", what, i, Text(&got[i]), Text(&want[i]))
		}
	}
}

// conditions are filters over every type and operation.
func conditions() []catalog.Filter {
	is := func(col string, op catalog.Op, vals ...string) catalog.Filter {
		return catalog.Filter{Op: op, Column: col, Values: vals}
	}
	not := func(f catalog.Filter) catalog.Filter {
		return catalog.Filter{Op: catalog.Not, Args: []catalog.Filter{f}}
	}
	out := []catalog.Filter{{},
		is("account_id", catalog.Eq, "3"), is("account_id", catalog.In, "1", "5", "77"), is("amount", catalog.Gt, "0"),
		is("amount", catalog.Le, "-123456789012345678.5"), is("at", catalog.Ge, "2026-02-10 00:00:00.000000"),
		is("at", catalog.Lt, "2026-02-01 00:00:00.000000"), is("at", catalog.In, "2026-02-10 01:00:00.000001"),
		is("rate", catalog.Eq, "9"), is("rate", catalog.Lt, "9.5"), is("rate", catalog.IsNull), is("rate", catalog.Ne, "10.00"),
		is("name", catalog.Eq, "alice"), is("name", catalog.Ne, "alice"), is("name", catalog.In, "ALICE", "付款", ""),
		is("name", catalog.Prefix, "al"), is("name", catalog.Prefix, "bob_"), is("name", catalog.Prefix, "bob|"), is("name", catalog.Prefix, ""),
		is("name", catalog.Contains, "_%"), is("name", catalog.Contains, "款"), is("name", catalog.Gt, "Alice"), is("name", catalog.Eq, ""),
		is("note", catalog.Gt, "a"), is("note", catalog.Le, "ab"), is("note", catalog.Eq, "付"), is("unit", catalog.Eq, "付"),
		is("unit", catalog.In, "CNY", "付"), is("unit", catalog.Prefix, "付"), is("unit", catalog.Eq, "CNY"),
		is("score", catalog.Eq, "0.1"), is("score", catalog.Ge, "3"), is("score", catalog.Lt, "-1"), is("raw", catalog.Eq, "ff"),
		is("raw", catalog.Lt, "00ff"), is("raw", catalog.In, "", "ff00"), is("raw", catalog.Eq, ""),
	}
	for _, f := range slices.Clone(out[1:]) {
		out = append(out, not(f))
	}
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 30 {
		a, b, c := out[rnd.IntN(len(out))], out[rnd.IntN(len(out))], out[rnd.IntN(len(out))]
		out = append(out, catalog.Filter{Op: catalog.Or, Args: []catalog.Filter{a, {Op: catalog.And, Args: []catalog.Filter{b, c}}}})
	}
	return out
}

// orders are total orders; by every sortable type, both ways, nullable ones too.
func orders() [][]router.Order {
	var out [][]router.Order
	for _, c := range []string{"at", "account_id", "amount", "rate", "note", "score", "raw", "unit"} {
		for _, desc := range []bool{false, true} {
			o := []router.Order{{Column: c, Desc: desc}}
			for _, k := range []string{"account_id", "seq"} {
				if k != c {
					o = append(o, router.Order{Column: k, Desc: desc})
				}
			}
			out = append(out, o)
		}
	}
	return append(out, []router.Order{{Column: "note", Desc: true}, {Column: "rate"}, {Column: "account_id", Desc: true}, {Column: "seq"}})
}

func accepted(d *catalog.Dataset, rows []catalog.Row, f catalog.Filter) []catalog.Row {
	return slices.DeleteFunc(slices.Clone(rows), func(r catalog.Row) bool { return !f.Accepts(d, &r) })
}

func exerciseRows(t *testing.T, p Place) {
	holdings, all := load(t, p, 40)
	f := fetch(holdings)
	for i, filter := range conditions() {
		f.Filter, f.Order = filter, orders()[i%len(orders())]
		got, err := All(t.Context(), p.Source, f)
		if err != nil {
			t.Fatalf("%s: %v", filter, err)
		}
		same(t, fmt.Sprint(filter, f.Order), got, Sorted(f.Dataset, accepted(f.Dataset, all, filter), f.Order, nil))
	}
}

func exercisePages(t *testing.T, p Place) {
	holdings, all := load(t, p, 25)
	f := fetch(holdings)
	for i, order := range orders() {
		f.Order, f.After, f.Limit = order, nil, 4+i*5
		f.Filter = catalog.Filter{}
		if i%2 == 1 {
			f.Filter = catalog.Cmp("account_id", catalog.Eq, "3")
		}
		var got []catalog.Row
		for range len(all) + 1 {
			page, err := All(t.Context(), p.Source, f)
			if err != nil {
				t.Fatal(order, err)
			}
			page = page[:min(len(page), f.Limit)] // a source may give more
			if len(page) == 0 {
				break
			}
			got = append(got, page...)
			f.After = Cells(f.Dataset, &page[len(page)-1], order)
		}
		same(t, fmt.Sprint(order), got, Sorted(f.Dataset, accepted(f.Dataset, all, f.Filter), order, nil))
	}
}

func exerciseAggregates(t *testing.T, p Place) {
	holdings, all := load(t, p, 20)
	f := fetch(holdings)
	f.Order = nil
	aggs := []router.Aggregate{{Func: router.Count, Name: "n"}, {Func: router.Sum, Column: "amount", Name: "s"}, {Func: router.Sum, Column: "rate", Name: "r"}}
	if !p.Sums {
		aggs = aggs[:1]
	}
	for _, by := range [][]string{{}, {"unit"}, {"note"}, {"account_id", "unit"}, {"rate", "at"}} {
		for _, filter := range conditions()[:8] {
			f.Filter, f.Columns, f.Aggregates = filter, by, aggs
			got, err := All(t.Context(), p.Source, f)
			if err != nil {
				t.Fatal(err)
			}
			want := Aggregated(f.Dataset, accepted(f.Dataset, all, filter), by, aggs)
			same(t, fmt.Sprint(by, filter), merged(by, aggs, got), merged(by, aggs, want))
		}
	}
}

// merged adds up partial groups and sorts them, with the plain definition itself.
func merged(by []string, aggs []router.Aggregate, rows []catalog.Row) []catalog.Row {
	d := &catalog.Dataset{}
	for _, g := range by {
		c, _ := Event().Column(g)
		d.Columns = append(d.Columns, c)
	}
	var sums []router.Aggregate
	for _, a := range aggs {
		c, _ := Event().Column(a.Column)
		c.Name = a.Name
		d.Columns = append(d.Columns, c)
		sums = append(sums, router.Aggregate{Func: router.Sum, Column: a.Name, Name: a.Name})
	}
	out := Aggregated(d, rows, by, sums)
	slices.SortFunc(out, func(a, b catalog.Row) int {
		return slices.Compare(a.AppendImage(nil), b.AppendImage(nil))
	})
	return slices.DeleteFunc(out, func(r catalog.Row) bool { // no rows: 0 or nothing
		return len(by) == 0 && (r.Text(0) == "0" || r.Null(0))
	})
}

func exerciseStale(t *testing.T, p Place) {
	if p.Leave == nil {
		t.Skip("the source owns nothing")
	}
	holdings, _ := load(t, p, 5)
	f := fetch(slices.Clone(holdings))
	f.Holdings[1].Epoch++
	if _, err := All(t.Context(), p.Source, f); !fault.Is(err, fault.Stale) {
		t.Fatalf("a higher epoch gave %v", err)
	}
	f.Holdings[1].Epoch--
	p.Leave(t, f.Holdings[1])
	if _, err := All(t.Context(), p.Source, f); !fault.Is(err, fault.Stale) {
		t.Fatalf("a range that left gave %v", err)
	}
	f.Holdings = []catalog.Holding{holdings[0], holdings[2]}
	if rows, err := All(t.Context(), p.Source, f); err != nil || len(rows) != 10 {
		t.Fatalf("the others gave %d rows and %v", len(rows), err)
	}
}

func exerciseFreshness(t *testing.T, p Place) {
	if p.Beat == nil {
		t.Skip("the source has no heartbeat of live")
	}
	holdings, _ := load(t, p, 5)
	f := fetch(holdings)
	f.Freshness.AtLeast = p.Beat(t)
	o, err := p.Source.Open(t.Context(), f)
	if err != nil || o.Heartbeat != f.Freshness.AtLeast {
		t.Fatalf("heartbeat %d and %v, not %d", o.Heartbeat, err, f.Freshness.AtLeast)
	}
	_ = o.Rows.Close()
	f.Freshness.AtLeast++
	if _, err := p.Source.Open(t.Context(), f); !fault.Is(err, fault.Unavailable) {
		t.Fatalf("a heartbeat of the future gave %v", err)
	}
}

func exerciseEnd(t *testing.T, p Place) {
	holdings, _ := load(t, p, 5)
	f := fetch(holdings)
	f.Filter = catalog.Cmp("account_id", catalog.Eq, "99")
	o, err := p.Source.Open(t.Context(), f)
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if _, err := o.Rows.Next(t.Context()); err != io.EOF {
			t.Fatalf("%v instead of EOF", err)
		}
	}
	f.Filter = catalog.Filter{}
	if o, err = p.Source.Open(t.Context(), f); err != nil {
		t.Fatal(err)
	}
	if _, err := o.Rows.Next(t.Context()); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := o.Rows.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := o.Rows.Next(t.Context()); err == nil || err == io.EOF {
		t.Fatalf("%v after Close", err)
	}
}

func exerciseCancel(t *testing.T, p Place) {
	holdings, _ := load(t, p, 5)
	ctx, cancel := context.WithCancel(t.Context())
	o, err := p.Source.Open(ctx, fetch(holdings))
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	if _, err := o.Rows.Next(ctx); err == nil || err == io.EOF {
		t.Fatalf("%v after the context was cancelled", err)
	}
	if err := o.Rows.Close(); err != nil {
		t.Fatal(err)
	}
}
