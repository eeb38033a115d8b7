package mysql

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"

	"strata/core"
	"strata/fault"
)

// modes is what this process saw last of modes. It is advice only: what is posted goes by what is read under lock.
type modes struct {
	some  atomic.Bool // an account was seen that is not in RealTime
	mu    sync.Mutex
	of    map[int64]core.Mode
	inner map[int64][]int64 // the ids of inner accounts, as they were made; they never change, but become more
}

func (m *modes) saw(id int64, mode core.Mode) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.of == nil {
		m.of = map[int64]core.Mode{}
	}
	if mode == core.RealTime {
		delete(m.of, id)
		return
	}
	m.of[id] = mode
	m.some.Store(true)
}

// loadModes looks at what there is at the start.
func (l *Ledger) loadModes(ctx context.Context) error {
	query := fmt.Sprintf("SELECT account_id, mode, state, inner_count FROM account_mode WHERE mode<>'real_time' LIMIT %d", maxList)
	return l.read(ctx, func(x *tx) error {
		return x.each(ctx, "read modes", query, func(cells row) error {
			id, m, err := scanMode(cells)
			l.modes.saw(id, m.mode)
			return err
		})
	})
}

// shared are those of the call's accounts on which several lanes may work without waiting for one another.
func (m *modes) shared(r *request) (out map[int64]bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	r.accounts(func(id int64) bool {
		if mode := m.of[id]; mode == core.Buffered || mode == core.SubAccounts {
			if out == nil {
				out = map[int64]bool{}
			}
			out[id] = true
		}
		return true
	})
	return out
}

// modeRow is an account's row of account_mode.
type modeRow struct {
	mode  core.Mode
	state core.State
	inner int64
}

// moded is what a batch knows of the accounts that left RealTime once.
type moded struct {
	want   map[int64]bool // all of these has to be read
	of     map[int64]modeRow
	inner  map[int64][]int64 // the inner accounts that are locked, by their account
	plain  map[int64]bool    // accounts that are read, and not locked
	whole  map[int64]bool    // all inner accounts are locked
	merged []bufferRow       // rows of buffers that became entries
}

func scanMode(cells row) (id int64, m modeRow, err error) {
	var a core.Account
	err = parseNames(&a, []byte("credit"), cells.raw(2), cells.raw(1))
	return cells.num(0), modeRow{a.Mode, a.State, cells.num(3)}, err
}

// lockModes locks the modes' rows of the accounts in share mode, ascending.
func (l *Ledger) lockModes(ctx context.Context, x *tx, f *found, needs core.Needs) error {
	f.moded.of = map[int64]modeRow{}
	err := in(ctx, x, "lock modes", "SELECT account_id, mode, state, inner_count FROM account_mode FORCE INDEX (PRIMARY) WHERE account_id IN (",
		") ORDER BY account_id LOCK IN SHARE MODE", needs.Accounts, addNum, func(cells row) error {
			id, m, err := scanMode(cells)
			f.moded.of[id] = m
			return err
		})
	if err != nil {
		return err
	}
	f.moded.plain, f.moded.inner, f.moded.whole = map[int64]bool{}, map[int64][]int64{}, map[int64]bool{}
	for _, id := range slices.Sorted(maps.Keys(f.moded.of)) {
		m := f.moded.of[id]
		l.modes.saw(id, m.mode)
		if m.mode == core.Buffered {
			_, creditOnly := slices.BinarySearch(needs.CreditOnly, id)
			f.moded.plain[id] = creditOnly && !f.moded.want[id]
		}
	}
	return nil
}

// lockModed finds which inner accounts to lock, locks accounts, inner ones before them, and funds; then it reads what waits in the buffers of those that are
// debited.
func (l *Ledger) lockModed(ctx context.Context, x *tx, f *found, needs core.Needs) error {
	var ids, plain []int64
	for _, id := range needs.Accounts {
		if m := f.moded.of[id]; m.mode == core.SubAccounts {
			if err := l.chooseInner(ctx, x, f, id, m); err != nil {
				return err
			}
		}
		if f.moded.plain[id] {
			plain = append(plain, id)
		} else {
			ids = append(ids, id)
		}
		ids = append(ids, f.moded.inner[id]...)
	}
	slices.Sort(ids)
	if err := lockAccounts(ctx, x, f, ids); err != nil {
		return err
	}
	for _, id := range needs.Accounts {
		if a := f.Accounts[id]; a != nil && a.Mode != f.moded.of[id].mode {
			return fmt.Errorf("account %d is in %s: %w", id, a.Mode, errRaced) // it had no mode's row when the day was locked
		}
	}
	if err := readPlain(ctx, x, f, plain); err != nil {
		return err
	}
	if err := lockFunds(ctx, x, f, ids); err != nil {
		return err
	}
	l.spread(f)
	return l.readBuffered(ctx, x, f)
}

