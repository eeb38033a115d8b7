package kafka_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"runtime"
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
	"strata/local"
)

// memory is a broker without a folder, so that thousands of requests cost nothing.
func memory(t *testing.T, opts ...kfake.Opt) *kfake.Cluster {
	t.Helper()
	c, err := kfake.NewCluster(append([]kfake.Opt{kfake.NumBrokers(1)}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// writer is a Sink with a topic and a producer on it.
type writer struct {
	t    *testing.T
	sink *kafka.Sink
	p    canal.Producer
	d    *catalog.Dataset
	n    []uint64
}

func newWriter(t *testing.T, cfg kafka.Config, name string, partitions int32) *writer {
	t.Helper()
	if cfg.DeliveryTimeout == 0 {
		cfg.DeliveryTimeout = 5 * time.Minute // a slow machine is no fault
	}
	w := &writer{t: t, sink: open(t, cfg), d: canaltest.Dataset(name, partitions), n: make([]uint64, partitions)}
	w.ok(w.sink.Ensure(t.Context(), w.d, true))
	var err error
	w.p, err = w.sink.Producer(t.Context())
	w.ok(err)
	t.Cleanup(func() { _ = w.p.Close() })
	return w
}

func (w *writer) ok(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// record is the partition's next, numbered from 1.
func (w *writer) record(partition int32) canal.Record {
	w.n[partition]++
	return canal.Record{Dataset: w.d.Name, Partition: partition, Key: []byte("k"), Value: fmt.Append(nil, w.n[partition]),
		Header: canal.Header{Term: 1, Seq: w.n[partition], Kind: canal.KindMark, Number: w.n[partition]}}
}

// send sends one record.
func (w *writer) send(partition int32) error {
	return w.p.Send(w.t.Context(), []canal.Record{w.record(partition)})
}

// numbers are those of the partition's records.
func (w *writer) numbers(partition int32) []uint64 {
	w.t.Helper()
	first, next, err := w.sink.Bounds(w.t.Context(), w.d.Name, partition)
	w.ok(err)
	var out []uint64
	w.ok(w.sink.Read(w.t.Context(), w.d.Name, partition, first, next, func(r *canal.Record) error {
		out = append(out, r.Header.Number)
		return nil
	}))
	return out
}

// whole checks that each partition has every record once, in order, and that Acked says where they end.
func (w *writer) whole() {
	w.t.Helper()
	for p := range int32(len(w.n)) {
		got := w.numbers(p)
		for i, n := range got {
			if n != uint64(i+1) {
				w.t.Fatalf("partition %d: record %d at offset %d", p, n, i)
			}
		}
		if uint64(len(got)) != w.n[p] || w.p.Acked(w.d.Name, p) != int64(len(got)) && len(got) > 0 {
			w.t.Fatalf("partition %d: %d records of %d, acknowledged %d", p, len(got), w.n[p], w.p.Acked(w.d.Name, p))
		}
	}
}

// fails flushes for an error of the kind, which must stick, and say what to do.
func (w *writer) fails(kind fault.Kind) error {
	w.t.Helper()
	err := w.p.Flush(w.t.Context())
	if !fault.Is(err, kind) || fault.HintOf(err) == "" {
		w.t.Fatalf("Flush: %v, hint %q; want %v", err, fault.HintOf(err), kind)
	}
	if again := w.send(0); !errors.Is(again, err) {
		w.t.Fatalf("Send after %v: %v", err, again)
	}
	return err
}

func TestProducer_writes_canals_headers_in_each_compression(t *testing.T) {
	brokers := memory(t).ListenAddrs()
	for _, c := range []kafka.Compression{kafka.None, kafka.Snappy, kafka.LZ4, kafka.Zstd} {
		t.Run(string(c), func(t *testing.T) {
			w := newWriter(t, kafka.Config{Brokers: brokers, Compression: c}, "headers_"+string(c), 1)
			var sent []canal.Record
			for i := range 500 {
				h := canal.Header{Term: rand.Uint32(), Seq: rand.Uint64(), Number: rand.Uint64(), Ordinal: rand.Uint32(), Hash: catalog.Hash{byte(i), 255}}
				h.Kind = []canal.RecordKind{canal.KindChange, canal.KindBackfill, canal.KindMark, canal.KindTombstone, canal.KindLetter}[i%5]
				h.GTID, h.Shard = strings.Repeat("9", i%80), strings.Repeat("s", i%65)
				r := canal.Record{Dataset: w.d.Name, Header: h, Key: []byte(strings.Repeat("k", i%3*70)), Value: []byte(strings.Repeat("v", i*i%5000))}
				if i%7 == 0 {
					r.Key = nil
				}
				if i%11 == 0 {
					r.Value = nil
				}
				sent = append(sent, r)
			}
			w.ok(w.p.Send(t.Context(), sent))
			w.ok(w.p.Flush(t.Context()))
			checkRaw(t, brokers, sent)
		})
	}
}

// checkRaw reads with sarama alone and compares with what Pairs says.
func checkRaw(t *testing.T, brokers []string, sent []canal.Record) {
	t.Helper()
	c, err := sarama.NewConsumer(brokers, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	part, err := c.ConsumePartition(canal.Topic(sent[0].Dataset), 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = part.Close() }()
	for i := range sent {
		m := <-part.Messages()
		var got []canal.Pair
		for _, h := range m.Headers {
			got = append(got, canal.Pair{Key: h.Key, Value: h.Value})
		}
		want := sent[i].Header.Pairs()
		same := len(got) == len(want)
		for k := 0; same && k < len(got); k++ {
			same = string(got[k].Key) == string(want[k].Key) && string(got[k].Value) == string(want[k].Value)
		}
		if !same || string(m.Key) != string(sent[i].Key) || (m.Key == nil) != (sent[i].Key == nil) ||
			string(m.Value) != string(sent[i].Value) || (m.Value == nil) != (sent[i].Value == nil) || time.Since(m.Timestamp) > time.Hour {
			t.Fatalf("record %d: %+v, headers %q; want %q", i, m, got, want)
		}
	}
}

// again are codes after which the same batch is to be sent again. kfake has done the work with the last two.
func again() []*kerr.Error {
	return []*kerr.Error{kerr.NotLeaderForPartition, kerr.LeaderNotAvailable, kerr.NotEnoughReplicas, kerr.KafkaStorageError, kerr.UnknownLeaderEpoch,
		kerr.UnknownTopicOrPartition, kerr.CoordinatorNotAvailable, kerr.CorruptMessage, kerr.RequestTimedOut, kerr.NotEnoughReplicasAfterAppend}
}

func TestL1_a_batch_is_sent_again_before_any_later_one(t *testing.T) {
	c := memory(t)
	w := newWriter(t, kafka.Config{Brokers: c.ListenAddrs()}, "again", 3)
	for _, code := range again() {
		f := c.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: code, Partitions: []int32{1, 2}, Count: 2})
		for range 300 {
			for p := range int32(3) {
				w.ok(w.send(p))
			}
		}
		w.ok(w.p.Flush(t.Context()))
		if f.Hits() != 2 {
			t.Fatalf("%v: %d hits", code, f.Hits())
		}
	}
	w.whole()
}

func TestL1_nothing_of_a_partition_follows_what_was_refused(t *testing.T) {
	for _, code := range []*kerr.Error{kerr.OutOfOrderSequenceNumber, kerr.UnknownProducerID, kerr.InvalidProducerEpoch, kerr.ProducerFenced, kerr.UnknownServerError, kerr.InvalidTxnState} {
		t.Run(code.Message, func(t *testing.T) {
			c := memory(t)
			w := newWriter(t, kafka.Config{Brokers: c.ListenAddrs()}, "refused", 1)
			for range 10 {
				w.ok(w.send(0))
			}
			w.ok(w.p.Flush(t.Context()))
			c.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: code})
			var err error
			for range 100000 {
				if err = w.send(0); err != nil {
					break
				}
			}
			if flushed := w.p.Flush(t.Context()); flushed == nil || err != nil && !errors.Is(flushed, err) {
				t.Fatalf("Flush: %v after %v", flushed, err)
			}
			if again := w.send(0); again == nil {
				t.Fatal("a later record was taken")
			}
			if got := w.numbers(0); len(got) != 10 || w.p.Acked("refused", 0) != 10 {
				t.Fatalf("%d records, acknowledged %d", len(got), w.p.Acked("refused", 0))
			}
		})
	}
}

func TestL1_an_ended_Send_is_followed_by_nothing(t *testing.T) {
	c := memory(t)
	w := newWriter(t, kafka.Config{Brokers: c.ListenAddrs()}, "ended", 1)
	release := make(chan struct{})
	defer close(release)
	c.ControlKey(int16(kmsg.Produce), func(kmsg.Request) (kmsg.Response, error, bool) {
		c.SleepControl(func() { <-release })
		return nil, nil, false
	})
	big := w.record(0)
	big.Value = make([]byte, 8<<20)
	for range 7 {
		w.ok(w.p.Send(t.Context(), []canal.Record{big}))
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err := w.p.Send(ctx, []canal.Record{big}) // there is no room
	if !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	if again := w.send(0); !errors.Is(again, err) {
		t.Fatalf("Send after a Send that ended: %v", again)
	}
}

func TestProducer_takes_a_duplicate_for_written(t *testing.T) {
	c := memory(t)
	w := newWriter(t, kafka.Config{Brokers: c.ListenAddrs()}, "duplicate", 1)
	for range 3 {
		w.ok(w.send(0))
	}
	w.ok(w.p.Flush(t.Context()))
	c.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.RequestTimedOut}) // written all the same
	asked := 0
	c.ControlKey(int16(kmsg.Produce), func(r kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		if asked++; asked == 1 {
			return nil, nil, false
		}
		req := r.(*kmsg.ProduceRequest)
		res := req.ResponseKind().(*kmsg.ProduceResponse)
		st := kmsg.NewProduceResponseTopic()
		st.Topic = req.Topics[0].Topic
		sp := kmsg.NewProduceResponseTopicPartition()
		sp.Partition, sp.ErrorCode, sp.BaseOffset = 0, kerr.DuplicateSequenceNumber.Code, -1
		st.Partitions = append(st.Partitions, sp)
		res.Topics = append(res.Topics, st)
		return res, nil, true
	})
	w.ok(w.send(0))
	w.ok(w.p.Flush(t.Context()))
	if asked != 2 {
		t.Fatalf("%d requests", asked)
	}
	w.whole()
}

