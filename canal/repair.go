package canal

import (
	"context"
	"time"

	"strata/catalog"
	"strata/fault"
)

const (
	dueKeys    = 2000 // taken from the queue at once
	readKeys   = 500  // read with a lock at once
	laterFirst = 500 * time.Millisecond
	laterLast  = time.Minute
)

// reading is keys of one shard that are being repaired.
type reading struct {
	l      *lane
	keys   []RepairKey
	found  Locked
	alarms uint64 // of the lane, when it began
	past   int    // histories that were left by then
	ready  bool   // the stream has reached what was read
	at     int    // keys before it are dealt with
}

// settlement is what became of the keys in hand. They are settled when what was sent is acknowledged.
type settlement struct {
	open  int // keys taken from the queue and not dealt with
	done  []RepairKey
	later []RepairKey
	pause time.Duration
	ended chan struct{} // closed when the desk knows
}

// repairs takes keys that are due from the queue, reads their rows, and waits until they are settled, over and over.
func (o *office) repairs(ctx context.Context) {
	quiet := false
	for ctx.Err() == nil {
		keys, err := o.cfg.Desk.Due(ctx, dueKeys)
		if err != nil && ctx.Err() == nil && !quiet {
			quiet = true
			o.cfg.Log.Warn("desk is away, repairs wait", "pipeline", o.cfg.Name, "err", err)
		}
		if err != nil || len(keys) == 0 {
			timer := time.NewTimer(o.every())
			select {
			case <-timer.C:
			case <-o.kick:
			case <-ctx.Done():
			}
			timer.Stop()
			continue
		}
		quiet = false
		o.round(ctx, keys)
	}
}

// round repairs a batch of keys.
func (o *office) round(ctx context.Context, keys []RepairKey) {
	ended := make(chan struct{})
	if !o.post(ctx, func(context.Context) error {
		o.settle = settlement{open: len(keys), ended: ended}
		return nil
	}) {
		return
	}
	type group struct {
		dataset, shard string
		byHand         bool
	}
	groups := map[group][]RepairKey{}
	for _, k := range keys {
		g := group{k.Dataset, k.Shard, k.byHand()}
		groups[g] = append(groups[g], k)
	}
	for _, list := range groups {
		for len(list) > 0 {
			n := min(len(list), readKeys)
			if !o.read(ctx, list[:n:n]) {
				return
			}
			list = list[n:]
		}
	}
	select {
	case <-ended:
	case <-ctx.Done():
	}
}

// read reads the rows of some keys of one shard. Changes of them in the stream are recorded from before.
func (o *office) read(ctx context.Context, keys []RepairKey) bool {
	r := &reading{keys: keys}
	began := make(chan bool, 1)
	if !o.post(ctx, func(context.Context) error {
		began <- o.beginReading(r)
		return nil
	}) {
		return false
	}
	select {
	case ok := <-began:
		if !ok {
			return true
		}
	case <-ctx.Done():
		return false
	}
	of := make([]catalog.Key, len(keys))
	for i := range keys {
		of[i] = keys[i].Key
	}
	found, err := o.cfg.Tables.Locked(ctx, r.l.d, keys[0].Shard, of, keys[0].byHand())
	if err == nil && len(found.Found) != len(keys) {
		err = fault.New(fault.Internal, "read rows for repair", "%d of %d", len(found.Found), len(keys))
	}
	if fault.Is(err, fault.Invalid) && len(keys) > 1 { // one of them is none of the dataset's
		half := len(keys) / 2
		return o.post(ctx, func(context.Context) error {
			o.unwatchAll(r)
			return nil
		}) && o.read(ctx, keys[:half:half]) && o.read(ctx, keys[half:])
	}
	return o.post(ctx, func(ctx context.Context) error {
		switch {
		case fault.Is(err, fault.NotFound):
			o.unwatchAll(r)
			o.dismiss(r, "the shard is gone")
			return nil
		case fault.Is(err, fault.Invalid):
			o.unwatchAll(r)
			o.dismiss(r, err.Error())
			return nil
		case r.past != o.past: // what was read is of a history that was left
			o.postpone(r)
			return nil
		case err != nil:
			if !passing(err) && !fault.Is(err, fault.Stale) {
				o.cfg.Log.Error("rows can't be read for repair, they wait", "dataset", r.l.d.Name, "shard", keys[0].Shard, "err", err)
			}
			o.postpone(r)
			o.owe(keys[0].Task, "repair of "+keys[0].Shard+": "+err.Error())
			return nil
		}
		r.found = found
		o.reads = append(o.reads, r)
		return o.passed(ctx)
	})
}

// dismiss ends what can't be repaired: keys of a shard that no store has, since its table was dropped, of a dataset that is not
// configured, or in another form than the table's. What the topic has of them stays.
func (o *office) dismiss(r *reading, why string) {
	k := &r.keys[0]
	o.note(Evidence{What: "repair", Who: "strata", Why: why, Detail: detail(map[string]any{"dataset": k.Dataset,
		"shard": k.Shard, "task": k.Task, "keys": len(r.keys), "first": k.Key})})
	s := &o.settle
	s.done, s.open = append(s.done, r.keys...), s.open-len(r.keys)
	o.t.dirty, o.t.hurry = true, true
}

// owe shows on a task why it takes so long.
func (o *office) owe(task int64, why string) {
	if j := o.jobs[task]; j != nil && j.task.State == Running && j.task.Err != why {
		j.task.Err, o.t.dirty = why, true
	}
}

