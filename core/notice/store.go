package notice

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"strata/db"
	"strata/fault"
)

const (
	timeForm    = "2006-01-02 15:04:05.000000"
	insertBytes = 1 << 20 // of one INSERT: far below any max_allowed_packet
	tries       = 5       // of a statement that met a deadlock
)

// row is a new notice.
type row struct{ id, tenant, target, body string }

// claimed is a notice that this process may send.
type claimed struct {
	id      string
	attempt int
	resends int
	body    []byte
}

// now is the clock of due times and leases, to the microsecond.
func (n *Notifier) now(ctx context.Context) (time.Time, error) {
	if n.cfg.Now != nil {
		return n.cfg.Now().UTC().Truncate(time.Microsecond), nil
	}
	var text string
	if err := n.cfg.DB.SQL().QueryRowContext(ctx, "SELECT UTC_TIMESTAMP(6)").Scan(&text); err != nil {
		return time.Time{}, db.Classify("read the database's clock", err)
	}
	return parseTime(text)
}

func stamp(t time.Time) string { return t.UTC().Format(timeForm) }

func parseTime(text string) (time.Time, error) {
	t, err := time.Parse(timeForm, text)
	return t, fault.Wrap(fault.Internal, "read time", err)
}

// exec runs one statement, again where it met a deadlock, and returns how many rows it changed.
func (n *Notifier) exec(ctx context.Context, op, query string, args ...any) (int64, error) {
	for try := 1; ; try++ {
		r, err := n.cfg.DB.SQL().ExecContext(ctx, query, args...)
		if err == nil {
			count, err := r.RowsAffected()
			return count, db.Classify(op, err)
		}
		if err = db.Classify(op, err); !fault.Is(err, fault.Busy) || try == tries {
			return 0, err
		}
	}
}

// insert makes the rows that are not there.
func (n *Notifier) insert(ctx context.Context, rows []row, now time.Time) error {
	const head = "INSERT INTO notice (transfer_id, tenant, target, state, attempt, resends, next_at, lease, last_status, last_error, body, created_at) VALUES "
	for len(rows) > 0 {
		size, count := 0, 0
		var args []any
		for count < len(rows) && (count == 0 || size+len(rows[count].body) <= insertBytes) {
			r := rows[count]
			args = append(args, r.id, r.tenant, r.target, stamp(now), r.body, stamp(now))
			size += len(r.body)
			count++
		}
		values := strings.TrimSuffix(strings.Repeat("(?, ?, ?, 'pending', 0, 0, ?, '', 0, '', ?, ?), ", count), ", ")
		if _, err := n.exec(ctx, "insert notices", head+values+" ON DUPLICATE KEY UPDATE transfer_id = notice.transfer_id", args...); err != nil {
			return err
		}
		rows = rows[count:]
	}
	return nil
}

// due lists the targets that have a pending notice, one of which may be due at now.
func (n *Notifier) due(ctx context.Context, now time.Time) ([]string, error) {
	const op = "find due notices"
	// The index due answers this with one look per target.
	rows, err := n.cfg.DB.SQL().QueryContext(ctx, "SELECT target, MIN(next_at) FROM notice WHERE state = 'pending' GROUP BY target") //nolint:sqlclosecheck // each does
	if err != nil {
		return nil, db.Classify(op, err)
	}
	var out []string
	err = each(rows, func() error {
		var target, next string
		if err := rows.Scan(&target, &next); err != nil {
			return err
		}
		at, err := parseTime(next)
		if err == nil && !at.After(now) {
			out = append(out, target)
		}
		return err
	})
	return out, db.Classify(op, err)
}

