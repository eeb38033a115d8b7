package main

import (
	"context"
	"encoding/csv"
	"fmt"
	"io"
	"time"

	"strata/core/daybook"
	"strata/fault"
	"strata/node"
)

// LedgerDayCmd is `ledger day`.
type LedgerDayCmd struct {
	Show  LedgerDayShowCmd  `cmd:"" default:"1" help:"Show the open accounting date."`
	Cut   LedgerDayCutCmd   `cmd:"" help:"Open a later date; writes go on."`
	Close LedgerDayCloseCmd `cmd:"" help:"Freeze the balances of a date that was cut; again it only compares."`
}

// LedgerDayShowCmd is `ledger day show`.
type LedgerDayShowCmd struct{}

// Run shows the open date.
func (c *LedgerDayShowCmd) Run(ctx context.Context, m *Main, cli *CLI) error {
	return withCore(ctx, m, cli, func(ctx context.Context, l *node.Ledgers) error { return m.showDay(ctx, cli, l) })
}

func (m *Main) showDay(ctx context.Context, cli *CLI, l *node.Ledgers) error {
	d, err := l.Ledger.Day(ctx)
	if err != nil {
		return err
	}
	text := d.Format(time.DateOnly)
	return m.printJSONOr(cli, map[string]string{"accounting_date": text}, func(w io.Writer) { fmt.Fprintln(w, text) })
}

func readDate(text string) (time.Time, error) {
	d, err := time.Parse(time.DateOnly, text)
	if err != nil {
		return d, fault.New(fault.Invalid, "read flags", "%q is not a date such as 2006-01-02", text)
	}
	return d, nil
}

// LedgerDayCutCmd is `ledger day cut`.
type LedgerDayCutCmd struct {
	Date string `arg:"" help:"The date to open, 2006-01-02."`
}

// Run cuts.
func (c *LedgerDayCutCmd) Run(ctx context.Context, m *Main, cli *CLI) error {
	date, err := readDate(c.Date)
	if err != nil {
		return err
	}
	return withCore(ctx, m, cli, func(ctx context.Context, l *node.Ledgers) error {
		if err := l.CutDay(ctx, date); err != nil {
			return err
		}
		return m.showDay(ctx, cli, l)
	})
}

// LedgerDayCloseCmd is `ledger day close`.
type LedgerDayCloseCmd struct {
	Date string `arg:"" help:"A date that was cut, 2006-01-02."`
}

// Run closes.
func (c *LedgerDayCloseCmd) Run(ctx context.Context, m *Main, cli *CLI) error {
	date, err := readDate(c.Date)
	if err != nil {
		return err
	}
	return withCore(ctx, m, cli, func(ctx context.Context, l *node.Ledgers) error {
		rep, err := l.Book.EndOfDay(ctx, date)
		if err != nil && !fault.Is(err, fault.Proof) {
			return err
		}
		if perr := m.printJSONOr(cli, rep, func(w io.Writer) {
			for _, f := range rep.Findings {
				fmt.Fprintln(w, f)
			}
			fmt.Fprintf(w, "%s: %d accounts, %d entries, %d day balances written now\n", rep.Date, rep.Accounts, rep.Entries, rep.Written)
			for _, late := range rep.Late {
				fmt.Fprintf(w, "  %d transfers of %s were booked on it\n", late.Transfers, late.BusinessDate)
			}
		}); perr != nil {
			return perr
		}
		return err
	})
}

// LedgerTrialCmd is `ledger trial`.
type LedgerTrialCmd struct {
	Date  string `help:"Accounting date, 2006-01-02. Default: the open one." placeholder:"DATE"`
	Total bool   `help:"Only the sums per unit."`
}

// Run writes the lines as CSV, or one JSON object a line, and the sums at the end.
func (c *LedgerTrialCmd) Run(ctx context.Context, m *Main, cli *CLI) error {
	return withCore(ctx, m, cli, func(ctx context.Context, l *node.Ledgers) error {
		date, err := l.Ledger.Day(ctx)
		if c.Date != "" {
			date, err = readDate(c.Date)
		}
		if err != nil {
			return err
		}
		w := csv.NewWriter(m.Stdout)
		if !cli.JSON && !c.Total {
			if err := w.Write(daybook.CSVHeader()); err != nil {
				return err
			}
		}
		b, err := l.Book.TrialBalance(ctx, date, func(line daybook.Line) error {
			switch {
			case c.Total:
				return nil
			case cli.JSON:
				m.answered = true
				return jsonLine(m.Stdout, line)
			}
			return w.Write(line.CSV())
		})
		if err != nil {
			return err
		}
		w.Flush()
		if err := m.trialSums(cli, b); err != nil {
			return err
		}
		if !b.OK {
			return fault.New(fault.Proof, "trial balance of "+b.Date, "debits and credits differ").WithHint("strata ledger check names the rows")
		}
		return w.Error()
	})
}

func (m *Main) trialSums(cli *CLI, b daybook.Balance) error {
	if cli.JSON {
		m.answered = true
		return jsonLine(m.Stdout, b)
	}
	for _, u := range b.Units {
		fmt.Fprintf(m.Stderr, "%s %s: %d accounts, opening %s, debits %s, credits %s, closing %s, balanced %v\n",
			b.Date, u.Unit, u.Accounts, u.Opening, u.Debits, u.Credits, u.Closing, u.OK)
	}
	return nil
}

// LedgerCheckCmd is `ledger check`.
type LedgerCheckCmd struct{}

// Run derives everything again, and returns fault.Proof where something differs.
func (c *LedgerCheckCmd) Run(ctx context.Context, m *Main, cli *CLI) error {
	return withCore(ctx, m, cli, func(ctx context.Context, l *node.Ledgers) error {
		progress := NewProgress(m.Stderr, cli.JSON)
		t := progress.Start("check ledger", 0)
		var found []string
		rep, err := l.Check(ctx, t.Set, func(text string) { found = append(found, text) })
		if err != nil {
			t.Abort()
			return err
		}
		t.End("%d findings", rep.Findings)
		progress.Wait()
		if err := m.printJSONOr(cli, map[string]any{"report": rep, "findings": found}, func(w io.Writer) {
			for _, line := range found {
				fmt.Fprintln(w, line)
			}
			for _, s := range rep.Sections {
				fmt.Fprintf(w, "%-16s %d looked at, %d findings  %s\n", s.Name, s.Looked, s.Findings, s.Note)
			}
		}); err != nil {
			return err
		}
		if !rep.OK {
			return fault.New(fault.Proof, "check ledger", "%d findings", rep.Findings).WithHint("each is named above by table and key")
		}
		return nil
	})
}
