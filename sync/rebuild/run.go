package rebuild

import (
	"context"
	"errors"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"strata/canal"
	"strata/catalog"
	"strata/fault"
	"strata/index"
)

// handoverLimit is how long a generation may need to have what was claimed of the one before. Both are fed from the same
// topic, and readers are told less meanwhile.
const handoverLimit = time.Minute

// searchTasks is how many of the newest tasks are looked through for one that was ordered before a crash.
const searchTasks = 1000

// crash is an error of a crash point: it ends Run as the process's death would.
type crash struct{ err error }

func (c *crash) Error() string { return c.err.Error() }
func (c *crash) Unwrap() error { return c.err }

func (b *Rebuilds) at(point string) error {
	if err := b.cfg.At(point); err != nil {
		return &crash{err}
	}
	return nil
}

// errRest says that a rebuild rests, was aborted, or is over.
var errRest = errors.New("the rebuild rests")

// Run works on the rebuilds of all datasets until ctx ends, and returns nil then. One that halts doesn't hold up others.
func (b *Rebuilds) Run(ctx context.Context) error {
	if b.cfg.Verify == nil {
		return fault.New(fault.Invalid, "configure rebuild", "no way to verify")
	}
	g, ctx := errgroup.WithContext(ctx)
	for _, d := range b.cfg.Datasets {
		g.Go(func() error { return b.follow(ctx, d) })
	}
	return g.Wait()
}

