package mysql

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"

	"strata/archive"
	"strata/db"
	"strata/fault"
)

const (
	fencePrefix = "strata_fence_"
	tokenShown  = 8 // characters of a token in names
)

// trigger is one trigger of a table.
type trigger struct{ name, event, timing, body string }

// ours reports whether strata made it.
func (t trigger) ours() bool { return strings.HasPrefix(t.name, fencePrefix) }

func readTriggers(ctx context.Context, d *db.DB, table string) ([]trigger, error) {
	rows, err := d.SQL().QueryContext(ctx, `SELECT TRIGGER_NAME, EVENT_MANIPULATION, ACTION_TIMING, ACTION_STATEMENT
		FROM information_schema.TRIGGERS WHERE EVENT_OBJECT_SCHEMA=? AND EVENT_OBJECT_TABLE=?`, d.Schema(), table)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	var out []trigger
	for rows.Next() {
		var t trigger
		if err := rows.Scan(&t.name, &t.event, &t.timing, &t.body); err != nil {
			return nil, err
		}
		out = append(out, t)
	}
	return out, rows.Err()
}

// fence is the three triggers of this token. Names carry the token, so that a successor's stand beside its predecessor's.
func (w *Work) fence() []trigger {
	sum := sha256.Sum256([]byte(w.shard.Table))
	body := "IF NOT (@strata_token <=> '" + w.token + "') THEN SIGNAL SQLSTATE '" + db.FenceState + "' SET MESSAGE_TEXT = '" +
		strings.ReplaceAll(db.FenceMessage(w.shard.Table), "'", "''") + "'; END IF"
	var out []trigger
	for _, event := range []string{"INSERT", "UPDATE", "DELETE"} {
		name := fencePrefix + strings.ToLower(event[:1]) + "_" + w.token[:tokenShown] + "_" + hex.EncodeToString(sum[:6])
		out = append(out, trigger{name: name, event: event, timing: "AFTER", body: body})
	}
	return out
}

// Fence is part of archive.Work.
func (w *Work) Fence(ctx context.Context) error {
	op := "fence " + w.shard.Table
	have, err := readTriggers(ctx, w.site.cfg.Live, w.shard.Table)
	if err != nil {
		return db.Classify(op, err)
	}
	points := []string{archive.PointFenceInsert, archive.PointFenceUpdate, archive.PointFenceDelete}
	for i, t := range w.fence() {
		if !slices.Contains(have, t) {
			err := w.ddl(ctx, "CREATE TRIGGER "+db.Quote(t.name)+" AFTER "+t.event+" ON "+db.Quote(w.shard.Table)+" FOR EACH ROW "+t.body)
			if err != nil {
				return db.Classify(op, err)
			}
		}
		if err := w.site.cfg.At(points[i]); err != nil {
			return err
		}
	}
	if err := w.dropFence(ctx, false); err != nil {
		return db.Classify(op, err)
	}
	if err := w.awaitXA(ctx); err != nil {
		return db.Classify(op, err)
	}
	if w.fenceGTD, err = db.GTIDPos(ctx, w.site.cfg.Live); err != nil {
		return err
	}
	return w.site.cfg.At(archive.PointFenced)
}

// dropFence takes away the fences of other tokens, or all of them.
func (w *Work) dropFence(ctx context.Context, all bool) error {
	have, err := readTriggers(ctx, w.site.cfg.Live, w.shard.Table)
	if err != nil {
		return err
	}
	for _, t := range have {
		if !t.ours() || !all && slices.ContainsFunc(w.fence(), func(o trigger) bool { return o.name == t.name }) {
			continue
		}
		if err := w.ddl(ctx, "DROP TRIGGER IF EXISTS "+db.Quote(t.name)); err != nil {
			return err
		}
	}
	return nil
}

// checkFence proves that the table has exactly this token's triggers.
func (w *Work) checkFence(ctx context.Context) error {
	have, err := readTriggers(ctx, w.site.cfg.Live, w.shard.Table)
	if err != nil {
		return err
	}
	for _, t := range w.fence() {
		if !slices.Contains(have, t) {
			return fault.New(fault.Conflict, "check fence of "+w.shard.Table, "trigger %s is missing or is not what was made", t.name).
				WithHint("run again: the fence is made anew and all rows are compared")
		}
	}
	for _, t := range have {
		if !t.ours() {
			return archive.Unmovable(w.shard.Table, []string{"trigger " + t.name + " is not strata's"})
		}
	}
	return nil
}

// awaitXA waits until what was prepared by XA before the fence is gone: its COMMIT would pass the fence.
func (w *Work) awaitXA(ctx context.Context) error {
	var before map[string]bool
	for try := 1; ; try++ {
		now, err := w.preparedXA(ctx)
		if err != nil {
			return err
		}
		if before == nil {
			before = now
		}
		left := 0
		for id := range before {
			if now[id] {
				left++
			}
		}
		if left == 0 {
			return nil
		}
		if try == lockTries {
			return fault.New(fault.Busy, "wait for XA", "%d prepared transactions are older than the fence", left).
				WithHint("XA RECOVER lists them: XA COMMIT or XA ROLLBACK each, then run again")
		}
		if err := wait(ctx, w.site.cfg.RetryWait); err != nil {
			return err
		}
	}
}

func (w *Work) preparedXA(ctx context.Context) (map[string]bool, error) {
	rows, err := w.site.cfg.Live.SQL().QueryContext(ctx, "XA RECOVER")
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	out := map[string]bool{}
	for rows.Next() {
		var format, gtrid, bqual, data string
		if err := rows.Scan(&format, &gtrid, &bqual, &data); err != nil {
			return nil, err
		}
		out[format+"/"+gtrid+"/"+bqual+"/"+data] = true
	}
	return out, rows.Err()
}
