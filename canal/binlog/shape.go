package binlog

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/go-mysql-org/go-mysql/mysql"
	"github.com/go-mysql-org/go-mysql/replication"

	"strata/catalog"
	"strata/fault"
)

// errWidth is inside the error of an image whose length can't be told.
var errWidth = errors.New("the length of a value can't be told")

// span is where a value lies in an image.
type span struct {
	from, to int
	null     bool
}

// shape is a table as its TABLE_MAP describes it.
type shape struct {
	body   []byte
	event  *replication.TableMapEvent
	chars  charsets
	table  string
	d      *catalog.Dataset // nil: not captured
	err    error            // why its rows can't be used
	fields []field          // by column of the table
	from   []int            // by column of the dataset: the field
}

// field is one column of the table.
type field struct {
	typ      byte // with ENUM, SET and STRING told apart
	meta     uint16
	length   int // of STRING: declared bytes
	unsigned bool
	kind     catalog.Kind
	text     *charset // of character columns
	labels   [][]byte // of ENUM and SET, in UTF-8
}

// newShape takes what widths need; capture adds the rest.
func newShape(ev *replication.TableMapEvent, body []byte, chars charsets) *shape {
	s := &shape{body: body, event: ev, chars: chars, fields: make([]field, len(ev.ColumnType))}
	for i, t := range ev.ColumnType {
		f := &s.fields[i]
		f.typ, f.meta = t, ev.ColumnMeta[i]
		if t != mysql.MYSQL_TYPE_STRING {
			continue
		}
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
	return s
}

// same reports whether a TABLE_MAP, without header and checksum, says the same as the one this shape was made of.
func (s *shape) same(body []byte) bool { return bytes.Equal(body, s.body) }

// capture maps the dataset's columns to the table's by name.
func (s *shape) capture(d *catalog.Dataset, table string) {
	s.d, s.table = d, table
	bad := func(format string, args ...any) {
		s.err = fault.New(fault.Unsafe, "read table "+table, format, args...).
			WithHint("a captured table must keep the dataset's columns and their kinds: change it back or declare the dataset anew, then load it anew")
	}
	ev := s.event
	names := ev.ColumnNameString()
	if len(names) != len(s.fields) {
		bad("the binlog has no column names: binlog_row_metadata was not FULL")
		return
	}
	unsigned, collations, enums := ev.UnsignedMap(), ev.CollationMap(), ev.EnumSetCollationMap()
	labels, members := ev.EnumStrValueMap(), ev.SetStrValueMap()
	s.from = make([]int, len(d.Columns))
	for i, c := range d.Columns {
		s.from[i] = -1
		for k, n := range names {
			if n == c.Name {
				s.from[i] = k
			}
		}
		if s.from[i] < 0 {
			bad("it has no column %s", c.Name)
			return
		}
		k := s.from[i]
		f := &s.fields[k]
		f.kind, f.unsigned = c.Type.Kind, unsigned[k]
		collation := collations[k]
		if f.typ == mysql.MYSQL_TYPE_ENUM || f.typ == mysql.MYSQL_TYPE_SET {
			collation = enums[k]
		}
		if !f.fits(collation) {
			bad("column %s has type %d with collation %d, which is no %s", c.Name, f.typ, collation, c.Type.Kind)
			return
		}
		if err := f.dress(collation, s.chars, append(labels[k], members[k]...)); err != nil {
			bad("column %s: %w", c.Name, err)
			return
		}
	}
	primary := map[string]bool{}
	for _, k := range ev.PrimaryKey {
		primary[names[k]] = true
	}
	for _, k := range d.Key {
		if !primary[k] || len(primary) != len(d.Key) {
			bad("its primary key is not %v", d.Key)
			return
		}
	}
}

// fits reports whether the column's type can hold cells of the dataset's kind.
func (f *field) fits(collation uint64) bool {
	const binary = 63
	str := f.typ == mysql.MYSQL_TYPE_STRING || f.typ == mysql.MYSQL_TYPE_VARCHAR || f.typ == mysql.MYSQL_TYPE_VAR_STRING || f.typ == mysql.MYSQL_TYPE_BLOB
	switch f.kind {
	case catalog.Int, catalog.Uint:
		switch f.typ {
		case mysql.MYSQL_TYPE_TINY, mysql.MYSQL_TYPE_SHORT, mysql.MYSQL_TYPE_INT24, mysql.MYSQL_TYPE_LONG, mysql.MYSQL_TYPE_LONGLONG:
			return f.unsigned == (f.kind == catalog.Uint)
		}
		return false
	case catalog.Decimal:
		return f.typ == mysql.MYSQL_TYPE_NEWDECIMAL
	case catalog.Float:
		return f.typ == mysql.MYSQL_TYPE_FLOAT
	case catalog.Double:
		return f.typ == mysql.MYSQL_TYPE_DOUBLE
	case catalog.Date:
		return f.typ == mysql.MYSQL_TYPE_DATE
	case catalog.DateTime:
		return f.typ == mysql.MYSQL_TYPE_DATETIME2
	case catalog.Timestamp:
		return f.typ == mysql.MYSQL_TYPE_TIMESTAMP2
	case catalog.Time:
		return f.typ == mysql.MYSQL_TYPE_TIME2
	case catalog.Year:
		return f.typ == mysql.MYSQL_TYPE_YEAR
	case catalog.Text:
		return str && collation != binary
	case catalog.JSON:
		return f.typ == mysql.MYSQL_TYPE_JSON || str && collation != binary
	case catalog.Enum:
		return f.typ == mysql.MYSQL_TYPE_ENUM
	case catalog.Set:
		return f.typ == mysql.MYSQL_TYPE_SET
	case catalog.UUID:
		return f.typ == mysql.MYSQL_TYPE_STRING && f.length == 16
	case catalog.INET:
		return f.typ == mysql.MYSQL_TYPE_STRING && (f.length == 16 || f.length == 4)
	case catalog.Binary:
		return str && collation == binary
	case catalog.Bit:
		return f.typ == mysql.MYSQL_TYPE_BIT
	case catalog.Spatial:
		return f.typ == mysql.MYSQL_TYPE_GEOMETRY || str && collation == binary
	}
	return false
}

// dress finds the character set and brings labels into UTF-8.
func (f *field) dress(collation uint64, chars charsets, labels []string) error {
	switch f.kind {
	case catalog.Text, catalog.Enum, catalog.Set, catalog.JSON:
	default:
		return nil
	}
	if f.typ == mysql.MYSQL_TYPE_JSON {
		return nil
	}
	var err error
	if f.text, err = chars.of(collation); err != nil {
		return err
	}
	for _, l := range labels {
		b, err := f.text.append([]byte{}, []byte(l))
		if err != nil {
			return fmt.Errorf("label %q: %w", l, err)
		}
		f.labels = append(f.labels, b)
	}
	return nil
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
	for i := range s.fields {
		if ev.ColumnBitmap1[i>>3]>>(i&7)&1 == 0 || len(ev.ColumnBitmap2) > 0 && ev.ColumnBitmap2[i>>3]>>(i&7)&1 == 0 {
			return bad("the row image is not complete")
		}
	}
	return nil
}

// image measures one image and, where to isn't nil, appends its cells to it. The length is right also with an error,
// unless that is errWidth.
func (s *shape) image(data []byte, to *catalog.Row, offsets *[]span, decoded []any) (int, error) {
	nulls := (len(s.fields) + 7) / 8
	if len(data) < nulls {
		return 0, fmt.Errorf("read rows of %s: %w", s.table, errWidth)
	}
	at := nulls
	spans := (*offsets)[:0]
	for i := range s.fields {
		if data[i>>3]>>(i&7)&1 == 1 {
			spans = append(spans, span{null: true})
			continue
		}
		n := s.fields[i].width(data[at:])
		if n < 0 || at+n > len(data) {
			return 0, fault.New(fault.Unsafe, "read rows of "+s.table, "column %d of type %d: %w", i+1, s.fields[i].typ, errWidth)
		}
		spans = append(spans, span{from: at, to: at + n})
		at += n
	}
	*offsets = spans
	if to == nil {
		return at, nil
	}
	for i := range s.from {
		sp := spans[s.from[i]]
		if sp.null {
			to.AppendNull()
			continue
		}
		f := &s.fields[s.from[i]]
		if f.typ == mysql.MYSQL_TYPE_JSON {
			if err := appendDecoded(to, decoded, s.from[i]); err != nil {
				return at, fault.New(fault.Proof, "read rows of "+s.table, "column %s: %w", s.d.Columns[i].Name, err)
			}
			continue
		}
		if err := f.cell(to, data[sp.from:sp.to]); err != nil {
			return at, fault.New(fault.Proof, "read rows of "+s.table, "column %s: %w", s.d.Columns[i].Name, err).
				WithHint("the value can't be read as what the column says it is; correct it on the source, then load the dataset anew")
		}
	}
	return at, nil
}

// appendDecoded appends a JSON text that the library has made.
func appendDecoded(to *catalog.Row, decoded []any, i int) error {
	if i < len(decoded) {
		switch v := decoded[i].(type) {
		case string:
			to.AppendString(v)
			return nil
		case []byte:
			to.Append(append([]byte{}, v...))
			return nil
		}
	}
	return errors.New("no JSON text")
}
