package core

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math"

	"strata/money"
)

// Spread is what a Batch has of an account in SubAccounts: its places, which are the account's own row and its inner
// accounts. The own row is posted to by Try, Confirm and Cancel, so that what is reserved stands where it is reserved; every
// other leg goes to one place that can pay.
type Spread struct {
	// Places are those that are locked, by id: inner accounts, whose ids are below 0, before the own row.
	Places []*Account
	All    bool // there are no others
}

// Move is a transfer between the places of one account, made so that one of them can pay.
type Move struct {
	Transfer Transfer // each leg names the account as the outside knows it
	Answer   Answer
}

// MoveKind is the kind of transfers between the places of one account, MovePrefix begins their ids; nobody else may use them.
const (
	MoveKind   = "inner_rebalance"
	MovePrefix = "inner:"
)

// moveOf makes a transfer between places of an account: one entry per leg, in their order.
func moveOf(id string, account *Account, entries []Entry) Move {
	m := Move{Transfer: Transfer{ID: id, Kind: MoveKind}, Answer: Answer{Outcome: Applied}}
	for i := range entries {
		m.Transfer.Legs = append(m.Transfer.Legs, Leg{Account: account.ID, Unit: account.Unit, Amount: entries[i].Amount})
		m.Answer.Balances = append(m.Answer.Balances, Balance{Account: account.ID, Amount: entries[i].Amount})
	}
	return m
}

// SpreadNeeds says what the transfers ask of an account's places: whether of its own row, whether of another one, and how
// much that is debited at most.
func (b *Batch) SpreadNeeds(transfers []*Transfer, account int64) (own, other bool, debit int64) {
	for _, t := range transfers {
		switch t.Action {
		case Try:
			own = own || names(t.Legs, account)
		case Confirm, Cancel:
			r := b.Reservations[t.Of]
			own = own || r != nil && names(r.Transfer.Legs, account)
		case Post:
			for i := range t.Legs {
				l := &t.Legs[i]
				if other = other || l.Account == account; l.Account == account && l.Amount < 0 && l.Amount > math.MinInt64 {
					debit += min(-l.Amount, math.MaxInt64-debit)
				}
			}
		case Reverse:
			o := b.Originals[t.Of]
			for i := 0; o != nil && i < len(o.Balances); i++ {
				was := &o.Balances[i]
				if other = other || was.Account == account; was.Account == account && was.Amount > 0 {
					debit += min(was.Amount, math.MaxInt64-debit)
				}
			}
		}
	}
	return own, other, debit
}

func names(legs []Leg, account int64) bool {
	for i := range legs {
		if legs[i].Account == account {
			return true
		}
	}
	return false
}

// need is how far the step's legs on an account go below what it has, in their order.
func (s *step) need(account int64) (most int64) {
	sum := int64(0)
	for i := range s.legs {
		l := &s.legs[i]
		if l.Account != account || s.t.Action == Try && l.Amount > 0 {
			continue
		}
		sum += l.Amount // valid legs sum within 64 bits
		most = max(most, -sum)
	}
	if s.t.Action == Confirm || s.t.Action == Cancel {
		return 0 // it was reserved
	}
	return most
}

// place finds the place for leg i of a step. All legs of one transfer on one account go to one place.
func (b *Batch) place(s *step, i int, a *Account) (*Account, *Answer) {
	for k := range s.accounts {
		if s.legs[k].Account == a.ID {
			return s.accounts[k], nil
		}
	}
	sp, need := b.Spreads[a.ID], s.need(a.ID)
	if sp == nil {
		return nil, b.want(a)
	}
	at := sp.choose(a, s.t.Action, need)
	switch {
	case at == nil:
		return nil, b.want(a)
	case need == 0 || a.MinBalance == nil:
		return at, nil
	case !sp.All && (*a.MinBalance > 0 || at.Available() < need):
		return nil, b.want(a)
	}
	if lack := money.SumOf(money.Amount(need)); at.Available() < need {
		lack.Add(money.Amount(-max(at.Available(), -math.MaxInt64)))
		amount, fits := lack.Amount()
		if !fits {
			amount = math.MaxInt64
		}
		return at, b.gather(s, i, a, sp, at, int64(amount))
	}
	return at, nil
}

