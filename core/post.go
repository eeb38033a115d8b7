package core

// step is one transfer while it is applied.
type step struct {
	t        *Transfer
	legs     []Leg      // what is booked or reserved; in the order of the transfer's own, where it has some
	accounts []*Account // one per leg
	parts    [][]Part   // one per leg, nil where the account has no Strategy; nil where none has one
	from     int        // where this transfer's accounts begin in the log
}

// field names a leg's field, or what the legs were taken from.
func (s *step) field(i int, name string) string {
	if len(s.t.Legs) == 0 {
		return "of"
	}
	return legField(i, name)
}

// legOf is the account's first leg on the side of sign.
func (s *step) legOf(a *Account, sign int64) int {
	for i := range s.legs {
		if s.legs[i].Account == a.ID && s.legs[i].Amount*sign > 0 {
			return i
		}
	}
	return 0
}

func (b *Batch) post(s *step, a *Answer) *Answer {
	no := b.resolve(s)
	if no == nil {
		no = b.Rules.refuseSwitch(s)
	}
	if no == nil {
		_, no = b.count(s, false)
	}
	if no == nil {
		no = b.split(s)
	}
	if no == nil {
		a.Balances, no = b.book(s)
	}
	if no == nil {
		no = b.checkBounds(s)
	}
	return no
}

// resolve finds the account of every leg: the only place where a leg becomes an account.
func (b *Batch) resolve(s *step) *Answer {
	for i := range s.legs {
		l := &s.legs[i]
		a := b.Accounts[l.Account]
		switch {
		case a == nil || a.Parent != 0:
			return refuse(UnknownAccount, s.field(i, "account"), "account %d does not exist", l.Account)
		case a.Unit != l.Unit:
			return refuse(UnitMismatch, s.field(i, "unit"), "account %d is in %s, not in %s", a.ID, a.Unit, l.Unit)
		case a.State == Closed && s.t.Action != Cancel:
			return refuse(AccountClosed, s.field(i, "account"), "account %d is closed", a.ID)
		case a.State == Frozen && s.t.Action != Cancel && s.t.Action != Confirm:
			return refuse(AccountFrozen, s.field(i, "account"), "account %d is frozen", a.ID)
		}
		if a.Mode == SubAccounts {
			var no *Answer
			if a, no = b.place(s, i, a); no != nil {
				return no
			}
		}
		s.accounts = append(s.accounts, a)
	}
	return nil
}

// refuseSwitch says that an operation is off.
func (r *Rules) refuseSwitch(s *step) *Answer {
	if r == nil || len(r.off) == 0 {
		return nil
	}
	for _, operation := range [...]string{s.t.Kind, "*"} {
		for _, o := range r.off[operation] {
			if o.Tenant != "" && o.Tenant != s.t.Tenant {
				continue
			}
			meant := o.Account == 0
			for i := 0; i < len(s.legs) && !meant; i++ {
				meant = s.legs[i].Account == o.Account
			}
			if meant {
				return refuse(SwitchedOff, "kind", "%s is switched off", s.t.Kind)
			}
		}
	}
	return nil
}

// book books the legs: one entry for each that is not zero, or a row of the buffer.
func (b *Batch) book(s *step) ([]Balance, *Answer) {
	balances := b.balances(len(s.legs))
	for i := range s.legs {
		l, a := &s.legs[i], s.accounts[i]
		if l.Amount == 0 {
			continue
		}
		e := Entry{Account: a.ID, Transfer: s.t.ID, Leg: len(balances), Unit: l.Unit, Amount: l.Amount}
		if s.parts != nil {
			e.Parts = sortParts(s.parts[i])
		}
		if b.buffered(s, i) {
			if l.Amount > bufferMost {
				return nil, b.want(a)
			}
			b.log.account(a, false)
			a.Buffered += l.Amount
			b.Changes.Buffered = append(b.Changes.Buffered, e)
			balances = append(balances, Balance{Account: a.ID, Amount: l.Amount, Parts: e.Parts})
			continue
		}
		if !b.enter(a, &e) || a.Mode == Buffered && l.Amount > 0 && s.t.Action != Confirm && !a.Bufferable() {
			return nil, refuse(Overflow, s.field(i, "amount"), "the sums of account %d would exceed 64 bits", a.ID)
		}
		balances = append(balances, b.told(Balance{Account: l.Account, Seq: e.Seq, Balance: e.After, Amount: l.Amount, Parts: e.Parts}))
	}
	return balances, nil
}

// What waits in the buffer has to fit when it is merged, though nobody looked at the account when it was taken: a larger
// credit is booked at once, and nothing that is looked at takes more than the first half of what fits.
const (
	bufferMost = 1 << 40
	bufferRoom = 1 << 62
)

// buffered reports whether a leg goes to the buffer: a Post's credit to a Buffered account that is not merged.
func (b *Batch) buffered(s *step, i int) bool {
	a := s.accounts[i]
	return a.Mode == Buffered && s.legs[i].Amount > 0 && s.t.Action == Post && !b.merged[a.ID]
}

