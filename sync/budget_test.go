package syncer

import (
	"context"
	"testing"
	"time"
)

// TestL11_every_dataset_has_room_whatever_the_others_hold: a dataset that gives nothing back takes all that is shared, and the
// others go on; one that is live comes before those with a backlog.
func TestL11_every_dataset_has_room_whatever_the_others_hold(t *testing.T) {
	b := newBudget(3)
	take := func(dataset string, live bool) func() {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		release, err := b.acquire(ctx, dataset, live)
		if err != nil {
			t.Errorf("%s waits for room: %v", dataset, err)
			return func() {}
		}
		return release
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	full := func(dataset string, live bool) {
		t.Helper()
		if release, err := b.acquire(gone, dataset, live); err == nil {
			release()
			t.Fatalf("%s got more than there is", dataset)
		}
	}
	for range 1 + sharedBatches - sharedLive {
		take("stuck", false)
	}
	b.mu.Lock()
	shared := b.shared
	b.mu.Unlock()
	if shared != sharedBatches-sharedLive {
		t.Fatalf("%d shared batches are in hand", shared)
	}
	waits := func(dataset string, live bool) <-chan func() {
		out := make(chan func(), 1)
		go func() { out <- take(dataset, live) }()
		for {
			b.mu.Lock()
			n := 0
			for _, w := range b.waiting {
				if w.dataset == dataset {
					n++
				}
			}
			b.mu.Unlock()
			if n > 0 || len(out) > 0 {
				return out
			}
		}
	}
	own := take("slow", false) // its own
	slow := waits("slow", false)
	var live []func()
	for range 1 + sharedLive {
		live = append(live, take("live", true))
	}
	late := waits("live", true)
	select {
	case <-late:
		t.Fatal("more than there is")
	case <-slow:
		t.Fatal("a dataset with a backlog got what is kept for live ones")
	default:
	}
	live[1]() // a shared one goes to the live dataset, although the other has waited longer
	last := <-late
	select {
	case <-slow:
		t.Fatal("a dataset with a backlog came first")
	default:
	}
	own() // and the own one to its owner
	(<-slow)()
	last()
	full("stuck", false)
	if len(b.waiting) != 0 {
		t.Errorf("%d still wait", len(b.waiting))
	}
}

func TestBudget_is_split(t *testing.T) {
	for datasets, want := range map[int]int{1: mostBatch, 16: mostBatch, 32: 1 << 20, 1000: leastBatch} {
		if got := newBudget(datasets).batchBytes; got != want {
			t.Errorf("%d datasets: %d", datasets, got)
		}
	}
}
