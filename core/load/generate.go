package load

import (
	"fmt"
	"math/rand/v2"
	"time"

	"strata/core"
)

// The streams of random numbers.
const (
	streamPast  = 1
	streamToday = 2
)

// generator makes the transfers of one stream, each from its number alone.
type generator struct {
	seed, stream uint64
	prefix       string
	units        []unit
	funding      []funding // the first transfers
	earliest     time.Time // order times are not before it
}

type funding struct {
	unit     *unit
	accounts []int64
}

func newGenerator(p Plan, stream uint64, us []unit) *generator {
	g := &generator{seed: p.Seed, stream: stream, units: us, earliest: p.From}
	if stream == streamToday {
		g.prefix = fmt.Sprintf("today-%d-", p.Seed)
		return g
	}
	g.prefix = fmt.Sprintf("load-%d-", p.Seed)
	for i := range us {
		for _, all := range [][]int64{us[i].merchants, us[i].customer} {
			for len(all) > 0 {
				n := min(len(all), fundingLegs)
				g.funding = append(g.funding, funding{&us[i], all[:n]})
				all = all[n:]
			}
		}
	}
	return g
}

func (g *generator) id(number int) string { return fmt.Sprintf("%s%09d", g.prefix, number) }

// transfer makes transfer number, which is posted at at.
func (g *generator) transfer(number int, at time.Time) core.Transfer {
	t, r := g.body(number)
	t.ID = g.id(number)
	t.OrderTime = at.Add(-g.lag(r)).Truncate(time.Microsecond)
	if t.OrderTime.Before(g.earliest) {
		t.OrderTime = g.earliest.Add(time.Duration(r.IntN(3600)) * time.Second)
	}
	return t
}

// lag is how long ago a transfer was ordered when it is posted.
func (g *generator) lag(r *rand.Rand) time.Duration {
	upTo := func(d time.Duration) time.Duration { return time.Duration(r.Int64N(int64(d))) }
	switch n := r.IntN(100); {
	case g.stream == streamToday && n < 10: // into months that may have left live
		return 35*day + upTo(165*day)
	case n < 80:
		return time.Second + upTo(20*time.Minute)
	case n < 95:
		return 20*time.Minute + upTo(12*time.Hour)
	case n < 99:
		return 12*time.Hour + upTo(5*day)
	default:
		return 5*day + upTo(35*day)
	}
}

// kind draws what transfer number is; it is the first draw, so that a refund can ask it of an older transfer.
func (g *generator) kind(number int, r *rand.Rand) string {
	if number < len(g.funding) {
		return "funding"
	}
	switch n := r.IntN(1000); {
	case n < 540:
		return "payment"
	case n < 700:
		return "split"
	case n < 790:
		return "topup"
	case n < 850:
		return "refund"
	case n < 890:
		return "exchange"
	case n < 940:
		return "payout"
	case n < 997:
		return "transfer"
	default:
		return "overdraft"
	}
}

