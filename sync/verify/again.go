package verify

import (
	"context"
	"slices"
	"strings"

	"strata/catalog"
	"strata/fault"
	"strata/index"
)

// lookAgain looks at the findings that are still open: a process may have died before it could write down what became of
// them, a leader may have come to them later, or somebody mended them by hand. Those that differ still, and can be repaired,
// are queued once more.
func (g *reign) lookAgain(ctx context.Context, v *verifier) error {
	view, err := v.cfg.View(ctx, v.d)
	if err != nil {
		return err
	}
	for after := int64(0); ; {
		list, err := g.cfg.Book.Findings(ctx, v.d.Name, Open, after, maxFindings)
		if err != nil {
			return &bookError{err}
		}
		if len(list) == 0 {
			return nil
		}
		after = list[len(list)-1].ID
		slices.SortStableFunc(list, func(a, b Finding) int { return strings.Compare(a.Shard, b.Shard) })
		for len(list) > 0 {
			n := 1
			for n < len(list) && list[n].Shard == list[0].Shard {
				n++
			}
			if err := g.lookAgainIn(ctx, v, view, list[:n]); err != nil {
				return err
			}
			list = list[n:]
		}
	}
}

// lookAgainIn looks at findings of one shard.
func (g *reign) lookAgainIn(ctx context.Context, v *verifier, view *catalog.View, list []Finding) error {
	i := slices.IndexFunc(view.Holdings, func(h catalog.Holding) bool { return h.Shard.Table == list[0].Shard })
	if i < 0 {
		return g.strayAgain(ctx, v, list)
	}
	l, err := v.looker(view.Holdings[i])
	if err != nil {
		return err
	}
	var keys []catalog.Key
	of := map[catalog.Key]*Finding{}
	var settled []*diff
	for i := range list {
		f := &list[i]
		key := catalog.Key(f.Key)
		if strings.HasPrefix(f.Key, idMark) { // passed says when it is gone
			continue
		}
		if _, err := v.rowOf(key); err != nil { // not one row: the scan finds it again where it is still so
			f.State, f.Hint = Gone, ""
			settled = append(settled, &diff{Difference: f.Difference})
			continue
		}
		keys, of[key] = append(keys, key), f
	}
	differ, _, err := l.judge(ctx, keys, func(p *look, _ *index.Stored) error {
		f := of[p.key]
		if f.State, f.Hint = Gone, ""; f.Queued {
			f.State = Repaired
		}
		settled = append(settled, &diff{Difference: f.Difference})
		return nil
	})
	if err != nil {
		return err
	}
	if err := g.settled(ctx, settled); err != nil {
		return err
	}
	return l.repair(ctx, differ)
}

// strayAgain looks whether documents of a shard that nobody owns are still there.
func (g *reign) strayAgain(ctx context.Context, v *verifier, list []Finding) error {
	var gone []*diff
	for part := range slices.Chunk(list, lookupRows) {
		ids := make([]string, len(part))
		for i := range part {
			ids[i] = catalog.DocumentID(part[i].Shard, catalog.Key(part[i].Key))
		}
		docs, err := v.get(ctx, ids)
		if err != nil && !fault.Is(err, fault.NotFound) {
			return err
		}
		for i := range part {
			if doc := docs[catalog.Key(part[i].Key)]; doc == nil || doc.Deleted {
				d := part[i].Difference
				d.State, d.Hint = Gone, ""
				gone = append(gone, &diff{Difference: d})
			}
		}
	}
	return g.settled(ctx, gone)
}
