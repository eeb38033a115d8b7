package router

import (
	"crypto/sha256"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"strata/catalog"
	"strata/fault"
)

// prepared is a query that was checked: everything named exists, values are canonical, the order is total.
type prepared struct {
	ds       *catalog.Dataset
	q        Query
	out      []catalog.Column // of the result
	fetch    []string         // columns asked of the sources: the result's, then missing order columns
	sort     []catalog.Sort   // the total order, as positions in fetch
	hash     [16]byte         // of what a cursor belongs to
	after    []*string        // order cells after which to go on; nil: from the start
	position uint64           // of the first page; 0: none
	page     uint64           // 1 is the first
	masked   string           // a column that it names and that the index has otherwise than the stores; "": none
	matched  string           // a column whose words it asks for, which only the index has; "": none
	deadline time.Time
}

// findMasked finds a masked column among those that are filtered, read, sorted, grouped or added up.
func (p *prepared) findMasked() string {
	for _, names := range [][]string{p.fetch, p.q.GroupBy} {
		if i := slices.IndexFunc(names, p.ds.Masked); i >= 0 {
			return names[i]
		}
	}
	if i := slices.IndexFunc(p.q.Aggregates, func(a Aggregate) bool { return p.ds.Masked(a.Column) }); i >= 0 {
		return p.q.Aggregates[i].Column
	}
	return p.q.Filter.FindColumn(p.ds.Masked)
}

// prepare checks q against the dataset and the limits. Nothing is asked of any server.
func (r *Router) prepare(q Query) (*prepared, error) {
	ds, err := r.Dataset(q.Dataset)
	if err != nil {
		return nil, err
	}
	l := r.cfg.Limits
	p := &prepared{ds: ds, page: 1}
	if q.Limit < 0 || q.Limit > l.Page {
		return nil, tooLarge(q, "a page of %d rows; at most %d", q.Limit, l.Page).
			WithHint("ask for at most %d rows and go on with the cursor, or stream without a limit", l.Page)
	}
	if q.Filter, err = r.normal(ds, q); err != nil {
		return nil, err
	}
	switch {
	case q.Timeout < 0 || q.Timeout > l.MaxTimeout:
		return nil, tooLarge(q, "a timeout of %s; at most %s", q.Timeout, l.MaxTimeout)
	case q.Timeout == 0 && q.Limit == 0 && len(q.Aggregates) == 0:
		q.Timeout = l.Stream
	case q.Timeout == 0:
		q.Timeout = l.Timeout
	}
	if q.Freshness.Wait == 0 {
		q.Freshness.Wait = 2 * time.Second
	}
	if f := q.Freshness; f.Bounded < 0 || f.Wait < 0 {
		return nil, invalid(q, "a negative time in the freshness")
	}
	p.q, p.matched = q, q.Filter.FindOp(catalog.Match)
	if len(q.Aggregates) > 0 || len(q.GroupBy) > 0 {
		err = p.prepareAggregates(l)
		p.masked = p.findMasked()
		return p, err
	}
	if err := p.prepareRows(l); err != nil {
		return nil, err
	}
	p.masked = p.findMasked()
	return p, r.readCursor(p)
}

func invalid(q Query, format string, args ...any) *fault.Error {
	return fault.New(fault.Invalid, "query "+q.Dataset, format, args...)
}

func tooLarge(q Query, format string, args ...any) *fault.Error {
	return fault.New(fault.TooLarge, "query "+q.Dataset, format, args...)
}

// prepareRows settles columns and order.
func (p *prepared) prepareRows(l Limits) error {
	q, ds := &p.q, p.ds
	if q.Columns == nil {
		q.Columns = ds.Names()
	}
	if len(q.Columns) == 0 || len(q.Columns) > l.Columns {
		return invalid(*q, "%d columns; 1 to %d", len(q.Columns), l.Columns)
	}
	for i, name := range q.Columns {
		c, ok := ds.Column(name)
		if !ok {
			return noColumn(*q, ds, name)
		}
		if slices.Contains(q.Columns[:i], name) {
			return invalid(*q, "column %s twice", name)
		}
		p.out = append(p.out, c)
	}
	p.fetch = slices.Clone(q.Columns)
	if err := p.totalOrder(l); err != nil {
		return err
	}
	raw, err := json.Marshal(struct {
		Dataset string
		Columns []string
		Filter  catalog.Filter
		Order   []Order
		Strong  bool
	}{ds.Name, q.Columns, q.Filter, q.Order, q.Freshness.Strong})
	if err != nil {
		return fault.Wrap(fault.Internal, "hash query", err)
	}
	sum := sha256.Sum256(raw)
	copy(p.hash[:], sum[:])
	return nil
}

