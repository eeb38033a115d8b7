package across

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"strata/core"
	"strata/fault"
)

// The bounds of a pass of recovery: what is more comes with the next one. maxBackOff is also how long a ledger that came back
// waits at most for the Confirms that it missed.
const (
	passLimit  = 100
	passWide   = 4
	maxBackOff = time.Minute
)

// Pass is what one pass of Recover did.
type Pass struct {
	Looked int64 // transfers that were due
	Done   int64 // of those, ended now
	Left   int64 // of those, still in flight
}

// Run recovers until ctx ends, and returns nil then. What a pass could not do is logged and done by a later one. An error is
// a crash point's.
func (c *Coordinator) Run(ctx context.Context) error {
	c.cfg.Log.Info("coordinator started")
	tick := time.NewTicker(c.cfg.Every)
	defer tick.Stop()
	for {
		p, err := c.Recover(ctx)
		switch {
		case crashed(err):
			return err
		case ctx.Err() != nil:
			c.cfg.Log.Info("coordinator stopped")
			return nil
		case err != nil:
			c.cfg.Log.Warn("recovery incomplete", "err", err)
		}
		if p.Looked == passLimit && p.Done > 0 {
			continue
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
	}
}

// Recover is one pass over the transfers that are due: undecided since the grace, or decided and not carried out everywhere.
// Undecided ones are aborted, unless they turn out to be decided: the decision that is there is obeyed. Each is tried alone; the
// error joins what the database or a crash point said.
func (c *Coordinator) Recover(ctx context.Context) (Pass, error) {
	var p Pass
	rows, err := c.store.due(ctx, c.now(), passLimit)
	if err != nil {
		return p, err
	}
	errs := make([]error, len(rows))
	var done atomic.Int64
	g, stop := errgroup.WithContext(ctx)
	g.SetLimit(passWide)
	for i := range rows {
		g.Go(func() error {
			ended, err := c.recoverOne(stop, rows[i])
			if ended {
				done.Add(1)
			}
			if errs[i] = err; !crashed(err) {
				err = nil // the others go on
			}
			return err
		})
	}
	_ = g.Wait() // a crash point's error is among errs
	p.Looked, p.Done = int64(len(rows)), done.Load()
	p.Left = p.Looked - p.Done
	return p, errors.Join(errs...)
}

func (c *Coordinator) recoverOne(ctx context.Context, r record) (ended bool, err error) {
	if ctx.Err() != nil { // a stop, or another one's crash point
		return false, fmt.Errorf("recover transfer %s: %w", r.id, ctx.Err())
	}
	pause := time.Second << min(r.attempts, 6)
	ours, err := c.store.claim(ctx, &r, c.now().Add(min(pause, maxBackOff)))
	if err != nil || !ours {
		return false, err
	}
	w, err := newWork(r)
	if err != nil {
		return false, err
	}
	if err := c.drive(ctx, w); err != nil {
		return false, err
	}
	if d := w.rec.decision; d.By == w.token {
		c.stats.givenUp.Add(1)
		c.cfg.Log.Warn("transfer given up", "transfer", r.id)
	}
	if w.rec.state == Done {
		c.stats.recovered.Add(1)
	}
	return w.rec.state == Done, nil
}

// Find returns what is known of a transfer, and whether anything is.
func (c *Coordinator) Find(ctx context.Context, id string) (Status, bool, error) {
	r, found, err := c.store.load(ctx, id)
	if err != nil || !found {
		return Status{}, false, err
	}
	st, err := status(r)
	return st, err == nil, err
}

// List returns up to limit (at most 1000) unfinished transfers with ids after the given one, ascending. A Part with a Code
// and a Decision is one whose ledger refuses to carry it out: it needs a person.
func (c *Coordinator) List(ctx context.Context, after string, limit int) ([]Status, error) {
	return c.list(ctx, []State{Trying, Commit, Abort}, after, limit)
}

func (c *Coordinator) list(ctx context.Context, states []State, after string, limit int) ([]Status, error) {
	rows, err := c.store.list(ctx, states, after, max(1, min(limit, 1000)))
	if err != nil {
		return nil, err
	}
	out := make([]Status, 0, len(rows))
	for _, r := range rows {
		st, err := status(r)
		if err != nil {
			return nil, err
		}
		out = append(out, st)
	}
	return out, nil
}

// Count counts the unfinished transfers by state.
func (c *Coordinator) Count(ctx context.Context) (map[State]int64, error) { return c.store.count(ctx) }

// Forget deletes up to limit transfers that are done and ordered longer ago than the horizon and a day; a transfer of such an
// age is refused, whether its id is known or not.
func (c *Coordinator) Forget(ctx context.Context, limit int) (int64, error) {
	return c.store.forget(ctx, c.now().Add(-c.cfg.Horizon-core.Ahead), max(1, min(limit, 1000)))
}

func status(r record) (Status, error) {
	w, err := newWork(r)
	if err != nil {
		return Status{}, err
	}
	st := Status{ID: r.id, Transfer: w.body.Transfer, State: r.state, Parts: w.rec.parts, At: r.at, Due: r.due, Attempts: r.attempts}
	if r.decision == nil {
		if r.state != Trying {
			return st, r.undecided()
		}
		return st, nil
	}
	if st.Decision = Abort; r.decision.Commit {
		st.Decision = Commit
	}
	st.Answer = w.answer()
	return st, nil
}

// undecided is the error for rows that this package does not leave behind: somebody has deleted the decision.
func (r *record) undecided() error {
	return fault.New(fault.Proof, "read transfer "+r.id, "its state is %s, and there is no decision", r.state)
}
