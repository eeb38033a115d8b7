package verify

import (
	"context"
	"errors"
	"strings"

	"strata/catalog"
	"strata/index"
)

// lookups compares both sides by key, in whatever order the server has them: first every row of the source in the index,
// then every document in the source. Documents are read whole, whatever the mode.
func (s *span) lookups(ctx context.Context, src *source) (bool, error) {
	if !s.sourced {
		if err := src.next(); err != nil {
			return false, err
		}
	}
	for !s.sourced {
		var rows []catalog.Row
		var keys []catalog.Key
		var ids []string
		for src.ok && len(rows) < lookupRows {
			key := catalog.Key(src.key())
			rows, keys, ids = append(rows, src.row().Clone()), append(keys, key), append(ids, catalog.DocumentID(s.h.Shard.Table, key))
			if err := src.next(); err != nil {
				return false, err
			}
		}
		found, err := s.v.get(ctx, ids)
		if err != nil {
			return false, err
		}
		for i, key := range keys {
			if doc := found[key]; doc == nil || !s.v.same(&rows[i], doc) {
				s.doubt(key)
			} else if err := s.sums.both(&rows[i]); err != nil {
				return false, err
			}
			s.rows++
			s.after = append(s.after[:0], key...)
		}
		s.sourced = !src.ok && src.whole
		if !src.ok && !src.whole || s.full() {
			return false, nil
		}
	}
	return s.extras(ctx, src)
}

// extras looks the documents up in the source.
func (s *span) extras(ctx context.Context, src *source) (bool, error) {
	var batch []catalog.Key
	err := s.v.cfg.Index.Digests(ctx, s.v.d.Name, s.h.Shard.Table, s.scanned, func(doc *index.Digest) error {
		if doc.Foreign != "" {
			s.outOfPlace(doc.Foreign)
			return nil
		}
		if !doc.Deleted {
			batch = append(batch, catalog.Key(strings.Clone(string(doc.Key))))
			s.docs++
		}
		if len(batch) < lookupRows {
			return nil
		}
		if err := s.absent(src, batch); err != nil {
			return err
		}
		batch = batch[:0]
		if src.old() || s.full() {
			return errEnough
		}
		return nil
	})
	switch {
	case errors.Is(err, errEnough):
		return false, nil
	case src.err != nil:
		return false, src.err
	case err != nil:
		return false, err
	}
	return true, s.absent(src, batch)
}

// absent doubts those of the keys that the source doesn't have.
func (s *span) absent(src *source, keys []catalog.Key) error {
	if len(keys) == 0 {
		return nil
	}
	have, err := src.have(keys)
	if err != nil {
		src.err = err
		return err
	}
	for _, k := range keys {
		if !have[k] {
			s.doubt(k)
		}
	}
	s.scanned = keys[len(keys)-1]
	return nil
}
