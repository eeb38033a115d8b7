package core

// fund is the fund that is about to change, made where it is not there.
func (b *Batch) fund(key FundKey) *Fund {
	f := b.Funds[key]
	if f != nil {
		b.log.fund(f)
		return f
	}
	f = &Fund{Account: key.Account, Nature: key.Nature}
	b.log.funds = append(b.log.funds, fundMark{f: f, fresh: true})
	put(&b.Funds, key, f)
	return f
}

// split divides the legs of a Post or Try by nature: debits first, as the strategies say, then credits, which inherit what
// the debits of their unit spent, in the order of the legs.
func (b *Batch) split(s *step) *Answer {
	split := false
	for i := 0; i < len(s.legs) && !split; i++ {
		split = s.accounts[i].Strategy != "" || s.legs[i].Nature != ""
	}
	if !split {
		return nil
	}
	s.parts = make([][]Part, len(s.legs))
	for i := range s.legs {
		if s.legs[i].Amount < 0 && s.accounts[i].Strategy != "" {
			if no := b.spend(s, i); no != nil {
				return no
			}
		}
	}
	paid := s.paid()
	for i := range s.legs {
		if s.legs[i].Amount > 0 {
			if no := b.receive(s, i, paid); no != nil {
				return no
			}
		}
	}
	return nil
}

// spend allocates a debit over the natures that may pay for it.
func (b *Batch) spend(s *step, i int) *Answer {
	a := s.accounts[i]
	st := b.Rules.strategy(a.Strategy)
	if st == nil {
		return refuse(UnknownNature, s.field(i, "account"), "account %d has the strategy %s, which the settings do not have", a.ID, a.Strategy)
	}
	if no := b.unmerged(a); no != nil {
		return no
	}
	left := -s.legs[i].Amount
	for k := range st.natures {
		n := &st.natures[k]
		key := FundKey{a.ID, n.name}
		f := b.Funds[key]
		if left == 0 || f == nil || !n.pays(s.t.Kind, s.t.Product) {
			continue
		}
		x := min(left, f.Balance-f.Pending)
		if x <= 0 {
			continue
		}
		if f = b.fund(key); s.t.Action == Try {
			f.Pending += x
		} else {
			f.Balance -= x
		}
		s.parts[i] = append(s.parts[i], Part{n.name, -x})
		left -= x
	}
	if left == 0 {
		return nil
	}
	return s.lacksFunds(i)
}

// unmerged asks for the buffer before anything is spent of a split balance: which nature it is depends on all of them.
func (b *Batch) unmerged(a *Account) *Answer {
	if a.Mode != Buffered || a.Buffered == 0 {
		return nil
	}
	return b.want(a)
}

// lacksFunds says whether an account has too little at all, or too little of what may be spent.
func (s *step) lacksFunds(i int) *Answer {
	a := s.accounts[i]
	if debits(s.legs, s.legs[i].Unit, a.ID) > a.Available() {
		return refuse(BelowMinimum, s.field(i, "amount"), "account %d has less than that", a.ID)
	}
	return refuse(NatureRefused, s.field(i, "amount"), "account %d has too little that may be spent for %s", a.ID, s.t.Kind)
}

// payment is what one debit spent of one nature; "" where the payer's balance is not split.
type payment struct {
	unit   string
	nature string
	amount int64
}

// paid lists what the debits spent, in the order of the legs.
func (s *step) paid() []payment {
	var out []payment
	for i := range s.legs {
		l := &s.legs[i]
		if l.Amount >= 0 {
			continue
		}
		if s.parts[i] == nil {
			out = append(out, payment{l.Unit, "", -l.Amount})
		}
		for _, p := range s.parts[i] {
			out = append(out, payment{l.Unit, p.Nature, -p.Amount})
		}
	}
	return out
}

// take takes an amount of a unit from the front.
func take(paid []payment, unit string, amount int64) []Part {
	var parts []Part
	for i := range paid {
		p := &paid[i]
		if amount == 0 {
			break
		}
		if p.unit != unit || p.amount == 0 {
			continue
		}
		x := min(amount, p.amount)
		p.amount -= x
		amount -= x
		parts = join(parts, Part{p.nature, x})
	}
	return parts
}

// join appends a part, to the last one where it is of its nature.
func join(parts []Part, p Part) []Part {
	if n := len(parts); n > 0 && parts[n-1].Nature == p.Nature {
		parts[n-1].Amount += p.Amount
		return parts
	}
	return append(parts, p)
}

// receive divides a credit: what it inherits, and the rest as the leg or the strategy says.
func (b *Batch) receive(s *step, i int, paid []payment) *Answer {
	l, a := &s.legs[i], s.accounts[i]
	inherited := take(paid, l.Unit, l.Amount)
	if a.Strategy == "" {
		if l.Nature != "" {
			return refuse(UnknownNature, s.field(i, "nature"), "the balance of account %d is not split by nature", a.ID)
		}
		return nil
	}
	st := b.Rules.strategy(a.Strategy)
	if st == nil {
		return refuse(UnknownNature, s.field(i, "account"), "account %d has the strategy %s, which the settings do not have", a.ID, a.Strategy)
	}
	for _, p := range inherited {
		if p.Nature == "" {
			if p.Nature = l.Nature; p.Nature == "" {
				p.Nature = st.fallback
			}
		}
		if !st.has(p.Nature) {
			return refuse(UnknownNature, s.field(i, "nature"), "the strategy of account %d has no nature %s", a.ID, p.Nature)
		}
		s.parts[i] = join(s.parts[i], p)
	}
	if s.t.Action == Post && !b.buffered(s, i) {
		b.fill(a, s.parts[i])
	}
	return nil
}

// fill books parts on their funds.
func (b *Batch) fill(a *Account, parts []Part) {
	for _, p := range parts {
		b.fund(FundKey{a.ID, p.Nature}).Balance += p.Amount
	}
}

// segment is what of parts lies in [from, from+amount), laid one after the other.
func segment(parts []Part, from, amount int64) []Part {
	var out []Part
	for _, p := range parts {
		size, sign := p.Amount, int64(1)
		if size < 0 {
			size, sign = -size, -1
		}
		if from >= size {
			from -= size
			continue
		}
		if x := min(size-from, amount); x > 0 {
			out = join(out, Part{p.Nature, sign * x})
			amount -= x
		}
		from = 0
	}
	return out
}
