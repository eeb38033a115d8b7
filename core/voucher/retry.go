package voucher

import (
	"context"
	"errors"

	"strata/fault"
)

// Retried says what Retry did.
type Retried struct {
	Tried, Booked, None, Failed int64
}

const retryRows = 100

// Retry asks the rules in force now about failed vouchers: those of the transfers, or all. What can be booked is booked on the
// event's own accounting date; what fails again keeps the new reason. A voucher that is not failed is left as it is.
func (s *Store) Retry(ctx context.Context, transfers []string) (out Retried, err error) {
	if len(transfers) > 0 {
		for start := 0; start < len(transfers); start += retryRows {
			if _, err := s.retryPage(ctx, &out, transfers[start:min(start+retryRows, len(transfers))], nil); err != nil {
				return out, err
			}
		}
		return out, nil
	}
	after := &voucherRow{}
	after.date = "1000-01-01"
	for after != nil {
		if after, err = s.retryPage(ctx, &out, nil, after); err != nil {
			return out, err
		}
	}
	return out, nil
}

// retryPage does one page in one transaction, again where it lost; it returns the last row of a full page.
func (s *Store) retryPage(ctx context.Context, out *Retried, ids []string, after *voucherRow) (last *voucherRow, err error) {
	for range maxTurns {
		var done Retried
		last, err = s.retryOnce(ctx, &done, ids, after)
		if err == nil {
			out.Tried, out.Booked, out.None, out.Failed = out.Tried+done.Tried, out.Booked+done.Booked, out.None+done.None, out.Failed+done.Failed
			return last, nil
		}
		if crashed(err) || !errors.Is(err, errStale) && !fault.Is(err, fault.Busy) {
			return nil, err
		}
	}
	return nil, fault.Wrap(fault.Busy, "retry vouchers", err)
}

func (s *Store) retryOnce(ctx context.Context, done *Retried, ids []string, after *voucherRow) (*voucherRow, error) {
	m, err := s.maker(ctx)
	if err != nil {
		return nil, err
	}
	x, err := s.begin(ctx, false)
	if err != nil {
		return nil, err
	}
	defer x.end()
	m.query = x.conn
	newest, err := x.head(ctx, "LOCK IN SHARE MODE")
	if err != nil {
		return nil, err
	}
	if newest != m.times.newest {
		return nil, errStale
	}
	rows, err := x.lockFailed(ctx, ids, after)
	if err != nil || len(rows) == 0 {
		return nil, err
	}
	var booked []*made
	gone := map[string]int64{}
	for i := range rows {
		if !rows[i].intact() {
			return nil, fault.New(fault.Proof, "retry voucher "+rows[i].id, "its row was changed after it was written")
		}
		ev, err := parseEvent([]byte(rows[i].body))
		if err != nil {
			return nil, err
		}
		next, err := m.make(ctx, &ev, rows[i].body, rows[i].attempts+1)
		if err != nil {
			return nil, err
		}
		done.count(next.state)
		booked = append(booked, &next)
		gone[next.date]++
	}
	if err := s.at("voucher.before_retry"); err != nil {
		return nil, err
	}
	for _, n := range booked {
		seal := n.seal()
		if err := x.exec(ctx, "update voucher", "UPDATE voucher SET rule_version = ?, state = ?, line_count = ?, code = ?, reason = ?, attempts = ?, made_at = ?, seal = ? WHERE accounting_date = ? AND transfer_id = ?",
			n.version, string(n.state), len(n.lines), string(n.code), n.reason, n.attempts, n.at, seal[:], n.date, n.id); err != nil {
			return nil, err
		}
	}
	if err := s.book(ctx, x, booked, gone); err != nil {
		return nil, err
	}
	if err := s.at("voucher.before_commit"); err != nil {
		return nil, err
	}
	if err := x.commit(ctx); err != nil {
		return nil, err
	}
	if len(rows) < retryRows {
		return nil, s.at("voucher.after_retry")
	}
	return &rows[len(rows)-1], s.at("voucher.after_retry")
}

func (x *tx) lockFailed(ctx context.Context, ids []string, after *voucherRow) ([]voucherRow, error) {
	if ids == nil {
		return x.vouchers(ctx, failedAfter+" LIMIT ? FOR UPDATE", after.date, after.date, after.id, retryRows)
	}
	args := make([]any, len(ids))
	for i, id := range ids {
		args[i] = id
	}
	return x.vouchers(ctx, "WHERE state = 'failed' AND transfer_id IN "+marks(1, len(ids))+" ORDER BY accounting_date, transfer_id FOR UPDATE", args...)
}

func (r *Retried) count(state State) {
	r.Tried++
	switch state {
	case Booked:
		r.Booked++
	case None:
		r.None++
	case Failed:
		r.Failed++
	}
}
