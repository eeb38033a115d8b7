package load

import (
	"context"
	"errors"
	"fmt"
	"sort"
	"time"

	"strata/core"
	"strata/fault"
)

// Config is what Past and Today need.
type Config struct {
	Plan   Plan
	Ledger core.Ledger // made with Clock as its Now and Plan.From as its first day
	Clock  *core.Clock
	// TodayBatch is the number of transfers that Today posts at a time. 0: 50.
	TodayBatch int
	// Progress is told after each batch; nil: nobody.
	Progress func(done, total int64)
}

// Result says what a call did.
type Result struct {
	Skipped                    int64 // transfers that an earlier call had posted
	Applied, Replayed, Refused int64
}

func (c *Config) check() error {
	errs := []error{c.Plan.Validate()}
	if c.Ledger == nil || c.Clock == nil {
		errs = append(errs, fault.New(fault.Invalid, "configure load", "no ledger or no clock"))
	}
	if c.TodayBatch < 0 || c.TodayBatch > batchLimit {
		errs = append(errs, fault.New(fault.Invalid, "configure load", "%d transfers at a time; 1 to %d are possible", c.TodayBatch, batchLimit))
	}
	return errors.Join(errs...)
}

// Past loads the plan's transfers, or the rest of them, and opens the day To. It returns at the first error.
func Past(ctx context.Context, cfg Config) (Result, error) {
	var res Result
	if err := cfg.check(); err != nil {
		return res, err
	}
	p := cfg.Plan
	accounts, us := p.accounts()
	cfg.Clock.Set(p.From)
	if err := cfg.Ledger.Open(ctx, accounts); err != nil {
		return res, err
	}
	if err := cfg.Ledger.EnsureShards(ctx, p.From, p.To.AddDate(0, 1, 0)); err != nil {
		return res, err
	}
	steps := p.steps()
	if err := cfg.run(ctx, newGenerator(p, streamPast, us), steps, &res); err != nil {
		return res, err
	}
	return res, cfg.cut(ctx, p.To)
}

// Today posts count transfers on the day To, or the rest of them, after Past: a tenth of them was ordered months ago. Each
// batch is posted at a time that follows from its first number, so a larger count later goes on where this one ended
// (count should be a multiple of TodayBatch for that).
func Today(ctx context.Context, cfg Config, count int) (Result, error) {
	var res Result
	if err := cfg.check(); err != nil {
		return res, err
	}
	size := cfg.TodayBatch
	if size == 0 {
		size = 50
	}
	_, us := cfg.Plan.accounts()
	var steps []step
	for first := 0; first < count; first += size {
		at := cfg.Plan.To.Add(8*time.Hour + time.Duration(first)*10*time.Millisecond)
		if !at.Before(cfg.Plan.To.Add(day)) {
			return res, fault.New(fault.TooLarge, "load today", "%d transfers do not fit one day", count)
		}
		steps = append(steps, step{day: cfg.Plan.To, at: at, first: first, count: min(size, count-first)})
	}
	return res, cfg.run(ctx, newGenerator(cfg.Plan, streamToday, us), steps, &res)
}

// run posts the steps that are not there yet.
func (c *Config) run(ctx context.Context, g *generator, steps []step, res *Result) error {
	from, err := c.resume(ctx, g, steps)
	if err != nil {
		return err
	}
	total := int64(0)
	for i, s := range steps {
		total += int64(s.count)
		if i < from {
			res.Skipped += int64(s.count)
		}
	}
	done := res.Skipped
	transfers := make([]core.Transfer, 0, batchLimit)
	for _, s := range steps[from:] {
		transfers = transfers[:0]
		for n := s.first; n < s.first+s.count; n++ {
			transfers = append(transfers, g.transfer(n, s.at))
		}
		if err := c.step(ctx, s, transfers, res); err != nil {
			return fmt.Errorf("load transfers from number %d: %w", s.first, err)
		}
		done += int64(s.count)
		if c.Progress != nil {
			c.Progress(done, total)
		}
	}
	return nil
}

// resume returns the first step that was not posted: its last id is not known. Steps were posted in order.
func (c *Config) resume(ctx context.Context, g *generator, steps []step) (int, error) {
	var failed error
	from := sort.Search(len(steps), func(i int) bool {
		if failed != nil {
			return true
		}
		_, known, err := c.Ledger.Answer(ctx, g.id(steps[i].first+steps[i].count-1))
		failed = err
		return !known
	})
	return from, failed
}

func (c *Config) cut(ctx context.Context, date time.Time) error {
	open, err := c.Ledger.Day(ctx)
	if err != nil || open.Equal(date) {
		return err
	}
	return c.Ledger.CutDay(ctx, date)
}

func (c *Config) step(ctx context.Context, s step, transfers []core.Transfer, res *Result) error {
	if err := c.cut(ctx, s.day); err != nil {
		return err
	}
	c.Clock.Set(s.at)
	answers, err := c.Ledger.Post(ctx, transfers)
	if err != nil {
		return err
	}
	for i, a := range answers {
		switch a.Outcome {
		case core.Applied:
			res.Applied++
		case core.Replayed:
			res.Replayed++
		case core.Refused:
			res.Refused++
		case core.Conflict:
			return fault.New(fault.Conflict, "load", "transfer %s is there with another body", transfers[i].ID).
				WithHint("another plan filled this ledger; use the same seed, numbers and dates, or another database")
		default:
			return fault.New(fault.Internal, "load", "transfer %s: %s", transfers[i].ID, a.Message)
		}
	}
	return nil
}
