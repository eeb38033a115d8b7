package canal

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"slices"

	"strata/catalog"
	"strata/fault"
)

// enqueueBatch is how many keys are handed to the desk at once.
const enqueueBatch = 2000

// gatherPlace is what a rewind notes of itself: the keys of what changed after From, up to Target, are to be collected;
// those up to At are.
type gatherPlace struct {
	From      Position  `json:"from"`
	At        *Position `json:"at,omitempty"`
	Target    string    `json:"target,omitempty"`
	Collected bool      `json:"collected,omitempty"`
}

// next is where reading goes on.
func (p *gatherPlace) next() Position {
	if p.At != nil {
		return *p.At
	}
	return p.From
}

func (o *office) placeOf(j *job) (p gatherPlace) {
	if j.task.Place == "" || json.Unmarshal([]byte(j.task.Place), &p) != nil {
		return gatherPlace{}
	}
	return p
}

// admitRewind notes where a rewind begins.
func (o *office) admitRewind(j *job, stopped []*lane) error {
	place := o.placeOf(j)
	if j.task.Place == "" {
		place.From.GTID = j.task.GTID
		for _, l := range j.lanes {
			switch low := o.t.care[l].lowered; {
			case j.task.GTID != "":
				if err := o.captured("rewind", j.task.GTID); err != nil {
					return err
				}
			case l.stopped != nil && len(j.lanes) == 1:
				place.From = l.stopped.Position
			case holds(low, j.task.ID) && len(j.lanes) == 1:
				place.From.GTID = low.Mark.GTID
			default:
				return fault.New(fault.Invalid, "rewind", "no GTID set is named, and %s is not stopped", l.d.Name).WithHint("name the GTID set to rewind to")
			}
		}
	}
	if len(stopped) == 0 && place.Target == "" {
		place.Target = o.t.pos.GTID
	}
	j.task.Place = detail(place)
	return nil
}

// collect reads the binlog again for the keys, then waits until they are repaired.
func (o *office) collect(j *job, place gatherPlace) {
	j.owes = true
	j.task.Place = detail(place)
	if place.Collected {
		o.complete(j)
		return
	}
	g := &gather{o: o, ctx: j.ctx, task: j.task.ID, target: place.Target, pos: place.next(), keys: make(map[*catalog.Dataset]*keyer)}
	for _, l := range j.lanes {
		g.keys[l.d] = &keyer{own: l.d.KeyIndexes()}
	}
	o.side.Go(func() error {
		err := g.run(func(at *Position, n int64) {
			o.postOf(j, func(context.Context) error {
				place.At, j.task.Done = at, n
				j.task.Place, o.t.dirty = detail(place), true
				return nil
			})
		})
		o.postOf(j, func(context.Context) error {
			if err != nil {
				o.close(j, Failed, err)
				return nil //nolint:nilerr // the task has it
			}
			place.Collected, o.t.dirty = true, true
			j.task.Place = detail(place)
			o.complete(j)
			return nil
		})
		return nil
	})
}

// gather reads a stretch of the binlog for keys. One goroutine.
type gather struct {
	o      *office
	ctx    context.Context
	task   int64
	pos    Position // up to which the keys are in the queue
	target string
	keys   map[*catalog.Dataset]*keyer
	batch  map[RepairKey]struct{}
	n      int64
}

// run enqueues every key that changed after from, up to target. A source that is away is opened again.
func (g *gather) run(progress func(at *Position, n int64)) error {
	g.batch = make(map[RepairKey]struct{})
	pos := g.pos
	if ok, err := g.o.cfg.Source.Reached(pos.GTID, g.target); err != nil || ok {
		return err
	}
	for {
		err := g.stretch(&pos, progress)
		switch {
		case err == nil || g.ctx.Err() != nil:
			return err
		case errors.Is(err, ErrLost):
			return noBinlog(pos, err)
		case !passing(err):
			return err
		}
		g.o.cfg.Log.Info("source is away, a rewind goes on later", "pos", pos.GTID, "err", err)
		if !g.o.rest(g.ctx, pollLast) {
			return g.ctx.Err()
		}
	}
}