// body is everything but id and order time, and the source for what follows.
func (g *generator) body(number int) (core.Transfer, *rand.Rand) {
	r := random(g.seed, g.stream, number)
	t := core.Transfer{Kind: g.kind(number, r)}
	u := g.unit(r)
	a := amount(r)
	leg := func(account, amount int64) {
		t.Legs = append(t.Legs, core.Leg{Account: account, Unit: u.name, Amount: amount})
	}
	switch t.Kind {
	case "funding":
		g.fund(&t, g.funding[number], r)
		return t, r
	case "payment":
		leg(customer(u, r), -a)
		leg(merchant(u, r), a)
	case "overdraft": // refused
		t.Kind = "payment"
		leg(customer(u, r), -a-1_000_000_000_000)
		leg(merchant(u, r), a+1_000_000_000_000)
	case "split":
		fee := a*6/1000 + 1
		leg(customer(u, r), -a)
		leg(merchant(u, r), a-fee)
		leg(u.fee, fee)
	case "topup":
		leg(u.equity, -10*a)
		leg(customer(u, r), 10*a)
	case "refund":
		g.refund(&t, number, r)
	case "exchange":
		v := g.unit(r)
		if v == u {
			v = &g.units[(int(r.Uint32())%3+1+index(g.units, u))%len(g.units)]
		}
		leg(customer(u, r), -a)
		leg(u.fx, a)
		b := max(1, a*u.worth/v.worth)
		t.Legs = append(t.Legs, core.Leg{Account: v.fx, Unit: v.name, Amount: -b}, core.Leg{Account: customer(v, r), Unit: v.name, Amount: b})
	case "payout":
		leg(merchant(u, r), 0)
		for range 4 + r.IntN(6) {
			b := amount(r)/4 + 1
			leg(customer(u, r), b)
			t.Legs[0].Amount -= b
		}
	default:
		leg(customer(u, r), -a)
		leg(customer(u, r), a)
	}
	if t.Memo == "" {
		t.Memo = memo(t.Kind, r)
	}
	return t, r
}

// fund fills accounts from the unit's equity.
func (g *generator) fund(t *core.Transfer, f funding, r *rand.Rand) {
	t.Legs = append(t.Legs, core.Leg{Account: f.unit.equity, Unit: f.unit.name})
	for _, id := range f.accounts {
		a := 200_000 + r.Int64N(5_000_000)
		t.Legs = append(t.Legs, core.Leg{Account: id, Unit: f.unit.name, Amount: a})
		t.Legs[0].Amount -= a
	}
	t.Memo = "期初余额 opening balances"
}

// refund gives one of the last 200 transfers back, if it was a payment; else a merchant makes a present.
func (g *generator) refund(t *core.Transfer, number int, r *rand.Rand) {
	older := number - 1 - r.IntN(200)
	if older >= len(g.funding) && g.kind(older, random(g.seed, g.stream, older)) == "payment" {
		was, _ := g.body(older)
		for _, l := range was.Legs {
			l.Amount = -l.Amount
			t.Legs = append(t.Legs, l)
		}
		t.Memo = "退款 refund of " + g.id(older)
		return
	}
	u, a := g.unit(r), amount(r)
	t.Legs = append(t.Legs, core.Leg{Account: merchant(u, r), Unit: u.name, Amount: -a}, core.Leg{Account: customer(u, r), Unit: u.name, Amount: a})
}

func (g *generator) unit(r *rand.Rand) *unit {
	slot := r.IntN(20)
	for i := range g.units {
		if slot < g.units[i].share {
			return &g.units[i]
		}
		slot -= g.units[i].share
	}
	return &g.units[0]
}

func index(us []unit, u *unit) int {
	for i := range us {
		if &us[i] == u {
			return i
		}
	}
	return 0
}

// merchant: a few are hot. customer: some are busier than others.
func merchant(u *unit, r *rand.Rand) int64 { return u.merchants[zipf(r, 1.2, 2, len(u.merchants))] }
func customer(u *unit, r *rand.Rand) int64 { return u.customer[zipf(r, 1.05, 60, len(u.customer))] }

func zipf(r *rand.Rand, s, v float64, n int) int {
	return int(rand.NewZipf(r, s, v, uint64(n-1)).Uint64())
}

// amount is mostly small, sometimes large.
func amount(r *rand.Rand) int64 { return 100 + r.Int64N(1<<(7+r.IntN(10))) }

func memo(kind string, r *rand.Rand) string {
	texts := []string{"", "", "order %d", "午餐 %d", "🍜 拉面 %d 号桌", "invoice #%d", "水电费 %d 月", "Geschenk für Jürgen ❤️ %d", "打车 🚕 %d",
		"it's \\ \"%d\"", "工资 salary %d", "家賃 %d", "subscription %d 🎬"}
	text := texts[r.IntN(len(texts))]
	if text == "" {
		return kind
	}
	return fmt.Sprintf(text, r.IntN(100_000))
}
