package index

import (
	"context"
	"slices"
	"sync"
	"time"

	"strata/catalog"
	"strata/fault"
)

// GenerationsConfig is what NewGenerations needs.
type GenerationsConfig struct {
	Shelf Shelf
	Now   func() time.Time
	// At is asked at every crash point; nil: none.
	At func(point string) error
}

// CrashPoints are the names that GenerationsConfig.At is asked with.
func CrashPoints() []string { return []string{"index.switch.between", "index.drop.between"} }

// Generations is an Index whose datasets may have several generations: as an Index it is, of each dataset, the one that
// answers. A process learns of a switch by its next call of Watermarks, and what it searches afterwards has what that call
// claimed.
type Generations struct {
	cfg   GenerationsConfig
	mu    sync.Mutex
	known map[string]*Register // as read last
}

var _ Index = (*Generations)(nil)

// NewGenerations checks the configuration.
func NewGenerations(cfg GenerationsConfig) (*Generations, error) {
	if cfg.Shelf == nil || cfg.Now == nil {
		return nil, fault.New(fault.Invalid, "configure index", "no shelf or no clock")
	}
	if cfg.At == nil {
		cfg.At = func(string) error { return nil }
	}
	return &Generations{cfg: cfg, known: map[string]*Register{}}, nil
}

// Open returns one generation alone: it writes and reads that one, whichever answers. Errors: fault.Stale where it is gone.
// Its Close does nothing.
func (x *Generations) Open(ctx context.Context, dataset string, number int) (Index, error) {
	r, err := x.register(ctx, dataset)
	if err != nil {
		return nil, err
	}
	g := r.find(number)
	if g == nil {
		return nil, gone(dataset, number)
	}
	return x.open(dataset, number, g.Floor), nil
}

func (x *Generations) open(dataset string, number int, floor Version) *single {
	return &single{x: x, dataset: dataset, stored: StoredName(dataset, number), number: number, floor: floor}
}

// serving is the generation that answers, as this process read it last.
func (x *Generations) serving(ctx context.Context, dataset string) (*single, error) {
	r, err := x.last(ctx, dataset)
	if err != nil {
		return nil, err
	}
	return x.open(dataset, r.Serving, r.find(r.Serving).Floor), nil
}

// ask calls f with the generation that answers; again with another one where that is why f failed.
func (x *Generations) ask(ctx context.Context, dataset string, f func(*single) error) error {
	g, err := x.serving(ctx, dataset)
	if err != nil {
		return err
	}
	if err = f(g); err == nil || ctx.Err() != nil {
		return err
	}
	r, again := x.register(ctx, dataset)
	if again != nil || r.Serving == g.number {
		return err
	}
	return f(x.open(dataset, r.Serving, r.find(r.Serving).Floor))
}

// Ensure fulfils Writer.
func (x *Generations) Ensure(ctx context.Context, d *catalog.Dataset) error {
	r, err := x.register(ctx, d.Name)
	if err != nil {
		return err
	}
	return x.open(d.Name, r.Serving, r.find(r.Serving).Floor).Ensure(ctx, d)
}

// Apply fulfils Writer.
func (x *Generations) Apply(ctx context.Context, dataset string, docs []Document) (out []Outcome, err error) {
	err = x.ask(ctx, dataset, func(g *single) (err error) {
		out, err = g.Apply(ctx, dataset, docs)
		return err
	})
	return out, err
}

// Refresh fulfils Writer.
func (x *Generations) Refresh(ctx context.Context, dataset string) error {
	return x.ask(ctx, dataset, func(g *single) error { return g.Refresh(ctx, dataset) })
}

// PutWatermark fulfils Writer.
func (x *Generations) PutWatermark(ctx context.Context, w Watermark) error {
	return x.ask(ctx, w.Dataset, func(g *single) error { return g.PutWatermark(ctx, w) })
}

// Sweep fulfils Writer: of the generation that answers.
func (x *Generations) Sweep(ctx context.Context, dataset string, below Version) (n int64, err error) {
	err = x.ask(ctx, dataset, func(g *single) (err error) {
		n, err = g.Sweep(ctx, dataset, below)
		return err
	})
	return n, err
}

// maxLooks bounds how often watermarks are read again because a switch came between.
const maxLooks = 10

