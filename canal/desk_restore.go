package canal

import (
	"context"
	"slices"

	"strata/catalog"
	"strata/fault"
)

// present is where the server is now.
func (o *office) present(ctx context.Context, lanes []*lane) (string, error) {
	for {
		at, err := o.askPresent(ctx, lanes)
		if err == nil || !passing(err) && !fault.Is(err, fault.Stale) || !o.rest(ctx, pollLast) {
			return at, err
		}
	}
}

func (o *office) askPresent(ctx context.Context, lanes []*lane) (string, error) {
	for _, l := range slices.Concat(lanes, o.t.lanes) {
		shards, err := o.cfg.Tables.Shards(ctx, l.d)
		if err != nil {
			return "", err
		}
		if len(shards) == 0 {
			continue
		}
		k, err := o.cfg.Tables.Locked(ctx, l.d, shards[0].Holding.Shard.Table, nil, false)
		return k.After, err
	}
	return "", nil // no table: nothing can have been sent
}

// restore lets a stopped lane go on from the present position.
func (o *office) restore(ctx context.Context, l *lane, repaired bool) error {
	t := o.t
	if err := l.rekeyed(); err != nil {
		return err
	}
	if err := o.cfg.At("canal.restore.before"); err != nil {
		return err
	}
	for _, d := range []*catalog.Dataset{l.d, {Name: DeadLetters(l.d.Name), Partitions: 1}} {
		if err := o.cfg.Sink.Ensure(ctx, d, true); err != nil {
			return err
		}
	}
	if err := t.openTopic(ctx, l); err != nil {
		return err
	}
	if err := t.producer.Flush(ctx); err != nil {
		return err
	}
	for p := range l.parts {
		pt := &l.parts[p]
		open := t.producer.Acked(l.d.Name, int32(p)) - 1
		number, highest, err := lastNumber(ctx, o.cfg.Sink, l.d.Name, int32(p), pt.from, open)
		if err != nil {
			return err
		}
		if highest > t.number.Load() {
			return fault.New(fault.Conflict, "open partition", "%d of dataset %s was opened by term %d: %w", p, l.d.Name, highest, errTaken)
		}
		*pt = part{from: PartPosition{Offset: open, Number: number, Term: t.number.Load()}, number: number}
	}
	for p := range l.parts { // all of them can go on
		t.queueResume(l, p, repaired)
	}
	l.stopped = nil
	t.l.note(func(s *Stats) { delete(s.Stopped, l.d.Name) })
	o.cfg.Log.Info("dataset goes on", "dataset", l.d.Name, "pos", t.pos.GTID)
	return t.send(ctx)
}

// lastNumber is the number of the partition's last record that counts before offset `to`, whatever the topic went through.
func lastNumber(ctx context.Context, sink Sink, dataset string, partition int32, from PartPosition, to int64) (number uint64, highest uint32, err error) {
	first, _, err := sink.Bounds(ctx, dataset, partition)
	if err != nil {
		return 0, 0, err
	}
	gate := Gate{}
	if from.Offset >= first && from.Offset <= to {
		first, number, gate.Highest = from.Offset, from.Number, from.Term
	}
	err = sink.Read(ctx, dataset, partition, first, to, func(r *Record) error {
		if gate.Pass(&r.Header) && r.Header.Kind.Counts() {
			number = r.Header.Number
		}
		return nil
	})
	return number, gate.Highest, err
}
