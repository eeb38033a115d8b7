package control

import (
	"context"
	"database/sql"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"strata/canal"
	"strata/catalog"
	"strata/db"
	"strata/fault"
)

// ofTerm ends a statement that begins with INSERT … SELECT …: it selects the one row while the term is the highest. The
// lock makes it wait for a Take that is under way, and a Take wait for it: at READ COMMITTED a SELECT without one would
// read the term as it was.
const ofTerm = " FROM canal_leader WHERE pipeline=? AND term=? LOCK IN SHARE MODE"

// textLimit bounds reasons and errors, which are for people, in bytes; the columns hold 64 KiB.
const textLimit = 16 << 10

func final(s canal.TaskState) bool {
	return s == canal.Done || s == canal.Ended || s == canal.Failed
}

// Tasks is part of canal.Desk.
func (c *Control) Tasks(ctx context.Context) ([]canal.Task, error) {
	return c.tasks(ctx, "read tasks", "pipeline=? AND state IN (?,?,?) ORDER BY id", c.pipeline, string(canal.Queued), string(canal.Running), string(canal.Paused))
}

func (c *Control) tasks(ctx context.Context, op, where string, args ...any) ([]canal.Task, error) {
	rows, err := c.d.SQL().QueryContext(ctx, `SELECT id, kind, dataset, shards, from_key, to_key, gtid, rows_per_second, wish, state,
		done, total, place, who, why, err, CAST(created_at AS CHAR), CAST(updated_at AS CHAR) FROM canal_task WHERE `+where, args...)
	if err != nil {
		return nil, db.Classify(op, err)
	}
	defer func() { _ = rows.Close() }()
	var out []canal.Task
	for rows.Next() {
		var t canal.Task
		var shards, created, updated string
		if err := rows.Scan(&t.ID, &t.Kind, &t.Dataset, &shards, &t.From, &t.To, &t.GTID, &t.RowsPerSecond, &t.Wish, &t.State,
			&t.Done, &t.Total, &t.Place, &t.Who, &t.Why, &t.Err, &created, &updated); err != nil {
			return nil, fault.Wrap(fault.Internal, op, err)
		}
		if err := json.Unmarshal([]byte(shards), &t.Shards); err != nil {
			return nil, fault.Wrap(fault.Internal, op, err)
		}
		if t.CreatedAt, err = parseTime(created); err != nil {
			return nil, fault.Wrap(fault.Internal, op, err)
		}
		if t.UpdatedAt, err = parseTime(updated); err != nil {
			return nil, fault.Wrap(fault.Internal, op, err)
		}
		out = append(out, t)
	}
	return out, db.Classify(op, rows.Err())
}

// parseTime reads a DATETIME(6) in UTC.
func parseTime(s string) (time.Time, error) {
	return time.Parse("2006-01-02 15:04:05.999999", s)
}

// AddTask is part of canal.Desk.
func (c *Control) AddTask(ctx context.Context, term uint32, t canal.Task) (int64, bool, error) {
	const op = "add task"
	from := ofTerm
	if term == 0 {
		from = ""
	}
	query, args, err := c.insertTask(&t, from)
	if err != nil {
		return 0, false, err
	}
	if term != 0 {
		args = append(args, c.pipeline, term)
	}
	r, err := c.exec(ctx, op, query, args...)
	if err != nil {
		return 0, false, err
	}
	if n, err := r.RowsAffected(); err != nil || n == 0 {
		return 0, false, db.Classify(op, err)
	}
	id, err := r.LastInsertId()
	return id, err == nil, db.Classify(op, err)
}

// insertTask is the statement that stores a task as Queued, selecting from what the caller says.
func (c *Control) insertTask(t *canal.Task, from string) (string, []any, error) {
	shards, err := json.Marshal(slices.Concat([]string{}, t.Shards))
	if err != nil {
		return "", nil, fault.Wrap(fault.Internal, "encode shards", err)
	}
	return `INSERT INTO canal_task (pipeline, state, wish, kind, dataset, shards, from_key, to_key, gtid, rows_per_second, done, total,
			place, who, why, err, created_at, updated_at)
			SELECT ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, UTC_TIMESTAMP(6), UTC_TIMESTAMP(6)` + from,
		[]any{c.pipeline, string(canal.Queued), string(t.Wish), string(t.Kind), t.Dataset, string(shards), []byte(t.From), []byte(t.To), t.GTID,
			t.RowsPerSecond, t.Done, t.Total, t.Place, t.Who, cut(t.Why), cut(t.Err)}, nil
}

