package jobs

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"time"

	"strata/db"
	"strata/fault"
)

const (
	defaultHistory = 20
	maxHistory     = 1000
)

// Status is how a job stands.
type Status struct {
	Name       string    `json:"name"`
	Schedule   string    `json:"schedule"`
	Configured bool      `json:"configured"` // this Scheduler has it
	Paused     bool      `json:"paused"`
	Next       time.Time `json:"next"`       // the first slot that is not planned; zero: never
	PlannedTo  time.Time `json:"planned_to"` // slots up to then have been planned, or passed over
	Passed     int64     `json:"passed"`     // slots that were passed over since the job is known
	Owner      string    `json:"owner"`      // who holds the lease; "": nobody
	LeaseUntil time.Time `json:"lease_until"`
	Token      uint64    `json:"token"`
	Running    string    `json:"running"`   // the key
	Waiting    int       `json:"waiting"`   // keys that are due, or are tried again
	Failed     int       `json:"failed"`    // keys that stay failed
	LastDone   string    `json:"last_done"` // the key of the newest slot that is done
}

// Run is one key of a job in its history.
type Run struct {
	Job         string          `json:"job"`
	Key         string          `json:"key"`
	Slot        time.Time       `json:"slot"`
	Date        time.Time       `json:"date"`
	State       State           `json:"state"`
	Manual      bool            `json:"manual"` // begun by hand
	Attempt     int             `json:"attempt"`
	Failures    int             `json:"failures"`
	Completions int             `json:"completions"` // 1 when done; more after forced runs
	NotBefore   time.Time       `json:"not_before"`  // when a waiting key is tried
	Owner       string          `json:"owner"`       // who started it last
	Token       uint64          `json:"token"`
	Started     time.Time       `json:"started"` // the last attempt, by the database's clock; zero: not yet
	Ended       time.Time       `json:"ended"`   // zero: not yet
	Summary     string          `json:"summary"`
	Details     json.RawMessage `json:"details,omitempty"`
	LastError   string          `json:"last_error"` // of the last attempt that failed, kept when a later one is done
}

// List tells of all jobs in the database, by name: also those that this Scheduler doesn't have.
func (s *Scheduler) List(ctx context.Context) ([]Status, error) {
	const op = "list jobs"
	rows, err := s.cfg.DB.SQL().QueryContext(ctx, `SELECT j.name, j.schedule, j.paused, j.planned_to, j.passed,
		j.lease_until > UTC_TIMESTAMP(6), j.owner, j.lease_until, j.token,
		COALESCE((SELECT MAX(r.run_key) FROM strata_job_run r WHERE r.job=j.name AND r.state='running' AND r.token=j.token), ''),
		(SELECT COUNT(*) FROM strata_job_run r WHERE r.job=j.name AND r.state='waiting'),
		(SELECT COUNT(*) FROM strata_job_run r WHERE r.job=j.name AND r.state='failed'),
		COALESCE((SELECT r.run_key FROM strata_job_run r WHERE r.job=j.name AND r.state='done' ORDER BY r.slot DESC, r.run_key DESC LIMIT 1), '')
		FROM strata_job j ORDER BY j.name`)
	if err != nil {
		return nil, db.Classify(op, err)
	}
	defer rows.Close()
	var all []Status
	for rows.Next() {
		st, err := s.scanStatus(rows)
		if err != nil {
			return nil, db.Classify(op, err)
		}
		all = append(all, st)
	}
	return all, db.Classify(op, rows.Err())
}

func (s *Scheduler) scanStatus(rows *sql.Rows) (Status, error) {
	var st Status
	var held bool
	var planned, until string
	err := rows.Scan(&st.Name, &st.Schedule, &st.Paused, &planned, &st.Passed, &held, &st.Owner, &until, &st.Token,
		&st.Running, &st.Waiting, &st.Failed, &st.LastDone)
	if err == nil {
		st.PlannedTo, err = unstamp(planned)
	}
	if err == nil {
		st.LeaseUntil, err = unstamp(until)
	}
	if err != nil {
		return st, err
	}
	if !held {
		st.Owner, st.LeaseUntil, st.Running = "", time.Time{}, ""
	}
	var schedule Schedule
	if e := s.jobs[st.Name]; e != nil {
		st.Configured, schedule = true, e.schedule
	} else if schedule, err = ParseSchedule(st.Schedule); err != nil {
		return st, nil //nolint:nilerr // written by a version that reads more than this one: no next slot
	}
	if next, ok := schedule.Next(st.PlannedTo); ok {
		st.Next = next.At
	}
	return st, nil
}

// History gives the newest runs of a job by slot, at most limit (0: 20; at most 1,000). Errors: NotFound.
func (s *Scheduler) History(ctx context.Context, name string, limit int) ([]Run, error) {
	op := "read history of job " + name
	if limit < 0 || limit > maxHistory {
		return nil, fault.New(fault.Invalid, op, "a limit of %d isn't between 0 and %d", limit, maxHistory)
	}
	if err := s.known(ctx, op, name); err != nil {
		return nil, err
	}
	return s.runs(ctx, op, "job=? ORDER BY slot DESC, run_key DESC LIMIT ?", name, orElse(limit, defaultHistory))
}

