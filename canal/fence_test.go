package canal_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"strata/canal"
	"strata/canal/canaltest"
	"strata/catalog"
	"strata/fault"
	"strata/local"
)

// deaf is a control that a leader can't hear any more: it answers Load as it was.
type deaf struct {
	canal.Control
	mu   sync.Mutex // the term and its watch ask
	term uint32
}

func (d *deaf) Load(ctx context.Context) (canal.State, error) {
	s, err := d.Control.Load(ctx)
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.term == 0 || s.Term == d.term {
		d.term = s.Term
		return s, err
	}
	s.Term = d.term
	return s, err
}

// pauseAt stops a leader at the nth time that it comes by a point, which closes paused, until goOn is closed.
func pauseAt(point string, nth int) (at func(string) error, paused, goOn chan struct{}) {
	paused, goOn = make(chan struct{}), make(chan struct{})
	n := 0
	return func(p string) error {
		if p == point {
			if n++; n == nth {
				close(paused)
				<-goOn
			}
		}
		return nil
	}, paused, goOn
}

func TestL2_a_paused_leader_cannot_get_past_its_successor(t *testing.T) {
	for seed := range uint64(10) {
		r := newRig(t)
		rnd := rand.New(rand.NewPCG(7, seed))
		r.commit(rnd, 20)
		at, paused, goOn := pauseAt("canal.send.after", 12)
		cfg := r.config("old", at)
		d := &deaf{Control: r.control}
		cfg.Control, cfg.Lease, cfg.CheckpointEvery = d, canaltest.NewControl(), time.Hour
		old := r.leader(cfg)
		done := make(chan error, 1)
		ctx, stop := context.WithCancel(context.Background())
		go func() { done <- old.Run(ctx) }()
		<-paused
		r.commit(rnd, 10)
		if err := r.run(r.leader(r.config("new", nil))); err != nil {
			t.Fatal(err)
		}
		close(goOn)
		for s := old.Stats(); s.GTID != r.last(); s = old.Stats() {
			select {
			case err := <-done:
				t.Fatal(err)
			case <-time.After(time.Millisecond):
			}
		}
		stop() // it flushes everything it has, after its successor's open, and tries to save its position
		if err := <-done; !fault.Is(err, fault.Conflict) {
			t.Fatalf("the old leader's checkpoint was taken: %v", err)
		}
		r.proven()
		if err := r.run(r.leader(r.config("third", nil))); err != nil {
			t.Fatal(err)
		}
		r.proven()
	}
}

func TestL2_terms_rise_above_everything_anybody_knows(t *testing.T) {
	r := newRig(t)
	r.commit(rand.New(rand.NewPCG(8, 8)), 3)
	cfg := r.config("a", nil)
	cfg.Witness = []func(context.Context) (uint32, error){func(context.Context) (uint32, error) { return 41, nil }}
	l := r.leader(cfg)
	if err := r.run(l); err != nil {
		t.Fatal(err)
	}
	if l.Stats().Term != 42 {
		t.Fatalf("term %d", l.Stats().Term)
	}
	r.control = canaltest.NewControl() // lost; the opens in Kafka are left
	r.commit(rand.New(rand.NewPCG(9, 9)), 3)
	l = r.leader(r.config("b", nil))
	if err := r.run(l); err != nil {
		t.Fatal(err)
	}
	if l.Stats().Term != 43 {
		t.Fatalf("term %d", l.Stats().Term)
	}
	r.proven()
}

func TestL2_a_leader_ends_when_control_has_a_higher_term(t *testing.T) {
	r := newRig(t)
	r.commit(rand.New(rand.NewPCG(8, 8)), 3)
	cfg := r.config("a", nil)
	cfg.CheckpointEvery = time.Hour
	l := r.leader(cfg)
	done := make(chan error, 1)
	go func() { done <- l.Run(context.Background()) }()
	for l.Stats().GTID != r.last() {
		select {
		case err := <-done:
			t.Fatal(err)
		case <-time.After(time.Millisecond):
		}
	}
	if ok, err := r.control.Take(context.Background(), l.Stats().Term, 9, "b"); !ok || err != nil {
		t.Fatal(ok, err)
	}
	if err := <-done; !fault.Is(err, fault.Conflict) {
		t.Fatal(err)
	}
}

