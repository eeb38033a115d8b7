package kafka

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/IBM/sarama"

	"strata/canal"
	"strata/fault"
	"strata/index"
)

const (
	// oldestLimit is how long the oldest record of one partition may be waited for.
	oldestLimit = 30 * time.Second
	// oldestTries: retention may remove the record between the two requests that read it.
	oldestTries = 3
)

// Oldest returns, by partition, the version of the oldest record that can still be read. Errors: fault.Unsafe for a partition
// without any record, of which nothing can be said; Unavailable.
func (f *Feed) Oldest(ctx context.Context, dataset string) ([]index.Version, error) {
	topic := canal.Topic(dataset)
	parts, err := f.client.Partitions(topic)
	if err != nil {
		return nil, f.classify(topic, 0, 0, err)
	}
	out := make([]index.Version, len(parts))
	for i, p := range parts {
		for try := 1; ; try++ {
			out[i], err = f.oldest(ctx, topic, p)
			if !fault.Is(err, fault.Stale) || try == oldestTries {
				break
			}
		}
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}

func (f *Feed) oldest(ctx context.Context, topic string, partition int32) (index.Version, error) {
	op := fmt.Sprintf("read oldest record of %s partition %d", topic, partition)
	from, err := f.client.GetOffset(topic, partition, sarama.OffsetOldest)
	if err != nil {
		return 0, f.classify(topic, partition, 0, err)
	}
	to, err := f.client.GetOffset(topic, partition, sarama.OffsetNewest)
	if err != nil {
		return 0, f.classify(topic, partition, 0, err)
	}
	if from >= to {
		return 0, fault.New(fault.Unsafe, op, "there is no record").WithHint("canal writes a mark every second: is it running?")
	}
	// A client of its own: this one's consumer may be reading the partition already.
	pc, err := f.second(topic, partition, from)
	if err != nil {
		if errors.Is(err, sarama.ErrOffsetOutOfRange) {
			return 0, fault.Wrap(fault.Stale, op, err)
		}
		return 0, f.classify(topic, partition, from, err)
	}
	defer pc.close()
	timer := time.NewTimer(oldestLimit)
	defer timer.Stop()
	select {
	case m, ok := <-pc.Messages():
		if !ok {
			return 0, fault.New(fault.Stale, op, "the record at offset %d went meanwhile", from)
		}
		h, err := canal.ParseHeader(len(m.Headers), func(i int) (key, value []byte) { return m.Headers[i].Key, m.Headers[i].Value })
		return index.MakeVersion(h.Term, h.Seq), err
	case e := <-pc.Errors():
		if e != nil && errors.Is(e.Err, sarama.ErrOffsetOutOfRange) {
			return 0, fault.New(fault.Stale, op, "the record at offset %d went meanwhile", from)
		}
		return 0, fault.New(fault.Unavailable, op, "%v", e)
	case <-timer.C:
		return 0, fault.New(fault.Timeout, op, "nothing came within %s", oldestLimit)
	case <-ctx.Done():
		return 0, fault.Wrap(fault.KindOf(ctx.Err()), op, ctx.Err())
	}
}

// secondConsumer reads one partition beside the Feed's streams.
type secondConsumer struct {
	sarama.PartitionConsumer
	owner sarama.Consumer
}

func (f *Feed) second(topic string, partition int32, offset int64) (*secondConsumer, error) {
	c, err := sarama.NewConsumerFromClient(f.client)
	if err != nil {
		return nil, err
	}
	pc, err := c.ConsumePartition(topic, partition, offset)
	if err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return &secondConsumer{pc, c}, nil
}

// close ends the reading; what it could say does not matter any more.
func (s *secondConsumer) close() {
	_ = s.Close()
	_ = s.owner.Close()
}
