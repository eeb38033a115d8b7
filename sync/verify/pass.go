package verify

import (
	"context"
	"errors"
	"slices"
	"time"

	"strata/catalog"
	"strata/fault"
)

// reign is one process's time with the lease.
type reign struct {
	*Runner
	p        Progress
	began    time.Time          // of the span in work
	owed     map[string]bool    // datasets that were passed over for their lag, and have had nothing since
	quickest map[string]float64 // seconds a row, by dataset
}

// passes goes over the datasets again and again.
func (r *Runner) passes(ctx context.Context) error {
	p, err := r.cfg.Book.Load(ctx)
	if err != nil {
		return err
	}
	p.fill()
	g := &reign{Runner: r, p: p, owed: map[string]bool{}, quickest: map[string]float64{}}
	g.notePlaces()
	if _, err := g.open(ctx, r.cfg.Now()); err != nil {
		return err
	}
	for {
		if g.due() {
			if err := g.begin(ctx); err != nil {
				return err
			}
		}
		if g.p.EndedAt.IsZero() {
			if err := g.pass(ctx); err != nil {
				return err
			}
		}
		wait := min(max(g.p.BeganAt.Add(r.cfg.Every).Sub(r.cfg.Now()), 0), r.cfg.Retry)
		if !r.rest(ctx, wait) {
			return ctx.Err()
		}
	}
}

// due reports whether a new pass begins: none was yet, or the last has ended and its time is over.
func (g *reign) due() bool {
	since := g.cfg.Now().Sub(g.p.BeganAt)
	return g.p.Pass == 0 || !g.p.EndedAt.IsZero() && (since >= g.cfg.Every || since < 0)
}

func (g *reign) begin(ctx context.Context) error {
	p := &g.p
	p.Pass, p.Mode, p.BeganAt, p.EndedAt, p.Rows, p.Total = p.Pass+1, g.cfg.Mode, g.cfg.Now().UTC(), time.Time{}, 0, 0
	p.Places, p.Done, p.Skipped = map[string]*Place{}, []string{}, map[string]Skip{}
	return g.save(ctx)
}

// pass compares the datasets that this pass has not compared yet. Those that can't be compared are passed over, and tried
// again after a while; when the next pass is due it has them.
func (g *reign) pass(ctx context.Context) error {
	g.note(func(s *Stats) { s.Pass = g.p.Pass })
	for {
		left := 0
		for _, d := range g.cfg.Datasets {
			if slices.Contains(g.p.Done, d.Name) {
				continue
			}
			err := g.dataset(ctx, d)
			var b *bookError
			var c *crash
			switch {
			case err == nil:
			case ctx.Err() != nil:
				return ctx.Err()
			case errors.As(err, &b), errors.As(err, &c):
				return err
			default:
				left++
				if err := g.skip(ctx, d, err); err != nil {
					return err
				}
			}
		}
		if left == 0 || g.cfg.Now().Sub(g.p.BeganAt) >= g.cfg.Every {
			break
		}
		if !g.rest(ctx, g.cfg.Retry) {
			return ctx.Err()
		}
	}
	g.p.EndedAt, g.p.Now = g.cfg.Now().UTC(), ""
	if err := g.daily(ctx); err != nil {
		return err
	}
	if err := g.save(ctx); err != nil {
		return err
	}
	g.note(func(s *Stats) { s.Passes, s.Dataset = s.Passes+1, "" })
	return nil
}

func (g *reign) skip(ctx context.Context, d *catalog.Dataset, why error) error {
	if was, ok := g.p.Skipped[d.Name]; !ok || was.Why != why.Error() {
		g.cfg.Log.Warn("dataset is not verified, it is tried again", "dataset", d.Name, "err", why, "hint", fault.HintOf(why))
	}
	g.p.Skipped[d.Name] = Skip{At: g.cfg.Now().UTC(), Why: why.Error(), Hint: fault.HintOf(why)}
	g.p.Now, g.p.Held = "", ""
	g.note(func(s *Stats) { s.Skipped++ })
	return g.save(ctx)
}

// dataset compares one dataset, from where it was left.
func (g *reign) dataset(ctx context.Context, d *catalog.Dataset) error {
	if err := g.busy(ctx, d); err != nil {
		return err
	}
	cfg := g.cfg.Config
	cfg.Turn, cfg.Part = g.p.Pass, Part{}
	v, err := newVerifier(&cfg, d, &progress{})
	if err != nil {
		return err
	}
	v.keeper, v.spanRows = g, g.spanRows()
	g.p.Now = d.Name
	g.note(func(s *Stats) { s.Dataset = d.Name })
	if err := g.resume(ctx, v); err != nil {
		return err
	}
	if err := g.lookAgain(ctx, v); err != nil {
		return err
	}
	if err := v.run(ctx); err != nil {
		return err
	}
	rep := v.finish()
	rep.Findings = nil
	g.p.Done, g.p.Now, g.p.Held = append(g.p.Done, d.Name), "", ""
	delete(g.p.Places, d.Name)
	delete(g.p.Skipped, d.Name)
	g.p.Last[d.Name] = Finished{DatasetReport: rep, Pass: g.p.Pass, At: g.cfg.Now().UTC()}
	if err := g.sweep(ctx, d); err != nil {
		return err
	}
	if err := g.daily(ctx); err != nil {
		return err
	}
	return g.save(ctx)
}

