package verify

import (
	"context"
	"slices"
	"strings"

	"strata/catalog"
	"strata/index"
)

// idMark begins a finding's Key where it stands for a document with an id of its own; the id follows. No row has such a key.
const idMark = "%id:"

// outOfPlace handles a document whose id isn't of the key in its columns. Where the id is of another key, that key is looked at:
// the document lies in its place. Any other is a finding; nobody may remove it but who put it there.
func (s *span) outOfPlace(id string) {
	shard := s.h.Shard.Table
	key := catalog.Key(idMark + id)
	if of := catalog.Key(strings.TrimPrefix(id, shard+"/")); catalog.DocumentID(shard, of) == id {
		if _, err := s.v.rowOf(of); err == nil {
			key = of
		}
	}
	if s.walk.foreign[key] || s.foreign[key] {
		return // it stands between two spans
	}
	if s.foreign == nil {
		s.foreign = map[catalog.Key]bool{}
	}
	s.foreign[catalog.Key(strings.Clone(string(key)))] = true
	s.docs++
	if strings.HasPrefix(string(key), idMark) {
		s.aliens = append(s.aliens, s.v.alien(shard, strings.Clone(id)))
		return
	}
	s.doubt(key)
	s.twice = true
}

// alien is the finding of a document with an id of its own.
func (v *verifier) alien(shard, id string) *diff {
	return &diff{Difference: Difference{Dataset: v.d.Name, Shard: shard, Key: idMark + id, What: "not one of strata's documents", Index: "there", State: Open,
		Hint: "somebody else put document " + id + " into the index of " + shard + ": take it out there; no leader does"}}
}

// closeForeign counts what was out of place, and tells of the documents with ids of their own.
func (s *span) closeForeign(ctx context.Context) error {
	v := s.v
	for key := range s.foreign {
		if len(s.walk.foreign) < maxSuspects {
			s.walk.foreign[key] = true
		}
	}
	n := int64(len(s.aliens))
	if n == 0 {
		return nil
	}
	v.r.Differences, v.r.Open = v.r.Differences+n, v.r.Open+n
	v.list(s.aliens)
	if v.keeper == nil {
		return nil
	}
	return v.keeper.found(ctx, s.aliens, false)
}

// passed is part of keeper: foreign documents that were found once and that the shard hasn't any more are gone.
func (g *reign) passed(ctx context.Context, v *verifier, shard string, foreign map[catalog.Key]bool) error {
	var gone []*diff
	for after := int64(0); ; {
		list, err := g.cfg.Book.Findings(ctx, v.d.Name, Open, after, maxFindings)
		if err != nil {
			return &bookError{err}
		}
		if len(list) == 0 {
			break
		}
		after = list[len(list)-1].ID
		for _, f := range list {
			if f.Shard == shard && strings.HasPrefix(f.Key, idMark) && !foreign[catalog.Key(f.Key)] {
				f.State, f.Hint = Gone, ""
				gone = append(gone, &diff{Difference: f.Difference})
			}
		}
	}
	if len(gone) == 0 {
		return nil
	}
	return g.settled(ctx, gone)
}

// strays finds documents of shards that nobody owns. No leader can repair them: there is no table to read.
func (v *verifier) strays(ctx context.Context, view *catalog.View) error {
	shards, err := v.cfg.Index.Shards(ctx, v.d.Name)
	if err != nil {
		return err
	}
	for _, name := range shards {
		if slices.ContainsFunc(view.Holdings, func(h catalog.Holding) bool { return h.Shard.Table == name }) {
			continue
		}
		var list []*diff
		err := v.cfg.Index.Scan(ctx, v.d.Name, name, "", func(s *index.Stored) error {
			if s.Deleted {
				return nil
			}
			v.r.Documents++
			v.r.Differences, v.r.Open = v.r.Differences+1, v.r.Open+1
			if s.Foreign != "" {
				if len(list) < maxFindings {
					list = append(list, v.alien(name, s.Foreign))
				}
				return nil
			}
			if len(list) < maxFindings {
				list = append(list, &diff{look: look{key: s.Key}, Difference: v.stray(name, s.Key)})
			}
			return v.sums.count(&s.Row, false)
		})
		if err != nil {
			return err
		}
		if v.keeper != nil {
			if err := v.keeper.found(ctx, list, false); err != nil {
				return err
			}
		}
		v.list(list)
	}
	return nil
}

func (v *verifier) stray(shard string, key catalog.Key) Difference {
	return Difference{Dataset: v.d.Name, Shard: shard, Key: string(key), What: "extra in the index: nobody owns its shard", Index: "there", State: Open,
		Hint: "there is no table " + shard + " to repair it from: bring the table back, or take the shard's documents out of the index"}
}
