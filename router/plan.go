package router

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"strata/catalog"
	"strata/fault"
)

// Plan says which source would be asked for what, and why.
type Plan struct {
	Dataset string    `json:"dataset"`
	Filter  string    `json:"filter"`
	Order   []string  `json:"order,omitempty"`
	Legs    []PlanLeg `json:"legs"`
	Shards  int       `json:"shards"`  // of the dataset
	Skipped int       `json:"skipped"` // shards that can't hold a wanted row
}

// PlanLeg is one source's part.
type PlanLeg struct {
	Source string     `json:"source"`
	Parts  []PlanPart `json:"parts"`
}

// PlanPart is one shard of a leg.
type PlanPart struct {
	Shard  string `json:"shard"`
	Owner  string `json:"owner"`
	Epoch  uint64 `json:"epoch"`
	Filter string `json:"filter"` // folded for this shard
	Rows   int64  `json:"rows"`   // estimated to be read; 0 where nobody estimates
	Why    string `json:"why"`
}

// String prints the plan for people.
func (p *Plan) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "dataset  %s\nfilter   %s\n", p.Dataset, p.Filter)
	if len(p.Order) > 0 {
		fmt.Fprintf(&b, "order    %s\n", strings.Join(p.Order, ", "))
	}
	fmt.Fprintf(&b, "shards   %d, of which %d are not asked\n", p.Shards, p.Skipped)
	for _, l := range p.Legs {
		fmt.Fprintf(&b, "%s\n", l.Source)
		for _, part := range l.Parts {
			fmt.Fprintf(&b, "  %s  owner %s  epoch %d  ~%d rows  %s\n    where %s\n", part.Shard, part.Owner, part.Epoch, part.Rows, part.Why, part.Filter)
		}
	}
	return b.String()
}

// avoid holds the sources that failed in this query, by name.
type avoid map[string]error

// sourceError is an error with the source that it came from.
type sourceError struct {
	source string
	err    error
}

func (e *sourceError) Error() string { return e.source + ": " + e.err.Error() }
func (e *sourceError) Unwrap() error { return e.err }

// leg is one source with what it is asked for.
type leg struct {
	src   Source
	fetch Fetch
	why   []string // distinct reasons
	// mutable: rows may still change there, so its heartbeat is part of the position.
	mutable bool

	rows   Rows
	opened Opened
	head   *catalog.Row
	done   bool
	count  int64
}

// plan asks for the view and shares the shards out among the sources. The legs are in the order of their sources' names.
func (r *Router) plan(ctx context.Context, p *prepared, not avoid) (*Plan, []*leg, error) {
	view, err := r.cfg.Viewer.View(ctx, p.ds)
	if err != nil {
		return nil, nil, fmt.Errorf("view %s: %w", p.ds.Name, err)
	}
	plan := &Plan{Dataset: p.ds.Name, Filter: p.q.Filter.String(), Legs: []PlanLeg{}, Shards: len(view.Holdings)}
	for _, o := range p.q.Order {
		plan.Order = append(plan.Order, o.Column+map[bool]string{true: " desc", false: ""}[o.Desc])
	}
	c := &chooser{r: r, p: p, not: not, legs: map[string]*leg{}, parts: map[string][]PlanPart{}}
	narrow := catalog.AndAll(p.q.Filter, p.reached())
	for _, h := range view.Holdings {
		if narrow.Fold(p.ds, h.Shard.Range).Op == catalog.False {
			plan.Skipped++
			continue
		}
		if c.asked >= r.cfg.Limits.Parts {
			return nil, nil, tooLarge(p.q, "the query asks more than %d shards", r.cfg.Limits.Parts).
				WithHint("narrow the range of %s", p.ds.Time)
		}
		if err := c.choose(ctx, h); err != nil {
			return nil, nil, err
		}
	}
	legs := make([]*leg, 0, len(c.legs))
	for _, l := range c.legs {
		legs = append(legs, l)
	}
	slices.SortFunc(legs, func(a, b *leg) int { return strings.Compare(a.src.Name(), b.src.Name()) })
	for _, l := range legs {
		plan.Legs = append(plan.Legs, PlanLeg{Source: l.src.Name(), Parts: c.parts[l.src.Name()]})
	}
	return plan, legs, nil
}

