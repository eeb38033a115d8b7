package core

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"strata/money"
)

// Replay derives every balance again from the entries: it keeps them all, so it is for a ledger that fits memory, or for
// one account at a time. Trial proves a ledger of any size. Rows are added in any order.
type Replay struct {
	accounts  map[int64]*replayed
	transfers map[string]*replayedTransfer
	findings  []string
	found     int64
	entries   int64
}

// ReplayReport is the result. All holds if Problems is 0.
type ReplayReport struct {
	Accounts, Entries int64
	Problems          int64
	Findings          []string // the first problems, at most 100; each names its row
}

type replayed struct {
	row                           *Account
	entries                       []Entry
	funds                         map[string]Fund
	pendingDebits, pendingCredits money.Sum
	pending                       map[string]money.Sum // by nature
}

// replayedTransfer is the sum by unit, and the legs that were seen.
type replayedTransfer struct {
	sums map[string]*money.Sum
	legs []int
}

// NewReplay begins with nothing.
func NewReplay() *Replay {
	return &Replay{accounts: map[int64]*replayed{}, transfers: map[string]*replayedTransfer{}}
}

func (r *Replay) account(id int64) *replayed {
	a := r.accounts[id]
	if a == nil {
		a = &replayed{funds: map[string]Fund{}, pending: map[string]money.Sum{}}
		r.accounts[id] = a
	}
	return a
}

func (r *Replay) find(format string, args ...any) {
	if r.found++; len(r.findings) < maxFindings {
		r.findings = append(r.findings, fmt.Sprintf(format, args...))
	}
}

// AddEntry adds a row of entry.
func (r *Replay) AddEntry(e Entry) {
	a := r.account(e.Account)
	a.entries = append(a.entries, e)
	r.entries++
	r.leg(&e)
}

// AddBuffered adds a row of the buffer: it counts for its transfer, not yet for its account.
func (r *Replay) AddBuffered(e Entry) { r.leg(&e) }

func (r *Replay) leg(e *Entry) {
	t := r.transfers[e.Transfer]
	if t == nil {
		t = &replayedTransfer{sums: map[string]*money.Sum{}}
		r.transfers[e.Transfer] = t
	}
	if t.sums[e.Unit] == nil {
		t.sums[e.Unit] = &money.Sum{}
	}
	t.sums[e.Unit].Add(money.Amount(e.Amount))
	t.legs = append(t.legs, e.Leg)
}

// AddAccount adds an account's row.
func (r *Replay) AddAccount(row Account) {
	a := r.account(row.ID)
	if a.row != nil {
		r.find("account %d has two rows", row.ID)
	}
	a.row = &row
}

// AddFund adds a row of fund.
func (r *Replay) AddFund(f Fund) {
	a := r.account(f.Account)
	if _, twice := a.funds[f.Nature]; twice {
		r.find("account %d fund %s has two rows", f.Account, f.Nature)
	}
	a.funds[f.Nature] = f
}

// AddReservation adds a reservation; those that are not pending hold nothing.
func (r *Replay) AddReservation(res *Reservation) {
	if res.State != Pending {
		return
	}
	for i, l := range res.Transfer.Legs {
		a := r.account(l.Account)
		if l.Amount > 0 {
			a.pendingCredits.Add(money.Amount(l.Amount))
			continue
		}
		a.pendingDebits.Add(-money.Amount(l.Amount))
		if res.Parts == nil {
			continue
		}
		for _, p := range res.Parts[i] {
			sum := a.pending[p.Nature]
			sum.Add(-money.Amount(p.Amount))
			a.pending[p.Nature] = sum
		}
	}
}

// Report derives everything from what was added.
func (r *Replay) Report() ReplayReport {
	for _, id := range slices.Sorted(maps.Keys(r.accounts)) {
		r.replay(id, r.accounts[id])
	}
	for _, id := range slices.Sorted(maps.Keys(r.transfers)) {
		t := r.transfers[id]
		for _, unit := range slices.Sorted(maps.Keys(t.sums)) {
			if !t.sums[unit].IsZero() {
				r.find("transfer %s: its legs sum to %s in %s instead of 0", id, t.sums[unit], unit)
			}
		}
		slices.Sort(t.legs)
		for i, leg := range t.legs {
			if leg != i {
				r.find("transfer %s leg %d is missing, or there twice", id, i)
				break
			}
		}
	}
	return ReplayReport{Accounts: int64(len(r.accounts)), Entries: r.entries, Problems: r.found, Findings: r.findings}
}

