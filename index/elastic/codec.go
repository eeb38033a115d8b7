package elastic

import (
	"bytes"
	"math"
	"strconv"
	"strings"

	"strata/catalog"
	"strata/index"
)

// fit says how well an indexed form stands for a text.
type fit uint8

const (
	exact fit = iota
	floor     // the text has no form; num or text is just below it
	below     // the text is below every value
	above     // the text is above every value
	bad       // not a value of the type
)

// value is the indexed form of a cell: one whose order in Elasticsearch is catalog.Compare's.
type value struct {
	num   int64
	text  string
	isNum bool
}

func number(n int64) value { return value{num: n, isNum: true} }
func text(s string) value  { return value{text: s} }

// any is the form as JSON.
func (v value) any() any {
	if v.isNum {
		return v.num
	}
	return v.text
}

// appendTo writes the form of a key under _strata.k: a number, or letters and digits.
func (v value) appendTo(dst []byte) []byte {
	if v.isNum {
		return strconv.AppendInt(dst, v.num, 10)
	}
	return append(append(append(dst, '"'), v.text...), '"')
}

// encode is the form of a text in a column.
func (f *field) encode(s string) (value, fit) {
	switch f.t.Kind {
	case catalog.Int, catalog.Uint, catalog.Year:
		return f.encodeInteger(s)
	case catalog.Decimal:
		return encodeDecimal(s, f.t.Scale)
	case catalog.Float, catalog.Double:
		return encodeFloat(s)
	case catalog.Date, catalog.DateTime, catalog.Timestamp:
		return encodeDate(f.t, s)
	case catalog.Time:
		return encodeTime(s)
	default:
		return text(s), exact
	}
}

// encodeInteger is a long, or for wide columns 20 digits: of the number, or of the number and 2^63 where it is signed.
func (f *field) encodeInteger(s string) (value, fit) {
	neg, ints, frac, ok := index.SplitNumber(s)
	if !ok {
		return value{}, bad
	}
	if ints == "" {
		ints = "0"
	}
	how := exact
	if frac != "" {
		how = floor
	}
	u, err := strconv.ParseUint(ints, 10, 64)
	unsigned := f.t.Kind == catalog.Uint && f.form == keyKeyword
	if unsigned {
		switch {
		case neg:
			return value{}, below
		case err != nil:
			return value{}, above
		}
		return text(digits20(u)), how
	}
	switch {
	case neg && (err != nil || u > 1<<63 || u == 1<<63 && frac != ""):
		return value{}, below
	case err != nil, !neg && u > math.MaxInt64:
		return value{}, above
	}
	n := int64(u)
	if neg {
		n = -n // 1<<63 is its own negative
		if frac != "" {
			n--
		}
	}
	if f.form == keyKeyword {
		return text(digits20(uint64(n) ^ 1<<63)), how
	}
	return number(n), how
}

func digits20(u uint64) string {
	s := strconv.FormatUint(u, 10)
	return strings.Repeat("0", 20-len(s)) + s
}

// encodeFloat is the 16 hexadecimal digits of the bits, negated or with their sign turned so that they sort.
func encodeFloat(s string) (value, fit) {
	v, err := strconv.ParseFloat(s, 64)
	if err != nil || math.IsNaN(v) {
		return value{}, bad
	}
	bits := math.Float64bits(v)
	if v == 0 { // -0 too
		bits = 0
	}
	if bits>>63 == 1 {
		bits = ^bits
	} else {
		bits |= 1 << 63
	}
	h := strconv.FormatUint(bits, 16)
	return text(strings.Repeat("0", 16-len(h)) + h), exact
}

// encodeDecimal is index.DecimalText of the number without its point.
func encodeDecimal(s string, scale int) (value, fit) {
	neg, ints, frac, ok := index.SplitNumber(s)
	if !ok {
		return value{}, bad
	}
	how := exact
	if len(frac) > scale {
		frac, how = frac[:scale], floor
	}
	digits := strings.TrimLeft(ints+frac+strings.Repeat("0", scale-len(frac)), "0")
	if len(digits) > 90 {
		if neg {
			return value{}, below
		}
		return value{}, above
	}
	if how == floor && neg {
		digits = index.Increment(digits)
	}
	return text(index.DecimalText(neg, digits)), how
}

// encodeTime is the digits HHHMMSSffffff as an integer.
func encodeTime(s string) (value, fit) {
	neg := strings.HasPrefix(s, "-")
	whole, frac, _ := strings.Cut(strings.TrimPrefix(s, "-"), ".")
	whole = strings.ReplaceAll(whole, ":", "")
	if len(frac) > 6 || whole == "" {
		return value{}, bad
	}
	v, err := strconv.ParseUint(whole+frac+strings.Repeat("0", 6-len(frac)), 10, 62)
	if err != nil {
		return value{}, bad
	}
	n := int64(v)
	if neg {
		n = -n
	}
	return number(n), exact
}

