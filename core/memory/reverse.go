package memory

import (
	"strata/core"
)

func (d *draft) reverse(t *core.Transfer, answer *core.Answer) *core.Answer {
	was, ok := d.answer(t.Of)
	if !ok || was.Outcome == core.Refused || was.Action != core.Post && was.Action != core.Confirm {
		return no(core.NotFound, "of", "there is no post or confirm %s that was booked", t.Of)
	}
	done := d.reversed[t.Of]
	if done == nil {
		if done = append([]int64(nil), d.l.reversed[t.Of]...); len(done) == 0 {
			done = make([]int64, len(was.Balances))
		}
	}
	want, a := d.opposite(t, was.Balances, done)
	if a != nil {
		return a
	}
	legs, a := d.legs(t, want)
	if a == nil {
		a = d.off(t, legs)
	}
	if a == nil {
		a = d.undoParts(t, legs, was.Balances, done)
	}
	if a == nil {
		a = d.book(t, legs, answer)
	}
	if a == nil {
		a = d.bounds(legs)
	}
	if a != nil {
		return a
	}
	after := make([]int64, len(done))
	for i := range done {
		after[i] = done[i] + abs(want[i].Amount)
	}
	d.reversed[t.Of] = after
	return nil
}

// opposite is the legs of the reversal: the transfer's own, checked, or all that is left.
func (d *draft) opposite(t *core.Transfer, was []core.Balance, done []int64) ([]core.Leg, *core.Answer) {
	want := t.Legs
	if len(want) == 0 {
		nothing := true
		for i, b := range was {
			l := core.Leg{Account: b.Account, Amount: -(b.Amount - done[i])}
			if b.Amount < 0 {
				l.Amount = -b.Amount - done[i]
			}
			nothing = nothing && l.Amount == 0
			want = append(want, l)
		}
		if nothing {
			return nil, no(core.Exceeds, "of", "nothing is left of %s", t.Of)
		}
		return want, nil
	}
	if len(want) != len(was) {
		return nil, no(core.BadTransfer, "legs", "%s has another number of legs", t.Of)
	}
	for i, l := range want {
		g := &leg{Leg: l, at: i}
		switch {
		case l.Account != was[i].Account:
			return nil, no(core.BadTransfer, g.field("account"), "%s has another account", t.Of)
		case l.Amount > 0 && was[i].Amount > 0 || l.Amount < 0 && was[i].Amount < 0:
			return nil, no(core.BadTransfer, g.field("amount"), "%s has the same side", t.Of)
		case abs(l.Amount) > abs(was[i].Amount)-done[i]:
			return nil, no(core.Exceeds, g.field("amount"), "more than is left of %s", t.Of)
		}
	}
	return want, nil
}

// undoParts takes natures from where they went and brings them to where they came from.
func (d *draft) undoParts(t *core.Transfer, legs []*leg, was []core.Balance, done []int64) *core.Answer {
	pool := map[string]coins{}
	spent := map[core.FundKey]int64{}
	split := false
	for _, g := range legs {
		split = split || g.split()
	}
	if !split {
		return nil
	}
	for i, g := range legs {
		if g.Amount >= 0 {
			continue
		}
		var gives coins
		switch {
		case !g.split():
			gives = origin(legs, was, i).between(done[i], -g.Amount)
		case len(was[i].Parts) == 0:
			if a := d.pay(t, legs, g, spent); a != nil {
				return a
			}
			gives = append(coins(nil), g.parts...)
		default:
			gives = row(was[i].Parts).between(done[i], -g.Amount)
			g.parts = append([]core.Part(nil), gives...)
			for _, p := range g.parts {
				key := core.FundKey{Account: g.Account, Nature: p.Nature}
				f := d.fund(g.Account, p.Nature)
				if f.Balance-f.Pending-spent[key] < p.Amount {
					return d.poor(t, legs, g)
				}
				spent[key] += p.Amount
			}
		}
		pool[g.Unit] = append(pool[g.Unit], gives...)
	}
	d.repay(legs, was, done, pool)
	return nil
}

// origin is the money that went into the credit of leg i, as its payers had it.
func origin(legs []*leg, was []core.Balance, i int) coins {
	var line coins
	before := int64(0)
	for k, b := range was {
		if legs[k].Unit != legs[i].Unit {
			continue
		}
		if b.Amount > 0 && k < i {
			before += b.Amount
		}
		if b.Amount < 0 && len(b.Parts) > 0 {
			line = append(line, row(b.Parts)...)
		} else if b.Amount < 0 {
			line = append(line, core.Part{Amount: -b.Amount})
		}
	}
	return line.between(before, was[i].Amount)
}

// repay gives every payer what it spent, as far as there is some; then what else there is.
func (d *draft) repay(legs []*leg, was []core.Balance, done []int64, pool map[string]coins) {
	lacks := make([]int64, len(legs))
	for i, g := range legs {
		if g.Amount <= 0 {
			continue
		}
		lacks[i] = g.Amount
		wish := coins{{Amount: g.Amount}}
		if g.split() {
			wish = row(was[i].Parts).between(done[i], g.Amount)
		}
		for _, p := range wish {
			for k := range pool[g.Unit] {
				c := &pool[g.Unit][k]
				if x := min(p.Amount, c.Amount); c.Nature == p.Nature && x > 0 {
					c.Amount -= x
					p.Amount -= x
					lacks[i] -= x
					g.parts = append(g.parts, core.Part{Nature: p.Nature, Amount: x})
				}
			}
		}
	}
	for i, g := range legs {
		line := pool[g.Unit]
		g.parts = append(g.parts, line.cut(lacks[i])...)
		pool[g.Unit] = line
		if g.Amount <= 0 {
			continue
		}
		if !g.split() {
			g.parts = nil
		}
		for k := range g.parts {
			if g.parts[k].Nature == "" {
				g.parts[k].Nature = d.first("", g.account, was[i].Parts)
			}
		}
	}
}
