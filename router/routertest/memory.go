package routertest

import (
	"context"
	"io"
	"math/big"
	"slices"
	"strings"
	"sync"

	"strata/catalog"
	"strata/fault"
	"strata/router"
)

// Memory is a store in memory: a router.Source, and what it says of its parts.
type Memory struct {
	mu     sync.Mutex
	name   string
	store  catalog.Store
	parts  map[string]*part
	beat   router.Opened
	batch  int
	onRow  func(n int) error // called before the n-th row that is given out, from 1
	onOpen func() error
	cost   func(router.Fetch) (router.Cost, error)
	rows   int
	opens  int
}

// part is a shard with its rows.
type part struct {
	catalog.Part
	rows []catalog.Row
}

// NewMemory makes an empty store.
func NewMemory(store catalog.Store) *Memory {
	return &Memory{name: string(store), store: store, parts: map[string]*part{}, batch: 2,
		cost: func(router.Fetch) (router.Cost, error) { return router.Cost{Indexed: true, Why: "in memory"}, nil }}
}

// NewMemoryIndex makes a source named index, which owns nothing and is never Stale.
func NewMemoryIndex() *Memory {
	m := NewMemory("")
	m.name = "index"
	return m
}

// Load makes the shard owned at an epoch, with these rows.
func (m *Memory) Load(shard catalog.Shard, epoch uint64, rows []catalog.Row) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.parts[shard.Table] = &part{catalog.Part{Dataset: shard.Dataset, Shard: shard.Table, Range: shard.Range, Epoch: epoch, State: catalog.Owned}, rows}
}

// Release gives the shard up; its rows go.
func (m *Memory) Release(shard string, epoch uint64) (rows []catalog.Row) {
	m.mu.Lock()
	defer m.mu.Unlock()
	p := m.parts[shard]
	rows, p.rows = p.rows, nil
	p.State, p.Epoch = catalog.Released, epoch
	return rows
}

// SetBeat sets the heartbeat that the store has reached.
func (m *Memory) SetBeat(seq uint64, at catalog.Instant) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.beat = router.Opened{Heartbeat: seq, At: at}
}

// OnRow calls f before each row is given out, with its number over all fetches; its error is the source's. nil: nothing.
func (m *Memory) OnRow(f func(n int) error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.onRow, m.rows = f, 0
}

// OnOpen calls f at each Open; its error is the source's. nil: nothing.
func (m *Memory) OnOpen(f func() error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.onOpen = f
}

// OnCost replaces the estimate.
func (m *Memory) OnCost(f func(router.Fetch) (router.Cost, error)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.cost = f
}

// Opens is how often Open was called.
func (m *Memory) Opens() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.opens
}

// Says is what the store says of itself.
func (m *Memory) Says() catalog.Says {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := catalog.Says{Store: m.store}
	for _, p := range m.parts {
		s.Parts = append(s.Parts, p.Part)
	}
	return s
}

// Name is part of router.Source.
func (m *Memory) Name() string { return m.name }

// Cost is part of router.Coster.
func (m *Memory) Cost(_ context.Context, f router.Fetch) (router.Cost, error) {
	m.mu.Lock()
	cost := m.cost
	m.mu.Unlock()
	return cost(f)
}

