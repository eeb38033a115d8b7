package verify

import (
	"context"
	"encoding/binary"
	"errors"

	"strata/catalog"
	"strata/index"
)

// merge walks both sides in key order. Fast, the index gives digests, which have no rows.
func (s *span) merge(ctx context.Context, src *source) (bool, error) {
	if err := src.next(); err != nil {
		return false, err
	}
	visit := func(doc *index.Stored) error { return s.visit(src, doc) }
	var err error
	if x := s.v.cfg.Index; s.v.fast {
		var doc index.Stored
		err = x.Digests(ctx, s.v.d.Name, s.h.Shard.Table, s.walk.after, func(g *index.Digest) error {
			doc.Key, doc.Version, doc.Hash, doc.Deleted = g.Key, g.Version, g.Hash, g.Deleted
			doc.Foreign = g.Foreign
			return visit(&doc)
		})
	} else {
		err = x.Scan(ctx, s.v.d.Name, s.h.Shard.Table, s.walk.after, visit)
	}
	switch {
	case errors.Is(err, errEnough):
		return false, nil
	case errors.Is(err, errBeyond):
	case src.err != nil:
		return false, src.err
	case err != nil:
		return false, err
	}
	for src.ok && !s.full() {
		if err := s.missing(src); err != nil {
			return false, err
		}
	}
	return !src.ok && src.whole, nil
}

// visit is called with the documents in key order.
func (s *span) visit(src *source, doc *index.Stored) error {
	if doc.Foreign != "" {
		s.outOfPlace(doc.Foreign)
		return nil
	}
	if doc.Deleted {
		return nil // a row in its place is found missing when the merge has passed it
	}
	s.hasKey = false
	if s.v.upTo != nil {
		c, ok := s.order(s.v.upTo, doc.Key)
		if !ok {
			s.outOfPlace(catalog.DocumentID(s.h.Shard.Table, doc.Key))
			return nil
		}
		if c < 0 {
			return errBeyond
		}
	}
	for src.ok && !s.full() {
		c := 0
		if string(src.key()) != string(doc.Key) { // no allocation; nearly always equal
			var ok bool
			if c, ok = s.order(src.row(), doc.Key); !ok {
				s.outOfPlace(catalog.DocumentID(s.h.Shard.Table, doc.Key))
				return nil
			}
		}
		if c > 0 {
			break
		}
		if c == 0 {
			s.docs++
			return s.pair(src, doc)
		}
		if err := s.missing(src); err != nil {
			return err
		}
	}
	if !src.ok && !src.whole || s.full() {
		return errEnough // this document belongs to the next span
	}
	s.docs++
	s.doubt(doc.Key)
	s.after = append(s.after[:0], doc.Key...)
	return nil
}

// order compares a row's key with a document's; false where the document's isn't one of the dataset.
func (s *span) order(row *catalog.Row, key catalog.Key) (int, bool) {
	if !s.hasKey {
		cells, err := s.v.rowOf(key)
		if err != nil {
			return 0, false
		}
		s.docKey, s.hasKey = *cells, true
	}
	return catalog.CompareRows(s.v.sort, row, &s.docKey), true
}

// pair compares a row with its document and goes on to the next row.
func (s *span) pair(src *source, doc *index.Stored) error {
	row, hash := src.row(), src.hash()
	if doc.Hash != *hash || !s.v.fast && !row.Equal(&doc.Row) {
		s.doubt(doc.Key)
		return s.step(src)
	}
	if s.v.fast && s.chosen(hash) {
		s.sample = append(s.sample, sampled{catalog.Key(src.key()), row.Clone()})
	} else if err := s.sums.both(row); err != nil {
		return err
	}
	return s.step(src)
}

// chosen reports whether a row is one of this turn's sample.
func (s *span) chosen(h *catalog.Hash) bool {
	n := uint64(s.v.cfg.Sample)
	return binary.BigEndian.Uint64(h[:8])%n == uint64(s.v.cfg.Turn)%n
}

// missing passes a row that the index doesn't have.
func (s *span) missing(src *source) error {
	s.doubt(catalog.Key(src.key()))
	return s.step(src)
}

func (s *span) step(src *source) error {
	s.rows++
	s.after = append(s.after[:0], src.key()...)
	return src.next()
}

// compareSample reads the documents of the sample whole: each must be its row, and its hash its own.
func (s *span) compareSample(ctx context.Context) error {
	for from := 0; from < len(s.sample); from += lookupRows {
		part := s.sample[from:min(from+lookupRows, len(s.sample))]
		ids := make([]string, len(part))
		for i := range part {
			ids[i] = catalog.DocumentID(s.h.Shard.Table, part[i].key)
		}
		docs, err := s.v.get(ctx, ids)
		if err != nil {
			return err
		}
		for i := range part {
			if doc := docs[part[i].key]; doc == nil || !s.v.same(&part[i].row, doc) {
				s.doubt(part[i].key)
			} else if err := s.sums.both(&part[i].row); err != nil {
				return err
			}
		}
	}
	s.sampled = int64(len(s.sample))
	s.sample = nil
	return nil
}
