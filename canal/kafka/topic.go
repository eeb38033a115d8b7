package kafka

import (
	"context"
	"errors"
	"strconv"

	"github.com/IBM/sarama"

	"strata/canal"
	"strata/catalog"
	"strata/fault"
)

// Ensure is part of canal.Sink. A topic that is there must keep all its records (cleanup.policy=delete); its
// max.message.bytes is raised to the limit of a record where it is lower.
func (s *Sink) Ensure(_ context.Context, d *catalog.Dataset, create bool) error {
	topic := canal.Topic(d.Name)
	t, err := s.describe(topic)
	if err != nil {
		return err
	}
	switch {
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
	return s.settings(topic)
}

// Identity is what tells a dataset's topic from one made anew under its name: Kafka's topic id. "" where the brokers give
// none (before 2.8). Errors: NotFound, Denied, Unavailable.
func (s *Sink) Identity(_ context.Context, dataset string) (string, error) {
	topic := canal.Topic(dataset)
	t, err := s.describe(topic)
	if err == nil && t.Err != sarama.ErrNoError {
		err = classify("describe topic "+topic, t.Err)
	}
	if err != nil || t.Uuid == (sarama.Uuid{}) {
		return "", err
	}
	return t.Uuid.String(), nil
}

func (s *Sink) describe(topic string) (*sarama.TopicMetadata, error) {
	topics, err := s.admin.DescribeTopics([]string{topic})
	if err != nil {
		return nil, classify("describe topic "+topic, err)
	}
	if len(topics) != 1 {
		return nil, fault.New(fault.Internal, "describe topic "+topic, "%d answers", len(topics))
	}
	return topics[0], nil
}

// settings checks those of a topic that is there.
func (s *Sink) settings(topic string) error {
	const policy, size = "cleanup.policy", "max.message.bytes"
	entries, err := s.admin.DescribeConfig(sarama.ConfigResource{Type: sarama.TopicResource, Name: topic, ConfigNames: []string{policy, size}})
	if err != nil {
		if failed := classify("read settings of topic "+topic, err); !fault.Is(failed, fault.Denied) {
			return failed
		}
		s.cfg.Log.Warn("settings of a topic can't be read", "topic", topic, "err", err)
		return nil
	}
	for _, e := range entries {
		switch e.Name {
		case policy:
			if e.Value != "delete" {
				return fault.New(fault.Unsafe, "open topic", "%s has %s=%s", topic, policy, e.Value).
					WithHint("compaction removes records that readers count: set %s=delete", policy)
			}
		case size:
			if n, err := strconv.Atoi(e.Value); err == nil && n >= s.cfg.MaxMessageBytes {
				continue
			}
			value := strconv.Itoa(s.cfg.MaxMessageBytes)
			if err := s.admin.IncrementalAlterConfig(sarama.TopicResource, topic, map[string]sarama.IncrementalAlterConfigsEntry{
				size: {Operation: sarama.IncrementalAlterConfigsOperationSet, Value: &value}}, false); err != nil {
				return fault.New(fault.Invalid, "open topic", "%s has %s=%s: %w", topic, size, e.Value, err).
					WithHint("set it to %s or more, or lower the limit of a record's size", value)
			}
			s.cfg.Log.Info("raised a topic's limit", "topic", topic, "bytes", value)
		}
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
	inSync := s.cfg.MinInSync
	if inSync <= 0 {
		inSync = max(1, replication-1)
	}
	text := func(v string) *string { return &v }
	settings := map[string]*string{"cleanup.policy": text("delete"), "max.message.bytes": text(strconv.Itoa(s.cfg.MaxMessageBytes)),
		"min.insync.replicas": text(strconv.Itoa(int(inSync)))}
	if s.cfg.Retention > 0 {
		settings["retention.ms"] = text(strconv.FormatInt(s.cfg.Retention.Milliseconds(), 10))
	}
	err := s.admin.CreateTopic(topic, &sarama.TopicDetail{NumPartitions: partitions, ReplicationFactor: replication, ConfigEntries: settings}, false)
	if err != nil && !errors.Is(err, sarama.ErrTopicAlreadyExists) {
		return classify("create topic "+topic, err)
	}
	s.cfg.Log.Info("created topic", "topic", topic, "partitions", partitions)
	return classify("refresh topic "+topic, s.client.RefreshMetadata(topic))
}
