// Package memory is a core.Full in memory: the model that the real one is compared with, and a ledger for tests of what
// stands above.
//
// It is written for being plainly right: sums are big.Int, every chain is tried on copies, and it shares the checks of input
// with core, but no applying code with core.Batch. Modes change what an account shows, and nothing else: every account is
// posted to as RealTime. It keeps everything; it is not durable.
package memory

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"strata/core"
	"strata/fault"
)

// Config is what New needs.
type Config struct {
	Now       func() time.Time
	Horizon   time.Duration // 0: core.DefaultHorizon
	FirstDay  time.Time     // the accounting date at the start; zero: the day of Now
	Consumers []string      // of events; none: no events are kept
}

// Posted is a booked transfer, with the legs that it booked.
type Posted struct {
	Transfer core.Transfer
	Date     time.Time // accounting date
	At       time.Time
}

// Ledger is a core.Full in memory. It is safe for concurrent use.
type Ledger struct {
	cfg Config

	mu           sync.Mutex
	day          time.Time
	accounts     map[int64]core.Account
	funds        map[core.FundKey]core.Fund
	uses         map[core.UseKey]core.Use
	reservations map[string]core.Reservation
	reversed     map[string][]int64 // by transfer, per leg
	answers      map[string]remembered
	orders       map[[2]string][]string
	versions     []core.Version
	events       map[string][]core.Event // by consumer
	transfers    []Posted
	entries      []core.Entry
}

type remembered struct {
	body   [32]byte
	answer core.Answer
}

// New makes an empty ledger.
func New(cfg Config) (*Ledger, error) {
	if cfg.Now == nil {
		return nil, fault.New(fault.Invalid, "make ledger", "no clock")
	}
	if cfg.Horizon == 0 {
		cfg.Horizon = core.DefaultHorizon
	}
	if cfg.FirstDay.IsZero() {
		cfg.FirstDay = cfg.Now()
	}
	l := &Ledger{cfg: cfg, day: core.Date(cfg.FirstDay), accounts: map[int64]core.Account{}, funds: map[core.FundKey]core.Fund{},
		uses: map[core.UseKey]core.Use{}, reservations: map[string]core.Reservation{}, reversed: map[string][]int64{},
		answers: map[string]remembered{}, orders: map[[2]string][]string{}, events: map[string][]core.Event{}}
	for _, c := range cfg.Consumers {
		l.events[c] = nil
	}
	return l, nil
}

// Open is core.Accounts.
func (l *Ledger) Open(_ context.Context, accounts []core.Account) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	fresh := map[int64]core.Account{}
	for _, a := range accounts {
		if err := core.CheckAccount(&a); err != nil {
			return err
		}
		a = core.Opened(a, l.cfg.Now())
		have, ok := l.accounts[a.ID]
		if !ok {
			have, ok = fresh[a.ID]
		}
		if ok && !core.SameAccount(&have, &a) {
			return core.AccountConflict(a.ID)
		}
		if !ok {
			fresh[a.ID] = a
		}
	}
	for id, a := range fresh {
		l.accounts[id] = a
	}
	return nil
}

// Balance is core.Accounts.
func (l *Ledger) Balance(_ context.Context, id int64) (core.Account, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.account("read account", id)
}

func (l *Ledger) account(op string, id int64) (core.Account, error) {
	a, ok := l.accounts[id]
	if !ok {
		return core.Account{}, fault.New(fault.NotFound, fmt.Sprintf("%s %d", op, id), "no such account")
	}
	return a, nil
}

// Answer is core.Poster.
func (l *Ledger) Answer(_ context.Context, id string) (core.Answer, bool, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	r, ok := l.answers[id]
	return r.answer.Again(), ok, nil
}

// Day is core.Days.
func (l *Ledger) Day(context.Context) (time.Time, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.day, nil
}

// CutDay is core.Days.
func (l *Ledger) CutDay(_ context.Context, date time.Time) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	date = core.Date(date)
	if date.Before(l.day) {
		return core.EarlierDay(date, l.day)
	}
	l.day = date
	return nil
}

// EnsureShards is core.Days; there is nothing to make.
func (l *Ledger) EnsureShards(_ context.Context, from, to time.Time) error {
	return core.CheckSpan(from, to)
}

// ByOrder is core.Orders.
func (l *Ledger) ByOrder(_ context.Context, tenant, order string) ([]string, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.orders[[2]string{tenant, order}]), nil
}

// Transfers returns what was booked, in order.
func (l *Ledger) Transfers() []Posted {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.transfers)
}

// Entries returns all entries, in order.
func (l *Ledger) Entries() []core.Entry {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.entries)
}