func TestProducer_keeps_order_through_cut_connections(t *testing.T) {
	c := memory(t)
	wire, err := local.NewProxy(c.ListenAddrs()[0])
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = wire.Close() })
	cfg := kafka.Config{Brokers: c.ListenAddrs()}
	cfg.Security.Dial = func(ctx context.Context, network, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, wire.Addr())
	}
	w := newWriter(t, cfg, "cuts", 4)
	batch := make([]canal.Record, 0, 40)
	for i := range 3000 {
		batch = batch[:0]
		for p := range int32(40) {
			batch = append(batch, w.record(p%4))
		}
		w.ok(w.p.Send(t.Context(), batch))
		if i%100 == 50 {
			wire.CutAfter(int64(rand.IntN(300))) // an answer is lost, or half of it
		}
	}
	w.ok(w.p.Flush(t.Context()))
	wire.CutAfter(-1)
	w.whole()
}

func TestProducer_follows_leaders(t *testing.T) {
	c := memory(t, kfake.NumBrokers(3))
	w := newWriter(t, kafka.Config{Brokers: c.ListenAddrs(), Replication: 1}, "leaders", 6)
	for i := range 2000 {
		for p := range int32(6) {
			w.ok(w.send(p))
		}
		if i%100 == 50 {
			c.ShufflePartitionLeaders()
		}
	}
	w.ok(w.p.Flush(t.Context()))
	w.whole()
}

