package router_test

import (
	"fmt"
	"strings"
	"testing"

	"strata/catalog"
	"strata/fault"
	"strata/router"
	"strata/router/mysql"
	"strata/router/routertest"
	sqltext "strata/router/sql"
)

// wordsRouter has live and archive, which could answer anything by an index of their tables, and the search index.
func wordsRouter(t *testing.T, change ...func(*router.Config)) (*router.Router, *routertest.Memories, *routertest.Memory) {
	t.Helper()
	index := routertest.NewMemoryIndex()
	r, w := memoryRouter(t, append([]func(*router.Config){func(c *router.Config) { c.Index = index }}, change...)...)
	for month := 1; month <= 2; month++ {
		rows := routertest.RandomEvents(3, month, 40)
		w.Load(t, routertest.Event(), routertest.Month(month), rows)
		index.Load(routertest.Month(month), 0, rows)
	}
	w.Archive(t, routertest.Event(), "event_202601")
	return r, w, index
}

func TestL7_WordsAreAskedOfTheIndexAlone(t *testing.T) {
	r, _, _ := wordsRouter(t)
	for _, where := range []string{"MATCH(name) AGAINST ('ALICE')", "MATCH(name) AGAINST ('付款') OR account_id = 1", "NOT MATCH(name) AGAINST ('bob x')",
		"account_id = 1 AND (seq > 0 AND MATCH(name) AGAINST ('ålice'))"} {
		q, err := sqltext.Parse("SELECT seq FROM event WHERE " + where)
		if err != nil {
			t.Fatal(err)
		}
		want := 0
		for month := 1; month <= 2; month++ {
			for _, row := range routertest.RandomEvents(3, month, 40) {
				if q.Filter.Accepts(routertest.Event(), &row) {
					want++
				}
			}
		}
		rows, served, _, err := routertest.Answer(t.Context(), r, q)
		if err != nil || len(rows) != want || want == 0 || len(served.Sources) != 1 || served.Sources[0].Source != "index" ||
			fmt.Sprint(served.Sources[0].Why) != "only the index has the words of name" {
			t.Errorf("%s: %d rows instead of %d, %+v, %v", where, len(rows), want, served, err)
		}
	}
}

func TestWords_that_the_index_may_not_be_asked_for_are_refused(t *testing.T) {
	is := catalog.Cmp("name", catalog.Match, "alice")
	sum := []router.Aggregate{{Func: router.Sum, Column: "amount", Name: "s"}}
	masked := func(c *router.Config) {
		c.Datasets[0].Masks = []catalog.Mask{{Column: "note", Kind: catalog.MaskLast4}}
	}
	for name, c := range map[string]struct {
		q      router.Query
		change func(*router.Config)
		kind   fault.Kind
		hint   string
	}{
		"a strong query":          {router.Query{Filter: is, Freshness: router.Freshness{Strong: true}}, nil, fault.Invalid, "without strong"},
		"a sum":                   {router.Query{Filter: is, Aggregates: sum, GroupBy: []string{"unit"}}, nil, fault.Invalid, "add them up"},
		"no index":                {router.Query{Filter: is}, func(c *router.Config) { c.Index = nil }, fault.Invalid, "LIKE"},
		"a masked column":         {router.Query{Filter: is, Columns: []string{"note"}}, masked, fault.Invalid, "leave note out"},
		"a column without words":  {router.Query{Filter: catalog.Cmp("note", catalog.Match, "a")}, nil, fault.Invalid, "text: [note]"},
		"no word":                 {router.Query{Filter: catalog.Cmp("name", catalog.Match, "…")}, nil, fault.Invalid, "letters"},
		"more words than allowed": {router.Query{Filter: catalog.Cmp("name", catalog.Match, strings.Repeat("付", 101))}, nil, fault.TooLarge, "fewer"},
	} {
		changes := []func(*router.Config){func(*router.Config) {}}
		if c.change != nil {
			changes = append(changes, c.change)
		}
		r, w, index := wordsRouter(t, changes...)
		c.q.Dataset = "event"
		_, _, _, err := routertest.Answer(t.Context(), r, c.q)
		if !fault.Is(err, c.kind) || !strings.Contains(fault.HintOf(err), c.hint) {
			t.Errorf("%s: %v, hint %q", name, err, fault.HintOf(err))
		}
		if n := w.Live.Opens() + w.Archived.Opens() + index.Opens(); n != 0 {
			t.Errorf("%s: %d sources were asked", name, n)
		}
	}
	r, w, index := wordsRouter(t)
	index.OnOpen(func() error { return fault.New(fault.Unavailable, "open index", "it is away") })
	if _, _, _, err := routertest.Answer(t.Context(), r, router.Query{Dataset: "event", Filter: is}); !fault.Is(err, fault.Unavailable) ||
		!strings.Contains(err.Error(), "it is away") || w.Live.Opens()+w.Archived.Opens() != 0 {
		t.Errorf("an index that is away: %v", err)
	}
}

func TestWords_are_never_asked_of_a_server(t *testing.T) {
	_, w := serverRouter(t)
	w.Load(t, routertest.Event(), routertest.Month(1), routertest.RandomEvents(1, 1, 3))
	s, err := mysql.New(mysql.Config{DB: w.Live, Now: routertest.Now})
	if err != nil {
		t.Fatal(err)
	}
	f := router.Fetch{Dataset: routertest.Event(), Columns: []string{"seq"}, Filter: catalog.Cmp("name", catalog.Match, "alice"), Order: []router.Order{{Column: "seq"}},
		Holdings: []catalog.Holding{{Shard: routertest.Month(1), Store: catalog.Live}}, Deadline: routertest.Now().AddDate(100, 0, 0)}
	o, err := s.Open(t.Context(), f)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := o.Rows.Next(t.Context()); !fault.Is(err, fault.Internal) || !strings.Contains(err.Error(), "asked for the words of name") {
		t.Errorf("a store took words: %v", err)
	}
	if err := o.Rows.Close(); err != nil {
		t.Error(err)
	}
}