// busy is an error where the dataset is being loaded or repaired as a whole: row by row would be the slow way.
func (g *reign) busy(ctx context.Context, d *catalog.Dataset) error {
	if g.cfg.Busy == nil {
		return nil
	}
	why, err := g.cfg.Busy(ctx, d.Name)
	if err != nil {
		return &bookError{err}
	}
	if why != "" {
		return fault.New(fault.Busy, "verify "+d.Name, "%s", why)
	}
	return nil
}

// resume puts a verifier where the last one of this pass was, or where a pass begins.
func (g *reign) resume(ctx context.Context, v *verifier) error {
	at := g.p.Places[v.d.Name]
	if at == nil || at.Report.Mode != v.cfg.Mode { // the mode was changed: what was counted is of the other
		total, err := about(ctx, v.cfg.Index, v.d, "")
		if err != nil {
			return err
		}
		g.p.Places[v.d.Name] = &Place{Total: total, Report: v.r, Past: []string{}}
		g.p.Total += total
		return nil
	}
	v.r, v.past = at.Report, slices.Clone(at.Past)
	if err := v.sums.restore(at.Report.Sums); err != nil {
		return err
	}
	if at.Shard == "" {
		return nil
	}
	w := &walk{v: v, byMerge: !at.Lookups, after: at.After, sourced: at.Sourced, scanned: at.Scanned, rows: at.Rows, docs: at.Docs, sums: newSums(v.d), foreign: map[catalog.Key]bool{}}
	w.h.Shard.Table = at.Shard
	v.begun = w
	return w.sums.restore(at.Sums)
}

// done is part of keeper: the place is saved after each span, and then the pace is kept.
func (g *reign) done(ctx context.Context, v *verifier, w *walk) error {
	at := g.p.Places[v.d.Name]
	total := at.Total
	before := at.Report.Rows + at.Rows
	*at = Place{Total: total, Report: v.r, Past: slices.Clone(v.past)}
	at.Report.Sums = v.sums.report(OfBoth)
	at.Report.Findings = nil // the book has them
	if w != nil {
		at.Shard, at.After, at.Lookups, at.Sourced, at.Scanned = w.h.Shard.Table, w.after, !w.byMerge, w.sourced, w.scanned
		at.Rows, at.Docs, at.Sums = w.rows, w.docs, w.sums.report(OfBoth)
	}
	rows := at.Report.Rows + at.Rows - before
	g.p.Rows += rows
	g.noteOf(v.d.Name, func(all *Stats, one *DatasetStats) { all.Rows, one.Rows = all.Rows+rows, one.Rows+rows })
	if err := g.save(ctx); err != nil {
		return err
	}
	worked := v.worked
	v.worked = 0
	return g.pace(ctx, v.d.Name, rows, worked)
}

// save stores the progress while the lease is this process's.
func (g *reign) save(ctx context.Context) error {
	if err := g.at("verify.save"); err != nil {
		return err
	}
	ok, err := g.cfg.Book.Save(ctx, g.cfg.Holder, &g.p)
	if err == nil && !ok {
		err = errLost
	}
	if err != nil {
		return &bookError{err}
	}
	g.notePlaces()
	return g.at("verify.saved")
}

func (r *Runner) at(point string) error {
	if err := r.cfg.At(point); err != nil {
		return &crash{err}
	}
	return nil
}

// found is part of keeper.
func (g *reign) found(ctx context.Context, list []*diff, queued bool) error {
	if err := g.at("verify.found"); err != nil {
		return err
	}
	for _, x := range list {
		g.noteOf(x.Dataset, func(all *Stats, one *DatasetStats) {
			all.Differences, one.Differences = all.Differences+1, one.Differences+1
		})
	}
	for _, x := range list[:min(len(list), 10)] {
		g.cfg.Log.Warn("difference found", "dataset", x.Dataset, "shard", x.Shard, "key", x.Key, "what", x.What)
	}
	if err := g.cfg.Book.Found(ctx, g.findings(list, queued)); err != nil {
		return &bookError{err}
	}
	return nil
}

// settled is part of keeper.
func (g *reign) settled(ctx context.Context, list []*diff) error {
	if err := g.at("verify.settle"); err != nil {
		return err
	}
	for _, x := range list {
		if x.State == Repaired {
			g.noteOf(x.Dataset, func(all *Stats, one *DatasetStats) { all.Repaired, one.Repaired = all.Repaired+1, one.Repaired+1 })
		}
	}
	if err := g.cfg.Book.Settle(ctx, g.findings(list, true)); err != nil {
		return &bookError{err}
	}
	return g.at("verify.settled")
}

// findings are what a book keeps of differences: of a great many the first ones; the rest is counted, and found again by
// the next pass where it is not repaired.
func (g *reign) findings(list []*diff, queued bool) []Finding {
	out := make([]Finding, min(len(list), maxFindings))
	for i := range out {
		out[i] = Finding{Difference: list[i].Difference, Queued: queued, Pass: g.p.Pass}
	}
	return out
}
