package mysql

import (
	"strings"
	"unicode/utf8"

	"strata/catalog"
	"strata/db"
	"strata/fault"
	"strata/router"
)

// where writes conditions with their arguments.
type where struct {
	strings.Builder
	ds   *catalog.Dataset
	args []any
}

// filter writes f; the result is true in SQL for exactly the rows that f accepts.
func (w *where) filter(f catalog.Filter) error {
	switch f.Op {
	case catalog.True:
		w.WriteString("1=1")
		return nil
	case catalog.False:
		w.WriteString("1=0")
		return nil
	case catalog.Not:
		w.WriteString("NOT (")
		err := w.filter(f.Args[0])
		w.WriteByte(')')
		return err
	case catalog.And, catalog.Or:
		for i, a := range f.Args {
			if i > 0 {
				w.WriteString(" " + f.Op.String() + " ")
			}
			w.WriteByte('(')
			if err := w.filter(a); err != nil {
				return err
			}
			w.WriteByte(')')
		}
		return nil
	}
	c, ok := w.ds.Column(f.Column)
	if !ok {
		return fault.New(fault.Stale, "write condition", "dataset %s has no column %q", w.ds.Name, f.Column)
	}
	switch f.Op {
	case catalog.IsNull:
		w.WriteString(db.Quote(c.Name) + " IS NULL")
		return nil
	case catalog.Match:
		return fault.New(fault.Internal, "write condition", "asked for the words of %s", c.Name)
	}
	if textual(c.Type.Kind) && !plainBytes(c) {
		return w.text(c, f)
	}
	return w.plain(c, f)
}

// textual reports whether cells of the kind compare as UTF-8 texts.
func textual(k catalog.Kind) bool {
	switch k {
	case catalog.Text, catalog.Enum, catalog.Set, catalog.JSON, catalog.UUID, catalog.INET:
		return true
	}
	return false
}

// plainBytes reports whether the server's own comparison of the column is that of its UTF-8 bytes: no padding, no folding.
func plainBytes(c catalog.Column) bool {
	return c.Collation == "utf8mb4_0900_bin" || c.Collation == "utf8mb4_nopad_bin"
}

// padding reports whether the server orders trailing spaces and control characters in its own way.
func padding(c catalog.Column) bool { return c.Type.Kind == catalog.Text && !plainBytes(c) }

// plain writes a comparison that the server does as catalog.Compare does.
func (w *where) plain(c catalog.Column, f catalog.Filter) error {
	switch f.Op {
	case catalog.Prefix, catalog.Contains:
		w.pattern(db.Quote(c.Name), "CAST("+db.Quote(c.Name)+" AS BINARY)", f)
		return nil
	}
	ref := db.Quote(c.Name)
	if c.Type.Kind == catalog.Spatial {
		ref = "LOWER(HEX(" + ref + "))"
		c.Type = catalog.Type{Kind: catalog.Text}
	}
	w.WriteString(ref)
	if f.Op != catalog.In {
		w.WriteString(f.Op.String())
		return w.bind(c.Type, f.Values[0])
	}
	w.WriteString(" IN (")
	for i, v := range f.Values {
		if i > 0 {
			w.WriteByte(',')
		}
		if err := w.bind(c.Type, v); err != nil {
			return err
		}
	}
	w.WriteByte(')')
	return nil
}

func (w *where) bind(t catalog.Type, v string) error {
	expr, args, err := db.Bind(t, []byte(v), w.args)
	if err != nil {
		return err
	}
	w.args = args
	w.WriteString(expr)
	return nil
}

// exact is the UTF-8 bytes of a textual column.
func exact(c catalog.Column) string {
	if c.Type.Kind == catalog.Text {
		return "CAST(CONVERT(" + db.Quote(c.Name) + " USING utf8mb4) AS BINARY)"
	}
	return "CAST(CAST(" + db.Quote(c.Name) + " AS CHAR CHARACTER SET utf8mb4) AS BINARY)"
}

// indexed reports whether the collation's own comparison may stand beside the exact one: it accepts every row that the
// exact one accepts, and the value can be brought into the column's character set.
func indexed(c catalog.Column, op catalog.Op, values []string) bool {
	if c.Type.Kind != catalog.Text || op != catalog.Eq && op != catalog.In && op != catalog.Prefix {
		return false
	}
	if strings.HasPrefix(c.Collation, "utf8mb4_") {
		return true
	}
	for _, v := range values {
		for i := range len(v) {
			if v[i] >= utf8.RuneSelf {
				return false
			}
		}
	}
	return true
}

