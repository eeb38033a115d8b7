package syncer

import (
	"context"
	"slices"
	"sync"
	"time"

	"strata/catalog"
	"strata/fault"
	"strata/index"
)

// State is what a dataset is doing.
type State string

// The states. Waiting: another process applies it. Starting: nothing read yet. Running: applying. Frozen: applying, but a
// record is missing. Retrying: a server is away. Stopped: somebody must act; it is tried again once a minute.
const (
	Waiting  State = "waiting"
	Starting State = "starting"
	Running  State = "running"
	Frozen   State = "frozen"
	Retrying State = "retrying"
	Stopped  State = "stopped"
)

// Stats of a Sync.
type Stats struct {
	Datasets []DatasetStats `json:"datasets"`
	Building []DatasetStats `json:"building,omitempty"` // generations that are built beside those that serve
	Lag      Lag            `json:"lag"`                // commit to searchable, over the window since ResetLag
}

// DatasetStats is one dataset's share. Counts are since the start of the process.
type DatasetStats struct {
	Dataset    string            `json:"dataset"`
	Generation int               `json:"generation,omitempty"` // of its index
	State      State             `json:"state"`
	Err        string            `json:"err,omitempty"`
	Hint       string            `json:"hint,omitempty"`
	Heartbeat  uint64            `json:"heartbeat"`  // lowest of its partitions: everything before it is searchable
	Records    int64             `json:"records"`    // read
	Documents  int64             `json:"documents"`  // of them to be applied
	Letters    int64             `json:"letters"`    // documents in whose place a letter was sent
	Open       int64             `json:"open"`       // letters that are open, where somebody has counted them
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
	at      []int64 // by partition: the next offset to be read; -1: it has not begun
	st      DatasetStats
	err     error
	behind  map[int32]bool          // while stopped: partitions that have not got through anything since
	resumed DatasetStats            // as it was when somebody last resumed it
	first   []index.Version         // by partition whose topic was made anew: of its first record
	clean   map[int32]bool          // partitions of such a topic that may thaw
	wake    chan struct{}           // somebody wants it to go on
	doubts  map[int32]index.Version // stored watermarks whose place in the topic was in doubt

	owes bool // a lease is in this process's name; of attend's goroutine
	do   bool // this process is to apply it
	busy bool // and does
	end  context.CancelFunc

	index    Target
	building bool   // its generation is built; nobody searches it
	beside   []*set // generations that are built beside this one
}

func newSet(d *catalog.Dataset) *set {
	return &set{d: d, changed: make(chan struct{}), wake: make(chan struct{}, 1), doubts: map[int32]index.Version{}, st: DatasetStats{Dataset: d.Name, State: Waiting}}
}

func (t *set) update(f func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	f()
	close(t.changed)
	t.changed = make(chan struct{})
}

// want says whether this process is to apply the dataset.
func (t *set) want(yes bool) {
	t.update(func() {
		if t.do = yes; !yes && t.end != nil {
			t.end()
		}
	})
}

func (t *set) wanted() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.do
}

func (t *set) working() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.busy
}

// turn waits until this process is to apply the dataset; the context ends when it isn't any more.
func (t *set) turn(ctx context.Context) (context.Context, error) {
	for {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		t.mu.Lock()
		changed := t.changed
		if t.do {
			defer t.mu.Unlock()
			turn, end := context.WithCancel(ctx)
			t.busy, t.end, t.st.State = true, end, Starting
			return turn, nil
		}
		t.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
		}
	}
}

// rest ends a turn.
func (t *set) rest() {
	t.update(func() {
		t.end()
		t.busy, t.end, t.marks = false, nil, nil
		t.err, t.behind, t.st.State, t.st.Err, t.st.Hint = nil, nil, Waiting, "", ""
	})
}

// resume lets a stopped dataset be tried now, and its letters be counted anew.
func (t *set) resume() {
	t.mu.Lock()
	t.resumed = t.st
	t.mu.Unlock()
	select {
	case t.wake <- struct{}{}:
	default:
	}
}

