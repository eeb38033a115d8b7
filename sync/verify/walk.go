package verify

import (
	"context"
	"errors"

	"strata/catalog"
	"strata/fault"
	"strata/index"
)

// statementRows bounds one statement of a walk: between two of them the snapshot's age is looked at.
const statementRows = 20_000

// lookupRows is how many keys one lookup in the other side takes.
const lookupRows = 500

// errOrder: the server gave keys in another order than catalog.Compare's.
var errOrder = errors.New("keys are not in catalog order")

// errEnough ends a scan of the index early.
var errEnough = errors.New("enough")

// walk goes through one shard on both sides. What is handled stays handled when the walk is run again after an error.
type walk struct {
	v       *verifier
	h       catalog.Holding
	byMerge bool
	after   *catalog.Row // last row handled; its key cells count
	scanned catalog.Key  // by lookups: last document looked up in the source
	sourced bool         // by lookups: every row of the source was looked up in the index
	sums    *sums
	rows    int64
	told    int64 // rows that progress knows of
	docs    int64
	suspect []look
}

func (w *walk) run(ctx context.Context) error {
	for {
		done, err := w.span(ctx)
		if err != nil {
			return err
		}
		if err := w.recheck(ctx); err != nil {
			return err
		}
		if done {
			return nil
		}
	}
}

// span compares as much as one snapshot may, and reports whether the shard is finished.
func (w *walk) span(ctx context.Context) (done bool, err error) {
	store := w.v.cfg.Stores[w.h.Store]
	if store == nil {
		return false, fault.New(fault.Unavailable, "verify", "no connection to store %s", w.h.Store)
	}
	snap, err := store.Snapshot(ctx, w.v.d, []catalog.Holding{w.h})
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, snap.Close()) }()
	if err := w.v.present(ctx); err != nil { // after the snapshot: the index then has all that the snapshot sees
		return false, err
	}
	src := &source{w: w, snap: snap, ctx: ctx, more: true}
	defer func() { err = errors.Join(err, src.close()) }()
	if w.byMerge {
		return w.merge(ctx, src)
	}
	return w.lookups(ctx, src)
}

func (w *walk) doubt(key catalog.Key) {
	w.suspect = append(w.suspect, look{key: key})
	w.v.r.Rechecked++
}

// tell reports the rows since the last time.
func (w *walk) tell() {
	w.v.progress.add(w.rows - w.told)
	w.told = w.rows
}

// full reports whether the suspects must be looked at before the walk goes on.
func (w *walk) full() bool { return len(w.suspect) >= maxSuspects }

func (w *walk) keyOf(row *catalog.Row) catalog.Key { return catalog.KeyOf(row, w.v.keys) }

// merge walks both sides in key order.
func (w *walk) merge(ctx context.Context, src *source) (bool, error) {
	if err := src.next(); err != nil {
		return false, err
	}
	var after catalog.Key
	if w.after != nil {
		after = w.keyOf(w.after)
	}
	err := w.v.cfg.Index.Scan(ctx, w.v.d.Name, w.h.Shard.Table, after, func(doc *index.Stored) error {
		if doc.Deleted {
			return nil // a row in its place is found missing when the merge has passed it
		}
		for src.ok && !w.full() {
			c := catalog.CompareRows(w.v.sort, &src.row, &doc.Row)
			if c > 0 {
				break
			}
			if c == 0 {
				w.docs++
				return w.pair(src, doc)
			}
			if err := w.missing(src); err != nil {
				return err
			}
		}
		if !src.ok && !src.whole || w.full() {
			return errEnough // this document belongs to the next span
		}
		w.docs++
		w.doubt(doc.Key)
		w.passed(&doc.Row)
		return nil
	})
	if err != nil && !errors.Is(err, errEnough) {
		return false, err
	}
	for src.ok && !w.full() && err == nil {
		if err := w.missing(src); err != nil {
			return false, err
		}
	}
	return err == nil && !src.ok && src.whole, nil
}

