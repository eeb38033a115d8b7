package syncer

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"strata/catalog"
	"strata/index"
)

const (
	// claimEvery is how often something is claimed of a dataset with a backlog, or more seldom by a tenth of how far it is behind, up
	// to claimLast: more helps nobody there. After each refresh an index has a segment more, in which it looks for every later
	// document's id, and which it merges.
	claimEvery = time.Second
	claimLast  = 30 * time.Second
	// claimFirst is how long the first claim may wait: a process that is ended again and again must get on all the same.
	claimFirst = 5 * time.Second
	// mostUnclaimed is how many claims of a partition may wait before it waits itself: so much is applied again after a crash.
	mostUnclaimed = 32
)

// claim is what a partition says of itself once all that it has applied is found by a search.
type claim struct {
	partition int32
	w         index.Watermark   // of its last mark; Version 0: there was none
	made      []catalog.Instant // its marks
	frozen    string            // not empty: what is missing after that mark
	last      index.Version     // of the last record: it orders what is said about it
	batches   int
}

// then is what two claims say, one after the other: the later mark, and what is missing now.
func (c claim) then(next claim) claim {
	if next.w.Version == 0 {
		next.w = c.w
	}
	next.made, next.batches = append(c.made, next.made...), c.batches+next.batches
	return next
}

// claims are those of a dataset's partitions that wait for a refresh. A claim is handed in after its documents were applied, and
// all that were handed in before a refresh begins are true when it has returned: one refresh serves them all.
type claims struct {
	mu      sync.Mutex
	changed chan struct{} // closed and replaced with every change
	waiting map[int32]claim
	taken   map[int32]bool // partitions whose claims are being written
	soon    bool           // somebody has read all that there is, or waits
	busy    int            // partitions that have a batch in hand
}

func newClaims() *claims {
	return &claims{changed: make(chan struct{}), waiting: map[int32]claim{}, taken: map[int32]bool{}}
}

