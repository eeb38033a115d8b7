package daybook

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"time"

	"strata/db"
)

// endLimit bounds a COMMIT or a ROLLBACK.
const endLimit = 10 * time.Second

// tx is a transaction on a connection of its own, at READ COMMITTED.
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
	if _, err := conn.ExecContext(ctx, "START TRANSACTION"); err != nil {
		x.end()
		return nil, db.Classify(op, err)
	}
	return x, nil
}

// commit ends the transaction. After an error it may or may not have happened; everything here may be done again.
func (x *tx) commit(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, endLimit)
	defer cancel()
	if _, err := x.conn.ExecContext(ctx, "COMMIT"); err != nil {
		return db.Classify("commit", err)
	}
	x.open = false
	return nil
}

// end rolls back what was not committed and gives the connection back; one whose end is not known is dropped.
func (x *tx) end() {
	if x.open {
		ctx, cancel := context.WithTimeout(context.Background(), endLimit)
		defer cancel()
		if _, err := x.conn.ExecContext(ctx, "ROLLBACK"); err != nil {
			_ = x.conn.Raw(func(any) error { return driver.ErrBadConn })
		}
	}
	_ = x.conn.Close() // the pool drops what is broken
}

// querier is a pool or a connection.
type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

// each runs a query and calls f for every row.
func each(ctx context.Context, q querier, op, query string, args []any, f func(scan func(...any) error) error) error {
	rows, err := q.QueryContext(ctx, query, args...)
	if err != nil {
		return db.Classify(op, err)
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		scan := func(into ...any) error { return db.Classify(op, rows.Scan(into...)) }
		if err := f(scan); err != nil {
			return err
		}
	}
	return db.Classify(op, rows.Err())
}
