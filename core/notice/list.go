package notice

import (
	"context"
	"database/sql"
	"time"

	"strata/db"
	"strata/fault"
)

// State is what has become of a notice.
type State string

// The states of a notice.
const (
	Pending   State = "pending"
	Delivered State = "delivered"
	GivenUp   State = "given_up"
)

// Notice is one transfer's notice.
type Notice struct {
	TransferID string
	Tenant     string
	Target     string
	State      State
	Attempt    int       // attempts that ended, since it was made or sent again by hand
	Resends    int       // how often it was sent again by hand
	NextAt     time.Time // of a pending one: when it is due; while Sending, the end of the lease
	Sending    bool
	LastStatus int    // the HTTP status of the last attempt; 0: there was none
	LastError  string // of the last attempt, at most 255 characters; "" after a delivery
	CreatedAt  time.Time
	EndedAt    time.Time // zero: pending
}

const noticeCols = "transfer_id, tenant, target, state, attempt, resends, next_at, lease <> '', last_status, last_error, created_at, ended_at"

func (n *Notifier) read(ctx context.Context, op, where string, args ...any) ([]Notice, error) {
	rows, err := n.cfg.DB.SQL().QueryContext(ctx, "SELECT "+noticeCols+" FROM notice WHERE "+where, args...)
	if err != nil {
		return nil, db.Classify(op, err)
	}
	var out []Notice
	err = each(rows, func() error {
		var x Notice
		var state, next, created string
		var ended sql.NullString
		err := rows.Scan(&x.TransferID, &x.Tenant, &x.Target, &state, &x.Attempt, &x.Resends, &next, &x.Sending, &x.LastStatus, &x.LastError, &created, &ended)
		if err != nil {
			return err
		}
		x.State = State(state)
		for _, f := range []struct {
			to   *time.Time
			text string
		}{{&x.NextAt, next}, {&x.CreatedAt, created}, {&x.EndedAt, ended.String}} {
			if f.text == "" {
				continue
			}
			if *f.to, err = parseTime(f.text); err != nil {
				return err
			}
		}
		out = append(out, x)
		return nil
	})
	return out, db.Classify(op, err)
}

// Get returns a transfer's notice; fault.NotFound where there is none.
func (n *Notifier) Get(ctx context.Context, transferID string) (Notice, error) {
	found, err := n.read(ctx, "read notice", "transfer_id = ?", transferID)
	if err != nil {
		return Notice{}, err
	}
	if len(found) == 0 {
		return Notice{}, fault.New(fault.NotFound, "read notice", "transfer %q has none", transferID)
	}
	return found[0], nil
}

// List returns up to limit notices of a state, of all where it is "", with transfer ids after the given one, ascending.
// fault.Invalid: no such state.
func (n *Notifier) List(ctx context.Context, state State, after string, limit int) ([]Notice, error) {
	const op = "list notices"
	if state != "" && state != Pending && state != Delivered && state != GivenUp {
		return nil, fault.New(fault.Invalid, op, "state %q is none of pending, delivered, given_up", string(state))
	}
	if limit < 1 || limit > 1000 {
		return nil, fault.New(fault.Invalid, op, "a limit of %d; 1 to 1000 are possible", limit)
	}
	if state == "" {
		return n.read(ctx, op, "transfer_id > ? ORDER BY transfer_id LIMIT ?", after, limit)
	}
	return n.read(ctx, op, "state = ? AND transfer_id > ? ORDER BY transfer_id LIMIT ?", string(state), after, limit)
}

// Count is how many notices of one target are in one state.
type Count struct {
	Target  string
	State   State
	Notices int64
}

// Counts counts by target and state. It reads the whole index: for people, not for every second.
func (n *Notifier) Counts(ctx context.Context) ([]Count, error) {
	const op = "count notices"
	rows, err := n.cfg.DB.SQL().QueryContext(ctx, "SELECT target, state, COUNT(*) FROM notice GROUP BY target, state ORDER BY target, state")
	if err != nil {
		return nil, db.Classify(op, err)
	}
	var out []Count
	err = each(rows, func() error {
		var c Count
		err := rows.Scan(&c.Target, &c.State, &c.Notices)
		out = append(out, c)
		return err
	})
	return out, db.Classify(op, err)
}

// Resend makes a notice due now, whatever its state, with the whole schedule before it again. fault.NotFound: there is none.
func (n *Notifier) Resend(ctx context.Context, transferID string) error {
	count, err := n.resend(ctx, "transfer_id = ?", transferID)
	if err != nil {
		return err
	}
	if count == 0 {
		return fault.New(fault.NotFound, "send notice again", "transfer %q has none", transferID)
	}
	return nil
}

// ResendGivenUp does that to all notices given up at or after since, of one target or ("") of all, and says to how many.
func (n *Notifier) ResendGivenUp(ctx context.Context, since time.Time, target string) (int64, error) {
	where, args := "state = 'given_up' AND ended_at >= ?", []any{stamp(since)}
	if target != "" {
		where, args = where+" AND target = ?", append(args, target)
	}
	total := int64(0)
	for {
		count, err := n.resend(ctx, where+" LIMIT 1000", args...)
		total += count
		if err != nil || count < 1000 {
			return total, err
		}
	}
}

func (n *Notifier) resend(ctx context.Context, where string, args ...any) (int64, error) {
	now, err := n.now(ctx)
	if err != nil {
		return 0, err
	}
	if err := n.at("notice.before_resend"); err != nil {
		return 0, err
	}
	count, err := n.exec(ctx, "send notices again",
		"UPDATE notice SET state = 'pending', attempt = 0, resends = resends + 1, next_at = ?, lease = '', ended_at = NULL WHERE "+where,
		append([]any{stamp(now)}, args...)...)
	if err != nil {
		return 0, err
	}
	n.Wake()
	return count, n.at("notice.after_resend")
}

// Purge deletes up to limit notices that were delivered before a time, and says how many. What is pending or given up stays.
func (n *Notifier) Purge(ctx context.Context, before time.Time, limit int) (int64, error) {
	if limit < 1 {
		return 0, fault.New(fault.Invalid, "purge notices", "a limit of %d; it is at least 1", limit)
	}
	return n.exec(ctx, "purge notices", "DELETE FROM notice WHERE state = 'delivered' AND ended_at < ? ORDER BY ended_at LIMIT ?", stamp(before), limit)
}
