package mysql

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"slices"
	"time"

	"strata/core"
	"strata/fault"
)

// maxInner bounds the inner accounts of one account: so many ids are set aside for it.
const maxInner = 64

// innerOf is the ids of an account's inner accounts, active or not, the first one first; at least so many, or it looks again.
func (l *Ledger) innerOf(ctx context.Context, x *tx, id, least int64) ([]int64, error) {
	l.modes.mu.Lock()
	have := l.modes.inner[id]
	l.modes.mu.Unlock()
	if least > 0 && int64(len(have)) >= least {
		return have, nil
	}
	var ids []int64
	err := x.each(ctx, "find inner accounts", fmt.Sprintf("SELECT id FROM account FORCE INDEX (PRIMARY) WHERE id<0 AND parent=%d ORDER BY id DESC", id), func(cells row) error {
		ids = append(ids, cells.num(0))
		return nil
	})
	if err != nil {
		return nil, err
	}
	if int64(len(ids)) < least {
		return nil, fault.New(fault.Proof, "find inner accounts", "account %d has %d of %d", id, len(ids), least)
	}
	l.modes.mu.Lock()
	defer l.modes.mu.Unlock()
	if l.modes.inner == nil {
		l.modes.inner = map[int64][]int64{}
	}
	if len(ids) > len(l.modes.inner[id]) {
		l.modes.inner[id] = ids
	}
	return ids, nil
}

// chooseInner finds which places of an account a batch locks: its own row where something is reserved; one inner account
// that nobody else has and that can pay, if there is one; else all.
func (l *Ledger) chooseInner(ctx context.Context, x *tx, f *found, id int64, m modeRow) error {
	all, err := l.innerOf(ctx, x, id, m.inner)
	if err != nil {
		return err
	}
	all = all[:m.inner]
	own, other, debit := true, false, int64(0) // an expiry
	if f.fresh != nil {
		own, other, debit = f.SpreadNeeds(transfers(f.fresh), id)
	}
	if !f.moded.want[id] {
		f.moded.plain[id] = !own
		if !other {
			return nil
		}
		one, err := oneInner(ctx, x, id, all, debit, f.Attempt)
		if err != nil {
			return err
		}
		if one != 0 {
			f.moded.inner[id] = []int64{one}
			return nil
		}
	}
	f.moded.plain[id], f.moded.inner[id], f.moded.whole[id] = false, all, true
	return nil
}

// oneInner finds an inner account that will do; 0: all have to be locked.
func oneInner(ctx context.Context, x *tx, id int64, all []int64, debit int64, attempt int) (int64, error) {
	if debit > 0 {
		var low *int64
		err := x.each(ctx, "read minimum", fmt.Sprintf("SELECT min_balance FROM account WHERE id=%d", id), func(cells row) error {
			low = cells.opt(0)
			return nil
		})
		switch {
		case err != nil:
			return 0, err
		case low == nil:
			debit = 0 // any may pay
		case *low > 0:
			return 0, nil
		}
	}
	free, err := freeInner(ctx, x, all, debit)
	if free == 0 && debit == 0 { // all are in use: wait for one
		return all[attempt%len(all)], err
	}
	return free, err
}

// freeInner locks an inner account that nobody else has locked and that has so much; 0: there is none. It does not wait, so
// that the order of locks does not matter.
func freeInner(ctx context.Context, x *tx, ids []int64, debit int64) (free int64, err error) {
	x.text.start("SELECT id FROM account FORCE INDEX (PRIMARY) WHERE id IN (")
	for _, id := range ids {
		x.text.num(id)
	}
	x.text.raw(")")
	if debit > 0 {
		x.text.raw(fmt.Sprintf(" AND balance-pending_debits>=%d", debit))
	}
	x.text.raw(" ORDER BY id DESC LIMIT 1 FOR UPDATE SKIP LOCKED")
	err = x.each(ctx, "find free inner account", x.text.String(), func(cells row) error {
		free = cells.num(0)
		return nil
	})
	return free, err
}

// spread gives the batch the places that are locked.
func (l *Ledger) spread(f *found) {
	for id, m := range f.moded.of {
		a := f.Accounts[id]
		if m.mode != core.SubAccounts || a == nil {
			continue
		}
		sp := &core.Spread{All: f.moded.whole[id]}
		for _, i := range slices.Sorted(slices.Values(f.moded.inner[id])) {
			if inner := f.Accounts[i]; inner != nil {
				sp.Places = append(sp.Places, inner)
			}
		}
		if !f.moded.plain[id] {
			sp.Places = append(sp.Places, a)
		}
		if f.Spreads == nil {
			f.Spreads = map[int64]*core.Spread{}
		}
		f.Spreads[id] = sp
	}
}

