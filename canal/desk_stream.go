package canal

import (
	"context"
	"slices"

	"strata/catalog"
)

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