// update runs f until it is satisfied, after each change of whatever kind.
func (c *claims) update(ctx context.Context, f func() (done bool)) error {
	for {
		c.mu.Lock()
		before := c.soon
		done := f()
		if done || c.soon != before {
			close(c.changed)
			c.changed = make(chan struct{})
		}
		changed := c.changed
		c.mu.Unlock()
		if done {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// begin says that a partition has a batch in hand, until the function that it returns is called.
func (c *claims) begin() (end func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.busy++
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.busy--; c.busy == 0 {
			close(c.changed)
			c.changed = make(chan struct{})
		}
	}
}

// rest waits until a pause is over, or until nobody has anything in hand for which the index would need it.
func (c *claims) rest(ctx context.Context, pause <-chan time.Time) error {
	for {
		c.mu.Lock()
		idle, changed := c.soon && c.busy == 0, c.changed
		c.mu.Unlock()
		if idle {
			return nil
		}
		select {
		case <-changed:
		case <-pause:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// hand gives a claim in; it waits while the partition has too many there. soon: there is no more to read, for now.
func (c *claims) hand(ctx context.Context, one claim, soon bool) error {
	return c.update(ctx, func() bool {
		have := c.waiting[one.partition]
		c.soon = c.soon || soon || have.batches >= mostUnclaimed
		if have.batches >= mostUnclaimed {
			return false
		}
		c.waiting[one.partition] = have.then(one)
		return true
	})
}

// settle waits until all that a partition has handed in is claimed.
func (c *claims) settle(ctx context.Context, partition int32) error {
	return c.update(ctx, func() bool {
		_, waits := c.waiting[partition]
		c.soon = c.soon || waits
		return !waits && !c.taken[partition]
	})
}

// take gives out what waits.
func (c *claims) take() []claim {
	c.mu.Lock()
	defer c.mu.Unlock()
	var out []claim
	for n, one := range c.waiting {
		out, c.taken[n] = append(out, one), true
	}
	clear(c.waiting)
	c.soon = false
	return out
}

// written says that what was taken is.
func (c *claims) written() {
	c.mu.Lock()
	defer c.mu.Unlock()
	clear(c.taken)
	close(c.changed)
	c.changed = make(chan struct{})
}

// due waits until something is to be claimed: at once where somebody waits for it, else (late) when there was time for more to
// come.
func (c *claims) due(ctx context.Context, more <-chan time.Time) (late bool, err error) {
	for {
		c.mu.Lock()
		soon, some, changed := c.soon, len(c.waiting) > 0, c.changed
		c.mu.Unlock()
		if some && (soon || late) {
			return !soon, nil
		}
		select {
		case <-changed:
		case <-more:
			late = true
		case <-ctx.Done():
			return false, ctx.Err()
		}
	}
}

// all are those that wait.
func (c *claims) all() []claim {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Collect(maps.Values(c.waiting))
}

// claim writes what the partitions of a dataset claim, during one try: takes what waits, refreshes, and writes the watermarks.
// After a refresh it asks for none for as long as that took, so that an index that is slow has time for documents, and more claims
// share the next; unless there are no documents.
func (s *Sync) claim(ctx context.Context, t *set, c *claims) error {
	more := time.NewTimer(claimEvery)
	defer more.Stop()
	for first := true; ; first = false {
		late, err := c.due(ctx, more.C)
		if err != nil {
			return err
		}
		began := s.cfg.Now()
		if wait := min(pace(c.all(), catalog.At(began)), claimFirst) - claimEvery; first && late && wait > 0 {
			more.Reset(wait)
			continue
		}
		taken := c.take()
		if err := s.step("sync.refresh", "sync.refreshed", func() error { return t.index.Refresh(ctx, t.d.Name) }); err != nil {
			return err
		}
		took := min(max(s.cfg.Now().Sub(began), 0), claimEvery)
		g, gctx := errgroup.WithContext(ctx)
		for _, one := range taken {
			g.Go(func() error { return s.claimOne(gctx, t, one) })
		}
		if err := g.Wait(); err != nil {
			return err
		}
		c.written()
		more.Reset(s.left(began, took, took))
		if err := c.rest(ctx, more.C); err != nil {
			return err
		}
		more.Reset(s.left(began, 0, pace(taken, catalog.At(began))))
	}
}

// left is what is left of a wait that follows on something that took a time; no more than the whole, whatever the clock does.
func (s *Sync) left(began time.Time, took, wait time.Duration) time.Duration {
	return min(max(began.Add(took+wait).Sub(s.cfg.Now()), 0), wait)
}

// pace is how long after the claims before more may wait where there is a backlog.
func pace(before []claim, now catalog.Instant) time.Duration {
	var behind time.Duration
	for _, c := range before {
		if n := len(c.made); n > 0 {
			behind = max(behind, time.Duration(now-c.made[n-1])*time.Microsecond)
		}
	}
	return min(max(behind/10, claimEvery), claimLast)
}

// claimOne writes a partition's watermark, then its offset.
func (s *Sync) claimOne(ctx context.Context, t *set, c claim) error {
	stored := t.stored(c.partition)
	w := c.w
	if w.Version == 0 {
		w = stored
	}
	if c.frozen != "" {
		w.Frozen, w.Version = c.frozen, max(c.last, stored.Version+1)
	}
	if err := s.put(ctx, t, w); err != nil {
		return err
	}
	if c.frozen != "" {
		s.cfg.Log.Error("watermark frozen", "dataset", t.d.Name, "partition", c.partition, "missing", c.frozen)
	}
	if t.building {
		return nil
	}
	now := catalog.At(s.cfg.Now())
	for _, at := range c.made {
		lag := max(time.Duration(now-at)*time.Microsecond, 0) // the writer's clock may be ahead of ours
		s.lag.add(lag)
		s.cfg.Lag(lag)
	}
	return s.commit(ctx, t, w)
}

func (s *Sync) put(ctx context.Context, t *set, w index.Watermark) error {
	err := s.step("sync.watermark", "sync.watermarked", func() error { return t.index.PutWatermark(ctx, w) })
	if err == nil {
		t.mark(w)
	}
	return err
}

// commit tells Kafka, for people, how far the generation that answers is; a failure is counted and nothing more, because the
// watermark is what counts.
func (s *Sync) commit(ctx context.Context, t *set, w index.Watermark) error {
	return s.step("sync.commit", "sync.committed", func() error {
		if err := s.cfg.Feed.Commit(ctx, t.d.Name, w.Partition, w.Offset, w.Term); err != nil {
			t.count(func(st *DatasetStats) { st.Uncommit++ })
		}
		return nil
	})
}
