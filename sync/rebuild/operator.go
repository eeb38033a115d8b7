package rebuild

import (
	"context"

	"strata/canal"
	"strata/fault"
	"strata/index"
)

// Line is one generation of a dataset, for people.
type Line struct {
	Dataset string `json:"dataset"`
	index.Generation
	Documents int64    `json:"documents"` // that a search would find; -1: not made yet, or not readable
	Rebuild   *Rebuild `json:"rebuild,omitempty"`
}

// List tells the generations of the datasets, how large they are, and how far those are that are built.
func (b *Rebuilds) List(ctx context.Context) ([]Line, error) {
	var out []Line
	for _, d := range b.cfg.Datasets {
		list, err := b.cfg.Index.Generations(ctx, d.Name)
		if err != nil {
			return nil, err
		}
		for i := range list {
			g := list[i]
			line := Line{Dataset: d.Name, Generation: g, Documents: b.documents(ctx, d.Name, g.Number)}
			if len(g.Note) > 0 {
				if line.Rebuild, err = read(d.Name, &g); err != nil {
					return nil, err
				}
				b.fill(ctx, line.Rebuild)
			}
			line.Note, line.Start = nil, nil // Rebuild has the one, and the other is of no use to people
			out = append(out, line)
		}
	}
	return out, nil
}

func (b *Rebuilds) documents(ctx context.Context, dataset string, number int) int64 {
	x, err := b.cfg.Index.Open(ctx, dataset, number)
	if err != nil {
		return -1
	}
	shards, err := x.Shards(ctx, dataset)
	if err != nil {
		return -1
	}
	n, err := x.Count(ctx, index.Search{Dataset: dataset, Shards: shards})
	if err != nil {
		return -1
	}
	return n
}

// fill takes how far a backfill is from its task.
func (b *Rebuilds) fill(ctx context.Context, r *Rebuild) {
	if r.Phase != Filling || r.Task == 0 {
		return
	}
	if t, err := b.cfg.Desk.TaskByID(ctx, r.Task); err == nil {
		r.Rows, r.Total = t.Done, t.Total
		if r.Waits == "" {
			r.Waits = t.Err
		}
	}
}

// Look returns the newest rebuild of a dataset, over or not. Errors: fault.NotFound.
func (b *Rebuilds) Look(ctx context.Context, dataset string) (Rebuild, error) {
	if _, err := b.dataset(dataset); err != nil {
		return Rebuild{}, err
	}
	list, err := b.cfg.Index.Generations(ctx, dataset)
	if err != nil {
		return Rebuild{}, err
	}
	for i := len(list) - 1; i >= 0; i-- {
		if len(list[i].Note) > 0 {
			r, err := read(dataset, &list[i])
			if err != nil {
				return Rebuild{}, err
			}
			b.fill(ctx, r)
			return *r, nil
		}
	}
	return Rebuild{}, none(dataset)
}

func none(dataset string) error {
	return fault.New(fault.NotFound, "rebuild index of "+dataset, "no rebuild is under way").WithHint("strata sync rebuild %s --why … begins one", dataset)
}

// open returns the rebuild that is under way.
func (b *Rebuilds) open(ctx context.Context, dataset string) (*Rebuild, error) {
	if _, err := b.dataset(dataset); err != nil {
		return nil, err
	}
	r, _, err := b.underWay(ctx, dataset)
	if err == nil && r == nil {
		err = none(dataset)
	}
	return r, err
}

// Pause lets a rebuild rest: the backfill after the chunk in hand, a comparison at once. The generation goes on being fed.
func (b *Rebuilds) Pause(ctx context.Context, dataset, who string) (Rebuild, error) {
	r, err := b.open(ctx, dataset)
	if err != nil {
		return Rebuild{}, err
	}
	if err := b.record(ctx, "pause", r, who, ""); err != nil {
		return *r, err
	}
	if err := b.keep(ctx, r, func(r *Rebuild) { r.Paused = true }); err != nil {
		return *r, err
	}
	return *r, b.wish(ctx, r, canal.Pause, who)
}

