package node_test

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"strata/catalog"
	"strata/core/load"
	"strata/local/localtest"
	"strata/node"
	"strata/router"
)

// today is how many transfers of today each posting round adds; a tenth of them was ordered months ago.
const today = 50

// tablesOf lists a schema's tables of a dataset's shards, late ones too.
func tablesOf(t *testing.T, d *sql.DB, dataset string) []string {
	t.Helper()
	return texts(t, d, "SELECT table_name FROM information_schema.tables WHERE table_schema=DATABASE() AND (table_name LIKE ? OR table_name LIKE ?)",
		dataset+`\_2%`, dataset+`\_late\_%`)
}

// storeSums are the rows of both stores by unit, read past strata.
func storeSums(t *testing.T, live, arch *sql.DB, dataset string) map[string]string {
	t.Helper()
	sums := map[string][2]int64{}
	for _, d := range []*sql.DB{live, arch} {
		for _, table := range tablesOf(t, d, dataset) {
			for _, line := range texts(t, d, "SELECT CONCAT_WS(' ', unit, count(*), sum(amount)) FROM "+table+" GROUP BY unit") {
				var unit string
				var n, amount int64
				if _, err := fmt.Sscan(line, &unit, &n, &amount); err != nil {
					t.Fatal(err)
				}
				sums[unit] = [2]int64{sums[unit][0] + n, sums[unit][1] + amount}
			}
		}
	}
	out := map[string]string{}
	for unit, s := range sums {
		out[unit] = fmt.Sprint(s[0], " ", s[1])
	}
	return out
}

// postToday posts rounds of today's transfers until ctx ends; it returns how many it posted in all.
func (l *ledger) postToday(ctx context.Context) (count int, err error) {
	for ctx.Err() == nil {
		if _, err := load.Today(ctx, l.load, count+today); err != nil {
			return count, ctxErr(ctx, err)
		}
		count += today
	}
	return count, nil
}

func TestArchive_from_policy(t *testing.T) {
	l := newLedger(t, 9, 3000, "archive_policies: [{dataset: transfer, older_than_days: 120}, {dataset: entry, older_than_days: 120}]\n")
	n := l.node
	arch := localtest.DB(t, l.stack.Addresses.Archive.DSN)
	run(t, n, node.Roles{Canal: true, Sync: true})
	closed := l.entries(t)

	// Beside the move: a probe that counts closed entries, and new transfers.
	beside, stop := context.WithCancel(t.Context())
	defer stop()
	var probes atomic.Int64
	probed, posted := make(chan error, 1), make(chan error, 1)
	count := 0
	go func() { probed <- l.probe(beside, len(closed), &probes) }()
	go func() {
		var err error
		count, err = l.postToday(beside)
		posted <- err
	}()
	moved, err := l.archive(t.Context())
	stop()
	for _, e := range []error{err, <-probed, <-posted} {
		if e != nil {
			t.Fatal(e)
		}
	}
	if _, err := load.Today(t.Context(), l.load, count+10*today); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d tables moved beside %d probes and %d transfers", moved, probes.Load(), count)
	if moved < 8 || probes.Load() < 3 {
		t.Errorf("%d tables moved beside %d probes", moved, probes.Load())
	}

	t.Run("nothing is left to do", func(t *testing.T) {
		if again, err := l.archive(t.Context()); err != nil || again != 0 {
			t.Errorf("%d tables moved again: %v", again, err)
		}
	})
	t.Run("each range has one owner, and its table is nowhere else", func(t *testing.T) { l.checkOwners(t, arch, moved) })
	t.Run("late transfers went to late shards", func(t *testing.T) {
		late := l.number(t, "SELECT count(*) FROM transfer_late_1")
		stray := l.number(t, "SELECT count(*) FROM transfer_late_1 WHERE order_time >= '2026-07-01'")
		if late == 0 || stray != 0 {
			t.Errorf("%d late transfers, %d of them of months that are still live", late, stray)
		}
	})
	t.Run("the router sums what both stores have", func(t *testing.T) {
		for _, dataset := range []string{"entry", "transfer"} {
			got := map[string]string{}
			all(t, n, router.Query{Dataset: dataset, GroupBy: []string{"unit"}, Aggregates: []router.Aggregate{{Func: router.Count, Name: "n"},
				{Func: router.Sum, Column: "amount", Name: "amount"}}}, func(row *catalog.Row) { got[row.Text(0)] = row.Text(1) + " " + row.Text(2) })
			if want := storeSums(t, l.live, arch, dataset); len(want) < 2 || fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("%s: %v instead of %v", dataset, got, want)
			}
		}
	})
	t.Run("closed entries are what they were", func(t *testing.T) {
		var got []string
		all(t, n, router.Query{Dataset: "entry", Columns: entryColumns(), Filter: l.isClosed()}, func(row *catalog.Row) { got = append(got, entryKey(row)) })
		if strings.Join(got, "\n") != strings.Join(closed, "\n") {
			t.Errorf("%d entries instead of %d, or others", len(got), len(closed))
		}
	})
	t.Run("index, archive and ledger are proven", func(t *testing.T) {
		rep := proven(t, n)
		if rep.Archive.Segments != moved || rep.RowsCompared == 0 || rep.Ledger.Entries <= int64(len(closed)) {
			t.Errorf("%+v", rep)
		}
	})
}

