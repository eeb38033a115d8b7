package sqlite

import (
	"bytes"
	"database/sql/driver"
	"math"
	"strconv"
	"strings"

	"strata/catalog"
	"strata/fault"
	"strata/index"
)

// fit says how well a stored form stands for a text.
type fit uint8

const (
	exact fit = iota // reads back byte for byte
	loose            // sorts right, reads back differently: the row's JSON is kept
	floor            // the text has no stored form; the value is just below it (for bounds of filters only)
	bad              // not a value of the type
)

// asText reports whether cells of the kind are stored as they are.
func asText(k catalog.Kind) bool {
	switch k {
	case catalog.Int, catalog.Uint, catalog.Year, catalog.Decimal, catalog.Float, catalog.Double, catalog.Time:
		return false
	}
	return true
}

// encode is the stored form of a cell: one whose SQLite order is catalog.Compare's.
func encode(t catalog.Type, cell []byte) (driver.Value, fit) {
	if cell == nil {
		return nil, exact
	}
	switch t.Kind {
	case catalog.Int, catalog.Uint:
		if v, ok := plainInt(cell); ok {
			return v, exact
		}
		return encodeNumber(string(cell), cell)
	case catalog.Year:
		v, f := encodeNumber(string(cell), cell)
		if f == exact || f == loose {
			if n, ok := v.(int64); ok && string(appendYear(nil, n)) == string(cell) {
				return v, exact
			}
			return v, loose
		}
		return v, f
	case catalog.Decimal:
		return encodeDecimal(string(cell), t.Scale)
	case catalog.Float, catalog.Double:
		v, err := strconv.ParseFloat(string(cell), 64)
		if err != nil || math.IsNaN(v) {
			return nil, bad
		}
		var buf [32]byte
		if !bytes.Equal(strconv.AppendFloat(buf[:0], v, 'g', -1, 64), cell) || v == 0 && math.Signbit(v) {
			return v, loose
		}
		return v, exact
	case catalog.Time:
		return encodeTime(t, string(cell))
	default:
		return string(cell), exact
	}
}

// plainInt reads canonical integers of up to 18 digits, which is nearly all of them.
func plainInt(cell []byte) (int64, bool) {
	neg := len(cell) > 1 && cell[0] == '-'
	digits := cell
	if neg {
		digits = cell[1:]
	}
	if len(digits) == 0 || len(digits) > 18 || digits[0] == '0' && (len(digits) > 1 || neg) {
		return 0, false
	}
	var v int64
	for _, c := range digits {
		if c < '0' || c > '9' {
			return 0, false
		}
		v = v*10 + int64(c-'0')
	}
	if neg {
		v = -v
	}
	return v, true
}

// encodeNumber is an integer's form: INTEGER, or 20 digits of text above 2^63-1, which SQLite sorts after every INTEGER.
func encodeNumber(s string, cell []byte) (driver.Value, fit) {
	neg, ints, frac, ok := index.SplitNumber(s)
	if !ok {
		return nil, bad
	}
	if ints == "" {
		ints = "0"
	}
	u, err := strconv.ParseUint(ints, 10, 64)
	switch {
	case neg && (err != nil || u > 1<<63 || u == 1<<63 && frac != ""):
		return -math.MaxFloat64, floor // below everything
	case err != nil:
		return "A", floor // above everything
	case neg && frac != "":
		return -int64(u) - 1, floor
	case neg:
		v := -int64(u) // 1<<63 is its own negative
		return v, fitOf(strconv.AppendInt(nil, v, 10), cell)
	}
	f := fitOf(strconv.AppendUint(nil, u, 10), cell)
	if frac != "" {
		f = floor
	}
	if u > math.MaxInt64 {
		return strings.Repeat("0", 20-len(ints)) + ints, f
	}
	return int64(u), f
}

func fitOf(back, cell []byte) fit {
	if bytes.Equal(back, cell) {
		return exact
	}
	return loose
}

