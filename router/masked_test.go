package router_test

import (
	"slices"
	"testing"

	"strata/catalog"
	"strata/fault"
	"strata/router"
	"strata/router/routertest"
	sqltext "strata/router/sql"
)

// indexed is a live store whose rows are in an index too, masked.
type indexed struct {
	*routertest.Memories
	index *routertest.Memory
}

// Load is part of World.
func (w indexed) Load(t testing.TB, d *catalog.Dataset, shard catalog.Shard, rows []catalog.Row) {
	w.Memories.Load(t, d, shard, rows)
	m, err := catalog.NewMasker(d, nil)
	if err != nil {
		t.Fatal(err)
	}
	masked := make([]catalog.Row, len(rows))
	for i := range rows {
		m.Apply(&rows[i], &masked[i])
	}
	w.index.Load(shard, 0, masked)
}

// maskedRouter has an index with masked notes, and a live store of 400 rows a shard that only finds accounts.
func maskedRouter(t *testing.T) (*router.Router, indexed, *catalog.Dataset) {
	d := routertest.Event()
	d.Masks = []catalog.Mask{{Column: "note", Kind: catalog.MaskLast4}}
	index := routertest.NewMemoryIndex()
	r, w := memoryRouter(t, func(c *router.Config) {
		c.Datasets, c.Index, c.ScanRows, c.StoreRows = []*catalog.Dataset{d}, index, 1, 1000
	})
	w.Live.OnCost(func(f router.Fetch) (router.Cost, error) {
		byAccount := slices.ContainsFunc(f.Filter.Conjuncts(), func(c catalog.Filter) bool { return c.Column == "account_id" })
		return router.Cost{Rows: 400, Indexed: byAccount, Why: "index account_id"}, nil
	})
	return r, indexed{w, index}, d
}

func TestL7_TheIndexIsNotAskedForMaskedColumns(t *testing.T) {
	r, w, d := maskedRouter(t)
	routertest.Script(t, "testdata/masked/masked.test", r, w, d, sqltext.Parse)
}

func TestMaskedColumn_of_a_store_that_is_away_is_refused_with_a_hint(t *testing.T) {
	r, w, d := maskedRouter(t)
	w.Load(t, d, routertest.Month(1), routertest.RandomEvents(1, 1, 5))
	w.Live.OnOpen(func() error { return fault.New(fault.Unavailable, "open live", "it is away") })
	for columns, want := range map[string]fault.Kind{"note": fault.Unavailable, "name": 0} {
		q := router.Query{Dataset: "event", Columns: []string{columns}, Filter: catalog.Cmp("account_id", catalog.Ge, "0")}
		rows, _, _, err := routertest.Answer(t.Context(), r, q)
		switch {
		case want == 0 && (err != nil || len(rows) != 5):
			t.Errorf("%s: %d rows, %v", columns, len(rows), err)
		case want != 0 && (!fault.Is(err, want) || fault.HintOf(err) != "the index has column note masked: a query that doesn't name it may be answered there"):
			t.Errorf("%s: %v, hint %q", columns, err, fault.HintOf(err))
		}
	}
}
