package kafka_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/IBM/sarama"
	"github.com/twmb/franz-go/pkg/kfake"

	"strata/canal"
	"strata/canal/canaltest"
	"strata/canal/kafka"
	"strata/catalog"
)

// serve is the variable that makes of the test binary a broker: its CPU must not count as the producer's.
const serve = "STRATA_TEST_SERVE_KAFKA"

func TestMain(m *testing.M) {
	if os.Getenv(serve) == "" {
		os.Exit(m.Run())
	}
	c, err := kfake.NewCluster(kfake.NumBrokers(1))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println(strings.Join(c.ListenAddrs(), ","))
	_, _ = io.Copy(io.Discard, os.Stdin) // until the parent is gone
	c.Close()
}

// otherProcess starts a broker in a process of its own.
func otherProcess(tb testing.TB) []string {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), serve+"=1")
	in, err := cmd.StdinPipe()
	if err != nil {
		tb.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		tb.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		_ = in.Close()
		if err := cmd.Wait(); err != nil {
			tb.Error(err)
		}
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		tb.Fatal(err)
	}
	return strings.Split(strings.TrimSpace(line), ",")
}

func cpu() time.Duration {
	var r syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &r)
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

// rows are n envelopes of about 400 bytes as canal makes them.
func rows(n int) []canal.Record {
	out := make([]canal.Record, n)
	for i := range out {
		after, err := json.Marshal(map[string]any{"id": 1000000 + i, "account": fmt.Sprintf("acc-%06d", i*7919%100000), "amount": i * 37 % 100000, "unit": "EUR",
			"at": "2026-11-22 09:00:00.123456", "note": fmt.Sprintf("payment %x for invoice %d", i*2654435761, i)})
		if err != nil {
			panic(err)
		}
		value := fmt.Sprintf(`{"before":null,"after":%s,"source":{"version":"1","connector":"mariadb","name":"live","db":"ledger","table":"entry_202611","snapshot":"false","ts_ms":1795340000000,"server_id":1,"gtid":"0-1-%d","row":%d},"op":"c","ts_ms":1795340000123,"transaction":{"id":"0-1-%d","total_order":%d}}`,
			after, i/1000, i%1000, i/1000, i%1000)
		out[i] = canal.Record{Dataset: "bench", Partition: int32(i % 8), Key: fmt.Appendf(nil, `{"id":%d}`, 1000000+i), Value: []byte(value), Header: canal.Header{Term: 3,
			Seq: uint64(i), Kind: canal.KindChange, Number: uint64(i), Hash: catalog.Hash{byte(i)}, GTID: fmt.Sprint("0-1-", i/1000), Ordinal: uint32(i % 1000), Shard: "entry_202611"}}
	}
	return out
}

// BenchmarkProducer counts this process's CPU only. STRATA_KAFKA_BENCH names the brokers of another Kafka than kfake.
func BenchmarkProducer(b *testing.B) {
	brokers := strings.Split(os.Getenv("STRATA_KAFKA_BENCH"), ",")
	if brokers[0] == "" {
		brokers = otherProcess(b)
	}
	records := rows(20000)
	for _, batch := range []int{1000, 1} {
		for _, c := range []kafka.Compression{kafka.None, kafka.LZ4, kafka.Snappy, kafka.Zstd} {
			b.Run(fmt.Sprintf("ours/%s/send%d", c, batch), func(b *testing.B) {
				s := open(b, kafka.Config{Brokers: brokers, Compression: c})
				if err := s.Ensure(b.Context(), canaltest.Dataset("bench", 8), true); err != nil {
					b.Fatal(err)
				}
				p, err := s.Producer(b.Context())
				if err != nil {
					b.Fatal(err)
				}
				measure(b, p, records, batch)
			})
		}
		b.Run(fmt.Sprintf("sarama/none/send%d", batch), func(b *testing.B) { measure(b, newPeer(b, brokers), records, batch) })
	}
}

func measure(b *testing.B, p canal.Producer, records []canal.Record, batch int) {
	ctx := context.Background()
	send := func(n int) {
		for i := 0; i < n; {
			at := i % len(records)
			part := records[at:min(at+batch, len(records), at+n-i)]
			if err := p.Send(ctx, part); err != nil {
				b.Fatal(err)
			}
			i += len(part)
		}
		if err := p.Flush(ctx); err != nil {
			b.Fatal(err)
		}
	}
	send(len(records))
	b.ReportAllocs()
	b.ResetTimer()
	from := cpu()
	send(b.N)
	b.ReportMetric(float64(cpu()-from)/float64(b.N), "cpu-ns/record")
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "records/s")
	b.StopTimer()
	if err := p.Close(); err != nil {
		b.Fatal(err)
	}
}

// peer is sarama's own producer with the settings that keep its order.
type peer struct {
	async sarama.AsyncProducer
	sent  int
	acked chan error
}

func newPeer(b *testing.B, brokers []string) *peer {
	c := sarama.NewConfig()
	c.ChannelBufferSize = 1024
	c.Net.MaxOpenRequests = 1
	c.Producer.Idempotent = true
	c.Producer.RequiredAcks = sarama.WaitForAll
	c.Producer.Partitioner = sarama.NewManualPartitioner
	c.Producer.MaxMessageBytes = 9 << 20
	c.Producer.Return.Successes = true
	async, err := sarama.NewAsyncProducer(brokers, c)
	if err != nil {
		b.Fatal(err)
	}
	p := &peer{async: async, acked: make(chan error, 1<<20)}
	go func() {
		for range async.Successes() {
			p.acked <- nil
		}
		close(p.acked)
	}()
	go func() {
		for e := range async.Errors() {
			b.Error(e)
		}
	}()
	return p
}

func (p *peer) Send(_ context.Context, records []canal.Record) error {
	messages := make([]sarama.ProducerMessage, len(records))
	for i := range records {
		r := &records[i]
		pairs := r.Header.Pairs()
		headers := make([]sarama.RecordHeader, len(pairs))
		for k := range pairs {
			headers[k] = sarama.RecordHeader(pairs[k])
		}
		messages[i] = sarama.ProducerMessage{Topic: canal.Topic(r.Dataset), Partition: r.Partition, Key: sarama.ByteEncoder(r.Key), Value: sarama.ByteEncoder(r.Value), Headers: headers}
		p.async.Input() <- &messages[i]
	}
	p.sent += len(records)
	for len(p.acked) > 0 {
		<-p.acked
		p.sent--
	}
	return nil
}

func (p *peer) Flush(context.Context) error {
	for ; p.sent > 0; p.sent-- {
		<-p.acked
	}
	return nil
}

func (p *peer) Acked(string, int32) int64 { return -1 }

func (p *peer) Close() error {
	p.async.AsyncClose()
	for range p.acked {
	}
	return nil
}
