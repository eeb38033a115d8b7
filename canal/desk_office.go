package canal

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
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
func (o *office) postOf(j *job, f func(context.Context) error) bool {
	return o.post(j.ctx, func(ctx context.Context) error {
		if j.ctx.Err() != nil {
			return nil
		}
		return f(ctx)
	})
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

// before is called with a transaction that is about to be sent.
func (o *office) before(ctx context.Context, x *Txn) error {
	if err := o.doubt(ctx, x); err != nil {
		return err
	}
	if err := o.foresee(ctx, x); err != nil {
		return err
	}
	listens := x.XACommit
	for i := range x.Undone {
		if l := o.t.byData[x.Undone[i].Dataset]; l != nil {
			o.t.care[l].touchXA(&x.Undone[i], o.lastBeat())
		}
	}
	for _, c := range o.t.care {
		listens = listens || c.listens()
	}
	if !listens {
		return nil
	}
	if x.XACommit {
		o.t.xaTime = catalog.MaxInstant
	}
	beat := o.lastBeat()
	err := x.Each(func(ch *Change) error {
		if l := o.t.byData[ch.Dataset]; l != nil && l.stopped == nil {
			if c := o.t.care[l]; x.XACommit || c.listens() {
				c.touch(ch, x, beat)
			}
		}
		return nil
	})
	for _, c := range o.t.care {
		for _, f := range c.fills {
			if len(f.touched) > maxTouched {
				o.crowded(f)
			}
		}
	}
	return err
}

// after is called when a transaction was sent.
func (o *office) after(ctx context.Context, x *Txn) error {
	for _, p := range x.Parts {
		o.parts[partName{p.Dataset, p.Shard}] = p
	}
	if x.Beat == nil {
		return o.passed(ctx)
	}
	o.remember(*x.Beat)
	o.orphans = true
	for _, l := range o.t.lanes {
		c := o.t.care[l]
		needed := x.Beat.At
		for _, f := range c.fills {
			if at, ok := o.beatOf(f.oldest()); ok {
				needed = min(needed, at)
			}
		}
		c.beat(x.Beat.At, needed)
		for _, f := range c.fills {
			o.beatFor(f, x.Beat.Seq)
		}
	}
	return o.passed(ctx)
}

// remember keeps a heartbeat. After a clock was set back nothing is later than now, or what waits for a time after it would
// wait for as long; and heartbeats that begin anew are another row's.
func (o *office) remember(b Beat) {
	if b.Seq <= o.lastBeat() {
		o.beats = nil
		for _, c := range o.t.care {
			for _, f := range c.fills {
				o.again(f, "heartbeats begin anew")
			}
		}
	}
	for i := len(o.beats) - 1; i >= 0 && o.beats[i].At > b.At; i-- {
		o.beats[i].At = b.At
	}
	o.beats = append(o.beats, b)
	if len(o.beats) > 2*keptBeats {
		o.beats = slices.Delete(o.beats, 0, keptBeats)
	}
	o.t.xaTime, o.xaLost = min(o.t.xaTime, b.At), min(o.xaLost, b.At)
}

func (o *office) lastBeat() uint64 {
	if len(o.beats) == 0 {
		return 0
	}
	return o.beats[len(o.beats)-1].Seq
}

// beatOf returns the time of a heartbeat that the stream has passed, or of the one before it.
func (o *office) beatOf(seq uint64) (catalog.Instant, bool) {
	i, ok := slices.BinarySearchFunc(o.beats, seq, func(b Beat, s uint64) int {
		switch {
		case b.Seq < s:
			return -1
		case b.Seq > s:
			return 1
		}
		return 0
	})
	if !ok {
		i--
	}
	if i < 0 {
		return 0, false
	}
	return o.beats[i].At, true
}

// settled reports whether nothing of any tail is unmatched: what is in the topics is what the stream has passed.
func (t *term) settled() bool {
	for _, l := range t.live() {
		for p := range l.parts {
			if l.parts[p].tail.left > 0 {
				return false
			}
		}
	}
	return true
}

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
		"effect": a.Effect, "gtid": x.GTID, "statement": a.Statement})})
	switch {
	case l.stopped != nil:
		return nil
	case a.Effect == Gone && l.d.RowsGone == catalog.GoneStop:
		o.t.stop(l, fault.New(fault.Unsafe, "follow "+a.What, "all rows of %s are gone at %s", a.Table, x.GTID).
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

// note keeps a line for the evidence log until it is recorded, at the next checkpoint.
func (o *office) note(e Evidence) {
	e.At, e.Term = o.cfg.Now(), o.t.number.Load()
	if len(o.notes) == maxNotes { // the log has them
		o.cfg.Log.Error("evidence can't be recorded and is left out", "pipeline", o.cfg.Name, "what", o.notes[0].What, "why", o.notes[0].Why, "detail", o.notes[0].Detail)
		o.notes = o.notes[1:]
	}
	o.notes = append(o.notes, e)
	o.t.dirty = true
}

func detail(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic("marshal plain fields: " + err.Error()) // can't be
	}
	return string(b)
}

// saved does what may be done only after a checkpoint, c.
func (o *office) saved(ctx context.Context, c *Checkpoint) error {
	for len(o.notes) > 0 {
		if err := o.cfg.Desk.Record(ctx, o.notes[0]); err != nil {
			return o.away(err)
		}
		o.notes = o.notes[1:]
	}
	if err := o.advance(ctx); err != nil {
		return o.away(err)
	}
	if err := o.settleKeys(ctx); err != nil {
		return o.away(err)
	}
	if now := o.cfg.Now(); o.kept.IsZero() || now.Sub(o.kept) >= rememberLast || now.Before(o.kept) {
		if _, err := o.cfg.Desk.Remember(ctx, c.Term, c); err != nil {
			return o.away(err)
		}
		o.kept = now
	}
	return o.away(o.report(ctx, c, nil))
}

// away makes nothing of a desk that does not answer: what was to be written is written after the next checkpoint.
func (o *office) away(err error) error {
	if err == nil {
		return nil
	}
	switch fault.KindOf(err) {
	case fault.Unavailable, fault.Timeout, fault.Busy:
		o.cfg.Log.Warn("desk is away", "pipeline", o.cfg.Name, "err", err)
		o.t.dirty = true
		return nil
	}
	return err
}

// taken is the error of a term that a write of the desk found to be over.
func (o *office) taken(what string) error {
	return fault.New(fault.Conflict, what, "term %d: %w", o.t.number.Load(), errTaken)
}

// report stores how the leader stands; cause is what keeps it from reading the source.
func (o *office) report(ctx context.Context, c *Checkpoint, cause error) error {
	st := o.t.l.Stats()
	now := o.cfg.Now()
	s := Status{Term: c.Term, Leader: o.cfg.Holder, At: now, Source: o.t.endpoint(), GTID: c.Position.GTID, Beat: st.Beat, LagMs: -1, Records: st.Records,
		Letters: st.Letters, OpenXA: c.Position.XA, Spilled: o.t.spilled(), Numbers: map[string][]uint64{}, Stopped: c.Stopped, Lowered: c.Lowered, Alarms: st.LastAlarm}
	if cause != nil {
		s.Err, s.Hint = cause.Error(), fault.HintOf(cause)
	}
	if st.Beat.Seq != 0 {
		s.LagMs = max(0, now.Sub(st.Beat.At.Time()).Milliseconds())
	}
	for name, parts := range c.Parts {
		for _, p := range parts {
			s.Numbers[name] = append(s.Numbers[name], p.Number)
		}
	}
	s.ToRepair, o.last = o.waiting.Load(), c
	ok, err := o.cfg.Desk.Report(ctx, c.Term, s)
	if err == nil && !ok {
		err = o.taken("report status")
	}
	return err
}

// idle tells how the leader stands while nothing comes: its lag, what it is reading.
func (o *office) idle(ctx context.Context) error {
	if o.last == nil {
		return nil
	}
	return o.away(o.report(ctx, o.last, nil))
}

// halted tells what keeps the leader from reading its source.
func (o *office) halted(ctx context.Context, cause error) error {
	c := o.last
	if c == nil {
		c = o.t.snapshot()
	}
	return o.away(o.report(ctx, c, cause))
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
	if away := o.cfg.Now().UnixNano() - o.t.heard.Load(); away < 0 || away > int64(pauseLimit) {
		if err := o.t.check(ctx); err != nil {
			return err
		}
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
