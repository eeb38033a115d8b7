package mysql

import (
	"context"
	"sync"
	"time"

	"strata/core"
)

// maxKnown bounds the account states that are kept: about 350 bytes each.
const maxKnown = 100_000

// known is the state of accounts as committed batches left it, for all lanes: what is in one lane's hands is not in
// another's.
type known struct {
	mu       sync.Mutex
	accounts map[int64]*core.Account // never handed out
	version  int64                   // of the settings
	rules    *core.Rules             // nil: no batch yet
}

// keep notes what a committed batch left.
func (k *known) keep(f *found) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.version, k.rules = f.version, f.Rules
	if len(k.accounts)+len(f.Accounts) > maxKnown {
		k.accounts = map[int64]*core.Account{}
	}
	for id, a := range f.Accounts {
		if have := k.accounts[id]; have != nil {
			*have = *a
			continue
		}
		copied := *a
		k.accounts[id] = &copied
	}
}

// forget drops what was changed by other means than a batch.
func (k *known) forget(id int64) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.accounts, id)
}

// guessed is the memory of a lane's guesses.
type guessed struct {
	found
	order        []int64        // the accounts, ascending
	before, work []core.Account // in that order: as they were taken for, and as they become
}

// guess applies the batch to what the accounts may be, and answers the items; nil where that isn't known, or where the batch
// needs more than accounts.
func (n *lane) guess(b *batch) *found {
	g := &n.memory
	g.found = found{guess: g, fresh: g.fresh[:0], Batch: core.Batch{Now: b.now, Horizon: n.l.cfg.Horizon, Accounts: g.Accounts}}
	for _, it := range b.items {
		if it.fresh = it.same == nil && it.t.Nameable(); it.fresh {
			g.fresh = append(g.fresh, it)
		}
	}
	ts := transfers(g.fresh)
	if r, o := core.FirstNeeds(ts); len(r)+len(o) > 0 || !n.take(ts) {
		return nil
	}
	g.apply(b)
	return &g.found
}

// take copies the accounts' known states.
func (n *lane) take(ts []*core.Transfer) bool {
	g, k := &n.memory, &n.l.known
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.rules == nil {
		return false
	}
	g.Rules, g.version = k.rules, k.version
	needs := g.Needs(ts)
	if len(needs.Uses) > 0 {
		return false
	}
	g.order, g.before = needs.Accounts, g.before[:0]
	for _, id := range g.order {
		a := k.accounts[id]
		if a == nil || a.Strategy != "" || a.Mode != core.RealTime {
			return false
		}
		g.before = append(g.before, *a)
	}
	g.work = append(g.work[:0], g.before...)
	if g.Accounts == nil {
		g.Accounts = make(map[int64]*core.Account, len(g.work))
	}
	clear(g.Accounts)
	for i := range g.work {
		g.Accounts[g.work[i].ID] = &g.work[i]
	}
	return true
}

// verify locks the day and the accounts, in this order and in one statement, and compares them with what the guess started
// from. What can't change of an account is not read again.
func (n *lane) verify(ctx context.Context, x *tx, f *found) error {
	g := f.guess
	seen, day := 0, int64(0)
	check := func(cells row) error {
		if day == 0 {
			if day = cells.num(8); cells.num(1) != f.version {
				return errWrongGuess
			}
			return nil
		}
		if seen == len(g.before) {
			return errWrongGuess
		}
		a := &g.before[seen]
		seen++
		if cells.num(0) != a.ID || cells.num(1) != a.Balance || cells.num(2) != a.Entries || cells.num(3) != a.PendingDebits ||
			cells.num(4) != a.PendingCredits || !same(cells, 5, a.MinBalance) || !same(cells, 6, a.MaxBalance) ||
			cells.num(7) != int64(a.State)+1 || cells.num(8) != int64(a.Mode)+1 {
			return errWrongGuess
		}
		return nil
	}
	for rest := g.order; day == 0 || len(rest) > 0; {
		piece := rest[:min(len(rest), listLimit)]
		rest = rest[len(piece):]
		q := &x.text
		q.start("")
		if day == 0 {
			q.raw("(SELECT 0, settings, modes, 0, 0, NULL, NULL, 0, accounting_date+0 FROM day WHERE id=1 LOCK IN SHARE MODE)")
			if len(piece) > 0 {
				q.raw(" UNION ALL ")
			}
		}
		if len(piece) > 0 {
			q.raw("(SELECT id, balance, entries, pending_debits, pending_credits, min_balance, max_balance, state+0, mode+0" +
				" FROM account FORCE INDEX (PRIMARY) WHERE id IN (")
			for _, id := range piece {
				q.num(id)
			}
			q.raw(forUpdate + ")")
		}
		if err := x.each(ctx, "lock day and accounts", q.String(), check); err != nil {
			return err
		}
		if day == 0 {
			return errWrongGuess // there is no day: say so without a guess
		}
	}
	if seen != len(g.before) {
		return errWrongGuess
	}
	f.Day = time.Date(int(day/10000), time.Month(day/100%100), int(day%100), 0, 0, 0, 0, time.UTC)
	return nil
}

func same(cells row, i int, want *int64) bool {
	if cells[i] == nil || want == nil {
		return cells[i] == nil && want == nil
	}
	return cells.num(i) == *want
}
