package binlog

import (
	"fmt"
	"slices"
	"sync"

	"github.com/go-mysql-org/go-mysql/mysql"

	"strata/canal"
	"strata/catalog"
	"strata/fault"
)

// definition is what the columns of a captured table are; tables with the same columns share it.
type definition struct {
	fields []field
	form   *canal.Form // nil: the dataset's own columns
	err    error       // why rows of it can't be used
}

// forms are the definitions that were met, by dataset and description.
type forms struct {
	mu    sync.Mutex
	known map[formKey]*definition
}

type formKey struct {
	d       *catalog.Dataset
	columns string
}

// maxForms bounds what is kept: far more than a schema has definitions.
const maxForms = 10000

func newForms() *forms { return &forms{known: map[formKey]*definition{}} }

// of is the definition that a description of columns makes for a dataset, made at its first time.
func (f *forms) of(d *catalog.Dataset, columns []byte, build func() *definition) *definition {
	f.mu.Lock()
	defer f.mu.Unlock()
	key := formKey{d, string(columns)}
	if have := f.known[key]; have != nil {
		return have
	}
	if len(f.known) >= maxForms {
		clear(f.known)
	}
	made := build()
	f.known[key] = made
	return made
}

// define gives each column its name and its type, and each of the dataset's columns its place.
func define(m *tableMap, fields []field, d *catalog.Dataset, table string, chars charsets) *definition {
	out := &definition{fields: slices.Clone(fields)}
	bad := func(hint, format string, args ...any) *definition {
		out.err = fault.New(fault.Unsafe, "read table "+table, format, args...).WithHint("%s; then load the dataset anew: strata canal backfill %s", hint, d.Name)
		return out
	}
	const keep = "a captured table must keep the dataset's key and time, and the kinds of its columns: unless it has them again, change it back or declare the dataset anew"
	if len(m.names) != len(fields) {
		return bad("set binlog_row_metadata=FULL on the server", "the binlog has no column names: binlog_row_metadata was not FULL")
	}
	form := &canal.Form{Columns: make([]catalog.Column, len(fields)), At: make([]int, len(d.Columns))}
	for i := range form.At {
		form.At[i] = slices.Index(m.names, d.Columns[i].Name)
	}
	var now []catalog.Column // the table as it is, asked for at most once
	for k := range out.fields {
		f, c := &out.fields[k], &form.Columns[k]
		f.unsigned, f.collation = m.unsigned[k], m.collations[k]
		c.Name, c.Nullable, c.Collation = m.names[k], m.nullable[k], chars.name(f.collation)
		if old := f.old(); old != "" {
			return bad("rebuild the table with ALTER TABLE … FORCE while mysql56_temporal_format=ON", "column %s has %s, which can't be read from the binlog", c.Name, old)
		}
		if i := slices.Index(form.At, k); i >= 0 {
			f.kind = d.Columns[i].Type.Kind
			if !f.fits() {
				return bad(keep, "column %s has type %d with collation %d, which is no %s", c.Name, f.typ, f.collation, f.kind)
			}
		} else {
			f.kind = f.derive()
			if f.kind == catalog.Binary && f.maybeAddress() && chars.mariadb && chars.describe != nil {
				if now == nil {
					now, _ = chars.describe(table) // a table that is gone keeps its bytes
					now = append(now, catalog.Column{})
				}
				f.address(now, k, c.Name)
			}
		}
		c.Type = f.typeOf()
		if i := slices.Index(form.At, k); i >= 0 && f.kind == catalog.Year {
			c.Type = d.Columns[i].Type // the description doesn't tell a YEAR(2)
		}
		if err := f.dress(chars, m.labels[k]); err != nil {
			if f.kind != catalog.Text || slices.Contains(form.At, k) {
				return bad(keep, "column %s: %w", c.Name, err)
			}
			f.kind = catalog.Binary // nobody asked for it by this name: its bytes
			c.Type, c.Collation = f.typeOf(), ""
		}
	}
	if why := lacks(m, d, form); why != "" {
		return bad(keep, "%s", why)
	}
	if !slices.EqualFunc(form.Columns, d.Columns, func(a, b catalog.Column) bool { return a.Name == b.Name && a.Type == b.Type }) {
		out.form = form
	}
	return out
}

// lacks says what a dataset can't do without and the table doesn't have; "" for nothing.
func lacks(m *tableMap, d *catalog.Dataset, form *canal.Form) string {
	var primary []string
	for _, k := range m.primary {
		if k >= 0 && k < len(m.names) {
			primary = append(primary, m.names[k])
		}
	}
	for i, c := range d.Columns {
		if form.At[i] < 0 && (slices.Contains(d.Key, c.Name) || c.Name == d.Time) {
			return fmt.Sprintf("it has no column %s", c.Name)
		}
	}
	for _, k := range d.Key {
		if !slices.Contains(primary, k) || len(primary) != len(d.Key) {
			if len(primary) == len(d.Key)+1 && m.versioned() {
				return "it is system versioned: its history would be taken for rows"
			}
			return fmt.Sprintf("its primary key is %v, not %v", primary, d.Key)
		}
	}
	return ""
}

// versioned reports whether the key ends in a column such as MariaDB's row_end.
func (m *tableMap) versioned() bool {
	k := m.primary[len(m.primary)-1]
	return k >= 0 && k < len(m.types) && (m.types[k] == mysql.MYSQL_TYPE_TIMESTAMP2 && m.meta[k] == 6 || m.types[k] == mysql.MYSQL_TYPE_LONGLONG && m.unsigned[k])
}

