package router_test

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"strata/catalog"
	"strata/fault"
	"strata/router"
	"strata/router/routertest"
)

// loadMonths loads n rows into each of three months of live and returns all in the default order.
func loadMonths(t testing.TB, w routertest.World, n int) []catalog.Row {
	t.Helper()
	var all []catalog.Row
	for month := 1; month <= 3; month++ {
		rows := routertest.RandomEvents(3, month, n)
		w.Load(t, routertest.Event(), routertest.Month(month), rows)
		all = append(all, rows...)
	}
	d := routertest.Event()
	return routertest.Sorted(d, all, []router.Order{{Column: "at"}, {Column: "account_id"}, {Column: "seq"}}, nil)
}

func same(t testing.TB, got, want []catalog.Row) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%d rows instead of %d", len(got), len(want))
	}
	for i := range got {
		if !got[i].Equal(&want[i]) {
			t.Fatalf("row %d is\n%s instead of\n%s", i, routertest.Text(&got[i]), routertest.Text(&want[i]))
		}
	}
}

// TestL5_RowsOnceThroughMovesInMidStream moves ranges to and fro before every single row of a stream: every row comes
// exactly once, in order.
func TestL5_RowsOnceThroughMovesInMidStream(t *testing.T) {
	for seed := range uint64(20) {
		r, w := memoryRouter(t)
		want := loadMonths(t, w, 15)
		rnd := rand.New(rand.NewPCG(seed, 5))
		archived := map[int]bool{}
		var mu sync.Mutex // both stores give out their first rows at the same time
		move := func(int) error {
			mu.Lock()
			defer mu.Unlock()
			if rnd.IntN(3) > 0 {
				return nil
			}
			month := 1 + rnd.IntN(3)
			if archived[month] {
				w.Restore(t, routertest.Event(), routertest.Month(month).Table)
			} else {
				w.Archive(t, routertest.Event(), routertest.Month(month).Table)
			}
			archived[month] = !archived[month]
			return nil
		}
		w.Live.OnRow(move)
		w.Archived.OnRow(move)
		got, served, _, err := routertest.Answer(t.Context(), r, router.Query{Dataset: "event"})
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		same(t, got, want)
		if !served.Complete || served.Replans == 0 {
			t.Fatalf("seed %d: complete %v after %d new plans", seed, served.Complete, served.Replans)
		}
	}
}

// TestL5_PagesThroughMoves moves a range between any two pages, and between the view and the opening of the sources.
func TestL5_PagesThroughMoves(t *testing.T) {
	r, w := memoryRouter(t)
	want := loadMonths(t, w, 15)
	archived := false
	w.OnView(func(n int) {
		if n%3 != 0 {
			return
		}
		shard := routertest.Month(2).Table
		if archived {
			w.Restore(t, routertest.Event(), shard)
		} else {
			w.Archive(t, routertest.Event(), shard)
		}
		archived = !archived
	})
	q := router.Query{Dataset: "event", Limit: 4}
	var got []catalog.Row
	for range len(want) {
		page, _, cursor, err := routertest.Answer(t.Context(), r, q)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, page...)
		if q.Cursor = cursor; cursor == "" {
			break
		}
	}
	same(t, got, want)
}

// TestL5_ServersMoveInMidStream is the same over real servers, with snapshots that are given up after each page.
func TestL5_ServersMoveInMidStream(t *testing.T) {
	r, w := serverRouter(t)
	want := loadMonths(t, w, 400)
	x, err := r.Query(t.Context(), router.Query{Dataset: "event"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = x.Close() }() // nothing is left to say
	var got []catalog.Row
	for {
		row, err := x.Next(t.Context())
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, row.Clone())
		if len(got) == 300 { // the stream is in January; March isn't held up by a page, but by the snapshot
			done := make(chan struct{})
			go func() {
				defer close(done)
				w.Archive(t, routertest.Event(), routertest.Month(3).Table)
			}()
			select {
			case <-done:
			case <-time.After(20 * time.Second):
				t.Fatal("a stream that nobody reads holds up a move")
			}
		}
	}
	same(t, got, want)
	if s := x.Served(); s.Replans != 1 {
		t.Fatalf("%d new plans: %s", s.Replans, routertest.Proof(s))
	}
}

