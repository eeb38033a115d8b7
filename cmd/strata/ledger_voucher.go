package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"strata/core"
	"strata/core/voucher"
	"strata/fault"
	"strata/node"
)

// LedgerVoucherCmd is `ledger voucher`.
type LedgerVoucherCmd struct {
	Put      LedgerVoucherPutCmd      `cmd:"" help:"Put a rule document in force from an accounting date on."`
	Rollback LedgerVoucherRollbackCmd `cmd:"" help:"Put the rules before the newest in force again."`
	History  LedgerVoucherHistoryCmd  `cmd:"" help:"Versions of the rules."`
	DryRun   LedgerVoucherDryRunCmd   `cmd:"" help:"Show what a document would have posted otherwise; writes nothing."`
	Status   LedgerVoucherStatusCmd   `cmd:"" help:"How far the vouchers are."`
	Show     LedgerVoucherShowCmd     `cmd:"" help:"Show a transfer's voucher."`
	Failed   LedgerVoucherFailedCmd   `cmd:"" help:"List events that the rules could not book."`
	Retry    LedgerVoucherRetryCmd    `cmd:"" help:"Ask the rules in force now about failed vouchers."`
	GL       LedgerVoucherGLCmd       `cmd:"" name:"gl" help:"General ledger by date, subject and unit."`
	Case     LedgerVoucherCaseCmd     `cmd:"" help:"Post a business case: its transfer is made by the rules."`
}

func withVouchers(ctx context.Context, m *Main, cli *CLI, f func(context.Context, *voucher.Store) error) error {
	return withCore(ctx, m, cli, func(ctx context.Context, l *node.Ledgers) error {
		if l.Vouchers == nil {
			return fault.New(fault.Invalid, "open vouchers", "this configuration has none").WithHint("set core: vouchers: true")
		}
		return f(ctx, l.Vouchers)
	})
}

type rulesForm struct {
	Version    int64     `json:"version"`
	Author     string    `json:"author"`
	Reason     string    `json:"reason"`
	At         time.Time `json:"at"`
	ActiveFrom string    `json:"active_from"`
}

func rulesOf(v voucher.Version) rulesForm {
	return rulesForm{v.Number, v.Author, v.Reason, v.At, v.ActiveFrom.Format(time.DateOnly)}
}

func (m *Main) showRules(cli *CLI, v voucher.Version) error {
	return m.printJSONOr(cli, rulesOf(v), func(w io.Writer) {
		fmt.Fprintf(w, "version %d, in force from %s, %s: %s\n", v.Number, v.ActiveFrom.Format(time.DateOnly), v.Author, v.Reason)
	})
}

// LedgerVoucherPutCmd is `ledger voucher put`.
type LedgerVoucherPutCmd struct {
	File string `arg:"" help:"Rules and cases, YAML or JSON." type:"existingfile"`
	Base int64  `required:"" help:"The newest version, that the document was made from; 0 for the first."`
	From string `required:"" help:"First accounting date, 2006-01-02." placeholder:"DATE"`
	by   `embed:""`
}

// Run puts it in force.
func (c *LedgerVoucherPutCmd) Run(ctx context.Context, m *Main, cli *CLI) error {
	from, err := readDate(c.From)
	if err != nil {
		return err
	}
	body, err := os.ReadFile(c.File)
	if err != nil {
		return fault.Wrap(fault.Invalid, "read rules", err)
	}
	if _, err := voucher.Compile(body); err != nil {
		return err
	}
	return withVouchers(ctx, m, cli, func(ctx context.Context, s *voucher.Store) error {
		v, err := s.Put(ctx, voucher.Draft{Base: c.Base, Body: body, Author: c.author(), Reason: c.Reason, ActiveFrom: from})
		if err != nil {
			return err
		}
		return m.showRules(cli, v)
	})
}

// LedgerVoucherRollbackCmd is `ledger voucher rollback`.
type LedgerVoucherRollbackCmd struct {
	From string `required:"" help:"First accounting date, 2006-01-02." placeholder:"DATE"`
	by   `embed:""`
}

// Run rolls back by one.
func (c *LedgerVoucherRollbackCmd) Run(ctx context.Context, m *Main, cli *CLI) error {
	from, err := readDate(c.From)
	if err != nil {
		return err
	}
	return withVouchers(ctx, m, cli, func(ctx context.Context, s *voucher.Store) error {
		v, err := s.RollBack(ctx, from, c.author(), c.Reason)
		if err != nil {
			return err
		}
		return m.showRules(cli, v)
	})
}

// LedgerVoucherHistoryCmd is `ledger voucher history`.
type LedgerVoucherHistoryCmd struct {
	Limit int `default:"20" help:"At most so many, the newest first."`
}

