package across

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"strata/core"
	"strata/fault"
)

// work is one turn of one process on one transfer.
type work struct {
	rec    record
	body   body
	shares []share // none where the transfer was refused for what it is
	token  string  // marks a decision as this turn's
	// tries is whether the ledgers may still be tried: by Post, never by recovery.
	tries   bool
	refused *Answer // why it can't be tried
}

func newWork(r record) (*work, error) {
	w := &work{rec: r, token: rand.Text()}
	w.body.Transfer.ID = r.id
	if r.body != "" {
		if err := json.Unmarshal([]byte(r.body), &w.body); err != nil {
			return nil, fault.New(fault.Internal, "read transfer "+r.id, "%w", err)
		}
		shares, ok := w.body.shares()
		if !ok {
			return nil, fault.New(fault.Internal, "read transfer "+r.id, "its legs exceed 64 bits")
		}
		w.shares = shares
	}
	if len(w.rec.parts) != len(w.shares) {
		w.rec.parts = make([]Part, len(w.shares))
		for i := range w.shares {
			w.rec.parts[i] = Part{Ledger: w.shares[i].ledger, Progress: Waiting}
		}
	}
	return w, nil
}

// drive brings a transfer as far as it gets now. After nil it is decided.
func (c *Coordinator) drive(ctx context.Context, w *work) error {
	if w.rec.state == Done && w.rec.decision != nil {
		return nil
	}
	if w.rec.state != Trying && w.rec.decision == nil {
		return w.rec.undecided()
	}
	if w.rec.decision == nil {
		want, err := c.wanted(ctx, w)
		if err != nil {
			return err
		}
		if err := c.at("across.before_decide"); err != nil {
			return err
		}
		got, err := c.decide(ctx, w, want)
		if err != nil {
			return err
		}
		w.rec.decision = &got
		if w.rec.state = Abort; got.Commit {
			w.rec.state = Commit
		}
		if err := c.at("across.after_decide"); err != nil {
			return err
		}
	}
	return c.finish(ctx, w)
}

// wanted is the decision that this turn would make: Commit only if every ledger has answered that it reserved.
func (c *Coordinator) wanted(ctx context.Context, w *work) (decision, error) {
	d := decision{By: w.token, At: c.now()}
	switch {
	case w.refused != nil:
		d.Code, d.Message, d.Field, d.Ledger = w.refused.Code, w.refused.Message, w.refused.Field, w.refused.Ledger
		return d, nil
	case !w.tries || len(w.shares) == 0:
		d.Code, d.Message = Aborted, "it was not decided in time; nothing was booked"
		return d, nil
	}
	answers, errs, err := c.try(ctx, w)
	if err != nil {
		return d, err
	}
	for i := range w.shares {
		if a := &answers[i]; errs[i] == nil && a.Outcome != core.Applied && a.Outcome != core.Replayed {
			w.rec.parts[i].Code = a.Code
			d.Code, d.Message, d.Field, d.Ledger = a.Code, a.Message, w.shares[i].field(a.Field), w.shares[i].ledger
			return d, nil
		}
	}
	if err := errors.Join(errs...); err != nil {
		for i := range errs {
			w.rec.parts[i].note(errs[i])
		}
		// The note is for operators; where it fails, the cause is the first error.
		_ = c.store.save(ctx, &w.rec)
		return d, fault.New(fault.KindOf(err), "try transfer "+w.rec.id, "%w", err).WithHint(
			"post the same again; recovery gives it up %s after it came", c.cfg.Grace)
	}
	d.Commit, d.At = true, c.now()
	return d, nil
}

// try reserves in all ledgers at once. The error is a crash point's; errs are the ledgers'.
func (c *Coordinator) try(ctx context.Context, w *work) (answers []core.Answer, errs []error, err error) {
	answers, errs = make([]core.Answer, len(w.shares)), make([]error, len(w.shares))
	var g errgroup.Group
	for i := range w.shares {
		g.Go(func() error {
			if err := c.at("across.before_try"); err != nil {
				return err
			}
			s := &w.shares[i]
			answers[i], errs[i] = c.ask(ctx, s.ledger, w.body.try(s))
			return c.at("across.after_try")
		})
	}
	return answers, errs, g.Wait()
}

// ask posts one transfer to one ledger.
func (c *Coordinator) ask(ctx context.Context, ledger string, t core.Transfer) (core.Answer, error) {
	op := fmt.Sprintf("%s %s in ledger %s", t.Action, t.ID, ledger)
	l, ok := c.cfg.Ledgers[ledger]
	if !ok {
		return core.Answer{}, fault.New(fault.Unavailable, op, "this ledger is not configured").WithHint("configure it again until nothing is in flight")
	}
	answers, err := l.Post(ctx, []core.Transfer{t})
	if err != nil {
		return core.Answer{}, fault.Wrap(fault.KindOf(err), op, err)
	}
	if len(answers) != 1 {
		return core.Answer{}, fault.New(fault.Internal, op, "%d answers for one transfer", len(answers))
	}
	return answers[0], nil
}

