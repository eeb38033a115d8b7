package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"strata/canal"
	"strata/catalog"
	"strata/fault"
	"strata/index"
	syncer "strata/sync"
	synccontrol "strata/sync/control"
)

// Absent is the state of a dataset that no process applies.
const Absent syncer.State = "absent"

// SyncState is what index, Kafka and the control database know of the applying.
type SyncState struct {
	Datasets  []SyncDataset `json:"datasets"`
	Processes []SyncProcess `json:"processes"`
}

// SyncProcess is one that has reported in the last hour.
type SyncProcess struct {
	Holder string `json:"holder"`
	AgeMs  int64  `json:"age_ms"` // of its report
}

// SyncDataset is how a dataset stands.
type SyncDataset struct {
	Dataset     string          `json:"dataset"`
	State       syncer.State    `json:"state"`
	Holder      string          `json:"holder,omitempty"` // who applies it
	Err         string          `json:"err,omitempty"`
	Hint        string          `json:"hint,omitempty"`
	OpenLetters int64           `json:"open_letters"` // -1: not known
	LagRecords  int64           `json:"lag_records"`
	LagMs       int64           `json:"lag_ms"` // of the partition that is furthest behind; -1 before the first mark
	Partitions  []SyncPartition `json:"partitions"`
}

// SyncPartition is how far a partition is searchable.
type SyncPartition struct {
	Partition  int32  `json:"partition"`
	Term       uint32 `json:"term"`
	Number     uint64 `json:"number"`
	Offset     int64  `json:"offset"`
	End        int64  `json:"end"`         // of the topic; -1: not known
	LagRecords int64  `json:"lag_records"` // -1: not known
	LagMs      int64  `json:"lag_ms"`      // from the watermark's commit to now; -1 before the first mark
	Heartbeat  uint64 `json:"heartbeat"`
	At         string `json:"at"`
	GTID       string `json:"gtid"`
	Frozen     string `json:"frozen,omitempty"`
}

// specs are the datasets that are configured, the ledger's own first.
func (n *Node) specs() []catalog.Spec {
	var out []catalog.Spec
	for _, s := range append(n.cfg.ledgerSpecs(), n.cfg.Datasets...) {
		out = append(out, s.WithDefaults())
	}
	return out
}

// OpenIndex connects to the index only: beside what OpenControl allows, SyncState may be called.
func OpenIndex(ctx context.Context, o Options) (*Node, error) {
	n, err := OpenControl(o)
	if err != nil {
		return nil, err
	}
	if err := n.openIndex(ctx); err != nil {
		return nil, errors.Join(err, n.Close())
	}
	return n, nil
}

// SyncState asks the index, Kafka and the control database. An index that doesn't have a dataset is told as its error.
func (n *Node) SyncState(ctx context.Context) (SyncState, error) {
	out := SyncState{Datasets: []SyncDataset{}, Processes: []SyncProcess{}}
	reports, err := n.syncReports(ctx)
	if err != nil {
		return out, err
	}
	processes, err := reports.Processes(ctx)
	if err != nil {
		return out, err
	}
	holders, err := reports.Holders(ctx)
	if err != nil {
		return out, err
	}
	for _, p := range processes {
		out.Processes = append(out.Processes, SyncProcess{p.Holder, p.Age.Milliseconds()})
	}
	sink, err := openSink(&n.cfg, os.Getenv, n.log, "strata-status")
	if err != nil {
		return out, err
	}
	defer func() { _ = sink.Close() }() // only asked
	for _, s := range n.specs() {
		d := reported(s.Name, holders[s.Name], processes)
		if err := n.addPartitions(ctx, &d, sink, s.Partitions); err != nil {
			return out, err
		}
		out.Datasets = append(out.Datasets, d)
	}
	return out, nil
}

