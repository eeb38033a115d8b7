package catalog

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"strings"

	"strata/fault"
)

// Row is a row of cells in one arena. The zero Row has no cells. A Row must not be copied while its arena is being
// appended to; Clone makes an independent copy.
type Row struct {
	buf []byte
	end []uint32 // end of cell i in buf; nullBit set for NULL
}

const nullBit = 1 << 31

var emptyCell = []byte{}

// Len is the number of cells.
func (r *Row) Len() int { return len(r.end) }

// Size is the number of bytes of all cells.
func (r *Row) Size() int { return len(r.buf) }

// Reset empties the row and keeps its memory.
func (r *Row) Reset() { r.buf, r.end = r.buf[:0], r.end[:0] }

// Append adds a cell, copying it; nil is NULL.
func (r *Row) Append(cell []byte) {
	if cell == nil {
		r.AppendNull()
		return
	}
	r.buf = append(r.buf, cell...)
	r.end = append(r.end, uint32(len(r.buf)))
}

// AppendString adds a cell that is not NULL.
func (r *Row) AppendString(cell string) {
	r.buf = append(r.buf, cell...)
	r.end = append(r.end, uint32(len(r.buf)))
}

// AppendNull adds a NULL.
func (r *Row) AppendNull() { r.end = append(r.end, uint32(len(r.buf))|nullBit) }

// AppendFunc adds a cell that is not NULL, written by f, which appends to its argument and returns it.
func (r *Row) AppendFunc(f func([]byte) []byte) {
	r.buf = f(r.buf)
	r.end = append(r.end, uint32(len(r.buf)))
}

// Cell returns cell i: nil for NULL, else a slice of the arena that is valid until the row is reset.
func (r *Row) Cell(i int) []byte {
	e := r.end[i]
	if e&nullBit != 0 {
		return nil
	}
	var from uint32
	if i > 0 {
		from = r.end[i-1] &^ nullBit
	}
	if from == e {
		return emptyCell
	}
	return r.buf[from:e:e]
}

// Text returns cell i as a string; "" for NULL.
func (r *Row) Text(i int) string { return string(r.Cell(i)) }

// Null reports whether cell i is NULL.
func (r *Row) Null(i int) bool { return r.end[i]&nullBit != 0 }

// Clone returns an independent copy.
func (r *Row) Clone() Row {
	return Row{buf: append([]byte(nil), r.buf...), end: append([]uint32(nil), r.end...)}
}

// RowOf makes a row of texts; a nil pointer is NULL. For tests and small things.
func RowOf(cells ...*string) Row {
	var r Row
	for _, c := range cells {
		if c == nil {
			r.AppendNull()
		} else {
			r.AppendString(*c)
		}
	}
	return r
}

// Equal reports whether two rows have the same cells, NULL distinct from the empty string.
func (r *Row) Equal(o *Row) bool {
	if len(r.end) != len(o.end) {
		return false
	}
	for i := range r.end {
		if r.end[i] != o.end[i] {
			return false
		}
	}
	return string(r.buf) == string(o.buf)
}

// Hash is the first 16 bytes of a SHA-256 over a row.
type Hash [16]byte

// String is lower-case hex.
func (h Hash) String() string { return hex.EncodeToString(h[:]) }

// ParseHash reads String's form.
func ParseHash(s string) (Hash, error) {
	var h Hash
	if len(s) != 2*len(h) {
		return h, fault.New(fault.Invalid, "parse hash", "%d characters instead of %d", len(s), 2*len(h))
	}
	if _, err := hex.Decode(h[:], []byte(s)); err != nil {
		return h, fault.Wrap(fault.Invalid, "parse hash", err)
	}
	return h, nil
}

// AppendImage appends the row's unambiguous image: per cell 4 bytes of length (0xffffffff for NULL) and its bytes. It is
// what every hash of a row is taken over.
func (r *Row) AppendImage(dst []byte) []byte {
	for i := range r.end {
		dst = appendImageCell(dst, r.Cell(i))
	}
	return dst
}

func appendImageCell(dst, cell []byte) []byte {
	if cell == nil {
		return append(dst, 0xff, 0xff, 0xff, 0xff)
	}
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(cell)))
	return append(dst, cell...)
}

// Hash is the hash of the row's image. scratch is reused memory and may be nil; the grown scratch comes back.
func (r *Row) Hash(scratch []byte) (Hash, []byte) {
	scratch = r.AppendImage(scratch[:0])
	sum := sha256.Sum256(scratch)
	return Hash(sum[:16]), scratch
}

// HashAt is the hash of the row that has the cells at these places; -1 is NULL.
func (r *Row) HashAt(at []int, scratch []byte) (Hash, []byte) {
	scratch = scratch[:0]
	for _, i := range at {
		var cell []byte
		if i >= 0 {
			cell = r.Cell(i)
		}
		scratch = appendImageCell(scratch, cell)
	}
	sum := sha256.Sum256(scratch)
	return Hash(sum[:16]), scratch
}

// Key is the identity of a row in its dataset: its key cells, escaped and joined by commas. Equal keys are equal text.
type Key string

// KeyOf returns the key of a row; at gives the positions of the key cells (Dataset.KeyIndexes).
func KeyOf(r *Row, at []int) Key {
	var room [64]byte
	return Key(AppendKey(room[:0], r, at))
}

// AppendKey appends the text of KeyOf.
func AppendKey(dst []byte, r *Row, at []int) []byte {
	for i, c := range at {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendEscaped(dst, r.Cell(c))
	}
	return dst
}

// Cells splits a key into its cells.
func (k Key) Cells() ([]string, error) {
	parts := strings.Split(string(k), ",")
	for i, p := range parts {
		u, err := unescapeKey(p)
		if err != nil {
			return nil, fault.Wrap(fault.Invalid, "parse key "+string(k), err)
		}
		parts[i] = u
	}
	return parts, nil
}

// DocumentID is the identity of a row's document in the index: physical shard and key.
func DocumentID(shard string, key Key) string { return shard + "/" + string(key) }

func plainKeyByte(c byte) bool { return c > ' ' && c != '%' && c != ',' && c != '/' && c != 0x7f }

func appendEscaped(dst, cell []byte) []byte {
	const digits = "0123456789ABCDEF"
	for _, c := range cell {
		if plainKeyByte(c) {
			dst = append(dst, c)
		} else {
			dst = append(dst, '%', digits[c>>4], digits[c&15])
		}
	}
	return dst
}

func unescapeKey(s string) (string, error) {
	if !strings.Contains(s, "%") {
		return s, nil
	}
	out := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] != '%' {
			out = append(out, s[i])
			continue
		}
		if i+2 >= len(s) {
			return "", fault.New(fault.Invalid, "unescape", "a %% without two digits")
		}
		var b [1]byte
		if _, err := hex.Decode(b[:], []byte(s[i+1:i+3])); err != nil {
			return "", err
		}
		out = append(out, b[0])
		i += 2
	}
	return string(out), nil
}
