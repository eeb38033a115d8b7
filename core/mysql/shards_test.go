package mysql

import (
	"fmt"
	"testing"
	"time"

	"strata/core"
	"strata/db"
	"strata/local/localtest"
)

func payAt(id string, at time.Time) core.Transfer {
	return core.Transfer{ID: id, Kind: "k", OrderTime: at, Legs: []core.Leg{{Account: 1, Unit: "CNY", Amount: -1}, {Account: 2, Unit: "CNY", Amount: 1}}}
}

// fence puts a fence on a table, as a mover does.
func fence(t *testing.T, d *db.DB, table string) {
	t.Helper()
	localtest.Exec(t, d.SQL(), fmt.Sprintf("CREATE TRIGGER fence_%s AFTER INSERT ON %s FOR EACH ROW SIGNAL SQLSTATE '%s' SET MESSAGE_TEXT='%s'",
		table, db.Quote(table), db.FenceState, db.FenceMessage(table)))
}

func started(t *testing.T) (start, *running) {
	t.Helper()
	s := fresh(t)
	l := run(t, s)
	if err := l.Open(t.Context(), randomAccounts(0)); err != nil {
		t.Fatal(err)
	}
	return s, l
}

func wantApplied(t *testing.T, l *running, ts ...core.Transfer) {
	t.Helper()
	answers, err := l.Post(t.Context(), ts)
	if err != nil {
		t.Fatal(err)
	}
	for i, a := range answers {
		if a.Outcome != core.Applied {
			t.Fatalf("transfer %d: %+v", i, a)
		}
	}
}

func TestShards(t *testing.T) {
	april := time.Date(2026, 4, 10, 0, 0, 0, 0, time.UTC)
	may := time.Date(2026, 5, 10, 0, 0, 0, 0, time.UTC)
	t.Run("a missing shard is made", func(t *testing.T) {
		s, l := started(t)
		wantApplied(t, l, payAt("a", april), payAt("b", may), payAt("c", april))
		if n := count(t, l.db, "SELECT COUNT(*) FROM transfer_202604"); n != 2 {
			t.Fatalf("%d rows", n)
		}
		_, report := content(t, s.dsn)
		wantBalanced(t, report)
	})
	t.Run("a fenced shard's rows alone go to the late shard", func(t *testing.T) {
		s, l := started(t)
		wantApplied(t, l, payAt("a", april), payAt("b", may))
		fence(t, l.db, "transfer_202604")
		wantApplied(t, l, payAt("c", april), payAt("d", may), payAt("e", april))
		for q, want := range map[string]int64{"SELECT COUNT(*) FROM transfer_202604": 1, "SELECT COUNT(*) FROM transfer_202605": 2,
			"SELECT COUNT(*) FROM transfer_late_1 WHERE id IN ('c','e')": 2, "SELECT COUNT(*) FROM entry_late_1": 0} {
			if n := count(t, l.db, q); n != want {
				t.Fatalf("%s: %d instead of %d", q, n, want)
			}
		}
		fence(t, l.db, "entry_202605")
		wantApplied(t, l, payAt("f", may))
		if n := count(t, l.db, "SELECT COUNT(*) FROM entry_late_1"); n != 2 {
			t.Fatalf("%d late entries", n)
		}
		_, report := content(t, s.dsn)
		wantBalanced(t, report)
	})
	t.Run("a released shard is not made again", func(t *testing.T) {
		s, l := started(t)
		wantApplied(t, l, payAt("a", april))
		localtest.Exec(t, l.db.SQL(), "INSERT INTO strata_part (dataset, shard, range_from, range_to, epoch, state) VALUES ('transfer','transfer_202604',0,1,1,'released')")
		localtest.Exec(t, l.db.SQL(), "INSERT INTO transfer_late_1 SELECT * FROM transfer_202604")
		localtest.Exec(t, l.db.SQL(), "DROP TABLE transfer_202604")
		wantApplied(t, l, payAt("b", april), payAt("c", may))
		if err := l.EnsureShards(t.Context(), april, may); err != nil {
			t.Fatal(err)
		}
		if n := count(t, l.db, "SELECT COUNT(*) FROM information_schema.tables WHERE table_schema=DATABASE() AND table_name='transfer_202604'"); n != 0 {
			t.Fatal("the released shard is back")
		}
		if n := count(t, l.db, "SELECT COUNT(*) FROM transfer_late_1"); n != 2 {
			t.Fatalf("%d late rows", n)
		}
		_, report := content(t, s.dsn)
		wantBalanced(t, report)
	})
	t.Run("another trigger's refusal is no fence", func(t *testing.T) {
		_, l := started(t)
		wantApplied(t, l, payAt("a", april))
		localtest.Exec(t, l.db.SQL(), "CREATE TRIGGER x AFTER INSERT ON transfer_202604 FOR EACH ROW SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT='strata: transfer_202604 is fenced'")
		answers, err := l.Post(t.Context(), []core.Transfer{payAt("b", april)})
		if err != nil || answers[0].Outcome != core.Failed {
			t.Fatalf("%+v, %v", answers, err)
		}
		if n := count(t, l.db, "SELECT COUNT(*) FROM transfer_late_1"); n != 0 {
			t.Fatalf("%d late rows", n)
		}
	})
}

// TestPoison has one transfer that the database doesn't take; all others of its batch are applied.
func TestPoison(t *testing.T) {
	s, l := started(t)
	may := time.Date(2026, 5, 10, 0, 0, 0, 0, time.UTC)
	wantApplied(t, l, payAt("first", may))
	localtest.Exec(t, l.db.SQL(), "ALTER TABLE transfer_202605 ADD CONSTRAINT c CHECK (memo <> 'poison')")
	var ts []core.Transfer
	for i := range 100 {
		ts = append(ts, payAt(fmt.Sprint("t", i), may))
	}
	ts[60].Memo = "poison"
	ts = append(ts, payAt("t3", may), ts[60])
	answers, err := l.Post(t.Context(), ts)
	if err != nil {
		t.Fatal(err)
	}
	for i, a := range answers {
		want := core.Applied
		switch i {
		case 60, 101:
			want = core.Failed
		case 100:
			want = core.Replayed
		}
		if a.Outcome != want {
			t.Fatalf("transfer %d: %+v", i, a)
		}
	}
	if _, known, err := l.Answer(t.Context(), "t60"); err != nil || known {
		t.Fatalf("the failed transfer is remembered: %v", err)
	}
	_, report := content(t, s.dsn)
	wantBalanced(t, report)
}
