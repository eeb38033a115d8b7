package tables

import (
	"context"
	"errors"
	"slices"
	"strings"

	"strata/catalog"
	"strata/db"
	"strata/fault"
)

// selectRows begins a statement that reads the dataset's columns; those that the table lacks are NULL. Rows come by the
// primary key, which is also how the server finds and locks them: a scan of the table would lock rows that nobody asked
// for.
func selectRows(d *catalog.Dataset, table string, lacks []string) string {
	list := db.SelectList(d, nil, "t")
	if len(lacks) > 0 {
		var parts []string
		for _, name := range d.Names() {
			if slices.Contains(lacks, name) {
				parts = append(parts, "NULL AS "+db.Quote(name))
			} else {
				parts = append(parts, db.SelectList(d, []string{name}, "t"))
			}
		}
		list = strings.Join(parts, ", ")
	}
	return "SELECT " + list + " FROM " + db.Quote(table) + " AS t FORCE INDEX (PRIMARY)"
}

// orderBy is the order of the primary key.
func orderBy(d *catalog.Dataset) string {
	var b strings.Builder
	for i, k := range d.Key {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(db.Quote("t", k))
	}
	return b.String()
}

// bound is the condition that a row's key is beyond (op ">") or not beyond (op "<=") the key, in the server's order. The
// first column's condition stands alone as well: by it the server knows where in the index to begin or end.
func bound(d *catalog.Dataset, m members, key catalog.Key, op string) (string, []any, error) {
	cells, err := key.Cells()
	if err != nil {
		return "", nil, err
	}
	if len(cells) != len(d.Key) {
		return "", nil, fault.New(fault.Invalid, "read key", "%q has %d cells, the key of %s has %d", string(key), len(cells), d.Name, len(d.Key))
	}
	strict, loose := op[:1], op[:1]+"="
	var args []any
	var failed error
	compare := func(i int, op string) string {
		c, _ := d.Column(d.Key[i])
		if c.Type.Kind == catalog.Enum || c.Type.Kind == catalog.Set {
			n, err := m.number(c, cells[i])
			failed = errors.Join(failed, err)
			return "(" + db.Quote("t", d.Key[i]) + "+0)" + op + n
		}
		expr, out, err := db.Bind(c.Type, []byte(cells[i]), args)
		if err != nil {
			failed = errors.Join(failed, fault.Wrap(fault.Invalid, "read key", err))
			return ""
		}
		args = out
		return db.Quote("t", d.Key[i]) + op + expr
	}
	cond := compare(0, loose) + " AND ("
	for i := range cells {
		if i > 0 {
			cond += " OR "
		}
		for j := range i {
			cond += compare(j, "=") + " AND "
		}
		last := strict
		if i == len(cells)-1 {
			last = op
		}
		cond += compare(i, last)
	}
	return cond + ")", args, failed
}

// missing lists the dataset's columns that the table lacks. A key column that is lacking is fault.Unsafe.
func missing(ctx context.Context, on queryer, d *catalog.Dataset, table string) ([]string, error) {
	op := "read columns of " + table
	rows, err := on.QueryContext(ctx, "SELECT COLUMN_NAME FROM information_schema.COLUMNS WHERE TABLE_SCHEMA=DATABASE() AND TABLE_NAME=?", table)
	if err != nil {
		return nil, db.Classify(op, err)
	}
	defer func() { _ = rows.Close() }()
	lacks := d.Names()
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			return nil, fault.Wrap(fault.Internal, op, err)
		}
		lacks = slices.DeleteFunc(lacks, func(n string) bool { return strings.EqualFold(n, name) })
	}
	if err := rows.Err(); err != nil {
		return nil, db.Classify(op, err)
	}
	for _, k := range append(slices.Clone(d.Key), d.Time) {
		if slices.Contains(lacks, k) {
			return nil, fault.New(fault.Unsafe, op, "it has no column %s", k).WithHint("declare the dataset's key and time as the table has them")
		}
	}
	return lacks, nil
}
