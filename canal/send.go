package canal

import (
	"context"
	"slices"

	"strata/catalog"
	"strata/fault"
)

// batchBytes bounds the values of a batch before it is handed to the producer, which bounds what is in flight.
const batchBytes = 1 << 20

const (
	keyRoom   = 256     // for a key; a longer one moves to memory of its own
	valueRoom = 512     // for what a value may have more than the one before it
	keptBytes = 4 << 20 // most memory that is kept for the next row: one huge row must not cost its size for ever
)

// changes sends the records of the transaction's changes, batch by batch as they are made.
func (t *term) changes(ctx context.Context, x *Txn) error {
	t.env.start(x)
	nowMs := t.cfg.Now().UnixMilli()
	err := x.Each(func(c *Change) error {
		l := t.laneOf(c.Dataset)
		if l == nil || l.stopped != nil {
			return nil
		}
		if err := t.change(l, c, x, nowMs); err != nil {
			if !ofDataset(err) {
				return err
			}
			t.stop(l, err)
		}
		if t.full() {
			return t.send(ctx)
		}
		return nil
	})
	if err != nil {
		return err
	}
	if n := t.env.known; n > 0 {
		t.l.note(func(s *Stats) { s.Known += n })
		t.env.known = 0
	}
	t.end(x)
	return t.send(ctx)
}

func (t *term) laneOf(d *catalog.Dataset) *lane {
	if t.env.lane == nil || t.env.lane.d != d {
		t.env.lane = t.byData[d]
	}
	return t.env.lane
}

// full reports whether the batch is large enough to be sent.
func (t *term) full() bool {
	return len(t.batch) >= maxBatch || len(t.batch) > 0 && t.env.queued >= batchBytes
}

// change queues the records of one change.
func (t *term) change(l *lane, c *Change, x *Txn, nowMs int64) error {
	s, err := t.shapeOf(l, c.Form)
	if err != nil {
		return err
	}
	shard := t.env.shardOf(l, c.Shard)
	images, n := s.images(c)
	for k := range n {
		if err := t.record(l, s, shard, &images[k], x, nowMs); err != nil {
			return err
		}
	}
	return nil
}

// record queues one image, unless the tail has it.
func (t *term) record(l *lane, s *shape, shard *shard, i *image, x *Txn, nowMs int64) error {
	key, plain := s.appendKey(t.arena.room(keyRoom+len(s.keyHead)), i.of)
	p := PartitionOf(plain, l.d.Partitions)
	pt := &l.parts[p]
	t.rows++
	t.env.count(shard, 1)
	if pt.tail.left > 0 && pt.tail.take(x.GTID, i.ordinal) {
		t.env.known++
		t.begin(x)
		return nil
	}
	key = t.arena.keep(key)
	value := t.value(s, shard, i, nowMs)
	if len(value) > t.cfg.MaxRecordBytes && i.op != Delete {
		t.env.count(shard, -1)
		t.letter(l, Letter{Key: Payload(key), Shard: shard.table, Op: string(i.op), GTID: x.GTID, Row: i.ordinal, Bytes: len(value), TsMs: nowMs}, key)
		return nil
	}
	if pt.tail.left > 0 {
		if err := pt.tail.whole(l.d.Name, p, x.GTID); err != nil {
			t.env.count(shard, -1)
			return err
		}
	}
	t.begin(x)
	h := Header{Kind: KindChange, GTID: x.GTID, Ordinal: i.ordinal, Shard: shard.table}
	h.Hash, t.hash = s.hash(i.of, t.hash)
	t.put(l, Record{Partition: p, Key: key, Value: t.arena.keep(value), Header: h}, i.op)
	return nil
}

// value makes the value of an image in the arena's room. What is too large is tried again without the row before, which a
// reader can do without; so a delete always fits.
func (t *term) value(s *shape, shard *shard, i *image, nowMs int64) []byte {
	room := valueRoom + len(s.valueHead) + t.env.usual
	value := t.env.append(t.arena.room(room), s, shard, i, nowMs)
	if len(value) > t.cfg.MaxRecordBytes && i.before != nil {
		less := *i
		less.before = nil
		value = t.env.append(t.arena.room(room), s, shard, &less, nowMs)
	}
	t.env.usual = min(len(value), keptBytes)
	return value
}

// put queues a row image, and the null value after a delete.
func (t *term) put(l *lane, r Record, op Op) {
	if len(t.batch) == 0 {
		t.env.queued = 0
	}
	t.env.queued += len(r.Value)
	l.parts[r.Partition].number++
	r.Dataset, r.Header.Number = l.d.Name, l.parts[r.Partition].number
	t.queue(r)
	if op == Delete {
		t.queue(Record{Dataset: l.d.Name, Partition: r.Partition, Key: r.Key, Header: Header{Kind: KindTombstone}})
	}
	if cap(t.hash) > keptBytes {
		t.hash = nil
	}
}

// sendRow queues a row that was read from its store (KindBackfill, op r): its image is newer than all that was sent of it.
// One that is too large becomes a letter.
func (t *term) sendRow(l *lane, table string, form *Form, r *catalog.Row, nowMs int64) error {
	s, err := t.shapeOf(l, form)
	if err != nil {
		return err
	}
	if s.masker != nil {
		r = s.mask(1, r)
	}
	shard := t.env.shardOf(l, table)
	t.env.read(nowMs)
	key, plain := s.appendKey(t.arena.room(keyRoom+len(s.keyHead)), r)
	p := PartitionOf(plain, l.d.Partitions)
	key = t.arena.keep(key)
	value := t.value(s, shard, &image{op: opRead, after: r, of: r}, nowMs)
	if len(value) > t.cfg.MaxRecordBytes {
		t.letter(l, Letter{Key: Payload(key), Shard: table, Op: string(opRead), Bytes: len(value), TsMs: nowMs}, key)
		return nil
	}
	h := Header{Kind: KindBackfill, Shard: table}
	h.Hash, t.hash = s.hash(r, t.hash)
	t.put(l, Record{Partition: p, Key: key, Value: t.arena.keep(value), Header: h}, opRead)
	return nil
}

// sendAbsent queues that a row is not there (KindBackfill, op d, with no image).
func (t *term) sendAbsent(l *lane, table string, key catalog.Key, nowMs int64) error {
	s, err := t.shapeOf(l, nil)
	if err != nil {
		return err
	}
	cells, err := key.Cells()
	if err == nil && len(cells) != len(s.key) {
		err = fault.New(fault.Invalid, "parse key "+string(key), "%d cells instead of %d", len(cells), len(s.key))
	}
	if err != nil {
		return fault.Wrap(fault.Invalid, "send absence in "+table, err)
	}
	var r catalog.Row
	only := shape{key: slices.Clone(s.key), keyHead: s.keyHead, valueHead: s.valueHead}
	for i, c := range cells {
		only.key[i].at = i
		r.AppendString(c)
	}
	text, plain := only.appendKey(nil, &r)
	t.env.read(nowMs)
	value := t.env.append(nil, s, t.env.shardOf(l, table), &image{op: Delete}, nowMs)
	t.put(l, Record{Partition: PartitionOf(plain, l.d.Partitions), Key: text, Value: value, Header: Header{Kind: KindBackfill, Shard: table}}, Delete)
	return nil
}

// control is the value of a record that is no row's. With schemas on, every value of a topic must have the form that Kafka
// Connect reads.
func (t *term) control(v any) []byte {
	b := jsonValue(v)
	if t.env.schemas {
		b = append(append([]byte(`{"schema":null,"payload":`), b...), '}')
	}
	return b
}
