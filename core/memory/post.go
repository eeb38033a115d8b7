package memory

import (
	"context"
	"time"

	"strata/core"
)

// Post is core.Poster.
func (l *Ledger) Post(_ context.Context, transfers []core.Transfer) ([]core.Answer, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := core.Micros(l.cfg.Now())
	out := make([]core.Answer, 0, len(transfers))
	for rest := transfers; len(rest) > 0; {
		n := core.Chain(rest, func(t core.Transfer) bool { return t.Linked })
		out = append(out, l.postChain(rest[:n], now)...)
		rest = rest[n:]
	}
	return out, nil
}

// postChain answers what is known and has no name first. Where that is all of the chain, this is it; where it is a part, the
// others are refused; else the chain is tried.
func (l *Ledger) postChain(chain []core.Transfer, now time.Time) []core.Answer {
	answers := make([]core.Answer, len(chain))
	first := map[string]int{}
	var fresh []int
	for i := range chain {
		t := &chain[i]
		if !t.Nameable() {
			answers[i] = *t.Refusal()
			continue
		}
		if _, known := l.answers[t.ID]; known {
			answers[i] = l.again(t)
			continue
		}
		if _, twice := first[t.ID]; !twice {
			first[t.ID] = i
			fresh = append(fresh, i)
		}
	}
	if len(fresh) < len(chain) {
		for _, i := range fresh {
			answers[i] = core.LinkedAnswer()
			l.remember(&chain[i], answers[i])
		}
		for i := range chain {
			if at, ok := first[chain[i].ID]; ok && at != i {
				answers[i] = l.again(&chain[i])
			}
		}
		return answers
	}
	answers = l.try(chain, now)
	for i := range chain {
		l.remember(&chain[i], answers[i])
	}
	return answers
}

// again is what a transfer gets whose id is known.
func (l *Ledger) again(t *core.Transfer) core.Answer {
	old := l.answers[t.ID]
	if old.body != t.Hash() {
		return core.ConflictAnswer()
	}
	return old.answer.Again()
}

func (l *Ledger) remember(t *core.Transfer, a core.Answer) {
	l.answers[t.ID] = remembered{t.Hash(), a}
	if t.Ordered() {
		key := [2]string{t.Tenant, t.Order}
		l.orders[key] = append(l.orders[key], t.ID)
	}
}

// try applies a chain to a draft, and takes the draft over where all were applied.
func (l *Ledger) try(chain []core.Transfer, now time.Time) []core.Answer {
	d := l.draft(now)
	answers := make([]core.Answer, len(chain))
	for i := range chain {
		t := chain[i]
		a := d.link(chain, i)
		if a == nil {
			answers[i], a = d.apply(&t)
		}
		if a == nil {
			continue
		}
		for k := range answers {
			answers[k] = core.LinkedAnswer()
		}
		answers[i] = *a
		if r, ok := l.reservations[t.ID]; ok && a.Code == core.Hung {
			r.LateTrys++
			l.reservations[t.ID] = r
		}
		return answers
	}
	d.keep()
	return answers
}

func (d *draft) link(chain []core.Transfer, i int) *core.Answer {
	last := i == len(chain)-1
	if len(chain) > core.MaxChain || last && chain[i].Linked {
		return no(core.BadTransfer, "linked", "the chain is too long, or has no end")
	}
	legs := 0
	for _, t := range chain {
		legs += len(t.Legs)
	}
	if i == 0 && len(chain) > 1 && legs > core.MaxChainLegs {
		return no(core.BadTransfer, "linked", "the chain has too many legs")
	}
	return nil
}

// draft is what a chain changes: copies of what it touched, and what it adds.
type draft struct {
	l            *Ledger
	now          time.Time
	rules        core.Settings
	accounts     map[int64]*core.Account
	start        map[int64]core.Account // accounts before the transfer that is applied
	funds        map[core.FundKey]*core.Fund
	uses         map[core.UseKey]*core.Use
	reservations map[string]*core.Reservation
	reversed     map[string][]int64
	answered     map[string]core.Answer
	entries      []core.Entry
	booked       []core.Event
}

func (l *Ledger) draft(now time.Time) *draft {
	return &draft{l: l, now: now, rules: l.version().Settings, accounts: map[int64]*core.Account{}, funds: map[core.FundKey]*core.Fund{},
		uses: map[core.UseKey]*core.Use{}, reservations: map[string]*core.Reservation{}, reversed: map[string][]int64{},
		answered: map[string]core.Answer{}}
}

// account is the draft's copy; nil where there is none.
func (d *draft) account(id int64) *core.Account { return copyOf(d.accounts, d.l.accounts, id) }

func (d *draft) reservation(id string) *core.Reservation {
	return copyOf(d.reservations, d.l.reservations, id)
}

// fund is the draft's copy, made where there is none.
func (d *draft) fund(account int64, nature string) *core.Fund {
	key := core.FundKey{Account: account, Nature: nature}
	if copyOf(d.funds, d.l.funds, key) == nil {
		d.funds[key] = &core.Fund{Account: account, Nature: nature}
	}
	return d.funds[key]
}

// use is the draft's copy, made where there is none.
func (d *draft) use(key core.UseKey) *core.Use {
	if copyOf(d.uses, d.l.uses, key) == nil {
		d.uses[key] = &core.Use{Limit: key.Limit, Subject: key.Subject, Period: key.Period}
	}
	return d.uses[key]
}

func copyOf[K comparable, V any](copies map[K]*V, all map[K]V, key K) *V {
	if c := copies[key]; c != nil {
		return c
	}
	v, ok := all[key]
	if !ok {
		return nil
	}
	copies[key] = &v
	return &v
}

// answer is what the id was answered with, by this chain or before.
func (d *draft) answer(id string) (core.Answer, bool) {
	if a, ok := d.answered[id]; ok {
		return a, true
	}
	r, ok := d.l.answers[id]
	return r.answer, ok
}

// keep makes the draft the ledger's state.
func (d *draft) keep() {
	l := d.l
	for id, a := range d.accounts {
		l.accounts[id] = *a
	}
	for key, f := range d.funds {
		l.funds[key] = *f
	}
	for key, u := range d.uses {
		l.uses[key] = *u
	}
	for id, r := range d.reservations {
		l.reservations[id] = *r
	}
	for id, r := range d.reversed {
		l.reversed[id] = r
	}
	l.entries = append(l.entries, d.entries...)
	for _, e := range d.booked {
		l.transfers = append(l.transfers, Posted{Transfer: e.Transfer, Date: e.AccountingDate, At: e.PostedAt})
		for c := range l.events {
			l.events[c] = append(l.events[c], e)
		}
	}
}
