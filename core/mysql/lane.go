package mysql

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"time"

	"strata/core"
	"strata/db"
	"strata/fault"
)

const (
	maxTries   = 12 // with firstPause doubling up to maxPause: about 10 s, longer than a primary's restart
	firstPause = 10 * time.Millisecond
	maxPause   = 2 * time.Second
	batchLimit = 60 * time.Second // above innodb_lock_wait_timeout's default: the server's answer comes first
)

// request is one call of Post. The lane owns it from taken to done.
type request struct {
	transfers []core.Transfer
	answers   []core.Answer
	left      int
	err       error
	taken     atomic.Bool // by the lane, or back by its caller
	done      chan struct{}
}

func (r *request) result() ([]core.Answer, error) {
	if r.err != nil {
		return nil, r.err
	}
	return r.answers, nil
}

// lane is what the writer keeps between batches.
type lane struct {
	rest  *request // partly in the batch before
	from  int      // its next transfer
	known core.Book
	blind int // batches to go without a guess
	text  text
}

// item is one transfer of a batch.
type item struct {
	of     *request
	at     int
	t      *core.Transfer
	body   [32]byte
	order  time.Time // as it is stored
	same   *item     // an earlier one of the batch with this id
	fresh  bool      // the id was not there
	answer core.Answer
	sent   core.Answer // of a commit whose answer was lost
	// kept and keptBody are what its id is remembered with, from before or from this batch.
	kept     core.Answer
	keptBody [32]byte
}

// batch is what one transaction shall do. Its time is fixed: doing it again gives the same rows.
type batch struct {
	items []*item
	now   time.Time
}

// Run is the lane: it posts what waits until ctx ends, and returns nil after the batch in flight. It may be called once.
// An error is a crash point's.
func (l *Ledger) Run(ctx context.Context) error {
	if !l.running.CompareAndSwap(false, true) {
		return fault.New(fault.Invalid, "run ledger", "it was started before")
	}
	defer close(l.ended)
	l.cfg.Log.Info("ledger started")
	for {
		b := l.fill(ctx)
		if b == nil {
			l.cfg.Log.Info("ledger stopped")
			return nil
		}
		err := l.post(context.WithoutCancel(ctx), b)
		l.answer(b, err)
		var crash *crashError
		if errors.As(err, &crash) {
			return crash.err
		}
	}
}

// fill waits for the first transfer and takes what else is there. It returns nil when ctx has ended.
func (l *Ledger) fill(ctx context.Context) *batch {
	if ctx.Err() != nil {
		return nil
	}
	b := &batch{}
	ids := map[string]*item{}
	for legs := 0; len(b.items) < maxBatch && legs < maxBatchLegs; {
		if l.lane.rest == nil && !l.take(ctx, len(b.items) == 0) {
			break
		}
		r := l.lane.rest
		it := newItem(r, l.lane.from)
		if l.lane.from++; l.lane.from == len(r.transfers) {
			l.lane.rest = nil
		}
		if it.t.Nameable() {
			it.same = ids[it.t.ID]
			if it.same == nil {
				ids[it.t.ID] = it
			}
		}
		b.items = append(b.items, it)
		legs += min(len(it.t.Legs), core.MaxLegs)
	}
	if len(b.items) == 0 {
		return nil
	}
	b.now = l.cfg.Now().UTC().Truncate(time.Microsecond)
	for _, it := range b.items {
		if !core.Storable(it.order) {
			it.order = b.now // it is refused; its id is remembered
		}
	}
	return b
}

// take makes the next request the one to take from.
func (l *Ledger) take(ctx context.Context, wait bool) bool {
	for {
		var r *request
		select {
		case r = <-l.queue:
		default:
			if !wait {
				return false
			}
			select {
			case r = <-l.queue:
			case <-ctx.Done():
				return false
			}
		}
		if r.taken.CompareAndSwap(false, true) {
			l.lane.rest, l.lane.from = r, 0
			return true
		}
		l.queued.Add(-int64(len(r.transfers))) // its caller took it back
	}
}

