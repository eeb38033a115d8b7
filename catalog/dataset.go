package catalog

import (
	"slices"
	"strings"
)

// Kind is the class of a column's type; it decides canonical text and comparison.
type Kind uint8

// The kinds. The zero value is no kind and is refused everywhere.
const (
	_ Kind = iota
	Int
	Uint
	Decimal
	Float
	Double
	Date
	DateTime
	Timestamp
	Time
	Year
	Text
	Enum
	Set
	JSON
	UUID
	INET
	Binary
	Bit
	Spatial
)

var kindNames = [...]string{"", "int", "uint", "decimal", "float", "double", "date", "datetime", "timestamp", "time", "year",
	"text", "enum", "set", "json", "uuid", "inet", "binary", "bit", "spatial"}

// String is the lower-case name of the kind.
func (k Kind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return "unknown"
}

// Numeric reports whether cells of the kind are JSON numbers in the envelope (Debezium's form).
func (k Kind) Numeric() bool { return k == Int || k == Uint || k == Float || k == Double || k == Year }

// Temporal reports whether InstantOf understands cells of the kind.
func (k Kind) Temporal() bool { return k == Date || k == DateTime || k == Timestamp }

// Type is a column's type as far as strata distinguishes it.
type Type struct {
	Kind Kind
	// Size: integers 1, 2, 3, 4 or 8 bytes; INET 4 or 16; BIT its number of bits; BINARY its declared bytes; 2 for MariaDB's
	// YEAR(2); else 0.
	Size int
	// Scale: DECIMAL's digits after the point.
	Scale int
	// FSP: digits of the fraction of a second, 0 to 6.
	FSP int
	// Fixed: BINARY(n), padded with zero bytes; false for VARBINARY and BLOB.
	Fixed bool
}

// Column is one column of a dataset.
type Column struct {
	Name     string
	Type     Type
	Nullable bool
	// Collation of a character column, "" for others.
	Collation string
}

// Sortable reports whether every source can sort by the column in the same order: numbers, dates and times, byte
// strings, and character columns whose collation is binary (utf8mb4_bin and the like).
func (c Column) Sortable() bool {
	switch c.Type.Kind {
	case Int, Uint, Decimal, Float, Double, Date, DateTime, Timestamp, Time, Year, Binary:
		return true
	case Text:
		return c.BinaryCollation()
	default:
		return false
	}
}

// BinaryCollation reports whether the server compares this character column byte by byte, trailing spaces aside.
func (c Column) BinaryCollation() bool {
	return strings.HasSuffix(c.Collation, "_bin") || c.Collation == "binary"
}

// Money names a column of minor units and where its unit stands: UnitColumn or, where that is "", the fixed Unit.
type Money struct {
	Column     string `yaml:"column"`
	UnitColumn string `yaml:"unit_column,omitempty"`
	Unit       string `yaml:"unit,omitempty"`
}

// Dataset is a logical table, complete: columns known.
type Dataset struct {
	Name    string // lower case letters, digits, underscore; at most 40 bytes
	Table   string // physical base name in the live schema
	Columns []Column
	Key     []string // the primary key's columns, in its order
	Time    string   // the time column, "" where unsharded
	Scheme  Scheme   // empty where unsharded
	Account string   // the account column, "" if none
	Money   []Money
	Text    []string // the columns that a Match may look into: character columns without a mask
	// TerminalWhen is an SQL condition over the columns; a shard with a row for which it is not true is unmovable.
	// "" means every row is terminal.
	TerminalWhen string
	// Partitions of the Kafka topic; fixed for the topic's life.
	Partitions int32
	// RowsGone is what capture does when TRUNCATE or DROP takes a shard's rows away without row events.
	RowsGone GoneRule
	// Cascades is what capture does where a foreign key changes rows without row events.
	Cascades CascadeRule
	// Masks are applied to rows before they leave the process that captured them.
	Masks []Mask
}

// Index returns the position of column name, or -1.
func (d *Dataset) Index(name string) int {
	return slices.IndexFunc(d.Columns, func(c Column) bool { return c.Name == name })
}

// Column returns the column name and whether it exists.
func (d *Dataset) Column(name string) (Column, bool) {
	i := d.Index(name)
	if i < 0 {
		return Column{}, false
	}
	return d.Columns[i], true
}

// Masked reports whether what leaves the process that captures has something else in the column than the stores have.
func (d *Dataset) Masked(column string) bool {
	return slices.ContainsFunc(d.Masks, func(m Mask) bool { return m.Column == column })
}

// KeyIndexes returns the positions of the key columns in Columns.
func (d *Dataset) KeyIndexes() []int {
	out := make([]int, len(d.Key))
	for i, k := range d.Key {
		out[i] = d.Index(k)
	}
	return out
}

// Names returns the column names in order.
func (d *Dataset) Names() []string {
	out := make([]string, len(d.Columns))
	for i, c := range d.Columns {
		out[i] = c.Name
	}
	return out
}

// Sharded reports whether the dataset has time shards.
func (d *Dataset) Sharded() bool { return len(d.Scheme) > 0 }
