package verify

import (
	"context"
	"slices"
	"time"

	"strata/catalog"
	"strata/fault"
	"strata/index"
)

// boundsKept bounds the memory of how far a dataset was when: enough for one a day part of the age.
const boundsKept = 64

// sweep removes the tombstones below which nothing can come back, after a dataset was compared. What keeps it from it is
// noted, and is no error of the comparison.
func (g *reign) sweep(ctx context.Context, d *catalog.Dataset) error {
	if g.cfg.Sweeper == nil {
		return nil
	}
	now := g.cfg.Now().UTC()
	out := Swept{At: now}
	below, err := g.horizon(ctx, d, now)
	if err == nil && below > 0 {
		if err := g.at("verify.sweep"); err != nil {
			return err
		}
		out.Below = below
		out.Removed, err = g.cfg.Sweeper.Sweep(ctx, d.Name, below)
		if err == nil {
			if err := g.at("verify.swept"); err != nil {
				return err
			}
		}
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		out.Why = err.Error()
		g.cfg.Log.Warn("tombstones are not swept", "dataset", d.Name, "err", err, "hint", fault.HintOf(err))
	}
	g.p.Swept[d.Name] = out
	g.noteOf(d.Name, func(all *Stats, one *DatasetStats) {
		all.Swept, one.Swept = all.Swept+out.Removed, one.Swept+out.Removed
	})
	return nil
}

// horizon is the version below which tombstones may go; 0: none yet.
func (g *reign) horizon(ctx context.Context, d *catalog.Dataset, now time.Time) (index.Version, error) {
	reached, err := g.reached(ctx, d)
	if err != nil {
		return 0, err
	}
	below := g.aged(d.Name, Bound{now, reached})
	if below == 0 {
		return 0, nil
	}
	oldest, err := g.cfg.Oldest(ctx, d.Name)
	if err != nil {
		return 0, err
	}
	if len(oldest) != int(d.Partitions) {
		return 0, fault.New(fault.Unsafe, "sweep "+d.Name, "the oldest records of %d partitions are known, it has %d", len(oldest), d.Partitions)
	}
	below = min(below, slices.Min(oldest))
	if g.cfg.Letters == nil {
		return below, nil
	}
	open, lowest, err := g.cfg.Letters(ctx, d.Name)
	if err == nil && open > 0 {
		below = min(below, lowest)
	}
	return below, err
}

// reached is the version up to which every partition is applied.
func (g *reign) reached(ctx context.Context, d *catalog.Dataset) (index.Version, error) {
	marks, err := g.cfg.Index.Watermarks(ctx, d.Name)
	if err != nil {
		return 0, err
	}
	if len(marks) != int(d.Partitions) {
		return 0, fault.New(fault.Unsafe, "sweep "+d.Name, "%d of %d partitions have a watermark", len(marks), d.Partitions)
	}
	low := marks[0].Version
	for _, m := range marks {
		if m.Frozen != "" {
			return 0, frozen(m)
		}
		low = min(low, m.Version)
	}
	return low, nil
}

// aged remembers a bound, and returns the highest version that was reached as long ago as a tombstone must be old.
func (g *reign) aged(dataset string, now Bound) (old index.Version) {
	list := g.p.Bounds[dataset]
	list = slices.DeleteFunc(list, func(b Bound) bool { return b.At.After(now.At) }) // a clock was ahead
	for len(list) > 0 && now.At.Sub(list[0].At) >= g.cfg.SweepAge {
		old = max(old, list[0].Version)
		if len(list) == 1 || now.At.Sub(list[1].At) < g.cfg.SweepAge {
			break
		}
		list = list[1:]
	}
	if n := len(list); n == 0 || now.At.Sub(list[n-1].At) >= g.cfg.SweepAge/boundsKept {
		list = append(list, now)
	}
	g.p.Bounds[dataset] = list
	return old
}
