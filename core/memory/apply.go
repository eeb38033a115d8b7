package memory

import (
	"fmt"
	"math/big"
	"slices"
	"strings"

	"strata/core"
)

func no(code core.Code, field, format string, args ...any) *core.Answer {
	return &core.Answer{Outcome: core.Refused, Code: code, Field: field, Message: fmt.Sprintf(format, args...)}
}

func sum(numbers ...int64) *big.Int {
	total := new(big.Int)
	for _, n := range numbers {
		total.Add(total, big.NewInt(n))
	}
	return total
}

func abs(n int64) int64 { return max(n, -n) }

// leg is one leg of what a transfer does, with its account and its parts by nature: positive, in the order in which they
// are spent.
type leg struct {
	core.Leg
	at      int // in the transfer's own legs
	account *core.Account
	parts   []core.Part
	whole   bool // the legs are not the transfer's own
}

func (g *leg) field(name string) string {
	if g.whole {
		return "of"
	}
	return fmt.Sprintf("legs[%d].%s", g.at, name)
}

func (g *leg) split() bool { return g.account.Strategy != "" }

// apply answers one transfer, or says why not.
func (d *draft) apply(t *core.Transfer) (core.Answer, *core.Answer) {
	if a := t.Refusal(); a != nil {
		return core.Answer{}, a
	}
	d.start = map[int64]core.Account{}
	for id, a := range d.accounts {
		d.start[id] = *a
	}
	t.OrderTime = core.Micros(t.OrderTime)
	if code, why := core.CheckTime(t.OrderTime, d.now, d.l.cfg.Horizon); code != "" {
		return core.Answer{}, no(code, "order_time", "%s", why)
	}
	answer := core.Answer{Outcome: core.Applied, Action: t.Action}
	var a *core.Answer
	switch t.Action {
	case core.Post:
		a = d.post(t, &answer)
	case core.Try:
		a = d.try(t, &answer)
	case core.Confirm:
		a = d.confirm(t, &answer)
	case core.Cancel:
		a = d.cancel(t, &answer)
	case core.Reverse:
		a = d.reverse(t, &answer)
	}
	if a != nil {
		return core.Answer{}, a
	}
	d.answered[t.ID] = answer
	return answer, nil
}

// legs finds the accounts of legs and asks whether they let this pass.
func (d *draft) legs(t *core.Transfer, of []core.Leg) ([]*leg, *core.Answer) {
	var out []*leg
	for i, l := range of {
		g := &leg{Leg: l, at: i, account: d.account(l.Account), whole: len(t.Legs) == 0}
		switch a := g.account; {
		case a == nil:
			return nil, no(core.UnknownAccount, g.field("account"), "account %d does not exist", l.Account)
		case l.Unit != "" && a.Unit != l.Unit:
			return nil, no(core.UnitMismatch, g.field("unit"), "account %d is in %s, not in %s", a.ID, a.Unit, l.Unit)
		case a.State == core.Closed && t.Action != core.Cancel:
			return nil, no(core.AccountClosed, g.field("account"), "account %d is closed", a.ID)
		case a.State == core.Frozen && t.Action != core.Cancel && t.Action != core.Confirm:
			return nil, no(core.AccountFrozen, g.field("account"), "account %d is frozen", a.ID)
		}
		g.Unit = g.account.Unit
		out = append(out, g)
	}
	return out, nil
}

// off says that the operation is switched off.
func (d *draft) off(t *core.Transfer, legs []*leg) *core.Answer {
	for _, o := range d.rules.Off {
		operation := o.Operation == "*" || o.Operation == t.Kind
		tenant := o.Tenant == "" || o.Tenant == t.Tenant
		account := o.Account == 0 || slices.ContainsFunc(legs, func(g *leg) bool { return g.Account == o.Account })
		if operation && tenant && account {
			return no(core.SwitchedOff, "kind", "%s is switched off", t.Kind)
		}
	}
	return nil
}

func (d *draft) post(t *core.Transfer, answer *core.Answer) *core.Answer {
	legs, a := d.legs(t, t.Legs)
	if a == nil {
		a = d.off(t, legs)
	}
	if a == nil {
		_, a = d.count(t, legs)
	}
	if a == nil {
		a = d.allocate(t, legs)
	}
	if a == nil {
		a = d.book(t, legs, answer)
	}
	if a == nil {
		a = d.bounds(legs)
	}
	return a
}

