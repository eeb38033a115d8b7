package mysql

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"strata/core"
	"strata/db"
	"strata/fault"
	"strata/local"
	"strata/local/localtest"
)

// TestServer_that_may_forget is refused, unless told.
func TestServer_that_may_forget(t *testing.T) {
	m := localtest.Maria(t, "--sync-binlog=0")
	s := fresh(t)
	d := open(t, localtest.Schema(t, m), db.Writer)
	if _, err := New(t.Context(), Config{DB: d, Now: s.clock.Now}); !fault.Is(err, fault.Unsafe) || !strings.Contains(fault.HintOf(err), "sync_binlog") {
		t.Fatalf("%v", err)
	}
	if _, err := New(t.Context(), Config{DB: d, Now: s.clock.Now, AllowUnsafe: true}); err != nil {
		t.Fatal(err)
	}
}

func TestTables_of_an_earlier_version_are_refused(t *testing.T) {
	s := fresh(t)
	d := open(t, s.dsn, db.Writer)
	localtest.Exec(t, d.SQL(), "CREATE TABLE account (id BIGINT NOT NULL PRIMARY KEY, name VARCHAR(128), unit VARCHAR(12), min_balance BIGINT, balance BIGINT, entries BIGINT, opened_at DATETIME(6))")
	if _, err := New(t.Context(), Config{DB: d, Now: s.clock.Now}); !fault.Is(err, fault.Unsafe) || fault.HintOf(err) == "" {
		t.Fatalf("%v", err)
	}
}

// TestL12_purge_keeps_the_horizon forgets what is beyond the horizon, and nothing else.
func TestL12_purge_keeps_the_horizon(t *testing.T) {
	s := fresh(t)
	traps := []*local.Trap{local.NewTrap("core.before_purge", 4), local.NewTrap("core.after_purge", 2)}
	s.at = func(point string) error { return errors.Join(traps[0].At(point), traps[1].At(point)) }
	l := run(t, s)
	if err := l.Open(t.Context(), randomAccounts(0)); err != nil {
		t.Fatal(err)
	}
	first := s.clock.Now()
	old := payAt("old", first)
	old.Tenant, old.Order = "shop", "o1"
	wantApplied(t, l, old)
	one(t, l, act("back", core.Reverse, "old", first))
	one(t, l, act("cancel", core.Cancel, "never", first))
	s.clock.Set(first.Add(core.DefaultHorizon))
	young := payAt("young", s.clock.Now())
	young.Tenant, young.Order = "shop", "o2"
	wantApplied(t, l, young)
	purge := func(want int) {
		t.Helper()
		sum := 0
		for range 4 { // stopped in between, twice in the test
			n, err := l.PurgeIDs(t.Context(), 100)
			if sum += n; err == nil && sum == want {
				return
			} else if err != nil && !errors.Is(err, local.ErrCrash) {
				t.Fatal(err)
			}
		}
		t.Fatalf("%d purged instead of %d", sum, want)
	}
	s.clock.Set(first.Add(core.DefaultHorizon + core.Ahead))
	purge(0)
	s.clock.Set(first.Add(core.DefaultHorizon + core.Ahead + time.Microsecond))
	purge(3)
	purge(0)
	if a := one(t, l, old); a.Code != core.TooOld {
		t.Fatalf("the old transfer again: %+v", a)
	}
	for query, want := range map[string]int64{"SELECT COUNT(*) FROM reversed": 0, "SELECT COUNT(*) FROM reservation": 0,
		"SELECT COUNT(*) FROM merchant_order WHERE merchant_order='o1' AND posted_at<'2026-06-01'": 0,
		"SELECT COUNT(*) FROM merchant_order WHERE merchant_order='o2'":                            1,
		"SELECT COUNT(*) FROM transfer_id":                                                         2} {
		if n := count(t, l.db, query); n != want {
			t.Fatalf("%s: %d instead of %d", query, n, want)
		}
	}
	wantApplied(t, l, payAt("next", s.clock.Now()))
}

// TestL12_chains_are_whole: they are never cut, not even where the database refuses one transfer.
func TestL12_chains_are_whole(t *testing.T) {
	s, l := started(t)
	wantApplied(t, l, payAt("first", s.clock.Now()))
	localtest.Exec(t, l.db.SQL(), "ALTER TABLE transfer_202605 ADD CONSTRAINT c CHECK (memo <> 'poison')")
	var ts []core.Transfer
	for i := range 90 {
		x := payAt(fmt.Sprint("t", i), s.clock.Now())
		x.Linked = i%3 < 2 // chains of three
		if i == 31 {
			x.Memo = "poison"
		}
		ts = append(ts, x)
	}
	answers, err := l.Post(t.Context(), ts)
	if err != nil {
		t.Fatal(err)
	}
	for i, a := range answers {
		want := core.Applied
		if i/3 == 10 {
			want = core.Failed
		}
		if a.Outcome != want {
			t.Fatalf("transfer %d: %+v", i, a)
		}
	}
	again := []core.Transfer{ts[0], payAt("fresh", s.clock.Now())}
	again[0].Linked, again[1].Linked = true, false
	answers, err = l.Post(t.Context(), again)
	if err != nil || answers[0].Outcome != core.Replayed || answers[1].Code != core.LinkedFailed {
		t.Fatalf("%+v, %v", answers, err)
	}
	_, report := content(t, s.dsn)
	wantBalanced(t, report)
}

// TestControl changes accounts that the lanes know.
func TestControl(t *testing.T) {
	s, l := started(t)
	now := s.clock.Now()
	wantApplied(t, l, payAt("a", now), payAt("b", now))
	if err := l.SetState(t.Context(), 1, core.Frozen); err != nil {
		t.Fatal(err)
	}
	if a := one(t, l, payAt("c", now)); a.Code != core.AccountFrozen {
		t.Fatalf("%+v", a)
	}
	for name, err := range map[string]error{
		"closing with a balance": l.SetState(t.Context(), 1, core.Closed),
		"an unknown mode":        l.SwitchMode(t.Context(), 1, core.Simple+1, 0),
		"no such account":        l.SetBounds(t.Context(), 99, nil, nil),
		"crossed bounds":         l.SetBounds(t.Context(), 1, ptr(int64(2)), ptr(int64(1))),
	} {
		if err == nil {
			t.Errorf("%s passes", name)
		}
	}
	if err := l.SwitchMode(t.Context(), 1, core.RealTime, 0); err != nil {
		t.Fatal(err)
	}
	if err := l.SetState(t.Context(), 1, core.Open); err != nil {
		t.Fatal(err)
	}
	if err := l.SetBounds(t.Context(), 1, ptr(int64(-2)), nil); err != nil {
		t.Fatal(err)
	}
	if a := one(t, l, payAt("d", now)); a.Code != core.BelowMinimum {
		t.Fatalf("%+v", a)
	}
}
