package elastic

import (
	"bytes"
	"encoding/json"
)

// What follows reads JSON that is known to be valid, without making anything of it.

// inside is what stands between the brackets of an array or the braces of an object.
func inside(v []byte) []byte {
	if len(v) < 2 {
		return nil
	}
	return v[1 : len(v)-1]
}

// element splits the first value, which may be a name, from what follows it; nil at the end.
func element(raw []byte) (value, rest []byte) {
	from := 0
	for from < len(raw) && (raw[from] <= ' ' || raw[from] == ',' || raw[from] == ':') {
		from++
	}
	if from == len(raw) {
		return nil, nil
	}
	to, depth := from, 0
	for to < len(raw) {
		switch raw[to] {
		case '"':
			to = endOfString(raw, to)
		case '[', '{':
			depth++
			to++
		case ']', '}':
			depth--
			to++
		case ',', ':', ' ', '\n', '\r', '\t':
			if depth == 0 {
				return raw[from:to], raw[to:]
			}
			to++
			continue
		default:
			to++
			continue
		}
		if depth == 0 {
			break
		}
	}
	return raw[from:to], raw[to:]
}

// endOfString is the place after the string that begins at from.
func endOfString(raw []byte, from int) int {
	at := from + 1
	for {
		n := bytes.IndexByte(raw[min(at, len(raw)):], '"')
		if n < 0 {
			return len(raw)
		}
		at += n
		escapes := 0
		for raw[at-1-escapes] == '\\' {
			escapes++
		}
		if at++; escapes%2 == 0 {
			return at
		}
	}
}

// unquote is the text of a string.
func unquote(quoted []byte) (string, bool) {
	if len(quoted) >= 2 && bytes.IndexByte(quoted, '\\') < 0 {
		return string(quoted[1 : len(quoted)-1]), true
	}
	var s string
	err := json.Unmarshal(quoted, &s)
	return s, err == nil
}
