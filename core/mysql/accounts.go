package mysql

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"time"

	"strata/core"
	"strata/db"
	"strata/fault"
)

// openTries bounds CutDay and Open, which only ever wait for batches.
const openTries = 5

// Open is core.Accounts. All accounts are made in one transaction.
func (l *Ledger) Open(ctx context.Context, accounts []core.Account) error {
	want := map[int64]core.Account{}
	for _, a := range accounts {
		if err := core.CheckAccount(&a); err != nil {
			return err
		}
		if have, ok := want[a.ID]; ok && !core.SameAccount(&have, &a) {
			return core.AccountConflict(a.ID)
		}
		want[a.ID] = a
	}
	ids := make([]int64, 0, len(want))
	for id := range want {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	now := l.cfg.Now().UTC().Truncate(time.Microsecond)
	return l.again(ctx, func() error {
		x, err := begin(ctx, l.cfg.DB)
		if err != nil {
			return err
		}
		defer x.end()
		for chunk := range slices.Chunk(ids, accountChunk) {
			if err := openChunk(ctx, x, chunk, want, now); err != nil {
				return err
			}
		}
		return x.commit(ctx)
	})
}

func openChunk(ctx context.Context, x *tx, ids []int64, want map[int64]core.Account, now time.Time) error {
	q := &text{}
	q.start("INSERT IGNORE INTO account (id, name, unit, min_balance, balance, entries, opened_at) VALUES ")
	for _, id := range ids {
		a := want[id]
		q.open()
		q.num(id)
		q.str(a.Name)
		q.str(a.Unit)
		if a.MinBalance == nil {
			q.null()
		} else {
			q.num(*a.MinBalance)
		}
		q.num(0)
		q.num(0)
		q.time(now)
		q.shut()
	}
	if _, err := x.exec(ctx, "open accounts", q.String()); err != nil {
		return err
	}
	q.start("SELECT id, name, unit, min_balance FROM account WHERE id IN (")
	for _, id := range ids {
		q.num(id)
	}
	q.raw(") ORDER BY id LOCK IN SHARE MODE")
	const op = "read opened accounts"
	rows, err := x.query(ctx, op, q.String())
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var have core.Account
		if err := rows.Scan(&have.ID, &have.Name, &have.Unit, &have.MinBalance); err != nil {
			return db.Classify(op, err)
		}
		if a := want[have.ID]; !core.SameAccount(&have, &a) {
			return core.AccountConflict(have.ID)
		}
	}
	return db.Classify(op, rows.Err())
}

// Balance is core.Accounts.
func (l *Ledger) Balance(ctx context.Context, id int64) (core.Account, error) {
	op := fmt.Sprintf("read account %d", id)
	a := core.Account{}
	err := l.cfg.DB.SQL().QueryRowContext(ctx, "SELECT id, name, unit, min_balance, balance, entries FROM account WHERE id=?", id).
		Scan(&a.ID, &a.Name, &a.Unit, &a.MinBalance, &a.Balance, &a.Entries)
	if errors.Is(err, sql.ErrNoRows) {
		return core.Account{}, fault.New(fault.NotFound, op, "no such account")
	}
	return a, db.Classify(op, err)
}

// Answer is core.Poster.
func (l *Ledger) Answer(ctx context.Context, id string) (core.Answer, bool, error) {
	const op = "read remembered answer"
	var outcome string
	var raw []byte
	err := l.cfg.DB.SQL().QueryRowContext(ctx, "SELECT outcome, answer FROM transfer_id WHERE id=?", id).Scan(&outcome, &raw)
	if errors.Is(err, sql.ErrNoRows) {
		return core.Answer{}, false, nil
	}
	if err != nil {
		return core.Answer{}, false, db.Classify(op, err)
	}
	a, err := core.ParseAnswer(outcome, raw)
	return a, err == nil, err
}

// Day is core.Days.
func (l *Ledger) Day(ctx context.Context) (time.Time, error) {
	const op = "read accounting date"
	var text string
	if err := l.cfg.DB.SQL().QueryRowContext(ctx, "SELECT accounting_date FROM day WHERE id=1").Scan(&text); err != nil {
		return time.Time{}, db.Classify(op, err)
	}
	return parseDay(op, text)
}

// CutDay is core.Days. It waits for the batch in flight, which holds the day in share mode.
func (l *Ledger) CutDay(ctx context.Context, date time.Time) error {
	date = core.Date(date)
	if !core.Storable(date) {
		return fault.New(fault.Invalid, "cut day", "%s is not between 1970 and 9999", date)
	}
	return l.again(ctx, func() error {
		if err := l.at("core.before_cut"); err != nil {
			return err
		}
		text := date.Format(time.DateOnly)
		_, err := l.cfg.DB.SQL().ExecContext(ctx, "UPDATE day SET accounting_date=? WHERE id=1 AND accounting_date<?", text, text)
		if err != nil {
			return db.Classify("cut day", err)
		}
		if err := l.at("core.after_cut"); err != nil {
			return err
		}
		now, err := l.Day(ctx)
		if err == nil && now.After(date) {
			return core.EarlierDay(date, now)
		}
		return err
	})
}

// again repeats what is harmless to repeat, while locks are held by others or connections get lost.
func (l *Ledger) again(ctx context.Context, f func() error) error {
	pause := firstPause
	for try := 1; ; try++ {
		err := f()
		if err == nil || !retryable(err) || try == openTries || ctx.Err() != nil {
			return err
		}
		wait(ctx, pause)
		pause *= 4
	}
}
