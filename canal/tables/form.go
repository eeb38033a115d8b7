package tables

import (
	"context"
	"slices"

	"strata/canal"
	"strata/catalog"
	"strata/db"
	"strata/fault"
)

// shape is how a table is read: with the columns that it has now, which are not always the dataset's. A row that came from the
// stream has them all, so one that is read must have them too.
type shape struct {
	d    *catalog.Dataset // the dataset as this table has it
	form *canal.Form      // nil: the dataset's own columns
}

// shapeOf asks the server for the table's columns. One of a type that strata doesn't know is left out, with all that the dataset
// doesn't have. Errors: fault.Unsafe for a table without a column of the key, or the time.
func (t *Tables) shapeOf(ctx context.Context, on queryer, schema string, d *catalog.Dataset, table string) (shape, error) {
	op := "read columns of " + table
	columns, err := db.Columns(ctx, on, op, schema, table)
	if fault.Is(err, fault.Invalid) {
		return t.known(ctx, on, op, schema, d, table)
	}
	if err != nil {
		return shape{}, err
	}
	return t.shaped(op, d, table, columns)
}

// shaped is the shape of a table with these columns.
func (t *Tables) shaped(op string, d *catalog.Dataset, table string, columns []catalog.Column) (shape, error) {
	at := make([]int, len(d.Columns))
	for i, c := range d.Columns {
		at[i] = slices.IndexFunc(columns, func(n catalog.Column) bool { return n.Name == c.Name })
		switch k := at[i]; {
		case k >= 0 && columns[k].Type.Kind != c.Type.Kind:
			columns[k].Type = c.Type // the stream stops for it; nothing but the dataset's kind can be sent
		case k < 0 && (slices.Contains(d.Key, c.Name) || c.Name == d.Time):
			return shape{}, fault.New(fault.Unsafe, op, "it has no column %s", c.Name).WithHint("declare the dataset's key and time as the table has them")
		}
	}
	if slices.EqualFunc(columns, d.Columns, func(a, b catalog.Column) bool { return a.Name == b.Name && a.Type == b.Type }) {
		return shape{d: d}, nil
	}
	return t.remember(place{d.Name, table}, d, &canal.Form{Columns: columns, At: at}), nil
}

// remember returns the same form for the same columns: who encodes rows keeps something for each.
func (t *Tables) remember(at place, d *catalog.Dataset, form *canal.Form) shape {
	t.mu.Lock()
	defer t.mu.Unlock()
	if s, ok := t.shapes[at]; ok && slices.Equal(s.form.Columns, form.Columns) && slices.Equal(s.form.At, form.At) {
		return s
	}
	own := *d
	own.Columns = form.Columns
	if t.shapes == nil || len(t.shapes) >= maxShapes {
		t.shapes = map[place]shape{}
	}
	t.shapes[at] = shape{d: &own, form: form}
	return t.shapes[at]
}

// known is the shape of a table that has columns of types which strata doesn't know: the dataset's columns that it has.
func (t *Tables) known(ctx context.Context, on queryer, op, schema string, d *catalog.Dataset, table string) (shape, error) {
	rows, err := on.QueryContext(ctx, "SELECT COLUMN_NAME FROM information_schema.COLUMNS WHERE TABLE_SCHEMA=? AND TABLE_NAME=? ORDER BY ORDINAL_POSITION", schema, table)
	if err != nil {
		return shape{}, db.Classify(op, err)
	}
	defer func() { _ = rows.Close() }()
	var columns []catalog.Column
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			return shape{}, fault.Wrap(fault.Internal, op, err)
		}
		if c, ok := d.Column(name); ok {
			columns = append(columns, c)
		}
	}
	if err := rows.Err(); err != nil {
		return shape{}, db.Classify(op, err)
	}
	return t.shaped(op, d, table, columns)
}
