package syncer

import (
	"context"
	"time"

	"strata/canal"
	"strata/catalog"
)

// Batch bounds one Next.
type Batch struct {
	Records int           // at most this many records
	Bytes   int           // stop after the record that reaches this many bytes of values
	Linger  time.Duration // after the first record, wait at most this long for more
}

// Feed is where records come from: the datasets' topics.
type Feed interface {
	// Bounds returns the offset of the partition's first record that is still there, and of the next to be written.
	// fault.Unsafe: the topic has another number of partitions than the dataset. fault.Unavailable: try again later.
	Bounds(ctx context.Context, d *catalog.Dataset, partition int32) (first, next int64, err error)
	// Open starts reading a partition at an offset. fault.Stale: the offset is not there any more, or not yet; ask Bounds.
	// Other errors are as Bounds's.
	Open(ctx context.Context, d *catalog.Dataset, partition int32, offset int64) (Stream, error)
	// Commit notes, for people and tools, that everything before offset is applied and searchable. term is the highest open
	// term seen. An error is not a reason to stop.
	Commit(ctx context.Context, dataset string, partition int32, offset int64, term uint32) error
}

// Stream is one partition from an offset on, for one goroutine.
type Stream interface {
	// Wait blocks until Next has a record or an error at once, or ctx ends. Errors are as Next's.
	Wait(ctx context.Context) error
	// Next appends to dst at least one record, in offset order without a hole other than what Kafka itself leaves out, and
	// returns dst; it blocks until there is one or ctx ends. The records' memory is the caller's. Errors are as Open's, and
	// fault.Invalid for a record without strata's headers; after one the stream is at its end.
	Next(ctx context.Context, b Batch, dst []canal.Record) ([]canal.Record, error)
	// Behind is how many records the topic has after the last one that Next returned, as far as is known without asking; those that
	// Kafka leaves out may be counted.
	Behind() int64
	// Close ends the stream. Idempotent.
	Close() error
}
