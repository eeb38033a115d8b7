package jobs

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"strata/fault"
)

// State is where a key is.
type State string

// A waiting key is to be run, or run again after a failure; a failed one stays so until it is run by hand.
const (
	Waiting State = "waiting"
	Running State = "running"
	Done    State = "done"
	Failed  State = "failed"
)

// claim is the right to run one key and to record how it ended, as long as the job's token is this one.
type claim struct {
	target
	token    uint64
	attempt  int
	failures int
	limit    int       // failures that make the key failed
	hand     bool      // started by RunNow
	until    time.Time // the lease holds at least until then, by this process's clock
}

// request is what RunNow asks for.
type request struct {
	target
	force bool
}

// row is a row of strata_job_run as a claim sees it.
type row struct {
	target
	state    State
	manual   bool
	attempt  int
	failures int
	since    time.Time // not before
	owner    string
}

// claim takes the job's lease together with one key: the oldest that is due, or the one that was asked for. What has become
// due is planned in the same transaction. Without a request, nil says that there is nothing to do, or that somebody else
// has the job; for a request that is Busy.
func (s *Scheduler) claim(ctx context.Context, e *entry, want *request) (*claim, error) {
	op := "claim job " + e.Name
	if err := s.at("jobs.claim.before"); err != nil {
		return nil, err
	}
	var c *claim
	var passed int64
	var died []row
	sent := time.Now()
	err := s.inTx(ctx, op, func(tx *sql.Tx) (bool, error) {
		h, err := s.lock(ctx, tx, e.Name)
		if err != nil {
			return false, err
		}
		if h.held && h.owner != s.owner {
			if want == nil {
				return false, nil
			}
			return false, fault.New(fault.Busy, op, "%s runs it, with a lease until %s", h.owner, h.until.Format(time.RFC3339)).
				WithHint("wait for it to end; see the job's history")
		}
		var r *row
		if want != nil {
			r, err = s.reserve(ctx, tx, e, h, want)
		} else {
			r, passed, died, err = s.next(ctx, tx, e, h)
		}
		if err != nil {
			return false, err
		}
		if r != nil {
			c = &claim{target: r.target, token: h.token + 1, attempt: r.attempt + 1, failures: r.failures, limit: e.limit(r.manual),
				hand: want != nil, until: sent.Add(s.cfg.Lease)}
			if err := s.start(ctx, tx, e, r, c); err != nil {
				return false, err
			}
		}
		return true, s.at("jobs.claim.commit")
	})
	if err != nil {
		return nil, err
	}
	s.note(func(st *Stats) { st.Passed += passed })
	if passed > 0 {
		s.cfg.Log.Warn("due times are passed over", "job", e.Name, "count", passed)
	}
	for _, r := range died {
		s.cfg.Log.Error("job has failed", "job", e.Name, "key", r.key, "err", gone(r))
	}
	if c == nil {
		return nil, nil
	}
	return c, s.at("jobs.claim.after")
}

// next plans what has become due and gives the oldest key that can be run now, if any. Rows of runners that are gone and
// may not be tried again become failed: died.
func (s *Scheduler) next(ctx context.Context, tx *sql.Tx, e *entry, h head) (r *row, passed int64, died []row, err error) {
	if h.paused {
		return nil, 0, nil, nil
	}
	now := s.now()
	if d := now.Sub(h.clock).Abs(); s.cfg.MaxSkew > 0 && d > s.cfg.MaxSkew {
		return nil, 0, nil, fault.New(fault.Unsafe, "claim job "+e.Name, "the clock here is %s away from the database's", d.Round(time.Second)).
			WithHint("set the clocks right")
	}
	if now.After(h.planned) {
		var targets []target
		targets, passed = e.plan(h.planned, now)
		for _, t := range targets {
			if _, err := tx.ExecContext(ctx, insertRun, e.Name, t.key, stamp(t.slot), t.date.Format(time.DateOnly), false, stamp(t.slot)); err != nil {
				return nil, 0, nil, err
			}
		}
		if _, err := tx.ExecContext(ctx, "UPDATE strata_job SET planned_to=?, passed=passed+? WHERE name=?", stamp(now), passed, e.Name); err != nil {
			return nil, 0, nil, err
		}
		if err := s.at("jobs.claim.planned"); err != nil {
			return nil, 0, nil, err
		}
	}
	for {
		r, err := s.oldest(ctx, tx, e)
		switch {
		case err != nil || r == nil:
			return nil, passed, died, err
		case r.state == Waiting && r.since.After(now):
			return nil, passed, died, nil // the keys after it wait too
		case r.state == Waiting:
			return r, passed, died, nil
		}
		// Its runner is gone: the lease has ended, or is in our name and nobody here uses it, which is no failure of the job.
		if r.owner != s.owner {
			r.failures++
		}
		if !r.manual && r.failures < e.MaxAttempts {
			return r, passed, died, nil
		}
		if err := s.bury(ctx, tx, e, *r); err != nil {
			return nil, 0, nil, err
		}
		died = append(died, *r)
	}
}

