package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"strata/canal"
	"strata/canal/control"
	"strata/catalog"
	"strata/fault"
	"strata/node"
)

// pollEvery is how often a task that is waited for is looked at.
const pollEvery = 300 * time.Millisecond

// maxSpeed is what the desk takes, and more than any server reads.
const maxSpeed = 1<<31 - 1

// ordered is a task as its command shows it before it is ordered.
type ordered struct {
	Task   canal.Task     `json:"task"`
	Shards []orderedShard `json:"shards,omitempty"`
	Rows   int64          `json:"rows,omitempty"` // estimate
}

type orderedShard struct {
	Shard string `json:"shard"`
	Store string `json:"store"`
	Epoch uint64 `json:"epoch"`
	Rows  int64  `json:"rows"`
}

// orderFlags are those of every command that orders a task.
type orderFlags struct {
	Why    string `required:"" help:"Why, for the evidence."`
	Who    string `help:"Who wants it. Default: user@host." placeholder:"NAME"`
	Wait   bool   `help:"Follow the task until it is finished."`
	DryRun bool   `help:"Print what would run, and stop."`
}

// run shows the plan, orders the task and, where asked for, follows it.
func (f *orderFlags) run(ctx context.Context, m *Main, cli *CLI, plan func(context.Context, *node.Node) (ordered, error)) error {
	if err := checkWords(who(m, f.Who), f.Why); err != nil {
		return err
	}
	want := attachOnly
	if f.Wait {
		want = withPipeline
	}
	return withDesk(ctx, m, cli, want, func(ctx context.Context, n *node.Node, desk *control.Control) error {
		o, err := plan(ctx, n)
		if err != nil {
			return err
		}
		o.Task.Who, o.Task.Why = who(m, f.Who), f.Why
		if f.DryRun {
			if cli.JSON {
				return m.printJSON(o)
			}
			return m.printOrder(&o)
		}
		if !cli.JSON {
			if err := m.printOrder(&o); err != nil {
				return err
			}
		}
		t, err := desk.Order(ctx, o.Task)
		if err != nil {
			return err
		}
		if cli.Data == "" || !f.Wait { // else the leader of a demo's folder runs here
			if err := f.warn(ctx, m, desk); err != nil {
				return err
			}
		}
		if f.Wait {
			return f.follow(ctx, m, cli, desk, t)
		}
		if cli.JSON {
			return m.printJSON(t)
		}
		fmt.Fprintf(m.Stdout, "task %d is %s; strata canal tasks shows how far it is\n", t.ID, t.State)
		return nil
	})
}

// warn says where nobody is there to do it.
func (f *orderFlags) warn(ctx context.Context, m *Main, desk *control.Control) error {
	r, ok, err := desk.Status(ctx)
	if err == nil && (!ok || time.Since(r.At) > node.Silent) {
		fmt.Fprintln(m.Stderr, "no leader reports; the task waits until strata serve --roles canal runs")
	}
	return err
}

func (m *Main) printOrder(o *ordered) error {
	t := o.Task
	switch t.Kind {
	case canal.Backfill:
		bounds := ""
		if t.From != "" || t.To != "" {
			bounds = fmt.Sprintf(", keys after %q up to %q", t.From, t.To)
		}
		speed := "as fast as it goes"
		if t.RowsPerSecond > 0 {
			speed = fmt.Sprintf("at most %d rows a second", t.RowsPerSecond)
		}
		fmt.Fprintf(m.Stdout, "backfill of %s: %d shards, about %d rows%s, %s\n", t.Dataset, len(o.Shards), o.Rows, bounds, speed)
		w := tabwriter.NewWriter(m.Stdout, 0, 8, 2, ' ', 0)
		fmt.Fprintln(w, "SHARD\tSTORE\tEPOCH\tROWS")
		for _, s := range o.Shards {
			fmt.Fprintf(w, "%s\t%s\t%d\t%d\n", s.Shard, s.Store, s.Epoch, s.Rows)
		}
		return w.Flush()
	case canal.Rewind:
		after := t.GTID
		if after == "" {
			after = "the place where it stopped"
		}
		dataset := t.Dataset
		if dataset == "" {
			dataset = "all datasets"
		}
		fmt.Fprintf(m.Stdout, "rewind of %s: every key that changed after %s is repaired\n", dataset, after)
	case canal.Adopt:
		fmt.Fprintln(m.Stdout, "adoption of the server: where its history has nothing in common with what was captured, every dataset stops, and needs a backfill")
	default:
		fmt.Fprintf(m.Stdout, "%s of %s: it goes on without what it lacks\n", t.Kind, t.Dataset)
	}
	return nil
}

