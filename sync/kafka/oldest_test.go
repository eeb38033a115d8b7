package kafka_test

import (
	"context"
	"testing"
	"time"

	"github.com/IBM/sarama"

	"strata/canal"
	"strata/fault"
	"strata/index"
)

// TestOldest reads the oldest records beside a stream of the same partition, before and after retention took some.
func TestOldest(t *testing.T) {
	b := newBroker(t)
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	d := b.topic("oldest", 20, good)
	if _, err := b.feed.Oldest(ctx, d.Name); !fault.Is(err, fault.Unsafe) || fault.HintOf(err) == "" {
		t.Errorf("a partition without a record: %v", err)
	}
	p, err := sarama.NewSyncProducerFromClient(b.client)
	b.ok(err)
	defer func() { b.ok(p.Close()) }()
	m := &sarama.ProducerMessage{Topic: canal.Topic(d.Name), Partition: 0, Value: sarama.StringEncoder("v")}
	h := canal.Header{Term: 7, Seq: 99, Number: 1, Kind: canal.KindMark}
	for _, pair := range h.Pairs() {
		m.Headers = append(m.Headers, sarama.RecordHeader{Key: pair.Key, Value: pair.Value})
	}
	_, _, err = p.SendMessage(m)
	b.ok(err)
	s, err := b.feed.Open(ctx, d, 1, 0)
	b.ok(err)
	defer func() { b.ok(s.Close()) }()
	want := func(seq uint64) {
		t.Helper()
		got, err := b.feed.Oldest(ctx, d.Name)
		if err != nil || len(got) != 2 || got[0] != index.MakeVersion(7, 99) || got[1] != index.MakeVersion(1, seq) {
			t.Errorf("%v, %v, want %d", got, err, seq)
		}
	}
	want(1)
	rs, err := s.Next(ctx, batch, nil)
	b.ok(err)
	if len(rs) == 0 || rs[0].Offset != 0 {
		t.Errorf("the stream is disturbed: %d records", len(rs))
	}
	b.ok(b.admin.DeleteRecords(canal.Topic(d.Name), map[int32]int64{1: 10}))
	want(11)
	if _, err := b.feed.Oldest(ctx, "nothing"); !fault.Is(err, fault.Unavailable) {
		t.Errorf("no topic: %v", err)
	}
	bad := b.topic("strange", 1, func(int) []canal.Pair { return nil })
	if _, err := b.feed.Oldest(ctx, bad.Name); err == nil {
		t.Error("a record without headers is taken")
	}
}
