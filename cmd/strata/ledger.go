package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"strata/core"
	"strata/core/load"
	coremysql "strata/core/mysql"
	"strata/fault"
	"strata/money"
	"strata/node"
)

// LedgerCmd is the transactional core.
type LedgerCmd struct {
	Open     LedgerOpenCmd     `cmd:"" help:"Open an account."`
	Transfer LedgerTransferCmd `cmd:"" help:"Post a transfer of two or more legs."`
	Balance  LedgerBalanceCmd  `cmd:"" help:"Show an account."`
	Load     LedgerLoadCmd     `cmd:"" help:"Load seeded, realistic transfers; resumable."`
}

// withLedger opens the ledger, runs its lane beside f, and ends it.
func withLedger(ctx context.Context, m *Main, cli *CLI, o node.Options, f func(context.Context, *coremysql.Ledger) error) (err error) {
	s, err := m.openWith(ctx, cli, setUp, o)
	if err != nil {
		return err
	}
	defer func() { err = joinClose(err, s) }()
	ledger, err := s.node.Ledger(ctx)
	if err != nil {
		return err
	}
	lane, stop := context.WithCancel(ctx)
	defer stop()
	g, lane := errgroup.WithContext(lane)
	g.Go(func() error { return ledger.Run(lane) })
	g.Go(func() error {
		defer stop()
		return f(lane, ledger)
	})
	return g.Wait()
}

// LedgerOpenCmd is `ledger open`.
type LedgerOpenCmd struct {
	ID      int64  `arg:"" help:"Account id."`
	Unit    string `required:"" help:"ISO 4217 code, or a unit of your own."`
	Name    string `help:"For people."`
	Minimum *int64 `help:"Lowest balance, minor units. Default: none."`
}

// Run opens the account; the same again changes nothing.
func (c *LedgerOpenCmd) Run(ctx context.Context, m *Main, cli *CLI) error {
	return withLedger(ctx, m, cli, node.Options{}, func(ctx context.Context, l *coremysql.Ledger) error {
		a := core.Account{ID: c.ID, Unit: c.Unit, Name: c.Name, MinBalance: c.Minimum}
		if err := l.Open(ctx, []core.Account{a}); err != nil {
			return err
		}
		return m.showAccount(ctx, cli, l, c.ID)
	})
}

// LedgerBalanceCmd is `ledger balance`.
type LedgerBalanceCmd struct {
	ID int64 `arg:"" help:"Account id."`
}

// Run shows the account.
func (c *LedgerBalanceCmd) Run(ctx context.Context, m *Main, cli *CLI) error {
	return withLedger(ctx, m, cli, node.Options{}, func(ctx context.Context, l *coremysql.Ledger) error {
		return m.showAccount(ctx, cli, l, c.ID)
	})
}

func (m *Main) showAccount(ctx context.Context, cli *CLI, l *coremysql.Ledger, id int64) error {
	a, err := l.Balance(ctx, id)
	if err != nil {
		return err
	}
	if cli.JSON {
		return m.printJSON(map[string]any{"id": a.ID, "name": a.Name, "unit": a.Unit, "min_balance": a.MinBalance,
			"balance": a.Balance, "entries": a.Entries})
	}
	text := fmt.Sprint(a.Balance)
	if formatted, err := money.Format(money.Amount(a.Balance), money.Unit(a.Unit)); err == nil { // a unit of one's own has no form
		text = fmt.Sprintf("%s (%d minor units)", formatted, a.Balance)
	}
	_, err = fmt.Fprintf(m.Stdout, "account %d  %s  %s  %s  %d entries\n", a.ID, a.Name, a.Unit, text, a.Entries)
	return err
}

// LedgerTransferCmd is `ledger transfer`.
type LedgerTransferCmd struct {
	ID    string   `required:"" help:"Your id: the same id with the same body gets the same answer."`
	Kind  string   `default:"payment" help:"What it is."`
	Leg   []string `required:"" help:"ACCOUNT:UNIT:AMOUNT in minor units; credits positive, debits negative; they sum to zero per unit." placeholder:"LEG"`
	Memo  string   `help:"Up to 255 characters."`
	Order string   `help:"When it was ordered, RFC 3339. Default: now; give it where you may have to repeat the call." placeholder:"TIME"`
}

