package memory

import (
	"slices"

	"strata/core"
)

func (d *draft) strategy(name string) *core.Strategy {
	for i := range d.rules.Strategies {
		if d.rules.Strategies[i].Name == name {
			return &d.rules.Strategies[i]
		}
	}
	return nil
}

// coins is money in a row: what was paid first stands first. Nature "" is money of accounts that are not split.
type coins []core.Part

// cut takes an amount off the front.
func (c *coins) cut(amount int64) coins {
	var out coins
	for amount > 0 && len(*c) > 0 {
		first := &(*c)[0]
		x := min(amount, first.Amount)
		if amount -= x; x > 0 {
			out = out.with(core.Part{Nature: first.Nature, Amount: x})
		}
		if first.Amount -= x; first.Amount == 0 {
			*c = (*c)[1:]
		}
	}
	return out
}

func (c coins) with(p core.Part) coins {
	if n := len(c); n > 0 && c[n-1].Nature == p.Nature {
		c[n-1].Amount += p.Amount
		return c
	}
	return append(c, p)
}

// row is parts of either sign as coins.
func row(parts []core.Part) coins {
	var out coins
	for _, p := range parts {
		out = append(out, core.Part{Nature: p.Nature, Amount: abs(p.Amount)})
	}
	return out
}

// between is what lies from the place from on.
func (c coins) between(from, amount int64) coins {
	rest := slices.Clone(c)
	rest.cut(from)
	return rest.cut(amount)
}

// allocate gives the legs of a Post or Try their parts.
func (d *draft) allocate(t *core.Transfer, legs []*leg) *core.Answer {
	spent := map[core.FundKey]int64{}
	paid := map[string]coins{}
	for _, g := range legs {
		if g.Amount >= 0 {
			continue
		}
		if g.split() {
			if a := d.pay(t, legs, g, spent); a != nil {
				return a
			}
		} else {
			paid[g.Unit] = append(paid[g.Unit], core.Part{Amount: -g.Amount})
		}
		paid[g.Unit] = append(paid[g.Unit], g.parts...)
	}
	for _, g := range legs {
		if g.Amount <= 0 {
			continue
		}
		line := paid[g.Unit]
		got := line.cut(g.Amount)
		paid[g.Unit] = line
		if a := d.credit(g, got); a != nil {
			return a
		}
	}
	return nil
}

// pay chooses what a debit spends; spent is what earlier legs of the transfer did.
func (d *draft) pay(t *core.Transfer, legs []*leg, g *leg, spent map[core.FundKey]int64) *core.Answer {
	s := d.strategy(g.account.Strategy)
	if s == nil {
		return no(core.UnknownNature, g.field("account"), "there is no strategy %s", g.account.Strategy)
	}
	left := -g.Amount
	for _, n := range s.Natures {
		key := core.FundKey{Account: g.Account, Nature: n.Name}
		f := d.fund(g.Account, n.Name)
		free := f.Balance - f.Pending - spent[key]
		may := !n.RefundOnly && (len(n.Kinds) == 0 || slices.Contains(n.Kinds, t.Kind)) && (len(n.Products) == 0 || slices.Contains(n.Products, t.Product))
		if x := min(left, free); may && x > 0 {
			g.parts = append(g.parts, core.Part{Nature: n.Name, Amount: x})
			spent[key] += x
			left -= x
		}
	}
	if left > 0 {
		return d.poor(t, legs, g)
	}
	return nil
}

func (d *draft) poor(t *core.Transfer, legs []*leg, g *leg) *core.Answer {
	all := sum()
	for _, o := range legs {
		if o.account == g.account && o.Amount < 0 {
			all.Sub(all, sum(o.Amount))
		}
	}
	if all.Cmp(sum(g.account.Balance, -g.account.PendingDebits)) > 0 {
		return no(core.BelowMinimum, g.field("amount"), "account %d has less than that", g.Account)
	}
	return no(core.NatureRefused, g.field("amount"), "account %d has too little that may be spent for %s", g.Account, t.Kind)
}

// credit names what a credit brings.
func (d *draft) credit(g *leg, got coins) *core.Answer {
	if !g.split() {
		if g.Nature != "" {
			return no(core.UnknownNature, g.field("nature"), "the balance of account %d is not split by nature", g.Account)
		}
		return nil
	}
	s := d.strategy(g.account.Strategy)
	if s == nil {
		return no(core.UnknownNature, g.field("account"), "there is no strategy %s", g.account.Strategy)
	}
	for _, p := range got {
		if p.Nature == "" && g.Nature != "" {
			p.Nature = g.Nature
		} else if p.Nature == "" {
			p.Nature = s.Default
		}
		if !slices.ContainsFunc(s.Natures, func(n core.NatureRule) bool { return n.Name == p.Nature }) {
			return no(core.UnknownNature, g.field("nature"), "the strategy of account %d has no nature %s", g.Account, p.Nature)
		}
		g.parts = coins(g.parts).with(p)
	}
	return nil
}

// confirmed gives the legs of a Confirm their parts.
func (d *draft) confirmed(r *core.Reservation, legs []*leg) {
	if r.Parts == nil {
		return
	}
	whole := true
	paid := map[string]coins{}
	for i, g := range legs {
		whole = whole && g.Amount == r.Transfer.Legs[i].Amount
		if g.Amount >= 0 {
			continue
		}
		if g.split() {
			g.parts = row(r.Parts[i]).between(0, -g.Amount)
			paid[g.Unit] = append(paid[g.Unit], g.parts...)
		} else {
			paid[g.Unit] = append(paid[g.Unit], core.Part{Amount: -g.Amount})
		}
	}
	for i, g := range legs {
		if g.Amount <= 0 || !g.split() && !whole {
			line := paid[g.Unit]
			line.cut(max(0, g.Amount))
			paid[g.Unit] = line
			continue
		}
		if whole {
			g.parts = row(r.Parts[i])
			continue
		}
		line := paid[g.Unit]
		for _, p := range line.cut(g.Amount) {
			if p.Nature == "" {
				p.Nature = d.first(r.Transfer.Legs[i].Nature, g.account, r.Parts[i])
			}
			g.parts = coins(g.parts).with(p)
		}
		paid[g.Unit] = line
	}
}

// first is the named nature, else the strategy's default, else the first of those that were there.
func (d *draft) first(named string, a *core.Account, had []core.Part) string {
	if s := d.strategy(a.Strategy); named == "" && s != nil {
		named = s.Default
	}
	if named == "" {
		named = had[0].Nature
	}
	return named
}