// reached is what the cursor says of the time column where the order begins with it: whole shards lie behind it.
func (p *prepared) reached() catalog.Filter {
	if len(p.after) == 0 || p.ds.Time == "" || p.q.Order[0].Column != p.ds.Time || p.after[0] == nil {
		return catalog.Filter{}
	}
	op := catalog.Ge
	if p.q.Order[0].Desc {
		op = catalog.Le
	}
	return catalog.Cmp(p.ds.Time, op, *p.after[0])
}

// chooser shares shards out while it counts what scans would cost.
type chooser struct {
	r     *Router
	p     *prepared
	not   avoid
	legs  map[string]*leg
	parts map[string][]PlanPart
	asked int
	scan  int64 // rows of tables that will be read without a fitting index
}

// choose picks the source of one shard, as the package comment says.
func (c *chooser) choose(ctx context.Context, h catalog.Holding) error {
	c.asked++
	if c.p.matched != "" {
		return c.byWords(h)
	}
	store, index := c.r.cfg.Sources[h.Store], c.r.cfg.Index
	if store == nil && index == nil {
		return fault.New(fault.Unavailable, "plan "+c.p.ds.Name, "shard %s is owned by %s, which is not configured", h.Shard.Table, h.Store).
			WithHint("configure the DSN of %s", h.Store)
	}
	var down error
	switch {
	case store == nil:
		down = fault.New(fault.Unavailable, "plan "+c.p.ds.Name, "store %s is not configured", h.Store)
	case c.not[store.Name()] != nil:
		down = c.not[store.Name()]
	}
	var cost Cost
	if down == nil {
		var err error
		if cost, err = c.cost(ctx, store, h); err != nil {
			return err
		}
		if cost.Indexed {
			c.add(store, h, cost.Rows, cost.Why)
			return nil
		}
		if c.scan+cost.Rows <= c.r.cfg.ScanRows {
			c.scan += cost.Rows
			c.add(store, h, cost.Rows, "small enough to read whole")
			return nil
		}
	}
	if c.indexMay() {
		why := "no index of the table fits"
		if down != nil {
			why = string(h.Store) + " can't answer"
		}
		c.add(index, h, 0, why)
		return nil
	}
	if down != nil {
		return c.withoutIndex(down)
	}
	if c.scan+cost.Rows <= c.r.cfg.StoreRows {
		c.scan += cost.Rows
		why := "read whole: no index of the table fits"
		if c.masked() {
			why += ", and the index has " + c.p.masked + " masked"
		}
		c.add(store, h, cost.Rows, why)
		return nil
	}
	return tooLarge(c.p.q, "about %d rows would be read without a fitting index, beginning with %s; at most %d", c.scan+cost.Rows, h.Shard.Table, c.r.cfg.StoreRows).
		WithHint("%s", c.hint())
}

// byWords gives a shard to the index, as no store knows words.
func (c *chooser) byWords(h catalog.Holding) error {
	name, index := c.p.matched, c.r.cfg.Index
	if c.indexMay() {
		c.add(index, h, 0, "only the index has the words of "+name)
		return nil
	}
	refuse := func(hint, format string, args ...any) error {
		return invalid(c.p.q, "only the index has the words of "+name+", and "+format, args...).WithHint("%s", hint)
	}
	part := "look for a part of the text instead (LIKE '%…%', contains), which live and archive can do"
	switch {
	case index == nil:
		return refuse(part, "there is none")
	case c.not[index.Name()] != nil:
		down := c.not[index.Name()]
		return fault.New(fault.KindOf(down), "plan "+c.p.ds.Name, "only the index has the words of %s: %w", name, down).WithHint("%s", part)
	case c.p.q.Freshness.Strong:
		return refuse("ask without strong; "+part, "a strong query doesn't ask it")
	case c.p.masked != "":
		return refuse("leave "+c.p.masked+" out of the query; "+part, "column %s is masked there", c.p.masked)
	}
	return refuse("read the rows and add them up; "+part, "it never adds up")
}

