package mysql

import (
	"context"
	"errors"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

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

// lane posts one batch after the other on a connection of its own.
type lane struct {
	l       *Ledger
	wake    chan struct{} // by the queue
	working bool          // the queue's lock
	rest    *request      // partly in the batch before
	from    int           // its next transfer
	x       *tx           // its connection; nil: none yet
	blind   int           // batches to go without a guess
	beside  bool          // it does single transfers of Simple accounts
	memory  guessed       // for the next guess
}

// item is one transfer of a batch.
type item struct {
	of     *request
	at     int // its place in the call
	t      *core.Transfer
	body   [32]byte
	order  time.Time // as it is stored
	linked bool      // the next item is of the same chain
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
	items    []*item
	now      time.Time
	want     map[int64]bool // accounts of which all has to be read
	attempts int
}

// Run runs the lanes: they post what waits until ctx ends. It returns nil after the batches in flight. It may be called
// once. An error is a crash point's.
func (l *Ledger) Run(ctx context.Context) error {
	if !l.running.CompareAndSwap(false, true) {
		return fault.New(fault.Invalid, "run ledger", "it was started before")
	}
	defer close(l.ended)
	l.cfg.Log.Info("ledger started")
	g, ctx := errgroup.WithContext(ctx)
	for range l.cfg.Lanes {
		n := &lane{l: l, wake: make(chan struct{}, 1)}
		g.Go(func() error { return n.run(ctx) })
	}
	if l.cfg.MergeEvery > 0 {
		g.Go(func() error { return l.keepMerging(ctx) })
	}
	err := g.Wait()
	l.endSimple()
	l.cfg.Log.Info("ledger stopped")
	return err
}

func (n *lane) run(ctx context.Context) error {
	defer func() {
		if n.x != nil {
			n.x.drop() // its settings are not the pool's
		}
	}()
	for {
		b := n.fill(ctx)
		if b == nil {
			return nil
		}
		err := n.post(context.WithoutCancel(ctx), b)
		n.answer(b, err)
		var crash *crashError
		if errors.As(err, &crash) {
			return crash.err
		}
	}
}

// fill waits for the first call and takes what else is there. It returns nil when ctx has ended.
func (n *lane) fill(ctx context.Context) *batch {
	if ctx.Err() != nil {
		return nil
	}
	b := &batch{}
	ids := map[string]*item{}
	for legs := 0; len(b.items) < maxBatch && legs < maxBatchLegs; {
		if n.rest == nil {
			if n.rest = n.l.queue.take(ctx, n, len(b.items) == 0); n.rest == nil {
				break
			}
			n.from = 0
		}
		end := n.chain()
		if len(b.items) > 0 && len(b.items)+end-n.from > maxBatch {
			break
		}
		for ; n.from < end; n.from++ {
			it := &n.rest.items[n.from]
			it.linked = n.from < end-1
			if it.t.Nameable() {
				it.same = ids[it.t.ID]
				if it.same == nil {
					ids[it.t.ID] = it
				}
			}
			b.items = append(b.items, it)
			legs += min(len(it.t.Legs), core.MaxLegs)
		}
		if n.from == len(n.rest.transfers) {
			n.rest = nil
		}
	}
	if len(b.items) == 0 {
		return nil
	}
	n.l.queue.started()
	b.now = core.Micros(n.l.cfg.Now())
	for _, it := range b.items {
		if !core.Storable(it.order) {
			it.order = b.now // it is refused; its id is remembered
		}
	}
	return b
}

// chain returns where the chain ends that starts at the call's next transfer. One that is too long, or whose end is not in
// the call, is refused as a whole by core.
func (n *lane) chain() (end int) {
	return n.from + core.Chain(n.rest.transfers[n.from:], func(t core.Transfer) bool { return t.Linked })
}

// answer hands out a batch's answers, or its error.
func (n *lane) answer(b *batch, err error) {
	l := n.l
	l.stats.batches.Add(1)
	l.pace.did(len(b.items))
	var done []*request
	for _, it := range b.items {
		r := it.of
		if err != nil && r.err == nil {
			r.err = err
		}
		if err == nil {
			l.stats.outcomes[it.answer.Outcome].Add(1)
		}
		r.answers[it.at] = it.answer
		if r.left--; r.left == 0 {
			done = append(done, r)
		}
	}
	l.queued.Add(-int64(len(b.items)))
	l.queue.release(n, done)
	for _, r := range done {
		close(r.done)
	}
}

// post does the batch, again and in halves where need be. After an error nothing is known about it.
func (n *lane) post(ctx context.Context, b *batch) error {
	pause := firstPause
	for try := 1; ; try++ {
		err := n.try(ctx, b)
		var missing *missingShard
		var unknown *unknownCommit
		switch {
		case err == nil:
			return nil
		case errors.As(err, &missing):
			if err = n.l.makeShard(ctx, missing); err == nil {
				break
			}
			if !retryable(err) {
				return err
			}
		case errors.As(err, &unknown):
			n.l.stats.ambiguous.Add(1)
			for _, it := range b.items {
				it.sent = it.answer
			}
		case retryable(err), errors.Is(err, errRaced):
		case refusesData(err):
			return n.halve(ctx, b, err)
		default:
			return err
		}
		if try == maxTries {
			return err
		}
		n.l.stats.retries.Add(1)
		b.attempts++
		n.blind = 1 // somebody else is at work, or the known states are doubtful
		if missing == nil {
			wait(ctx, pause)
			pause = min(2*pause, maxPause)
		}
	}
}

// try does the batch with a guess if there may be one, else, or if the guess was wrong, without.
func (n *lane) try(ctx context.Context, b *batch) error {
	ctx, cancel := context.WithTimeout(ctx, batchLimit)
	defer cancel()
	if n.beside {
		return n.attemptSimple(ctx, b)
	}
	if n.blind > 0 {
		n.blind--
		return n.attemptWhole(ctx, b)
	}
	guess := n.guess(b)
	if guess == nil {
		return n.attemptWhole(ctx, b)
	}
	err := n.attempt(ctx, b, guess)
	if errors.Is(err, errWrongGuess) {
		n.l.stats.missed.Add(1)
		n.blind = 8 // another poster's accounts, or replays: both come in runs
		return n.attemptWhole(ctx, b)
	}
	if err == nil {
		n.l.stats.guessed.Add(1)
	}
	return err
}

// chains gives the batch's chains in order, single transfers too.
func (b *batch) chains() [][]*item {
	var out [][]*item
	for from, i := 0, 0; i < len(b.items); i++ {
		if !b.items[i].linked {
			out = append(out, b.items[from:i+1])
			from = i + 1
		}
	}
	return out
}

// halve finds the transfer that the server does not take: it alone, with its chain, gets Failed. The halves keep the order
// and cut no chain.
func (n *lane) halve(ctx context.Context, b *batch, cause error) error {
	chains := b.chains()
	if len(chains) == 1 {
		for _, it := range b.items {
			it.answer = core.Answer{Outcome: core.Failed, Code: core.NotStorable, Message: "the database did not take this transfer"}
			n.l.cfg.Log.Warn("transfer not storable", "transfer", it.t.ID, "err", cause)
		}
		return nil
	}
	for _, half := range [][][]*item{chains[:len(chains)/2], chains[len(chains)/2:]} {
		items := slices.Concat(half...)
		for _, it := range items {
			if it.same != nil && !slices.Contains(items, it.same) {
				it.same = nil // it was posted in the other half: its id is there now
			}
		}
		if err := n.post(ctx, &batch{items: items, now: b.now}); err != nil {
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
