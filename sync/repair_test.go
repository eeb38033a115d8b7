package syncer

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"strata/canal"
	"strata/catalog"
	"strata/fault"
	"strata/index"
	"strata/local/localtest"
)

// read sends the image of a row as it was read from its table; absent that there is none.
func (l *leader) read(row catalog.Row) {
	key := canal.RecordKey(l.d, &row, l.d.KeyIndexes())
	p := canal.PartitionOf(key, l.d.Partitions)
	l.numbers[p]++
	h, _ := row.Hash(nil)
	l.send(p, canal.KindBackfill, l.numbers[p], key, []byte(`{"before":null,"after":`+string(catalog.AppendJSON(nil, l.d, &row))+`,"op":"r"}`), "entry_202611", h)
}

func (l *leader) absent(row catalog.Row) {
	key := canal.RecordKey(l.d, &row, l.d.KeyIndexes())
	p := canal.PartitionOf(key, l.d.Partitions)
	l.numbers[p]++
	l.send(p, canal.KindBackfill, l.numbers[p], key, []byte(`{"before":null,"after":null,"op":"d"}`), "entry_202611", catalog.Hash{})
	l.send(p, canal.KindTombstone, 0, key, nil, "", catalog.Hash{})
}

// repaired sends the resumes that say so.
func (l *leader) repaired() {
	for p := range l.numbers {
		l.send(int32(p), canal.KindResume, l.numbers[p], nil, marshal(canal.Resume{LastNumber: l.numbers[p], Repaired: true}), "", catalog.Hash{})
	}
}

// settles answers for the rows that went with a topic which was made anew; until then its dataset stays frozen.
func (l *leader) settles(t *testing.T, r *rig, desk *memTasks) {
	t.Helper()
	var keys []canal.RepairKey
	localtest.Eventually(t, 30*time.Second, "the rows of the old topic are asked for", func() (bool, error) {
		l.mark(time.Now())
		desk.mu.Lock()
		defer desk.mu.Unlock()
		keys = desk.asked
		return len(keys) > 0, nil
	})
	if len(keys) != 1 || keys[0].Key != "9,9" || keys[0].Shard != "entry_202611" {
		t.Fatalf("asked for %+v", keys)
	}
	if err := r.fails(t, l.d.Name, l.mark(time.Now())); !strings.Contains(err.Error(), "rows that went with the old one are looked for") {
		t.Fatal(err)
	}
	l.absent(entry(9, 9, 0))
	desk.mu.Lock()
	desk.keys = nil
	desk.mu.Unlock()
	localtest.Eventually(t, 30*time.Second, "the dataset thaws", func() (bool, error) {
		l.mark(time.Now())
		return r.Stats().Datasets[0].State == Running, nil
	})
}

// thaws waits until a dataset that is frozen gets to the heartbeat after all.
func thaws(t *testing.T, r *rig, dataset string, beat uint64) {
	t.Helper()
	localtest.Eventually(t, 30*time.Second, "the dataset goes on", func() (bool, error) { return r.WaitFor(t.Context(), dataset, beat) == nil, nil })
}

// frozen is what the stored watermark of a partition says.
func frozen(t *testing.T, x index.Reader, d *catalog.Dataset, p int32) string {
	t.Helper()
	ws, err := x.Watermarks(t.Context(), d.Name)
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range ws {
		if w.Partition == p {
			return w.Frozen
		}
	}
	return ""
}

func TestBackfilled_rows_and_absences_are_applied(t *testing.T) {
	d, x, m := entries(), openIndex(t), model{}
	f := newMemFeed(d)
	l := newLeader(f, d, 1)
	l.takeOver(nil)
	for i := range 20 {
		l.change('c', entry(i, 1, 10))
		if row := entry(i, 1, 10+i); i%2 == 0 {
			l.read(row)
			m.set(d, 'r', row)
		} else {
			l.absent(row)
			m.set(d, 'd', row)
		}
	}
	r := run(t, x, f, nil, d)
	r.reach(t, d.Name, l.mark(time.Now()))
	if diff := m.differs(t.Context(), x, d); len(diff) > 0 {
		t.Error(diff)
	}
	docs, err := x.Get(t.Context(), d.Name, []string{"entry_202611/1,1"})
	if err != nil || len(docs) != 1 || !docs[0].Deleted || docs[0].Row.Len() != 0 {
		t.Errorf("%+v %v", docs, err)
	}
	r.stop(t)
}

