package canal

import (
	"context"
	"time"

	"strata/catalog"
)

// Record is one record of a topic.
type Record struct {
	Dataset   string // or DeadLetters(dataset), or Boundaries: the topic is Topic(Dataset)
	Partition int32
	Offset    int64 // set by Read
	Header    Header
	Key       []byte // nil for open, resume and mark
	Value     []byte // nil for a tombstone
}

// Sink is the topics of all datasets.
type Sink interface {
	// Ensure checks that the dataset's topic exists with d.Partitions partitions; another count is fault.Unsafe. A topic
	// that isn't there is made where create is true, else it is fault.NotFound. Idempotent.
	Ensure(ctx context.Context, d *catalog.Dataset, create bool) error
	// Bounds returns the offset of the partition's first record that is still there, and of the next to be written.
	Bounds(ctx context.Context, dataset string, partition int32) (first, next int64, err error)
	// Read calls f for every record with from <= offset < to, in order, and returns f's first error. The record is valid
	// during the call. A from that is no longer there is fault.Unsafe, a record that strata did not write fault.Invalid.
	Read(ctx context.Context, dataset string, partition int32, from, to int64, f func(*Record) error) error
	// Producer opens a new producer; each term has its own.
	Producer(ctx context.Context) (Producer, error)
}

// Producer writes records for one goroutine, idempotently and in the order of Send per partition.
type Producer interface {
	// Send queues the records; it blocks while too much is in flight. Key and Value must not be changed afterwards, the
	// slice may be. After the first record that could not be written, every call returns that error.
	Send(ctx context.Context, records []Record) error
	// Flush returns nil when every record sent is acknowledged by all replicas; else the first error.
	Flush(ctx context.Context) error
	// Acked is the offset after the partition's last acknowledged record of this producer; -1 without one.
	Acked(dataset string, partition int32) int64
	// Close ends the producer. What is in flight may or may not arrive, even later. Twice is no error.
	Close() error
}

// State is what control knows.
type State struct {
	Term       uint32      // highest term taken; 0 before the first
	Leader     string      // who took it
	Checkpoint *Checkpoint // nil before the first save
}

// Control keeps terms and the checkpoint of one pipeline. All its writes are conditional.
type Control interface {
	// Load returns the state; the zero State where there is none.
	Load(ctx context.Context) (State, error)
	// Take raises the term from `from` to `to` if it still is `from`, durably, and reports whether it was.
	Take(ctx context.Context, from, to uint32, leader string) (bool, error)
	// Save stores the checkpoint if the term still is `term`, durably, and reports whether it was. An equal checkpoint
	// is saved too.
	Save(ctx context.Context, term uint32, c *Checkpoint) (bool, error)
}

// Lease is how several leaders take turns without trying. Nothing rests on it.
type Lease interface {
	// Acquire takes or renews the lease for the time ttl, by the lease server's clock, and reports whether holder has it:
	// it was free, expired, or holder's already.
	Acquire(ctx context.Context, holder string, ttl time.Duration) (bool, error)
	// Release gives the lease up if holder has it; otherwise it does nothing.
	Release(ctx context.Context, holder string) error
}

// Gate is the filter through which every reader of a partition sees it: records of a term below the highest open before
// them are a dead leader's and are dropped, before anything is counted.
type Gate struct{ Highest uint32 }

// Pass reports whether a record is to be regarded, and learns from opens.
func (g *Gate) Pass(h *Header) bool {
	if h.Term < g.Highest {
		return false
	}
	if h.Kind == KindOpen {
		g.Highest = h.Term
	}
	return true
}

// PartitionOf is the partition of a key: the Java client's default (murmur2).
func PartitionOf(key []byte, partitions int32) int32 {
	return int32(murmur2(key)&0x7fffffff) % partitions
}

// murmur2 is org.apache.kafka.common.utils.Utils.murmur2.
func murmur2(data []byte) uint32 {
	const m, r = 0x5bd1e995, 24
	h := uint32(0x9747b28c) ^ uint32(len(data))
	for ; len(data) >= 4; data = data[4:] {
		k := uint32(data[0]) | uint32(data[1])<<8 | uint32(data[2])<<16 | uint32(data[3])<<24
		k *= m
		k ^= k >> r
		k *= m
		h *= m
		h ^= k
	}
	switch len(data) {
	case 3:
		h ^= uint32(data[2]) << 16
		fallthrough
	case 2:
		h ^= uint32(data[1]) << 8
		fallthrough
	case 1:
		h ^= uint32(data[0])
		h *= m
	}
	h ^= h >> 13
	h *= m
	h ^= h >> 15
	return h
}