// Run lists versions.
func (c *LedgerVoucherHistoryCmd) Run(ctx context.Context, m *Main, cli *CLI) error {
	return withVouchers(ctx, m, cli, func(ctx context.Context, s *voucher.Store) error {
		list, err := s.History(ctx, c.Limit)
		if err != nil {
			return err
		}
		forms := make([]rulesForm, len(list))
		for i, v := range list {
			forms[i] = rulesOf(v)
		}
		return m.printJSONOr(cli, forms, func(w io.Writer) {
			for _, f := range forms {
				fmt.Fprintf(w, "%d  from %s  %s  %s  %s\n", f.Version, f.ActiveFrom, f.At.Format(time.RFC3339), f.Author, f.Reason)
			}
		})
	})
}

// LedgerVoucherDryRunCmd is `ledger voucher dry-run`.
type LedgerVoucherDryRunCmd struct {
	File  string `arg:"" help:"Rules, YAML or JSON." type:"existingfile"`
	From  string `required:"" help:"First accounting date, 2006-01-02." placeholder:"DATE"`
	To    string `required:"" help:"Accounting date after the last." placeholder:"DATE"`
	Limit int    `default:"100" help:"Transfers that are named."`
}

// Run shows the difference.
func (c *LedgerVoucherDryRunCmd) Run(ctx context.Context, m *Main, cli *CLI) error {
	from, err := readDate(c.From)
	if err != nil {
		return err
	}
	to, err := readDate(c.To)
	if err != nil {
		return err
	}
	body, err := os.ReadFile(c.File)
	if err != nil {
		return fault.Wrap(fault.Invalid, "read rules", err)
	}
	return withVouchers(ctx, m, cli, func(ctx context.Context, s *voucher.Store) error {
		progress := NewProgress(m.Stderr, cli.JSON)
		t := progress.Start("dry run", 0)
		d, err := s.DryRun(ctx, voucher.DryRun{Body: body, From: from, To: to, Limit: c.Limit, Progress: t.Set})
		if err != nil {
			t.Abort()
			return err
		}
		t.End("%d events, %d differ", d.Events, d.Changed)
		progress.Wait()
		return m.printJSONOr(cli, d, func(w io.Writer) {
			for _, x := range d.Sums {
				fmt.Fprintf(w, "%s %s %s: debit %s → %s, credit %s → %s\n", x.Date, x.Subject, x.Unit, x.OldDebit, x.NewDebit, x.OldCredit, x.NewCredit)
			}
			for _, x := range d.Transfers {
				fmt.Fprintf(w, "%s of %s: %v %s → %v %s\n", x.Transfer, x.Date, x.Old, x.OldReason, x.New, x.NewReason)
			}
			fmt.Fprintf(w, "%d events, %d differ; %d fail now, %d would fail\n", d.Events, d.Changed, d.OldFailed, d.NewFailed)
		})
	})
}

// LedgerVoucherStatusCmd is `ledger voucher status`.
type LedgerVoucherStatusCmd struct{}

// Run shows it.
func (c *LedgerVoucherStatusCmd) Run(ctx context.Context, m *Main, cli *CLI) error {
	return withCore(ctx, m, cli, func(ctx context.Context, l *node.Ledgers) error {
		st, err := l.VoucherStatus(ctx)
		if err != nil {
			return err
		}
		return m.printJSONOr(cli, st, func(w io.Writer) {
			fmt.Fprintf(w, "rules     version %d\nbooked    %d\nno rule   %d\nfailed    %d\nwaiting   %d\n", st.Newest, st.Booked, st.None, st.Failed, st.Waiting)
		})
	})
}

// LedgerVoucherShowCmd is `ledger voucher show`.
type LedgerVoucherShowCmd struct {
	ID string `arg:"" help:"Transfer id."`
}

// Run shows one.
func (c *LedgerVoucherShowCmd) Run(ctx context.Context, m *Main, cli *CLI) error {
	if err := plain("transfer id", c.ID); err != nil {
		return err
	}
	return withVouchers(ctx, m, cli, func(ctx context.Context, s *voucher.Store) error {
		v, err := s.Voucher(ctx, c.ID)
		if err != nil {
			return err
		}
		return m.showVouchers(cli, []voucher.Voucher{v})
	})
}

func (m *Main) showVouchers(cli *CLI, list []voucher.Voucher) error {
	forms := make([]map[string]any, len(list))
	for i, v := range list {
		forms[i] = map[string]any{"transfer": v.Transfer, "date": v.Date.Format(time.DateOnly), "rules": v.Rules, "state": v.State, "code": v.Code,
			"reason": v.Reason, "lines": v.Lines}
	}
	return m.printJSONOr(cli, forms, func(w io.Writer) {
		for _, v := range list {
			fmt.Fprintf(w, "%s  %s  rules %d  %s  %s %s\n", v.Transfer, v.Date.Format(time.DateOnly), v.Rules, v.State, v.Code, v.Reason)
			for _, l := range v.Lines {
				fmt.Fprintf(w, "  %s\n", l)
			}
		}
	})
}

