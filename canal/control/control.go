// Package control is canal's Control and Lease in the control database.
//
// Purpose: one row per pipeline in canal_leader: the term, who took it, the checkpoint, and the lease. Every write is one
// conditional statement, committed before the call returns; a counter that rises with each makes the number of changed
// rows say whether the condition held, also where nothing else changes. The lease runs by the database's clock.
//
// Failure: a statement whose outcome is unknown (a broken connection) is an error, and the caller ends its term; a term
// that was taken without the caller knowing is skipped by the next one.
//
// It keeps no history and needs no durability beyond the database's own: a lost row costs a look through the topics (their
// opens have the terms) and a refusal to go on where the checkpoint is needed.
package control

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"time"

	"strata/canal"
	"strata/db"
	"strata/fault"
)

const createTable = `CREATE TABLE IF NOT EXISTS canal_leader (
 pipeline    VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL PRIMARY KEY,
 term        INT UNSIGNED NOT NULL,
 leader      VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
 checkpoint  LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NULL,
 holder      VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
 lease_until DATETIME(6) NOT NULL,
 writes      BIGINT UNSIGNED NOT NULL
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4`

// Control is one pipeline's row.
type Control struct {
	d        *db.DB
	pipeline string
}

// Open makes the table and the row where they are missing. d must be a Writer or an Admin on the control database.
func Open(ctx context.Context, d *db.DB, pipeline string) (*Control, error) {
	if d == nil || pipeline == "" || len(pipeline) > 64 {
		return nil, fault.New(fault.Invalid, "open canal control", "a database and a pipeline's name of at most 64 bytes are needed")
	}
	for _, q := range []string{createTable,
		"INSERT IGNORE INTO canal_leader (pipeline, term, leader, holder, lease_until, writes) VALUES (?, 0, '', '', '1970-01-01', 0)"} {
		args := []any{pipeline}
		if q == createTable {
			args = nil
		}
		if _, err := d.SQL().ExecContext(ctx, q, args...); err != nil {
			return nil, db.Classify("open canal control", err)
		}
	}
	return &Control{d, pipeline}, nil
}

// Load is part of canal.Control.
func (c *Control) Load(ctx context.Context) (canal.State, error) {
	const op = "load canal state"
	var s canal.State
	var text sql.NullString
	err := c.d.SQL().QueryRowContext(ctx, "SELECT term, leader, checkpoint FROM canal_leader WHERE pipeline=?", c.pipeline).
		Scan(&s.Term, &s.Leader, &text)
	if errors.Is(err, sql.ErrNoRows) {
		return s, fault.New(fault.Unsafe, op, "the row of pipeline %s is gone", c.pipeline).
			WithHint("restore the control database, or restart to begin anew from the topics")
	}
	if err != nil {
		return s, db.Classify(op, err)
	}
	if !text.Valid {
		return s, nil
	}
	s.Checkpoint = &canal.Checkpoint{}
	if err := json.Unmarshal([]byte(text.String), s.Checkpoint); err != nil {
		return s, fault.New(fault.Unsafe, op, "checkpoint of pipeline %s: %w", c.pipeline, err).WithHint("restore the control database")
	}
	return s, nil
}

// Take is part of canal.Control.
func (c *Control) Take(ctx context.Context, from, to uint32, leader string) (bool, error) {
	if to <= from {
		return false, nil
	}
	return c.write(ctx, "take canal term", "UPDATE canal_leader SET term=?, leader=?, writes=writes+1 WHERE pipeline=? AND term=?",
		to, leader, c.pipeline, from)
}

// Save is part of canal.Control.
func (c *Control) Save(ctx context.Context, term uint32, cp *canal.Checkpoint) (bool, error) {
	text, err := json.Marshal(cp)
	if err != nil {
		return false, fault.Wrap(fault.Internal, "encode checkpoint", err)
	}
	return c.write(ctx, "save canal checkpoint", "UPDATE canal_leader SET checkpoint=?, writes=writes+1 WHERE pipeline=? AND term=?",
		string(text), c.pipeline, term)
}

// Acquire is part of canal.Lease.
func (c *Control) Acquire(ctx context.Context, holder string, ttl time.Duration) (bool, error) {
	return c.write(ctx, "acquire canal lease", `UPDATE canal_leader SET holder=?, lease_until=UTC_TIMESTAMP(6)+INTERVAL ? MICROSECOND, writes=writes+1
		WHERE pipeline=? AND (holder=? OR holder='' OR lease_until<UTC_TIMESTAMP(6))`, holder, ttl.Microseconds(), c.pipeline, holder)
}

// Release is part of canal.Lease.
func (c *Control) Release(ctx context.Context, holder string) error {
	_, err := c.write(ctx, "release canal lease", "UPDATE canal_leader SET holder='', writes=writes+1 WHERE pipeline=? AND holder=?", c.pipeline, holder)
	return err
}

// write runs one conditional statement and reports whether it changed the row.
func (c *Control) write(ctx context.Context, op, query string, args ...any) (bool, error) {
	r, err := c.d.SQL().ExecContext(ctx, query, args...)
	if err != nil {
		return false, db.Classify(op, err)
	}
	n, err := r.RowsAffected()
	return n == 1, db.Classify(op, err)
}
