package catalog

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"hash"
	"slices"
	"strings"
	"unicode/utf8"

	"strata/fault"
)

// GoneRule is what capture does when all rows of a shard go without row events.
type GoneRule uint8

// The rules. Keep: an alarm, and the documents stay until a verifier finds that their rows are gone and has them repaired.
// Stop: the dataset stops until it is repaired.
const (
	GoneKeep GoneRule = iota
	GoneStop
)

// String is the rule's name in YAML.
func (g GoneRule) String() string {
	if g == GoneStop {
		return "stop"
	}
	return "keep"
}

// MaskKind is how a column is masked.
type MaskKind uint8

// The masks. MaskDrop leaves the column out: its cell is NULL; MaskHash puts a keyed hash (32 hex digits of HMAC-SHA256) in
// its place, so that equal values stay equal; MaskLast4 puts **** and the last four characters, or only **** where there are
// no more than four. NULL stays NULL.
const (
	MaskDrop MaskKind = iota + 1
	MaskHash
	MaskLast4
)

var maskNames = [...]string{"none", "drop", "hash", "last4"}

// String is the mask's name in YAML.
func (k MaskKind) String() string {
	if int(k) < len(maskNames) {
		return maskNames[k]
	}
	return "unknown"
}

// Mask hides one column's values.
type Mask struct {
	Column string
	Kind   MaskKind
}

// minMaskKey is the shortest secret that a keyed hash is worth something with, in bytes.
const minMaskKey = 16

// Masker applies a dataset's masks to its rows. One goroutine.
type Masker struct {
	kinds []MaskKind // by column; 0: none
	mac   hash.Hash
	sum   []byte
}

// NewMasker makes the Masker of a dataset, nil where it has no masks. key is the secret of keyed hashes, at least 16 bytes
// where the dataset has one. Errors: fault.Invalid.
func NewMasker(d *Dataset, key []byte) (*Masker, error) {
	if len(d.Masks) == 0 {
		return nil, nil
	}
	m := &Masker{kinds: make([]MaskKind, len(d.Columns))}
	for _, k := range d.Masks {
		i := d.Index(k.Column)
		if i < 0 || k.Kind < MaskDrop || k.Kind > MaskLast4 {
			return nil, fault.New(fault.Invalid, "mask dataset "+d.Name, "column %q, mask %s", k.Column, k.Kind)
		}
		m.kinds[i] = k.Kind
		if k.Kind != MaskHash {
			continue
		}
		if len(key) < minMaskKey {
			return nil, fault.New(fault.Invalid, "mask dataset "+d.Name, "the secret for the keyed hash of %s has %d bytes; it needs %d", k.Column,
				len(key), minMaskKey)
		}
		m.mac = hmac.New(sha256.New, key)
	}
	return m, nil
}

// Apply makes into the masked form of row, which has the dataset's columns. They must be two rows.
func (m *Masker) Apply(row, into *Row) {
	into.Reset()
	for i, k := range m.kinds {
		cell := row.Cell(i)
		switch {
		case cell == nil || k == MaskDrop:
			into.AppendNull()
		case k == MaskHash:
			m.mac.Reset()
			_, _ = m.mac.Write(cell) // a hash takes everything
			m.sum = m.mac.Sum(m.sum[:0])
			into.AppendFunc(m.hex)
		case k == MaskLast4:
			from := len(cell)
			for range 4 {
				_, n := utf8.DecodeLastRune(cell[:from])
				from -= n
			}
			if from == 0 {
				from = len(cell)
			}
			into.AppendFunc(func(b []byte) []byte { return append(append(b, "****"...), cell[from:]...) })
		default:
			into.Append(cell)
		}
	}
}

func (m *Masker) hex(b []byte) []byte { return hex.AppendEncode(b, m.sum[:16]) }

// Dropped reports whether the column at place i is left out.
func (m *Masker) Dropped(i int) bool { return m != nil && m.kinds[i] == MaskDrop }

// CheckMasks reports what is wrong with a complete dataset's masks. A mask changes what a column says, so columns by which
// strata finds, orders, sums or judges rows have none; and a keyed hash or last digits stand only in a text column.
func CheckMasks(d *Dataset) []error {
	var errs []error
	spec := Spec{Key: d.Key, Time: d.Time, Account: d.Account, Money: d.Money, Text: d.Text, TerminalWhen: d.TerminalWhen}
	for _, m := range d.Masks {
		c, ok := d.Column(m.Column)
		role := spec.roleOf(m.Column)
		switch {
		case !ok:
			errs = append(errs, fault.New(fault.Invalid, "check dataset "+d.Name, "masked column %s is not in its table", m.Column).
				WithHint("its columns are %s", strings.Join(d.Names(), ", ")))
		case role != "":
			errs = append(errs, fault.New(fault.Invalid, "check dataset "+d.Name, "column %s can't be masked: it is %s", m.Column, role))
		case m.Kind != MaskDrop && c.Type.Kind != Text:
			errs = append(errs, fault.New(fault.Invalid, "check dataset "+d.Name, "mask %s of column %s needs a character column; it is of type %s",
				m.Kind, m.Column, c.Type.Kind).WithHint("drop it instead"))
		}
	}
	return errs
}

// roleOf is what strata needs the column's values for, or "".
func (s Spec) roleOf(column string) string {
	same := func(name string) bool { return strings.EqualFold(name, column) }
	switch {
	case slices.ContainsFunc(s.Key, same):
		return "part of the key"
	case same(s.Time):
		return "the time column"
	case same(s.Account):
		return "the account column"
	case slices.ContainsFunc(s.Money, func(m Money) bool { return same(m.Column) }):
		return "a money column"
	case slices.ContainsFunc(s.Money, func(m Money) bool { return same(m.UnitColumn) }):
		return "a unit column"
	case slices.ContainsFunc(s.Text, same):
		return "a text column"
	case slices.ContainsFunc(sqlNames(s.TerminalWhen), same):
		return "named in terminal_when"
	}
	return ""
}

// sqlNames are the words of an SQL condition that may be columns: everything that is a name and not inside a string.
func sqlNames(cond string) []string {
	var out []string
	word := func(c byte) bool {
		return c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '_' || c == '$' || c >= utf8.RuneSelf
	}
	for i := 0; i < len(cond); {
		from := i
		switch c := cond[i]; {
		case c == '\'' || c == '"' || c == '`':
			for i++; i < len(cond) && cond[i] != c; i++ {
				if cond[i] == '\\' && c != '`' {
					i++
				}
			}
			if i = min(i+1, len(cond)); c != '\'' { // in ANSI mode "…" is a name
				out = append(out, strings.Trim(cond[from:i], cond[from:from+1]))
			}
		case word(c):
			for i < len(cond) && word(cond[i]) {
				i++
			}
			out = append(out, cond[from:i])
		default:
			i++
		}
	}
	return out
}
