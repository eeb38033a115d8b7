package kafka_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/IBM/sarama"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"strata/canal"
	"strata/canal/canaltest"
	"strata/canal/kafka"
	"strata/catalog"
	"strata/fault"
)

func TestProducer_gives_up(t *testing.T) {
	t.Run("Unavailable when a batch is not written in time", func(t *testing.T) {
		c := memory(t)
		w := newWriter(t, kafka.Config{Brokers: c.ListenAddrs(), DeliveryTimeout: time.Millisecond}, "late", 1)
		c.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.NotEnoughReplicas, Count: -1})
		w.ok(w.send(0))
		if err := w.fails(fault.Unavailable); !errors.Is(err, sarama.ErrNotEnoughReplicas) {
			t.Fatal(err)
		}
	})
	t.Run("TooLarge before it is sent", func(t *testing.T) {
		w := newWriter(t, kafka.Config{Brokers: memory(t).ListenAddrs(), MaxMessageBytes: 10000}, "large", 1)
		r := w.record(0)
		r.Key, r.Value = make([]byte, 1234), make([]byte, 9000)
		if err := w.p.Send(t.Context(), []canal.Record{r}); !fault.Is(err, fault.TooLarge) {
			t.Fatal(err)
		}
		if err := w.fails(fault.TooLarge); !strings.Contains(err.Error(), "of large with a key of 1234 bytes") {
			t.Fatal(err)
		}
	})
	t.Run("TooLarge when the topic takes less", func(t *testing.T) {
		c := memory(t)
		w := newWriter(t, kafka.Config{Brokers: c.ListenAddrs()}, "small", 1)
		c.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.MessageTooLarge})
		w.ok(w.send(0))
		if err := w.fails(fault.TooLarge); !strings.Contains(fault.HintOf(err), "max.message.bytes of topic strata.small") {
			t.Fatal(fault.HintOf(err))
		}
	})
	t.Run("NotFound for a topic that was deleted", func(t *testing.T) {
		c := memory(t)
		start := time.Now()
		fast := func() time.Time { return start.Add(20 * time.Since(start)) }
		w := newWriter(t, kafka.Config{Brokers: c.ListenAddrs(), DeliveryTimeout: time.Hour, Now: fast}, "deleted", 1)
		w.ok(w.send(0))
		w.ok(w.p.Flush(t.Context()))
		w.ok(c.DeleteTopic(canal.Topic("deleted")))
		w.ok(w.send(0))
		if err := w.p.Flush(t.Context()); !fault.Is(err, fault.NotFound) || fault.HintOf(err) == "" {
			t.Fatal(err)
		}
	})
	t.Run("Unsafe for a topic made anew", func(t *testing.T) {
		c := memory(t)
		w := newWriter(t, kafka.Config{Brokers: c.ListenAddrs()}, "anew", 1)
		before, err := w.sink.Identity(t.Context(), "anew")
		w.ok(err)
		w.ok(w.send(0))
		w.ok(w.p.Flush(t.Context()))
		w.ok(c.DeleteTopic(canal.Topic("anew")))
		w.ok(c.CreateTopic(canal.Topic("anew"), 1, nil))
		c.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.NotLeaderForPartition})
		w.ok(w.send(0))
		w.fails(fault.Unsafe)
		if after, err := w.sink.Identity(t.Context(), "anew"); err != nil || after == before || before == "" {
			t.Fatalf("identity %q, then %q, %v", before, after, err)
		}
	})
	t.Run("Unsafe when the log has gone back", func(t *testing.T) {
		c := memory(t)
		w := newWriter(t, kafka.Config{Brokers: c.ListenAddrs()}, "back", 1)
		for range 3 {
			w.ok(w.send(0))
			w.ok(w.p.Flush(t.Context()))
		}
		c.ControlKey(int16(kmsg.Produce), func(r kmsg.Request) (kmsg.Response, error, bool) {
			req := r.(*kmsg.ProduceRequest)
			res := req.ResponseKind().(*kmsg.ProduceResponse)
			res.Topics = []kmsg.ProduceResponseTopic{{Topic: req.Topics[0].Topic, Partitions: []kmsg.ProduceResponseTopicPartition{{BaseOffset: 1}}}}
			return res, nil, true
		})
		w.ok(w.send(0))
		w.fails(fault.Unsafe)
	})
}

func TestEnsure_sees_to_the_topics_settings(t *testing.T) {
	c := memory(t)
	s := open(t, kafka.Config{Brokers: c.ListenAddrs(), MaxMessageBytes: 5 << 20})
	topic := func(name string, settings map[string]string) *catalog.Dataset {
		if err := c.CreateTopic(canal.Topic(name), 1, settings); err != nil {
			t.Fatal(err)
		}
		return canaltest.Dataset(name, 1)
	}
	if err := s.Ensure(t.Context(), topic("compacted", map[string]string{"cleanup.policy": "compact"}), true); !fault.Is(err, fault.Unsafe) {
		t.Fatalf("a compacted topic: %v", err)
	}
	narrow := topic("narrow", map[string]string{"max.message.bytes": "1000"})
	if err := s.Check(t.Context(), narrow); err != nil {
		t.Fatal(err)
	}
	if got := c.TopicInfo(canal.Topic("narrow")).Configs["max.message.bytes"]; got == nil || *got != "1000" {
		t.Fatalf("Check has changed max.message.bytes to %v", got)
	}
	if err := s.Ensure(t.Context(), narrow, true); err != nil {
		t.Fatal(err)
	}
	if got := c.TopicInfo(canal.Topic("narrow")).Configs["max.message.bytes"]; got == nil || *got != fmt.Sprint(5<<20) {
		t.Fatalf("max.message.bytes %v", got)
	}
	for _, name := range []string{canal.DeadLetters("entry"), canal.Boundaries} {
		if err := s.Ensure(t.Context(), canaltest.Dataset(name, 1), true); err != nil {
			t.Fatal(err)
		}
	}
}

// TestL3_dead_letters_are_kept_for_ever: in topics that are made, and in those that were made otherwise.
func TestL3_dead_letters_are_kept_for_ever(t *testing.T) {
	c := memory(t)
	s := open(t, kafka.Config{Brokers: c.ListenAddrs(), Retention: time.Hour})
	if err := c.CreateTopic(canal.Topic(canal.DeadLetters("old")), 1, map[string]string{"retention.ms": "60000", "retention.bytes": "1000"}); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"old", "new"} {
		if err := s.Ensure(t.Context(), canaltest.Dataset(canal.DeadLetters(name), 1), true); err != nil {
			t.Fatal(err)
		}
		for _, setting := range []string{"retention.ms", "retention.bytes"} {
			if got := c.TopicInfo(canal.Topic(canal.DeadLetters(name))).Configs[setting]; got == nil || *got != "-1" {
				t.Errorf("%s of the letters of %s is %v", setting, name, got)
			}
		}
	}
	if err := s.Ensure(t.Context(), canaltest.Dataset("entry", 1), true); err != nil {
		t.Fatal(err)
	}
	if got := c.TopicInfo(canal.Topic("entry")).Configs["retention.ms"]; got == nil || *got != "3600000" {
		t.Errorf("retention.ms of a dataset's topic is %v", got)
	}
}
