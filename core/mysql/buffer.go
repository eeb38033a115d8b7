package mysql

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"strata/catalog"
	"strata/core"
	"strata/fault"
)

// demandRows is how many rows a debit merges by itself; beyond them Merge runs first.
const demandRows = 10_000

// bufferRow is a row of a buffer, and the entry that it becomes.
type bufferRow struct {
	id            int64
	entry         core.Entry
	date          time.Time
	order, posted time.Time
}

// fullBuffer is a buffer that is too long to be merged by a batch.
type fullBuffer struct{ account int64 }

func (e *fullBuffer) Error() string {
	return fmt.Sprintf("the buffer of account %d is long", e.account)
}

// readBuffered reads what waits for accounts that are locked: its sum, or, where it is wanted, all of it, and books it.
func (l *Ledger) readBuffered(ctx context.Context, x *tx, f *found) error {
	var look, want []int64
	for _, id := range slices.Sorted(maps.Keys(f.moded.of)) {
		switch {
		case f.moded.of[id].mode != core.Buffered || f.moded.plain[id] || f.Accounts[id] == nil:
		case f.moded.want[id]:
			want = append(want, id)
		default:
			look = append(look, id)
		}
	}
	err := in(ctx, x, "read buffers", "SELECT account_id, SUM(amount) FROM buffer FORCE INDEX (account_id) WHERE account_id IN (", ") GROUP BY account_id",
		look, addNum, func(cells row) error {
			f.Accounts[cells.num(0)].Buffered = cells.num(1)
			return nil
		})
	if err != nil {
		return err
	}
	for _, id := range want {
		rows, err := lockBuffer(ctx, x, id, demandRows+1)
		if err != nil {
			return err
		}
		if len(rows) > demandRows {
			return &fullBuffer{id}
		}
		if err := f.merge(id, rows); err != nil {
			return err
		}
	}
	return checkFrozen(ctx, x, f.moded.merged)
}

// lockBuffer reads and locks the first rows of an account's buffer. Whoever calls it has the account's row, without which
// nobody deletes any; it first looks for their ids, so that it does not wait for rows that are being inserted.
func lockBuffer(ctx context.Context, x *tx, account int64, limit int) (out []bufferRow, err error) {
	const op = "read buffer"
	var ids []int64
	query := fmt.Sprintf("SELECT id FROM buffer FORCE INDEX (account_id) WHERE account_id=%d ORDER BY id LIMIT %d", account, limit)
	err = x.each(ctx, op, query, func(cells row) error {
		ids = append(ids, cells.num(0))
		return nil
	})
	if err != nil {
		return nil, err
	}
	err = in(ctx, x, op, "SELECT id, account_id, transfer_id, leg, unit, amount, funds, accounting_date, order_time, posted_at FROM buffer FORCE INDEX (PRIMARY) WHERE id IN (",
		") ORDER BY id FOR UPDATE", ids, addNum, func(cells row) error {
			r, err := scanBuffer(cells)
			out = append(out, r)
			return err
		})
	if err == nil && len(out) != len(ids) {
		err = fault.New(fault.Proof, op, "%d of %d rows of account %d vanished", len(ids)-len(out), len(ids), account)
	}
	return out, err
}

func scanBuffer(cells row) (r bufferRow, err error) {
	r.id = cells.num(0)
	r.entry = core.Entry{Account: cells.num(1), Transfer: cells.str(2), Leg: int(cells.num(3)), Unit: cells.str(4), Amount: cells.num(5)}
	if r.entry.Parts, err = core.ParseParts(cells.str(6)); err != nil {
		return r, err
	}
	for i, into := range map[int]*time.Time{7: &r.date, 8: &r.order, 9: &r.posted} {
		if *into, err = cells.time(i); err != nil {
			return r, err
		}
	}
	return r, nil
}

// merge books rows of an account's buffer.
func (f *found) merge(account int64, rows []bufferRow) error {
	entries := make([]core.Entry, len(rows))
	for i := range rows {
		entries[i] = rows[i].entry
		f.Accounts[account].Buffered += rows[i].entry.Amount
	}
	from := len(f.Changes.Entries)
	if no := f.Merge(account, entries); no != nil {
		return fault.New(fault.Proof, "merge buffer", "%s", no.Message)
	}
	for i, e := range f.Changes.Entries[from:] {
		rows[i].entry = e
	}
	f.Changes.Entries = f.Changes.Entries[:from] // they have dates of their own
	f.moded.merged = append(f.moded.merged, rows...)
	return nil
}

// checkFrozen refuses to book what would change a frozen day: an end of day merges before it freezes, so there is no such row.
func checkFrozen(ctx context.Context, x *tx, rows []bufferRow) error {
	if len(rows) == 0 {
		return nil
	}
	const op = "merge buffer"
	var last time.Time
	err := x.each(ctx, op, "SELECT MAX(accounting_date) FROM day_balance", func(cells row) (err error) {
		last, err = cells.time(0)
		return err
	})
	if err != nil {
		return err
	}
	for i := range rows {
		if r := &rows[i]; !r.date.After(last) {
			return fault.New(fault.Proof, op, "row %d of account %d is of %s, which is frozen", r.id, r.entry.Account, r.date.Format(time.DateOnly))
		}
	}
	return nil
}

