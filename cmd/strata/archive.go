package main

import (
	"context"
	"fmt"
	"text/tabwriter"
	"time"

	"strata/archive"
	"strata/fault"
)

// ArchiveCmd moves closed shards.
type ArchiveCmd struct {
	Plan   ArchivePlanCmd   `cmd:"" help:"Show what would move, and what can't and why."`
	Run    ArchiveRunCmd    `cmd:"" help:"Move what the plan lists; --dry-run only shows it."`
	Status ArchiveStatusCmd `cmd:"" help:"Show every move that was begun."`
}

// ArchivePlanCmd is `archive plan`.
type ArchivePlanCmd struct {
	AsOf string `help:"Judge ages as of this day, 2006-01-02. Default: now." placeholder:"DATE"`
}

// Run prints the plan.
func (c *ArchivePlanCmd) Run(ctx context.Context, m *Main, cli *CLI) error {
	_, err := withMover(ctx, m, cli, c.AsOf, func(ctx context.Context, _ *archive.Mover, p *archive.Plan, _ *Task) error {
		return m.printPlan(cli, p)
	})
	return err
}

// ArchiveRunCmd is `archive run`.
type ArchiveRunCmd struct {
	AsOf   string `help:"Judge ages as of this day, 2006-01-02. Default: now." placeholder:"DATE"`
	DryRun bool   `help:"Print the plan that would run, and stop."`
}

// Run prints the plan, then runs exactly that plan.
func (c *ArchiveRunCmd) Run(ctx context.Context, m *Main, cli *CLI) error {
	_, err := withMover(ctx, m, cli, c.AsOf, func(ctx context.Context, mover *archive.Mover, p *archive.Plan, t *Task) error {
		if c.DryRun || !cli.JSON {
			if err := m.printPlan(cli, p); err != nil || c.DryRun {
				return err
			}
		}
		res, err := mover.Run(ctx, p)
		t.End("%d shards, %d rows moved", res.Moved, res.Rows)
		if cli.JSON {
			if perr := m.printJSON(res); err == nil {
				err = perr
			}
		}
		return err
	})
	return err
}

func (m *Main) printPlan(cli *CLI, p *archive.Plan) error {
	if cli.JSON {
		return m.printJSON(p)
	}
	_, err := fmt.Fprintln(m.Stdout, p.String())
	return err
}

func withMover(ctx context.Context, m *Main, cli *CLI, asOf string, f func(context.Context, *archive.Mover, *archive.Plan, *Task) error) (p *archive.Plan, err error) {
	now := time.Now()
	if asOf != "" {
		if now, err = time.Parse(time.DateOnly, asOf); err != nil {
			return nil, fault.New(fault.Invalid, "read flags", "--as-of %q is not a date such as 2006-01-02", asOf)
		}
	}
	s, err := m.open(ctx, cli, attachOnly)
	if err != nil {
		return nil, err
	}
	defer func() { err = joinClose(err, s) }()
	t := NewProgress(m.Stderr, false).Start("move", 0)
	mover, err := s.node.Mover(ctx, t.Set)
	if err != nil {
		return nil, err
	}
	if p, err = mover.Plan(ctx, now); err != nil {
		return nil, err
	}
	return p, f(ctx, mover, p, t)
}

// ArchiveStatusCmd is `archive status`.
type ArchiveStatusCmd struct{}

// Run lists the segments.
func (c *ArchiveStatusCmd) Run(ctx context.Context, m *Main, cli *CLI) (err error) {
	s, err := m.open(ctx, cli, attachOnly)
	if err != nil {
		return err
	}
	defer func() { err = joinClose(err, s) }()
	mover, err := s.node.Mover(ctx, nil)
	if err != nil {
		return err
	}
	segments, err := mover.Status(ctx)
	if err != nil {
		return err
	}
	if cli.JSON {
		return m.printJSON(segments)
	}
	w := tabwriter.NewWriter(m.Stdout, 0, 8, 2, ' ', 0)
	fmt.Fprintln(w, "SEGMENT\tDATASET\tSHARD\tSTATE\tEPOCH\tROWS")
	for _, g := range segments {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%d\t%d\n", g.ID, g.Dataset, g.Shard, g.State, g.Epoch, g.Rows)
	}
	return w.Flush()
}
