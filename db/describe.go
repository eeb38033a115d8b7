package db

import (
	"context"
	"database/sql"
	"strings"

	"strata/catalog"
	"strata/fault"
)

// Columns reads a table's columns in their order, over any connection to its server. Errors: those of Describe.
func Columns(ctx context.Context, on interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}, op, schema, table string) ([]catalog.Column, error) {
	rows, err := on.QueryContext(ctx, `SELECT COLUMN_NAME, DATA_TYPE, COLUMN_TYPE, IS_NULLABLE, COLLATION_NAME,
		NUMERIC_PRECISION, NUMERIC_SCALE, DATETIME_PRECISION, CHARACTER_OCTET_LENGTH
		FROM information_schema.COLUMNS WHERE TABLE_SCHEMA=? AND TABLE_NAME=? ORDER BY ORDINAL_POSITION`, schema, table)
	if err != nil {
		return nil, classify(ctx, op, err)
	}
	defer func() { _ = rows.Close() }()
	var cols []catalog.Column
	for rows.Next() {
		var c serverColumn
		if err := rows.Scan(&c.name, &c.dataType, &c.columnType, &c.nullable, &c.collation, &c.precision, &c.scale, &c.fsp, &c.octets); err != nil {
			return nil, fault.Wrap(fault.Internal, op, err)
		}
		t, err := c.typ()
		if err != nil {
			return nil, fault.Wrap(fault.Invalid, op, err)
		}
		cols = append(cols, catalog.Column{Name: c.name, Type: t, Nullable: c.nullable == "YES", Collation: c.collation.String})
	}
	if err := rows.Err(); err != nil {
		return nil, classify(ctx, op, err)
	}
	if len(cols) == 0 {
		return nil, fault.New(fault.NotFound, op, "schema %s has no such table", schema)
	}
	return cols, nil
}

// Describe reads a table's columns in their order, invisible and generated ones too, and its primary key's columns in
// the key's order (none: an empty slice). Errors: NotFound for no such table; Invalid, naming the column, for a type that
// strata doesn't know.
func Describe(ctx context.Context, d *DB, table string) ([]catalog.Column, []string, error) {
	op := "describe " + d.cfg.Name + " table " + table
	cols, err := Columns(ctx, d.pool, op, d.Schema(), table)
	if err != nil {
		return nil, nil, err
	}
	key, err := d.pool.QueryContext(ctx, `SELECT COLUMN_NAME FROM information_schema.STATISTICS
		WHERE TABLE_SCHEMA=? AND TABLE_NAME=? AND INDEX_NAME='PRIMARY' ORDER BY SEQ_IN_INDEX`, d.Schema(), table)
	if err != nil {
		return nil, nil, classify(ctx, op, err)
	}
	names, err := texts(key)
	if err != nil {
		return nil, nil, classify(ctx, op, err)
	}
	return cols, append([]string{}, names...), nil
}

// serverColumn is a row of information_schema.COLUMNS.
type serverColumn struct {
	name, dataType, columnType, nullable string
	collation                            sql.NullString
	precision, scale, fsp, octets        sql.NullInt64
}

// typ is the column's type as strata distinguishes it.
func (c serverColumn) typ() (catalog.Type, error) {
	t := catalog.Type{}
	integer := func(size int) catalog.Type {
		if strings.Contains(c.columnType, "unsigned") {
			return catalog.Type{Kind: catalog.Uint, Size: size}
		}
		return catalog.Type{Kind: catalog.Int, Size: size}
	}
	switch strings.ToLower(c.dataType) {
	case "tinyint":
		t = integer(1)
	case "smallint":
		t = integer(2)
	case "mediumint":
		t = integer(3)
	case "int":
		t = integer(4)
	case "bigint":
		t = integer(8)
	case "decimal":
		t = catalog.Type{Kind: catalog.Decimal, Scale: int(c.scale.Int64)}
	case "float":
		t.Kind = catalog.Float
	case "double":
		t.Kind = catalog.Double
	case "date":
		t.Kind = catalog.Date
	case "datetime":
		t = catalog.Type{Kind: catalog.DateTime, FSP: int(c.fsp.Int64)}
	case "timestamp":
		t = catalog.Type{Kind: catalog.Timestamp, FSP: int(c.fsp.Int64)}
	case "time":
		t = catalog.Type{Kind: catalog.Time, FSP: int(c.fsp.Int64)}
	case "year":
		if t.Kind = catalog.Year; c.columnType == "year(2)" {
			t.Size = 2
		}
	case "char", "varchar", "tinytext", "text", "mediumtext", "longtext":
		t.Kind = catalog.Text
	case "enum":
		t.Kind = catalog.Enum
	case "set":
		t.Kind = catalog.Set
	case "json":
		t.Kind = catalog.JSON
	case "uuid":
		t.Kind = catalog.UUID
	case "inet4":
		t = catalog.Type{Kind: catalog.INET, Size: 4}
	case "inet6":
		t = catalog.Type{Kind: catalog.INET, Size: 16}
	case "binary":
		t = catalog.Type{Kind: catalog.Binary, Size: int(c.octets.Int64), Fixed: true}
	case "varbinary", "tinyblob", "blob", "mediumblob", "longblob", "vector":
		t.Kind = catalog.Binary
	case "bit":
		t = catalog.Type{Kind: catalog.Bit, Size: int(c.precision.Int64)}
	case "geometry", "point", "linestring", "polygon", "multipoint", "multilinestring", "multipolygon", "geometrycollection", "geomcollection":
		t.Kind = catalog.Spatial
	default:
		return t, fault.New(fault.Invalid, "read type of column "+c.name, "type %s is unknown", c.columnType)
	}
	return t, nil
}