// text writes a comparison byte by byte, with the collation's before it where an index can use that.
func (w *where) text(c catalog.Column, f catalog.Filter) error {
	hint := indexed(c, f.Op, f.Values)
	if f.Op == catalog.Prefix || f.Op == catalog.Contains {
		ref := ""
		if hint {
			ref = db.Quote(c.Name)
		}
		w.pattern(ref, exact(c), f)
		return nil
	}
	if f.Op != catalog.In {
		if hint {
			w.WriteString("(" + db.Quote(c.Name) + "=? AND ")
			w.args = append(w.args, f.Values[0])
		}
		w.WriteString(exact(c) + f.Op.String() + "CAST(? AS BINARY)")
		w.args = append(w.args, f.Values[0])
		if hint {
			w.WriteByte(')')
		}
		return nil
	}
	list := func(ref, mark string) {
		w.WriteString(ref + " IN (" + strings.TrimSuffix(strings.Repeat(mark+",", len(f.Values)), ",") + ")")
		for _, v := range f.Values {
			w.args = append(w.args, v)
		}
	}
	if hint {
		w.WriteByte('(')
		list(db.Quote(c.Name), "?")
		w.WriteString(" AND ")
	}
	list(exact(c), "CAST(? AS BINARY)")
	if hint {
		w.WriteByte(')')
	}
	return nil
}

// pattern writes Prefix or Contains over the bytes; ref, where not "", is the column for an indexed LIKE before it.
func (w *where) pattern(ref, bytes string, f catalog.Filter) {
	v := f.Values[0]
	if f.Op == catalog.Contains {
		w.WriteString("LOCATE(CAST(? AS BINARY)," + bytes + ")>0")
		w.args = append(w.args, v)
		return
	}
	w.WriteByte('(')
	if ref != "" {
		w.WriteString(ref + " LIKE ? ESCAPE '|' AND ")
		w.args = append(w.args, strings.NewReplacer("|", "||", "%", "|%", "_", "|_").Replace(v)+"%")
	}
	w.WriteString("LEFT(" + bytes + ",?)=CAST(? AS BINARY))")
	w.args = append(w.args, len(v), v)
}

// fixed returns the columns that the filter holds at one value.
func fixed(f catalog.Filter) map[string]bool {
	out := map[string]bool{}
	for _, c := range f.Conjuncts() {
		if (c.Op == catalog.Eq || c.Op == catalog.In) && len(c.Values) == 1 {
			out[c.Column] = true
		}
	}
	return out
}

// after writes the condition that a row comes after the order cells, as ranges that an index can use: columns that are
// fixed anyway are left out.
func (w *where) after(order []router.Order, cells []*string, fixed map[string]bool) error {
	type term struct {
		col  catalog.Column
		desc bool
		cell *string
	}
	var terms []term
	for i, o := range order {
		c, ok := w.ds.Column(o.Column)
		if !ok {
			return fault.New(fault.Stale, "write condition", "dataset %s has no column %q", w.ds.Name, o.Column)
		}
		if !fixed[o.Column] {
			terms = append(terms, term{c, o.Desc, cells[i]})
		}
	}
	if len(terms) == 0 {
		w.WriteString("1=0") // every row has these very cells
		return nil
	}
	if t := terms[0]; t.cell != nil && (!t.desc || !t.col.Nullable) {
		w.WriteString(db.Quote(t.col.Name) + direction(t.desc) + "=")
		if err := w.bind(t.col.Type, *t.cell); err != nil {
			return err
		}
		w.WriteString(" AND ")
	}
	w.WriteByte('(')
	for i := range terms {
		if i > 0 {
			w.WriteString(" OR ")
		}
		w.WriteByte('(')
		for _, t := range terms[:i] {
			if err := w.same(t.col, t.cell); err != nil {
				return err
			}
			w.WriteString(" AND ")
		}
		if err := w.beyond(terms[i].col, terms[i].desc, terms[i].cell); err != nil {
			return err
		}
		w.WriteByte(')')
	}
	w.WriteByte(')')
	return nil
}

// direction is the comparison of what comes after.
func direction(desc bool) string {
	if desc {
		return "<"
	}
	return ">"
}

func (w *where) same(c catalog.Column, cell *string) error {
	if cell == nil {
		w.WriteString(db.Quote(c.Name) + " IS NULL")
		return nil
	}
	w.WriteString(db.Quote(c.Name) + "=")
	return w.bind(c.Type, *cell)
}

// beyond writes that the column's cell comes after cell; NULL is first ascending and last descending.
func (w *where) beyond(c catalog.Column, desc bool, cell *string) error {
	ref := db.Quote(c.Name)
	switch {
	case cell == nil && desc:
		w.WriteString("1=0")
		return nil
	case cell == nil:
		w.WriteString(ref + " IS NOT NULL")
		return nil
	}
	w.WriteString("(" + ref + direction(desc))
	err := w.bind(c.Type, *cell)
	if desc && c.Nullable {
		w.WriteString(" OR " + ref + " IS NULL")
	}
	w.WriteByte(')')
	return err
}

// orderBy writes ORDER BY.
func (w *where) orderBy(order []router.Order) {
	w.WriteString(" ORDER BY ")
	for i, o := range order {
		if i > 0 {
			w.WriteString(", ")
		}
		w.WriteString(db.Quote(o.Column))
		if o.Desc {
			w.WriteString(" DESC")
		}
	}
}
