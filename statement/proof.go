package statement

import (
	"context"

	"strata/catalog"
	"strata/fault"
	"strata/money"
)

// chain checks the ledger's own balances: within the entry, and from one seq to the next.
func (p *pass) chain(row *catalog.Row, e entryAt, amount money.Amount) error {
	if e.before < 0 || e.after < 0 {
		return nil
	}
	before, err := money.ParseMinor(row.Text(e.before))
	if err != nil {
		return fault.New(fault.Proof, "read balance", "%w", err)
	}
	after, err := money.ParseMinor(row.Text(e.after))
	if err != nil {
		return fault.New(fault.Proof, "read balance", "%w", err)
	}
	bad := func(why string) error {
		seq := ""
		if e.seq >= 0 {
			seq = row.Text(e.seq)
		}
		return fault.New(fault.Proof, "check entry "+seq+" of account", "%s: balance %s, amount %s, balance %s after the entry", why, before, amount, after).
			WithHint("`strata verify --part ledger` names every entry that doesn't join")
	}
	if sum, err := before.Add(amount); err != nil || sum != after {
		return bad("the entry doesn't add up")
	}
	if e.seq < 0 {
		return nil
	}
	seq, err := money.ParseMinor(row.Text(e.seq))
	if err != nil {
		return fault.New(fault.Proof, "read seq", "%w", err)
	}
	if seq > p.lastSeq+1 {
		return bad("entries are missing after seq " + p.lastSeq.String())
	}
	if seq == p.lastSeq+1 && before != p.lastBal {
		return bad("the entry doesn't join the one before it, which left " + p.lastBal.String())
	}
	p.lastSeq, p.lastBal = seq, after
	return nil
}

// changed is the error for sums that don't fit because somebody posts.
func (p *pass) changed(format string, args ...any) error {
	return fault.New(fault.Busy, "prove statement", format, args...).
		WithHint("entries were posted into the period while it was read: try again, or choose a closed period")
}

// prove compares opening + entries with closing, and makes sure that neither moved meanwhile.
func (p *pass) prove(ctx context.Context) error {
	for date, had := range map[string]balance{p.r.From: p.opening, p.r.To: p.closing} {
		now, err := p.w.balances(ctx, p.r, date)
		if err != nil {
			return err
		}
		if !equal(now, had) {
			return p.changed("the balance before %s changed", date)
		}
	}
	for _, u := range p.names() {
		count := p.opening[u].count
		count.AddSum(p.running[u].count)
		if p.running[u].sum != p.closing[u].sum || count != p.closing[u].count {
			return fault.New(fault.Proof, "prove statement", "%s: opening and entries make %s in %s entries, closing is %s in %s", u,
				p.running[u].sum, count, p.closing[u].sum, p.closing[u].count).
				WithHint("`strata verify --part ledger` and `strata verify --part archive` say where rows differ")
		}
		entries := p.closing[u].sum
		entries.AddSum(p.opening[u].sum.Neg())
		p.sum.Units = append(p.sum.Units, Total{Unit: u, Opening: p.opening[u].sum.String(), Entries: entries.String(), Closing: p.closing[u].sum.String()})
	}
	return nil
}

func equal(a, b balance) bool {
	if len(a) != len(b) {
		return false
	}
	for u, s := range a {
		if b[u] != s {
			return false
		}
	}
	return true
}
