package kafka

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/IBM/sarama"

	"strata/broker"
	"strata/canal"
	"strata/catalog"
	"strata/fault"
	syncer "strata/sync"
)

// fetchBytes is the size of a fetch: some ten thousand records, so that a backlog is read at full speed.
const fetchBytes = 4 << 20

// Config of a Feed.
type Config struct {
	Brokers []string
	// Index names the index that is written, for the consumer group strata-sync-<Index>.
	Index string
	// ClientID in the brokers' logs. "": strata-sync.
	ClientID string
	// Security is TLS and SASL. The zero value: plain TCP without a login.
	Security broker.Security
}

// Feed reads the datasets' topics. It fulfils syncer.Feed.
type Feed struct {
	client   sarama.Client
	consumer sarama.Consumer
	group    string
	counts   counts
}

var _ syncer.Feed = (*Feed)(nil)

// New connects. Errors: Invalid, Unavailable.
func New(cfg Config) (*Feed, error) {
	if len(cfg.Brokers) == 0 || cfg.Index == "" {
		return nil, fault.New(fault.Invalid, "configure kafka feed", "brokers and index are required")
	}
	sc := sarama.NewConfig()
	sc.ClientID = cfg.ClientID
	if sc.ClientID == "" {
		sc.ClientID = "strata-sync"
	}
	sc.Consumer.Return.Errors = true
	sc.Consumer.Fetch.Default = fetchBytes
	sc.Consumer.MaxWaitTime = 100 * time.Millisecond
	sc.Metadata.AllowAutoTopicCreation = false
	if _, err := cfg.Security.Apply(sc, cfg.Brokers); err != nil {
		return nil, err
	}
	client, err := sarama.NewClient(cfg.Brokers, sc)
	if err != nil {
		if errors.Is(err, sarama.ErrSASLAuthenticationFailed) {
			return nil, fault.New(fault.Denied, "connect to kafka", "%w", err).WithHint("the brokers refuse the user or the password")
		}
		return nil, fault.New(fault.Unavailable, "connect to kafka", "%w", err).WithHint("are the brokers %v up?", cfg.Brokers)
	}
	consumer, err := sarama.NewConsumerFromClient(client)
	if err != nil {
		return nil, errors.Join(fault.Wrap(fault.Unavailable, "connect to kafka", err), client.Close())
	}
	return &Feed{client: client, consumer: consumer, group: "strata-sync-" + cfg.Index, counts: counts{open: map[*stream]struct{}{}}}, nil
}

// Close ends the feed; its streams must be closed before.
func (f *Feed) Close() error { return errors.Join(f.consumer.Close(), f.client.Close()) }

// Bounds fulfils syncer.Feed.
func (f *Feed) Bounds(ctx context.Context, d *catalog.Dataset, partition int32) (first, next int64, err error) {
	topic := canal.Topic(d.Name)
	if err := f.check(ctx, d, partition, 0); err != nil {
		return 0, 0, err
	}
	if first, err = f.client.GetOffset(topic, partition, sarama.OffsetOldest); err == nil {
		next, err = f.client.GetOffset(topic, partition, sarama.OffsetNewest)
	}
	if err != nil {
		_ = f.client.RefreshMetadata(topic) // its leader may have moved; the next try finds out
		return 0, 0, f.classify(topic, partition, 0, err)
	}
	return first, next, nil
}

// check sees to it that the topic has as many partitions as the dataset.
func (f *Feed) check(ctx context.Context, d *catalog.Dataset, partition int32, offset int64) error {
	topic := canal.Topic(d.Name)
	if err := ctx.Err(); err != nil {
		return fault.Wrap(fault.KindOf(err), "open topic "+topic, err)
	}
	parts, err := f.client.Partitions(topic)
	if err != nil {
		return f.classify(topic, partition, offset, err)
	}
	if len(parts) != int(d.Partitions) {
		return fault.New(fault.Unsafe, "open topic "+topic, "it has %d partitions, the dataset %d", len(parts), d.Partitions).
			WithHint("the number of partitions is fixed for a topic's life: more of them break the order per key")
	}
	return nil
}

// Open fulfils syncer.Feed.
func (f *Feed) Open(ctx context.Context, d *catalog.Dataset, partition int32, offset int64) (syncer.Stream, error) {
	if err := f.check(ctx, d, partition, offset); err != nil {
		return nil, err
	}
	topic := canal.Topic(d.Name)
	pc, err := f.consumer.ConsumePartition(topic, partition, offset)
	if err != nil {
		return nil, f.classify(topic, partition, offset, err)
	}
	s := &stream{f: f, topic: topic, dataset: d.Name, partition: partition, next: offset, pc: pc}
	s.read.Store(offset)
	f.counts.opened(s)
	return s, nil
}

