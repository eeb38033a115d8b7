package control

import (
	"context"
	"database/sql"
	"encoding/json"
	"time"

	"strata/db"
	"strata/fault"
	syncer "strata/sync"
)

// Reports is the syncer's Board in the control database: who applies which dataset (sync_lease, a row a dataset), how each
// process stands (sync_process, a row a process) and what is to go on (sync_resume, a row a dataset), per index. It is safe for
// concurrent use. Every write is one statement and its own transaction; times are the database's.
type Reports struct {
	d     *db.DB
	index string
}

var _ syncer.Board = (*Reports)(nil)

// OpenReports makes the tables where they are missing. d must be a Writer or an Admin on the control database; index names the
// index that is written, of at most 255 bytes.
func OpenReports(ctx context.Context, d *db.DB, index string) (*Reports, error) {
	const op = "open sync's reports"
	if d == nil || index == "" || len(index) > 255 {
		return nil, fault.New(fault.Invalid, op, "a database and an index's name of at most 255 bytes are needed")
	}
	for _, q := range reportTables() {
		if _, err := d.SQL().ExecContext(ctx, q); err != nil {
			return nil, db.Classify(op, err)
		}
	}
	return &Reports{d, index}, nil
}

func reportTables() []string {
	return []string{`CREATE TABLE IF NOT EXISTS sync_lease (
 target      VARCHAR(255) CHARACTER SET latin1 COLLATE latin1_bin NOT NULL,
 dataset     VARCHAR(64) NOT NULL,
 holder      VARCHAR(255) NOT NULL,
 lease_until DATETIME(6) NOT NULL,
 PRIMARY KEY (target, dataset)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin`,
		`CREATE TABLE IF NOT EXISTS sync_process (
 target VARCHAR(255) CHARACTER SET latin1 COLLATE latin1_bin NOT NULL,
 holder VARCHAR(255) NOT NULL,
 at     DATETIME(6) NOT NULL,
 report LONGTEXT NOT NULL,
 PRIMARY KEY (target, holder)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin`,
		`CREATE TABLE IF NOT EXISTS sync_resume (
 target  VARCHAR(255) CHARACTER SET latin1 COLLATE latin1_bin NOT NULL,
 dataset VARCHAR(64) NOT NULL,
 times   BIGINT UNSIGNED NOT NULL,
 PRIMARY KEY (target, dataset)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin`}
}

// Acquire is part of syncer.Board. A lease that lasts much longer than one can was given before the clock was set back.
func (r *Reports) Acquire(ctx context.Context, dataset, holder string, ttl time.Duration) (bool, error) {
	const op = "acquire sync lease"
	us := ttl.Microseconds()
	got, err := r.d.SQL().ExecContext(ctx, `UPDATE sync_lease SET holder=?, lease_until=UTC_TIMESTAMP(6)+INTERVAL ? MICROSECOND
		WHERE target=? AND dataset=? AND (holder=? OR lease_until<=UTC_TIMESTAMP(6) OR lease_until>UTC_TIMESTAMP(6)+INTERVAL ? MICROSECOND)`,
		holder, us, r.index, dataset, holder, 10*us)
	if err != nil {
		return false, db.Classify(op, err)
	}
	if n, err := got.RowsAffected(); err != nil || n == 1 {
		return n == 1, db.Classify(op, err)
	}
	// There is no row yet, or somebody else's lease stands.
	got, err = r.d.SQL().ExecContext(ctx, `INSERT IGNORE INTO sync_lease (target, dataset, holder, lease_until)
		VALUES (?, ?, ?, UTC_TIMESTAMP(6)+INTERVAL ? MICROSECOND)`, r.index, dataset, holder, us)
	if err != nil {
		return false, db.Classify(op, err)
	}
	n, err := got.RowsAffected()
	return n == 1, db.Classify(op, err)
}

// Release is part of syncer.Board.
func (r *Reports) Release(ctx context.Context, dataset, holder string) error {
	_, err := r.d.SQL().ExecContext(ctx, "DELETE FROM sync_lease WHERE target=? AND dataset=? AND holder=?", r.index, dataset, holder)
	return db.Classify("release sync lease", err)
}

// forgotten is after how long without a report a process is no more listed.
const forgotten = time.Hour