// Run posts the transfer. An answer that is not booked is an error.
func (c *LedgerTransferCmd) Run(ctx context.Context, m *Main, cli *CLI) error {
	t := core.Transfer{ID: c.ID, Kind: c.Kind, Memo: c.Memo, OrderTime: time.Now().UTC().Truncate(time.Microsecond)}
	var err error
	if c.Order != "" {
		if t.OrderTime, err = time.Parse(time.RFC3339Nano, c.Order); err != nil {
			return fault.New(fault.Invalid, "read flags", "--order %q is not an RFC 3339 time such as 2026-01-31T08:00:00Z", c.Order)
		}
	}
	for _, text := range c.Leg {
		leg, err := parseLeg(text)
		if err != nil {
			return err
		}
		t.Legs = append(t.Legs, leg)
	}
	return withLedger(ctx, m, cli, node.Options{}, func(ctx context.Context, l *coremysql.Ledger) error {
		answers, err := l.Post(ctx, []core.Transfer{t})
		if err != nil {
			return err
		}
		return m.showAnswer(cli, t, answers[0])
	})
}

func parseLeg(text string) (core.Leg, error) {
	var l core.Leg
	parts := strings.Split(text, ":")
	if len(parts) == 3 {
		l.Unit = parts[1]
		if _, err := fmt.Sscanf(parts[0]+" "+parts[2], "%d %d", &l.Account, &l.Amount); err == nil {
			return l, nil
		}
	}
	return l, fault.New(fault.Invalid, "read flags", "leg %q is not ACCOUNT:UNIT:AMOUNT, such as 1001:CNY:-1250", text)
}

func (m *Main) showAnswer(cli *CLI, t core.Transfer, a core.Answer) error {
	id, ordered := t.ID, t.OrderTime.Format(time.RFC3339Nano)
	if cli.JSON {
		if err := m.printJSON(map[string]any{"id": id, "order_time": ordered, "outcome": a.Outcome.String(), "code": a.Code, "message": a.Message,
			"balances": a.Balances}); err != nil {
			return err
		}
	} else if a.Outcome == core.Applied || a.Outcome == core.Replayed {
		fmt.Fprintf(m.Stdout, "%s %s, ordered %s\n", id, a.Outcome, ordered)
		for _, b := range a.Balances {
			fmt.Fprintf(m.Stdout, "  account %d entry %d balance %d\n", b.Account, b.Seq, b.Balance)
		}
	}
	switch a.Outcome {
	case core.Conflict:
		return fault.New(fault.Conflict, "post transfer "+id, "%s", a.Message).
			WithHint("an id is for one body for ever, and when it was ordered is part of it: repeat it with the first one's --order, or use a new id for another transfer")
	case core.Refused, core.Failed:
		return fault.New(fault.Conflict, "post transfer "+id, "%s: %s", a.Code, a.Message)
	}
	return nil
}

// LedgerLoadCmd is `ledger load`.
type LedgerLoadCmd struct {
	Transfers int    `default:"200000" help:"Transfers in all."`
	Accounts  int    `default:"2000" help:"Accounts to spread them over."`
	Months    int    `default:"18" help:"Past months to spread them over."`
	Seed      uint64 `default:"1" help:"Equal seeds give equal ledgers."`
	AsOf      string `help:"The ledger's today, 2006-01-02. Default: today, UTC." placeholder:"DATE"`
}

// Run loads, or goes on where an earlier load with the same flags ended.
func (c *LedgerLoadCmd) Run(ctx context.Context, m *Main, cli *CLI) error {
	to := time.Now().UTC().Truncate(24 * time.Hour)
	if c.AsOf != "" {
		var err error
		if to, err = time.Parse(time.DateOnly, c.AsOf); err != nil {
			return fault.New(fault.Invalid, "read flags", "--as-of %q is not a date such as 2006-01-02", c.AsOf)
		}
	}
	plan := load.Plan{Seed: c.Seed, Transfers: c.Transfers, Accounts: c.Accounts, To: to,
		From: time.Date(to.Year(), to.Month()-time.Month(c.Months), 1, 0, 0, 0, 0, time.UTC)}
	if err := plan.Validate(); err != nil {
		return err
	}
	var clock core.Clock
	clock.Set(plan.From)
	return withLedger(ctx, m, cli, node.Options{LedgerClock: clock.Now, FirstDay: plan.From}, func(ctx context.Context, l *coremysql.Ledger) error {
		progress := NewProgress(m.Stderr, cli.JSON)
		t := progress.Start("load transfers", int64(c.Transfers))
		res, err := load.Past(ctx, load.Config{Plan: plan, Ledger: l, Clock: &clock, Progress: t.Set})
		if err != nil {
			t.Abort()
			return err
		}
		t.End("%d applied, %d refused as in life, %d were there", res.Applied, res.Refused, res.Skipped+res.Replayed)
		progress.Wait()
		if cli.JSON {
			return m.printJSON(res)
		}
		return nil
	})
}