// choose takes the own row where the action says so, else the richest place to pay, or the poorest to be paid.
func (sp *Spread) choose(a *Account, action Action, need int64) (best *Account) {
	own := action == Try || action == Confirm || action == Cancel
	for _, p := range sp.Places {
		switch {
		case own && p.ID != a.ID, !own && need == 0 && p.ID == a.ID && best != nil:
		case best == nil, need > 0 && p.Available() > best.Available(), need == 0 && p.Balance < best.Balance:
			best = p
		}
	}
	return best
}

// gather moves what a place lacks to it from the other ones, as far as they have something.
func (b *Batch) gather(s *step, i int, a *Account, sp *Spread, at *Account, lack int64) *Answer {
	places, amounts, sum := make([]*Account, 0, len(sp.Places)), make([]int64, 0, len(sp.Places)), int64(0)
	for _, p := range sp.Places {
		if x := min(p.Available(), lack-sum); p != at && x > 0 {
			places, amounts = append(places, p), append(amounts, -x)
			sum += x
		}
	}
	if !b.shift(b.moveID(s.t.ID, a.ID), a, append(places, at), append(amounts, sum)) {
		return refuse(Overflow, s.field(i, "amount"), "the sums of account %d would exceed 64 bits", a.ID)
	}
	return nil
}

// shift books a transfer between places; false: something does not fit.
func (b *Batch) shift(id string, a *Account, places []*Account, amounts []int64) bool {
	from := len(b.Changes.Entries)
	for i, p := range places {
		e := Entry{Account: p.ID, Transfer: id, Leg: len(b.Changes.Entries) - from, Unit: a.Unit, Amount: amounts[i]}
		if e.Amount != 0 && !b.enter(p, &e) {
			return false
		}
	}
	if from < len(b.Changes.Entries) {
		b.Changes.Moves = append(b.Changes.Moves, moveOf(id, a, b.Changes.Entries[from:]))
	}
	return true
}

// Shift books a transfer between places of an account, when its mode changes; places get amounts, which sum to zero. False:
// something does not fit 64 bits; the Batch is of no use then.
func (b *Batch) Shift(id string, account *Account, places []*Account, amounts []int64) bool {
	b.log.start(&b.Changes)
	if !b.shift(id, account, places, amounts) {
		return false
	}
	b.keep()
	return true
}

// moveID is an id that nobody else has chosen, but on purpose: then the next attempt's is another.
func (b *Batch) moveID(transfer string, account int64) string {
	h := sha256.Sum256(fmt.Appendf(nil, "%s %d %d", transfer, account, b.Attempt))
	return MovePrefix + hex.EncodeToString(h[:20])
}

// checkSpread is checkBounds for an account in SubAccounts: its minimum is for all places together. Where not all are
// locked, one that pays keeps at least 0, and the negative ones sum to the minimum at least: so all of them do. gather
// keeps it so: it takes from a positive place before another one becomes negative.
func (b *Batch) checkSpread(s *step, i int, a *Account) *Answer {
	sp := b.Spreads[a.ID]
	if a.MinBalance == nil || sp == nil {
		return nil
	}
	var is, was money.Sum
	for _, p := range sp.Places {
		now, before := p.Available(), p.Available()
		if m := b.log.first(s.from, p); m != nil {
			before = m.balance - m.pendingDebits
		}
		if !sp.All && now < before && (now < 0 || *a.MinBalance > 0) {
			return b.want(a)
		}
		is.Add(money.Amount(now))
		was.Add(money.Amount(before))
	}
	if sp.All && is.Cmp(money.SumOf(money.Amount(*a.MinBalance))) < 0 && is.Cmp(was) < 0 {
		for k := range s.legs {
			if s.legs[k].Account == a.ID && s.legs[k].Amount < 0 {
				i = k
				break
			}
		}
		return refuse(BelowMinimum, s.field(i, "amount"), "account %d would fall below its minimum", a.ID)
	}
	return nil
}

// first is the account's first mark since from; nil: it was not changed.
func (l *undo) first(from int, a *Account) *accountMark {
	for k := from; k < len(l.accounts); k++ {
		if l.accounts[k].a == a {
			return &l.accounts[k]
		}
	}
	return nil
}