// isClosed is the filter for entries that nobody adds to.
func (l *ledger) isClosed() catalog.Filter {
	return catalog.Cmp("accounting_date", catalog.Lt, l.load.Plan.To.Format("2006-01-02"))
}

// probe counts closed entries until ctx ends, by an aggregate and by reading them.
func (l *ledger) probe(ctx context.Context, want int, probes *atomic.Int64) error {
	for ctx.Err() == nil {
		got, counted := 0, ""
		for _, q := range []router.Query{{Columns: entryColumns()}, {Aggregates: []router.Aggregate{{Func: router.Count, Name: "n"}}}} {
			q.Dataset, q.Filter = "entry", l.isClosed()
			res, err := l.node.Router().Query(ctx, q)
			if err != nil {
				return ctxErr(ctx, err)
			}
			_, err = take(ctx, res, want+1, func(row *catalog.Row) { got, counted = got+1, row.Text(0) })
			_ = res.Close()
			if err != nil {
				return ctxErr(ctx, err)
			}
		}
		if got != want+1 || counted != fmt.Sprint(want) {
			return fmt.Errorf("%d entries were read and %s counted instead of %d", got-1, counted, want)
		}
		probes.Add(1)
	}
	return nil
}

// checkOwners compares the view with the tables that are there.
func (l *ledger) checkOwners(t *testing.T, arch *sql.DB, moved int) {
	t.Helper()
	there := map[catalog.Store]string{}
	archived := 0
	for _, dataset := range []string{"transfer", "entry"} {
		there[catalog.Live] = " " + strings.Join(tablesOf(t, l.live, dataset), " ") + " "
		there[catalog.Archive] = " " + strings.Join(tablesOf(t, arch, dataset), " ") + " "
		d, err := l.node.Dataset(dataset)
		if err != nil {
			t.Fatal(err)
		}
		view, err := l.node.View(t.Context(), d)
		if err != nil {
			t.Fatal(err)
		}
		seen := map[string]bool{}
		for _, h := range view.Holdings {
			if h.Store == catalog.Archive {
				archived++
			}
			if seen[h.Shard.Table] {
				t.Errorf("%s has two owners", h.Shard.Table)
			}
			seen[h.Shard.Table] = true
			for store, tables := range there {
				if is := strings.Contains(tables, " "+h.Shard.Table+" "); is != (store == h.Store) {
					t.Errorf("%s is %s's, and its table at %s: %v", h.Shard.Table, h.Store, store, is)
				}
			}
			if h.Shard.Late && h.Store != catalog.Live {
				t.Errorf("late shard %s is %s's", h.Shard.Table, h.Store)
			}
		}
	}
	if archived != moved {
		t.Errorf("%d tables are the archive's, %d moved", archived, moved)
	}
}
