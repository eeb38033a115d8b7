package mysql

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"strata/core"
	"strata/db"
	"strata/fault"
)

// writeSide writes what a batch changes beside accounts and rows; what it doesn't change costs no statement.
func (l *Ledger) writeSide(ctx context.Context, x *tx, b *batch, f *found, rows []booked) error {
	c := &f.Changes
	if len(c.Funds)+len(c.Uses)+len(c.Reservations)+len(c.Reversed) > 0 {
		if err := l.at("core.before_side"); err != nil {
			return err
		}
		if err := writeStates(ctx, x, f); err != nil {
			return err
		}
		if err := l.at("core.after_side"); err != nil {
			return err
		}
	}
	if err := l.writeOrders(ctx, x, f, b.now); err != nil {
		return err
	}
	return l.writeOutbox(ctx, x, b, f, rows)
}

// writeStates writes funds, uses, reservations and reversed amounts, each in the order of its key.
func writeStates(ctx context.Context, x *tx, f *found) error {
	for _, write := range []func(context.Context, *tx, *found) error{writeFunds, writeUses, writeReservations, writeReversed} {
		if err := write(ctx, x, f); err != nil {
			return err
		}
	}
	return nil
}

func writeFunds(ctx context.Context, x *tx, f *found) error {
	keys := slices.SortedFunc(maps.Keys(f.Changes.Funds), func(a, b core.FundKey) int {
		return cmp.Or(cmp.Compare(a.Account, b.Account), strings.Compare(a.Nature, b.Nature))
	})
	_, err := x.insert(ctx, "write funds", "INSERT INTO fund (account_id, nature, balance, pending) VALUES ",
		" ON DUPLICATE KEY UPDATE balance=VALUES(balance), pending=VALUES(pending)", len(keys), func(q *text, i int) {
			u := f.Funds[keys[i]]
			q.num(u.Account)
			q.str(u.Nature)
			q.num(u.Balance)
			q.num(u.Pending)
		})
	return err
}

// apart splits keys into those of rows that were there and those of new ones. A new row is only ever inserted: where another
// process was faster, the batch is done again.
func apart[K comparable](keys []K, there map[K]bool) (old, fresh []K) {
	for _, k := range keys {
		if there[k] {
			old = append(old, k)
		} else {
			fresh = append(fresh, k)
		}
	}
	return old, fresh
}

// raced turns a duplicate key of a row that was absent under lock into another attempt.
func raced(err error) error {
	if fault.Is(err, fault.Conflict) && db.Number(err) == 1062 {
		return errRaced
	}
	return err
}

func writeUses(ctx context.Context, x *tx, f *found) error {
	keys := slices.Collect(maps.Keys(f.Changes.Uses))
	sortUses(keys)
	old, fresh := apart(keys, f.uses)
	const head = "INSERT INTO limit_use (name, subject, period, amount, count) VALUES "
	write := func(keys []core.UseKey, tail string) error {
		_, err := x.insert(ctx, "write uses of limits", head, tail, len(keys), func(q *text, i int) {
			u := f.Uses[keys[i]]
			q.str(u.Limit)
			q.str(u.Subject)
			q.str(u.Period)
			q.num(u.Amount)
			q.num(u.Count)
		})
		return err
	}
	if err := write(old, " ON DUPLICATE KEY UPDATE amount=VALUES(amount), count=VALUES(count)"); err != nil {
		return err
	}
	return raced(write(fresh, "")) // what another process counted is never overwritten
}

func sortUses(keys []core.UseKey) {
	slices.SortFunc(keys, func(a, b core.UseKey) int {
		return cmp.Or(strings.Compare(a.Limit, b.Limit), strings.Compare(a.Subject, b.Subject), strings.Compare(a.Period, b.Period))
	})
}

