package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"strata/canal"
	"strata/canal/control"
	"strata/node"
)

// CanalCmd is `canal`.
type CanalCmd struct {
	Status   CanalStatusCmd   `cmd:"" help:"Leader, term, position, lag, what is stopped; exit code 1 where something is."`
	Backfill CanalBackfillCmd `cmd:"" help:"Send rows of a dataset anew, as they are, beside the stream."`
	Repair   CanalRepairCmd   `cmd:"" help:"Send single rows anew, as they are or as absent."`
	Rewind   CanalRewindCmd   `cmd:"" help:"Repair everything that changed after a position; a stopped dataset goes on."`
	Accept   CanalAcceptCmd   `cmd:"" help:"Let a stopped dataset go on without repair: a decision, kept as evidence."`
	Adopt    CanalAdoptCmd    `cmd:"" help:"Take a server whose history is not the one that was captured; every dataset must be backfilled then."`
	Tasks    CanalTasksCmd    `cmd:"" help:"Backfills, rewinds, failovers: how far they are."`
	Pause    CanalPauseCmd    `cmd:"" help:"Pause a task."`
	Resume   CanalResumeCmd   `cmd:"" help:"Go on with a paused task."`
	Stop     CanalStopCmd     `cmd:"" help:"End a task for good."`
	DDLCheck CanalDDLCheckCmd `cmd:"" name:"ddl-check" help:"Tell what a pending migration does to topics and index; runs nothing."`
	Evidence CanalEvidenceCmd `cmd:"" help:"What was done to the pipeline: who, when, why."`
}

func withDesk(ctx context.Context, m *Main, cli *CLI, want need, f func(context.Context, *node.Node, *control.Control) error) (err error) {
	s, err := m.open(ctx, cli, want)
	if err != nil {
		return err
	}
	defer func() { err = joinClose(err, s) }()
	desk, err := s.node.Desk(ctx)
	if err != nil {
		return err
	}
	return f(ctx, s.node, desk)
}

// who is the person at the keyboard: --who, else user@host.
func who(m *Main, flag string) string {
	if flag != "" {
		return flag
	}
	user := m.Getenv("USER")
	if user == "" {
		user = fmt.Sprintf("uid%d", os.Getuid())
	}
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	return user + "@" + host
}

// CanalStatusCmd is `canal status`.
type CanalStatusCmd struct{}

// Help is what --help says beyond the flags.
func (c *CanalStatusCmd) Help() string {
	return "Exit code 0 where every dataset is captured whole; 1 where one is stopped, or lacks changes that are being repaired, or\nnobody captures. Asks the control database only."
}

// Run prints what the control database knows of the capture.
func (c *CanalStatusCmd) Run(ctx context.Context, m *Main, cli *CLI) error {
	return withDesk(ctx, m, cli, controlOnly, func(ctx context.Context, n *node.Node, _ *control.Control) error {
		st, err := n.CaptureState(ctx)
		if err != nil {
			return err
		}
		now := time.Now()
		if cli.JSON {
			err = m.printJSON(st)
		} else {
			err = printCapture(m.Stdout, &st, now)
		}
		if err != nil {
			return err
		}
		return st.Whole(now)
	})
}

func printCapture(out io.Writer, st *node.CaptureState, now time.Time) error {
	fmt.Fprintf(out, "term      %d\nleader    %s\nposition  %s\nrows      %d\n", st.Term, orNone(st.Leader), orNone(st.GTID), st.Rows)
	if r := st.Report; r != nil {
		fmt.Fprintf(out, "reported  %s, %s ago%s\n", when(r.At), ago(now.Sub(r.At)), map[bool]string{true: ": nobody leads now"}[now.Sub(r.At) > node.Silent])
		if r.Source != "" {
			fmt.Fprintf(out, "source    %s\n", r.Source)
		}
		fmt.Fprintf(out, "lag       %s\n", lag(r.LagMs))
		fmt.Fprintf(out, "records   %d sent, %d dead letters\nopen XA   %d\nspilled   %d bytes\n", r.Records, r.Letters, len(r.OpenXA), r.Spilled)
		for _, x := range r.OpenXA {
			fmt.Fprintf(out, "  %s at %s\n", plainLine(x.ID), x.GTID)
		}
		for _, name := range slices.Sorted(maps.Keys(r.Numbers)) {
			fmt.Fprintf(out, "numbers   %s %s\n", name, strings.Trim(fmt.Sprint(r.Numbers[name]), "[]"))
		}
		if r.Err != "" {
			fmt.Fprintf(out, "HALTED    %s\n", plainLine(r.Err))
			if r.Hint != "" {
				fmt.Fprintf(out, "  hint: %s\n", plainLine(r.Hint))
			}
		}
		for _, table := range slices.Sorted(maps.Keys(r.Alarms)) {
			fmt.Fprintf(out, "ALARM     %s: %s\n", table, plainLine(r.Alarms[table]))
		}
	}
	fmt.Fprintf(out, "repairs   %d keys wait\n", st.Waiting)
	for _, k := range st.Repairs {
		fmt.Fprintf(out, "  %s %s: %s, tried %d times\n", k.Shard, plainLine(string(k.Key)), plainLine(k.Why), k.Tries)
	}
	for _, name := range slices.Sorted(maps.Keys(st.Stopped)) {
		s := st.Stopped[name]
		fmt.Fprintf(out, "STOPPED   %s at %s: %s\n", name, s.Position.GTID, plainLine(s.Reason))
		if s.Hint != "" {
			fmt.Fprintf(out, "  hint: %s\n", plainLine(s.Hint))
		}
	}
	for _, name := range st.Missing {
		fmt.Fprintf(out, "MISSING   %s is configured, and not captured\n", name)
	}
	for _, name := range slices.Sorted(maps.Keys(st.Lowered)) {
		fmt.Fprintf(out, "LOWERED   %s: whole up to %s, until tasks %s are done\n", name, st.Lowered[name].Mark.GTID, strings.Trim(fmt.Sprint(st.Lowered[name].Tasks), "[]"))
	}
	return printTasks(out, st.Tasks)
}