// oldest locks the oldest row that is waiting, or running with nobody to run it.
func (s *Scheduler) oldest(ctx context.Context, tx *sql.Tx, e *entry) (*row, error) {
	return scanRow(tx.QueryRowContext(ctx, `SELECT run_key, slot, due_date, state, manual, attempt, failures, not_before, owner FROM strata_job_run
		WHERE job=? AND state IN ('waiting','running') ORDER BY slot, run_key LIMIT 1 FOR UPDATE`, e.Name))
}

// reserve checks that a key may be run by hand and makes its row where there is none.
func (s *Scheduler) reserve(ctx context.Context, tx *sql.Tx, e *entry, h head, want *request) (*row, error) {
	op := "run job " + e.Name
	r, err := scanRow(tx.QueryRowContext(ctx, `SELECT run_key, slot, due_date, state, manual, attempt, failures, not_before, owner FROM strata_job_run
		WHERE job=? AND run_key=? FOR UPDATE`, e.Name, want.key))
	if err != nil {
		return nil, err
	}
	switch {
	case r == nil && want.slot.After(s.now()) && !want.force:
		return nil, fault.New(fault.Invalid, op, "key %s isn't due before %s", want.key, want.slot.Format(time.RFC3339)).WithHint("force it to run it now")
	case r == nil && !want.slot.After(h.purged) && !want.force:
		return nil, fault.New(fault.Conflict, op, "key %s is older than the job's history, so it may have been done", want.key).WithHint("force it to run it again")
	case r == nil:
		_, err := tx.ExecContext(ctx, insertRun, e.Name, want.key, stamp(want.slot), want.date.Format(time.DateOnly), true, stamp(want.slot))
		return &row{target: want.target, manual: true}, err
	case r.state == Done && !want.force:
		return nil, fault.New(fault.Conflict, op, "key %s is done", want.key).WithHint("force it to run it again")
	case r.state == Done || r.state == Failed:
		r.manual, r.failures = true, 0
	case r.state == Running && r.owner != s.owner:
		r.failures++
	}
	return r, nil
}

// start makes the row running and the job's lease ours, with a new token.
func (s *Scheduler) start(ctx context.Context, tx *sql.Tx, e *entry, r *row, c *claim) error {
	if _, err := tx.ExecContext(ctx, `UPDATE strata_job_run SET state='running', manual=?, attempt=?, failures=?, owner=?, token=?,
		started=UTC_TIMESTAMP(6), ended=NULL WHERE job=? AND run_key=?`, r.manual, c.attempt, c.failures, s.owner, c.token, e.Name, c.key); err != nil {
		return err
	}
	_, err := tx.ExecContext(ctx, `UPDATE strata_job SET owner=?, token=?, lease_until=UTC_TIMESTAMP(6)+INTERVAL ? MICROSECOND WHERE name=?`,
		s.owner, c.token, s.cfg.Lease.Microseconds(), e.Name)
	return err
}

// bury makes the row of a runner that is gone failed.
func (s *Scheduler) bury(ctx context.Context, tx *sql.Tx, e *entry, r row) error {
	_, err := tx.ExecContext(ctx, `UPDATE strata_job_run SET state='failed', failures=?, ended=UTC_TIMESTAMP(6), last_error=? WHERE job=? AND run_key=?`,
		r.failures, gone(r), e.Name, r.key)
	return err
}

func gone(r row) string {
	return fmt.Sprintf("attempt %d ended without a result: %s is gone", r.attempt, r.owner)
}

// limit is the number of failures that make a key failed. What was begun by hand is not tried again by itself.
func (j *job) limit(manual bool) int {
	if manual {
		return 1
	}
	return j.MaxAttempts
}

func scanRow(from *sql.Row) (*row, error) {
	var r row
	var slot, date, since string
	err := from.Scan(&r.key, &slot, &date, &r.state, &r.manual, &r.attempt, &r.failures, &since, &r.owner)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err == nil {
		r.slot, err = unstamp(slot)
	}
	if err == nil {
		r.since, err = unstamp(since)
	}
	if err == nil {
		r.date, err = time.Parse(time.DateOnly, date)
	}
	return &r, err
}
