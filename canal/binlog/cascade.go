package binlog

import (
	"context"
	"errors"
	"strings"

	"strata/canal"
	"strata/catalog"
	"strata/db"
	"strata/fault"
)

const cascadeHint = "leave the ON DELETE and ON UPDATE rules out (RESTRICT) and let the application change the rows, or, where they are never used, declare cascades: accept"

// CheckCascades refuses captured tables whose rows a foreign key changes without row events (CASCADE, SET NULL), all at once,
// unless their dataset says cascades: accept. Since MySQL 9.6 such changes have row events. Errors: Unsafe.
func CheckCascades(ctx context.Context, d *db.DB, datasets []*catalog.Dataset) error {
	logged, err := cascadesLogged(ctx, d)
	if err != nil || logged {
		return err
	}
	children, err := children(ctx, d)
	if err != nil {
		return err
	}
	var errs []error
	for _, table := range children {
		ds := shardOf(datasets, table)
		if ds == nil || ds.Cascades == catalog.CascadeAccept {
			continue
		}
		var name, text string
		err := d.SQL().QueryRowContext(ctx, "SHOW CREATE TABLE "+db.Quote(table)).Scan(&name, &text)
		if db.Number(err) == 1146 {
			continue // dropped meanwhile
		}
		if err != nil {
			return db.Classify("check foreign keys of "+d.Name(), err)
		}
		if canal.ReadStatement(text).Cascades() {
			errs = append(errs, fault.New(fault.Unsafe, "check foreign keys of "+d.Name(), "a foreign key changes rows of %s, dataset %s, without row events", table, ds.Name).
				WithHint(cascadeHint))
		}
	}
	return errors.Join(errs...)
}

// cascadesLogged reports whether what foreign keys change has row events, as in MySQL since 9.6.
func cascadesLogged(ctx context.Context, d *db.DB) (bool, error) {
	const op = "read innodb_native_foreign_keys"
	rows, err := d.SQL().QueryContext(ctx, "SHOW GLOBAL VARIABLES LIKE 'innodb_native_foreign_keys'")
	if err != nil {
		return false, db.Classify(op, err)
	}
	defer func() { _ = rows.Close() }()
	var name, value string
	if rows.Next() {
		if err := rows.Scan(&name, &value); err != nil {
			return false, fault.Wrap(fault.Internal, op, err)
		}
	}
	return strings.EqualFold(value, "OFF"), db.Classify(op, rows.Err())
}

// children are the tables of the schema with foreign keys. A login that may only SELECT sees them here, but not their rules.
func children(ctx context.Context, d *db.DB) ([]string, error) {
	op := "read foreign keys of " + d.Name()
	rows, err := d.SQL().QueryContext(ctx, `SELECT DISTINCT TABLE_NAME FROM information_schema.KEY_COLUMN_USAGE
		WHERE TABLE_SCHEMA=? AND REFERENCED_TABLE_NAME IS NOT NULL ORDER BY TABLE_NAME`, d.Schema())
	if err != nil {
		return nil, db.Classify(op, err)
	}
	defer func() { _ = rows.Close() }()
	var out []string
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			return nil, fault.Wrap(fault.Internal, op, err)
		}
		out = append(out, name)
	}
	return out, db.Classify(op, rows.Err())
}

// shardOf is the dataset that a physical table is a shard of; nil for none.
func shardOf(datasets []*catalog.Dataset, table string) *catalog.Dataset {
	if strings.Contains(table, "__strata_") {
		return nil // the name of one attempt to move a shard away
	}
	for _, d := range datasets {
		if _, ok := d.ShardOf(table); ok {
			return d
		}
	}
	return nil
}

// reach is how a statement that names something may change other tables.
type reach uint8

const (
	changesTables reach = 1 + iota // a table with triggers, or a view, that is changed
	isFunction                     // a stored function, wherever it is called
)

// indirect are the tables with triggers, the views and the functions of all schemas, as far as the login may see them.
func indirect(ctx context.Context, d *db.DB) (map[canal.TableName]reach, error) {
	op := "read triggers, views and functions of " + d.Name()
	rows, err := d.SQL().QueryContext(ctx, `SELECT EVENT_OBJECT_SCHEMA, EVENT_OBJECT_TABLE, 1 FROM information_schema.TRIGGERS
		UNION ALL SELECT TABLE_SCHEMA, TABLE_NAME, 1 FROM information_schema.TABLES WHERE TABLE_TYPE='VIEW'
		UNION ALL SELECT ROUTINE_SCHEMA, ROUTINE_NAME, 2 FROM information_schema.ROUTINES WHERE ROUTINE_TYPE='FUNCTION' AND ROUTINE_SCHEMA<>'sys'`)
	if err != nil {
		return nil, db.Classify(op, err)
	}
	defer func() { _ = rows.Close() }()
	out := map[canal.TableName]reach{}
	for rows.Next() {
		var t canal.TableName
		var r reach
		if err := rows.Scan(&t.Schema, &t.Name, &r); err != nil {
			return nil, fault.Wrap(fault.Internal, op, err)
		}
		out[t] = r
	}
	return out, db.Classify(op, rows.Err())
}
