package core

import (
	"context"
	"time"
)

// Event is one applied transfer as consumers of the ledger get it. It holds all of it: its rows may be archived.
type Event struct {
	Transfer       Transfer
	Balances       []Balance // one per leg
	AccountingDate time.Time
	PostedAt       time.Time
}

// Feed hands applied transfers (booked ones: no Try, no Cancel) to one consumer, each at least once, in no order. A transfer
// is in the feed from the commit that booked it on, until it is done.
type Feed interface {
	// Next returns up to limit events that are not done; none where there are none now. The same come again until Done.
	Next(ctx context.Context, limit int) ([]Event, error)
	// Done forgets the events of these transfers; unknown ids are no error.
	Done(ctx context.Context, ids []string) error
}

// The consumers for which a ledger keeps events, where it is told to.
const (
	ForVouchers = "voucher"
	ForNotices  = "notice"
)
