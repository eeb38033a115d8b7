package index

import (
	"context"

	"strata/catalog"
	"strata/fault"
)

// single is one generation of one dataset. It fulfils Index for that dataset.
type single struct {
	x       *Generations
	dataset string
	stored  string
	number  int
	floor   Version
}

var _ Index = (*single)(nil)

// renamed is the dataset as the shelf has it.
func (g *single) renamed(d *catalog.Dataset) *catalog.Dataset {
	if g.stored == d.Name {
		return d
	}
	c := *d
	c.Name = g.stored
	return &c
}

// mine refuses another dataset than the generation's.
func (g *single) mine(dataset string) error {
	if dataset != g.dataset {
		return fault.New(fault.NotFound, "open index", "no dataset %q in generation %d of %s", dataset, g.number, g.dataset)
	}
	return nil
}

// present reads the generation's line in the register.
func (g *single) present(ctx context.Context) (*Generation, error) {
	r, err := g.x.register(ctx, g.dataset)
	if err != nil {
		return nil, err
	}
	is := r.find(g.number)
	if is == nil {
		return nil, gone(g.dataset, g.number)
	}
	return is, nil
}

// Ensure fulfils Writer. A generation that is built begins at its Start. One that was made in this way and has lost its
// watermarks has lost its documents: what its topic has from Start on is not all of them unless somebody verifies it.
func (g *single) Ensure(ctx context.Context, d *catalog.Dataset) error {
	if err := g.mine(d.Name); err != nil {
		return err
	}
	is, err := g.present(ctx)
	if err != nil {
		return err
	}
	if err := g.x.cfg.Shelf.Ensure(ctx, g.renamed(d)); err != nil {
		return err
	}
	if _, err := g.present(ctx); err != nil { // dropped meanwhile: what was just made would stay for ever
		if fault.Is(err, fault.Stale) {
			_ = g.x.cfg.Shelf.Remove(ctx, g.stored)
		}
		return err
	}
	if len(is.Start) == 0 {
		return nil
	}
	if is.State != Building {
		marks, err := g.Watermarks(ctx, d.Name)
		if err == nil && len(marks) == 0 {
			err = fault.New(fault.Unsafe, "ensure index of "+d.Name, "generation %d was deleted by hand", g.number).
				WithHint("make another: strata sync rebuild %s", d.Name)
		}
		return err
	}
	for _, w := range is.Start {
		if err := g.PutWatermark(ctx, w); err != nil {
			return err
		}
	}
	return nil
}

// Apply fulfils Writer. What is not above the floor is older than the generation, whose rows were read later: it is Newer,
// also where the generation has no document of it, as the row may be gone since (law L2).
func (g *single) Apply(ctx context.Context, dataset string, docs []Document) ([]Outcome, error) {
	if err := g.mine(dataset); err != nil {
		return nil, err
	}
	var above []Document
	older := 0
	for i := range docs {
		if v := docs[i].Version; v != 0 && v <= g.floor {
			if older++; older == 1 {
				above = append(above, docs[:i]...)
			}
		} else if older > 0 {
			above = append(above, docs[i])
		}
	}
	if older == 0 {
		return g.x.cfg.Shelf.Apply(ctx, g.stored, docs)
	}
	part, err := g.x.cfg.Shelf.Apply(ctx, g.stored, above)
	if err != nil {
		return nil, err
	}
	out := make([]Outcome, 0, len(docs))
	for i := range docs {
		if v := docs[i].Version; v != 0 && v <= g.floor {
			out = append(out, Outcome{Status: Newer, StoredVersion: g.floor})
		} else {
			out, part = append(out, part[0]), part[1:]
		}
	}
	return out, nil
}

// Refresh fulfils Writer.
func (g *single) Refresh(ctx context.Context, dataset string) error {
	if err := g.mine(dataset); err != nil {
		return err
	}
	return g.x.cfg.Shelf.Refresh(ctx, g.stored)
}

// PutWatermark fulfils Writer.
func (g *single) PutWatermark(ctx context.Context, w Watermark) error {
	if err := g.mine(w.Dataset); err != nil {
		return err
	}
	w.Dataset = g.stored
	return g.x.cfg.Shelf.PutWatermark(ctx, w)
}

// Sweep fulfils Writer.
func (g *single) Sweep(ctx context.Context, dataset string, below Version) (int64, error) {
	if err := g.mine(dataset); err != nil {
		return 0, err
	}
	return g.x.cfg.Shelf.Sweep(ctx, g.stored, below)
}

// Watermarks fulfils Reader.
func (g *single) Watermarks(ctx context.Context, dataset string) ([]Watermark, error) {
	if err := g.mine(dataset); err != nil {
		return nil, err
	}
	marks, err := g.x.cfg.Shelf.Watermarks(ctx, g.stored)
	for i := range marks {
		marks[i].Dataset = dataset
	}
	return marks, err
}

// Search fulfils Reader.
func (g *single) Search(ctx context.Context, s Search) (Page, error) {
	if err := g.mine(s.Dataset); err != nil {
		return Page{}, err
	}
	s.Dataset = g.stored
	return g.x.cfg.Shelf.Search(ctx, s)
}

// Count fulfils Reader.
func (g *single) Count(ctx context.Context, s Search) (int64, error) {
	if err := g.mine(s.Dataset); err != nil {
		return 0, err
	}
	s.Dataset = g.stored
	return g.x.cfg.Shelf.Count(ctx, s)
}

// Get fulfils Reader.
func (g *single) Get(ctx context.Context, dataset string, ids []string) ([]Stored, error) {
	if err := g.mine(dataset); err != nil {
		return nil, err
	}
	return g.x.cfg.Shelf.Get(ctx, g.stored, ids)
}

// Scan fulfils Reader.
func (g *single) Scan(ctx context.Context, dataset, shard string, after catalog.Key, f func(*Stored) error) error {
	if err := g.mine(dataset); err != nil {
		return err
	}
	return g.x.cfg.Shelf.Scan(ctx, g.stored, shard, after, f)
}

// Digests fulfils Reader.
func (g *single) Digests(ctx context.Context, dataset, shard string, after catalog.Key, f func(*Digest) error) error {
	if err := g.mine(dataset); err != nil {
		return err
	}
	return g.x.cfg.Shelf.Digests(ctx, g.stored, shard, after, f)
}

// Shards fulfils Reader.
func (g *single) Shards(ctx context.Context, dataset string) ([]string, error) {
	if err := g.mine(dataset); err != nil {
		return nil, err
	}
	return g.x.cfg.Shelf.Shards(ctx, g.stored)
}

// HighestTerm fulfils Reader: of all generations.
func (g *single) HighestTerm(ctx context.Context) (uint32, error) {
	return g.x.cfg.Shelf.HighestTerm(ctx)
}

// Close does nothing: the shelf is the Generations'.
func (g *single) Close() error { return nil }
