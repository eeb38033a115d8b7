package mysql

import (
	"bytes"
	"context"
	"maps"
	"slices"
	"time"

	"strata/core"
	"strata/fault"
)

// found is what an attempt read under lock and made of it.
type found struct {
	core.Batch
	fresh   []*item
	version int64 // of the settings
	modes   int64 // accounts that ever left RealTime
	// What was there when it was read; the rest is new.
	uses         map[core.UseKey]bool
	reservations map[string]bool
	guess        *guessed // nil: everything was read
	moded        moded    // accounts that left RealTime once
}

// transfers are those that shall be applied.
func transfers(items []*item) []*core.Transfer {
	out := make([]*core.Transfer, 0, len(items))
	for _, it := range items {
		out = append(out, it.t)
	}
	return out
}

// lock reads all that the transfers need, in the one order of locks: day, reservations, originals, uses, accounts, funds.
func (l *Ledger) lock(ctx context.Context, x *tx, fresh []*item, b *batch) (*found, error) {
	f := newFound(core.Batch{Now: b.now, Horizon: l.cfg.Horizon, Attempt: b.attempts})
	f.fresh, f.moded.want = fresh, b.want
	if err := l.lockDay(ctx, x, f); err != nil {
		return nil, err
	}
	ts := transfers(fresh)
	reservations, originals := core.FirstNeeds(ts)
	if err := lockReservations(ctx, x, f, reservations); err != nil {
		return nil, err
	}
	if err := lockOriginals(ctx, x, f, originals); err != nil {
		return nil, err
	}
	return f, l.lockNeeds(ctx, x, f, f.Needs(ts))
}

func newFound(b core.Batch) *found {
	b.Accounts, b.Funds, b.Uses = map[int64]*core.Account{}, map[core.FundKey]*core.Fund{}, map[core.UseKey]*core.Use{}
	b.Reservations, b.Originals = map[string]*core.Reservation{}, map[string]*core.Original{}
	return &found{Batch: b, uses: map[core.UseKey]bool{}, reservations: map[string]bool{}}
}

// lockNeeds locks modes, uses, accounts and funds.
func (l *Ledger) lockNeeds(ctx context.Context, x *tx, f *found, needs core.Needs) error {
	if f.modes > 0 {
		if err := l.lockModes(ctx, x, f, needs); err != nil {
			return err
		}
	}
	if err := readUses(ctx, x, f, needs.Uses, " FOR UPDATE"); err != nil {
		return err
	}
	if len(f.moded.of) > 0 {
		return l.lockModed(ctx, x, f, needs)
	}
	if err := lockAccounts(ctx, x, f, needs.Accounts); err != nil {
		return err
	}
	return lockFunds(ctx, x, f, needs.Accounts)
}

// selectDay locks the day so that neither date, settings nor modes change before the transaction ends.
const selectDay = "SELECT accounting_date, settings, modes FROM day WHERE id=1 LOCK IN SHARE MODE"

// lockDay reads the day and the rules in force.
func (l *Ledger) lockDay(ctx context.Context, x *tx, f *found) error {
	const op = "read accounting date"
	days := 0
	err := x.each(ctx, op, selectDay, func(cells row) (err error) {
		days++
		f.version, f.modes = cells.num(1), cells.num(2)
		f.Day, err = cells.time(0)
		return err
	})
	if err != nil {
		return err
	}
	if days != 1 {
		return fault.New(fault.Unsafe, op, "the table day has %d rows", days)
	}
	f.Rules, err = l.rulesOf(ctx, x, f.version)
	return err
}

// rulesOf returns the compiled settings of a version; they never change.
func (l *Ledger) rulesOf(ctx context.Context, x *tx, version int64) (*core.Rules, error) {
	if r, ok := l.rules.Load(version); ok {
		return r.(*core.Rules), nil
	}
	s := core.Settings{}
	if version > 0 {
		v, err := readVersion(ctx, x, version)
		if err != nil {
			return nil, err
		}
		s = v.Settings
	}
	r, err := core.Compile(s)
	if err != nil {
		return nil, err
	}
	l.rules.Store(version, r)
	return r, nil
}

func addText(q *text, s string) { q.str(s) }
func addNum(q *text, n int64)   { q.num(n) }

const reservationColumns = "id, state, body, day, at, ended_by, ended_at, late_trys"

func lockReservations(ctx context.Context, x *tx, f *found, ids []string) error {
	return in(ctx, x, "lock reservations", "SELECT "+reservationColumns+" FROM reservation FORCE INDEX (PRIMARY) WHERE id IN (", ") ORDER BY id FOR UPDATE",
		ids, addText, func(cells row) error {
			r, err := scanReservation(cells)
			if err != nil {
				return err
			}
			f.Reservations[r.ID], f.reservations[r.ID] = &r, true
			return nil
		})
}

func scanReservation(cells row) (r core.Reservation, err error) {
	r.ID, r.EndedBy, r.LateTrys = cells.str(0), cells.str(5), cells.num(7)
	if r.State, err = parseReservationState(cells.str(1)); err != nil {
		return r, err
	}
	r.Transfer.ID = r.ID
	if body := cells.raw(2); len(body) > 0 {
		if err = core.ParseReservation(bytes.Clone(body), &r); err != nil {
			return r, err
		}
	}
	for i, into := range map[int]*time.Time{3: &r.Day, 4: &r.At, 6: &r.EndedAt} {
		if *into, err = cells.time(i); err != nil {
			return r, err
		}
	}
	return r, nil
}