// shiftID is a new id of a transfer between places.
func shiftID() string {
	var b [20]byte
	_, _ = rand.Read(b[:]) // it never fails
	return core.MovePrefix + hex.EncodeToString(b[:])
}

// collect brings all to the account's own row.
func (l *Ledger) collect(h *locked) error {
	places, amounts, sum := []*core.Account{}, []int64{}, int64(0)
	for _, id := range slices.Sorted(slices.Values(h.inner)) {
		p := h.f.Accounts[id]
		places, amounts = append(places, p), append(amounts, -p.Balance)
		sum += p.Balance
	}
	return h.shift(append(places, h.a), append(amounts, sum))
}

// scatter brings what the account's own row has and nobody reserved to the inner accounts, in equal parts.
func (l *Ledger) scatter(h *locked, inner int) error {
	have := h.a.Available()
	if have <= 0 {
		return nil
	}
	places, amounts := []*core.Account{h.a}, []int64{-have}
	for i, id := range h.inner[:inner] {
		part := have / int64(inner)
		if int64(i) < have%int64(inner) {
			part++
		}
		places, amounts = append(places, h.f.Accounts[id]), append(amounts, part)
	}
	return h.shift(places, amounts)
}

func (h *locked) shift(places []*core.Account, amounts []int64) error {
	if !h.f.Shift(shiftID(), h.a, places, amounts) {
		return fault.New(fault.Conflict, fmt.Sprintf("switch mode of account %d", h.a.ID), "its turnover would exceed 64 bits")
	}
	return nil
}

// enterInner makes the inner accounts that are missing and spreads the balance over them. The day is locked exclusively, so
// that nobody else takes the same ids.
func (l *Ledger) enterInner(ctx context.Context, x *tx, h *locked, inner int) error {
	const op = "make inner accounts"
	if err := l.at("core.before_inner"); err != nil {
		return err
	}
	first := int64(-1)
	if len(h.inner) > 0 {
		first = h.inner[0]
	} else {
		err := x.each(ctx, op, "SELECT LEAST(COALESCE(MIN(id), 0), 0) FROM account", func(cells row) error {
			first = (cells.num(0)-maxInner+1)/maxInner*maxInner - 1 // the next block below
			return nil
		})
		if err != nil {
			return err
		}
	}
	more := inner - len(h.inner)
	_, err := x.insert(ctx, op, "INSERT INTO account (id, name, tenant, unit, side, parent, balance, entries, opened_at) VALUES ", "", max(more, 0), func(q *text, i int) {
		id := first - int64(len(h.inner)+i)
		q.num(id)
		q.str("")
		q.str(h.a.Tenant)
		q.str(h.a.Unit)
		q.str(h.a.Side.String())
		q.num(h.a.ID)
		q.num(0)
		q.num(0)
		q.time(h.f.Now)
	})
	if err != nil {
		return err
	}
	for i := len(h.inner); i < inner; i++ {
		id := first - int64(i)
		h.inner = append(h.inner, id)
		h.f.Accounts[id] = &core.Account{ID: id, Tenant: h.a.Tenant, Unit: h.a.Unit, Side: h.a.Side, Parent: h.a.ID}
	}
	if err := l.at("core.after_inner"); err != nil {
		return err
	}
	return l.scatter(h, inner)
}

// markInner opens the inner accounts that are used, and closes the other ones, which have nothing.
func markInner(ctx context.Context, x *tx, h *locked, used int) error {
	if len(h.inner) == 0 {
		return nil
	}
	_, err := x.exec(ctx, "mark inner accounts", fmt.Sprintf("UPDATE account SET state=IF(id>%d, 'open', 'closed') WHERE id BETWEEN %d AND %d",
		h.inner[0]-int64(used), h.inner[len(h.inner)-1], h.inner[0]))
	return err
}

// writeMoves inserts the ids of the transfers between places, and adds them to the rows.
func (l *Ledger) writeMoves(ctx context.Context, x *tx, now time.Time, f *found, rows []booked) ([]booked, error) {
	moves := f.Changes.Moves
	if len(moves) == 0 {
		return rows, nil
	}
	rows = slices.Clone(rows)
	from := len(rows)
	for i := range moves {
		t := &moves[i].Transfer
		t.OrderTime = now
		rows = append(rows, booked{&item{t: t, body: t.Hash(), order: now, answer: moves[i].Answer}, t})
	}
	posted := timeText(now)
	_, err := x.insert(ctx, "insert transfer ids", "INSERT INTO transfer_id (id, body_hash, outcome, answer, order_time, posted_at) VALUES ", "", len(moves), func(q *text, i int) {
		q.answer(rows[from+i].item, posted, true)
	})
	return rows, raced(err)
}
