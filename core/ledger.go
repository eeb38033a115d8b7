package core

import (
	"context"
	"time"
)

// Accounts opens and shows accounts.
type Accounts interface {
	// Open makes accounts with balance 0 and no entries, open, in real time; state, mode, sums and times of the argument are
	// not looked at. An account that is there with the same name, tenant, unit, side, bounds, strategy and metadata is left
	// as it is; a different one is fault.Conflict, and then none of the call's accounts is made. A bad field is
	// fault.Invalid, and so is an id below 1.
	Open(ctx context.Context, accounts []Account) error
	// Balance returns the account with its balance and number of entries; fault.NotFound where there is none.
	Balance(ctx context.Context, id int64) (Account, error)
}

// Poster applies transfers.
type Poster interface {
	// Post applies transfers in order and returns one answer each, in order, after they are durable. Each sees the balances
	// that the one before it left. The same id may stand in a call twice: the second gets what a later call would get. Safe
	// for concurrent use. Linked transfers are applied as a whole or refused as a whole. An error means that nothing is known
	// about any transfer of the call: post the same again. fault.Busy: the queue is full, nothing was taken; its RetryAfter
	// says when to come again (errors.As). No transfers: no answers and no error.
	Post(ctx context.Context, transfers []Transfer) ([]Answer, error)
	// Answer returns what the id is remembered with, Replayed or Refused, and whether it is remembered at all.
	Answer(ctx context.Context, id string) (Answer, bool, error)
}

// Days is the accounting date.
type Days interface {
	// Day returns the open accounting date, midnight UTC.
	Day(ctx context.Context) (time.Time, error)
	// CutDay moves the accounting date forward: what is posted after its return is booked on the new date or a later one.
	// The present date again does nothing; an earlier one is fault.Invalid and changes nothing.
	CutDay(ctx context.Context, date time.Time) error
	// EnsureShards makes what transfers ordered and entries booked in [from, to) need. Idempotent; posting makes what is
	// missing by itself, later. A range that has left the ledger's database is not made again.
	EnsureShards(ctx context.Context, from, to time.Time) error
}

// Control opens, freezes, closes and switches accounts, and shows them with all that hangs on them.
type Control interface {
	// SetState changes an account's state; what is posted after its return sees it. Closing needs balance 0 and nothing
	// pending or buffered, else fault.Conflict; a closed account stays closed (fault.Conflict). The same state again does
	// nothing.
	SetState(ctx context.Context, id int64, state State) error
	// SetBounds changes minimum and maximum; what stands beyond the new bounds stays. A minimum above the maximum is
	// fault.Invalid.
	SetBounds(ctx context.Context, id int64, low, high *int64) error
	// SwitchMode changes how the account is posted to, under load; inner is the number of inner accounts of SubAccounts, 2
	// to 64, else fault.Invalid. Leaving Buffered merges first, leaving SubAccounts moves all balances back. The same mode
	// again does nothing. Buffered is fault.Conflict where the account is not Bufferable.
	SwitchMode(ctx context.Context, id int64, mode Mode, inner int) error
	// Standing shows the account, its funds and its limits' uses of the open accounting date, all of one moment. What is 0 is
	// not among funds and uses.
	Standing(ctx context.Context, id int64) (Standing, error)
	// List returns up to limit accounts with ids after the given one, ascending, without inner ones.
	List(ctx context.Context, after int64, limit int) ([]Account, error)
}

// Standing is an account with all that hangs on it.
type Standing struct {
	Account Account
	Funds   []Fund // by nature
	Uses    []Use  // of limits for accounts in the open date's periods, by limit and period
	Day     time.Time
}

// Reservations shows what Trys left.
type Reservations interface {
	// Reservation returns one; fault.NotFound where there is none.
	Reservation(ctx context.Context, id string) (Reservation, error)
	// ListReservations returns up to limit of a state with ids after the given one, ascending. Pending ones whose time is
	// over are listed as Expired, not as Pending. Fenced with LateTrys > 0 are the hung ones.
	ListReservations(ctx context.Context, state ReservationState, after string, limit int) ([]Reservation, error)
	// CountReservations counts by state, and the trys that were refused by a fence under "hung".
	CountReservations(ctx context.Context) (map[string]int64, error)
	// ExpireReservations gives back up to limit pending reservations whose time is over.
	ExpireReservations(ctx context.Context, limit int) (int, error)
}

// Tuning changes the settings at run time.
type Tuning interface {
	// Settings returns the version in force; number 0 and no rules where none was ever put.
	Settings(ctx context.Context) (Version, error)
	// PutSettings puts the next version in force: base is the number that the change was made from, another one in force is
	// fault.Conflict. Bad values are fault.Invalid, and name the field, as is a change without an author; nothing changes.
	PutSettings(ctx context.Context, base int64, s Settings, author, reason string) (Version, error)
	// RollBack puts the settings before the present ones in force again, as a new version; fault.NotFound where none were
	// ever put.
	RollBack(ctx context.Context, author, reason string) (Version, error)
	// SettingsHistory returns up to limit versions, the newest first.
	SettingsHistory(ctx context.Context, limit int) ([]Version, error)
}

// Orders answers for merchants' order numbers.
type Orders interface {
	// ByOrder returns the ids of all transfers, refused ones too, that named the tenant's order number, in the order of
	// their posting; none: none. Answer says what became of each.
	ByOrder(ctx context.Context, tenant, order string) ([]string, error)
}

// Ledger is one database of the core.
type Ledger interface {
	Accounts
	Poster
	Days
}

// Full is a Ledger with everything that hangs on it.
type Full interface {
	Ledger
	Control
	Reservations
	Tuning
	Orders
}

// The daily rules that every Ledger keeps.
const (
	// DefaultHorizon is how long ids are remembered at least.
	DefaultHorizon = 400 * 24 * time.Hour
	// Ahead is how far in the future an order time may lie: other people's clocks.
	Ahead = 24 * time.Hour
)

// CheckTime refuses an order time that is older than the horizon or too far ahead of now.
func CheckTime(order, now time.Time, horizon time.Duration) (Code, string) {
	switch {
	case order.Before(now.Add(-horizon)):
		return TooOld, "the order time is older than ids are remembered"
	case order.After(now.Add(Ahead)):
		return TooEarly, "the order time is more than a day ahead"
	}
	return "", ""
}

// RetryAfter is inside Post's fault.Busy: how long the queue needs to become shorter, by what it did lately.
type RetryAfter struct{ After time.Duration }

// Error says it.
func (e *RetryAfter) Error() string { return "the queue is full; come again in " + e.After.String() }
