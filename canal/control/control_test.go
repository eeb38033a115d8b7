package control_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"strata/canal"
	"strata/canal/canaltest"
	"strata/canal/control"
	"strata/catalog"
	"strata/db"
	"strata/fault"
	"strata/local/localtest"
)

func open(t testing.TB, dsn string) *db.DB {
	t.Helper()
	d, err := db.Open(t.Context(), db.Config{DSN: dsn, Name: "control", Store: catalog.Live, Purpose: db.Writer, MaxConns: 16})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	return d
}

func pipeline(t testing.TB, d *db.DB, name string) *control.Control {
	t.Helper()
	c, err := control.Open(t.Context(), d, name)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// servers runs f on a schema of each server that there is.
func servers(t *testing.T, f func(t *testing.T, dsn string)) {
	t.Run("MariaDB", func(t *testing.T) { f(t, localtest.Schema(t, localtest.Shared(t))) })
	t.Run("MySQL", func(t *testing.T) { f(t, localtest.Schema(t, localtest.SharedMySQL(t))) })
}

func TestControl_conforms(t *testing.T) {
	servers(t, func(t *testing.T, dsn string) {
		d := open(t, dsn)
		for _, name := range []string{"live", "other"} { // rows don't touch each other
			c := pipeline(t, d, name)
			canaltest.ControlSuite(t, c, c)
			again := pipeline(t, d, name) // and a second opening changes nothing
			if s, err := again.Load(t.Context()); err != nil || s.Term != 4 || s.Checkpoint == nil {
				t.Fatalf("%+v, %v", s, err)
			}
		}
	})
}

func TestDesk_conforms(t *testing.T) {
	servers(t, func(t *testing.T, dsn string) {
		d := open(t, dsn)
		for _, name := range []string{"live", "other"} {
			c := pipeline(t, d, name)
			canaltest.DeskSuite(t, canaltest.DeskCase{Desk: c, Control: c, Wish: func(ctx context.Context, id int64, w canal.Wish) error {
				_, err := c.SetWish(ctx, id, w, "an operator")
				return err
			}})
			if s, ok, err := c.Status(t.Context()); err != nil || !ok || s.Leader != "a" {
				t.Errorf("%+v, %v, %v", s, ok, err)
			}
		}
	})
}

// A pipeline of the first version has only canal_leader, and a checkpoint whose position has the old form of XA.
func TestOpen_keeps_what_an_older_version_left(t *testing.T) {
	d := open(t, localtest.Schema(t, localtest.Shared(t)))
	pipeline(t, d, "live")
	for _, table := range []string{"canal_task", "canal_repair", "canal_evidence", "canal_history", "canal_status"} {
		localtest.Exec(t, d.SQL(), "DROP TABLE "+table)
	}
	localtest.Exec(t, d.SQL(), `UPDATE canal_leader SET term=7, checkpoint='{"term":7,"seq":5,"position":{"gtid":"0-1-9","last":{"gtid":"0-1-9","before":"0-1-8","digest":[1,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0]},"xa":"X"}}'`)
	c := pipeline(t, d, "live")
	s, err := c.Load(t.Context())
	if err != nil || s.Term != 7 || s.Checkpoint == nil || s.Checkpoint.Position.GTID != "0-1-9" || s.Checkpoint.Position.XA != nil {
		t.Fatalf("%+v, %v", s.Checkpoint, err)
	}
	if _, ok, err := c.AddTask(t.Context(), 7, canal.Task{Kind: canal.Accept}); !ok || err != nil {
		t.Fatal(ok, err)
	}
}

func TestOperator(t *testing.T) {
	c := pipeline(t, open(t, localtest.Schema(t, localtest.Shared(t))), "live")
	ctx := t.Context()
	kind := func(err error, want fault.Kind) {
		t.Helper()
		if !fault.Is(err, want) {
			t.Fatalf("%v is not %s", err, want)
		}
	}
	if _, ok, err := c.Status(ctx); ok || err != nil {
		t.Fatal(ok, err)
	}
	if ok, err := c.Take(ctx, 0, 1, "a"); !ok || err != nil {
		t.Fatal(ok, err)
	}
	_, err := c.Order(ctx, canal.Task{Kind: canal.Backfill, Dataset: "entry"})
	kind(err, fault.Invalid)
	a, err := c.Order(ctx, canal.Task{Kind: canal.Backfill, Dataset: "entry", Who: "ann", Why: "new column"})
	if err != nil || a.State != canal.Queued || a.CreatedAt.IsZero() {
		t.Fatalf("%+v, %v", a, err)
	}
	b, err := c.Order(ctx, canal.Task{Kind: canal.Accept, Dataset: "entry", Who: "ann"})
	if err != nil || b.ID <= a.ID {
		t.Fatal(b, err)
	}
	for wish, want := range map[canal.Wish]fault.Kind{"stop": fault.Invalid, canal.Pause: fault.NotFound} {
		_, err := c.SetWish(ctx, 99, wish, "ann")
		kind(err, want)
	}
	if a, err = c.SetWish(ctx, a.ID, canal.Pause, "bob"); err != nil || a.Wish != canal.Pause {
		t.Fatalf("%+v, %v", a, err)
	}
	a.State = canal.Done
	if w, ok, err := c.Advance(ctx, 1, a); !ok || err != nil || w != canal.Pause {
		t.Fatal(w, ok, err)
	}
	_, err = c.SetWish(ctx, a.ID, canal.Run, "bob")
	kind(err, fault.Conflict)
	_, err = c.TaskByID(ctx, 99)
	kind(err, fault.NotFound)
	if all, err := c.AllTasks(ctx, 0); err != nil || len(all) != 2 || all[0].ID != b.ID || all[1].State != canal.Done {
		t.Fatalf("%+v, %v", all, err)
	}
	keys := []canal.RepairKey{{Dataset: "entry", Shard: "entry", Key: "1", Why: "differs"}, {Dataset: "entry", Shard: "entry", Key: "2", Why: "differs"}}
	if err := c.AddKeys(ctx, keys, "ann", "verify"); err != nil {
		t.Fatal(err)
	}
	if got, err := c.RepairQueue(ctx, 1); err != nil || len(got) != 1 || got[0].Key != "1" {
		t.Fatalf("%+v, %v", got, err)
	}
	lines, err := c.EvidenceLog(ctx, 0, 0)
	if err != nil || len(lines) != 4 {
		t.Fatalf("%+v, %v", lines, err)
	}
	for i, want := range []canal.Evidence{{What: "backfill", Who: "ann", Why: "new column"}, {What: "accept", Who: "ann"},
		{What: "backfill", Who: "bob", Why: "pause"}, {What: "repair", Who: "ann", Why: "verify"}} {
		if l := lines[i]; l.What != want.What || l.Who != want.Who || l.Why != want.Why || l.At.IsZero() || l.Detail == "" {
			t.Errorf("line %d: %+v", i, l)
		}
	}
	if rest, err := c.EvidenceLog(ctx, lines[2].ID, 5); err != nil || len(rest) != 1 {
		t.Fatalf("%+v, %v", rest, err)
	}
}

// A process that ends between marking keys as done and deleting them leaves marked ones.
func TestSettle_that_was_cut_off(t *testing.T) {
	d := open(t, localtest.Schema(t, localtest.Shared(t)))
	c := pipeline(t, d, "live")
	take(t, c, 0)
	ctx := t.Context()
	keys := []canal.RepairKey{{Dataset: "entry", Shard: "entry", Key: "1", Task: 3}, {Dataset: "entry", Shard: "entry", Key: "2", Task: 3}}
	if err := c.Enqueue(ctx, keys); err != nil {
		t.Fatal(err)
	}
	localtest.Exec(t, d.SQL(), "UPDATE canal_repair SET settled=1, tries=7")
	count := func(want int64) {
		t.Helper()
		all, err := c.Left(ctx, 0)
		of, err2 := c.Left(ctx, 3)
		due, err3 := c.Due(ctx, 10)
		if err := errors.Join(err, err2, err3); err != nil || all != want || of != min(want, 1) || int64(len(due)) != want {
			t.Fatalf("%d, %d, %d instead of %d; %v", all, of, len(due), want, err)
		}
	}
	count(0)
	keys[1].Task = 0 // the task is done with it: a new wish is of nobody's task
	if err := c.Enqueue(ctx, keys[1:]); err != nil {
		t.Fatal(err)
	}
	due, err := c.Due(ctx, 10)
	if err != nil || len(due) != 1 || due[0].Tries != 0 || due[0].Task != 0 {
		t.Fatalf("%+v, %v", due, err)
	}
	if ok, err := c.Settle(ctx, 1, due, nil, 0); !ok || err != nil {
		t.Fatal(ok, err)
	}
	count(0)
	var rows int
	if err := d.SQL().QueryRowContext(ctx, "SELECT COUNT(*) FROM canal_repair").Scan(&rows); err != nil || rows != 0 {
		t.Fatalf("%d rows are left, %v", rows, err)
	}
}

func TestClock_of_the_control_database_that_is_set_back_holds_up_neither_a_standby_nor_repairs(t *testing.T) {
	servers(t, func(t *testing.T, dsn string) {
		d := open(t, dsn)
		c := pipeline(t, d, "live")
		ctx := t.Context()
		exec := func(q string) {
			t.Helper()
			if _, err := d.SQL().ExecContext(ctx, q); err != nil {
				t.Fatal(err)
			}
		}
		acquire := func(holder string, want bool) {
			t.Helper()
			if ok, err := c.Acquire(ctx, holder, 5*time.Second); ok != want || err != nil {
				t.Fatal(holder, ok, err)
			}
		}
		acquire("dead", true)
		acquire("standby", false)
		exec("UPDATE canal_leader SET lease_until=lease_until+INTERVAL 1 HOUR")
		acquire("standby", true)
		acquire("dead", false)
		if err := c.Enqueue(ctx, []canal.RepairKey{{Dataset: "entry", Shard: "entry", Key: "1"}}); err != nil {
			t.Fatal(err)
		}
		for after, want := range map[string]int{"1 MINUTE": 0, "1 DAY": 1} {
			exec("UPDATE canal_repair SET due_at=UTC_TIMESTAMP(6)+INTERVAL " + after)
			if keys, err := c.Due(ctx, 10); len(keys) != want || err != nil {
				t.Fatal(after, keys, err)
			}
		}
	})
}
