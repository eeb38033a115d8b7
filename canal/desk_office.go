package canal

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"strata/catalog"
	"strata/fault"
)

const (
	sliceRows    = 2000             // sent beside the stream at once, at most
	maxJobs      = 4                // tasks at a time, each of other datasets
	pollLast     = time.Second      // between two looks at the desk
	rememberLast = 10 * time.Second // between two checkpoints that are kept
	keptBeats    = 4096
	maxRewinds   = 2    // streams that they read at a time: a source has few
	maxNotes     = 4096 // lines that wait for a desk that is away
)

// self is who wants what strata does of its own accord.
const self = "strata"

// office is a term's work for the desk. All of it belongs to the term's goroutine but the goroutines in side, which read
// from the desk and from tables, and hand over what they found as a function through inbox.
type office struct {
	t     *term
	cfg   *Config
	side  *errgroup.Group
	ctx   context.Context // of side
	inbox chan func(context.Context) error
	kick  chan struct{} // something may be due at the desk

	jobs  map[int64]*job
	over  map[int64]bool // tasks that are not to be started again in this term
	open  map[int64]bool // tasks that the desk has, as it last said
	added map[int64]bool // and those added by this term
	parts map[partName]catalog.Part
	beats []Beat // the last ones, ascending
	// started: the server was started, and what is in doubt is not queued yet.
	started bool
	xaLost  catalog.Instant

	reads   []*reading // keys that were read for repair
	settle  settlement
	unsent  atomic.Int64 // bytes of rows that were read and not sent yet
	room    chan struct{}
	notes   []Evidence     // to be recorded
	last    *Checkpoint    // that was reported
	kept    time.Time      // when a checkpoint was remembered
	told    time.Time      // when the leader reported last
	waiting atomic.Int64   // keys in the queue, as last counted
	rewinds chan struct{}  // a place for each stream beside the main one
	lostOf  map[*lane]bool // what was sent of another history is being repaired, and stands in the tails
	past    int            // histories that were left
	orphans bool           // the stream has passed the place where a failover would have begun
}

type partName struct{ dataset, shard string }

func newOffice(t *term) *office {
	return &office{t: t, cfg: t.cfg, inbox: make(chan func(context.Context) error, 16), kick: make(chan struct{}, 1), jobs: make(map[int64]*job),
		over: make(map[int64]bool), added: make(map[int64]bool), parts: make(map[partName]catalog.Part), room: make(chan struct{}, 1), rewinds: make(chan struct{}, maxRewinds), lostOf: make(map[*lane]bool)}
}

// begin starts the goroutines beside the stream; end ends them and waits.
func (o *office) begin(ctx context.Context) (end func()) {
	ctx, cancel := context.WithCancel(ctx)
	o.side, o.ctx = errgroup.WithContext(ctx)
	o.xaLost = o.t.xaTime
	o.note(Evidence{What: "term", Who: o.cfg.Holder, Why: "took the term", Detail: detail(map[string]any{"gtid": o.t.pos.GTID})})
	o.side.Go(func() error {
		o.poll(o.ctx)
		return nil
	})
	o.side.Go(func() error {
		o.repairs(o.ctx)
		return nil
	})
	return func() {
		cancel()
		_ = o.side.Wait() // they hand over their errors
	}
}

// every is the pause between two looks at the desk.
func (o *office) every() time.Duration {
	return max(2*time.Millisecond, min(o.cfg.CheckpointEvery, pollLast))
}

// post hands f over to the term's goroutine.
func (o *office) post(ctx context.Context, f func(context.Context) error) bool {
	select {
	case o.inbox <- f:
		return true
	case <-ctx.Done():
		return false
	}
}

// postOf hands f over for a job; it is not called any more once the job's work was ended.
func (o *office) postOf(j *job, f func(context.Context) error) {
	o.post(j.ctx, func(ctx context.Context) error {
		if j.ctx.Err() != nil {
			return nil //nolint:nilerr // nobody waits for it any more
		}
		return f(ctx)
	})
}

