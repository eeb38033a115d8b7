package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"strata/core"
	"strata/core/intake"
	"strata/fault"
	"strata/node"
)

// LedgerImportCmd is `ledger import`.
type LedgerImportCmd struct {
	Kind    string   `arg:"" enum:"accounts,balances,transfers" help:"What the file holds: accounts, balances or transfers."`
	File    string   `arg:"" help:"CSV with a header row." type:"existingfile"`
	DryRun  bool     `help:"Check all of it, show counts and sums, write nothing."`
	Decimal bool     `help:"Amounts are in major units, 12.50, instead of minor ones."`
	Opening []string `help:"UNIT:ACCOUNT that opening balances are booked against; once per unit." placeholder:"UNIT:ACCOUNT"`
	Date    string   `help:"Of opening balances, 2006-01-02. Default: the open accounting date." placeholder:"DATE"`
	Series  string   `help:"Names the opening balances: another series books the same accounts once more. Default: opening."`
	Past    bool     `help:"Book past transfers on the days of their orders, on the ledger's own clock; for a ledger that nobody posts to yet."`
	Rejects string   `help:"CSV of what was refused. Default: FILE.rejects.csv." placeholder:"FILE" type:"path"`
}

func (c *LedgerImportCmd) opening() (map[string]int64, error) {
	out := map[string]int64{}
	for _, text := range c.Opening {
		unit, account, ok := strings.Cut(text, ":")
		id, err := strconv.ParseInt(account, 10, 64)
		if !ok || err != nil {
			return nil, fault.New(fault.Invalid, "read flags", "--opening %q is not UNIT:ACCOUNT, such as CNY:9001", text)
		}
		out[unit] = id
	}
	return out, nil
}

// Run imports, or goes on where an earlier import of the same file ended.
func (c *LedgerImportCmd) Run(ctx context.Context, m *Main, cli *CLI) error {
	opening, err := c.opening()
	if err != nil {
		return err
	}
	kind, _ := intake.ParseKind(c.Kind) // kong has checked it
	cfg := intake.Config{Kind: kind, Name: c.File, Decimal: c.Decimal, Opening: opening, Series: c.Series,
		Open: func() (io.ReadCloser, error) { return os.Open(c.File) }, Rejects: c.rejects}
	if c.Date != "" {
		if cfg.Date, err = readDate(c.Date); err != nil {
			return err
		}
	}
	var o node.Options
	if c.Past {
		cfg.Clock = &core.Clock{}
		cfg.Clock.Set(time.Now())
		o.LedgerClock = cfg.Clock.Now
	}
	return withCoreAs(ctx, m, cli, o, func(ctx context.Context, l *node.Ledgers) error { return m.importFile(ctx, cli, l, cfg, c.DryRun) })
}

// rejects opens the file of refused rows.
func (c *LedgerImportCmd) rejects(more bool) (io.WriteCloser, error) {
	path := c.Rejects
	if path == "" {
		path = c.File + ".rejects.csv"
	}
	flags := os.O_CREATE | os.O_WRONLY | os.O_TRUNC
	if more {
		flags = os.O_CREATE | os.O_WRONLY | os.O_APPEND
	}
	f, err := os.OpenFile(path, flags, 0o600)
	return f, fault.Wrap(fault.Denied, "open rejects", err)
}

func (m *Main) importFile(ctx context.Context, cli *CLI, l *node.Ledgers, cfg intake.Config, dryRun bool) error {
	day, err := l.Ledger.Day(ctx)
	if err != nil {
		return err
	}
	if cfg.Date.IsZero() {
		cfg.Date = day
	}
	cfg.Accounts, cfg.Poster, cfg.Days = l.Ledger, l.Ledger, l.Ledger
	if cfg.Marks, err = l.ImportMarks(ctx); err != nil {
		return err
	}
	progress := NewProgress(m.Stderr, cli.JSON)
	t := progress.Start("import", 0)
	cfg.Progress = t.Set
	if dryRun {
		plan, err := intake.Check(ctx, cfg)
		if err != nil {
			t.Abort()
			return err
		}
		t.End("%d %s checked", plan.Items, plan.Kind)
		progress.Wait()
		return m.printJSONOr(cli, plan, func(w io.Writer) { printPlanOf(w, plan) })
	}
	res, err := intake.Import(ctx, cfg)
	if err != nil {
		t.Abort()
		return err
	}
	t.End("%d booked, %d there already, %d refused", res.Applied, res.Replayed+res.Skipped, res.Refused)
	progress.Wait()
	err = m.printJSONOr(cli, res, func(w io.Writer) {
		printPlanOf(w, res.Plan)
		fmt.Fprintf(w, "booked %d, there already %d, refused %d\n", res.Applied+res.Opened, res.Replayed+res.Skipped, res.Refused)
	})
	return errors.Join(err, res.Check())
}

func printPlanOf(w io.Writer, p intake.Plan) {
	fmt.Fprintf(w, "%d rows, %d %s\n", p.Rows, p.Items, p.Kind)
	for _, u := range p.Units {
		fmt.Fprintf(w, "  %s  %d, debits %s, credits %s\n", u.Unit, u.Items, u.Debits, u.Credits)
	}
}