// name is a collation's name; "" for columns without.
func (c *knowledge) name(id uint64) string {
	if id == 0 || id == binaryCollation || c == nil {
		return ""
	}
	return c.collations[id].name
}

// bytesType reports whether values are strings of bytes or characters.
func (f *field) bytesType() bool {
	switch f.typ {
	case mysql.MYSQL_TYPE_STRING, mysql.MYSQL_TYPE_VARCHAR, mysql.MYSQL_TYPE_VAR_STRING, mysql.MYSQL_TYPE_BLOB, typeBlobCompressed, typeVarcharCompressed:
		return true
	}
	return false
}

// integer is the number of bytes of an integer type; 0 for others.
func (f *field) integer() int {
	switch f.typ {
	case mysql.MYSQL_TYPE_TINY:
		return 1
	case mysql.MYSQL_TYPE_SHORT:
		return 2
	case mysql.MYSQL_TYPE_INT24:
		return 3
	case mysql.MYSQL_TYPE_LONG:
		return 4
	case mysql.MYSQL_TYPE_LONGLONG:
		return 8
	}
	return 0
}

// old names a type whose values have no length in the binlog; "" for the others.
func (f *field) old() string {
	switch f.typ {
	case mysql.MYSQL_TYPE_TIMESTAMP, mysql.MYSQL_TYPE_DATETIME, mysql.MYSQL_TYPE_TIME:
		return "the old form of a time"
	case mysql.MYSQL_TYPE_DECIMAL:
		return "the old form of a DECIMAL"
	}
	return ""
}

// maybeAddress reports whether the column may be MariaDB's UUID, INET4 or INET6, which the binlog calls BINARY.
func (f *field) maybeAddress() bool {
	return f.typ == mysql.MYSQL_TYPE_STRING && (f.length == 16 || f.length == 4)
}

// address takes the kind from the table as it is now, if that has the column at the same place.
func (f *field) address(now []catalog.Column, k int, name string) {
	if k >= len(now) || now[k].Name != name {
		return
	}
	switch t := now[k].Type; {
	case t.Kind == catalog.UUID && f.length == 16, t.Kind == catalog.INET && f.length == t.Size:
		f.kind = t.Kind
	}
}

// derive is the kind of a column that nobody declared.
func (f *field) derive() catalog.Kind {
	if f.integer() > 0 {
		if f.unsigned {
			return catalog.Uint
		}
		return catalog.Int
	}
	if f.bytesType() {
		if f.collation == binaryCollation {
			return catalog.Binary
		}
		return catalog.Text
	}
	for _, k := range []catalog.Kind{catalog.Decimal, catalog.Float, catalog.Double, catalog.Date, catalog.DateTime, catalog.Timestamp, catalog.Time,
		catalog.Year, catalog.JSON, catalog.Enum, catalog.Set, catalog.Bit, catalog.Spatial} {
		f.kind = k
		if f.fits() {
			return k
		}
	}
	return catalog.Binary
}

// fits reports whether the column's type can hold cells of its kind.
func (f *field) fits() bool {
	binary := f.collation == binaryCollation
	switch f.kind {
	case catalog.Int, catalog.Uint:
		return f.integer() > 0 && f.unsigned == (f.kind == catalog.Uint)
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
		return f.bytesType() && !binary
	case catalog.JSON:
		return f.typ == mysql.MYSQL_TYPE_JSON || f.bytesType() && !binary
	case catalog.Enum:
		return f.typ == mysql.MYSQL_TYPE_ENUM
	case catalog.Set:
		return f.typ == mysql.MYSQL_TYPE_SET
	case catalog.UUID:
		return f.typ == mysql.MYSQL_TYPE_STRING && f.length == 16
	case catalog.INET:
		return f.maybeAddress()
	case catalog.Binary:
		return f.bytesType() && binary || f.typ == mysql.MYSQL_TYPE_VECTOR
	case catalog.Bit:
		return f.typ == mysql.MYSQL_TYPE_BIT
	case catalog.Spatial:
		return f.typ == mysql.MYSQL_TYPE_GEOMETRY
	}
	return false
}

// typeOf is the type that the column has in the catalog.
func (f *field) typeOf() catalog.Type {
	t := catalog.Type{Kind: f.kind}
	switch f.kind {
	case catalog.Int, catalog.Uint:
		t.Size = f.integer()
	case catalog.Decimal:
		t.Scale = int(f.meta & 0xff)
	case catalog.DateTime, catalog.Timestamp, catalog.Time:
		t.FSP = int(f.meta)
	case catalog.INET:
		t.Size = f.length
	case catalog.Binary:
		if f.typ == mysql.MYSQL_TYPE_STRING {
			t.Size, t.Fixed = f.length, true
		}
	case catalog.Bit:
		t.Size = int(f.meta>>8)*8 + int(f.meta&0xff)
	}
	return t
}

// dress finds the character set and brings labels into UTF-8.
func (f *field) dress(chars charsets, labels []string) error {
	switch f.kind {
	case catalog.Text, catalog.Enum, catalog.Set, catalog.JSON:
	default:
		return nil
	}
	if f.typ == mysql.MYSQL_TYPE_JSON {
		return nil
	}
	var err error
	if f.text, err = chars.of(f.collation); err != nil {
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
