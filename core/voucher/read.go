package voucher

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"strata/core"
	"strata/db"
	"strata/fault"
	"strata/money"
)

// Voucher is a stored voucher.
type Voucher struct {
	Transfer string
	Date     time.Time // accounting date
	Rules    int64     // the version that it was made by; 0: none was in force
	State    State
	Code     Code   // of a failed one
	Reason   string // of a failed one: rule, field, sentence
	Attempts int64
	MadeAt   time.Time
	Event    core.Event
	Lines    []Line
}

// Voucher returns the voucher of a transfer; fault.NotFound where there is none.
func (s *Store) Voucher(ctx context.Context, transfer string) (Voucher, error) {
	op := "read voucher " + transfer
	x, err := s.begin(ctx, true)
	if err != nil {
		return Voucher{}, err
	}
	defer x.end()
	rows, err := x.vouchers(ctx, "WHERE transfer_id = ?", transfer)
	if err != nil {
		return Voucher{}, err
	}
	if len(rows) == 0 {
		return Voucher{}, fault.New(fault.NotFound, op, "no such voucher").WithHint("a transfer that was not booked, or that waits in the feed, has none")
	}
	v, err := rows[0].voucher()
	if err != nil {
		return Voucher{}, fmt.Errorf("%s: %w", op, err)
	}
	err = x.each(ctx, op, func(r *sql.Rows) error {
		var l Line
		err := r.Scan(&l.Subject, &l.Unit, &l.Debit, &l.Credit)
		v.Lines = append(v.Lines, l)
		return err
	}, "SELECT subject, unit, debit, credit FROM journal WHERE accounting_date = ? AND transfer_id = ? ORDER BY line", day(v.Date), transfer)
	return v, err
}

// voucherRow is a row as it is stored.
type voucherRow struct {
	made
	lineCount int
	stored    []byte // its seal
}

func (x *tx) vouchers(ctx context.Context, where string, args ...any) (out []voucherRow, err error) {
	err = x.each(ctx, "read vouchers", func(r *sql.Rows) error {
		var v voucherRow
		err := r.Scan(&v.date, &v.id, &v.version, &v.state, &v.lineCount, &v.code, &v.reason, &v.attempts, &v.at, &v.body, &v.stored)
		out = append(out, v)
		return err
	}, "SELECT accounting_date, transfer_id, rule_version, state, line_count, code, reason, attempts, made_at, body, seal FROM voucher "+where, args...)
	return out, err
}

// intact reports whether the row is as it was written.
func (r *voucherRow) intact() bool {
	seal := r.sealWith(r.lineCount)
	return string(seal[:]) == string(r.stored)
}

func (r *voucherRow) voucher() (Voucher, error) {
	ev, err := parseEvent([]byte(r.body))
	if err != nil {
		return Voucher{}, err
	}
	v := Voucher{Transfer: r.id, Rules: r.version, State: r.state, Code: r.code, Reason: r.reason, Attempts: r.attempts, Event: ev}
	if v.Date, err = time.Parse(time.DateOnly, r.date); err == nil {
		v.MadeAt, err = time.Parse("2006-01-02 15:04:05.000000", r.at)
	}
	return v, err
}

// Failed returns up to limit failed vouchers after a transfer of a date, by date and transfer; a zero date is before all.
func (s *Store) Failed(ctx context.Context, afterDate time.Time, afterTransfer string, limit int) ([]Voucher, error) {
	x, err := s.begin(ctx, true)
	if err != nil {
		return nil, err
	}
	defer x.end()
	rows, err := x.vouchers(ctx, failedAfter+" LIMIT ?", dateOr(afterDate), dateOr(afterDate), afterTransfer, limit)
	if err != nil {
		return nil, err
	}
	out := make([]Voucher, len(rows))
	for i := range rows {
		if out[i], err = rows[i].voucher(); err != nil {
			return nil, fmt.Errorf("read voucher %s: %w", rows[i].id, err)
		}
	}
	return out, nil
}

const failedAfter = "WHERE state = 'failed' AND (accounting_date > ? OR accounting_date = ? AND transfer_id > ?) ORDER BY accounting_date, transfer_id"

// dateOr is a date as text; the zero time is a date before all.
func dateOr(t time.Time) string {
	if t.IsZero() {
		return "1000-01-01"
	}
	return day(t)
}