func noColumn(q Query, ds *catalog.Dataset, name string) error {
	return invalid(q, "dataset %s has no column %q", ds.Name, name).
		WithHint("its columns are %s", strings.Join(ds.Names(), ", "))
}

// totalOrder completes the order with the key, in the direction of the last sort column so that one index can serve it.
func (p *prepared) totalOrder(l Limits) error {
	q, ds := &p.q, p.ds
	order := slices.Clone(q.Order)
	if len(order) == 0 && ds.Time != "" {
		order = append(order, Order{Column: ds.Time})
	}
	desc := len(order) > 0 && order[len(order)-1].Desc
	for _, k := range ds.Key {
		if !slices.ContainsFunc(order, func(o Order) bool { return o.Column == k }) {
			order = append(order, Order{Column: k, Desc: desc})
		}
	}
	if len(order) > l.Sorts {
		return tooLarge(*q, "%d sort columns; at most %d", len(order), l.Sorts)
	}
	for i, o := range order {
		c, ok := ds.Column(o.Column)
		if !ok {
			return noColumn(*q, ds, o.Column)
		}
		if slices.ContainsFunc(order[:i], func(e Order) bool { return e.Column == o.Column }) {
			return invalid(*q, "sort column %s twice", o.Column)
		}
		if err := checkSort(*q, c); err != nil {
			return err
		}
		at := slices.Index(p.fetch, o.Column)
		if at < 0 {
			at = len(p.fetch)
			p.fetch = append(p.fetch, o.Column)
		}
		p.sort = append(p.sort, catalog.Sort{Index: at, Type: c.Type, Desc: o.Desc})
	}
	q.Order = order
	return nil
}

// checkSort refuses what two sources would not order alike, and FLOAT, whose text and value differ.
func checkSort(q Query, c catalog.Column) error {
	if c.Type.Kind == catalog.Float || !c.Sortable() {
		what := c.Type.Kind.String()
		if c.Collation != "" {
			what += " " + c.Collation
		}
		return invalid(q, "column %s (%s) can't be sorted or grouped by the same way in every source", c.Name, what).
			WithHint("use a number, a date, or a character column with a binary collation such as utf8mb4_bin")
	}
	return nil
}

// normal checks the filter, brings its values into canonical form and simplifies it.
func (r *Router) normal(ds *catalog.Dataset, q Query) (catalog.Filter, error) {
	w := &walk{q: q, ds: ds, l: r.cfg.Limits}
	f, err := w.filter(q.Filter, 1)
	if err != nil {
		return f, err
	}
	return f.Simplify(), nil
}

// walk counts what a filter is made of while it makes it canonical.
type walk struct {
	q            Query
	ds           *catalog.Dataset
	l            Limits
	nodes, bytes int
}

func (w *walk) filter(f catalog.Filter, depth int) (catalog.Filter, error) {
	w.nodes++
	for _, v := range f.Values {
		w.bytes += len(v)
	}
	switch {
	case depth > w.l.Depth:
		return f, tooLarge(w.q, "the filter is nested deeper than %d", w.l.Depth).WithHint("write a simpler condition")
	case w.nodes > w.l.Nodes:
		return f, tooLarge(w.q, "the filter has more than %d conditions", w.l.Nodes).WithHint("use IN for many values of one column")
	case len(f.Values) > w.l.In:
		return f, tooLarge(w.q, "%d values in one list; at most %d", len(f.Values), w.l.In).WithHint("ask in several queries")
	case w.bytes > w.l.Bytes:
		return f, tooLarge(w.q, "the filter's values have more than %d bytes", w.l.Bytes).WithHint("ask in several queries")
	}
	if f.Op > catalog.Match {
		return f, invalid(w.q, "unknown operation %d in the filter", f.Op)
	}
	if f.Op == catalog.And || f.Op == catalog.Or || f.Op == catalog.Not {
		args := make([]catalog.Filter, len(f.Args))
		for i, a := range f.Args {
			var err error
			if args[i], err = w.filter(a, depth+1); err != nil {
				return f, err
			}
		}
		f.Args = args
		if len(args) == 0 || f.Op == catalog.Not && len(args) != 1 {
			return f, f.Check(w.ds)
		}
		return f, nil
	}
	if err := f.Check(w.ds); err != nil {
		return f, err
	}
	c, ok := w.ds.Column(f.Column)
	if !ok {
		return f, nil // true, false
	}
	if c.Type.Kind == catalog.Float && f.Op != catalog.IsNull {
		return f, invalid(w.q, "column %s is FLOAT, whose values can't be compared with decimal texts exactly", c.Name).
			WithHint("compare a DOUBLE or DECIMAL column")
	}
	values := make([]string, len(f.Values))
	for i, v := range f.Values {
		values[i] = catalog.Canonical(c.Type, v)
	}
	f.Values = values
	return f, nil
}