// writeBuffers inserts the credits that wait, and turns those that were merged into entries.
func (l *Ledger) writeBuffers(ctx context.Context, x *tx, now time.Time, f *found, rows []booked) error {
	if len(f.Changes.Buffered) > 0 {
		if err := l.at("core.before_buffer"); err != nil {
			return err
		}
		if err := writeBuffer(ctx, x, now, f, rows); err != nil {
			return err
		}
		if err := l.at("core.after_buffer"); err != nil {
			return err
		}
	}
	if len(f.moded.merged) == 0 {
		return nil
	}
	return l.writeMerged(ctx, x, f.moded.merged)
}

func writeBuffer(ctx context.Context, x *tx, now time.Time, f *found, rows []booked) error {
	orders := make(map[string]time.Time, len(rows))
	for _, r := range rows {
		orders[r.t.ID] = r.order
	}
	day, posted, waiting := dateText(f.Day), timeText(now), f.Changes.Buffered
	const head = "INSERT INTO buffer (account_id, transfer_id, leg, unit, amount, funds, accounting_date, order_time, posted_at) VALUES "
	_, err := x.insert(ctx, "insert into buffer", head, "", len(waiting), func(q *text, i int) {
		e := &waiting[i]
		q.num(e.Account)
		q.str(e.Transfer)
		q.num(int64(e.Leg))
		q.str(e.Unit)
		q.num(e.Amount)
		q.parts(e.Parts)
		q.lit(day)
		q.time(orders[e.Transfer])
		q.lit(posted)
	})
	return err
}

// parts appends an amount by nature.
func (q *text) parts(parts []core.Part) {
	q.more = core.AppendParts(q.more[:0], parts)
	q.sep()
	q.buf = quote(q.buf, q.more)
}

// writeMerged inserts the entries, each with its own date, and deletes exactly the rows that they were.
func (l *Ledger) writeMerged(ctx context.Context, x *tx, rows []bufferRow) error {
	if err := l.at("core.before_merged"); err != nil {
		return err
	}
	shards := map[string][]bufferRow{}
	for _, r := range rows {
		table := l.entry.ShardAt(catalog.At(r.date)).Table
		shards[table] = append(shards[table], r)
	}
	for _, table := range slices.Sorted(maps.Keys(shards)) {
		rows := shards[table]
		slices.SortFunc(rows, func(a, b bufferRow) int {
			return cmp.Or(cmp.Compare(a.entry.Account, b.entry.Account), cmp.Compare(a.entry.Seq, b.entry.Seq))
		})
		columns := "account_id, seq, transfer_id, leg, unit, amount, balance_before, balance_after, accounting_date, order_time, posted_at, funds"
		err := l.insert(ctx, x, l.entry, table, columns, len(rows), func(q *text, i int) {
			r := &rows[i]
			e := &r.entry
			q.num(e.Account)
			q.num(e.Seq)
			q.str(e.Transfer)
			q.num(int64(e.Leg))
			q.str(e.Unit)
			q.num(e.Amount)
			q.num(e.Before)
			q.num(e.After)
			q.date(r.date)
			q.time(r.order)
			q.time(r.posted)
			q.parts(e.Parts)
		})
		if err != nil {
			return err
		}
	}
	if err := l.at("core.after_merged"); err != nil {
		return err
	}
	return l.deleteBuffer(ctx, x, rows)
}

func (l *Ledger) deleteBuffer(ctx context.Context, x *tx, rows []bufferRow) error {
	const op = "empty buffer"
	gone := int64(0)
	for piece := range slices.Chunk(rows, listLimit) {
		x.text.start("DELETE FROM buffer WHERE id IN (")
		for i := range piece {
			x.text.num(piece[i].id)
		}
		x.text.raw(")")
		n, err := x.run(ctx, op)
		if err != nil {
			return err
		}
		gone += n
	}
	if gone != int64(len(rows)) {
		return fault.New(fault.Proof, op, "%d of %d rows were deleted", gone, len(rows))
	}
	return l.at("core.after_unbuffered")
}

// emptyBuffer merges what is left before an account leaves Buffered.
func (l *Ledger) emptyBuffer(ctx context.Context, x *tx, h *locked) error {
	h.a.Buffered = 0
	if err := lockFunds(ctx, x, h.f, []int64{h.a.ID}); err != nil {
		return err
	}
	rows, err := lockBuffer(ctx, x, h.a.ID, demandRows+1)
	if err != nil {
		return err
	}
	if len(rows) > demandRows {
		return fault.New(fault.Busy, fmt.Sprintf("switch mode of account %d", h.a.ID), "its buffer is long").WithHint("merge it and switch again")
	}
	if err := h.f.merge(h.a.ID, rows); err != nil {
		return err
	}
	return checkFrozen(ctx, x, h.f.moded.merged)
}

// fundsOf adds what waits in the buffer to an account's funds.
func fundsOf(ctx context.Context, x *tx, id int64, funds []core.Fund) ([]core.Fund, error) {
	err := x.each(ctx, "read buffer", fmt.Sprintf("SELECT funds FROM buffer WHERE account_id=%d AND funds<>''", id), func(cells row) error {
		parts, err := core.ParseParts(cells.str(0))
		for _, p := range parts {
			i := slices.IndexFunc(funds, func(u core.Fund) bool { return u.Nature == p.Nature })
			if i < 0 {
				i, funds = len(funds), append(funds, core.Fund{Account: id, Nature: p.Nature})
			}
			funds[i].Balance += p.Amount
		}
		return err
	})
	slices.SortFunc(funds, func(a, b core.Fund) int { return strings.Compare(a.Nature, b.Nature) })
	return funds, err
}