func writeReservations(ctx context.Context, x *tx, f *found) error {
	old, fresh := apart(slices.Sorted(maps.Keys(f.Changes.Reservations)), f.reservations)
	const head = "INSERT INTO reservation (id, state, body, day, at, expires, ended_by, ended_at, late_trys) VALUES "
	write := func(ids []string, tail string) error {
		_, err := x.insert(ctx, "write reservations", head, tail, len(ids), func(q *text, i int) {
			r := f.Reservations[ids[i]]
			q.str(r.ID)
			q.str(r.State.String())
			q.more = q.more[:0]
			if r.Transfer.ID != "" && r.State != core.Fenced {
				q.more = core.AppendReservation(q.more, r)
			}
			q.sep()
			q.buf = quote(q.buf, q.more)
			q.date(r.Day)
			q.time(r.At)
			q.timeOrNull(r.Transfer.Expires)
			q.str(r.EndedBy)
			q.timeOrNull(r.EndedAt)
			q.num(r.LateTrys)
		})
		return err
	}
	err := write(old, " ON DUPLICATE KEY UPDATE state=VALUES(state), ended_by=VALUES(ended_by), ended_at=VALUES(ended_at), late_trys=VALUES(late_trys)")
	if err != nil {
		return err
	}
	return raced(write(fresh, "")) // neither is a fence, or a reservation
}

// writeReversed writes all legs of an original; its id is locked.
func writeReversed(ctx context.Context, x *tx, f *found) error {
	type leg struct {
		id     string
		leg    int
		amount int64
	}
	var legs []leg
	for _, id := range slices.Sorted(maps.Keys(f.Changes.Reversed)) {
		for i, amount := range f.Originals[id].Reversed {
			legs = append(legs, leg{id, i, amount})
		}
	}
	_, err := x.insert(ctx, "write reversed amounts", "INSERT INTO reversed (transfer_id, leg, amount) VALUES ",
		" ON DUPLICATE KEY UPDATE amount=VALUES(amount)", len(legs), func(q *text, i int) {
			q.str(legs[i].id)
			q.num(int64(legs[i].leg))
			q.num(legs[i].amount)
		})
	return err
}

// writeOrders notes which transfers named an order number, refused ones too. Their times only order them: each is later
// than the one before it.
func (l *Ledger) writeOrders(ctx context.Context, x *tx, f *found, now time.Time) error {
	type order struct {
		t  *core.Transfer
		at time.Time
	}
	var orders []order
	for _, it := range f.fresh {
		if it.t.Ordered() {
			orders = append(orders, order{it.t, l.stamp.next(now)})
		}
	}
	if len(orders) == 0 {
		return nil
	}
	slices.SortFunc(orders, func(a, b order) int {
		return cmp.Or(strings.Compare(a.t.Tenant, b.t.Tenant), strings.Compare(a.t.Order, b.t.Order), strings.Compare(a.t.ID, b.t.ID))
	})
	if err := l.at("core.before_orders"); err != nil {
		return err
	}
	_, err := x.insert(ctx, "write orders", "INSERT INTO merchant_order (tenant, merchant_order, transfer_id, posted_at) VALUES ",
		" ON DUPLICATE KEY UPDATE posted_at=VALUES(posted_at)", len(orders), func(q *text, i int) {
			q.str(orders[i].t.Tenant)
			q.str(orders[i].t.Order)
			q.str(orders[i].t.ID)
			q.time(orders[i].at)
		})
	if err != nil {
		return err
	}
	return l.at("core.after_orders")
}

// writeOutbox keeps the booked transfers for each consumer.
func (l *Ledger) writeOutbox(ctx context.Context, x *tx, b *batch, f *found, rows []booked) error {
	if len(l.cfg.Consumers) == 0 || len(rows) == 0 {
		return nil
	}
	if err := l.at("core.before_outbox"); err != nil {
		return err
	}
	rows = slices.Clone(rows)
	slices.SortFunc(rows, func(a, b booked) int { return strings.Compare(a.t.ID, b.t.ID) })
	posted, event := timeText(b.now), []byte(nil)
	_, err := x.insert(ctx, "write outbox", "INSERT INTO outbox (consumer, transfer_id, posted_at, body) VALUES ", "",
		len(rows)*len(l.cfg.Consumers), func(q *text, i int) {
			r := rows[i%len(rows)]
			e := core.Event{Transfer: *r.t, Balances: r.answer.Balances, AccountingDate: f.Day, PostedAt: b.now}
			event = core.AppendEvent(event[:0], &e)
			q.str(l.cfg.Consumers[i/len(rows)])
			q.str(r.t.ID)
			q.lit(posted)
			q.sep()
			q.buf = quote(q.buf, event)
		})
	if err != nil {
		return err
	}
	return l.at("core.after_outbox")
}
