package syncer

import (
	"math/bits"
	"sync"
	"time"
)

// lagBuckets: 16 per power of two of microseconds, up to 2^36 µs (19 hours); the relative error is below 1/16.
const lagBuckets = 16 * 34

// histogram counts durations in fixed buckets.
type histogram struct {
	mu     sync.Mutex
	counts [lagBuckets]uint64
	total  uint64
	max    time.Duration
}

// Lag is how long after its commit on live a heartbeat became searchable, over a window.
type Lag struct {
	Count uint64        `json:"count"`
	P50   time.Duration `json:"p50"`
	P99   time.Duration `json:"p99"`
	Max   time.Duration `json:"max"`
}

// bucket: values below 16 have one each, then 16 per power of two.
func bucket(us uint64) int {
	if us < 16 {
		return int(us)
	}
	e := bits.Len64(us) - 5 // us>>e is 16 … 31
	return min(16*e+int(us>>e), lagBuckets-1)
}

// upper is the highest value of a bucket.
func upper(b int) time.Duration {
	if b < 16 {
		return time.Duration(b) * time.Microsecond
	}
	e := b/16 - 1
	return time.Duration((uint64(16+b%16)+1)<<e-1) * time.Microsecond
}

func (h *histogram) add(d time.Duration) {
	d = max(d, 0) // the writer's clock may be ahead of ours
	h.mu.Lock()
	defer h.mu.Unlock()
	h.counts[bucket(uint64(d.Microseconds()))]++
	h.total++
	h.max = max(h.max, d)
}

func (h *histogram) read(reset bool) Lag {
	h.mu.Lock()
	defer h.mu.Unlock()
	out := Lag{Count: h.total, Max: h.max, P50: h.quantile(50), P99: h.quantile(99)}
	if reset {
		h.counts, h.total, h.max = [lagBuckets]uint64{}, 0, 0
	}
	return out
}

func (h *histogram) quantile(percent uint64) time.Duration {
	want := (h.total*percent + 99) / 100
	var seen uint64
	for b, n := range h.counts {
		if seen += n; n > 0 && seen >= want {
			return min(upper(b), h.max)
		}
	}
	return 0
}