// Bufferable reports whether the account has the room that Buffered needs.
func (a *Account) Bufferable() bool {
	high, ok := add(a.Balance, a.PendingCredits)
	credits, fits := add(a.Credits, a.PendingCredits)
	return ok && fits && high <= bufferRoom && credits <= bufferRoom
}

// enter books an entry's amount and numbers it; false: it does not fit.
func (b *Batch) enter(a *Account, e *Entry) bool {
	b.log.account(a, true)
	side, amount := &a.Credits, e.Amount
	if amount < 0 {
		side, amount = &a.Debits, -amount
	}
	after, ok := add(a.Balance, e.Amount)
	turnover, fits := add(*side, amount)
	if !ok || !fits {
		return false
	}
	e.Before, e.After, e.Seq = a.Balance, after, a.Entries+1
	a.Balance, a.Entries, *side = after, e.Seq, turnover
	b.Changes.Entries = append(b.Changes.Entries, *e)
	return a.fits()
}

// fits reports whether what is pending fits 64 bits whatever becomes of it: a Confirm is never refused for that.
func (a *Account) fits() bool {
	_, low := add(a.Balance, -a.PendingDebits)
	_, high := add(a.Balance, a.PendingCredits)
	_, debits := add(a.Debits, a.PendingDebits)
	_, credits := add(a.Credits, a.PendingCredits)
	return low && high && debits && credits
}

func add(a, b int64) (int64, bool) {
	sum := a + b
	return sum, (sum > a) == (b > 0)
}

// balances is room for n balances.
func (b *Batch) balances(n int) []Balance {
	if len(b.slab)+n > cap(b.slab) {
		b.slab = make([]Balance, 0, max(n, 256))
	}
	at := len(b.slab)
	b.slab = b.slab[:at+n]
	return b.slab[at : at : at+n]
}

// checkBounds looks at what the whole transfer left: an account may not go below its minimum or above its maximum, or
// further beyond it.
func (b *Batch) checkBounds(s *step) *Answer {
	if len(b.Spreads) > 0 {
		return b.checkLegs(s)
	}
	marks := b.log.accounts[s.from:]
	for i := range marks {
		a := marks[i].a
		if a.MinBalance == nil && a.MaxBalance == nil {
			continue
		}
		was := &marks[i]
		for k := range marks[:i] {
			if marks[k].a == a {
				was = &marks[k]
				break
			}
		}
		if no := b.checkBound(s, was); no != nil {
			return no
		}
	}
	return nil
}

// checkLegs is checkBounds where some account is spread.
func (b *Batch) checkLegs(s *step) *Answer {
	for i := range s.legs {
		var no *Answer
		if a := b.Accounts[s.legs[i].Account]; a.Mode == SubAccounts {
			no = b.checkSpread(s, i, a)
		} else if was := b.log.first(s.from, a); was != nil {
			no = b.checkBound(s, was)
		}
		if no != nil {
			return no
		}
	}
	return nil
}

// checkBound compares an account with what it was before the transfer.
func (b *Batch) checkBound(s *step, was *accountMark) *Answer {
	a := was.a
	if low := a.Available(); a.MinBalance != nil && low < *a.MinBalance && low < was.balance-was.pendingDebits {
		if a.Mode == Buffered && a.Buffered != 0 {
			return b.want(a)
		}
		return refuse(BelowMinimum, s.field(s.legOf(a, -1), "amount"), "account %d would fall below its minimum", a.ID)
	}
	if high := a.Balance + a.PendingCredits; a.MaxBalance != nil && high > *a.MaxBalance && high > was.balance+was.pendingCredits {
		return refuse(AboveMaximum, s.field(s.legOf(a, 1), "amount"), "account %d would rise above its maximum", a.ID)
	}
	return nil
}

// told is what an answer says of a leg: the balance of an account that is spread is nobody's before all places are looked at.
func (b *Batch) told(x Balance) Balance {
	if len(b.Spreads) > 0 && b.Spreads[x.Account] != nil {
		x.Seq, x.Balance = 0, 0
	}
	return x
}

// want asks for the account's buffer, or for all its places: nothing is known about the transfer before.
func (b *Batch) want(a *Account) *Answer {
	mark(&b.Changes.Wanted, a.ID)
	return &Answer{}
}

// Merge books all that waits in an account's buffer, in the order in which it came; whoever calls it deletes those rows in
// the same transaction. What the batch credits the account after it is booked at once. A refusal says that the rows do not
// fit the account: the Batch is of no use then.
func (b *Batch) Merge(account int64, rows []Entry) *Answer {
	a := b.Accounts[account]
	if a == nil {
		return refuse(UnknownAccount, "", "account %d does not exist", account)
	}
	put(&b.merged, account, true)
	b.log.start(&b.Changes)
	for _, e := range rows {
		if e.Account != account || !b.enter(a, &e) {
			return refuse(Overflow, "", "row %s of the buffer does not fit account %d", e.Transfer, account)
		}
		a.Buffered -= e.Amount
		b.fill(a, e.Parts)
	}
	b.keep()
	return nil
}
