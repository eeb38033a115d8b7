package node

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"strata/canal"
	canalkafka "strata/canal/kafka"
)

// captureFigures are a leader's, or a standby's.
type captureFigures struct {
	canal.Stats
	now      time.Time
	datasets []string
}

func (n *Node) captureFigures() (s captureFigures, ok bool) {
	n.mu.Lock()
	leader := n.leader
	n.mu.Unlock()
	if leader == nil {
		return s, false
	}
	s = captureFigures{Stats: leader.Stats(), now: n.now()}
	for _, d := range n.datasets {
		s.datasets = append(s.datasets, d.Name)
	}
	return s, true
}

// captureFamilies: what a standby knows nothing of is told by the leader alone.
func captureFamilies() []family[captureFigures] {
	type figures = captureFigures
	leads := func(name, help string, of func(s *figures) float64) family[figures] {
		return family[figures]{name: name, help: help, kind: prometheus.GaugeValue, read: func(s *figures, emit func(float64, ...string)) {
			if s.Leading {
				emit(of(s))
			}
		}}
	}
	dataset := func(name, help string, of func(s *figures, dataset string) bool) family[figures] {
		return family[figures]{name: name, help: help, kind: prometheus.GaugeValue, labels: []string{"dataset"}, read: func(s *figures, emit func(float64, ...string)) {
			for _, d := range s.datasets {
				if s.Leading {
					emit(truth(of(s, d)), d)
				}
			}
		}}
	}
	return []family[figures]{
		gaugeOf("strata_canal_leading", "1 while this process leads the capture, 0 while it stands by.", func(s *figures) float64 { return truth(s.Leading) }),
		gaugeOf("strata_canal_term", "Number of the last term that this process has taken; 0 before the first.", func(s *figures) float64 { return float64(s.Term) }),
		{name: "strata_canal_lag_seconds", help: "Age of the last heartbeat row that the leader has read from the binlog.", kind: prometheus.GaugeValue,
			read: func(s *figures, emit func(float64, ...string)) {
				if s.Leading && s.Beat.Seq != 0 {
					emit(max(0, s.now.Sub(s.Beat.At.Time()).Seconds()))
				}
			}},
		leads("strata_canal_heartbeat", "Number of the last heartbeat row that the leader has read.", func(s *figures) float64 { return float64(s.Beat.Seq) }),
		{name: "strata_canal_checkpoint_timestamp_seconds", help: "When the leader last saved a checkpoint.", kind: prometheus.GaugeValue,
			read: func(s *figures, emit func(float64, ...string)) {
				if s.Leading && !s.Checkpoint.IsZero() {
					emit(unix(s.Checkpoint))
				}
			}},
		counterOf("strata_canal_transactions_total", "Transactions of the binlog that were handled.", func(s *figures) uint64 { return s.Txns }),
		counterOf("strata_canal_records_total", "Records that were sent to Kafka: changes, backfills and marks.", func(s *figures) uint64 { return s.Records }),
		counterOf("strata_canal_known_changes_total", "Changes that a term found in the topics already, and did not send again.", func(s *figures) uint64 { return s.Known }),
		counterOf("strata_canal_letters_total", "Rows above the limit of a record, which went to the dataset's dead letters.", func(s *figures) uint64 { return s.Letters }),
		counterOf("strata_canal_backfilled_rows_total", "Rows that backfills have sent.", func(s *figures) uint64 { return s.Backfilled }),
		counterOf("strata_canal_repaired_keys_total", "Keys that were repaired from the source.", func(s *figures) uint64 { return s.Repaired }),
		counterOf("strata_canal_source_reopened_total", "Times that the binlog was opened again inside a term.", func(s *figures) uint64 { return s.Reopened }),
		{name: "strata_canal_alarms_total", help: "Statements that the binlog had and that a person should know of, by what they do.", kind: prometheus.CounterValue, labels: []string{"what"},
			read: func(s *figures, emit func(float64, ...string)) {
				for what, n := range s.Alarms {
					emit(float64(n), what)
				}
			}},
		dataset("strata_canal_dataset_stopped", "1 for a dataset that the leader has stopped capturing: strata canal status says why.", func(s *figures, d string) bool { _, is := s.Stopped[d]; return is }),
		dataset("strata_canal_dataset_lowered", "1 for a dataset that lacks changes which are being repaired.", func(s *figures, d string) bool { _, is := s.Lowered[d]; return is }),
		leads("strata_canal_open_xa_transactions", "Prepared XA transactions that wait for their outcome.", func(s *figures) float64 { return float64(len(s.OpenXA)) }),
		leads("strata_canal_spilled_bytes", "Bytes on disk of the transaction in hand.", func(s *figures) float64 { return float64(s.Spilled) }),
		leads("strata_canal_repair_queue_keys", "Keys that wait for their repair.", func(s *figures) float64 { return float64(s.ToRepair) }),
	}
}

func (n *Node) producerFigures() (s canalkafka.Stats, ok bool) {
	n.mu.Lock()
	sink := n.sink
	n.mu.Unlock()
	if sink == nil {
		return s, false
	}
	return sink.Stats(), true
}

func producerFamilies() []family[canalkafka.Stats] {
	type figures = canalkafka.Stats
	return []family[figures]{
		counterOf("strata_kafka_producer_records_total", "Records that Kafka has acknowledged.", func(s *figures) uint64 { return s.Records }),
		counterOf("strata_kafka_producer_batches_total", "Batches that Kafka has acknowledged.", func(s *figures) uint64 { return s.Batches }),
		counterOf("strata_kafka_producer_bytes_total", "Bytes of the batches that Kafka has acknowledged, as they were sent.", func(s *figures) uint64 { return s.Bytes }),
		counterOf("strata_kafka_producer_requests_total", "Produce requests that began.", func(s *figures) uint64 { return s.Requests }),
		counterOf("strata_kafka_producer_retries_total", "Batches that had to be sent again.", func(s *figures) uint64 { return s.Retries }),
		counterOf("strata_kafka_producer_errors_total", "Producers that ended with an error; each ends its term.", func(s *figures) uint64 { return s.Failures }),
		gaugeOf("strata_kafka_producer_in_flight_records", "Records that are queued or sent, and not acknowledged yet.", func(s *figures) float64 { return float64(s.InFlightRecords) }),
		gaugeOf("strata_kafka_producer_in_flight_bytes", "Bytes of those records, before compression.", func(s *figures) float64 { return float64(s.InFlightBytes) }),
	}
}
