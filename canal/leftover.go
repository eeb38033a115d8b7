package canal

import (
	"context"
	"hash/maphash"
	"slices"

	"strata/fault"
)

// sweptKeys bounds the keys in memory while a topic is looked through: about 100 MiB. A larger topic is read several times.
const sweptKeys = 1 << 20

// ends is where the partitions of a lane end, as far as is acknowledged.
func (o *office) ends(l *lane) []int64 {
	out := make([]int64, len(l.parts))
	for p := range out {
		out[p] = o.t.producer.Acked(l.d.Name, int32(p))
	}
	return out
}

// leftovers ends a backfill. Where its dataset was stopped, or its table rewritten, rows may have gone that nothing was sent of:
// keys that the topic has from before, and that neither the backfill nor the stream has sent since, are repaired, as absent or
// as they are.
func (o *office) leftovers(f *fill) {
	if len(f.place.From) != len(f.l.parts) || f.place.Swept {
		o.complete(f.j)
		return
	}
	s := &sweep{o: o, f: f, from: slices.Clone(f.place.From), seed: maphash.MakeSeed(), keys: NewKeyReader(f.l.d)}
	o.side.Go(func() error {
		err := s.run(f.j.ctx)
		o.postOf(f.j, func(context.Context) error {
			if err != nil {
				o.close(f.j, Failed, fault.New(fault.KindOf(err), "look for rows that are gone", "%w", err).WithHint("%s", fault.HintOf(err)))
				return nil //nolint:nilerr // the task has it
			}
			f.place.Swept, o.t.dirty = true, true
			f.j.task.Place = detail(f.place)
			o.complete(f.j)
			return nil
		})
		return nil
	})
}

// sweep looks through a topic for keys that were not sent since some places. One goroutine.
type sweep struct {
	o    *office
	f    *fill
	from []int64
	seed maphash.Seed
	keys *KeyReader
}

func (s *sweep) run(ctx context.Context) error {
	for p := range s.from {
		for {
			err := s.partition(ctx, int32(p))
			if err == nil {
				break
			}
			if !passing(err) || !s.o.rest(ctx, pollLast) {
				return err
			}
		}
	}
	return nil
}

// of reports whether the task is about the shard.
func (s *sweep) of(shard string) bool {
	return len(s.f.j.task.Shards) == 0 || slices.Contains(s.f.j.task.Shards, shard)
}

func (s *sweep) partition(ctx context.Context, p int32) error {
	first, next, err := s.o.cfg.Sink.Bounds(ctx, s.f.l.d.Name, p)
	if err != nil {
		return err
	}
	passes := uint64(1 + max(0, s.from[p]-first)/sweptKeys)
	for n := range passes {
		old, err := s.pass(ctx, p, first, next, func(key []byte) bool { return passes == 1 || maphash.Bytes(s.seed, key)%passes == n })
		if err == nil {
			err = s.enqueue(ctx, old)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// sentRow is a row as records name it.
type sentRow struct{ shard, key string }

// pass returns the rows of which nothing is in the partition since the place, and which weren't deleted before it.
func (s *sweep) pass(ctx context.Context, p int32, first, next int64, mine func(key []byte) bool) (map[sentRow]bool, error) {
	old := map[sentRow]bool{}
	var last sentRow // a tombstone has no shard: it follows its delete
	gate := Gate{}
	err := s.o.cfg.Sink.Read(ctx, s.f.l.d.Name, p, first, next, func(r *Record) error {
		kind := r.Header.Kind
		row := kind == KindChange || kind == KindBackfill
		if !gate.Pass(&r.Header) || !row && kind != KindTombstone || !mine(r.Key) {
			return nil
		}
		if row {
			last = sentRow{r.Header.Shard, string(r.Key)}
		}
		switch {
		case row && r.Offset < s.from[p]:
			if s.of(last.shard) {
				old[last] = true
			}
		case row || last.key == string(r.Key):
			delete(old, last)
		}
		return nil
	})
	return old, err
}

func (s *sweep) enqueue(ctx context.Context, old map[sentRow]bool) error {
	batch := make([]RepairKey, 0, min(len(old), enqueueBatch))
	for row := range old {
		key, err := s.keys.Read(Payload([]byte(row.key)))
		if err != nil {
			return fault.New(fault.Invalid, "read sent key", "%s: %w", row.key, err)
		}
		batch = append(batch, RepairKey{Dataset: s.f.l.d.Name, Shard: row.shard, Key: key, Task: s.f.j.task.ID, Why: "not there when it was backfilled"})
		delete(old, row)
		if len(batch) == enqueueBatch || len(old) == 0 {
			if err := s.o.cfg.Desk.Enqueue(ctx, batch); err != nil {
				return err
			}
			batch = batch[:0]
		}
	}
	return nil
}
