package canal

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"strata/catalog"
	"strata/fault"
)

// recogniseLimit bounds the wait for a group that a server has according to itself.
const recogniseLimit = 30 * time.Second

// failover finds the last place that the server's history and ours have in common, has the keys repaired that were sent
// after it, and goes back to it. Nothing is skipped: where there is no such place, it is an error.
func (t *term) failover(ctx context.Context, cause error) error {
	t.cfg.Log.Warn("the server's history is not the one that was captured", "pipeline", t.cfg.Name, "pos", t.pos.GTID, "err", cause)
	if err := t.producer.Flush(ctx); err != nil {
		return ofSink(err)
	}
	var common *Checkpoint
	err := t.cfg.Desk.History(ctx, func(c *Checkpoint) (bool, error) {
		if c.Position.Last.GTID == "" {
			return true, nil
		}
		if err := t.office.busy(ctx, cause); err != nil {
			return false, err
		}
		same, err := t.common(ctx, c.Position)
		if same {
			common = c
		}
		return !same, err
	})
	switch {
	case err != nil:
		return err
	case common == nil && errors.Is(cause, ErrPurged):
		return ofSink(t.office.purged(ctx, cause))
	case common == nil:
		return ofSink(t.office.adopt(ctx, cause))
	}
	return ofSink(t.office.goBack(ctx, common, cause))
}

// common reports whether the server has the last group of a place, with the content that it had.
func (t *term) common(ctx context.Context, at Position) (bool, error) {
	return t.has(ctx, at, t.cfg.Source.Open)
}

// has is common with a way to open the stream.
func (t *term) has(ctx context.Context, at Position, open func(context.Context, Position) (Stream, error)) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, recogniseLimit)
	defer cancel()
	s, err := open(ctx, at)
	if errors.Is(err, ErrLost) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer func() { _ = s.Close() }() // nothing is written through it
	last := at.Last
	for last.GTID != "" {
		x, err := s.Next(ctx)
		if errors.Is(err, ErrLost) {
			return false, nil
		}
		if err != nil {
			return false, err
		}
		if _, err := t.recognise(x, &last); errors.Is(err, errHistory) {
			return false, nil
		}
	}
	return true, nil
}

// goBack makes a remembered checkpoint the present one, with everything that was sent after it as tails.
func (o *office) goBack(ctx context.Context, c *Checkpoint, cause error) error {
	t := o.t
	o.abandon()
	t.pos, t.since = c.Position, c.Position.GTID
	for _, l := range t.live() {
		care := t.care[l]
		care.fills = nil
		parts := c.Parts[l.d.Name]
		_, was := c.Stopped[l.d.Name]
		if len(parts) != len(l.parts) || was {
			t.stop(l, fault.New(fault.Unsafe, "fail over dataset "+l.d.Name, "it was not captured at %s, the last common place", c.Position.GTID))
			care.mend = Backfill
			continue
		}
		if err := o.lost(ctx, l, parts, c.Position.GTID, cause.Error()); err != nil {
			return err
		}
	}
	return o.mend(ctx)
}

// lost has everything repaired that was sent of a lane after some places, and makes it the tails of the lane.
func (o *office) lost(ctx context.Context, l *lane, from []PartPosition, gtid, why string) error {
	id, err := o.automatic(ctx, Task{Kind: Failover, Dataset: l.d.Name, GTID: gtid, Why: why})
	if err != nil {
		return err
	}
	room := maxTail
	for p := range l.parts {
		pt := &l.parts[p]
		first, next, err := o.cfg.Sink.Bounds(ctx, l.d.Name, int32(p))
		if err == nil {
			err = checkBounds(l.d.Name, int32(p), from[p], first, next)
		}
		if err == nil {
			err = o.enqueueSent(ctx, l, int32(p), from[p], next, id)
		}
		var sent tail
		if err == nil {
			sent, err = readTail(ctx, o.cfg.Sink, l.d.Name, int32(p), from[p], next, &room)
		}
		if err != nil {
			if !ofDataset(err) {
				return err
			}
			o.t.stop(l, err)
			o.t.care[l].mend = Backfill
			return nil
		}
		if sent.highest > o.t.number.Load() {
			return o.taken("fail over")
		}
		pt.from, pt.tail, pt.number = from[p], sent, sent.number
	}
	o.lostOf[l] = true
	return o.lower(l, id, Mark{GTID: gtid})
}

