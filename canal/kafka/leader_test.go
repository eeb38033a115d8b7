package kafka_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/IBM/sarama"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"strata/canal"
	"strata/canal/canaltest"
	"strata/canal/kafka"
	"strata/fault"
)

// elections are what brokers answer while a partition has no leader that they know.
func elections() map[string]*kerr.Error {
	return map[string]*kerr.Error{"not the leader": kerr.NotLeaderForPartition, "no leader": kerr.LeaderNotAvailable, "unknown": kerr.UnknownTopicOrPartition}
}

func TestEnsure_waits_for_the_leaders_of_a_topic_that_it_makes(t *testing.T) {
	for name, answer := range elections() {
		t.Run(name, func(t *testing.T) {
			c := memory(t)
			s := open(t, kafka.Config{Brokers: c.ListenAddrs()})
			h := c.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.ListOffsets}, Partitions: []int32{2}, Err: answer, Count: 5})
			if err := s.Ensure(t.Context(), canaltest.Dataset("made", 3), true); err != nil {
				t.Fatal(err)
			}
			if h.Hits() != 5 {
				t.Fatalf("Ensure came back after %d of 5 answers without a leader", h.Hits())
			}
		})
	}
	t.Run("Unavailable without one in time", func(t *testing.T) {
		c := memory(t)
		s := open(t, kafka.Config{Brokers: c.ListenAddrs(), DeliveryTimeout: time.Millisecond})
		c.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.ListOffsets}, Err: kerr.NotLeaderForPartition, Count: -1})
		if err := s.Ensure(t.Context(), canaltest.Dataset("made", 1), true); !fault.Is(err, fault.Unavailable) || !errors.Is(err, sarama.ErrNotLeaderForPartition) {
			t.Fatal(err)
		}
	})
	t.Run("Interrupted by its context", func(t *testing.T) {
		c := memory(t)
		start := time.Now()
		s := open(t, kafka.Config{Brokers: c.ListenAddrs(), Now: func() time.Time { return start }}) // its limit never comes
		ctx, cancel := context.WithCancel(t.Context())
		h := c.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.ListOffsets}, Err: kerr.NotLeaderForPartition, Count: -1})
		go func() {
			_ = h.Wait(ctx, 3) // the end of ctx ends the test
			cancel()
		}()
		if err := s.Ensure(ctx, canaltest.Dataset("made", 1), true); !fault.Is(err, fault.Interrupted) {
			t.Fatal(err)
		}
	})
	t.Run("Unsafe where another has made it meanwhile with another count", func(t *testing.T) {
		c := memory(t)
		s := open(t, kafka.Config{Brokers: c.ListenAddrs()})
		c.ControlKey(int16(kmsg.CreateTopics), func(kmsg.Request) (kmsg.Response, error, bool) {
			c.SleepControl(func() { _ = c.CreateTopic(canal.Topic("made"), 5, nil) }) // without it the test fails
			return nil, nil, false
		})
		if err := s.Ensure(t.Context(), canaltest.Dataset("made", 3), true); !fault.Is(err, fault.Unsafe) {
			t.Fatal(err)
		}
	})
}

func TestBounds_and_Read_wait_for_a_leader(t *testing.T) {
	for name, answer := range elections() {
		t.Run(name, func(t *testing.T) {
			c := memory(t)
			w := newWriter(t, kafka.Config{Brokers: c.ListenAddrs()}, "led", 1)
			for range 3 {
				w.ok(w.send(0))
			}
			w.ok(w.p.Flush(t.Context()))
			h := c.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.ListOffsets}, Err: answer, Count: 5})
			first, next, err := w.sink.Bounds(t.Context(), "led", 0)
			if err != nil || first != 0 || next != 3 || h.Hits() != 5 {
				t.Fatalf("%d to %d, %v after %d answers", first, next, err, h.Hits())
			}
			for _, key := range []kmsg.Key{kmsg.ListOffsets, kmsg.Fetch} {
				h := c.Fault(kfake.Fault{Keys: []kmsg.Key{key}, Err: answer, Count: 5})
				n := 0
				if err := w.sink.Read(t.Context(), "led", 0, 0, 3, func(*canal.Record) error { n++; return nil }); err != nil || n != 3 || h.Hits() != 5 {
					t.Fatalf("%s: %d records, %v after %d answers", key.Name(), n, err, h.Hits())
				}
			}
		})
	}
	t.Run("a topic that was deleted is not waited for", func(t *testing.T) {
		c := memory(t)
		s := open(t, kafka.Config{Brokers: c.ListenAddrs()})
		if err := c.CreateTopic(canal.Topic("theirs"), 1, nil); err != nil {
			t.Fatal(err)
		}
		if err := s.Ensure(t.Context(), canaltest.Dataset("theirs", 1), true); err != nil {
			t.Fatal(err)
		}
		if err := c.DeleteTopic(canal.Topic("theirs")); err != nil {
			t.Fatal(err)
		}
		if _, _, err := s.Bounds(t.Context(), "theirs", 0); !fault.Is(err, fault.NotFound) {
			t.Fatal(err)
		}
	})
}
