package syncer

import (
	"context"
	"fmt"
	"strings"

	"strata/canal"
	"strata/catalog"
	"strata/index"
)

const (
	// madeAnew begins what is said of a partition whose topic is another one under the same name.
	madeAnew = "the topic was made anew"
	// wholeAgain is said of it once the new topic has the whole source. Deletes that went with the old topic are in neither.
	wholeAgain = madeAnew + ", and is whole: rows that went with the old one are looked for"
	// leftBatch is how many keys are handed to the leader at once.
	leftBatch = 1000
)

// Documents is what a Sync reads of its index to find what a topic made anew doesn't tell of: methods of index.Reader.
type Documents interface {
	Shards(ctx context.Context, dataset string) ([]string, error)
	Digests(ctx context.Context, dataset, shard string, after catalog.Key, f func(*index.Digest) error) error
}

// settling is how far a dataset is whose topic was made anew.
type settling struct {
	asked bool
	until []int64 // by partition: what the leader has sent then; nil: it hasn't yet
}

// settle lets partitions thaw whose topic was made anew and is whole. The new topic has an image of every row that is there,
// newer than all that was sent before; a document that is older than the new topic, and not deleted, is of a row that went
// unseen. Its key goes to the leader, and when the leader has answered for all of them, and that was read, nothing is left.
func (s *Sync) settle(ctx context.Context, t *set, old *settling) error {
	var parts []int32
	for _, m := range t.stats().Partitions {
		switch {
		case t.readTo(m.Partition) < 0:
			return nil // it may be another topic's, too
		case m.Frozen == wholeAgain:
			parts = append(parts, m.Partition)
		case strings.HasPrefix(m.Frozen, madeAnew):
			return nil // the rest of the new topic isn't whole yet
		}
	}
	if len(parts) == 0 {
		*old = settling{}
		return nil
	}
	if !old.asked {
		n, err := s.askOld(ctx, t, parts)
		if err != nil {
			return err
		}
		if n == 0 {
			t.settled(parts)
			return nil
		}
		s.cfg.Log.Warn("rows of the index are older than their topic, which was made anew: they are asked for", "dataset", t.d.Name, "rows", n)
		old.asked = true
	}
	if old.until == nil {
		left, err := s.cfg.Tasks.Left(ctx, 0)
		if err != nil || left > 0 {
			return err
		}
		until := make([]int64, t.d.Partitions)
		for p := range until {
			if _, until[p], err = s.cfg.Feed.Bounds(ctx, t.d, int32(p)); err != nil {
				return err
			}
		}
		old.until = until
	}
	for p, end := range old.until {
		if t.readTo(int32(p)) < end {
			return nil
		}
	}
	t.settled(parts)
	return nil
}

// askOld gives the keys of all documents that are older than the topic to the leader, and returns how many.
func (s *Sync) askOld(ctx context.Context, t *set, parts []int32) (n int, err error) {
	bound := t.born(parts)
	if err := s.cfg.Index.Refresh(ctx, t.d.Name); err != nil {
		return 0, err
	}
	shards, err := s.cfg.Documents.Shards(ctx, t.d.Name)
	if err != nil {
		return 0, err
	}
	why := fmt.Sprintf("topic %s was made anew: is the row of the index still there?", canal.Topic(t.d.Name))
	var keys []canal.RepairKey
	hand := func() error {
		if len(keys) == 0 {
			return nil
		}
		err := s.cfg.Tasks.AddKeys(ctx, keys, mender, why)
		n, keys = n+len(keys), keys[:0]
		return err
	}
	for _, shard := range shards {
		err := s.cfg.Documents.Digests(ctx, t.d.Name, shard, "", func(g *index.Digest) error {
			if g.Deleted || g.Foreign != "" || g.Version >= bound { // what isn't strata's the verifier names
				return nil
			}
			if keys = append(keys, canal.RepairKey{Dataset: t.d.Name, Shard: shard, Key: catalog.Key(strings.Clone(string(g.Key))), Why: why}); len(keys) < leftBatch {
				return nil
			}
			return hand()
		})
		if err != nil {
			return n, err
		}
	}
	return n, hand()
}
