package soak

import (
	"database/sql/driver"
	"testing"

	"strata/local/localtest"
	"strata/local/soaktest"
)

// session runs statements in one session of the live database.
func (r *rig) session(statements ...string) {
	r.T.Helper()
	conn, err := r.DB.Conn(r.T.Context())
	r.Fatal(err)
	defer func() { _ = conn.Raw(func(any) error { return driver.ErrBadConn }) }() // its settings go with it
	for _, q := range statements {
		if _, err := conn.ExecContext(r.T.Context(), q); err != nil {
			r.T.Fatalf("%s: %v", q, err)
		}
	}
}

// TestSoak_stops_a_dataset_that_is_changed_unseen: rows changed by statement, or written in part. Only that dataset stops,
// and says what to do; that mends it.
func TestSoak_stops_a_dataset_that_is_changed_unseen(t *testing.T) {
	soaktest.SoakOnly(t)
	unseen(t, 31, 2)
}

// TestSoak_unseen: each kind.
func TestSoak_unseen(t *testing.T) {
	soaktest.SomeRounds(t, func(t *testing.T, seed uint64) { unseen(t, seed, 3) })
}

func unseen(t *testing.T, seed uint64, kinds int) {
	m := localtest.Shared(t)
	r := newRig(t, seed, m, localtest.Schema(t, m), nil, "canal")
	r.Write(func() { r.Commits(between) })
	for _, c := range []struct{ name, set, change string }{
		{"delete by statement", "SET SESSION binlog_format=STATEMENT", "DELETE FROM orders WHERE id%5=0"},
		{"minimal image", "SET SESSION binlog_row_image=MINIMAL", "UPDATE orders SET note='minimal' WHERE id%3=1"},
		{"update by statement", "SET SESSION binlog_format=STATEMENT", "UPDATE orders SET note='by statement' WHERE id%3=0"},
	}[:kinds] {
		t.Run(c.name, func(t *testing.T) {
			defer func(old *testing.T) { r.T = old }(r.T)
			r.T = t
			r.proof()
			r.session("SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ", c.set, c.change)
			r.Write(func() {
				r.CanalStatus(1, "STOPPED   orders", "hint: ")
				r.itemsGoOn()
				r.Commits(between)
				r.Strata("canal", "backfill", "orders", "--why", c.name, "--wait")
			})
			r.whole()
		})
	}
}