func parseReservationState(name string) (core.ReservationState, error) {
	for s := core.Pending; s <= core.Fenced; s++ {
		if s.String() == name {
			return s, nil
		}
	}
	return 0, fault.New(fault.Internal, "read reservation", "state %q", name)
}

// lockOriginals locks the ids, which nobody else may then reverse, and reads how much was reversed.
func lockOriginals(ctx context.Context, x *tx, f *found, ids []string) error {
	err := in(ctx, x, "lock originals", "SELECT id, answer FROM transfer_id FORCE INDEX (PRIMARY) WHERE outcome='applied' AND answer<>'' AND id IN (",
		") ORDER BY id FOR UPDATE", ids, addText, func(cells row) error {
			a, err := core.ParseAnswer("applied", bytes.Clone(cells.raw(1)))
			if err != nil {
				return err
			}
			if o := core.OriginalOf(cells.str(0), a); o != nil {
				f.Originals[o.ID] = o
			}
			return nil
		})
	if err != nil || len(f.Originals) == 0 {
		return err
	}
	return in(ctx, x, "read reversed amounts", "SELECT transfer_id, leg, amount FROM reversed FORCE INDEX (PRIMARY) WHERE transfer_id IN (",
		") ORDER BY transfer_id, leg FOR UPDATE", slices.Sorted(maps.Keys(f.Originals)), addText, func(cells row) error {
			o, leg := f.Originals[cells.str(0)], cells.num(1)
			if leg < 0 || leg >= int64(len(o.Reversed)) {
				return fault.New(fault.Internal, "read reversed amounts", "transfer %q has no leg %d", o.ID, leg)
			}
			o.Reversed[leg] = cells.num(2)
			return nil
		})
}

// readUses reads them by one condition each: of a list of tuples MariaDB makes a scan.
func readUses(ctx context.Context, x *tx, f *found, keys []core.UseKey, lock string) error {
	const piece = 200
	for keys := range slices.Chunk(keys, piece) {
		q := &x.text
		q.start("SELECT name, subject, period, amount, count FROM limit_use FORCE INDEX (PRIMARY) WHERE ")
		for i, k := range keys {
			if i > 0 {
				q.raw(" OR ")
			}
			for j, s := range [...]string{k.Limit, k.Subject, k.Period} {
				q.raw([...]string{"(name=", " AND subject=", " AND period="}[j])
				q.buf = quote(q.buf, s)
			}
			q.raw(")")
		}
		q.raw(" ORDER BY name, subject, period" + lock)
		err := x.each(ctx, "read uses of limits", q.String(), func(cells row) error {
			u := core.Use{Limit: cells.str(0), Subject: cells.str(1), Period: cells.str(2), Amount: cells.num(3), Count: cells.num(4)}
			k := core.UseKey{Limit: u.Limit, Subject: u.Subject, Period: u.Period}
			f.Uses[k], f.uses[k] = &u, true
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// forUpdate ends the locked reads of accounts, which ascend.
const forUpdate = ") ORDER BY id FOR UPDATE"

// lockedColumns are what posting needs of an account.
const lockedColumns = "id, tenant, unit, side, min_balance, max_balance, state, mode, strategy, parent, balance, debits, credits, pending_debits, pending_credits, entries"

func lockAccounts(ctx context.Context, x *tx, f *found, ids []int64) error {
	return in(ctx, x, "lock accounts", "SELECT "+lockedColumns+" FROM account FORCE INDEX (PRIMARY) WHERE id IN (",
		forUpdate, ids, addNum, func(cells row) error {
			a, err := scanLocked(cells)
			f.Accounts[a.ID] = &a
			return err
		})
}

func scanLocked(cells row) (core.Account, error) {
	a := core.Account{ID: cells.num(0), Tenant: cells.str(1), Unit: cells.str(2), MinBalance: cells.opt(4), MaxBalance: cells.opt(5),
		Strategy: cells.str(8), Parent: cells.num(9), Balance: cells.num(10), Debits: cells.num(11), Credits: cells.num(12),
		PendingDebits: cells.num(13), PendingCredits: cells.num(14), Entries: cells.num(15)}
	return a, parseNames(&a, cells.raw(3), cells.raw(6), cells.raw(7))
}

func parseNames(a *core.Account, side, state, mode []byte) error {
	for a.Side = core.CreditSide; a.Side.String() != string(side); a.Side++ {
		if a.Side == core.DebitSide {
			return fault.New(fault.Internal, "read account", "side %q", side)
		}
	}
	for a.State = core.Open; a.State.String() != string(state); a.State++ {
		if a.State == core.Closed {
			return fault.New(fault.Internal, "read account", "state %q", state)
		}
	}
	for a.Mode = core.RealTime; a.Mode.String() != string(mode); a.Mode++ {
		if a.Mode == core.Simple {
			return fault.New(fault.Internal, "read account", "mode %q", mode)
		}
	}
	return nil
}

// lockFunds reads the funds of those accounts that are split. Their accounts are locked, so no fund appears meanwhile.
func lockFunds(ctx context.Context, x *tx, f *found, ids []int64) error {
	var split []int64
	for _, id := range ids {
		if a := f.Accounts[id]; a != nil && a.Strategy != "" {
			split = append(split, id)
		}
	}
	return in(ctx, x, "lock funds", "SELECT account_id, nature, balance, pending FROM fund FORCE INDEX (PRIMARY) WHERE account_id IN (",
		") ORDER BY account_id, nature FOR UPDATE", split, addNum, func(cells row) error {
			u := &core.Fund{Account: cells.num(0), Nature: cells.str(1), Balance: cells.num(2), Pending: cells.num(3)}
			f.Funds[core.FundKey{Account: u.Account, Nature: u.Nature}] = u
			return nil
		})
}
