package memory

import (
	"strata/core"
)

func (d *draft) try(t *core.Transfer, answer *core.Answer) *core.Answer {
	if r := d.reservation(t.ID); r != nil && r.State == core.Fenced {
		return no(core.Hung, "id", "it came after its cancel %s", r.EndedBy)
	} else if r != nil {
		return no(core.IDConflict, "id", "there is a reservation of this id")
	}
	if !t.Expires.IsZero() {
		if t.Expires = core.Micros(t.Expires); !t.Expires.After(d.now) {
			return no(core.Lapsed, "expires", "its time is over already")
		}
	}
	legs, a := d.legs(t, t.Legs)
	if a == nil {
		a = d.off(t, legs)
	}
	var counted []core.Counted
	if a == nil {
		counted, a = d.count(t, legs)
	}
	if a == nil {
		a = d.allocate(t, legs)
	}
	if a != nil {
		return a
	}
	r := &core.Reservation{ID: t.ID, Transfer: *t, Counted: counted, Day: d.l.day, At: d.now}
	split := false
	for _, g := range legs {
		pending := &g.account.PendingCredits
		if g.Amount < 0 {
			pending = &g.account.PendingDebits
		}
		total := sum(*pending, abs(g.Amount))
		if !total.IsInt64() {
			return tooMuch(g)
		}
		*pending = total.Int64()
		if !pendingFits(g.account) {
			return tooMuch(g)
		}
		var kept []core.Part
		for _, p := range g.parts {
			if g.Amount < 0 {
				d.fund(g.Account, p.Nature).Pending += p.Amount
				p.Amount = -p.Amount
			}
			kept = append(kept, p)
		}
		split = split || g.split()
		r.Parts = append(r.Parts, kept)
		answer.Balances = append(answer.Balances, core.Balance{Account: g.Account, Balance: g.account.Balance, Amount: g.Amount, Parts: g.signed()})
	}
	if !split {
		r.Parts = nil
	}
	d.reservations[t.ID] = r
	return d.bounds(legs)
}

func (d *draft) confirm(t *core.Transfer, answer *core.Answer) *core.Answer {
	r := d.reservation(t.Of)
	switch {
	case r == nil:
		return no(core.NotFound, "of", "there is no reservation %s", t.Of)
	case r.Shown(d.now) == core.Expired:
		return no(core.Lapsed, "of", "the time of reservation %s is over", r.ID)
	case r.State != core.Pending:
		return no(core.AlreadyEnded, "of", "reservation %s was ended by %s", r.ID, r.EndedBy)
	}
	want := t.Legs
	if len(want) == 0 {
		want = r.Transfer.Legs
	}
	if len(want) != len(r.Transfer.Legs) {
		return no(core.BadTransfer, "legs", "another number of legs was reserved")
	}
	for i, l := range want {
		g, had := &leg{Leg: l, at: i}, r.Transfer.Legs[i]
		switch {
		case l.Account != had.Account:
			return no(core.BadTransfer, g.field("account"), "another account was reserved")
		case l.Unit != had.Unit:
			return no(core.UnitMismatch, g.field("unit"), "another unit was reserved")
		case l.Amount < 0 && had.Amount > 0 || l.Amount > 0 && had.Amount < 0:
			return no(core.BadTransfer, g.field("amount"), "the other side was reserved")
		case abs(l.Amount) > abs(had.Amount):
			return no(core.Exceeds, g.field("amount"), "less was reserved")
		}
	}
	legs, a := d.legs(t, want)
	if a != nil {
		return a
	}
	d.release(r)
	d.confirmed(r, legs)
	if a := d.book(t, legs, answer); a != nil {
		return a
	}
	d.giveBack(r, legs)
	r.State, r.EndedBy, r.EndedAt = core.Confirmed, t.ID, d.now
	return nil
}

// release takes all that is reserved off what is pending.
func (d *draft) release(r *core.Reservation) {
	for i, l := range r.Transfer.Legs {
		a := d.account(l.Account)
		if l.Amount > 0 {
			a.PendingCredits -= l.Amount
			continue
		}
		a.PendingDebits -= abs(l.Amount)
		if r.Parts != nil {
			for _, p := range r.Parts[i] {
				d.fund(l.Account, p.Nature).Pending -= abs(p.Amount)
			}
		}
	}
}

func (d *draft) cancel(t *core.Transfer, answer *core.Answer) *core.Answer {
	r := d.reservation(t.Of)
	if r == nil {
		r = &core.Reservation{ID: t.Of, State: core.Fenced, Transfer: core.Transfer{ID: t.Of}, Day: d.l.day, At: d.now, EndedBy: t.ID, EndedAt: d.now}
		d.reservations[t.Of] = r
	}
	switch r.State {
	case core.Fenced:
		answer.Code, answer.Field, answer.Message = core.NullCancelled, "of", "there was no reservation; a try of it will be refused"
	case core.Confirmed:
		return no(core.AlreadyEnded, "of", "reservation %s was confirmed by %s", r.ID, r.EndedBy)
	case core.Pending:
		d.release(r)
		d.giveBack(r, nil)
		r.State, r.EndedBy, r.EndedAt = core.Cancelled, t.ID, d.now
	}
	return nil
}
