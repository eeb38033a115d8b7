package db

import (
	"context"
	"database/sql/driver"
	"io"
	"strconv"
	"strings"

	"strata/catalog"
	"strata/fault"
)

// Lookup reads one row by its key, with the check that this store owns the shard at the holding's epoch, in one
// statement. nil columns are all. found is false where the store owns the shard and has no such row. Errors: Stale as for
// Snapshot; Invalid where the key isn't one of the dataset's.
func (d *DB) Lookup(ctx context.Context, ds *catalog.Dataset, h catalog.Holding, key catalog.Key, columns []string) (row catalog.Row, found bool, err error) {
	op := "look up " + ds.Name + " in " + d.cfg.Name
	if h.Store != d.cfg.Store {
		return row, false, fault.New(fault.Internal, op, "shard %s belongs to %s, this is %s", h.Shard.Table, h.Store, d.cfg.Store)
	}
	where, args, err := KeyCondition(ds, "t", key)
	if err != nil {
		return row, false, err
	}
	if columns == nil {
		columns = ds.Names()
	}
	query := "SELECT p.state, p.epoch, t." + Quote(ds.Key[0]) + " IS NOT NULL, " + SelectList(ds, columns, "t") +
		" FROM (SELECT 1) one LEFT JOIN strata_part p ON p.dataset=? AND p.shard=? LEFT JOIN " + Quote(h.Shard.Table) + " t ON " + where
	args = append([]any{ds.Name, h.Shard.Table}, args...)
	for try := 0; ; try++ {
		row, found, err = d.lookup(ctx, op, ds, h, columns, query, args)
		if err == driver.ErrBadConn && try < badConnTries {
			continue
		}
		return row, found, d.setup(ctx, classify(ctx, op, err))
	}
}

func (d *DB) lookup(ctx context.Context, op string, ds *catalog.Dataset, h catalog.Holding, columns []string, query string, args []any) (row catalog.Row, found bool, err error) {
	conn, s, err := d.session(ctx)
	if err != nil {
		return row, false, err
	}
	defer func() { _ = conn.Close() }()
	res, err := s.query(ctx, query, args)
	if err != nil {
		return row, false, err
	}
	defer func() { _ = res.Close() }()
	vals := make([]driver.Value, 3+len(columns))
	if err := res.Next(vals); err != nil {
		if err == io.EOF {
			err = fault.New(fault.Internal, op, "no row from a left join")
		}
		return row, false, err
	}
	p := partSays{state: catalog.State(text(vals[0]))}
	if vals[1] != nil {
		if p.epoch, err = strconv.ParseUint(text(vals[1]), 10, 64); err != nil {
			return row, false, fault.Wrap(fault.Internal, op, err)
		}
	}
	if err := checkPart(op, d.cfg.Store, h, p, vals[0] != nil); err != nil {
		return row, false, err
	}
	if found = text(vals[2]) == "1"; found {
		var scan Rows
		for i, name := range columns {
			c, _ := ds.Column(name)
			if err := scan.cell(&row, c.Type, vals[3+i]); err != nil {
				return row, false, fault.Wrap(fault.Internal, op, err)
			}
		}
	}
	if err := res.Next(vals); err != io.EOF {
		return row, false, fault.New(fault.Internal, op, "more than one row for a key")
	}
	return row, found, nil
}

// KeyCondition is the condition that alias's row has exactly this key, with its arguments. Character keys match byte by
// byte, whatever their collation. Errors: fault.Invalid.
func KeyCondition(ds *catalog.Dataset, alias string, key catalog.Key) (string, []any, error) {
	cells, err := key.Cells()
	if err != nil {
		return "", nil, err
	}
	if len(cells) != len(ds.Key) || len(cells) == 0 {
		return "", nil, fault.New(fault.Invalid, "read key", "%q has %d cells, the key of %s has %d", string(key), len(cells), ds.Name, len(ds.Key))
	}
	var parts []string
	var args []any
	for i, name := range ds.Key {
		c, _ := ds.Column(name)
		ref := Quote(name)
		if alias != "" {
			ref = Quote(alias, name)
		}
		var expr string
		if expr, args, err = Bind(c.Type, []byte(cells[i]), args); err != nil {
			return "", nil, fault.Wrap(fault.Invalid, "read key", err)
		}
		parts = append(parts, ref+"="+expr)
		if c.Type.Kind == catalog.Text {
			parts = append(parts, "CAST(CONVERT("+ref+" USING utf8mb4) AS BINARY)=CAST(? AS BINARY)")
			args = append(args, cells[i])
		}
	}
	return strings.Join(parts, " AND "), args, nil
}

// text is a value of the text protocol as a string; "" for NULL.
func text(v driver.Value) string {
	switch v := v.(type) {
	case nil:
		return ""
	case []byte:
		return string(v)
	case string:
		return v
	case int64:
		return strconv.FormatInt(v, 10)
	case uint64:
		return strconv.FormatUint(v, 10)
	case float64:
		return strconv.FormatFloat(v, 'g', -1, 64)
	default:
		return ""
	}
}

func isEOF(err error) bool { return err == io.EOF }
