package tables

import (
	"context"
	"strconv"
	"strings"

	"strata/catalog"
	"strata/db"
	"strata/fault"
)

// members are the texts of an ENUM or SET column of the key, by its name: the server orders such columns by the number of
// a text in its declaration, and compares them with a text by letters.
type members map[string][]string

// readMembers reads the declarations of the key's columns that are an ENUM or a SET; without one it asks nothing.
func readMembers(ctx context.Context, on queryer, d *catalog.Dataset, table string) (members, error) {
	var out members
	for _, k := range d.Key {
		if c, _ := d.Column(k); c.Type.Kind != catalog.Enum && c.Type.Kind != catalog.Set {
			continue
		}
		declared, err := declaration(ctx, on, table, k)
		if err != nil {
			return nil, err
		}
		if out == nil {
			out = members{}
		}
		out[k] = parseMembers(declared)
	}
	return out, nil
}

// declaration is a column's type as it was declared.
func declaration(ctx context.Context, on queryer, table, column string) (declared string, err error) {
	op := "read type of column " + column + " of " + table
	rows, err := on.QueryContext(ctx, "SELECT COLUMN_TYPE FROM information_schema.COLUMNS WHERE TABLE_SCHEMA=DATABASE() AND TABLE_NAME=? AND COLUMN_NAME=?", table, column)
	if err != nil {
		return "", db.Classify(op, err)
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		if err := rows.Scan(&declared); err != nil {
			return "", fault.Wrap(fault.Internal, op, err)
		}
	}
	return declared, db.Classify(op, rows.Err())
}

// parseMembers reads enum('a','b”c') as information_schema shows it.
func parseMembers(declared string) []string {
	var out []string
	var b strings.Builder
	in := false
	for i := 0; i < len(declared); i++ {
		switch c := declared[i]; {
		case !in:
			in = c == '\''
		case c == '\'' && i+1 < len(declared) && declared[i+1] == '\'':
			b.WriteByte('\'')
			i++
		case c == '\'':
			out = append(out, b.String())
			b.Reset()
			in = false
		case c == '\\' && i+1 < len(declared):
			i++
			if at := strings.IndexByte("0nrZ", declared[i]); at >= 0 {
				b.WriteByte("\x00\n\r\x1a"[at])
			} else {
				b.WriteByte(declared[i])
			}
		default:
			b.WriteByte(c)
		}
	}
	return out
}

// number is the number of a cell of an ENUM or SET column.
func (m members) number(c catalog.Column, cell string) (string, error) {
	texts := []string{cell}
	if c.Type.Kind == catalog.Set {
		texts = strings.Split(cell, ",")
	}
	sum := uint64(0)
	for _, text := range texts {
		at := -1
		for i, have := range m[c.Name] {
			if have == text {
				at = i
			}
		}
		switch {
		case at < 0 && cell != "": // '' is what a server stored for a wrong value, and the empty set: 0
			return "", fault.New(fault.Invalid, "read key", "%q is no value of column %s", text, c.Name)
		case at >= 0 && c.Type.Kind == catalog.Set:
			sum |= 1 << at
		case at >= 0:
			sum = uint64(at) + 1
		}
	}
	return strconv.FormatUint(sum, 10), nil
}
