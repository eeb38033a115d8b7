package across

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"time"

	"strata/db"
	"strata/fault"
)

// tx is a transaction on a connection of its own; sql.Tx would send COMMIT without a limit of time.
type tx struct {
	conn *sql.Conn
	open bool
}

func begin(ctx context.Context, d *db.DB) (*tx, error) {
	const op = "begin transaction"
	conn, err := d.SQL().Conn(ctx)
	if err != nil {
		return nil, db.Classify(op, err)
	}
	x := &tx{conn: conn, open: true}
	if _, err := x.exec(ctx, op, "START TRANSACTION"); err != nil {
		x.end()
		return nil, err
	}
	return x, nil
}

func (x *tx) exec(ctx context.Context, op, query string, args ...any) (int64, error) {
	r, err := x.conn.ExecContext(ctx, query, args...)
	if err != nil {
		return 0, db.Classify(op, err)
	}
	n, err := r.RowsAffected()
	return n, db.Classify(op, err)
}

// row reads the one row; fault.NotFound where there is none.
func (x *tx) row(ctx context.Context, op, query string, args []any, to ...any) error {
	err := x.conn.QueryRowContext(ctx, query, args...).Scan(to...)
	if errors.Is(err, sql.ErrNoRows) {
		return fault.New(fault.NotFound, op, "there is no such row")
	}
	return db.Classify(op, err)
}

func (x *tx) texts(ctx context.Context, op, query string, args ...any) ([]any, error) {
	rows, err := x.conn.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, db.Classify(op, err)
	}
	defer func() { _ = rows.Close() }()
	var out []any
	for rows.Next() {
		var s string
		if err := rows.Scan(&s); err != nil {
			return nil, db.Classify(op, err)
		}
		out = append(out, s)
	}
	return out, db.Classify(op, rows.Err())
}

// held reports whether the gate is closed for a commit; where it is open it stays open until the transaction's end, and the
// decision gets the date of the last cut.
func (x *tx) held(ctx context.Context, op string, d *decision) (bool, error) {
	if !d.Commit {
		return false, nil
	}
	var closing sql.NullString
	err := x.row(ctx, op, "SELECT closing, cut FROM across_gate WHERE id = 1 LOCK IN SHARE MODE", nil, &closing, &d.Cut)
	return closing.Valid, err
}

// commit's error may come after the server did it: what was decided is done again, and finds itself.
func (x *tx) commit(ctx context.Context) error {
	const op = "commit"
	if _, err := x.conn.ExecContext(ctx, "COMMIT"); err != nil {
		if db.Number(err) == 0 {
			return &fault.Error{Kind: fault.Unavailable, Op: op, Err: err}
		}
		return db.Classify(op, err)
	}
	x.open = false
	return nil
}

// end rolls back what was not committed and gives the connection back; one whose end is not known is dropped.
func (x *tx) end() {
	if x.open {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		defer cancel()
		if _, err := x.conn.ExecContext(ctx, "ROLLBACK"); err != nil {
			_ = x.conn.Raw(func(any) error { return driver.ErrBadConn })
		}
	}
	if err := x.conn.Close(); err != nil && !errors.Is(err, sql.ErrConnDone) {
		return // the pool has dropped it
	}
}

// again repeats what the server may take at another time.
func (s *store) again(ctx context.Context, do func() error) error {
	pause := firstPause
	for try := 1; ; try++ {
		err := do()
		again := fault.Is(err, fault.Busy) || fault.Is(err, fault.Unavailable) || fault.Is(err, fault.Timeout)
		if err == nil || !again || crashed(err) || try == maxTries || ctx.Err() != nil {
			return err
		}
		wait(ctx, pause)
		pause = min(2*pause, maxPause)
	}
}

func wait(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
