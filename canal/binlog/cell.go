package binlog

import (
	"encoding/binary"
	"errors"
	"math"
	"strconv"
	"time"

	"github.com/go-mysql-org/go-mysql/mysql"

	"strata/canal"
	"strata/catalog"
)

// decimalBytes is how many bytes 0 to 9 digits take.
func decimalBytes(digits int) int { return int("\x00\x01\x01\x02\x02\x03\x03\x04\x04\x04"[digits]) }

// measure finds how long values are.
func (f *field) measure() {
	switch f.typ {
	case mysql.MYSQL_TYPE_NULL:
	case mysql.MYSQL_TYPE_TINY, mysql.MYSQL_TYPE_YEAR:
		f.fixed = 1
	case mysql.MYSQL_TYPE_SHORT:
		f.fixed = 2
	case mysql.MYSQL_TYPE_INT24, mysql.MYSQL_TYPE_DATE, mysql.MYSQL_TYPE_TIME:
		f.fixed = 3
	case mysql.MYSQL_TYPE_LONG, mysql.MYSQL_TYPE_FLOAT, mysql.MYSQL_TYPE_TIMESTAMP:
		f.fixed = 4
	case mysql.MYSQL_TYPE_LONGLONG, mysql.MYSQL_TYPE_DOUBLE, mysql.MYSQL_TYPE_DATETIME:
		f.fixed = 8
	case mysql.MYSQL_TYPE_TIME2:
		f.fixed = 3 + int(f.meta+1)/2
	case mysql.MYSQL_TYPE_TIMESTAMP2:
		f.fixed = 4 + int(f.meta+1)/2
	case mysql.MYSQL_TYPE_DATETIME2:
		f.fixed = 5 + int(f.meta+1)/2
	case mysql.MYSQL_TYPE_NEWDECIMAL:
		scale := int(f.meta & 0xff)
		whole := int(f.meta>>8) - scale
		if f.fixed = -1; whole >= 0 && whole+scale > 0 {
			f.fixed = whole/9*4 + decimalBytes(whole%9) + scale/9*4 + decimalBytes(scale%9)
		}
	case mysql.MYSQL_TYPE_BIT:
		f.fixed = (int(f.meta>>8)*8 + int(f.meta&0xff) + 7) / 8
	case mysql.MYSQL_TYPE_ENUM, mysql.MYSQL_TYPE_SET:
		if f.fixed = int(f.meta & 0xff); f.fixed < 1 || f.fixed > 8 {
			f.fixed = -1
		}
	case mysql.MYSQL_TYPE_STRING:
		f.prefix = lengthBytes(f.length)
	case mysql.MYSQL_TYPE_VARCHAR, mysql.MYSQL_TYPE_VAR_STRING, typeVarcharCompressed:
		f.prefix = lengthBytes(int(f.meta))
	case mysql.MYSQL_TYPE_BLOB, mysql.MYSQL_TYPE_GEOMETRY, mysql.MYSQL_TYPE_JSON, mysql.MYSQL_TYPE_VECTOR, typeBlobCompressed:
		if f.prefix = int(f.meta); f.prefix < 1 || f.prefix > 4 {
			f.prefix, f.fixed = 0, -1
		}
	default:
		f.fixed = -1
	}
}

// lengthBytes is how many bytes the length of a string takes that has at most so many.
func lengthBytes(most int) int {
	if most > 255 {
		return 2
	}
	return 1
}

// cell appends the canonical text of a value, which is without its length.
func (f *field) cell(to *catalog.Row, v []byte) error {
	var room [96]byte
	b := room[:0]
	switch f.kind {
	case catalog.Int:
		b = strconv.AppendInt(b, signed(v), 10)
	case catalog.Uint:
		b = strconv.AppendUint(b, little(v), 10)
	case catalog.Decimal:
		b = appendDecimal(b, v, int(f.meta>>8), int(f.meta&0xff))
	case catalog.Float:
		b = appendFloat(b, float64(math.Float32frombits(binary.LittleEndian.Uint32(v))), 32)
	case catalog.Double:
		b = appendFloat(b, math.Float64frombits(binary.LittleEndian.Uint64(v)), 64)
	case catalog.Date:
		n := int(little(v))
		b = appendDate(b, n>>9, n>>5&15, n&31)
	case catalog.DateTime:
		b = appendDateTime(b, v, int(f.meta))
	case catalog.Timestamp:
		b = appendTimestamp(b, v, int(f.meta))
	case catalog.Time:
		b = appendTime(b, v, int(f.meta))
	case catalog.Year:
		if v[0] == 0 {
			b = append(b, "0000"...)
		} else {
			b = strconv.AppendInt(b, 1900+int64(v[0]), 10)
		}
	case catalog.UUID:
		b = appendUUID(b, pad(v, 16))
	case catalog.INET:
		b = appendINET(b, pad(v, f.length))
	case catalog.Bit:
		b = appendHex(b, v)
	default:
		return f.long(to, v)
	}
	to.Append(b)
	return nil
}

