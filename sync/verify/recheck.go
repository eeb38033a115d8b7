package verify

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"strata/catalog"
	"strata/db"
	"strata/index"
)

// look is one key on both sides.
type look struct {
	key    catalog.Key
	row    catalog.Row // of the source
	there  bool
	differ bool // the look before found a difference with the same row
	done   bool // judged
}

// recheck reads the suspects again. The source is read, then a heartbeat is committed and waited for, then the index is
// read, then the source again: a key whose row was the same both times, twice in a row, and whose document is another is
// a difference; a key whose document is the row is fine. After an error it can be called again.
func (w *walk) recheck(ctx context.Context) error {
	store := w.v.cfg.Stores[w.h.Store]
	for looks := 0; len(w.suspect) > 0; looks++ {
		if looks == maxLooks {
			w.v.r.Unsettled += int64(len(w.suspect))
			w.suspect = w.suspect[:0]
			break
		}
		for i := range w.suspect {
			p := &w.suspect[i]
			was, there := p.row, p.there
			if err := w.lookup(ctx, store, p); err != nil {
				return err
			}
			p.differ = p.differ && there == p.there && was.Equal(&p.row)
		}
		if err := w.v.present(ctx); err != nil {
			return err
		}
		err := w.judge(ctx, store)
		w.suspect = slices.DeleteFunc(w.suspect, func(p look) bool { return p.done })
		if err != nil {
			return err
		}
	}
	return nil
}

func (w *walk) lookup(ctx context.Context, store *db.DB, p *look) (err error) {
	p.row, p.there, err = store.Lookup(ctx, w.v.d, w.h, p.key, nil)
	if err == nil && p.there {
		w.v.mask(&p.row)
	}
	return err
}

// judge compares the suspects with the index.
func (w *walk) judge(ctx context.Context, store *db.DB) error {
	for part := range slices.Chunk(w.suspect, lookupRows) {
		ids := make([]string, len(part))
		for i := range part {
			ids[i] = catalog.DocumentID(w.h.Shard.Table, part[i].key)
		}
		docs, err := w.v.get(ctx, ids)
		if err != nil {
			return err
		}
		for i := range part {
			if err := w.judgeOne(ctx, store, &part[i], docs[part[i].key]); err != nil {
				return err
			}
		}
	}
	return nil
}

func (w *walk) judgeOne(ctx context.Context, store *db.DB, p *look, doc *index.Stored) error {
	if doc != nil && doc.Deleted {
		doc = nil
	}
	if p.there == (doc != nil) && (doc == nil || w.v.same(&p.row, doc)) {
		p.done = true
		return w.settle(p, doc)
	}
	now := look{key: p.key}
	if err := w.lookup(ctx, store, &now); err != nil {
		return err
	}
	stable := now.there == p.there && now.row.Equal(&p.row)
	if !stable || !p.differ {
		p.differ = stable
		return nil
	}
	what, source, idx := w.v.explain(p, doc)
	w.v.find(w.h.Shard.Table, p.key, what, source, idx)
	p.done = true
	return w.settle(p, doc)
}

// settle adds what each side has to its sums.
func (w *walk) settle(p *look, doc *index.Stored) error {
	if p.there {
		if err := w.sums.count(&p.row, true); err != nil {
			return err
		}
	}
	if doc != nil {
		return w.sums.count(&doc.Row, false)
	}
	return nil
}

// explain says how a row and its document differ.
func (v *verifier) explain(p *look, doc *index.Stored) (what, source, idx string) {
	switch {
	case doc == nil:
		return "missing in the index", "there", ""
	case !p.there:
		return "extra in the index", "", "there"
	}
	var names, a, b []string
	for i, c := range v.d.Columns {
		if i < p.row.Len() && i < doc.Row.Len() && (p.row.Null(i) != doc.Row.Null(i) || p.row.Text(i) != doc.Row.Text(i)) {
			names, a, b = append(names, c.Name), append(a, cellText(&p.row, i)), append(b, cellText(&doc.Row, i))
		}
	}
	if len(names) == 0 {
		h, _ := p.row.Hash(nil)
		return "the stored hash is not the row's", h.String(), doc.Hash.String()
	}
	return strings.Join(names, ", "), strings.Join(a, ", "), strings.Join(b, ", ")
}

// cellText is a cell for people, cut where it is long.
func cellText(r *catalog.Row, i int) string {
	if r.Null(i) {
		return "NULL"
	}
	return fmt.Sprintf("%.200s", r.Cell(i))
}
