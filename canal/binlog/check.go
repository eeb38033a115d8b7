package binlog

import (
	"context"
	"errors"
	"strings"

	"strata/catalog"
	"strata/db"
	"strata/fault"
)

// CheckTables names what of a dataset the stream could not read, all at once: columns of a character set that it doesn't know,
// and system versioned tables. Errors: Unsafe.
func CheckTables(ctx context.Context, d *db.DB, ds *catalog.Dataset) error {
	op := "check tables of " + ds.Name
	var errs []error
	for _, c := range ds.Columns {
		if strings.HasPrefix(c.Collation, "gb18030_") {
			errs = append(errs, fault.New(fault.Unsafe, op, "column %s has character set gb18030, which capture doesn't know", c.Name).WithHint("change it to utf8mb4"))
		}
	}
	rows, err := d.SQL().QueryContext(ctx, "SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA=? AND TABLE_TYPE='SYSTEM VERSIONED' ORDER BY TABLE_NAME", d.Schema())
	if err != nil {
		return db.Classify(op, err)
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var table string
		if err := rows.Scan(&table); err != nil {
			return fault.Wrap(fault.Internal, op, err)
		}
		if _, is := ds.ShardOf(table); is {
			errs = append(errs, fault.New(fault.Unsafe, op, "table %s is system versioned: its history would be taken for rows", table).
				WithHint("ALTER TABLE %s DROP SYSTEM VERSIONING, or leave it out", table))
		}
	}
	return errors.Join(append(errs, db.Classify(op, rows.Err()))...)
}
