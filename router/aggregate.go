package router

import (
	"context"
	"io"
	"math/big"
	"slices"
	"strings"

	"strata/catalog"
	"strata/fault"
)

// maxAggregates bounds the computed columns of a query.
const maxAggregates = 32

// prepareAggregates checks an aggregation and settles its columns.
func (p *prepared) prepareAggregates(l Limits) error {
	q := &p.q
	switch {
	case len(q.Aggregates) == 0:
		return invalid(*q, "GROUP BY without count or sum").WithHint("add count(*)")
	case len(q.Columns) > 0 || len(q.Order) > 0:
		return invalid(*q, "columns or an order beside count or sum").WithHint("an aggregation has the GROUP BY columns, in their order")
	case q.Cursor != "":
		return invalid(*q, "an aggregation has no pages")
	case len(q.Aggregates) > maxAggregates || len(q.GroupBy) > l.Sorts:
		return tooLarge(*q, "%d computed and %d group columns; at most %d and %d", len(q.Aggregates), len(q.GroupBy), maxAggregates, l.Sorts)
	}
	for i, g := range q.GroupBy {
		c, ok := p.ds.Column(g)
		if !ok {
			return noColumn(*q, p.ds, g)
		}
		if slices.Contains(q.GroupBy[:i], g) {
			return invalid(*q, "GROUP BY %s twice", g)
		}
		if err := checkSort(*q, c); err != nil {
			return err
		}
		p.out = append(p.out, c)
		p.sort = append(p.sort, catalog.Sort{Index: i, Type: c.Type})
	}
	q.Aggregates = slices.Clone(q.Aggregates)
	for i := range q.Aggregates {
		c, err := p.aggregateColumn(&q.Aggregates[i])
		if err != nil {
			return err
		}
		if slices.ContainsFunc(p.out, func(o catalog.Column) bool { return o.Name == c.Name }) {
			return invalid(*q, "two columns are named %s", c.Name).WithHint("name one of them: count(*) AS n")
		}
		p.out = append(p.out, c)
	}
	p.fetch = q.GroupBy
	return nil
}

// aggregateColumn checks one aggregate, names it and gives its column.
func (p *prepared) aggregateColumn(a *Aggregate) (catalog.Column, error) {
	switch a.Func {
	case Count:
		if a.Column != "" {
			return catalog.Column{}, invalid(p.q, "count(%s)", a.Column).
				WithHint("count(*) counts rows; filter by %s IS NOT NULL", a.Column)
		}
		if a.Name == "" {
			a.Name = "count"
		}
		return catalog.Column{Name: a.Name, Type: catalog.Type{Kind: catalog.Int, Size: 8}}, nil
	case Sum:
		c, ok := p.ds.Column(a.Column)
		if !ok {
			return c, noColumn(p.q, p.ds, a.Column)
		}
		if k := c.Type.Kind; k != catalog.Int && k != catalog.Uint && k != catalog.Decimal {
			return c, invalid(p.q, "sum(%s) of a %s column", a.Column, k).WithHint("only integers and DECIMAL can be summed exactly")
		}
		if err := p.checkUnit(a.Column); err != nil {
			return c, err
		}
		if a.Name == "" {
			a.Name = "sum_" + a.Column
		}
		return catalog.Column{Name: a.Name, Type: catalog.Type{Kind: catalog.Decimal, Scale: c.Type.Scale}, Nullable: true}, nil
	}
	return catalog.Column{}, invalid(p.q, "unknown aggregate %q", a.Func).WithHint("count and sum are there")
}

// checkUnit refuses a sum over amounts of several units (law L8).
func (p *prepared) checkUnit(column string) error {
	for _, m := range p.ds.Money {
		if m.Column != column || m.UnitColumn == "" || slices.Contains(p.q.GroupBy, m.UnitColumn) {
			continue
		}
		fixed := slices.ContainsFunc(p.q.Filter.Conjuncts(), func(f catalog.Filter) bool {
			return f.Column == m.UnitColumn && (f.Op == catalog.Eq || f.Op == catalog.In) && len(f.Values) == 1
		})
		if !fixed {
			return invalid(p.q, "sum(%s) would add amounts of different units", column).
				WithHint("GROUP BY %s, or filter by one %s", m.UnitColumn, m.UnitColumn)
		}
	}
	return nil
}

