package syncer

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"strata/fault"
	"strata/index"
)

// lazyIndex makes Elasticsearch of SQLite: what Apply wrote is found only after a Refresh.
type lazyIndex struct {
	index.Index
	mu     sync.Mutex
	unseen []index.Document
	onPut  func(w index.Watermark)
}

func (z *lazyIndex) Apply(_ context.Context, _ string, docs []index.Document) ([]index.Outcome, error) {
	z.mu.Lock()
	defer z.mu.Unlock()
	for _, d := range docs {
		d.After = append([]byte(nil), d.After...)
		z.unseen = append(z.unseen, d)
	}
	return make([]index.Outcome, len(docs)), nil
}

func (z *lazyIndex) Refresh(ctx context.Context, dataset string) error {
	z.mu.Lock()
	defer z.mu.Unlock()
	_, err := z.Index.Apply(ctx, dataset, z.unseen)
	z.unseen = nil
	return err
}

func (z *lazyIndex) PutWatermark(ctx context.Context, w index.Watermark) error {
	if err := z.Index.PutWatermark(ctx, w); err != nil {
		return err
	}
	z.onPut(w)
	return nil
}

// TestL4_the_watermark_never_claims_more_than_a_search_finds: a reader takes the watermark and then searches, after every
// watermark that is written and all the time beside it.
func TestL4_the_watermark_never_claims_more_than_a_search_finds(t *testing.T) {
	const beats, each = 40, 25
	d := entries()
	f, z := newMemFeed(d), &lazyIndex{Index: openIndex(t)}
	look := func() error {
		ws, err := z.Watermarks(context.Background(), d.Name)
		if err != nil || len(ws) < int(d.Partitions) {
			return err
		}
		low := ws[0].Heartbeat
		for _, w := range ws {
			low = min(low, w.Heartbeat)
		}
		n, err := z.Count(context.Background(), index.Search{Dataset: d.Name, Shards: []string{"entry_202611"}})
		if err == nil && n < int64(low)*each {
			err = fmt.Errorf("at heartbeat %d a search found %d rows of %d", low, n, low*each)
		}
		return err
	}
	var mu sync.Mutex
	var wrong error
	check := func() {
		if err := look(); err != nil && !fault.Is(err, fault.NotFound) {
			mu.Lock()
			defer mu.Unlock()
			wrong = errors.Join(wrong, err)
		}
	}
	z.onPut = func(index.Watermark) { check() }
	if err := z.Ensure(t.Context(), d); err != nil {
		t.Fatal(err)
	}
	r := run(t, z, f, nil, d)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				check()
			}
		}
	})
	l := newLeader(f, d, 1)
	l.takeOver(nil)
	for b := range beats {
		for i := range each {
			l.change('c', entry(i, b, b*each+i))
		}
		l.mark(time.Now())
	}
	r.reach(t, d.Name, beats)
	close(stop)
	wg.Wait()
	r.stop(t)
	if wrong != nil {
		t.Error(wrong)
	}
	if lag := r.Lag(); lag.Count != beats*uint64(d.Partitions) || lag.P99 < lag.P50 || lag.Max < lag.P99 {
		t.Errorf("lag %+v", lag)
	}
}

// TestL4_nothing_is_claimed_of_an_index_that_another_topic_made: nor before that is known.
func TestL4_nothing_is_claimed_of_an_index_that_another_topic_made(t *testing.T) {
	d, x := entries(), openIndex(t)
	f := newMemFeed(d)
	old := newLeader(f, d, 7)
	old.takeOver(nil)
	p := old.change('c', entry(1, 1, 10))
	r := run(t, x, f, nil, d)
	r.reach(t, d.Name, old.mark(time.Now()))
	r.stop(t)
	f = newMemFeed(d)
	l := newLeader(f, d, 1)
	l.takeOver(nil)
	for i := range 2 * batchRecords {
		l.change('u', entry(1, 1, i))
		if i%100 == 0 {
			l.mark(time.Now())
		}
	}
	r = run(t, &forgetful{x}, f, nil, d)
	if err := r.fails(t, d.Name, l.mark(time.Now())); !fault.Is(err, fault.Unsafe) || !strings.Contains(err.Error(), fmt.Sprintf("partition %d never had", p)) {
		t.Errorf("got %v", err)
	}
	for _, st := range r.Stats().Datasets {
		if m := st.Partitions[p]; m.Heartbeat != 0 {
			t.Errorf("partition %d claims heartbeat %d", p, m.Heartbeat)
		}
	}
	r.stop(t)
}