// Commit fulfils syncer.Feed.
func (f *Feed) Commit(ctx context.Context, dataset string, partition int32, offset int64, term uint32) error {
	if err := ctx.Err(); err != nil {
		return fault.Wrap(fault.KindOf(err), "commit offset", err)
	}
	topic := canal.Topic(dataset)
	broker, err := f.client.Coordinator(f.group)
	if err != nil {
		return fault.Wrap(fault.Unavailable, "find coordinator of "+f.group, err)
	}
	req := &sarama.OffsetCommitRequest{ConsumerGroup: f.group, ConsumerGroupGeneration: sarama.GroupGenerationUndefined,
		Version: 2, RetentionTime: -1}
	req.AddBlock(topic, partition, offset, sarama.ReceiveTime, strconv.FormatUint(uint64(term), 10))
	res, err := broker.CommitOffset(req)
	if err != nil {
		_ = f.client.RefreshCoordinator(f.group) // it may have moved; the next commit finds out
		return fault.Wrap(fault.Unavailable, "commit offset of "+topic, err)
	}
	if code := res.Errors[topic][partition]; code != sarama.ErrNoError {
		_ = f.client.RefreshCoordinator(f.group)
		return fault.Wrap(fault.Unavailable, "commit offset of "+topic, code)
	}
	return nil
}

func (f *Feed) classify(topic string, partition int32, offset int64, err error) error {
	op := fmt.Sprintf("read topic %s partition %d at offset %d", topic, partition, offset)
	if errors.Is(err, sarama.ErrOffsetOutOfRange) {
		return fault.New(fault.Unsafe, op, "%w", err).
			WithHint("the records there are gone (retention, or a topic made anew), so changes would be skipped; load the dataset anew")
	}
	return fault.New(fault.Unavailable, op, "%w", err).WithHint("is Kafka up, and has canal made the topic?")
}

// stream is one partition.
type stream struct {
	f         *Feed
	topic     string
	dataset   string
	partition int32
	next      int64        // offset of the next record
	read      atomic.Int64 // next, for Stats
	pc        sarama.PartitionConsumer
	closed    bool
}

// Next fulfils syncer.Stream.
func (s *stream) Next(ctx context.Context, b syncer.Batch, dst []canal.Record) ([]canal.Record, error) {
	var linger <-chan time.Time // nil until the first record
	var timer *time.Timer
	bytes, n := 0, 0
	for n < b.Records && bytes < b.Bytes {
		select {
		case <-ctx.Done():
			return dst, fault.Wrap(fault.KindOf(ctx.Err()), "read topic "+s.topic, ctx.Err())
		case e, ok := <-s.pc.Errors():
			if !ok {
				return dst, s.ended()
			}
			if errors.Is(e.Err, sarama.ErrOffsetOutOfRange) || n == 0 {
				return dst, s.f.classify(s.topic, s.partition, s.next, e.Err)
			}
			return dst, nil // sarama goes on by itself; if not, the next call says so
		case m, ok := <-s.pc.Messages():
			if !ok {
				return dst, s.ended()
			}
			r, err := s.record(m)
			if err != nil {
				return dst, err
			}
			dst, n, bytes = append(dst, r), n+1, bytes+len(m.Value)
			if timer == nil {
				timer = time.NewTimer(b.Linger)
				defer timer.Stop()
				linger = timer.C
			}
		case <-linger:
			return dst, nil
		}
	}
	return dst, nil
}

// ended explains closed channels: sarama gave the partition up.
func (s *stream) ended() error {
	for e := range s.pc.Errors() {
		if errors.Is(e.Err, sarama.ErrOffsetOutOfRange) {
			return s.f.classify(s.topic, s.partition, s.next, e.Err)
		}
	}
	oldest, err := s.f.client.GetOffset(s.topic, s.partition, sarama.OffsetOldest)
	newest, err2 := s.f.client.GetOffset(s.topic, s.partition, sarama.OffsetNewest)
	if err == nil && err2 == nil && (s.next < oldest || s.next > newest) {
		return s.f.classify(s.topic, s.partition, s.next, sarama.ErrOffsetOutOfRange)
	}
	return fault.New(fault.Unavailable, "read topic "+s.topic, "the consumer of partition %d ended", s.partition)
}

func (s *stream) record(m *sarama.ConsumerMessage) (canal.Record, error) {
	if m.Offset < s.next {
		return canal.Record{}, fault.New(fault.Internal, "read topic "+s.topic, "offset %d after %d", m.Offset, s.next-1)
	}
	h, err := canal.ParseHeader(len(m.Headers), func(i int) (key, value []byte) { return m.Headers[i].Key, m.Headers[i].Value })
	if err != nil {
		return canal.Record{}, fmt.Errorf("read topic %s partition %d offset %d: %w", s.topic, s.partition, m.Offset, err)
	}
	s.next = m.Offset + 1
	s.read.Store(s.next)
	s.f.counts.records.Add(1)
	s.f.counts.bytes.Add(uint64(len(m.Key) + len(m.Value)))
	return canal.Record{Dataset: s.dataset, Partition: s.partition, Offset: m.Offset, Header: h, Key: m.Key, Value: m.Value}, nil
}

// Close fulfils syncer.Stream.
func (s *stream) Close() error {
	if s.closed {
		return nil
	}
	s.closed = true
	s.f.counts.closed(s)
	if err := s.pc.Close(); err != nil {
		return fault.Wrap(fault.Unavailable, "close topic "+s.topic, err)
	}
	return nil
}
