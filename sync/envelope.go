package syncer

import (
	"bytes"
	"encoding/binary"
	"math/bits"

	"strata/fault"
)

// change is what the index wants of a record's value: slices of it.
type change struct {
	op            byte // c, u, d, r
	before, after []byte
}

// heads are the schemas that stand before payloads, as they were last seen: they are nearly always the same.
type heads struct{ key, value []byte }

// payload is what stands beside the schema of a key or value, or the text itself where it has none; head is where its schema
// is remembered. Errors: fault.Invalid.
func payload(text []byte, head *[]byte) ([]byte, error) {
	if !bytes.HasPrefix(text, []byte(`{"schema":{`)) {
		return text, nil
	}
	if n := len(*head); n > 0 && bytes.HasPrefix(text, *head) && text[len(text)-1] == '}' {
		return text[n : len(text)-1], nil
	}
	s := scanner{b: text, at: len(`{"schema":`)}
	if !s.skip() || !bytes.HasPrefix(text[s.at:], []byte(`,"payload":`)) || text[len(text)-1] != '}' {
		return nil, badEnvelope("no payload", s.at)
	}
	*head = append((*head)[:0], text[:s.at+len(`,"payload":`)]...)
	return text[len(*head) : len(text)-1], nil
}

// parseEnvelope finds op, before and after in a change envelope (canal.Envelope's form) without decoding anything else.
// null images come back as nil. Errors: fault.Invalid.
func parseEnvelope(value []byte) (change, error) {
	var c change
	s := scanner{b: value}
	s.space()
	if !s.eat('{') {
		return c, badEnvelope("no object", s.at)
	}
	for s.space(); !s.eat('}'); s.space() {
		name, ok := s.text()
		s.space()
		if !ok || !s.eat(':') {
			return c, badEnvelope("no field name", s.at)
		}
		s.space()
		from := s.at
		if !s.skip() {
			return c, badEnvelope("a field that does not end", from)
		}
		v := value[from:s.at]
		switch string(name) {
		case "op":
			if len(v) == 3 && v[0] == '"' {
				c.op = v[1]
			}
		case "before":
			c.before = image(v)
		case "after":
			c.after = image(v)
		}
		s.space()
		if !s.eat(',') && s.at < len(value) && value[s.at] != '}' {
			return c, badEnvelope("no comma", s.at)
		}
		if s.at >= len(value) {
			return c, badEnvelope("no end", s.at)
		}
	}
	switch {
	case c.op == 'd':
		return c, nil
	case c.op != 'c' && c.op != 'u' && c.op != 'r':
		return c, badEnvelope("no op", 0)
	case c.after == nil:
		return c, badEnvelope("no after", 0)
	}
	return c, nil
}

func badEnvelope(what string, at int) error {
	return fault.New(fault.Invalid, "parse change envelope", "%s at byte %d", what, at)
}

// image is nil for null.
func image(v []byte) []byte {
	if len(v) == 0 || v[0] != '{' {
		return nil
	}
	return v
}

// scanner walks over JSON without checking more than it needs.
type scanner struct {
	b  []byte
	at int
}

func (s *scanner) space() {
	for s.at < len(s.b) && (s.b[s.at] == ' ' || s.b[s.at] == '\n' || s.b[s.at] == '\t' || s.b[s.at] == '\r') {
		s.at++
	}
}

func (s *scanner) eat(c byte) bool {
	if s.at < len(s.b) && s.b[s.at] == c {
		s.at++
		return true
	}
	return false
}

// text reads a string and returns what stands between its quotes, escapes and all.
func (s *scanner) text() ([]byte, bool) {
	from := s.at + 1
	if s.at >= len(s.b) || s.b[s.at] != '"' {
		return nil, false
	}
	end := closing(s.b, from)
	if end < 0 {
		return nil, false
	}
	s.at = end + 1
	return s.b[from:end], true
}

// closing is where the quote stands that ends the string whose text begins at a place, or -1. It looks at eight bytes at a time:
// most of a value is strings.
func closing(b []byte, at int) int {
	const ones, tops = 0x0101010101010101, 0x8080808080808080
	zero := func(x uint64) uint64 { return (x - ones) &^ x & tops } // its lowest bit is in the first byte that is zero
	for at < len(b) {
		if at+8 <= len(b) {
			x := binary.LittleEndian.Uint64(b[at:])
			hits := zero(x^ones*'"') | zero(x^ones*'\\')
			if hits == 0 {
				at += 8
				continue
			}
			at += bits.TrailingZeros64(hits) / 8
		}
		switch b[at] {
		case '"':
			return at
		case '\\':
			at += 2
		default:
			at++
		}
	}
	return -1
}

// skip passes one value.
func (s *scanner) skip() bool {
	if s.at >= len(s.b) {
		return false
	}
	switch s.b[s.at] {
	case '"':
		_, ok := s.text()
		return ok
	case '{', '[':
		return s.nested()
	}
	from := s.at
	for s.at < len(s.b) && s.b[s.at] != ',' && s.b[s.at] != '}' && s.b[s.at] != ']' && s.b[s.at] > ' ' {
		s.at++
	}
	return s.at > from
}

func (s *scanner) nested() bool {
	b, depth := s.b, 0
	for at := s.at; at < len(b); at++ {
		switch b[at] {
		case '"':
			if at = closing(b, at+1); at < 0 {
				return false
			}
		case '{', '[':
			depth++
		case '}', ']':
			if depth--; depth == 0 {
				s.at = at + 1
				return true
			}
		}
	}
	return false
}
