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
	return l.control(ctx, id, func(x *tx, h *locked) (string, error) {
		a, balance := h.a, h.total()
		switch {
		case a.State == state:
			return "", nil
		case a.State == core.Closed:
			return "", fault.New(fault.Conflict, op, "it is closed")
		case state == core.Closed && (balance != 0 || a.PendingDebits != 0 || a.PendingCredits != 0 || a.Buffered != 0):
			return "", fault.New(fault.Conflict, op, "it has balance %d, pending debits %d and credits %d, and %d in the buffer; all have to be 0",
				balance, a.PendingDebits, a.PendingCredits, a.Buffered)
		}
		if state == core.Closed && a.Mode == core.SubAccounts { // inner accounts that cancel one another out
			if err := l.switchTo(ctx, x, h, core.RealTime, 0); err != nil {
				return "", err
			}
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
	return l.control(ctx, id, func(x *tx, h *locked) (string, error) {
		if err := l.rebound(ctx, x, h, low, high); err != nil {
			return "", err
		}
		return "min_balance=" + literal(low) + ", max_balance=" + literal(high), nil
	})
}

func literal(n *int64) string {
	if n == nil {
		return "NULL"
	}
	return strconv.FormatInt(*n, 10)
}

// rebound prepares an account in another mode for other bounds.
func (l *Ledger) rebound(ctx context.Context, x *tx, h *locked, low, high *int64) error {
	op := fmt.Sprintf("set bounds of account %d", h.a.ID)
	if h.a.Mode != core.Buffered && h.a.Mode != core.SubAccounts {
		return nil
	}
	if high != nil {
		return fault.New(fault.Conflict, op, "it is in %s, where nobody could keep a max_balance", h.a.Mode).WithHint("switch it to real_time first")
	}
	if h.a.Mode == core.Buffered || low == nil {
		return nil
	}
	if err := l.collect(h); err != nil { // inner accounts that are below 0 may not be so any more
		return err
	}
	if h.a.Available() < *low {
		return fault.New(fault.Conflict, op, "it has %d available, which is below that, and is in sub_accounts", h.a.Available()).WithHint("switch it to real_time first")
	}
	if err := l.scatter(h, int(h.row.inner)); err != nil {
		return err
	}
	return l.writeHeld(ctx, x, h)
}

// control changes one account: its mode's row, which posters of other modes share, and then its own are locked, f says what
// to set ("": nothing).
func (l *Ledger) control(ctx context.Context, id int64, f func(x *tx, h *locked) (string, error)) error {
	defer l.known.forget(id)
	return l.changeOf(ctx, "control", func(x *tx) error {
		h, err := l.hold(ctx, x, id, false)
		if err != nil {
			return err
		}
		set, err := f(x, h)
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
	if s.Account.Buffered != 0 && s.Account.Strategy != "" {
		if s.Funds, err = fundsOf(ctx, x, id, s.Funds); err != nil {
			return s, err
		}
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
