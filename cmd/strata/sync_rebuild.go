package main

import (
	"context"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"strata/fault"
	"strata/index"
	"strata/sync/rebuild"
)

// SyncRebuildCmd is `sync rebuild`.
type SyncRebuildCmd struct {
	Dataset string `arg:"" optional:"" help:"Dataset. Not with --list, which tells of all."`
	Why     string `default:"ordered by hand" help:"Why, for the evidence."`
	Who     string `help:"Who wants it. Default: user@host." placeholder:"NAME"`
	Detach  bool   `help:"Order it and return; a process with role sync works on it."`
	List    bool   `xor:"what" help:"Every generation, how large it is, and how far the one is that is built."`
	Pause   bool   `xor:"what" help:"Let the rebuild rest; the new generation goes on being fed."`
	Resume  bool   `xor:"what" help:"Go on with a rebuild that rests or halted."`
	Abort   bool   `xor:"what" help:"End the rebuild and delete what it has made. Needs --yes."`
	Drop    int    `xor:"what" help:"Delete an old generation. Needs --yes." placeholder:"N"`
	Yes     bool   `help:"Delete what is shown."`
}

// Help is what --help says beyond the flags.
func (c *SyncRebuildCmd) Help() string {
	return "A new generation of the dataset's index is made beside the one that answers, filled from the stores and from the stream, compared\n" +
		"with the stores row by row, and only then answers. Until then nothing changes for readers. The old generation stays until it is\n" +
		"dropped: strata sync rebuild DATASET --drop N. Ending this command does not end the rebuild."
}

// Run does what is asked.
func (c *SyncRebuildCmd) Run(ctx context.Context, m *Main, cli *CLI) (err error) {
	if err := checkWords(who(m, c.Who), c.Why); err != nil {
		return err
	}
	if c.Dataset == "" && !c.List {
		return fault.New(fault.Invalid, "read flags", "no dataset is named").WithHint("strata sync rebuild DATASET, or --list")
	}
	want := attachOnly
	if !c.List && !c.Pause && !c.Abort && c.Drop == 0 && !c.Detach {
		want = withPipeline
	}
	s, err := m.open(ctx, cli, want)
	if err != nil {
		return err
	}
	defer func() { err = joinClose(err, s) }()
	b, err := s.node.Rebuilds(ctx)
	if err != nil {
		return err
	}
	name := who(m, c.Who)
	var r rebuild.Rebuild
	switch {
	case c.List:
		return c.list(ctx, m, cli, b)
	case c.Drop != 0:
		return c.drop(ctx, m, cli, b)
	case c.Abort:
		return c.abort(ctx, m, cli, b)
	case c.Pause:
		r, err = b.Pause(ctx, c.Dataset, name)
	case c.Resume:
		r, err = b.Resume(ctx, c.Dataset, name)
	default:
		r, err = b.Start(ctx, c.Dataset, name, c.Why)
	}
	if err != nil {
		return err
	}
	if want == withPipeline {
		if !cli.JSON {
			fmt.Fprintf(m.Stdout, "generation %d of %s is built; the one that answers stays as it is until then\n", r.Generation, r.Dataset)
		}
		if r, err = c.follow(ctx, m, cli, b, r); err != nil {
			return err
		}
	}
	if cli.JSON {
		return m.printJSON(r)
	}
	return printRebuild(m.Stdout, &r)
}

func printRebuild(out io.Writer, r *rebuild.Rebuild) error {
	state := string(r.Phase)
	if r.Paused {
		state += ", paused"
	}
	_, err := fmt.Fprintf(out, "generation %d of %s: %s\n", r.Generation, r.Dataset, state)
	if err == nil && r.Phase == rebuild.Done {
		_, err = fmt.Fprintf(out, "%d rows compared, none differs; it answers now. The one before stays: strata sync rebuild --list\n", r.Compared)
	}
	return err
}

// untaken is after how long an order that nobody works on is worth a word.
const untaken = 15 * time.Second

// follow shows a rebuild until it is over or needs somebody.
func (c *SyncRebuildCmd) follow(ctx context.Context, m *Main, cli *CLI, b *rebuild.Rebuilds, r rebuild.Rebuild) (rebuild.Rebuild, error) {
	progress := NewProgress(m.Stderr, cli.JSON)
	defer progress.Close()
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	began, warned, waits := time.Now(), false, ""
	phase, generation := r.Phase, r.Generation
	t := progress.Start(string(phase), 0)
	for {
		now, err := b.Look(ctx, c.Dataset)
		switch {
		case fault.Is(err, fault.NotFound) || err == nil && now.Generation != generation:
			t.Abort()
			return r, fault.New(fault.Conflict, "rebuild index of "+c.Dataset, "somebody has aborted it").WithHint("strata canal evidence says who")
		case err != nil && (fault.Is(err, fault.Unavailable) || fault.Is(err, fault.Busy)) && ctx.Err() == nil: // it goes on elsewhere
		case err != nil:
			t.Abort()
			return r, err
		default:
			r = now
		}
		if r.Phase != phase {
			t.End("done")
			if phase = r.Phase; phase == rebuild.Done {
				progress.Wait()
				return r, nil
			}
			t = progress.Start(string(phase), 0)
		}
		t.Set(r.Rows, r.Total)
		switch {
		case r.Halted():
			t.Abort()
			return r, fault.New(fault.Proof, "rebuild index of "+c.Dataset, "it halted while %s: %s", r.Phase, r.Err).WithHint("%s", r.Hint)
		case r.Waits != waits && r.Waits != "":
			progress.Say("it is tried again: %s", plainLine(r.Waits))
		case r.Phase == rebuild.Filling && r.Task == 0 && !r.Paused && !warned && time.Since(began) > untaken:
			warned = true
			progress.Say("no process works on it: is one with role sync running (strata serve --roles sync)?")
		}
		waits = r.Waits
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Abort()
			return r, fault.Wrap(fault.KindOf(ctx.Err()), "follow rebuild", ctx.Err())
		}
	}
}

