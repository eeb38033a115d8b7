package core_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"strata/core"
	"strata/fault"
)

// engine is a core.Full over Batch, as a poster on a database does it, with maps for tables: what is kept is kept in its
// written form. Control and settings are those of the model inside, whose posts are not used.
type engine struct {
	core.Tuning
	now func() time.Time

	mu           sync.Mutex
	day          time.Time
	accounts     map[int64]core.Account
	funds        map[int64]map[string]core.Fund
	uses         map[core.UseKey]core.Use
	reservations map[string]kept
	reversed     map[string][]int64
	answers      map[string]answered
	orders       map[string][]string
	buffer       map[int64][]core.Entry
	events       [][]byte
	entries      []core.Entry
	merges       int
	watch        func(before, after string) // of refused chains
}

type kept struct {
	core.Reservation
	body []byte
}

type answered struct {
	body    [32]byte
	outcome string
	raw     []byte
}

func newEngine(now func() time.Time, tuning core.Tuning) *engine {
	return &engine{Tuning: tuning, now: now, day: core.Date(now()), accounts: map[int64]core.Account{}, funds: map[int64]map[string]core.Fund{},
		uses: map[core.UseKey]core.Use{}, reservations: map[string]kept{}, reversed: map[string][]int64{}, answers: map[string]answered{},
		orders: map[string][]string{}, buffer: map[int64][]core.Entry{}}
}

func (e *engine) Open(_ context.Context, accounts []core.Account) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	fresh := map[int64]core.Account{}
	for _, a := range accounts {
		if err := core.CheckAccount(&a); err != nil {
			return err
		}
		a = core.Opened(a, e.now())
		if have, ok := e.accounts[a.ID]; ok && !core.SameAccount(&have, &a) {
			return core.AccountConflict(a.ID)
		} else if !ok {
			fresh[a.ID] = a
		}
	}
	maps.Copy(e.accounts, fresh)
	return nil
}

func (e *engine) Post(ctx context.Context, transfers []core.Transfer) ([]core.Answer, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	v, err := e.Settings(ctx)
	if err != nil {
		return nil, err
	}
	rules, err := core.Compile(v.Settings)
	if err != nil {
		return nil, err
	}
	whole := map[int64]bool{} // accounts whose buffer is merged first
	for {
		answers, wanted, err := e.attempt(rules, transfers, whole)
		if err != nil || len(wanted) == 0 {
			return answers, err
		}
		for id := range wanted {
			if whole[id] {
				return nil, fmt.Errorf("account %d is wanted again", id)
			}
			whole[id] = true
			e.merges++
		}
	}
}

// item is a transfer of a call.
type item struct {
	t      *core.Transfer
	answer core.Answer
	fresh  bool
}

func (e *engine) attempt(rules *core.Rules, transfers []core.Transfer, whole map[int64]bool) ([]core.Answer, map[int64]bool, error) {
	b := &core.Batch{Rules: rules, Day: e.day, Now: core.Micros(e.now()), Horizon: core.DefaultHorizon}
	items := make([]*item, len(transfers))
	first := map[string]bool{}
	var fresh []*core.Transfer
	for i := range transfers {
		it := &item{t: &transfers[i]}
		items[i] = it
		if _, known := e.answers[it.t.ID]; it.t.Nameable() && !known && !first[it.t.ID] {
			first[it.t.ID], it.fresh = true, true
			fresh = append(fresh, it.t)
		}
	}
	if err := e.read(b, fresh, whole); err != nil {
		return nil, nil, err
	}
	for rest := items; len(rest) > 0; {
		n := core.Chain(rest, func(it *item) bool { return it.t.Linked })
		if err := e.postChain(b, rest[:n]); err != nil {
			return nil, nil, err
		}
		if len(b.Changes.Wanted) > 0 {
			for _, t := range fresh {
				delete(e.answers, t.ID)
			}
			return nil, b.Changes.Wanted, nil
		}
		rest = rest[n:]
	}
	for _, t := range fresh {
		if t.Ordered() {
			key := t.Tenant + " " + t.Order
			e.orders[key] = append(e.orders[key], t.ID)
		}
	}
	e.write(b, whole)
	out := make([]core.Answer, len(items))
	for i, it := range items {
		out[i] = it.answer
		if booked := it.answer.Outcome == core.Applied && it.t.Action != core.Try && it.t.Action != core.Cancel; booked {
			ev := core.Event{Transfer: b.Booked(it.t, &it.answer), Balances: it.answer.Balances, AccountingDate: e.day, PostedAt: b.Now}
			e.events = append(e.events, core.AppendEvent(nil, &ev))
		}
	}
	return out, nil, nil
}

func (e *engine) postChain(b *core.Batch, chain []*item) error {
	var ts []*core.Transfer
	for _, it := range chain {
		if it.fresh {
			ts = append(ts, it.t)
		}
	}
	answers := make([]core.Answer, len(ts))
	if len(ts) == len(chain) {
		before := ""
		if e.watch != nil {
			before = content(b)
		}
		answers = b.Apply(ts)
		if e.watch != nil && answers[0].Outcome != core.Applied {
			e.watch(before, content(b))
		}
	} else {
		for i := range answers {
			answers[i] = core.LinkedAnswer()
		}
	}
	for _, it := range chain {
		if it.fresh {
			it.answer, answers = answers[0], answers[1:]
			outcome := "applied"
			if it.answer.Outcome == core.Refused {
				outcome = "refused"
			}
			e.answers[it.t.ID] = answered{it.t.Hash(), outcome, it.answer.AppendJSON(nil)}
		}
	}
	for _, it := range chain {
		if it.fresh {
			continue
		}
		if !it.t.Nameable() {
			it.answer = *it.t.Refusal()
			continue
		}
		old := e.answers[it.t.ID]
		if it.answer = core.ConflictAnswer(); old.body == it.t.Hash() {
			var err error
			if it.answer, err = core.ParseAnswer(old.outcome, old.raw); err != nil {
				return err
			}
		}
	}
	return nil
}

