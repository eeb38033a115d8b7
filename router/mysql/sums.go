package mysql

import (
	"context"
	"io"
	"strings"

	"strata/catalog"
	"strata/db"
	"strata/fault"
	"strata/router"
)

// maxDigits is where DECIMAL ends: a sum that long may have been cut.
const maxDigits = 65

// sums aggregates shard by shard in one snapshot. Its statements run under the context of Open: one may outlast a Next.
type sums struct {
	ctx  context.Context
	stop context.CancelFunc
	f    router.Fetch
	form *catalog.Dataset // of a result row: the group columns, then the values
	snap *db.Snapshot
	next int
	rows *db.Rows
	row  catalog.Row
	err  error
}

func newSums(ctx context.Context, f router.Fetch, snap *db.Snapshot) (*sums, error) {
	x := &sums{f: f, snap: snap, form: &catalog.Dataset{Name: f.Dataset.Name}}
	for _, g := range f.Columns {
		c, ok := f.Dataset.Column(g)
		if !ok {
			return nil, fault.New(fault.Stale, "aggregate "+f.Dataset.Name, "no column %q", g)
		}
		x.form.Columns = append(x.form.Columns, c)
	}
	for _, a := range f.Aggregates {
		c := catalog.Column{Name: a.Name, Type: catalog.Type{Kind: catalog.Int, Size: 8}}
		if a.Func == router.Sum {
			of, ok := f.Dataset.Column(a.Column)
			if !ok {
				return nil, fault.New(fault.Stale, "aggregate "+f.Dataset.Name, "no column %q", a.Column)
			}
			c.Type = catalog.Type{Kind: catalog.Decimal, Scale: of.Type.Scale}
		}
		x.form.Columns = append(x.form.Columns, c)
	}
	x.ctx, x.stop = context.WithDeadline(ctx, f.Deadline)
	return x, nil
}

// Next is part of router.Rows.
func (x *sums) Next(ctx context.Context) (*catalog.Row, error) {
	for x.err == nil {
		if err := ctx.Err(); err != nil {
			return nil, x.end(db.Classify("sum "+x.f.Dataset.Name, err))
		}
		if x.rows == nil {
			if x.next == len(x.f.Holdings) {
				return nil, x.end(io.EOF)
			}
			if err := x.shard(x.f.Holdings[x.next]); err != nil {
				return nil, x.end(err)
			}
			x.next++
		}
		more, err := x.rows.Next(&x.row)
		if err == nil && more {
			err = x.whole()
		}
		if err != nil {
			return nil, x.end(err)
		}
		if more {
			return &x.row, nil
		}
		x.rows = nil
	}
	return nil, x.err
}

// whole checks that no sum reached the end of DECIMAL.
func (x *sums) whole() error {
	for i := len(x.f.Columns); i < x.row.Len(); i++ {
		if c := x.row.Cell(i); len(strings.Trim(string(c), "-.")) >= maxDigits {
			return fault.New(fault.TooLarge, "sum "+x.form.Columns[i].Name, "the sum has %d digits or more", maxDigits).
				WithHint("narrow the filter, so that each sum is smaller")
		}
	}
	return nil
}

func (x *sums) end(err error) error {
	x.err = err
	x.stop()
	_ = x.snap.Close() // rolls back; the connection is dropped if it can't
	return err
}

// shard starts the statement of one shard.
func (x *sums) shard(h catalog.Holding) error {
	w := &where{ds: x.f.Dataset}
	var items, by []string
	for i, g := range x.f.Columns {
		ref := db.Quote(g)
		if padding(x.form.Columns[i]) { // 'a' and 'a ' are two groups
			by = append(by, exact(x.form.Columns[i]))
			ref = "MIN(" + ref + ")"
		} else {
			by = append(by, ref)
		}
		items = append(items, ref)
	}
	for _, a := range x.f.Aggregates {
		item := "COUNT(*)"
		if a.Func == router.Sum {
			item = "SUM(" + db.Quote(a.Column) + ")"
		}
		items = append(items, item)
	}
	w.WriteString("SELECT " + strings.Join(items, ", ") + " FROM " + db.Quote(h.Shard.Table) + " WHERE ")
	if err := w.filter(x.f.Filter.Fold(x.f.Dataset, h.Shard.Range)); err != nil {
		return err
	}
	if len(by) > 0 {
		w.WriteString(" GROUP BY " + strings.Join(by, ", "))
	}
	rows, err := x.snap.Rows(x.ctx, x.form, nil, w.String(), w.args...)
	x.rows = rows
	return err
}

// Close is part of router.Rows.
func (x *sums) Close() error {
	if x.err == nil {
		_ = x.end(io.ErrClosedPipe) // kills a running statement
	}
	return nil
}
