package db_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"strata/catalog"
	"strata/db"
	"strata/fault"
	"strata/local/localtest"
)

func hold(ds *catalog.Dataset, epoch uint64) []catalog.Holding {
	return []catalog.Holding{{Shard: ds.ShardAt(0), Store: catalog.Live, Epoch: epoch}}
}

func TestSnapshotChecksOwnership(t *testing.T) {
	_, w, r := setup(t, 3)
	ds := ledger()
	part := func(state string, epoch int) {
		exec(t, w, fmt.Sprintf("REPLACE INTO strata_part (dataset, shard, range_from, range_to, epoch, state) VALUES ('t','t',0,0,%d,'%s')", epoch, state))
	}
	try := func(name string, epoch uint64, want bool) {
		t.Run(name, func(t *testing.T) {
			s, err := r.Snapshot(t.Context(), ds, hold(ds, epoch))
			_, found, errLookup := r.Lookup(t.Context(), ds, hold(ds, epoch)[0], "2", nil)
			if !want {
				wantKind(t, err, fault.Stale)
				wantKind(t, errLookup, fault.Stale)
				return
			}
			must(t, err)
			must(t, errLookup)
			if !found {
				t.Error("row 2 not found")
			}
			rows, err := s.Rows(t.Context(), ds, nil, "SELECT "+db.SelectList(ds, nil, "")+" FROM t")
			must(t, err)
			if n := count(t, rows); n != 3 {
				t.Errorf("%d rows", n)
			}
			must(t, s.Alive(t.Context()))
			must(t, s.Close())
			must(t, s.Close())
		})
	}
	try("no part is owned at 0", 0, true)
	try("no part is not owned at 1", 1, false)
	part("owned", 2)
	try("owned at the epoch", 2, true)
	try("owned at another epoch", 0, false)
	part("released", 2)
	try("released", 2, false)
	part("copying", 3)
	try("copying", 3, false)
}

func TestSnapshotOfAnotherStoreOrTable(t *testing.T) {
	dsn, w, r := setup(t, 1)
	ds := ledger()
	arch := open(t, dsn, db.Reader, func(c *db.Config) { c.Store, c.Name = catalog.Archive, "archive" })
	_, err := arch.Snapshot(t.Context(), ds, hold(ds, 0))
	wantKind(t, err, fault.Internal)
	h := hold(ds, 0)
	h[0].Store = catalog.Archive
	_, err = arch.Snapshot(t.Context(), ds, h)
	wantKind(t, err, fault.Stale) // an archive owns by its row only
	_, err = w.Snapshot(t.Context(), ds, hold(ds, 0))
	wantKind(t, err, fault.Internal)
	exec(t, w, "RENAME TABLE t TO u")
	_, err = r.Snapshot(t.Context(), ds, hold(ds, 0))
	wantKind(t, err, fault.Stale)
	exec(t, w, "DROP TABLE strata_part")
	_, err = r.Snapshot(t.Context(), ds, nil)
	wantKind(t, err, fault.Unsafe)
}

func TestSnapshotOfManyTables(t *testing.T) {
	_, w, r := setup(t, 0)
	ds := ledger()
	ds.Scheme, ds.Time = catalog.Scheme{{Interval: catalog.Daily, From: catalog.MinInstant}}, "at"
	var hs []catalog.Holding
	for i := range 250 {
		s := ds.ShardAt(catalog.Instant(i) * 86400e6)
		hs = append(hs, catalog.Holding{Shard: s, Store: catalog.Live})
		exec(t, w, "CREATE TABLE "+s.Table+" (id INT PRIMARY KEY) ENGINE=MEMORY")
	}
	s, err := r.Snapshot(t.Context(), ds, hs)
	must(t, err)
	must(t, s.Close())
	start := time.Now()
	says, err := db.Says(t.Context(), r, ds)
	must(t, err)
	t.Logf("Says of %d tables took %s", len(says.Tables), time.Since(start))
	if len(says.Tables) != 250 || len(says.Parts) != 0 {
		t.Errorf("%d tables, %d parts", len(says.Tables), len(says.Parts))
	}
}

