package kafka_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/IBM/sarama"

	"strata/canal"
	"strata/catalog"
	"strata/fault"
	"strata/local/localtest"
	syncer "strata/sync"
	"strata/sync/kafka"
)

// batch is small, so that records take several.
var batch = syncer.Batch{Records: 7, Bytes: 1 << 20, Linger: 5 * time.Millisecond}

// broker is a Kafka with topics of two partitions.
type broker struct {
	t      *testing.T
	addrs  []string
	client sarama.Client
	admin  sarama.ClusterAdmin
	feed   *kafka.Feed
}

func newBroker(t *testing.T) *broker {
	t.Helper()
	b := &broker{t: t, addrs: localtest.Kafka(t).Brokers()}
	cfg := sarama.NewConfig()
	cfg.Producer.Return.Successes = true
	cfg.Producer.Partitioner = sarama.NewManualPartitioner
	var err error
	b.client, err = sarama.NewClient(b.addrs, cfg)
	b.ok(err)
	t.Cleanup(func() { _ = b.client.Close() })
	b.admin, err = sarama.NewClusterAdminFromClient(b.client)
	b.ok(err)
	b.feed, err = kafka.New(kafka.Config{Brokers: b.addrs, Index: "sqlite"})
	b.ok(err)
	t.Cleanup(func() { b.ok(b.feed.Close()) })
	return b
}

func (b *broker) ok(err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatalf("%v\n%s", err, fault.HintOf(err))
	}
}

// topic makes a dataset's topic with n records in partition 1.
func (b *broker) topic(name string, n int, pairs func(i int) []canal.Pair) *catalog.Dataset {
	b.t.Helper()
	d := &catalog.Dataset{Name: name, Table: name, Partitions: 2}
	b.ok(b.admin.CreateTopic(canal.Topic(name), &sarama.TopicDetail{NumPartitions: 2, ReplicationFactor: 1}, false))
	p, err := sarama.NewSyncProducerFromClient(b.client)
	b.ok(err)
	defer func() { b.ok(p.Close()) }()
	for i := range n {
		m := &sarama.ProducerMessage{Topic: canal.Topic(name), Partition: 1, Key: sarama.StringEncoder("k"), Value: sarama.StringEncoder(fmt.Sprint("v", i))}
		for _, pair := range pairs(i) {
			m.Headers = append(m.Headers, sarama.RecordHeader{Key: pair.Key, Value: pair.Value})
		}
		_, _, err := p.SendMessage(m)
		b.ok(err)
	}
	return d
}

func good(i int) []canal.Pair {
	h := canal.Header{Term: 1, Seq: uint64(i + 1), Number: uint64(i + 1), Kind: canal.KindChange, Shard: "s"}
	return h.Pairs()
}

func TestFeed(t *testing.T) {
	b := newBroker(t)
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	t.Run("Next returns records in order from the offset, within the batch's bounds", func(t *testing.T) {
		d := b.topic("entry", 20, good)
		s, err := b.feed.Open(ctx, d, 1, 3)
		b.ok(err)
		next := int64(3)
		for next < 20 {
			rs, err := s.Next(ctx, batch, nil)
			b.ok(err)
			if len(rs) == 0 || len(rs) > batch.Records {
				t.Fatalf("%d records", len(rs))
			}
			for _, r := range rs {
				if r.Offset != next || r.Header.Number != uint64(next+1) || string(r.Value) != fmt.Sprint("v", next) || string(r.Key) != "k" {
					t.Fatalf("record %+v at %d", r, next)
				}
				next++
			}
		}
		short, stop := context.WithCancel(ctx)
		stop()
		if _, err := s.Next(short, batch, nil); !fault.Is(err, fault.Interrupted) {
			t.Errorf("after a stop: %v", err)
		}
		b.ok(s.Close())
		b.ok(s.Close())
		few := batch
		few.Bytes = 1
		s, err = b.feed.Open(ctx, d, 1, 0)
		b.ok(err)
		rs, err := s.Next(ctx, few, nil)
		if b.ok(err); len(rs) != 1 {
			t.Errorf("%d records for 1 byte", len(rs))
		}
		st := b.feed.Stats() // 17 records, then the first one
		if st.Records != 18 || st.Bytes < 18*3 || len(st.Partitions) != 1 || st.Partitions[0] != (kafka.PartitionStats{Dataset: "entry", Partition: 1, Next: 1, End: 20}) {
			t.Errorf("%+v", st)
		}
		b.ok(s.Close())
		s, err = b.feed.Open(ctx, d, 1, 3)
		b.ok(err)
		b.ok(s.Wait(ctx))
		b.ok(s.Wait(ctx))
		if rs, err := s.Next(ctx, batch, nil); err != nil || rs[0].Offset != 3 {
			t.Errorf("after Wait: %d, %v", rs[0].Offset, err)
		}
		b.ok(s.Close())
	})
	t.Run("Bounds are the first record that is there and the next one", func(t *testing.T) {
		d := b.topic("cut", 9, good)
		b.ok(b.admin.DeleteRecords(canal.Topic("cut"), map[int32]int64{1: 4}))
		if first, next, err := b.feed.Bounds(ctx, d, 1); err != nil || first != 4 || next != 9 {
			t.Errorf("%d to %d, %v", first, next, err)
		}
		d.Partitions = 3
		if _, _, err := b.feed.Bounds(ctx, d, 1); !fault.Is(err, fault.Unsafe) {
			t.Errorf("another number of partitions: %v", err)
		}
	})
	t.Run("A partition may be opened twice, for two generations of an index", func(t *testing.T) {
		d := b.topic("twice", 5, good)
		one, err := b.feed.Open(ctx, d, 1, 0)
		b.ok(err)
		two, err := b.feed.Open(ctx, d, 1, 2)
		b.ok(err)
		for s, want := range map[syncer.Stream]int64{one: 0, two: 2} {
			rs, err := s.Next(ctx, batch, nil)
			if b.ok(err); rs[0].Offset != want {
				t.Errorf("offset %d, want %d", rs[0].Offset, want)
			}
			if last := rs[len(rs)-1].Offset; s.Behind() != 4-last {
				t.Errorf("%d records after offset %d of 4", s.Behind(), last)
			}
		}
		if st := b.feed.Stats(); len(st.Partitions) != 1 {
			t.Errorf("%+v", st.Partitions)
		}
		b.ok(one.Close())
		b.ok(two.Close())
	})
	t.Run("Commit leaves offset and term with the group", func(t *testing.T) {
		b.ok(b.feed.Commit(ctx, "entry", 1, 17, 4))
		res, err := b.admin.ListConsumerGroupOffsets("strata-sync-sqlite", map[string][]int32{canal.Topic("entry"): {1}})
		b.ok(err)
		if block := res.GetBlock(canal.Topic("entry"), 1); block == nil || block.Offset != 17 || block.Metadata != "4" {
			t.Errorf("block %+v", block)
		}
	})
}