// reported is what the process that has the dataset's lease says of it.
func reported(dataset, holder string, processes []synccontrol.Process) SyncDataset {
	out := SyncDataset{Dataset: dataset, State: Absent, OpenLetters: -1, LagMs: -1, Partitions: []SyncPartition{}}
	for _, p := range processes {
		if holder == "" || p.Holder != holder || p.Age > Silent {
			continue
		}
		out.State, out.Holder = syncer.Starting, holder
		for _, d := range p.Stats.Datasets {
			if d.Dataset == dataset && d.State != syncer.Waiting { // else it has just taken over
				out.State, out.Err, out.Hint, out.OpenLetters = d.State, d.Err, d.Hint, d.Open
			}
		}
	}
	return out
}

func (n *Node) addPartitions(ctx context.Context, d *SyncDataset, topics canal.Sink, partitions int32) error {
	marks, err := n.index.Watermarks(ctx, d.Dataset)
	if err != nil && !fault.Is(err, fault.NotFound) {
		if d.Err == "" {
			d.Err, d.Hint = err.Error(), fault.HintOf(err)
		}
		marks = nil
	}
	of := map[int32]index.Watermark{}
	for _, m := range marks {
		of[m.Partition] = m
	}
	now := n.now()
	for i := range partitions {
		m := of[i]
		p := SyncPartition{Partition: i, Term: m.Term, Number: m.Number, Offset: m.Offset, End: -1, LagRecords: -1, LagMs: -1,
			Heartbeat: m.Heartbeat, GTID: m.GTID, Frozen: m.Frozen}
		if m.At != 0 {
			p.At, p.LagMs = m.At.String(), max(0, now.Sub(m.At.Time()).Milliseconds())
		}
		_, end, err := topics.Bounds(ctx, d.Dataset, i)
		if err != nil && !fault.Is(err, fault.NotFound) {
			return err
		}
		if err == nil {
			p.End, p.LagRecords = end, max(0, end-m.Offset)
			d.LagRecords += p.LagRecords
		}
		if d.LagMs = max(d.LagMs, p.LagMs); p.Frozen != "" && d.State != syncer.Stopped {
			d.State = syncer.Frozen
		}
		d.Partitions = append(d.Partitions, p)
	}
	return nil
}

// Whole says what keeps the index from following its topics: fault.Proof, or nil.
func (s *SyncState) Whole() error {
	for i := range s.Datasets {
		d := &s.Datasets[i]
		switch d.State {
		case syncer.Stopped:
			return fault.New(fault.Proof, "sync", "dataset %s is stopped: %s", d.Dataset, d.Err).WithHint("%s", d.Hint)
		case syncer.Retrying:
			return fault.New(fault.Proof, "sync", "dataset %s is tried again: %s", d.Dataset, d.Err).WithHint("%s", d.Hint)
		case Absent:
			return fault.New(fault.Proof, "sync", "nobody applies dataset %s now", d.Dataset).
				WithHint("strata serve --roles sync applies; where it runs, its log says what it waits for")
		case syncer.Frozen:
			for _, p := range d.Partitions {
				if p.Frozen != "" {
					return fault.New(fault.Proof, "sync", "dataset %s is frozen: partition %d: %s", d.Dataset, p.Partition, p.Frozen).
						WithHint("strata canal tasks shows the repair; where there is none, strata canal rewind %s --to '%s' --why … orders it", d.Dataset, p.GTID)
				}
			}
		}
	}
	return nil
}

func noDataset(name string) error {
	return fault.New(fault.NotFound, "look for dataset", "there is no dataset %q", name).WithHint("strata.yaml has them")
}

// resumeEvidence is the line of the evidence log.
func resumeEvidence(dataset, who, why string) canal.Evidence {
	detail, err := json.Marshal(map[string]string{"dataset": dataset})
	if err != nil {
		detail = []byte(fmt.Sprintf("%q", dataset))
	}
	return canal.Evidence{What: "resume", Who: who, Why: why, Detail: string(detail)}
}