func noBinlog(at Position, err error) error {
	return fault.New(fault.Unsafe, "rewind", "the server lacks the binlog since %s: %w", at.GTID, err).WithHint("backfill the dataset")
}

// probe opens the binlog at a place; a source that is away is tried again.
func (o *office) probe(ctx context.Context, at Position) error {
	for {
		s, err := o.openBeside(ctx, at)
		switch {
		case err == nil:
			return s.Close()
		case errors.Is(err, ErrLost):
			return noBinlog(at, err)
		case !passing(err) || !o.rest(ctx, pollLast):
			return err
		}
	}
}

// sameHistory makes sure that the server has the place at which a lane stopped, as it was read; a source that is away is
// tried again. In another history what changed, or was sent, before a place of that name would be missed.
func (o *office) sameHistory(ctx context.Context, at Position) error {
	for {
		same, err := o.t.has(ctx, at, o.openBeside)
		switch {
		case same:
			return nil
		case err == nil:
			return noBinlog(at, errHistory)
		case !passing(err) || !o.rest(ctx, pollLast):
			return err
		}
	}
}

// beside is a stream that is read beside the main one.
type beside struct {
	Stream
	o *office
}

func (b beside) Close() error {
	<-b.o.rewinds
	return b.Stream.Close()
}

// openBeside waits for its place among the streams beside the main one, which must find one whenever it is opened again.
func (o *office) openBeside(ctx context.Context, at Position) (Stream, error) {
	select {
	case o.rewinds <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	s, err := o.cfg.Source.Open(ctx, at)
	if err != nil {
		<-o.rewinds
		return nil, err
	}
	return beside{s, o}, nil
}

func (g *gather) stretch(pos *Position, progress func(at *Position, n int64)) error {
	s, err := g.o.openBeside(g.ctx, *pos)
	if err != nil {
		return err
	}
	defer func() { _ = s.Close() }() // nothing is written through it
	for {
		x, err := s.Next(g.ctx)
		if err != nil {
			return err
		}
		for _, p := range x.Poison {
			if g.keys[p.Dataset] != nil {
				return fault.New(fault.Unsafe, "rewind dataset "+p.Dataset.Name, "the keys of %s can't be known: %w", x.GTID, p.Err).WithHint("backfill the dataset")
			}
		}
		for _, a := range x.Alarms {
			if a.Effect == Rewritten && g.concerns(a.Dataset) {
				return fault.New(fault.Unsafe, "rewind dataset "+a.Dataset, "%s changed rows of %s at %s", a.What, a.Table, x.GTID).WithHint("backfill the dataset")
			}
		}
		if err := x.Each(g.add); err != nil {
			return err
		}
		done, err := g.o.cfg.Source.Reached(x.Position.GTID, g.target)
		if err != nil {
			return err
		}
		if done || len(g.batch) >= enqueueBatch {
			if err := g.flush(); err != nil {
				return err
			}
			at := x.Position
			at.Last = Last{}
			progress(&at, g.n)
			*pos = at
		}
		if done {
			return nil
		}
	}
}

func (g *gather) concerns(dataset string) bool {
	for d := range g.keys {
		if d.Name == dataset {
			return true
		}
	}
	return false
}

func (g *gather) add(c *Change) error {
	k := g.keys[c.Dataset]
	if k == nil {
		return nil
	}
	keys, n := k.of(c)
	for _, key := range keys[:n] {
		g.batch[RepairKey{Dataset: c.Dataset.Name, Shard: c.Shard, Key: key, Task: g.task, Why: "rewind"}] = struct{}{}
	}
	if len(g.batch) < 10*enqueueBatch {
		return nil
	}
	return g.flush() // in the middle of a large transaction
}

// flush puts the batch into the queue.
func (g *gather) flush() error {
	keys := slices.Collect(maps.Keys(g.batch))
	clear(g.batch)
	g.n += int64(len(keys))
	for part := range slices.Chunk(keys, enqueueBatch) {
		for {
			err := g.o.cfg.Desk.Enqueue(g.ctx, part)
			if err == nil {
				break
			}
			if !passing(err) || !g.o.rest(g.ctx, pollLast) {
				return err
			}
		}
	}
	signal(g.o.kick)
	return nil
}