// Status is how far the vouchers are.
type Status struct {
	Newest  int64 // version of the rules
	Days    int64 // accounting dates that have vouchers
	Booked  int64
	None    int64
	Failed  int64
	LastDay time.Time // zero: there are none
}

// Status counts from the counts by day, which are written with the vouchers.
func (s *Store) Status(ctx context.Context) (out Status, err error) {
	const op = "read vouchers' status"
	x, err := s.begin(ctx, true)
	if err != nil {
		return out, err
	}
	defer x.end()
	if out.Newest, err = x.head(ctx, ""); err != nil {
		return out, err
	}
	var last sql.NullString
	err = x.each(ctx, op, func(r *sql.Rows) error {
		return r.Scan(&out.Days, &out.Booked, &out.None, &out.Failed, &last)
	}, "SELECT COUNT(*), COALESCE(SUM(booked),0), COALESCE(SUM(none),0), COALESCE(SUM(failed),0), MAX(accounting_date) FROM voucher_day")
	if err == nil && last.Valid {
		out.LastDay, err = time.Parse(time.DateOnly, last.String)
	}
	return out, err
}

// Sum is what a subject got in a unit on a day, or until its end.
type Sum struct {
	Date    time.Time
	Subject string
	Unit    string
	Debit   money.Sum
	Credit  money.Sum
}

// GeneralLedger gives the sums of the accounting dates in [from, to) to f, by date, subject and unit.
func (s *Store) GeneralLedger(ctx context.Context, from, to time.Time, f func(Sum) error) error {
	return s.sums(ctx, f, "SELECT accounting_date, subject, unit, debit, credit FROM general_ledger WHERE accounting_date >= ? AND accounting_date < ? ORDER BY accounting_date, subject, unit",
		day(from), day(to))
}

// Balances gives what each subject has got in each unit until the end of an accounting date to f, by subject and unit.
func (s *Store) Balances(ctx context.Context, date time.Time, f func(Sum) error) error {
	return s.sums(ctx, f, "SELECT ?, subject, unit, SUM(debit), SUM(credit) FROM general_ledger WHERE accounting_date <= ? GROUP BY subject, unit ORDER BY subject, unit",
		day(date), day(date))
}

func (s *Store) sums(ctx context.Context, f func(Sum) error, query string, args ...any) error {
	const op = "read general ledger"
	rows, err := s.cfg.DB.SQL().QueryContext(ctx, query, args...)
	if err != nil {
		return db.Classify(op, err)
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var date, debit, credit string
		var out Sum
		if err := rows.Scan(&date, &out.Subject, &out.Unit, &debit, &credit); err != nil {
			return db.Classify(op, err)
		}
		if out.Date, err = time.Parse(time.DateOnly, date); err != nil {
			return fault.Wrap(fault.Proof, op, err)
		}
		if out.Debit, err = money.ParseSum(debit); err != nil {
			return err
		}
		if out.Credit, err = money.ParseSum(credit); err != nil {
			return err
		}
		if err := f(out); err != nil {
			return err
		}
	}
	return db.Classify(op, rows.Err())
}

// Source gives events of accounting dates. It may be the ledger's own rows, wherever they are.
type Source interface {
	// Events gives every booked transfer of the accounting dates in [from, to) to f once, in any order, until f returns an
	// error, which it returns.
	Events(ctx context.Context, from, to time.Time, f func(core.Event) error) error
}

const pageRows = 200

// Events is Source: the events that vouchers keep. Each page is a moment of its own.
func (s *Store) Events(ctx context.Context, from, to time.Time, f func(core.Event) error) error {
	date, id := day(from), ""
	for {
		x, err := s.begin(ctx, true)
		if err != nil {
			return err
		}
		rows, err := x.vouchers(ctx, "WHERE (accounting_date > ? OR accounting_date = ? AND transfer_id > ?) AND accounting_date < ? ORDER BY accounting_date, transfer_id LIMIT ?",
			date, date, id, day(to), pageRows)
		x.end()
		if err != nil {
			return err
		}
		for i := range rows {
			ev, err := parseEvent([]byte(rows[i].body))
			if err != nil {
				return fmt.Errorf("voucher %s: %w", rows[i].id, err)
			}
			if err := f(ev); err != nil {
				return err
			}
		}
		if len(rows) < pageRows {
			return nil
		}
		date, id = rows[len(rows)-1].date, rows[len(rows)-1].id
	}
}
