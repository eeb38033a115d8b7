package kafka

import (
	"context"
	"errors"
	"log/slog"
	"strconv"
	"sync"
	"time"

	"github.com/IBM/sarama"

	"strata/canal"
	"strata/catalog"
	"strata/fault"
)

const (
	defaultMaxMessage = 9 << 20 // a value of canal's 8 MiB, its key and headers
	adminLimit        = 30 * time.Second
	readLimit         = 30 * time.Second // without a record that must be there
)

// Config is what a Sink needs.
type Config struct {
	Brokers []string
	// ClientID names this client to the brokers.
	ClientID string
	// Replication of topics that are made here. 0: 1 where there are fewer than three brokers, else 3.
	Replication int16
	// MaxMessageBytes of a record, key and headers included; topics made here allow it. 0: 9 MiB.
	MaxMessageBytes int
	// Tune may change the client's configuration: TLS, SASL. nil: nothing. What the order of records rests on is set
	// after it.
	Tune func(*sarama.Config)
	Log  *slog.Logger
}

// Sink is the topics of all datasets in one Kafka.
type Sink struct {
	cfg    Config
	client sarama.Client
	admin  sarama.ClusterAdmin

	close sync.Once
}

// Open connects. Errors: Invalid, Unavailable.
func Open(cfg Config) (*Sink, error) {
	if len(cfg.Brokers) == 0 || cfg.Log == nil {
		return nil, fault.New(fault.Invalid, "configure kafka", "Brokers or Log is missing")
	}
	if cfg.MaxMessageBytes <= 0 {
		cfg.MaxMessageBytes = defaultMaxMessage
	}
	if cfg.ClientID == "" {
		cfg.ClientID = "strata-canal"
	}
	s := &Sink{cfg: cfg}
	client, err := sarama.NewClient(cfg.Brokers, s.config())
	if err != nil {
		return nil, classify("connect to kafka", err)
	}
	admin, err := sarama.NewClusterAdminFromClient(client)
	if err != nil {
		return nil, errors.Join(classify("connect to kafka", err), client.Close())
	}
	s.client, s.admin = client, admin
	return s, nil
}

// config is the client's and the producers' configuration.
func (s *Sink) config() *sarama.Config {
	c := sarama.NewConfig()
	c.Version = sarama.V2_8_0_0
	if s.cfg.Tune != nil {
		s.cfg.Tune(c)
	}
	c.ClientID = s.cfg.ClientID
	c.ChannelBufferSize = 1024
	c.Admin.Timeout = adminLimit
	c.Metadata.AllowAutoTopicCreation = false
	c.Net.MaxOpenRequests = 1
	c.Producer.Idempotent = true
	c.Producer.RequiredAcks = sarama.WaitForAll
	c.Producer.Retry.Max = 300
	c.Producer.Retry.Backoff = 200 * time.Millisecond
	c.Producer.Partitioner = sarama.NewManualPartitioner
	c.Producer.MaxMessageBytes = s.cfg.MaxMessageBytes
	c.Producer.Return.Successes, c.Producer.Return.Errors = true, true
	c.Consumer.Return.Errors = true
	c.Consumer.MaxWaitTime = 10 * time.Millisecond // what is read is there; a long wait would only delay the end
	c.Consumer.Fetch.Default = 4 << 20
	c.Consumer.Fetch.Max = int32(s.cfg.MaxMessageBytes + 1<<20)
	return c
}

// Close ends the connection.
func (s *Sink) Close() error {
	var err error
	s.close.Do(func() { err = s.admin.Close() }) // closes the client too
	return fault.Wrap(fault.Unavailable, "close kafka", err)
}

