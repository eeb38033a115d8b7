package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"strata/core/notice"
	"strata/fault"
	"strata/node"
)

// LedgerNoticeCmd is `ledger notice`.
type LedgerNoticeCmd struct {
	List   LedgerNoticeListCmd   `cmd:"" default:"withargs" help:"List notices of a state."`
	Counts LedgerNoticeCountsCmd `cmd:"" help:"Count by target and state."`
	Resend LedgerNoticeResendCmd `cmd:"" help:"Send again, one or all that were given up."`
}

func withNotices(ctx context.Context, m *Main, cli *CLI, f func(context.Context, *notice.Notifier) error) error {
	return withCore(ctx, m, cli, func(ctx context.Context, l *node.Ledgers) error {
		if l.NoNotices != nil {
			return l.NoNotices
		}
		if l.Notices == nil {
			return fault.New(fault.Invalid, "open notices", "this configuration tells nobody").WithHint("add core: notices: targets:, see strata.example.yaml")
		}
		return f(ctx, l.Notices)
	})
}

// LedgerNoticeListCmd is `ledger notice list`.
type LedgerNoticeListCmd struct {
	State string `enum:"pending,delivered,given_up" default:"given_up" help:"pending, delivered or given_up."`
	After string `help:"Begin after this transfer id."`
	Limit int    `default:"100" help:"At most so many."`
}

// Run lists.
func (c *LedgerNoticeListCmd) Run(ctx context.Context, m *Main, cli *CLI) error {
	if err := plain("--after", c.After); err != nil {
		return err
	}
	return withNotices(ctx, m, cli, func(ctx context.Context, n *notice.Notifier) error {
		list, err := n.List(ctx, notice.State(c.State), c.After, c.Limit)
		if err != nil {
			return err
		}
		return m.printJSONOr(cli, list, func(w io.Writer) {
			for _, x := range list {
				fmt.Fprintf(w, "%s  %s  %s  %d attempts  %d %s\n", x.TransferID, x.Target, x.State, x.Attempt, x.LastStatus, x.LastError)
			}
		})
	})
}

// LedgerNoticeCountsCmd is `ledger notice counts`.
type LedgerNoticeCountsCmd struct{}

// Run counts.
func (c *LedgerNoticeCountsCmd) Run(ctx context.Context, m *Main, cli *CLI) error {
	return withNotices(ctx, m, cli, func(ctx context.Context, n *notice.Notifier) error {
		list, err := n.Counts(ctx)
		if err != nil {
			return err
		}
		return m.printJSONOr(cli, list, func(w io.Writer) {
			for _, x := range list {
				fmt.Fprintf(w, "%s  %s  %d\n", x.Target, x.State, x.Notices)
			}
		})
	})
}

// LedgerNoticeResendCmd is `ledger notice resend`.
type LedgerNoticeResendCmd struct {
	ID     string `arg:"" optional:"" help:"Transfer id. Default: all that were given up."`
	Since  string `help:"Those given up since, 2006-01-02." placeholder:"DATE"`
	Target string `help:"Of this target only."`
}

// Run makes them due.
func (c *LedgerNoticeResendCmd) Run(ctx context.Context, m *Main, cli *CLI) error {
	if err := errors.Join(plain("transfer id", c.ID), plain("--target", c.Target)); err != nil {
		return err
	}
	var since time.Time
	if c.Since != "" {
		var err error
		if since, err = readDate(c.Since); err != nil {
			return err
		}
	}
	return withNotices(ctx, m, cli, func(ctx context.Context, n *notice.Notifier) error {
		count := int64(1)
		var err error
		if c.ID != "" {
			err = n.Resend(ctx, c.ID)
		} else {
			count, err = n.ResendGivenUp(ctx, since, c.Target)
		}
		if err != nil {
			return err
		}
		return m.printJSONOr(cli, map[string]int64{"due": count}, func(w io.Writer) {
			fmt.Fprintf(w, "%d notices are due now; the role core sends them\n", count)
		})
	})
}
