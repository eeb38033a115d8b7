package main

import (
	"context"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"strata/node"
	syncer "strata/sync"
)

// SyncCmd is `sync`.
type SyncCmd struct {
	Status  SyncStatusCmd  `cmd:"" help:"How far the index is, by dataset and partition; exit code 1 where something stands still."`
	Resume  SyncResumeCmd  `cmd:"" help:"Let a stopped dataset go on now, once its cause is gone."`
	Rebuild SyncRebuildCmd `cmd:"" help:"Make a dataset's index anew beside the one that answers, prove it, and switch."`
	Dlq     SyncDlqCmd     `cmd:"" help:"Dead letters: what no index takes, or was too large for its topic."`
}

// SyncStatusCmd is `sync status`.
type SyncStatusCmd struct{}

// Help is what --help says beyond the flags.
func (c *SyncStatusCmd) Help() string {
	return "Exit code 0 where every dataset is applied; 1 where one is stopped, frozen or tried again,\nor nobody applies it. Asks the index, Kafka and the control database only.\nLAG is from the watermark's commit to now, RECORDS what the topic has beyond it."
}

// Run prints how every dataset stands.
func (c *SyncStatusCmd) Run(ctx context.Context, m *Main, cli *CLI) (err error) {
	s, err := m.open(ctx, cli, indexAndControl)
	if err != nil {
		return err
	}
	defer func() { err = joinClose(err, s) }()
	st, err := s.node.SyncState(ctx)
	if err != nil {
		return err
	}
	if cli.JSON {
		err = m.printJSON(st)
	} else {
		err = printSync(m.Stdout, &st)
	}
	if err != nil {
		return err
	}
	return st.Whole()
}

func printSync(out io.Writer, st *node.SyncState) error {
	for _, p := range st.Processes {
		age := time.Duration(p.AgeMs) * time.Millisecond
		note := ""
		if age > node.Silent {
			note = ": it is gone"
		}
		fmt.Fprintf(out, "process   %s reported %s ago%s\n", plainLine(p.Holder), ago(age), note)
	}
	w := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	fmt.Fprintln(w, "DATASET\tPARTITION\tSTATE\tLAG\tRECORDS\tTERM\tNUMBER\tOFFSET\tEND\tHEARTBEAT\tAT\tGTID\tLETTERS")
	for i := range st.Datasets {
		d := &st.Datasets[i]
		for _, p := range d.Partitions {
			fmt.Fprintf(w, "%s\t%d\t%s\t%s\t%s\t%d\t%d\t%d\t%s\t%d\t%s\t%s\t%s\n", d.Dataset, p.Partition, d.State, shortLag(p.LagMs), known(p.LagRecords),
				p.Term, p.Number, p.Offset, known(p.End), p.Heartbeat, p.At, p.GTID, known(d.OpenLetters))
		}
	}
	if err := w.Flush(); err != nil {
		return err
	}
	for i := range st.Datasets {
		d := &st.Datasets[i]
		if d.Err != "" {
			fmt.Fprintf(out, "%-9s %s: %s\n", map[bool]string{true: "STOPPED", false: "ERROR"}[d.State == syncer.Stopped], d.Dataset, plainLine(d.Err))
			if d.Hint != "" {
				fmt.Fprintf(out, "  hint: %s\n", plainLine(d.Hint))
			}
		}
		if d.State == node.Absent {
			fmt.Fprintf(out, "ABSENT    %s: nobody applies it\n", d.Dataset)
		}
		for _, p := range d.Partitions {
			if p.Frozen != "" {
				fmt.Fprintf(out, "FROZEN    %s partition %d: %s\n", d.Dataset, p.Partition, plainLine(p.Frozen))
			}
		}
		if d.OpenLetters > 0 {
			fmt.Fprintf(out, "LETTERS   %s: %d open; strata sync dlq list %s\n", d.Dataset, d.OpenLetters, d.Dataset)
		}
	}
	return nil
}

func shortLag(ms int64) string {
	if ms < 0 {
		return "unknown"
	}
	return (time.Duration(ms) * time.Millisecond).String()
}

func known(n int64) string {
	if n < 0 {
		return "unknown"
	}
	return fmt.Sprint(n)
}

// SyncResumeCmd is `sync resume`.
type SyncResumeCmd struct {
	Dataset string `arg:"" help:"Dataset that has stopped."`
	Why     string `required:"" help:"Why, for the evidence."`
	Who     string `help:"Who wants it. Default: user@host." placeholder:"NAME"`
}

// Help is what --help says beyond the flags.
func (c *SyncResumeCmd) Help() string {
	return "A stopped dataset is tried again once a minute by itself. This tries it within seconds, and counts its refused documents\nanew, so that a dataset which stopped for too many of them may send letters again."
}

// Run asks for it; the process that applies the dataset tries it at its next look.
func (c *SyncResumeCmd) Run(ctx context.Context, m *Main, cli *CLI) (err error) {
	by := who(m, c.Who)
	if err := checkWords(by, c.Why); err != nil {
		return err
	}
	s, err := m.open(ctx, cli, controlOnly)
	if err != nil {
		return err
	}
	defer func() { err = joinClose(err, s) }()
	if err := s.node.ResumeSync(ctx, c.Dataset, by, c.Why); err != nil {
		return err
	}
	if cli.JSON {
		return m.printJSON(map[string]any{"dataset": c.Dataset, "asked": true})
	}
	fmt.Fprintf(m.Stdout, "%s is tried again within seconds; strata sync status shows whether it goes on\n", c.Dataset)
	return nil
}
