package syncer

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"strata/canal"
	"strata/catalog"
	"strata/fault"
	"strata/local/localtest"
)

// TestL2_an_older_image_never_replaces_a_newer_one: leaders take over from each other, dead ones go on writing old images,
// and the process dies at a random write. In the end the index has exactly what the living leaders sent last.
func TestL2_an_older_image_never_replaces_a_newer_one(t *testing.T) {
	x, n := openIndex(t), 0
	rapid.Check(t, func(rt *rapid.T) {
		n++
		d := entries()
		d.Name = fmt.Sprintf("entry%d", n)
		f, m := newMemFeed(d), model{}
		var mu sync.Mutex
		fuse := rapid.IntRange(1, 60).Draw(rt, "fuse")
		dead := errors.New("dead")
		at := func(p string) error {
			mu.Lock()
			defer mu.Unlock()
			if fuse--; fuse == 0 {
				return fmt.Errorf("%w at %s", dead, p)
			}
			return nil
		}
		r := run(t, x, f, at, d)
		var l, old *leader
		for term := range rapid.IntRange(1, 3).Draw(rt, "terms") {
			l = newLeader(f, d, uint32(term+1))
			l.takeOver(old)
			for range rapid.IntRange(1, 20).Draw(rt, "changes") {
				row := entry(rapid.IntRange(1, 3).Draw(rt, "account"), 1, rapid.IntRange(1, 1000).Draw(rt, "amount"))
				op := rapid.SampledFrom([]byte("cuud")).Draw(rt, "op")
				l.change(op, row)
				m.set(d, op, row)
				if old != nil && rapid.Bool().Draw(rt, "zombie") { // a dead leader's late record, of an image it once read
					old.change('u', entry(rapid.IntRange(1, 3).Draw(rt, "account"), 1, -1))
				}
				if rapid.IntRange(0, 3).Draw(rt, "mark") == 0 {
					l.mark(time.Now())
				}
			}
			old = l
		}
		beat := l.mark(time.Now())
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		select {
		case err := <-r.done: // it died; a new process goes on
			if !errors.Is(err, dead) {
				t.Fatal(err)
			}
			r = run(t, x, f, nil, d)
			r.reach(t, d.Name, beat)
		case err := <-waits(ctx, r, d.Name, beat): // it may have died since
			if err != nil {
				t.Fatal(err)
			}
		}
		cancel()
		if diff := m.differs(t.Context(), x, d); len(diff) > 0 {
			rt.Fatalf("%s", diff)
		}
		r.cancel()
		if err := <-r.done; err != nil && !errors.Is(err, dead) {
			t.Fatal(err)
		}
	})
}

func waits(ctx context.Context, r *rig, dataset string, beat uint64) <-chan error {
	out := make(chan error, 1)
	go func() { out <- r.WaitFor(ctx, dataset, beat) }()
	return out
}

// gapStory goes on after one good change, one mark and one more good change, and ends with a change and a mark.
type gapStory struct {
	write  func(l *leader, f *memFeed, p int32) *leader
	frozen string // "": not frozen
}

func gapStories() map[string]gapStory {
	return map[string]gapStory{
		"one number": {func(l *leader, _ *memFeed, p int32) *leader { l.numbers[p]++; return l }, "number 4 is missing"},
		"many numbers": {func(l *leader, _ *memFeed, p int32) *leader { l.numbers[p] += 3; return l },
			"numbers 4 to 6 are missing"},
		"the tail before a resume": {func(l *leader, f *memFeed, p int32) *leader {
			l.numbers[p] += 2
			next := newLeader(f, l.d, l.term+1)
			next.takeOver(l)
			return next
		}, "numbers 4 to 5 are missing"},
		"a leader that doesn't know what was sent": {func(l *leader, f *memFeed, p int32) *leader {
			l.numbers[p]--
			next := newLeader(f, l.d, l.term+1)
			next.takeOver(l)
			return next
		}, "the leader of term 2 goes on after number 2, but 3 was applied"},
		"an open": {func(l *leader, f *memFeed, _ int32) *leader {
			next := newLeader(f, l.d, l.term+1)
			next.numbers, next.beat = l.numbers, l.beat
			return next
		}, "the open of term 2 before offset"},
		"numbers that begin anew": {func(l *leader, f *memFeed, p int32) *leader { l.numbers[p] = 1; return l },
			"the numbers begin anew at offset 5 with 2, after 3: the topic was made anew"},
		"nothing where a dead leader goes on": {func(l *leader, f *memFeed, p int32) *leader {
			next := newLeader(f, l.d, l.term+1)
			next.takeOver(l)
			l.write(p, 'u', entry(1, 1, -5), l.numbers[p]+1)
			l.write(p, 'u', entry(1, 1, -5), l.numbers[p]+7)
			return next
		}, ""},
		"nothing where records come twice": {func(l *leader, f *memFeed, p int32) *leader {
			l.f.append(f.topics[l.d.Name][p][2])
			l.f.append(f.topics[l.d.Name][p][4])
			return l
		}, ""},
	}
}

