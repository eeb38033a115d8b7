package mysql

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"strata/core"
	"strata/db"
	"strata/fault"
	"strata/local"
	"strata/local/localtest"
)

// two are two processes' ledgers on one database.
func two(t *testing.T) (start, []*running) {
	s := fresh(t)
	a, b := run(t, s), run(t, s)
	if err := a.Open(t.Context(), randomAccounts(0)); err != nil {
		t.Fatal(err)
	}
	return s, []*running{a, b}
}

// one posts one transfer and returns its answer.
func one(t *testing.T, l *running, x core.Transfer) core.Answer {
	t.Helper()
	answers, err := l.Post(t.Context(), []core.Transfer{x})
	if err != nil {
		t.Fatal(err)
	}
	return answers[0]
}

func act(id string, action core.Action, of string, at time.Time) core.Transfer {
	x := core.Transfer{ID: id, Kind: "k", OrderTime: at, Action: action, Of: of}
	if action == core.Try || action == core.Post {
		x.Legs = payAt("", at).Legs
	}
	return x
}

// TestL12_a_limit_is_never_passed has two processes race for a limit: as much as it lets pass is booked, not one more or less.
func TestL12_a_limit_is_never_passed(t *testing.T) {
	s, both := two(t)
	const limit, callers, each = 40, 6, 12
	settings := core.Settings{Limits: []core.Limit{{Name: "day", Scope: "account", Unit: "CNY", Per: "day", MaxAmount: ptr(int64(limit))},
		{Name: "month", Scope: "ledger", Unit: "CNY", Per: "month", MaxCount: ptr(int64(1_000))}}}
	if _, err := both[0].PutSettings(t.Context(), 0, settings, "ops", ""); err != nil {
		t.Fatal(err)
	}
	var applied, refused atomic.Int64
	var wg sync.WaitGroup
	for who := range callers {
		wg.Go(func() {
			for i := range each {
				x := act(fmt.Sprint("t", who, "-", i), []core.Action{core.Post, core.Try}[i%2], "", s.clock.Now())
				answers, err := both[who%2].Post(t.Context(), []core.Transfer{x})
				switch {
				case err != nil:
					t.Error(err)
				case answers[0].Outcome == core.Applied:
					applied.Add(1)
				case answers[0].Code == core.LimitExceeded:
					refused.Add(1)
				default:
					t.Errorf("%+v", answers[0])
				}
			}
		})
	}
	wg.Wait()
	if applied.Load() != limit || refused.Load() != callers*each-limit {
		t.Fatalf("%d applied and %d refused at a limit of %d", applied.Load(), refused.Load(), limit)
	}
	standing, err := both[1].Standing(t.Context(), 1)
	if err != nil || len(standing.Uses) != 1 || standing.Uses[0].Amount != limit || standing.Uses[0].Count != limit {
		t.Fatalf("%+v, %v", standing, err)
	}
}

// TestL12_a_limits_first_use_is_counted_once has two processes count the first uses of many limits at the same time.
func TestL12_a_limits_first_use_is_counted_once(t *testing.T) {
	s, both := two(t)
	settings := core.Settings{Limits: []core.Limit{{Name: "op", Scope: "operation", Unit: "CNY", Per: "day", MaxCount: ptr(int64(100))}}}
	if _, err := both[0].PutSettings(t.Context(), 0, settings, "ops", ""); err != nil {
		t.Fatal(err)
	}
	const kinds = 40
	var wg sync.WaitGroup
	for who := range 2 {
		wg.Go(func() {
			for i := range kinds {
				x := payAt(fmt.Sprint(who, "-", i), s.clock.Now())
				x.Kind = fmt.Sprint("kind", i)
				x.Legs[0].Account, x.Legs[1].Account = int64(1+who), 3 // no common lock but account 3's
				x.Legs[1].Account = int64(5 + who)
				if answers, err := both[who].Post(t.Context(), []core.Transfer{x}); err != nil || answers[0].Outcome != core.Applied {
					t.Errorf("%+v, %v", answers, err)
				}
			}
		})
	}
	wg.Wait()
	if n := count(t, both[0].db, "SELECT COUNT(*) FROM limit_use WHERE count=2 AND amount=2"); n != kinds {
		t.Fatalf("%d of %d limits count both transfers", n, kinds)
	}
}