// follow shows the task's progress until it is finished. A stop ends only the looking.
func (f *orderFlags) follow(ctx context.Context, m *Main, cli *CLI, desk *control.Control, t canal.Task) error {
	bars := NewProgress(m.Stderr, cli.JSON)
	defer bars.Close()
	bar := bars.Start(fmt.Sprintf("%s %s", t.Kind, t.Dataset), t.Total)
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		now, err := desk.TaskByID(ctx, t.ID)
		if err != nil {
			bar.Abort()
			return err
		}
		bar.Set(now.Done, now.Total)
		if now.State == canal.Done || now.State == canal.Ended || now.State == canal.Failed {
			bar.End("%s", now.State)
			bars.Wait()
			return f.finished(m, cli, now)
		}
		select {
		case <-ctx.Done():
			bar.Abort()
			return fault.New(fault.Interrupted, "wait", "task %d goes on", t.ID).WithHint("strata canal stop %d ends it", t.ID)
		case <-tick.C:
		}
	}
}

func (f *orderFlags) finished(m *Main, cli *CLI, t canal.Task) error {
	if cli.JSON {
		if err := m.printJSON(t); err != nil {
			return err
		}
	} else {
		fmt.Fprintf(m.Stdout, "task %d: %s, %d done\n", t.ID, t.State, t.Done)
	}
	if t.State == canal.Done {
		return nil
	}
	return fault.New(fault.Proof, fmt.Sprintf("%s %s", t.Kind, t.Dataset), "task %d %s: %s", t.ID, t.State, t.Err).
		WithHint("strata canal status says what is wrong")
}

// CanalBackfillCmd is `canal backfill`.
type CanalBackfillCmd struct {
	Dataset       string   `arg:"" help:"Dataset."`
	Shard         []string `help:"Only these physical tables, of live or the archive. Default: all." placeholder:"TABLE"`
	FromKey       string   `help:"Only keys after this one." placeholder:"KEY"`
	ToKey         string   `help:"Only keys up to this one." placeholder:"KEY"`
	Keys          []string `help:"Only these keys, of the one --shard: strata canal repair." placeholder:"KEY" sep:"none"`
	RowsPerSecond int      `help:"Read at most so many. Default: the configuration's." placeholder:"N"`
	orderFlags
}

// Run orders it.
func (c *CanalBackfillCmd) Run(ctx context.Context, m *Main, cli *CLI) error {
	if len(c.Keys) > 0 {
		if len(c.Shard) != 1 || c.FromKey != "" || c.ToKey != "" || c.Wait {
			return fault.New(fault.Invalid, "read flags", "--keys wants exactly one --shard, and no other bound").
				WithHint("strata canal repair DATASET SHARD KEY… is the same")
		}
		r := CanalRepairCmd{Dataset: c.Dataset, Shard: c.Shard[0], Keys: c.Keys, Why: c.Why, Who: c.Who, DryRun: c.DryRun}
		return r.Run(ctx, m, cli)
	}
	if c.RowsPerSecond < 0 || c.RowsPerSecond > maxSpeed {
		return fault.New(fault.Invalid, "read flags", "--rows-per-second %d is not 0 to %d", c.RowsPerSecond, maxSpeed).WithHint("0 is the configuration's bound")
	}
	return c.run(ctx, m, cli, c.plan)
}

