package binlog

import (
	"encoding/base64"
	"errors"
	"math"
	"strconv"

	"github.com/go-mysql-org/go-mysql/mysql"
)

// errJSON is the error of a JSON value that is damaged.
var errJSON = errors.New("a damaged JSON value")

// maxJSONDepth is more than MySQL's own bound of 100.
const maxJSONDepth = 128

// The types of MySQL's binary JSON.
const (
	jsonSmallObject = iota
	jsonLargeObject
	jsonSmallArray
	jsonLargeArray
	jsonLiteral
	jsonInt16
	jsonUint16
	jsonInt32
	jsonUint32
	jsonInt64
	jsonUint64
	jsonDouble
	jsonString
)

const jsonOpaque = 15

// appendJSON appends the text that MySQL prints for a value of its binary JSON.
func appendJSON(dst, v []byte) ([]byte, error) {
	if len(v) == 0 {
		return append(dst, "null"...), nil
	}
	return appendJSONValue(dst, v[0], v[1:], 0)
}

func appendJSONValue(dst []byte, typ byte, v []byte, depth int) ([]byte, error) {
	var need int
	switch typ {
	case jsonSmallObject, jsonLargeObject, jsonSmallArray, jsonLargeArray:
		return appendJSONContainer(dst, typ, v, depth)
	case jsonLiteral:
		need = 1
	case jsonInt16, jsonUint16:
		need = 2
	case jsonInt32, jsonUint32:
		need = 4
	case jsonInt64, jsonUint64, jsonDouble:
		need = 8
	case jsonString:
		s, err := jsonBytes(v)
		if err != nil {
			return dst, err
		}
		return appendJSONText(dst, s), nil
	case jsonOpaque:
		return appendJSONOpaque(dst, v)
	default:
		return dst, errJSON
	}
	if len(v) < need {
		return dst, errJSON
	}
	switch v = v[:need]; typ {
	case jsonLiteral:
		if v[0] > 2 {
			return dst, errJSON
		}
		return append(dst, [...]string{"null", "true", "false"}[v[0]]...), nil
	case jsonUint16, jsonUint32, jsonUint64:
		return strconv.AppendUint(dst, little(v), 10), nil
	case jsonDouble:
		return appendJSONDouble(dst, math.Float64frombits(little(v))), nil
	}
	return strconv.AppendInt(dst, signed(v), 10), nil
}

// appendJSONContainer appends an object or an array: count and size, then for objects offset and length of each key, then
// for each element its type and its offset or, where it is small, itself.
func appendJSONContainer(dst []byte, typ byte, v []byte, depth int) ([]byte, error) {
	word := 2
	if typ == jsonLargeObject || typ == jsonLargeArray {
		word = 4
	}
	if len(v) < 2*word || depth > maxJSONDepth {
		return dst, errJSON
	}
	object := typ == jsonSmallObject || typ == jsonLargeObject
	count, size := int(little(v[:word])), int(little(v[word:2*word]))
	keys, values := 2*word, 2*word
	if object {
		values += count * (word + 2)
	}
	if size > len(v) || values+count*(1+word) > size {
		return dst, errJSON
	}
	v = v[:size]
	open, end := byte('['), byte(']')
	if object {
		open, end = '{', '}'
	}
	dst = append(dst, open)
	for i := range count {
		if i > 0 {
			dst = append(dst, ", "...)
		}
		if object {
			e := v[keys+i*(word+2):]
			from, n := int(little(e[:word])), int(little(e[word:word+2]))
			if from+n > size {
				return dst, errJSON
			}
			dst = append(appendJSONText(dst, v[from:from+n]), ": "...)
		}
		e := v[values+i*(1+word) : values+(i+1)*(1+word)]
		inside := e[1:]
		if !inline(e[0], word) {
			from := int(little(e[1:]))
			if from > size {
				return dst, errJSON
			}
			inside = v[from:]
		}
		var err error
		if dst, err = appendJSONValue(dst, e[0], inside, depth+1); err != nil {
			return dst, err
		}
	}
	return append(dst, end), nil
}

// inline reports whether a value stands where its offset would.
func inline(typ byte, word int) bool {
	switch typ {
	case jsonLiteral, jsonInt16, jsonUint16:
		return true
	case jsonInt32, jsonUint32:
		return word == 4
	}
	return false
}