// follow looks for a rebuild of one dataset, again and again.
func (b *Rebuilds) follow(ctx context.Context, d *catalog.Dataset) error {
	tick := time.NewTicker(b.cfg.Every)
	defer tick.Stop()
	for {
		r, _, err := b.underWay(ctx, d.Name)
		if err == nil && r != nil && !r.Paused && !r.Halted() {
			err = b.hold(ctx, d)
		}
		var c *crash
		switch {
		case errors.As(err, &c):
			return c.err
		case ctx.Err() != nil:
			return nil
		case err != nil && !errors.Is(err, errRest):
			b.cfg.Log.Warn("rebuild can't go on now", "dataset", d.Name, "err", err, "hint", fault.HintOf(err))
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// hold works on a dataset's rebuild while it has the lock, step by step.
func (b *Rebuilds) hold(ctx context.Context, d *catalog.Dataset) error {
	release, ok, err := b.cfg.Lock(ctx, d.Name)
	if err != nil || !ok {
		return err
	}
	defer release()
	tick := time.NewTicker(b.cfg.Every)
	defer tick.Stop()
	for {
		r, _, err := b.underWay(ctx, d.Name)
		if err != nil || r == nil || r.Paused || r.Halted() {
			return err
		}
		before := r.Phase
		if err := b.step(ctx, d, r); err != nil {
			return b.judge(ctx, r, err)
		}
		if r.Phase != before {
			continue
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// judge halts a rebuild for what another try can't mend, and notes why it is tried again otherwise.
func (b *Rebuilds) judge(ctx context.Context, r *Rebuild, err error) error {
	var c *crash
	if errors.As(err, &c) || errors.Is(err, errRest) || ctx.Err() != nil || fault.Is(err, fault.Stale) {
		return err
	}
	passing := fault.Is(err, fault.Unavailable) || fault.Is(err, fault.Timeout) || fault.Is(err, fault.Busy) || fault.Is(err, fault.Interrupted)
	noted := b.note(ctx, r, func(r *Rebuild) {
		if r.Waits = err.Error(); !passing {
			r.Err, r.Hint, r.Waits = err.Error(), fault.HintOf(err), ""
		}
	})
	if !passing {
		b.cfg.Log.Error("rebuild halted", "dataset", r.Dataset, "generation", r.Generation, "phase", r.Phase, "err", err, "hint", fault.HintOf(err))
		return noted
	}
	return errors.Join(err, noted)
}

// note is keep for the runner, between its crash points.
func (b *Rebuilds) note(ctx context.Context, r *Rebuild, f func(r *Rebuild)) error {
	if err := b.at("rebuild.note"); err != nil {
		return err
	}
	if err := b.keep(ctx, r, f); err != nil {
		return err
	}
	return b.at("rebuild.noted")
}

// enter begins a phase.
func (b *Rebuilds) enter(ctx context.Context, r *Rebuild, p Phase) error {
	err := b.note(ctx, r, func(r *Rebuild) { r.Phase, r.Waits, r.Rows, r.Total = p, "", 0, 0 })
	if err == nil {
		b.cfg.Log.Info("rebuild", "dataset", r.Dataset, "generation", r.Generation, "phase", p)
	}
	return err
}

// step does what the phase wants, once.
func (b *Rebuilds) step(ctx context.Context, d *catalog.Dataset, r *Rebuild) error {
	if err := b.cfg.Stopped(d.Name, r.Generation); err != nil {
		return err
	}
	switch r.Phase {
	case Filling:
		return b.filling(ctx, r)
	case Verifying:
		return b.verifying(ctx, d, r)
	case Switching:
		return b.switching(ctx, r)
	}
	return fault.New(fault.Unsafe, "rebuild index of "+d.Name, "there is no phase %q", r.Phase).WithHint("a newer strata has begun it; use that, or abort")
}

// filling orders the backfill, and sees whether it is done.
func (b *Rebuilds) filling(ctx context.Context, r *Rebuild) error {
	if r.Task == 0 {
		id, err := b.order(ctx, r)
		if err != nil {
			return err
		}
		if err := b.note(ctx, r, func(r *Rebuild) { r.Task = id }); err != nil {
			return err
		}
	}
	t, err := b.cfg.Desk.TaskByID(ctx, r.Task)
	if err != nil {
		return err
	}
	switch t.State {
	case canal.Done:
		return b.enter(ctx, r, Verifying)
	case canal.Failed, canal.Ended:
		return fault.New(fault.Unsafe, "rebuild index of "+r.Dataset, "backfill %d is %s: %s", t.ID, t.State, t.Err).
			WithHint("strata sync rebuild %s --resume orders another one", r.Dataset)
	}
	return nil
}

// order puts the backfill on the desk, unless it is there: ordered by a process that died before it could note it.
func (b *Rebuilds) order(ctx context.Context, r *Rebuild) (int64, error) {
	text := r.orderText()
	tasks, err := b.cfg.Desk.AllTasks(ctx, searchTasks)
	if err != nil {
		return 0, err
	}
	mine := func(t canal.Task) bool { return t.Kind == canal.Backfill && t.Dataset == r.Dataset && t.Why == text }
	if i := slices.IndexFunc(tasks, mine); i >= 0 {
		return tasks[i].ID, nil
	}
	if err := b.at("rebuild.order"); err != nil {
		return 0, err
	}
	t, err := b.cfg.Desk.Order(ctx, canal.Task{Kind: canal.Backfill, Dataset: r.Dataset, Who: r.Who, Why: text})
	if err != nil {
		return 0, err
	}
	return t.ID, b.at("rebuild.ordered")
}

// verifying compares the generation with the stores.
func (b *Rebuilds) verifying(ctx context.Context, d *catalog.Dataset, r *Rebuild) error {
	x, err := b.cfg.Index.Open(ctx, d.Name, r.Generation)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	progress := make(chan [2]int64, 1)
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		b.watch(ctx, *r, progress, cancel)
	}()
	v, err := b.cfg.Verify(ctx, d, x, func(done, total int64) {
		select {
		case progress <- [2]int64{done, total}:
		default: // the one before is not noted yet
		}
	})
	cancel(nil)
	<-watched
	if cause := context.Cause(ctx); errors.Is(cause, errRest) {
		return errRest
	}
	if err != nil {
		return err
	}
	if v.Differences > 0 {
		return fault.New(fault.Proof, "rebuild index of "+d.Name, "generation %d differs from the stores in %d of %d rows, such as %s", r.Generation, v.Differences, v.Rows, v.First).
			WithHint("strata sync rebuild %s --resume compares again; what differs still was not captured: see `strata canal status`", d.Name)
	}
	return b.note(context.WithoutCancel(ctx), r, func(r *Rebuild) {
		r.Phase, r.Waits, r.Rows, r.Total, r.Compared = Switching, "", 0, 0, v.Rows
	})
}

// watch notes how far a comparison is, and ends it when the rebuild is to rest or is gone.
func (b *Rebuilds) watch(ctx context.Context, r Rebuild, progress <-chan [2]int64, end context.CancelCauseFunc) {
	tick := time.NewTicker(b.cfg.Every)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		err := b.keep(ctx, &r, func(r *Rebuild) {
			select {
			case p := <-progress:
				r.Rows, r.Total = p[0], p[1]
			default:
			}
		})
		if fault.Is(err, fault.Stale) || err == nil && r.Paused {
			end(errRest)
		}
	}
}

// switching lets the generation answer once it has all that was claimed of the one before.
func (b *Rebuilds) switching(ctx context.Context, r *Rebuild) error {
	if err := b.at("rebuild.handover"); err != nil {
		return err
	}
	claimed, err := b.cfg.Index.Handover(ctx, r.Dataset, r.Generation, true)
	if err != nil {
		return err
	}
	if err := b.at("rebuild.handed"); err != nil {
		return err
	}
	if err := b.reach(ctx, r, claimed); err != nil {
		if _, back := b.cfg.Index.Handover(context.WithoutCancel(ctx), r.Dataset, r.Generation, false); back != nil {
			return errors.Join(err, back)
		}
		return err
	}
	if err := b.record(ctx, "switch", r, r.Who, r.Why); err != nil {
		return err
	}
	if err := b.at("rebuild.switch"); err != nil {
		return err
	}
	if err := b.cfg.Index.Switch(ctx, r.Dataset, r.Generation); err != nil {
		if fault.Is(err, fault.Conflict) { // somebody aborts it
			return errRest
		}
		return err
	}
	if err := b.at("rebuild.switched"); err != nil {
		return err
	}
	return b.enter(ctx, r, Done)
}

// reach waits until the generation has what was claimed, partition by partition.
func (b *Rebuilds) reach(ctx context.Context, r *Rebuild, claimed []index.Watermark) error {
	x, err := b.cfg.Index.Open(ctx, r.Dataset, r.Generation)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, handoverLimit)
	defer cancel()
	tick := time.NewTicker(b.cfg.Every / 10)
	defer tick.Stop()
	for {
		marks, err := x.Watermarks(ctx, r.Dataset)
		if err != nil {
			return err
		}
		behind := slices.IndexFunc(claimed, func(c index.Watermark) bool {
			return !slices.ContainsFunc(marks, func(m index.Watermark) bool { return m.Partition == c.Partition && m.Heartbeat >= c.Heartbeat })
		})
		if behind < 0 {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fault.New(fault.KindOf(ctx.Err()), "switch "+r.Dataset, "partition %d of generation %d is behind heartbeat %d: %w", claimed[behind].Partition,
				r.Generation, claimed[behind].Heartbeat, ctx.Err()).WithHint("is sync running? `strata sync status`")
		}
	}
}
