package jobs

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"runtime/debug"
	"strings"
	"time"

	"strata/db"
	"strata/fault"
)

const (
	maxText    = 1000
	maxDetails = 64 << 10
	maxRetry   = time.Second // between two tries of recording a result
)

// outcome is how an attempt ended.
type outcome struct {
	result Result
	err    error // of the job
	state  State
	wait   time.Duration // before it is tried again
	counts bool          // as a failure
}

// execute runs a claimed key and records how it ended. The first error is the job's own, for who asked; the second says
// that nothing is recorded, or a crash point's.
func (s *Scheduler) execute(ctx context.Context, e *entry, c *claim) (failure, err error) {
	s.note(func(st *Stats) { st.Started++; st.Running++ })
	defer s.note(func(st *Stats) { st.Running-- })
	out, err := s.attempt(ctx, e, c)
	if err == nil {
		err = s.record(ctx, e, c, out)
	}
	if errors.Is(err, ErrLost) {
		s.note(func(st *Stats) { st.Lost++ })
		return nil, fault.New(fault.Conflict, "run job "+e.Name, "key %s: %w, so its result is not recorded", c.key, ErrLost).
			WithHint("another runner has the job now; see its history")
	}
	if err != nil {
		return nil, err
	}
	switch {
	case out.state == Done:
		s.note(func(st *Stats) { st.Done++ })
		s.cfg.Log.Debug("job is done", "job", e.Name, "key", c.key, "summary", out.result.Summary)
	case !out.counts:
		s.note(func(st *Stats) { st.Interrupted++ })
	default:
		s.note(func(st *Stats) { st.Failed++ })
		s.cfg.Log.Warn("job has failed", "job", e.Name, "key", c.key, "attempt", c.attempt, "state", out.state, "err", out.err, "hint", fault.HintOf(out.err))
	}
	if err := s.at("jobs.record.after"); err != nil {
		return nil, err
	}
	if err := s.purge(ctx, e, c); err != nil { // the run stands; the 64th after it purges again
		s.cfg.Log.Warn("job history is not purged", "job", e.Name, "err", err)
	}
	return out.err, nil
}

// attempt calls the job while the lease is renewed beside it. ErrLost: the lease is gone.
func (s *Scheduler) attempt(ctx context.Context, e *entry, c *claim) (outcome, error) {
	held, drop := context.WithCancelCause(ctx)
	defer drop(nil)
	timed, cancel := context.WithTimeoutCause(held, e.Timeout,
		fault.New(fault.Timeout, "run job "+e.Name, "key %s took longer than %s", c.key, e.Timeout))
	defer cancel()
	// The lease is renewed until the job has returned, also while it ends what a stop interrupted.
	renewing, end := context.WithCancel(context.WithoutCancel(ctx))
	kept := make(chan error, 1)
	go func() {
		err := s.keep(renewing, e, c)
		if err != nil {
			drop(err)
		}
		kept <- err
	}()
	due := Due{Job: e.Name, Key: c.key, Slot: c.slot, Date: c.date, Attempt: c.attempt, Token: c.token, Manual: c.hand}
	result, err := s.call(timed, e, due)
	cause := context.Cause(timed)
	end()
	if lost := <-kept; lost != nil {
		return outcome{}, lost
	}
	if err := s.at("jobs.ran"); err != nil {
		return outcome{}, err
	}
	switch {
	case err == nil:
		return outcome{result: result, state: Done}, nil
	case ctx.Err() != nil:
		out := outcome{result: result, err: fault.Wrap(fault.Interrupted, "run job "+e.Name, err), state: Waiting}
		if c.hand {
			out.state = Failed // who interrupted it by hand does not want it to begin again
		}
		return out, nil
	case cause != nil:
		err = fmt.Errorf("%w (%w)", cause, err)
	}
	out := outcome{result: result, err: err, state: Waiting, counts: true, wait: e.backoff(c.failures + 1)}
	if c.failures+1 >= c.limit {
		out.state = Failed
	}
	return out, nil
}

// call calls the job; a panic is its error.
func (s *Scheduler) call(ctx context.Context, e *entry, due Due) (result Result, err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fault.New(fault.Internal, "run job "+e.Name, "panic: %v", v)
			s.cfg.Log.Error("job panics", "job", e.Name, "key", due.Key, "err", err, "stack", string(debug.Stack()))
		}
	}()
	return e.Run(ctx, due)
}

// keep renews the lease until ctx ends. ErrLost: it was taken, or could not be renewed before its end. While the database
// is away it asks again and again.
func (s *Scheduler) keep(ctx context.Context, e *entry, c *claim) error {
	wait := s.cfg.Renew
	for {
		timer := time.NewTimer(min(wait, time.Until(c.until)))
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-timer.C:
		}
		if err := s.at("jobs.renew.before"); err != nil {
			return err
		}
		wait = min(s.cfg.Renew, maxRetry)
		sent := time.Now()
		mine, err := s.renew(ctx, e, c)
		switch {
		case err == nil && !mine:
			return ErrLost
		case err == nil:
			c.until, wait = sent.Add(s.cfg.Lease), s.cfg.Renew
		case ctx.Err() != nil:
			return nil //nolint:nilerr // a stop was asked for
		case !time.Now().Before(c.until):
			return fmt.Errorf("%w: %w", ErrLost, err)
		}
		if err := s.at("jobs.renew.after"); err != nil {
			return err
		}
	}
}

