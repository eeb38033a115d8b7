package verify

import (
	"context"
	"errors"
	"strconv"

	"strata/catalog"
	"strata/db"
)

// source is the shard's rows inside one snapshot, in the server's key order, statement by statement.
type source struct {
	w     *walk
	snap  *db.Snapshot
	ctx   context.Context // of the span
	rows  *db.Rows
	n     int         // rows of this statement
	more  bool        // another statement may follow
	row   catalog.Row // valid while ok
	last  catalog.Row // key of the row before, for the order check and the next statement
	ok    bool
	whole bool // with !ok: the shard has no more rows; else only this snapshot has
}

// old reports whether the snapshot should be given up soon.
func (s *source) old() bool { return s.w.v.cfg.Now().Sub(s.snap.Opened()) > snapshotLimit }

// next moves to the next row.
func (s *source) next() error {
	for {
		if s.rows == nil {
			if s.n > 0 && s.n < statementRows {
				s.ok, s.whole = false, true
				return nil
			}
			if !s.more || s.n > 0 && s.old() {
				s.ok = false
				return nil
			}
			if err := s.open(); err != nil {
				return err
			}
		}
		ok, err := s.rows.Next(&s.row)
		if err != nil {
			return err
		}
		if !ok {
			s.more = s.n == statementRows
			s.whole = !s.more
			if err := s.close(); err != nil {
				return err
			}
			continue
		}
		s.n++
		s.w.v.mask(&s.row)
		if s.w.byMerge && s.last.Len() > 0 && catalog.CompareRows(s.w.v.sort, &s.last, &s.row) >= 0 {
			return errOrder
		}
		s.last.Reset()
		for i := range s.row.Len() {
			s.last.Append(s.row.Cell(i))
		}
		s.ok = true
		return nil
	}
}

func (s *source) close() error {
	if s.rows == nil {
		return nil
	}
	err := s.rows.Close()
	s.rows = nil
	return err
}

// open runs the next statement: rows after the last one, in the primary key's order.
func (s *source) open() error {
	d := s.w.v.d
	after := &s.last
	if after.Len() == 0 && s.w.after != nil {
		after = s.w.after
	}
	q := "SELECT " + db.SelectList(d, nil, "t") + " FROM " + db.Quote(s.w.h.Shard.Table) + " AS t"
	var args []any
	if after.Len() > 0 {
		cond, bound, err := keyAfter(d, s.w.v.keys, after)
		if err != nil {
			return err
		}
		q, args = q+" WHERE "+cond, bound
	}
	q += " ORDER BY "
	for i, k := range s.w.v.keys {
		if i > 0 {
			q += ", "
		}
		q += db.Quote("t", d.Columns[k].Name)
	}
	rows, err := s.snap.Rows(s.ctx, d, nil, q+" LIMIT "+strconv.Itoa(statementRows), args...)
	s.rows, s.n = rows, 0
	return err
}

// keyAfter is the condition "the key is greater than the row's", written so that the primary key serves it.
func keyAfter(d *catalog.Dataset, keys []int, row *catalog.Row) (string, []any, error) {
	var args []any
	cmp := func(k int, op string) (string, error) {
		expr, out, err := db.Bind(d.Columns[k].Type, row.Cell(k), args)
		args = out
		return db.Quote("t", d.Columns[k].Name) + op + expr, err
	}
	cond, err := cmp(keys[0], ">=")
	if err != nil {
		return "", nil, err
	}
	cond += " AND ("
	for i := range keys {
		if i > 0 {
			cond += " OR "
		}
		cond += "("
		for j := range i + 1 {
			op := "="
			if j == i {
				op = ">"
			}
			one, err := cmp(keys[j], op)
			if err != nil {
				return "", nil, err
			}
			if j > 0 {
				cond += " AND "
			}
			cond += one
		}
		cond += ")"
	}
	return cond + ")", args, nil
}

// have reads which of the keys the source has.
func (s *source) have(keys []catalog.Key) (map[catalog.Key]bool, error) {
	d := s.w.v.d
	q := "SELECT " + db.SelectList(d, nil, "t") + " FROM " + db.Quote(s.w.h.Shard.Table) + " AS t WHERE "
	var args []any
	for i, k := range keys {
		cond, more, err := db.KeyCondition(d, "t", k)
		if err != nil {
			return nil, err
		}
		if i > 0 {
			q += " OR "
		}
		q, args = q+"("+cond+")", append(args, more...)
	}
	rows, err := s.snap.Rows(s.ctx, d, nil, q, args...)
	if err != nil {
		return nil, err
	}
	out := make(map[catalog.Key]bool, len(keys))
	var row catalog.Row
	for {
		ok, err := rows.Next(&row)
		if err != nil || !ok {
			return out, errors.Join(err, rows.Close())
		}
		out[s.w.keyOf(&row)] = true
	}
}
