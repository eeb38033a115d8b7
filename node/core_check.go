package node

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"strata/catalog"
	"strata/core"
	"strata/core/across"
	"strata/core/daybook"
	"strata/core/voucher"
	"strata/db"
	"strata/fault"
)

// ledgerSource gives the check every row of the ledger, wherever it is.
type ledgerSource struct{ n *Node }

// Rows is daybook.Source.
func (s ledgerSource) Rows(ctx context.Context, f func(*catalog.Dataset, *catalog.Row) error) error {
	return s.n.LedgerAndSideRows(ctx, f)
}

// Check derives everything from the entries again: balances, day balances, funds, reservations, answers, vouchers. found is
// told each difference, at most 100 of a section.
func (c *Ledgers) Check(ctx context.Context, progress func(done, total int64), found func(text string)) (daybook.CheckReport, error) {
	n := c.node
	rep, err := daybook.Check(ctx, daybook.CheckConfig{Source: ledgerSource{n}, Remembered: n.ledgerClock().Add(-n.horizon()), Progress: progress},
		func(f daybook.Finding) { found(f.String()) })
	if err != nil {
		return rep, err
	}
	if c.Vouchers != nil {
		s, err := c.checkVouchers(ctx, found)
		if err != nil {
			return rep, err
		}
		rep.Add(s)
	}
	if c.Across != nil {
		nets, err := across.TransitNet(ctx, c.ledgers)
		if err != nil {
			return rep, err
		}
		s := daybook.Section{Name: "transit", Looked: int64(len(nets)), Note: "while transfers are in flight transit may be off"}
		for _, net := range nets {
			if !net.Sum.IsZero() {
				s.Findings++
				found("transit does not net to zero: " + net.String())
			}
		}
		rep.Add(s)
	}
	return rep, nil
}

// Transit shows what is in transit and, where a date is named, why it can't be closed.
func (c *Ledgers) Transit(ctx context.Context, date string) (nets []across.Net, findings []across.Finding, err error) {
	if c.Across == nil {
		return nil, nil, nil
	}
	if nets, err = across.TransitNet(ctx, c.ledgers); err != nil || date == "" {
		return nets, nil, err
	}
	day, err := time.Parse(time.DateOnly, date)
	if err != nil {
		return nil, nil, err
	}
	findings, err = c.Across.DayClosable(ctx, day)
	return nets, findings, err
}

// checkVouchers derives journal and general ledger again. Whether every transfer has its voucher is asked from the day after
// the first posting on: on that day, or before it, the rules may not have been there.
func (c *Ledgers) checkVouchers(ctx context.Context, found func(text string)) (daybook.Section, error) {
	out := daybook.Section{Name: "vouchers"}
	report := func(f voucher.Finding) {
		if out.Findings++; out.Findings <= 100 {
			found(f.String())
		}
	}
	checked, err := c.Vouchers.Check(ctx, voucher.Checking{}, report)
	if err != nil {
		return out, err
	}
	out.Looked = checked.Vouchers + checked.Lines + checked.Sums
	out.Note = fmt.Sprintf("%d vouchers, %d lines, %d sums of %d days", checked.Vouchers, checked.Lines, checked.Sums, checked.Days)
	var first time.Time
	errFirst := errors.New("enough")
	err = c.Vouchers.GeneralLedger(ctx, time.Date(1970, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC),
		func(s voucher.Sum) error {
			first = s.Date
			return errFirst
		})
	if err == nil || !errors.Is(err, errFirst) {
		return out, err
	}
	src := ledgerSource{c.node}
	_, err = c.Vouchers.Check(ctx, voucher.Checking{From: first.AddDate(0, 0, 1), Ledger: src, Waiting: src}, func(f voucher.Finding) {
		switch f.Kind {
		case voucher.VoucherMissing, voucher.NoTransfer, voucher.EventDiffers: // the others were told above
			report(f)
		}
	})
	return out, err
}

// Events is voucher.Source: ids and dates of the booked transfers, wherever they are, without those between the places of one
// account, which no consumer is told of.
func (s ledgerSource) Events(ctx context.Context, from, to time.Time, f func(core.Event) error) error {
	d := s.n.ledgerDatasets()[0]
	id, date, kind := d.Index("id"), d.Index("accounting_date"), d.Index("kind")
	return s.n.rowsOf(ctx, s.n.ledgerDatasets()[:1], func(_ *catalog.Dataset, row *catalog.Row) error {
		day, err := time.Parse(time.DateOnly, row.Text(date))
		if err != nil {
			return fault.Wrap(fault.Proof, "read accounting date of transfer "+row.Text(id), err)
		}
		if day.Before(from) || !day.Before(to) || row.Text(kind) == core.MoveKind {
			return nil
		}
		return f(core.Event{Transfer: core.Transfer{ID: row.Text(id)}, AccountingDate: day})
	})
}

// Waiting is voucher.Waiter.
func (s ledgerSource) Waiting(ctx context.Context, transfers []string) ([]string, error) {
	const op = "read waiting events"
	if len(transfers) == 0 {
		return nil, nil
	}
	args := []any{core.ForVouchers}
	for _, id := range transfers {
		args = append(args, id)
	}
	rows, err := s.n.live.SQL().QueryContext(ctx, "SELECT transfer_id FROM outbox WHERE consumer=? AND transfer_id IN (?"+strings.Repeat(",?", len(transfers)-1)+")", args...)
	if err != nil {
		return nil, db.Classify(op, err)
	}
	defer func() { _ = rows.Close() }()
	var out []string
	for rows.Next() {
		var id string
		if err := rows.Scan(&id); err != nil {
			return nil, db.Classify(op, err)
		}
		out = append(out, id)
	}
	return out, db.Classify(op, rows.Err())
}
