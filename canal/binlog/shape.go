package binlog

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/go-mysql-org/go-mysql/mysql"
	"github.com/go-mysql-org/go-mysql/replication"

	"strata/canal"
	"strata/catalog"
	"strata/fault"
)

// errWidth is inside the error of an image whose length can't be told.
var errWidth = errors.New("the length of a value can't be told")

// shape is a table as its TABLE_MAP describes it.
type shape struct {
	body    []byte
	columns []byte // the part of body that describes columns
	table   string
	d       *catalog.Dataset // nil: not captured
	err     error            // why its rows can't be used
	form    *canal.Form      // of its rows; nil: the dataset's own columns
	fields  []field          // by column of the table
	m       *tableMap
	chars   charsets
}

// field is one column of the table.
type field struct {
	typ       byte // with ENUM, SET and STRING told apart
	meta      uint16
	length    int // of STRING: declared bytes
	prefix    int // bytes of the length before a value; 0: it has a fixed length
	fixed     int // that length; -1: it can't be told
	unsigned  bool
	collation uint64
	kind      catalog.Kind
	text      *charset // of character columns
	labels    [][]byte // of ENUM and SET, in UTF-8
}

// newShape takes what widths need; capture adds the rest. A description that can't be read gives a shape without usable
// rows.
func newShape(ev *replication.TableMapEvent, body []byte, chars charsets) *shape {
	body = bytes.Clone(body)
	s := &shape{body: body, table: string(ev.Table), chars: chars}
	at, ok := columnsAt(body)
	err := errTableMap
	if ok {
		s.columns = body[at:]
		s.m, err = parseTableMap(s.columns, chars != nil && chars.mariadb)
	}
	if err != nil {
		s.err = fault.New(fault.Unsafe, "read table "+s.table, "%w", err)
		return s
	}
	s.fields = make([]field, len(s.m.types))
	for i, t := range s.m.types {
		f := &s.fields[i]
		f.typ, f.meta = t, s.m.meta[i]
		if t == mysql.MYSQL_TYPE_STRING {
			f.length = int(f.meta)
			if f.meta >= 256 {
				b0, b1 := byte(f.meta>>8), f.meta&0xff
				if b0&0x30 != 0x30 { // the upper bits of a length beyond 255 are hidden in the type
					f.length = int(b1 | uint16(b0&0x30^0x30)<<4)
					f.typ = b0 | 0x30
				} else {
					f.length, f.typ = int(b1), b0
				}
			}
		}
		f.measure()
	}
	return s
}

// same reports whether a TABLE_MAP, without header and checksum, says the same as the one this shape was made of.
func (s *shape) same(body []byte) bool { return bytes.Equal(body, s.body) }

// capture maps the dataset's columns to the table's by name.
func (s *shape) capture(d *catalog.Dataset, table string) {
	s.d, s.table = d, table
	if s.m == nil {
		return
	}
	def := s.chars.forms.of(d, s.columns, func() *definition { return define(s.m, s.fields, d, table, s.chars) })
	s.fields, s.form, s.err = def.fields, def.form, def.err
}

// readable checks what concerns all rows of an event.
func (s *shape) readable(ev *replication.RowsEvent, typ replication.EventType) error {
	bad := func(format string, args ...any) error {
		return fault.New(fault.Unsafe, "read rows of "+s.table, format, args...).
			WithHint("set binlog_row_image=FULL and leave binlog_row_value_options empty, in all sessions; load the dataset anew")
	}
	if typ == replication.PARTIAL_UPDATE_ROWS_EVENT || ev.Type() == replication.EnumRowsEventTypeUnknown {
		return bad("an event of type %s", typ)
	}
	if int(ev.ColumnCount) != len(s.fields) {
		return bad("rows of %d columns, the table has %d", ev.ColumnCount, len(s.fields))
	}
	if need := (len(s.fields) + 7) / 8; len(ev.ColumnBitmap1) < need || len(ev.ColumnBitmap2) > 0 && len(ev.ColumnBitmap2) < need {
		return bad("the row image's list of columns is cut off")
	}
	for i := range s.fields {
		if ev.ColumnBitmap1[i>>3]>>(i&7)&1 == 0 || len(ev.ColumnBitmap2) > 0 && ev.ColumnBitmap2[i>>3]>>(i&7)&1 == 0 {
			return bad("the row image is not complete")
		}
	}
	return nil
}

// image measures one image and, where to isn't nil, appends its cells to it, in the order of the table. The length is right
// also with an error, unless that is errWidth.
func (s *shape) image(data []byte, to *catalog.Row) (int, error) {
	at := (len(s.fields) + 7) / 8
	if len(data) < at || len(s.fields) == 0 {
		return 0, s.cut(0)
	}
	var wrong error
	for i := range s.fields {
		if data[i>>3]>>(i&7)&1 == 1 {
			if to != nil {
				to.AppendNull()
			}
			continue
		}
		f := &s.fields[i]
		n := f.fixed
		if f.prefix > 0 {
			if n = len(data) - at; n >= f.prefix {
				n = f.prefix + int(little(data[at:at+f.prefix]))
			}
		}
		if n < 0 || n > len(data)-at || n < f.prefix {
			return 0, s.cut(i)
		}
		if to != nil && wrong == nil {
			if err := f.cell(to, data[at+f.prefix:at+n]); err != nil {
				wrong = fault.New(fault.Proof, "read rows of "+s.table, "column %s: %w", s.m.names[i], err).
					WithHint("the value can't be read as what the column says it is; correct it on the source, then load the dataset anew")
			}
		}
		at += n
	}
	return at, wrong
}

// cut is the error of an image that can't be measured at column i. Where the table can't be used anyway, that is said first.
func (s *shape) cut(i int) error {
	if s.err != nil {
		return fmt.Errorf("%w (%w)", s.err, errWidth)
	}
	typ := byte(0)
	if i < len(s.fields) {
		typ = s.fields[i].typ
	}
	return fault.New(fault.Unsafe, "read rows of "+s.table, "column %d of type %d: %w", i+1, typ, errWidth).
		WithHint("this version can't read such a column; leave the table out, or change the column's type, then load the dataset anew")
}