// long appends values that may be long.
func (f *field) long(to *catalog.Row, v []byte) error {
	if f.typ == typeBlobCompressed || f.typ == typeVarcharCompressed {
		var err error
		if v, err = inflate(v); err != nil {
			return err
		}
	}
	var err error
	switch f.kind {
	case catalog.Text:
		return f.characters(to, v)
	case catalog.JSON:
		if f.typ != mysql.MYSQL_TYPE_JSON {
			return f.characters(to, v)
		}
		to.AppendFunc(func(b []byte) []byte {
			b, err = appendJSON(b, v)
			return b
		})
	case catalog.Enum:
		n := int(little(v))
		if n > len(f.labels) {
			return errors.New("no label " + strconv.Itoa(n))
		}
		var label []byte
		if n > 0 {
			label = f.labels[n-1]
		}
		to.AppendFunc(func(b []byte) []byte { return append(b, label...) })
	case catalog.Set:
		set := little(v)
		if len(f.labels) < 64 && set>>len(f.labels) != 0 {
			return errors.New("a member of a SET without a label")
		}
		to.AppendFunc(func(b []byte) []byte { return f.members(b, set) })
	case catalog.Binary, catalog.Spatial:
		if f.typ == mysql.MYSQL_TYPE_STRING {
			v = pad(v, f.length)
		}
		to.AppendFunc(func(b []byte) []byte { return appendHex(b, v) })
	default:
		return errors.New("a column of no known kind")
	}
	return err
}

// members appends the labels of a SET.
func (f *field) members(b []byte, set uint64) []byte {
	first := true
	for i, l := range f.labels {
		if set>>i&1 == 1 {
			if !first {
				b = append(b, ',')
			}
			first = false
			b = append(b, l...)
		}
	}
	return b
}

// characters appends text of the column's character set.
func (f *field) characters(to *catalog.Row, v []byte) error {
	var err error
	to.AppendFunc(func(b []byte) []byte {
		b, err = f.text.append(b, v)
		return b
	})
	return err
}

// little reads up to eight bytes, lowest first.
func little(v []byte) uint64 {
	var n uint64
	for i := len(v) - 1; i >= 0; i-- {
		n = n<<8 | uint64(v[i])
	}
	return n
}

// big reads up to eight bytes, highest first.
func big(v []byte) uint64 {
	var n uint64
	for _, c := range v {
		n = n<<8 | uint64(c)
	}
	return n
}

func signed(v []byte) int64 {
	shift := 64 - 8*len(v)
	return int64(little(v)<<shift) >> shift
}

// pad adds the zero bytes that the binlog leaves out.
func pad(v []byte, n int) []byte {
	if len(v) >= n {
		return v
	}
	return append(v[:len(v):len(v)], make([]byte, n-len(v))...)
}

// appendFloat is db's form: the shortest text that reads back; there is no negative zero.
func appendFloat(b []byte, v float64, bits int) []byte {
	if v == 0 {
		v = 0 * math.Abs(v)
	}
	return strconv.AppendFloat(b, v, 'g', -1, bits)
}

// appendPadded appends n with at least width digits.
func appendPadded(b []byte, n, width int) []byte {
	if width == 2 && n < 100 {
		return append(b, byte('0'+n/10), byte('0'+n%10))
	}
	limit := 1
	for range width - 1 {
		limit *= 10
	}
	for ; n < limit && limit > 1; limit /= 10 {
		b = append(b, '0')
	}
	return strconv.AppendInt(b, int64(n), 10)
}

func appendDate(b []byte, y, m, d int) []byte {
	b = append(appendPadded(b, y, 4), '-')
	b = append(appendPadded(b, m, 2), '-')
	return appendPadded(b, d, 2)
}