// Beside a loop that swaps the table for a copy (create, copy, rename), no snapshot may see fewer rows.
func TestSnapshotIsNeverShortBesideSwaps(t *testing.T) {
	const rows = 300
	dsn, _, r := setup(t, rows)
	admin := open(t, dsn, db.Admin)
	ds := ledger()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var swaps int
	var wg sync.WaitGroup
	wg.Go(func() {
		for ctx.Err() == nil {
			for _, q := range []string{"DROP TABLE IF EXISTS t_new, t_old", "CREATE TABLE t_new LIKE t", "INSERT INTO t_new SELECT * FROM t", "RENAME TABLE t TO t_old, t_new TO t"} {
				if _, err := admin.SQL().ExecContext(ctx, q); err != nil && !fault.Is(db.Classify(q, err), fault.Busy) && ctx.Err() == nil {
					t.Errorf("%s: %v", q, err)
					return
				}
			}
			swaps++
		}
	})
	var read, stale int
	for deadline := time.Now().Add(2 * time.Second); time.Now().Before(deadline); {
		s, err := r.Snapshot(ctx, ds, hold(ds, 0))
		if fault.Is(err, fault.Stale) {
			stale++
			continue
		}
		must(t, err)
		res, err := s.Rows(ctx, ds, nil, "SELECT "+db.SelectList(ds, nil, "")+" FROM t")
		must(t, err)
		if n := count(t, res); n != rows {
			t.Fatalf("%d rows of %d in a snapshot, after %d swaps", n, rows, swaps)
		}
		must(t, s.Close())
		if _, found, err := r.Lookup(ctx, ds, hold(ds, 0)[0], "77", nil); err == nil && !found {
			t.Fatal("a row was not found")
		}
		read++
	}
	cancel()
	wg.Wait()
	t.Logf("%d snapshots beside %d swaps, %d stale", read, swaps, stale)
	if read == 0 || swaps == 0 {
		t.Error("nothing was tried")
	}
}

func TestLookup(t *testing.T) {
	_, w, r := setup(t, 5)
	ds, h := ledger(), catalog.Holding{Shard: catalog.Shard{Dataset: "t", Table: "t"}, Store: catalog.Live}
	row, found, err := r.Lookup(t.Context(), ds, h, "3", []string{"amount", "who"})
	must(t, err)
	if !found || row.Text(0) != "300" || row.Text(1) != "who 3" {
		t.Errorf("found %v, row %q %q", found, row.Text(0), row.Text(1))
	}
	_, found, err = r.Lookup(t.Context(), ds, h, "99", nil)
	must(t, err)
	if found {
		t.Error("found a row that isn't there")
	}
	_, _, err = r.Lookup(t.Context(), ds, h, "3 OR 1=1", nil)
	wantKind(t, err, fault.Invalid)
	_, _, err = r.Lookup(t.Context(), ds, h, "3,4", nil)
	wantKind(t, err, fault.Invalid)

	exec(t, w, "CREATE TABLE s (k VARCHAR(20) COLLATE utf8mb4_general_ci, b VARBINARY(4), d DECIMAL(20,2), v INT, PRIMARY KEY (k, b, d))",
		"INSERT INTO s VALUES ('Ab', X'00FF', 90071992547409.93, 1)")
	cols, key, err := db.Describe(t.Context(), r, "s")
	must(t, err)
	text := &catalog.Dataset{Name: "s", Table: "s", Columns: cols, Key: key}
	h.Shard.Table = "s"
	for k, want := range map[catalog.Key]bool{"Ab,00ff,90071992547409.93": true, "ab,00ff,90071992547409.93": false, "Ab%20,00ff,90071992547409.93": false, "Ab,00ff,90071992547409.94": false} {
		_, found, err := r.Lookup(t.Context(), text, h, k, nil)
		must(t, err)
		if found != want {
			t.Errorf("%s: found %v", k, found)
		}
	}
}

// statements counts the server's running statements that contain mark.
func statements(ctx context.Context, w *db.DB, mark string) (n int, err error) {
	err = w.SQL().QueryRowContext(ctx, "SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE INFO LIKE ? AND ID <> CONNECTION_ID()", "%"+mark+"%").Scan(&n)
	return n, err
}

// gone waits for the statement to go, and sees that it was killed: MariaDB would find a closed connection by itself after
// some seconds, which says nothing. kills is the server's count before.
func gone(t *testing.T, w *db.DB, mark string, kills int) {
	t.Helper()
	localtest.Eventually(t, 30*time.Second, "statement is gone from the server", func() (bool, error) {
		n, err := statements(t.Context(), w, mark)
		return n == 0, err
	})
	localtest.Eventually(t, 30*time.Second, "a KILL was run", func() (bool, error) { return killed(t, w) > kills, nil })
}

// killed is how many KILL statements the server has run.
func killed(t *testing.T, w *db.DB) int {
	t.Helper()
	var name string
	var n int
	must(t, w.SQL().QueryRowContext(t.Context(), "SHOW GLOBAL STATUS LIKE 'Com_kill'").Scan(&name, &n))
	return n
}