func TestProducer_Close_cuts_what_is_in_flight(t *testing.T) {
	c := memory(t)
	w := newWriter(t, kafka.Config{Brokers: c.ListenAddrs()}, "closing", 2)
	asked, release := make(chan struct{}), make(chan struct{})
	defer close(release)
	c.ControlKey(int16(kmsg.Produce), func(kmsg.Request) (kmsg.Response, error, bool) {
		close(asked)
		c.SleepControl(func() { <-release })
		return nil, nil, false
	})
	w.ok(w.send(0))
	<-asked
	w.ok(w.send(1))
	w.ok(w.p.Close())
	w.ok(w.p.Close())
	if err := w.p.Flush(t.Context()); !fault.Is(err, fault.Interrupted) {
		t.Fatal(err)
	}
	buf := make([]byte, 1<<20)
	if all := string(buf[:runtime.Stack(buf, true)]); strings.Contains(all, "kafka.(*link)") || strings.Contains(all, "kafka.(*guide)") {
		t.Fatalf("goroutines are left:\n%s", all)
	}
}

func TestProducer_takes_records_of_17_MiB(t *testing.T) {
	w := newWriter(t, kafka.Config{Brokers: memory(t).ListenAddrs(), MaxMessageBytes: 24 << 20}, "wide", 2)
	value := make([]byte, 17<<20)
	for i := range value {
		value[i] = byte(i)
	}
	const records = 4 // more than may be in flight
	for range records {
		r := w.record(1)
		r.Value = value
		w.ok(w.p.Send(t.Context(), []canal.Record{r}))
	}
	w.ok(w.p.Flush(t.Context()))
	n := 0
	w.ok(w.sink.Read(t.Context(), "wide", 1, 0, records, func(r *canal.Record) error {
		if !bytes.Equal(r.Value, value) {
			t.Fatalf("%d bytes of %d", len(r.Value), len(value))
		}
		n++
		return nil
	}))
	if n != records {
		t.Fatal(n)
	}
}
