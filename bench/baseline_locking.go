package main

import (
	"context"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/go-sql-driver/mysql"

	"strata/core"
	"strata/fault"
)

// lockTries bounds how often a baseline does a transfer again that a deadlock or a lock wait ended.
const lockTries = 50

// locking is a ledger as it is usually written: every transfer is a transaction of its own, on the stock driver, that
// writes the same rows as the core does. The hot account is locked last, which is kind to it.
type locking struct {
	db     *sql.DB
	month  string // of the shards
	method string // conditional update, for update, procedure
}

// pay is one transfer as every side is asked for it.
type pay struct {
	id       string
	from, to int64
	hotFrom  bool // from is the hot account: it is locked last
	amount   int64
	at       time.Time
}

func (p *pay) transfer() core.Transfer {
	return core.Transfer{ID: p.id, Kind: "payment", OrderTime: p.at, Memo: "bench", Legs: []core.Leg{
		{Account: p.from, Unit: "CNY", Amount: -p.amount}, {Account: p.to, Unit: "CNY", Amount: p.amount}}}
}

// openLocking makes the tables in the schema that dsn names.
func openLocking(ctx context.Context, dsn, method string, month string, conns int) (*locking, error) {
	cfg, err := mysql.ParseDSN(dsn)
	if err != nil {
		return nil, fault.Wrap(fault.Internal, "parse dsn", err)
	}
	cfg.InterpolateParams = true // a round trip a statement
	cfg.Params = map[string]string{"tx_isolation": "'READ-COMMITTED'", "time_zone": "'+00:00'"}
	connector, err := mysql.NewConnector(cfg)
	if err != nil {
		return nil, fault.Wrap(fault.Internal, "open baseline", err)
	}
	l := &locking{db: sql.OpenDB(connector), month: month, method: method}
	l.db.SetMaxOpenConns(conns)
	l.db.SetMaxIdleConns(conns)
	ddl := []string{core.AccountTable, core.TransferIDTable, "CREATE TABLE transfer_" + month + " " + core.TransferTable,
		"CREATE TABLE entry_" + month + " " + core.EntryTable}
	if method == "procedure" {
		ddl = append(ddl, l.procedure())
	}
	for _, text := range ddl {
		if _, err := l.db.ExecContext(ctx, text); err != nil {
			return nil, errors.Join(fault.Wrap(fault.Unavailable, "make baseline tables", err), l.db.Close())
		}
	}
	return l, nil
}

const (
	insertTransfer = "INSERT INTO transfer_%s (id, kind, order_time, accounting_date, posted_at, legs, unit, amount, memo, business_date) VALUES " +
		"(?,'payment',?,?,?,2,'CNY',?,'bench',?)"
	insertID = "INSERT INTO transfer_id (id, body_hash, outcome, answer, order_time, posted_at) VALUES (?,?,'applied'," +
		"CONCAT('{\"b\":[[',?,',',@se0,',',@ba0,'],[',?,',',@se1,',',@ba1,']]}'),?,?)"
	insertEntries = "INSERT INTO entry_%s (account_id, seq, transfer_id, leg, unit, amount, balance_before, balance_after, accounting_date, order_time, posted_at) " +
		"VALUES (?,@se0,?,0,'CNY',?,@ba0-?,@ba0,?,?,?),(?,@se1,?,1,'CNY',?,@ba1-?,@ba1,?,?,?)"
)

// move is the conditional UPDATE of leg n; it leaves the balance and the number of entries in session variables.
func move(leg int) string {
	return fmt.Sprintf("UPDATE account SET balance=@ba%[1]d:=balance+?, entries=@se%[1]d:=entries+1, debits=debits+?, credits=credits+? "+
		"WHERE id=? AND unit='CNY' AND state='open' AND (? > 0 OR min_balance IS NULL OR balance+?>=min_balance)", leg)
}

// post does one transfer, again after a deadlock.
func (l *locking) post(ctx context.Context, p *pay) error {
	for try := 1; ; try++ {
		var err error
		if l.method == "procedure" {
			err = l.call(ctx, p)
		} else {
			err = l.transact(ctx, p)
		}
		var e *mysql.MySQLError
		if err == nil || try == lockTries || !errors.As(err, &e) || e.Number != 1213 && e.Number != 1205 {
			return err
		}
	}
}

