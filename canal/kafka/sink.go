package kafka

import (
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/IBM/sarama"

	"strata/broker"
	"strata/fault"
)

const (
	defaultMaxMessage      = 9 << 20 // a value of canal's 8 MiB, its key and headers
	defaultDeliveryTimeout = 30 * time.Second
	adminLimit             = 30 * time.Second
	netLimit               = 10 * time.Second // for an answer to a small question
)

// Config is what a Sink needs.
type Config struct {
	Brokers []string
	// ClientID names this client to the brokers. "": strata-canal.
	ClientID string
	// Security is TLS and SASL. The zero value: plain TCP without a login.
	Security broker.Security
	// Replication of topics that are made here. 0: 1 where there are fewer than three brokers, else 3.
	Replication int16
	// MinInSync is min.insync.replicas of topics that are made here. 0: one less than Replication, at least 1.
	MinInSync int16
	// Retention of topics that are made here: it bounds how far a reader may fall behind. 0: the brokers' own.
	Retention time.Duration
	// MaxMessageBytes of a record, key and headers included; topics are made to allow it. 0: 9 MiB.
	MaxMessageBytes int
	// Compression of batches. "": None.
	Compression Compression
	// DeliveryTimeout is how long one batch is sent again before the producer gives up; longer than a broker's restart.
	// 0: 30 s.
	DeliveryTimeout time.Duration
	// Now is the clock of records' timestamps and of DeliveryTimeout. nil: time.Now.
	Now func() time.Time
	Log *slog.Logger
}

// Sink is the topics of all datasets in one Kafka.
type Sink struct {
	cfg       Config
	codec     codec
	maxBatch  int
	dialer    *broker.Dialer
	producing *sarama.Config // of the producers' connections
	client    sarama.Client
	admin     sarama.ClusterAdmin
	counts    counts

	mu   sync.Mutex
	made map[string]time.Time // topics that were made here, and when

	close sync.Once
}

// Open connects. Errors: Invalid, Unavailable, Denied.
func Open(cfg Config) (*Sink, error) {
	c, err := codecOf(cfg.Compression)
	if len(cfg.Brokers) == 0 || cfg.Log == nil {
		err = errors.Join(err, fault.New(fault.Invalid, "configure kafka", "Brokers or Log is missing"))
	}
	if cfg.MaxMessageBytes <= 0 {
		cfg.MaxMessageBytes = defaultMaxMessage
	}
	if cfg.DeliveryTimeout <= 0 {
		cfg.DeliveryTimeout = defaultDeliveryTimeout
	}
	if cfg.ClientID == "" {
		cfg.ClientID = "strata-canal"
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	s := &Sink{cfg: cfg, codec: c, maxBatch: min(maxBatch, cfg.MaxMessageBytes), producing: sarama.NewConfig(), made: make(map[string]time.Time)}
	dialer, secErr := cfg.Security.Apply(s.producing, cfg.Brokers)
	if err := errors.Join(err, secErr); err != nil {
		return nil, fault.Wrap(fault.Invalid, "configure kafka", err)
	}
	s.dialer = dialer
	s.configure(s.producing)
	reading := *s.producing
	client, err := sarama.NewClient(cfg.Brokers, &reading)
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

// configure sets what all connections share.
func (s *Sink) configure(c *sarama.Config) {
	c.Version = sarama.V2_8_0_0
	c.ClientID = s.cfg.ClientID
	c.ChannelBufferSize = 1024
	c.Net.DialTimeout, c.Net.ReadTimeout, c.Net.WriteTimeout = netLimit, netLimit, netLimit
	c.Admin.Timeout = adminLimit
	c.Metadata.AllowAutoTopicCreation = false
	c.Consumer.Return.Errors = true
	c.Consumer.Retry.Backoff = backoff
	c.Consumer.MaxWaitTime = 10 * time.Millisecond // what is read is there; a long wait would only delay the end
	c.Consumer.Fetch.Default = 4 << 20             // grows for a larger record, up to sarama.MaxResponseSize
}

// Close ends the connection.
func (s *Sink) Close() error {
	var err error
	s.close.Do(func() { err = s.admin.Close() }) // closes the client too
	return fault.Wrap(fault.Unavailable, "close kafka", err)
}

// classify gives an error of sarama its kind.
func classify(op string, err error) error {
	if err == nil {
		return nil
	}
	var k sarama.KError
	if errors.Is(err, sarama.ErrSASLAuthenticationFailed) {
		k = sarama.ErrSASLAuthenticationFailed // As doesn't see it where the broker added a text
	} else if !errors.As(err, &k) {
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
		return fault.New(fault.Denied, op, "%w", err).WithHint("the login must be right, and needs Create, Describe, DescribeConfigs, AlterConfigs, Read and Write on topics strata.*, and IdempotentWrite on brokers before 2.8")
	case sarama.ErrUnknownTopicOrPartition:
		return fault.Wrap(fault.NotFound, op, err)
	case sarama.ErrInvalidReplicationFactor, sarama.ErrPolicyViolation, sarama.ErrInvalidTopic, sarama.ErrInvalidPartitions:
		return fault.Wrap(fault.Invalid, op, err)
	default:
		return fault.Wrap(fault.Unavailable, op, err)
	}
}
