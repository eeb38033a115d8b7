package canal

import (
	"context"
	"slices"
)

// holds reports whether a lowered claim waits for the task.
func holds(low *Lowered, id int64) bool { return low != nil && slices.Contains(low.Tasks, id) }

func (o *office) lowersFor(j *job) bool {
	return slices.ContainsFunc(j.lanes, func(l *lane) bool { return holds(o.t.care[l].lowered, j.task.ID) })
}

// lower holds a lane's marks down to a claim until the task is done.
func (o *office) lower(l *lane, id int64, claim Mark) error {
	c := o.t.care[l]
	o.t.dirty = true
	if c.lowered == nil {
		c.lowered, c.tell = &Lowered{Mark: claim, Tasks: []int64{id}}, true
		return nil
	}
	if !slices.Contains(c.lowered.Tasks, id) {
		c.lowered.Tasks = append(c.lowered.Tasks, id)
	}
	if claim == c.lowered.Mark {
		return nil
	}
	// The lower of both; where that can't be told, nothing.
	lower := Mark{}
	if claim.GTID != "" && c.lowered.Mark.GTID != "" {
		ok, err := o.cfg.Source.Reached(c.lowered.Mark.GTID, claim.GTID)
		if err != nil {
			return err
		}
		if lower = c.lowered.Mark; ok {
			lower = claim
		}
	}
	if lower != c.lowered.Mark {
		c.lowered.Mark, c.tell = lower, true
	}
	return nil
}

// tell sends lowered claims that were not sent yet, once that may be.
func (o *office) tell(ctx context.Context) error {
	if !o.t.settled() {
		return nil
	}
	for _, l := range o.t.live() {
		c := o.t.care[l]
		if !c.tell {
			continue
		}
		c.tell = false
		value := o.t.control(c.lowered.Mark)
		for p := range l.parts {
			o.t.queueMark(l, p, value, "")
		}
		o.t.dirty = true
	}
	return o.t.send(ctx)
}

// heal takes a task that is done from what holds a lane's claim down. Failed ones before it are healed by a task that mends
// all they would have: a whole backfill, an acceptance, or a rewind to the claim or further back.
func (o *office) heal(l *lane, j *job) {
	c := o.t.care[l]
	if c.lowered == nil {
		return
	}
	whole := j.task.Kind == Accept || j.task.Kind == Backfill && len(j.task.Shards) == 0 && j.task.From == "" && j.task.To == ""
	if j.task.Kind == Rewind && c.lowered.Mark.GTID != "" {
		from := o.placeOf(j).From.GTID
		ok, err := o.cfg.Source.Reached(c.lowered.Mark.GTID, from)
		whole = err == nil && ok
	}
	c.lowered.Tasks = slices.DeleteFunc(c.lowered.Tasks, func(id int64) bool { return id == j.task.ID || whole && o.dead(id) })
	o.t.dirty = true
}

// dead reports whether a task is not open any more, as the desk last said.
func (o *office) dead(id int64) bool { return !o.open[id] && !o.added[id] }

// lift sends what says that nothing is missing any more, where no task holds a claim down, and lets marks flow again.
func (o *office) lift(ctx context.Context) error {
	if !o.t.settled() {
		return nil
	}
	for _, l := range o.t.live() {
		c := o.t.care[l]
		if c.lowered == nil || len(c.lowered.Tasks) > 0 {
			continue
		}
		if err := o.cfg.At("canal.lift.before"); err != nil {
			return err
		}
		for p := range l.parts {
			o.t.queueResume(l, p, true)
		}
		c.lowered, c.tell, o.t.dirty = nil, false, true
		if err := o.t.send(ctx); err != nil {
			return err
		}
		if err := o.cfg.At("canal.lift.after"); err != nil {
			return err
		}
	}
	return nil
}
