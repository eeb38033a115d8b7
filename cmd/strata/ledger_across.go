package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"strata/core/across"
	"strata/fault"
	"strata/node"
)

// LedgerAcrossCmd is `ledger across`.
type LedgerAcrossCmd struct {
	Post    LedgerAcrossPostCmd    `cmd:"" help:"Post a transfer over several ledgers from a JSON file."`
	Show    LedgerAcrossShowCmd    `cmd:"" help:"Show one."`
	List    LedgerAcrossListCmd    `cmd:"" help:"List the unfinished."`
	Recover LedgerAcrossRecoverCmd `cmd:"" help:"Bring to their end those that are due."`
	Transit LedgerAcrossTransitCmd `cmd:"" help:"What is in transit, and why a date can't be closed."`
}

func withAcross(ctx context.Context, m *Main, cli *CLI, f func(context.Context, *across.Coordinator) error) error {
	return withCore(ctx, m, cli, func(ctx context.Context, l *node.Ledgers) error {
		if l.Across == nil {
			return fault.New(fault.Invalid, "open ledgers", "this configuration has one ledger").WithHint("add core: across: ledgers:, see strata.example.yaml")
		}
		if err := l.Across.Prepare(ctx); err != nil {
			return err
		}
		return f(ctx, l.Across)
	})
}

// LedgerAcrossPostCmd is `ledger across post`.
type LedgerAcrossPostCmd struct {
	File string `arg:"" help:"JSON: id, kind, order_time, legs with ledger, account, unit, amount." type:"existingfile"`
}

// Run posts it.
func (c *LedgerAcrossPostCmd) Run(ctx context.Context, m *Main, cli *CLI) error {
	b, err := os.ReadFile(c.File)
	if err != nil {
		return fault.Wrap(fault.Invalid, "read transfer", err)
	}
	var t across.Transfer
	if err := readStrictly(b, &t); err != nil {
		return fault.Wrap(fault.Invalid, "read "+c.File, err)
	}
	return withAcross(ctx, m, cli, func(ctx context.Context, x *across.Coordinator) error {
		a, err := x.Post(ctx, t)
		if err != nil {
			return err
		}
		if err := m.printJSONOr(cli, map[string]any{"id": t.ID, "outcome": a.Outcome.String(), "state": a.State, "code": a.Code, "message": a.Message,
			"field": a.Field, "ledger": a.Ledger, "balances": balanceForms(a.Balances)}, func(w io.Writer) {
			fmt.Fprintf(w, "%s %s, %s  %s %s\n", t.ID, a.Outcome, a.State, a.Code, a.Message)
		}); err != nil {
			return err
		}
		if a.Code != "" {
			return fault.New(fault.Conflict, "post transfer "+t.ID, "%s: %s", a.Code, a.Message)
		}
		return nil
	})
}

// LedgerAcrossShowCmd is `ledger across show`.
type LedgerAcrossShowCmd struct {
	ID string `arg:"" help:"Transfer id."`
}

// Run shows one.
func (c *LedgerAcrossShowCmd) Run(ctx context.Context, m *Main, cli *CLI) error {
	if err := plain("transfer id", c.ID); err != nil {
		return err
	}
	return withAcross(ctx, m, cli, func(ctx context.Context, x *across.Coordinator) error {
		s, known, err := x.Find(ctx, c.ID)
		if err != nil {
			return err
		}
		if !known {
			return fault.New(fault.NotFound, "find transfer "+c.ID, "this id is not known")
		}
		return m.showAcross(cli, []across.Status{s})
	})
}

func (m *Main) showAcross(cli *CLI, list []across.Status) error {
	return m.printJSONOr(cli, list, func(w io.Writer) {
		for _, s := range list {
			fmt.Fprintf(w, "%s  %s  %s  %s %s\n", s.ID, s.State, s.Answer.Outcome, s.Answer.Code, s.Answer.Message)
			for _, p := range s.Parts {
				fmt.Fprintf(w, "  %s  %s  %s %s\n", p.Ledger, p.Progress, p.Code, p.Error)
			}
		}
	})
}

// LedgerAcrossListCmd is `ledger across list`.
type LedgerAcrossListCmd struct {
	After string `help:"Begin after this id."`
	Limit int    `default:"100" help:"At most so many."`
}

// Run lists the unfinished.
func (c *LedgerAcrossListCmd) Run(ctx context.Context, m *Main, cli *CLI) error {
	if err := errors.Join(plain("--after", c.After), atMost(c.Limit)); err != nil {
		return err
	}
	return withAcross(ctx, m, cli, func(ctx context.Context, x *across.Coordinator) error {
		list, err := x.List(ctx, c.After, c.Limit)
		if err != nil {
			return err
		}
		return m.showAcross(cli, list)
	})
}

// LedgerAcrossRecoverCmd is `ledger across recover`.
type LedgerAcrossRecoverCmd struct{}

// Run is one pass.
func (c *LedgerAcrossRecoverCmd) Run(ctx context.Context, m *Main, cli *CLI) error {
	return withAcross(ctx, m, cli, func(ctx context.Context, x *across.Coordinator) error {
		p, err := x.Recover(ctx)
		if err != nil {
			return err
		}
		return m.printJSONOr(cli, p, func(w io.Writer) { fmt.Fprintf(w, "%d looked at, %d done, %d left\n", p.Looked, p.Done, p.Left) })
	})
}

// LedgerAcrossTransitCmd is `ledger across transit`.
type LedgerAcrossTransitCmd struct {
	Date string `help:"Say what keeps this date from being closed, 2006-01-02." placeholder:"DATE"`
}

// Run shows it; what keeps a date open makes the exit code 1.
func (c *LedgerAcrossTransitCmd) Run(ctx context.Context, m *Main, cli *CLI) error {
	if c.Date != "" {
		if _, err := readDate(c.Date); err != nil {
			return err
		}
	}
	return withCore(ctx, m, cli, func(ctx context.Context, l *node.Ledgers) error {
		nets, findings, err := l.Transit(ctx, c.Date)
		if err != nil {
			return err
		}
		if err := m.printJSONOr(cli, map[string]any{"net": nets, "findings": findings}, func(w io.Writer) {
			for _, n := range nets {
				fmt.Fprintln(w, n)
			}
			for _, f := range findings {
				fmt.Fprintf(w, "%s: %s\n", f.Kind, f.Message)
			}
		}); err != nil {
			return err
		}
		if len(findings) > 0 {
			return fault.New(fault.Proof, "close "+c.Date, "%d findings", len(findings))
		}
		return nil
	})
}
