package core

import (
	"context"
	"time"
)

// Accounts opens and shows accounts.
type Accounts interface {
	// Open makes accounts with balance 0 and no entries; Balance and Entries of the argument are not looked at. An account
	// that is there with the same name, unit and minimum is left as it is; a different one is fault.Conflict, and then none
	// of the call's accounts is made. A bad unit or name is fault.Invalid.
	Open(ctx context.Context, accounts []Account) error
	// Balance returns the account with its balance and number of entries; fault.NotFound where there is none.
	Balance(ctx context.Context, id int64) (Account, error)
}

// Poster applies transfers.
type Poster interface {
	// Post applies transfers in order and returns one answer each, in order, after they are durable. Each sees the balances
	// that the one before it left. The same id may stand in a call twice: the second gets what a later call would get. Safe
	// for concurrent use. An error means that nothing is known about any transfer of the call: post the same again.
	// fault.Busy: the queue is full, nothing was taken. No transfers: no answers and no error.
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

// Ledger is one database of the core.
type Ledger interface {
	Accounts
	Poster
	Days
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
