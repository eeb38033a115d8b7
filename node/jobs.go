package node

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"strata/core"
	"strata/fault"
	"strata/jobs"
)

const (
	daysAhead   = 45  // of shards that are made ahead of time
	expireChunk = 500 // reservations given back in one transaction's turn
	purgeChunk  = 1000
	purgeTurns  = 1000 // of a daily run, so that it ends
)

// scheduler opens the jobs of some roles; without any it only lists, pauses and resumes.
func (n *Node) scheduler(ctx context.Context, list []jobs.Job) (*jobs.Scheduler, error) {
	control, err := n.control(ctx)
	if err != nil {
		return nil, err
	}
	return jobs.Open(ctx, jobs.Config{DB: control, Jobs: list, Log: n.log, Now: n.now, At: n.at})
}

// Jobs opens the scheduler with every job that this configuration has, for commands.
func (n *Node) Jobs(ctx context.Context) (*jobs.Scheduler, error) {
	list := n.archiveJobs()
	if n.cfg.Ledger {
		c, err := n.Core(ctx)
		if err != nil {
			return nil, err
		}
		list = append(list, c.jobs()...)
	}
	return n.scheduler(ctx, list)
}

// archiveJobs is the archive's cron.
func (n *Node) archiveJobs() []jobs.Job {
	return n.scheduled(n.cfg.Core.Jobs.Archive, jobs.Job{Name: "archive", Keyed: jobs.ByDate, Timeout: 12 * time.Hour,
		Run: func(ctx context.Context, _ jobs.Due) (jobs.Result, error) {
			mover, err := n.Mover(ctx, nil)
			if err != nil {
				return jobs.Result{}, err
			}
			plan, err := mover.Plan(ctx, n.now())
			if err != nil {
				return jobs.Result{}, err
			}
			res, err := mover.Run(ctx, plan)
			return detailed(fmt.Sprintf("%d shards, %d rows moved", res.Moved, res.Rows), res, err)
		}})
}

// scheduled is the job in a list, or none where its schedule is off.
func (n *Node) scheduled(schedule string, j jobs.Job) []jobs.Job {
	if schedule == "off" {
		return nil
	}
	j.Schedule = schedule
	return []jobs.Job{j}
}

func detailed(summary string, details any, err error) (jobs.Result, error) {
	b, merr := json.Marshal(details)
	if merr != nil {
		b = nil // the summary stands for it
	}
	return jobs.Result{Summary: summary, Details: b}, err
}

// jobs are the ledger's.
func (c *Ledgers) jobs() (out []jobs.Job) {
	s := c.node.cfg.Core.Jobs
	add := func(schedule string, j jobs.Job) { out = append(out, c.node.scheduled(schedule, j)...) }
	add(s.EndOfDay, jobs.Job{Name: "end_of_day", Keyed: jobs.ByDate, DayShift: -1, CatchUp: jobs.CatchUpAll, Timeout: 6 * time.Hour,
		Run: func(ctx context.Context, due jobs.Due) (jobs.Result, error) { return c.endOfDay(ctx, due.Date) }})
	add(s.Shards, jobs.Job{Name: "shards", Keyed: jobs.ByDate, Run: func(ctx context.Context, due jobs.Due) (jobs.Result, error) {
		until := due.Date.AddDate(0, 0, daysAhead)
		return jobs.Result{Summary: "tables up to " + until.Format(time.DateOnly)}, c.Ledger.EnsureShards(ctx, due.Date, until)
	}})
	add(s.Expire, jobs.Job{Name: "expire", Keyed: jobs.BySlot, Run: func(ctx context.Context, _ jobs.Due) (jobs.Result, error) {
		total := 0
		for {
			k, err := c.Ledger.ExpireReservations(ctx, expireChunk)
			total += k
			if err != nil || k < expireChunk {
				return jobs.Result{Summary: fmt.Sprintf("%d reservations given back", total)}, err
			}
		}
	}})
	add(s.Purge, jobs.Job{Name: "purge", Keyed: jobs.ByDate, Timeout: 6 * time.Hour,
		Run: func(ctx context.Context, _ jobs.Due) (jobs.Result, error) { return c.purge(ctx) }})
	return out
}

// endOfDay cuts the day and freezes its balances; again it does nothing.
func (c *Ledgers) endOfDay(ctx context.Context, date time.Time) (jobs.Result, error) {
	next := date.AddDate(0, 0, 1)
	open, err := c.Ledger.Day(ctx)
	if err != nil {
		return jobs.Result{}, err
	}
	if open.Before(next) {
		if err := c.CutDay(ctx, next); err != nil {
			return jobs.Result{}, err
		}
	}
	rep, err := c.Book.EndOfDay(ctx, date)
	return detailed(fmt.Sprintf("%s: %d accounts, %d entries", rep.Date, rep.Accounts, rep.Entries), rep, err)
}

// CutDay moves the accounting date forward, of all ledgers where there are several. A date that is past the tables made ahead
// of time is refused: a date never goes back, so a mistaken year would stay. fault.Invalid: that, or an earlier date.
func (c *Ledgers) CutDay(ctx context.Context, date time.Time) error {
	date = core.Date(date)
	if last := core.Date(c.node.ledgerClock()).AddDate(0, 0, daysAhead); date.After(last) {
		return fault.New(fault.Invalid, "cut day", "%s is over %d days ahead", date.Format(time.DateOnly), daysAhead).
			WithHint("an accounting date never goes back")
	}
	if c.Across == nil {
		return c.Ledger.CutDay(ctx, date)
	}
	open, err := c.Ledger.Day(ctx)
	if err != nil {
		return err
	}
	if date.Before(open) {
		// Only a cut that was left half-way may name an earlier date: until it is done no transfer across is committed.
		left, cutting, err := c.Across.Cutting(ctx)
		if err != nil {
			return err
		}
		if !cutting || !left.Equal(date) {
			return core.EarlierDay(date, open)
		}
	}
	return c.Across.CutDay(ctx, date)
}

// purge forgets what is older than the horizon, in chunks.
func (c *Ledgers) purge(ctx context.Context) (jobs.Result, error) {
	if c.NoNotices != nil {
		return jobs.Result{}, c.NoNotices
	}
	before := c.node.now().AddDate(0, 0, -c.node.cfg.Core.HorizonDays)
	steps := []func() (int64, error){
		func() (int64, error) { k, err := c.Ledger.PurgeIDs(ctx, purgeChunk); return int64(k), err },
	}
	if c.Notices != nil {
		steps = append(steps, func() (int64, error) { return c.Notices.Purge(ctx, before, purgeChunk) })
	}
	if c.Across != nil {
		steps = append(steps, func() (int64, error) { return c.Across.Forget(ctx, purgeChunk) })
	}
	var total int64
	for _, step := range steps {
		for range purgeTurns {
			k, err := step()
			total += k
			if err != nil {
				return jobs.Result{}, err
			}
			if k < purgeChunk {
				break
			}
		}
	}
	return jobs.Result{Summary: fmt.Sprintf("%d rows forgotten", total)}, nil
}

// RunJob runs one key of a job by hand.
func (n *Node) RunJob(ctx context.Context, name, key string, force bool) (jobs.Run, error) {
	s, err := n.Jobs(ctx)
	if err != nil {
		return jobs.Run{}, err
	}
	run, err := s.RunNow(ctx, name, key, force)
	if fault.Is(err, fault.NotFound) {
		err = fault.New(fault.NotFound, "run job "+name, "%w", err).WithHint("strata jobs list names them")
	}
	return run, err
}
