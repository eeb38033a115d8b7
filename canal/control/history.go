package control

import (
	"context"
	"encoding/json"
	"errors"
	"math/bits"
	"strconv"
	"strings"

	"strata/canal"
	"strata/db"
	"strata/fault"
)

// Of the newest historyDense checkpoints every one is kept, and about historyDense/2 of each doubling of the age beyond:
// a million checkpoints leave 960.
const (
	historyDense = 128
	historyPage  = 16 // checkpoints read at once
	thinEvery    = 64 // checkpoints between two thinnings
)

// kept reports whether checkpoint n is kept when newest is the last one. What is not kept is never kept later on.
func kept(n, newest uint64) bool {
	k := bits.Len64((newest - n) / historyDense) // 0: age < dense; k: age < dense<<k
	return n%(1<<k) == 0
}

// Remember is part of canal.Desk.
func (c *Control) Remember(ctx context.Context, term uint32, cp *canal.Checkpoint) (bool, error) {
	const op = "remember checkpoint"
	text, err := json.Marshal(cp)
	if err != nil {
		return false, fault.Wrap(fault.Internal, op, err)
	}
	var newest uint64
	if err := c.d.SQL().QueryRowContext(ctx, "SELECT COALESCE(MAX(n),0) FROM canal_history WHERE pipeline=?", c.pipeline).Scan(&newest); err != nil {
		return false, db.Classify(op, err)
	}
	n := newest + 1
	r, err := c.exec(ctx, op, "INSERT INTO canal_history (pipeline, n, term, at, checkpoint) SELECT ?, ?, ?, UTC_TIMESTAMP(6), ?"+ofTerm,
		c.pipeline, n, term, string(text), c.pipeline, term)
	if fault.Is(err, fault.Conflict) { // somebody has just remembered: the successor, or this term is not alone
		return c.write(ctx, op, "UPDATE canal_leader SET writes=writes+1 WHERE pipeline=? AND term=?", c.pipeline, term)
	}
	if err != nil {
		return false, err
	}
	if rows, err := r.RowsAffected(); err != nil || rows == 0 {
		return false, db.Classify(op, err)
	}
	if n%thinEvery == 0 {
		err = c.thin(ctx, op, n)
	}
	return err == nil, err
}

// thin deletes what is not kept. It needs no term: however late it comes, it deletes nothing that would be kept then.
func (c *Control) thin(ctx context.Context, op string, newest uint64) error {
	rows, err := c.d.SQL().QueryContext(ctx, "SELECT n FROM canal_history WHERE pipeline=? AND n<?", c.pipeline, newest)
	if err != nil {
		return db.Classify(op, err)
	}
	defer func() { _ = rows.Close() }()
	var gone []string
	for rows.Next() {
		var n uint64
		if err := rows.Scan(&n); err != nil {
			return fault.Wrap(fault.Internal, op, err)
		}
		if !kept(n, newest) {
			gone = append(gone, strconv.FormatUint(n, 10))
		}
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil || len(gone) == 0 {
		return db.Classify(op, err)
	}
	_, err = c.exec(ctx, op, "DELETE FROM canal_history WHERE pipeline=? AND n IN ("+strings.Join(gone, ",")+")", c.pipeline)
	return err
}

// remembered is a checkpoint as it is stored.
type remembered struct {
	n    uint64
	text string
}

// History is part of canal.Desk.
func (c *Control) History(ctx context.Context, f func(*canal.Checkpoint) (bool, error)) error {
	const op = "read history"
	for before := uint64(1) << 63; ; {
		page, err := c.page(ctx, op, before)
		if err != nil {
			return err
		}
		for _, r := range page {
			cp := &canal.Checkpoint{}
			if err := json.Unmarshal([]byte(r.text), cp); err != nil {
				return fault.New(fault.Unsafe, op, "checkpoint %d of pipeline %s: %w", r.n, c.pipeline, err).WithHint("restore the control database")
			}
			if more, err := f(cp); err != nil || !more {
				return err
			}
			before = r.n
		}
		if len(page) < historyPage {
			return nil
		}
	}
}

// page reads the newest ones below a number.
func (c *Control) page(ctx context.Context, op string, before uint64) ([]remembered, error) {
	rows, err := c.d.SQL().QueryContext(ctx, "SELECT n, checkpoint FROM canal_history WHERE pipeline=? AND n<? ORDER BY n DESC LIMIT ?", c.pipeline, before, historyPage)
	if err != nil {
		return nil, db.Classify(op, err)
	}
	defer func() { _ = rows.Close() }()
	var out []remembered
	for rows.Next() {
		var r remembered
		if err := rows.Scan(&r.n, &r.text); err != nil {
			return nil, fault.Wrap(fault.Internal, op, err)
		}
		out = append(out, r)
	}
	return out, db.Classify(op, rows.Err())
}
