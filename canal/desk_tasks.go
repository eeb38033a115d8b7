package canal

import (
	"context"
	"errors"
	"slices"
	"time"

	"strata/fault"
)

// job is a task that this term is doing.
type job struct {
	task  Task // as it is stored after the next checkpoint
	kept  Task // as it is stored
	lanes []*lane
	await string // GTID set which the stream must reach before stopped lanes go on; "": none
	ctx   context.Context
	end   context.CancelFunc // ends its goroutines
	fill  *fill
	owes  bool // it has enqueued keys
}

// tasks starts what may be started, and follows wishes.
func (o *office) tasks(ctx context.Context, list []Task) error {
	if !o.t.settled() || o.t.torn {
		return nil
	}
	o.open = make(map[int64]bool, len(list))
	for _, task := range list {
		o.open[task.ID] = true
		delete(o.added, task.ID)
	}
	blocked := map[*lane]bool{}
	for _, j := range o.jobs {
		for _, l := range j.lanes {
			blocked[l] = true
		}
	}
	for _, task := range list {
		if j := o.jobs[task.ID]; j != nil {
			o.wish(j, task.Wish)
			continue
		}
		if o.over[task.ID] {
			continue
		}
		lanes := o.lanesOf(&task)
		switch {
		case len(lanes) == 0:
			o.close(o.newJob(task, nil), Failed, fault.New(fault.NotFound, "start task", "there is no dataset %s", task.Dataset))
		case task.Wish == End:
			o.close(o.newJob(task, lanes), Ended, nil)
		case task.Wish == Pause:
			if task.State != Paused {
				o.close(o.newJob(task, lanes), Paused, nil)
			}
		case slices.ContainsFunc(lanes, func(l *lane) bool { return blocked[l] }) || len(o.jobs) >= maxJobs:
		default:
			if err := o.start(ctx, o.newJob(task, lanes)); err != nil {
				return err
			}
		}
		if task.Wish == Run {
			for _, l := range lanes {
				blocked[l] = true
			}
		}
	}
	return nil
}

func (o *office) lanesOf(task *Task) []*lane {
	if task.Dataset == "" && task.Kind != Backfill {
		return slices.Clone(o.t.lanes)
	}
	return slices.DeleteFunc(slices.Clone(o.t.lanes), func(l *lane) bool { return l.d.Name != task.Dataset })
}

func (o *office) newJob(task Task, lanes []*lane) *job {
	j := &job{task: task, kept: task, lanes: lanes}
	j.ctx, j.end = context.WithCancel(o.ctx)
	o.jobs[task.ID] = j
	return j
}

func (o *office) wish(j *job, w Wish) {
	switch {
	case j.task.State != Running:
	case w == Pause:
		o.close(j, Paused, nil)
	case w == End:
		o.close(j, Ended, nil)
	}
}

// start begins a task, or goes on with it. Stopped lanes go on once the stream is where the server is now: whatever was
// sent of them before is older than that.
func (o *office) start(ctx context.Context, j *job) error {
	stopped := slices.DeleteFunc(slices.Clone(j.lanes), func(l *lane) bool { return l.stopped == nil })
	if err := o.admit(j, stopped); err != nil {
		o.close(j, Failed, err)
		return nil
	}
	if j.task.Kind == Failover && !o.lowersFor(j) {
		if o.orphans {
			o.close(j, Ended, fault.New(fault.Stale, "fail over", "the server's history is what was sent again"))
		} else {
			j.end()
			delete(o.jobs, j.task.ID)
		}
		return nil
	}
	if j.task.Kind == Adopt {
		o.close(j, Done, nil)
		return nil
	}
	o.note(Evidence{What: string(j.task.Kind), Who: j.task.Who, Why: j.task.Why, Detail: detail(j.task)})
	j.task.State, j.task.Err = Running, ""
	if err := o.store(ctx, j); err != nil || o.jobs[j.task.ID] == nil {
		return err
	}
	if len(stopped) == 0 && j.task.Kind != Rewind {
		return o.enter(ctx, j)
	}
	place := o.placeOf(j)
	var stops []Position
	if j.task.Kind == Rewind {
		for _, l := range stopped {
			stops = append(stops, l.stopped.Position)
		}
	}
	o.side.Go(func() error {
		at, err := o.prepare(j, place, stopped, stops)
		o.postOf(j, func(ctx context.Context) error {
			switch {
			case err != nil:
				o.close(j, Failed, err)
				return nil //nolint:nilerr // the task has it
			case at == "":
				return o.enter(ctx, j)
			}
			j.await = at
			return o.passed(ctx)
		})
		return nil
	})
	return nil
}

