package mysql

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"strata/core"
	"strata/core/coretest"
	"strata/core/daybook"
	"strata/db"
	"strata/fault"
	"strata/local"
	"strata/local/localtest"
)

func allModes() []core.Mode { return []core.Mode{core.Buffered, core.SubAccounts, core.Simple} }

// wantChecked fails the test unless the day book's check, which derives everything again, finds nothing.
func wantChecked(t *testing.T, s start) {
	t.Helper()
	if err := daybook.EnsureTables(t.Context(), open(t, s.dsn, db.Writer)); err != nil {
		t.Fatal(err)
	}
	source, err := daybook.NewLiveSource(t.Context(), open(t, s.dsn, db.Reader), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	report, err := daybook.Check(t.Context(), daybook.CheckConfig{Source: source, Dir: t.TempDir()}, func(f daybook.Finding) {
		t.Errorf("%s: %s", f.Section, f)
	})
	if err != nil || !report.OK {
		t.Fatalf("%+v, %v", report, err)
	}
}

func switchTo(t *testing.T, l *running, id int64, mode core.Mode) {
	t.Helper()
	if err := l.SwitchMode(t.Context(), id, mode, 8); err != nil {
		t.Fatal(err)
	}
}

// move pays from one account to another.
func move(id string, at time.Time, from, to, amount int64) core.Transfer {
	x := payAt(id, at)
	x.Legs = []core.Leg{{Account: from, Unit: "CNY", Amount: -amount}, {Account: to, Unit: "CNY", Amount: amount}}
	return x
}

// TestL12_random_modes_equal_the_model posts random calls while three accounts change their modes: answers, balances, funds,
// reservations, orders and events are those of the model, which has one mode.
func TestL12_random_modes_equal_the_model(t *testing.T) {
	s := fresh(t)
	s.edit = consumed
	l := run(t, s)
	coretest.Random(t, l.Ledger, s.clock, allModes()...)
	if _, err := l.MergeAll(t.Context(), 1_000_000); err != nil {
		t.Fatal(err)
	}
	_, report := content(t, s.dsn)
	wantBalanced(t, report)
}

// plainly is a ledger whose accounts are in Simple without saying so, and that posts chain by chain.
type plainly struct{ *Ledger }

func (p plainly) Open(ctx context.Context, accounts []core.Account) error {
	if err := p.Ledger.Open(ctx, accounts); err != nil {
		return err
	}
	for _, a := range accounts {
		if a.Strategy == "" {
			if err := p.SwitchMode(ctx, a.ID, core.Simple, 0); err != nil {
				return err
			}
		}
	}
	return nil
}

func (p plainly) Post(ctx context.Context, transfers []core.Transfer) (out []core.Answer, err error) {
	for len(transfers) > 0 {
		n := core.Chain(transfers, func(t core.Transfer) bool { return t.Linked })
		answers, err := p.Ledger.Post(ctx, transfers[:n])
		if err != nil {
			return nil, err
		}
		out, transfers = append(out, answers...), transfers[n:]
	}
	return out, nil
}

func (p plainly) Standing(ctx context.Context, id int64) (core.Standing, error) {
	s, err := p.Ledger.Standing(ctx, id)
	s.Account.Mode = core.RealTime
	return s, err
}

// TestL12_simple_equals_the_model: an account that is posted to by conditional updates gives the answers of one that is not,
// to the last number.
func TestL12_simple_equals_the_model(t *testing.T) {
	s := fresh(t)
	s.edit = consumed
	l := run(t, s)
	if err := (plainly{l.Ledger}).Open(t.Context(), randomAccounts(1_000_000)); err != nil {
		t.Fatal(err)
	}
	before := l.Stats()
	wantApplied(t, l, move("beside", s.clock.Now(), 1_000_001, 1_000_005, 3))
	if a := one(t, l, move("over", s.clock.Now(), 1_000_005, 1_000_001, 4)); a.Code != core.BelowMinimum {
		t.Fatalf("%+v", a)
	}
	if st := l.Stats(); st.Simple != before.Simple+1 || st.Batches != before.Batches+1 {
		t.Errorf("%+v\nbecame %+v: the first was to pass beside the lanes, the other one not", before, st)
	}
	coretest.Random(t, plainly{l.Ledger}, s.clock)
	_, report := content(t, s.dsn)
	wantBalanced(t, report)
}

// TestModes_refused says why an account can't be in a mode.
func TestModes_refused(t *testing.T) {
	s := fresh(t)
	l := run(t, s)
	zero := int64(0)
	err := l.Open(t.Context(), []core.Account{{ID: 1, Unit: "CNY"}, {ID: 2, Unit: "CNY", MaxBalance: ptr(int64(100))}, {ID: 3, Unit: "CNY", Strategy: "w"},
		{ID: 4, Unit: "CNY", MinBalance: &zero}, {ID: 5, Unit: "CNY"}})
	if err != nil {
		t.Fatal(err)
	}
	wantApplied(t, l, move("a", s.clock.Now(), 5, 1, 30))
	if err := l.SetBounds(t.Context(), 5, &zero, nil); err != nil {
		t.Fatal(err)
	}
	switchTo(t, l, 4, core.SubAccounts)
	for name, c := range map[string]struct {
		err  error
		kind fault.Kind
	}{
		"buffered with a maximum":     {l.SwitchMode(t.Context(), 2, core.Buffered, 0), fault.Conflict},
		"spread with a maximum":       {l.SwitchMode(t.Context(), 2, core.SubAccounts, 4), fault.Conflict},
		"spread with natures":         {l.SwitchMode(t.Context(), 3, core.SubAccounts, 4), fault.Conflict},
		"spread below the minimum":    {l.SwitchMode(t.Context(), 5, core.SubAccounts, 4), fault.Conflict},
		"spread over one":             {l.SwitchMode(t.Context(), 1, core.SubAccounts, 1), fault.Invalid},
		"spread over too many":        {l.SwitchMode(t.Context(), 1, core.SubAccounts, 65), fault.Invalid},
		"an inner account":            {l.SwitchMode(t.Context(), -1, core.Simple, 0), fault.NotFound},
		"an inner account's state":    {l.SetState(t.Context(), -1, core.Frozen), fault.NotFound},
		"a maximum of a spread one":   {l.SetBounds(t.Context(), 4, nil, ptr(int64(5))), fault.Conflict},
		"a minimum above the balance": {l.SetBounds(t.Context(), 4, ptr(int64(5)), nil), fault.Conflict},
	} {
		if !fault.Is(c.err, c.kind) {
			t.Errorf("%s: %v", name, c.err)
		}
	}
	if n := count(t, l.db, "SELECT COUNT(*) FROM account WHERE id<0"); n != 8 {
		t.Fatalf("%d inner accounts", n)
	}
	if n := count(t, l.db, "SELECT modes FROM day"); n != 1 {
		t.Fatalf("%d accounts left real_time", n)
	}
}

// TestCredits_do_not_wait: while somebody holds an account's row, or one of its inner ones, credits pass.
func TestCredits_do_not_wait(t *testing.T) {
	for _, c := range []struct {
		mode core.Mode
		held int64
	}{{core.Buffered, 2}, {core.SubAccounts, 2}, {core.SubAccounts, -1}} {
		t.Run(fmt.Sprint(c.mode, " ", c.held), func(t *testing.T) {
			_, both := two(t)
			now := time.Date(2026, 5, 17, 10, 0, 0, 0, time.UTC)
			switchTo(t, both[0], 2, c.mode)
			tx, err := both[0].db.SQL().BeginTx(t.Context(), nil)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = tx.Rollback() }()
			if _, err := tx.ExecContext(t.Context(), "SELECT 1 FROM account WHERE id=? FOR UPDATE", c.held); err != nil {
				t.Fatal(err)
			}
			for i, l := range both {
				wantApplied(t, l, move(fmt.Sprint("a", i), now, 1, 2, 5))
			}
			if a, err := both[0].Balance(t.Context(), 2); err != nil || a.Balance != 10 {
				t.Fatalf("%+v, %v", a, err)
			}
		})
	}
}

