package core

import (
	"bytes"
	"encoding/json"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// The limits of a JSON text, whatever it says.
const (
	MaxDepth  = 16
	maxNumber = 32 // characters
	manyNames = 16 // from here on the names of an object are kept in a map
)

// Value is one value of a scanned JSON text.
type Value struct {
	Kind  byte    // '{' '[' '"' '0' 't' 'f' 'n'
	At    int     // its offset in the text
	Raw   []byte  // its text
	Name  string  // of a member of an object
	Items []Value // members or elements, as far as they were kept
}

// SyntaxError is what is wrong with a JSON text.
type SyntaxError struct {
	At    int    // the offset of the mistake
	Field string // the way to it: legs[1].amount
	Why   string
}

// Error says it.
func (e *SyntaxError) Error() string { return e.Why }

// place is a member's name or an element's index on the way to a value.
type place struct {
	name  []byte // nil: an element
	index int
}

// scanner reads JSON text strictly: RFC 8259, UTF-8, each name once in its object, no unpaired surrogate, no NUL. What two
// readers could understand in two ways is refused.
type scanner struct {
	text  []byte
	at    int
	keep  int
	path  []place
	names [][]byte // of the objects that are open
}

// Scan checks the whole text and returns its value with the items of its first keep levels, or a *SyntaxError.
func Scan(text []byte, keep int) (Value, error) {
	s := scanner{text: text, keep: keep}
	if !utf8.Valid(text) {
		at := 0
		for at < len(text) {
			r, n := utf8.DecodeRune(text[at:])
			if r == utf8.RuneError && n < 2 {
				break
			}
			at += n
		}
		return Value{}, s.bad(at, "the text is not UTF-8")
	}
	s.space()
	if s.at == len(text) {
		return Value{}, s.bad(s.at, "there is nothing")
	}
	n, err := s.value(0)
	if err != nil {
		return Value{}, err
	}
	s.space()
	if s.at < len(text) {
		return Value{}, s.bad(s.at, "something follows the value")
	}
	return n, nil
}

func (s *scanner) bad(at int, why string) error {
	return &SyntaxError{At: at, Field: fieldAt(s.path), Why: why}
}

// fieldAt writes a path as legs[1].amount.
func fieldAt(path []place) string {
	var out []byte
	for i, st := range path {
		if st.name == nil {
			out = append(strconv.AppendInt(append(out, '['), int64(st.index), 10), ']')
			continue
		}
		if i > 0 {
			out = append(out, '.')
		}
		out = append(out, st.name[:min(len(st.name), 64)]...)
	}
	return string(bytes.ToValidUTF8(out, nil))
}

func (s *scanner) space() {
	for s.at < len(s.text) {
		switch s.text[s.at] {
		case ' ', '\t', '\r', '\n':
			s.at++
		default:
			return
		}
	}
}

// peek is the next character, 0 at the end.
func (s *scanner) peek() byte {
	if s.at < len(s.text) {
		return s.text[s.at]
	}
	return 0
}

func (s *scanner) value(depth int) (Value, error) {
	if depth >= MaxDepth {
		return Value{}, s.bad(s.at, "it is nested deeper than "+strconv.Itoa(MaxDepth))
	}
	n := Value{At: s.at}
	var err error
	switch c := s.peek(); {
	case c == '{':
		n.Kind = c
		n.Items, err = s.object(depth)
	case c == '[':
		n.Kind = c
		n.Items, err = s.array(depth)
	case c == '"':
		n.Kind = c
		err = s.text1()
	case c == '-' || c >= '0' && c <= '9':
		n.Kind = '0'
		err = s.number()
	default:
		n.Kind = c
		err = s.word()
	}
	if err != nil {
		return Value{}, err
	}
	n.Raw = s.text[n.At:s.at]
	return n, nil
}

func (s *scanner) word() error {
	for _, w := range [...]string{"true", "false", "null"} {
		if bytes.HasPrefix(s.text[s.at:], []byte(w)) {
			s.at += len(w)
			return nil
		}
	}
	return s.bad(s.at, "a value is expected here")
}

func (s *scanner) object(depth int) ([]Value, error) {
	var items []Value
	var seen map[string]struct{}
	base := len(s.names)
	s.at++
	if s.space(); s.peek() == '}' {
		s.at++
		return nil, nil
	}
	for {
		s.space()
		if s.peek() != '"' {
			return nil, s.bad(s.at, "a name in quotes is expected here")
		}
		from := s.at
		if err := s.text1(); err != nil {
			return nil, err
		}
		name := Unquote(s.text[from:s.at])
		s.path = append(s.path, place{name: name})
		if !s.fresh(base, name, &seen) {
			return nil, s.bad(from, "the name is there twice")
		}
		if s.space(); s.peek() != ':' {
			return nil, s.bad(s.at, "a colon is expected here")
		}
		s.at++
		s.space()
		v, err := s.value(depth + 1)
		if err != nil {
			return nil, err
		}
		s.path = s.path[:len(s.path)-1]
		if depth < s.keep {
			v.Name = string(name)
			items = append(items, v)
		}
		s.space()
		switch s.peek() {
		case ',':
			s.at++
		case '}':
			s.at++
			s.names = s.names[:base]
			return items, nil
		default:
			return nil, s.bad(s.at, "a comma or } is expected here")
		}
	}
}

// fresh notes a name of the object whose names begin at base, and reports whether it is new.
func (s *scanner) fresh(base int, name []byte, seen *map[string]struct{}) bool {
	own := s.names[base:]
	if len(own) < manyNames {
		for _, o := range own {
			if bytes.Equal(o, name) {
				return false
			}
		}
		s.names = append(s.names, name)
		return true
	}
	if *seen == nil {
		*seen = make(map[string]struct{}, 2*manyNames)
		for _, o := range own {
			(*seen)[string(o)] = struct{}{}
		}
	}
	if _, there := (*seen)[string(name)]; there {
		return false
	}
	(*seen)[string(name)] = struct{}{}
	return true
}

func (s *scanner) array(depth int) ([]Value, error) {
	var items []Value
	s.at++
	if s.space(); s.peek() == ']' {
		s.at++
		return nil, nil
	}
	for i := 0; ; i++ {
		s.space()
		s.path = append(s.path, place{index: i})
		v, err := s.value(depth + 1)
		if err != nil {
			return nil, err
		}
		s.path = s.path[:len(s.path)-1]
		if depth < s.keep {
			items = append(items, v)
		}
		s.space()
		switch s.peek() {
		case ',':
			s.at++
		case ']':
			s.at++
			return items, nil
		default:
			return nil, s.bad(s.at, "a comma or ] is expected here")
		}
	}
}

// text1 passes one string.
func (s *scanner) text1() error {
	s.at++
	for s.at < len(s.text) {
		switch c := s.text[s.at]; {
		case c == '"':
			s.at++
			return nil
		case c < ' ':
			return s.bad(s.at, "a control character stands in a string")
		case c == '\\':
			if err := s.escape(); err != nil {
				return err
			}
		default:
			s.at++
		}
	}
	return s.bad(s.at, "a string has no end")
}

func (s *scanner) escape() error {
	from := s.at
	s.at++
	switch s.peek() {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		s.at++
		return nil
	case 'u':
		s.at++
	default:
		return s.bad(from, "an escape that JSON does not have")
	}
	r, ok := s.hex()
	switch {
	case !ok:
		return s.bad(from, `\u needs four hexadecimal digits`)
	case r == 0:
		return s.bad(from, "text has no NUL")
	case !utf16.IsSurrogate(r):
		return nil
	}
	if s.peek() == '\\' && s.at+1 < len(s.text) && s.text[s.at+1] == 'u' {
		s.at += 2
		if low, ok := s.hex(); ok && utf16.DecodeRune(r, low) != utf8.RuneError {
			return nil
		}
	}
	return s.bad(from, "half of a surrogate pair")
}

func (s *scanner) hex() (rune, bool) {
	if s.at+4 > len(s.text) {
		return 0, false
	}
	n, err := strconv.ParseUint(string(s.text[s.at:s.at+4]), 16, 16)
	s.at += 4
	return rune(n), err == nil
}

func (s *scanner) number() error {
	from := s.at
	digits := func() bool {
		start := s.at
		for c := s.peek(); c >= '0' && c <= '9'; c = s.peek() {
			s.at++
		}
		return s.at > start
	}
	if s.peek() == '-' {
		s.at++
	}
	lead := s.at
	ok := digits() && (s.text[lead] != '0' || s.at == lead+1)
	if ok && s.peek() == '.' {
		s.at++
		ok = digits()
	}
	if c := s.peek(); ok && (c == 'e' || c == 'E') {
		s.at++
		if c := s.peek(); c == '+' || c == '-' {
			s.at++
		}
		ok = digits()
	}
	switch {
	case !ok:
		return s.bad(from, "this is not a JSON number")
	case s.at-from > maxNumber:
		return s.bad(from, "a number of more than "+strconv.Itoa(maxNumber)+" characters")
	}
	return nil
}

// Unquote is the text of a string that was scanned.
func Unquote(raw []byte) []byte {
	raw = raw[1 : len(raw)-1]
	if bytes.IndexByte(raw, '\\') < 0 {
		return raw
	}
	var out string
	if err := json.Unmarshal(append(append([]byte{'"'}, raw...), '"'), &out); err != nil {
		return raw // not reached: it was scanned
	}
	return []byte(out)
}
