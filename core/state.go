package core

import "time"

// Reservation is what a Try left. Fenced: a Cancel came first.
type Reservation struct {
	ID       string
	State    ReservationState
	Transfer Transfer // the Try; of a fence only ID
	// Parts are what each leg reserved by nature, by leg; nil for legs of accounts without a Strategy.
	Parts    [][]Part  // signed as the legs, in the order in which they are spent
	Counted  []Counted // what it counts in limits
	Day      time.Time // the accounting date of the Try: its limits' period
	At       time.Time
	EndedBy  string // the id of what confirmed or cancelled it
	EndedAt  time.Time
	LateTrys int64 // Trys that were refused by the fence
}

// Counted is what one transfer counts in one limit: its debits in Unit, of Account where the limit is an account's, else 0.
type Counted struct {
	Use     // Amount and Count are this transfer's alone
	Unit    string
	Account int64
}

// ReservationState is what has become of a reservation.
type ReservationState uint8

// The states of a reservation.
const (
	Pending ReservationState = iota
	Confirmed
	Cancelled
	Expired
	Fenced
)

// String is the state's name.
func (s ReservationState) String() string {
	return [...]string{"pending", "confirmed", "cancelled", "expired", "fenced"}[s]
}

// Original is an applied transfer that shall be reversed.
type Original struct {
	ID       string
	Balances []Balance // as its answer has them: account, amount, parts
	Reversed []int64   // per leg, how much of its amount was reversed before: a sum of absolute values
}

// UseKey names a Use.
type UseKey struct{ Limit, Subject, Period string }

// FundKey names a Fund.
type FundKey struct {
	Account int64
	Nature  string
}

// Needs is what has to be locked and read for some transfers, in the order of the locks. Reservations and originals are
// read first: their legs say which accounts are needed. Accounts ascend.
type Needs struct {
	Reservations []string // of Try, Confirm, Cancel
	Originals    []string // of Reverse
	Uses         []UseKey
	Accounts     []int64
	// CreditOnly are those of Accounts that are only credited, by Posts: while they are Buffered, they need not be locked,
	// and of their rows only id, unit, state, mode, strategy and parent are looked at.
	CreditOnly []int64
}

// Changes is what applied transfers leave, besides the accounts of the Book: what has to be written.
type Changes struct {
	Entries []Entry
	// Buffered are credits to Buffered accounts: entries without Seq, Before and After.
	Buffered []Entry
	// Moves are transfers inside an account in SubAccounts; their entries are among Entries.
	Moves []Move
	// Wanted are accounts of which more has to be read before an answer can be given: their buffer, all inner accounts. The
	// batch is done again then.
	Wanted       map[int64]bool
	Accounts     map[int64]bool
	Funds        map[FundKey]bool
	Uses         map[UseKey]bool
	Reservations map[string]bool
	Reversed     map[string]bool // originals
}
