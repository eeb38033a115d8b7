package kafka

import (
	"context"
	"errors"
	"time"

	"github.com/IBM/sarama"

	"strata/fault"
)

// patience is how long a partition's leader is waited for, and how long a topic that was just made may be unknown to some
// brokers. An election takes a second or so.
const patience = 10 * time.Second

// patiently does f again while the leader of a partition is away or not known yet to the broker that is asked, with the
// topic's metadata asked for anew, for at most patience or DeliveryTimeout. It returns f's last error.
func (s *Sink) patiently(ctx context.Context, op, topic string, f func() error) error {
	limit, start := min(patience, s.cfg.DeliveryTimeout), s.cfg.Now()
	timer := time.NewTimer(backoff)
	defer timer.Stop()
	for {
		if ctx.Err() != nil {
			return fault.Wrap(fault.KindOf(ctx.Err()), op, ctx.Err())
		}
		err := f()
		if err == nil || !s.passes(topic, err) || s.cfg.Now().Sub(start) >= limit {
			return classify(op, err)
		}
		timer.Reset(backoff)
		select {
		case <-timer.C:
		case <-ctx.Done():
			return fault.Wrap(fault.KindOf(ctx.Err()), op, ctx.Err())
		}
		if err := s.client.RefreshMetadata(topic); err != nil && !s.passes(topic, err) {
			return classify(op, err)
		}
	}
}

// passes reports whether an answer of a broker is that of an election, or of a topic that was made a moment ago.
func (s *Sink) passes(topic string, err error) bool {
	if elects(err) {
		return true
	}
	s.mu.Lock()
	at, made := s.made[topic]
	s.mu.Unlock()
	return made && s.cfg.Now().Sub(at) < patience && errors.Is(err, sarama.ErrUnknownTopicOrPartition)
}

func elects(err error) bool {
	for _, k := range [...]sarama.KError{sarama.ErrNotLeaderForPartition, sarama.ErrLeaderNotAvailable, sarama.ErrReplicaNotAvailable,
		sarama.ErrOffsetNotAvailable, sarama.ErrFencedLeaderEpoch, sarama.ErrUnknownLeaderEpoch} {
		if errors.Is(err, k) {
			return true
		}
	}
	return false
}
