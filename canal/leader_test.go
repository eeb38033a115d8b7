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
