package verify

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"strata/catalog"
	"strata/db"
	"strata/fault"
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

// looker reads keys of one shard on both sides.
type looker struct {
	v     *verifier
	h     catalog.Holding
	store *db.DB
}

func (v *verifier) looker(h catalog.Holding) (*looker, error) {
	store := v.cfg.Stores[h.Store]
	if store == nil {
		return nil, fault.New(fault.Unavailable, "verify", "no connection to store %s", h.Store)
	}
	return &looker{v, h, store}, nil
}

// judge says of every key whether its sides differ. The source is read, then a heartbeat is committed and waited for, then
// the index is read, then the source again: a key whose row was the same both times, twice in a row, and whose document is
// another, is a difference; a key whose document is the row is fine, and equal is called with it. unsettled counts the keys
// that changed at every look.
func (l *looker) judge(ctx context.Context, keys []catalog.Key, equal func(p *look, doc *index.Stored) error) (differ []*diff, unsettled int64, err error) {
	looks := make([]look, len(keys))
	for i := range keys {
		looks[i].key = keys[i]
	}
	for n := 0; len(looks) > 0; n++ {
		if n == maxLooks {
			return differ, int64(len(looks)), nil
		}
		for i := range looks {
			p := &looks[i]
			was, there := p.row, p.there
			if err := l.read(ctx, p); err != nil {
				return nil, 0, err
			}
			p.differ = p.differ && there == p.there && was.Equal(&p.row)
		}
		if err := l.v.present(ctx); err != nil {
			return nil, 0, err
		}
		for part := range slices.Chunk(looks, lookupRows) {
			docs, err := l.documents(ctx, part)
			if err != nil {
				return nil, 0, err
			}
			for i := range part {
				d, err := l.one(ctx, &part[i], docs[part[i].key], equal)
				if err != nil {
					return nil, 0, err
				}
				if d != nil {
					differ = append(differ, d)
				}
			}
		}
		looks = slices.DeleteFunc(looks, func(p look) bool { return p.done })
	}
	return differ, 0, nil
}

// read reads a key's row, masked.
func (l *looker) read(ctx context.Context, p *look) (err error) {
	p.row, p.there, err = l.store.Lookup(ctx, l.v.d, l.h, p.key, nil)
	if err == nil && p.there {
		l.v.mask(&p.row)
	}
	return err
}

func (l *looker) documents(ctx context.Context, part []look) (map[catalog.Key]*index.Stored, error) {
	ids := make([]string, len(part))
	for i := range part {
		ids[i] = catalog.DocumentID(l.h.Shard.Table, part[i].key)
	}
	return l.v.get(ctx, ids)
}

// one judges one key, whose document was read after its row.
func (l *looker) one(ctx context.Context, p *look, doc *index.Stored, equal func(*look, *index.Stored) error) (*diff, error) {
	var version index.Version
	if doc != nil {
		version = doc.Version
	}
	if doc != nil && doc.Deleted {
		doc = nil
	}
	if l.v.agree(p, doc) {
		p.done = true
		return nil, equal(p, doc)
	}
	now := look{key: p.key}
	if err := l.read(ctx, &now); err != nil {
		return nil, err
	}
	stable := now.there == p.there && now.row.Equal(&p.row)
	if !stable || !p.differ {
		p.differ = stable
		return nil, nil
	}
	p.done = true
	d := &diff{look: *p, Difference: l.v.explain(p, doc), version: version}
	d.Dataset, d.Shard, d.Key, d.State = l.v.d.Name, l.h.Shard.Table, string(p.key), Open
	d.keep(doc)
	return d, nil
}

// keep remembers the document's row for the sums.
func (x *diff) keep(doc *index.Stored) {
	x.doc = nil
	if doc != nil {
		row := doc.Row.Clone()
		x.doc = &row
	}
}

// agree reports whether a key's sides are the same.
func (v *verifier) agree(p *look, doc *index.Stored) bool {
	return p.there == (doc != nil) && (doc == nil || v.same(&p.row, doc))
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

// explain says how a row and its document differ.
func (v *verifier) explain(p *look, doc *index.Stored) Difference {
	switch {
	case doc == nil:
		return Difference{What: "missing in the index", Source: "there"}
	case !p.there:
		return Difference{What: "extra in the index", Index: "there"}
	}
	var names, a, b []string
	for i, c := range v.d.Columns {
		if i < p.row.Len() && i < doc.Row.Len() && (p.row.Null(i) != doc.Row.Null(i) || p.row.Text(i) != doc.Row.Text(i)) {
			names, a, b = append(names, c.Name), append(a, cellText(&p.row, i)), append(b, cellText(&doc.Row, i))
		}
	}
	if len(names) == 0 {
		h, _ := p.row.Hash(nil)
		return Difference{What: "the stored hash is not the row's", Source: h.String(), Index: doc.Hash.String()}
	}
	return Difference{What: strings.Join(names, ", "), Source: strings.Join(a, ", "), Index: strings.Join(b, ", ")}
}

// cellText is a cell for people, cut where it is long.
func cellText(r *catalog.Row, i int) string {
	if r.Null(i) {
		return "NULL"
	}
	return strings.ToValidUTF8(fmt.Sprintf("%.200s", r.Cell(i)), "?")
}