// readPlain reads accounts without a lock: what is looked at of them changes only with their mode's row, or in a way that
// does no harm.
func readPlain(ctx context.Context, x *tx, f *found, ids []int64) error {
	return in(ctx, x, "read accounts", "SELECT "+lockedColumns+" FROM account FORCE INDEX (PRIMARY) WHERE id IN (", ")", ids, addNum, func(cells row) error {
		a, err := scanLocked(cells)
		a.Mode, a.State = f.moded.of[a.ID].mode, f.moded.of[a.ID].state
		f.Accounts[a.ID] = &a
		return err
	})
}

// wants takes up what the transfers want more; errWanted: the batch has to be done again with it.
func (b *batch) wants(f *found) error {
	if len(f.Changes.Wanted) == 0 {
		return nil
	}
	more := false
	for id := range f.Changes.Wanted {
		if !b.want[id] {
			if b.want == nil {
				b.want = map[int64]bool{}
			}
			b.want[id], more = true, true
		}
	}
	if !more {
		return fault.New(fault.Internal, "apply batch", "accounts %v are wanted, and are there", slices.Sorted(maps.Keys(f.Changes.Wanted)))
	}
	return errWanted
}

// attemptWhole does the batch without a guess, and again with what turns out to be needed more: each turn at least one
// account.
func (n *lane) attemptWhole(ctx context.Context, b *batch) error {
	for {
		err := n.attempt(ctx, b, nil)
		var full *fullBuffer
		if errors.As(err, &full) {
			if err = n.l.Merge(ctx, []int64{full.account}); err == nil {
				continue
			}
		}
		if !errors.Is(err, errWanted) {
			return err
		}
	}
}

// locked is an account with all that belongs to it, locked for a change of it.
type locked struct {
	f         *found
	a         *core.Account
	row       *modeRow // nil: it never left RealTime
	inner     []int64  // all that there are, the first one first
	exclusive bool     // the day is locked exclusively
}

// hold locks an account for a change: the day, its mode's row, inner accounts, its own row. exclusive: the day is locked so
// that no batch is in flight, for an account that gets a mode's row or inner accounts.
func (l *Ledger) hold(ctx context.Context, x *tx, id int64, exclusive bool) (*locked, error) {
	const op = "lock account"
	h := &locked{f: newFound(core.Batch{Now: core.Micros(l.cfg.Now())})}
	query := fmt.Sprintf("SELECT account_id, mode, state, inner_count FROM account_mode WHERE account_id=%d", id)
	read := func(cells row) error {
		_, m, err := scanMode(cells)
		h.row = &m
		return err
	}
	if err := x.each(ctx, op, query, read); err != nil {
		return nil, err
	}
	dated := exclusive || h.row != nil
	if h.exclusive = exclusive; exclusive {
		if _, err := x.exec(ctx, op, "SELECT 1 FROM day WHERE id=1 FOR UPDATE"); err != nil {
			return nil, err
		}
	}
	if dated {
		if err := l.lockDay(ctx, x, h.f); err != nil {
			return nil, err
		}
	}
	if err := x.each(ctx, op, query+" FOR UPDATE", read); err != nil {
		return nil, err
	}
	if h.row != nil && !dated {
		return nil, fault.New(fault.Busy, op, "account %d is being switched", id)
	}
	ids := []int64{id}
	if h.row != nil {
		var err error
		if h.inner, err = l.innerOf(ctx, x, id, 0); err != nil {
			return nil, err
		}
		ids = append(ids, h.inner...)
		slices.Sort(ids)
	}
	if err := lockAccounts(ctx, x, h.f, ids); err != nil {
		return nil, err
	}
	if h.a = h.f.Accounts[id]; h.a == nil || h.a.Parent != 0 {
		return nil, noAccount("change", id)
	}
	return h, x.each(ctx, op, fmt.Sprintf("SELECT COALESCE(SUM(amount), 0) FROM buffer WHERE account_id=%d", id), func(cells row) error {
		h.a.Buffered = cells.num(0)
		return nil
	})
}

// total is what the account has in all its places.
func (h *locked) total() int64 {
	sum := h.a.Balance
	for _, id := range h.inner {
		sum += h.f.Accounts[id].Balance // they fit together: they came from one account
	}
	return sum
}