// TestL3_a_frozen_partition_goes_on_only_when_it_was_repaired: a gap freezes; what is read again and the word that it was
// repaired thaws it, also for a process that starts in between; a gap just before that word does not.
func TestL3_a_frozen_partition_goes_on_only_when_it_was_repaired(t *testing.T) {
	for name, restart := range map[string]bool{"in one process": false, "over a restart": true} {
		t.Run(name, func(t *testing.T) {
			d, x, m := entries(), openIndex(t), model{}
			f := newMemFeed(d)
			l := newLeader(f, d, 1)
			l.takeOver(nil)
			p := l.change('c', entry(1, 1, 10))
			l.mark(time.Now())
			l.numbers[p]++ // the update that is lost
			r := run(t, x, f, nil, d)
			if err := r.fails(t, d.Name, l.mark(time.Now())); !fault.Is(err, fault.Proof) {
				t.Fatal(err)
			}
			if restart {
				r.stop(t)
				r = run(t, x, f, nil, d)
			}
			next := newLeader(f, d, 2)
			next.takeOver(l)
			l = next
			l.read(entry(1, 1, 11))
			m.set(d, 'r', entry(1, 1, 11))
			l.mark(time.Now())
			for i := range 2 { // when the second is there, what came before the first is done with
				l.read(entry(1, 1, 12+i))
				m.set(d, 'r', entry(1, 1, 12+i))
				localtest.Eventually(t, 30*time.Second, "the row is applied", func() (bool, error) { return len(m.differs(t.Context(), x, d)) == 0, nil })
			}
			if says := frozen(t, x, d, p); says != "number 3 is missing" {
				t.Fatalf("frozen: %q", says) // nobody has said that it was repaired
			}
			l.repaired()
			l.numbers[p]++ // before there was a mark, another one is lost
			l.read(entry(1, 1, 11))
			m.set(d, 'r', entry(1, 1, 11))
			lost := fmt.Sprintf("number %d is missing", l.numbers[p]-1)
			localtest.Eventually(t, 30*time.Second, "the new gap is named", func() (bool, error) { return frozen(t, x, d, p) == lost, nil })
			l.repaired()
			thaws(t, r, d.Name, l.mark(time.Now()))
			if diff := m.differs(t.Context(), x, d); len(diff) > 0 {
				t.Error(diff)
			}
			if st := r.Stats().Datasets[0]; st.State != Running {
				t.Errorf("state %s", st.State)
			}
			r.stop(t)
			r = run(t, x, f, nil, d)
			l.change('u', entry(1, 1, 12))
			r.reach(t, d.Name, l.mark(time.Now()))
			l.numbers[p]++ // another one, of which the leader knows: was it the repair?
			l.repaired()
			if err := r.fails(t, d.Name, l.mark(time.Now())); !strings.Contains(err.Error(), "is missing") {
				t.Fatal(err)
			}
			if says := frozen(t, x, d, p); says != fmt.Sprintf("number %d is missing", l.numbers[p]-1) {
				t.Errorf("frozen: %q", says)
			}
			l.repaired()
			thaws(t, r, d.Name, l.mark(time.Now()))
			r.stop(t)
		})
	}
}

func TestRepaired_partitions_forget_a_count_that_was_too_high(t *testing.T) {
	d, x := entries(), openIndex(t)
	f := newMemFeed(d)
	l := newLeader(f, d, 1)
	l.takeOver(nil)
	p := l.change('c', entry(1, 1, 10))
	r := run(t, x, f, nil, d)
	r.reach(t, d.Name, l.mark(time.Now()))
	l.numbers[p]--
	next := newLeader(f, d, 2)
	next.takeOver(l)
	if err := r.fails(t, d.Name, next.mark(time.Now())); !strings.Contains(err.Error(), "goes on after number 1, but 2 was applied") {
		t.Fatal(err)
	}
	next.repaired()
	thaws(t, r, d.Name, next.mark(time.Now()))
	r.stop(t)
}

func TestRepaired_right_after_an_open_forgets_what_is_missing_before_it(t *testing.T) {
	d, x := entries(), openIndex(t)
	f := newMemFeed(d)
	l := newLeader(f, d, 1)
	l.takeOver(nil)
	p := l.change('c', entry(1, 1, 10))
	r := run(t, x, f, nil, d)
	r.reach(t, d.Name, l.mark(time.Now()))
	l.numbers[p] += 5
	for p := range l.numbers {
		l.send(int32(p), canal.KindOpen, 0, nil, marshal(canal.Open{Term: 1}), "", catalog.Hash{})
	}
	l.repaired()
	r.reach(t, d.Name, l.mark(time.Now()))
	r.stop(t)
}

