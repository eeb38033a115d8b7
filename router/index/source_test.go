package indexsource_test

import (
	"context"
	"testing"
	"time"

	"strata/catalog"
	"strata/fault"
	"strata/index"
	"strata/index/sqlite"
	"strata/router"
	indexsource "strata/router/index"
	"strata/router/routertest"
)

// place is a source over an embedded index.
func place(t testing.TB) (routertest.Place, *sqlite.Index) {
	t.Helper()
	x, err := sqlite.Open(context.Background(), sqlite.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = x.Close() })
	d := routertest.Event()
	if err := x.Ensure(t.Context(), d); err != nil {
		t.Fatal(err)
	}
	s, err := indexsource.New(indexsource.Config{Index: x, Now: routertest.Now})
	if err != nil {
		t.Fatal(err)
	}
	seq := uint64(0)
	mark := func(t testing.TB, beat uint64, frozen string) {
		seq++
		err := x.PutWatermark(t.Context(), index.Watermark{Dataset: "event", Heartbeat: beat, At: catalog.At(routertest.Now()), Frozen: frozen, Version: index.MakeVersion(1, seq)})
		if err != nil {
			t.Fatal(err)
		}
	}
	mark(t, 1, "")
	return routertest.Place{
		Source: s,
		Beat: func(t testing.TB) uint64 {
			mark(t, seq+1, "")
			return seq
		},
		Load: func(t testing.TB, shard catalog.Shard, rows []catalog.Row) catalog.Holding {
			var docs []index.Document
			for i := range rows {
				h, _ := rows[i].Hash(nil)
				docs = append(docs, index.Document{Shard: shard.Table, Key: catalog.KeyOf(&rows[i], d.KeyIndexes()), Version: index.MakeVersion(1, uint64(i+1)),
					Hash: h, After: catalog.AppendJSON(nil, d, &rows[i])})
			}
			if _, err := x.Apply(t.Context(), "event", docs); err != nil {
				t.Fatal(err)
			}
			if err := x.Refresh(t.Context(), "event"); err != nil {
				t.Fatal(err)
			}
			return catalog.Holding{Shard: shard, Store: catalog.Live}
		},
	}, x
}

func TestIndexFulfilsTheContract(t *testing.T) {
	routertest.Exercise(t, func(t *testing.T) routertest.Place {
		p, _ := place(t)
		return p
	})
}

func fetch(fresh router.Freshness) router.Fetch {
	d := routertest.Event()
	fresh.Wait = time.Millisecond
	return router.Fetch{Dataset: d, Columns: d.Names(), Deadline: time.Now().Add(10 * time.Second), Freshness: fresh,
		Order: []router.Order{{Column: "account_id"}, {Column: "seq"}}}
}

func TestL4_FrozenAndLateIndexesSaySo(t *testing.T) {
	p, x := place(t)
	if _, err := p.Source.Open(t.Context(), fetch(router.Freshness{Bounded: time.Second})); err != nil {
		t.Fatal(err)
	}
	err := x.PutWatermark(t.Context(), index.Watermark{Dataset: "event", Heartbeat: 9, At: catalog.At(routertest.Now().Add(-time.Minute)), Version: index.MakeVersion(1, 50)})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Source.Open(t.Context(), fetch(router.Freshness{Bounded: time.Second})); !fault.Is(err, fault.Unavailable) {
		t.Fatalf("a minute behind gave %v", err)
	}
	err = x.PutWatermark(t.Context(), index.Watermark{Dataset: "event", Heartbeat: 9, At: catalog.At(routertest.Now()), Frozen: "number 5 is missing", Version: index.MakeVersion(1, 51)})
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range []router.Freshness{{Bounded: time.Hour}, {AtLeast: 1}} {
		if _, err := p.Source.Open(t.Context(), fetch(f)); !fault.Is(err, fault.Unavailable) {
			t.Fatalf("frozen with %+v gave %v", f, err)
		}
	}
	o, err := p.Source.Open(t.Context(), fetch(router.Freshness{}))
	if err != nil || o.Heartbeat != 9 {
		t.Fatal(o.Heartbeat, err)
	}
	f := fetch(router.Freshness{})
	f.Dataset.Partitions = 2
	if _, err := p.Source.Open(t.Context(), f); !fault.Is(err, fault.Unavailable) {
		t.Fatalf("a partition without a watermark gave %v", err)
	}
}

func TestL4_a_position_is_reached_when_the_last_partition_has_it(t *testing.T) {
	p, x := place(t)
	for n, beat := range []uint64{9, 5} {
		err := x.PutWatermark(t.Context(), index.Watermark{Dataset: "event", Partition: int32(n), Heartbeat: beat, At: catalog.At(routertest.Now()), Version: index.MakeVersion(1, uint64(50+n))})
		if err != nil {
			t.Fatal(err)
		}
	}
	f := fetch(router.Freshness{AtLeast: 5})
	f.Dataset.Partitions = 2
	if o, err := p.Source.Open(t.Context(), f); err != nil || o.Heartbeat != 5 {
		t.Fatalf("%+v, %v", o, err)
	}
	f.Freshness.AtLeast = 6
	if _, err := p.Source.Open(t.Context(), f); !fault.Is(err, fault.Unavailable) {
		t.Fatalf("heartbeat 6 of 9 and 5 gave %v", err)
	}
}

func TestL8_SumsAreRefused(t *testing.T) {
	p, _ := place(t)
	f := fetch(router.Freshness{})
	f.Aggregates = []router.Aggregate{{Func: router.Sum, Column: "amount", Name: "s"}}
	if _, err := p.Source.Open(t.Context(), f); err == nil {
		t.Fatal("the index summed")
	}
}

func TestL7_MaskedColumnsAreRefused(t *testing.T) {
	p, _ := place(t)
	f := fetch(router.Freshness{})
	f.Dataset.Masks = []catalog.Mask{{Column: "note", Kind: catalog.MaskDrop}}
	byNote := f
	byNote.Columns, byNote.Filter = []string{"account_id", "seq"}, catalog.Filter{Op: catalog.Not, Args: []catalog.Filter{catalog.Cmp("note", catalog.Eq, "a")}}
	for _, f := range []router.Fetch{f, byNote} {
		if _, err := p.Source.Open(t.Context(), f); err == nil {
			t.Fatal("the index answered for a masked column")
		}
	}
	byNote.Filter = catalog.Filter{}
	if _, err := p.Source.Open(t.Context(), byNote); err != nil {
		t.Fatal(err)
	}
}
