package binlog

import (
	"context"
	"encoding/binary"
	"fmt"
	"unicode/utf16"
	"unicode/utf8"

	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/simplifiedchinese"

	"strata/db"
	"strata/fault"
)

// charset brings bytes of one server character set into UTF-8.
type charset struct {
	name   string
	append func(dst, src []byte) ([]byte, error)
}

// charsets are the server's collations by number.
type charsets map[uint64]string

// readCharsets asks the server, whose numbers for the newer collations differ between versions.
func readCharsets(ctx context.Context, d *db.DB) (charsets, error) {
	const op = "read collations"
	out := charsets{}
	for i, query := range []string{
		"SELECT ID, CHARACTER_SET_NAME FROM information_schema.COLLATIONS WHERE ID IS NOT NULL AND CHARACTER_SET_NAME IS NOT NULL",
		"SELECT ID, CHARACTER_SET_NAME FROM information_schema.COLLATION_CHARACTER_SET_APPLICABILITY WHERE ID IS NOT NULL",
	} {
		rows, err := d.SQL().QueryContext(ctx, query)
		if err != nil {
			if i > 0 && db.Number(err) == 1054 {
				break // only newer MariaDB has the number here
			}
			return nil, db.Classify(op, err)
		}
		for rows.Next() {
			var id uint64
			var name string
			if err := rows.Scan(&id, &name); err != nil {
				_ = rows.Close()
				return nil, fault.Wrap(fault.Internal, op, err)
			}
			out[id] = name
		}
		if err := rows.Err(); err != nil {
			return nil, db.Classify(op, err)
		}
	}
	return out, nil
}

// of is the character set of a collation.
func (c charsets) of(collation uint64) (*charset, error) {
	name, ok := c[collation]
	if !ok {
		return nil, fmt.Errorf("collation %d is unknown to the server", collation)
	}
	return newCharset(name)
}

// newCharset knows the character sets whose every character was compared with the server's own conversion.
func newCharset(name string) (*charset, error) {
	switch name {
	case "utf8mb4", "utf8mb3", "utf8", "ascii":
		return &charset{name, appendUTF8}, nil
	case "ucs2", "utf16":
		return &charset{name, func(dst, src []byte) ([]byte, error) { return appendUTF16(dst, src, binary.BigEndian) }}, nil
	case "utf16le":
		return &charset{name, func(dst, src []byte) ([]byte, error) { return appendUTF16(dst, src, binary.LittleEndian) }}, nil
	case "utf32":
		return &charset{name, appendUTF32}, nil
	}
	var single *charmap.Charmap
	switch name {
	case "latin1":
		single = charmap.Windows1252
	case "latin2":
		single = charmap.ISO8859_2
	case "latin5":
		single = charmap.ISO8859_9
	case "cp1250":
		single = charmap.Windows1250
	case "cp1251":
		single = charmap.Windows1251
	case "koi8r":
		single = charmap.KOI8R
	case "gbk", "gb2312":
		return &charset{name, func(dst, src []byte) ([]byte, error) { return appendGBK(dst, src, name == "gb2312") }}, nil
	default:
		return nil, fmt.Errorf("character set %s is not supported", name)
	}
	return &charset{name, func(dst, src []byte) ([]byte, error) {
		for _, c := range src {
			r := single.DecodeByte(c)
			if r == utf8.RuneError && c >= 0x80 && c < 0xa0 {
				r = rune(c) // a control character where the standard has none
			}
			if r == utf8.RuneError {
				return dst, fmt.Errorf("invalid %s byte %x", name, c)
			}
			dst = utf8.AppendRune(dst, r)
		}
		return dst, nil
	}}, nil
}

// appendGBK reads GBK, and GB 2312 with the two characters that the server maps otherwise there.
func appendGBK(dst, src []byte, gb2312 bool) ([]byte, error) {
	if plain(src) {
		return append(dst, src...), nil
	}
	out, err := simplifiedchinese.GBK.NewDecoder().Bytes(src)
	if err != nil {
		return dst, err
	}
	for i, r := range string(out) {
		switch {
		case r == utf8.RuneError:
			return dst, fmt.Errorf("invalid GBK at character byte %d", i)
		case gb2312 && r == '\u2014':
			r = '\u2015'
		case gb2312 && r == '\u00b7':
			r = '\u30fb'
		}
		dst = utf8.AppendRune(dst, r)
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
