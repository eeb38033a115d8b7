package daybook

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"strata/core"
	"strata/fault"
	"strata/local"
)

// days posts some transfers on each of the first n days after day 0 and cuts each; 1 May is day 1.
func (r *rig) days(t testing.TB, n, perDay int) {
	t.Helper()
	r.post(t, pay("open", day(0), 1, 2, 1_000_000), pay("open-2", day(0), 1, 3, 5_000))
	for d := 1; d <= n; d++ {
		r.clock.Set(day(d).Add(8 * time.Hour))
		r.cut(t, day(d))
		var ts []core.Transfer
		for i := range perDay {
			ts = append(ts, pay(fmt.Sprintf("d%d-%d", d, i), r.clock.Now(), 2, int64(4+(i*d)%7), int64(1+i)))
		}
		r.post(t, ts...)
	}
	r.cut(t, day(n+1))
	r.clock.Set(day(n + 1).Add(8 * time.Hour))
}

func (r *rig) endOfDay(t testing.TB, date time.Time) DayReport {
	t.Helper()
	report, err := r.book.EndOfDay(t.Context(), date)
	if err != nil {
		t.Fatalf("%v: %+v", err, report)
	}
	return report
}

// dayBalances is everything that is frozen.
func (r *rig) dayBalances(t testing.TB) string {
	t.Helper()
	r.exec(t, "SET SESSION group_concat_max_len=10000000")
	return r.text(t, "SELECT GROUP_CONCAT(CONCAT_WS(' ',accounting_date,account_id,unit,balance,debits,credits,entries) ORDER BY 1 SEPARATOR '\n') FROM day_balance") + "\n" +
		r.text(t, "SELECT GROUP_CONCAT(CONCAT_WS(' ',accounting_date,accounts,entries,late) ORDER BY 1 SEPARATOR '\n') FROM day_end")
}

func TestEndOfDay(t *testing.T) {
	r := newRig(t, nil)
	r.sql.SetMaxOpenConns(1)
	r.run(t)
	r.open(t, 12)
	r.days(t, 3, 20)

	t.Run("an open date is busy", func(t *testing.T) {
		if _, err := r.book.EndOfDay(t.Context(), day(4)); !fault.Is(err, fault.Busy) || fault.HintOf(err) == "" {
			t.Fatalf("%v", err)
		}
	})
	t.Run("the first date has a row for every account that has a balance", func(t *testing.T) {
		report := r.endOfDay(t, day(1))
		if got := r.text(t, "SELECT GROUP_CONCAT(account_id ORDER BY account_id) FROM day_balance"); got != "1,2,3,4,5,6,7,8,9,10" || report.Accounts != 10 || report.Entries != 40 {
			t.Fatalf("%s: %+v", got, report)
		}
		if got := r.text(t, "SELECT CONCAT_WS(' ',balance,debits,credits,entries) FROM day_balance WHERE account_id=1"); got != "-1005000 0 0 0" {
			t.Fatal(got)
		}
	})
	t.Run("the dates in between are done before", func(t *testing.T) {
		report := r.endOfDay(t, day(3))
		if len(report.Earlier) != 1 || report.Earlier[0].Date != "2026-05-02" || report.Earlier[0].Written == 0 || report.Units[0] != (Turnover{"CNY", "210", "210"}) {
			t.Fatalf("%+v", report)
		}
	})
	t.Run("a second run changes nothing and compares", func(t *testing.T) {
		was := r.dayBalances(t)
		for d := 1; d <= 3; d++ {
			if report := r.endOfDay(t, day(d)); report.Written != 0 || !report.Compared || report.Entries != 40 {
				t.Fatalf("%+v", report)
			}
		}
		if is := r.dayBalances(t); is != was {
			t.Fatalf("%s\n\n%s", was, is)
		}
	})
	t.Run("a difference is named and not overwritten", func(t *testing.T) {
		for _, column := range []string{"balance", "debits", "credits", "entries"} {
			r.exec(t, "UPDATE day_balance SET "+column+"="+column+"+1 WHERE accounting_date='2026-05-02' AND account_id=4")
			was := r.dayBalances(t)
			report, err := r.book.EndOfDay(t.Context(), day(2))
			if !fault.Is(err, fault.Proof) || len(report.Findings) != 1 || report.Findings[0].Column != column || report.Findings[0].Key != "2026-05-02,4" || was != r.dayBalances(t) {
				t.Fatalf("%v: %+v", err, report.Findings)
			}
			r.exec(t, "UPDATE day_balance SET "+column+"="+column+"-1 WHERE accounting_date='2026-05-02' AND account_id=4")
		}
	})
	t.Run("a date before the first is refused", func(t *testing.T) {
		if _, err := r.book.EndOfDay(t.Context(), day(0)); !fault.Is(err, fault.Invalid) {
			t.Fatalf("%v", err)
		}
	})
	t.Run("a date whose entries have left live is not compared", func(t *testing.T) {
		r.exec(t, "INSERT INTO strata_part (dataset, shard, range_from, range_to, epoch, state) VALUES ('entry','entry_202605',0,1,1,'released')")
		if report := r.endOfDay(t, day(2)); report.Compared {
			t.Fatalf("%+v", report)
		}
		r.cut(t, day(5))
		if _, err := r.book.EndOfDay(t.Context(), day(4)); !fault.Is(err, fault.Stale) || fault.HintOf(err) == "" {
			t.Fatalf("%v", err)
		}
		r.exec(t, "DELETE FROM strata_part")
		r.endOfDay(t, day(4))
	})
	settle(t, r)
	r.wantClean(t)
}

