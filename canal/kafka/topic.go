package kafka

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strconv"

	"github.com/IBM/sarama"

	"strata/canal"
	"strata/catalog"
	"strata/fault"
)

// Ensure is part of canal.Sink. A topic that is there must keep all its records (cleanup.policy=delete); its
// max.message.bytes is raised to the limit of a record where it is lower, and dead letters are kept for ever. One that is made
// here has a leader for every partition, which answers, when Ensure returns.
func (s *Sink) Ensure(ctx context.Context, d *catalog.Dataset, create bool) error {
	topic := canal.Topic(d.Name)
	t, err := s.describe(ctx, topic)
	if create && fault.Is(err, fault.NotFound) {
		if err := s.create(topic, d.Partitions, canal.IsDeadLetters(d.Name)); err != nil {
			return err
		}
		for p := range d.Partitions {
			if _, _, err := s.Bounds(ctx, d.Name, p); err != nil {
				return err
			}
		}
		t, err = s.describe(ctx, topic) // another may have made it, with another count
	}
	wrong, err := s.compare(d, t, err)
	if err != nil || len(wrong) == 0 {
		return err
	}
	return s.mend(topic, wrong)
}

// Check is Ensure without making or changing anything. A setting that Ensure would mend is no error.
func (s *Sink) Check(ctx context.Context, d *catalog.Dataset) error {
	t, err := s.describe(ctx, canal.Topic(d.Name))
	_, err = s.compare(d, t, err)
	return err
}

// compare checks what describe said of the dataset's topic, and returns the settings that are to be mended.
func (s *Sink) compare(d *catalog.Dataset, t *sarama.TopicMetadata, err error) (wrong map[string]string, _ error) {
	topic := canal.Topic(d.Name)
	switch {
	case fault.Is(err, fault.NotFound):
		return nil, fault.New(fault.NotFound, "open topic", "%s is gone", topic).
			WithHint("the topic was deleted after changes had been sent to it; load the dataset anew")
	case err != nil:
		return nil, err
	case len(t.Partitions) != int(d.Partitions):
		return nil, fault.New(fault.Unsafe, "open topic", "%s has %d partitions, the dataset %d", topic, len(t.Partitions), d.Partitions).
			WithHint("the partition count decides where a key lives and can't change: delete the topic and run strata canal backfill %s, or, "+
				"where nothing was captured yet, set partitions: %d", d.Name, len(t.Partitions))
	}
	return s.settings(topic, canal.IsDeadLetters(d.Name))
}

// Identity is what tells a dataset's topic from one made anew under its name: Kafka's topic id. "" where the brokers give
// none (before 2.8). Errors: NotFound, Denied, Unavailable.
func (s *Sink) Identity(ctx context.Context, dataset string) (string, error) {
	t, err := s.describe(ctx, canal.Topic(dataset))
	if err != nil || t.Uuid == (sarama.Uuid{}) {
		return "", err
	}
	return t.Uuid.String(), nil
}

func (s *Sink) describe(ctx context.Context, topic string) (t *sarama.TopicMetadata, err error) {
	err = s.patiently(ctx, "describe topic "+topic, topic, func() error {
		topics, err := s.admin.DescribeTopics([]string{topic})
		switch {
		case err != nil:
			return err
		case len(topics) != 1:
			return sarama.ErrIncompleteResponse
		case topics[0].Err != sarama.ErrNoError:
			return topics[0].Err
		}
		t = topics[0]
		return nil
	})
	return t, err
}

// The settings of a topic that matter.
const (
	policySetting = "cleanup.policy"
	limitSetting  = "max.message.bytes"
	timeSetting   = "retention.ms"
	sizeSetting   = "retention.bytes"
	unlimited     = "-1"
)