func (c *SyncRebuildCmd) list(ctx context.Context, m *Main, cli *CLI, b *rebuild.Rebuilds) error {
	list, err := b.List(ctx)
	if err != nil || cli.JSON {
		return m.orJSON(append([]rebuild.Line{}, list...), err)
	}
	w := tabwriter.NewWriter(m.Stdout, 0, 8, 2, ' ', 0)
	fmt.Fprintln(w, "DATASET\tGENERATION\tSTATE\tSINCE\tDOCUMENTS\tREBUILD\tROWS\tOF\tTASK\tWHO\tWHY\tNOTE")
	for _, l := range list {
		documents := fmt.Sprint(l.Documents)
		if l.Documents < 0 {
			documents = "-"
		}
		fmt.Fprintf(w, "%s\t%d\t%s\t%s\t%s", l.Dataset, l.Number, l.State, when(l.Since), documents)
		if r := l.Rebuild; r != nil {
			state, note := string(r.Phase), r.Waits
			if r.Paused {
				state += ", paused"
			}
			if r.Halted() {
				state, note = state+", HALTED", r.Err
				if r.Hint != "" {
					note += "; " + r.Hint
				}
			}
			fmt.Fprintf(w, "\t%s\t%d\t%d\t%d\t%s\t%s\t%s", state, r.Rows, r.Total, r.Task, plainLine(r.Who), plainLine(r.Why), plainLine(note))
		}
		fmt.Fprintln(w)
	}
	return w.Flush()
}

// deletion is what --abort and --drop delete, as they show it.
type deletion struct {
	Plan    rebuild.Line `json:"plan"`
	Deleted bool         `json:"deleted"`
}

// confirm shows what would be deleted; without --yes that is all.
func (c *SyncRebuildCmd) confirm(ctx context.Context, m *Main, cli *CLI, b *rebuild.Rebuilds, wanted func(*rebuild.Line) bool) (*deletion, error) {
	list, err := b.List(ctx)
	if err != nil {
		return nil, err
	}
	for i := range list {
		if list[i].Dataset != c.Dataset || !wanted(&list[i]) {
			continue
		}
		d := &deletion{Plan: list[i]}
		if !cli.JSON {
			fmt.Fprintf(m.Stdout, "delete generation %d of %s: %s since %s, %d documents\n", d.Plan.Number, c.Dataset, d.Plan.State, when(d.Plan.Since), d.Plan.Documents)
		}
		if !c.Yes {
			if cli.JSON {
				err = m.printJSON(d)
			}
			if err == nil {
				err = fault.New(fault.Invalid, "delete a generation of "+c.Dataset, "nothing was deleted").WithHint("say --yes to delete what is shown")
			}
			return nil, err
		}
		return d, nil
	}
	return nil, nil
}

func (c *SyncRebuildCmd) drop(ctx context.Context, m *Main, cli *CLI, b *rebuild.Rebuilds) error {
	d, err := c.confirm(ctx, m, cli, b, func(l *rebuild.Line) bool { return l.Number == c.Drop && l.State == index.Old })
	if err != nil {
		return err
	}
	if d == nil { // one that answers, one that is built, or none: or one of which a drop was cut off
		d = &deletion{Plan: rebuild.Line{Dataset: c.Dataset, Generation: index.Generation{Number: c.Drop}, Documents: -1}}
	}
	if err := b.Drop(ctx, c.Dataset, c.Drop, who(m, c.Who), c.Why); err != nil {
		return err
	}
	return c.deleted(m, cli, d)
}

func (c *SyncRebuildCmd) abort(ctx context.Context, m *Main, cli *CLI, b *rebuild.Rebuilds) error {
	d, err := c.confirm(ctx, m, cli, b, func(l *rebuild.Line) bool { return l.State == index.Building })
	if err != nil {
		return err
	}
	if d == nil {
		d = &deletion{Plan: rebuild.Line{Dataset: c.Dataset}}
	}
	if _, err := b.Abort(ctx, c.Dataset, who(m, c.Who), c.Why); err != nil {
		return err
	}
	return c.deleted(m, cli, d)
}

func (c *SyncRebuildCmd) deleted(m *Main, cli *CLI, d *deletion) error {
	d.Deleted = true
	if cli.JSON {
		return m.printJSON(d)
	}
	_, err := fmt.Fprintf(m.Stdout, "generation %d of %s is deleted\n", d.Plan.Number, c.Dataset)
	return err
}