// read reads what the batch needs, and nothing else.
func (e *engine) read(b *core.Batch, fresh []*core.Transfer, whole map[int64]bool) error {
	reservations, originals := core.FirstNeeds(fresh)
	b.Reservations, b.Originals = map[string]*core.Reservation{}, map[string]*core.Original{}
	for _, id := range reservations {
		if k, ok := e.reservations[id]; ok {
			r := k.Reservation
			if err := core.ParseReservation(k.body, &r); err != nil {
				return err
			}
			b.Reservations[id] = &r
		}
	}
	for _, id := range originals {
		if old, ok := e.answers[id]; ok {
			a, err := core.ParseAnswer(old.outcome, old.raw)
			if err != nil {
				return err
			}
			if o := core.OriginalOf(id, a); o != nil {
				copy(o.Reversed, e.reversed[id])
				b.Originals[id] = o
			}
		}
	}
	n := b.Needs(fresh)
	e.readRows(b, n, whole)
	for id := range whole {
		if a := b.Merge(id, e.buffer[id]); a != nil {
			return fmt.Errorf("merge: %+v", a)
		}
	}
	return nil
}

func (e *engine) readRows(b *core.Batch, n core.Needs, whole map[int64]bool) {
	b.Uses, b.Accounts, b.Funds = map[core.UseKey]*core.Use{}, map[int64]*core.Account{}, map[core.FundKey]*core.Fund{}
	for _, key := range n.Uses {
		if u, ok := e.uses[key]; ok {
			b.Uses[key] = &u
		}
	}
	for _, id := range n.Accounts {
		a, ok := e.accounts[id]
		if !ok {
			continue
		}
		if a.Mode == core.Buffered && slices.Contains(n.CreditOnly, id) && !whole[id] { // not locked: nothing else is known
			b.Accounts[id] = &core.Account{ID: id, Unit: a.Unit, State: a.State, Mode: a.Mode, Strategy: a.Strategy, Balance: -1 << 62, Entries: -1 << 62}
			continue
		}
		a.Buffered = 0
		for _, row := range e.buffer[id] {
			a.Buffered += row.Amount
		}
		b.Accounts[id] = &a
		for nature, f := range e.funds[id] {
			b.Funds[core.FundKey{Account: id, Nature: nature}] = &f
		}
	}
}

// write stores what the batch says that it changed.
func (e *engine) write(b *core.Batch, whole map[int64]bool) {
	c := &b.Changes
	for id := range whole {
		delete(e.buffer, id)
	}
	for id := range c.Accounts {
		a := *b.Accounts[id]
		a.Mode, a.Buffered = e.accounts[id].Mode, 0
		e.accounts[id] = a
	}
	e.writeFunds(b)
	for key := range c.Uses {
		e.uses[key] = *b.Uses[key]
	}
	for id := range c.Reservations {
		r := *b.Reservations[id]
		expires := core.Transfer{Expires: r.Transfer.Expires} // a column
		e.reservations[id] = kept{core.Reservation{ID: r.ID, State: r.State, Transfer: expires, Day: r.Day, At: r.At, EndedBy: r.EndedBy, EndedAt: r.EndedAt,
			LateTrys: r.LateTrys}, core.AppendReservation(nil, &r)}
	}
	for id := range c.Reversed {
		e.reversed[id] = b.Originals[id].Reversed
	}
	for _, row := range c.Buffered {
		e.buffer[row.Account] = append(e.buffer[row.Account], row)
	}
	for _, entry := range c.Entries {
		entry.Parts, _ = core.ParseParts(string(core.AppendParts(nil, entry.Parts)))
		e.entries = append(e.entries, entry)
	}
}

func (e *engine) writeFunds(b *core.Batch) {
	for key := range b.Changes.Funds {
		if e.funds[key.Account] == nil {
			e.funds[key.Account] = map[string]core.Fund{}
		}
		e.funds[key.Account][key.Nature] = *b.Funds[key]
	}
}

func (e *engine) Answer(_ context.Context, id string) (core.Answer, bool, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	old, ok := e.answers[id]
	if !ok {
		return core.Answer{}, false, nil
	}
	a, err := core.ParseAnswer(old.outcome, old.raw)
	return a, true, err
}

func (e *engine) Day(context.Context) (time.Time, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.day, nil
}

func (e *engine) CutDay(_ context.Context, date time.Time) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if date = core.Date(date); date.Before(e.day) {
		return core.EarlierDay(date, e.day)
	}
	e.day = date
	return nil
}

func (e *engine) EnsureShards(_ context.Context, from, to time.Time) error {
	return core.CheckSpan(from, to)
}

func (e *engine) ByOrder(_ context.Context, tenant, order string) ([]string, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.orders[tenant+" "+order]), nil
}

func (e *engine) Balance(_ context.Context, id int64) (core.Account, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.view(id)
}

func (e *engine) view(id int64) (core.Account, error) {
	a, ok := e.accounts[id]
	if !ok {
		return a, fault.New(fault.NotFound, "read account", "no such account")
	}
	for _, row := range e.buffer[id] {
		a.Balance += row.Amount
		a.Credits += row.Amount
		a.Buffered += row.Amount
	}
	return a, nil
}