// TestL7_FailureIsNeverAShortAnswer lets a source fail at every single row, once and for good, for streams, pages, strong
// streams and sums: the answer is whole, or an error.
func TestL7_FailureIsNeverAShortAnswer(t *testing.T) {
	boom := fault.New(fault.Unavailable, "read", "connection lost")
	queries := map[string]router.Query{
		"stream": {Dataset: "event"},
		"page":   {Dataset: "event", Limit: 30},
		"strong": {Dataset: "event", Freshness: router.Freshness{Strong: true}},
		"sum":    {Dataset: "event", GroupBy: []string{"unit"}, Aggregates: []router.Aggregate{{Func: router.Sum, Column: "amount"}}},
	}
	for name, q := range queries {
		for _, forGood := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, for good %v", name, forGood), func(t *testing.T) {
				r, w := memoryRouter(t)
				loadMonths(t, w, 10)
				w.Archive(t, routertest.Event(), routertest.Month(1).Table)
				want, _, _, err := routertest.Answer(t.Context(), r, q)
				if err != nil {
					t.Fatal(err)
				}
				for at := 1; at <= 32; at++ {
					fired := false
					w.Live.OnRow(func(n int) error {
						if n == at || forGood && n > at {
							fired = true
							return boom
						}
						return nil
					})
					got, served, _, err := routertest.Answer(t.Context(), r, q)
					switch {
					case err == nil:
						same(t, got, want)
						if !served.Complete {
							t.Fatalf("failure at row %d: not complete", at)
						}
						if fired && forGood {
							t.Fatalf("failure at row %d for good gave an answer", at)
						}
					case served.Complete:
						t.Fatalf("failure at row %d: complete with %v", at, err)
					case !errors.Is(err, boom):
						t.Fatalf("failure at row %d: %v", at, err)
					case !forGood && name != "strong":
						t.Fatalf("failure at row %d: one failure wasn't mended: %v", at, err)
					}
				}
			})
		}
	}
}

// TestL7_StrongNeverMixesSnapshots: a strong stream that lost its snapshot after the first row ends with the error.
func TestL7_StrongNeverMixesSnapshots(t *testing.T) {
	r, w := memoryRouter(t)
	loadMonths(t, w, 10)
	w.Live.OnRow(func(n int) error {
		if n == 5 {
			return fault.New(fault.Stale, "read", "moved")
		}
		return nil
	})
	rows, served, _, err := routertest.Answer(t.Context(), r, router.Query{Dataset: "event", Freshness: router.Freshness{Strong: true}})
	if !fault.Is(err, fault.Stale) || served.Complete || len(rows) != 4 {
		t.Fatalf("%d rows, complete %v, %v", len(rows), served.Complete, err)
	}
}

// TestL7_DuplicateKeyIsAProofThatFailed: two rows that the order can't tell apart would be lost between two pages.
func TestL7_DuplicateKeyIsAProofThatFailed(t *testing.T) {
	r, w := memoryRouter(t)
	rows := routertest.RandomEvents(1, 1, 3)
	late := routertest.Event().LateShard(1)
	w.Load(t, nil, routertest.Month(1), rows)
	w.Load(t, nil, late, rows[:1])
	for _, limit := range []int{0, 1, 2} {
		q := router.Query{Dataset: "event", Limit: limit, Order: []router.Order{{Column: "seq"}}}
		if _, _, _, err := routertest.Answer(t.Context(), r, q); !fault.Is(err, fault.Proof) {
			t.Fatalf("limit %d: %v", limit, err)
		}
	}
}