// replay walks an account's entries by number.
func (r *Replay) replay(id int64, a *replayed) {
	if a.row == nil {
		r.find("account %d has %d entries, %d funds and no row", id, len(a.entries), len(a.funds))
		return
	}
	slices.SortStableFunc(a.entries, func(x, y Entry) int { return cmp.Compare(x.Seq, y.Seq) })
	var debits, credits money.Sum
	balance := int64(0)
	funds := map[string]int64{}
	for i := range a.entries {
		e := &a.entries[i]
		switch after, ok := add(e.Before, e.Amount); {
		case e.Seq != int64(i+1):
			r.find("account %d entry %d: number %d is missing, or there twice", id, e.Seq, i+1)
		case e.Before != balance:
			r.find("account %d entry %d: balance_before is %d instead of %d", id, e.Seq, e.Before, balance)
		case !ok || after != e.After || e.Amount == 0:
			r.find("account %d entry %d: balance_after is %d, and %d before %d were added", id, e.Seq, e.After, e.Before, e.Amount)
		case e.Unit != a.row.Unit:
			r.find("account %d entry %d is in %s instead of %s", id, e.Seq, e.Unit, a.row.Unit)
		}
		if balance = e.After; e.Amount < 0 {
			debits.Add(-money.Amount(e.Amount))
		} else {
			credits.Add(money.Amount(e.Amount))
		}
		r.replayParts(e, a.row.Strategy != "", funds)
	}
	r.compare(id, a, balance, debits, credits)
	r.compareFunds(id, a, funds)
}

// replayParts moves what an entry moves between the funds.
func (r *Replay) replayParts(e *Entry, split bool, funds map[string]int64) {
	if !split {
		if len(e.Parts) > 0 {
			r.find("account %d entry %d has funds, and its account is not split", e.Account, e.Seq)
		}
		return
	}
	var sum money.Sum
	for _, p := range e.Parts {
		sum.Add(money.Amount(p.Amount))
		after, ok := add(funds[p.Nature], p.Amount)
		if !ok || after < 0 || (p.Amount > 0) != (e.Amount > 0) {
			r.find("account %d entry %d: %d of %s after %d", e.Account, e.Seq, p.Amount, p.Nature, funds[p.Nature])
		}
		funds[p.Nature] = after
	}
	if sum != money.SumOf(money.Amount(e.Amount)) {
		r.find("account %d entry %d: its funds sum to %s instead of %d", e.Account, e.Seq, sum, e.Amount)
	}
}

func (r *Replay) compare(id int64, a *replayed, balance int64, debits, credits money.Sum) {
	for _, c := range []struct {
		name string
		row  int64
		want money.Sum
	}{
		{"balance", a.row.Balance, money.SumOf(money.Amount(balance))}, {"debits", a.row.Debits, debits}, {"credits", a.row.Credits, credits},
		{"entries", a.row.Entries, money.SumOf(money.Amount(len(a.entries)))},
		{"pending_debits", a.row.PendingDebits, a.pendingDebits}, {"pending_credits", a.row.PendingCredits, a.pendingCredits},
	} {
		if money.SumOf(money.Amount(c.row)) != c.want {
			r.find("account %d: %s is %d instead of %s", id, c.name, c.row, c.want)
		}
	}
}

func (r *Replay) compareFunds(id int64, a *replayed, funds map[string]int64) {
	names := map[string]bool{}
	for n := range funds {
		names[n] = true
	}
	for n := range a.funds {
		names[n] = true
	}
	for n := range a.pending {
		names[n] = true
	}
	for _, n := range slices.Sorted(maps.Keys(names)) {
		f := a.funds[n]
		if f.Balance != funds[n] {
			r.find("account %d fund %s: balance is %d instead of %d", id, n, f.Balance, funds[n])
		}
		if money.SumOf(money.Amount(f.Pending)) != a.pending[n] || f.Pending > f.Balance {
			r.find("account %d fund %s: pending is %d of %d instead of %s", id, n, f.Pending, f.Balance, a.pending[n])
		}
	}
}
