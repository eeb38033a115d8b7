package syncer

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"strata/canal"
	"strata/catalog"
	"strata/fault"
	"strata/index"
	"strata/index/indextest"
	"strata/index/sqlite"
)

// memFeed is topics in memory.
type memFeed struct {
	mu      sync.Mutex
	changed chan struct{}
	topics  map[string][][]canal.Record // by dataset and partition; a record's offset is its place
	first   map[string]int64            // by topic and partition: records before it are gone
	commits map[string]int64
}

func newMemFeed(sets ...*catalog.Dataset) *memFeed {
	f := &memFeed{changed: make(chan struct{}), topics: map[string][][]canal.Record{}, first: map[string]int64{}, commits: map[string]int64{}}
	for _, d := range sets {
		f.topics[d.Name] = make([][]canal.Record, d.Partitions)
	}
	return f
}

func (f *memFeed) append(r canal.Record) {
	f.mu.Lock()
	defer f.mu.Unlock()
	p := &f.topics[r.Dataset][r.Partition]
	r.Offset = int64(len(*p))
	*p = append(*p, r)
	close(f.changed)
	f.changed = make(chan struct{})
}

func place(dataset string, partition int32) string { return fmt.Sprintf("%s/%d", dataset, partition) }

// cut removes the records of a partition before an offset.
func (f *memFeed) cut(dataset string, partition int32, first int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.first[place(dataset, partition)] = first
	close(f.changed)
	f.changed = make(chan struct{})
}

// anew empties a topic: it was deleted and made anew.
func (f *memFeed) anew(d *catalog.Dataset) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.topics[d.Name] = make([][]canal.Record, d.Partitions)
	close(f.changed)
	f.changed = make(chan struct{})
}

func (f *memFeed) Bounds(_ context.Context, d *catalog.Dataset, partition int32) (first, next int64, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.first[place(d.Name, partition)], int64(len(f.topics[d.Name][partition])), nil
}

func (f *memFeed) Open(ctx context.Context, d *catalog.Dataset, partition int32, offset int64) (Stream, error) {
	first, n, _ := f.Bounds(ctx, d, partition)
	if offset < first || offset > n {
		return nil, fault.New(fault.Stale, "open topic", "offset %d of %d to %d", offset, first, n)
	}
	return &memStream{f: f, dataset: d.Name, partition: partition, next: offset}, nil
}

func (f *memFeed) Commit(_ context.Context, dataset string, partition int32, offset int64, _ uint32) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.commits[place(dataset, partition)] = offset
	return nil
}

type memStream struct {
	f         *memFeed
	dataset   string
	partition int32
	next      int64
}

