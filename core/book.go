package core

import "fmt"

// Entry is one leg that was applied.
type Entry struct {
	Account  int64
	Seq      int64
	Transfer string
	Leg      int // from 0
	Unit     string
	Amount   int64
	Before   int64
	After    int64
	Parts    []Part // of Amount by nature, where the account has a Strategy
}

// Book is the state of some accounts in memory, locked elsewhere, while transfers are applied to it.
type Book map[int64]*Account

// before is an account's state at the start of a transfer.
type before struct {
	account          *Account
	balance, entries int64
}

// Apply applies a valid transfer: the answer is Applied, with its entries appended, or Refused, and then book and entries
// are as they were. The minimum counts after the last leg, so legs may pass through it; an account that is below it
// already may not go further down.
func (b Book) Apply(t *Transfer, entries []Entry) (Answer, []Entry) {
	for _, l := range t.Legs {
		a := b[l.Account]
		if a == nil {
			return Refuse(UnknownAccount, fmt.Sprintf("account %d does not exist", l.Account)), entries
		}
		if a.Unit != l.Unit {
			return Refuse(UnitMismatch, fmt.Sprintf("account %d is in %s, not in %s", a.ID, a.Unit, l.Unit)), entries
		}
	}
	start := len(entries)
	touched := make([]before, 0, len(t.Legs))
	refuse := func(code Code, format string, id int64) (Answer, []Entry) {
		for i := len(touched) - 1; i >= 0; i-- {
			touched[i].account.Balance, touched[i].account.Entries = touched[i].balance, touched[i].entries
		}
		return Refuse(code, fmt.Sprintf(format, id)), entries[:start]
	}
	balances := make([]Balance, len(t.Legs))
	for i, l := range t.Legs {
		a := b[l.Account]
		after := a.Balance + l.Amount
		if (after > a.Balance) != (l.Amount > 0) {
			return refuse(Overflow, "the balance of account %d would exceed 64 bits", a.ID)
		}
		touched = append(touched, before{a, a.Balance, a.Entries})
		a.Entries++
		entries = append(entries, Entry{Account: a.ID, Seq: a.Entries, Transfer: t.ID, Leg: i, Unit: l.Unit, Amount: l.Amount,
			Before: a.Balance, After: after})
		a.Balance = after
		balances[i] = Balance{Account: a.ID, Seq: a.Entries, Balance: after, Amount: l.Amount}
	}
	for i, was := range touched {
		a := was.account
		if a.MinBalance == nil || a.Balance >= *a.MinBalance || a.Balance >= firstBalance(touched[:i+1], a) {
			continue
		}
		return refuse(BelowMinimum, "account %d would fall below its minimum", a.ID)
	}
	return Answer{Outcome: Applied, Balances: balances}, entries
}

// firstBalance is what the account had before the transfer.
func firstBalance(touched []before, a *Account) int64 {
	for _, was := range touched {
		if was.account == a {
			return was.balance
		}
	}
	return a.Balance
}
