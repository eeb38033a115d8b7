package core

import "time"

// Side is an account's normal side: where its balance is expected to be. It changes how a balance is shown, not how it is
// kept: a balance is credits less debits on either side.
type Side uint8

// The sides.
const (
	CreditSide Side = iota // liabilities, equity, income: users, merchants, fees earned
	DebitSide              // assets, expenses: banks, transit, costs
)

// String is the side's name.
func (s Side) String() string { return [...]string{"credit", "debit"}[s] }

// State says what an account lets through. Open: everything. Frozen: no new debit, try or credit; what was reserved may be
// confirmed or cancelled. Closed: nothing at all; only an account with balance 0 and nothing pending is closed.
type State uint8

// The states.
const (
	Open State = iota
	Frozen
	Closed
)

// String is the state's name.
func (s State) String() string { return [...]string{"open", "frozen", "closed"}[s] }

// Mode is how an account is posted to; the outside sees one account in each.
type Mode uint8

// The modes. RealTime: row and entries in the transfer's transaction, by the lanes. Buffered: credits are durable in the
// buffer at once and become entries by a merge; debits as RealTime, after a merge where funds lack. SubAccounts: spread over
// inner accounts. Simple: by a conditional UPDATE in a transaction of its own, beside the lanes.
const (
	RealTime Mode = iota
	Buffered
	SubAccounts
	Simple
)

// String is the mode's name.
func (m Mode) String() string {
	return [...]string{"real_time", "buffered", "sub_accounts", "simple"}[m]
}

// Account is one account with its state. Amounts are minor units of Unit; a balance is credits less debits.
type Account struct {
	ID     int64 // from 1 on; inner accounts have ids of their own below 0
	Name   string
	Tenant string // visible ASCII, at most 32, or ""
	Unit   string // CNY, USD, POINT: upper-case letters and digits, at most 12
	Side   Side
	// MinBalance is the lowest Available that a transfer may leave, MaxBalance the highest Balance + PendingCredits; nil: none.
	MinBalance, MaxBalance *int64
	State                  State
	Mode                   Mode
	Strategy               string // of fund natures; "": the balance is not split
	Parent                 int64  // of an inner account; else 0
	Metadata               string // a JSON object of at most 2048 bytes, or ""
	OpenedAt               time.Time

	Balance        int64 // Credits − Debits
	Debits         int64 // posted so far
	Credits        int64 // posted so far
	PendingDebits  int64 // reserved
	PendingCredits int64 // reserved
	Entries        int64 // how many entries it has, and the number of the last
	Buffered       int64 // credits that wait for a merge: part of Balance as the outside sees it, not of the row's
}

// Available is what may be spent above the minimum: the balance less what is reserved.
func (a *Account) Available() int64 { return a.Balance - a.PendingDebits }

// Part is what one nature holds of an amount or a balance.
type Part struct {
	Nature string
	Amount int64
}

// Fund is one nature's share of an account's balance. The shares of an account with a Strategy sum to its balance.
type Fund struct {
	Account int64
	Nature  string // visible ASCII, at most 24
	Balance int64  // never negative
	Pending int64  // reserved debits; at most Balance
}
