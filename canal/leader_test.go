package canal_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"strata/canal"
	"strata/canal/canaltest"
	"strata/catalog"
	"strata/fault"
	"strata/local"
)

// rig is a pipeline in memory.
type rig struct {
	t       *testing.T
	src     *canaltest.Source
	sink    *canaltest.Sink
	control *canaltest.Control
	data    []*catalog.Dataset
	n       int
}

func newRig(t *testing.T) *rig {
	return &rig{t: t, src: canaltest.NewSource(), sink: canaltest.NewSink(), control: canaltest.NewControl(),
		data: []*catalog.Dataset{canaltest.Dataset("entry", 3), canaltest.Dataset("transfer", 2)}}
}

func (r *rig) config(holder string, at func(string) error) canal.Config {
	return canal.Config{Name: "test", Holder: holder, Datasets: r.data, Source: r.src, Sink: r.sink, Control: r.control, Lease: r.control,
		Log: slog.New(slog.DiscardHandler), Now: time.Now, LeaseTimeout: time.Second, CheckpointEvery: time.Microsecond, At: at}
}

func (r *rig) leader(cfg canal.Config) *canal.Leader {
	r.t.Helper()
	l, err := canal.New(cfg)
	if err != nil {
		r.t.Fatal(err)
	}
	return l
}

// commit adds n random transactions, then a heartbeat.
func (r *rig) commit(rnd *rand.Rand, n int) {
	for range n {
		r.n++
		x := canal.Txn{Time: 1700000000}
		ordinal := uint32(0)
		for range rnd.IntN(6) {
			ordinal += uint32(rnd.IntN(3)) // images of other tables
			c := canal.Change{Dataset: r.data[rnd.IntN(len(r.data))], Ordinal: ordinal}
			c.Shard = c.Dataset.Name
			id := rnd.IntN(8)
			switch rnd.IntN(4) {
			case 0:
				c.Op, c.After = canal.Insert, canaltest.Row(id, fmt.Sprint(r.n))
			case 1:
				c.Op, c.Before = canal.Delete, canaltest.Row(id, fmt.Sprint(r.n))
			case 2:
				c.Op, c.Before, c.After = canal.Update, canaltest.Row(id, "old"), canaltest.Row(id, fmt.Sprint(r.n))
			default:
				c.Op, c.Before, c.After = canal.Update, canaltest.Row(id, "old"), canaltest.Row(id+100, fmt.Sprint(r.n))
			}
			x.Changes = append(x.Changes, c)
			if ordinal++; c.Op == canal.Update {
				ordinal++
			}
		}
		if rnd.IntN(4) == 0 {
			x.Beat = &canal.Beat{Seq: uint64(r.n), At: catalog.Instant(r.n)}
		}
		r.src.Commit(x)
	}
	r.n++
	r.src.Commit(canal.Txn{Beat: &canal.Beat{Seq: uint64(r.n), At: catalog.Instant(r.n)}})
}

// last is the GTID of the last transaction.
func (r *rig) last() string {
	all := r.src.Txns()
	return all[len(all)-1].GTID
}

// run lets a leader work until it has handled everything, or ends by itself; it is stopped then.
func (r *rig) run(l *canal.Leader) error {
	r.t.Helper()
	ctx, stop := context.WithTimeout(context.Background(), 20*time.Second)
	defer stop()
	done := make(chan error, 1)
	go func() { done <- l.Run(ctx) }()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case err := <-done:
			return err
		case <-tick.C:
			if s := l.Stats(); s.Leading && s.GTID == r.last() {
				stop()
				return <-done
			}
		}
	}
}

// proven replays every topic and compares.
func (r *rig) proven() {
	r.t.Helper()
	for _, d := range r.data {
		seen, err := canaltest.Replay(context.Background(), r.sink, d)
		if err == nil {
			err = canaltest.Check(d, r.src.Txns(), seen)
		}
		if err != nil {
			r.t.Fatalf("%s: %v", d.Name, err)
		}
	}
}

