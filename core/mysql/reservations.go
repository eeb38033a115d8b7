package mysql

import (
	"context"
	"fmt"

	"strata/core"
	"strata/fault"
)

// Reservation is core.Reservations.
func (l *Ledger) Reservation(ctx context.Context, id string) (r core.Reservation, err error) {
	op, found := "read reservation", false
	if t := (core.Transfer{ID: id}); !t.Nameable() { // the server would not look at a space at the end
		return r, fault.New(fault.NotFound, op, "there is none of the id %q", id)
	}
	err = l.read(ctx, func(x *tx) error {
		return in(ctx, x, op, "SELECT "+reservationColumns+" FROM reservation WHERE id IN (", ")", []string{id}, addText, func(cells row) (err error) {
			found = true
			r, err = scanReservation(cells)
			return err
		})
	})
	if err == nil && !found {
		err = fault.New(fault.NotFound, op, "there is none of the id %q", id)
	}
	return r, err
}

// ListReservations is core.Reservations.
func (l *Ledger) ListReservations(ctx context.Context, state core.ReservationState, after string, limit int) (out []core.Reservation, err error) {
	const op = "list reservations"
	if state > core.Fenced {
		return nil, fault.New(fault.Invalid, op, "no such state")
	}
	if t := (core.Transfer{ID: after}); after != "" && !t.Nameable() {
		return nil, fault.New(fault.Invalid, op, "after: %q is not an id", after)
	}
	now := l.nowText()
	condition := map[core.ReservationState]string{
		core.Pending: "(state='pending' AND (expires IS NULL OR expires>" + now + "))",
		core.Expired: "(state='expired' OR state='pending' AND expires<=" + now + ")",
	}[state]
	if condition == "" {
		condition = "state='" + state.String() + "'"
	}
	err = l.read(ctx, func(x *tx) error {
		return in(ctx, x, op, "SELECT "+reservationColumns+" FROM reservation WHERE "+condition+" AND id > (", fmt.Sprintf(") ORDER BY id LIMIT %d", bound(limit)),
			[]string{after}, addText, func(cells row) error {
				r, err := scanReservation(cells)
				if err != nil {
					return err
				}
				out = append(out, r)
				return nil
			})
	})
	return out, err
}

func (l *Ledger) nowText() string { return timeText(core.Micros(l.cfg.Now())) }

// CountReservations is core.Reservations.
func (l *Ledger) CountReservations(ctx context.Context) (map[string]int64, error) {
	out := map[string]int64{"hung": 0}
	for s := core.Pending; s <= core.Fenced; s++ {
		out[s.String()] = 0
	}
	err := l.read(ctx, func(x *tx) error {
		return x.each(ctx, "count reservations", "SELECT IF(state='pending' AND expires<="+l.nowText()+", 'expired', state) s, COUNT(*), COALESCE(SUM(late_trys), 0) FROM reservation GROUP BY s",
			func(cells row) error {
				out[cells.str(0)] += cells.num(1)
				out["hung"] += cells.num(2)
				return nil
			})
	})
	return out, err
}

// expireChunk bounds what one transaction of an expiry locks.
const expireChunk = 50

// ExpireReservations is core.Reservations. It goes through them in small transactions with the locks of a batch.
func (l *Ledger) ExpireReservations(ctx context.Context, limit int) (int, error) {
	var ids []string
	query := fmt.Sprintf("SELECT id FROM reservation WHERE state='pending' AND expires<=%s ORDER BY expires LIMIT %d", l.nowText(), bound(limit))
	err := l.read(ctx, func(x *tx) error {
		return x.each(ctx, "find expired reservations", query, func(cells row) error {
			ids = append(ids, cells.str(0))
			return nil
		})
	})
	done := 0
	for len(ids) > 0 && err == nil {
		n, some := min(len(ids), expireChunk), 0
		err = l.change(ctx, "expire", func(x *tx) (err error) {
			some, err = l.expire(ctx, x, ids[:n])
			return err
		})
		if err == nil {
			done += some
		}
		ids = ids[n:]
	}
	return done, err
}

// expire gives back those of the reservations that are still pending under lock.
func (l *Ledger) expire(ctx context.Context, x *tx, ids []string) (int, error) {
	f := newFound(core.Batch{Now: core.Micros(l.cfg.Now()), Horizon: l.cfg.Horizon})
	if err := l.lockDay(ctx, x, f); err != nil {
		return 0, err
	}
	if err := lockReservations(ctx, x, f, ids); err != nil {
		return 0, err
	}
	if err := l.lockNeeds(ctx, x, f, f.ExpireNeeds()); err != nil {
		return 0, err
	}
	n := f.Expire()
	if err := writeBalances(ctx, x, f); err != nil {
		return 0, err
	}
	return n, writeStates(ctx, x, f)
}