// there waits for records, and returns those from the stream's place on.
func (s *memStream) there(ctx context.Context) ([]canal.Record, error) {
	for {
		s.f.mu.Lock()
		all, first, changed := s.f.topics[s.dataset][s.partition], s.f.first[place(s.dataset, s.partition)], s.f.changed
		s.f.mu.Unlock()
		switch {
		case s.next < first || s.next > int64(len(all)):
			return nil, fault.New(fault.Stale, "read topic", "offset %d of %d to %d", s.next, first, len(all))
		case s.next < int64(len(all)):
			return all[s.next:], nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func (s *memStream) Wait(ctx context.Context) error {
	_, err := s.there(ctx)
	return err
}

func (s *memStream) Next(ctx context.Context, b Batch, dst []canal.Record) ([]canal.Record, error) {
	there, err := s.there(ctx)
	if err != nil {
		return dst, err
	}
	for _, r := range there[:min(len(there), b.Records)] {
		if r.Header.Kind == 'X' {
			return dst, fault.New(fault.Invalid, "parse record header", "a record without strata's headers")
		}
		dst = append(dst, r)
		s.next++
	}
	return dst, nil
}

func (s *memStream) Behind() int64 {
	s.f.mu.Lock()
	defer s.f.mu.Unlock()
	return int64(len(s.f.topics[s.dataset][s.partition])) - s.next
}

func (s *memStream) Close() error { return nil }

// leader writes records as canal's leader does.
type leader struct {
	f       *memFeed
	d       *catalog.Dataset
	term    uint32
	seq     uint64
	numbers []uint64
	beat    uint64
}

func newLeader(f *memFeed, d *catalog.Dataset, term uint32) *leader {
	return &leader{f: f, d: d, term: term, numbers: make([]uint64, d.Partitions)}
}

func (l *leader) send(p int32, kind canal.RecordKind, number uint64, key, value []byte, shard string, hash catalog.Hash) {
	l.seq++
	l.f.append(canal.Record{Dataset: l.d.Name, Partition: p, Key: key, Value: value,
		Header: canal.Header{Term: l.term, Seq: l.seq, Kind: kind, Number: number, Shard: shard, Hash: hash}})
}

// takeOver opens every partition and resumes at the numbers that the leader before reached.
func (l *leader) takeOver(from *leader) {
	if from != nil {
		copy(l.numbers, from.numbers)
		l.beat = from.beat
	}
	for p := range l.numbers {
		l.send(int32(p), canal.KindOpen, 0, nil, marshal(canal.Open{Term: l.term}), "", catalog.Hash{})
	}
	for p := range l.numbers {
		l.send(int32(p), canal.KindResume, l.numbers[p], nil, marshal(canal.Resume{LastNumber: l.numbers[p]}), "", catalog.Hash{})
	}
}

func marshal(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return b
}

// change sends the image of a row: op c, u or d.
func (l *leader) change(op byte, row catalog.Row) int32 {
	key := canal.RecordKey(l.d, &row, l.d.KeyIndexes())
	p := canal.PartitionOf(key, l.d.Partitions)
	l.numbers[p]++
	l.write(p, op, row, l.numbers[p])
	return p
}

func (l *leader) write(p int32, op byte, row catalog.Row, number uint64) {
	img := string(catalog.AppendJSON(nil, l.d, &row))
	before, after := "null", img
	if op == 'd' {
		before, after = img, "null"
	}
	value := fmt.Sprintf(`{"before":%s,"after":%s,"source":{"db":"x","table":"after"},"op":"%c","ts_ms":1}`, before, after, op)
	h, _ := row.Hash(nil)
	key := canal.RecordKey(l.d, &row, l.d.KeyIndexes())
	l.send(p, canal.KindChange, number, key, []byte(value), "entry_202611", h)
	if op == 'd' {
		l.send(p, canal.KindTombstone, 0, key, nil, "", catalog.Hash{})
	}
}

// mark sends a heartbeat to every partition.
func (l *leader) mark(at time.Time) uint64 {
	l.beat++
	for p := range l.numbers {
		l.numbers[p]++
		l.send(int32(p), canal.KindMark, l.numbers[p], nil,
			marshal(canal.Mark{GTID: fmt.Sprintf("0-1-%d", l.beat), Heartbeat: l.beat, At: catalog.At(at)}), "", catalog.Hash{})
	}
	return l.beat
}

// lower tells every partition of a lower claim: a repair begins.
func (l *leader) lower(beat uint64) {
	for p := range l.numbers {
		l.numbers[p]++
		l.send(int32(p), canal.KindMark, l.numbers[p], nil, marshal(canal.Mark{GTID: fmt.Sprintf("0-1-%d", beat-1), Heartbeat: beat - 1}), "", catalog.Hash{})
	}
}

// rig is a Sync that runs.
type rig struct {
	*Sync
	cancel context.CancelFunc
	done   chan error
}

func openIndex(t testing.TB) *sqlite.Index {
	t.Helper()
	x, err := sqlite.Open(t.Context(), sqlite.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = x.Close() })
	return x
}

func run(t testing.TB, x Target, f Feed, at func(string) error, sets ...*catalog.Dataset) *rig {
	t.Helper()
	return runWith(t, func(c *Config) { c.Index, c.At = x, at }, f, sets...)
}

func runWith(t testing.TB, set func(*Config), f Feed, sets ...*catalog.Dataset) *rig {
	t.Helper()
	cfg := Config{Feed: f, Datasets: sets, Now: time.Now, Log: slog.New(slog.NewTextHandler(io.Discard, nil)), Pause: time.Millisecond,
		Mend: time.Millisecond, Beat: time.Millisecond}
	set(&cfg)
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	r := &rig{Sync: s, cancel: cancel, done: make(chan error, 1)}
	go func() { r.done <- s.Run(ctx) }()
	t.Cleanup(func() { cancel() })
	return r
}

func (r *rig) stop(t testing.TB) {
	t.Helper()
	r.cancel()
	if err := <-r.done; err != nil {
		t.Fatal(err)
	}
}

// reach waits until the dataset is at a heartbeat.
func (r *rig) reach(t testing.TB, dataset string, beat uint64) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if err := r.WaitFor(ctx, dataset, beat); err != nil {
		t.Fatal(err)
	}
}

// fails waits until the dataset can't get there, and returns why.
func (r *rig) fails(t testing.TB, dataset string, beat uint64) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	err := r.WaitFor(ctx, dataset, beat)
	if err == nil || ctx.Err() != nil {
		t.Fatalf("heartbeat %d of %s: %v", beat, dataset, err)
	}
	return err
}

// model is what the index must hold: by key, nil for deleted.
type model map[catalog.Key]*catalog.Row

func (m model) set(d *catalog.Dataset, op byte, row catalog.Row) {
	key := catalog.KeyOf(&row, d.KeyIndexes())
	if m[key] = &row; op == 'd' {
		m[key] = nil
	}
}

// differs returns what the index has otherwise than the model.
func (m model) differs(ctx context.Context, x index.Reader, d *catalog.Dataset) []string {
	left := map[catalog.Key]bool{}
	for k := range m {
		left[k] = true
	}
	var out []string
	err := x.Scan(ctx, d.Name, "entry_202611", "", func(s *index.Stored) error {
		want, known := m[s.Key]
		delete(left, s.Key)
		if !known || s.Deleted != (want == nil) || want != nil && !s.Row.Equal(want) {
			out = append(out, fmt.Sprintf("%s: version %d/%d deleted %t", s.Key, s.Version.Term(), s.Version.Seq(), s.Deleted))
		}
		return nil
	})
	if err != nil {
		out = append(out, err.Error())
	}
	for k := range left {
		out = append(out, fmt.Sprintf("%s is missing", k))
	}
	slices.Sort(out)
	return out
}

func entries() *catalog.Dataset { return indextest.Entries() }

func entry(account, seq, amount int) catalog.Row {
	return indextest.Entry(account, seq, amount, "2026-11-02", nil)
}