// TestL12_merged_credits_keep_their_date: what waits over a day cut becomes an entry of the date on which it was taken, in
// that date's shard, before the end of that day freezes it; what is of a frozen date is never booked.
func TestL12_merged_credits_keep_their_date(t *testing.T) {
	s := fresh(t)
	s.clock.Set(time.Date(2026, 5, 31, 20, 0, 0, 0, time.UTC))
	s.edit = func(c *Config) { c.MergeEvery = -1 }
	l := run(t, s)
	if err := l.Open(t.Context(), randomAccounts(0)); err != nil {
		t.Fatal(err)
	}
	switchTo(t, l, 5, core.Buffered)
	wantApplied(t, l, move("may", s.clock.Now(), 1, 5, 7))
	s.clock.Set(s.clock.Now().Add(6 * time.Hour))
	if err := l.CutDay(t.Context(), s.clock.Now()); err != nil {
		t.Fatal(err)
	}
	wantApplied(t, l, move("june", s.clock.Now(), 1, 5, 1))
	if rows, oldest, err := l.BufferLag(t.Context()); err != nil || rows != 2 || !oldest.Equal(s.clock.Now().Add(-6*time.Hour)) {
		t.Fatal(rows, oldest, err)
	}
	wantChecked(t, s) // what waits is part of it
	book, err := daybook.New(t.Context(), daybook.Config{DB: l.db, Reader: open(t, s.dsn, db.Reader), Now: s.clock.Now, Merger: l})
	if err != nil {
		t.Fatal(err)
	}
	report, err := book.EndOfDay(t.Context(), time.Date(2026, 5, 31, 0, 0, 0, 0, time.UTC))
	if err != nil || report.Entries != 2 {
		t.Fatalf("%+v, %v", report, err)
	}
	if n := count(t, l.db, "SELECT amount FROM entry_202605 WHERE account_id=5 AND accounting_date='2026-05-31' AND transfer_id='may' AND posted_at='2026-05-31 20:00:00'"); n != 7 {
		t.Fatalf("%d", n)
	}
	if a, err := l.Balance(t.Context(), 5); err != nil || a.Balance != 8 || a.Buffered != 0 || a.Entries != 2 {
		t.Fatalf("%+v, %v", a, err)
	}
	wantChecked(t, s)
	wantApplied(t, l, move("more", s.clock.Now(), 1, 5, 2))
	if _, err := l.db.SQL().Exec("UPDATE buffer SET accounting_date='2026-05-31'"); err != nil {
		t.Fatal(err)
	}
	if err := l.Merge(t.Context(), []int64{5, 5, 77}); !fault.Is(err, fault.Proof) {
		t.Fatalf("a credit of a frozen date: %v", err)
	}
}

