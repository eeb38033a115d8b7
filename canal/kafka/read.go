package kafka

import (
	"context"
	"time"

	"github.com/IBM/sarama"

	"strata/canal"
	"strata/fault"
)

// readLimit is how long a record that must be there is waited for.
const readLimit = 30 * time.Second

// Bounds is part of canal.Sink.
func (s *Sink) Bounds(ctx context.Context, dataset string, partition int32) (first, next int64, err error) {
	topic := canal.Topic(dataset)
	err = s.patiently(ctx, "read bounds of "+topic, topic, func() (err error) {
		first, next, err = s.bounds(topic, partition)
		return err
	})
	return first, next, err
}

func (s *Sink) bounds(topic string, partition int32) (first, next int64, err error) {
	if first, err = s.client.GetOffset(topic, partition, sarama.OffsetOldest); err == nil {
		next, err = s.client.GetOffset(topic, partition, sarama.OffsetNewest)
	}
	return first, next, err
}

// Read is part of canal.Sink.
func (s *Sink) Read(ctx context.Context, dataset string, partition int32, from, to int64, f func(*canal.Record) error) (err error) {
	if from >= to {
		return nil
	}
	topic := canal.Topic(dataset)
	op := "read topic " + topic
	consumer, err := sarama.NewConsumerFromClient(s.client)
	if err != nil {
		return classify(op, err)
	}
	defer func() { _ = consumer.Close() }() // only read from
	var part sarama.PartitionConsumer
	err = s.patiently(ctx, op, topic, func() (err error) {
		part, err = consumer.ConsumePartition(topic, partition, from)
		return err
	})
	if err != nil {
		return err
	}
	defer func() { _ = part.Close() }()
	timer := time.NewTimer(readLimit)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-timer.C:
			return fault.New(fault.Unavailable, op, "partition %d gave nothing for %s before offset %d", partition, readLimit, to)
		case e := <-part.Errors():
			if e != nil && !s.passes(topic, e.Err) { // else it asks for the leader again by itself
				return classify(op, e.Err)
			}
		case m := <-part.Messages():
			if m == nil {
				return fault.New(fault.Unavailable, op, "partition %d: the reader ended", partition)
			}
			if m.Offset >= to {
				return nil
			}
			h, err := canal.ParseHeader(len(m.Headers), func(i int) (key, value []byte) { return m.Headers[i].Key, m.Headers[i].Value })
			if err != nil {
				return err
			}
			if err := f(&canal.Record{Dataset: dataset, Partition: partition, Offset: m.Offset, Header: h, Key: m.Key, Value: m.Value}); err != nil {
				return err
			}
			if m.Offset == to-1 {
				return nil
			}
			timer.Reset(readLimit)
		}
	}
}
