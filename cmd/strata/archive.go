package main

import (
	"context"
	"errors"
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
	return withPlan(ctx, m, cli, c.AsOf, nil, func(_ *archive.Mover, p *archive.Plan) error { return m.printPlan(cli, p) })
}

// ArchiveRunCmd is `archive run`.
type ArchiveRunCmd struct {
	AsOf   string `help:"Judge ages as of this day, 2006-01-02. Default: now." placeholder:"DATE"`
	DryRun bool   `help:"Print the plan that would run, and stop."`
}

// Run prints the plan, then runs exactly that plan.
func (c *ArchiveRunCmd) Run(ctx context.Context, m *Main, cli *CLI) error {
	bars := NewProgress(m.Stderr, cli.JSON || c.DryRun)
	defer bars.Close()
	var t *Task
	progress := func(done, total int64) { t.Set(done, total) }
	return withPlan(ctx, m, cli, c.AsOf, progress, func(mover *archive.Mover, p *archive.Plan) error {
		if c.DryRun || !cli.JSON {
			if err := m.printPlan(cli, p); err != nil || c.DryRun {
				return err
			}
		}
		t = bars.Start("move", 0)
		res, err := mover.Run(ctx, p)
		t.End("%d shards, %d rows moved", res.Moved, res.Rows)
		bars.Wait()
		if cli.JSON {
			err = errors.Join(err, m.printJSON(res))
		}
		return err
	})
}

func (m *Main) printPlan(cli *CLI, p *archive.Plan) error {
	if cli.JSON {
		return m.printJSON(p)
	}
	_, err := fmt.Fprintln(m.Stdout, p.String())
	return err
}

// withPlan opens the mover, plans, and gives both to f. progress is the mover's and may be nil.
func withPlan(ctx context.Context, m *Main, cli *CLI, asOf string, progress func(done, total int64), f func(*archive.Mover, *archive.Plan) error) (err error) {
	now := time.Now()
	if asOf != "" {
		if now, err = time.Parse(time.DateOnly, asOf); err != nil {
			return fault.New(fault.Invalid, "read flags", "--as-of %q is not a date such as 2006-01-02", asOf)
		}
	}
	s, err := m.open(ctx, cli, attachOnly)
	if err != nil {
		return err
	}
	defer func() { err = joinClose(err, s) }()
	mover, err := s.node.Mover(ctx, progress)
	if err != nil {
		return err
	}
	p, err := mover.Plan(ctx, now)
	if err != nil {
		return err
	}
	return f(mover, p)
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