func newItem(r *request, at int) *item {
	t := &r.transfers[at]
	return &item{of: r, at: at, t: t, body: t.Hash(), order: t.OrderTime.UTC().Truncate(time.Microsecond)}
}

// answer hands out a batch's answers, or its error.
func (l *Ledger) answer(b *batch, err error) {
	l.stats.batches.Add(1)
	for _, it := range b.items {
		r := it.of
		if err != nil && r.err == nil {
			r.err = err
		}
		if err == nil {
			l.stats.outcomes[it.answer.Outcome].Add(1)
		}
		r.answers[it.at] = it.answer
		l.queued.Add(-1)
		if r.left--; r.left == 0 {
			close(r.done)
		}
	}
}

// post does the batch, again and in halves where need be. After an error nothing is known about it.
func (l *Ledger) post(ctx context.Context, b *batch) error {
	pause := firstPause
	for try := 1; ; try++ {
		err := l.try(ctx, b)
		var missing *missingShard
		var unknown *unknownCommit
		switch {
		case err == nil:
			return nil
		case errors.As(err, &missing):
			if err = l.makeShard(ctx, missing); err == nil {
				break
			}
			if !retryable(err) {
				return err
			}
		case errors.As(err, &unknown):
			l.stats.ambiguous.Add(1)
			for _, it := range b.items {
				it.sent = it.answer
			}
		case retryable(err):
		case refusesData(err):
			return l.halve(ctx, b, err)
		default:
			return err
		}
		if try == maxTries {
			return err
		}
		l.stats.retries.Add(1)
		l.lane.blind = 1 // somebody else is at work, or the known states are doubtful
		if missing == nil {
			wait(ctx, pause)
			pause = min(2*pause, maxPause)
		}
	}
}

// try does the batch with a guess if there may be one, else, or if the guess was wrong, without.
func (l *Ledger) try(ctx context.Context, b *batch) error {
	ctx, cancel := context.WithTimeout(ctx, batchLimit)
	defer cancel()
	if l.lane.blind > 0 {
		l.lane.blind--
		return l.attempt(ctx, b, nil)
	}
	guess := l.guess(b)
	if guess == nil {
		return l.attempt(ctx, b, nil)
	}
	err := l.attempt(ctx, b, guess)
	if errors.Is(err, errWrongGuess) {
		l.stats.missed.Add(1)
		l.lane.blind = 8 // another poster's accounts, or replays: both come in runs
		return l.attempt(ctx, b, nil)
	}
	if err == nil {
		l.stats.guessed.Add(1)
	}
	return err
}

// halve finds the transfer that the server does not take: it alone gets Failed. The halves keep the order.
func (l *Ledger) halve(ctx context.Context, b *batch, cause error) error {
	if len(b.items) == 1 {
		it := b.items[0]
		it.answer = core.Answer{Outcome: core.Failed, Code: core.NotStorable, Message: "the database did not take this transfer"}
		l.cfg.Log.Warn("transfer not storable", "transfer", it.t.ID, "err", cause)
		return nil
	}
	middle := len(b.items) / 2
	for _, half := range [][]*item{b.items[:middle], b.items[middle:]} {
		for _, it := range half {
			if it.same != nil && !slices.Contains(half, it.same) {
				it.same = nil // it was posted in the other half: its id is there now
			}
		}
		if err := l.post(ctx, &batch{items: half, now: b.now}); err != nil {
			return err
		}
	}
	return nil
}

func retryable(err error) bool {
	return fault.Is(err, fault.Busy) || fault.Is(err, fault.Unavailable) || fault.Is(err, fault.Timeout)
}

// refusesData reports whether the server said no to the statement itself, which may be one transfer's fault.
func refusesData(err error) bool {
	return db.Number(err) != 0 && (fault.Is(err, fault.Invalid) || fault.Is(err, fault.Conflict) || fault.Is(err, fault.Internal))
}

func wait(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
