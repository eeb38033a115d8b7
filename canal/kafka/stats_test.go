package kafka_test

import (
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"strata/canal/kafka"
)

func TestStats(t *testing.T) {
	c := memory(t)
	w := newWriter(t, kafka.Config{Brokers: c.ListenAddrs()}, "counted", 2)
	t.Run("count what is acknowledged, and what was sent again", func(t *testing.T) {
		before := w.sink.Stats()
		f := c.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.NotLeaderForPartition, Count: 2})
		for i := range 100 {
			w.ok(w.send(int32(i % 2)))
		}
		w.ok(w.p.Flush(t.Context()))
		got := w.sink.Stats()
		if f.Hits() == 0 || got.Records-before.Records != 100 || got.Batches < 2 || got.Bytes < 100*20 || got.Requests < 2 || got.Retries == 0 || got.Failures != 0 {
			t.Errorf("%+v after %d faults", got, f.Hits())
		}
		if got.InFlightRecords != 0 || got.InFlightBytes != 0 {
			t.Errorf("in flight after a flush: %+v", got)
		}
	})
	t.Run("show what is in flight until the producer is closed, which is no failure", func(t *testing.T) {
		c.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.NotEnoughReplicas, Count: 1 << 20})
		w.ok(w.send(0))
		if got := w.sink.Stats(); got.InFlightRecords != 1 || got.InFlightBytes == 0 {
			t.Errorf("%+v", got)
		}
		w.ok(w.p.Close())
		if got := w.sink.Stats(); got.InFlightRecords != 0 || got.InFlightBytes != 0 || got.Failures != 0 {
			t.Errorf("%+v", got)
		}
	})
	t.Run("count a producer that ended with an error", func(t *testing.T) {
		short := newWriter(t, kafka.Config{Brokers: c.ListenAddrs(), DeliveryTimeout: time.Millisecond}, "short", 1)
		w.ok(short.send(0)) // the broker takes nothing
		if err := short.p.Flush(t.Context()); err == nil || short.sink.Stats().Failures != 1 {
			t.Errorf("%v, %+v", err, short.sink.Stats())
		}
	})
}