// groups are the groups of an aggregation, merged over shards and sources.
type groups struct {
	p     *prepared
	limit int
	by    map[string]*group
	list  []*group
	image []byte
	at    int
	row   catalog.Row
}

// group is one group: its cells and its values; a sum that saw no value is nil.
type group struct {
	cells  catalog.Row
	values []*big.Int
}

// add merges one row of a source.
func (g *groups) add(row *catalog.Row) error {
	n := len(g.p.q.GroupBy)
	var cells catalog.Row
	for i := range n {
		cells.Append(row.Cell(i))
	}
	g.image = cells.AppendImage(g.image[:0])
	e := g.by[string(g.image)]
	if e == nil {
		if len(g.list) >= g.limit {
			return tooLarge(g.p.q, "more than %d groups", g.limit).WithHint("group by fewer columns, or filter")
		}
		e = &group{cells: cells, values: make([]*big.Int, len(g.p.q.Aggregates))}
		g.by[string(g.image)] = e
		g.list = append(g.list, e)
	}
	for i := range g.p.q.Aggregates {
		cell := row.Cell(n + i)
		if cell == nil {
			continue
		}
		v, ok := unscaled(cell, g.p.out[n+i].Type.Scale)
		if !ok {
			return fault.New(fault.Internal, "add "+g.p.out[n+i].Name, "%q is not a number of scale %d", cell, g.p.out[n+i].Type.Scale)
		}
		if e.values[i] == nil {
			e.values[i] = v
		} else {
			e.values[i].Add(e.values[i], v)
		}
	}
	return nil
}

// finish sorts the groups; without GROUP BY there is exactly one, also over no rows.
func (g *groups) finish() {
	if len(g.p.q.GroupBy) == 0 && len(g.list) == 0 {
		g.list = append(g.list, &group{values: make([]*big.Int, len(g.p.q.Aggregates))})
	}
	slices.SortFunc(g.list, func(a, b *group) int { return catalog.CompareRows(g.p.sort, &a.cells, &b.cells) })
}

func (g *groups) next() (*catalog.Row, error) {
	if g.at >= len(g.list) {
		return nil, io.EOF
	}
	e := g.list[g.at]
	g.at++
	g.row.Reset()
	for i := range e.cells.Len() {
		g.row.Append(e.cells.Cell(i))
	}
	for i, v := range e.values {
		switch {
		case v != nil:
			g.row.AppendString(scaled(v, g.p.out[e.cells.Len()+i].Type.Scale))
		case g.p.q.Aggregates[i].Func == Count:
			g.row.AppendString("0")
		default:
			g.row.AppendNull()
		}
	}
	return &g.row, nil
}

// unscaled reads a decimal text as an integer of 10^-scale.
func unscaled(cell []byte, scale int) (*big.Int, bool) {
	whole, frac, _ := strings.Cut(string(cell), ".")
	if len(frac) > scale {
		if strings.Trim(frac[scale:], "0") != "" {
			return nil, false
		}
		frac = frac[:scale]
	}
	return new(big.Int).SetString(whole+frac+strings.Repeat("0", scale-len(frac)), 10)
}

// scaled prints an integer of 10^-scale.
func scaled(v *big.Int, scale int) string {
	s := v.String()
	if scale == 0 {
		return s
	}
	sign := ""
	if s[0] == '-' {
		sign, s = "-", s[1:]
	}
	if len(s) <= scale {
		s = strings.Repeat("0", scale-len(s)+1) + s
	}
	return sign + s[:len(s)-scale] + "." + s[len(s)-scale:]
}

// aggregate reads every source to its end; after an error it starts again from nothing.
func (x *Result) aggregate(ctx context.Context) error {
	for {
		g := &groups{p: x.p, limit: x.r.cfg.Limits.Groups, by: map[string]*group{}}
		err := x.attempt(ctx)
		for err == nil {
			done := true
			for _, l := range x.legs {
				if l.head == nil {
					continue
				}
				done = false
				if err = g.add(l.head); err != nil {
					return err
				}
				l.count++
				l.head = nil
				if err = l.pull(ctx); err != nil {
					break
				}
			}
			if done {
				x.release()
				g.finish()
				x.groups = g
				return nil
			}
		}
		if err := x.forgive(ctx, err); err != nil {
			return err
		}
	}
}