// enqueueSent puts the keys of a partition's records into the queue.
func (o *office) enqueueSent(ctx context.Context, l *lane, p int32, from PartPosition, to int64, id int64) error {
	gate := Gate{Highest: from.Term}
	batch := map[RepairKey]struct{}{}
	working := fault.New(fault.Proof, "fail over dataset "+l.d.Name, "what was sent of another history is being put into the repair queue")
	flush := func() error {
		if err := o.busy(ctx, working); err != nil {
			return err
		}
		keys := slices.Collect(maps.Keys(batch))
		clear(batch)
		for part := range slices.Chunk(keys, enqueueBatch) {
			if err := o.cfg.Desk.Enqueue(ctx, part); err != nil {
				return err
			}
		}
		return nil
	}
	keyed := NewKeyReader(l.d)
	err := o.cfg.Sink.Read(ctx, l.d.Name, p, from.Offset, to, func(r *Record) error {
		if !gate.Pass(&r.Header) || r.Header.Kind != KindChange && r.Header.Kind != KindBackfill {
			return nil
		}
		key, err := keyed.Read(Payload(r.Key))
		if err != nil {
			return fault.New(fault.Invalid, "read sent key", "offset %d of partition %d: %w", r.Offset, p, err)
		}
		batch[RepairKey{Dataset: l.d.Name, Shard: r.Header.Shard, Key: key, Task: id, Why: "sent of another history"}] = struct{}{}
		if len(batch) >= enqueueBatch {
			return flush()
		}
		return nil
	})
	if err != nil {
		return err
	}
	return flush()
}

// foresee compares a transaction with what the tails have of it, before any of it is sent. Where they differ, the server
// went back behind what was sent and has another history since: what was sent is repaired, and suppresses nothing.
func (o *office) foresee(ctx context.Context, x *Txn) error {
	t := o.t
	if t.settled() {
		return nil
	}
	taken := map[*part]int{}
	other := ""
	t.env.start(x)
	err := x.Each(func(c *Change) error {
		l := t.byData[c.Dataset]
		if l == nil || l.stopped != nil || other != "" {
			return nil
		}
		return t.eachSent(l, c, func(p int32, s sent) {
			pt := &l.parts[p]
			n := taken[pt]
			if pt.tail.left <= n {
				return
			}
			if list := pt.tail.sent[x.GTID]; n >= len(list) || list[n] != s {
				other = l.d.Name
			}
			taken[pt] = n + 1
		})
	})
	if err != nil {
		return err
	}
	if other == "" {
		if other, err = o.overdue(x, taken); err != nil || other == "" {
			return err
		}
	}
	return o.diverged(ctx, x, other)
}

// overdue looks for a tail with changes of a transaction that the stream has passed, or of which a heartbeat says that it
// must have.
func (o *office) overdue(x *Txn, taken map[*part]int) (string, error) {
	for _, l := range o.t.live() {
		for p := range l.parts {
			pt := &l.parts[p]
			if pt.tail.left == 0 {
				continue
			}
			gtid := pt.tail.oldest()
			if gtid == x.GTID {
				if taken[pt] < len(pt.tail.sent[gtid]) {
					return l.d.Name, nil
				}
				continue
			}
			if _, marked := pt.tail.marks[x.GTID]; x.Beat != nil && o.t.care[l].lowered == nil && !marked && len(pt.tail.marks) > 0 {
				return l.d.Name, nil
			}
			if ok, err := o.cfg.Source.Reached(x.Position.GTID, gtid); err != nil || ok {
				return l.d.Name, err
			}
		}
	}
	return "", nil
}

// diverged gives up the tails.
func (o *office) diverged(ctx context.Context, x *Txn, dataset string) error {
	t := o.t
	why := "dataset " + dataset + " has records of another history beyond " + t.pos.GTID
	t.cfg.Log.Warn("the server's history is not the one that was sent", "pipeline", t.cfg.Name, "dataset", dataset, "gtid", x.GTID)
	for _, l := range t.live() {
		unmatched := false
		for p := range l.parts {
			unmatched = unmatched || l.parts[p].tail.left > 0
		}
		if !unmatched {
			continue
		}
		if !o.lostOf[l] {
			from := make([]PartPosition, len(l.parts))
			for p := range l.parts {
				from[p] = l.parts[p].from
			}
			if err := o.lost(ctx, l, from, t.since, why); err != nil {
				return err
			}
		}
		for p := range l.parts {
			l.parts[p].tail.forget()
		}
		delete(o.lostOf, l)
	}
	if err := o.mend(ctx); err != nil {
		return err
	}
	// A successor must not take what is sent from now on for the rest of what was sent before.
	return t.checkpoint(ctx)
}

// eachSent calls f with every record that a change has in its dataset's topic.
func (t *term) eachSent(l *lane, c *Change, f func(p int32, s sent)) error {
	s, err := t.shapeOf(l, c.Form)
	if err != nil {
		if ofDataset(err) {
			return nil // changes stops the lane
		}
		return err
	}
	shard := t.env.shardOf(l, c.Shard)
	images, n := s.images(c)
	for k := range images[:n] {
		i := &images[k]
		// Escaping makes of a byte at most six.
		if i.op != Delete && 6*(c.Before.Size()+c.After.Size())+4096+len(s.valueHead) > t.cfg.MaxRecordBytes && len(t.value(s, shard, i, 0)) > t.cfg.MaxRecordBytes {
			continue // a letter
		}
		_, plain := s.appendKey(nil, i.of)
		var h catalog.Hash
		h, t.hash = s.hash(i.of, t.hash)
		f(PartitionOf(plain, l.d.Partitions), sentOf(i.ordinal, h))
	}
	return nil
}
