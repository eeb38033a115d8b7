package tables_test

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"testing"
	"time"

	"strata/canal"
	"strata/canal/tables"
	"strata/catalog"
	"strata/db"
	"strata/fault"
	"strata/local"
	"strata/local/localtest"
)

func TestLocked(t *testing.T) {
	for name, start := range map[string]func(testing.TB) localtest.Database{
		"MariaDB": func(t testing.TB) localtest.Database { return localtest.Shared(t) },
		"MySQL":   func(t testing.TB) localtest.Database { return localtest.SharedMySQL(t) },
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, start(t), acct())
			r.fill(t, r.writer, 1200)
			var keys []catalog.Key
			for i := range 1300 {
				keys = append(keys, catalog.Key(strconv.Itoa(i)))
			}
			look := func() []canal.Found {
				t.Helper()
				l, err := r.tables.Locked(t.Context(), r.d, "acct", keys, false)
				must(t, err)
				if l.Before == "" || l.After == "" || len(l.Found) != len(keys) {
					t.Fatalf("%q, %q, %d", l.Before, l.After, len(l.Found))
				}
				return l.Found
			}
			for i, f := range look() {
				if (f.Row != nil) != (i < 1200) || f.Held || i < 1200 && f.Row.Text(0) != strconv.Itoa(i) {
					t.Fatalf("%d: %+v", i, f)
				}
			}
			tx, err := r.writer.SQL().BeginTx(t.Context(), nil)
			must(t, err)
			for _, q := range []string{"UPDATE acct SET ver=2 WHERE id=7", "DELETE FROM acct WHERE id=8", "INSERT INTO acct VALUES (1250, 1)"} {
				_, err := tx.ExecContext(t.Context(), q)
				must(t, err)
			}
			heldNow := func() (held []int) {
				for i, f := range look() {
					if f.Held {
						held = append(held, i)
					}
					if f.Held && f.Row != nil {
						t.Fatalf("%d is held, and read", i)
					}
				}
				return held
			}
			if held := heldNow(); !slices.Equal(held, []int{7, 8, 1250}) {
				t.Fatalf("held: %v", held)
			}
			must(t, tx.Commit())
			found := look()
			if found[7].Row.Text(1) != "2" || found[8].Row != nil || found[1250].Row == nil || len(heldNow()) != 0 {
				t.Fatalf("%+v %+v %+v", found[7], found[8], found[1250])
			}
			conn, err := r.writer.SQL().Conn(t.Context())
			must(t, err)
			for _, q := range []string{"XA START 'x'", "UPDATE acct SET ver=3 WHERE id=9", "XA END 'x'", "XA PREPARE 'x'"} {
				_, err := conn.ExecContext(t.Context(), q)
				must(t, err)
			}
			if held := heldNow(); !slices.Equal(held, []int{9}) {
				t.Fatalf("held: %v", held)
			}
			_, err = conn.ExecContext(t.Context(), "XA COMMIT 'x'")
			must(t, err)
			must(t, conn.Close())
			if f := look()[9]; f.Row.Text(1) != "3" {
				t.Fatalf("%+v", f)
			}
			for _, bad := range []catalog.Key{"x", "1,2", "007"} {
				_, err := r.tables.Locked(t.Context(), r.d, "acct", []catalog.Key{"1", bad}, false)
				kind(t, err, fault.Invalid)
			}
			_, err = r.tables.Locked(t.Context(), r.d, "nothing", keys, false)
			kind(t, err, fault.NotFound)
		})
	}
}

