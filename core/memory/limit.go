package memory

import (
	"slices"
	"strconv"

	"strata/core"
)

// subjects is whom a limit counts the transfer for.
func subjects(l core.Limit, t *core.Transfer, legs []*leg) []string {
	var out []string
	switch l.Scope {
	case "ledger":
		return []string{""}
	case "operation":
		out = []string{t.Kind}
	case "tenant":
		if t.Tenant != "" {
			out = []string{t.Tenant}
		}
	case "account":
		for _, g := range legs {
			if id := strconv.FormatInt(g.Account, 10); g.Amount < 0 && !slices.Contains(out, id) {
				out = append(out, id)
			}
		}
	}
	return slices.DeleteFunc(out, func(s string) bool { return l.Match != "" && l.Match != s })
}

// debits sums what legs debit in the unit, of one account or of all.
func debits(legs []*leg, unit, account string) int64 {
	total := int64(0) // the legs of a valid transfer fit
	for _, g := range legs {
		if g.Amount < 0 && g.Unit == unit && (account == "" || account == strconv.FormatInt(g.Account, 10)) {
			total -= g.Amount
		}
	}
	return total
}

// count checks all limits and counts the transfer in those of a day or a month.
func (d *draft) count(t *core.Transfer, legs []*leg) ([]core.Counted, *core.Answer) {
	var counted []core.Counted
	for _, l := range d.rules.Limits {
		if len(l.Kinds) > 0 && !slices.Contains(l.Kinds, t.Kind) {
			continue
		}
		for _, subject := range subjects(l, t, legs) {
			account, id, field := "", int64(0), ""
			if l.Scope == "account" {
				account = subject
				id, _ = strconv.ParseInt(subject, 10, 64)
				field = firstOf(legs, d.account(id), -1).field("amount")
			}
			amount := debits(legs, l.Unit, account)
			if amount == 0 {
				continue
			}
			if l.Per == "transfer" {
				if amount > *l.MaxAmount {
					return nil, no(core.LimitExceeded, field, "limit %s", l.Name)
				}
				continue
			}
			period := d.l.day.Format("2006-01-02")
			if l.Per == "month" {
				period = d.l.day.Format("2006-01")
			}
			u := d.use(core.UseKey{Limit: l.Name, Subject: subject, Period: period})
			after := sum(u.Amount, amount)
			switch {
			case l.MaxAmount != nil && after.Cmp(sum(*l.MaxAmount)) > 0, l.MaxCount != nil && u.Count+1 > *l.MaxCount:
				return nil, no(core.LimitExceeded, field, "limit %s", l.Name)
			case !after.IsInt64():
				return nil, no(core.Overflow, field, "limit %s", l.Name)
			}
			u.Amount, u.Count = after.Int64(), u.Count+1
			counted = append(counted, core.Counted{Use: core.Use{Limit: l.Name, Subject: subject, Period: period, Amount: amount, Count: 1},
				Unit: l.Unit, Account: id})
		}
	}
	return counted, nil
}

// giveBack takes what was reserved and not confirmed off the limits' uses; nil: nothing was confirmed.
func (d *draft) giveBack(r *core.Reservation, confirmed []*leg) {
	for _, c := range r.Counted {
		account := ""
		if c.Account != 0 {
			account = c.Subject
		}
		u := d.use(core.UseKey{Limit: c.Limit, Subject: c.Subject, Period: c.Period})
		u.Amount -= c.Amount - debits(confirmed, c.Unit, account)
		if confirmed == nil {
			u.Count--
		}
	}
}
