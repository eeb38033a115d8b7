package binlog

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strings"
	"sync"
	"time"
	"unicode/utf16"
	"unicode/utf8"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/japanese"
	"golang.org/x/text/encoding/korean"
	"golang.org/x/text/encoding/simplifiedchinese"
	"golang.org/x/text/encoding/traditionalchinese"

	"strata/canal"
	"strata/catalog"
	"strata/db"
	"strata/fault"
)

// charset brings bytes of one server character set into UTF-8, as the server does for SELECT: a code without a character is
// "?". Bytes that no client could have stored are an error.
type charset struct {
	name   string
	append func(dst, src []byte) ([]byte, error)
}

// describeLimit bounds how long a stream waits for the server's word on one table.
const describeLimit = 10 * time.Second

// collation is one of the server's, by its number in the binlog.
type collation struct{ name, charset string }

// charsets is what the server that wrote the binlog knows beside it, and what was made of it so far; nil knows nothing.
type charsets = *knowledge

// knowledge is for many goroutines.
type knowledge struct {
	mariadb    bool
	collations map[uint64]collation
	// describe reads the table as it is now; nil where that can't be asked. It is asked for the types only that the binlog
	// doesn't tell: MariaDB's UUID and INET.
	describe func(table string) ([]catalog.Column, error)
	forms    *forms
	// indirect is what changes other tables than a statement names, as it is now; nil where that can't be asked.
	indirect       func() (map[canal.TableName]reach, error)
	cascadesLogged bool // what foreign keys change has row events

	mu    sync.Mutex
	ready map[string]*charset
}

// readCharsets asks the server, whose numbers for the newer collations differ between versions.
func readCharsets(ctx context.Context, d *db.DB, known *forms) (charsets, error) {
	w := &knowledge{mariadb: d.Flavor() == db.MariaDB, collations: map[uint64]collation{}, forms: known, ready: map[string]*charset{}}
	w.describe = func(table string) ([]catalog.Column, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), describeLimit)
		defer cancel()
		columns, _, err := db.Describe(ctx, d, table)
		return columns, err
	}
	w.indirect = func() (map[canal.TableName]reach, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), describeLimit)
		defer cancel()
		return indirect(ctx, d)
	}
	var err error
	if w.cascadesLogged, err = cascadesLogged(ctx, d); err != nil {
		return nil, err
	}
	for i, query := range []string{
		"SELECT ID, COLLATION_NAME, CHARACTER_SET_NAME FROM information_schema.COLLATIONS WHERE ID IS NOT NULL AND CHARACTER_SET_NAME IS NOT NULL",
		"SELECT ID, FULL_COLLATION_NAME, CHARACTER_SET_NAME FROM information_schema.COLLATION_CHARACTER_SET_APPLICABILITY WHERE ID IS NOT NULL",
	} {
		err := w.readCollations(ctx, d, query)
		if i > 0 && db.Number(err) == 1054 {
			break // only newer MariaDB has the number here
		}
		if err != nil {
			return nil, err
		}
	}
	return w, nil
}

func (w *knowledge) readCollations(ctx context.Context, d *db.DB, query string) error {
	const op = "read collations"
	rows, err := d.SQL().QueryContext(ctx, query)
	if err != nil {
		return db.Classify(op, err)
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var id uint64
		var c collation
		if err := rows.Scan(&id, &c.name, &c.charset); err != nil {
			return fault.Wrap(fault.Internal, op, err)
		}
		w.collations[id] = c
	}
	return db.Classify(op, rows.Err())
}

