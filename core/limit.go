package core

import (
	"math"
	"slices"
	"strconv"
	"time"
)

// tallied is what a transfer counts in one limit.
type tallied struct {
	of *rule
	Counted
}

func (u *Use) key() UseKey { return UseKey{u.Limit, u.Subject, u.Period} }

// keys appends the uses that a reservation counts in.
func (r *Reservation) keys(dst []UseKey) []UseKey {
	for i := range r.Counted {
		dst = append(dst, r.Counted[i].key())
	}
	return dst
}

// debits sums the debits in a unit, of one account or, with 0, of all.
func debits(legs []Leg, unit string, account int64) (sum int64) {
	for i := range legs {
		if l := &legs[i]; l.Amount < 0 && l.Unit == unit && (account == 0 || l.Account == account) {
			sum -= l.Amount
		}
	}
	return sum
}

// debitedBefore reports whether one of the legs debits the account.
func debitedBefore(legs []Leg, account int64) bool {
	for i := range legs {
		if legs[i].Account == account && legs[i].Amount < 0 {
			return true
		}
	}
	return false
}

// tally appends what a Post or Try counts in each limit, in the order of the settings: those of the ledger, its operation,
// its tenant and the accounts that it debits.
func (r *Rules) tally(dst []tallied, t *Transfer, day time.Time) []tallied {
	if r == nil || len(r.limits) == 0 {
		return dst
	}
	dst = r.tallyScope(dst, t, day, "ledger", "", 0)
	dst = r.tallyScope(dst, t, day, "operation", t.Kind, 0)
	if t.Tenant != "" {
		dst = r.tallyScope(dst, t, day, "tenant", t.Tenant, 0)
	}
	for i := 0; i < len(t.Legs) && r.accounts; i++ {
		if id := t.Legs[i].Account; t.Legs[i].Amount < 0 && !debitedBefore(t.Legs[:i], id) {
			dst = r.tallyScope(dst, t, day, "account", strconv.FormatInt(id, 10), id)
		}
	}
	slices.SortStableFunc(dst, func(a, b tallied) int { return a.of.at - b.of.at })
	return dst
}

func (r *Rules) tallyScope(dst []tallied, t *Transfer, day time.Time, scope, subject string, account int64) []tallied {
	keys := [...]scopeKey{{scope, ""}, {scope, subject}}
	for i := range keys {
		if i > 0 && subject == "" {
			break // of the ledger: both are one
		}
		for _, l := range r.limits[keys[i]] {
			if l.kinds != nil && !l.kinds[t.Kind] {
				continue
			}
			amount := debits(t.Legs, l.Unit, account)
			if amount == 0 {
				continue
			}
			dst = append(dst, tallied{l, Counted{Use: Use{l.Name, subject, l.period(day), amount, 1}, Unit: l.Unit, Account: account}})
		}
	}
	return dst
}

// count checks every limit and counts the transfer in; it returns what was counted, where it is to be kept.
func (b *Batch) count(s *step, keep bool) ([]Counted, *Answer) {
	b.tally = b.Rules.tally(b.tally[:0], s.t, b.Day)
	var kept []Counted
	for i := range b.tally {
		c := &b.tally[i]
		field := ""
		if c.Account != 0 {
			field = s.field(s.legOf(b.Accounts[c.Account], -1), "amount")
		}
		if c.of.Per == "transfer" {
			if c.Amount > *c.of.MaxAmount {
				return nil, refuse(LimitExceeded, field, "limit %s lets %d pass per transfer", c.Limit, *c.of.MaxAmount)
			}
			continue
		}
		u := b.use(c.key())
		amount, fits := add(u.Amount, c.Amount)
		switch {
		case c.of.MaxAmount != nil && (!fits || amount > *c.of.MaxAmount):
			return nil, refuse(LimitExceeded, field, "limit %s lets %d pass per %s, %d are used", c.Limit, *c.of.MaxAmount, c.of.Per, u.Amount)
		case c.of.MaxCount != nil && u.Count >= *c.of.MaxCount:
			return nil, refuse(LimitExceeded, field, "limit %s lets %d transfers pass per %s", c.Limit, *c.of.MaxCount, c.of.Per)
		case !fits || u.Count == math.MaxInt64:
			return nil, refuse(Overflow, field, "what limit %s counts would exceed 64 bits", c.Limit)
		}
		u.Amount, u.Count = amount, u.Count+1
		if keep {
			kept = append(kept, c.Counted)
		}
	}
	return kept, nil
}

// use is the use that is about to change, made where it is not there.
func (b *Batch) use(key UseKey) *Use {
	u := b.Uses[key]
	if u != nil {
		b.log.use(u)
		return u
	}
	u = &Use{Limit: key.Limit, Subject: key.Subject, Period: key.Period}
	b.log.uses = append(b.log.uses, useMark{u: u, fresh: true})
	put(&b.Uses, key, u)
	return u
}

// giveBack returns what a reservation counted and did not use: all but the debits of legs, and its count where there are
// no legs. A use that was purged takes nothing back.
func (b *Batch) giveBack(r *Reservation, legs []Leg) {
	for i := range r.Counted {
		c := &r.Counted[i]
		rest, u := c.Amount-debits(legs, c.Unit, c.Account), b.Uses[c.key()]
		if u == nil || rest <= 0 {
			continue
		}
		b.log.use(u)
		u.Amount = max(0, u.Amount-rest)
		if legs == nil {
			u.Count = max(0, u.Count-1)
		}
	}
}