// Resume goes on with a rebuild that rests or halted: with a new backfill where it was ended, or failed.
func (b *Rebuilds) Resume(ctx context.Context, dataset, who string) (Rebuild, error) {
	r, err := b.open(ctx, dataset)
	if err != nil {
		return Rebuild{}, err
	}
	again := false
	if r.Phase == Filling && r.Task != 0 {
		t, err := b.cfg.Desk.TaskByID(ctx, r.Task)
		if err != nil && !fault.Is(err, fault.NotFound) {
			return *r, err
		}
		again = err != nil || t.State == canal.Failed || t.State == canal.Ended
	}
	if err := b.record(ctx, "resume", r, who, ""); err != nil {
		return *r, err
	}
	task := r.Task
	err = b.keep(ctx, r, func(r *Rebuild) {
		r.Paused, r.Err, r.Hint, r.Waits = false, "", "", ""
		if again && r.Task == task {
			r.Task = 0
			r.Orders++
		}
	})
	if err != nil {
		return *r, err
	}
	err = b.cfg.Index.Update(ctx, dataset, r.Generation, func(g *index.Generation) error {
		g.Tries++ // a sync that has stopped tries again too
		return nil
	})
	if err != nil {
		return *r, err
	}
	return *r, b.wish(ctx, r, canal.Run, who)
}

// wish tells the backfill; one that is over, or was not ordered yet, needs no telling.
func (b *Rebuilds) wish(ctx context.Context, r *Rebuild, w canal.Wish, who string) error {
	if r.Task == 0 || r.Phase != Filling {
		return nil
	}
	_, err := b.cfg.Desk.SetWish(ctx, r.Task, w, who)
	if fault.Is(err, fault.Conflict) || fault.Is(err, fault.NotFound) {
		return nil
	}
	return err
}

// Abort ends a rebuild: its backfill, and its generation, which is deleted. What answers stays as it is. Errors:
// fault.Conflict where it has switched already.
func (b *Rebuilds) Abort(ctx context.Context, dataset, who, why string) (Rebuild, error) {
	r, err := b.open(ctx, dataset)
	if err != nil {
		return Rebuild{}, err
	}
	if err := b.record(ctx, "abort", r, who, why); err != nil {
		return *r, err
	}
	if err := b.wish(ctx, r, canal.End, who); err != nil {
		return *r, err
	}
	if r.Phase == Switching {
		if _, err := b.cfg.Index.Handover(ctx, dataset, r.Generation, false); err != nil {
			return *r, err
		}
	}
	return *r, b.drop(ctx, r)
}

// Drop deletes a generation that neither answers nor is being built. Errors: fault.Conflict, fault.NotFound.
func (b *Rebuilds) Drop(ctx context.Context, dataset string, number int, who, why string) error {
	if _, err := b.dataset(dataset); err != nil {
		return err
	}
	r, g, err := b.underWay(ctx, dataset)
	if err != nil && (g == nil || g.Number != number) { // a note that can't be read is no reason to keep the generation
		return err
	}
	if r != nil && r.Generation == number {
		return fault.New(fault.Conflict, "drop index of "+dataset, "generation %d is being built", number).
			WithHint("strata sync rebuild %s --abort", dataset)
	}
	r = &Rebuild{Dataset: dataset, Generation: number}
	if err := b.record(ctx, "drop", r, who, why); err != nil {
		return err
	}
	return b.drop(ctx, r)
}

func (b *Rebuilds) drop(ctx context.Context, r *Rebuild) error {
	if err := b.cfg.At("rebuild.drop"); err != nil {
		return err
	}
	if err := b.cfg.Index.Drop(ctx, r.Dataset, r.Generation); err != nil {
		return err
	}
	return b.cfg.At("rebuild.dropped")
}