// TestL8_SumsNeedTheirUnitAndNeverUseTheIndex.
func TestL8_SumsNeedTheirUnitAndNeverUseTheIndex(t *testing.T) {
	index := routertest.NewMemoryIndex()
	r, w := memoryRouter(t, func(c *router.Config) { c.Index, c.StoreRows = index, 1000 })
	loadMonths(t, w, 10)
	costs := int64(100_001)
	w.Live.OnCost(func(router.Fetch) (router.Cost, error) { return router.Cost{Rows: costs}, nil })
	sum := router.Query{Dataset: "event", Aggregates: []router.Aggregate{{Func: router.Sum, Column: "amount"}}}
	if _, err := r.Query(t.Context(), sum); !fault.Is(err, fault.Invalid) || !strings.Contains(fault.HintOf(err), "GROUP BY unit") {
		t.Fatalf("a sum over units gave %v", err)
	}
	sum.GroupBy = []string{"unit"}
	if _, err := r.Query(t.Context(), sum); !fault.Is(err, fault.TooLarge) {
		t.Fatalf("a sum too large for the store gave %v", err)
	}
	if n := index.Opens(); n != 0 {
		t.Fatalf("the index was asked for a sum")
	}
	count := router.Query{Dataset: "event", Aggregates: []router.Aggregate{{Func: router.Count}}}
	if _, err := r.Query(t.Context(), count); err != nil || index.Opens() != 1 {
		t.Fatalf("a count: %v, index asked %d times", err, index.Opens())
	}
}

// TestL9_BoundsRefuseBeforeAnythingRuns.
func TestL9_BoundsRefuseBeforeAnythingRuns(t *testing.T) {
	deep := catalog.Cmp("seq", catalog.Eq, "1")
	for range 40 {
		deep = catalog.Filter{Op: catalog.Not, Args: []catalog.Filter{deep}}
	}
	wide := catalog.Filter{Op: catalog.Or}
	for range 600 {
		wide.Args = append(wide.Args, catalog.Cmp("seq", catalog.Eq, "1"))
	}
	many := catalog.Filter{Op: catalog.In, Column: "seq", Values: slices.Repeat([]string{"1"}, 1001)}
	long := catalog.Cmp("name", catalog.Eq, strings.Repeat("x", 300<<10))
	cases := map[string]router.Query{
		"page": {Limit: 10_001}, "depth": {Filter: deep}, "conditions": {Filter: wide}, "values": {Filter: many}, "bytes": {Filter: long},
		"timeout": {Timeout: 25 * time.Hour}, "scan": {}, "parts": {Filter: catalog.Cmp("seq", catalog.Gt, "0")},
	}
	for name, q := range cases {
		t.Run(name, func(t *testing.T) {
			r, w := memoryRouter(t, func(c *router.Config) {
				if name == "parts" {
					c.Limits.Parts = 2
				}
			})
			loadMonths(t, w, 3)
			if name == "scan" {
				w.Live.OnCost(func(router.Fetch) (router.Cost, error) { return router.Cost{Rows: 700_000}, nil })
			}
			q.Dataset = "event"
			_, err := r.Query(t.Context(), q)
			if !fault.Is(err, fault.TooLarge) {
				t.Fatalf("got %v", err)
			}
			if name != "timeout" && fault.HintOf(err) == "" {
				t.Fatalf("no hint with %v", err)
			}
			if n := w.Live.Opens(); n != 0 {
				t.Fatalf("the source was opened %d times", n)
			}
		})
	}
}

