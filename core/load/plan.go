package load

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"strata/core"
	"strata/fault"
)

const (
	minAccounts = 80  // so that each unit has merchants and customers
	fundingLegs = 100 // accounts that one funding transfer fills
	batchLimit  = 500
	day         = 24 * time.Hour
)

// Plan says what is loaded.
type Plan struct {
	Seed      uint64
	Transfers int // in all, the funding ones first
	Accounts  int // customers and merchants; at least 80
	// From and To are midnights UTC: the first accounting date of the load, and the one after its last: "today".
	From, To time.Time
}

// Validate reports everything that is wrong, joined (fault.Invalid).
func (p Plan) Validate() error {
	var errs []error
	bad := func(format string, args ...any) {
		errs = append(errs, fault.New(fault.Invalid, "check load", format, args...))
	}
	if p.Accounts < minAccounts || p.Accounts > 10_000_000 {
		bad("%d accounts; %d to 10,000,000 are possible", p.Accounts, minAccounts)
	}
	if least := p.Accounts/fundingLegs + len(units()) + 1; p.Transfers < least || p.Transfers > 999_999_999 {
		bad("%d transfers; %d to 999,999,999 are possible", p.Transfers, least)
	}
	if !core.Date(p.From).Equal(p.From) || !core.Date(p.To).Equal(p.To) {
		bad("the range does not start and end at midnight UTC")
	}
	if err := core.CheckSpan(p.From, p.To); err != nil {
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// unit is one currency of the load: its own accounts, and the worth of a minor unit.
type unit struct {
	name                string
	equity, fee, fx     int64
	share               int   // accounts of 20 that are in it
	worth               int64 // of a minor unit, in hundredths of a fen
	merchants, customer []int64
}

func units() []unit {
	us := []unit{{name: "CNY", share: 11, worth: 100}, {name: "USD", share: 5, worth: 720}, {name: "EUR", share: 3, worth: 780},
		{name: "JPY", share: 1, worth: 500}}
	for i := range us {
		base := int64(10 * (i + 1))
		us[i].equity, us[i].fee, us[i].fx = base+1, base+2, base+3
	}
	return us
}

// accounts lays out the accounts and returns the units with their members.
func (p Plan) accounts() ([]core.Account, []unit) {
	us := units()
	zero := int64(0)
	var out []core.Account
	for _, u := range us {
		out = append(out,
			core.Account{ID: u.equity, Name: "equity " + u.name, Unit: u.name},
			core.Account{ID: u.fee, Name: "fees " + u.name, Unit: u.name},
			core.Account{ID: u.fx, Name: "currency exchange " + u.name, Unit: u.name})
	}
	families := []string{"王", "李", "张", "刘", "陈", "Smith", "García", "田中", "Müller", "Ivanova"}
	for i := range p.Accounts {
		u := &us[len(us)-1]
		for k, slot := 0, i%20; k < len(us); slot, k = slot-us[k].share, k+1 {
			if slot < us[k].share {
				u = &us[k]
				break
			}
		}
		id := int64(1001 + i)
		a := core.Account{ID: id, Unit: u.name, MinBalance: &zero}
		if i/20%20 == 0 {
			a.Name = fmt.Sprintf("商户 merchant %d", id)
			u.merchants = append(u.merchants, id)
		} else {
			a.Name = fmt.Sprintf("%s %d", families[i%len(families)], id)
			u.customer = append(u.customer, id)
		}
		out = append(out, a)
	}
	return out, us
}

// step is one batch of the load: transfers [First, First+Count) on one day at one time.
type step struct {
	day, at      time.Time
	first, count int
}

// steps cuts the load into batches: days by weight (business grows, weekends are quieter), each day in equal pieces.
func (p Plan) steps() []step {
	days := int(p.To.Sub(p.From) / day)
	weight := make([]int64, days)
	total := int64(0)
	for d := range days {
		weight[d] = 100 + 60*int64(d)/int64(days)
		if wd := p.From.AddDate(0, 0, d).Weekday(); wd == time.Saturday || wd == time.Sunday {
			weight[d] -= 30
		}
		total += weight[d]
	}
	var out []step
	done, sum := 0, int64(0)
	for d := range days {
		sum += weight[d]
		until := int(int64(p.Transfers) * sum / total)
		date := p.From.AddDate(0, 0, d)
		pieces := (until - done + batchLimit - 1) / batchLimit
		for k := range pieces {
			n := (until - done) / (pieces - k)
			out = append(out, step{day: date, at: date.Add(time.Hour + 22*time.Hour*time.Duration(k+1)/time.Duration(pieces)).Truncate(time.Microsecond),
				first: done, count: n})
			done += n
		}
	}
	return out
}

// random is the source of one transfer's choices, wherever the load starts.
func random(seed, stream uint64, number int) *rand.Rand {
	return rand.New(rand.NewPCG(seed^stream*0x9e3779b97f4a7c15, uint64(number)))
}