func TestCancelKillsOnTheServer(t *testing.T) {
	_, w, r := setup(t, 1)
	ds := ledger()
	cases := map[string]func(ctx context.Context, mark string) error{
		"query": func(ctx context.Context, mark string) error {
			rows, err := r.Query(ctx, ds, []string{"id"}, "SELECT SLEEP(60) /* "+mark+" */")
			if err != nil {
				return err
			}
			var row catalog.Row
			_, err = rows.Next(&row)
			return err
		},
		"snapshot rows": func(ctx context.Context, mark string) error {
			s, err := r.Snapshot(t.Context(), ds, hold(ds, 0))
			if err != nil {
				return err
			}
			defer func() { _ = s.Close() }()
			_, err = s.Rows(ctx, ds, []string{"id"}, "SELECT SLEEP(60) /* "+mark+" */")
			return err
		},
		"plain statement": func(ctx context.Context, mark string) error {
			_, err := w.SQL().ExecContext(ctx, "DO SLEEP(60) /* "+mark+" */")
			return db.Classify("sleep", err)
		},
	}
	for name, run := range cases {
		t.Run(name, func(t *testing.T) {
			mark, kills := "cancel_"+strings.ReplaceAll(name, " ", "_"), killed(t, w)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			done := make(chan error, 1)
			go func() { done <- run(ctx, mark) }()
			localtest.Eventually(t, 30*time.Second, "statement runs", func() (bool, error) {
				n, err := statements(t.Context(), w, mark)
				return n == 1, err
			})
			cancel()
			wantKind(t, <-done, fault.Interrupted)
			gone(t, w, mark, kills)
		})
	}
}

func TestEarlyClose(t *testing.T) {
	_, w, r := setup(t, 100)
	ds := ledger()
	var row catalog.Row
	t.Run("of a long result kills the statement", func(t *testing.T) {
		s, err := r.Snapshot(t.Context(), ds, hold(ds, 0))
		must(t, err)
		id := s.ID()
		rows, err := s.Rows(t.Context(), ds, nil, "SELECT a.id, REPEAT('x', 200), b.id /* early_close */ FROM t a, t b, t c, t d")
		must(t, err)
		_, err = rows.Next(&row)
		must(t, err)
		start := time.Now()
		must(t, s.Close())
		if took := time.Since(start); took > 30*time.Second { // all of it is 20 GB
			t.Errorf("close took %s: it drained", took)
		}
		localtest.Eventually(t, 30*time.Second, "statement is gone", func() (bool, error) {
			n, err := statements(t.Context(), w, "early_close")
			return n == 0, err
		})
		localtest.Eventually(t, 30*time.Second, "connection is gone", func() (bool, error) {
			var n int
			err := w.SQL().QueryRowContext(t.Context(), "SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE ID=?", id).Scan(&n)
			return n == 0, err
		})
	})
	t.Run("near the end keeps the connection", func(t *testing.T) {
		s, err := r.Snapshot(t.Context(), ds, hold(ds, 0))
		must(t, err)
		id := s.ID()
		rows, err := s.Rows(t.Context(), ds, nil, "SELECT "+db.SelectList(ds, nil, "")+" FROM t")
		must(t, err)
		_, err = rows.Next(&row)
		must(t, err)
		_, err = s.Rows(t.Context(), ds, nil, "SELECT 1")
		wantKind(t, err, fault.Internal)
		must(t, rows.Close())
		must(t, s.Alive(t.Context()))
		must(t, s.Close())
		s, err = r.Snapshot(t.Context(), ds, hold(ds, 0))
		must(t, err)
		if s.ID() != id {
			t.Errorf("connection %d after %d: it was dropped", s.ID(), id)
		}
		must(t, s.Close())
	})
}

func TestDeadConnectionIsReplaced(t *testing.T) {
	_, w, r := setup(t, 1)
	ds := ledger()
	for range 2 {
		s, err := r.Snapshot(t.Context(), ds, hold(ds, 0))
		must(t, err)
		id := s.ID()
		must(t, s.Close())
		exec(t, w, fmt.Sprintf("KILL %d", id))
		_, _, err = r.Lookup(t.Context(), ds, hold(ds, 0)[0], "1", nil)
		must(t, err)
	}
	s, err := r.Snapshot(t.Context(), ds, hold(ds, 0))
	must(t, err)
	exec(t, w, fmt.Sprintf("KILL %d", s.ID()))
	err = s.Alive(t.Context())
	if !fault.Is(err, fault.Unavailable) && !fault.Is(err, fault.Stale) {
		t.Errorf("a killed snapshot is alive: %v", err)
	}
	must(t, s.Close())
}

func TestFenceIsRecognised(t *testing.T) {
	_, w, _ := setup(t, 1)
	exec(t, w, "CREATE TRIGGER f AFTER INSERT ON t FOR EACH ROW SIGNAL SQLSTATE '"+db.FenceState+"' SET MESSAGE_TEXT='"+db.FenceMessage("t")+"'")
	_, err := w.SQL().ExecContext(t.Context(), "INSERT INTO t VALUES (9, 'x', 1)")
	if !db.IsFence(err) {
		t.Fatalf("%v is no fence", err)
	}
	err = db.Classify("insert", err)
	wantKind(t, err, fault.Stale)
	var f *db.FenceError
	if !errors.As(err, &f) || f.Table != "t" {
		t.Errorf("%#v", f)
	}
	exec(t, w, "DROP TRIGGER f", "CREATE TRIGGER f AFTER INSERT ON t FOR EACH ROW SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT='no'")
	_, err = w.SQL().ExecContext(t.Context(), "INSERT INTO t VALUES (9, 'x', 1)")
	if err == nil || db.IsFence(err) {
		t.Errorf("%v is a fence", err)
	}
}
