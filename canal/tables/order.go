package tables

import (
	"errors"
	"strings"

	"strata/catalog"
	"strata/db"
	"strata/fault"
)

// selectRows begins a statement that reads the columns of d. Rows come by the primary key, which is also how the server
// finds and locks them: a scan of the table would lock rows that nobody asked for.
func selectRows(d *catalog.Dataset, table string) string {
	return "SELECT " + db.SelectList(d, nil, "t") + " FROM " + db.Quote(table) + " AS t FORCE INDEX (PRIMARY)"
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
