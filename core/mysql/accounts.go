package mysql

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"strata/core"
	"strata/db"
	"strata/fault"
)

// openTries bounds what only ever waits for batches.
const openTries = 5

// Open is core.Accounts. All accounts are made in one transaction.
func (l *Ledger) Open(ctx context.Context, accounts []core.Account) error {
	now := l.cfg.Now()
	want := map[int64]core.Account{}
	for _, a := range accounts {
		if err := core.CheckAccount(&a); err != nil {
			return err
		}
		a = core.Opened(a, now)
		if have, ok := want[a.ID]; ok && !core.SameAccount(&have, &a) {
			return core.AccountConflict(a.ID)
		}
		want[a.ID] = a
	}
	ids := slices.Sorted(maps.Keys(want))
	return l.again(ctx, func() error {
		x, err := begin(ctx, l.cfg.DB)
		if err != nil {
			return err
		}
		defer x.end()
		if err := openAll(ctx, x, ids, want); err != nil {
			return err
		}
		return x.commit(ctx)
	})
}

func openAll(ctx context.Context, x *tx, ids []int64, want map[int64]core.Account) error {
	_, err := x.insert(ctx, "open accounts", "INSERT IGNORE INTO account (id, name, tenant, unit, side, min_balance, max_balance, strategy, metadata, balance, entries, opened_at) VALUES ",
		"", len(ids), func(q *text, i int) {
			a := want[ids[i]]
			q.num(a.ID)
			q.str(a.Name)
			q.str(a.Tenant)
			q.str(a.Unit)
			q.str(a.Side.String())
			q.numOrNull(a.MinBalance)
			q.numOrNull(a.MaxBalance)
			q.str(a.Strategy)
			q.str(a.Metadata)
			q.num(0)
			q.num(0)
			q.time(a.OpenedAt)
		})
	if err != nil {
		return err
	}
	return in(ctx, x, "read opened accounts", "SELECT "+accountColumns+" FROM account FORCE INDEX (PRIMARY) WHERE id IN (", ") ORDER BY id LOCK IN SHARE MODE",
		ids, addNum, func(cells row) error {
			have, err := scanAccount(cells)
			if err != nil {
				return err
			}
			if a := want[have.ID]; !core.SameAccount(&have, &a) {
				return core.AccountConflict(have.ID)
			}
			return nil
		})
}

// accountColumns are all of an account; lockedColumns first.
const accountColumns = lockedColumns + ", name, metadata, opened_at"

// shownColumns are an account as the outside sees it, in one statement: what waits in the buffer is part of the balance, and
// so is what inner accounts have.
const shownColumns = accountColumns + ", IF(mode='buffered', (SELECT COALESCE(SUM(b.amount), 0) FROM buffer b WHERE b.account_id=account.id), 0)" +
	", IF(mode='sub_accounts', (SELECT CONCAT_WS(' ', SUM(i.balance), SUM(i.debits), SUM(i.credits), SUM(i.entries)) FROM account i FORCE INDEX (PRIMARY)" +
	" WHERE i.id<0 AND i.parent=account.id), '')"

func scanAccount(cells row) (core.Account, error) {
	a, err := scanLocked(cells)
	if err != nil {
		return a, err
	}
	a.Name, a.Metadata = cells.str(16), cells.str(17)
	if a.OpenedAt, err = cells.time(18); err == nil && len(cells) > 19 {
		a.Buffered = cells.num(19)
		a.Balance, a.Credits = a.Balance+a.Buffered, a.Credits+a.Buffered
		err = addInner(&a, cells.str(20))
	}
	return a, err
}

// addInner adds what inner accounts have.
func addInner(a *core.Account, sums string) error {
	if sums == "" {
		return nil
	}
	var balance, debits, credits, entries int64
	if _, err := fmt.Sscan(sums, &balance, &debits, &credits, &entries); err != nil {
		return fault.Wrap(fault.Internal, "add inner accounts", err)
	}
	a.Balance, a.Debits, a.Credits, a.Entries = a.Balance+balance, a.Debits+debits, a.Credits+credits, a.Entries+entries
	return nil
}

// Balance is core.Accounts.
func (l *Ledger) Balance(ctx context.Context, id int64) (core.Account, error) {
	all, err := l.accounts(ctx, fmt.Sprintf("WHERE id=%d", id))
	if err != nil {
		return core.Account{}, err
	}
	if len(all) == 0 {
		return core.Account{}, noAccount("read", id)
	}
	return all[0], nil
}

func noAccount(verb string, id int64) error {
	return fault.New(fault.NotFound, fmt.Sprintf("%s account %d", verb, id), "no such account")
}

// List is core.Control.
func (l *Ledger) List(ctx context.Context, after int64, limit int) ([]core.Account, error) {
	return l.accounts(ctx, fmt.Sprintf("WHERE id>%d AND parent=0 ORDER BY id LIMIT %d", max(after, 0), bound(limit)))
}

// maxList bounds what one call lists.
const maxList = 10_000

func bound(limit int) int { return min(max(limit, 0), maxList) }

// accounts reads accounts in one statement.
func (l *Ledger) accounts(ctx context.Context, condition string) (out []core.Account, err error) {
	err = l.read(ctx, func(x *tx) error {
		return x.each(ctx, "read accounts", "SELECT "+shownColumns+" FROM account "+condition, func(cells row) error {
			a, err := scanAccount(cells)
			out = append(out, a)
			return err
		})
	})
	return out, err
}

// read runs f on a connection of the pool, without a transaction.
func (l *Ledger) read(ctx context.Context, f func(x *tx) error) error {
	x, err := connect(ctx, l.cfg.DB)
	if err != nil {
		return err
	}
	x.open = false
	defer x.end()
	return f(x)
}

// Answer is core.Poster.
func (l *Ledger) Answer(ctx context.Context, id string) (core.Answer, bool, error) {
	const op = "read remembered answer"
	if t := (core.Transfer{ID: id}); !t.Nameable() { // the server would not look at a space at the end
		return core.Answer{}, false, nil
	}
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
	day, err := time.Parse(time.DateOnly, text)
	return day, fault.Wrap(fault.Internal, op, err)
}

// CutDay is core.Days. It waits for the batches in flight, which hold the day in share mode.
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

// change runs f in a transaction between two crash points, and again where that may help. f has to be right when an earlier
// turn's commit was done though its answer was lost.
func (l *Ledger) change(ctx context.Context, point string, f func(x *tx) error) error {
	return l.again(ctx, func() error {
		x, err := begin(ctx, l.cfg.DB)
		if err != nil {
			return err
		}
		defer x.end()
		if err := f(x); err != nil {
			return err
		}
		if err := l.at("core.before_" + point); err != nil {
			return err
		}
		if err := x.commit(ctx); err != nil {
			return err
		}
		return l.at("core.after_" + point)
	})
}