func TestEndOfDay_late(t *testing.T) {
	r := newRig(t, nil)
	r.run(t)
	r.open(t, 12)
	r.days(t, 2, 5)
	late := pay("late", day(1).Add(7*time.Hour), 2, 3, 9)
	r.post(t, late, pay("late-2", day(1).Add(7*time.Hour), 2, 3, 1), pay("older", day(-40), 2, 3, 1), pay("punctual", r.clock.Now(), 2, 3, 1))
	r.cut(t, day(4))
	if got := r.text(t, "SELECT CONCAT_WS(' ',DATE(order_time),accounting_date) FROM transfer_202605 WHERE id='late'"); got != "2026-05-01 2026-05-03" {
		t.Fatalf("the dates of a late order: %s", got)
	}
	report := r.endOfDay(t, day(3))
	if want := []LateCount{{dateOf(day(-40)), 1}, {"2026-05-01", 2}}; !slices.Equal(report.Late, want) {
		t.Fatalf("%+v", report.Late)
	}
	if got := r.text(t, "SELECT late FROM day_end WHERE accounting_date='2026-05-03'"); got != "3" {
		t.Fatalf("%s late", got)
	}
	settle(t, r)
	r.wantClean(t)
}

// TestEndOfDay_crash stops the end of day at each point, at its first and at a later hit, and runs it again: what is frozen is
// the same as without a stop.
func TestEndOfDay_crash(t *testing.T) {
	r := newRig(t, nil)
	r.sql.SetMaxOpenConns(1)
	r.run(t)
	r.open(t, 12)
	r.days(t, 3, 20)
	r.book = r.newBook(t, func(c *Config) { c.ChunkAccounts = 3 })
	r.endOfDay(t, day(1))
	r.endOfDay(t, day(3))
	want := r.dayBalances(t)
	seen := map[string]int{}
	for _, point := range CrashPoints() {
		for _, hit := range []int{1, 2, 5} {
			r.exec(t, "DELETE FROM day_balance")
			r.exec(t, "DELETE FROM day_end")
			trap := local.NewTrap(point, hit)
			b := r.newBook(t, func(c *Config) { c.ChunkAccounts, c.At = 3, trap.At })
			crashed := false
			for _, d := range []int{1, 3} {
				_, err := b.EndOfDay(t.Context(), day(d))
				if errors.Is(err, local.ErrCrash) {
					crashed = true
					_, err = b.EndOfDay(t.Context(), day(d))
				}
				if err != nil {
					t.Fatalf("%s, hit %d: %v", point, hit, err)
				}
			}
			if is := r.dayBalances(t); is != want {
				t.Fatalf("%s, hit %d: %s\n\ninstead of\n%s", point, hit, is, want)
			}
			if crashed {
				seen[point]++
			}
		}
	}
	for _, point := range CrashPoints() {
		if merging := strings.HasSuffix(point, "_merge"); seen[point] == 0 && !merging {
			t.Errorf("%s was not hit", point)
		}
	}
}

// merger empties the buffer by hand.
type merger struct {
	f     func([]int64) error
	asked [][]int64
}

