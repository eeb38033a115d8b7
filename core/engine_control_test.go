package core_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"strata/core"
	"strata/fault"
)

func (e *engine) change(id int64, do func(a *core.Account) error) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	a, ok := e.accounts[id]
	if !ok {
		return fault.New(fault.NotFound, "change account", "no such account")
	}
	err := do(&a)
	e.accounts[id] = a
	return err
}

func (e *engine) SetState(_ context.Context, id int64, state core.State) error {
	return e.change(id, func(a *core.Account) error {
		pending := a.Balance != 0 || a.PendingDebits != 0 || a.PendingCredits != 0 || len(e.buffer[id]) > 0
		if a.State == state {
			return nil
		}
		if a.State == core.Closed || state == core.Closed && pending {
			return fault.New(fault.Conflict, "set state", "it is closed, or not empty")
		}
		a.State = state
		return nil
	})
}

func (e *engine) SetBounds(_ context.Context, id int64, low, high *int64) error {
	return e.change(id, func(a *core.Account) error {
		if !core.ValidBounds(low, high) {
			return fault.New(fault.Invalid, "set bounds", "no room")
		}
		a.MinBalance, a.MaxBalance = low, high
		return nil
	})
}

func (e *engine) SwitchMode(_ context.Context, id int64, mode core.Mode, inner int) error {
	return e.change(id, func(a *core.Account) error {
		if mode > core.Simple || mode == core.SubAccounts && (inner < 2 || inner > 64) {
			return fault.New(fault.Invalid, "switch mode", "bad mode")
		}
		if mode == core.Buffered && !a.Bufferable() {
			return fault.New(fault.Conflict, "switch mode", "it has too little room")
		}
		b := &core.Batch{Accounts: map[int64]*core.Account{id: a}, Funds: map[core.FundKey]*core.Fund{}}
		for nature, f := range e.funds[id] {
			b.Funds[core.FundKey{Account: id, Nature: nature}] = &f
		}
		if no := b.Merge(id, e.buffer[id]); no != nil {
			return fault.New(fault.Internal, "merge", "%s", no.Message)
		}
		delete(e.buffer, id)
		e.writeFunds(b)
		e.entries = append(e.entries, b.Changes.Entries...)
		a.Mode, a.Buffered = mode, 0
		return nil
	})
}

// reservation reads the written form.
func (e *engine) reservation(k kept) core.Reservation {
	r := k.Reservation
	if err := core.ParseReservation(k.body, &r); err != nil {
		panic(err)
	}
	return r
}

func (e *engine) Reservation(_ context.Context, id string) (core.Reservation, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	k, ok := e.reservations[id]
	if !ok {
		return core.Reservation{}, fault.New(fault.NotFound, "read reservation", "no such reservation")
	}
	return e.reservation(k), nil
}

func (e *engine) ListReservations(_ context.Context, state core.ReservationState, after string, limit int) ([]core.Reservation, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	var out []core.Reservation
	for _, id := range slices.Sorted(maps.Keys(e.reservations)) {
		k := e.reservations[id]
		if id > after && len(out) < limit && k.Shown(core.Micros(e.now())) == state {
			out = append(out, e.reservation(k))
		}
	}
	return out, nil
}

func (e *engine) CountReservations(context.Context) (map[string]int64, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	out := map[string]int64{"hung": 0, "pending": 0, "confirmed": 0, "cancelled": 0, "expired": 0, "fenced": 0}
	for _, k := range e.reservations {
		out[k.Shown(core.Micros(e.now())).String()]++
		out["hung"] += k.LateTrys
	}
	return out, nil
}

func (e *engine) ExpireReservations(_ context.Context, limit int) (int, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	b := &core.Batch{Day: e.day, Now: core.Micros(e.now()), Reservations: map[string]*core.Reservation{}}
	for id, k := range e.reservations {
		if k.State == core.Pending && k.Shown(b.Now) == core.Expired && len(b.Reservations) < limit {
			r := e.reservation(k)
			b.Reservations[id] = &r
		}
	}
	e.readRows(b, b.ExpireNeeds(), nil)
	n := b.Expire()
	e.write(b, nil)
	return n, nil
}

func (e *engine) Feed(string) core.Feed { return (*engineFeed)(e) }

type engineFeed engine

func (f *engineFeed) Next(_ context.Context, limit int) ([]core.Event, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var out []core.Event
	for _, raw := range f.events[:min(limit, len(f.events))] {
		ev, err := core.ParseEvent(raw)
		if err != nil {
			return nil, err
		}
		out = append(out, ev)
	}
	return out, nil
}

func (f *engineFeed) Done(_ context.Context, ids []string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.events = slices.DeleteFunc(f.events, func(raw []byte) bool {
		ev, err := core.ParseEvent(raw)
		return err == nil && slices.Contains(ids, ev.Transfer.ID)
	})
	return nil
}

func (e *engine) Standing(ctx context.Context, id int64) (core.Standing, error) {
	v, err := e.Settings(ctx)
	if err != nil {
		return core.Standing{}, err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	a, err := e.view(id)
	if err != nil {
		return core.Standing{}, err
	}
	s := core.Standing{Account: a, Day: e.day}
	funds := map[string]core.Fund{}
	maps.Copy(funds, e.funds[id])
	for _, row := range e.buffer[id] {
		for _, p := range row.Parts {
			f := funds[p.Nature]
			funds[p.Nature] = core.Fund{Account: id, Nature: p.Nature, Balance: f.Balance + p.Amount, Pending: f.Pending}
		}
	}
	for _, nature := range slices.Sorted(maps.Keys(funds)) {
		if f := funds[nature]; f.Balance != 0 || f.Pending != 0 {
			s.Funds = append(s.Funds, f)
		}
	}
	for key, u := range e.uses {
		of := slices.ContainsFunc(v.Settings.Limits, func(l core.Limit) bool { return l.Name == key.Limit && l.Scope == "account" })
		if of && key.Subject == fmt.Sprint(id) && strings.HasPrefix(e.day.Format(time.DateOnly), key.Period) && (u.Amount != 0 || u.Count != 0) {
			s.Uses = append(s.Uses, u)
		}
	}
	slices.SortFunc(s.Uses, func(a, b core.Use) int { return strings.Compare(a.Limit+" "+a.Period, b.Limit+" "+b.Period) })
	return s, nil
}

func (e *engine) List(_ context.Context, after int64, limit int) ([]core.Account, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	var out []core.Account
	for _, id := range slices.Sorted(maps.Keys(e.accounts)) {
		if id > after && len(out) < limit {
			a, _ := e.view(id)
			out = append(out, a)
		}
	}
	return out, nil
}
