package dlq

import (
	"context"
	"sync"

	"strata/canal"
	"strata/catalog"
	"strata/fault"
	syncer "strata/sync"
)

// Outbox writes to the dead-letter topics, for any number of goroutines.
type Outbox struct {
	sink     canal.Sink
	mu       sync.Mutex
	producer canal.Producer // nil: none yet, or the last one failed
	ensured  map[string]bool
}

var _ syncer.Letters = (*Outbox)(nil)

// NewOutbox makes one; nothing is asked of the brokers yet.
func NewOutbox(sink canal.Sink) *Outbox { return &Outbox{sink: sink, ensured: map[string]bool{}} }

// Send fulfils syncer.Letters.
func (o *Outbox) Send(ctx context.Context, dataset string, records []canal.Record) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if err := o.send(ctx, dataset, records); err != nil {
		if o.producer != nil {
			_ = o.producer.Close() // it has failed
		}
		o.producer, o.ensured = nil, map[string]bool{}
		kind := fault.KindOf(err)
		if kind == fault.NotFound || kind == fault.Unsafe { // the topic was deleted, or made anew: the next try makes sure of it
			kind = fault.Unavailable
		}
		return fault.New(kind, "send letters of dataset "+dataset, "%w", err).WithHint("%s", fault.HintOf(err))
	}
	return nil
}

func (o *Outbox) send(ctx context.Context, dataset string, records []canal.Record) (err error) {
	topic := canal.DeadLetters(dataset)
	if !o.ensured[topic] {
		if err := o.sink.Ensure(ctx, &catalog.Dataset{Name: topic, Partitions: 1}, true); err != nil {
			return err
		}
		o.ensured[topic] = true
	}
	if o.producer == nil {
		if o.producer, err = o.sink.Producer(context.WithoutCancel(ctx)); err != nil {
			return err
		}
	}
	for i := range records {
		records[i].Dataset, records[i].Partition = topic, 0
	}
	if err := o.producer.Send(ctx, records); err != nil {
		return err
	}
	return o.producer.Flush(ctx)
}

// Close ends the producer.
func (o *Outbox) Close() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.producer == nil {
		return nil
	}
	defer func() { o.producer = nil }()
	return o.producer.Close()
}