// LedgerVoucherFailedCmd is `ledger voucher failed`.
type LedgerVoucherFailedCmd struct {
	Limit int `default:"100" help:"At most so many."`
}

// Run lists them.
func (c *LedgerVoucherFailedCmd) Run(ctx context.Context, m *Main, cli *CLI) error {
	return withVouchers(ctx, m, cli, func(ctx context.Context, s *voucher.Store) error {
		list, err := s.Failed(ctx, time.Time{}, "", c.Limit)
		if err != nil {
			return err
		}
		return m.showVouchers(cli, list)
	})
}

// LedgerVoucherRetryCmd is `ledger voucher retry`.
type LedgerVoucherRetryCmd struct {
	ID []string `arg:"" optional:"" help:"Transfer ids. Default: all that failed."`
}

// Run tries again.
func (c *LedgerVoucherRetryCmd) Run(ctx context.Context, m *Main, cli *CLI) error {
	for _, id := range c.ID {
		if err := plain("transfer id", id); err != nil {
			return err
		}
	}
	return withVouchers(ctx, m, cli, func(ctx context.Context, s *voucher.Store) error {
		r, err := s.Retry(ctx, c.ID)
		if err != nil {
			return err
		}
		return m.printJSONOr(cli, r, func(w io.Writer) {
			fmt.Fprintf(w, "%d tried, %d booked, %d without a rule, %d failed\n", r.Tried, r.Booked, r.None, r.Failed)
		})
	})
}

// LedgerVoucherGLCmd is `ledger voucher gl`.
type LedgerVoucherGLCmd struct {
	From string `required:"" help:"First accounting date, 2006-01-02." placeholder:"DATE"`
	To   string `required:"" help:"Accounting date after the last." placeholder:"DATE"`
}

// Run prints the sums, a line each.
func (c *LedgerVoucherGLCmd) Run(ctx context.Context, m *Main, cli *CLI) error {
	from, err := readDate(c.From)
	if err != nil {
		return err
	}
	to, err := readDate(c.To)
	if err != nil {
		return err
	}
	return withVouchers(ctx, m, cli, func(ctx context.Context, s *voucher.Store) error {
		return s.GeneralLedger(ctx, from, to, func(x voucher.Sum) error {
			if cli.JSON {
				m.answered = true
				return jsonLine(m.Stdout, map[string]string{"date": x.Date.Format(time.DateOnly), "subject": x.Subject, "unit": x.Unit,
					"debit": x.Debit.String(), "credit": x.Credit.String()})
			}
			_, err := fmt.Fprintf(m.Stdout, "%s,%s,%s,%s,%s\n", x.Date.Format(time.DateOnly), x.Subject, x.Unit, x.Debit, x.Credit)
			return err
		})
	})
}

// LedgerVoucherCaseCmd is `ledger voucher case`.
type LedgerVoucherCaseCmd struct {
	Name   string   `arg:"" help:"The case, from the rules in force."`
	ID     string   `required:"" help:"The transfer's id."`
	Param  []string `sep:"none" help:"NAME=VALUE, once per parameter." placeholder:"NAME=VALUE"`
	Order  string   `help:"When it was ordered, RFC 3339. Default: now; give it where you may have to repeat the call." placeholder:"TIME"`
	DryRun bool     `help:"Show the transfer, post nothing."`
}

// Run makes the case's transfer and posts it.
func (c *LedgerVoucherCaseCmd) Run(ctx context.Context, m *Main, cli *CLI) error {
	head := core.Transfer{ID: c.ID, OrderTime: time.Now().UTC().Truncate(time.Microsecond)}
	if c.Order != "" {
		var err error
		if head.OrderTime, err = time.Parse(time.RFC3339Nano, c.Order); err != nil {
			return fault.New(fault.Invalid, "read flags", "--order %q is not an RFC 3339 time such as 2026-01-31T08:00:00Z", c.Order)
		}
	}
	params := map[string]string{}
	for _, p := range c.Param {
		name, value, ok := strings.Cut(p, "=")
		if !ok {
			return fault.New(fault.Invalid, "read flags", "--param %q is not NAME=VALUE", p)
		}
		if _, twice := params[name]; twice {
			return fault.New(fault.Invalid, "read flags", "--param %s is there twice", name)
		}
		params[name] = value
	}
	return withCore(ctx, m, cli, func(ctx context.Context, l *node.Ledgers) error {
		t, err := l.Case(ctx, c.Name, head, params)
		if err != nil {
			return err
		}
		if c.DryRun {
			m.answered = true
			_, err := fmt.Fprintf(m.Stdout, "%s\n", t.AppendJSON(nil))
			return err
		}
		answers, err := l.Ledger.Post(ctx, []core.Transfer{t})
		if err != nil {
			return err
		}
		return m.showAnswer(cli, t, answers[0])
	})
}
