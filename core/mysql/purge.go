package mysql

import (
	"context"
	"fmt"
	"sync"

	"strata/core"
)

// purged is how far the walk over merchants' orders has come.
type purged struct {
	mu    sync.Mutex
	after [3]string // tenant, order number, id
}

// PurgeIDs forgets up to limit ids that lie beyond the horizon, with what was reversed of them, and up to as many orders and
// fences that belong to none any more; it returns how many ids. An id is forgotten only when it was posted and ordered so
// long ago that, if it came again, it would be refused as too old, whatever is in flight: the horizon and core.Ahead.
func (l *Ledger) PurgeIDs(ctx context.Context, limit int) (int, error) {
	limit = bound(limit)
	cutoff := timeText(core.Micros(l.cfg.Now()).Add(-l.cfg.Horizon - core.Ahead))
	done := 0
	for done < limit {
		n := 0
		err := l.change(ctx, "purge", func(x *tx) (err error) {
			n, err = purgeSome(ctx, x, cutoff, min(limit-done, listLimit))
			return err
		})
		if done += n; err != nil || n == 0 {
			if err == nil {
				err = l.purgeOrders(ctx, cutoff, limit)
			}
			return done, err
		}
	}
	return done, l.purgeOrders(ctx, cutoff, limit)
}

func purgeSome(ctx context.Context, x *tx, cutoff string, limit int) (int, error) {
	var ids []string
	query := fmt.Sprintf("SELECT id FROM transfer_id FORCE INDEX (posted_at) WHERE posted_at<%s AND order_time<%s"+
		" AND NOT EXISTS (SELECT 1 FROM reservation r WHERE r.id=transfer_id.id AND (r.state='pending' OR r.ended_at>=%s))"+
		" ORDER BY posted_at LIMIT %d FOR UPDATE", cutoff, cutoff, cutoff, limit)
	err := x.each(ctx, "find old ids", query, func(cells row) error {
		ids = append(ids, cells.str(0))
		return nil
	})
	if err != nil || len(ids) == 0 {
		return 0, err
	}
	for _, table := range [][2]string{{"reversed", "transfer_id"}, {"transfer_id", "id"}} {
		x.text.start("DELETE FROM " + table[0] + " WHERE " + table[1] + " IN (")
		for _, id := range ids {
			x.text.str(id)
		}
		x.text.raw(")")
		if _, err := x.run(ctx, "purge "+table[0]); err != nil {
			return 0, err
		}
	}
	x.text.start("DELETE FROM reservation WHERE state<>'pending' AND id IN (")
	for _, id := range ids {
		x.text.str(id)
	}
	x.text.raw(") AND ended_at<" + cutoff)
	if _, err := x.run(ctx, "purge reservations"); err != nil {
		return 0, err
	}
	_, err = x.exec(ctx, "purge fences", fmt.Sprintf("DELETE FROM reservation WHERE state='fenced' AND at<%s LIMIT %d", cutoff, limit))
	return len(ids), err
}

// purgeOrders walks on over the orders, a piece at each call, and forgets those whose id is gone.
func (l *Ledger) purgeOrders(ctx context.Context, cutoff string, limit int) error {
	l.purged.mu.Lock()
	defer l.purged.mu.Unlock()
	var gone [][3]string
	seen, last := 0, l.purged.after
	err := l.read(ctx, func(x *tx) error {
		q := &x.text
		q.start("SELECT m.tenant, m.merchant_order, m.transfer_id, t.id IS NULL AND m.posted_at<" + cutoff +
			" FROM merchant_order m FORCE INDEX (PRIMARY) LEFT JOIN transfer_id t ON t.id=m.transfer_id WHERE ")
		q.after([...]string{"m.tenant", "m.merchant_order", "m.transfer_id"}, last)
		q.raw(fmt.Sprintf(" ORDER BY m.tenant, m.merchant_order, m.transfer_id LIMIT %d", limit))
		return x.each(ctx, "find old orders", q.String(), func(cells row) error {
			seen++
			last = [3]string{cells.str(0), cells.str(1), cells.str(2)}
			if cells.num(3) == 1 {
				gone = append(gone, last)
			}
			return nil
		})
	})
	if err != nil {
		return err
	}
	if seen < limit {
		last = [3]string{} // from the start the next time
	}
	err = l.change(ctx, "purge", func(x *tx) error {
		for _, g := range gone {
			x.text.start("DELETE FROM merchant_order WHERE (tenant, merchant_order, transfer_id)=(")
			for _, s := range g {
				x.text.str(s)
			}
			x.text.raw(") AND posted_at<" + cutoff) // it may have come again meanwhile
			if _, err := x.run(ctx, "purge orders"); err != nil {
				return err
			}
		}
		return nil
	})
	if err == nil {
		l.purged.after = last
	}
	return err
}

// after appends the condition that a key comes after another one, in the form that finds its place in the index.
func (q *text) after(columns, key [3]string) {
	for i := len(columns) - 1; i >= 0; i-- {
		for j := range i {
			q.raw(columns[j] + "=")
			q.buf = quote(q.buf, key[j])
			q.raw(" AND ")
		}
		q.raw(columns[i] + ">")
		q.buf = quote(q.buf, key[i])
		if i > 0 {
			q.raw(" OR ")
		}
	}
}
