package kafka_test

import (
	"fmt"
	"log/slog"
	"math/rand/v2"
	"testing"

	"github.com/IBM/sarama"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"strata/canal"
	"strata/canal/canaltest"
	"strata/canal/kafka"
	"strata/local/localtest"
)

func open(tb testing.TB, cfg kafka.Config) *kafka.Sink {
	tb.Helper()
	cfg.Log = slog.New(slog.DiscardHandler)
	s, err := kafka.Open(cfg)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := s.Close(); err != nil {
			tb.Error(err)
		}
	})
	return s
}

func TestSink_conforms(t *testing.T) {
	canaltest.SinkSuite(t, open(t, kafka.Config{Brokers: localtest.Kafka(t).Brokers()}))
}

func TestPartition_is_the_Java_clients(t *testing.T) {
	part := sarama.NewMurmur2Partitioner("x")
	for n := range 2000 {
		key := make([]byte, n%40+1)
		for i := range key {
			key[i] = byte(rand.Uint32())
		}
		want, err := part.Partition(&sarama.ProducerMessage{Key: sarama.ByteEncoder(key)}, 7)
		if got := canal.PartitionOf(key, 7); err != nil || got != want {
			t.Fatalf("key %x: %d, sarama has %d, %v", key, got, want, err)
		}
	}
	if got := canal.PartitionOf([]byte("21"), 1<<30); got != int32(uint32(0x100000000-973932308)&0x7fffffff)%(1<<30) {
		t.Fatal(got) // the first case of Kafka's own UtilsTest
	}
}

func TestProducer_keeps_order_through_broker_errors(t *testing.T) {
	k := localtest.Kafka(t)
	s := open(t, kafka.Config{Brokers: k.Brokers()})
	d := canaltest.Dataset("order", 2)
	if err := s.Ensure(t.Context(), d, true); err != nil {
		t.Fatal(err)
	}
	p, err := s.Producer(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = p.Close() }()
	var faults []*kfake.FaultHandle
	number := [2]uint64{}
	for i := range 5000 {
		at := int32(i % 2)
		number[at]++
		h := canal.Header{Term: 1, Seq: uint64(i + 1), Kind: canal.KindMark, Number: number[at]}
		if err := p.Send(t.Context(), []canal.Record{{Dataset: "order", Partition: at, Value: []byte(fmt.Sprint(i)), Header: h}}); err != nil {
			t.Fatal(err)
		}
		if i%1000 == 500 {
			faults = append(faults, k.Cluster().Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.NotLeaderForPartition, Count: 3}))
		}
	}
	if err := p.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, f := range faults {
		if f.Hits() == 0 {
			t.Error("a fault was not met")
		}
	}
	if _, err := canaltest.Replay(t.Context(), s, d); err != nil {
		t.Fatal(err)
	}
}