// start begins a try. After one that failed its reason is shown until every partition has got through something again.
func (t *set) start(from []index.Watermark) {
	t.update(func() {
		t.marks, t.at = slices.Clone(from), make([]int64, len(from))
		t.first, t.clean = make([]index.Version, len(from)), map[int32]bool{}
		for i := range from {
			t.at[i] = -1 // it has not begun
		}
		if t.st.State == Stopped || t.st.State == Retrying {
			t.behind = map[int32]bool{}
			for i := range from {
				t.behind[int32(i)] = true
			}
			return
		}
		t.goes()
	})
}

// goes sets the state of a dataset that is applied; the caller holds mu.
func (t *set) goes() {
	t.behind, t.err = nil, nil
	t.st.State, t.st.Err, t.st.Hint = Running, "", ""
	if slices.ContainsFunc(t.marks, func(m index.Watermark) bool { return m.Frozen != "" }) {
		t.st.State = Frozen
	}
}

// through notes that a partition has got through what there is to read, or through a batch of it.
func (t *set) through(partition int32) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.behind == nil {
		return
	}
	if delete(t.behind, partition); len(t.behind) == 0 {
		t.goes()
	}
}

// read notes up to where a partition was read and applied.
func (t *set) read(partition int32, offset int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.at[partition] = offset
}

func (t *set) readTo(partition int32) int64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.at[partition]
}

// doubt reports whether a partition is to begin again at its stored watermark, to see whether the topic is still the one from
// which that was made: once for each.
func (t *set) doubt(stored index.Watermark) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if stored.Version == 0 || t.doubts[stored.Partition] == stored.Version {
		return false
	}
	t.doubts[stored.Partition] = stored.Version
	return true
}

// begins notes the first record of a topic that was made anew.
func (t *set) begins(partition int32, v index.Version) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.first[partition] = v
}

// born is the version from which on everything was sent to the new topic.
func (t *set) born(partitions []int32) (v index.Version) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, p := range partitions {
		v = max(v, t.first[p])
	}
	return v
}

// settled lets partitions thaw whose topic was made anew: the index has nothing of the old one that isn't known.
func (t *set) settled(partitions []int32) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, p := range partitions {
		t.clean[p] = true
	}
}

// isClean reports whether a partition may thaw.
func (t *set) isClean(partition int32) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.clean[partition]
}

// live reports whether what is searchable is nearly as new as the source: a dataset that is, comes before those with a backlog.
func (t *set) live(now time.Time) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	oldest := catalog.At(now.Add(-liveLag))
	return !slices.ContainsFunc(t.marks, func(m index.Watermark) bool { return m.At < oldest })
}

// reserve counts n letters more, of the next documents, unless they are too many for the dataset's documents, and returns both
// since it was last resumed. Its partitions send at the same time, so letters are counted before they are sent; negative: they
// were not.
func (t *set) reserve(n, next int64) (letters, documents int64, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	letters, documents = t.st.Letters-t.resumed.Letters+n, t.st.Documents-t.resumed.Documents+next
	if n > 0 && (letters > mostLetters || letters > fewLetters && 10*letters > documents) {
		return letters, documents, false
	}
	t.st.Letters += n
	return letters, documents, true
}

func (t *set) stop(state State, err error) {
	t.update(func() {
		t.behind, t.err, t.st.State, t.st.Err, t.st.Hint = nil, err, state, err.Error(), fault.HintOf(err)
	})
}

func (t *set) mark(m index.Watermark) {
	t.update(func() {
		t.marks[m.Partition] = m
		t.st.Watermarks++
		if t.st.State == Running || t.st.State == Frozen {
			t.goes()
		}
	})
}

// stored is a partition's watermark as the index has it.
func (t *set) stored(partition int32) index.Watermark {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.marks[partition]
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
		ok, state, err, changed := len(t.marks) > 0 && t.lowest() >= heartbeat, t.st.State, t.err, t.changed
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
		WithHint("records of topic strata.%s were lost. Their repair is ordered by itself, unless sync: repair_gaps is false: strata canal tasks "+
			"shows how far it is; where it failed, strata canal backfill %s --why … sends every row anew", m.Dataset, m.Dataset)
}
