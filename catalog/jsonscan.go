package catalog

import (
	"bytes"
	"unicode/utf8"

	"strata/fault"
)

// span is where a column's value stands in the text; from 0 means not seen, since a value is never at 0.
type span struct{ from, to int }

// jsonScanner walks over one JSON text.
type jsonScanner struct {
	raw     []byte
	at      int
	lenient bool // missing columns are NULL, unknown keys are skipped
	skipped bool // an unknown key was
}

// row reads the row, and reports whether the text had exactly the dataset's columns.
func (s *jsonScanner) row(d *Dataset, into *Row) (exact bool, err error) {
	var room [64]span
	seen := room[:min(len(d.Columns), len(room))]
	if len(d.Columns) > len(room) {
		seen = make([]span, len(d.Columns))
	}
	if err := s.object(d, seen); err != nil {
		return false, err
	}
	into.Reset()
	exact = !s.skipped
	for i := range d.Columns {
		c := &d.Columns[i]
		if seen[i].from == 0 {
			if !s.lenient {
				return false, fault.New(fault.Invalid, "", "column %s is missing", c.Name)
			}
			into.AppendNull()
			exact = false
			continue
		}
		if err := appendJSONValue(into, c, s.raw[seen[i].from:seen[i].to]); err != nil {
			return false, err
		}
	}
	return exact, nil
}

// object finds the value of each column.
func (s *jsonScanner) object(d *Dataset, seen []span) error {
	if err := s.expect('{'); err != nil {
		return err
	}
	next := 0 // the column that is likely to come
	for first := true; ; first = false {
		s.space()
		if s.peek() == '}' && first {
			s.at++
			break
		}
		key, err := s.str()
		if err != nil {
			return err
		}
		if err := s.expect(':'); err != nil {
			return err
		}
		s.space()
		from := s.at
		if err := s.skip(0); err != nil {
			return err
		}
		i, err := s.column(d, key, next)
		if err != nil {
			return err
		}
		if i >= 0 {
			if seen[i].from != 0 {
				return fault.New(fault.Invalid, "", "column %s is there twice", d.Columns[i].Name)
			}
			seen[i] = span{from, s.at}
			next = i + 1
		}
		s.space()
		if s.peek() == '}' {
			s.at++
			break
		}
		if err := s.expect(','); err != nil {
			return err
		}
	}
	s.space()
	if s.at != len(s.raw) {
		return s.bad("text after the object")
	}
	return nil
}

// column is the column of a quoted key, or -1 for one to skip.
func (s *jsonScanner) column(d *Dataset, key []byte, next int) (int, error) {
	name := key[1 : len(key)-1]
	if next < len(d.Columns) && string(name) == d.Columns[next].Name {
		return next, nil
	}
	if bytes.IndexByte(name, '\\') >= 0 {
		plain, err := unescapeJSON(nil, name)
		if err != nil {
			return 0, err
		}
		name = plain
	}
	for i := range d.Columns {
		if string(name) == d.Columns[i].Name {
			return i, nil
		}
	}
	if string(name) == jsonExtra {
		return -1, nil
	}
	if s.lenient {
		s.skipped = true
		return -1, nil
	}
	return 0, fault.New(fault.Invalid, "", "key %q is no column", name)
}

// appendJSONValue appends a value, already known to be well-formed, as the column's cell.
func appendJSONValue(into *Row, c *Column, v []byte) error {
	switch v[0] {
	case 'n':
		into.AppendNull()
		return nil
	case '"':
		if c.Type.Kind.Numeric() {
			return fault.New(fault.Invalid, "", "column %s: a string instead of a number", c.Name)
		}
		v = v[1 : len(v)-1]
		if !utf8.Valid(v) {
			return fault.New(fault.Invalid, "", "column %s is not UTF-8", c.Name)
		}
		if bytes.IndexByte(v, '\\') < 0 {
			into.Append(v)
			return nil
		}
		plain, err := unescapeJSON(nil, v)
		if err != nil {
			return fault.Wrap(fault.Invalid, "column "+c.Name, err)
		}
		into.Append(plain)
		return nil
	case 't', 'f', '{', '[':
		return fault.New(fault.Invalid, "", "column %s: %.20q is no cell", c.Name, v)
	}
	if !c.Type.Kind.Numeric() {
		return fault.New(fault.Invalid, "", "column %s: a number instead of a string", c.Name)
	}
	if k := c.Type.Kind; k != Float && k != Double && !isInteger(v) {
		return fault.New(fault.Invalid, "", "column %s: %q is no integer", c.Name, v)
	}
	if c.Type.Kind == Year && len(v) < 4 && v[0] != '-' {
		var padded [4]byte
		copy(padded[:], "0000")
		copy(padded[4-len(v):], v)
		v = padded[:]
	}
	into.Append(v)
	return nil
}

