package node

import (
	"strconv"

	"github.com/prometheus/client_golang/prometheus"

	syncer "strata/sync"
	"strata/sync/verify"
)

// verifyCounter is a counter of each dataset that this process has verified.
func verifyCounter(name, help string, of func(d *verify.DatasetStats) int64) family[verify.Stats] {
	return family[verify.Stats]{name: name, help: help, kind: prometheus.CounterValue, labels: []string{"dataset"}, read: func(s *verify.Stats, emit func(float64, ...string)) {
		for i := range s.Datasets {
			emit(float64(of(&s.Datasets[i])), s.Datasets[i].Dataset)
		}
	}}
}

// verifyGauge is a gauge of each dataset, told by the process that verifies: others know nothing of now.
func verifyGauge(name, help string, of func(d *verify.DatasetStats) float64) family[verify.Stats] {
	return family[verify.Stats]{name: name, help: help, kind: prometheus.GaugeValue, labels: []string{"dataset"}, read: func(s *verify.Stats, emit func(float64, ...string)) {
		for i := range s.Datasets {
			if s.Leads {
				emit(of(&s.Datasets[i]), s.Datasets[i].Dataset)
			}
		}
	}}
}

func verifyFamilies() []family[verify.Stats] {
	type dataset = verify.DatasetStats
	return []family[verify.Stats]{
		gaugeOf("strata_verify_leading", "1 while this process is the one that verifies, 0 while it stands by.", func(s *verify.Stats) float64 { return truth(s.Leads) }),
		gaugeOf("strata_verify_held", "1 while the verifier waits for an index that is too far behind.", func(s *verify.Stats) float64 { return truth(s.Held) }),
		counterOf("strata_verify_passes_total", "Passes over all datasets that this process has finished.", func(s *verify.Stats) uint64 { return uint64(s.Passes) }),
		verifyCounter("strata_verify_rows_total", "Rows of the sources that were compared with their documents.", func(d *dataset) int64 { return d.Rows }),
		verifyCounter("strata_verify_differences_total", "Differences that were found; those that are found again after a restart count again.", func(d *dataset) int64 { return d.Differences }),
		verifyCounter("strata_verify_repaired_total", "Differences that were equal after the leader had sent their rows anew.", func(d *dataset) int64 { return d.Repaired }),
		verifyCounter("strata_verify_swept_tombstones_total", "Tombstones of deleted rows that were removed, as nothing older can come back.", func(d *dataset) int64 { return d.Swept }),
		verifyGauge("strata_verify_open_differences", "Differences that are open: strata verify --findings lists them.", func(d *dataset) float64 { return float64(d.Open) }),
		verifyGauge("strata_verify_pass_rows", "Rows that this pass has compared.", func(d *dataset) float64 { return float64(d.PassRows) }),
		verifyGauge("strata_verify_pass_expected_rows", "About how many this pass will have compared at its end; 0 where it has not begun with the dataset.", func(d *dataset) float64 { return float64(d.PassTotal) }),
		verifyGauge("strata_verify_skipped", "1 for a dataset that can't be compared now and is tried again: strata verify --status says why.", func(d *dataset) float64 { return truth(d.Skipped) }),
		verifyGauge("strata_verify_compared_timestamp_seconds", "When the last comparison of the whole dataset ended; 0 where there was none.", func(d *dataset) float64 {
			if d.ComparedAt.IsZero() {
				return 0
			}
			return unix(d.ComparedAt)
		}),
		verifyGauge("strata_verify_compared_ok", "1 where that comparison left nothing open.", func(d *dataset) float64 { return truth(d.ComparedOK) }),
	}
}

// buildingFamilies are of the generations that are built beside those that serve.
func buildingFamilies() []family[syncer.Stats] {
	each := func(name, help string, kind prometheus.ValueType, labels []string, read func(d *syncer.DatasetStats, emit func(v float64, more ...string))) family[syncer.Stats] {
		return family[syncer.Stats]{name: name, help: help, kind: kind, labels: append([]string{"dataset", "generation"}, labels...), read: func(s *syncer.Stats, emit func(float64, ...string)) {
			for i := range s.Building {
				d := &s.Building[i]
				read(d, func(v float64, more ...string) {
					emit(v, append([]string{d.Dataset, strconv.Itoa(d.Generation)}, more...)...)
				})
			}
		}}
	}
	return []family[syncer.Stats]{
		each("strata_sync_building_documents_total", "Documents that were written to a generation which is built beside the one that answers.", prometheus.CounterValue, nil,
			func(d *syncer.DatasetStats, emit func(float64, ...string)) { emit(float64(d.Applied)) }),
		each("strata_sync_building_state", "1 for the state that such a generation is in, 0 for the others: strata sync rebuild list says how far it is.", prometheus.GaugeValue, []string{"state"},
			func(d *syncer.DatasetStats, emit func(float64, ...string)) {
				for _, state := range syncStates() {
					emit(truth(d.State == state), string(state))
				}
			}),
	}
}
