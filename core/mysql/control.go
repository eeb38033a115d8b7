package mysql

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"strata/core"
	"strata/fault"
)

// SetState is core.Control.
func (l *Ledger) SetState(ctx context.Context, id int64, state core.State) error {
	op := fmt.Sprintf("set state of account %d", id)
	if state > core.Closed {
		return fault.New(fault.Invalid, op, "the state is not open, frozen or closed")
	}
	return l.control(ctx, id, func(x *tx, a *core.Account) (string, error) {
		switch {
		case a.State == state:
			return "", nil
		case a.State == core.Closed:
			return "", fault.New(fault.Conflict, op, "it is closed")
		case state == core.Closed && (a.Balance != 0 || a.PendingDebits != 0 || a.PendingCredits != 0 || a.Buffered != 0):
			return "", fault.New(fault.Conflict, op, "it has balance %d, pending debits %d and credits %d, and %d in the buffer; all have to be 0",
				a.Balance, a.PendingDebits, a.PendingCredits, a.Buffered)
		}
		_, err := x.exec(ctx, op, fmt.Sprintf("UPDATE account_mode SET state='%s' WHERE account_id=%d", state, id))
		return "state='" + state.String() + "'", err
	})
}

// SetBounds is core.Control.
func (l *Ledger) SetBounds(ctx context.Context, id int64, low, high *int64) error {
	if !core.ValidBounds(low, high) {
		return fault.New(fault.Invalid, fmt.Sprintf("set bounds of account %d", id), "min_balance is above max_balance")
	}
	return l.control(ctx, id, func(*tx, *core.Account) (string, error) {
		return "min_balance=" + literal(low) + ", max_balance=" + literal(high), nil
	})
}

func literal(n *int64) string {
	if n == nil {
		return "NULL"
	}
	return strconv.FormatInt(*n, 10)
}

// SwitchMode is core.Control. Only the mode that an account has already is taken.
func (l *Ledger) SwitchMode(ctx context.Context, id int64, mode core.Mode, _ int) error {
	return l.control(ctx, id, func(_ *tx, a *core.Account) (string, error) {
		if a.Mode == mode {
			return "", nil
		}
		return "", fault.New(fault.Invalid, fmt.Sprintf("switch mode of account %d", id), "mode %s is not built yet", mode)
	})
}

// control changes one account: its mode's row, which posters of other modes share, and then its own are locked, f says what
// to set ("": nothing).
func (l *Ledger) control(ctx context.Context, id int64, f func(x *tx, a *core.Account) (string, error)) error {
	defer l.known.forget(id)
	return l.change(ctx, "control", func(x *tx) error {
		const op = "lock account"
		none := func(row) error { return nil }
		if err := x.each(ctx, op, fmt.Sprintf("SELECT mode FROM account_mode WHERE account_id=%d FOR UPDATE", id), none); err != nil {
			return err
		}
		b := newFound(core.Batch{})
		if err := lockAccounts(ctx, x, b, []int64{id}); err != nil {
			return err
		}
		a := b.Accounts[id]
		if a == nil || a.Parent != 0 {
			return noAccount("change", id)
		}
		err := x.each(ctx, op, fmt.Sprintf("SELECT COALESCE(SUM(amount), 0) FROM buffer WHERE account_id=%d", id), func(cells row) error {
			a.Buffered = cells.num(0)
			return nil
		})
		if err != nil {
			return err
		}
		set, err := f(x, a)
		if err != nil || set == "" {
			return err
		}
		_, err = x.exec(ctx, "change account", fmt.Sprintf("UPDATE account SET %s WHERE id=%d", set, id))
		return err
	})
}

// Standing is core.Control. All is read in one snapshot.
func (l *Ledger) Standing(ctx context.Context, id int64) (s core.Standing, err error) {
	const op = "read standing"
	x, err := connect(ctx, l.cfg.DB, "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ", "START TRANSACTION READ ONLY")
	if err != nil {
		return s, err
	}
	defer x.end()
	version, found := int64(0), false
	query := fmt.Sprintf("SELECT s.*, d.accounting_date, d.settings FROM (SELECT %s FROM account WHERE id=%d) s JOIN day d ON d.id=1", shownColumns, id)
	err = x.each(ctx, op, query, func(cells row) (err error) {
		found = true
		if s.Account, err = scanAccount(cells); err != nil {
			return err
		}
		version = cells.num(len(cells) - 1)
		s.Day, err = cells.time(len(cells) - 2)
		return err
	})
	if err == nil && !found {
		err = noAccount("read", id)
	}
	if err != nil {
		return s, err
	}
	err = x.each(ctx, op, fmt.Sprintf("SELECT nature, balance, pending FROM fund WHERE account_id=%d AND (balance<>0 OR pending<>0) ORDER BY nature", id), func(cells row) error {
		s.Funds = append(s.Funds, core.Fund{Account: id, Nature: cells.str(0), Balance: cells.num(1), Pending: cells.num(2)})
		return nil
	})
	if err != nil {
		return s, err
	}
	s.Uses, err = l.usesOf(ctx, x, id, version, s.Day)
	return s, err
}

// usesOf reads what the account used of its own limits in the day's periods.
func (l *Ledger) usesOf(ctx context.Context, x *tx, id, version int64, day time.Time) ([]core.Use, error) {
	rules, err := l.rulesOf(ctx, x, version)
	if err != nil {
		return nil, err
	}
	f := newFound(core.Batch{})
	keys := accountUses(rules.Settings().Limits, id, day)
	if err := readUses(ctx, x, f, keys, ""); err != nil {
		return nil, err
	}
	var out []core.Use
	for _, k := range keys {
		if u := f.Uses[k]; u != nil && (u.Amount != 0 || u.Count != 0) {
			out = append(out, *u)
		}
	}
	return out, nil
}

// accountUses are the keys under which an account's own limits count on a day, in their order.
func accountUses(limits []core.Limit, id int64, day time.Time) (keys []core.UseKey) {
	subject := strconv.FormatInt(id, 10)
	for _, limit := range limits {
		if limit.Scope != "account" || limit.Match != "" && limit.Match != subject || limit.Per == "transfer" {
			continue
		}
		period := day.Format(time.DateOnly)
		if limit.Per == "month" {
			period = day.Format("2006-01")
		}
		keys = append(keys, core.UseKey{Limit: limit.Name, Subject: subject, Period: period})
	}
	sortUses(keys)
	return keys
}