// SwitchMode is core.Control. See "Posting modes" in doc.go for its order.
func (l *Ledger) SwitchMode(ctx context.Context, id int64, mode core.Mode, inner int) error {
	op := fmt.Sprintf("switch mode of account %d", id)
	if mode > core.Simple || mode == core.SubAccounts && (inner < 2 || inner > maxInner) {
		return fault.New(fault.Invalid, op, "a mode is real_time, buffered, sub_accounts with 2 to %d inner accounts, or simple", maxInner)
	}
	if err := l.Merge(ctx, []int64{id}); err != nil { // so that little is left to do under the locks
		return err
	}
	defer l.known.forget(id)
	return l.changeOf(ctx, "switch", func(x *tx) error {
		exclusive := mode == core.SubAccounts
		if !exclusive {
			rows := 0
			err := x.each(ctx, op, fmt.Sprintf("SELECT 1 FROM account_mode WHERE account_id=%d", id), func(row) error { rows++; return nil })
			if err != nil {
				return err
			}
			exclusive = rows == 0 && mode != core.RealTime
		}
		h, err := l.hold(ctx, x, id, exclusive)
		if err != nil {
			return err
		}
		if h.a.Mode != mode {
			err = l.switchTo(ctx, x, h, mode, inner)
		}
		if err == nil {
			l.modes.saw(id, mode)
		}
		return err
	})
}

// switchTo leaves the mode that the account has, and enters another.
func (l *Ledger) switchTo(ctx context.Context, x *tx, h *locked, mode core.Mode, inner int) error {
	if err := enterable(h, mode); err != nil {
		return err
	}
	if h.row == nil && !h.exclusive {
		return fault.New(fault.Busy, "switch mode", "account %d is being switched", h.a.ID)
	}
	switch h.a.Mode {
	case core.Buffered:
		if err := l.emptyBuffer(ctx, x, h); err != nil {
			return err
		}
	case core.SubAccounts:
		if err := l.collect(h); err != nil {
			return err
		}
	}
	count := 0
	if mode == core.SubAccounts {
		count = inner
		if err := l.enterInner(ctx, x, h, inner); err != nil {
			return err
		}
	}
	if err := l.writeHeld(ctx, x, h); err != nil {
		return err
	}
	if err := markInner(ctx, x, h, count); err != nil {
		return err
	}
	if h.row == nil {
		if _, err := x.exec(ctx, "count modes", "UPDATE day SET modes=modes+1 WHERE id=1"); err != nil {
			return err
		}
	}
	_, err := x.exec(ctx, "set mode", fmt.Sprintf("INSERT INTO account_mode (account_id, mode, state, inner_count) VALUES (%d,'%s','%s',%d)"+
		" ON DUPLICATE KEY UPDATE mode=VALUES(mode), state=VALUES(state), inner_count=VALUES(inner_count)", h.a.ID, mode, h.a.State, count))
	if err != nil {
		return err
	}
	_, err = x.exec(ctx, "set mode", fmt.Sprintf("UPDATE account SET mode='%s' WHERE id=%d", mode, h.a.ID))
	return err
}

// enterable says why an account can't be in a mode.
func enterable(h *locked, mode core.Mode) error {
	bad := func(why, hint string) error {
		return fault.New(fault.Conflict, fmt.Sprintf("switch account %d to %s", h.a.ID, mode), "%s", why).WithHint("%s", hint)
	}
	switch {
	case mode != core.Buffered && mode != core.SubAccounts:
	case h.a.MaxBalance != nil:
		return bad("it has a max_balance, which nobody could keep who does not lock its row", "take the max_balance away first")
	case mode == core.Buffered && !h.a.Bufferable():
		return bad("its balance or its turnover leaves too little room below 64 bits", "use real_time")
	case mode == core.SubAccounts && h.a.Strategy != "":
		return bad("its balance is split by nature", "use buffered, or an account without a strategy")
	case mode == core.SubAccounts && h.a.MinBalance != nil && h.a.Available() < *h.a.MinBalance:
		return bad("it is below its min_balance", "bring it up first")
	}
	return nil
}

// writeHeld writes what a change of mode moved.
func (l *Ledger) writeHeld(ctx context.Context, x *tx, h *locked) error {
	if err := l.writeRows(ctx, x, h.f.Now, h.f, nil); err != nil {
		return err
	}
	if err := writeBalances(ctx, x, h.f); err != nil {
		return err
	}
	return writeFunds(ctx, x, h.f)
}

// changeOf is change for what writes rows: a shard that is missing is made.
func (l *Ledger) changeOf(ctx context.Context, point string, f func(x *tx) error) error {
	for range maxTries {
		err := l.change(ctx, point, f)
		var missing *missingShard
		if !errors.As(err, &missing) {
			return err
		}
		if err := l.makeShard(ctx, missing); err != nil {
			return err
		}
	}
	return fault.New(fault.Unavailable, point, "tables of shards vanish again and again")
}
