package mysql

import (
	"context"
	"slices"
	"strings"
	"time"

	"strata/catalog"
	"strata/db"
	"strata/fault"
	"strata/router"
)

const (
	costAge = time.Minute
	// cheapRows is how many rows an index may find that still have to be filtered or sorted: a quarter of a second.
	cheapRows = 100_000
)

// loaded is what information_schema said of a dataset's tables.
type loaded struct {
	at     time.Time
	tables map[string]*table
}

// table is one table's size and indexes.
type table struct {
	rows    int64
	indexes []index
}

// index is an index; its columns end before the first that only a prefix or an expression stands for.
type index struct {
	name    string
	unique  bool
	columns []string
	groups  []int64 // distinct values of the first i+1 columns, estimated
}

// Cost is part of router.Coster.
func (s *Source) Cost(ctx context.Context, f router.Fetch) (router.Cost, error) {
	total := router.Cost{Indexed: true}
	for _, h := range f.Holdings {
		t, err := s.table(ctx, f.Dataset, h.Shard.Table)
		if err != nil {
			return total, err
		}
		c := t.cost(f, f.Filter.Fold(f.Dataset, h.Shard.Range))
		total.Rows += c.Rows
		total.Indexed = total.Indexed && c.Indexed
		total.Why = c.Why
	}
	return total, nil
}

// table returns what is known of a table; a table that nobody knows is asked for again before it is Stale.
func (s *Source) table(ctx context.Context, ds *catalog.Dataset, name string) (*table, error) {
	s.mu.Lock()
	have, now := s.tables[ds.Name], s.now()
	s.mu.Unlock()
	if t := have.tables[name]; t != nil && now.Sub(have.at) < costAge {
		return t, nil
	}
	tables, err := s.load(ctx, ds)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	s.tables[ds.Name] = loaded{now, tables}
	s.mu.Unlock()
	if t := tables[name]; t != nil {
		return t, nil
	}
	return nil, fault.New(fault.Stale, "estimate "+name, "%s has no such table", s.Name())
}

// load reads sizes and indexes of all tables whose names start like the dataset's.
func (s *Source) load(ctx context.Context, ds *catalog.Dataset) (map[string]*table, error) {
	op := "read indexes of " + ds.Name
	rows, err := s.db.SQL().QueryContext(ctx, `SELECT t.TABLE_NAME, COALESCE(t.TABLE_ROWS,0), COALESCE(x.INDEX_NAME,''), COALESCE(x.NON_UNIQUE,1),
		COALESCE(x.COLUMN_NAME,''), x.SUB_PART IS NOT NULL, COALESCE(x.CARDINALITY,0), COALESCE(x.INDEX_TYPE,'')
		FROM information_schema.TABLES t LEFT JOIN information_schema.STATISTICS x ON x.TABLE_SCHEMA=t.TABLE_SCHEMA AND x.TABLE_NAME=t.TABLE_NAME
		WHERE t.TABLE_SCHEMA=? AND t.TABLE_NAME LIKE ? ESCAPE '|' ORDER BY t.TABLE_NAME, x.INDEX_NAME, x.SEQ_IN_INDEX`,
		s.db.Schema(), strings.NewReplacer("|", "||", "%", "|%", "_", "|_").Replace(ds.Table)+"%")
	if err != nil {
		return nil, db.Classify(op, err)
	}
	defer func() { _ = rows.Close() }()
	tables := map[string]*table{}
	ended := false // the current index can't be used further
	for rows.Next() {
		var name, idx, column, kind string
		var size, groups int64
		var nonUnique, part bool
		if err := rows.Scan(&name, &size, &idx, &nonUnique, &column, &part, &groups, &kind); err != nil {
			return nil, fault.Wrap(fault.Internal, op, err)
		}
		t := tables[name]
		if t == nil {
			t = &table{rows: size}
			tables[name] = t
		}
		if idx == "" || kind != "BTREE" {
			continue
		}
		if n := len(t.indexes); n == 0 || t.indexes[n-1].name != idx {
			t.indexes = append(t.indexes, index{name: idx, unique: !nonUnique})
			ended = false
		}
		if ended = ended || part || column == ""; ended {
			t.indexes[len(t.indexes)-1].unique = false
			continue
		}
		x := &t.indexes[len(t.indexes)-1]
		x.columns, x.groups = append(x.columns, column), append(x.groups, groups)
	}
	if err := rows.Err(); err != nil {
		return nil, db.Classify(op, err)
	}
	for _, t := range tables {
		t.extend()
	}
	return tables, nil
}

