package control

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"

	"strata/canal"
	"strata/db"
	"strata/fault"
)

// AllTasks returns the tasks, finished ones too, newest first, at most limit (0: 100).
func (c *Control) AllTasks(ctx context.Context, limit int) ([]canal.Task, error) {
	if limit <= 0 {
		limit = defaultList
	}
	return c.tasks(ctx, "list tasks", "pipeline=? ORDER BY id DESC LIMIT ?", c.pipeline, limit)
}

// TaskByID returns one task. Errors: fault.NotFound.
func (c *Control) TaskByID(ctx context.Context, id int64) (canal.Task, error) {
	ts, err := c.tasks(ctx, "read task", "pipeline=? AND id=?", c.pipeline, id)
	if err != nil {
		return canal.Task{}, err
	}
	if len(ts) == 0 {
		return canal.Task{}, fault.New(fault.NotFound, "read task", "pipeline %s has no task %d", c.pipeline, id).
			WithHint("`strata canal status` lists the tasks")
	}
	return ts[0], nil
}

// Order stores an operator's task as Queued, with a line of evidence, and returns it. t.Who and t.Why are in the line.
// Errors: fault.Invalid without a Who.
func (c *Control) Order(ctx context.Context, t canal.Task) (canal.Task, error) {
	const op = "order task"
	if t.Who == "" {
		return canal.Task{}, fault.New(fault.Invalid, op, "it does not say who orders it")
	}
	var id int64
	err := c.inTx(ctx, op, func(tx *sql.Tx) error {
		query, args, err := c.insertTask(&t, "")
		if err != nil {
			return err
		}
		r, err := tx.ExecContext(ctx, query, args...)
		if err != nil {
			return err
		}
		if id, err = r.LastInsertId(); err != nil {
			return err
		}
		return c.record(ctx, tx, canal.Evidence{What: string(t.Kind), Who: t.Who, Why: t.Why,
			Detail: detail(map[string]any{"task": id, "dataset": t.Dataset, "shards": t.Shards, "from": t.From, "to": t.To, "gtid": t.GTID})})
	})
	if err != nil {
		return canal.Task{}, err
	}
	return c.TaskByID(ctx, id)
}

// SetWish sets what an operator wants of a task that is not finished, with a line of evidence, and returns the task.
// Errors: fault.NotFound; fault.Conflict for a task in a final state; fault.Invalid for an unknown wish or without a who.
func (c *Control) SetWish(ctx context.Context, id int64, wish canal.Wish, who string) (canal.Task, error) {
	const op = "change task"
	if who == "" || wish != canal.Run && wish != canal.Pause && wish != canal.End {
		return canal.Task{}, fault.New(fault.Invalid, op, "wish %q of %q: a wish is one of \"\", pause, end, and somebody's", wish, who)
	}
	err := c.inTx(ctx, op, func(tx *sql.Tx) error {
		var kind, state string
		err := tx.QueryRowContext(ctx, "SELECT kind, state FROM canal_task WHERE pipeline=? AND id=? FOR UPDATE", c.pipeline, id).Scan(&kind, &state)
		if errors.Is(err, sql.ErrNoRows) {
			return fault.New(fault.NotFound, op, "pipeline %s has no task %d", c.pipeline, id).WithHint("`strata canal status` lists the tasks")
		}
		if err != nil {
			return err
		}
		if final(canal.TaskState(state)) {
			return fault.New(fault.Conflict, op, "task %d is %s", id, state).WithHint("order a new one")
		}
		if _, err := tx.ExecContext(ctx, "UPDATE canal_task SET wish=?, updated_at=UTC_TIMESTAMP(6) WHERE pipeline=? AND id=?", string(wish), c.pipeline, id); err != nil {
			return err
		}
		word := string(wish)
		if wish == canal.Run {
			word = "run"
		}
		return c.record(ctx, tx, canal.Evidence{What: kind, Who: who, Why: word, Detail: detail(map[string]any{"task": id, "wish": word})})
	})
	if err != nil {
		return canal.Task{}, err
	}
	return c.TaskByID(ctx, id)
}

// AddKeys enqueues keys for an operator or the verifier, with a line of evidence that counts them and names the first
// hundred. Errors: fault.Invalid without a who.
func (c *Control) AddKeys(ctx context.Context, keys []canal.RepairKey, who, why string) error {
	if who == "" {
		return fault.New(fault.Invalid, "enqueue keys", "it does not say who wants it")
	}
	if err := c.Enqueue(ctx, keys); err != nil {
		return err
	}
	names := make([]string, 0, min(len(keys), defaultList))
	for i := range min(len(keys), defaultList) {
		names = append(names, fmt.Sprintf("%s/%s", keys[i].Shard, keys[i].Key))
	}
	return c.Record(ctx, canal.Evidence{What: "repair", Who: who, Why: why, Detail: detail(map[string]any{"keys": len(keys), "first": names})})
}

// EvidenceLog returns the lines after the id, oldest first, at most limit (0: 100).
func (c *Control) EvidenceLog(ctx context.Context, after int64, limit int) ([]canal.Evidence, error) {
	const op = "read evidence"
	if limit <= 0 {
		limit = defaultList
	}
	rows, err := c.d.SQL().QueryContext(ctx, `SELECT id, CAST(at AS CHAR), what, term, who, why, detail FROM canal_evidence
		WHERE pipeline=? AND id>? ORDER BY id LIMIT ?`, c.pipeline, after, limit)
	if err != nil {
		return nil, db.Classify(op, err)
	}
	defer func() { _ = rows.Close() }()
	var out []canal.Evidence
	for rows.Next() {
		var e canal.Evidence
		var at string
		if err := rows.Scan(&e.ID, &at, &e.What, &e.Term, &e.Who, &e.Why, &e.Detail); err != nil {
			return nil, fault.Wrap(fault.Internal, op, err)
		}
		if e.At, err = parseTime(at); err != nil {
			return nil, fault.Wrap(fault.Internal, op, err)
		}
		out = append(out, e)
	}
	return out, db.Classify(op, rows.Err())
}

// Status returns what the leader last reported; false: nothing yet.
func (c *Control) Status(ctx context.Context) (canal.Status, bool, error) {
	const op = "read canal status"
	var s canal.Status
	var text string
	err := c.d.SQL().QueryRowContext(ctx, "SELECT status FROM canal_status WHERE pipeline=?", c.pipeline).Scan(&text)
	if errors.Is(err, sql.ErrNoRows) {
		return s, false, nil
	}
	if err != nil {
		return s, false, db.Classify(op, err)
	}
	if err := json.Unmarshal([]byte(text), &s); err != nil {
		return s, false, fault.Wrap(fault.Internal, op, err)
	}
	return s, true, nil
}

// RepairQueue returns keys that wait, due or not, in the order in which they become due, at most limit (0: 100).
func (c *Control) RepairQueue(ctx context.Context, limit int) ([]canal.RepairKey, error) {
	if limit <= 0 {
		limit = defaultList
	}
	return c.keys(ctx, "list keys to repair", "", limit)
}

// defaultList is how many lines a list has where nobody says.
const defaultList = 100

// detail is JSON of what can always be encoded.
func detail(v any) string {
	b, _ := json.Marshal(v)
	return string(b)
}