// TestL3_a_gap_freezes_the_watermark_and_is_named: in this process and in the next.
func TestL3_a_gap_freezes_the_watermark_and_is_named(t *testing.T) {
	for name, story := range gapStories() {
		t.Run(name, func(t *testing.T) {
			d, x := entries(), openIndex(t)
			f := newMemFeed(d)
			r := run(t, x, f, nil, d)
			l := newLeader(f, d, 1)
			l.takeOver(nil)
			p := l.change('c', entry(1, 1, 10))
			good := l.mark(time.Now())
			l.change('u', entry(1, 1, 11))
			l = story.write(l, f, p)
			l.change('u', entry(1, 1, 12))
			beat := l.mark(time.Now())
			if story.frozen == "" {
				r.reach(t, d.Name, beat)
				r.stop(t)
				return
			}
			for range 2 { // and again in a new process
				err := r.fails(t, d.Name, beat)
				if !fault.Is(err, fault.Proof) || !strings.Contains(err.Error(), story.frozen) || fault.HintOf(err) == "" {
					t.Fatalf("got %v", err)
				}
				ws, err := x.Watermarks(t.Context(), d.Name)
				if err != nil {
					t.Fatal(err)
				}
				frozen := 0
				for _, w := range ws {
					if strings.HasPrefix(w.Frozen, story.frozen) {
						frozen++
					}
					if w.Partition == p && (w.Heartbeat != good || w.Number != 2) {
						t.Errorf("watermark %+v", w)
					}
				}
				if frozen == 0 {
					t.Errorf("no stored watermark says it: %+v", ws)
				}
				r.stop(t)
				r = run(t, x, f, nil, d)
			}
			m := model{}
			m.set(d, 'c', entry(1, 1, 12))
			localtest.Eventually(t, 10*time.Second, "documents after the gap are applied all the same", func() (bool, error) {
				return len(m.differs(t.Context(), x, d)) == 0, nil
			})
			r.fails(t, d.Name, beat)
			r.stop(t)
		})
	}
}

// TestL3_a_place_that_is_gone_freezes_the_watermark_until_it_is_repaired: records deleted below the place, and a topic that was
// made anew, before a start or while it is read.
func TestL3_a_place_that_is_gone_freezes_the_watermark_until_it_is_repaired(t *testing.T) {
	d := entries()
	for name, c := range map[string]struct {
		lose   func(f *memFeed, p int32)
		frozen string // and so on
	}{
		"deleted":   {func(f *memFeed, p int32) { f.cut(d.Name, p, int64(len(f.topics[d.Name][p]))) }, "offsets 5 to 6 are gone from the topic"},
		"made anew": {func(f *memFeed, _ int32) { f.anew(d) }, "the topic was made anew"},
	} {
		for _, running := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, running %t", name, running), func(t *testing.T) {
				x, f, m := openIndex(t), newMemFeed(d), model{}
				desk := &memTasks{} // which knows of no leader: nothing is ordered
				run := func() *rig { return runWith(t, func(c *Config) { c.Index, c.Documents, c.Tasks = x, x, desk }, f, d) }
				l := newLeader(f, d, 1)
				l.takeOver(nil)
				l.change('c', entry(9, 9, 99)) // its delete goes with the topic
				p := l.change('c', entry(1, 1, 10))
				good := l.mark(time.Now())
				r := run()
				r.reach(t, d.Name, good)
				if !running || name == "deleted" { // what is deleted while it is read has been read
					r.stop(t)
				}
				l.change('u', entry(1, 1, 11))
				l.change('u', entry(1, 1, 12))
				c.lose(f, p)
				if !running || name == "deleted" {
					r = run()
				}
				next := newLeader(f, d, 2)
				if name == "deleted" {
					next.takeOver(l)
				} else {
					next.beat = l.beat
					next.takeOver(nil)
					next.beat = l.beat
				}
				next.change('u', entry(1, 1, 13))
				m.set(d, 'u', entry(1, 1, 13))
				if name == "made anew" {
					m.set(d, 'd', entry(9, 9, 99))
				}
				beat := next.mark(time.Now())
				for range 4 { // a reader that missed how the topic was made anew goes on in its middle
					beat = next.mark(time.Now())
				}
				if err := r.fails(t, d.Name, beat); !fault.Is(err, fault.Proof) || !strings.Contains(err.Error(), c.frozen) {
					t.Fatalf("got %v", err)
				}
				r.stop(t) // and in a new process
				r = run()
				if err := r.fails(t, d.Name, beat); !strings.Contains(err.Error(), c.frozen) {
					t.Fatalf("in a new process: %v", err)
				}
				next.repaired()
				if name == "made anew" {
					next.settles(t, r, desk)
				} else {
					m.set(d, 'u', entry(9, 9, 99))
				}
				thaws(t, r, d.Name, next.mark(time.Now()))
				if diff := m.differs(t.Context(), x, d); len(diff) > 0 {
					t.Error(diff)
				}
				r.stop(t)
			})
		}
	}
}

