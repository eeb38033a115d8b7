package daybook

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"strata/fault"
)

func (r *rig) trial(t testing.TB, date time.Time) (lines []Line, end Balance) {
	t.Helper()
	end, err := r.book.TrialBalance(t.Context(), date, func(l Line) error {
		lines = append(lines, l)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return lines, end
}

func TestTrialBalance(t *testing.T) {
	r := newRig(t, nil)
	r.run(t)
	r.open(t, 12)
	r.days(t, 3, 20)
	before := map[int][]Line{}
	t.Run("dates that are not frozen come from entries", func(t *testing.T) {
		for d := 0; d <= 4; d++ {
			lines, end := r.trial(t, day(d))
			if !end.OK || end.Frozen || end.Open != (d == 4) || len(lines) < 3 {
				t.Fatalf("day %d: %+v %+v", d, end, lines)
			}
			before[d] = lines
		}
	})
	r.endOfDay(t, day(1))
	r.endOfDay(t, day(3))
	t.Run("frozen dates say the same", func(t *testing.T) {
		for d := 1; d <= 4; d++ {
			lines, end := r.trial(t, day(d))
			if !end.OK || end.Frozen != (d < 4) || fmt.Sprint(lines) != fmt.Sprint(before[d]) {
				t.Fatalf("day %d: %+v\n%+v\n%+v", d, end, lines, before[d])
			}
		}
	})
	t.Run("each line ends where the next day begins", func(t *testing.T) {
		for d := 2; d <= 4; d++ {
			closing := map[int64]int64{}
			lines, _ := r.trial(t, day(d-1))
			for _, l := range lines {
				closing[l.Account] = l.Closing
			}
			lines, end := r.trial(t, day(d))
			for _, l := range lines {
				if l.Opening != closing[l.Account] || l.Opening+l.Credits-l.Debits != l.Closing {
					t.Fatalf("day %d: %+v, before %d", d, l, closing[l.Account])
				}
			}
			if u := end.Units[0]; d < 4 && (u.Debits != "210" || u.Credits != "210" || u.Closing != "0" || u.Accounts != int64(len(lines))) {
				t.Fatalf("%+v", u)
			}
		}
	})
	t.Run("a date before the first frozen one is not found, one to come is invalid", func(t *testing.T) {
		if _, err := r.book.TrialBalance(t.Context(), day(0), func(Line) error { return nil }); !fault.Is(err, fault.NotFound) {
			t.Fatalf("%v", err)
		}
		if _, err := r.book.TrialBalance(t.Context(), day(5), func(Line) error { return nil }); !fault.Is(err, fault.Invalid) {
			t.Fatalf("%v", err)
		}
	})
	t.Run("the reader's error ends it", func(t *testing.T) {
		stop := errors.New("stop")
		if _, err := r.book.TrialBalance(t.Context(), day(2), func(Line) error { return stop }); !errors.Is(err, stop) {
			t.Fatalf("%v", err)
		}
	})
	t.Run("what does not balance is said", func(t *testing.T) {
		r.exec(t, "UPDATE day_balance SET balance=balance+1 WHERE accounting_date='2026-05-02' AND account_id=2")
		if _, end := r.trial(t, day(2)); end.OK || end.Units[0].Closing != "1" {
			t.Fatalf("%+v", end)
		}
		r.exec(t, "UPDATE day_balance SET balance=balance-1 WHERE accounting_date='2026-05-02' AND account_id=2")
		r.exec(t, "UPDATE account SET balance=balance-1 WHERE id=2")
		if _, end := r.trial(t, day(4)); end.OK {
			t.Fatalf("%+v", end)
		}
		r.exec(t, "UPDATE account SET balance=balance+1 WHERE id=2")
	})
	t.Run("a line is as many fields as the header", func(t *testing.T) {
		if l := (Line{Account: 7, Unit: "CNY", Closing: -5}).CSV(); len(l) != len(CSVHeader()) || l[0] != "7" || l[7] != "-5" {
			t.Fatalf("%v", l)
		}
	})
}
