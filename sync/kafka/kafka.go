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

const (
	// mostFetch is the size of a partition's fetch: some thousands of records, so that a backlog is read at full speed.
	mostFetch = 1 << 20
	// leastFetch and allFetches bound it where there are many partitions: sarama has up to two fetches of each in memory, and
	// what is fetched may be compressed to an eighth, and its records have as much again around them.
	leastFetch = 64 << 10
	allFetches = 4 << 20
	// ahead is how many records of each partition are handed over before they are asked for.
	ahead = 64
)

// Config of a Feed.
type Config struct {
	Brokers []string
	// Index names the index that is written, for the consumer group strata-sync-<Index>.
	Index string
	// ClientID in the brokers' logs. "": strata-sync.
	ClientID string
	// Partitions is how many are read at once, over all datasets: it bounds a fetch. 0: one.
	Partitions int
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
	sc.Consumer.Fetch.Default = int32(min(max(allFetches/max(cfg.Partitions, 1), leastFetch), mostFetch))
	sc.ChannelBufferSize = ahead
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
	if err := ctx.Err(); err != nil {
		return 0, 0, fault.Wrap(fault.KindOf(err), "open topic "+topic, err)
	}
	parts, err := f.client.Partitions(topic)
	if err == nil && len(parts) != int(d.Partitions) { // it may have been made anew
		if err = f.client.RefreshMetadata(topic); err == nil {
			parts, err = f.client.Partitions(topic)
		}
	}
	if err != nil {
		return 0, 0, f.classify(topic, partition, 0, err)
	}
	if len(parts) != int(d.Partitions) {
		return 0, 0, fault.New(fault.Unsafe, "open topic "+topic, "it has %d partitions, the dataset %d", len(parts), d.Partitions).
			WithHint("the number of partitions is fixed for a topic's life: more of them break the order per key")
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

// Open fulfils syncer.Feed.
func (f *Feed) Open(ctx context.Context, d *catalog.Dataset, partition int32, offset int64) (syncer.Stream, error) {
	topic := canal.Topic(d.Name)
	if err := ctx.Err(); err != nil {
		return nil, fault.Wrap(fault.KindOf(err), "open topic "+topic, err)
	}
	s := &stream{f: f, topic: topic, dataset: d.Name, partition: partition, next: offset}
	var busy sarama.ConfigurationError
	var err error
	s.pc, err = f.consumer.ConsumePartition(topic, partition, offset)
	if errors.As(err, &busy) { // it is being consumed: two generations of an index are fed from one topic
		if s.own, err = sarama.NewConsumerFromClient(f.client); err == nil {
			s.pc, err = s.own.ConsumePartition(topic, partition, offset)
		}
	}
	if err != nil {
		if s.own != nil {
			err = errors.Join(err, s.own.Close())
		}
		return nil, f.classify(topic, partition, offset, err)
	}
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
		return fault.New(fault.Stale, op, "%w", err).WithHint("the records there are gone: retention, or a topic made anew")
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
	first     *sarama.ConsumerMessage // taken by Wait
	own       sarama.Consumer         // of this stream alone; nil: the feed's
	closed    bool
}

// Wait fulfils syncer.Stream.
func (s *stream) Wait(ctx context.Context) (err error) {
	if s.first == nil {
		s.first, err = s.message(ctx, nil)
	}
	return err
}

// Behind fulfils syncer.Stream, by the last fetch.
func (s *stream) Behind() int64 { return max(s.pc.HighWaterMarkOffset()-s.next, 0) }

// message takes the next message; nil when linger ends.
func (s *stream) message(ctx context.Context, linger <-chan time.Time) (*sarama.ConsumerMessage, error) {
	select {
	case <-ctx.Done():
		return nil, fault.Wrap(fault.KindOf(ctx.Err()), "read topic "+s.topic, ctx.Err())
	case e, ok := <-s.pc.Errors():
		if !ok {
			return nil, s.ended()
		}
		return nil, s.f.classify(s.topic, s.partition, s.next, e.Err)
	case m, ok := <-s.pc.Messages():
		if !ok {
			return nil, s.ended()
		}
		return m, nil
	case <-linger:
		return nil, nil
	}
}

// Next fulfils syncer.Stream.
func (s *stream) Next(ctx context.Context, b syncer.Batch, dst []canal.Record) ([]canal.Record, error) {
	if err := s.Wait(ctx); err != nil {
		return dst, err
	}
	timer := time.NewTimer(b.Linger)
	defer timer.Stop()
	m := s.first
	s.first = nil
	for bytes, n := 0, 0; m != nil; {
		r, err := s.record(m)
		if err != nil {
			return dst, err
		}
		dst = append(dst, r)
		if n, bytes = n+1, bytes+len(m.Value); n >= b.Records || bytes >= b.Bytes {
			break
		}
		if m, err = s.message(ctx, timer.C); err != nil && !fault.Is(err, fault.Unavailable) {
			return dst, err // Unavailable: sarama goes on by itself; if not, the next call says so
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
	err := s.pc.Close()
	if s.own != nil {
		err = errors.Join(err, s.own.Close())
	}
	return fault.Wrap(fault.Unavailable, "close topic "+s.topic, err)
}