func (m *merger) Merge(_ context.Context, accounts []int64) error {
	m.asked = append(m.asked, accounts)
	return m.f(accounts)
}

func TestEndOfDay_buffers(t *testing.T) {
	r := newRig(t, nil)
	s := newScribe(t, r, core.Settings{}, []core.Account{{ID: 1, Unit: "CNY"}, {ID: 2, Unit: "CNY", Mode: core.Buffered}})
	s.post(t, core.Transfer{ID: "a", Kind: "k", Legs: legs("CNY", 1, -5, 2, 5)}, core.Applied)
	s.post(t, core.Transfer{ID: "b", Kind: "k", Legs: legs("CNY", 1, -7, 2, 7)}, core.Applied)
	s.b.Day = day(1)
	r.exec(t, "UPDATE day SET accounting_date='2026-05-01'")
	s.post(t, core.Transfer{ID: "c", Kind: "k", Legs: legs("CNY", 2, -2, 1, 2)}, core.Applied) // numbered before what is merged later
	s.state(t)
	t.Run("unmerged credits of the date are busy and named", func(t *testing.T) {
		_, err := r.book.EndOfDay(t.Context(), day(0))
		if !fault.Is(err, fault.Busy) || !strings.Contains(err.Error(), "accounts 2") {
			t.Fatalf("%v", err)
		}
	})
	t.Run("the open date's trial balance has what waits", func(t *testing.T) {
		lines, end := r.trial(t, day(0))
		if !end.OK || lines[1].Closing != 12 || lines[1].Buffered != 12 || lines[1].Credits != 12 {
			t.Fatalf("%+v %+v", lines, end)
		}
		if lines, end = r.trial(t, day(1)); !end.OK || lines[1].Closing != 10 || lines[1].Opening != 12 || lines[1].Debits != 2 {
			t.Fatalf("%+v %+v", lines, end)
		}
	})
	t.Run("a merger is asked until the buffer is empty, through crashes", func(t *testing.T) {
		m := &merger{f: func([]int64) error { s.merge(t); return nil }}
		var trap *local.Trap
		for _, point := range []string{"daybook.before_merge", "daybook.after_merge"} {
			trap = local.NewTrap(point, 1)
			b := r.newBook(t, func(c *Config) { c.Merger, c.At = m, trap.At })
			if _, err := b.EndOfDay(t.Context(), day(0)); !errors.Is(err, local.ErrCrash) {
				t.Fatalf("%v", err)
			}
		}
		b := r.newBook(t, func(c *Config) { c.Merger = m })
		report, err := b.EndOfDay(t.Context(), day(0))
		if err != nil || report.Entries != 4 || len(m.asked) != 2 || !slices.Equal(m.asked[0], []int64{2}) {
			t.Fatalf("%v: %+v, asked %v", err, report, m.asked)
		}
	})
	t.Run("a closing balance leaves out what was numbered before a late merge", func(t *testing.T) {
		if got := r.text(t, "SELECT balance FROM day_balance WHERE account_id=2"); got != "12" {
			t.Fatalf("closing balance %s", got)
		}
		if lines, end := r.trial(t, day(1)); !end.OK || lines[1].Closing != 10 || lines[1].Opening != 12 {
			t.Fatalf("%+v %+v", lines, end)
		}
	})
	r.wantClean(t)
}

// settle writes what a ledger without turnovers leaves out.
func settle(t testing.TB, r *rig) {
	t.Helper()
	r.exec(t, "UPDATE account a JOIN (SELECT account_id, SUM(IF(amount<0,-amount,0)) d, SUM(IF(amount>0,amount,0)) c FROM"+
		" (SELECT account_id, amount FROM entry_202604 UNION ALL SELECT account_id, amount FROM entry_202605 UNION ALL SELECT account_id, amount FROM entry_late_1) u GROUP BY account_id) e ON e.account_id=a.id"+
		" SET a.debits=e.d, a.credits=e.c")
}

func TestNew_names_everything_that_is_wrong(t *testing.T) {
	_, err := New(t.Context(), Config{ChunkAccounts: 501})
	if !fault.Is(err, fault.Invalid) || strings.Count(err.Error(), "\n") != 3 {
		t.Fatalf("%v", err)
	}
	if _, err := Check(t.Context(), CheckConfig{}, nil); !fault.Is(err, fault.Invalid) {
		t.Fatalf("%v", err)
	}
}