func (l *locking) transact(ctx context.Context, p *pay) error {
	tx, err := l.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }()
	at, date := stamp(p.at), p.at.Format(time.DateOnly)
	if _, err := tx.ExecContext(ctx, fmt.Sprintf(insertTransfer, l.month), p.id, at, date, at, p.amount, date); err != nil {
		return err
	}
	if l.method == "for update" {
		err = l.lockAndSet(ctx, tx, p)
	} else {
		err = l.moveBoth(ctx, tx, p)
	}
	if err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, fmt.Sprintf(insertEntries, l.month), p.from, p.id, -p.amount, -p.amount, date, at, at,
		p.to, p.id, p.amount, p.amount, date, at, at); err != nil {
		return err
	}
	t := p.transfer()
	body := t.Hash()
	if _, err := tx.ExecContext(ctx, insertID, p.id, body[:], p.from, p.to, at, at); err != nil {
		return err
	}
	return tx.Commit()
}

func (l *locking) moveBoth(ctx context.Context, tx *sql.Tx, p *pay) error {
	legs := []int{0, 1}
	if p.hotFrom {
		legs = []int{1, 0}
	}
	for _, leg := range legs {
		id, amount := p.from, -p.amount
		if leg == 1 {
			id, amount = p.to, p.amount
		}
		r, err := tx.ExecContext(ctx, move(leg), amount, max(-amount, 0), max(amount, 0), id, amount, amount)
		if err != nil {
			return err
		}
		if n, err := r.RowsAffected(); err != nil || n != 1 {
			return errors.Join(err, fault.New(fault.Conflict, "move", "account %d: funds or state", id))
		}
	}
	return nil
}

// lockAndSet reads both accounts FOR UPDATE, the hot one last, and writes what it made of them.
func (l *locking) lockAndSet(ctx context.Context, tx *sql.Tx, p *pay) error {
	legs := []int{0, 1}
	if p.hotFrom {
		legs = []int{1, 0}
	}
	for _, leg := range legs {
		id, amount := p.from, -p.amount
		if leg == 1 {
			id, amount = p.to, p.amount
		}
		var balance, entries int64
		var low sql.NullInt64
		var unit, state string
		if err := tx.QueryRowContext(ctx, "SELECT balance, entries, min_balance, unit, state FROM account WHERE id=? FOR UPDATE", id).
			Scan(&balance, &entries, &low, &unit, &state); err != nil {
			return err
		}
		if unit != "CNY" || state != "open" || amount < 0 && low.Valid && balance+amount < low.Int64 {
			return fault.New(fault.Conflict, "move", "account %d: funds or state", id)
		}
		if _, err := tx.ExecContext(ctx, fmt.Sprintf("UPDATE account SET balance=@ba%[1]d:=?, entries=@se%[1]d:=?, debits=debits+?, credits=credits+? WHERE id=?", leg),
			balance+amount, entries+1, max(-amount, 0), max(amount, 0), id); err != nil {
			return err
		}
	}
	return nil
}

// procedure is the whole transfer in one round trip.
func (l *locking) procedure() string {
	insert := func(text string, args ...string) string {
		for _, a := range args {
			text = strings.Replace(text, "?", a, 1)
		}
		return text
	}
	step := func(leg int, id, amount string) string {
		return insert(move(leg), amount, "GREATEST(-"+amount+",0)", "GREATEST("+amount+",0)", id, amount, amount) +
			"; IF ROW_COUNT() <> 1 THEN SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'funds or state'; END IF; "
	}
	return "CREATE PROCEDURE pay(t_id VARCHAR(64), body BINARY(32), a_from BIGINT, a_to BIGINT, hot_from BOOL, amt BIGINT, at DATETIME(6)) BEGIN " +
		"DECLARE EXIT HANDLER FOR SQLEXCEPTION BEGIN ROLLBACK; RESIGNAL; END; START TRANSACTION; " +
		insert(fmt.Sprintf(insertTransfer, l.month), "t_id", "at", "DATE(at)", "at", "amt", "DATE(at)") + "; " +
		"SET @am0 = -amt, @am1 = amt; " +
		"IF hot_from THEN " + step(1, "a_to", "@am1") + step(0, "a_from", "@am0") +
		"ELSE " + step(0, "a_from", "@am0") + step(1, "a_to", "@am1") + "END IF; " +
		insert(fmt.Sprintf(insertEntries, l.month), "a_from", "t_id", "@am0", "@am0", "DATE(at)", "at", "at", "a_to", "t_id", "@am1", "@am1", "DATE(at)", "at", "at") + "; " +
		insert(insertID, "t_id", "body", "a_from", "a_to", "at", "at") + "; COMMIT; END"
}

func (l *locking) call(ctx context.Context, p *pay) error {
	t := p.transfer()
	body := t.Hash()
	_, err := l.db.ExecContext(ctx, "CALL pay(?,UNHEX('"+hex.EncodeToString(body[:])+"'),?,?,?,?,?)", p.id, p.from, p.to, p.hotFrom, p.amount, stamp(p.at))
	return err
}

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05.000000") }
