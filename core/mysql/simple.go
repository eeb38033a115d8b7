package mysql

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"strata/core"
)

// simpleAtOnce bounds the transactions beside the lanes: each takes a connection of the pool.
const simpleAtOnce = 3

// errNotSimple: the lane has to do it.
const errNotSimple again = "this is more than a conditional update can do"

func (l *Ledger) startSimple() {
	l.simple = make(chan *lane, simpleAtOnce)
	for range simpleAtOnce {
		l.simple <- &lane{l: l, beside: true}
	}
}

// endSimple waits for the transactions beside the lanes, and lets no other begin.
func (l *Ledger) endSimple() {
	for range simpleAtOnce {
		<-l.simple
	}
}

// simple reports whether the call is one post between accounts that are in Simple, as far as this process knows.
func (m *modes) simple(r *request) bool {
	t := &r.transfers[0]
	if len(r.transfers) != 1 || t.Action != core.Post || t.Linked || t.Refusal() != nil {
		return false
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return r.accounts(func(id int64) bool { return m.of[id] == core.Simple })
}

// postSimple does a call beside the lanes, if it can be done so: done says whether it was.
func (l *Ledger) postSimple(ctx context.Context, r *request) (done bool, err error) {
	if !l.running.Load() || !l.modes.simple(r) {
		return false, nil
	}
	var n *lane
	select {
	case n = <-l.simple:
	case <-l.ended:
		return false, nil
	case <-ctx.Done():
		return false, fmt.Errorf("post: %w", ctx.Err())
	}
	defer func() { l.simple <- n }()
	it := r.items[0] // the lane may need it as it was
	b := &batch{now: core.Micros(l.cfg.Now()), items: []*item{&it}}
	if err := n.post(context.WithoutCancel(ctx), b); errors.Is(err, errNotSimple) {
		return false, nil
	} else if err != nil {
		return false, err
	}
	l.stats.simple.Add(1)
	l.stats.outcomes[it.answer.Outcome].Add(1)
	r.answers[0] = it.answer
	return true, nil
}

// attemptSimple does one post in a transaction of its own: the balances are set first, each by an UPDATE on condition that
// bounds hold; what they were before is worked out from what it left.
func (n *lane) attemptSimple(ctx context.Context, b *batch) error {
	x, err := begin(ctx, n.l.cfg.DB)
	if err != nil {
		return err
	}
	defer x.end()
	if err := n.l.at("core.before_simple"); err != nil {
		return err
	}
	fresh, err := n.claim(ctx, x, b, false)
	if err != nil {
		return err
	}
	if len(fresh) == 0 {
		return nil
	}
	f := newFound(core.Batch{Now: b.now, Horizon: n.l.cfg.Horizon})
	f.fresh = fresh
	if err := n.l.lockSimple(ctx, x, f); err != nil {
		return err
	}
	f.apply(b)
	if fresh[0].answer.Outcome != core.Applied {
		return errNotSimple // a refusal is the lane's
	}
	if err := n.write(ctx, x, b, f, true); err != nil {
		return err
	}
	if err := n.l.at("core.before_commit"); err != nil {
		return err
	}
	if err := x.commit(ctx); err != nil {
		return err
	}
	return n.l.at("core.after_simple")
}

// lockSimple locks day and modes, updates the accounts, and makes the batch's accounts what they were before.
func (l *Ledger) lockSimple(ctx context.Context, x *tx, f *found) error {
	if err := l.lockDay(ctx, x, f); err != nil {
		return err
	}
	t := f.fresh[0].t
	needs := f.Needs([]*core.Transfer{t})
	if len(needs.Uses) > 0 || f.modes == 0 {
		return errNotSimple
	}
	if err := l.lockModes(ctx, x, f, needs); err != nil {
		return err
	}
	for _, id := range needs.Accounts {
		if m := f.moded.of[id]; m.mode != core.Simple || m.state != core.Open {
			return errNotSimple
		}
	}
	if err := updateSimple(ctx, x, t); err != nil {
		return err
	}
	if err := lockAccounts(ctx, x, f, needs.Accounts); err != nil {
		return err
	}
	for _, id := range needs.Accounts {
		a := f.Accounts[id]
		if a == nil || a.Mode != core.Simple {
			return errNotSimple
		}
		d := change(t, id)
		a.Balance, a.Debits, a.Credits, a.Entries = a.Balance-d.credit+d.debit, a.Debits-d.debit, a.Credits-d.credit, a.Entries-d.entries
	}
	return nil
}

// delta is what a transfer changes of one account.
type delta struct{ debit, credit, entries int64 }

func change(t *core.Transfer, id int64) (d delta) {
	for i := range t.Legs {
		if l := &t.Legs[i]; l.Account == id {
			d.debit, d.credit, d.entries = d.debit+max(0, -l.Amount), d.credit+max(0, l.Amount), d.entries+1
		}
	}
	return d
}

// simpleRoom keeps a conditional update away from the edges of 64 bits; the lane looks at them exactly.
const simpleRoom = 1 << 61

// updateSimple updates the accounts, ascending by id, as far as their units, strategies and bounds let it.
func updateSimple(ctx context.Context, x *tx, t *core.Transfer) error {
	units := map[int64]string{}
	for i := range t.Legs {
		l := &t.Legs[i]
		if max(l.Amount, -l.Amount) > simpleRoom/core.MaxLegs {
			return errNotSimple
		}
		units[l.Account] = l.Unit
	}
	for _, id := range slices.Sorted(maps.Keys(units)) {
		d := change(t, id)
		net := d.credit - d.debit
		x.text.start(fmt.Sprintf("UPDATE account SET balance=balance+%d, debits=debits+%d, credits=credits+%d, entries=entries+%d WHERE id=%d AND state='open' AND strategy='' AND parent=0 AND unit=(",
			net, d.debit, d.credit, d.entries, id))
		x.text.str(units[id])
		x.text.raw(fmt.Sprintf(") AND balance BETWEEN %d AND %d AND debits<%d AND credits<%d AND pending_debits<%d AND pending_credits<%d",
			-simpleRoom, simpleRoom, simpleRoom, simpleRoom, simpleRoom, simpleRoom))
		if net < 0 {
			x.text.raw(fmt.Sprintf(" AND (min_balance IS NULL OR balance-pending_debits+%d>=min_balance)", net))
		} else {
			x.text.raw(fmt.Sprintf(" AND (max_balance IS NULL OR balance+pending_credits+%d<=max_balance)", net))
		}
		n, err := x.run(ctx, "update account")
		if err != nil {
			return err
		}
		if n != 1 {
			return errNotSimple
		}
	}
	return nil
}
