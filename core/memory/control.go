package memory

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"

	"strata/core"
	"strata/fault"
)

// SetState is core.Control.
func (l *Ledger) SetState(_ context.Context, id int64, state core.State) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	op := "set state of account"
	a, err := l.account(op, id)
	switch {
	case err != nil:
		return err
	case state > core.Closed:
		return fault.New(fault.Invalid, fmt.Sprintf("%s %d", op, id), "it is open, frozen or closed")
	case a.State == state:
		return nil
	case a.State == core.Closed:
		return fault.New(fault.Conflict, fmt.Sprintf("%s %d", op, id), "it is closed")
	case state == core.Closed && (a.Balance != 0 || a.PendingDebits != 0 || a.PendingCredits != 0):
		return fault.New(fault.Conflict, fmt.Sprintf("%s %d", op, id), "it has a balance of %d, %d and %d pending", a.Balance, a.PendingDebits, a.PendingCredits)
	}
	a.State = state
	l.accounts[id] = a
	return nil
}

// SetBounds is core.Control.
func (l *Ledger) SetBounds(_ context.Context, id int64, low, high *int64) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	a, err := l.account("set bounds of account", id)
	if err != nil {
		return err
	}
	if !core.ValidBounds(low, high) {
		return fault.New(fault.Invalid, fmt.Sprintf("set bounds of account %d", id), "min_balance is above max_balance")
	}
	a.MinBalance, a.MaxBalance = low, high
	l.accounts[id] = a
	return nil
}

// SwitchMode is core.Control; it changes what the account shows.
func (l *Ledger) SwitchMode(_ context.Context, id int64, mode core.Mode, inner int) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	a, err := l.account("switch mode of account", id)
	if err != nil {
		return err
	}
	if mode > core.Simple || mode == core.SubAccounts && (inner < 2 || inner > 64) {
		return fault.New(fault.Invalid, fmt.Sprintf("switch mode of account %d", id), "a mode, with 2 to 64 inner accounts for sub_accounts")
	}
	a.Mode = mode
	l.accounts[id] = a
	return nil
}

// Standing is core.Control.
func (l *Ledger) Standing(_ context.Context, id int64) (core.Standing, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	a, err := l.account("read account", id)
	if err != nil {
		return core.Standing{}, err
	}
	s := core.Standing{Account: a, Day: l.day}
	for key, f := range l.funds {
		if key.Account == id && (f.Balance != 0 || f.Pending != 0) {
			s.Funds = append(s.Funds, f)
		}
	}
	slices.SortFunc(s.Funds, func(a, b core.Fund) int { return cmp.Compare(a.Nature, b.Nature) })
	for _, limit := range l.version().Settings.Limits {
		if limit.Scope != "account" {
			continue
		}
		for _, period := range []string{l.day.Format("2006-01-02"), l.day.Format("2006-01")} {
			if u := l.uses[core.UseKey{Limit: limit.Name, Subject: strconv.FormatInt(id, 10), Period: period}]; u.Amount != 0 || u.Count != 0 {
				s.Uses = append(s.Uses, u)
			}
		}
	}
	slices.SortFunc(s.Uses, func(a, b core.Use) int { return cmp.Or(cmp.Compare(a.Limit, b.Limit), cmp.Compare(a.Period, b.Period)) })
	return s, nil
}

// List is core.Control.
func (l *Ledger) List(_ context.Context, after int64, limit int) ([]core.Account, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []core.Account
	for _, id := range slices.Sorted(maps.Keys(l.accounts)) {
		if id > after && len(out) < limit {
			out = append(out, l.accounts[id])
		}
	}
	return out, nil
}

// Reservation is core.Reservations.
func (l *Ledger) Reservation(_ context.Context, id string) (core.Reservation, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	r, ok := l.reservations[id]
	if !ok {
		return r, fault.New(fault.NotFound, "read reservation "+id, "no such reservation")
	}
	return r, nil
}

// ListReservations is core.Reservations.
func (l *Ledger) ListReservations(_ context.Context, state core.ReservationState, after string, limit int) ([]core.Reservation, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := core.Micros(l.cfg.Now())
	var out []core.Reservation
	for _, id := range slices.Sorted(maps.Keys(l.reservations)) {
		if r := l.reservations[id]; id > after && r.Shown(now) == state && len(out) < limit {
			out = append(out, r)
		}
	}
	return out, nil
}

// CountReservations is core.Reservations.
func (l *Ledger) CountReservations(context.Context) (map[string]int64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := core.Micros(l.cfg.Now())
	out := map[string]int64{"hung": 0}
	for s := core.Pending; s <= core.Fenced; s++ {
		out[s.String()] = 0
	}
	for _, r := range l.reservations {
		out[r.Shown(now).String()]++
		out["hung"] += r.LateTrys
	}
	return out, nil
}

// ExpireReservations is core.Reservations.
func (l *Ledger) ExpireReservations(_ context.Context, limit int) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	d := l.draft(core.Micros(l.cfg.Now()))
	n := 0
	for _, id := range slices.Sorted(maps.Keys(l.reservations)) {
		r := d.reservation(id)
		if r.State != core.Pending || r.Shown(d.now) != core.Expired || n == limit {
			continue
		}
		d.release(r)
		d.giveBack(r, nil)
		r.State, r.EndedAt = core.Expired, d.now
		n++
	}
	d.keep()
	return n, nil
}
