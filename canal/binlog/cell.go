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

// width is the length of the value at the start of data; -1 where it can't be told.
func (f *field) width(data []byte) int {
	prefix := func(n int) int {
		if len(data) < n {
			return -1
		}
		v := 0
		for i := n - 1; i >= 0; i-- {
			v = v<<8 | int(data[i])
		}
		return n + v
	}
	switch f.typ {
	case mysql.MYSQL_TYPE_NULL:
		return 0
	case mysql.MYSQL_TYPE_TINY, mysql.MYSQL_TYPE_YEAR:
		return 1
	case mysql.MYSQL_TYPE_SHORT:
		return 2
	case mysql.MYSQL_TYPE_INT24, mysql.MYSQL_TYPE_DATE, mysql.MYSQL_TYPE_TIME:
		return 3
	case mysql.MYSQL_TYPE_LONG, mysql.MYSQL_TYPE_FLOAT, mysql.MYSQL_TYPE_TIMESTAMP:
		return 4
	case mysql.MYSQL_TYPE_LONGLONG, mysql.MYSQL_TYPE_DOUBLE, mysql.MYSQL_TYPE_DATETIME:
		return 8
	case mysql.MYSQL_TYPE_TIME2:
		return 3 + int(f.meta+1)/2
	case mysql.MYSQL_TYPE_TIMESTAMP2:
		return 4 + int(f.meta+1)/2
	case mysql.MYSQL_TYPE_DATETIME2:
		return 5 + int(f.meta+1)/2
	case mysql.MYSQL_TYPE_NEWDECIMAL:
		scale := int(f.meta & 0xff)
		whole := int(f.meta>>8) - scale
		if whole < 0 {
			return -1
		}
		return whole/9*4 + decimalBytes(whole%9) + scale/9*4 + decimalBytes(scale%9)
	case mysql.MYSQL_TYPE_BIT:
		return (int(f.meta>>8)*8 + int(f.meta&0xff) + 7) / 8
	case mysql.MYSQL_TYPE_ENUM, mysql.MYSQL_TYPE_SET:
		return int(f.meta & 0xff)
	case mysql.MYSQL_TYPE_STRING:
		if f.length > 255 {
			return prefix(2)
		}
		return prefix(1)
	case mysql.MYSQL_TYPE_VARCHAR, mysql.MYSQL_TYPE_VAR_STRING:
		if f.meta > 255 {
			return prefix(2)
		}
		return prefix(1)
	case mysql.MYSQL_TYPE_BLOB, mysql.MYSQL_TYPE_GEOMETRY, mysql.MYSQL_TYPE_JSON, mysql.MYSQL_TYPE_VECTOR:
		if f.meta < 1 || f.meta > 4 {
			return -1
		}
		return prefix(int(f.meta))
	default:
		return -1
	}
}

// body is the value without its length prefix.
func (f *field) body(v []byte) []byte {
	switch f.typ {
	case mysql.MYSQL_TYPE_STRING:
		if f.length > 255 {
			return v[2:]
		}
		return v[1:]
	case mysql.MYSQL_TYPE_VARCHAR, mysql.MYSQL_TYPE_VAR_STRING:
		if f.meta > 255 {
			return v[2:]
		}
		return v[1:]
	default:
		return v[f.meta:]
	}
}

// cell appends the canonical text of a value.
func (f *field) cell(to *catalog.Row, v []byte) error {
	var room [64]byte
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
	case catalog.Text, catalog.JSON:
		return f.characters(to, f.body(v))
	case catalog.Enum:
		n := int(little(v))
		if n > len(f.labels) {
			return errors.New("no label " + strconv.Itoa(n))
		}
		if n > 0 {
			b = append(b, f.labels[n-1]...)
		}
	case catalog.Set:
		set := little(v)
		for i, l := range f.labels {
			if set>>i&1 == 1 {
				if len(b) > 0 {
					b = append(b, ',')
				}
				b = append(b, l...)
			}
		}
	case catalog.UUID:
		b = appendUUID(b, pad(f.body(v), 16))
	case catalog.INET:
		b = appendINET(b, pad(f.body(v), f.length))
	case catalog.Bit:
		b = appendHex(b, v)
	case catalog.Binary, catalog.Spatial:
		v = f.body(v)
		if f.typ == mysql.MYSQL_TYPE_STRING {
			v = pad(v, f.length)
		}
		to.AppendFunc(func(b []byte) []byte { return appendHex(b, v) })
		return nil
	}
	to.Append(b)
	return nil
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
