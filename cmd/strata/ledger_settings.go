package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/user"
	"time"

	"strata/core"
	"strata/fault"
	"strata/node"
)

// LedgerSettingsCmd is `ledger settings`.
type LedgerSettingsCmd struct {
	Show     LedgerSettingsShowCmd     `cmd:"" default:"1" help:"Show the version in force."`
	Put      LedgerSettingsPutCmd      `cmd:"" help:"Put a file in force, made from the version that show prints."`
	Rollback LedgerSettingsRollbackCmd `cmd:"" help:"Put the version before in force again."`
	History  LedgerSettingsHistoryCmd  `cmd:"" help:"Who changed what, when and why."`
}

type versionForm struct {
	Version  int64         `json:"version"`
	Author   string        `json:"author"`
	Reason   string        `json:"reason"`
	At       time.Time     `json:"at"`
	Settings core.Settings `json:"settings"`
}

func formOf(v core.Version) versionForm {
	return versionForm{v.Number, v.Author, v.Reason, v.At, v.Settings}
}

func (m *Main) showVersion(cli *CLI, v core.Version) error {
	if cli.JSON {
		return m.printJSON(formOf(v))
	}
	b, err := json.MarshalIndent(v.Settings, "", "  ")
	if err != nil {
		return fault.Wrap(fault.Internal, "print settings", err)
	}
	_, err = fmt.Fprintf(m.Stdout, "version %d, %s: %s\n%s\n", v.Number, v.Author, v.Reason, b)
	return err
}

// LedgerSettingsShowCmd is `ledger settings show`.
type LedgerSettingsShowCmd struct{}

// Run shows the version in force.
func (c *LedgerSettingsShowCmd) Run(ctx context.Context, m *Main, cli *CLI) error {
	return withCore(ctx, m, cli, func(ctx context.Context, l *node.Ledgers) error {
		v, err := l.Ledger.Settings(ctx)
		if err != nil {
			return err
		}
		return m.showVersion(cli, v)
	})
}

// by says who acts, for the history.
type by struct {
	Author string `help:"Who changes it. Default: the login."`
	Reason string `required:"" help:"Why."`
}

func (b *by) author() string {
	if b.Author != "" {
		return b.Author
	}
	if u, err := user.Current(); err == nil {
		return u.Username
	}
	return fmt.Sprint(os.Getuid())
}

// LedgerSettingsPutCmd is `ledger settings put`.
type LedgerSettingsPutCmd struct {
	File string `arg:"" help:"JSON: limits, rates, off, strategies." type:"existingfile"`
	Base int64  `required:"" help:"The version that the change was made from."`
	by   `embed:""`
}

// Run puts it in force.
func (c *LedgerSettingsPutCmd) Run(ctx context.Context, m *Main, cli *CLI) error {
	b, err := os.ReadFile(c.File)
	if err != nil {
		return fault.Wrap(fault.Invalid, "read settings", err)
	}
	s, err := core.ParseSettings(bytes.TrimSpace(b))
	if err != nil {
		return err
	}
	return withCore(ctx, m, cli, func(ctx context.Context, l *node.Ledgers) error {
		v, err := l.Ledger.PutSettings(ctx, c.Base, s, c.author(), c.Reason)
		if err != nil {
			return err
		}
		return m.showVersion(cli, v)
	})
}

// LedgerSettingsRollbackCmd is `ledger settings rollback`.
type LedgerSettingsRollbackCmd struct {
	by `embed:""`
}

// Run rolls back by one.
func (c *LedgerSettingsRollbackCmd) Run(ctx context.Context, m *Main, cli *CLI) error {
	return withCore(ctx, m, cli, func(ctx context.Context, l *node.Ledgers) error {
		v, err := l.Ledger.RollBack(ctx, c.author(), c.Reason)
		if err != nil {
			return err
		}
		return m.showVersion(cli, v)
	})
}

// LedgerSettingsHistoryCmd is `ledger settings history`.
type LedgerSettingsHistoryCmd struct {
	Limit int `default:"20" help:"At most so many, the newest first."`
}

// Run lists versions.
func (c *LedgerSettingsHistoryCmd) Run(ctx context.Context, m *Main, cli *CLI) error {
	if err := atMost(c.Limit); err != nil {
		return err
	}
	return withCore(ctx, m, cli, func(ctx context.Context, l *node.Ledgers) error {
		list, err := l.Ledger.SettingsHistory(ctx, c.Limit)
		if err != nil {
			return err
		}
		forms := make([]versionForm, len(list))
		for i, v := range list {
			forms[i] = formOf(v)
		}
		return m.printJSONOr(cli, forms, func(w io.Writer) {
			for _, v := range list {
				fmt.Fprintf(w, "%d  %s  %s  %s\n", v.Number, v.At.Format(time.RFC3339), v.Author, v.Reason)
			}
		})
	})
}