// isInteger reports whether a well-formed number is one without a fraction or an exponent.
func isInteger(v []byte) bool {
	for _, c := range v {
		if c == '.' || c == 'e' || c == 'E' {
			return false
		}
	}
	return true
}

func (s *jsonScanner) bad(what string) error {
	return fault.New(fault.Invalid, "", "%s at byte %d", what, s.at)
}

func (s *jsonScanner) space() {
	for s.at < len(s.raw) {
		switch s.raw[s.at] {
		case ' ', '\t', '\n', '\r':
			s.at++
		default:
			return
		}
	}
}

// peek is the byte at the cursor, 0 at the end.
func (s *jsonScanner) peek() byte {
	if s.at < len(s.raw) {
		return s.raw[s.at]
	}
	return 0
}

func (s *jsonScanner) expect(c byte) error {
	s.space()
	if s.peek() != c {
		return s.bad("no '" + string(rune(c)) + "'")
	}
	s.at++
	return nil
}

// str steps over a string and returns it with its quotes.
func (s *jsonScanner) str() ([]byte, error) {
	from := s.at
	if s.peek() != '"' {
		return nil, s.bad("no string")
	}
	for i := from + 1; i < len(s.raw); i++ {
		switch c := s.raw[i]; {
		case c == '"':
			s.at = i + 1
			return s.raw[from:s.at], nil
		case c == '\\':
			i++
		case c < 0x20:
			s.at = i
			return nil, s.bad("a control character in a string")
		}
	}
	return nil, s.bad("a string without an end")
}

// skip steps over any value.
func (s *jsonScanner) skip(depth int) error {
	switch c := s.peek(); {
	case c == '"':
		_, err := s.str()
		return err
	case c == '-' || c >= '0' && c <= '9':
		return s.number()
	case c == '{' || c == '[':
		if depth >= maxJSONDepth {
			return s.bad("too deep")
		}
		return s.nested(depth, c == '{')
	}
	for _, word := range [...]string{"null", "true", "false"} {
		if bytes.HasPrefix(s.raw[s.at:], []byte(word)) {
			s.at += len(word)
			return nil
		}
	}
	return s.bad("no value")
}

// nested steps over an object or an array.
func (s *jsonScanner) nested(depth int, object bool) error {
	end := byte(']')
	if object {
		end = '}'
	}
	s.at++
	s.space()
	if s.peek() == end {
		s.at++
		return nil
	}
	for {
		s.space()
		if object {
			if _, err := s.str(); err != nil {
				return err
			}
			if err := s.expect(':'); err != nil {
				return err
			}
			s.space()
		}
		if err := s.skip(depth + 1); err != nil {
			return err
		}
		s.space()
		if s.peek() == end {
			s.at++
			return nil
		}
		if err := s.expect(','); err != nil {
			return err
		}
	}
}

// number steps over a number of JSON's grammar.
func (s *jsonScanner) number() error {
	digits := func() bool {
		from := s.at
		for c := s.peek(); c >= '0' && c <= '9'; c = s.peek() {
			s.at++
		}
		return s.at > from
	}
	if s.peek() == '-' {
		s.at++
	}
	from := s.at
	if !digits() || s.raw[from] == '0' && s.at > from+1 {
		return s.bad("a malformed number")
	}
	if s.peek() == '.' {
		s.at++
		if !digits() {
			return s.bad("a malformed number")
		}
	}
	if c := s.peek(); c == 'e' || c == 'E' {
		s.at++
		if c := s.peek(); c == '+' || c == '-' {
			s.at++
		}
		if !digits() {
			return s.bad("a malformed number")
		}
	}
	return nil
}