// tailDamages are what can happen to a topic beyond the checkpoint.
func tailDamages() map[string]func(*canaltest.Sink, *catalog.Dataset) error {
	return map[string]func(*canaltest.Sink, *catalog.Dataset) error{
		"gone": func(s *canaltest.Sink, d *catalog.Dataset) error {
			s.Drop(d.Name)
			return nil
		},
		"made anew": func(s *canaltest.Sink, d *catalog.Dataset) error {
			s.Drop(d.Name)
			return s.Ensure(context.Background(), d, true)
		},
		"cut": func(s *canaltest.Sink, d *catalog.Dataset) error {
			for p := range d.Partitions {
				s.Cut(d.Name, p, int64(len(s.Records(d.Name, p))))
			}
			return nil
		},
		"a record lost": func(s *canaltest.Sink, d *catalog.Dataset) error {
			for p := range d.Partitions {
				s.Lack(d.Name, p, int64(len(s.Records(d.Name, p))-2))
			}
			return nil
		},
	}
}

func TestL2_a_topic_whose_tail_is_gone_stops_its_dataset_alone(t *testing.T) {
	for name, damage := range tailDamages() {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			rnd := rand.New(rand.NewPCG(11, 1))
			r.commit(rnd, 20)
			if err := r.run(r.leader(r.config("a", nil))); err != nil {
				t.Fatal(err)
			}
			r.commit(rnd, 20)
			cfg := r.config("a", local.NewTrap("canal.ack.after", 1).At)
			cfg.CheckpointEvery = 50 * time.Millisecond
			if err := r.run(r.leader(cfg)); !errors.Is(err, local.ErrCrash) && err != nil {
				t.Fatal(err)
			}
			if err := damage(r.sink, r.data[0]); err != nil {
				t.Fatal(err)
			}
			l := r.leader(r.config("a", nil))
			if err := r.run(l); err != nil {
				t.Fatal(err)
			}
			if s := l.Stats(); len(s.Stopped) != 1 || s.Stopped["entry"].Hint == "" {
				t.Fatalf("stopped: %+v", s.Stopped)
			}
			seen, err := canaltest.Replay(context.Background(), r.sink, r.data[1])
			if err == nil {
				err = canaltest.Check(r.data[1], r.src.Txns(), seen)
			}
			if err != nil {
				t.Fatal(err)
			}
		})
	}
}

func TestL2_a_source_that_lost_what_was_sent_sends_nothing_in_its_place(t *testing.T) {
	r := newRig(t)
	one := func(id int, note string) canal.Txn {
		return canal.Txn{Changes: []canal.Change{{Dataset: r.data[0], Shard: "entry", Op: canal.Insert, After: canaltest.Row(id, note)}}}
	}
	r.src.Commit(one(1, "kept"))
	if err := r.run(r.leader(r.config("a", nil))); err != nil {
		t.Fatal(err)
	}
	r.src.Commit(canal.Txn{})
	r.src.Commit(one(2, "lost"))
	cfg := r.config("a", local.NewTrap("canal.ack.after", 1).At)
	cfg.CheckpointEvery = 50 * time.Millisecond
	ended := make(chan error, 1)
	go func() { ended <- r.leader(cfg).Run(context.Background()) }()
	if err := <-ended; !errors.Is(err, local.ErrCrash) {
		t.Fatal(err)
	}
	before := len(r.sink.Records("entry", canal.PartitionOf([]byte(`{"id":2}`), 3)))
	r.src = canaltest.NewSource() // the server came back without its last transactions, and went on
	r.src.Commit(one(1, "kept"))
	x := one(2, "another")
	x.Changes[0].Ordinal = 4
	r.src.Commit(x)
	l := r.leader(r.config("a", nil))
	if err := r.run(l); err != nil {
		t.Fatal(err)
	}
	if l.Stats().Stopped["entry"].Kind != "proof_failed" {
		t.Fatalf("%+v", l.Stats())
	}
	for _, rec := range r.sink.Records("entry", canal.PartitionOf([]byte(`{"id":2}`), 3))[before:] {
		if rec.Header.Kind == canal.KindChange {
			t.Fatalf("sent %s", rec.Value)
		}
	}
}
