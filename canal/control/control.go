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

// Control is one pipeline's terms, checkpoint, lease and desk. It is safe for concurrent use.
type Control struct {
	d        *db.DB
	pipeline string
}

// Open makes the tables and the pipeline's row where they are missing. d must be a Writer or an Admin on the control database.
func Open(ctx context.Context, d *db.DB, pipeline string) (*Control, error) {
	if d == nil || pipeline == "" || len(pipeline) > 64 {
		return nil, fault.New(fault.Invalid, "open canal control", "a database and a pipeline's name of at most 64 bytes are needed")
	}
	const op = "open canal control"
	for _, q := range tables() {
		if _, err := d.SQL().ExecContext(ctx, q); err != nil {
			return nil, db.Classify(op, err)
		}
	}
	if _, err := d.SQL().ExecContext(ctx, `INSERT IGNORE INTO canal_leader (pipeline, term, leader, holder, lease_until, writes)
		VALUES (?, 0, '', '', '1970-01-01', 0)`, pipeline); err != nil {
		return nil, db.Classify(op, err)
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

// Acquire is part of canal.Lease. A lease that lasts much longer than one can was given before the clock was set back.
func (c *Control) Acquire(ctx context.Context, holder string, ttl time.Duration) (bool, error) {
	return c.write(ctx, "acquire canal lease", `UPDATE canal_leader SET holder=?, lease_until=UTC_TIMESTAMP(6)+INTERVAL ? MICROSECOND, writes=writes+1
		WHERE pipeline=? AND (holder=? OR holder='' OR lease_until<UTC_TIMESTAMP(6) OR lease_until>UTC_TIMESTAMP(6)+INTERVAL ? MICROSECOND)`,
		holder, ttl.Microseconds(), c.pipeline, holder, 10*ttl.Microseconds())
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
