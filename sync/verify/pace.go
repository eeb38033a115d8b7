package verify

import (
	"context"
	"fmt"
	"time"

	"strata/catalog"
	"strata/fault"
)

const (
	// A span of a throttled verifier is two seconds' worth of rows: each costs a snapshot and a heartbeat.
	spanSeconds = 2
	leastSpan   = 500
	// A throttled verifier is at work one part in workPart of the time, and where a row takes longer than it can, as much less.
	workPart = 10
	// forget is how much slower a dataset's quickest span becomes with each that follows, so that servers which have become slower
	// for good don't seem busy for ever.
	forget = 1.01
	// longestTurn bounds what the two make of a span that was held up.
	longestTurn = 30 * time.Second
	// lagLook is between two looks at a lag that is too high.
	lagLook = time.Second
	// lagPatience is how long one dataset's lag may hold up the others.
	lagPatience = time.Minute
	// mostLag: a dataset that was passed over for a lag that is no higher has one span all the same when it is tried again, so that
	// an index that is always a little behind is proven too, slowly.
	mostLag = 10 * time.Second
)

// spanRows bounds a span.
func (g *reign) spanRows() int {
	if g.cfg.RowsPerSecond <= 0 || g.cfg.SpanRows > 0 {
		return g.cfg.SpanRows
	}
	return min(max(spanSeconds*g.cfg.RowsPerSecond, leastSpan), statementRows)
}

// pace waits until what was read is no more than the bound allows, and until the work was no more than its part of the time. No
// snapshot is open meanwhile. Worked is what was spent reading and comparing: to wait for the index or for a repair is no work.
func (g *reign) pace(ctx context.Context, dataset string, rows int64, worked time.Duration) error {
	if g.cfg.RowsPerSecond <= 0 {
		return nil
	}
	whole := turn(rows, g.cfg.RowsPerSecond, worked, g.slowness(dataset, rows, worked))
	if !g.rest(ctx, whole-g.cfg.Now().Sub(g.began)) {
		return ctx.Err()
	}
	return nil
}

// slowness is how many times as long a row of this span took as one of the dataset's quickest: 1 and more. The servers are as
// much busier, and the verifier is to take as much less of their time.
func (g *reign) slowness(dataset string, rows int64, worked time.Duration) float64 {
	if rows < leastSpan || worked <= 0 {
		return 1
	}
	each := worked.Seconds() / float64(rows)
	quickest, known := g.quickest[dataset]
	if !known || each < quickest {
		quickest = each
	}
	g.quickest[dataset] = quickest * forget
	return each / quickest
}

// turn is how long a span and the rest after it take together.
func turn(rows int64, perSecond int, worked time.Duration, slowness float64) time.Duration {
	byTime := time.Duration(workPart * slowness * float64(worked))
	return max(time.Duration(rows)*time.Second/time.Duration(perSecond), min(byTime, longestTurn))
}

// ready is part of keeper: it waits while the dataset's watermark is too old, or not there yet, as when everything has just
// been started. A lag that stays is an error, so that another dataset has its turn.
func (g *reign) ready(ctx context.Context, v *verifier) error {
	defer func() { g.began = g.cfg.Now() }()
	since := g.cfg.Now()
	for {
		l, err := g.lag(ctx, v.d)
		if err != nil {
			return err
		}
		if l.within(g.cfg.MaxLag) || g.owed[v.d.Name] && l.within(mostLag) {
			g.p.Held, g.owed[v.d.Name] = "", false
			g.note(func(s *Stats) { s.Held = false })
			return nil
		}
		if g.cfg.Now().Sub(since) > lagPatience {
			g.owed[v.d.Name] = true
			return l.stays(v.d, g.cfg.MaxLag)
		}
		if g.p.Held == "" {
			g.p.Held = fmt.Sprintf("%s: %s", v.d.Name, l)
			if err := g.save(ctx); err != nil {
				return err
			}
		}
		g.note(func(s *Stats) { s.Held = true })
		if !g.rest(ctx, lagLook) {
			return ctx.Err()
		}
	}
}

// lag is how far a dataset's index is behind.
type lag struct {
	age               time.Duration // of the oldest watermark
	marks, partitions int           // how many have a watermark, of how many
}

func (l lag) within(bound time.Duration) bool { return l.marks >= l.partitions && l.age <= bound }

func (l lag) String() string {
	if l.marks < l.partitions {
		return fmt.Sprintf("%d of %d partitions have a watermark", l.marks, l.partitions)
	}
	return fmt.Sprintf("the index is %s behind", l.age.Round(time.Second))
}

// stays is the error of a lag that was waited out.
func (l lag) stays(d *catalog.Dataset, bound time.Duration) error {
	if l.marks < l.partitions {
		return fault.New(fault.Unavailable, "verify "+d.Name, "%s", l).
			WithHint("are canal and sync running? `strata sync status` shows how far the index is")
	}
	return fault.New(fault.Busy, "verify "+d.Name, "%s, which is more than %s", l, bound).
		WithHint("`strata sync status` and `strata canal status` show why; verify: max_lag_ms is the bound")
}

// lag asks the index for the dataset's watermarks. Errors: Proof where a partition is frozen.
func (g *reign) lag(ctx context.Context, d *catalog.Dataset) (lag, error) {
	marks, err := g.cfg.Index.Watermarks(ctx, d.Name)
	if err != nil {
		return lag{}, err
	}
	now, l := catalog.At(g.cfg.Now()), lag{marks: len(marks), partitions: int(d.Partitions)}
	for _, m := range marks {
		if m.Frozen != "" {
			return lag{}, frozen(m)
		}
		l.age = max(l.age, time.Duration(now-m.At)*time.Microsecond)
	}
	return l, nil
}