func appendClock(b []byte, h, m, s int) []byte {
	b = append(appendPadded(b, h, 2), ':')
	b = append(appendPadded(b, m, 2), ':')
	return appendPadded(b, s, 2)
}

// fraction reads the stored fraction as a number of fsp digits. Odd precisions are stored with one digit more.
func fraction(v []byte, fsp int) int {
	n := int(big(v))
	if fsp%2 == 1 {
		n /= 10
	}
	return n
}

func appendFraction(b []byte, n, fsp int) []byte {
	if fsp == 0 {
		return b
	}
	return appendPadded(append(b, '.'), n, fsp)
}

// appendDateTime reads DATETIME2: 1 bit sign, 17 bits year*13+month, 5 day, 5 hour, 6 minute, 6 second, fraction.
func appendDateTime(b, v []byte, fsp int) []byte {
	n := int64(big(v[:5])) - 0x8000000000
	ym := int(n >> 22)
	b = appendDate(b, ym/13, ym%13, int(n>>17&31))
	b = appendClock(append(b, ' '), int(n>>12&31), int(n>>6&63), int(n&63))
	return appendFraction(b, fraction(v[5:], fsp), fsp)
}

func appendTimestamp(b, v []byte, fsp int) []byte {
	sec := int64(big(v[:4]))
	if sec == 0 {
		b = append(b, "0000-00-00 00:00:00"...)
	} else {
		t := time.Unix(sec, 0).UTC()
		y, m, d := t.Date()
		h, mi, s := t.Clock()
		b = appendClock(append(appendDate(b, y, int(m), d), ' '), h, mi, s)
	}
	return appendFraction(b, fraction(v[4:], fsp), fsp)
}

// appendTime reads TIME2: 1 bit sign, 1 unused, 10 hour, 6 minute, 6 second, fraction; negative ones are the complement of
// the whole, fraction included.
func appendTime(b, v []byte, fsp int) []byte {
	bits := 8 * len(v)
	n := int64(big(v)) - 1<<(bits-1)
	if n < 0 {
		b = append(b, '-')
		n = -n
	}
	frac := bits - 24
	f := int(n & (1<<frac - 1))
	n >>= frac
	if fsp%2 == 1 {
		f /= 10
	}
	b = appendClock(b, int(n>>12&1023), int(n>>6&63), int(n&63))
	return appendFraction(b, f, fsp)
}

// appendDecimal reads NEWDECIMAL: groups of nine digits in four bytes, highest first, sign in the first bit, negative
// ones inverted.
func appendDecimal(b, v []byte, precision, scale int) []byte {
	whole := precision - scale
	var flip byte
	if v[0]&0x80 == 0 {
		flip = 0xff
		b = append(b, '-')
	}
	at := 0
	take := func(n int) int {
		x := 0
		for range n {
			c := v[at] ^ flip
			if at == 0 {
				c ^= 0x80
			}
			x = x<<8 | int(c)
			at++
		}
		return x
	}
	from := len(b)
	group := func(x, digits int) {
		if len(b) > from {
			b = appendPadded(b, x, digits)
		} else if x > 0 {
			b = strconv.AppendInt(b, int64(x), 10)
		}
	}
	if r := whole % 9; r > 0 {
		group(take(decimalBytes(r)), r)
	}
	for range whole / 9 {
		group(take(4), 9)
	}
	if len(b) == from {
		b = append(b, '0')
	}
	if scale == 0 {
		return b
	}
	b = append(b, '.')
	for range scale / 9 {
		b = appendPadded(b, take(4), 9)
	}
	if r := scale % 9; r > 0 {
		b = appendPadded(b, take(decimalBytes(r)), r)
	}
	return b
}

func appendHex(b, v []byte) []byte {
	const digits = "0123456789abcdef"
	for _, c := range v {
		b = append(b, digits[c>>4], digits[c&15])
	}
	return b
}

// beatOf reads the heartbeat from its row (id, seq, at).
func beatOf(r *catalog.Row) *canal.Beat {
	seq, errS := strconv.ParseUint(r.Text(1), 10, 64)
	at, errA := strconv.ParseInt(r.Text(2), 10, 64)
	if errS != nil || errA != nil {
		return nil
	}
	return &canal.Beat{Seq: seq, At: catalog.Instant(at)}
}