func TestL1_a_crash_at_any_point_loses_and_repeats_nothing(t *testing.T) {
	for _, point := range canal.CrashPoints() {
		for _, nth := range []int{1, 2, 7} {
			for seed := range uint64(4) {
				t.Run(fmt.Sprintf("%s/%d/%d", point, nth, seed), func(t *testing.T) {
					t.Parallel()
					r := newRig(t)
					rnd := rand.New(rand.NewPCG(seed, uint64(nth)))
					lose := rand.New(rand.NewPCG(seed, 99))
					r.sink.Lose = func(_ string, _ int32, n int) (int, bool) { return lose.IntN(n + 1), lose.IntN(2) == 0 }
					r.commit(rnd, 20)
					for crash := range 4 { // several leaders in a row die the same way, each a little later
						trap := local.NewTrap(point, nth+crash*3)
						cfg := r.config("a", trap.At)
						if crash%2 == 0 {
							cfg.CheckpointEvery = time.Hour // leaves a long tail to the next one
						}
						if err := r.run(r.leader(cfg)); err != nil && !errors.Is(err, local.ErrCrash) {
							t.Fatal(err)
						}
						r.sink.Land()
						r.commit(rnd, 5)
					}
					if err := r.run(r.leader(r.config("a", nil))); err != nil {
						t.Fatal(err)
					}
					r.proven()
				})
			}
		}
	}
}

func TestCrashPoints_are_all_met(t *testing.T) {
	r := newRig(t)
	r.commit(rand.New(rand.NewPCG(1, 1)), 5)
	trap := local.Record()
	if err := r.run(r.leader(r.config("a", trap.At))); err != nil {
		t.Fatal(err)
	}
	for _, p := range canal.CrashPoints() {
		if trap.Hits()[p] == 0 {
			t.Errorf("%s was never met", p)
		}
	}
}

func TestL1_a_position_is_saved_only_after_all_acknowledgements(t *testing.T) {
	r := newRig(t)
	r.commit(rand.New(rand.NewPCG(3, 3)), 30)
	saved := func() map[string]int64 {
		s, err := r.control.Load(context.Background())
		if err != nil || s.Checkpoint == nil {
			return nil
		}
		sent := map[string]int64{}
		for _, x := range r.src.Txns() {
			for _, c := range x.Changes {
				sent[c.Dataset.Name]++
			}
			if x.GTID == s.Checkpoint.Position.GTID {
				break
			}
		}
		return sent
	}
	at := func(point string) error {
		if point != "canal.checkpoint.after" {
			return nil
		}
		for name, n := range saved() {
			there := int64(0)
			for p := range int32(3) {
				for _, rec := range r.sink.Records(name, p) {
					if rec.Header.Kind == canal.KindChange {
						there++
					}
				}
			}
			if there < n {
				t.Errorf("checkpoint claims %d changes of %s, Kafka has %d", n, name, there)
			}
		}
		return nil
	}
	if err := r.run(r.leader(r.config("a", at))); err != nil {
		t.Fatal(err)
	}
	r.proven()
}

func TestL1_a_producer_error_ends_the_term_and_nothing_is_skipped(t *testing.T) {
	r := newRig(t)
	r.commit(rand.New(rand.NewPCG(5, 5)), 30)
	n := 0
	r.sink.Fail = func(*canal.Record) error {
		if n++; n == 40 {
			return fault.New(fault.Unavailable, "send", "broker away")
		}
		return nil
	}
	if err := r.run(r.leader(r.config("a", nil))); !fault.Is(err, fault.Unavailable) {
		t.Fatalf("the term went on: %v", err)
	}
	if err := r.run(r.leader(r.config("a", nil))); err != nil {
		t.Fatal(err)
	}
	r.proven()
}

