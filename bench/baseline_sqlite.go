package main

import (
	"context"
	"database/sql"
	"errors"

	_ "modernc.org/sqlite"
)

const bareBatch = 2000 // documents of one transaction, as many as strata's

// openBare makes one SQLite file with the same columns, indexes and durability as strata's index.
func openBare(ctx context.Context, path string) (*sql.DB, error) {
	db, err := sql.Open("sqlite", "file:"+path+"?_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=cache_size(-65536)&_pragma=wal_autocheckpoint(8000)")
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(1)
	for _, q := range []string{
		`CREATE TABLE doc (id INTEGER PRIMARY KEY, shard, version, deleted, hash, account_id, seq, transfer_id, leg, unit, amount, balance_before, balance_after, accounting_date, order_time, posted_at, funds)`,
		`CREATE UNIQUE INDEX doc_key ON doc (shard, account_id, seq)`,
		`CREATE INDEX doc_date ON doc (shard, accounting_date, account_id, seq)`,
	} {
		if _, err := db.ExecContext(ctx, q); err != nil {
			return nil, errors.Join(err, db.Close())
		}
	}
	return db, nil
}

// loadBare writes the rows from memory, a version check per document, one goroutine.
func loadBare(ctx context.Context, db *sql.DB, rows []payment) error {
	var hash [16]byte
	for at := 0; at < len(rows); at += bareBatch {
		tx, err := db.BeginTx(ctx, nil)
		if err != nil {
			return err
		}
		st, err := tx.Prepare(`INSERT INTO doc (shard, version, deleted, hash, account_id, seq, transfer_id, leg, unit, amount, balance_before, balance_after, accounting_date, order_time, posted_at, funds) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)
			ON CONFLICT (shard, account_id, seq) DO UPDATE SET version=excluded.version, deleted=excluded.deleted, hash=excluded.hash,
			transfer_id=excluded.transfer_id, leg=excluded.leg, unit=excluded.unit, amount=excluded.amount, balance_before=excluded.balance_before,
			balance_after=excluded.balance_after, accounting_date=excluded.accounting_date, order_time=excluded.order_time,
			posted_at=excluded.posted_at, funds=excluded.funds WHERE excluded.version > doc.version`)
		if err != nil {
			return err
		}
		for i := at; i < min(at+bareBatch, len(rows)); i++ {
			p := &rows[i]
			if _, err := st.Exec(p.date[5:7], i+1, 0, hash[:], p.account, p.seq, p.transfer, p.leg, p.unit, p.amount, p.before, p.after, p.date, p.orderTime, p.postedTime, ""); err != nil {
				return err
			}
		}
		if err := tx.Commit(); err != nil {
			return err
		}
	}
	return nil
}
