package catalog

import (
	"encoding/binary"
	"unicode/utf16"
	"unicode/utf8"

	"strata/fault"
)

// jsonExtra is the one key beside the columns that ParseJSON accepts: what the index adds to a document.
const jsonExtra = "_strata"

// maxJSONDepth bounds the nesting of what ParseJSON skips.
const maxJSONDepth = 32

// AppendJSON appends the row as a flat JSON object, columns in order: integers, floats and YEAR as numbers with the digits
// of the cell, everything else as strings, NULL as null. Cells of character types must be UTF-8, as canonical cells are; a
// byte that isn't becomes U+FFFD. The row must have the dataset's columns.
func AppendJSON(dst []byte, d *Dataset, r *Row) []byte {
	dst = append(dst, '{')
	for i := range d.Columns {
		c := &d.Columns[i]
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = AppendJSONString(dst, c.Name)
		dst = append(dst, ':')
		dst = AppendJSONCell(dst, c.Type, r.Cell(i))
	}
	return append(dst, '}')
}

// AppendJSONCell appends one cell as AppendJSON does.
func AppendJSONCell(dst []byte, t Type, cell []byte) []byte {
	switch {
	case cell == nil:
		return append(dst, "null"...)
	case t.Kind == Year: // 0000 is no JSON number
		for len(cell) > 1 && cell[0] == '0' {
			cell = cell[1:]
		}
		return append(dst, cell...)
	case t.Kind.Numeric():
		return append(dst, cell...)
	}
	return appendJSONText(dst, cell)
}

// appendJSONText is AppendJSONString, eight bytes at a time as long as there is nothing to escape.
func appendJSONText(dst, s []byte) []byte {
	const ones, tops = 0x0101010101010101, 0x8080808080808080
	below := func(x uint64, n byte) uint64 { return (x - ones*uint64(n)) &^ x & tops } // not 0: some byte is less than n
	i := 0
	for ; i+8 <= len(s); i += 8 {
		x := binary.LittleEndian.Uint64(s[i:])
		if x&tops|below(x, 0x20)|below(x^ones*'"', 1)|below(x^ones*'\\', 1) != 0 {
			break
		}
	}
	for i < len(s) && s[i] >= 0x20 && s[i] < utf8.RuneSelf && s[i] != '"' && s[i] != '\\' {
		i++
	}
	if i < len(s) {
		return AppendJSONString(dst, s)
	}
	dst = append(dst, '"')
	return append(append(dst, s...), '"')
}

// AppendJSONString appends s as a JSON string.
func AppendJSONString[T string | []byte](dst []byte, s T) []byte {
	const hexDigits = "0123456789abcdef"
	dst = append(dst, '"')
	from := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= 0x20 && c < utf8.RuneSelf && c != '"' && c != '\\' {
			i++
			continue
		}
		if c >= utf8.RuneSelf {
			_, n := utf8.DecodeRuneInString(string(s[i:min(i+utf8.UTFMax, len(s))]))
			if n > 1 {
				i += n
				continue
			}
			dst = append(append(dst, s[from:i]...), "\ufffd"...)
			i++
			from = i
			continue
		}
		dst = append(dst, s[from:i]...)
		switch c {
		case '"', '\\':
			dst = append(dst, '\\', c)
		case '\n':
			dst = append(dst, '\\', 'n')
		case '\r':
			dst = append(dst, '\\', 'r')
		case '\t':
			dst = append(dst, '\\', 't')
		default:
			dst = append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
		}
		i++
		from = i
	}
	return append(append(dst, s[from:]...), '"')
}

// ParseJSON reads what AppendJSON wrote into a row, columns in any order. Numbers keep their digits. Errors (fault.Invalid,
// naming the dataset and the column): a column that is missing or there twice, an unknown key (except "_strata", which is
// skipped), a value that is not of the column's type, text after the object. On an error into is undefined.
func ParseJSON(d *Dataset, raw []byte, into *Row) error {
	s := jsonScanner{raw: raw}
	if _, err := s.row(d, into); err != nil {
		return fault.Wrap(fault.Invalid, "parse row of "+d.Name, err)
	}
	return nil
}

// ParseImage reads the image of a row that was written when its table had other columns than the dataset, or with some
// masked: a column that is missing is NULL, a key that is no column is skipped; everything else is as with ParseJSON. as
// declared is whether neither was met. Where it is not, only the row's hash proves that the row is the one meant.
func ParseImage(d *Dataset, raw []byte, into *Row) (asDeclared bool, err error) {
	s := jsonScanner{raw: raw, lenient: true}
	asDeclared, err = s.row(d, into)
	if err != nil {
		return false, fault.Wrap(fault.Invalid, "parse image of "+d.Name, err)
	}
	return asDeclared, nil
}

// unescapeJSON appends the text of a JSON string's inside.
func unescapeJSON(dst, v []byte) ([]byte, error) {
	for i := 0; i < len(v); i++ {
		if v[i] != '\\' {
			dst = append(dst, v[i])
			continue
		}
		i++
		if i >= len(v) {
			return nil, fault.New(fault.Invalid, "", "a backslash at the end")
		}
		switch v[i] {
		case '"', '\\', '/':
			dst = append(dst, v[i])
		case 'n':
			dst = append(dst, '\n')
		case 'r':
			dst = append(dst, '\r')
		case 't':
			dst = append(dst, '\t')
		case 'b':
			dst = append(dst, '\b')
		case 'f':
			dst = append(dst, '\f')
		case 'u':
			r := hexRune(v, i+1)
			i += 4
			if r >= 0 && utf16.IsSurrogate(r) {
				low := rune(-1)
				if i+2 < len(v) && v[i+1] == '\\' && v[i+2] == 'u' {
					low = hexRune(v, i+3)
				}
				if r = utf16.DecodeRune(r, low); r == utf8.RuneError {
					r = -1
				}
				i += 6
			}
			if r < 0 {
				return nil, fault.New(fault.Invalid, "", "a malformed \\u")
			}
			dst = utf8.AppendRune(dst, r)
		default:
			return nil, fault.New(fault.Invalid, "", "a backslash before %q", v[i])
		}
	}
	return dst, nil
}

// hexRune reads four hex digits at i, or is -1.
func hexRune(v []byte, i int) rune {
	if i+4 > len(v) {
		return -1
	}
	var r rune
	for _, c := range v[i : i+4] {
		switch {
		case c >= '0' && c <= '9':
			r = r<<4 | rune(c-'0')
		case c >= 'a' && c <= 'f':
			r = r<<4 | rune(c-'a'+10)
		case c >= 'A' && c <= 'F':
			r = r<<4 | rune(c-'A'+10)
		default:
			return -1
		}
	}
	return r
}
