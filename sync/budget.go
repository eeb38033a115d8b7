package syncer

import (
	"context"
	"sync"
	"time"
)

const (
	// ownBytes is split into one batch for each dataset, which nobody else can take.
	ownBytes = 32 << 20
	// A batch has at most mostBatch bytes of values, less where there are many datasets, but not below leastBatch.
	mostBatch  = 2 << 20
	leastBatch = 256 << 10
	// sharedBatches are for whoever comes, sharedLive of them only for datasets that are live.
	sharedBatches = 12
	sharedLive    = 3
	// liveLag: a dataset whose watermark is not older is live; older ones have a backlog, as a backfill makes it.
	liveLag = 10 * time.Second
)

// budget bounds the bytes of all batches in hand, over all datasets and partitions of the process.
type budget struct {
	batchBytes int
	mu         sync.Mutex
	own        map[string]bool // datasets whose own batch is in hand
	shared     int             // batches in hand beyond them
	waiting    []*waiter       // in the order in which they came
}

type waiter struct {
	dataset string
	live    bool
	granted chan bool // true: the dataset's own batch
}

func newBudget(datasets int) *budget {
	return &budget{batchBytes: min(max(ownBytes/max(datasets, 1), leastBatch), mostBatch), own: map[string]bool{}}
}

// acquire waits until there is room for a batch of the dataset, and returns what gives it back. A dataset's own batch comes
// first, so none waits for others for ever; of those who wait for a shared one, live datasets come before others.
func (b *budget) acquire(ctx context.Context, dataset string, live bool) (release func(), err error) {
	w := &waiter{dataset: dataset, live: live, granted: make(chan bool, 1)}
	b.mu.Lock()
	b.waiting = append(b.waiting, w)
	b.grant()
	b.mu.Unlock()
	select {
	case own := <-w.granted:
		return func() { b.release(dataset, own) }, nil
	case <-ctx.Done():
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for i := range b.waiting {
		if b.waiting[i] == w {
			b.waiting = append(b.waiting[:i], b.waiting[i+1:]...)
			return nil, ctx.Err()
		}
	}
	b.back(dataset, <-w.granted) // it was granted just now
	return nil, ctx.Err()
}

func (b *budget) release(dataset string, own bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.back(dataset, own)
}

// back takes a batch back and grants what that makes room for; the caller holds mu.
func (b *budget) back(dataset string, own bool) {
	if own {
		delete(b.own, dataset)
	} else {
		b.shared--
	}
	b.grant()
}

// grant serves those who wait: own batches, then live datasets, then the others.
func (b *budget) grant() {
	b.serve(func(w *waiter) (ok, own bool) {
		if b.own[w.dataset] {
			return false, false
		}
		b.own[w.dataset] = true
		return true, true
	})
	share := func(live bool, most int) func(*waiter) (ok, own bool) {
		return func(w *waiter) (ok, own bool) {
			if w.live != live || b.shared >= most {
				return false, false
			}
			b.shared++
			return true, false
		}
	}
	b.serve(share(true, sharedBatches))
	b.serve(share(false, sharedBatches-sharedLive))
}

func (b *budget) serve(take func(*waiter) (ok, own bool)) {
	left := b.waiting[:0]
	for _, w := range b.waiting {
		if ok, own := take(w); ok {
			w.granted <- own
		} else {
			left = append(left, w)
		}
	}
	clear(b.waiting[len(left):])
	b.waiting = left
}