func TestL1_a_stop_inside_a_transaction_saves_no_position_of_it(t *testing.T) {
	for stopAt := 1; stopAt < 30; stopAt++ {
		r := newRig(t)
		r.commit(rand.New(rand.NewPCG(6, uint64(stopAt))), 30)
		ctx, stop := context.WithCancel(context.Background())
		n := 0
		cfg := r.config("a", func(point string) error {
			if point == "canal.send.after" {
				if n++; n == stopAt {
					stop()
					return ctx.Err()
				}
			}
			return nil
		})
		if err := r.leader(cfg).Run(ctx); err != nil {
			t.Fatal(err)
		}
		r.sink.Lose = nil
		if err := r.run(r.leader(r.config("a", nil))); err != nil {
			t.Fatal(err)
		}
		r.proven()
	}
}

// deaf is a control that a leader can't hear any more: it answers Load as it was.
type deaf struct {
	canal.Control
	term uint32
}

func (d *deaf) Load(ctx context.Context) (canal.State, error) {
	s, err := d.Control.Load(ctx)
	if d.term == 0 || s.Term == d.term {
		d.term = s.Term
		return s, err
	}
	s.Term = d.term
	return s, err
}

func TestL2_a_paused_leader_cannot_get_past_its_successor(t *testing.T) {
	for seed := range uint64(10) {
		r := newRig(t)
		rnd := rand.New(rand.NewPCG(7, seed))
		r.commit(rnd, 20)
		paused, goOn := make(chan struct{}), make(chan struct{})
		n := 0
		cfg := r.config("old", func(point string) error {
			if point == "canal.send.after" {
				if n++; n == 12 {
					close(paused)
					<-goOn
				}
			}
			return nil
		})
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

func TestL2_a_topic_whose_tail_is_gone_stops_its_dataset_alone(t *testing.T) {
	for name, damage := range map[string]func(*canaltest.Sink, *catalog.Dataset) error{
		"gone": func(s *canaltest.Sink, d *catalog.Dataset) error {
			s.Drop(d.Name)
			return nil
		},
		"made anew": func(s *canaltest.Sink, d *catalog.Dataset) error {
			s.Drop(d.Name)
			return s.Ensure(context.Background(), d, true)
		},
		"cut beyond the checkpoint": func(s *canaltest.Sink, d *catalog.Dataset) error {
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
	} {
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

func TestHistory_that_is_another_one_sends_nothing(t *testing.T) {
	r := newRig(t)
	rnd := rand.New(rand.NewPCG(12, 1))
	r.commit(rnd, 5)
	if err := r.run(r.leader(r.config("a", nil))); err != nil {
		t.Fatal(err)
	}
	r.src.Forge(r.last())
	r.commit(rnd, 5)
	before := len(r.sink.Records("entry", 0))
	if err := r.run(r.leader(r.config("a", nil))); !fault.Is(err, fault.Proof) || fault.HintOf(err) == "" {
		t.Fatal(err)
	}
	for _, rec := range r.sink.Records("entry", 0)[before:] {
		if rec.Header.Kind.Counts() {
			t.Fatalf("sent %+v", rec.Header)
		}
	}
}

func TestSource_that_breaks_is_opened_again_in_the_same_term(t *testing.T) {
	r := newRig(t)
	rnd := rand.New(rand.NewPCG(13, 1))
	r.commit(rnd, 5)
	n := 0
	l := r.leader(r.config("a", func(point string) error {
		if point == "canal.send.after" {
			if n++; n == 3 {
				r.src.Break()
				r.commit(rnd, 5)
			}
		}
		return nil
	}))
	if err := r.run(l); err != nil {
		t.Fatal(err)
	}
	r.src.Break()
	r.proven()
	if l.Stats().Term != 1 {
		t.Fatalf("term %d", l.Stats().Term)
	}
}

func TestL11_a_poisoned_dataset_stops_alone_and_stays_stopped(t *testing.T) {
	r := newRig(t)
	rnd := rand.New(rand.NewPCG(14, 1))
	r.commit(rnd, 10)
	good := len(r.src.Txns())
	poison := canal.Txn{Poison: []canal.Poison{{Dataset: r.data[0], Err: fault.New(fault.Unsafe, "read table", "no column").WithHint("do this")}}}
	poison.Changes = []canal.Change{{Dataset: r.data[0], Shard: "entry", Op: canal.Insert, After: canaltest.Row(1, "never")},
		{Dataset: r.data[1], Shard: "transfer", Op: canal.Insert, Ordinal: 1, After: canaltest.Row(1, "still")}}
	r.src.Commit(poison)
	r.commit(rnd, 10)
	for range 2 { // a restart doesn't forget
		l := r.leader(r.config("a", nil))
		if err := r.run(l); err != nil {
			t.Fatal(err)
		}
		s := l.Stats().Stopped["entry"]
		if s.Hint != "do this" || s.Position.GTID != r.src.Txns()[good-1].GTID {
			t.Fatalf("stopped: %+v", l.Stats().Stopped)
		}
		r.commit(rnd, 3)
	}
	seen, err := canaltest.Replay(context.Background(), r.sink, r.data[1])
	if err == nil {
		err = canaltest.Check(r.data[1], r.src.Txns()[:len(r.src.Txns())-4], seen)
	}
	if err != nil {
		t.Fatal(err)
	}
	if seen, err = canaltest.Replay(context.Background(), r.sink, r.data[0]); err == nil {
		err = canaltest.Check(r.data[0], r.src.Txns()[:good], seen)
	}
	if err != nil {
		t.Fatal(err)
	}
	for p := range int32(3) {
		records := r.sink.Records("entry", p)
		if last := records[len(records)-1]; last.Header.Kind == canal.KindMark && strings.Contains(string(last.Value), r.last()) {
			t.Fatal("a stopped dataset got a mark: its watermark would claim what it lacks")
		}
	}
}

func TestL11_a_row_beyond_the_limit_stops_its_dataset_and_none_of_its_transaction_is_sent(t *testing.T) {
	r := newRig(t)
	big := strings.Repeat("x", 3000)
	r.src.Commit(canal.Txn{Changes: []canal.Change{{Dataset: r.data[0], Shard: "entry", Op: canal.Insert, After: canaltest.Row(1, "small")},
		{Dataset: r.data[0], Shard: "entry", Op: canal.Insert, Ordinal: 1, After: canaltest.Row(2, big)},
		{Dataset: r.data[1], Shard: "transfer", Op: canal.Insert, Ordinal: 2, After: canaltest.Row(3, "small")}}})
	cfg := r.config("a", nil)
	cfg.MaxRecordBytes = 2000
	l := r.leader(cfg)
	if err := r.run(l); err != nil {
		t.Fatal(err)
	}
	if l.Stats().Stopped["entry"].Kind != "too_large" {
		t.Fatalf("%+v", l.Stats())
	}
	if seen, err := canaltest.Replay(context.Background(), r.sink, r.data[0]); err != nil || len(seen) != 0 {
		t.Fatal(seen, err)
	}
	if seen, err := canaltest.Replay(context.Background(), r.sink, r.data[1]); err != nil || len(seen) != 1 {
		t.Fatal(seen, err)
	}
}

func TestRun_ends_when_no_dataset_is_left(t *testing.T) {
	r := newRig(t)
	r.src.Commit(canal.Txn{Poison: []canal.Poison{{Dataset: r.data[0], Err: fault.New(fault.Unsafe, "x", "y")}, {Dataset: r.data[1], Err: fault.New(fault.Unsafe, "x", "y")}}})
	r.src.Commit(canal.Txn{})
	for range 2 {
		if err := r.run(r.leader(r.config("a", nil))); !fault.Is(err, fault.Unsafe) {
			t.Fatal(err)
		}
	}
	if s, _ := r.control.Load(context.Background()); s.Term != 1 {
		t.Fatalf("terms are used up by a pipeline that can't run: %d", s.Term)
	}
}

func TestNew_names_everything_that_is_missing(t *testing.T) {
	_, err := canal.New(canal.Config{})
	for _, what := range []string{"Name", "Holder", "Datasets", "Source", "Sink", "Control", "Lease", "Log", "Now"} {
		if err == nil || !strings.Contains(err.Error(), what) {
			t.Errorf("%s is not in %v", what, err)
		}
	}
}
