package main

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"testing"
	"time"

	"strata/core"
	"strata/local/localtest"
)

// TestBank_days cuts and closes days by the API and by the command while two processes post: no write stops, what is sent
// after a cut is booked on its date, and every day's trial balance is balanced.
func TestBank_days(t *testing.T) {
	t.Parallel()
	daysRound(t, 1, 3)
}

// TestSoak_bank_days is the same with more days, and kills, a seed a round.
func TestSoak_bank_days(t *testing.T) {
	eachRound(t, func(t *testing.T, seed uint64) { daysRound(t, seed, 12) })
}

func daysRound(t *testing.T, seed uint64, cuts int) {
	t.Helper()
	b := newBank(t, seed, bankSpec{maria: localtest.Shared(t), tellers: 2})
	b.open()
	b.switchAll()
	var day struct{ Date string }
	b.json("/v1/day", &day)
	date, err := time.Parse(time.DateOnly, day.Date)
	if err != nil {
		t.Fatal(err)
	}
	dates := []time.Time{date}
	after := map[string]time.Time{} // by transfer: it was sent after this date was opened
	b.load(6, "c", func() {
		r, c := b.random(99), b.clerk("boss")
		for k := range cuts {
			b.more(60)
			date = date.AddDate(0, 0, 1+r.IntN(5)*(k%2)) // not far ahead, which is refused
			b.cutDay(r, date)
			dates = append(dates, date)
			for range 3 {
				x := c.payment()
				after[x.ID] = date
				c.send([]core.Transfer{x})
			}
			if k%2 == 0 {
				b.ledger("day", "close", dates[len(dates)-2].Format(time.DateOnly)).want(t, 0)
			}
			if k%3 == 2 {
				b.tellers[r.IntN(2)].restart()
			}
			if t.Failed() {
				return
			}
		}
		b.more(100)
	})
	b.check()
	c := b.prove()
	b.trialDays(dates, c)
	for _, l := range c.lines {
		if date, ours := after[l.transfer]; ours && l.date < date.Format(time.DateOnly) {
			t.Errorf("%s was sent after the cut to %s and is booked on %s", l.transfer, date.Format(time.DateOnly), l.date)
		}
	}
	t.Logf("seed %d: %d days; %s", seed, len(dates), b.book.counts())
}

func (x *teller) restart() {
	x.kill()
	x.start()
}

// cutDay opens a date, by either way.
func (b *bank) cutDay(r *rand.Rand, date time.Time) {
	b.t.Helper()
	text := date.Format(time.DateOnly)
	if r.IntN(2) == 0 {
		b.ledger("day", "cut", text).want(b.t, 0, text)
		return
	}
	b.insist(http.MethodPost, "/v1/day/cut", fmt.Sprintf(`{"date":%q}`, text), 200)
}

// trialDays closes all days but the last, some of them again, and sees that each is balanced, with what was booked on it.
func (b *bank) trialDays(dates []time.Time, c *content) {
	b.t.Helper()
	debits := map[string]int64{}
	for _, l := range slices.Concat(c.lines, c.buffer) {
		if l.amount < 0 {
			debits[l.date+l.unit] -= l.amount
		}
	}
	for i, date := range dates {
		text := date.Format(time.DateOnly)
		if i < len(dates)-1 {
			b.ledger("day", "close", text).want(b.t, 0, text)
		}
		r := b.ledger("trial", "--total", "--json", "--date="+text)
		r.want(b.t, 0)
		var sums struct {
			OK    bool `json:"ok"`
			Units []struct {
				Unit   string
				Debits int64 `json:",string"`
			}
		}
		if err := json.Unmarshal([]byte(r.stdout), &sums); err != nil || !sums.OK || len(sums.Units) != 2 {
			b.t.Errorf("%s: %v: %s", text, err, r)
		}
		for _, u := range sums.Units {
			if want := debits[text+u.Unit]; u.Debits != want {
				b.t.Errorf("%s: the trial balance has debits of %d %s; the entries say %d", text, u.Debits, u.Unit, want)
			}
		}
	}
}
