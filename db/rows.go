package db

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"encoding/hex"
	"io"
	"strconv"

	"strata/catalog"
	"strata/fault"
)

// Rows is a result of canonical cells, read one row at a time; memory does not grow with the result. It is for one
// goroutine.
type Rows struct {
	ctx     context.Context
	op      string
	result  driver.Rows
	types   []catalog.Type
	vals    []driver.Value
	scratch []byte
	err     error
	ended   bool
	release func() // once, when the result is closed
}

// Next reads the next row into row, replacing what was there, and reports whether there was one. After false or an error
// every further call gives the same answer. The row is the caller's; the next call does not change it unless it is passed
// again.
func (r *Rows) Next(row *catalog.Row) (bool, error) {
	if r.ended || r.err != nil {
		return false, r.err
	}
	row.Reset()
	if err := r.result.Next(r.vals); err != nil {
		if err == io.EOF {
			r.ended = true
			r.close()
			return false, nil
		}
		return false, r.fail(classify(r.ctx, r.op, err))
	}
	for i, v := range r.vals {
		if err := r.cell(row, r.types[i], v); err != nil {
			return false, r.fail(fault.Wrap(fault.Internal, r.op, err))
		}
	}
	return true, nil
}

func (r *Rows) fail(err error) error {
	r.err = err
	r.close()
	return err
}

// Close ends the result. Where it was not read to its end, the statement is killed unless the rest was short. Closing
// twice is harmless.
func (r *Rows) Close() error {
	r.ended = true
	r.close()
	return nil
}

func (r *Rows) close() {
	if r.release == nil {
		return
	}
	_ = r.result.Close() // what it could say was said by Next, or does not matter any more
	r.release()
	r.release = nil
}

// cell appends one value as the server sent it in its canonical form.
func (r *Rows) cell(row *catalog.Row, t catalog.Type, v driver.Value) error {
	b := r.scratch[:0]
	switch v := v.(type) {
	case nil:
		row.AppendNull()
		return nil
	case []byte:
		return r.bytes(row, t, v)
	case int64:
		if t.Kind == catalog.Year {
			v = wholeYear(t, v)
			b = append(b, "0000"[:4-len(strconv.FormatInt(v, 10))]...)
		}
		b = strconv.AppendInt(b, v, 10)
	case uint64:
		b = strconv.AppendUint(b, v, 10)
	case float64:
		if v == 0 {
			v = 0 // MySQL prints a negative zero, MariaDB doesn't
		}
		bits := 64
		if t.Kind == catalog.Float {
			bits = 32
		}
		b = strconv.AppendFloat(b, v, 'g', -1, bits)
	case float32:
		b = strconv.AppendFloat(b, float64(v), 'g', -1, 32)
	default:
		return fault.New(fault.Internal, "scan cell", "the driver gave a %T for a column of kind %s", v, t.Kind)
	}
	row.Append(b)
	r.scratch = b
	return nil
}

// wholeYear adds the century to what the server prints of a YEAR(2): the binlog has all four digits.
func wholeYear(t catalog.Type, v int64) int64 {
	switch {
	case t.Size == 2 && v < 70:
		return 2000 + v
	case t.Size == 2 && v < 100:
		return 1900 + v
	}
	return v
}

// bytes appends a value that came as bytes.
func (r *Rows) bytes(row *catalog.Row, t catalog.Type, v []byte) error {
	switch t.Kind {
	case catalog.Binary, catalog.Bit, catalog.Spatial:
		r.scratch = hex.AppendEncode(r.scratch[:0], v)
		row.Append(nonNil(r.scratch)) // there is no scratch before the first cell
	case catalog.Decimal:
		row.Append(trimDecimal(v))
	case catalog.Float, catalog.Double:
		f, err := strconv.ParseFloat(string(v), 64)
		if err != nil {
			return err
		}
		return r.cell(row, t, f)
	default:
		row.Append(nonNil(v))
	}
	return nil
}

// trimDecimal cuts the zeros that ZEROFILL puts in front.
func trimDecimal(v []byte) []byte {
	for len(v) > 1 && v[0] == '0' && v[1] != '.' {
		v = v[1:]
	}
	return v
}

// nonNil keeps the empty string apart from NULL.
func nonNil(v []byte) []byte {
	if v == nil {
		return []byte{}
	}
	return v
}

// Query runs one statement outside a snapshot and returns its rows; the select list must be SelectList(ds, columns). A
// single statement is consistent in itself, but checks no ownership.
func (d *DB) Query(ctx context.Context, ds *catalog.Dataset, columns []string, query string, args ...any) (*Rows, error) {
	op := "query " + d.cfg.Name
	for try := 0; ; try++ {
		conn, s, err := d.session(ctx)
		if err != nil {
			return nil, classify(ctx, op, err)
		}
		rows, err := s.rows(ctx, op, ds, columns, query, args)
		if err != nil {
			_ = conn.Close()
			if err == driver.ErrBadConn && try < badConnTries {
				continue
			}
			return nil, classify(ctx, op, err)
		}
		rows.release = func() { _ = conn.Close() }
		return rows, nil
	}
}

// badConnTries is how often a connection may turn out to be dead before anything was sent; as in database/sql.
const badConnTries = 2

// session takes a connection out of the pool. It is the caller's until conn is closed.
func (d *DB) session(ctx context.Context) (conn *sql.Conn, s *session, err error) {
	if conn, err = d.pool.Conn(ctx); err != nil {
		return nil, nil, err
	}
	err = conn.Raw(func(dc any) error {
		s = dc.(*session)
		return nil
	})
	if err != nil {
		_ = conn.Close()
		return nil, nil, err
	}
	return conn, s, nil
}

// rows runs a query whose select list is SelectList(ds, columns). The caller sets release.
func (s *session) rows(ctx context.Context, op string, ds *catalog.Dataset, columns []string, query string, args []any) (*Rows, error) {
	if columns == nil {
		columns = ds.Names()
	}
	types := make([]catalog.Type, len(columns))
	for i, name := range columns {
		c, ok := ds.Column(name)
		if !ok {
			return nil, fault.New(fault.Internal, op, "dataset %s has no column %s", ds.Name, name)
		}
		types[i] = c.Type
	}
	res, err := s.query(ctx, query, args)
	if err != nil {
		return nil, err
	}
	if got := len(res.Columns()); got != len(types) {
		_ = res.Close()
		return nil, fault.New(fault.Internal, op, "the query has %d columns, the select list %d", got, len(types))
	}
	return &Rows{ctx: ctx, op: op, result: res, types: types, vals: make([]driver.Value, len(types))}, nil
}

// query runs a query with arguments on this session, past database/sql and its copy of every value.
func (s *session) query(ctx context.Context, query string, args []any) (driver.Rows, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	named := make([]driver.NamedValue, len(args))
	for i, a := range args {
		named[i] = driver.NamedValue{Ordinal: i + 1, Value: a}
		if err := s.CheckNamedValue(&named[i]); err != nil {
			return nil, fault.Wrap(fault.Invalid, "bind argument", err)
		}
	}
	rows, err := s.QueryContext(ctx, query, named)
	if err == driver.ErrSkip {
		return nil, fault.New(fault.TooLarge, "bind arguments", "the statement is over %d bytes, or its arguments don't match", packetLimit)
	}
	return rows, err
}
