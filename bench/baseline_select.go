package main

import (
	"context"
	"database/sql"
	"fmt"
)

// plainTable is the same rows in one table of one server, asked by the stock driver with statements prepared once.
type plainTable struct {
	account *sql.Stmt // the first rows of an account by time
	page    *sql.Stmt // rows by time from an offset
}

const plainColumns = "account_id, seq, transfer_id, leg, unit, amount, balance_before, balance_after, accounting_date, order_time, posted_at"

func openPlainTable(ctx context.Context, db *sql.DB, table string) (*plainTable, error) {
	account, err := db.PrepareContext(ctx, "SELECT "+plainColumns+" FROM "+table+
		" WHERE account_id = ? ORDER BY accounting_date, account_id, seq LIMIT ?")
	if err != nil {
		return nil, fmt.Errorf("prepare account query: %w", err)
	}
	page, err := db.PrepareContext(ctx, "SELECT "+plainColumns+" FROM "+table+
		" ORDER BY accounting_date, account_id, seq LIMIT ? OFFSET ?")
	if err != nil {
		return nil, fmt.Errorf("prepare page query: %w", err)
	}
	return &plainTable{account, page}, nil
}

// read runs a statement, reads every cell of every row, and returns the keys of the rows.
func (p *plainTable) read(ctx context.Context, st *sql.Stmt, args ...any) (keys []string, err error) {
	rows, err := st.QueryContext(ctx, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var cells [11]sql.RawBytes
	dest := make([]any, len(cells))
	for i := range cells {
		dest[i] = &cells[i]
	}
	for rows.Next() {
		if err := rows.Scan(dest...); err != nil {
			return nil, err
		}
		keys = append(keys, string(cells[0])+"/"+string(cells[1]))
	}
	return keys, rows.Err()
}
