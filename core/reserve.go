package core

import "time"

// lapsed reports whether the reservation's time is over.
func (r *Reservation) lapsed(now time.Time) bool {
	return r.State == Pending && !r.Transfer.Expires.IsZero() && !now.Before(r.Transfer.Expires)
}

// Shown is the state that the outside sees: a pending one whose time is over is Expired.
func (r *Reservation) Shown(now time.Time) ReservationState {
	if r.lapsed(now) {
		return Expired
	}
	return r.State
}

// try reserves the legs.
func (b *Batch) try(s *step, a *Answer) *Answer {
	switch r := b.Reservations[s.t.ID]; {
	case r != nil && r.State == Fenced:
		return refuse(Hung, "id", "it came after its cancel %s", r.EndedBy)
	case r != nil:
		return refuse(IDConflict, "id", "there is a reservation of this id")
	case !s.t.Expires.IsZero() && !b.Now.Before(Micros(s.t.Expires)):
		return refuse(Lapsed, "expires", "its time is over already")
	}
	no := b.resolve(s)
	if no == nil {
		no = b.Rules.refuseSwitch(s)
	}
	var counted []Counted
	if no == nil {
		counted, no = b.count(s, true)
	}
	if no == nil {
		no = b.split(s)
	}
	if no == nil {
		a.Balances, no = b.reserve(s)
	}
	if no == nil {
		no = b.checkBounds(s)
	}
	if no != nil {
		return no
	}
	r := &Reservation{ID: s.t.ID, Transfer: *s.t, Parts: s.parts, Counted: counted, Day: b.Day, At: b.Now}
	r.Transfer.OrderTime = Micros(s.t.OrderTime)
	if !s.t.Expires.IsZero() {
		r.Transfer.Expires = Micros(s.t.Expires)
	}
	b.log.reservations = append(b.log.reservations, reservationMark{r: r, fresh: true})
	put(&b.Reservations, r.ID, r)
	return nil
}

// reserve holds the legs' amounts back.
func (b *Batch) reserve(s *step) ([]Balance, *Answer) {
	balances := b.balances(len(s.legs))
	for i := range s.legs {
		l, a := &s.legs[i], s.accounts[i]
		b.log.account(a, true)
		side, amount := &a.PendingCredits, l.Amount
		if amount < 0 {
			side, amount = &a.PendingDebits, -amount
		}
		sum, ok := add(*side, amount)
		if *side = sum; !ok || !a.fits() || a.Mode == Buffered && l.Amount > 0 && !a.Bufferable() {
			return nil, refuse(Overflow, s.field(i, "amount"), "the sums of account %d would exceed 64 bits", a.ID)
		}
		left := b.told(Balance{Account: l.Account, Balance: a.Balance, Amount: l.Amount})
		if s.parts != nil {
			left.Parts = sortParts(s.parts[i])
		}
		balances = append(balances, left)
	}
	return balances, nil
}

// confirm books a reservation, whole or in part.
func (b *Batch) confirm(s *step, a *Answer) *Answer {
	r := b.Reservations[s.t.Of]
	switch {
	case r == nil:
		return refuse(NotFound, "of", "there is no reservation %s", s.t.Of)
	case r.lapsed(b.Now) || r.State == Expired:
		return refuse(Lapsed, "of", "the time of reservation %s is over", r.ID)
	case r.State != Pending:
		return refuse(AlreadyEnded, "of", "reservation %s was ended by %s", r.ID, r.EndedBy)
	}
	if s.legs = r.Transfer.Legs; len(s.t.Legs) > 0 {
		if no := s.matches(r.Transfer.Legs); no != nil {
			return no
		}
		s.legs = s.t.Legs
	}
	if no := b.resolve(s); no != nil {
		return no
	}
	b.release(r, s.accounts)
	if r.Parts != nil {
		b.confirmParts(s, r)
	}
	var no *Answer
	if a.Balances, no = b.book(s); no != nil {
		return no
	}
	b.giveBack(r, s.legs)
	b.end(r, Confirmed, s.t.ID)
	return nil
}

// matches compares the legs of a partial Confirm with the reserved ones.
func (s *step) matches(reserved []Leg) *Answer {
	if len(s.t.Legs) != len(reserved) {
		return refuse(BadTransfer, "legs", "%d legs; %d were reserved", len(s.t.Legs), len(reserved))
	}
	for i := range reserved {
		l, r := &s.t.Legs[i], &reserved[i]
		switch {
		case l.Account != r.Account:
			return refuse(BadTransfer, legField(i, "account"), "leg %d was reserved of account %d", i, r.Account)
		case l.Unit != r.Unit:
			return refuse(UnitMismatch, legField(i, "unit"), "leg %d was reserved in %s", i, r.Unit)
		case l.Amount != 0 && (l.Amount > 0) != (r.Amount > 0):
			return refuse(BadTransfer, legField(i, "amount"), "leg %d was reserved on the other side", i)
		case max(l.Amount, -l.Amount) > max(r.Amount, -r.Amount):
			return refuse(Exceeds, legField(i, "amount"), "leg %d is more than the %d that were reserved", i, r.Amount)
		}
	}
	return nil
}

