package mysql

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"strata/catalog"
	"strata/db"
)

// Obstacles is part of archive.Site.
func (s *Site) Obstacles(ctx context.Context, ds *catalog.Dataset, shard catalog.Shard) ([]string, error) {
	op := "look for obstacles of " + shard.Table
	reasons, err := s.byDefinition(ctx, ds, shard)
	if err != nil {
		return nil, db.Classify(op, err)
	}
	for _, look := range []func(context.Context, *catalog.Dataset, catalog.Shard) ([]string, error){s.byNeighbours, s.byArchive} {
		more, err := look(ctx, ds, shard)
		if err != nil {
			return nil, db.Classify(op, err)
		}
		reasons = append(reasons, more...)
	}
	if len(reasons) > 0 {
		return reasons, nil // what reads every row is left out
	}
	reasons, err = s.byRows(ctx, ds, shard)
	return reasons, db.Classify(op, err)
}

// byDefinition looks at the table's own definition.
func (s *Site) byDefinition(ctx context.Context, ds *catalog.Dataset, shard catalog.Shard) ([]string, error) {
	live := s.cfg.Live
	columns, key, err := db.Describe(ctx, live, shard.Table)
	if err != nil {
		return nil, err
	}
	var reasons []string
	if !slices.Equal(key, ds.Key) {
		reasons = append(reasons, fmt.Sprintf("its primary key is (%s), the dataset's (%s)", strings.Join(key, ", "), strings.Join(ds.Key, ", ")))
	}
	own := &catalog.Dataset{Columns: columns}
	for _, k := range key {
		c, _ := own.Column(k)
		switch c.Type.Kind {
		case catalog.Float, catalog.Double, catalog.Bit, catalog.Spatial, catalog.Enum, catalog.Set, catalog.JSON, catalog.Time, catalog.UUID, catalog.INET:
			reasons = append(reasons, fmt.Sprintf("key column %s is of kind %s, which can't be read in ranges", k, c.Type.Kind))
		}
	}
	for _, name := range append([]string{ds.Time}, moneyColumns(ds)...) {
		if own.Index(name) < 0 {
			reasons = append(reasons, "it has no column "+name)
		}
	}
	special, err := texts(ctx, live, `SELECT CONCAT('column ', COLUMN_NAME, ' is generated or invisible') FROM information_schema.COLUMNS
		WHERE TABLE_SCHEMA=? AND TABLE_NAME=? AND (COALESCE(GENERATION_EXPRESSION,'')<>'' OR EXTRA LIKE '%INVISIBLE%' OR EXTRA LIKE '%VIRTUAL%' OR EXTRA LIKE '%STORED%')
		UNION ALL SELECT CONCAT('it is a ', TABLE_TYPE, ' table of engine ', COALESCE(ENGINE,'none')) FROM information_schema.TABLES
		WHERE TABLE_SCHEMA=? AND TABLE_NAME=? AND (TABLE_TYPE<>'BASE TABLE' OR ENGINE<>'InnoDB')`,
		live.Schema(), shard.Table, live.Schema(), shard.Table)
	return append(reasons, special...), err
}

func moneyColumns(ds *catalog.Dataset) []string {
	var out []string
	for _, m := range ds.Money {
		out = append(out, m.Column)
		if m.UnitColumn != "" {
			out = append(out, m.UnitColumn)
		}
	}
	return out
}

// byNeighbours looks at foreign keys on either side and at other people's triggers.
func (s *Site) byNeighbours(ctx context.Context, _ *catalog.Dataset, shard catalog.Shard) ([]string, error) {
	live := s.cfg.Live
	reasons, err := texts(ctx, live, `SELECT CONCAT('foreign key ', CONSTRAINT_NAME, ' of ', TABLE_NAME, ' refers to ', REFERENCED_TABLE_NAME)
		FROM information_schema.REFERENTIAL_CONSTRAINTS
		WHERE CONSTRAINT_SCHEMA=? AND TABLE_NAME=? OR UNIQUE_CONSTRAINT_SCHEMA=? AND REFERENCED_TABLE_NAME=?`,
		live.Schema(), shard.Table, live.Schema(), shard.Table)
	if err != nil {
		return nil, err
	}
	triggers, err := readTriggers(ctx, live, shard.Table)
	for _, t := range triggers {
		if !t.ours() {
			reasons = append(reasons, "trigger "+t.name+" is not strata's")
		}
	}
	return reasons, err
}

// byArchive looks for a table of that name that no move has made.
func (s *Site) byArchive(ctx context.Context, ds *catalog.Dataset, shard catalog.Shard) ([]string, error) {
	has, err := hasTable(ctx, s.cfg.Archive, shard.Table)
	if err != nil || !has {
		return nil, err
	}
	parts, err := readParts(ctx, s.cfg.Archive, ds, shard.Table)
	if err != nil || len(parts) > 0 {
		return nil, err
	}
	return []string{"the archive has a table of that name, which no move has made"}, nil
}

// byRows looks at every row: its time and whether it is terminal.
func (s *Site) byRows(ctx context.Context, ds *catalog.Dataset, shard catalog.Shard) ([]string, error) {
	at := catalog.Type{Kind: catalog.DateTime, FSP: 6}
	from, to := catalog.AppendInstant(nil, at, shard.Range.From), catalog.AppendInstant(nil, at, shard.Range.To)
	terminal := "1"
	if ds.TerminalWhen != "" {
		terminal = "(" + ds.TerminalWhen + ")"
	}
	t := db.Quote(ds.Time)
	var outside, open int64
	err := s.cfg.Live.SQL().QueryRowContext(ctx, "SELECT COUNT(*) - COALESCE(SUM(COALESCE("+t+" >= ? AND "+t+" < ?, 0)),0), "+
		"COALESCE(SUM(NOT COALESCE("+terminal+",0)),0) FROM "+db.Quote(shard.Table), string(from), string(to)).Scan(&outside, &open)
	if err != nil {
		return nil, err
	}
	var reasons []string
	if outside > 0 {
		reasons = append(reasons, fmt.Sprintf("%d rows lie outside its range %s by %s", outside, shard.Range, ds.Time))
	}
	if open > 0 {
		reasons = append(reasons, fmt.Sprintf("%d rows are not terminal: %s", open, ds.TerminalWhen))
	}
	return reasons, nil
}
