package verify

import (
	"context"
	"errors"
	"slices"
	"strconv"

	"strata/catalog"
	"strata/db"
)

const (
	// batchRows is how many rows go from the reading goroutine to the comparing one at once.
	batchRows = 512
	// batches is how many of them there are: one is read, one is compared, the others wait.
	batches = 4
)

// batch is rows of the source with their keys and hashes.
type batch struct {
	rows   [batchRows]catalog.Row
	hashes [batchRows]catalog.Hash
	keys   []byte
	ends   [batchRows]int // of the keys
	n      int
	whole  bool // nothing comes after it: the shard has no more rows
	err    error
}

// source is the shard's rows inside one snapshot, in the server's key order, statement by statement. A goroutine reads,
// masks and hashes them ahead of who compares them; they meet over a few batches that are used again.
type source struct {
	s    *span
	snap *db.Snapshot
	ctx  context.Context // of the span
	err  error           // the first that next or have gave

	// Of the side that compares.
	b     *batch
	i     int
	ok    bool // there is a row in hand
	whole bool // with !ok: the shard has no more rows; else only this snapshot has

	started bool
	full    chan *batch
	empty   chan *batch
	stop    chan struct{}
	ended   chan struct{}

	// Of the side that reads.
	rows    *db.Rows
	n       int // rows of this statement
	read    int // rows in all
	more    bool
	last    catalog.Row // for the order check and the next statement
	scratch []byte
}

func newSource(ctx context.Context, s *span, snap *db.Snapshot) *source {
	r := &source{s: s, snap: snap, ctx: ctx, more: true, full: make(chan *batch, batches), empty: make(chan *batch, batches),
		stop: make(chan struct{}), ended: make(chan struct{})}
	for range batches {
		r.empty <- new(batch)
	}
	return r
}

func (r *source) row() *catalog.Row   { return &r.b.rows[r.i] }
func (r *source) hash() *catalog.Hash { return &r.b.hashes[r.i] }

func (r *source) key() []byte {
	from := 0
	if r.i > 0 {
		from = r.b.ends[r.i-1]
	}
	return r.b.keys[from:r.b.ends[r.i]]
}

// old reports whether the snapshot should be given up soon.
func (r *source) old() bool { return r.s.v.cfg.Now().Sub(r.snap.Opened()) > snapshotLimit }

// next moves to the next row.
func (r *source) next() error {
	if !r.started {
		r.started = true
		go r.run()
	}
	if r.i++; r.b != nil && r.i < r.b.n {
		return nil
	}
	for {
		if r.b != nil {
			if r.b.err != nil || r.b.whole || r.b.n < batchRows { // the last one
				r.ok, r.whole, r.err = false, r.b.whole, r.b.err
				return r.err
			}
			r.empty <- r.b
		}
		r.b, r.i = <-r.full, 0
		if r.ok = r.b.n > 0; r.ok {
			return nil
		}
	}
}

// close ends the reading goroutine. The snapshot is the caller's again.
func (r *source) close() error {
	close(r.stop)
	if r.started {
		<-r.ended
	}
	if r.rows == nil {
		return nil
	}
	return r.rows.Close()
}

// run reads until the shard, the snapshot's time or the span's bound ends, or until close.
func (r *source) run() {
	defer close(r.ended)
	for last := false; !last; {
		var b *batch
		select {
		case b = <-r.empty:
		case <-r.stop:
			return
		}
		r.fill(b)
		last = b.n < batchRows || b.err != nil || b.whole
		select {
		case r.full <- b:
		case <-r.stop:
			return
		}
	}
}

// fill reads the next batch; one that isn't full is the last.
func (r *source) fill(b *batch) {
	b.n, b.keys, b.whole, b.err = 0, b.keys[:0], false, nil
	v := r.s.v
	for b.n < batchRows {
		row := &b.rows[b.n]
		ok, err := r.one(row)
		if err == nil && ok && r.s.byMerge && r.last.Len() > 0 && catalog.CompareRows(v.sort, &r.last, row) >= 0 {
			err = errOrder
		}
		if err != nil || !ok {
			b.err, b.whole = err, err == nil && !r.more
			return
		}
		b.keys = catalog.AppendKey(b.keys, row, v.keys)
		b.ends[b.n] = len(b.keys)
		b.hashes[b.n], r.scratch = row.Hash(r.scratch)
		b.n++
		r.remember(row)
	}
}