// TestL12_disorder cancels twice before the try comes: the try does nothing and is counted as hung.
func TestL12_disorder(t *testing.T) {
	s, both := two(t)
	now := s.clock.Now()
	for i, l := range both {
		a := one(t, l, act(fmt.Sprint("cancel", i), core.Cancel, "late", now))
		if a.Outcome != core.Applied || a.Code != core.NullCancelled {
			t.Fatalf("cancel %d: %+v", i, a)
		}
	}
	late := act("late", core.Try, "", now)
	for range 2 {
		if a := one(t, both[0], late); a.Outcome != core.Refused || a.Code != core.Hung {
			t.Fatalf("the late try: %+v", a)
		}
	}
	if a := one(t, both[1], act("confirm", core.Confirm, "late", now)); a.Outcome != core.Refused {
		t.Fatalf("a confirm of it: %+v", a)
	}
	counts, err := both[1].CountReservations(t.Context())
	if err != nil || counts["hung"] != 1 || counts["fenced"] != 1 || counts["pending"] != 0 {
		t.Fatalf("%v, %v", counts, err)
	}
	list, err := both[0].ListReservations(t.Context(), core.Fenced, "", 10)
	if err != nil || len(list) != 1 || list[0].ID != "late" || list[0].LateTrys != 1 || list[0].EndedBy != "cancel0" {
		t.Fatalf("%+v, %v", list, err)
	}
	if a, err := both[0].Balance(t.Context(), 1); err != nil || a.PendingDebits != 0 || a.Balance != 0 {
		t.Fatalf("%+v, %v", a, err)
	}
}

// TestL12_try_against_cancel races both for the same ids from two processes: either the cancel ends the reservation, or it
// leaves a fence and the try is hung; never both, never neither.
func TestL12_try_against_cancel(t *testing.T) {
	s, both := two(t)
	const ids = 60
	var answers [2][ids]core.Answer
	for i := range ids {
		var wg sync.WaitGroup
		for who, x := range []core.Transfer{act(fmt.Sprint("r", i), core.Try, "", s.clock.Now()), act(fmt.Sprint("c", i), core.Cancel, fmt.Sprint("r", i), s.clock.Now())} {
			wg.Go(func() {
				out, err := both[who].Post(t.Context(), []core.Transfer{x})
				if err != nil {
					t.Error(err)
					return
				}
				answers[who][i] = out[0]
			})
		}
		wg.Wait()
	}
	cancelled, fenced := 0, 0
	for i := range ids {
		try, cancel := answers[0][i], answers[1][i]
		switch {
		case try.Outcome == core.Applied && cancel.Outcome == core.Applied && cancel.Code == "":
			cancelled++
		case try.Code == core.Hung && cancel.Code == core.NullCancelled:
			fenced++
		default:
			t.Fatalf("%d: %+v and %+v", i, try, cancel)
		}
	}
	counts, err := both[0].CountReservations(t.Context())
	if err != nil || counts["cancelled"] != int64(cancelled) || counts["fenced"] != int64(fenced) || counts["hung"] != int64(fenced) {
		t.Fatalf("%v with %d cancelled and %d fenced, %v", counts, cancelled, fenced, err)
	}
	if a, err := both[0].Balance(t.Context(), 1); err != nil || a.PendingDebits != 0 {
		t.Fatalf("%+v, %v", a, err)
	}
}

// TestL12_reversals_race has two processes reverse one transfer in parts: all of it comes back, once.
func TestL12_reversals_race(t *testing.T) {
	s, both := two(t)
	pay := payAt("pay", s.clock.Now())
	pay.Legs[0].Amount, pay.Legs[1].Amount = -10, 10
	one(t, both[0], pay)
	var applied atomic.Int64
	var wg sync.WaitGroup
	for who := range 2 {
		wg.Go(func() {
			for i := range 10 {
				x := act(fmt.Sprint("back", who, "-", i), core.Reverse, "pay", s.clock.Now())
				x.Legs = []core.Leg{{Account: 1, Unit: "CNY", Amount: 1}, {Account: 2, Unit: "CNY", Amount: -1}}
				out, err := both[who].Post(t.Context(), []core.Transfer{x})
				switch {
				case err != nil:
					t.Error(err)
				case out[0].Outcome == core.Applied:
					applied.Add(1)
				case out[0].Code != core.Exceeds:
					t.Errorf("%+v", out[0])
				}
			}
		})
	}
	wg.Wait()
	if a, err := both[0].Balance(t.Context(), 1); err != nil || a.Balance != 0 || applied.Load() != 10 {
		t.Fatalf("%d of 10 came back: %+v, %v", applied.Load(), a, err)
	}
}

