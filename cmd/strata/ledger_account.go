package main

import (
	"context"
	"fmt"
	"text/tabwriter"
	"time"

	"strata/core"
	"strata/fault"
	"strata/money"
	"strata/node"
)

// LedgerOpenCmd is `ledger open`.
type LedgerOpenCmd struct {
	ID       int64  `arg:"" help:"Account id, from 1 on."`
	Unit     string `required:"" help:"ISO 4217 code, or a unit of your own."`
	Name     string `help:"For people."`
	Tenant   string `help:"Whose account it is."`
	Side     string `enum:"credit,debit" default:"credit" help:"Normal side: credit or debit."`
	Minimum  *int64 `help:"Lowest available balance, minor units. Default: none."`
	Maximum  *int64 `help:"Highest balance, minor units. Default: none."`
	Strategy string `help:"Strategy of fund natures, from the settings."`
	Metadata string `help:"A JSON object."`
}

// Run opens the account; the same again changes nothing.
func (c *LedgerOpenCmd) Run(ctx context.Context, m *Main, cli *CLI) error {
	return withCore(ctx, m, cli, func(ctx context.Context, l *node.Ledgers) error {
		a := core.Account{ID: c.ID, Unit: c.Unit, Name: c.Name, Tenant: c.Tenant, MinBalance: c.Minimum, MaxBalance: c.Maximum,
			Strategy: c.Strategy, Metadata: c.Metadata}
		if c.Side == core.DebitSide.String() {
			a.Side = core.DebitSide
		}
		if err := l.Ledger.Open(ctx, []core.Account{a}); err != nil {
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
	return withCore(ctx, m, cli, func(ctx context.Context, l *node.Ledgers) error { return m.showAccount(ctx, cli, l, c.ID) })
}

func accountForm(a core.Account) map[string]any {
	return map[string]any{"id": a.ID, "name": a.Name, "tenant": a.Tenant, "unit": a.Unit, "side": a.Side.String(), "state": a.State.String(),
		"mode": a.Mode.String(), "strategy": a.Strategy, "min_balance": a.MinBalance, "max_balance": a.MaxBalance, "balance": a.Balance,
		"available": a.Available(), "debits": a.Debits, "credits": a.Credits, "pending_debits": a.PendingDebits,
		"pending_credits": a.PendingCredits, "buffered": a.Buffered, "entries": a.Entries, "metadata": a.Metadata}
}

// inUnit is an amount for people; a unit of one's own has no form.
func inUnit(amount int64, unit string) string {
	if formatted, err := money.Format(money.Amount(amount), money.Unit(unit)); err == nil {
		return fmt.Sprintf("%s (%d minor units)", formatted, amount)
	}
	return fmt.Sprint(amount)
}

func (m *Main) showAccount(ctx context.Context, cli *CLI, l *node.Ledgers, id int64) error {
	s, err := l.Ledger.Standing(ctx, id)
	if err != nil {
		return err
	}
	a := s.Account
	if cli.JSON {
		form := accountForm(a)
		form["funds"], form["uses"], form["day"] = append([]core.Fund{}, s.Funds...), append([]core.Use{}, s.Uses...), s.Day.Format(time.DateOnly)
		return m.printJSON(form)
	}
	p := func(format string, args ...any) { fmt.Fprintf(m.Stdout, format+"\n", args...) }
	p("account %d  %s  %s  %s  %s  %d entries", a.ID, a.Name, a.Unit, inUnit(a.Balance, a.Unit), a.State, a.Entries)
	if a.PendingDebits != 0 || a.PendingCredits != 0 || a.Buffered != 0 {
		p("  available %d, pending debits %d, pending credits %d, buffered %d", a.Available(), a.PendingDebits, a.PendingCredits, a.Buffered)
	}
	for _, f := range s.Funds {
		p("  %s %d, reserved %d", f.Nature, f.Balance, f.Pending)
	}
	for _, u := range s.Uses {
		p("  limit %s %s: %d in %d transfers", u.Limit, u.Period, u.Amount, u.Count)
	}
	return nil
}

// LedgerListCmd is `ledger list`.
type LedgerListCmd struct {
	After int64 `help:"Begin after this id."`
	Limit int   `default:"100" help:"At most so many."`
}

// Run lists accounts.
func (c *LedgerListCmd) Run(ctx context.Context, m *Main, cli *CLI) error {
	if err := atMost(c.Limit); err != nil {
		return err
	}
	return withCore(ctx, m, cli, func(ctx context.Context, l *node.Ledgers) error {
		list, err := l.Ledger.List(ctx, c.After, c.Limit)
		if err != nil {
			return err
		}
		if cli.JSON {
			forms := make([]map[string]any, len(list))
			for i, a := range list {
				forms[i] = accountForm(a)
			}
			return m.printJSON(forms)
		}
		w := tabwriter.NewWriter(m.Stdout, 0, 8, 2, ' ', 0)
		fmt.Fprintln(w, "ID\tNAME\tTENANT\tUNIT\tSTATE\tMODE\tBALANCE\tAVAILABLE\tENTRIES")
		for _, a := range list {
			fmt.Fprintf(w, "%d\t%s\t%s\t%s\t%s\t%s\t%d\t%d\t%d\n", a.ID, a.Name, a.Tenant, a.Unit, a.State, a.Mode, a.Balance, a.Available(), a.Entries)
		}
		return w.Flush()
	})
}

// LedgerStateCmd is `ledger state`.
type LedgerStateCmd struct {
	ID    int64  `arg:"" help:"Account id."`
	State string `arg:"" enum:"open,frozen,closed" help:"open, frozen or closed."`
}

// Run changes the state.
func (c *LedgerStateCmd) Run(ctx context.Context, m *Main, cli *CLI) error {
	state := map[string]core.State{"open": core.Open, "frozen": core.Frozen, "closed": core.Closed}[c.State]
	return withCore(ctx, m, cli, func(ctx context.Context, l *node.Ledgers) error {
		if err := l.Ledger.SetState(ctx, c.ID, state); err != nil {
			return err
		}
		return m.showAccount(ctx, cli, l, c.ID)
	})
}

// LedgerBoundsCmd is `ledger bounds`.
type LedgerBoundsCmd struct {
	ID      int64  `arg:"" help:"Account id."`
	Minimum *int64 `help:"Lowest available balance, minor units; not named: none."`
	Maximum *int64 `help:"Highest balance, minor units; not named: none."`
}

// Run changes the bounds.
func (c *LedgerBoundsCmd) Run(ctx context.Context, m *Main, cli *CLI) error {
	return withCore(ctx, m, cli, func(ctx context.Context, l *node.Ledgers) error {
		if err := l.Ledger.SetBounds(ctx, c.ID, c.Minimum, c.Maximum); err != nil {
			return err
		}
		return m.showAccount(ctx, cli, l, c.ID)
	})
}

// LedgerModeCmd is `ledger mode`.
type LedgerModeCmd struct {
	ID    int64  `arg:"" help:"Account id."`
	Mode  string `arg:"" enum:"real_time,buffered,sub_accounts,simple" help:"real_time, buffered, sub_accounts or simple."`
	Inner int    `default:"8" help:"Inner accounts of sub_accounts, 2 to 64."`
}

// Run switches the mode.
func (c *LedgerModeCmd) Run(ctx context.Context, m *Main, cli *CLI) error {
	mode, ok := map[string]core.Mode{"real_time": core.RealTime, "buffered": core.Buffered, "sub_accounts": core.SubAccounts, "simple": core.Simple}[c.Mode]
	if !ok {
		return fault.New(fault.Invalid, "read flags", "there is no mode %q", c.Mode)
	}
	return withCore(ctx, m, cli, func(ctx context.Context, l *node.Ledgers) error {
		if err := l.Ledger.SwitchMode(ctx, c.ID, mode, c.Inner); err != nil {
			return err
		}
		return m.showAccount(ctx, cli, l, c.ID)
	})
}