// TestL9_GroupsQueriesAndPlansAreBounded.
func TestL9_GroupsQueriesAndPlansAreBounded(t *testing.T) {
	r, w := memoryRouter(t, func(c *router.Config) { c.Limits.Groups, c.Limits.Queries = 5, 1 })
	loadMonths(t, w, 10)
	byKey := router.Query{Dataset: "event", GroupBy: []string{"seq"}, Aggregates: []router.Aggregate{{Func: router.Count}}}
	if _, err := r.Query(t.Context(), byKey); !fault.Is(err, fault.TooLarge) {
		t.Fatalf("too many groups gave %v", err)
	}
	x, err := r.Query(t.Context(), router.Query{Dataset: "event"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Query(t.Context(), router.Query{Dataset: "event"}); !fault.Is(err, fault.Busy) {
		t.Fatalf("too many queries gave %v", err)
	}
	if err := x.Close(); err != nil {
		t.Fatal(err)
	}
	before := w.Live.Opens()
	w.Live.OnOpen(func() error { return fault.New(fault.Stale, "open", "always moving") })
	if _, err := r.Query(t.Context(), router.Query{Dataset: "event"}); !fault.Is(err, fault.Stale) {
		t.Fatalf("a range that always moves gave %v", err)
	}
	if n := w.Live.Opens() - before; n != 5 {
		t.Fatalf("%d plans", n)
	}
}

// TestSourcesTakeOverFromEachOther: what an index of the table can't serve goes to the index; a store that is away too;
// an index that lags gives back to the store.
func TestSourcesTakeOverFromEachOther(t *testing.T) {
	index := routertest.NewMemoryIndex()
	r, w := memoryRouter(t, func(c *router.Config) { c.Index = index })
	want := loadMonths(t, w, 10)
	w.Archive(t, routertest.Event(), routertest.Month(1).Table)
	for month := 1; month <= 3; month++ {
		index.Load(routertest.Month(month), 0, routertest.RandomEvents(3, month, 10))
	}
	big := func(table string, rows int64) func(router.Fetch) (router.Cost, error) {
		return func(f router.Fetch) (router.Cost, error) {
			if f.Holdings[0].Shard.Table == table {
				return router.Cost{Rows: rows}, nil
			}
			return router.Cost{Indexed: true, Why: "index at"}, nil
		}
	}
	ask := func(q router.Query) string {
		t.Helper()
		q.Dataset = "event"
		got, served, _, err := routertest.Answer(t.Context(), r, q)
		if err != nil {
			t.Fatal(err)
		}
		same(t, got, want)
		return routertest.Proof(served)
	}
	w.Live.OnCost(big("event_202602", 200_000))
	if got := ask(router.Query{}); got != "archive 10 (event_202601@1), index 10 (event_202602@0), live 10 (event_202603@0)" {
		t.Fatal(got)
	}
	if got := ask(router.Query{Freshness: router.Freshness{Strong: true}}); strings.Contains(got, "index") {
		t.Fatal(got)
	}
	w.Live.SetBeat(9, 0)
	if got := ask(router.Query{Freshness: router.Freshness{AtLeast: 9}}); strings.Contains(got, "index") {
		t.Fatal(got)
	}
	w.Live.OnOpen(func() error { return fault.New(fault.Unavailable, "open", "away") })
	if got := ask(router.Query{}); got != "archive 10 (event_202601@1), index 20 (event_202602@0 event_202603@0)" {
		t.Fatal(got)
	}
}

func BenchmarkFirstPage(b *testing.B) {
	r, w := serverRouter(b)
	loadMonths(b, w, 2000)
	q := router.Query{Dataset: "event", Limit: 50, Filter: catalog.Cmp("account_id", catalog.Eq, "3")}
	b.Run("router", func(b *testing.B) {
		for b.Loop() {
			if _, _, _, err := routertest.Answer(b.Context(), r, q); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("bare", func(b *testing.B) {
		for b.Loop() {
			d := routertest.Event()
			rows, err := w.Live.Query(b.Context(), d, nil, "SELECT * FROM event_202601 WHERE account_id=3 ORDER BY at, account_id, seq LIMIT 51")
			if err != nil {
				b.Fatal(err)
			}
			var row catalog.Row
			for more := true; more; {
				if more, err = rows.Next(&row); err != nil {
					b.Fatal(err)
				}
			}
		}
	})
}