// plan lists the shards that would be read.
func (c *CanalBackfillCmd) plan(ctx context.Context, n *node.Node) (o ordered, err error) {
	d, err := n.Dataset(c.Dataset)
	if err != nil {
		return o, err
	}
	var bounds [2]catalog.Key
	for i, typed := range []string{c.FromKey, c.ToKey} {
		if typed == "" {
			continue
		}
		if bounds[i], err = readKey(d, typed); err != nil {
			return o, err
		}
	}
	if bounds[0] != "" && bounds[1] != "" {
		if err := checkRange(d, bounds[0], bounds[1]); err != nil {
			return o, err
		}
	}
	all, err := n.Shards(ctx, d)
	if err != nil {
		return o, err
	}
	var known []string
	for _, s := range all {
		table := s.Holding.Shard.Table
		known = append(known, table)
		if len(c.Shard) > 0 && !slices.Contains(c.Shard, table) {
			continue
		}
		o.Shards = append(o.Shards, orderedShard{table, string(s.Holding.Store), s.Holding.Epoch, s.Rows})
		o.Rows += s.Rows
	}
	for _, s := range c.Shard {
		if !slices.Contains(known, s) {
			return o, fault.New(fault.NotFound, "look for shard", "no store owns table %s of dataset %s", s, c.Dataset).
				WithHint("they are %s", strings.Join(known, ", "))
		}
	}
	speed := c.RowsPerSecond
	if speed == 0 {
		speed = n.Config().Capture.BackfillRowsPerSecond
	}
	o.Task = canal.Task{Kind: canal.Backfill, Dataset: c.Dataset, From: bounds[0], To: bounds[1], RowsPerSecond: speed}
	for _, s := range c.Shard {
		if !slices.Contains(o.Task.Shards, s) {
			o.Task.Shards = append(o.Task.Shards, s)
		}
	}
	return o, nil
}

// CanalRewindCmd is `canal rewind`.
type CanalRewindCmd struct {
	Dataset string `arg:"" optional:"" help:"Dataset. Default: all."`
	To      string `help:"GTID set after which changes are repaired. Default: where the dataset stopped." placeholder:"GTID"`
	orderFlags
}

// Run orders it.
func (c *CanalRewindCmd) Run(ctx context.Context, m *Main, cli *CLI) error {
	return c.run(ctx, m, cli, func(ctx context.Context, n *node.Node) (o ordered, err error) {
		if c.Dataset != "" {
			if _, err := n.Dataset(c.Dataset); err != nil {
				return o, err
			}
		}
		if c.To == "" {
			if err := mustBeStopped(ctx, n, c.Dataset, "name a GTID set by --to"); err != nil {
				return o, err
			}
		} else if err := n.CheckGTID(c.To); err != nil {
			return o, err
		}
		o.Task = canal.Task{Kind: canal.Rewind, Dataset: c.Dataset, GTID: c.To}
		return o, nil
	})
}

// mustBeStopped refuses what is only for stopped datasets.
func mustBeStopped(ctx context.Context, n *node.Node, dataset, hint string) error {
	st, err := n.CaptureState(ctx)
	if err != nil {
		return err
	}
	if _, ok := st.Stopped[dataset]; !ok && (dataset != "" || len(st.Stopped) == 0) {
		what := "dataset " + dataset + " is"
		if dataset == "" {
			what = "no dataset is"
		}
		if dataset != "" {
			what += " not"
		}
		return fault.New(fault.Conflict, "look for what stopped", "%s stopped", what).WithHint("%s", hint)
	}
	return nil
}

// CanalAcceptCmd is `canal accept`.
type CanalAcceptCmd struct {
	Dataset string `arg:"" help:"Dataset that is stopped."`
	orderFlags
}

// Run orders it.
func (c *CanalAcceptCmd) Run(ctx context.Context, m *Main, cli *CLI) error {
	return c.run(ctx, m, cli, func(ctx context.Context, n *node.Node) (o ordered, err error) {
		if _, err := n.Dataset(c.Dataset); err != nil {
			return o, err
		}
		if err := mustBeStopped(ctx, n, c.Dataset, "there is nothing to accept"); err != nil {
			return o, err
		}
		o.Task = canal.Task{Kind: canal.Accept, Dataset: c.Dataset}
		return o, nil
	})
}

// CanalAdoptCmd is `canal adopt`.
type CanalAdoptCmd struct {
	orderFlags
}

// Run orders it.
func (c *CanalAdoptCmd) Run(ctx context.Context, m *Main, cli *CLI) error {
	return c.run(ctx, m, cli, func(context.Context, *node.Node) (ordered, error) {
		return ordered{Task: canal.Task{Kind: canal.Adopt}}, nil
	})
}
