package mysql

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"strata/core"
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

// held is a process whose next batch stops between its locks and its rows until release is closed.
func held(t *testing.T, s start) (l *running, reached, release chan struct{}) {
	t.Helper()
	reached, release = make(chan struct{}), make(chan struct{})
	var once sync.Once
	s.at = func(point string) error {
		if point == "core.before_rows" {
			once.Do(func() { close(reached); <-release })
		}
		return nil
	}
	return run(t, s), reached, release
}

// meanwhile posts a by the held process, b by another one while a is held, and returns both answers.
func meanwhile(t *testing.T, s start, settings core.Settings, a, b core.Transfer) (core.Answer, core.Answer) {
	t.Helper()
	first, reached, release := held(t, s)
	second := run(t, s)
	if err := second.Open(t.Context(), randomAccounts(0)); err != nil {
		t.Fatal(err)
	}
	if _, err := second.PutSettings(t.Context(), 0, settings, "ops", ""); err != nil {
		t.Fatal(err)
	}
	answered := make(chan core.Answer, 1)
	go func() {
		out, err := first.Post(t.Context(), []core.Transfer{a})
		if err != nil {
			t.Error(err)
			out = make([]core.Answer, 1)
		}
		answered <- out[0]
	}()
	<-reached
	y := one(t, second, b)
	close(release)
	return <-answered, y
}

// TestL12_first_rows_race has two processes find the same row absent: the slower one sees the faster one's.
func TestL12_first_rows_race(t *testing.T) {
	t.Run("a limit counts both", func(t *testing.T) {
		s := fresh(t)
		b := payAt("b", s.clock.Now()) // other accounts: no lock in common
		b.Legs = []core.Leg{{Account: 3, Unit: "CNY", Amount: -1}, {Account: 5, Unit: "CNY", Amount: 1}}
		limit := core.Limit{Name: "op", Scope: "operation", Unit: "CNY", Per: "day", MaxCount: ptr(int64(1))}
		x, y := meanwhile(t, s, core.Settings{Limits: []core.Limit{limit}}, payAt("a", s.clock.Now()), b)
		if x.Code != core.LimitExceeded || y.Outcome != core.Applied {
			t.Fatalf("%+v, %+v", x, y)
		}
	})
	t.Run("a try sees the fence", func(t *testing.T) {
		s := fresh(t)
		x, y := meanwhile(t, s, core.Settings{}, act("r", core.Try, "", s.clock.Now()), act("c", core.Cancel, "r", s.clock.Now()))
		if x.Code != core.Hung || y.Code != core.NullCancelled {
			t.Fatalf("%+v, %+v", x, y)
		}
	})
	t.Run("a cancel sees the reservation", func(t *testing.T) {
		s := fresh(t)
		x, y := meanwhile(t, s, core.Settings{}, act("c", core.Cancel, "r", s.clock.Now()), act("r", core.Try, "", s.clock.Now()))
		if x.Outcome != core.Applied || x.Code != "" || y.Outcome != core.Applied {
			t.Fatalf("%+v, %+v", x, y)
		}
	})
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
