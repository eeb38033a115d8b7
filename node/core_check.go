package node

import (
	"context"
	"fmt"
	"time"

	"strata/catalog"
	"strata/core/across"
	"strata/core/daybook"
	"strata/core/voucher"
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
		named := 0
		checked, err := c.Vouchers.Check(ctx, voucher.Checking{}, func(f voucher.Finding) {
			if named++; named <= 100 {
				found(f.String())
			}
		})
		if err != nil {
			return rep, err
		}
		rep.Add(daybook.Section{Name: "vouchers", Looked: checked.Vouchers + checked.Lines + checked.Sums, Findings: checked.Findings,
			Note: fmt.Sprintf("%d vouchers, %d lines, %d sums of %d days", checked.Vouchers, checked.Lines, checked.Sums, checked.Days)})
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
