// Package memory is a core.Ledger in memory: the model that the real one is compared with, and a ledger for tests of what
// stands above.
//
// It is written for being plainly right: every amount is a big.Int, every transfer is tried on a copy, and it shares no
// applying code with core.Book. It keeps everything; it is not durable.
package memory

import (
	"context"
	"fmt"
	"math/big"
	"sync"
	"time"

	"strata/core"
	"strata/fault"
)

// Config is what New needs.
type Config struct {
	Now      func() time.Time
	Horizon  time.Duration // 0: core.DefaultHorizon
	FirstDay time.Time     // the accounting date at the start; zero: the day of Now
}

// Posted is a booked transfer.
type Posted struct {
	Transfer core.Transfer
	Date     time.Time // accounting date
	At       time.Time
}

// Ledger is a core.Ledger in memory. It is safe for concurrent use.
type Ledger struct {
	cfg Config

	mu        sync.Mutex
	day       time.Time
	accounts  map[int64]core.Account
	answers   map[string]remembered
	transfers []Posted
	entries   []core.Entry
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
	return &Ledger{cfg: cfg, day: core.Date(cfg.FirstDay), accounts: map[int64]core.Account{}, answers: map[string]remembered{}}, nil
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
		a.Balance, a.Entries = 0, 0
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
	a, ok := l.accounts[id]
	if !ok {
		return core.Account{}, fault.New(fault.NotFound, fmt.Sprintf("read account %d", id), "no such account")
	}
	return a, nil
}

// Post is core.Poster.
func (l *Ledger) Post(_ context.Context, transfers []core.Transfer) ([]core.Answer, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.cfg.Now().Truncate(time.Microsecond)
	out := make([]core.Answer, 0, len(transfers))
	for _, t := range transfers {
		out = append(out, l.post(t, now))
	}
	return out, nil
}

func (l *Ledger) post(t core.Transfer, now time.Time) core.Answer {
	if !t.Nameable() {
		return core.Refuse(t.Validate())
	}
	t.OrderTime = t.OrderTime.UTC().Truncate(time.Microsecond)
	if old, ok := l.answers[t.ID]; ok {
		if old.body != t.Hash() {
			return core.ConflictAnswer()
		}
		return old.answer.Again()
	}
	a := l.try(t, now)
	l.answers[t.ID] = remembered{t.Hash(), a}
	return a
}

func (l *Ledger) try(t core.Transfer, now time.Time) core.Answer {
	if code, why := t.Validate(); code != "" {
		return core.Refuse(code, why)
	}
	if code, why := core.CheckTime(t.OrderTime, now, l.cfg.Horizon); code != "" {
		return core.Refuse(code, why)
	}
	copied := map[int64]core.Account{}
	for _, leg := range t.Legs {
		a, ok := l.accounts[leg.Account]
		if !ok {
			return core.Refuse(core.UnknownAccount, fmt.Sprintf("account %d does not exist", leg.Account))
		}
		if a.Unit != leg.Unit {
			return core.Refuse(core.UnitMismatch, fmt.Sprintf("account %d is in %s, not in %s", a.ID, a.Unit, leg.Unit))
		}
		copied[a.ID] = a
	}
	var entries []core.Entry
	answer := core.Answer{Outcome: core.Applied}
	for i, leg := range t.Legs {
		a := copied[leg.Account]
		after := new(big.Int).Add(big.NewInt(a.Balance), big.NewInt(leg.Amount))
		if !after.IsInt64() {
			return core.Refuse(core.Overflow, fmt.Sprintf("the balance of account %d would exceed 64 bits", a.ID))
		}
		entries = append(entries, core.Entry{Account: a.ID, Seq: a.Entries + 1, Transfer: t.ID, Leg: i, Unit: a.Unit,
			Amount: leg.Amount, Before: a.Balance, After: after.Int64()})
		a.Balance, a.Entries = after.Int64(), a.Entries+1
		copied[a.ID] = a
		answer.Balances = append(answer.Balances, core.Balance{Account: a.ID, Seq: a.Entries, Balance: a.Balance})
	}
	for _, leg := range t.Legs {
		a := copied[leg.Account]
		if a.MinBalance != nil && a.Balance < *a.MinBalance && a.Balance < l.accounts[a.ID].Balance {
			return core.Refuse(core.BelowMinimum, fmt.Sprintf("account %d would fall below its minimum", a.ID))
		}
	}
	for id, a := range copied {
		l.accounts[id] = a
	}
	l.entries = append(l.entries, entries...)
	l.transfers = append(l.transfers, Posted{Transfer: t, Date: l.day, At: now})
	return answer
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

// Transfers returns what was booked, in order.
func (l *Ledger) Transfers() []Posted {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]Posted(nil), l.transfers...)
}

// Entries returns all entries, in order.
func (l *Ledger) Entries() []core.Entry {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]core.Entry(nil), l.entries...)
}
