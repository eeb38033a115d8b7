package sqlite

import (
	"context"
	"errors"
	"slices"

	"strata/catalog"
	"strata/index"
)

// plan is a search, checked and resolved against the file's columns.
type plan struct {
	index.Search
	cols  []int          // positions of what is read: the wanted columns, then order columns that aren't among them
	width int            // how many of cols are wanted
	sort  []catalog.Sort // positions within cols
}

func (f *file) plan(s index.Search) (*plan, error) {
	if err := s.Check(f.d); err != nil {
		return nil, err
	}
	p := &plan{Search: s}
	if s.Columns == nil {
		p.Columns = f.d.Names()
	}
	for _, name := range p.Columns {
		p.cols = append(p.cols, f.d.Index(name))
	}
	p.width = len(p.cols)
	for _, o := range s.Order {
		i := f.d.Index(o.Column)
		at := slices.Index(p.cols, i)
		if at < 0 {
			at = len(p.cols)
			p.cols = append(p.cols, i)
		}
		p.sort = append(p.sort, catalog.Sort{Index: at, Type: f.types[i], Desc: o.Desc})
	}
	return p, nil
}

// leg is one shard's share of a search: its rows in order.
type leg struct {
	c   *cursor
	row catalog.Row
	ok  bool
}

// Search fulfils index.Reader: each shard is read in the wanted order (by its own index where there is one), and the
// shards are merged.
func (x *Index) Search(ctx context.Context, s index.Search) (index.Page, error) {
	var page index.Page
	err := x.read(ctx, s.Dataset, func(v *view) (err error) {
		p, err := v.f.plan(s)
		if err != nil {
			return err
		}
		ids, err := v.shards(s.Shards)
		if err != nil {
			return err
		}
		legs := make([]*leg, 0, len(ids))
		defer func() {
			for _, l := range legs {
				err = errors.Join(err, l.c.close())
			}
		}()
		for _, id := range ids {
			l, err := v.leg(p, id)
			if err != nil {
				return err
			}
			legs = append(legs, l)
		}
		page, err = v.merge(p, legs)
		return err
	})
	if err != nil {
		return index.Page{}, err // never a part of a page
	}
	return page, nil
}

func (v *view) leg(p *plan, shard int64) (*leg, error) {
	q := sqlText{f: v.f}
	q.add("SELECT ")
	for _, c := range p.cols {
		q.add(quote(v.f.d.Columns[c].Name) + ", ")
	}
	q.add("_raw FROM doc WHERE _shard=")
	q.bind(shard)
	q.add(" AND _deleted=0 AND ")
	if err := q.filter(p.Filter); err != nil {
		return nil, err
	}
	if p.After != nil {
		q.add(" AND ")
		if err := q.after(p.Order, p.After); err != nil {
			return nil, err
		}
	}
	q.add(" ORDER BY ")
	q.order(p.Order)
	q.add(" LIMIT ")
	q.bind(int64(p.Limit) + 1)
	c, err := v.open(q.buf.String(), q.args)
	if err != nil {
		return nil, err
	}
	l := &leg{c: c}
	if err := v.advance(p, l); err != nil {
		return nil, errors.Join(err, c.close())
	}
	return l, nil
}

func (v *view) advance(p *plan, l *leg) error {
	var err error
	if l.ok, err = l.c.next(v.ctx); err != nil || !l.ok {
		return err
	}
	l.row.Reset()
	_, err = v.f.decodeRow(p.cols, l.c.dest, l.c.dest[len(p.cols)], &l.row, nil)
	return err
}

func (v *view) merge(p *plan, legs []*leg) (index.Page, error) {
	var page index.Page
	for {
		var first *leg
		for _, l := range legs {
			if l.ok && (first == nil || catalog.CompareRows(p.sort, &l.row, &first.row) < 0) {
				first = l
			}
		}
		if first == nil {
			return page, nil
		}
		if len(page.Rows) == p.Limit {
			page.More = true
			return page, nil
		}
		var out catalog.Row
		for i := range p.width {
			out.Append(first.row.Cell(i))
		}
		page.Rows = append(page.Rows, out)
		if err := v.advance(p, first); err != nil {
			return page, err
		}
	}
}