// Report is part of syncer.Board. Processes that have said nothing for an hour are forgotten.
func (r *Reports) Report(ctx context.Context, holder string, s syncer.Stats, ttl time.Duration) (members int, resumes map[string]uint64, err error) {
	const op = "report sync's state"
	text, err := json.Marshal(s)
	if err != nil {
		return 0, nil, fault.Wrap(fault.Internal, op, err)
	}
	if _, err := r.d.SQL().ExecContext(ctx, `INSERT INTO sync_process (target, holder, at, report) VALUES (?, ?, UTC_TIMESTAMP(6), ?)
		ON DUPLICATE KEY UPDATE at=VALUES(at), report=VALUES(report)`, r.index, holder, string(text)); err != nil {
		return 0, nil, db.Classify(op, err)
	}
	if _, err := r.d.SQL().ExecContext(ctx, "DELETE FROM sync_process WHERE target=? AND at<UTC_TIMESTAMP(6)-INTERVAL ? MICROSECOND",
		r.index, forgotten.Microseconds()); err != nil {
		return 0, nil, db.Classify(op, err)
	}
	if err := r.d.SQL().QueryRowContext(ctx, "SELECT COUNT(*) FROM sync_process WHERE target=? AND at>UTC_TIMESTAMP(6)-INTERVAL ? MICROSECOND",
		r.index, ttl.Microseconds()).Scan(&members); err != nil {
		return 0, nil, db.Classify(op, err)
	}
	resumes = map[string]uint64{}
	return members, resumes, r.each(ctx, op, "SELECT dataset, times FROM sync_resume WHERE target=?", func(rows *sql.Rows) error {
		var name string
		var n uint64
		err := rows.Scan(&name, &n)
		resumes[name] = n
		return err
	})
}

// Leave is part of syncer.Board.
func (r *Reports) Leave(ctx context.Context, holder string) error {
	_, err := r.d.SQL().ExecContext(ctx, "DELETE FROM sync_process WHERE target=? AND holder=?", r.index, holder)
	return db.Classify("leave sync's reports", err)
}

// Resume wants a dataset to go on: the process that applies it tries at its next look.
func (r *Reports) Resume(ctx context.Context, dataset string) error {
	_, err := r.d.SQL().ExecContext(ctx, "INSERT INTO sync_resume (target, dataset, times) VALUES (?, ?, 1) ON DUPLICATE KEY UPDATE times=times+1", r.index, dataset)
	return db.Classify("resume dataset", err)
}

// Process is how a process stands, as it last reported.
type Process struct {
	Holder string        `json:"holder"`
	Age    time.Duration `json:"age"` // since the report, by the database's clock
	Stats  syncer.Stats  `json:"stats"`
}

// Processes lists what reported in the last hour, the newest first.
func (r *Reports) Processes(ctx context.Context) ([]Process, error) {
	const op = "list sync processes"
	out := []Process{}
	err := r.each(ctx, op, "SELECT holder, TIMESTAMPDIFF(MICROSECOND, at, UTC_TIMESTAMP(6)), report FROM sync_process WHERE target=? ORDER BY at DESC",
		func(rows *sql.Rows) error {
			var p Process
			var us int64
			var text string
			if err := rows.Scan(&p.Holder, &us, &text); err != nil {
				return err
			}
			p.Age = time.Duration(us) * time.Microsecond
			if err := json.Unmarshal([]byte(text), &p.Stats); err != nil {
				return err
			}
			out = append(out, p)
			return nil
		})
	return out, err
}

// Holders says who applies which dataset: leases that stand.
func (r *Reports) Holders(ctx context.Context) (map[string]string, error) {
	out := map[string]string{}
	err := r.each(ctx, "list sync leases", "SELECT dataset, holder FROM sync_lease WHERE target=? AND lease_until>UTC_TIMESTAMP(6)",
		func(rows *sql.Rows) error {
			var name, holder string
			err := rows.Scan(&name, &holder)
			out[name] = holder
			return err
		})
	return out, err
}

// each asks by index and calls f for every row.
func (r *Reports) each(ctx context.Context, op, query string, f func(*sql.Rows) error) error {
	rows, err := r.d.SQL().QueryContext(ctx, query, r.index)
	if err != nil {
		return db.Classify(op, err)
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		if err := f(rows); err != nil {
			return fault.Wrap(fault.Internal, op, err)
		}
	}
	return db.Classify(op, rows.Err())
}