// Ensure is part of canal.Sink.
func (s *Sink) Ensure(_ context.Context, d *catalog.Dataset, create bool) error {
	topic := canal.Topic(d.Name)
	topics, err := s.admin.DescribeTopics([]string{topic})
	if err != nil {
		return classify("describe topic "+topic, err)
	}
	if len(topics) != 1 {
		return fault.New(fault.Internal, "describe topic "+topic, "%d answers", len(topics))
	}
	switch t := topics[0]; {
	case t.Err == sarama.ErrUnknownTopicOrPartition && !create:
		return fault.New(fault.NotFound, "open topic", "%s is gone", topic).
			WithHint("the topic was deleted after changes had been sent to it; load the dataset anew")
	case t.Err == sarama.ErrUnknownTopicOrPartition:
		return s.create(topic, d.Partitions)
	case t.Err != sarama.ErrNoError:
		return classify("describe topic "+topic, t.Err)
	case len(t.Partitions) != int(d.Partitions):
		return fault.New(fault.Unsafe, "open topic", "%s has %d partitions, the dataset %d", topic, len(t.Partitions), d.Partitions).
			WithHint("the partition count decides where a key lives and can't change: set partitions: %d, or load into a new topic", len(t.Partitions))
	}
	return nil
}

func (s *Sink) create(topic string, partitions int32) error {
	replication := s.cfg.Replication
	if replication <= 0 {
		if replication = 1; len(s.client.Brokers()) >= 3 {
			replication = 3
		}
	}
	text := func(v string) *string { return &v }
	err := s.admin.CreateTopic(topic, &sarama.TopicDetail{NumPartitions: partitions, ReplicationFactor: replication, ConfigEntries: map[string]*string{
		"cleanup.policy": text("delete"), "max.message.bytes": text(strconv.Itoa(s.cfg.MaxMessageBytes)), "min.insync.replicas": text(strconv.Itoa(max(1, int(replication)-1))),
	}}, false)
	if err != nil && !errors.Is(err, sarama.ErrTopicAlreadyExists) {
		return classify("create topic "+topic, err)
	}
	s.cfg.Log.Info("created topic", "topic", topic, "partitions", partitions)
	return classify("refresh topic "+topic, s.client.RefreshMetadata(topic))
}

// Bounds is part of canal.Sink.
func (s *Sink) Bounds(_ context.Context, dataset string, partition int32) (first, next int64, err error) {
	topic := canal.Topic(dataset)
	if first, err = s.client.GetOffset(topic, partition, sarama.OffsetOldest); err == nil {
		next, err = s.client.GetOffset(topic, partition, sarama.OffsetNewest)
	}
	return first, next, classify("read bounds of "+topic, err)
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
	part, err := consumer.ConsumePartition(topic, partition, from)
	if err != nil {
		return classify(op, err)
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
			if e != nil {
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

// classify gives an error of sarama its kind.
func classify(op string, err error) error {
	if err == nil {
		return nil
	}
	var k sarama.KError
	if !errors.As(err, &k) {
		var config sarama.ConfigurationError
		if errors.As(err, &config) {
			return fault.Wrap(fault.Invalid, op, err)
		}
		return fault.Wrap(fault.Unavailable, op, err)
	}
	switch k {
	case sarama.ErrMessageSizeTooLarge:
		return fault.New(fault.TooLarge, op, "%w", err).WithHint("raise max.message.bytes of the topic to canal's limit")
	case sarama.ErrOffsetOutOfRange:
		return fault.New(fault.Unsafe, op, "%w", err).WithHint("retention has removed records that were needed; load the dataset anew and keep them longer")
	case sarama.ErrTopicAuthorizationFailed, sarama.ErrClusterAuthorizationFailed, sarama.ErrSASLAuthenticationFailed:
		return fault.New(fault.Denied, op, "%w", err).WithHint("the login needs Read, Write, Describe and Create on topics strata.*")
	case sarama.ErrUnknownTopicOrPartition:
		return fault.Wrap(fault.NotFound, op, err)
	case sarama.ErrInvalidReplicationFactor, sarama.ErrPolicyViolation, sarama.ErrInvalidTopic, sarama.ErrInvalidPartitions:
		return fault.Wrap(fault.Invalid, op, err)
	default:
		return fault.Wrap(fault.Unavailable, op, err)
	}
}
