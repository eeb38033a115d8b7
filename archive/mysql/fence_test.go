package mysql

import (
	"database/sql/driver"
	"testing"
	"time"

	"strata/catalog"
	"strata/db"
	"strata/fault"
	"strata/local/localtest"
)

func TestL5_the_fence_refuses_every_writer_but_not_in_the_late_shard(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1, 5)
	k := w.take(t, token1)
	step(t, k.Copy(t.Context()))
	step(t, k.Fence(t.Context()))
	for name, q := range map[string]string{
		"insert":           "INSERT INTO e_20260101 (id, sub, at, unit) VALUES (77, '', '2026-01-01', 'EUR')",
		"insert ignore":    "INSERT IGNORE INTO e_20260101 (id, sub, at, unit) VALUES (77, '', '2026-01-01', 'EUR')",
		"outside":          "INSERT INTO e_20260101 (id, sub, at, unit) VALUES (77, '', '2026-05-01', 'EUR')",
		"update":           "UPDATE e_20260101 SET amount=1 WHERE id=2",
		"delete":           "DELETE FROM e_20260101 WHERE id=2",
		"replace":          "REPLACE INTO e_20260101 (id, sub, at, unit) VALUES (77, '', '2026-01-01', 'EUR')",
		"another's token":  "SET STATEMENT max_statement_time=5 FOR UPDATE e_20260101 SET amount=2, memo=COALESCE(@strata_token:='other', memo) WHERE id=2",
		"many at a stroke": "INSERT INTO e_20260101 SELECT id+100, sub, at, unit, amount, memo, raw, fixed, flags, rate, price, seen, state, note FROM e_20260101",
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := w.app.ExecContext(t.Context(), q); !db.IsFence(err) {
				t.Errorf("%v", err)
			}
		})
	}
	localtest.Exec(t, w.app, "INSERT INTO e_late_1 (id, sub, at, unit) VALUES (77, '', '2026-01-01', 'EUR')")
	m := compared(t, k)
	if m.Rows != 5 {
		t.Errorf("%d rows", m.Rows)
	}
}

func TestL5_the_fence_waits_for_what_XA_has_prepared(t *testing.T) {
	w := newWorld(t, 1, 5)
	conn, err := w.app.Conn(t.Context())
	step(t, err)
	xid := "'" + w.live.Schema() + "'"
	for _, q := range []string{"XA START " + xid, "INSERT INTO e_20260101 (id, sub, at, unit) VALUES (77, '', '2026-01-01', 'EUR')", "XA END " + xid, "XA PREPARE " + xid} {
		_, err := conn.ExecContext(t.Context(), q)
		step(t, err)
	}
	_ = conn.Raw(func(any) error { return driver.ErrBadConn }) // its session ends
	_ = conn.Close()
	k := w.take(t, token1)
	step(t, k.Copy(t.Context()))
	err = k.Fence(t.Context())
	if !fault.Is(err, fault.Busy) {
		t.Errorf("the fence does not wait: %v", err)
	}
	localtest.Exec(t, w.app, "XA COMMIT "+xid)
	step(t, k.Fence(t.Context()))
	if m := compared(t, k); m.Rows != 6 {
		t.Errorf("%d rows", m.Rows)
	}
}

func TestFence_gets_past_readers_that_overlap(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1, 5)
	snap, err := w.liveReader.Snapshot(t.Context(), w.ds, []catalog.Holding{{Shard: w.ds.ShardAt(catalog.At(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC))), Store: catalog.Live}})
	step(t, err)
	defer func() { _ = snap.Close() }()
	k := w.take(t, token1)
	step(t, k.Copy(t.Context()))
	step(t, k.Fence(t.Context()))
	if err := snap.Alive(t.Context()); err == nil {
		t.Error("the reader that held the table up was not ended")
	}
}

func TestL5_the_pin_keeps_the_table_as_it_was_compared(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1, 5)
	k := w.take(t, token1)
	step(t, k.Copy(t.Context()))
	step(t, k.Fence(t.Context()))
	m := compared(t, k)
	for _, q := range []string{"TRUNCATE TABLE e_20260101", "ALTER TABLE e_20260101 MODIFY amount INT", "RENAME TABLE e_20260101 TO e_other", "DROP TABLE e_20260101"} {
		if _, err := w.app.ExecContext(t.Context(), "SET STATEMENT lock_wait_timeout=1 FOR "+q); db.Number(err) != 1205 {
			t.Errorf("%s: %v", q, err)
		}
	}
	step(t, k.Own(t.Context(), m.Digest()))
	step(t, k.Release(t.Context(), m.Digest()))
}