// claim leases up to claimSize of the target's notices that were due at until, from now on; none: none is due. The rows
// are locked by their key only, so that it can't deadlock with those who record; who was faster is seen by the lease.
func (n *Notifier) claim(ctx context.Context, target string, until, now time.Time) (lease string, out []claimed, err error) {
	const op = "claim notices"
	lease = rand.Text()
	for {
		ids, err := n.candidates(ctx, op, target, until)
		if err != nil || len(ids) == 0 {
			return lease, nil, err
		}
		slices.SortFunc(ids, func(a, b any) int { return strings.Compare(a.(string), b.(string)) }) // the order of the locks
		list := " WHERE transfer_id IN (" + strings.TrimPrefix(strings.Repeat(", ?", len(ids)), ", ") + ")"
		count, err := n.exec(ctx, op, "UPDATE notice SET lease = ?, next_at = ?"+list+" AND state = 'pending' AND next_at <= ?",
			append(append([]any{lease, stamp(now.Add(n.cfg.Lease))}, ids...), stamp(until))...)
		if err != nil {
			return lease, nil, err
		}
		if count == 0 {
			continue // others took them; there may be more
		}
		rows, err := n.cfg.DB.SQL().QueryContext(ctx, "SELECT transfer_id, attempt, resends, body FROM notice"+list+" AND lease = ?", append(ids, lease)...)
		if err != nil {
			return lease, nil, db.Classify(op, err)
		}
		err = each(rows, func() error {
			var c claimed
			err := rows.Scan(&c.id, &c.attempt, &c.resends, &c.body)
			out = append(out, c)
			return err
		})
		return lease, out, db.Classify(op, err)
	}
}

// candidates are the ids, each a string, of the target's notices that are due first.
func (n *Notifier) candidates(ctx context.Context, op, target string, until time.Time) ([]any, error) {
	const query = `SELECT transfer_id FROM notice FORCE INDEX (due)
		WHERE target = ? AND state = 'pending' AND next_at <= ? ORDER BY next_at LIMIT ?`
	rows, err := n.cfg.DB.SQL().QueryContext(ctx, query, target, stamp(until), claimSize) //nolint:sqlclosecheck // each does
	if err != nil {
		return nil, db.Classify(op, err)
	}
	var ids []any
	err = each(rows, func() error {
		var id string
		err := rows.Scan(&id)
		ids = append(ids, id)
		return err
	})
	return ids, db.Classify(op, err)
}

// release gives back what was claimed and not sent.
func (n *Notifier) release(ctx context.Context, target, lease string, end, now time.Time) error {
	_, err := n.exec(ctx, "release notices", "UPDATE notice SET lease = '', next_at = ? WHERE target = ? AND state = 'pending' AND next_at = ? AND lease = ?",
		stamp(now), target, stamp(end), lease)
	return err
}

// delivered records a success, whoever holds the lease now: the receiver has it. Not if it was sent again by hand meanwhile.
func (n *Notifier) delivered(ctx context.Context, c claimed, status int, now time.Time) error {
	_, err := n.exec(ctx, "record delivery", `UPDATE notice SET state = 'delivered', attempt = attempt + 1, lease = '', last_status = ?, last_error = '', ended_at = ?
		WHERE transfer_id = ? AND state <> 'delivered' AND resends = ?`, status, stamp(now), c.id, c.resends)
	return err
}

// failed records a failure while the lease is ours. gaveUp says that it was the last attempt.
func (n *Notifier) failed(ctx context.Context, c claimed, lease string, status int, why string, now time.Time) (gaveUp bool, err error) {
	state, next, ended := Pending, now, any(nil)
	if c.attempt < len(n.cfg.Schedule) {
		next = now.Add(n.cfg.Schedule[c.attempt])
	} else {
		state, ended = GivenUp, stamp(now)
	}
	count, err := n.exec(ctx, "record failure", `UPDATE notice SET state = ?, attempt = attempt + 1, next_at = ?, lease = '', last_status = ?, last_error = ?, ended_at = ?
		WHERE transfer_id = ? AND state = 'pending' AND lease = ?`, string(state), stamp(next), status, why, ended, c.id, lease)
	return state == GivenUp && count == 1, err
}

// each reads rows to their end.
func each(rows *sql.Rows, scan func() error) error {
	for rows.Next() {
		if err := scan(); err != nil {
			return errors.Join(err, rows.Close())
		}
	}
	return rows.Err()
}

// makeTable creates the table where it is missing.
func makeTable(ctx context.Context, d *db.DB) error {
	if _, err := d.SQL().ExecContext(ctx, Table); err != nil {
		return fmt.Errorf("make table notice: %w", db.Classify("create table", err))
	}
	return nil
}