// signal wakes whoever waits for c, a channel with room for one.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// rest waits; false: ctx ended.
func (o *office) rest(ctx context.Context, pause time.Duration) bool {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// poll looks for tasks and wishes.
func (o *office) poll(ctx context.Context) {
	quiet := false
	for {
		began := time.Now()
		list, err := o.cfg.Desk.Tasks(ctx)
		if left, e := o.cfg.Desk.Left(ctx, 0); e == nil {
			o.waiting.Store(left)
			o.t.l.note(func(s *Stats) { s.ToRepair = left })
		}
		switch {
		case err == nil:
			quiet = false
			o.post(ctx, func(ctx context.Context) error { return o.tasks(ctx, list) })
		case ctx.Err() == nil && !quiet:
			quiet = true
			o.cfg.Log.Warn("desk is away, tasks wait", "pipeline", o.cfg.Name, "err", err)
		}
		if !o.rest(ctx, o.pause(time.Since(began))) {
			return
		}
	}
}

// pause is how long to wait before asking again what took so long: a queue of millions takes a while to count.
func (o *office) pause(took time.Duration) time.Duration { return max(o.every(), 10*took) }

// laneOf is the dataset's lane; nil: it isn't configured.
func (o *office) laneOf(dataset string) *lane {
	for _, l := range o.t.lanes {
		if l.d.Name == dataset {
			return l
		}
	}
	return nil
}

// alarm acts on a statement that changed a captured table.
func (o *office) alarm(ctx context.Context, x *Txn, a *Alarm) error {
	l := o.laneOf(a.Dataset)
	if l == nil {
		return nil
	}
	c := o.t.care[l]
	c.alarms++
	for _, f := range c.fills {
		o.again(f, "a statement changed the table")
	}
	o.note(Evidence{What: "alarm", Who: "strata", Why: a.What, Detail: detail(map[string]any{"dataset": a.Dataset, "table": a.Table,
		"effect": a.Effect.String(), "gtid": x.GTID, "statement": a.Statement})})
	switch {
	case l.stopped != nil:
		return nil
	case (a.Effect == Gone || a.Effect == SomeGone) && l.d.RowsGone == catalog.GoneStop:
		which := "all rows"
		if a.Effect == SomeGone {
			which = "rows"
		}
		o.t.stop(l, fault.New(fault.Unsafe, "follow "+a.What, "%s of %s are gone at %s", which, a.Table, x.GTID).
			WithHint("accept it, or backfill dataset %s once its table is what it should be", l.d.Name))
	case a.Effect == Rewritten:
		why := a.What + " of " + a.Table + " at " + x.GTID
		id, err := o.automatic(ctx, Task{Kind: Backfill, Dataset: l.d.Name, Shards: []string{a.Table}, Why: why})
		if err != nil {
			return err
		}
		return o.lower(l, id, c.mark)
	}
	return nil
}

// automatic adds a task of strata's own, unless there is an open one for the same reason.
func (o *office) automatic(ctx context.Context, task Task) (int64, error) {
	task.Who = self
	open, err := o.cfg.Desk.Tasks(ctx)
	if err != nil {
		return 0, err
	}
	for i := range open {
		if p := &open[i]; p.Who == task.Who && p.Kind == task.Kind && p.Dataset == task.Dataset && p.Why == task.Why && p.GTID == task.GTID {
			return p.ID, nil
		}
	}
	if err := o.cfg.At("canal.task.before"); err != nil {
		return 0, err
	}
	id, ok, err := o.cfg.Desk.AddTask(ctx, o.t.number.Load(), task)
	if err == nil && !ok {
		err = fault.New(fault.Conflict, "add task", "term %d: %w", o.t.number.Load(), errTaken)
	}
	if err != nil {
		return 0, err
	}
	task.ID = id
	o.added[id] = true
	o.note(Evidence{What: string(task.Kind), Who: task.Who, Why: task.Why, Detail: detail(task)})
	return id, o.cfg.At("canal.task.after")
}

// mend adds the tasks that stops of their own accord need.
func (o *office) mend(ctx context.Context) error {
	for _, l := range o.t.lanes {
		c := o.t.care[l]
		if c.mend == "" || l.stopped == nil {
			continue
		}
		if _, err := o.automatic(ctx, Task{Kind: c.mend, Dataset: l.d.Name, Why: l.stopped.Reason}); err != nil {
			return err
		}
		c.mend = ""
	}
	return nil
}

// ready reports whether there is something to do beside the stream now.
func (o *office) ready() bool {
	if !o.t.settled() {
		return false
	}
	for _, c := range o.t.care {
		if c.tell || c.lowered != nil && len(c.lowered.Tasks) == 0 {
			return true
		}
	}
	for _, r := range o.reads {
		if r.ready {
			return true
		}
	}
	for _, j := range o.jobs {
		if j.fill != nil && o.ripe(j.fill) {
			return true
		}
	}
	return false
}

// slice does a bounded part of what there is to do beside the stream, between two transactions.
func (o *office) slice(ctx context.Context) error {
	if err := o.t.awake(ctx); err != nil {
		return err
	}
	if err := o.tell(ctx); err != nil {
		return err
	}
	if err := o.lift(ctx); err != nil {
		return err
	}
	if err := o.repair(ctx); err != nil {
		return err
	}
	for _, j := range o.jobs { // Go's order is by chance: each has its turn
		if j.fill == nil || !o.ripe(j.fill) {
			continue
		}
		if err := o.emit(ctx, j.fill); err != nil {
			return err
		}
		break
	}
	return nil
}

// passing reports whether an error is of a server that may come back.
func passing(err error) bool {
	switch fault.KindOf(err) {
	case fault.Unavailable, fault.Timeout, fault.Busy, fault.Interrupted:
		return true
	}
	return errors.Is(err, context.DeadlineExceeded)
}