// TestL3_a_gap_within_a_repair_outlives_it: the repair may have begun before it.
func TestL3_a_gap_within_a_repair_outlives_it(t *testing.T) {
	d, x := entries(), openIndex(t)
	f := newMemFeed(d)
	l := newLeader(f, d, 1)
	l.takeOver(nil)
	p := l.change('c', entry(1, 1, 10))
	good := l.mark(time.Now())
	r := run(t, x, f, nil, d)
	r.reach(t, d.Name, good)
	l.numbers[p]++ // one is lost
	l.change('u', entry(1, 1, 11))
	l.lower(1)
	l.numbers[p]++ // and another
	l.change('u', entry(1, 1, 12))
	l.repaired()
	beat := l.mark(time.Now())
	localtest.Eventually(t, 30*time.Second, "the gap within the repair", func() (bool, error) { // it is known after the one before it
		return strings.Contains(r.fails(t, d.Name, beat).Error(), "number 6 is missing"), nil
	})
	l.lower(1)
	l.repaired()
	thaws(t, r, d.Name, l.mark(time.Now()))
	r.stop(t)
}

// TestL11_a_poisoned_dataset_stops_alone
func TestL11_a_poisoned_dataset_stops_alone(t *testing.T) {
	poisons := map[string]struct {
		write func(l *leader, p int32)
		says  string
	}{
		"a document that the index refuses": {func(l *leader, p int32) {
			l.numbers[p]++
			l.send(p, canal.KindChange, l.numbers[p], []byte(`{"account_id":1,"seq":1}`),
				[]byte(`{"before":null,"after":{"account_id":1,"seq":1,"amount":"many"},"op":"c"}`), "entry_202611", catalog.Hash{})
		}, "entry_202611/1,1"},
		"a value that is no envelope": {func(l *leader, p int32) {
			l.numbers[p]++
			l.send(p, canal.KindChange, l.numbers[p], []byte(`{"account_id":1,"seq":1}`), []byte(`{"after":`), "entry_202611", catalog.Hash{})
		}, "offset"},
		"an unknown shard": {func(l *leader, p int32) {
			l.numbers[p]++
			l.send(p, canal.KindChange, l.numbers[p], nil, []byte(`{}`), "entry_nowhere", catalog.Hash{})
		}, "entry_nowhere"},
		"a foreign record": {func(l *leader, p int32) { l.send(p, 'X', 0, nil, nil, "", catalog.Hash{}) }, "headers"},
	}
	for name, poison := range poisons {
		t.Run(name, func(t *testing.T) {
			bad, good := entries(), entries()
			bad.Name = "bad"
			x := openIndex(t)
			f := newMemFeed(bad, good)
			r := run(t, x, f, nil, bad, good)
			lb, lg := newLeader(f, bad, 1), newLeader(f, good, 1)
			lb.takeOver(nil)
			lg.takeOver(nil)
			p := lb.change('c', entry(1, 1, 10))
			before := lb.mark(time.Now())
			r.reach(t, "bad", before)
			poison.write(lb, p)
			beat := lb.mark(time.Now())
			err := r.fails(t, "bad", beat)
			if !strings.Contains(err.Error(), poison.says) {
				t.Errorf("it says %v", err)
			}
			for range 3 {
				lg.change('c', entry(2, 2, 20))
				r.reach(t, good.Name, lg.mark(time.Now()))
			}
			st := r.Stats()
			if st.Datasets[0].State != Stopped || st.Datasets[0].Partitions[p].Heartbeat != before || st.Datasets[1].State != Running {
				t.Errorf("stats %+v", st)
			}
			r.stop(t)
		})
	}
}