// remember keeps the key cells of a row beyond its batch.
func (r *source) remember(row *catalog.Row) {
	r.last.Reset()
	for i := range row.Len() {
		if slices.Contains(r.s.v.keys, i) {
			r.last.Append(row.Cell(i))
		} else {
			r.last.AppendNull()
		}
	}
}

// one reads one row, masked; false at the end, with more telling whether the shard has others.
func (r *source) one(row *catalog.Row) (bool, error) {
	for {
		if r.rows == nil {
			bound := r.s.v.spanRows
			if !r.more || r.read > 0 && (r.old() || bound > 0 && r.read >= bound) {
				return false, nil
			}
			if err := r.open(); err != nil {
				return false, err
			}
		}
		ok, err := r.rows.Next(row)
		if err != nil {
			return false, err
		}
		if ok {
			r.n, r.read = r.n+1, r.read+1
			r.s.v.mask(row)
			return true, nil
		}
		r.more = r.n == r.limit()
		err = r.rows.Close()
		if r.rows = nil; err != nil {
			return false, err
		}
	}
}

// limit is the rows of one statement.
func (r *source) limit() int {
	if bound := r.s.v.spanRows; bound > 0 {
		return min(statementRows, bound)
	}
	return statementRows
}

// open runs the next statement: rows after the last one, in the primary key's order.
func (r *source) open() error {
	v := r.s.v
	after := &r.last
	if after.Len() == 0 && r.s.walk.after != "" {
		row, err := v.rowOf(r.s.walk.after)
		if err != nil {
			return err
		}
		after = row
	}
	q := "SELECT " + db.SelectList(v.d, nil, "t") + " FROM " + db.Quote(r.s.h.Shard.Table) + " AS t"
	var args []any
	word := " WHERE "
	for _, end := range []struct {
		row *catalog.Row
		op  string
	}{{after, ">"}, {v.upTo, "<"}} {
		if end.row == nil || end.row.Len() == 0 {
			continue
		}
		cond, err := keyBound(v.d, v.keys, end.row, end.op, &args)
		if err != nil {
			return err
		}
		q, word = q+word+cond, " AND "
	}
	q += " ORDER BY "
	for i, k := range v.keys {
		if i > 0 {
			q += ", "
		}
		q += db.Quote("t", v.d.Columns[k].Name)
	}
	rows, err := r.snap.Rows(r.ctx, v.d, nil, q+" LIMIT "+strconv.Itoa(r.limit()), args...)
	r.rows, r.n = rows, 0
	return err
}

// keyBound is the condition "the key is greater than the row's" (op >), or "not greater" (op <), written so that the primary
// key serves it.
func keyBound(d *catalog.Dataset, keys []int, row *catalog.Row, op string, args *[]any) (string, error) {
	cmp := func(k int, op string) (string, error) {
		expr, out, err := db.Bind(d.Columns[k].Type, row.Cell(k), *args)
		*args = out
		return db.Quote("t", d.Columns[k].Name) + op + expr, err
	}
	cond, err := cmp(keys[0], op+"=")
	if err != nil {
		return "", err
	}
	cond += " AND ("
	for i := range keys {
		if i > 0 {
			cond += " OR "
		}
		cond += "("
		for j := range i + 1 {
			o := "="
			if j == i {
				if o = op; op == "<" && i == len(keys)-1 {
					o = "<="
				}
			}
			one, err := cmp(keys[j], o)
			if err != nil {
				return "", err
			}
			if j > 0 {
				cond += " AND "
			}
			cond += one
		}
		cond += ")"
	}
	return cond + ")", nil
}

// have reads which of the keys the source has.
func (r *source) have(keys []catalog.Key) (map[catalog.Key]bool, error) {
	d := r.s.v.d
	q := "SELECT " + db.SelectList(d, nil, "t") + " FROM " + db.Quote(r.s.h.Shard.Table) + " AS t WHERE "
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
	rows, err := r.snap.Rows(r.ctx, d, nil, q, args...)
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
		out[catalog.KeyOf(&row, r.s.v.keys)] = true
	}
}
