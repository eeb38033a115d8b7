package router

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"strata/catalog"
	"strata/fault"
)

// minSecret is the least length of the key that signs cursors: that of the MAC.
const minSecret = 16

// Config is what a Router needs.
type Config struct {
	Datasets []*catalog.Dataset
	Viewer   Viewer
	Sources  map[catalog.Store]Source
	Index    Source // nil: there is no index
	Secret   []byte // signs cursors; at least 16 bytes, the same on every router
	Now      func() time.Time
	Log      *slog.Logger
	// ScanRows is how many rows of tables without a fitting index a query may read before the index is asked. 0: 100,000,
	// a quarter of a second.
	ScanRows int64
	// StoreRows is the same where the index can't answer; beyond it the query is refused. 0: 2,000,000, about five seconds.
	StoreRows int64
	Limits    Limits
}

// Router answers queries. It is safe for concurrent use.
type Router struct {
	cfg      Config
	datasets map[string]*catalog.Dataset
	open     atomic.Int64
	stats    struct{ queries, rows, replans, refused, failed atomic.Int64 }
}

// Stats are a router's counters since its start.
type Stats struct {
	Open    int64 `json:"open"` // results not yet closed
	Queries int64 `json:"queries"`
	Rows    int64 `json:"rows"`
	Replans int64 `json:"replans"` // plans made again because a range moved or a source failed
	Refused int64 `json:"refused"` // queries that were refused before they ran
	Failed  int64 `json:"failed"`  // queries that ended with an error after they ran
}

// New checks the configuration and makes a Router.
func New(cfg Config) (*Router, error) {
	var errs []error
	bad := func(format string, args ...any) {
		errs = append(errs, fault.New(fault.Invalid, "configure router", format, args...))
	}
	if cfg.Viewer == nil {
		bad("no Viewer")
	}
	if len(cfg.Secret) < minSecret {
		bad("the cursor secret has %d bytes, fewer than %d", len(cfg.Secret), minSecret)
	}
	if cfg.Now == nil {
		bad("no Now")
	}
	if cfg.Log == nil {
		bad("no Log")
	}
	r := &Router{cfg: cfg, datasets: map[string]*catalog.Dataset{}}
	for _, d := range cfg.Datasets {
		if r.datasets[d.Name] != nil {
			bad("dataset %s twice", d.Name)
		}
		if len(d.Key) == 0 || slices.Contains(d.KeyIndexes(), -1) {
			bad("dataset %s has no key, or a key column that it hasn't", d.Name)
		}
		r.datasets[d.Name] = d
	}
	for store, s := range cfg.Sources {
		if s == nil {
			bad("source of %s is nil", store)
		}
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	if r.cfg.ScanRows <= 0 {
		r.cfg.ScanRows = 100_000
	}
	if r.cfg.StoreRows <= 0 {
		r.cfg.StoreRows = 2_000_000
	}
	r.cfg.Limits = cfg.Limits.withDefaults()
	return r, nil
}

// Datasets returns the datasets by name.
func (r *Router) Datasets() []*catalog.Dataset {
	out := make([]*catalog.Dataset, 0, len(r.datasets))
	for _, d := range r.datasets {
		out = append(out, d)
	}
	slices.SortFunc(out, func(a, b *catalog.Dataset) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// Dataset returns the dataset, or fault.NotFound.
func (r *Router) Dataset(name string) (*catalog.Dataset, error) {
	d := r.datasets[name]
	if d != nil {
		return d, nil
	}
	names := make([]string, 0, len(r.datasets))
	for _, d := range r.Datasets() {
		names = append(names, d.Name)
	}
	return nil, fault.New(fault.NotFound, "find dataset", "there is no dataset %q", name).
		WithHint("the datasets are %s", strings.Join(names, ", "))
}

// View asks every store now who owns what of the dataset.
func (r *Router) View(ctx context.Context, dataset string) (*catalog.View, error) {
	d, err := r.Dataset(dataset)
	if err != nil {
		return nil, err
	}
	return r.cfg.Viewer.View(ctx, d)
}

// Query plans q, opens its sources and reads the first row of each, so that everything that can be refused is refused
// here. ctx must live until the Result is closed; its end ends the query on the servers too.
func (r *Router) Query(ctx context.Context, q Query) (*Result, error) {
	p, err := r.prepare(q)
	if err != nil {
		r.stats.refused.Add(1)
		return nil, err
	}
	if n := r.open.Add(1); n > int64(r.cfg.Limits.Queries) {
		r.open.Add(-1)
		r.stats.refused.Add(1)
		return nil, fault.New(fault.Busy, "query "+q.Dataset, "%d queries are open", r.cfg.Limits.Queries).
			WithHint("try again in a moment")
	}
	r.stats.queries.Add(1)
	ctx, cancel := context.WithTimeout(ctx, p.q.Timeout)
	p.deadline, _ = ctx.Deadline()
	x := newResult(r, p, ctx, cancel)
	if len(p.q.Aggregates) > 0 {
		err = x.aggregate(ctx)
	} else {
		err = x.start(ctx)
	}
	if err != nil {
		_ = x.Close()
		if fault.Is(err, fault.TooLarge) {
			r.stats.refused.Add(1)
		} else {
			r.stats.failed.Add(1)
		}
		return nil, err
	}
	return x, nil
}

// Explain returns the plan that Query would run now. Nothing is read but ownership and estimates.
func (r *Router) Explain(ctx context.Context, q Query) (*Plan, error) {
	p, err := r.prepare(q)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, p.q.Timeout)
	defer cancel()
	p.deadline, _ = ctx.Deadline()
	plan, _, err := r.plan(ctx, p, nil)
	return plan, err
}

// Stats returns the counters.
func (r *Router) Stats() Stats {
	return Stats{Open: r.open.Load(), Queries: r.stats.queries.Load(), Rows: r.stats.rows.Load(),
		Replans: r.stats.replans.Load(), Refused: r.stats.refused.Load(), Failed: r.stats.failed.Load()}
}