// beginReading records changes of the keys from now on; false: they wait.
func (o *office) beginReading(r *reading) bool {
	r.l = o.laneOf(r.keys[0].Dataset)
	if r.l == nil {
		o.dismiss(r, "the dataset isn't captured any more")
		return false
	}
	if r.l.stopped != nil {
		o.later(r.keys)
		return false
	}
	c := o.t.care[r.l]
	r.alarms, r.past = c.alarms, o.past
	for i := range r.keys {
		name := rowName{r.keys[i].Shard, r.keys[i].Key}
		w := c.watched[name]
		if w == nil {
			w = &watch{}
			c.watched[name] = w
		}
		w.readers++
	}
	return true
}

// later puts keys off.
func (o *office) later(keys []RepairKey) {
	s := &o.settle
	s.later, s.open = append(s.later, keys...), s.open-len(keys)
	for i := range keys {
		s.pause = max(s.pause, min(laterFirst<<min(keys[i].Tries, 10), laterLast))
	}
	o.t.dirty, o.t.hurry = true, o.t.hurry || s.open == 0
}

// postpone ends a reading whose rows are of no use.
func (o *office) postpone(r *reading) {
	o.later(r.keys[r.at:])
	for ; r.at < len(r.keys); r.at++ {
		o.unwatch(r, r.at)
	}
}

func (o *office) unwatchAll(r *reading) {
	for i := range r.keys {
		o.unwatch(r, i)
	}
}

func (o *office) unwatch(r *reading, i int) {
	c := o.t.care[r.l]
	name := rowName{r.keys[i].Shard, r.keys[i].Key}
	if w := c.watched[name]; w != nil {
		if w.readers--; w.readers == 0 {
			delete(c.watched, name)
		}
	}
}

// repair sends rows that were read, and of which everything is in the stream by now.
func (o *office) repair(ctx context.Context) error {
	room := sliceRows
	nowMs := o.cfg.Now().UnixMilli()
	for len(o.reads) > 0 && room > 0 {
		r := o.reads[0]
		if !r.ready {
			// Reads end in the order in which they began, and so do their positions.
			break
		}
		if r.at == 0 {
			if err := o.cfg.At("canal.repair.before"); err != nil {
				return err
			}
		}
		c := o.t.care[r.l]
		if r.l.stopped != nil || c.alarms != r.alarms {
			o.postpone(r)
		}
		for ; r.at < len(r.keys) && room > 0; r.at++ {
			room--
			if err := o.repairOne(r, nowMs); err != nil {
				return err
			}
			o.unwatch(r, r.at)
		}
		if err := o.t.send(ctx); err != nil {
			return err
		}
		if r.at < len(r.keys) {
			return nil
		}
		o.reads = o.reads[1:]
		if err := o.cfg.At("canal.repair.after"); err != nil {
			return err
		}
	}
	return nil
}

// repairOne sends one row, or that it is absent, or finds that the stream has sent something newer.
func (o *office) repairOne(r *reading, nowMs int64) error {
	k, f, c := &r.keys[r.at], &r.found.Found[r.at], o.t.care[r.l]
	o.t.dirty = true
	name := rowName{k.Shard, k.Key}
	newer := false
	if w := c.watched[name]; w != nil && w.gtid != "" {
		before, err := o.cfg.Source.Reached(r.found.Before, w.gtid)
		if err != nil {
			return err
		}
		newer = !before
	}
	switch {
	case newer:
	case f.Held || !o.current(r.l, &f.Holding):
		o.later(r.keys[r.at : r.at+1])
		return nil
	default:
		var err error
		if f.Row != nil {
			err = o.t.sendRow(r.l, k.Shard, r.found.Form, f.Row, nowMs)
		} else {
			err = o.t.sendAbsent(r.l, k.Shard, k.Key, nowMs)
		}
		if err != nil && ofDataset(err) {
			o.cfg.Log.Error("row can't be repaired, it waits", "dataset", r.l.d.Name, "shard", k.Shard, "err", err)
			o.owe(k.Task, err.Error())
			o.later(r.keys[r.at : r.at+1])
			return nil
		}
		if err != nil {
			return err
		}
		for _, fl := range c.fills {
			fl.touched[name] = o.lastBeat()
		}
		o.t.l.note(func(s *Stats) { s.Repaired++ })
	}
	s := &o.settle
	s.done, s.open = append(s.done, *k), s.open-1
	o.t.hurry = o.t.hurry || s.open == 0
	return nil
}

// current reports whether a row that is not the captured server's may be sent: the stream does not say that its shard is
// elsewhere by now.
func (o *office) current(l *lane, h *catalog.Holding) bool {
	if h.Store == catalog.Live || h.Store == "" {
		return true
	}
	p, known := o.parts[partName{l.d.Name, h.Shard.Table}]
	return !known || p.State == catalog.Released && p.Epoch == h.Epoch
}

// settleKeys tells the desk what became of the batch in hand; everything sent is acknowledged.
func (o *office) settleKeys(ctx context.Context) error {
	s := &o.settle
	if s.ended == nil || s.open > 0 {
		return nil
	}
	if err := o.cfg.At("canal.settle.before"); err != nil {
		return err
	}
	ok, err := o.cfg.Desk.Settle(ctx, o.t.number.Load(), s.done, s.later, s.pause)
	if err != nil {
		return err
	}
	if !ok {
		return o.taken("settle repairs")
	}
	close(s.ended)
	*s = settlement{}
	return o.cfg.At("canal.settle.after")
}