// prepare makes sure that a rewind can read its binlog, and that it is the one in which its lanes stopped, before anybody is
// told that something is missing, and returns what the stream must reach before stopped lanes go on; "": nothing.
func (o *office) prepare(j *job, place gatherPlace, stopped []*lane, stops []Position) (string, error) {
	if j.task.Kind == Rewind && !place.Collected {
		if err := o.probe(j.ctx, place.next()); err != nil {
			return "", err
		}
	}
	for _, at := range stops {
		if err := o.sameHistory(j.ctx, at); err != nil {
			return "", err
		}
	}
	if len(stopped) == 0 {
		return "", nil
	}
	return o.present(j.ctx, stopped)
}

// admit refuses a task that would not mend a stopped dataset, and fills in where a rewind begins.
func (o *office) admit(j *job, stopped []*lane) error {
	task := &j.task
	switch task.Kind {
	case Backfill, Rewind, Failover, Accept:
	case Adopt:
		if task.State == Running { // a predecessor has done it
			return nil
		}
		return fault.New(fault.Conflict, "adopt the server", "its history is the one that was captured").WithHint("nothing is to be done")
	default:
		return fault.New(fault.Invalid, "start task", "there is no kind %q", string(task.Kind))
	}
	for _, l := range stopped {
		if task.Kind == Rewind && l.stopped.Position.GTID == "" {
			return fault.New(fault.Invalid, "rewind dataset "+l.d.Name, "nothing of it was ever sent: %s", l.stopped.Reason).WithHint("backfill the dataset")
		}
		if task.Kind == Backfill && (len(task.Shards) > 0 || task.From != "" || task.To != "") {
			return fault.New(fault.Invalid, "backfill dataset "+l.d.Name, "it is stopped: %s", l.stopped.Reason).
				WithHint("a part of it does not mend it: backfill the whole dataset")
		}
		if task.Kind != Rewind || task.GTID == "" {
			continue
		}
		ok, err := o.cfg.Source.Reached(l.stopped.Position.GTID, task.GTID)
		if err != nil {
			return fault.Wrap(fault.Invalid, "rewind dataset "+l.d.Name, err)
		}
		if !ok {
			return fault.New(fault.Invalid, "rewind dataset "+l.d.Name, "it lacks changes since %s already", l.stopped.Position.GTID).
				WithHint("rewind it to that place or an earlier one, or without naming one")
		}
	}
	if task.Kind == Backfill && task.GTID != "" {
		if err := o.captured("backfill dataset "+task.Dataset, task.GTID); err != nil {
			return err
		}
	}
	if task.Kind != Rewind {
		return nil
	}
	return o.admitRewind(j, stopped)
}

// captured refuses a GTID set that the pipeline has not reached.
func (o *office) captured(op, gtid string) error {
	ok, err := o.cfg.Source.Reached(o.t.pos.GTID, gtid)
	if err != nil {
		return fault.Wrap(fault.Invalid, op, err)
	}
	if !ok {
		return fault.New(fault.Invalid, op, "%s is not captured yet, the pipeline is at %s", gtid, o.t.pos.GTID).
			WithHint("name a GTID set that `canal status` or the evidence log showed")
	}
	return nil
}

// passed looks whether the stream has reached what waits for it.
func (o *office) passed(ctx context.Context) error {
	for _, j := range o.jobs {
		if j.await == "" {
			continue
		}
		ok, err := o.cfg.Source.Reached(o.t.pos.GTID, j.await)
		if err != nil {
			return err
		}
		if ok && o.t.settled() {
			j.await = ""
			if err := o.enter(ctx, j); err != nil {
				return err
			}
		}
	}
	for _, r := range o.reads {
		if r.ready {
			continue
		}
		ok, err := o.cfg.Source.Reached(o.t.pos.GTID, r.found.After)
		if err != nil {
			return err
		}
		r.ready = ok
	}
	return nil
}

