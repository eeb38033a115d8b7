package mysql

import (
	"strings"

	"strata/catalog"
	"strata/db"
)

// bounds is a range of keys: above After, up to and with To; nil is no bound.
type bounds struct{ after, to *catalog.Key }

// where is the condition of the range with its arguments, "1=1" for everything. It is written so that the server can use
// the primary key: of (a, b) > (x, y) it makes a >= x AND (a > x OR (a = x AND b > y)).
func (b bounds) where(ds *catalog.Dataset) (string, []any, error) {
	var parts []string
	var args []any
	for _, side := range []struct {
		key  *catalog.Key
		op   string
		last string
	}{{b.after, ">", ">"}, {b.to, "<", "<="}} {
		if side.key == nil {
			continue
		}
		cond, more, err := beyond(ds, *side.key, side.op, side.last)
		if err != nil {
			return "", nil, err
		}
		parts, args = append(parts, cond), append(args, more...)
	}
	if len(parts) == 0 {
		return "1=1", nil, nil
	}
	return strings.Join(parts, " AND "), args, nil
}

// beyond compares the key columns with a key; op is for all but the last column, last for that one.
func beyond(ds *catalog.Dataset, key catalog.Key, op, last string) (string, []any, error) {
	cells, err := key.Cells()
	if err != nil {
		return "", nil, err
	}
	var args []any
	compare := func(i int, op string) string {
		c, _ := ds.Column(ds.Key[i])
		var expr string
		if err == nil {
			expr, args, err = db.Bind(c.Type, []byte(cells[i]), args)
		}
		return db.Quote(c.Name) + op + expr
	}
	var b strings.Builder
	if len(cells) > 1 {
		b.WriteString(compare(0, op+"=") + " AND ")
	}
	b.WriteString("(")
	for n := range cells {
		if n > 0 {
			b.WriteString(" OR ")
		}
		b.WriteString("(")
		for i := range n {
			b.WriteString(compare(i, "=") + " AND ")
		}
		if n == len(cells)-1 {
			b.WriteString(compare(n, last) + ")")
		} else {
			b.WriteString(compare(n, op) + ")")
		}
	}
	b.WriteString(")")
	return b.String(), args, err
}

// selectRows is the query of all columns in key order for a condition.
func selectRows(ds *catalog.Dataset, table, where string) string {
	return "SELECT " + db.SelectList(ds, nil, "") + " FROM " + db.Quote(table) + " WHERE " + where + " ORDER BY " + keyList(ds, "")
}

// keyList is the key's columns, each with a direction.
func keyList(ds *catalog.Dataset, direction string) string {
	var parts []string
	for _, k := range ds.Key {
		parts = append(parts, db.Quote(k)+direction)
	}
	return strings.Join(parts, ", ")
}
