package syncer

import (
	"context"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"strata/catalog"
	"strata/fault"
	"strata/index"
	"strata/local/localtest"
)

// TestL4_a_generation_is_fed_beside_the_one_that_serves feeds two generations from one topic, the second from a place in its
// middle, until the second serves and the first is dropped.
func TestL4_a_generation_is_fed_beside_the_one_that_serves(t *testing.T) {
	d := entries()
	x, err := index.NewGenerations(index.GenerationsConfig{Shelf: openIndex(t), Now: time.Now})
	ok := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	ok(err)
	f, m := newMemFeed(d), model{}
	l := newLeader(f, d, 1)
	l.takeOver(nil)
	write := func(op byte, account, amount int) {
		row := entry(account, 1, amount)
		l.change(op, row)
		m.set(d, op, row)
	}
	for i := range 20 {
		write('c', i, 1)
	}
	write('d', 3, 1) // before the second begins, which never hears of that row
	r := run(t, x, f, nil, d)
	r.reach(t, d.Name, l.mark(time.Now()))
	write('u', 4, 2) // its place follows no mark

	var start []index.Watermark
	for p := range d.Partitions {
		_, next, err := f.Bounds(t.Context(), d, p)
		ok(err)
		start = append(start, index.Watermark{Dataset: d.Name, Partition: p, Term: 1, Number: l.numbers[p], Offset: next, Version: index.MakeVersion(1, l.seq)})
	}
	_, err = x.Begin(t.Context(), d.Name, start, index.MakeVersion(1, l.seq), nil)
	ok(err)
	for i := range 20 { // a backfill, and changes meanwhile
		if i != 3 {
			write('u', i, 5+i)
		}
	}
	write('d', 7, 12)
	beat := l.mark(time.Now())
	r.reach(t, d.Name, beat)
	next, err := x.Open(t.Context(), d.Name, 2)
	ok(err)
	reached := func(x index.Reader, beat uint64) func() (bool, error) {
		return func() (bool, error) {
			marks, err := x.Watermarks(t.Context(), d.Name)
			if fault.Is(err, fault.NotFound) {
				return false, nil
			}
			behind := func(m index.Watermark) bool { return m.Heartbeat < beat }
			return len(marks) == int(d.Partitions) && !slices.ContainsFunc(marks, behind), err
		}
	}
	localtest.Eventually(t, 30*time.Second, "the second generation has it too", reached(next, beat))
	if st := r.Stats(); len(st.Building) != 1 || st.Building[0].Generation != 2 || st.Datasets[0].Generation != 1 {
		t.Fatalf("%+v", st)
	}
	ok(r.Stopped(d.Name, 2))

	_, err = x.Handover(t.Context(), d.Name, 2, true)
	ok(err)
	write('u', 9, 99)
	beat = l.mark(time.Now())
	r.reach(t, d.Name, beat)
	ok(x.Switch(t.Context(), d.Name, 2))
	localtest.Eventually(t, 30*time.Second, "the second is taken for the one that serves", func() (bool, error) {
		st := r.Stats()
		return st.Datasets[0].Generation == 2 && len(st.Building) == 0, nil
	})
	ok(x.Drop(t.Context(), d.Name, 1))
	write('u', 10, 100)
	r.reach(t, d.Name, l.mark(time.Now()))
	gone := entry(3, 1, 1)
	delete(m, catalog.KeyOf(&gone, d.KeyIndexes())) // it has no tombstone in the second
	if diff := m.differs(t.Context(), x, d); len(diff) > 0 {
		t.Error(diff)
	}
	r.stop(t)
}

// TestStopped_generation: one that refuses is told by name, stands alone, and is tried again when somebody wants it.
func TestStopped_generation(t *testing.T) {
	d := entries()
	x, err := index.NewGenerations(index.GenerationsConfig{Shelf: openIndex(t), Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	y := &refusing{Several: x}
	f := newMemFeed(d)
	l := newLeader(f, d, 1)
	l.takeOver(nil)
	r := run(t, y, f, nil, d)
	r.reach(t, d.Name, l.mark(time.Now()))
	start := make([]index.Watermark, d.Partitions)
	for p := range start {
		start[p] = index.Watermark{Dataset: d.Name, Partition: int32(p), Term: 1, Version: 1}
	}
	if _, err := x.Begin(t.Context(), d.Name, start, 1, nil); err != nil {
		t.Fatal(err)
	}
	localtest.Eventually(t, 30*time.Second, "it has stopped", func() (bool, error) { return fault.Is(r.Stopped(d.Name, 2), fault.Unsafe), nil })
	r.reach(t, d.Name, l.mark(time.Now()))
	y.may.Store(true)
	if err := x.Update(t.Context(), d.Name, 2, func(g *index.Generation) error { g.Tries++; return nil }); err != nil {
		t.Fatal(err)
	}
	localtest.Eventually(t, 30*time.Second, "it goes on", func() (bool, error) {
		st := r.Stats()
		return len(st.Building) == 1 && st.Building[0].State == Running, nil
	})
	r.stop(t)
}

// refusing lets no later generation be made until it may.
type refusing struct {
	Several
	may atomic.Bool
}

func (y *refusing) Open(ctx context.Context, dataset string, number int) (index.Index, error) {
	one, err := y.Several.Open(ctx, dataset, number)
	if err == nil && number > 1 {
		one = &refusingOne{one, y}
	}
	return one, err
}

type refusingOne struct {
	index.Index
	y *refusing
}

func (o *refusingOne) Ensure(ctx context.Context, d *catalog.Dataset) error {
	if !o.y.may.Load() {
		return fault.New(fault.Unsafe, "ensure", "refused").WithHint("wait")
	}
	return o.Index.Ensure(ctx, d)
}
