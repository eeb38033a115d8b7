package core

// OriginalOf makes what a Reverse needs of a transfer's remembered answer, with nothing reversed yet; nil where that is not
// a booked Post or Confirm.
func OriginalOf(id string, a Answer) *Original {
	if a.Outcome != Applied && a.Outcome != Replayed || a.Action != Post && a.Action != Confirm {
		return nil
	}
	return &Original{ID: id, Balances: a.Balances, Reversed: make([]int64, len(a.Balances))}
}

// left is how much of a leg is not reversed, signed as the reversal's leg.
func (o *Original) left(i int) int64 {
	if amount := o.Balances[i].Amount; amount < 0 {
		return -amount - o.Reversed[i]
	} else {
		return -(amount - o.Reversed[i])
	}
}

// reverse books the opposite of what is left of an original, or of a part of it.
func (b *Batch) reverse(s *step, a *Answer) *Answer {
	o := b.Originals[s.t.Of]
	if o == nil {
		return refuse(NotFound, "of", "there is no post or confirm %s that was booked", s.t.Of)
	}
	no := b.reverseLegs(s, o)
	if no == nil {
		no = b.resolve(s)
	}
	if no == nil {
		no = b.Rules.refuseSwitch(s)
	}
	if no == nil {
		no = b.reverseParts(s, o)
	}
	if no == nil {
		a.Balances, no = b.book(s)
	}
	if no == nil {
		no = b.checkBounds(s)
	}
	if no != nil {
		return no
	}
	b.log.original(o)
	reversed := make([]int64, len(o.Reversed))
	for i := range reversed {
		amount := s.legs[i].Amount
		reversed[i] = o.Reversed[i] + max(amount, -amount)
	}
	o.Reversed = reversed
	return nil
}

// reverseLegs makes the legs, or checks those that the transfer has.
func (b *Batch) reverseLegs(s *step, o *Original) *Answer {
	if len(s.t.Legs) == 0 {
		s.legs = make([]Leg, len(o.Balances))
		nothing := true
		for i := range s.legs {
			s.legs[i] = Leg{Account: o.Balances[i].Account, Amount: o.left(i)}
			if a := b.Accounts[s.legs[i].Account]; a != nil {
				s.legs[i].Unit = a.Unit
			}
			nothing = nothing && s.legs[i].Amount == 0
		}
		if nothing {
			return refuse(Exceeds, "of", "nothing is left of %s", o.ID)
		}
		return nil
	}
	if len(s.t.Legs) != len(o.Balances) {
		return refuse(BadTransfer, "legs", "%d legs; %s has %d", len(s.t.Legs), o.ID, len(o.Balances))
	}
	for i := range s.t.Legs {
		l, was, left := &s.t.Legs[i], &o.Balances[i], o.left(i)
		switch {
		case l.Account != was.Account:
			return refuse(BadTransfer, legField(i, "account"), "leg %d of %s is account %d", i, o.ID, was.Account)
		case l.Amount != 0 && (l.Amount > 0) == (was.Amount > 0):
			return refuse(BadTransfer, legField(i, "amount"), "leg %d is on the same side as in %s", i, o.ID)
		case max(l.Amount, -l.Amount) > max(left, -left):
			return refuse(Exceeds, legField(i, "amount"), "leg %d is more than the %d that are left of %s", i, left, o.ID)
		}
	}
	return nil
}

// reverseParts divides a reversal. A credit that is reversed gives back what it brought, in the order of its parts; where
// its account is not split, what its payers had spent for it. The payers get that: each what it spent, as far as there is
// some of it, then what else there is. So nothing changes its nature, and a whole reversal restores every fund.
func (b *Batch) reverseParts(s *step, o *Original) *Answer {
	split := false
	for i := range s.legs {
		split = split || s.accounts[i].Strategy != ""
	}
	if !split {
		return nil
	}
	s.parts = make([][]Part, len(s.legs))
	var pool []payment
	for i := range s.legs {
		if s.legs[i].Amount >= 0 {
			continue
		}
		parts, no := b.takeBack(s, o, i)
		if no != nil {
			return no
		}
		for _, p := range parts {
			pool = append(pool, payment{s.legs[i].Unit, p.Nature, max(p.Amount, -p.Amount)})
		}
	}
	b.bringBack(s, o, pool)
	return nil
}

