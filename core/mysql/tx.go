package mysql

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"

	"strata/db"
	"strata/fault"
)

// tx is a transaction on a connection of its own. sql.Tx would send COMMIT without a limit of time.
type tx struct {
	conn *sql.Conn
	open bool
}

// unknownCommit is a COMMIT whose answer did not come.
type unknownCommit struct{ err error }

func (e *unknownCommit) Error() string { return e.err.Error() }
func (e *unknownCommit) Unwrap() error { return e.err }

// crashError carries what a crash point returned.
type crashError struct{ err error }

func (e *crashError) Error() string { return e.err.Error() }
func (e *crashError) Unwrap() error { return e.err }

// at hits a crash point.
func (l *Ledger) at(point string) error {
	if l.cfg.At == nil {
		return nil
	}
	if err := l.cfg.At(point); err != nil {
		return &crashError{err}
	}
	return nil
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

// exec returns the number of affected rows.
func (x *tx) exec(ctx context.Context, op, query string) (int64, error) {
	r, err := x.conn.ExecContext(ctx, query)
	if err != nil {
		return 0, db.Classify(op, err)
	}
	n, err := r.RowsAffected()
	return n, db.Classify(op, err)
}

func (x *tx) query(ctx context.Context, op, query string, args ...any) (*sql.Rows, error) {
	rows, err := x.conn.QueryContext(ctx, query, args...)
	return rows, db.Classify(op, err)
}

// commit ends the transaction. *unknownCommit: the server may or may not have done it.
func (x *tx) commit(ctx context.Context) error {
	const op = "commit"
	if _, err := x.conn.ExecContext(ctx, "COMMIT"); err != nil {
		classified := db.Classify(op, err)
		if db.Number(err) != 0 && !fault.Is(classified, fault.Unavailable) && !fault.Is(classified, fault.Interrupted) {
			return classified
		}
		// A timeout of ours, a lost connection, a shutdown: all are worth another turn.
		return &unknownCommit{&fault.Error{Kind: fault.Unavailable, Op: op, Err: err}}
	}
	x.open = false
	return nil
}

// end rolls back what was not committed and gives the connection back. One whose end is not known is dropped: the pool must
// never hand out an open transaction.
func (x *tx) end() {
	if x.open {
		ctx, cancel := context.WithTimeout(context.Background(), maxPause)
		defer cancel()
		if _, err := x.conn.ExecContext(ctx, "ROLLBACK"); err != nil {
			_ = x.conn.Raw(func(any) error { return driver.ErrBadConn })
		}
	}
	if err := x.conn.Close(); err != nil && !errors.Is(err, sql.ErrConnDone) {
		return // the pool has dropped it
	}
}
