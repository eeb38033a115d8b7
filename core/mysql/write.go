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

// booked is a transfer that gets a row, with the legs that it booked.
type booked struct {
	*item
	t *core.Transfer
}

// write inserts the rows of the applied transfers, then sets balances and what else changed, and, where they were not
// guessed, answers.
func (n *lane) write(ctx context.Context, x *tx, b *batch, f *found, answers bool) error {
	if err := n.l.at("core.before_rows"); err != nil {
		return err
	}
	rows := f.booked()
	if err := n.l.writeRows(ctx, x, b.now, f, rows); err != nil {
		return err
	}
	if err := n.l.at("core.after_rows"); err != nil {
		return err
	}
	if !n.beside {
		if err := writeBalances(ctx, x, f); err != nil {
			return err
		}
	}
	if err := n.l.at("core.after_balances"); err != nil {
		return err
	}
	if err := n.l.writeSide(ctx, x, b, f, rows); err != nil {
		return err
	}
	if !answers {
		return nil
	}
	now := timeText(b.now)
	_, err := x.insert(ctx, "write answers", "INSERT INTO transfer_id (id, body_hash, outcome, answer, order_time, posted_at) VALUES ",
		" ON DUPLICATE KEY UPDATE outcome=VALUES(outcome), answer=VALUES(answer)", len(f.fresh),
		func(q *text, i int) { q.answer(f.fresh[i], now, true) })
	return err
}

// writeRows inserts transfers, entries and what waits in buffers, those of the ledger's own transfers too.
func (l *Ledger) writeRows(ctx context.Context, x *tx, now time.Time, f *found, rows []booked) error {
	rows, err := l.writeMoves(ctx, x, now, f, rows)
	if err != nil {
		return err
	}
	if err := l.writeTransfers(ctx, x, now, f, rows); err != nil {
		return err
	}
	if err := l.writeEntries(ctx, x, now, f, rows); err != nil {
		return err
	}
	return l.writeBuffers(ctx, x, now, f, rows)
}

// booked lists the fresh transfers that were booked: no Try, no Cancel.
func (f *found) booked() []booked {
	out := make([]booked, 0, len(f.fresh))
	for _, it := range f.fresh {
		if it.answer.Outcome != core.Applied || it.t.Action == core.Try || it.t.Action == core.Cancel {
			continue
		}
		b := booked{it, it.t}
		if it.t.Action != core.Post {
			whole := f.Booked(it.t, &it.answer)
			b.t = &whole
		}
		out = append(out, b)
	}
	return out
}

// writeTransfers inserts by shard, in the order of the shards' names.
func (l *Ledger) writeTransfers(ctx context.Context, x *tx, now time.Time, f *found, rows []booked) error {
	shards, day, posted := map[string][]booked{}, dateText(f.Day), timeText(now)
	for _, r := range rows {
		table := l.transfer.ShardAt(catalog.At(r.order)).Table
		shards[table] = append(shards[table], r)
	}
	for _, table := range slices.Sorted(maps.Keys(shards)) {
		rows := shards[table]
		plain := !slices.ContainsFunc(rows, func(r booked) bool { return !isPlain(r.t) })
		columns := "id, kind, order_time, accounting_date, posted_at, legs, unit, amount, memo, business_date"
		if !plain {
			columns += ", action, of_id, tenant, merchant_order, product, metadata"
		}
		err := l.insert(ctx, x, l.transfer, table, columns, len(rows), func(q *text, i int) {
			r := rows[i]
			unit, amount := r.t.Total()
			q.str(r.t.ID)
			q.str(r.t.Kind)
			q.time(r.order)
			q.lit(day)
			q.lit(posted)
			q.num(int64(len(r.t.Legs)))
			q.str(unit)
			q.num(amount)
			q.str(r.t.Memo)
			q.date(r.t.Day())
			if !plain {
				for _, s := range [...]string{r.t.Action.String(), r.t.Of, r.t.Tenant, r.t.Order, r.t.Product, r.t.Metadata} {
					q.str(s)
				}
			}
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// isPlain reports whether the row's later columns have their defaults.
func isPlain(t *core.Transfer) bool {
	return t.Action == core.Post && t.Of == "" && t.Tenant == "" && t.Order == "" && t.Product == "" && t.Metadata == ""
}

// writeEntries inserts in the order of the primary key: fewer pages, and one lock order.
func (l *Ledger) writeEntries(ctx context.Context, x *tx, now time.Time, f *found, rows []booked) error {
	entries := f.Changes.Entries
	if len(entries) == 0 {
		return nil
	}
	orders := make(map[string]time.Time, len(rows))
	for _, r := range rows {
		orders[r.t.ID] = r.order
	}
	day, posted := dateText(f.Day), timeText(now)
	slices.SortFunc(entries, func(a, b core.Entry) int {
		return cmp.Or(cmp.Compare(a.Account, b.Account), cmp.Compare(a.Seq, b.Seq))
	})
	columns := "account_id, seq, transfer_id, leg, unit, amount, balance_before, balance_after, accounting_date, order_time, posted_at"
	split := slices.ContainsFunc(entries, func(e core.Entry) bool { return len(e.Parts) > 0 })
	if split {
		columns += ", funds"
	}
	return l.insert(ctx, x, l.entry, l.entry.ShardAt(catalog.At(f.Day)).Table, columns, len(entries), func(q *text, i int) {
		e := &entries[i]
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
		if split {
			q.more = core.AppendParts(q.more[:0], e.Parts)
			q.sep()
			q.buf = quote(q.buf, q.more)
		}
	})
}

// insert writes one shard's rows, or those of a statement and what follows to the late shard where the range has left live:
// what earlier statements of it wrote, of other parts of the shard's range, stays.
func (l *Ledger) insert(ctx context.Context, x *tx, d *catalog.Dataset, table, columns string, n int, row func(q *text, i int)) error {
	into := func(table string, from int) (int64, error) {
		return x.insert(ctx, "insert into "+table, "INSERT INTO "+db.Quote(table)+" ("+columns+") VALUES ", "", n-from, func(q *text, i int) { row(q, from+i) })
	}
	done, err := into(table, 0)
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
	late, err := into(d.LateShard(1).Table, int(done))
	l.stats.late.Add(late)
	return err
}

// writeBalances sets what the batch left. The accounts are locked and exist, so that every row is an update.
func writeBalances(ctx context.Context, x *tx, f *found) error {
	ids := slices.Sorted(maps.Keys(f.Changes.Accounts))
	if len(ids) == 0 {
		return nil
	}
	pending := f.guess == nil // a guessed batch reserves nothing
	head, tail := "", ""
	if pending {
		head, tail = ", pending_debits, pending_credits", ", pending_debits=VALUES(pending_debits), pending_credits=VALUES(pending_credits)"
	}
	_, err := x.insert(ctx, "write balances", "INSERT INTO account (id, name, unit, balance, debits, credits, entries, opened_at"+head+") VALUES ",
		" ON DUPLICATE KEY UPDATE balance=VALUES(balance), debits=VALUES(debits), credits=VALUES(credits), entries=VALUES(entries)"+tail,
		len(ids), func(q *text, i int) {
			a := f.Accounts[ids[i]]
			q.num(a.ID)
			q.str("")
			q.str("")
			q.num(a.Balance)
			q.num(a.Debits)
			q.num(a.Credits)
			q.num(a.Entries)
			q.num(20000101) // like name and unit, for the form only
			if pending {
				q.num(a.PendingDebits)
				q.num(a.PendingCredits)
			}
		})
	return err
}