// jsonBytes reads bytes with their length in front, seven bits a byte.
func jsonBytes(v []byte) ([]byte, error) {
	n := 0
	for i := 0; i < len(v) && i < 5; i++ {
		n |= int(v[i]&0x7f) << (7 * i)
		if v[i]&0x80 == 0 {
			if v = v[i+1:]; n > len(v) {
				return nil, errJSON
			}
			return v[:n], nil
		}
	}
	return nil, errJSON
}

// appendJSONText appends a string with the escapes that MySQL uses.
func appendJSONText(dst, s []byte) []byte {
	const digits = "0123456789abcdef"
	dst = append(dst, '"')
	for _, c := range s {
		switch c {
		case '"', '\\':
			dst = append(dst, '\\', c)
		case '\b':
			dst = append(dst, '\\', 'b')
		case '\f':
			dst = append(dst, '\\', 'f')
		case '\n':
			dst = append(dst, '\\', 'n')
		case '\r':
			dst = append(dst, '\\', 'r')
		case '\t':
			dst = append(dst, '\\', 't')
		default:
			if c < 0x20 {
				dst = append(dst, '\\', 'u', '0', '0', digits[c>>4], digits[c&15])
			} else {
				dst = append(dst, c)
			}
		}
	}
	return append(dst, '"')
}

// appendJSONDouble appends the shortest digits that read back, with an exponent below 1e-15 and for integers from 1e15 on, and
// with a point where it would look like an integer.
func appendJSONDouble(dst []byte, f float64) []byte {
	from := len(dst)
	var room [32]byte
	digits := strconv.AppendFloat(room[:0], f, 'e', -1, 64)
	at := len(digits) - 1
	for digits[at] != 'e' {
		at--
	}
	exp, err := strconv.Atoi(string(digits[at+1:]))
	if err != nil || f == 0 || exp >= -15 && (exp < 15 || f != math.Trunc(f)) {
		dst = strconv.AppendFloat(dst, f, 'f', -1, 64)
		for _, c := range dst[from:] {
			if c == '.' {
				return dst
			}
		}
		return append(dst, ".0"...)
	}
	dst = append(dst, digits[:at+1]...)
	return strconv.AppendInt(dst, int64(exp), 10)
}

// appendJSONOpaque appends a value that JSON itself has no type for.
func appendJSONOpaque(dst, v []byte) ([]byte, error) {
	if len(v) < 1 {
		return dst, errJSON
	}
	typ := v[0]
	v, err := jsonBytes(v[1:])
	if err != nil {
		return dst, err
	}
	switch typ {
	case mysql.MYSQL_TYPE_NEWDECIMAL:
		f := field{typ: typ}
		if len(v) < 2 {
			return dst, errJSON
		}
		f.meta = uint16(v[0])<<8 | uint16(v[1])
		if f.measure(); f.fixed != len(v)-2 {
			return dst, errJSON
		}
		return appendDecimal(dst, v[2:], int(v[0]), int(v[1])), nil
	case mysql.MYSQL_TYPE_TIME, mysql.MYSQL_TYPE_DATE, mysql.MYSQL_TYPE_DATETIME, mysql.MYSQL_TYPE_TIMESTAMP:
		if len(v) != 8 {
			return dst, errJSON
		}
		return append(appendPacked(append(dst, '"'), typ, signed(v)), '"'), nil
	}
	dst = strconv.AppendInt(append(dst, `"base64:type`...), int64(typ), 10)
	dst = append(dst, ':')
	for len(v) > 57 { // the server breaks the line after 76 characters
		dst = append(base64.StdEncoding.AppendEncode(dst, v[:57]), '\\', 'n')
		v = v[57:]
	}
	return append(base64.StdEncoding.AppendEncode(dst, v), '"'), nil
}

// appendPacked appends a packed time: 24 bits of microseconds, above them 6 of seconds, 6 of minutes, 5 of hours (10 for a
// TIME), 5 of days, and the month with 13 a year.
func appendPacked(dst []byte, typ byte, n int64) []byte {
	if n < 0 {
		dst, n = append(dst, '-'), -n
	}
	micro, whole := int(n&(1<<24-1)), n>>24
	minute, second := int(whole>>6&63), int(whole&63)
	if typ == mysql.MYSQL_TYPE_TIME {
		return appendFraction(appendClock(dst, int(whole>>12&1023), minute, second), micro, 6)
	}
	ym := int(whole >> 22)
	dst = appendDate(dst, ym/13, ym%13, int(whole>>17&31))
	if typ == mysql.MYSQL_TYPE_DATE {
		return dst
	}
	return appendFraction(appendClock(append(dst, ' '), int(whole>>12&31), minute, second), micro, 6)
}