// enter lets stopped lanes go on, lowers claims, and begins the work itself.
func (o *office) enter(ctx context.Context, j *job) error {
	var place gatherPlace
	if j.task.Kind == Rewind {
		place = o.placeOf(j)
	}
	back := map[*lane]*Stopped{}
	for _, l := range j.lanes {
		was := l.stopped
		if was != nil {
			back[l] = was
			if err := o.restore(ctx, l, j.task.Kind == Accept); err != nil {
				for l, was := range back {
					o.t.keepStopped(l, was)
				}
				return o.orFail(j, err)
			}
		}
		claim := Mark{}
		switch {
		case j.task.Kind == Accept, j.task.Kind == Failover: // a failover has lowered it
			continue
		case j.task.Kind == Rewind:
			claim.GTID = place.From.GTID
		case was == nil && holds(o.t.care[l].lowered, j.task.ID):
			claim = o.t.care[l].lowered.Mark
		case was == nil && j.task.GTID == "":
			continue // nothing is known to be missing
		case was == nil:
			claim.GTID = j.task.GTID
		}
		if err := o.lower(l, j.task.ID, claim); err != nil {
			return err
		}
	}
	if len(back) > 0 || slices.ContainsFunc(j.lanes, func(l *lane) bool { return o.t.care[l].tell }) {
		// Only from now on may anything be sent: a successor must know that these lanes go on, and from where, and that
		// there are no marks any more.
		if err := o.t.checkpoint(ctx); err != nil {
			return err
		}
	}
	if len(back) > 0 {
		if err := o.cfg.At("canal.restore.after"); err != nil {
			return err
		}
	}
	if err := o.tell(ctx); err != nil {
		return err
	}
	switch j.task.Kind {
	case Accept:
		o.close(j, Done, nil)
	case Rewind:
		if len(back) > 0 {
			place.Target, place.Collected = o.t.pos.GTID, false
		}
		o.collect(j, place)
	case Failover:
		j.owes = true
		o.complete(j)
	case Backfill:
		o.backfill(j, len(back) > 0)
	}
	return nil
}

// orFail fails a job by an error that concerns only its dataset, and returns others.
func (o *office) orFail(j *job, err error) error {
	if err == nil || !ofDataset(err) {
		return err
	}
	o.close(j, Failed, err)
	return nil
}

// store writes how a job stands; a term that is over is an error, a task that is gone closes the job.
func (o *office) store(ctx context.Context, j *job) error {
	if err := o.cfg.At("canal.advance.before"); err != nil {
		return err
	}
	_, ok, err := o.cfg.Desk.Advance(ctx, o.t.number.Load(), j.task)
	if err != nil && passing(err) && j.kept.State != j.task.State && j.task.State == Running {
		j.end() // not begun; the next look at the desk tries again
		delete(o.jobs, j.task.ID)
		return nil
	}
	if err == nil && !ok {
		err = o.t.check(ctx)
		o.halt(j)
		delete(o.jobs, j.task.ID)
		o.over[j.task.ID] = true
	}
	if err != nil {
		return err
	}
	j.kept = j.task
	return o.cfg.At("canal.advance.after")
}

// advance stores what changed; everything that it says is acknowledged and in the checkpoint.
func (o *office) advance(ctx context.Context) error {
	for id, j := range o.jobs {
		final := j.task.State != Running
		if !final && j.task.Place == j.kept.Place && j.task.Done == j.kept.Done && j.task.Total == j.kept.Total && j.task.Err == j.kept.Err {
			continue
		}
		if err := o.store(ctx, j); err != nil {
			return err
		}
		if final {
			delete(o.jobs, id)
		}
	}
	return nil
}

// halt ends the work of a job.
func (o *office) halt(j *job) {
	j.end()
	j.await = ""
	if j.fill != nil {
		o.drop(j.fill)
		j.fill = nil
	}
	for _, l := range j.lanes {
		c := o.t.care[l]
		c.fills = slices.DeleteFunc(c.fills, func(f *fill) bool { return f.j == j })
	}
}

// close ends the work on a task; the desk is told after the next checkpoint, the evidence log before it.
func (o *office) close(j *job, state TaskState, err error) {
	o.halt(j)
	j.task.State, j.task.Err = state, ""
	if err != nil {
		j.task.Err = err.Error()
		if hint := fault.HintOf(err); hint != "" {
			j.task.Err += " (" + hint + ")"
		}
	}
	o.note(Evidence{What: string(j.task.Kind), Who: j.task.Who, Why: j.task.Why, Detail: detail(j.task)})
	o.over[j.task.ID] = state != Paused
	o.t.dirty, o.t.hurry = true, true
	if state == Failed {
		o.cfg.Log.Error("task failed", "task", j.task.ID, "kind", string(j.task.Kind), "dataset", j.task.Dataset, "err", err)
	}
	if state == Done {
		for _, l := range j.lanes {
			o.heal(l, j)
		}
	}
}

// complete waits until the keys of a job are repaired, then it is done.
func (o *office) complete(j *job) {
	if !j.owes {
		o.close(j, Done, nil)
		return
	}
	o.side.Go(func() error {
		for {
			began := time.Now()
			left, err := o.cfg.Desk.Left(j.ctx, j.task.ID)
			if err == nil && left == 0 {
				o.postOf(j, func(context.Context) error {
					o.close(j, Done, nil)
					return nil
				})
				return nil
			}
			if err != nil && !passing(err) && !errors.Is(err, context.Canceled) {
				o.postOf(j, func(context.Context) error { return err })
				return nil
			}
			if !o.rest(j.ctx, o.pause(time.Since(began))) {
				return nil
			}
		}
	})
}