func TestFeedRefuses(t *testing.T) {
	b := newBroker(t)
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	t.Run("Stale for an offset that is not there yet, or not any more; Bounds says what is there", func(t *testing.T) {
		d := b.topic("cut", 20, good)
		b.ok(b.admin.DeleteRecords(canal.Topic("cut"), map[int32]int64{1: 10}))
		first, next, err := b.feed.Bounds(ctx, d, 1)
		if b.ok(err); first != 10 || next != 20 {
			t.Errorf("from %d to %d", first, next)
		}
		for _, offset := range []int64{3, 99} {
			s, err := b.feed.Open(ctx, d, 1, offset)
			if err == nil {
				_, err = s.Next(ctx, batch, nil)
				b.ok(s.Close())
			}
			if !fault.Is(err, fault.Stale) || fault.HintOf(err) == "" {
				t.Errorf("offset %d: %v", offset, err)
			}
		}
	})
	t.Run("Unsafe for another number of partitions", func(t *testing.T) {
		d := b.topic("parts", 0, nil)
		d.Partitions = 3
		if _, _, err := b.feed.Bounds(ctx, d, 1); !fault.Is(err, fault.Unsafe) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("a topic that is deleted and made anew is read on", func(t *testing.T) {
		d := b.topic("anew", 20, good)
		s, err := b.feed.Open(ctx, d, 1, 20)
		b.ok(err)
		b.ok(b.admin.DeleteTopic(canal.Topic("anew")))
		if err := s.Wait(ctx); !fault.Is(err, fault.Unavailable) && !fault.Is(err, fault.Stale) {
			t.Errorf("after it was deleted: %v", err)
		}
		b.ok(s.Close())
		b.topic("anew", 5, good)
		localtest.Eventually(t, 30*time.Second, "the new topic is found", func() (bool, error) {
			first, next, err := b.feed.Bounds(ctx, d, 1)
			return err == nil && first == 0 && next == 5, nil
		})
		s, err = b.feed.Open(ctx, d, 1, 0)
		b.ok(err)
		rs, err := s.Next(ctx, batch, nil)
		if b.ok(err); len(rs) == 0 || rs[0].Offset != 0 {
			t.Errorf("%d records", len(rs))
		}
		b.ok(s.Close())
	})
	t.Run("Unavailable for a topic that isn't there yet", func(t *testing.T) {
		if _, _, err := b.feed.Bounds(ctx, &catalog.Dataset{Name: "nobody", Partitions: 2}, 1); !fault.Is(err, fault.Unavailable) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("Invalid for a record without strata's headers", func(t *testing.T) {
		d := b.topic("foreign", 1, func(int) []canal.Pair { return nil })
		s, err := b.feed.Open(ctx, d, 1, 0)
		b.ok(err)
		if _, err := s.Next(ctx, batch, nil); !fault.Is(err, fault.Invalid) {
			t.Errorf("got %v", err)
		}
		b.ok(s.Close())
	})
}