// indexMay reports whether the index may answer a part of this query.
func (c *chooser) indexMay() bool {
	index := c.r.cfg.Index
	if index == nil || c.not[index.Name()] != nil || c.p.q.Freshness.Strong || c.p.masked != "" {
		return false
	}
	return !slices.ContainsFunc(c.p.q.Aggregates, func(a Aggregate) bool { return a.Func == Sum })
}

// masked reports whether masks keep the query from an index that is there.
func (c *chooser) masked() bool { return c.r.cfg.Index != nil && c.p.masked != "" }

// withoutIndex is the error of a store that can't answer, where masks keep the index from answering in its place.
func (c *chooser) withoutIndex(down error) error {
	if !c.masked() || c.p.q.Freshness.Strong {
		return down
	}
	return fault.New(fault.KindOf(down), "plan "+c.p.ds.Name, "%w", down).
		WithHint("the index has column %s masked: a query that doesn't name it may be answered there", c.p.masked)
}

func (c *chooser) hint() string {
	h := "filter by a column that leads an index of the table"
	if c.p.ds.Time != "" {
		h += ", or narrow the range of " + c.p.ds.Time
	}
	if c.masked() {
		h += "; the index can't answer what names " + c.p.masked + ": that column is masked there"
	} else if c.r.cfg.Index != nil && c.p.q.Freshness.Strong {
		h += ", or ask without strong so that the index may answer"
	}
	if index := c.r.cfg.Index; index != nil && c.not[index.Name()] != nil {
		h += "; the index can't answer: " + c.not[index.Name()].Error()
	}
	return h
}

func (c *chooser) cost(ctx context.Context, s Source, h catalog.Holding) (Cost, error) {
	coster, ok := s.(Coster)
	if !ok {
		return Cost{Indexed: true, Why: "owner"}, nil
	}
	f := c.p.base()
	f.Holdings = []catalog.Holding{h}
	cost, err := coster.Cost(ctx, f)
	if err != nil {
		return cost, &sourceError{s.Name(), err}
	}
	return cost, nil
}

func (c *chooser) add(s Source, h catalog.Holding, rows int64, why string) {
	name := s.Name()
	l := c.legs[name]
	if l == nil {
		l = &leg{src: s, fetch: c.p.base(), mutable: s == c.r.cfg.Index || h.Store == catalog.Live}
		c.legs[name] = l
	}
	l.fetch.Holdings = append(l.fetch.Holdings, h)
	if !slices.Contains(l.why, why) {
		l.why = append(l.why, why)
	}
	c.parts[name] = append(c.parts[name], PlanPart{Shard: h.Shard.Table, Owner: string(h.Store), Epoch: h.Epoch,
		Filter: c.p.q.Filter.Fold(c.p.ds, h.Shard.Range).String(), Rows: rows, Why: why})
}

// base is the Fetch of p without holdings.
func (p *prepared) base() Fetch {
	f := Fetch{Dataset: p.ds, Filter: p.q.Filter, Columns: p.fetch, Order: p.q.Order, After: p.after,
		Freshness: p.q.Freshness, Deadline: p.deadline}
	if len(p.q.Aggregates) > 0 {
		f.Columns, f.Order, f.Aggregates = p.q.GroupBy, nil, p.q.Aggregates
		return f
	}
	if p.q.Limit > 0 {
		f.Limit = p.q.Limit + 1 // one more tells whether there is a next page
	}
	return f
}
