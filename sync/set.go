package syncer

import (
	"context"
	"slices"
	"sync"

	"strata/catalog"
	"strata/fault"
	"strata/index"
)

// State is what a dataset is doing.
type State string

// The states. Starting: nothing read yet. Running: applying. Frozen: applying, but a record is missing. Retrying: a
// server is away. Stopped: it will not go on by itself.
const (
	Starting State = "starting"
	Running  State = "running"
	Frozen   State = "frozen"
	Retrying State = "retrying"
	Stopped  State = "stopped"
)

// Stats of a Sync.
type Stats struct {
	Datasets []DatasetStats `json:"datasets"`
	Lag      Lag            `json:"lag"` // commit to searchable, over the window since ResetLag
}

// DatasetStats is one dataset's share. Counts are since the start of the process.
type DatasetStats struct {
	Dataset    string            `json:"dataset"`
	State      State             `json:"state"`
	Err        string            `json:"err,omitempty"`
	Hint       string            `json:"hint,omitempty"`
	Heartbeat  uint64            `json:"heartbeat"`  // lowest of its partitions: everything before it is searchable
	Records    int64             `json:"records"`    // read
	Applied    int64             `json:"applied"`    // documents written
	Newer      int64             `json:"newer"`      // documents that were there already, or newer
	Dropped    int64             `json:"dropped"`    // records of dead leaders
	Duplicates int64             `json:"duplicates"` // records counted before
	Batches    int64             `json:"batches"`
	Watermarks int64             `json:"watermarks"`   // written
	Uncommit   int64             `json:"commit_fails"` // offset commits that failed
	Partitions []index.Watermark `json:"partitions"`
}

// set is one dataset in a Sync, shared by its partitions.
type set struct {
	d       *catalog.Dataset
	mu      sync.Mutex
	changed chan struct{} // closed and replaced with every change that a waiter cares for
	marks   []index.Watermark
	st      DatasetStats
	err     error
}

func newSet(d *catalog.Dataset) *set {
	return &set{d: d, changed: make(chan struct{}), st: DatasetStats{Dataset: d.Name, State: Starting}}
}

func (t *set) update(f func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	f()
	close(t.changed)
	t.changed = make(chan struct{})
}

func (t *set) start(from []index.Watermark) {
	t.update(func() {
		t.marks, t.err = append([]index.Watermark(nil), from...), nil
		t.st.State, t.st.Err, t.st.Hint = Running, "", ""
		for _, m := range from {
			if m.Frozen != "" {
				t.st.State = Frozen
			}
		}
	})
}

func (t *set) stop(state State, err error) {
	t.update(func() { t.err, t.st.State, t.st.Err, t.st.Hint = err, state, err.Error(), fault.HintOf(err) })
}

func (t *set) mark(m index.Watermark) {
	t.update(func() {
		t.marks[m.Partition] = m
		t.st.Watermarks++
		switch {
		case m.Frozen != "":
			t.st.State = Frozen
		case t.st.State == Frozen && !slices.ContainsFunc(t.marks, func(m index.Watermark) bool { return m.Frozen != "" }):
			t.st.State = Running
		}
	})
}

// count adds to the counters without waking waiters.
func (t *set) count(f func(*DatasetStats)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	f(&t.st)
}

// moves rises with every batch: it tells whether a try got anywhere.
func (t *set) moves() int64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.st.Batches
}

func (t *set) lowest() uint64 {
	if len(t.marks) == 0 {
		return 0
	}
	low := t.marks[0].Heartbeat
	for _, m := range t.marks {
		low = min(low, m.Heartbeat)
	}
	return low
}

func (t *set) stats() DatasetStats {
	t.mu.Lock()
	defer t.mu.Unlock()
	out := t.st
	out.Heartbeat = t.lowest()
	out.Partitions = append([]index.Watermark(nil), t.marks...)
	return out
}

func (t *set) waitFor(ctx context.Context, heartbeat uint64) error {
	for {
		t.mu.Lock()
		ok, state, err, changed := t.st.State != Starting && t.lowest() >= heartbeat, t.st.State, t.err, t.changed
		var frozen error
		for _, m := range t.marks {
			if m.Frozen != "" && m.Heartbeat < heartbeat {
				frozen = frozenError(m)
			}
		}
		t.mu.Unlock()
		switch {
		case ok:
			return nil
		case state == Stopped:
			return err
		case frozen != nil:
			return frozen
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fault.New(fault.KindOf(ctx.Err()), "wait for index of "+t.d.Name, "heartbeat %d: %w", heartbeat, ctx.Err()).
				WithHint("is canal running? `strata sync status` shows how far the index is")
		}
	}
}

// frozenError is what a frozen watermark means to somebody who waits for it.
func frozenError(m index.Watermark) error {
	return fault.New(fault.Proof, "sync "+m.Dataset, "partition %d is frozen at heartbeat %d: %s", m.Partition, m.Heartbeat, m.Frozen).
		WithHint("records of topic strata.%s were lost or were not read: stop strata and delete %s.db* in the index folder, and the "+
			"topic is read again from its beginning", m.Dataset, m.Dataset)
}