// RunNow runs one key of a job in this process, paused or not, and returns when it has ended: with how it stands, and the
// job's own error if it failed. "" is the key of the newest slot. What fails by hand is not tried again by itself, unless
// the schedule had planned it. force runs what is done already, isn't due yet or is older than the history. Errors:
// NotFound; Invalid for a key that the job can't have or that isn't due yet; Conflict for one that is done, and for a
// lease that was lost meanwhile; Busy while the job runs here or elsewhere.
func (s *Scheduler) RunNow(ctx context.Context, name, key string, force bool) (Run, error) {
	op := "run job " + name
	e := s.jobs[name]
	if e == nil {
		return Run{}, fault.New(fault.NotFound, op, "this process has no such job")
	}
	t, err := e.find(key, s.now())
	if err != nil {
		return Run{}, err
	}
	if !e.busy.TryLock() {
		return Run{}, fault.New(fault.Busy, op, "it runs in this process")
	}
	defer e.busy.Unlock()
	c, err := s.claim(ctx, e, &request{t, force})
	if err != nil {
		return Run{}, err
	}
	failure, err := s.execute(ctx, e, c)
	if err != nil {
		return Run{}, err
	}
	runs, err := s.runs(context.WithoutCancel(ctx), op, "job=? AND run_key=?", name, t.key)
	if err == nil && len(runs) != 1 {
		err = fault.New(fault.Internal, op, "key %s has %d rows", t.key, len(runs))
	}
	if err != nil {
		return Run{}, err
	}
	if failure != nil {
		return runs[0], fault.Wrap(fault.KindOf(failure), fmt.Sprintf("%s for %s", op, t.key), failure)
	}
	return runs[0], nil
}

// Pause keeps a job's schedule from starting anything, in all processes, until Resume; what runs goes on. Slots that come
// meanwhile are those of a downtime. Pausing twice is harmless. Errors: NotFound.
func (s *Scheduler) Pause(ctx context.Context, name string) error {
	return s.setPaused(ctx, "pause job "+name, name, true)
}

// Resume undoes Pause. Errors: NotFound.
func (s *Scheduler) Resume(ctx context.Context, name string) error {
	return s.setPaused(ctx, "resume job "+name, name, false)
}

func (s *Scheduler) setPaused(ctx context.Context, op, name string, paused bool) error {
	if err := s.known(ctx, op, name); err != nil {
		return err
	}
	r, err := s.cfg.DB.SQL().ExecContext(ctx, "UPDATE strata_job SET paused=? WHERE name=?", paused, name)
	if err != nil {
		return db.Classify(op, err)
	}
	if n, err := r.RowsAffected(); err != nil || n == 0 {
		return db.Classify(op, err)
	}
	s.cfg.Log.Info("job schedule changes", "job", name, "paused", paused)
	return nil
}

func (s *Scheduler) known(ctx context.Context, op, name string) error {
	var n int
	if err := s.cfg.DB.SQL().QueryRowContext(ctx, "SELECT COUNT(*) FROM strata_job WHERE name=?", name).Scan(&n); err != nil {
		return db.Classify(op, err)
	}
	if n == 0 {
		return fault.New(fault.NotFound, op, "there is no such job").WithHint("list the jobs to see their names")
	}
	return nil
}

func (s *Scheduler) runs(ctx context.Context, op, where string, args ...any) ([]Run, error) {
	rows, err := s.cfg.DB.SQL().QueryContext(ctx, `SELECT job, run_key, slot, due_date, state, manual, attempt, failures, completions,
		not_before, owner, token, started, ended, summary, details, last_error FROM strata_job_run WHERE `+where, args...)
	if err != nil {
		return nil, db.Classify(op, err)
	}
	defer rows.Close()
	var all []Run
	for rows.Next() {
		r, err := scanRun(rows)
		if err != nil {
			return nil, db.Classify(op, err)
		}
		all = append(all, r)
	}
	return all, db.Classify(op, rows.Err())
}

func scanRun(rows *sql.Rows) (Run, error) {
	var r Run
	var slot, date, since string
	var started, ended, details sql.NullString
	if err := rows.Scan(&r.Job, &r.Key, &slot, &date, &r.State, &r.Manual, &r.Attempt, &r.Failures, &r.Completions, &since,
		&r.Owner, &r.Token, &started, &ended, &r.Summary, &details, &r.LastError); err != nil {
		return r, err
	}
	for _, f := range []struct {
		to   *time.Time
		text string
	}{{&r.Slot, slot}, {&r.NotBefore, since}, {&r.Started, started.String}, {&r.Ended, ended.String}} {
		if f.text == "" {
			continue
		}
		t, err := unstamp(f.text)
		if err != nil {
			return r, err
		}
		*f.to = t
	}
	if details.Valid {
		r.Details = json.RawMessage(details.String)
	}
	var err error
	r.Date, err = time.Parse(time.DateOnly, date)
	return r, err
}