func lag(ms int64) string {
	if ms < 0 {
		return "unknown, before the first heartbeat"
	}
	return (time.Duration(ms) * time.Millisecond).String()
}

func orNone(s string) string {
	if s == "" {
		return "none yet"
	}
	return plainLine(s)
}

func ago(d time.Duration) string { return max(0, d).Round(time.Second).String() }

func printTasks(out io.Writer, list []canal.Task) error {
	if len(list) == 0 {
		return nil
	}
	w := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	fmt.Fprintln(w, "TASK\tKIND\tDATASET\tSTATE\tDONE\tOF\tCREATED\tWHO\tWHY\tNOTE")
	for _, t := range list {
		state := string(t.State)
		if t.Wish != canal.Run {
			state += ", " + string(t.Wish)
		}
		dataset := t.Dataset
		if dataset == "" {
			dataset = "all"
		}
		fmt.Fprintf(w, "%d\t%s\t%s\t%s\t%d\t%d\t%s\t%s\t%s\t%s\n", t.ID, t.Kind, dataset, state, t.Done, t.Total, when(t.CreatedAt), plainLine(t.Who), plainLine(t.Why), plainLine(t.Err))
	}
	return w.Flush()
}

// CanalTasksCmd is `canal tasks`.
type CanalTasksCmd struct {
	Limit int `default:"20" help:"At most so many, the newest first; finished ones too."`
}

// Run lists tasks.
func (c *CanalTasksCmd) Run(ctx context.Context, m *Main, cli *CLI) error {
	return withDesk(ctx, m, cli, controlOnly, func(ctx context.Context, _ *node.Node, desk *control.Control) error {
		list, err := desk.AllTasks(ctx, c.Limit)
		if err != nil || cli.JSON {
			return m.orJSON(append([]canal.Task{}, list...), err)
		}
		return printTasks(m.Stdout, list)
	})
}

// taskRef names a task and who wants something of it.
type taskRef struct {
	Task int64  `arg:"" help:"Task, as strata canal tasks lists it."`
	Who  string `help:"Who wants it. Default: user@host." placeholder:"NAME"`
}

func (c *taskRef) wish(ctx context.Context, m *Main, cli *CLI, w canal.Wish) error {
	if err := checkWord("--who", who(m, c.Who), maxWho); err != nil {
		return err
	}
	return withDesk(ctx, m, cli, controlOnly, func(ctx context.Context, _ *node.Node, desk *control.Control) error {
		t, err := desk.SetWish(ctx, c.Task, w, who(m, c.Who))
		if err != nil || cli.JSON {
			return m.orJSON(t, err)
		}
		return printTasks(m.Stdout, []canal.Task{t})
	})
}

// CanalPauseCmd is `canal pause`.
type CanalPauseCmd struct{ taskRef }

// Run asks for it; the leader pauses after the chunk in hand.
func (c *CanalPauseCmd) Run(ctx context.Context, m *Main, cli *CLI) error {
	return c.wish(ctx, m, cli, canal.Pause)
}

// CanalResumeCmd is `canal resume`.
type CanalResumeCmd struct{ taskRef }

// Run asks for it.
func (c *CanalResumeCmd) Run(ctx context.Context, m *Main, cli *CLI) error {
	return c.wish(ctx, m, cli, canal.Run)
}

// CanalStopCmd is `canal stop`.
type CanalStopCmd struct{ taskRef }

// Run asks for it; what was sent stays sent.
func (c *CanalStopCmd) Run(ctx context.Context, m *Main, cli *CLI) error {
	return c.wish(ctx, m, cli, canal.End)
}

// CanalEvidenceCmd is `canal evidence`.
type CanalEvidenceCmd struct {
	After int64 `help:"Only lines after this id." placeholder:"ID"`
	Limit int   `default:"100" help:"At most so many, the oldest first."`
}

// Run lists the evidence.
func (c *CanalEvidenceCmd) Run(ctx context.Context, m *Main, cli *CLI) error {
	return withDesk(ctx, m, cli, controlOnly, func(ctx context.Context, _ *node.Node, desk *control.Control) error {
		list, err := desk.EvidenceLog(ctx, c.After, c.Limit)
		if err != nil || cli.JSON {
			return m.orJSON(append([]canal.Evidence{}, list...), err)
		}
		w := tabwriter.NewWriter(m.Stdout, 0, 8, 2, ' ', 0)
		fmt.Fprintln(w, "ID\tAT\tWHAT\tTERM\tWHO\tWHY\tDETAIL")
		for _, e := range list {
			fmt.Fprintf(w, "%d\t%s\t%s\t%d\t%s\t%s\t%s\n", e.ID, when(e.At), e.What, e.Term, plainLine(e.Who), plainLine(e.Why), plainLine(e.Detail))
		}
		return w.Flush()
	})
}