// pair compares a row with its document and goes on to the next row.
func (w *walk) pair(src *source, doc *index.Stored) error {
	if w.v.same(&src.row, doc) {
		if err := w.sums.both(&src.row); err != nil {
			return err
		}
	} else {
		w.doubt(doc.Key)
	}
	return w.step(src)
}

// missing passes a row that the index doesn't have.
func (w *walk) missing(src *source) error {
	w.doubt(w.keyOf(&src.row))
	return w.step(src)
}

func (w *walk) step(src *source) error {
	w.rows++
	w.passed(&src.row)
	if w.rows-w.told >= 1000 {
		w.tell()
	}
	return src.next()
}

func (w *walk) passed(row *catalog.Row) {
	if w.after == nil {
		w.after = new(catalog.Row)
	}
	w.after.Reset()
	for i := range row.Len() {
		w.after.Append(row.Cell(i))
	}
}

// same reports whether a document is exactly the row: every cell, and the hash, which is then the hash of both.
func (v *verifier) same(row *catalog.Row, doc *index.Stored) bool {
	if doc.Deleted || !row.Equal(&doc.Row) {
		return false
	}
	var h catalog.Hash
	h, v.scratch = row.Hash(v.scratch)
	return h == doc.Hash
}

// lookups compares both sides by key, in whatever order the server has them: first every row of the source in the index,
// then every document in the source.
func (w *walk) lookups(ctx context.Context, src *source) (bool, error) {
	for !w.sourced {
		var rows []catalog.Row
		var ids []string
		for len(rows) < lookupRows {
			if err := src.next(); err != nil {
				return false, err
			}
			if !src.ok {
				break
			}
			rows = append(rows, src.row.Clone())
			ids = append(ids, catalog.DocumentID(w.h.Shard.Table, w.keyOf(&src.row)))
		}
		found, err := w.v.get(ctx, ids)
		if err != nil {
			return false, err
		}
		for i := range rows {
			key := w.keyOf(&rows[i])
			if doc := found[key]; doc == nil || !w.v.same(&rows[i], doc) {
				w.doubt(key)
			} else if err := w.sums.both(&rows[i]); err != nil {
				return false, err
			}
			w.rows++
			w.passed(&rows[i])
		}
		w.tell()
		w.sourced = !src.ok && src.whole
		if !src.ok && !src.whole || w.full() {
			return false, nil
		}
	}
	return w.extras(ctx, src)
}

// extras looks the documents up in the source.
func (w *walk) extras(ctx context.Context, src *source) (bool, error) {
	var batch []catalog.Key
	err := w.v.cfg.Index.Scan(ctx, w.v.d.Name, w.h.Shard.Table, w.scanned, func(doc *index.Stored) error {
		if !doc.Deleted {
			batch = append(batch, doc.Key)
			w.docs++
		}
		if len(batch) < lookupRows {
			return nil
		}
		if err := w.absent(src, batch); err != nil {
			return err
		}
		batch = batch[:0]
		if src.old() || w.full() {
			return errEnough
		}
		return nil
	})
	if err != nil {
		if errors.Is(err, errEnough) {
			return false, nil
		}
		return false, err
	}
	return true, w.absent(src, batch)
}

// absent doubts those of the keys that the source doesn't have.
func (w *walk) absent(src *source, keys []catalog.Key) error {
	if len(keys) == 0 {
		return nil
	}
	have, err := src.have(keys)
	if err != nil {
		return err
	}
	for _, k := range keys {
		if !have[k] {
			w.doubt(k)
		}
	}
	w.scanned = keys[len(keys)-1]
	return nil
}

// get reads documents by id, by key.
func (v *verifier) get(ctx context.Context, ids []string) (map[catalog.Key]*index.Stored, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	docs, err := v.cfg.Index.Get(ctx, v.d.Name, ids)
	if err != nil {
		return nil, err
	}
	out := make(map[catalog.Key]*index.Stored, len(docs))
	for i := range docs {
		out[docs[i].Key] = &docs[i]
	}
	return out, nil
}
