package mysql

import (
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"strata/core"
	"strata/core/load"
	"strata/fault"
	"strata/local"
	"strata/local/localtest"
)

func smallPlan() load.Plan {
	return load.Plan{Seed: 7, Transfers: 240, Accounts: 80, From: time.Date(2026, 1, 29, 0, 0, 0, 0, time.UTC), To: time.Date(2026, 2, 2, 0, 0, 0, 0, time.UTC)}
}

// loadAll runs the small plan and 60 of today's transfers.
func loadAll(t *testing.T, l *running, clock *core.Clock) (load.Result, error) {
	cfg := load.Config{Plan: smallPlan(), Ledger: l, Clock: clock, TodayBatch: 20}
	if res, err := load.Past(t.Context(), cfg); err != nil {
		return res, err
	}
	return load.Today(t.Context(), cfg, 60)
}

// TestL12_crash_points_resume stops the ledger at each named point, at its first and at a later hit, starts it again and
// calls the load again: the content is the same as without a stop.
func TestL12_crash_points_resume(t *testing.T) {
	s := fresh(t)
	s.clock.Set(smallPlan().From)
	record := local.Record()
	s.at = record.At
	whole := run(t, s)
	if _, err := loadAll(t, whole, s.clock); err != nil {
		t.Fatal(err)
	}
	want, report := content(t, s.dsn)
	wantBalanced(t, report)
	hits := record.Hits()
	for _, point := range CrashPoints() {
		if hits[point] == 0 {
			t.Errorf("%s was never hit", point)
		}
		for _, nth := range []int{1, (hits[point] + 1) / 2} {
			t.Run(fmt.Sprintf("%s %d", point, nth), func(t *testing.T) {
				s := fresh(t)
				s.clock.Set(smallPlan().From)
				s.at = local.NewTrap(point, nth).At
				first := run(t, s)
				if _, err := loadAll(t, first, s.clock); err == nil {
					t.Fatal("the point was not hit")
				}
				first.stop()
				s.at = nil
				s.clock.Set(smallPlan().From)
				if _, err := loadAll(t, run(t, s), s.clock); err != nil {
					t.Fatal(err)
				}
				if got, _ := content(t, s.dsn); got != want {
					t.Fatalf("digest %s instead of %s", got, want)
				}
			})
		}
	}
}

// TestL12_lost_commit_answer cuts the wire between a COMMIT and its answer: the batch is there once, and answered.
func TestL12_lost_commit_answer(t *testing.T) {
	for _, c := range []struct {
		name  string
		point string
		cut   func(*local.Proxy)
		lost  int64 // commits without an answer
	}{
		{"committed, answer lost", "core.before_commit", func(p *local.Proxy) { p.CutAfter(1) }, 2},
		{"lost before the commit", "core.before_commit", func(p *local.Proxy) { p.Cut() }, 2},
		{"lost before the rows", "core.before_rows", func(p *local.Proxy) { p.Cut() }, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := fresh(t)
			addr := localtest.Shared(t).Addr()
			proxy, err := local.NewProxy(addr)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = proxy.Close() })
			s.dsn = strings.Replace(s.dsn, addr, proxy.Addr(), 1)
			cuts := 0
			s.at = func(point string) error {
				if point == c.point && cuts < 2 {
					cuts++
					c.cut(proxy)
				}
				return nil
			}
			l := run(t, s)
			if err := l.Open(t.Context(), randomAccounts(0)); err != nil {
				t.Fatal(err)
			}
			ts := []core.Transfer{}
			for i := range 10 {
				ts = append(ts, core.Transfer{ID: fmt.Sprint("t", i), Kind: "k", OrderTime: s.clock.Now(), Legs: []core.Leg{
					{Account: 1, Unit: "CNY", Amount: -1}, {Account: 5, Unit: "CNY", Amount: 1}}})
			}
			for round := range 2 { // the second with a guess
				for i := range ts {
					ts[i].ID += "+"
				}
				answers, err := l.Post(t.Context(), ts)
				if err != nil {
					t.Fatal(err)
				}
				for i, a := range answers {
					if a.Outcome != core.Applied || a.Balances[0].Seq != int64(10*round+i+1) {
						t.Fatalf("round %d, answer %d: %+v", round, i, a)
					}
				}
			}
			if st := l.Stats(); cuts != 2 || st.Ambiguous != c.lost || st.Retries < 2 {
				t.Fatalf("%d cuts, %+v", cuts, st)
			}
			_, report := content(t, s.dsn)
			wantBalanced(t, report)
			if report.Transfers != 20 {
				t.Fatalf("%d transfers", report.Transfers)
			}
		})
	}
}

// TestServerAway returns an error that is no answer, and posts when the server is there again.
func TestServerAway(t *testing.T) {
	if _, err := net.Dial("tcp", "127.0.0.1:1"); err == nil {
		t.Skip("port 1 answers")
	}
	s := fresh(t)
	m := localtest.Shared(t)
	l := run(t, s)
	if err := l.Open(t.Context(), randomAccounts(0)); err != nil {
		t.Fatal(err)
	}
	pay := core.Transfer{ID: "a", Kind: "k", OrderTime: s.clock.Now(), Legs: []core.Leg{{Account: 1, Unit: "CNY", Amount: -1}, {Account: 2, Unit: "CNY", Amount: 1}}}
	if err := m.Kill(); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() {
		a, err := l.Post(t.Context(), []core.Transfer{pay})
		if err == nil && a[0].Outcome != core.Applied {
			err = fault.New(fault.Internal, "test", "%+v", a[0])
		}
		done <- err
	}()
	localtest.Eventually(t, 20*time.Second, "the lane tries again", func() (bool, error) { return l.Stats().Retries > 0, nil })
	if err := m.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}