// release gives back all that a reservation holds of accounts and funds; accounts: one per leg.
func (b *Batch) release(r *Reservation, accounts []*Account) {
	for i := range r.Transfer.Legs {
		l, a := &r.Transfer.Legs[i], accounts[i]
		b.log.account(a, true)
		if l.Amount > 0 {
			a.PendingCredits -= l.Amount
			continue
		}
		a.PendingDebits += l.Amount
		if r.Parts == nil {
			continue
		}
		for _, p := range r.Parts[i] {
			b.fund(FundKey{a.ID, p.Nature}).Pending += p.Amount
		}
	}
}

// confirmParts divides what is confirmed: of each debit, what would have been spent first; credits inherit it.
func (b *Batch) confirmParts(s *step, r *Reservation) {
	s.parts = make([][]Part, len(s.legs))
	whole := true
	for i := range s.legs {
		amount, reserved := s.legs[i].Amount, r.Transfer.Legs[i].Amount
		whole = whole && amount == reserved
		if amount < 0 {
			s.parts[i] = segment(r.Parts[i], 0, -amount)
		}
	}
	paid := s.paid()
	for i := range s.legs {
		l := &s.legs[i]
		if l.Amount <= 0 {
			continue
		}
		if whole {
			s.parts[i] = r.Parts[i]
			continue
		}
		inherited := take(paid, l.Unit, l.Amount)
		if r.Parts[i] == nil {
			continue
		}
		for _, p := range inherited {
			if p.Nature == "" {
				p.Nature = b.uninherited(r, i)
			}
			s.parts[i] = join(s.parts[i], p)
		}
	}
	for i := range s.legs {
		b.fill(s.accounts[i], s.parts[i])
	}
}

// uninherited is the nature that a reserved credit has where the payer has none: as when it was tried, whatever the
// settings say now.
func (b *Batch) uninherited(r *Reservation, i int) string {
	if n := r.Transfer.Legs[i].Nature; n != "" {
		return n
	}
	a := b.Accounts[r.Transfer.Legs[i].Account]
	if st := b.Rules.strategy(a.Strategy); st != nil {
		return st.fallback
	}
	return r.Parts[i][0].Nature
}

// cancel gives a reservation back, or leaves a fence.
func (b *Batch) cancel(s *step, a *Answer) *Answer {
	r := b.Reservations[s.t.Of]
	switch {
	case r == nil:
		r = &Reservation{ID: s.t.Of, State: Fenced, Transfer: Transfer{ID: s.t.Of}, Day: b.Day, At: b.Now, EndedBy: s.t.ID, EndedAt: b.Now}
		b.log.reservations = append(b.log.reservations, reservationMark{r: r, fresh: true})
		put(&b.Reservations, r.ID, r)
		a.nullCancelled()
	case r.State == Fenced:
		a.nullCancelled()
	case r.State == Confirmed:
		return refuse(AlreadyEnded, "of", "reservation %s was confirmed by %s", r.ID, r.EndedBy)
	case r.State == Pending:
		s.legs = r.Transfer.Legs
		if no := b.resolve(s); no != nil {
			return no
		}
		b.release(r, s.accounts)
		b.giveBack(r, nil)
		b.end(r, Cancelled, s.t.ID)
	}
	return nil
}

func (a *Answer) nullCancelled() {
	a.Code, a.Field, a.Message = NullCancelled, "of", "there was no reservation; a try of it will be refused"
}

func (b *Batch) end(r *Reservation, state ReservationState, by string) {
	b.log.reservation(r)
	r.State, r.EndedBy, r.EndedAt = state, by, b.Now
}

// ExpireNeeds says what has to be locked and read to expire those of the Batch's reservations that have lapsed.
func (b *Batch) ExpireNeeds() Needs {
	var n Needs
	for id, r := range b.Reservations {
		if !r.lapsed(b.Now) {
			continue
		}
		n.Reservations = append(n.Reservations, id)
		n.Uses = r.keys(n.Uses)
		for i := range r.Transfer.Legs {
			n.Accounts = append(n.Accounts, r.Transfer.Legs[i].Account)
		}
	}
	n.Reservations, n.Accounts, n.Uses = sorted(n.Reservations), sorted(n.Accounts), sortUses(n.Uses)
	return n
}

// Expire gives back those of the Batch's reservations that have lapsed, and says how many.
func (b *Batch) Expire() int {
	b.log.start(&b.Changes)
	n := 0
	for _, id := range b.ExpireNeeds().Reservations {
		r := b.Reservations[id]
		s := step{t: &Transfer{Action: Cancel}, legs: r.Transfer.Legs}
		if b.resolve(&s) != nil {
			continue // an account was not read
		}
		b.release(r, s.accounts)
		b.giveBack(r, nil)
		b.end(r, Expired, "")
		n++
	}
	b.keep()
	return n
}