// book leaves an entry for each leg that is not zero; the legs have their parts.
func (d *draft) book(t *core.Transfer, legs []*leg, answer *core.Answer) *core.Answer {
	booked := *t
	booked.Legs = nil
	for _, g := range legs {
		if g.Amount == 0 {
			continue
		}
		a := g.account
		after, debits, credits := sum(a.Balance, g.Amount), sum(a.Debits), sum(a.Credits)
		if g.Amount < 0 {
			debits.Sub(debits, big.NewInt(g.Amount))
		} else {
			credits.Add(credits, big.NewInt(g.Amount))
		}
		if !after.IsInt64() || !debits.IsInt64() || !credits.IsInt64() {
			return tooMuch(g)
		}
		e := core.Entry{Account: a.ID, Seq: a.Entries + 1, Transfer: t.ID, Leg: len(booked.Legs), Unit: a.Unit, Amount: g.Amount,
			Before: a.Balance, After: after.Int64(), Parts: g.signed()}
		a.Balance, a.Debits, a.Credits, a.Entries = e.After, debits.Int64(), credits.Int64(), e.Seq
		if !pendingFits(a) {
			return tooMuch(g)
		}
		d.entries = append(d.entries, e)
		l := core.Leg{Account: a.ID, Unit: a.Unit, Amount: g.Amount}
		if t.Action == core.Post {
			l.Nature = g.Nature
		}
		booked.Legs = append(booked.Legs, l)
		answer.Balances = append(answer.Balances, core.Balance{Account: a.ID, Seq: e.Seq, Balance: e.After, Amount: g.Amount, Parts: e.Parts})
		for _, p := range g.parts {
			f := d.fund(a.ID, p.Nature)
			if g.Amount > 0 {
				f.Balance += p.Amount
			} else {
				f.Balance -= p.Amount
			}
		}
	}
	d.booked = append(d.booked, core.Event{Transfer: booked, Balances: answer.Balances, AccountingDate: d.l.day, PostedAt: d.now})
	return nil
}

func tooMuch(g *leg) *core.Answer {
	return no(core.Overflow, g.field("amount"), "the sums of account %d would exceed 64 bits", g.Account)
}

func pendingFits(a *core.Account) bool {
	return sum(a.Balance, -a.PendingDebits).IsInt64() && sum(a.Balance, a.PendingCredits).IsInt64() &&
		sum(a.Debits, a.PendingDebits).IsInt64() && sum(a.Credits, a.PendingCredits).IsInt64()
}

// signed is the parts as entries and answers have them: each nature once, by name, with the sign of the amount.
func (g *leg) signed() []core.Part {
	totals := map[string]int64{}
	for _, p := range g.parts {
		if g.Amount < 0 {
			totals[p.Nature] -= p.Amount
		} else {
			totals[p.Nature] += p.Amount
		}
	}
	var out []core.Part
	for n, amount := range totals {
		out = append(out, core.Part{Nature: n, Amount: amount})
	}
	slices.SortFunc(out, func(a, b core.Part) int { return strings.Compare(a.Nature, b.Nature) })
	return out
}

// before is the account before the transfer that is applied.
func (d *draft) before(id int64) core.Account {
	if a, ok := d.start[id]; ok {
		return a
	}
	return d.l.accounts[id]
}

// bounds compares what the transfer left with what was there before it.
func (d *draft) bounds(legs []*leg) *core.Answer {
	for _, g := range legs {
		a, was := g.account, d.before(g.Account)
		low, wasLow := sum(a.Balance, -a.PendingDebits), sum(was.Balance, -was.PendingDebits)
		if a.MinBalance != nil && low.Cmp(sum(*a.MinBalance)) < 0 && low.Cmp(wasLow) < 0 {
			return no(core.BelowMinimum, firstOf(legs, a, -1).field("amount"), "account %d would fall below its minimum", a.ID)
		}
		high, wasHigh := sum(a.Balance, a.PendingCredits), sum(was.Balance, was.PendingCredits)
		if a.MaxBalance != nil && high.Cmp(sum(*a.MaxBalance)) > 0 && high.Cmp(wasHigh) > 0 {
			return no(core.AboveMaximum, firstOf(legs, a, 1).field("amount"), "account %d would rise above its maximum", a.ID)
		}
	}
	return nil
}

func firstOf(legs []*leg, a *core.Account, sign int64) *leg {
	for _, g := range legs {
		if g.account == a && g.Amount*sign > 0 {
			return g
		}
	}
	return legs[0]
}
