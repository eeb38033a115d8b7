package sqlite

import (
	"context"
	"database/sql/driver"
	"errors"
	"io"
	"slices"
	"strings"

	"strata/catalog"
	"strata/fault"
	"strata/index"
)

// view is one read transaction: a point in time.
type view struct {
	f   *file
	ctx context.Context // of the call that opened the view; a view never outlives it
	c   driver.Conn
}

// read runs f in a read transaction.
func (x *Index) read(ctx context.Context, dataset string, do func(v *view) error) error {
	f, err := x.file(ctx, dataset)
	if err != nil {
		return err
	}
	conn, err := f.reads.Conn(ctx)
	if err != nil {
		return classify("read index of "+dataset, err)
	}
	defer func() { _ = conn.Close() }()
	err = conn.Raw(func(dc any) (err error) {
		c, ok := dc.(driver.Conn)
		if !ok {
			return fault.New(fault.Internal, "read index", "the driver has no connections")
		}
		v := &view{f: f, ctx: ctx, c: c}
		if err := v.query("BEGIN", nil, nil); err != nil {
			return err
		}
		defer func() {
			end := &view{f: f, ctx: context.WithoutCancel(ctx), c: c}
			err = errors.Join(err, end.query("ROLLBACK", nil, nil))
		}()
		return do(v)
	})
	return classify("read index of "+dataset, err)
}

// cursor is an open statement with its current row.
type cursor struct {
	stmt driver.Stmt
	rows driver.Rows
	dest []driver.Value
}

func (v *view) open(q string, args []driver.NamedValue) (*cursor, error) {
	if err := v.ctx.Err(); err != nil {
		return nil, err
	}
	s, err := v.c.Prepare(q)
	if err != nil {
		return nil, err
	}
	qc, ok := s.(driver.StmtQueryContext)
	if !ok {
		return nil, errors.Join(fault.New(fault.Internal, "query", "the driver has no queries with context"), s.Close())
	}
	rows, err := qc.QueryContext(v.ctx, args) // a cancelled context interrupts SQLite
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return &cursor{stmt: s, rows: rows, dest: make([]driver.Value, len(rows.Columns()))}, nil
}

// next reads a row into dest; false at the end.
func (c *cursor) next(ctx context.Context) (bool, error) {
	if err := ctx.Err(); err != nil {
		return false, err
	}
	err := c.rows.Next(c.dest)
	if errors.Is(err, io.EOF) {
		return false, nil
	}
	return err == nil, err
}

func (c *cursor) close() error { return errors.Join(c.rows.Close(), c.stmt.Close()) }

// query calls each for every row; nil where there are none.
func (v *view) query(q string, args []driver.NamedValue, each func(dest []driver.Value) error) error {
	c, err := v.open(q, args)
	if err != nil {
		return err
	}
	for {
		ok, err := c.next(v.ctx)
		if err == nil && ok && each != nil {
			err = each(c.dest)
		}
		if err != nil || !ok {
			return errors.Join(err, c.close())
		}
	}
}

func named(vals ...driver.Value) []driver.NamedValue {
	out := make([]driver.NamedValue, len(vals))
	for i, v := range vals {
		out[i] = driver.NamedValue{Ordinal: i + 1, Value: v}
	}
	return out
}

