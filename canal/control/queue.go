package control

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"strata/canal"
	"strata/catalog"
	"strata/db"
	"strata/fault"
)

const (
	enqueueRows  = 2000    // keys of one statement: fewer round trips gain nothing any more
	enqueueBytes = 2 << 20 // of their texts, well below every max_allowed_packet
	settleRows   = 1000
	sweepRows    = 20_000          // settled keys deleted at once
	longest      = 2 * time.Minute // that a key is put off
)

// Enqueue is part of canal.Desk. An error in the middle leaves the keys before it enqueued.
func (c *Control) Enqueue(ctx context.Context, keys []canal.RepairKey) error {
	for len(keys) > 0 {
		n, size := 0, 0
		for n < len(keys) && n < enqueueRows && size < enqueueBytes {
			size += len(keys[n].Key) + min(len(keys[n].Why), textLimit)
			n++
		}
		if err := c.enqueue(ctx, keys[:n]); err != nil {
			return err
		}
		keys = keys[n:]
	}
	return nil
}

func (c *Control) enqueue(ctx context.Context, keys []canal.RepairKey) error {
	var q strings.Builder
	q.WriteString("INSERT INTO canal_repair (pipeline, hash, version, settled, due_at, task, tries, dataset, shard, row_key, why) VALUES ")
	args := make([]any, 0, 8*len(keys))
	var scratch []byte
	version := rand.Uint64() // never one that the key had before, even if it went in between
	for i := range keys {
		if i > 0 {
			q.WriteByte(',')
		}
		q.WriteString("(?,?,?,0,UTC_TIMESTAMP(6),?,0,?,?,?,?)")
		k := &keys[i]
		var h catalog.Hash
		h, scratch = keyHash(k.Dataset, k.Shard, k.Key, scratch)
		args = append(args, c.pipeline, append([]byte(nil), h[:]...), version, k.Task, k.Dataset, k.Shard, []byte(k.Key), cut(k.Why))
	}
	// From left to right: what asks for settled stands before it is set. One that was due already keeps its place.
	q.WriteString(` ON DUPLICATE KEY UPDATE version=VALUES(version), due_at=IF(settled=1, VALUES(due_at), LEAST(due_at, VALUES(due_at))),
		task=IF(settled=1, VALUES(task), GREATEST(task, VALUES(task))), tries=0, why=VALUES(why), settled=0`)
	_, err := c.exec(ctx, "enqueue keys", q.String(), args...)
	return err
}

// Due is part of canal.Desk.
func (c *Control) Due(ctx context.Context, n int) ([]canal.RepairKey, error) {
	// What is due later than anything was ever put off was put off before the clock was set back.
	return c.keys(ctx, "read keys to repair", fmt.Sprintf(" AND (due_at<=UTC_TIMESTAMP(6) OR due_at>UTC_TIMESTAMP(6)+INTERVAL %d MINUTE)", longest/time.Minute+1), n)
}

func (c *Control) keys(ctx context.Context, op, and string, n int) ([]canal.RepairKey, error) {
	rows, err := c.d.SQL().QueryContext(ctx, `SELECT dataset, shard, row_key, task, why, tries, version FROM canal_repair
		WHERE pipeline=? AND settled=0`+and+" ORDER BY due_at, id LIMIT ?", c.pipeline, n)
	if err != nil {
		return nil, db.Classify(op, err)
	}
	defer func() { _ = rows.Close() }()
	var out []canal.RepairKey
	for rows.Next() {
		var k canal.RepairKey
		if err := rows.Scan(&k.Dataset, &k.Shard, &k.Key, &k.Task, &k.Why, &k.Tries, &k.Version); err != nil {
			return nil, fault.Wrap(fault.Internal, op, err)
		}
		out = append(out, k)
	}
	return out, db.Classify(op, rows.Err())
}

// Left is part of canal.Desk.
func (c *Control) Left(ctx context.Context, task int64) (int64, error) {
	query, args := "SELECT COUNT(*) FROM canal_repair WHERE pipeline=? AND settled=0", []any{c.pipeline}
	if task != 0 {
		query += ` AND (task=? OR task>? AND (SELECT t.dataset IN ('', canal_repair.dataset) FROM canal_task t WHERE t.id=?))`
		args = append(args, task, task, task)
	}
	var n int64
	err := c.d.SQL().QueryRowContext(ctx, query, args...).Scan(&n)
	return n, db.Classify("count keys to repair", err)
}

// Settle is part of canal.Desk. Each statement is its own transaction and changes the leader's row too, so that it holds
// that row's lock from the moment when the term was looked at until it is committed, and no transaction of a stopped
// process can hold up a Take. What is done is marked first; to delete what is marked needs no term.
func (c *Control) Settle(ctx context.Context, term uint32, done, later []canal.RepairKey, pause time.Duration) (bool, error) {
	const op = "settle keys"
	if len(done)+len(later) == 0 {
		return c.write(ctx, op, "UPDATE canal_leader SET writes=writes+1 WHERE pipeline=? AND term=?", c.pipeline, term)
	}
	for _, part := range []struct {
		keys []canal.RepairKey
		set  string
	}{
		{later, fmt.Sprintf("r.tries=r.tries+1, r.due_at=UTC_TIMESTAMP(6)+INTERVAL %d MICROSECOND", max(0, min(pause, longest).Microseconds()))},
		{done, "r.settled=1"},
	} {
		for keys := part.keys; len(keys) > 0; keys = keys[min(settleRows, len(keys)):] {
			if ok, err := c.settle(ctx, op, term, keys[:min(settleRows, len(keys))], part.set); err != nil || !ok {
				return false, err
			}
		}
	}
	if len(done) > 0 {
		_, err := c.exec(ctx, op, "DELETE FROM canal_repair WHERE pipeline=? AND settled=1 LIMIT ?", c.pipeline, sweepRows)
		if err != nil && !fault.Is(err, fault.Busy) { // another time
			return false, err
		}
	}
	return true, nil
}

// settle changes those of the keys that still have their version, while the term is the highest.
func (c *Control) settle(ctx context.Context, op string, term uint32, keys []canal.RepairKey, set string) (bool, error) {
	var scratch []byte
	args := make([]any, 0, 3*len(keys)+3)
	args = append(args, c.pipeline)
	versions := make([]any, 0, 2*len(keys))
	for i := range keys {
		var h catalog.Hash
		h, scratch = keyHash(keys[i].Dataset, keys[i].Shard, keys[i].Key, scratch)
		b := append([]byte(nil), h[:]...)
		args, versions = append(args, b), append(versions, b, keys[i].Version)
	}
	args = append(append(args, versions...), c.pipeline, term)
	r, err := c.exec(ctx, op, "UPDATE canal_leader l JOIN canal_repair r ON r.pipeline=? AND r.hash IN ("+repeat("?", len(keys))+
		") AND (r.hash, r.version) IN ("+repeat("(?,?)", len(keys))+") AND r.settled=0 SET l.writes=l.writes+1, "+set+" WHERE l.pipeline=? AND l.term=?", args...)
	if err != nil {
		return false, err
	}
	if n, err := r.RowsAffected(); err != nil || n > 0 {
		return err == nil, db.Classify(op, err)
	}
	// Either none of the keys is as it was, or the term is over.
	return c.write(ctx, op, "UPDATE canal_leader SET writes=writes+1 WHERE pipeline=? AND term=?", c.pipeline, term)
}

// repeat is n times s, with commas.
func repeat(s string, n int) string { return strings.TrimSuffix(strings.Repeat(s+",", n), ",") }