// zeroTime is what a shorter text of a date and time lacks.
const zeroTime = "0000-00-00 00:00:00.000000"

// day is how many microseconds dayCode counts for a day.
const day = 24 * 3600 * 1_000_000

// encodeDate is a number in mixed radix, year to microsecond, with room for zero dates, so that its order is the text's.
// Texts of another length than the column's cells, or with a T, have a place between the cells, by their bytes.
func encodeDate(t catalog.Type, s string) (value, fit) {
	if len(s) < 10 || len(s) > len(zeroTime) || len(s) > 10 && len(s) < 19 || len(s) == 20 {
		return value{}, bad
	}
	sep := byte(' ')
	if len(s) > 10 {
		sep = s[10]
	}
	code, ok := dayCode(s, sep)
	if !ok || sep != ' ' && sep != 'T' {
		return value{}, bad
	}
	cell := 19
	switch {
	case t.Kind == catalog.Date:
		cell = 10
	case t.FSP > 0:
		cell = 20 + t.FSP
	}
	switch {
	case len(s) == cell && sep == ' ':
		return number(code), exact
	case cell == 10: // a time of day after the date
		return number(code - code%day), floor
	case sep == 'T': // above every blank
		return number(code - code%day + day - 1), floor
	case len(s) < cell:
		return number(code - 1), floor
	}
	code, _ = dayCode(s[:cell], sep)
	return number(code), floor
}

// encodeCell is encode for what is stored: a date of another precision, which an image of a time before its column was
// changed has, counts as the date that it is. It is on the way of every document, so it makes no text of what is a number.
func (f *field) encodeCell(cell []byte) (value, bool) {
	switch f.t.Kind {
	case catalog.DateTime, catalog.Timestamp:
		if len(cell) < 19 || len(cell) > len(zeroTime) || len(cell) == 20 {
			return value{}, false
		}
		code, ok := dayCode(cell, ' ')
		return number(code), ok
	case catalog.Date:
		if len(cell) == 10 {
			code, ok := dayCode(cell, ' ')
			return number(code), ok
		}
	case catalog.Int, catalog.Uint, catalog.Year:
		if n, ok := shortInteger(cell); ok && f.form == asLong {
			return number(n), true
		}
	}
	v, how := f.encode(string(cell))
	return v, how == exact
}

// shortInteger reads up to 18 digits, which no 64 bits are too few for, with a sign or without; not ok: encodeInteger knows.
func shortInteger(cell []byte) (n int64, ok bool) {
	digits := cell
	if len(cell) > 0 && cell[0] == '-' {
		digits = cell[1:]
	}
	if len(digits) == 0 || len(digits) > 18 {
		return 0, false
	}
	for _, c := range digits {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + int64(c-'0')
	}
	if len(digits) < len(cell) {
		n = -n
	}
	return n, true
}

// dayCode reads 2006-01-02 15:04:05.000000 or its beginning: the date alone, or all up to a second or one of its digits.
func dayCode[T string | []byte](s T, sep byte) (int64, bool) {
	ok := s[4] == '-' && s[7] == '-'
	n := func(from, to int) (v int64) {
		for i := from; i < to; i++ {
			c := s[i] - '0'
			ok = ok && c <= 9
			v = v*10 + int64(c)
		}
		return v
	}
	y, mo, d := n(0, 4), n(5, 7), n(8, 10)
	var h, mi, sec, micros int64
	if len(s) > 10 {
		ok = ok && s[10] == sep && s[13] == ':' && s[16] == ':'
		h, mi, sec = n(11, 13), n(14, 16), n(17, 19)
	}
	if len(s) > 19 {
		ok = ok && s[19] == '.'
		micros = n(20, len(s))
		for i := len(s); i < len(zeroTime); i++ {
			micros *= 10
		}
	}
	if !ok || mo > 12 || d > 31 || h > 23 || mi > 59 || sec > 59 {
		return 0, false
	}
	code := (y*13+mo)*32 + d
	return (((code*24+h)*60+mi)*60+sec)*1_000_000 + micros, true
}

// isLong reports whether a text may be more than a keyword holds.
func (f *field) isLong(cell []byte) bool { return f.form == asKeyword && len(cell) > longBytes }

// hasNewline reports whether a document would end before its end: lines separate what a bulk holds.
func hasNewline(raw []byte) bool { return bytes.IndexByte(raw, '\n') >= 0 }