// TestMerging runs beside posting, and shows its lag.
func TestMerging(t *testing.T) {
	s := fresh(t)
	s.edit = func(c *Config) { c.MergeEvery = time.Millisecond }
	l := run(t, s)
	if err := l.Open(t.Context(), randomAccounts(0)); err != nil {
		t.Fatal(err)
	}
	switchTo(t, l, 5, core.Buffered)
	for i := range 5 {
		wantApplied(t, l, move(fmt.Sprint("a", i), s.clock.Now(), 1, 5, 1))
	}
	localtest.Eventually(t, 20*time.Second, "all is merged", func() (bool, error) {
		a, err := l.Balance(t.Context(), 5)
		return a.Entries == 5 && a.Balance == 5 && l.Stats().Merged == 5 && l.Stats().Buffered == 0, err
	})
}

// TestL12_simple_survives_a_lost_commit cuts the wire at the COMMIT of a post beside the lanes: it is there once.
func TestL12_simple_survives_a_lost_commit(t *testing.T) {
	addr := localtest.Shared(t).Addr()
	for name, cut := range map[string]func(*local.Proxy){"answer lost": func(p *local.Proxy) { p.CutAfter(1) }, "commit lost": (*local.Proxy).Cut} {
		t.Run(name, func(t *testing.T) {
			s := fresh(t)
			proxy, err := local.NewProxy(addr)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = proxy.Close() })
			s.dsn = strings.Replace(s.dsn, addr, proxy.Addr(), 1)
			armed := false
			s.at = func(point string) error {
				if point == "core.before_commit" && armed {
					armed = false
					cut(proxy)
				}
				return nil
			}
			l := run(t, s)
			if err := l.Open(t.Context(), randomAccounts(0)); err != nil {
				t.Fatal(err)
			}
			switchTo(t, l, 1, core.Simple)
			switchTo(t, l, 5, core.Simple)
			for i := range 3 {
				armed = i == 1
				a := one(t, l, move(fmt.Sprint("a", i), s.clock.Now(), 1, 5, 10))
				if a.Outcome != core.Applied || a.Balances[1].Seq != int64(i+1) || a.Balances[1].Balance != int64(10*i+10) {
					t.Fatalf("%+v", a)
				}
			}
			if st := l.Stats(); st.Simple != 3 || st.Ambiguous != 1 {
				t.Fatalf("%+v", st)
			}
			wantChecked(t, s)
		})
	}
}
