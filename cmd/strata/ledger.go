package main

import (
	"context"
	"time"

	"golang.org/x/sync/errgroup"

	"strata/core"
	"strata/core/load"
	coremysql "strata/core/mysql"
	"strata/fault"
	"strata/node"
)

// LedgerCmd is the transactional core.
type LedgerCmd struct {
	Open         LedgerOpenCmd         `cmd:"" help:"Open an account."`
	Balance      LedgerBalanceCmd      `cmd:"" help:"Show an account: balance, pending, funds, limits, all of one moment."`
	List         LedgerListCmd         `cmd:"" help:"List accounts."`
	State        LedgerStateCmd        `cmd:"" help:"Freeze, open again or close an account."`
	Bounds       LedgerBoundsCmd       `cmd:"" help:"Change an account's lowest and highest balance."`
	Mode         LedgerModeCmd         `cmd:"" help:"Change how an account is posted to, under load."`
	Transfer     LedgerTransferCmd     `cmd:"" help:"Post, try, confirm, cancel or reverse a transfer."`
	Post         LedgerPostCmd         `cmd:"" help:"Post transfers from a file of JSON lines."`
	Answer       LedgerAnswerCmd       `cmd:"" help:"Show what became of a transfer."`
	Order        LedgerOrderCmd        `cmd:"" help:"Show what became of a merchant's order number."`
	Reservations LedgerReservationsCmd `cmd:"" help:"What trys left: pending, ended, expired, fenced, hung."`
	Settings     LedgerSettingsCmd     `cmd:"" help:"Limits, rates, switches, strategies of natures: versioned, in force at once."`
	Day          LedgerDayCmd          `cmd:"" help:"The accounting date: show, cut, close with frozen balances."`
	Trial        LedgerTrialCmd        `cmd:"" help:"Trial balance by account and unit, of any day."`
	Check        LedgerCheckCmd        `cmd:"" help:"Derive everything from the entries again; exit code 1 names what differs."`
	Import       LedgerImportCmd       `cmd:"" help:"Accounts, opening balances and past transfers from CSV; resumable."`
	Voucher      LedgerVoucherCmd      `cmd:"" help:"Accounting rules, journal, general ledger, business cases."`
	Notice       LedgerNoticeCmd       `cmd:"" help:"Notices to merchants: list, counts, send again."`
	Across       LedgerAcrossCmd       `cmd:"" help:"Transfers across several ledger databases."`
	Load         LedgerLoadCmd         `cmd:"" help:"Load seeded, realistic transfers; resumable."`
}

// withCore opens the ledger with everything that hangs on it, runs its lanes beside f, and ends them.
func withCore(ctx context.Context, m *Main, cli *CLI, f func(context.Context, *node.Ledgers) error) error {
	return withCoreAs(ctx, m, cli, node.Options{}, f)
}

// withCoreAs is withCore with options of the command's own.
func withCoreAs(ctx context.Context, m *Main, cli *CLI, o node.Options, f func(context.Context, *node.Ledgers) error) (err error) {
	s, err := m.openWith(ctx, cli, setUp, o)
	if err != nil {
		return err
	}
	defer func() { err = joinClose(err, s) }()
	c, err := s.node.Core(ctx)
	if err != nil {
		return err
	}
	return beside(ctx, c.RunLanes, func(ctx context.Context) error { return f(ctx, c) })
}

// beside runs lanes while f runs.
func beside(ctx context.Context, lanes, f func(context.Context) error) error {
	run, stop := context.WithCancel(ctx)
	defer stop()
	g, run := errgroup.WithContext(run)
	g.Go(func() error { return lanes(run) })
	g.Go(func() error {
		defer stop()
		return f(run)
	})
	return g.Wait()
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
	return beside(ctx, ledger.Run, func(ctx context.Context) error { return f(ctx, ledger) })
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