// cut bounds a text for people, between two characters.
func cut(s string) string {
	if len(s) > textLimit {
		s = s[:textLimit]
	}
	return strings.ToValidUTF8(s, "?")
}

// Advance is part of canal.Desk.
func (c *Control) Advance(ctx context.Context, term uint32, t canal.Task) (canal.Wish, bool, error) {
	const op = "advance task"
	r, err := c.exec(ctx, op, `UPDATE canal_leader l JOIN canal_task t ON t.id=? AND t.pipeline=?
		SET l.writes=l.writes+1, t.state=?, t.done=?, t.total=?, t.place=?, t.err=?, t.updated_at=UTC_TIMESTAMP(6)
		WHERE l.pipeline=? AND l.term=?`, t.ID, c.pipeline, string(t.State), t.Done, t.Total, t.Place, cut(t.Err), c.pipeline, term)
	if err != nil {
		return "", false, err
	}
	if n, err := r.RowsAffected(); err != nil || n == 0 {
		return "", false, db.Classify(op, err)
	}
	var w canal.Wish
	err = c.d.SQL().QueryRowContext(ctx, "SELECT wish FROM canal_task WHERE id=?", t.ID).Scan(&w)
	return w, err == nil, db.Classify(op, err)
}

// Report is part of canal.Desk.
func (c *Control) Report(ctx context.Context, term uint32, s canal.Status) (bool, error) {
	const op = "report canal status"
	text, err := json.Marshal(s)
	if err != nil {
		return false, fault.Wrap(fault.Internal, op, err)
	}
	r, err := c.exec(ctx, op, "INSERT INTO canal_status (pipeline, term, at, status, writes) SELECT ?, ?, UTC_TIMESTAMP(6), ?, 1"+ofTerm+
		" ON DUPLICATE KEY UPDATE term=VALUES(term), at=VALUES(at), status=VALUES(status), writes=canal_status.writes+1",
		c.pipeline, term, string(text), c.pipeline, term)
	if err != nil {
		return false, err
	}
	n, err := r.RowsAffected()
	return n > 0, db.Classify(op, err)
}

// Record is part of canal.Desk. A zero At is the database's now.
func (c *Control) Record(ctx context.Context, e canal.Evidence) error {
	return db.Classify("record evidence", c.record(ctx, c.d.SQL(), e))
}

// execer is a pool or a transaction.
type execer interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
}

// record appends a line. There is no statement in this package that changes or removes one.
func (c *Control) record(ctx context.Context, on execer, e canal.Evidence) error {
	var at any
	if !e.At.IsZero() {
		at = e.At.UTC().Format("2006-01-02 15:04:05.000000")
	}
	_, err := on.ExecContext(ctx, `INSERT INTO canal_evidence (pipeline, at, what, term, who, why, detail)
		VALUES (?, COALESCE(?, UTC_TIMESTAMP(6)), ?, ?, ?, ?, ?)`, c.pipeline, at, e.What, e.Term, e.Who, cut(e.Why), e.Detail)
	return err
}

// deadlockTries bounds how often a statement is run again that the server rolled back whole to break a deadlock.
const deadlockTries = 5

// exec runs a statement that is its own transaction; again after a deadlock, which undid it.
func (c *Control) exec(ctx context.Context, op, query string, args ...any) (sql.Result, error) {
	for try := 0; ; try++ {
		r, err := c.d.SQL().ExecContext(ctx, query, args...)
		if db.Number(err) == deadlock && try < deadlockTries && ctx.Err() == nil {
			continue
		}
		return r, db.Classify(op, err)
	}
}

const deadlock = 1213

// inTx runs f in a transaction and commits it; f's errors undo it.
func (c *Control) inTx(ctx context.Context, op string, f func(*sql.Tx) error) error {
	tx, err := c.d.SQL().BeginTx(ctx, nil)
	if err != nil {
		return db.Classify(op, err)
	}
	defer func() { _ = tx.Rollback() }()
	if err := f(tx); err != nil {
		return db.Classify(op, err)
	}
	return db.Classify(op, tx.Commit())
}

// keyHash is what a key is unique by.
func keyHash(dataset, shard string, key catalog.Key, scratch []byte) (catalog.Hash, []byte) {
	var r catalog.Row
	r.AppendString(dataset)
	r.AppendString(shard)
	r.AppendString(string(key))
	return r.Hash(scratch)
}