// settings checks those of a topic that is there, and returns, as they are, those that are to be mended.
func (s *Sink) settings(topic string, forever bool) (wrong map[string]string, _ error) {
	entries, err := s.configs(topic, policySetting, limitSetting, timeSetting, sizeSetting)
	if err != nil {
		if failed := classify("read settings of topic "+topic, err); !fault.Is(failed, fault.Denied) {
			return nil, failed
		}
		s.cfg.Log.Warn("settings of a topic can't be read", "topic", topic, "err", err)
		return nil, nil
	}
	wrong = map[string]string{}
	for _, e := range entries {
		switch e.Name {
		case policySetting:
			if e.Value != "delete" {
				return nil, fault.New(fault.Unsafe, "open topic", "%s has %s=%s", topic, policySetting, e.Value).
					WithHint("compaction removes records that readers count: set %s=delete", policySetting)
			}
		case limitSetting:
			if n, err := strconv.Atoi(e.Value); err != nil || n < s.cfg.MaxMessageBytes {
				wrong[e.Name] = e.Value
			}
		case timeSetting, sizeSetting:
			if forever && e.Value != unlimited {
				wrong[e.Name] = e.Value
			}
		}
	}
	return wrong, nil
}

// mend sets a topic's limit to what the largest record needs, and lets dead letters be kept for ever.
func (s *Sink) mend(topic string, wrong map[string]string) error {
	right := map[string]string{limitSetting: strconv.Itoa(s.cfg.MaxMessageBytes), timeSetting: unlimited, sizeSetting: unlimited}
	for _, name := range slices.Sorted(maps.Keys(wrong)) {
		value := right[name]
		if err := s.admin.IncrementalAlterConfig(sarama.TopicResource, topic, map[string]sarama.IncrementalAlterConfigsEntry{
			name: {Operation: sarama.IncrementalAlterConfigsOperationSet, Value: &value}}, false); err != nil {
			hint := "set it to " + value + ": a letter that Kafka deletes is lost"
			if name == limitSetting {
				hint = "set it to " + value + " or more, or lower the limit of a record's size"
			}
			return fault.New(fault.Invalid, "open topic", "%s has %s=%s: %w", topic, name, wrong[name], err).WithHint("%s", hint)
		}
		s.cfg.Log.Info("changed a topic's setting", "topic", topic, "setting", name, "from", wrong[name], "to", value)
	}
	return nil
}

// configs are settings of a topic by their names.
func (s *Sink) configs(topic string, names ...string) ([]sarama.ConfigEntry, error) {
	results, err := s.admin.DescribeConfigs([]*sarama.ConfigResource{{Type: sarama.TopicResource, Name: topic, ConfigNames: names}}, sarama.DescribeConfigsOptions{})
	if err != nil {
		return nil, err
	}
	var out []sarama.ConfigEntry
	for _, r := range results {
		if r.ErrorCode != sarama.ErrNoError {
			return nil, r.ErrorCode
		}
		out = append(out, r.Configs...)
	}
	return out, nil
}

func (s *Sink) create(topic string, partitions int32, forever bool) error {
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
	settings := map[string]*string{policySetting: text("delete"), limitSetting: text(strconv.Itoa(s.cfg.MaxMessageBytes)),
		"min.insync.replicas": text(strconv.Itoa(int(inSync)))}
	switch {
	case forever:
		settings[timeSetting], settings[sizeSetting] = text(unlimited), text(unlimited)
	case s.cfg.Retention > 0:
		settings[timeSetting] = text(strconv.FormatInt(s.cfg.Retention.Milliseconds(), 10))
	}
	err := s.admin.CreateTopic(topic, &sarama.TopicDetail{NumPartitions: partitions, ReplicationFactor: replication, ConfigEntries: settings}, false)
	if err != nil && !errors.Is(err, sarama.ErrTopicAlreadyExists) {
		return classify("create topic "+topic, err)
	}
	s.mu.Lock()
	s.made[topic] = s.cfg.Now()
	s.mu.Unlock()
	if err == nil {
		s.cfg.Log.Info("created topic", "topic", topic, "partitions", partitions)
	}
	return nil
}
