package jobs

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"strata/db"
	"strata/fault"
)

// A row of strata_job is one job with its lease. Its lock comes before those of the job's rows in strata_job_run.
const createJob = `CREATE TABLE IF NOT EXISTS strata_job (
 name        VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL PRIMARY KEY,
 schedule    VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
 owner       VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
 lease_until DATETIME(6) NOT NULL,
 token       BIGINT UNSIGNED NOT NULL,
 planned_to  DATETIME(6) NOT NULL,
 passed      BIGINT UNSIGNED NOT NULL,
 purged      DATETIME(6) NOT NULL,
 paused      TINYINT NOT NULL
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4`

const createRun = `CREATE TABLE IF NOT EXISTS strata_job_run (
 job         VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
 run_key     VARCHAR(40) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
 slot        DATETIME(6) NOT NULL,
 due_date    DATE NOT NULL,
 state       VARCHAR(8) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
 manual      TINYINT NOT NULL,
 attempt     INT UNSIGNED NOT NULL,
 failures    INT UNSIGNED NOT NULL,
 completions INT UNSIGNED NOT NULL,
 not_before  DATETIME(6) NOT NULL,
 owner       VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
 token       BIGINT UNSIGNED NOT NULL,
 started     DATETIME(6) NULL,
 ended       DATETIME(6) NULL,
 summary     VARCHAR(1000) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
 details     MEDIUMTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NULL,
 last_error  VARCHAR(1000) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
 PRIMARY KEY (job, run_key),
 KEY by_slot (job, slot),
 KEY by_state (job, state, slot)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4`

const insertRun = `INSERT INTO strata_job_run (job, run_key, slot, due_date, state, manual, attempt, failures, completions,
	not_before, owner, token, summary, last_error) VALUES (?, ?, ?, ?, 'waiting', ?, 0, 0, 0, ?, '', 0, '', '')
	ON DUPLICATE KEY UPDATE token=token`

// EnsureTables creates strata_job and strata_job_run where they are missing. d must be a Writer or an Admin.
func EnsureTables(ctx context.Context, d *db.DB) error {
	for _, q := range []string{createJob, createRun} {
		if _, err := d.SQL().ExecContext(ctx, q); err != nil {
			return db.Classify("create job tables", err)
		}
	}
	return nil
}

func (s *Scheduler) register(ctx context.Context, e *entry) error {
	_, err := s.cfg.DB.SQL().ExecContext(ctx, `INSERT INTO strata_job (name, schedule, owner, lease_until, token, planned_to, passed, purged, paused)
		VALUES (?, ?, '', '1970-01-01', 0, ?, 0, '1970-01-01', 0) ON DUPLICATE KEY UPDATE schedule=VALUES(schedule)`,
		e.Name, e.schedule.String(), stamp(s.now()))
	return db.Classify("register job "+e.Name, err)
}

// now is the clock as far as the tables keep it.
func (s *Scheduler) now() time.Time { return s.cfg.Now().UTC().Truncate(time.Microsecond) }

// inTx runs f in a transaction that is committed when f returns true. An error of the commit leaves open whether it was done.
func (s *Scheduler) inTx(ctx context.Context, op string, f func(tx *sql.Tx) (bool, error)) error {
	tx, err := s.cfg.DB.SQL().BeginTx(ctx, nil)
	if err != nil {
		return db.Classify(op, err)
	}
	commit, err := f(tx)
	if err != nil || !commit {
		_ = tx.Rollback() // the server rolls back whatever it loses sight of
		return classify(op, err)
	}
	return db.Classify(op, tx.Commit())
}

// classify is db.Classify that leaves the errors alone that are not the database's.
func classify(op string, err error) error {
	if c := (*crash)(nil); errors.Is(err, ErrLost) || errors.As(err, &c) {
		return err
	}
	return db.Classify(op, err)
}

const layout = "2006-01-02 15:04:05.999999"

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05.000000") }

func unstamp(text string) (time.Time, error) {
	t, err := time.ParseInLocation(layout, text, time.UTC)
	return t, fault.Wrap(fault.Internal, "read job time", err)
}

// head is a job's row.
type head struct {
	owner   string
	held    bool // the lease has not ended
	until   time.Time
	token   uint64
	planned time.Time
	purged  time.Time
	paused  bool
	clock   time.Time // the database's
}

// lock reads a job's row and locks it.
func (s *Scheduler) lock(ctx context.Context, tx *sql.Tx, name string) (h head, err error) {
	var until, planned, purged, clock string
	err = tx.QueryRowContext(ctx, `SELECT owner, lease_until > UTC_TIMESTAMP(6), lease_until, token, planned_to, purged, paused, UTC_TIMESTAMP(6)
		FROM strata_job WHERE name=? FOR UPDATE`, name).Scan(&h.owner, &h.held, &until, &h.token, &planned, &purged, &h.paused, &clock)
	if errors.Is(err, sql.ErrNoRows) {
		return h, fault.New(fault.NotFound, "lock job", "the row of job %s is gone", name).WithHint("restart to register it again")
	}
	for _, f := range []struct {
		to   *time.Time
		text string
	}{{&h.until, until}, {&h.planned, planned}, {&h.purged, purged}, {&h.clock, clock}} {
		if err == nil {
			*f.to, err = unstamp(f.text)
		}
	}
	return h, err
}

// peek reports, without a lock, whether a claim may find something to do.
func (s *Scheduler) peek(ctx context.Context, e *entry) (bool, error) {
	const op = "look at job "
	var away, ready bool
	var planned string
	now := s.now()
	err := s.cfg.DB.SQL().QueryRowContext(ctx, `SELECT j.paused OR (j.owner<>? AND j.lease_until > UTC_TIMESTAMP(6)), j.planned_to,
		COALESCE((SELECT r.state='running' OR r.not_before<=? FROM strata_job_run r WHERE r.job=j.name AND r.state IN ('waiting','running')
			ORDER BY r.slot, r.run_key LIMIT 1), 0) FROM strata_job j WHERE j.name=?`, s.owner, stamp(now), e.Name).Scan(&away, &planned, &ready)
	if errors.Is(err, sql.ErrNoRows) {
		return false, fault.New(fault.NotFound, op+e.Name, "its row is gone").WithHint("restart to register it again")
	}
	if err != nil {
		return false, db.Classify(op+e.Name, err)
	}
	last, err := unstamp(planned)
	if err != nil || away {
		return false, err
	}
	next, ok := e.schedule.Next(last)
	return ready || ok && !next.At.After(now), nil
}
