package node

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"strata/index"
	syncer "strata/sync"
	synckafka "strata/sync/kafka"
)

func (n *Node) consumerFigures() (s synckafka.Stats, ok bool) {
	n.mu.Lock()
	feed := n.feed
	n.mu.Unlock()
	if feed == nil {
		return s, false
	}
	return feed.Stats(), true
}

func consumerFamilies() []family[synckafka.Stats] {
	type figures = synckafka.Stats
	return []family[figures]{
		counterOf("strata_kafka_consumer_records_total", "Records that were read from Kafka.", func(s *figures) uint64 { return s.Records }),
		counterOf("strata_kafka_consumer_bytes_total", "Bytes of their keys and values.", func(s *figures) uint64 { return s.Bytes }),
		{name: "strata_kafka_consumer_lag_records", help: "Records of a partition that Kafka has, as of the last fetch, and that were not read yet.", kind: prometheus.GaugeValue,
			labels: []string{"dataset", "partition"}, read: func(s *figures, emit func(float64, ...string)) {
				for _, p := range s.Partitions {
					emit(float64(max(0, p.End-p.Next)), p.Dataset, partition(p.Partition))
				}
			}},
	}
}

func partition(p int32) string { return strconv.Itoa(int(p)) }

func (n *Node) syncFigures() (s syncer.Stats, ok bool) {
	x := n.syncNow()
	if x == nil {
		return s, false
	}
	return x.Stats(), true
}

// syncCounter is one of a dataset's.
func syncCounter(name, help string, of func(d *syncer.DatasetStats) int64) family[syncer.Stats] {
	return family[syncer.Stats]{name: name, help: help, kind: prometheus.CounterValue, labels: []string{"dataset"}, read: func(s *syncer.Stats, emit func(float64, ...string)) {
		for i := range s.Datasets {
			emit(float64(of(&s.Datasets[i])), s.Datasets[i].Dataset)
		}
	}}
}

// syncPartition is a gauge of each partition that has a watermark.
func syncPartition(name, help string, of func(w *index.Watermark) float64) family[syncer.Stats] {
	return family[syncer.Stats]{name: name, help: help, kind: prometheus.GaugeValue, labels: []string{"dataset", "partition"}, read: func(s *syncer.Stats, emit func(float64, ...string)) {
		for _, d := range s.Datasets {
			for i := range d.Partitions {
				emit(of(&d.Partitions[i]), d.Dataset, partition(d.Partitions[i].Partition))
			}
		}
	}}
}

func syncStates() []syncer.State {
	return []syncer.State{syncer.Waiting, syncer.Starting, syncer.Running, syncer.Frozen, syncer.Retrying, syncer.Stopped}
}

func syncFamilies() []family[syncer.Stats] {
	type dataset = syncer.DatasetStats
	type mark = index.Watermark
	return []family[syncer.Stats]{
		syncCounter("strata_sync_records_total", "Records that were read from the dataset's topic.", func(d *dataset) int64 { return d.Records }),
		syncCounter("strata_sync_applied_documents_total", "Documents that were written to the index.", func(d *dataset) int64 { return d.Applied }),
		syncCounter("strata_sync_newer_documents_total", "Documents that the index had already, or newer.", func(d *dataset) int64 { return d.Newer }),
		syncCounter("strata_sync_dropped_records_total", "Records of leaders that had a successor.", func(d *dataset) int64 { return d.Dropped }),
		syncCounter("strata_sync_duplicate_records_total", "Records that had been counted before.", func(d *dataset) int64 { return d.Duplicates }),
		syncCounter("strata_sync_letters_total", "Documents that the index refuses, which went to the dataset's dead letters.", func(d *dataset) int64 { return d.Letters }),
		{name: "strata_sync_open_letters", help: "Dead letters of the dataset that are open: strata sync dlq list has them.", kind: prometheus.GaugeValue, labels: []string{"dataset"},
			read: func(s *syncer.Stats, emit func(float64, ...string)) {
				for _, d := range s.Datasets {
					emit(float64(d.Open), d.Dataset)
				}
			}},
		syncCounter("strata_sync_batches_total", "Batches that were applied.", func(d *dataset) int64 { return d.Batches }),
		syncCounter("strata_sync_watermarks_total", "Watermarks that were written.", func(d *dataset) int64 { return d.Watermarks }),
		syncCounter("strata_sync_commit_failures_total", "Offsets that could not be committed to Kafka: a matter of display only.", func(d *dataset) int64 { return d.Uncommit }),
		{name: "strata_sync_dataset_state", help: "1 for the state that the dataset is in, 0 for the others: strata sync status says why.", kind: prometheus.GaugeValue, labels: []string{"dataset", "state"},
			read: func(s *syncer.Stats, emit func(float64, ...string)) {
				for _, d := range s.Datasets {
					for _, state := range syncStates() {
						emit(truth(d.State == state), d.Dataset, string(state))
					}
				}
			}},
		syncPartition("strata_sync_watermark_heartbeat", "Number of the heartbeat up to which the partition is searchable.", func(w *mark) float64 { return float64(w.Heartbeat) }),
		syncPartition("strata_sync_watermark_timestamp_seconds", "When that heartbeat was committed, by the source's clock; 0 before the first.", func(w *mark) float64 {
			if w.Heartbeat == 0 {
				return 0
			}
			return unix(w.At.Time())
		}),
		syncPartition("strata_sync_watermark_number", "Number of the last record that is searchable.", func(w *mark) float64 { return float64(w.Number) }),
		syncPartition("strata_sync_watermark_offset", "Offset in the topic at which reading goes on after a restart.", func(w *mark) float64 { return float64(w.Offset) }),
		syncPartition("strata_sync_watermark_term", "Term of the leader that wrote up to there.", func(w *mark) float64 { return float64(w.Term) }),
		syncPartition("strata_sync_partition_frozen", "1 for a partition whose watermark stands still, as a record is missing.", func(w *mark) float64 { return truth(w.Frozen != "") }),
	}
}

// observeSync adds what has a distribution.
func (m *metrics) observeSync() {
	bounds := []float64{.005, .01, .02, .05, .1, .15, .2, .3, .4, .5, .75, 1, 1.5, 2, 3, 5, 10, 30, 60, 300, 3600}
	v := m.histogram("strata_sync_commit_to_searchable_seconds", "From the commit of a heartbeat row on live to its being searchable, one sample a partition.", bounds)
	m.lag, _ = v.WithLabelValues().(prometheus.Histogram) // it is one
}

// sawLag is syncer.Config.Lag.
func (m *metrics) sawLag(d time.Duration) { m.lag.Observe(d.Seconds()) }
