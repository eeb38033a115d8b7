package canal

import (
	"slices"

	"strata/catalog"
	"strata/fault"
)

// maxShapes bounds the forms that a lane remembers: each DDL makes one, and a stream that is opened anew makes its own.
const maxShapes = 64

// shape is how rows of one form become keys, images and hashes. A row of it has the physical table's columns.
type shape struct {
	form   *Form
	cols   []field
	key    []field
	at     []int // the dataset's columns in the row, -1 where there is none; nil: they are the row's
	masker *catalog.Masker
	masked [2]catalog.Row
	// With schemas: what stands before a value's and a key's payload; else nothing.
	valueHead, keyHead []byte
}

// field is a column as it stands in JSON.
type field struct {
	at   int
	open []byte // what stands before the cell: comma, name, colon
	typ  catalog.Type
}

// shapeOf returns the lane's shape for a form; nil is the dataset's own. Errors: fault.Unsafe where it can't be known what is to be
// masked.
func (t *term) shapeOf(l *lane, form *Form) (*shape, error) {
	if l.shape != nil && l.shape.form == form {
		return l.shape, nil
	}
	if s, ok := l.shapes[form]; ok {
		l.shape = s
		return s, nil
	}
	s, err := newShape(l.d, form, t.cfg.MaskKey)
	if err != nil {
		return nil, err
	}
	if t.cfg.Envelope == WithSchema {
		s.addSchemas(l.d, form, t.env.origin.Connector)
	}
	if len(l.shapes) >= maxShapes {
		clear(l.shapes)
	}
	l.shapes[form], l.shape = s, s
	return s, nil
}

func newShape(d *catalog.Dataset, form *Form, secret []byte) (*shape, error) {
	s := &shape{form: form}
	own := d
	if form != nil {
		var err error
		if own, err = formed(d, form); err != nil {
			return nil, err
		}
		s.at = form.At
		if isPlace(form.At, len(form.Columns)) {
			s.at = nil
		}
	}
	var err error
	if s.masker, err = catalog.NewMasker(own, secret); err != nil {
		return nil, err
	}
	for i, c := range own.Columns {
		if !s.masker.Dropped(i) {
			s.cols = append(s.cols, newField(i, len(s.cols) == 0, c.Name, c.Type))
		}
	}
	for _, k := range d.KeyIndexes() {
		at := k
		if form != nil {
			at = form.At[k]
		}
		s.key = append(s.key, newField(at, len(s.key) == 0, d.Columns[k].Name, own.Columns[at].Type))
	}
	return s, nil
}

// formed is the dataset as the form's table has it: its columns, and the masks under its names.
func formed(d *catalog.Dataset, form *Form) (*catalog.Dataset, error) {
	own := &catalog.Dataset{Name: d.Name, Columns: form.Columns}
	if len(form.At) != len(d.Columns) {
		return nil, fault.New(fault.Internal, "read form of "+d.Name, "%d places for %d columns", len(form.At), len(d.Columns))
	}
	known := make([]bool, len(form.Columns))
	for i, at := range form.At {
		if at >= len(known) {
			return nil, fault.New(fault.Internal, "read form of "+d.Name, "place %d of %d columns", at, len(known))
		}
		if at >= 0 {
			known[at] = true
		} else if slices.Contains(d.Key, d.Columns[i].Name) {
			return nil, fault.New(fault.Unsafe, "read form of "+d.Name, "the table has no key column %s", d.Columns[i].Name).
				WithHint("declare the dataset anew, with the key that its table has now")
		}
	}
	for _, m := range d.Masks {
		at := form.At[d.Index(m.Column)]
		if at >= 0 {
			own.Masks = append(own.Masks, catalog.Mask{Column: form.Columns[at].Name, Kind: m.Kind})
			continue
		}
		for i, k := range known {
			if !k { // it may be the masked one under another name
				return nil, fault.New(fault.Unsafe, "mask "+d.Name, "its table has no column %s any more, and has %s, which may be the same",
					m.Column, form.Columns[i].Name).
					WithHint("correct the mask's column in strata.yaml, or take the mask out, and rewind the dataset; nothing of it has left the process")
			}
		}
	}
	return own, nil
}

// isPlace reports whether at is 0, 1, 2, … of n.
func isPlace(at []int, n int) bool {
	for i, a := range at {
		if a != i {
			return false
		}
	}
	return len(at) == n
}

func newField(at int, first bool, name string, t catalog.Type) field {
	var open []byte
	if !first {
		open = append(open, ',')
	}
	return field{at: at, open: append(catalog.AppendJSONString(open, name), ':'), typ: t}
}

// appendFields appends the JSON object of some of a row's cells.
func appendFields(dst []byte, fields []field, r *catalog.Row) []byte {
	dst = append(dst, '{')
	for i := range fields {
		f := &fields[i]
		dst = append(dst, f.open...)
		dst = catalog.AppendJSONCell(dst, f.typ, r.Cell(f.at))
	}
	return append(dst, '}')
}

// appendImage appends the JSON of a row, null for none.
func (s *shape) appendImage(dst []byte, r *catalog.Row) []byte {
	if r == nil {
		return append(dst, `null`...)
	}
	return appendFields(dst, s.cols, r)
}

// sameKey reports whether two images have the same key.
func (s *shape) sameKey(a, b *catalog.Row) bool {
	for i := range s.key {
		if string(a.Cell(s.key[i].at)) != string(b.Cell(s.key[i].at)) {
			return false
		}
	}
	return true
}

// mask returns the masked form of a row, valid until the next call with the same n.
func (s *shape) mask(n int, r *catalog.Row) *catalog.Row {
	if r.Len() > 0 {
		s.masker.Apply(r, &s.masked[n])
	}
	return &s.masked[n]
}

// hash is the hash of the row as the dataset declares it: what its table lacks is NULL.
func (s *shape) hash(r *catalog.Row, scratch []byte) (catalog.Hash, []byte) {
	if s.at == nil {
		return r.Hash(scratch)
	}
	return r.HashAt(s.at, scratch)
}