// Open is part of router.Source.
func (m *Memory) Open(ctx context.Context, f router.Fetch) (router.Opened, error) {
	m.mu.Lock()
	m.opens++
	onOpen := m.onOpen
	m.mu.Unlock()
	if onOpen != nil {
		if err := onOpen(); err != nil {
			return router.Opened{}, err
		}
	}
	if name := f.Filter.FindOp(catalog.Match); name != "" && m.store != "" {
		return router.Opened{}, fault.New(fault.Internal, "open "+m.name, "asked for the words of %s", name)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.store != catalog.Archive && m.beat.Heartbeat < f.Freshness.AtLeast {
		return router.Opened{}, fault.New(fault.Unavailable, "open "+m.name, "heartbeat %d of %d", m.beat.Heartbeat, f.Freshness.AtLeast)
	}
	r := &memoryRows{m: m, f: f}
	if err := r.fill(); err != nil {
		return router.Opened{}, err
	}
	o := router.Opened{Rows: r}
	if m.store != catalog.Archive {
		o.Heartbeat, o.At = m.beat.Heartbeat, m.beat.At
	}
	return o, nil
}

// memoryRows gives out batches, each from one look at the store, as a real source does.
type memoryRows struct {
	m     *Memory
	f     router.Fetch
	batch []catalog.Row
	last  bool
	err   error
}

// fill takes the next batch and checks ownership; the caller holds the store's lock.
func (r *memoryRows) fill() error {
	f := r.f
	var found []catalog.Row
	for _, h := range f.Holdings {
		p := r.m.parts[h.Shard.Table]
		if r.m.store != "" && (p == nil || p.State != catalog.Owned || p.Epoch != h.Epoch) {
			return fault.New(fault.Stale, "open "+r.m.name, "shard %s isn't here at epoch %d", h.Shard.Table, h.Epoch)
		}
		if p == nil {
			continue
		}
		for i := range p.rows {
			if f.Filter.Accepts(f.Dataset, &p.rows[i]) {
				found = append(found, p.rows[i])
			}
		}
	}
	if len(f.Aggregates) > 0 {
		r.batch, r.last = Aggregated(f.Dataset, found, f.Columns, f.Aggregates), true
		return nil
	}
	found = Sorted(f.Dataset, found, f.Order, f.After)
	r.last = true
	if !f.Freshness.Strong && len(found) > r.m.batch {
		found, r.last = found[:r.m.batch], false
		r.f.After = Cells(f.Dataset, &found[len(found)-1], f.Order)
	}
	r.batch = Projected(f.Dataset, found, f.Columns)
	return nil
}

// Next is part of router.Rows.
func (r *memoryRows) Next(ctx context.Context) (*catalog.Row, error) {
	if r.err == nil {
		r.err = ctx.Err()
	}
	if r.err != nil {
		return nil, r.err
	}
	r.m.mu.Lock()
	onRow := r.m.onRow
	r.m.rows++
	n := r.m.rows
	if len(r.batch) == 0 && !r.last {
		r.err = r.fill()
	}
	r.m.mu.Unlock()
	if r.err == nil && len(r.batch) == 0 {
		r.err = io.EOF
	}
	if r.err == nil && onRow != nil {
		r.err = onRow(n)
	}
	if r.err != nil {
		return nil, r.err
	}
	row := &r.batch[0]
	r.batch = r.batch[1:]
	return row, nil
}

// Close is part of router.Rows.
func (r *memoryRows) Close() error {
	if r.err == nil {
		r.err = io.ErrClosedPipe
	}
	return nil
}

// Sorted returns the rows in order, those after the cells only. It is the plain definition that sources are compared with.
func Sorted(d *catalog.Dataset, rows []catalog.Row, order []router.Order, after []*string) []catalog.Row {
	sort := make([]catalog.Sort, len(order))
	for i, o := range order {
		at := d.Index(o.Column)
		sort[i] = catalog.Sort{Index: at, Type: d.Columns[at].Type, Desc: o.Desc}
	}
	rows = slices.Clone(rows)
	slices.SortStableFunc(rows, func(a, b catalog.Row) int { return catalog.CompareRows(sort, &a, &b) })
	if after == nil {
		return rows
	}
	return slices.DeleteFunc(rows, func(r catalog.Row) bool {
		for i, s := range sort {
			var cell []byte
			if after[i] != nil {
				cell = []byte(*after[i])
			}
			c := catalog.Compare(s.Type, r.Cell(s.Index), cell)
			if s.Desc {
				c = -c
			}
			if c != 0 {
				return c < 0
			}
		}
		return true
	})
}

// Cells returns the order cells of a row of all columns.
func Cells(d *catalog.Dataset, r *catalog.Row, order []router.Order) []*string {
	out := make([]*string, len(order))
	for i, o := range order {
		if c := r.Cell(d.Index(o.Column)); c != nil {
			text := string(c)
			out[i] = &text
		}
	}
	return out
}

// Projected cuts rows of all columns to some.
func Projected(d *catalog.Dataset, rows []catalog.Row, columns []string) []catalog.Row {
	out := make([]catalog.Row, len(rows))
	for i := range rows {
		for _, c := range columns {
			out[i].Append(rows[i].Cell(d.Index(c)))
		}
	}
	return out
}

// Aggregated is the plain definition of an aggregation, groups in no order; without groups over no rows, one row.
func Aggregated(d *catalog.Dataset, rows []catalog.Row, by []string, aggs []router.Aggregate) []catalog.Row {
	groups := map[string][]catalog.Row{}
	for _, r := range rows {
		key := Projected(d, []catalog.Row{r}, by)[0]
		image := string(key.AppendImage(nil))
		groups[image] = append(groups[image], r)
	}
	if len(by) == 0 && len(groups) == 0 {
		groups[""] = nil
	}
	var out []catalog.Row
	for _, g := range groups {
		var r catalog.Row
		if len(g) > 0 {
			r = Projected(d, g[:1], by)[0]
		}
		for _, a := range aggs {
			switch sum := sumOf(d, g, a.Column); {
			case a.Func == router.Count:
				r.AppendString(big.NewInt(int64(len(g))).String())
			case sum == "":
				r.AppendNull()
			default:
				r.AppendString(sum)
			}
		}
		out = append(out, r)
	}
	return out
}

func sumOf(d *catalog.Dataset, rows []catalog.Row, column string) string {
	at := d.Index(column)
	if at < 0 {
		return ""
	}
	scale, sum, any := d.Columns[at].Type.Scale, new(big.Rat), false
	for i := range rows {
		if c := rows[i].Cell(at); c != nil {
			v, _ := new(big.Rat).SetString(strings.TrimSpace(string(c)))
			sum.Add(sum, v)
			any = true
		}
	}
	if !any {
		return ""
	}
	return sum.FloatString(scale)
}