// renew reports whether the lease was still this claim's; an ended one that nobody has taken is.
func (s *Scheduler) renew(ctx context.Context, e *entry, c *claim) (bool, error) {
	limited, cancel := context.WithDeadline(ctx, laterOf(c.until, time.Now().Add(minWait)))
	defer cancel()
	r, err := s.cfg.DB.SQL().ExecContext(limited, "UPDATE strata_job SET lease_until=UTC_TIMESTAMP(6)+INTERVAL ? MICROSECOND WHERE name=? AND token=?",
		s.cfg.Lease.Microseconds(), e.Name, c.token)
	if err != nil {
		return false, db.Classify("renew lease of job "+e.Name, err)
	}
	n, err := r.RowsAffected()
	return n == 1, db.Classify("renew lease of job "+e.Name, err)
}

// record writes how the attempt ended and gives the lease back, in one transaction. It is tried again for as long as a
// lease, also after a stop was asked for: it can't do harm, since it writes only while the token is the claim's.
func (s *Scheduler) record(ctx context.Context, e *entry, c *claim, out outcome) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.cfg.Lease)
	defer cancel()
	for wait := minWait; ; wait = min(2*wait, maxRetry) {
		err := s.recordOnce(ctx, e, c, out)
		if cr := (*crash)(nil); err == nil || errors.Is(err, ErrLost) || errors.As(err, &cr) {
			return err
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return err
		case <-timer.C:
		}
	}
}

func (s *Scheduler) recordOnce(ctx context.Context, e *entry, c *claim, out outcome) error {
	return s.inTx(ctx, "record run of job "+e.Name, func(tx *sql.Tx) (bool, error) {
		h, err := s.lock(ctx, tx, e.Name)
		if err != nil {
			return false, err
		}
		var token uint64
		var state State
		err = tx.QueryRowContext(ctx, "SELECT token, state FROM strata_job_run WHERE job=? AND run_key=? FOR UPDATE", e.Name, c.key).Scan(&token, &state)
		switch {
		case errors.Is(err, sql.ErrNoRows) || err == nil && token != c.token:
			return false, ErrLost
		case err != nil:
			return false, err
		case state != Running:
			return false, nil // an earlier try was committed, and its answer did not come
		case h.token != c.token:
			return false, ErrLost
		}
		if err := s.write(ctx, tx, e, c, out); err != nil {
			return false, err
		}
		if _, err := tx.ExecContext(ctx, "UPDATE strata_job SET owner='', lease_until='1970-01-01' WHERE name=? AND token=?", e.Name, c.token); err != nil {
			return false, err
		}
		return true, s.at("jobs.record.commit")
	})
}

func (s *Scheduler) write(ctx context.Context, tx *sql.Tx, e *entry, c *claim, out outcome) error {
	summary, details := shorten(out.result)
	set, args := "summary=?, details=?", []any{summary, details}
	if out.state == Done {
		set += ", completions=completions+1"
	} else {
		set, args = set+", last_error=?, not_before=?", append(args, cut(out.err.Error()), stamp(s.now().Add(out.wait)))
	}
	if out.counts {
		set += ", failures=failures+1"
	}
	args = append(args, string(out.state), e.Name, c.key, c.token)
	r, err := tx.ExecContext(ctx, "UPDATE strata_job_run SET "+set+", state=?, ended=UTC_TIMESTAMP(6) WHERE job=? AND run_key=? AND token=? AND state='running'", args...)
	if err != nil {
		return err
	}
	if n, err := r.RowsAffected(); err != nil || n != 1 {
		return fault.New(fault.Internal, "record run of job "+e.Name, "%d rows of key %s were changed under lock: %w", n, c.key, err)
	}
	return nil
}

// purge forgets, every 64th time, the oldest ended runs beyond what the job keeps.
func (s *Scheduler) purge(ctx context.Context, e *entry, c *claim) error {
	if c.token%64 != 0 {
		return nil
	}
	return s.inTx(ctx, "purge history of job "+e.Name, func(tx *sql.Tx) (bool, error) {
		if _, err := s.lock(ctx, tx, e.Name); err != nil {
			return false, err
		}
		var slot string
		err := tx.QueryRowContext(ctx, "SELECT slot FROM strata_job_run WHERE job=? ORDER BY slot DESC LIMIT 1 OFFSET ?", e.Name, e.Keep).Scan(&slot)
		if errors.Is(err, sql.ErrNoRows) {
			return false, nil
		}
		if err != nil {
			return false, err
		}
		if _, err := tx.ExecContext(ctx, "UPDATE strata_job SET purged=GREATEST(purged, ?) WHERE name=?", slot, e.Name); err != nil {
			return false, err
		}
		_, err = tx.ExecContext(ctx, "DELETE FROM strata_job_run WHERE job=? AND slot<=? AND state IN ('done','failed') LIMIT 1000", e.Name, slot)
		return true, err
	})
}

func shorten(r Result) (summary string, details any) {
	summary = cut(r.Summary)
	switch {
	case r.Details == nil:
		return summary, nil
	case len(r.Details) > maxDetails:
		return cut("[details left out: too large] " + summary), nil
	case !json.Valid(r.Details):
		return cut("[details left out: not JSON] " + summary), nil
	}
	return summary, string(r.Details)
}

func cut(text string) string {
	return strings.ToValidUTF8(text[:min(len(text), maxText)], "")
}

func laterOf(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
