package canal

import (
	"context"

	"strata/catalog"
	"strata/fault"
)

// changes sends the records of the transaction's changes: all of a dataset's, or none.
func (t *term) changes(ctx context.Context, x *Txn) error {
	t.env.start(x)
	nowMs := t.cfg.Now().UnixMilli()
	for i := range x.Changes {
		c := &x.Changes[i]
		l := t.byData[c.Dataset]
		// Escaping makes of a byte at most six.
		if l == nil || l.stopped != nil || 6*(c.Before.Size()+c.After.Size())+1000 < t.cfg.MaxRecordBytes {
			continue
		}
		images, n := l.images(c)
		for k := range n {
			t.scratch = t.env.append(t.scratch[:0], l, c.Shard, &images[k], nowMs)
			if len(t.scratch) > t.cfg.MaxRecordBytes {
				t.stop(l, fault.New(fault.TooLarge, "send row", "%s row %d of %s has %d bytes, the limit is %d", x.GTID, images[k].ordinal,
					c.Shard, len(t.scratch), t.cfg.MaxRecordBytes).WithHint("raise the limit of the record's size here and in Kafka, then load the dataset anew"))
				break
			}
		}
	}
	for i := range x.Changes {
		c := &x.Changes[i]
		l := t.byData[c.Dataset]
		if l == nil || l.stopped != nil {
			continue
		}
		images, n := l.images(c)
		for k := range n {
			if err := t.record(l, c.Shard, &images[k], nowMs); err != nil {
				if !ofDataset(err) {
					return err
				}
				t.stop(l, err)
				break
			}
		}
		if len(t.batch) >= maxBatch {
			if err := t.send(ctx); err != nil {
				return err
			}
		}
	}
	return t.send(ctx)
}

// record queues one image, unless the tail has it.
func (t *term) record(l *lane, shard string, i *image, nowMs int64) error {
	t.scratch = l.appendKey(t.scratch[:0], i.of)
	p := PartitionOf(t.scratch, l.d.Partitions)
	pt := &l.parts[p]
	t.rows++
	if pt.tail.take(t.env.gtid, i.ordinal) {
		t.l.note(func(s *Stats) { s.Known++ })
		return nil
	}
	if err := pt.tail.whole(l.d.Name, p, t.env.gtid); err != nil {
		return err
	}
	key := t.arena.copy(t.scratch)
	t.scratch = t.env.append(t.scratch[:0], l, shard, i, nowMs)
	var h catalog.Hash
	h, t.hash = i.of.Hash(t.hash)
	pt.number++
	t.queue(Record{Dataset: l.d.Name, Partition: p, Key: key, Value: t.arena.copy(t.scratch), Header: Header{
		Kind: KindChange, Number: pt.number, Hash: h, GTID: t.env.gtid, Ordinal: i.ordinal, Shard: shard}})
	if i.op == Delete {
		t.queue(Record{Dataset: l.d.Name, Partition: p, Key: key, Header: Header{Kind: KindTombstone}})
	}
	return nil
}

// sendRow queues a row that was read from its store (KindBackfill, op r): its image is newer than all that was sent of it.
func (t *term) sendRow(l *lane, shard string, r *catalog.Row, nowMs int64) error {
	return fault.New(fault.Internal, "send row", "of %s %s", l.d.Name, shard)
}

// sendAbsent queues that a row is not there (KindBackfill, op d).
func (t *term) sendAbsent(l *lane, shard string, key catalog.Key, nowMs int64) error {
	return fault.New(fault.Internal, "send absence", "of %s %s", l.d.Name, shard)
}