// encodeDecimal is index.DecimalText of the number without its point.
func encodeDecimal(s string, scale int) (driver.Value, fit) {
	neg, ints, frac, ok := index.SplitNumber(s)
	if !ok {
		return nil, bad
	}
	f := exact
	if len(frac) > scale {
		frac, f = frac[:scale], floor
	}
	digits := strings.TrimLeft(ints+frac+strings.Repeat("0", scale-len(frac)), "0")
	if len(digits) > 90 {
		if neg {
			return "", floor
		}
		return "2", floor
	}
	if f == floor && neg {
		digits = index.Increment(digits)
	}
	v := index.DecimalText(neg, digits)
	if f == exact && string(appendDecimal(nil, v, scale)) != s {
		f = loose
	}
	return v, f
}

func appendDecimal(dst []byte, stored string, scale int) []byte {
	if len(stored) < 3 {
		return dst
	}
	digits := stored[3:]
	neg := stored[0] == '0'
	if neg {
		dst = append(dst, '-')
	}
	digit := func(i int) byte {
		if i < 0 {
			return '0'
		}
		if neg {
			return '9' - (digits[i] - '0')
		}
		return digits[i]
	}
	first := min(len(digits)-scale-1, 0) // at least one digit before the point
	for i := first; i < len(digits); i++ {
		if i == len(digits)-scale {
			dst = append(dst, '.')
		}
		dst = append(dst, digit(i))
	}
	return dst
}

// timeScale makes room for six digits of a fraction.
const timeScale = 1_000_000

// encodeTime is the digits HHHMMSSffffff as an integer: catalog.Compare's order.
func encodeTime(t catalog.Type, s string) (driver.Value, fit) {
	neg := strings.HasPrefix(s, "-")
	whole, frac, _ := strings.Cut(strings.TrimPrefix(s, "-"), ".")
	whole = strings.ReplaceAll(whole, ":", "")
	if len(frac) > 6 || whole == "" {
		return nil, bad
	}
	v, err := strconv.ParseUint(whole+frac+strings.Repeat("0", 6-len(frac)), 10, 62)
	if err != nil {
		return nil, bad
	}
	n := int64(v)
	if neg {
		n = -n
	}
	return n, fitOf(appendTime(nil, t, n), []byte(s))
}

func appendTime(dst []byte, t catalog.Type, v int64) []byte {
	if v < 0 {
		dst, v = append(dst, '-'), -v
	}
	hms, f := v/timeScale, v%timeScale
	two := func(n int64) { dst = append(dst, byte('0'+n/10), byte('0'+n%10)) }
	if h := hms / 10000; h > 99 {
		dst = strconv.AppendInt(dst, h, 10)
	} else {
		two(h)
	}
	dst = append(dst, ':')
	two(hms / 100 % 100)
	dst = append(dst, ':')
	two(hms % 100)
	if t.FSP > 0 {
		digits := strconv.AppendInt(nil, timeScale+f, 10)
		dst = append(append(dst, '.'), digits[1:1+t.FSP]...)
	}
	return dst
}

func appendYear(dst []byte, v int64) []byte {
	for n := int64(1000); n > v && n > 1; n /= 10 {
		dst = append(dst, '0')
	}
	return strconv.AppendInt(dst, v, 10)
}

// decode appends the stored form as a cell of row; scratch is reused memory.
func decode(t catalog.Type, v driver.Value, row *catalog.Row, scratch []byte) ([]byte, error) {
	scratch = scratch[:0]
	switch x := v.(type) {
	case nil:
		row.AppendNull()
		return scratch, nil
	case int64:
		switch t.Kind {
		case catalog.Time:
			scratch = appendTime(scratch, t, x)
		case catalog.Year:
			scratch = appendYear(scratch, x)
		default:
			scratch = strconv.AppendInt(scratch, x, 10)
		}
	case float64:
		scratch = strconv.AppendFloat(scratch, x, 'g', -1, 64)
	case string:
		switch t.Kind {
		case catalog.Int, catalog.Uint, catalog.Year:
			row.AppendString(strings.TrimLeft(x, "0"))
			return scratch, nil
		case catalog.Decimal:
			scratch = appendDecimal(scratch, x, t.Scale)
		default:
			row.AppendString(x)
			return scratch, nil
		}
	default:
		return scratch, fault.New(fault.Unsafe, "decode cell", "the index holds a %T", v)
	}
	row.Append(scratch)
	return scratch, nil
}
