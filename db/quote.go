package db

import (
	"encoding/hex"
	"math"
	"strconv"
	"strings"

	"strata/catalog"
	"strata/fault"
)

// Quote quotes an identifier; of several it makes `a`.`b`.
func Quote(ident ...string) string {
	var b strings.Builder
	for i, s := range ident {
		if i > 0 {
			b.WriteByte('.')
		}
		b.WriteByte('`')
		b.WriteString(strings.ReplaceAll(s, "`", "``"))
		b.WriteByte('`')
	}
	return b.String()
}

// SelectList is the select list that Rows scans: the columns by name, in the order given, nil for all of the dataset's.
// alias may be "". FLOAT is read as DOUBLE (the server would print six digits) and brought back by the scanner; the other
// types are read plain. The select items keep their columns' names.
func SelectList(d *catalog.Dataset, columns []string, alias string) string {
	if columns == nil {
		columns = d.Names()
	}
	var b strings.Builder
	for i, name := range columns {
		if i > 0 {
			b.WriteString(", ")
		}
		ref := Quote(name)
		if alias != "" {
			ref = Quote(alias, name)
		}
		if c, _ := d.Column(name); c.Type.Kind == catalog.Float {
			b.WriteString("CAST(" + ref + " AS DOUBLE) AS " + Quote(name))
			continue
		}
		b.WriteString(ref)
	}
	return b.String()
}

// Bind turns a canonical cell into an SQL expression of the column's type, for comparing with the column or writing to
// it: the expression ("?", or an exact number) with args and, where it has a "?", its argument appended. The server would
// compare a DECIMAL with a quoted string as floating point, so numbers stay numbers. nil is NULL. Errors: fault.Invalid
// where the text isn't of the type.
func Bind(t catalog.Type, cell []byte, args []any) (expr string, out []any, err error) {
	if cell == nil {
		return "NULL", args, nil
	}
	text := string(cell)
	if err := catalog.CheckCell(t, text); err != nil && !(t.Kind.Temporal() && zeroDate(text)) {
		return "", args, err
	}
	switch t.Kind {
	case catalog.Int, catalog.Uint, catalog.Decimal, catalog.Year:
		return text, args, nil
	case catalog.Float, catalog.Double:
		bits := 64
		if t.Kind == catalog.Float {
			bits = 32
		}
		f, err := strconv.ParseFloat(text, bits)
		if err != nil || math.IsInf(f, 0) || math.IsNaN(f) {
			return "", args, fault.New(fault.Invalid, "bind value", "%q is no number for the server", text)
		}
		// A FLOAT is compared as the double that it is exactly; its own shortest text is another double.
		return strconv.FormatFloat(f, 'e', -1, 64), args, nil
	case catalog.Bit:
		n, err := strconv.ParseUint(text, 16, 64)
		if err != nil {
			return "", args, fault.Wrap(fault.Invalid, "bind value", err)
		}
		return strconv.FormatUint(n, 10), args, nil
	case catalog.Binary, catalog.Spatial:
		raw, err := hex.DecodeString(text)
		if err != nil {
			return "", args, fault.Wrap(fault.Invalid, "bind value", err)
		}
		return "?", append(args, raw), nil
	}
	return "?", append(args, text), nil
}

// zeroDate reports whether text is a date with a zero month or day, which a server may hold but nobody may write in a
// query.
func zeroDate(text string) bool {
	return len(text) >= 10 && strings.Trim(text, "0123456789-: .") == "" && text[4] == '-' && text[7] == '-' && strings.Contains(text[4:10], "-00")
}