// of is the character set of a collation.
func (c *knowledge) of(id uint64) (*charset, error) {
	co, ok := c.collations[id]
	if !ok {
		return nil, fmt.Errorf("collation %d is unknown to the server", id)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if set := c.ready[co.charset]; set != nil {
		return set, nil
	}
	set, err := newCharset(co.charset)
	if err == nil {
		c.ready[co.charset] = set
	}
	return set, err
}

// newCharset knows the character sets whose every character was compared with the server's own conversion.
func newCharset(name string) (*charset, error) {
	switch name {
	case "utf8mb4", "utf8mb3", "utf8", "ascii", "binary": // binary: labels only, which SELECT gives as they are
		return &charset{name, appendUTF8}, nil
	case "ucs2", "utf16":
		return &charset{name, func(dst, src []byte) ([]byte, error) { return appendUTF16(dst, src, binary.BigEndian) }}, nil
	case "utf16le":
		return &charset{name, func(dst, src []byte) ([]byte, error) { return appendUTF16(dst, src, binary.LittleEndian) }}, nil
	case "utf32":
		return &charset{name, appendUTF32}, nil
	}
	if upper := singleByte(name); upper != "" {
		return &charset{name, byteTable(name, upper).append}, nil
	}
	var enc encoding.Encoding
	switch name {
	case "gbk", "gb2312":
		enc = simplifiedchinese.GBK
	case "big5":
		enc = traditionalchinese.Big5
	case "sjis", "cp932":
		enc = japanese.ShiftJIS
	case "ujis", "eucjpms":
		enc = japanese.EUCJP
	case "euckr":
		enc = korean.EUCKR
	default:
		return nil, fmt.Errorf("character set %s is not supported", name)
	}
	w, err := newWide(name, enc)
	if err != nil {
		return nil, err
	}
	return &charset{name, w.append}, nil
}

// bytes1 is a character set of one byte.
type bytes1 struct {
	runes [256]rune
	plain bool // the lower half is ASCII
}

func byteTable(name, upper string) *bytes1 {
	t := &bytes1{plain: name != "swe7"}
	for i := range 128 {
		t.runes[i] = rune(i)
	}
	i := 128
	for _, r := range upper {
		t.runes[i] = r
		i++
	}
	if name == "swe7" {
		for b, r := range map[byte]rune{0x40: 'É', '[': 'Ä', '\\': 'Ö', ']': 'Å', '^': 'Ü', '`': 'é', '{': 'ä', '|': 'ö', '}': 'å', '~': 'ü', 0x7f: '?'} {
			t.runes[b] = r
		}
	}
	return t
}

func (t *bytes1) append(dst, src []byte) ([]byte, error) {
	if t.plain && plain(src) {
		return append(dst, src...), nil
	}
	for _, c := range src {
		dst = utf8.AppendRune(dst, t.runes[c])
	}
	return dst, nil
}

// wide is a character set of one to three bytes, the third after 8f.
type wide struct {
	name       string
	one        [256]rune
	two, three []rune // by the two bytes after 8f, if any; 0: no such code
}

func newWide(name string, enc encoding.Encoding) (*wide, error) {
	w := &wide{name: name, two: make([]rune, 1<<16)}
	for i := range w.one {
		w.one[i] = lone(name, i)
	}
	dec := enc.NewDecoder()
	fill := func(to []rune, prefix ...byte) {
		low := 0x40
		switch name {
		case "ujis", "eucjpms", "gb2312":
			low = 0xa1
		case "euckr":
			low = 0x41
		}
		var out [16]byte
		for lead := 0x81; lead < 0xff; lead++ {
			for trail := low; trail < 0xff; trail++ {
				dec.Reset()
				n, _, err := dec.Transform(out[:], append(prefix, byte(lead), byte(trail)), true)
				r, size := utf8.DecodeRune(out[:n])
				if err != nil || size != n || r == utf8.RuneError {
					r = '?'
				}
				if p := private(name, len(prefix) > 0, lead, trail); p > 0 {
					r = p
				}
				to[lead<<8|trail] = r
			}
		}
	}
	fill(w.two)
	if name == "ujis" || name == "eucjpms" {
		w.three = make([]rune, 1<<16)
		fill(w.three, 0x8f)
	}
	for _, o := range oddities(name) {
		code, text, _ := strings.Cut(o, ":")
		raw, err := hex.DecodeString(code)
		if err != nil {
			return nil, fmt.Errorf("table of %s: %w", name, err)
		}
		to := w.two
		if len(raw) == 3 {
			to = w.three
		}
		at := int(raw[len(raw)-2])<<8 | int(raw[len(raw)-1])
		for _, r := range text {
			to[at] = r
			at++
		}
	}
	return w, nil
}

// lone is the character of a single byte; 0: it begins a longer one, or is none.
func lone(name string, b int) rune {
	switch {
	case b < 0x80:
		return rune(b)
	case (name == "sjis" || name == "cp932") && b >= 0xa1 && b <= 0xdf:
		return rune(0xff61 + b - 0xa1)
	}
	return 0
}

// private is the character of the codes that users may define, one after the other.
func private(name string, three bool, lead, trail int) rune {
	switch {
	case name == "cp932" && lead >= 0xf0 && lead <= 0xf9 && trail <= 0xfc && trail != 0x7f:
		n := trail - 0x40
		if trail > 0x7f {
			n--
		}
		return rune(0xe000 + (lead-0xf0)*188 + n)
	case (name == "ujis" || name == "eucjpms") && lead >= 0xf5 && lead <= 0xfe:
		from := 0xe000
		if three {
			from = 0xe3ac
		}
		return rune(from + (lead-0xf5)*94 + trail - 0xa1)
	}
	return 0
}

func (w *wide) append(dst, src []byte) ([]byte, error) {
	if plain(src) {
		return append(dst, src...), nil
	}
	for i := 0; i < len(src); {
		c := src[i]
		if r := w.one[c]; r != 0 || c == 0 {
			dst = utf8.AppendRune(dst, r)
			i++
			continue
		}
		table, n := w.two, 2
		if c == 0x8f && w.three != nil {
			table, n = w.three, 3
		}
		if i+n > len(src) {
			return dst, fmt.Errorf("half a character at the end of %s text", w.name)
		}
		r := table[int(src[i+n-2])<<8|int(src[i+n-1])]
		if r == 0 {
			return dst, fmt.Errorf("invalid %s at byte %d", w.name, i)
		}
		dst = utf8.AppendRune(dst, r)
		i += n
	}
	return dst, nil
}

func plain(b []byte) bool {
	for _, c := range b {
		if c >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

func appendUTF8(dst, src []byte) ([]byte, error) {
	if !utf8.Valid(src) {
		return dst, fmt.Errorf("invalid UTF-8")
	}
	return append(dst, src...), nil
}

func appendUTF16(dst, src []byte, order binary.ByteOrder) ([]byte, error) {
	for i := 0; i < len(src); i += 2 {
		if i+2 > len(src) {
			return dst, fmt.Errorf("half a character at the end")
		}
		r := rune(order.Uint16(src[i:]))
		if utf16.IsSurrogate(r) {
			if i+4 > len(src) {
				return dst, fmt.Errorf("half a character at the end")
			}
			if r = utf16.DecodeRune(r, rune(order.Uint16(src[i+2:]))); r == utf8.RuneError {
				return dst, fmt.Errorf("invalid UTF-16 at byte %d", i)
			}
			i += 2
		}
		dst = utf8.AppendRune(dst, r)
	}
	return dst, nil
}

func appendUTF32(dst, src []byte) ([]byte, error) {
	if len(src)%4 != 0 {
		return dst, fmt.Errorf("half a character at the end")
	}
	for i := 0; i < len(src); i += 4 {
		r := rune(binary.BigEndian.Uint32(src[i:]))
		if !utf8.ValidRune(r) {
			return dst, fmt.Errorf("invalid UTF-32 at byte %d", i)
		}
		dst = utf8.AppendRune(dst, r)
	}
	return dst, nil
}