// schemaFeed wraps every second record as Kafka Connect does.
type schemaFeed struct{ *memFeed }

func (f schemaFeed) Open(ctx context.Context, d *catalog.Dataset, partition int32, offset int64) (Stream, error) {
	s, err := f.memFeed.Open(ctx, d, partition, offset)
	return schemaStream{s}, err
}

type schemaStream struct{ Stream }

func (s schemaStream) Next(ctx context.Context, b Batch, dst []canal.Record) ([]canal.Record, error) {
	dst, err := s.Stream.Next(ctx, b, dst)
	for i := range dst {
		r := &dst[i]
		if r.Header.Seq%3 == 0 {
			continue
		}
		schema := fmt.Sprintf(`{"type":"struct","fields":[{"field":"payload","type":"\"}"}],"optional":false,"version":%d}`, r.Header.Seq%2)
		if r.Key == nil {
			schema = "null"
		}
		wrap := func(b []byte) []byte {
			if b == nil {
				return nil
			}
			return append(append([]byte(`{"schema":`+schema+`,"payload":`), b...), '}')
		}
		r.Key, r.Value = wrap(r.Key), wrap(r.Value)
	}
	return dst, err
}

func TestRecords_with_a_schema_are_read_as_those_without(t *testing.T) {
	d, x, m := entries(), openIndex(t), model{}
	f := newMemFeed(d)
	l := newLeader(f, d, 1)
	l.takeOver(nil)
	for i := range 200 {
		row, op := entry(i%30, 1, i), "cud"[i%3]
		l.change(op, row)
		m.set(d, op, row)
	}
	s, err := New(Config{Index: x, Feed: schemaFeed{f}, Datasets: []*catalog.Dataset{d}, Now: time.Now, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	r := &rig{Sync: s, cancel: stop, done: make(chan error, 1)}
	go func() { r.done <- s.Run(ctx) }()
	r.reach(t, d.Name, l.mark(time.Now()))
	if diff := m.differs(t.Context(), x, d); len(diff) > 0 {
		t.Error(diff)
	}
	r.stop(t)
	for _, bad := range []string{`{"schema":{`, `{"schema":{}}`, `{"schema":{},"payload":`, `{"schema":{},"payload":1`, `{"schema":{},"other":{}}`} {
		var head []byte
		if got, err := payload([]byte(bad), &head); !fault.Is(err, fault.Invalid) {
			t.Errorf("%s: %s %v", bad, got, err)
		}
	}
}

// TestImages_of_other_columns_are_applied: rows of a table that DDL has changed since the dataset was declared.
func TestImages_of_other_columns_are_applied_under_their_own_names_or_refused(t *testing.T) {
	d, x := entries(), openIndex(t)
	f := newMemFeed(d)
	l := newLeader(f, d, 1)
	l.takeOver(nil)
	row := entry(1, 1, 10)
	image := map[string]any{}
	if err := json.Unmarshal(catalog.AppendJSON(nil, d, &row), &image); err != nil {
		t.Fatal(err)
	}
	image["added"] = "x"
	image["renamed"] = image["order_time"]
	delete(image, "order_time")
	at := []int{0, 1, 2, 3, 4, -1, 6}
	h, _ := row.HashAt(at, nil)
	key := canal.RecordKey(d, &row, d.KeyIndexes())
	p := canal.PartitionOf(key, d.Partitions)
	write := func(op byte) {
		l.numbers[p]++
		l.send(p, canal.KindChange, l.numbers[p], key, []byte(`{"before":null,"after":`+string(marshal(image))+`,"op":"`+string(op)+`"}`), "entry_202611", h)
	}
	write('c')
	r := run(t, x, f, nil, d)
	r.reach(t, d.Name, l.mark(time.Now()))
	var found *index.Stored
	err := x.Scan(t.Context(), d.Name, "entry_202611", "", func(s *index.Stored) error {
		c := *s
		c.Row = s.Row.Clone()
		found = &c
		return nil
	})
	if err != nil || found == nil || !found.Row.Null(5) || found.Row.Text(3) != "10" || found.Hash != h {
		t.Fatalf("%+v %v", found, err)
	}
	image["amount"] = 11 // under a hash of another row
	write('u')
	if err := r.fails(t, d.Name, l.mark(time.Now())); !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), "other columns") {
		t.Error(err)
	}
	r.stop(t)
}