// TestSettings_are_in_force_at_the_next_batch of another process, too.
func TestSettings_are_in_force_at_the_next_batch(t *testing.T) {
	s, both := two(t)
	wantApplied(t, both[1], payAt("a", s.clock.Now()), payAt("b", s.clock.Now())) // guesses from here on
	off := core.Settings{Off: []core.Switch{{Operation: "k"}}}
	if _, err := both[0].PutSettings(t.Context(), 0, off, "ops", "stop"); err != nil {
		t.Fatal(err)
	}
	if a := one(t, both[1], payAt("c", s.clock.Now())); a.Code != core.SwitchedOff {
		t.Fatalf("%+v", a)
	}
	if _, err := both[1].PutSettings(t.Context(), 0, off, "ops", ""); !fault.Is(err, fault.Conflict) {
		t.Fatalf("from an old version: %v", err)
	}
	if _, err := both[1].PutSettings(t.Context(), 1, core.Settings{Limits: []core.Limit{{}}}, "ops", ""); !fault.Is(err, fault.Invalid) {
		t.Fatalf("a bad limit: %v", err)
	}
	v, err := both[1].RollBack(t.Context(), "ops", "go")
	if err != nil || v.Number != 2 || len(v.Settings.Off) != 0 {
		t.Fatalf("%+v, %v", v, err)
	}
	wantApplied(t, both[0], payAt("d", s.clock.Now()))
	history, err := both[0].SettingsHistory(t.Context(), 10)
	if err != nil || len(history) != 2 || history[0].Reason != "go" || history[1].Author != "ops" {
		t.Fatalf("%+v, %v", history, err)
	}
}

// TestL12_lost_commit_of_a_reservation cuts the wire after each COMMIT of a try, a confirm and a cancel: each is there once.
func TestL12_lost_commit_of_a_reservation(t *testing.T) {
	s := fresh(t)
	addr := localtest.Shared(t).Addr()
	proxy, err := local.NewProxy(addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = proxy.Close() })
	s.dsn = strings.Replace(s.dsn, addr, proxy.Addr(), 1)
	cut := true
	s.edit = func(c *Config) { c.Lanes = 1 }
	s.at = func(point string) error {
		if point == "core.before_commit" {
			if cut {
				proxy.CutAfter(1)
			}
			cut = !cut
		}
		return nil
	}
	l := run(t, s)
	if err := l.Open(t.Context(), randomAccounts(0)); err != nil {
		t.Fatal(err)
	}
	now := s.clock.Now()
	for _, x := range []core.Transfer{act("t1", core.Try, "", now), act("t2", core.Try, "", now), act("c1", core.Confirm, "t1", now), act("c2", core.Cancel, "t2", now)} {
		cut = true
		if a := one(t, l, x); a.Outcome != core.Applied || a.Code != "" {
			t.Fatalf("%s: %+v", x.ID, a)
		}
	}
	if st := l.Stats(); st.Ambiguous < 4 {
		t.Fatalf("%+v", st)
	}
	a, err := l.Balance(t.Context(), 1)
	if err != nil || a.Balance != -1 || a.PendingDebits != 0 || a.Entries != 1 {
		t.Fatalf("%+v, %v", a, err)
	}
}

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
	s, l := started(t)
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
		if n, err := l.PurgeIDs(t.Context(), 100); err != nil || n != want {
			t.Fatalf("%d purged instead of %d, %v", n, want, err)
		}
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
		"another mode":           l.SwitchMode(t.Context(), 1, core.Simple, 0),
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
