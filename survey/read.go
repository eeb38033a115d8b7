package survey

import (
	"context"
	"database/sql"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"strata/db"
)

// table is a base table as information_schema has it.
type table struct {
	name, engine string
	versioned    bool
	rows         int64 // estimate
	columns      []column
	key          []string
	leads        map[string]bool // columns with which an index begins
	method, by   string          // of partitioning; "" for none
	parts        int
	cascades     []string // foreign keys whose parents change this table's rows
}

type column struct {
	name, dataType, columnType, collation string
	length                                int64 // characters
	nullable                              bool
}

// read lists the schema's tables by name, without strata's own.
func read(ctx context.Context, d *db.DB) ([]*table, error) {
	by := map[string]*table{}
	var list []*table
	each := func(query string, f func(scan func(into ...any) error) error) error {
		rows, err := d.SQL().QueryContext(ctx, query, d.Schema())
		if err != nil {
			return db.Classify("read information_schema of "+d.Name(), err)
		}
		defer func() { _ = rows.Close() }()
		for rows.Next() {
			if err := f(rows.Scan); err != nil {
				return db.Classify("read information_schema of "+d.Name(), err)
			}
		}
		return db.Classify("read information_schema of "+d.Name(), rows.Err())
	}
	err := each(`SELECT TABLE_NAME, COALESCE(ENGINE,''), TABLE_TYPE, COALESCE(TABLE_ROWS,0) FROM information_schema.TABLES
		WHERE TABLE_SCHEMA=? AND TABLE_TYPE IN ('BASE TABLE','SYSTEM VERSIONED') ORDER BY TABLE_NAME`, func(scan func(...any) error) error {
		t := &table{leads: map[string]bool{}}
		var kind string
		if err := scan(&t.name, &t.engine, &kind, &t.rows); err != nil {
			return err
		}
		if t.versioned = kind != "BASE TABLE"; !strings.HasPrefix(t.name, "strata_") {
			list, by[t.name] = append(list, t), t
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	for _, step := range []struct {
		query string
		into  func(*table) ([]any, func())
	}{
		{`SELECT TABLE_NAME, COLUMN_NAME, LOWER(DATA_TYPE), COLUMN_TYPE, COALESCE(COLLATION_NAME,''), COALESCE(CHARACTER_MAXIMUM_LENGTH,0), IS_NULLABLE='YES'
			FROM information_schema.COLUMNS WHERE TABLE_SCHEMA=? ORDER BY TABLE_NAME, ORDINAL_POSITION`, intoColumns},
		{`SELECT TABLE_NAME, INDEX_NAME='PRIMARY', SEQ_IN_INDEX, COALESCE(COLUMN_NAME,'') FROM information_schema.STATISTICS
			WHERE TABLE_SCHEMA=? ORDER BY TABLE_NAME, INDEX_NAME, SEQ_IN_INDEX`, intoIndexes},
		{`SELECT TABLE_NAME, PARTITION_METHOD, COALESCE(MIN(PARTITION_EXPRESSION),''), COUNT(DISTINCT PARTITION_NAME) FROM information_schema.PARTITIONS
			WHERE TABLE_SCHEMA=? AND PARTITION_METHOD IS NOT NULL GROUP BY TABLE_NAME, PARTITION_METHOD`, intoPartitions},
		{`SELECT TABLE_NAME, CONSTRAINT_NAME FROM information_schema.REFERENTIAL_CONSTRAINTS WHERE CONSTRAINT_SCHEMA=?
			AND (DELETE_RULE IN ('CASCADE','SET NULL') OR UPDATE_RULE IN ('CASCADE','SET NULL')) ORDER BY TABLE_NAME, CONSTRAINT_NAME`, intoCascades},
	} {
		err := each(step.query, func(scan func(...any) error) error {
			var t table
			into, done := step.into(&t)
			if err := scan(append([]any{&t.name}, into...)...); err != nil {
				return err
			}
			if known := by[t.name]; known != nil {
				done()
				known.take(&t)
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return list, nil
}

// take adds what one row of information_schema says.
func (t *table) take(row *table) {
	t.columns = append(t.columns, row.columns...)
	t.key = append(t.key, row.key...)
	for c := range row.leads {
		t.leads[c] = true
	}
	if row.method != "" {
		t.method, t.by, t.parts = row.method, row.by, row.parts
	}
	t.cascades = append(t.cascades, row.cascades...)
}

func intoColumns(t *table) ([]any, func()) {
	var c column
	return []any{&c.name, &c.dataType, &c.columnType, &c.collation, &c.length, &c.nullable}, func() { t.columns = []column{c} }
}

func intoIndexes(t *table) ([]any, func()) {
	var primary bool
	var place int
	var name string
	return []any{&primary, &place, &name}, func() {
		if primary {
			t.key = []string{name}
		}
		if place == 1 {
			t.leads = map[string]bool{name: true}
		}
	}
}

func intoPartitions(t *table) ([]any, func()) {
	var method, by sql.NullString
	return []any{&method, &by, &t.parts}, func() { t.method, t.by = method.String, by.String }
}

func intoCascades(t *table) ([]any, func()) {
	var name string
	return []any{&name}, func() { t.cascades = []string{name} }
}

// unfit says why the table can't be taken; "" where it can.
func (t *table) unfit() string {
	if ok, _ := regexp.MatchString(`^[A-Za-z0-9_]{1,48}$`, t.name); !ok {
		return "its name is not letters, digits and underscores, at most 48"
	}
	if engine := strings.ToLower(t.engine); engine != "innodb" && engine != "rocksdb" {
		return fmt.Sprintf("engine %s has no transactions", t.engine)
	}
	if t.versioned {
		return "it is system versioned: its history would be taken for rows"
	}
	if len(t.key) == 0 {
		return "it has no primary key, by which strata names every row: give it one"
	}
	for _, k := range t.key {
		c, ok := t.column(k)
		if !ok {
			return fmt.Sprintf("column %s of its primary key is not visible to this login", k)
		}
		if slices.Contains([]string{"float", "double", "json", "geometry", "point"}, c.dataType) {
			return fmt.Sprintf("key column %s is a %s, which is not exact", k, c.dataType)
		}
	}
	return ""
}

func (t *table) column(name string) (column, bool) {
	i := slices.IndexFunc(t.columns, func(c column) bool { return c.name == name })
	if i < 0 {
		return column{}, false
	}
	return t.columns[i], true
}

// shape is equal for tables with the same columns and key.
func (t *table) shape() string {
	var b strings.Builder
	for _, c := range t.columns {
		fmt.Fprintf(&b, "%q %s %s %v,", c.name, c.columnType, c.collation, c.nullable)
	}
	fmt.Fprintf(&b, "%q", t.key)
	return b.String()
}