// takeBack is what the reversed credit of leg i gives.
func (b *Batch) takeBack(s *step, o *Original, i int) ([]Part, *Answer) {
	a, amount := s.accounts[i], -s.legs[i].Amount
	if a.Strategy == "" {
		return segment(o.line(s, i)), nil
	}
	if len(o.Balances[i].Parts) == 0 {
		no := b.spend(s, i)
		return s.parts[i], no
	}
	if no := b.unmerged(a); no != nil {
		return nil, no
	}
	for _, p := range segment(o.Balances[i].Parts, o.Reversed[i], amount) {
		key := FundKey{a.ID, p.Nature}
		if f := b.Funds[key]; f == nil || f.Balance-f.Pending < p.Amount {
			return nil, s.lacksFunds(i)
		}
		b.fund(key).Balance -= p.Amount
		s.parts[i] = append(s.parts[i], Part{p.Nature, -p.Amount})
	}
	return s.parts[i], nil
}

// line is what the payers of leg i's unit spent, in the order of the legs, and where leg i's rest begins in it.
func (o *Original) line(s *step, i int) (parts []Part, from, amount int64) {
	unit := s.legs[i].Unit
	for k := range o.Balances {
		was := &o.Balances[k]
		switch {
		case s.legs[k].Unit != unit:
		case was.Amount > 0 && k < i:
			from += was.Amount
		case was.Amount < 0 && len(was.Parts) == 0:
			parts = append(parts, Part{"", was.Amount})
		case was.Amount < 0:
			parts = append(parts, was.Parts...)
		}
	}
	return parts, from + o.Reversed[i], -s.legs[i].Amount
}

// bringBack gives the pool to the payers.
func (b *Batch) bringBack(s *step, o *Original, pool []payment) {
	lacking := make([]int64, len(s.legs))
	for i := range s.legs {
		if lacking[i] = max(0, s.legs[i].Amount); lacking[i] == 0 {
			continue
		}
		wish := []Part{{"", lacking[i]}}
		if s.accounts[i].Strategy != "" {
			wish = segment(o.Balances[i].Parts, o.Reversed[i], lacking[i])
		}
		for _, p := range wish {
			lacking[i] -= s.takeOf(i, pool, p.Nature, max(p.Amount, -p.Amount))
		}
	}
	for i := range s.legs {
		if lacking[i] > 0 {
			for _, p := range take(pool, s.legs[i].Unit, lacking[i]) {
				s.bring(i, p)
			}
		}
		a := s.accounts[i]
		if a.Strategy == "" || s.legs[i].Amount <= 0 {
			continue
		}
		for k := range s.parts[i] {
			if s.parts[i][k].Nature == "" {
				s.parts[i][k].Nature = b.fallback(a, o.Balances[i].Parts)
			}
		}
		s.parts[i] = sortParts(s.parts[i])
		b.fill(a, s.parts[i])
	}
}

// takeOf takes up to amount of one nature for leg i, and says how much it got.
func (s *step) takeOf(i int, pool []payment, nature string, amount int64) (got int64) {
	for k := range pool {
		p := &pool[k]
		if p.unit != s.legs[i].Unit || p.nature != nature {
			continue
		}
		x := min(amount-got, p.amount)
		p.amount -= x
		got += x
	}
	if got > 0 {
		s.bring(i, Part{nature, got})
	}
	return got
}

// bring adds a part to what leg i gets; an account that is not split has none.
func (s *step) bring(i int, p Part) {
	if s.accounts[i].Strategy != "" {
		s.parts[i] = append(s.parts[i], p)
	}
}

// fallback is the nature of money that comes back to a payer from the share of another one, whose balance is not split.
func (b *Batch) fallback(a *Account, spent []Part) string {
	if st := b.Rules.strategy(a.Strategy); st != nil {
		return st.fallback
	}
	if len(spent) > 0 {
		return spent[0].Nature
	}
	return "none"
}