// decide makes the decision durable or finds the one that is. While a day is being cut no Commit is made: it waits.
func (c *Coordinator) decide(ctx context.Context, w *work, want decision) (decision, error) {
	var waited time.Duration
	for pause := firstPause; ; pause = min(2*pause, maxPause) {
		got, err := c.store.decide(ctx, w.rec.id, want)
		if !errors.Is(err, errHeld) {
			return got, err
		}
		if waited >= c.cfg.Held {
			return got, fault.New(fault.Busy, "decide transfer "+w.rec.id, "%w", err).WithHint("post the same again")
		}
		wait(ctx, pause)
		waited += pause
		if ctx.Err() != nil {
			return got, fmt.Errorf("decide transfer %s: %w", w.rec.id, ctx.Err())
		}
	}
}

// finish carries the decision out in every ledger that has not done so yet, and notes how far it came. An error is a crash
// point's only: what a ledger could not do now, recovery does later.
func (c *Coordinator) finish(ctx context.Context, w *work) error {
	var g errgroup.Group
	var stuck atomic.Int64
	for i := range w.rec.parts {
		if w.rec.parts[i].Progress != Waiting {
			continue
		}
		g.Go(func() error {
			before, after := "across.before_confirm", "across.after_confirm"
			if !w.rec.decision.Commit {
				before, after = "across.before_cancel", "across.after_cancel"
			}
			if err := c.at(before); err != nil {
				return err
			}
			if c.end(ctx, w, &w.rec.parts[i]) {
				stuck.Add(1)
			}
			return c.at(after)
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	c.stats.stuck.Add(stuck.Load())
	done := true
	for i := range w.rec.parts {
		done = done && w.rec.parts[i].Progress != Waiting
	}
	if done {
		if err := c.at("across.before_done"); err != nil {
			return err
		}
		w.rec.state = Done
	}
	if err := c.store.save(ctx, &w.rec); err != nil {
		// Decided it is. Recovery asks the ledgers again, gets the same answers, and saves them.
		c.cfg.Log.Warn("progress not saved", "transfer", w.rec.id, "err", err)
		if done {
			w.rec.state = Abort
			if w.rec.decision.Commit {
				w.rec.state = Commit
			}
		}
		return nil
	}
	if done {
		return c.at("across.after_done")
	}
	return nil
}

// end confirms or cancels in one ledger, and reports whether the ledger refused what it must not refuse.
func (c *Coordinator) end(ctx context.Context, w *work, p *Part) (stuck bool) {
	l, ok := c.cfg.Ledgers[p.Ledger]
	var from time.Time
	if ok && w.rec.decision.Commit {
		day, err := l.Day(ctx)
		if err != nil {
			p.note(err)
			return false
		}
		from = day
	}
	t := w.body.ending(w.rec.decision)
	a, err := c.ask(ctx, p.Ledger, t)
	if err != nil {
		p.note(err)
		return false
	}
	booked := a.Outcome == core.Applied || a.Outcome == core.Replayed
	switch {
	case booked && w.rec.decision.Commit:
		p.Progress, p.Code, p.Error, p.Balances = Confirmed, "", "", a.Balances
		c.date(ctx, l, w.rec.decision.Cut, t.Of, a.Outcome, from, p)
		return false
	case booked, !w.rec.decision.Commit && c.ended(ctx, l, t.Of):
		p.Progress, p.Error = Cancelled, ""
		return false
	}
	p.Code, p.Error = a.Code, a.Message
	c.cfg.Log.Error("ledger refuses to end a reservation", "transfer", w.rec.id, "ledger", p.Ledger, "action", t.Action.String(),
		"code", string(a.Code), "err", a.Message)
	return true
}

// ended reports whether a reservation whose cancel was refused holds nothing anyway: somebody else has cancelled it.
func (c *Coordinator) ended(ctx context.Context, l Ledger, try string) bool {
	r, err := l.Reservation(ctx, try)
	return err == nil && (r.State == core.Cancelled || r.State == core.Expired || r.State == core.Fenced)
}

// date bounds the accounting date of a Confirm: read before it, and after. Of one that was made at an earlier turn the lower
// bound is the date of the Try, or of the last cut before the decision.
func (c *Coordinator) date(ctx context.Context, l Ledger, cut, try string, o core.Outcome, from time.Time, p *Part) {
	to, err := l.Day(ctx)
	if err != nil {
		return
	}
	if o != core.Applied {
		r, err := l.Reservation(ctx, try)
		if err != nil {
			return
		}
		from = r.Day
		// A ledger that came later may be behind the cut.
		if day, err := time.Parse(time.DateOnly, cut); err == nil && day.After(from) && !day.After(to) {
			from = day
		}
	}
	p.From, p.To = from, to
}

func (p *Part) note(err error) {
	if p.Error = ""; err != nil {
		p.Error = err.Error()
	}
}

// answer tells what the caller is told. The transfer is decided.
func (w *work) answer() Answer {
	d, a := w.rec.decision, Answer{State: w.rec.state}
	if !d.Commit {
		a.Outcome, a.Code, a.Message, a.Field, a.Ledger = core.Refused, d.Code, d.Message, d.Field, d.Ledger
		return a
	}
	if a.Outcome = core.Replayed; d.By == w.token {
		a.Outcome = core.Applied
	}
	if w.rec.state != Done {
		return a
	}
	a.Balances = make([]core.Balance, len(w.body.Transfer.Legs))
	for i := range w.shares {
		for n, b := range w.rec.parts[i].Balances {
			if n < len(w.shares[i].origin) && w.shares[i].origin[n] >= 0 {
				a.Balances[w.shares[i].origin[n]] = b
			}
		}
	}
	return a
}
