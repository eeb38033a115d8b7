package canal

import (
	"context"
	"time"

	"strata/fault"
)

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

// detail is what an evidence line or a task's place says, as JSON.
func detail(v any) string { return string(jsonValue(v)) }

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
	s.ToRepair, o.last, o.told = o.waiting.Load(), c, now
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

// tellAfter is how long a leader that doesn't read its source says nothing of that.
const tellAfter = 5 * time.Second

// busy tells what keeps the leader from reading its source, where nothing was told for a while.
func (o *office) busy(ctx context.Context, with error) error {
	if since := o.cfg.Now().Sub(o.told); since >= 0 && since < tellAfter {
		return nil
	}
	return o.halted(ctx, with)
}
