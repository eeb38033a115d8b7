package kafka_test

import (
	"fmt"
	"log/slog"
	"testing"
	"time"

	"strata/broker"
	"strata/canal"
	"strata/canal/canaltest"
	"strata/canal/kafka"
	"strata/fault"
	"strata/local"
	"strata/local/localtest"
)

func TestSink_conforms_on_a_real_Kafka(t *testing.T) {
	k := localtest.StartKafka(t, localtest.Home(t), local.JavaKafkaConfig{Name: "kafka", Secure: true})
	t.Run("plain", func(t *testing.T) {
		canaltest.SinkSuite(t, open(t, kafka.Config{Brokers: k.Brokers()}))
		for _, c := range []kafka.Compression{kafka.Snappy, kafka.LZ4, kafka.Zstd} {
			w := newWriter(t, kafka.Config{Brokers: k.Brokers(), Compression: c}, "real_"+string(c), 3)
			for range 1000 {
				w.ok(w.send(0))
				w.ok(w.send(2))
			}
			w.ok(w.p.Flush(t.Context()))
			w.whole()
		}
	})
	t.Run("behind TLS and a login", func(t *testing.T) {
		for _, mechanism := range []string{"PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"} {
			s := broker.Security{TLS: &broker.TLS{CAFile: k.TLS.CA}, SASL: &broker.SASL{Mechanism: mechanism, User: k.User, Password: k.Password}}
			w := newWriter(t, kafka.Config{Brokers: k.SecureBrokers(), Security: s}, "secure_"+mechanism, 2)
			for range 1000 {
				w.ok(w.send(1))
			}
			w.ok(w.p.Flush(t.Context()))
			w.whole()
		}
	})
	t.Run("Denied with a wrong password", func(t *testing.T) {
		for _, mechanism := range []string{"PLAIN", "SCRAM-SHA-512"} {
			_, err := kafka.Open(kafka.Config{Brokers: k.SecureBrokers(), Log: slog.New(slog.DiscardHandler), Security: broker.Security{TLS: &broker.TLS{CAFile: k.TLS.CA},
				SASL: &broker.SASL{Mechanism: mechanism, User: k.User, Password: "wrong"}}})
			if !fault.Is(err, fault.Denied) || fault.HintOf(err) == "" {
				t.Errorf("%s: %v", mechanism, err)
			}
		}
	})
	t.Run("each record is once in the log through a kill", func(t *testing.T) { survive(t, k) })
	t.Run("a topic answers as soon as it is made", func(t *testing.T) {
		s := open(t, kafka.Config{Brokers: k.Brokers()})
		for i := range 10 {
			d := canaltest.Dataset(fmt.Sprintf("answers_%d", i), 16)
			if err := s.Ensure(t.Context(), d, true); err != nil {
				t.Fatal(err)
			}
			other := open(t, kafka.Config{Brokers: k.Brokers(), DeliveryTimeout: 1}) // it waits for nothing
			for p := range d.Partitions {
				if _, next, err := other.Bounds(t.Context(), d.Name, p); err != nil || next != 0 {
					t.Fatalf("partition %d of topic %d: %d, %v", p, i, next, err)
				}
			}
		}
	})
	t.Run("another's topic id is seen", func(t *testing.T) {
		s := open(t, kafka.Config{Brokers: k.Brokers()})
		ids := map[string]bool{}
		for _, name := range []string{"one", "other"} {
			if err := s.Ensure(t.Context(), canaltest.Dataset(name, 1), true); err != nil {
				t.Fatal(err)
			}
			id, err := s.Identity(t.Context(), name)
			if err != nil || id == "" || ids[id] {
				t.Fatalf("identity %q, %v", id, err)
			}
			ids[id] = true
		}
	})
}

// survive writes while the broker is killed.
func survive(t *testing.T, k *local.JavaKafka) {
	w := newWriter(t, kafka.Config{Brokers: k.Brokers(), DeliveryTimeout: 4 * time.Minute}, "survivor", 4)
	done := make(chan error, 1)
	go func() { done <- w.many(1500) }()
	localtest.Eventually(t, 2*time.Minute, "records acknowledged", func() (bool, error) { return w.p.Acked("survivor", 0) > 100, nil })
	w.ok(k.Kill())
	w.ok(k.Restart(t.Context()))
	w.ok(<-done)
	w.whole()
}

// many sends batches of 40 records, and waits for them now and then.
func (w *writer) many(batches int) error {
	batch := make([]canal.Record, 0, 40)
	for i := range batches {
		batch = batch[:0]
		for p := range int32(40) {
			batch = append(batch, w.record(p%4))
		}
		if err := w.p.Send(w.t.Context(), batch); err != nil {
			return err
		}
		if i%25 == 24 {
			if err := w.p.Flush(w.t.Context()); err != nil {
				return err
			}
		}
	}
	return nil
}
