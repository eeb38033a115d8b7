package core

// undo is what a chain changed so far: old values in the order of the changes. It is kept between chains for its room.
type undo struct {
	accounts          []accountMark
	funds             []fundMark
	uses              []useMark
	reservations      []reservationMark
	originals         []originalMark
	entries, buffered int
	moves             int
}

type accountMark struct {
	a                             *Account
	balance, debits, credits      int64
	pendingDebits, pendingCredits int64
	entries, buffered             int64
	row                           bool // more than Buffered changes
}

type fundMark struct {
	f                *Fund
	balance, pending int64
	fresh            bool
}

type useMark struct {
	u             *Use
	amount, count int64
	fresh         bool
}

type reservationMark struct {
	r     *Reservation
	old   Reservation
	fresh bool
}

type originalMark struct {
	o        *Original
	reversed []int64
	fresh    bool // it was booked by this chain
}

func (l *undo) start(c *Changes) {
	l.accounts, l.funds, l.uses = l.accounts[:0], l.funds[:0], l.uses[:0]
	l.reservations, l.originals = l.reservations[:0], l.originals[:0]
	l.entries, l.buffered, l.moves = len(c.Entries), len(c.Buffered), len(c.Moves)
}

func (l *undo) account(a *Account, row bool) {
	l.accounts = append(l.accounts, accountMark{a, a.Balance, a.Debits, a.Credits, a.PendingDebits, a.PendingCredits, a.Entries, a.Buffered, row})
}

func (l *undo) fund(f *Fund) {
	l.funds = append(l.funds, fundMark{f: f, balance: f.Balance, pending: f.Pending})
}

func (l *undo) use(u *Use) {
	l.uses = append(l.uses, useMark{u: u, amount: u.Amount, count: u.Count})
}

func (l *undo) reservation(r *Reservation) {
	l.reservations = append(l.reservations, reservationMark{r: r, old: *r})
}

func (l *undo) original(o *Original) {
	l.originals = append(l.originals, originalMark{o: o, reversed: o.Reversed})
}

// back makes the Batch what it was at start.
func (b *Batch) back() {
	l := &b.log
	for i := len(l.accounts) - 1; i >= 0; i-- {
		m := &l.accounts[i]
		a := m.a
		a.Balance, a.Debits, a.Credits, a.Entries, a.Buffered = m.balance, m.debits, m.credits, m.entries, m.buffered
		a.PendingDebits, a.PendingCredits = m.pendingDebits, m.pendingCredits
	}
	for i := len(l.funds) - 1; i >= 0; i-- {
		m := &l.funds[i]
		if m.f.Balance, m.f.Pending = m.balance, m.pending; m.fresh {
			delete(b.Funds, FundKey{m.f.Account, m.f.Nature})
		}
	}
	for i := len(l.uses) - 1; i >= 0; i-- {
		m := &l.uses[i]
		if m.u.Amount, m.u.Count = m.amount, m.count; m.fresh {
			delete(b.Uses, m.u.key())
		}
	}
	for i := len(l.reservations) - 1; i >= 0; i-- {
		m := &l.reservations[i]
		if m.fresh {
			delete(b.Reservations, m.r.ID)
		} else {
			*m.r = m.old
		}
	}
	for i := len(l.originals) - 1; i >= 0; i-- {
		m := &l.originals[i]
		if m.fresh {
			delete(b.Originals, m.o.ID)
		} else {
			m.o.Reversed = m.reversed
		}
	}
	b.Changes.Entries, b.Changes.Buffered = b.Changes.Entries[:l.entries], b.Changes.Buffered[:l.buffered]
	b.Changes.Moves = b.Changes.Moves[:l.moves]
}

// keep notes what the chain changed.
func (b *Batch) keep() {
	l, c := &b.log, &b.Changes
	for i := range l.accounts {
		if m := &l.accounts[i]; m.row {
			mark(&c.Accounts, m.a.ID)
		}
	}
	for i := range l.funds {
		mark(&c.Funds, FundKey{l.funds[i].f.Account, l.funds[i].f.Nature})
	}
	for i := range l.uses {
		mark(&c.Uses, l.uses[i].u.key())
	}
	for i := range l.reservations {
		mark(&c.Reservations, l.reservations[i].r.ID)
	}
	for i := range l.originals {
		if !l.originals[i].fresh {
			mark(&c.Reversed, l.originals[i].o.ID)
		}
	}
}

func mark[K comparable](m *map[K]bool, key K) { put(m, key, true) }

func put[K comparable, V any](m *map[K]V, key K, value V) {
	if *m == nil {
		*m = map[K]V{}
	}
	(*m)[key] = value
}