// L5: a row that live lacks because it has moved is never called absent.
func TestL5_a_row_of_an_archive_is_never_absent_for_live(t *testing.T) {
	r := newRig(t, localtest.Shared(t), acct())
	r.fill(t, r.writer, 10)
	r.fill(t, r.archiver, 10)
	part := func(on *db.DB, state string, epoch int) {
		r.exec(t, on, fmt.Sprintf("REPLACE INTO strata_part (dataset, shard, range_from, range_to, epoch, state) VALUES ('acct','acct',0,0,%d,'%s')", epoch, state))
	}
	r.exec(t, r.archiver, "UPDATE acct SET ver=5")
	part(r.archiver, "owned", 1)
	part(r.writer, "released", 1)
	r.exec(t, r.writer, "DELETE FROM acct")
	l, err := r.tables.Locked(t.Context(), r.d, "acct", []catalog.Key{"3", "99"}, false)
	must(t, err)
	if f := l.Found[0]; f.Row == nil || f.Row.Text(1) != "5" || f.Holding.Store != catalog.Archive || f.Holding.Epoch != 1 || l.Found[1].Row != nil {
		t.Fatalf("%+v", l.Found)
	}
	c, err := r.tables.Chunk(t.Context(), r.d, l.Found[0].Holding, "", "", 100, 1<<20)
	must(t, err)
	if len(c.Rows) != 10 || c.Beat != 0 || !c.End {
		t.Fatalf("%+v", c)
	}

	t.Run("nor while the view is old", func(t *testing.T) {
		old := catalog.Holding{Shard: r.d.ShardAt(0), Store: catalog.Live}
		stale := newStale(t, r, old)
		_, err := stale.Locked(t.Context(), r.d, "acct", []catalog.Key{"3"}, false)
		kind(t, err, fault.Stale)
		_, err = stale.Chunk(t.Context(), r.d, old, "", "", 10, 100)
		kind(t, err, fault.Stale)
	})
	t.Run("nor where the move comes between", func(t *testing.T) {
		part(r.archiver, "released", 2)
		part(r.writer, "owned", 2)
		r.exec(t, r.writer, "INSERT INTO acct VALUES (3, 6)")
		now := r.holding(t)
		hold, err := r.writer.SQL().BeginTx(t.Context(), nil)
		must(t, err)
		_, err = hold.ExecContext(t.Context(), "DELETE FROM acct WHERE id=3")
		must(t, err)
		// The mover's last steps while the reader waits for the row: owned elsewhere, released here, pruned here.
		behind := newStale(t, r, now)
		var l canal.Locked
		done := make(chan error, 1)
		go func() {
			var err error
			l, err = behind.Locked(t.Context(), r.d, "acct", []catalog.Key{"3"}, false)
			done <- err
		}()
		localtest.Eventually(t, 30*time.Second, "the reader waits", func() (bool, error) {
			var name string
			var n int
			err := r.admin.SQL().QueryRowContext(t.Context(), "SHOW GLOBAL STATUS LIKE 'Innodb_row_lock_current_waits'").Scan(&name, &n)
			return n > 0, err
		})
		part(r.archiver, "owned", 3)
		part(r.writer, "released", 3)
		must(t, hold.Commit())
		if err := <-done; err != nil {
			kind(t, err, fault.Stale)
		} else if !l.Found[0].Held { // for longer than the reader waits
			t.Errorf("%+v", l.Found[0])
		}
	})
}

// newStale is Tables with a view that does not move.
func newStale(t *testing.T, r *rig, h catalog.Holding) *tables.Tables {
	reader, err := db.Open(context.Background(), db.Config{DSN: r.dsn, Name: "live", Store: catalog.Live, Purpose: db.Reader})
	must(t, err)
	out, err := tables.New(tables.Config{Captured: func() *db.DB { return reader }, Locks: func() *db.DB { return r.writer }, Now: r.now,
		View: func(context.Context, *catalog.Dataset) (*catalog.View, error) {
			return &catalog.View{Dataset: r.d.Name, Holdings: []catalog.Holding{h}}, nil
		}})
	must(t, err)
	t.Cleanup(func() { _, _ = out.Close(), reader.Close() })
	return out
}

// A replica that nobody may write to: the captured server as it usually is.
func TestLocked_on_a_read_only_server(t *testing.T) {
	m := localtest.Start(t, localtest.Home(t), local.MariaConfig{Name: "readonly"})
	r := newRig(t, m, acct())
	r.fill(t, r.writer, 10)
	r.exec(t, r.writer, "SET GLOBAL read_only=1")
	l, err := r.tables.Locked(t.Context(), r.d, "acct", []catalog.Key{"3", "99"}, false)
	must(t, err)
	if l.Found[0].Row == nil || l.Found[1].Row != nil {
		t.Fatalf("%+v", l.Found)
	}
}