// shards returns the numbers of those of the names that are there, each once.
func (v *view) shards(names []string) ([]int64, error) {
	var ids []int64
	for _, n := range names {
		err := v.query("SELECT id FROM shard WHERE name=?", named(n), func(d []driver.Value) error {
			if id, ok := d[0].(int64); ok && !slices.Contains(ids, id) {
				ids = append(ids, id)
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return ids, nil
}

// decodeRow appends the columns at positions cols from stored values; raw is the row's JSON where it was kept.
func (f *file) decodeRow(cols []int, vals []driver.Value, raw driver.Value, row *catalog.Row, scratch []byte) ([]byte, error) {
	if text, ok := raw.([]byte); ok {
		var whole catalog.Row
		if _, err := catalog.ParseImage(f.d, text, &whole); err != nil {
			return scratch, fault.Wrap(fault.Unsafe, "decode stored row", err)
		}
		for _, c := range cols {
			row.Append(whole.Cell(c))
		}
		return scratch, nil
	}
	var err error
	for i, c := range cols {
		if scratch, err = decode(f.types[c], vals[i], row, scratch); err != nil {
			return scratch, err
		}
	}
	return scratch, nil
}

// Count fulfils index.Reader.
func (x *Index) Count(ctx context.Context, s index.Search) (int64, error) {
	var n int64
	err := x.read(ctx, s.Dataset, func(v *view) error {
		if err := s.Filter.Check(v.f.d); err != nil {
			return err
		}
		ids, err := v.shards(s.Shards)
		if err != nil {
			return err
		}
		for _, id := range ids {
			q := sqlText{f: v.f}
			q.add("SELECT count(*) FROM doc WHERE _shard=")
			q.bind(id)
			q.add(" AND _deleted=0 AND ")
			if err := q.filter(s.Filter); err != nil {
				return err
			}
			err := v.query(q.buf.String(), q.args, func(d []driver.Value) error {
				one, _ := d[0].(int64)
				n += one
				return nil
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
	return n, err
}

// storedColumns come before the dataset's columns where a whole document is read.
const storedColumns = 4

func (f *file) storedList() string {
	return "_version, _hash, _deleted, _raw, " + columnList(f.d.Names())
}

// stored decodes a whole document into s, whose Row is reused.
func (f *file) stored(shard string, all []int, d []driver.Value, s *index.Stored, scratch []byte) ([]byte, error) {
	version, _ := d[0].(int64)
	hash, _ := d[1].([]byte)
	state, _ := d[2].(int64)
	s.Shard, s.Version, s.Deleted = shard, index.Version(version), state != alive
	copy(s.Hash[:], hash)
	s.Row.Reset()
	scratch, err := f.decodeRow(all, d[storedColumns:], d[3], &s.Row, scratch)
	if err != nil {
		return scratch, err
	}
	s.Key = catalog.KeyOf(&s.Row, f.keys)
	if state == imageless {
		s.Row.Reset()
	}
	return scratch, nil
}

func (f *file) allColumns() []int {
	all := make([]int, len(f.types))
	for i := range all {
		all[i] = i
	}
	return all
}

// Get fulfils index.Reader.
func (x *Index) Get(ctx context.Context, dataset string, ids []string) ([]index.Stored, error) {
	var out []index.Stored
	err := x.read(ctx, dataset, func(v *view) error {
		same := make([]string, len(v.f.d.Key))
		for i, k := range v.f.d.Key {
			same[i] = quote(k) + "=?"
		}
		s, err := v.c.Prepare("SELECT " + v.f.storedList() + " FROM doc WHERE _shard=? AND " + strings.Join(same, " AND "))
		if err != nil {
			return err
		}
		defer func() { _ = s.Close() }()
		g := getter{v: v, s: s, all: v.f.allColumns(), dest: make([]driver.Value, storedColumns+len(v.f.types)), shards: map[string]int64{}}
		for _, id := range ids {
			if err := ctx.Err(); err != nil {
				return err
			}
			var one index.Stored
			ok, err := g.get(id, &one)
			if err != nil {
				return err
			}
			if ok {
				out = append(out, one)
			}
		}
		return nil
	})
	return out, err
}

// getter reads single documents inside one view.
type getter struct {
	v       *view
	s       driver.Stmt
	all     []int
	dest    []driver.Value
	scratch []byte
	shards  map[string]int64 // 0: not there
}

func (g *getter) get(id string, one *index.Stored) (bool, error) {
	shard, key, _ := strings.Cut(id, "/")
	n, known := g.shards[shard]
	if !known {
		ids, err := g.v.shards([]string{shard})
		if err != nil {
			return false, err
		}
		if len(ids) > 0 {
			n = ids[0]
		}
		g.shards[shard] = n
	}
	vals, err := g.v.f.keyValues(catalog.Key(key))
	if err != nil || n == 0 {
		return false, err
	}
	rows, err := g.s.Query(append([]driver.Value{n}, vals...)) //nolint:staticcheck // one row: no goroutine wanted
	if err != nil {
		return false, err
	}
	err = rows.Next(g.dest)
	if errors.Is(err, io.EOF) {
		return false, rows.Close()
	}
	if err == nil {
		g.scratch, err = g.v.f.stored(shard, g.all, g.dest, one, g.scratch)
	}
	return err == nil, errors.Join(err, rows.Close())
}

// Scan fulfils index.Reader.
func (x *Index) Scan(ctx context.Context, dataset, shard string, after catalog.Key, f func(*index.Stored) error) error {
	of, err := x.file(ctx, dataset)
	if err != nil {
		return err
	}
	var one index.Stored
	var scratch []byte
	all := of.allColumns()
	return x.walk(ctx, of, shard, after, of.storedList(), func(d []driver.Value) (err error) {
		if scratch, err = of.stored(shard, all, d, &one, scratch); err != nil {
			return err
		}
		return f(&one)
	})
}

// walk calls each with what the list names of every document of a shard, by their key, from the first greater than after. It
// ends at the first error of each and returns it.
func (x *Index) walk(ctx context.Context, of *file, shard string, after catalog.Key, list string, each func([]driver.Value) error) error {
	var stop error
	err := x.read(ctx, of.d.Name, func(v *view) error {
		ids, err := v.shards([]string{shard})
		if err != nil || len(ids) == 0 {
			return err
		}
		q := sqlText{f: v.f}
		q.add("SELECT " + list + " FROM doc WHERE _shard=")
		q.bind(ids[0])
		order := make([]index.Order, len(v.f.d.Key))
		for i, k := range v.f.d.Key {
			order[i].Column = k
		}
		if after != "" {
			vals, err := v.f.keyValues(after)
			if err != nil {
				return err
			}
			q.add(" AND ")
			q.rowValue(order, vals)
		}
		q.add(" ORDER BY ")
		q.order(order)
		return v.query(q.buf.String(), q.args, func(d []driver.Value) error {
			stop = each(d)
			return stop
		})
	})
	if stop != nil {
		return stop
	}
	return err
}

// Shards fulfils index.Reader.
func (x *Index) Shards(ctx context.Context, dataset string) ([]string, error) {
	var out []string
	err := x.read(ctx, dataset, func(v *view) error {
		return v.query("SELECT name FROM shard ORDER BY name", nil, func(d []driver.Value) error {
			name, _ := d[0].(string)
			out = append(out, name)
			return nil
		})
	})
	return out, err
}

// HighestTerm fulfils index.Reader.
func (x *Index) HighestTerm(ctx context.Context) (uint32, error) {
	if err := x.openAll(ctx); err != nil {
		return 0, err
	}
	x.mu.RLock()
	names := make([]string, 0, len(x.files))
	for n := range x.files {
		names = append(names, n)
	}
	x.mu.RUnlock()
	var high uint32
	for _, n := range names {
		err := x.read(ctx, n, func(v *view) error {
			return v.query("SELECT (SELECT value FROM meta WHERE name='max_version'), coalesce(max(version), 0), coalesce(max(term), 0) FROM watermark",
				nil, func(d []driver.Value) error {
					doc, _ := d[0].(int64)
					mark, _ := d[1].(int64)
					term, _ := d[2].(int64)
					high = max(high, index.Version(doc).Term(), index.Version(mark).Term(), uint32(term))
					return nil
				})
		})
		if err != nil {
			return 0, err
		}
	}
	return high, nil
}
