package across

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"strata/core"
	"strata/money"
)

// body is what is kept of a valid transfer: with it alone, another process with another configuration goes on.
type body struct {
	Transfer Transfer `json:"transfer"`
	// Transit has the transit accounts by ledger and unit, as they were configured when it came.
	Transit map[string]map[string]int64 `json:"transit"`
}

// share is a transfer's part in one ledger.
type share struct {
	ledger string
	legs   []core.Leg
	origin []int // the leg of the transfer that each is; -1: of transit
}

// shares splits a transfer by ledger, in the order of their names, and adds the transit legs that make each balance. ok is
// false where a sum exceeds 64 bits.
func (b *body) shares() (out []share, ok bool) {
	by := map[string]*share{}
	net := map[string]map[string]*money.Sum{}
	for i, l := range b.Transfer.Legs {
		if by[l.Ledger] == nil {
			by[l.Ledger], net[l.Ledger] = &share{ledger: l.Ledger}, map[string]*money.Sum{}
		}
		s := by[l.Ledger]
		s.legs = append(s.legs, core.Leg{Account: l.Account, Unit: l.Unit, Amount: l.Amount, Nature: l.Nature})
		s.origin = append(s.origin, i)
		if net[l.Ledger][l.Unit] == nil {
			net[l.Ledger][l.Unit] = &money.Sum{}
		}
		net[l.Ledger][l.Unit].Add(money.Amount(l.Amount))
	}
	for _, name := range slices.Sorted(maps.Keys(by)) {
		s := by[name]
		for _, unit := range slices.Sorted(maps.Keys(net[name])) {
			rest, fits := net[name][unit].Neg().Amount()
			if !fits {
				return nil, false
			}
			if rest != 0 {
				s.legs = append(s.legs, core.Leg{Account: b.Transit[name][unit], Unit: unit, Amount: int64(rest)})
				s.origin = append(s.origin, -1)
			}
		}
		out = append(out, *s)
	}
	return out, true
}

// try is the reservation in one ledger. It has no end by itself: only the decision ends it.
func (b *body) try(s *share) core.Transfer {
	id, _, _ := IDs(b.Transfer.ID)
	t := &b.Transfer
	return core.Transfer{ID: id, Kind: t.Kind, OrderTime: t.OrderTime, BusinessDate: t.BusinessDate, Memo: t.Memo,
		Metadata: t.Metadata, Tenant: t.Tenant, Product: t.Product, Action: core.Try, Legs: s.legs}
}

// ending is what carries the decision out. The order number is on what is booked only. The order time is the transfer's, but
// the decision's where the order is more than a day older: the order of a Try that was let in just within the horizon would
// be beyond it when its Confirm comes. Both are made of what is durable, so that each repetition has the same body.
func (b *body) ending(d *decision) core.Transfer {
	try, confirm, cancel := IDs(b.Transfer.ID)
	t := &b.Transfer
	order, business := t.OrderTime, t.BusinessDate
	if d.At.Sub(order) > 24*time.Hour {
		order = d.At
	}
	if business.IsZero() {
		business = core.Date(t.OrderTime)
	}
	if !d.Commit {
		return core.Transfer{ID: cancel, Kind: t.Kind, OrderTime: order, Tenant: t.Tenant, Action: core.Cancel, Of: try}
	}
	return core.Transfer{ID: confirm, Kind: t.Kind, OrderTime: order, BusinessDate: business, Memo: t.Memo,
		Metadata: t.Metadata, Tenant: t.Tenant, Order: t.Order, Product: t.Product, Action: core.Confirm, Of: try}
}

// check refuses what can't be applied whatever the accounts are; ok is true where nothing is wrong.
func (c *Coordinator) check(b *body) (refused Answer, ok bool) {
	t := &b.Transfer
	if len(t.Legs) < 2 || len(t.Legs) > MaxLedgers*core.MaxLegs {
		return refuse(core.BadTransfer, "a transfer across ledgers has 2 legs or more"), false
	}
	if a, ok := c.checkLegs(t); !ok {
		return a, false
	}
	shares, fits := b.shares()
	if !fits {
		return refuse(core.Overflow, "the legs exceed 64 bits"), false
	}
	if len(shares) < 2 || len(shares) > MaxLedgers {
		return refuse(core.BadTransfer, fmt.Sprintf("the legs are in %d ledgers instead of 2 to %d", len(shares), MaxLedgers)), false
	}
	for i := range shares {
		s := &shares[i]
		for n, l := range s.legs {
			if s.origin[n] < 0 && l.Account == 0 {
				a := refuse(NoTransit, "ledger "+s.ledger+" has no transit account in "+l.Unit)
				a.Ledger = s.ledger
				return a, false
			}
		}
		// What a Confirm or Cancel carries is checked, too, before anything is reserved: it must not be refused later.
		try := b.try(s)
		confirm, cancel := b.ending(&decision{Commit: true, At: t.OrderTime}), b.ending(&decision{At: t.OrderTime})
		for _, part := range []*core.Transfer{&try, &confirm, &cancel} {
			if r := part.Refusal(); r != nil {
				a := refuse(r.Code, r.Message)
				a.Field = s.field(r.Field)
				return a, false
			}
		}
	}
	if code, why := core.CheckTime(t.OrderTime, c.now(), c.cfg.Horizon); code != "" {
		a := refuse(code, why)
		a.Field = "order_time"
		return a, false
	}
	return Answer{}, true
}

// checkLegs checks what no ledger sees: that all legs balance, and that those on transit accounts do so by themselves, since
// transit could not net to zero after it otherwise.
func (c *Coordinator) checkLegs(t *Transfer) (Answer, bool) {
	sums, transit := map[string]*money.Sum{}, map[string]*money.Sum{}
	add := func(to map[string]*money.Sum, l *Leg) {
		if to[l.Unit] == nil {
			to[l.Unit] = &money.Sum{}
		}
		to[l.Unit].Add(money.Amount(l.Amount))
	}
	for i := range t.Legs {
		l := &t.Legs[i]
		ledger, known := c.cfg.Ledgers[l.Ledger]
		if !known {
			a := refuse(UnknownLedger, fmt.Sprintf("there is no ledger %.40q", l.Ledger))
			a.Field = fmt.Sprintf("legs[%d].ledger", i)
			return a, false
		}
		add(sums, l)
		if id, ok := ledger.Transit[l.Unit]; ok && id == l.Account {
			add(transit, l)
		}
	}
	for _, unit := range slices.Sorted(maps.Keys(sums)) {
		if !sums[unit].IsZero() {
			return refuse(core.Unbalanced, fmt.Sprintf("the legs in %.12s do not sum to zero over all ledgers", unit)), false
		}
		if s := transit[unit]; s != nil && !s.IsZero() {
			return refuse(core.Unbalanced, fmt.Sprintf("the legs in %.12s on transit accounts do not sum to zero", unit)), false
		}
	}
	return Answer{}, true
}

// field turns a field of a share's transfer into one of the whole: legs[n] are numbered otherwise.
func (s *share) field(of string) string {
	rest, found := strings.CutPrefix(of, "legs[")
	if !found {
		return of
	}
	number, tail, _ := strings.Cut(rest, "]")
	n, err := strconv.Atoi(number)
	if err != nil || n < 0 || n >= len(s.origin) || s.origin[n] < 0 {
		return ""
	}
	return fmt.Sprintf("legs[%d]%s", s.origin[n], tail)
}
