package sqlite

import (
	"database/sql/driver"
	"strings"

	"strata/catalog"
	"strata/fault"
	"strata/index"
)

// maxNodes bounds a filter: SQLite refuses expressions deeper than 1,000.
const maxNodes = 500

// maxValues bounds the parameters of one statement below SQLite's 32,766.
const maxValues = 30_000

// sqlText builds one statement with its parameters.
type sqlText struct {
	f       *file
	buf     strings.Builder
	args    []driver.NamedValue
	nodes   int
	negated int // how many Nots what is being written stands in
}

func (s *sqlText) add(text string) { s.buf.WriteString(text) }

func (s *sqlText) bind(v driver.Value) {
	s.args = append(s.args, driver.NamedValue{Ordinal: len(s.args) + 1, Value: v})
	s.buf.WriteByte('?')
}

// filter adds a condition with SQL's three-valued logic. The filter must have passed Check.
func (s *sqlText) filter(f catalog.Filter) error {
	if s.nodes++; s.nodes > maxNodes {
		return fault.New(fault.TooLarge, "build search", "the filter has more than %d conditions", maxNodes)
	}
	switch f.Op {
	case catalog.True:
		s.add("1")
		return nil
	case catalog.False:
		s.add("0")
		return nil
	case catalog.Not:
		s.add("NOT ")
		s.negated++
		defer func() { s.negated-- }()
		return s.list(f.Args, "")
	case catalog.And:
		return s.list(f.Args, " AND ")
	case catalog.Or:
		return s.list(f.Args, " OR ")
	}
	i := s.f.d.Index(f.Column)
	col, t := quote(f.Column), s.f.types[i]
	switch f.Op {
	case catalog.IsNull:
		s.add(col + " IS NULL")
		return nil
	case catalog.In:
		return s.in(col, t, f.Values)
	case catalog.Contains: // by bytes: both sides are UTF-8 text
		s.add("instr(" + col + ", ")
		s.bind(f.Values[0])
		s.add(") > 0")
		return nil
	case catalog.Prefix:
		return s.prefix(col, f.Values[0])
	case catalog.Match:
		return s.match(f.Column, f.Values[0])
	}
	return s.compare(col, t, f.Op, f.Values[0])
}

func (s *sqlText) list(args []catalog.Filter, join string) error {
	s.add("(")
	for i, a := range args {
		if i > 0 {
			s.add(join)
		}
		if err := s.filter(a); err != nil {
			return err
		}
	}
	s.add(")")
	return nil
}

func badValue(text string) error {
	return fault.New(fault.Invalid, "build search", "%q can't be compared with the column", text)
}

// never is false, and unknown for NULL.
func never(col string) string { return "(" + col + " <> " + col + ")" }

// always is true, and unknown for NULL.
func always(col string) string { return "(" + col + " = " + col + ")" }

func (s *sqlText) compare(col string, t catalog.Type, op catalog.Op, text string) error {
	v, fit := encode(t, []byte(text))
	if fit == bad {
		return badValue(text)
	}
	sign := op.String()
	if fit == floor { // v < text < the next value
		switch op {
		case catalog.Eq:
			s.add(never(col))
			return nil
		case catalog.Ne:
			s.add(always(col))
			return nil
		case catalog.Lt, catalog.Le:
			sign = "<="
		default:
			sign = ">"
		}
	}
	s.add(col + " " + sign + " ")
	s.bind(v)
	return nil
}

func (s *sqlText) in(col string, t catalog.Type, values []string) error {
	var have []driver.Value
	for _, text := range values {
		v, fit := encode(t, []byte(text))
		switch fit {
		case bad:
			return badValue(text)
		case floor:
		default:
			have = append(have, v)
		}
	}
	if len(have)+len(s.args) > maxValues {
		return fault.New(fault.TooLarge, "build search", "more than %d values", maxValues)
	}
	if len(have) == 0 {
		s.add(never(col))
		return nil
	}
	s.add(col + " IN (")
	for i, v := range have {
		if i > 0 {
			s.add(",")
		}
		s.bind(v)
	}
	s.add(")")
	return nil
}

// prefix is a range of bytes, so an index can serve it.
func (s *sqlText) prefix(col, p string) error {
	if p == "" {
		s.add(always(col))
		return nil
	}
	s.add("(" + col + " >= ")
	s.bind(p)
	if next, ok := successor(p); ok {
		s.add(" AND " + col + " < ")
		s.bind(next)
	}
	s.add(")")
	return nil
}

// successor is the least text above every text that begins with p.
func successor(p string) (string, bool) {
	b := []byte(p)
	for i := len(b) - 1; i >= 0; i-- {
		if b[i] < 0xff {
			b[i]++
			return string(b[:i+1]), true
		}
	}
	return "", false
}

// after adds the condition of keyset pagination: rows that come after the given cells in the order.
func (s *sqlText) after(order []index.Order, cells []*string) error {
	vals := make([]driver.Value, len(order))
	plain := true // one direction, no NULL: a row value, which an index serves whole
	for i, o := range order {
		c := s.f.d.Columns[s.f.d.Index(o.Column)]
		if cells[i] != nil {
			v, fit := encode(c.Type, []byte(*cells[i]))
			if fit == bad || fit == floor {
				return badValue(*cells[i])
			}
			vals[i] = v
		}
		plain = plain && cells[i] != nil && !c.Nullable && o.Desc == order[0].Desc
	}
	if plain {
		s.rowValue(order, vals)
		return nil
	}
	s.add("(")
	for i := range order {
		if i > 0 {
			s.add(" OR ")
		}
		s.add("(")
		for j := range i {
			s.add(quote(order[j].Column) + " IS ")
			s.bind(vals[j])
			s.add(" AND ")
		}
		s.beyond(order[i], vals[i])
		s.add(")")
	}
	s.add(")")
	return nil
}

func (s *sqlText) rowValue(order []index.Order, vals []driver.Value) {
	s.add("(")
	for i, o := range order {
		if i > 0 {
			s.add(", ")
		}
		s.add(quote(o.Column))
	}
	if order[0].Desc {
		s.add(") < (")
	} else {
		s.add(") > (")
	}
	for i, v := range vals {
		if i > 0 {
			s.add(", ")
		}
		s.bind(v)
	}
	s.add(")")
}

// beyond is "strictly after v in this column's direction"; NULL is first ascending and last descending.
func (s *sqlText) beyond(o index.Order, v driver.Value) {
	col := quote(o.Column)
	switch {
	case v == nil && o.Desc:
		s.add("0")
	case v == nil:
		s.add(col + " IS NOT NULL")
	case o.Desc:
		s.add("(" + col + " < ")
		s.bind(v)
		s.add(" OR " + col + " IS NULL)")
	default:
		s.add(col + " > ")
		s.bind(v)
	}
}

func (s *sqlText) order(order []index.Order) {
	for i, o := range order {
		if i > 0 {
			s.add(", ")
		}
		s.add(quote(o.Column))
		if o.Desc {
			s.add(" DESC")
		}
	}
}
