package db

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"strata/catalog"
	"strata/fault"
)

// Resolve completes a spec with what the server knows: the columns and the key, from the table or, for a sharded dataset,
// from its newest shard with a primary key: one without is refused in the stream, and must not keep everything else from
// starting. All problems come at once. Errors: Invalid for a spec that the table can't be used with, or a
// sharded dataset that has no shard yet; NotFound for a missing table.
func Resolve(ctx context.Context, d *DB, spec catalog.Spec) (*catalog.Dataset, error) {
	if err := catalog.CheckSpecs([]catalog.Spec{spec}); err != nil {
		return nil, err
	}
	spec = spec.WithDefaults()
	ds := &catalog.Dataset{Name: spec.Name, Table: spec.Table, Time: spec.Time, Scheme: spec.Shards, Account: spec.Account,
		Money: spec.Money, Text: spec.Text, TerminalWhen: spec.TerminalWhen, Partitions: spec.Partitions}
	spec.Capture(ds)
	tables, err := samples(ctx, d, ds)
	if err != nil {
		return nil, err
	}
	table := ""
	for _, t := range tables {
		columns, key, err := Describe(ctx, d, t)
		if err != nil {
			return nil, err
		}
		if table == "" || len(key) > 0 {
			table, ds.Columns, ds.Key = t, columns, key
		}
		if len(key) > 0 {
			break
		}
	}
	if err := errors.Join(checkResolved(ds, table, spec.Key)...); err != nil {
		return nil, err
	}
	return ds, nil
}

// samples are the physical tables to describe: the shards, the newest first, late ones behind.
func samples(ctx context.Context, d *DB, ds *catalog.Dataset) ([]string, error) {
	if !ds.Sharded() {
		return []string{ds.Table}, nil
	}
	tables, err := Tables(ctx, d, ds.Table+"_")
	if err != nil {
		return nil, err
	}
	var shards []catalog.Shard
	for _, t := range tables {
		if s, ok := ds.ShardOf(t); ok {
			shards = append(shards, s)
		}
	}
	slices.SortStableFunc(shards, func(a, b catalog.Shard) int {
		switch {
		case a.Late && !b.Late:
			return 1
		case b.Late && !a.Late:
			return -1
		}
		return cmp.Compare(b.Range.From, a.Range.From)
	})
	out := make([]string, len(shards))
	for i, s := range shards {
		out[i] = s.Table
	}
	if len(out) == 0 {
		first := ds.ShardAt(catalog.At(time.Date(2026, 1, 5, 0, 0, 0, 0, time.UTC)))
		return nil, fault.New(fault.Invalid, "resolve dataset "+ds.Name, "schema %s has no shard of table %s", d.Schema(), ds.Table).
			WithHint("a shard is a table such as %s; create the first one, or correct table and shards", first.Table)
	}
	return out, nil
}

// checkResolved compares the spec's words with the table's columns.
func checkResolved(ds *catalog.Dataset, table string, declared []string) (errs []error) {
	op := "resolve dataset " + ds.Name
	bad := func(hint, format string, args ...any) {
		e := fault.New(fault.Invalid, op, format, args...)
		e.Hint = hint
		errs = append(errs, e)
	}
	if len(ds.Key) == 0 {
		bad("give it one: strata names every row by its primary key", "table %s has no primary key", table)
	} else if len(declared) > 0 && !slices.Equal(declared, ds.Key) {
		bad("leave key out", "key %s is not the primary key of %s, which is %s", strings.Join(declared, ", "), table, strings.Join(ds.Key, ", "))
	}
	for _, k := range ds.Key {
		switch c, _ := ds.Column(k); c.Type.Kind {
		case catalog.Float, catalog.Double, catalog.JSON, catalog.Spatial:
			bad("", "key column %s is a %s, which is not exact", k, c.Type.Kind)
		}
	}
	column := func(role, name string) (catalog.Column, bool) {
		c, ok := ds.Column(name)
		if !ok {
			bad("its columns are "+strings.Join(ds.Names(), ", "), "%s column %s is not in table %s", role, name, table)
		}
		return c, ok
	}
	if ds.Time != "" {
		if c, ok := column("time", ds.Time); ok && !c.Type.Kind.Temporal() {
			bad("", "time column %s is a %s; it must be a date, datetime or timestamp", ds.Time, c.Type.Kind)
		} else if ok && c.Nullable {
			bad("a row without a time belongs to no shard: make it NOT NULL", "time column %s may be NULL", ds.Time)
		}
	}
	if ds.Account != "" {
		column("account", ds.Account)
	}
	for _, m := range ds.Money {
		if c, ok := column("money", m.Column); ok && c.Type.Kind != catalog.Int && c.Type.Kind != catalog.Uint {
			bad("money is whole minor units", "money column %s is a %s, not an integer", m.Column, c.Type.Kind)
		}
		if m.UnitColumn != "" {
			column("unit", m.UnitColumn)
		}
	}
	for _, name := range ds.Text {
		if c, ok := column("text", name); ok && c.Type.Kind != catalog.Text {
			bad("text columns are CHAR, VARCHAR and TEXT", "text column %s is a %s, not a character column", name, c.Type.Kind)
		}
	}
	return append(errs, catalog.CheckMasks(ds)...)
}
