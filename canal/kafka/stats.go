package kafka

import (
	"sync/atomic"

	"strata/fault"
)

// Stats is what a Sink's producers did since Open, and what is under way.
type Stats struct {
	Records  uint64 // acknowledged
	Batches  uint64 // acknowledged
	Bytes    uint64 // of those batches, as they were sent
	Requests uint64 // produce requests that began
	Retries  uint64 // batches that are sent again
	Failures uint64 // producers that ended with an error

	InFlightRecords int // queued or sent, and not acknowledged
	InFlightBytes   int // of them, before compression
}

// counts are those of all producers of a Sink.
type counts struct {
	records, batches, bytes, requests, retries, failures atomic.Uint64
	current                                              atomic.Pointer[producer] // the one of this term; nil: none
}

// Stats counts.
func (s *Sink) Stats() Stats {
	c := &s.counts
	out := Stats{Records: c.records.Load(), Batches: c.batches.Load(), Bytes: c.bytes.Load(), Requests: c.requests.Load(),
		Retries: c.retries.Load(), Failures: c.failures.Load()}
	if p := c.current.Load(); p != nil {
		p.mu.Lock()
		out.InFlightRecords, out.InFlightBytes = p.records, p.flying
		p.mu.Unlock()
	}
	return out
}

// written counts a batch that is acknowledged.
func (c *counts) written(b *batch) {
	c.records.Add(uint64(b.n))
	c.batches.Add(1)
	c.bytes.Add(uint64(len(b.wire())))
}

// failed counts the end of a producer; being closed is none.
func (c *counts) failed(err error) {
	if !fault.Is(err, fault.Interrupted) {
		c.failures.Add(1)
	}
}
