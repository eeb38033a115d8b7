package main

import (
	"context"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"strata/jobs"
)

// JobsCmd is what runs on a schedule.
type JobsCmd struct {
	List    JobsListCmd    `cmd:"" default:"1" help:"Every job, its schedule and who runs it."`
	History JobsHistoryCmd `cmd:"" help:"What a job did."`
	Run     JobsRunCmd     `cmd:"" help:"Run one key of a job now, in this process."`
	Pause   JobsPauseCmd   `cmd:"" help:"Keep a job's schedule from starting anything."`
	Resume  JobsResumeCmd  `cmd:"" help:"Undo pause."`
}

func withJobs(ctx context.Context, m *Main, cli *CLI, f func(context.Context, *jobs.Scheduler) error) (err error) {
	s, err := m.open(ctx, cli, setUp)
	if err != nil {
		return err
	}
	defer func() { err = joinClose(err, s) }()
	scheduler, err := s.node.Jobs(ctx)
	if err != nil {
		return err
	}
	return f(ctx, scheduler)
}

func when(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.UTC().Format(time.RFC3339)
}

// JobsListCmd is `jobs list`.
type JobsListCmd struct{}

// Run lists the jobs.
func (c *JobsListCmd) Run(ctx context.Context, m *Main, cli *CLI) error {
	return withJobs(ctx, m, cli, func(ctx context.Context, s *jobs.Scheduler) error {
		list, err := s.List(ctx)
		if err != nil || cli.JSON {
			return m.orJSON(list, err)
		}
		w := tabwriter.NewWriter(m.Stdout, 0, 8, 2, ' ', 0)
		fmt.Fprintln(w, "JOB\tSCHEDULE\tPAUSED\tNEXT\tRUNNING\tWAITING\tFAILED\tLAST DONE\tOWNER")
		for _, j := range list {
			fmt.Fprintf(w, "%s\t%s\t%v\t%s\t%s\t%d\t%d\t%s\t%s\n", j.Name, j.Schedule, j.Paused, when(j.Next), j.Running, j.Waiting, j.Failed, j.LastDone, j.Owner)
		}
		return w.Flush()
	})
}

// orJSON prints v, unless there is an error.
func (m *Main) orJSON(v any, err error) error {
	if err != nil {
		return err
	}
	return m.printJSON(v)
}

// JobsHistoryCmd is `jobs history`.
type JobsHistoryCmd struct {
	Name  string `arg:"" help:"Job."`
	Limit int    `default:"20" help:"At most so many, the newest first."`
}

// Run lists runs.
func (c *JobsHistoryCmd) Run(ctx context.Context, m *Main, cli *CLI) error {
	return withJobs(ctx, m, cli, func(ctx context.Context, s *jobs.Scheduler) error {
		list, err := s.History(ctx, c.Name, c.Limit)
		if err != nil || cli.JSON {
			return m.orJSON(list, err)
		}
		w := tabwriter.NewWriter(m.Stdout, 0, 8, 2, ' ', 0)
		fmt.Fprintln(w, "KEY\tSTATE\tATTEMPT\tSTARTED\tENDED\tSUMMARY\tERROR")
		for _, r := range list {
			fmt.Fprintf(w, "%s\t%s\t%d\t%s\t%s\t%s\t%s\n", r.Key, r.State, r.Attempt, when(r.Started), when(r.Ended), r.Summary, r.LastError)
		}
		return w.Flush()
	})
}

// JobsRunCmd is `jobs run`.
type JobsRunCmd struct {
	Name  string `arg:"" help:"Job."`
	Key   string `arg:"" optional:"" help:"Business date or slot. Default: the newest."`
	Force bool   `help:"Also what is done already, or not due yet."`
}

// Run runs it; what is done already is refused without --force.
func (c *JobsRunCmd) Run(ctx context.Context, m *Main, cli *CLI) (err error) {
	s, err := m.open(ctx, cli, setUp)
	if err != nil {
		return err
	}
	defer func() { err = joinClose(err, s) }()
	run, err := s.node.RunJob(ctx, c.Name, c.Key, c.Force)
	if err != nil {
		return err
	}
	return m.printJSONOr(cli, run, func(w io.Writer) { fmt.Fprintf(w, "%s %s: %s  %s\n", run.Job, run.Key, run.State, run.Summary) })
}

// JobsPauseCmd is `jobs pause`.
type JobsPauseCmd struct {
	Name string `arg:"" help:"Job."`
}

// Run pauses.
func (c *JobsPauseCmd) Run(ctx context.Context, m *Main, cli *CLI) error {
	return withJobs(ctx, m, cli, func(ctx context.Context, s *jobs.Scheduler) error { return s.Pause(ctx, c.Name) })
}

// JobsResumeCmd is `jobs resume`.
type JobsResumeCmd struct {
	Name string `arg:"" help:"Job."`
}

// Run resumes.
func (c *JobsResumeCmd) Run(ctx context.Context, m *Main, cli *CLI) error {
	return withJobs(ctx, m, cli, func(ctx context.Context, s *jobs.Scheduler) error { return s.Resume(ctx, c.Name) })
}
