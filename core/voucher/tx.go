package voucher

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"strings"
	"time"

	"strata/db"
)

// endLimit bounds the rollback of a transaction whose own context may have ended.
const endLimit = 5 * time.Second

// tx is a transaction on a connection of its own: sql.Tx would send COMMIT without a limit of time.
type tx struct {
	conn *sql.Conn
	open bool
}

// begin starts a transaction at the session's level; snapshot: read only, at REPEATABLE READ, with all tables named in its
// first statement.
func (s *Store) begin(ctx context.Context, snapshot bool) (*tx, error) {
	const op = "begin transaction"
	conn, err := s.cfg.DB.SQL().Conn(ctx)
	if err != nil {
		return nil, db.Classify(op, err)
	}
	x := &tx{conn: conn, open: true}
	start := []string{"START TRANSACTION"}
	if snapshot {
		start = []string{"SET TRANSACTION ISOLATION LEVEL REPEATABLE READ", "START TRANSACTION READ ONLY", `SELECT COUNT(*) FROM (SELECT 1 FROM voucher WHERE 1=0
 UNION ALL SELECT 1 FROM journal WHERE 1=0 UNION ALL SELECT 1 FROM general_ledger WHERE 1=0 UNION ALL SELECT 1 FROM voucher_day WHERE 1=0
 UNION ALL SELECT 1 FROM voucher_rule WHERE 1=0 UNION ALL SELECT 1 FROM voucher_head WHERE 1=0) a`}
	}
	for _, query := range start {
		if _, err := conn.ExecContext(ctx, query); err != nil {
			x.end()
			return nil, db.Classify(op, err)
		}
	}
	return x, nil
}

func (x *tx) exec(ctx context.Context, op, query string, args ...any) error {
	_, err := x.conn.ExecContext(ctx, query, args...)
	return db.Classify(op, err)
}

// each runs a query and gives its rows to f.
func (x *tx) each(ctx context.Context, op string, f func(*sql.Rows) error, query string, args ...any) error {
	rows, err := x.conn.QueryContext(ctx, query, args...)
	if err != nil {
		return db.Classify(op, err)
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		if err := f(rows); err != nil {
			return db.Classify(op, err)
		}
	}
	return db.Classify(op, rows.Err())
}

func (x *tx) commit(ctx context.Context) error {
	if _, err := x.conn.ExecContext(ctx, "COMMIT"); err != nil {
		return db.Classify("commit", err)
	}
	x.open = false
	return nil
}

// end rolls back what was not committed and gives the connection back; one whose state is not known is dropped.
func (x *tx) end() {
	if x.open {
		ctx, cancel := context.WithTimeout(context.Background(), endLimit)
		defer cancel()
		if _, err := x.conn.ExecContext(ctx, "ROLLBACK"); err != nil {
			_ = x.conn.Raw(func(any) error { return driver.ErrBadConn })
		}
	}
	_ = x.conn.Close() // the pool drops a broken one
}

// marks is n rows of width question marks each: (?,?),(?,?).
func marks(n, width int) string {
	row := "(" + strings.Repeat(",?", width)[1:] + ")"
	return strings.Repeat(","+row, n)[1:]
}
