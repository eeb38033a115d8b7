package canal

import (
	"context"

	"strata/catalog"
	"strata/fault"
)

// ripe reports whether rows of the first chunk may be sent now: everything that its snapshot can show, but for XA, is in
// the stream, and so in the topic; or else whether a shard is through.
func (o *office) ripe(f *fill) bool {
	if len(f.chunks) == 0 {
		return f.whole && f.shard != nil
	}
	c := f.chunks[0]
	if !f.live() {
		return o.archived(f)
	}
	if o.lastBeat() <= c.Beat {
		return false
	}
	if !o.xaKnown(f.l, c.Beat) {
		o.owe(f.j.task.ID, xaWait)
		return false
	}
	return true
}

// xaWait is what a task says meanwhile.
const xaWait = "it goes on a minute after the last XA commit whose keys this leader doesn't know"

// xaKnown reports whether it is known which keys XA transactions changed in the window before a heartbeat.
func (o *office) xaKnown(l *lane, beat uint64) bool {
	lost := max(o.xaLost, o.t.care[l].xaLost)
	if lost == 0 {
		return true
	}
	at, ok := o.beatOf(beat)
	return ok && lost < at-xaWindow
}

// archived reports whether the stream says that live has released the shard at the epoch that was read.
func (o *office) archived(f *fill) bool {
	if _, known := o.parts[partName{f.l.d.Name, f.shard.Holding.Shard.Table}]; known {
		return o.current(f.l, &f.shard.Holding)
	}
	if f.after == "" {
		return false
	}
	ok, err := o.cfg.Source.Reached(o.t.pos.GTID, f.after)
	return err == nil && ok
}

// leave puts those keys of the rows from at to end into the repair queue that XA transactions changed about when they were
// read, and returns them.
func (o *office) leave(ctx context.Context, f *fill, end int) (map[catalog.Key]bool, error) {
	c, care := f.chunks[0], o.t.care[f.l]
	if !f.live() || len(care.xa) == 0 {
		return nil, nil
	}
	read, _ := o.beatOf(c.Beat)
	left := map[catalog.Key]bool{}
	var keys []RepairKey
	for _, k := range c.keys[c.at:end] {
		if x, ok := care.xa[rowName{f.place.Shard, k}]; ok && (x.beat >= c.Beat || x.at >= read-xaWindow) {
			left[k] = true
			keys = append(keys, RepairKey{Dataset: f.l.d.Name, Shard: f.place.Shard, Key: k, Task: f.j.task.ID, Why: "changed by XA"})
		}
	}
	if len(keys) == 0 {
		return nil, nil
	}
	return left, o.cfg.Desk.Enqueue(ctx, keys)
}

// emit sends a slice of the first chunk, without the keys that the stream has sent since its snapshot.
func (o *office) emit(ctx context.Context, f *fill) error {
	if len(f.chunks) == 0 {
		return o.shardDone(f)
	}
	if err := o.cfg.At("canal.backfill.before"); err != nil {
		return err
	}
	c := f.chunks[0]
	nowMs := o.cfg.Now().UnixMilli()
	end := min(c.at+sliceRows, len(c.Rows))
	left, err := o.leave(ctx, f, end)
	if err != nil && passing(err) {
		f.j.task.Err, o.t.dirty = err.Error(), true
		o.drop(f) // the next heartbeat starts a reader anew
		return nil
	}
	if err != nil {
		return err
	}
	sent := 0
	for ; c.at < end; c.at++ {
		name := rowName{f.place.Shard, c.keys[c.at]}
		if beat, ok := f.touched[name]; f.live() && (left[name.key] || ok && beat >= c.Beat) {
			continue
		}
		if err := o.t.sendRow(f.l, f.place.Shard, c.Form, &c.Rows[c.at], nowMs); err != nil {
			if !ofDataset(err) {
				return err
			}
			o.close(f.j, Failed, fault.New(fault.KindOf(err), "backfill "+f.place.Shard, "row %s: %w", name.key, err))
			return o.t.send(ctx) // the rows before it have their numbers
		}
		sent++
	}
	f.j.task.Done += int64(sent)
	if c.at > 0 {
		f.place.After = c.keys[c.at-1]
	}
	f.j.task.Err = ""
	f.j.task.Place = detail(f.place)
	o.t.dirty = true
	if c.at == len(c.Rows) {
		f.chunks[0] = nil
		f.chunks = f.chunks[1:]
		o.unsent.Add(-c.bytes)
		signal(o.room)
	}
	o.t.l.note(func(s *Stats) { s.Backfilled += uint64(sent) })
	if err := o.t.send(ctx); err != nil {
		return err
	}
	return o.cfg.At("canal.backfill.after")
}

// shardDone goes on to the next shard, by a fresh list.
func (o *office) shardDone(f *fill) error {
	f.done(f.place.Shard)
	o.t.dirty = true
	o.list(f)
	return nil
}