// Watermarks fulfils Reader. The register is read before and after: what was claimed while it stayed the same holds for
// every search of this process from now on, as a switch waits until the next generation has all that was claimed before its
// handover, and during the handover only what both have is claimed (law L4).
func (x *Generations) Watermarks(ctx context.Context, dataset string) ([]Watermark, error) {
	r, err := x.last(ctx, dataset)
	for range maxLooks {
		if err != nil {
			return nil, err
		}
		marks, failed := x.open(dataset, r.Serving, 0).Watermarks(ctx, dataset)
		if r.Handover != 0 && failed == nil {
			var other []Watermark
			other, failed = x.open(dataset, r.Handover, 0).Watermarks(ctx, dataset)
			marks = lower(marks, other)
		}
		var now *Register
		if now, err = x.register(ctx, dataset); err != nil {
			continue
		}
		if now.Serving == r.Serving && now.Handover == r.Handover {
			return marks, failed
		}
		r = now
	}
	if err == nil {
		err = fault.New(fault.Busy, "read watermarks of "+dataset, "its generations change all the time")
	}
	return nil, err
}

// lower takes of each partition the watermark of the lower heartbeat; a partition that one of them lacks is not there.
func lower(a, b []Watermark) []Watermark {
	var out []Watermark
	for _, m := range a {
		i := slices.IndexFunc(b, func(o Watermark) bool { return o.Partition == m.Partition })
		if i < 0 {
			continue
		}
		if b[i].Heartbeat < m.Heartbeat {
			m = b[i]
		}
		out = append(out, m)
	}
	return out
}

// Search fulfils Reader.
func (x *Generations) Search(ctx context.Context, s Search) (p Page, err error) {
	err = x.ask(ctx, s.Dataset, func(g *single) (err error) {
		p, err = g.Search(ctx, s)
		return err
	})
	return p, err
}

// Count fulfils Reader.
func (x *Generations) Count(ctx context.Context, s Search) (n int64, err error) {
	err = x.ask(ctx, s.Dataset, func(g *single) (err error) {
		n, err = g.Count(ctx, s)
		return err
	})
	return n, err
}

// Get fulfils Reader.
func (x *Generations) Get(ctx context.Context, dataset string, ids []string) (out []Stored, err error) {
	err = x.ask(ctx, dataset, func(g *single) (err error) {
		out, err = g.Get(ctx, dataset, ids)
		return err
	})
	return out, err
}

// Scan fulfils Reader: of one generation to the end.
func (x *Generations) Scan(ctx context.Context, dataset, shard string, after catalog.Key, f func(*Stored) error) error {
	g, err := x.serving(ctx, dataset)
	if err != nil {
		return err
	}
	return g.Scan(ctx, dataset, shard, after, f)
}

// Digests fulfils Reader: of one generation to the end.
func (x *Generations) Digests(ctx context.Context, dataset, shard string, after catalog.Key, f func(*Digest) error) error {
	g, err := x.serving(ctx, dataset)
	if err != nil {
		return err
	}
	return g.Digests(ctx, dataset, shard, after, f)
}

// Shards fulfils Reader.
func (x *Generations) Shards(ctx context.Context, dataset string) (out []string, err error) {
	err = x.ask(ctx, dataset, func(g *single) (err error) {
		out, err = g.Shards(ctx, dataset)
		return err
	})
	return out, err
}

// HighestTerm fulfils Reader: of all generations.
func (x *Generations) HighestTerm(ctx context.Context) (uint32, error) {
	return x.cfg.Shelf.HighestTerm(ctx)
}

// Close closes the shelf.
func (x *Generations) Close() error { return x.cfg.Shelf.Close() }

// Fits returns nil where the generation that answers was made for d's columns, or was not made yet, and fault.Unavailable
// where it was made for others: it can't answer for d.
func (x *Generations) Fits(ctx context.Context, d *catalog.Dataset) error {
	g, err := x.serving(ctx, d.Name)
	if err != nil {
		return err
	}
	err = x.cfg.Shelf.Fits(ctx, g.renamed(d))
	switch {
	case fault.Is(err, fault.NotFound):
		return nil
	case fault.Is(err, fault.Unsafe):
		return fault.New(fault.Unavailable, "search "+d.Name, "%w", err).WithHint("strata sync rebuild %s", d.Name)
	}
	return err
}
