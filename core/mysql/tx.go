package mysql

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"io"
	"strconv"
	"time"

	"strata/db"
	"strata/fault"
)

// tx is a transaction on a connection of its own. sql.Tx would send COMMIT without a limit of time.
type tx struct {
	conn *sql.Conn
	open bool
	kept bool // the connection is a lane's: end does not give it back
	text text
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

// begin opens a transaction on a connection of the pool; end gives it back.
func begin(ctx context.Context, d *db.DB) (*tx, error) {
	return connect(ctx, d, "START TRANSACTION")
}

// connect takes a connection and runs the statements that make it ready.
func connect(ctx context.Context, d *db.DB, statements ...string) (*tx, error) {
	const op = "begin transaction"
	conn, err := d.SQL().Conn(ctx)
	if err != nil {
		return nil, db.Classify(op, err)
	}
	x := &tx{conn: conn, open: true}
	for _, s := range statements {
		if _, err := x.exec(ctx, op, s); err != nil {
			x.end()
			return nil, err
		}
	}
	return x, nil
}

// exec returns the number of affected rows.
func (x *tx) exec(ctx context.Context, op, query string) (n int64, err error) {
	err = x.conn.Raw(func(dc any) error {
		r, err := dc.(driver.ExecerContext).ExecContext(ctx, query, nil)
		if err != nil {
			return err
		}
		n, err = r.RowsAffected()
		return err
	})
	return n, db.Classify(op, err)
}

// each gives every row of a query to f. The cells are the driver's, valid during the call: int64, []byte, nil.
func (x *tx) each(ctx context.Context, op, query string, f func(cells row) error) error {
	var own error
	err := x.conn.Raw(func(dc any) error {
		rows, err := dc.(driver.QueryerContext).QueryContext(ctx, query, nil)
		if err != nil {
			return err
		}
		defer func() { _ = rows.Close() }()
		cells := make(row, len(rows.Columns()))
		for {
			if err := rows.Next(cells); err == io.EOF {
				return nil
			} else if err != nil {
				return err
			}
			if own = f(cells); own != nil {
				return nil
			}
		}
	})
	if own != nil {
		return own
	}
	return db.Classify(op, err)
}

// run executes the statement that was built in x.text.
func (x *tx) run(ctx context.Context, op string) (int64, error) {
	return x.exec(ctx, op, x.text.String())
}

// maxStatement bounds a statement of many rows, in bytes, well below max_allowed_packet's default.
const maxStatement = 2 << 20

// insert writes n rows in as many statements as their size needs. It returns the sum of the affected rows.
func (x *tx) insert(ctx context.Context, op, head, tail string, n int, row func(q *text, i int)) (int64, error) {
	var sum int64
	for i := 0; i < n; {
		q := &x.text
		q.start(head)
		for ; i < n && len(q.buf) < maxStatement; i++ {
			q.open()
			row(q, i)
			q.shut()
		}
		q.raw(tail)
		affected, err := x.run(ctx, op)
		if err != nil {
			return sum, err
		}
		sum += affected
	}
	return sum, nil
}

// listLimit keeps IN lists below the 1000 from which MariaDB makes a join of them, with a lock order of its own.
const listLimit = 900

// in runs a statement whose condition ends with a list of keys, in pieces: head, the keys, tail.
func in[K any](ctx context.Context, x *tx, op, head, tail string, keys []K, add func(q *text, key K), f func(cells row) error) error {
	for len(keys) > 0 {
		n := min(len(keys), listLimit)
		x.text.start(head)
		for _, k := range keys[:n] {
			add(&x.text, k)
		}
		x.text.raw(tail)
		if err := x.each(ctx, op, x.text.String(), f); err != nil {
			return err
		}
		keys = keys[n:]
	}
	return nil
}

// commit ends the transaction. *unknownCommit: the server may or may not have done it.
func (x *tx) commit(ctx context.Context) error {
	const op = "commit"
	_, err := x.exec(ctx, op, "COMMIT")
	if err != nil {
		// A timeout of ours, a lost connection, a shutdown, a full disk: none is the fault of what was posted.
		return &unknownCommit{&fault.Error{Kind: fault.Unavailable, Op: op, Err: err}}
	}
	x.open = false
	return nil
}

// end rolls back what was not committed and gives the connection back. One whose end is not known is dropped: neither the
// pool nor a lane may go on with an open transaction.
func (x *tx) end() {
	if x.open {
		x.open = false
		ctx, cancel := context.WithTimeout(context.Background(), maxPause)
		defer cancel()
		if _, err := x.exec(ctx, "roll back", "ROLLBACK"); err != nil {
			x.drop()
			return
		}
	}
	if !x.kept {
		x.close()
	}
}

// drop ends the connection itself.
func (x *tx) drop() {
	x.kept = false
	_ = x.conn.Raw(func(any) error { return driver.ErrBadConn })
	x.close()
}

func (x *tx) close() {
	if err := x.conn.Close(); err != nil && !errors.Is(err, sql.ErrConnDone) {
		return // the pool has dropped it
	}
}

// row is one row of a result.
type row []driver.Value

// num is a cell as a number; NULL is 0.
func (r row) num(i int) int64 {
	switch v := r[i].(type) {
	case int64:
		return v
	case uint64:
		return int64(v)
	case []byte:
		n, _ := strconv.ParseInt(string(v), 10, 64) // the server's own text of an integer
		return n
	}
	return 0
}

// opt is a cell that may be NULL.
func (r row) opt(i int) *int64 {
	if r[i] == nil {
		return nil
	}
	n := r.num(i)
	return &n
}

// raw is a cell's text; NULL is empty. It is valid during the call.
func (r row) raw(i int) []byte {
	b, _ := r[i].([]byte)
	return b
}

func (r row) str(i int) string { return string(r.raw(i)) }

// time is a DATETIME(6) or a DATE; NULL is the zero time.
func (r row) time(i int) (time.Time, error) {
	text := r.str(i)
	layout := "2006-01-02 15:04:05.999999"
	switch len(text) {
	case 0:
		return time.Time{}, nil
	case len(time.DateOnly):
		layout = time.DateOnly
	}
	t, err := time.Parse(layout, text)
	return t, fault.Wrap(fault.Internal, "read time", err)
}
