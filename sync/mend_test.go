package syncer

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"strata/canal"
	"strata/index"
	"strata/local/localtest"
)

// memTasks is a desk in memory.
type memTasks struct {
	mu    sync.Mutex
	tasks []canal.Task // oldest first
	state canal.State
	keys  []canal.RepairKey // that wait
	asked []canal.RepairKey
}

func (m *memTasks) AddKeys(_ context.Context, keys []canal.RepairKey, _, _ string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.keys, m.asked = append(m.keys, keys...), append(m.asked, keys...)
	return nil
}

func (m *memTasks) Left(context.Context, int64) (int64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return int64(len(m.keys)), nil
}

func (m *memTasks) AllTasks(context.Context, int) ([]canal.Task, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []canal.Task
	for i := len(m.tasks) - 1; i >= 0; i-- {
		out = append(out, m.tasks[i])
	}
	return out, nil
}

func (m *memTasks) Order(_ context.Context, t canal.Task) (canal.Task, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	t.ID, t.State = int64(len(m.tasks)+1), canal.Queued
	m.tasks = append(m.tasks, t)
	return t, nil
}

func (m *memTasks) Load(context.Context) (canal.State, error) { return m.state, nil }

func (m *memTasks) set(i int, s canal.TaskState) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.tasks[i].State = s
}

// wait returns the n tasks that were ordered.
func (m *memTasks) wait(t *testing.T, n int) []canal.Task {
	t.Helper()
	var out []canal.Task
	localtest.Eventually(t, 30*time.Second, "a repair is ordered", func() (bool, error) {
		list, err := m.AllTasks(t.Context(), 0)
		out = list
		return len(list) >= n, err
	})
	if len(out) != n {
		t.Fatalf("ordered: %+v", out)
	}
	return out
}

// TestL3_the_repair_of_a_gap_is_ordered_once: and, where the binlog is gone, a backfill; what it sends thaws the watermark.
func TestL3_the_repair_of_a_gap_is_ordered_once(t *testing.T) {
	d, x, m := entries(), openIndex(t), model{}
	f := newMemFeed(d)
	desk := &memTasks{state: canal.State{Checkpoint: &canal.Checkpoint{Position: canal.Position{GTID: "0-1-9"}}}}
	l := newLeader(f, d, 1)
	l.takeOver(nil)
	p := l.change('c', entry(1, 1, 10))
	l.mark(time.Now())
	l.numbers[p]++ // the update that is lost
	r := runWith(t, func(c *Config) { c.Index, c.Documents, c.Tasks = x, x, desk }, f, d)
	r.fails(t, d.Name, l.mark(time.Now()))
	got := desk.wait(t, 1)[0]
	if got.Kind != canal.Rewind || got.Dataset != d.Name || got.GTID != "0-1-1" || got.Who != "sync" || !strings.Contains(got.Why, "number 3 is missing") {
		t.Errorf("ordered %+v", got)
	}
	r.stop(t) // and a new process orders nothing again
	r = runWith(t, func(c *Config) { c.Index, c.Documents, c.Tasks = x, x, desk }, f, d)
	r.fails(t, d.Name, l.beat)
	desk.set(0, canal.Failed)
	got = desk.wait(t, 2)[0]
	if got.Kind != canal.Backfill || got.GTID != "0-1-1" {
		t.Errorf("ordered %+v", got)
	}
	l.lower(1)
	row := entry(1, 1, 11)
	l.read(row)
	m.set(d, 'r', row)
	l.repaired()
	desk.set(1, canal.Done)
	thaws(t, r, d.Name, l.mark(time.Now()))
	if diff := m.differs(t.Context(), x, d); len(diff) > 0 {
		t.Error(diff)
	}
	desk.wait(t, 2)
	r.stop(t)
}

func TestRepairOf(t *testing.T) {
	gap := func(p int32, beat uint64, gtid string) index.Watermark {
		return index.Watermark{Dataset: "entry", Partition: p, Heartbeat: beat, GTID: gtid, Frozen: "number 3 is missing"}
	}
	a, b, fresh := gap(0, 7, "g7"), gap(1, 5, "g5"), gap(2, 0, "")
	did := func(kind canal.TaskKind, state canal.TaskState, gaps ...index.Watermark) canal.Task {
		out := canal.Task{Kind: kind, State: state, Dataset: "entry", Who: mender}
		for i := range gaps {
			if out.Why != "" {
				out.Why += "; "
			}
			out.Why += gapName(&gaps[i])
		}
		return out
	}
	for name, c := range map[string]struct {
		frozen []index.Watermark
		tasks  []canal.Task // newest first
		kind   canal.TaskKind
		gtid   string
	}{
		"a gap":                               {[]index.Watermark{a}, nil, canal.Rewind, "g7"},
		"two, from the lower one":             {[]index.Watermark{a, b}, nil, canal.Rewind, "g5"},
		"before the first mark":               {[]index.Watermark{fresh}, nil, canal.Backfill, "now"},
		"one is open":                         {[]index.Watermark{a}, []canal.Task{{Kind: canal.Failover, State: canal.Running}}, "", ""},
		"another dataset's is open":           {[]index.Watermark{a}, []canal.Task{{Kind: canal.Backfill, Dataset: "transfer", State: canal.Running}}, canal.Rewind, "g7"},
		"it was ordered, and is done":         {[]index.Watermark{a}, []canal.Task{did(canal.Rewind, canal.Done, b, a)}, "", ""},
		"somebody ended it":                   {[]index.Watermark{a}, []canal.Task{did(canal.Rewind, canal.Ended, a)}, "", ""},
		"it failed":                           {[]index.Watermark{a}, []canal.Task{did(canal.Rewind, canal.Failed, a)}, canal.Backfill, "g7"},
		"it failed, and the backfill too":     {[]index.Watermark{a}, []canal.Task{did(canal.Backfill, canal.Failed, a), did(canal.Rewind, canal.Failed, a)}, "", ""},
		"another gap's was ordered":           {[]index.Watermark{a}, []canal.Task{did(canal.Rewind, canal.Done, b)}, canal.Rewind, "g7"},
		"somebody else's of the same dataset": {[]index.Watermark{a}, []canal.Task{{Kind: canal.Rewind, Dataset: "entry", State: canal.Done, Who: "me"}}, canal.Rewind, "g7"},
	} {
		got, ok := repairOf("entry", c.frozen, c.tasks, "now")
		if ok != (c.kind != "") || got.Kind != c.kind || got.GTID != c.gtid {
			t.Errorf("%s: %+v %t", name, got, ok)
		}
	}
}
