package mysql

import (
	"bytes"
	"context"
	"fmt"
	"slices"

	"strata/core"
	"strata/fault"
)

// ByOrder is core.Orders.
func (l *Ledger) ByOrder(ctx context.Context, tenant, order string) (ids []string, err error) {
	if t := (core.Transfer{Tenant: tenant, Order: order}); !t.Ordered() { // the server would not look at a space at the end
		return nil, nil
	}
	err = l.read(ctx, func(x *tx) error {
		q := &x.text
		q.start("SELECT transfer_id FROM merchant_order WHERE (tenant, merchant_order)=(")
		q.str(tenant)
		q.str(order)
		q.raw(") ORDER BY posted_at, transfer_id")
		return x.each(ctx, "find order", q.String(), func(cells row) error {
			ids = append(ids, cells.str(0))
			return nil
		})
	})
	return ids, err
}

// Feed is the events of one of Config's consumers; of another one there are none, and Next says so.
func (l *Ledger) Feed(consumer string) core.Feed { return &feed{l: l, consumer: consumer} }

// feed is a core.Feed over the outbox.
type feed struct {
	l        *Ledger
	consumer string
}

// Next is core.Feed.
func (f *feed) Next(ctx context.Context, limit int) (out []core.Event, err error) {
	if !slices.Contains(f.l.cfg.Consumers, f.consumer) {
		return nil, fault.New(fault.Invalid, "read outbox", "no events are kept for consumer %q", f.consumer).WithHint("name it in the ledger's consumers")
	}
	err = f.l.read(ctx, func(x *tx) error {
		q := &x.text
		q.start("SELECT body FROM outbox WHERE consumer=(")
		q.str(f.consumer)
		q.raw(fmt.Sprintf(") ORDER BY posted_at, transfer_id LIMIT %d", bound(limit)))
		return x.each(ctx, "read outbox", q.String(), func(cells row) error {
			e, err := core.ParseEvent(bytes.Clone(cells.raw(0)))
			out = append(out, e)
			return err
		})
	})
	return out, err
}

// Done is core.Feed.
func (f *feed) Done(ctx context.Context, ids []string) error {
	ids = slices.Compact(slices.Sorted(slices.Values(ids)))
	ids = slices.DeleteFunc(ids, func(id string) bool { t := core.Transfer{ID: id}; return !t.Nameable() })
	for chunk := range slices.Chunk(ids, listLimit) {
		err := f.l.change(ctx, "done", func(x *tx) error {
			q := &x.text
			q.start("DELETE FROM outbox WHERE consumer=(")
			q.str(f.consumer)
			q.list(") AND transfer_id IN (")
			for _, id := range chunk {
				q.str(id)
			}
			q.raw(")")
			_, err := x.run(ctx, "empty outbox")
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}
