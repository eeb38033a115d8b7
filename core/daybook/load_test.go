package daybook

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"strata/core"
	"strata/core/load"
	"strata/local/localtest"
)

// TestL8_days_are_cut_and_frozen_under_load cuts and freezes several days while others post: every transfer is booked on a day
// that was open while it was posted, the frozen balances are what the entries say, and every day balances.
func TestL8_days_are_cut_and_frozen_under_load(t *testing.T) {
	const days, posters = 4, 3
	r := newRig(t, nil)
	r.run(t)
	r.open(t, 20)
	r.post(t, pay("first", day(0), 1, 2, 1))
	r.cut(t, day(1))
	var perDay [days + 2]atomic.Int64 // transfers that were posted while the day was open
	ctx, stop := context.WithCancel(t.Context())
	var g errgroup.Group
	for p := range posters {
		g.Go(func() error {
			rnd := rand.New(rand.NewPCG(uint64(p), 7))
			for n := 0; ctx.Err() == nil; n++ {
				before, err := r.ledger.Day(context.Background())
				if err != nil {
					return err
				}
				ts := make([]core.Transfer, 1+rnd.IntN(10))
				for i := range ts {
					from := 1 + rnd.Int64N(20)
					ts[i] = pay(fmt.Sprintf("%d-%d-%d", p, n, i), r.clock.Now(), from, 1+(from+rnd.Int64N(19))%20, 1+rnd.Int64N(1000))
				}
				answers, err := r.ledger.Post(context.Background(), ts)
				if err != nil {
					return err
				}
				after, err := r.ledger.Day(context.Background())
				if err != nil {
					return err
				}
				for i, a := range answers {
					if a.Outcome != core.Applied {
						return fmt.Errorf("%s: %+v", ts[i].ID, a)
					}
				}
				var booked string
				if err := r.sql.QueryRow("SELECT MIN(accounting_date) FROM (SELECT accounting_date FROM entry_202604 WHERE transfer_id=? UNION ALL SELECT accounting_date FROM entry_202605 WHERE transfer_id=?) e",
					ts[0].ID, ts[0].ID).Scan(&booked); err != nil {
					return err
				}
				if booked < dateOf(before) || booked > dateOf(after) {
					return fmt.Errorf("%s was posted between %s and %s and booked on %s", ts[0].ID, before, after, booked)
				}
				perDay[before.Day()].Add(1)
			}
			return nil
		})
	}
	err := r.freezeDays(t, days, &perDay)
	stop()
	if e := g.Wait(); e != nil || err != nil {
		t.Fatalf("%v; %v", err, e)
	}
	for d := 0; d <= days+1; d++ {
		if _, end := r.trial(t, day(d)); !end.OK || end.Frozen != (d <= days) {
			t.Fatalf("day %d: %+v", d, end)
		}
	}
	settle(t, r)
	r.wantClean(t)
}

// freezeDays cuts and freezes each day after some transfers were posted on it.
func (r *rig) freezeDays(t *testing.T, days int, perDay *[6]atomic.Int64) error {
	if _, err := r.book.EndOfDay(t.Context(), day(0)); err != nil {
		return err
	}
	for d := 1; d <= days; d++ {
		localtest.Eventually(t, time.Minute, "transfers are posted on the day", func() (bool, error) { return perDay[d].Load() >= 10, nil })
		r.clock.Set(day(d + 1).Add(time.Hour))
		if err := r.ledger.CutDay(t.Context(), day(d+1)); err != nil {
			return err
		}
		localtest.Eventually(t, time.Minute, "transfers are posted on the next day", func() (bool, error) { return perDay[d+1].Load() >= 3, nil })
		if _, end := r.trial(t, day(d+1)); !end.OK || !end.Open {
			return fmt.Errorf("the open day %d: %+v", d+1, end)
		}
		derived, _ := r.trial(t, day(d)) // closed, and not frozen yet
		report, err := r.book.EndOfDay(t.Context(), day(d))
		if err != nil {
			return fmt.Errorf("%w: %+v", err, report)
		}
		if report.Entries == 0 || report.Units[0].Debits != report.Units[0].Credits {
			return fmt.Errorf("day %d: %+v", d, report)
		}
		if frozen, end := r.trial(t, day(d)); !end.Frozen || !slices.Equal(frozen, derived) {
			return fmt.Errorf("day %d: %+v; the frozen lines are %+v instead of %+v", d, end, frozen, derived)
		}
	}
	return nil
}

// BenchmarkCheck loads a ledger of STRATA_CHECK_TRANSFERS transfers, by default 20,000, and checks it.
func BenchmarkCheck(b *testing.B) {
	n, err := strconv.Atoi(os.Getenv("STRATA_CHECK_TRANSFERS"))
	if err != nil {
		n = 20_000
	}
	r := newRig(b, nil)
	r.run(b)
	plan := load.Plan{Seed: 1, Transfers: n, Accounts: 2000, From: day(0), To: day(28)}
	if _, err := load.Past(b.Context(), load.Config{Plan: plan, Ledger: r.ledger, Clock: r.clock}); err != nil {
		b.Fatal(err)
	}
	settle(b, r)
	start := time.Now()
	if _, err := r.book.EndOfDay(b.Context(), day(0)); err != nil {
		b.Fatal(err)
	}
	if _, err := r.book.EndOfDay(b.Context(), day(27)); err != nil {
		b.Fatal(err)
	}
	b.Logf("28 ends of day: %s", time.Since(start))
	start = time.Now()
	lines := 0
	if _, err := r.book.TrialBalance(b.Context(), day(27), func(Line) error { lines++; return nil }); err != nil {
		b.Fatal(err)
	}
	b.Logf("trial balance of %d lines: %s", lines, time.Since(start))
	b.ResetTimer()
	for b.Loop() {
		all, report := check(b, r)
		if len(all) > 0 {
			b.Fatal(all[0])
		}
		b.ReportMetric(float64(report.Rows["entry"]), "entries")
	}
}