// extend adds the primary key's columns to each other index: InnoDB has them there.
func (t *table) extend() {
	at := slices.IndexFunc(t.indexes, func(x index) bool { return x.name == "PRIMARY" })
	if at < 0 {
		return
	}
	for i := range t.indexes {
		x := &t.indexes[i]
		for _, c := range t.indexes[at].columns {
			if i != at && len(x.columns) > 0 && !slices.Contains(x.columns, c) {
				x.columns, x.groups = append(x.columns, c), append(x.groups, t.rows)
			}
		}
	}
}

// cost is the cheapest way to read one table.
func (t *table) cost(f router.Fetch, filter catalog.Filter) router.Cost {
	best := router.Cost{Rows: t.rows, Why: "no index fits"}
	conds := filter.Conjuncts()
	for i := range t.indexes {
		c := t.indexes[i].cost(t, f, conds)
		if c.Indexed && !best.Indexed || c.Indexed == best.Indexed && c.Rows < best.Rows {
			best = c
		}
	}
	return best
}

// cost is what reading by this index would cost.
func (x *index) cost(t *table, f router.Fetch, conds []catalog.Filter) router.Cost {
	c := router.Cost{Rows: t.rows, Why: "index " + x.name}
	used, matched, values := 0, 0, int64(1)
	pinned := map[string]bool{}
	for _, col := range x.columns {
		n, n1 := matchEqual(f.Dataset, conds, col)
		if n == 0 {
			break
		}
		pinned[col] = n == 1
		values *= int64(n)
		matched++
		used += n1
	}
	if matched > 0 {
		c.Rows = min(t.rows, values*(1+t.rows/max(1, x.groups[matched-1])))
		if x.unique && matched == len(x.columns) {
			c.Rows = values
		}
	}
	ranged := false
	if matched < len(x.columns) {
		if n := matchRange(f.Dataset, conds, x.columns[matched]); n > 0 {
			ranged = true
			used += n
			c.Rows = c.Rows/3 + 1 // nobody knows; a third is what optimizers guess
		}
	}
	if matched == 0 && !ranged && len(conds) > 0 {
		return router.Cost{Rows: t.rows, Why: "no index fits"}
	}
	sorted := x.sorted(f.Order, pinned)
	whole := used == len(conds) // every condition is one that the index decides
	switch {
	case whole && len(f.Aggregates) > 0 && len(conds) > 0, whole && len(f.Aggregates) == 0 && sorted:
		c.Indexed = true // only wanted rows are read
		if f.Limit > 0 {
			c.Rows = min(c.Rows, int64(f.Limit))
		}
	case matched > 0 || ranged:
		c.Indexed = c.Rows <= cheapRows
	}
	return c
}

// sorted reports whether the index, read in one direction, gives the order.
func (x *index) sorted(order []router.Order, pinned map[string]bool) bool {
	at := 0
	skip := func() {
		for at < len(x.columns) && pinned[x.columns[at]] {
			at++
		}
	}
	var desc, known bool
	for _, o := range order {
		if pinned[o.Column] {
			continue
		}
		if skip(); at == len(x.columns) || x.columns[at] != o.Column || known && o.Desc != desc {
			return false
		}
		desc, known = o.Desc, true
		at++
	}
	return true
}

// matchEqual returns how many values of the column the conditions allow (0: any), and by how many conditions.
func matchEqual(ds *catalog.Dataset, conds []catalog.Filter, column string) (values, by int) {
	for _, f := range conds {
		if f.Column != column || f.Op != catalog.Eq && f.Op != catalog.In {
			continue
		}
		if c, _ := ds.Column(column); textual(c.Type.Kind) && !plainBytes(c) && !indexed(c, f.Op, f.Values) {
			continue
		}
		if values == 0 || len(f.Values) < values {
			values = len(f.Values)
		}
		by++
	}
	return values, by
}

// matchRange returns how many conditions bound the column.
func matchRange(ds *catalog.Dataset, conds []catalog.Filter, column string) (by int) {
	c, _ := ds.Column(column)
	for _, f := range conds {
		switch {
		case f.Column != column:
		case f.Op == catalog.Prefix && indexed(c, f.Op, f.Values):
			by++
		case f.Op >= catalog.Lt && f.Op <= catalog.Ge && (!textual(c.Type.Kind) || plainBytes(c)):
			by++
		}
	}
	return by
}
