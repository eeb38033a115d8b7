package mysql

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"time"

	"strata/catalog"
	"strata/core"
	"strata/db"
)

// write inserts the rows of the applied transfers, then sets balances and, where they were not guessed, answers.
func (l *Ledger) write(ctx context.Context, x *tx, b *batch, f *found, answers bool) error {
	if err := l.at("core.before_rows"); err != nil {
		return err
	}
	orders := map[string]time.Time{}
	if err := l.writeTransfers(ctx, x, b.now, f, orders); err != nil {
		return err
	}
	if err := l.writeEntries(ctx, x, b.now, f, orders); err != nil {
		return err
	}
	if err := l.at("core.after_rows"); err != nil {
		return err
	}
	if err := l.writeBalances(ctx, x, f); err != nil {
		return err
	}
	if err := l.at("core.after_balances"); err != nil {
		return err
	}
	if !answers {
		return nil
	}
	q := &l.lane.text
	q.start("INSERT INTO transfer_id (id, body_hash, outcome, answer, order_time, posted_at) VALUES ")
	now := timeText(b.now)
	for _, it := range f.fresh {
		q.answer(it, now, true)
	}
	q.raw(" ON DUPLICATE KEY UPDATE outcome=VALUES(outcome), answer=VALUES(answer)")
	_, err := x.exec(ctx, "write answers", q.String())
	return err
}

// writeTransfers inserts by shard, in the order of the shards' names, and collects the order times by id.
func (l *Ledger) writeTransfers(ctx context.Context, x *tx, now time.Time, f *found, orders map[string]time.Time) error {
	shards, day, posted := map[string][]*item{}, dateText(f.day), timeText(now)
	for _, it := range f.fresh {
		if it.answer.Outcome != core.Applied {
			continue
		}
		orders[it.t.ID] = it.order
		table := l.transfer.ShardAt(catalog.At(it.order)).Table
		shards[table] = append(shards[table], it)
	}
	for _, table := range slices.Sorted(maps.Keys(shards)) {
		rows := func(q *text) {
			for _, it := range shards[table] {
				unit, amount := it.t.Total()
				q.open()
				q.str(it.t.ID)
				q.str(it.t.Kind)
				q.time(it.order)
				q.lit(day)
				q.lit(posted)
				q.num(int64(len(it.t.Legs)))
				q.str(unit)
				q.num(amount)
				q.str(it.t.Memo)
				q.shut()
			}
		}
		if err := l.insert(ctx, x, l.transfer, table, "id, kind, order_time, accounting_date, posted_at, legs, unit, amount, memo", rows); err != nil {
			return err
		}
	}
	return nil
}

// writeEntries inserts in the order of the primary key: fewer pages, and one lock order.
func (l *Ledger) writeEntries(ctx context.Context, x *tx, now time.Time, f *found, orders map[string]time.Time) error {
	if len(f.entries) == 0 {
		return nil
	}
	day, posted := dateText(f.day), timeText(now)
	slices.SortFunc(f.entries, func(a, b core.Entry) int {
		return cmp.Or(cmp.Compare(a.Account, b.Account), cmp.Compare(a.Seq, b.Seq))
	})
	rows := func(q *text) {
		for i := range f.entries {
			e := &f.entries[i]
			q.open()
			q.num(e.Account)
			q.num(e.Seq)
			q.str(e.Transfer)
			q.num(int64(e.Leg))
			q.str(e.Unit)
			q.num(e.Amount)
			q.num(e.Before)
			q.num(e.After)
			q.lit(day)
			q.time(orders[e.Transfer])
			q.lit(posted)
			q.shut()
		}
	}
	return l.insert(ctx, x, l.entry, l.entry.ShardAt(catalog.At(f.day)).Table,
		"account_id, seq, transfer_id, leg, unit, amount, balance_before, balance_after, accounting_date, order_time, posted_at", rows)
}

// insert writes one shard's rows in one statement, or all of them to the late shard where the range has left live.
func (l *Ledger) insert(ctx context.Context, x *tx, d *catalog.Dataset, table, columns string, rows func(*text)) error {
	into := func(table string) (int64, error) {
		q := &l.lane.text
		q.start("INSERT INTO " + db.Quote(table) + " (" + columns + ") VALUES ")
		rows(q)
		return x.exec(ctx, "insert into "+table, q.String())
	}
	_, err := into(table)
	switch {
	case err == nil:
		return nil
	case db.IsFence(err):
	case db.IsNoTable(err):
		released, e := isReleased(ctx, x, d, table)
		if e != nil {
			return e
		}
		if !released {
			return &missingShard{of: d, table: table}
		}
	default:
		return err
	}
	n, err := into(d.LateShard(1).Table)
	l.stats.late.Add(n)
	return err
}

// writeBalances sets what the batch left. The accounts are locked and exist, so that every row is an update.
func (l *Ledger) writeBalances(ctx context.Context, x *tx, f *found) error {
	if len(f.entries) == 0 {
		return nil
	}
	q := &l.lane.text
	q.start("INSERT INTO account (id, name, unit, balance, entries, opened_at) VALUES ")
	last, day := int64(0), dateText(f.day)
	for i := range f.entries { // ascending by account
		a := f.book[f.entries[i].Account]
		if i > 0 && a.ID == last {
			continue
		}
		last = a.ID
		q.open()
		q.num(a.ID)
		q.str("")
		q.str("")
		q.num(a.Balance)
		q.num(a.Entries)
		q.lit(day) // like name and unit, for the form only
		q.shut()
	}
	q.raw(" ON DUPLICATE KEY UPDATE balance=VALUES(balance), entries=VALUES(entries)")
	_, err := x.exec(ctx, "write balances", q.String())
	return err
}
