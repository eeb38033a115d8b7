package canal_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"strata/canal"
	"strata/catalog"
	"strata/fault"
	"strata/local"
)

// TestL2_a_successor_of_a_leader_that_lowered_its_claim_takes_the_tail_for_what_it_is: a rewind lowers the claim, and the
// leader dies with heartbeats in the tail that have no mark.
func TestL2_a_successor_of_a_leader_that_lowered_its_claim_takes_the_tail_for_what_it_is(t *testing.T) {
	for seed := range uint64(6) {
		o := newOffice(t, seed)
		o.write(10)
		from := o.last()
		o.write(10)
		o.work(nil, nil)
		id := o.task(canal.Task{Kind: canal.Rewind, Dataset: "entry", GTID: from})
		o.desk.Fail = awayFrom("Enqueue")
		o.sink.Lose = func(_ string, _ int32, n int) (int, bool) { return n, false }
		n := 0
		cfg := o.config("a", func(point string) error {
			if point == "canal.mark.after" && o.stateOf(id).State == canal.Running {
				if n++; n == 6 {
					return local.ErrCrash
				}
			}
			return nil
		})
		cfg.CheckpointEvery = time.Hour
		if err := o.until(o.leader(cfg), func() { o.write(1) }, func() bool { return false }); !errors.Is(err, local.ErrCrash) {
			t.Fatal(err)
		}
		o.desk.Fail = nil
		o.work(nil, nil)
		for _, d := range o.data {
			if _, err := o.follow(d, false); err != nil {
				t.Fatal(seed, err)
			}
		}
		if k := o.desk.AllTasks(); len(k) != 1 || k[0].State != canal.Done {
			t.Fatalf("tasks %+v", k)
		}
		// Once it was said that changes are missing, nothing is claimed until they are there.
		for p := range o.data[0].Partitions {
			lowered := false
			for _, r := range o.sink.Records("entry", p) {
				switch {
				case r.Header.Kind == canal.KindMark && r.Header.GTID == "":
					lowered = true
					if !strings.Contains(string(r.Value), `"gtid":"`+from+`"`) {
						t.Fatalf("claim %s during a rewind to %s", r.Value, from)
					}
				case r.Header.Kind == canal.KindResume && strings.Contains(string(r.Value), `"repaired":true`):
					lowered = false
				case r.Header.Kind == canal.KindMark && lowered:
					t.Fatalf("seed %d: mark %s of term %d while changes are missing", seed, r.Value, r.Header.Term)
				}
			}
		}
	}
}

// behind is a control whose first Load says what was, before a leader's last checkpoint.
type behind struct {
	canal.Control
	first func(*canal.Checkpoint)
	n     atomic.Int32
}

func (b *behind) Load(ctx context.Context) (canal.State, error) {
	s, err := b.Control.Load(ctx)
	if b.n.Add(1) == 1 && s.Checkpoint != nil {
		b.first(s.Checkpoint)
	}
	return s, err
}

func TestTerm_takes_nothing_from_a_checkpoint_that_was_replaced_while_it_began(t *testing.T) {
	o := newOffice(t, 1)
	o.write(10)
	o.work(nil, nil)
	cfg := o.config("b", nil)
	cfg.Control = &behind{Control: o.control, first: func(c *canal.Checkpoint) {
		c.Lowered = map[string]canal.Lowered{"entry": {Tasks: []int64{77}}}
		c.Stopped = map[string]canal.Stopped{"transfer": {Reason: "was"}}
	}}
	beat := o.beat
	l := o.leader(cfg)
	if err := o.until(l, nil, func() bool { return o.lastMark(o.data[0]) > beat && o.lastMark(o.data[1]) > beat }); err != nil {
		t.Fatal(err)
	}
	if s := l.Stats(); len(s.Lowered)+len(s.Stopped) != 0 {
		t.Fatalf("%+v", s)
	}
}

func TestL4_a_task_is_not_done_while_a_later_one_has_its_keys(t *testing.T) {
	o := newOffice(t, 1)
	o.write(3)
	from := o.last()
	o.write(20)
	o.work(nil, nil)
	var held atomic.Bool
	held.Store(true)
	o.tables.Held = func(string, catalog.Key) bool { return held.Load() }
	first := o.task(canal.Task{Kind: canal.Rewind, Dataset: "entry", GTID: from})
	l := o.leader(o.config("a", nil))
	var second int64
	resumed := 0
	if err := o.until(l, func() {
		k := o.stateOf(first)
		switch {
		case k.State == canal.Running && strings.Contains(k.Place, "collected") && second == 0:
			o.desk.Wish(first, canal.Pause)
		case k.State == canal.Paused && second == 0:
			second = o.task(canal.Task{Kind: canal.Rewind, Dataset: "entry", GTID: from})
		case second != 0 && o.stateOf(second).State == canal.Running && strings.Contains(o.stateOf(second).Place, "collected"):
			o.desk.Wish(second, canal.End)
		case second != 0 && o.stateOf(second).State == canal.Ended && k.Wish == canal.Pause:
			o.desk.Wish(first, canal.Run)
		case k.State == canal.Running && second != 0 && k.Wish == canal.Run:
			if resumed++; resumed == 20 {
				held.Store(false)
			}
		case k.State == canal.Done && held.Load():
			t.Fatal("it is done, and none of its keys is repaired")
		}
	}, o.idle); err != nil {
		t.Fatal(err)
	}
	o.equal(o.data[0], false)
}

func TestL4_a_whole_backfill_heals_what_a_failed_task_of_the_same_term_left(t *testing.T) {
	o := newOffice(t, 1)
	o.write(10)
	o.work(nil, nil)
	o.src.Commit(canal.Txn{Alarms: []canal.Alarm{{Dataset: "entry", Table: "entry_b", What: "alter", Effect: canal.Rewritten}}})
	var open atomic.Bool
	o.tables.Fail = func(method, _ string) error {
		if method == "Chunk" && !open.Load() {
			return fault.New(fault.Denied, method, "no right")
		}
		return nil
	}
	l := o.leader(o.config("a", nil))
	whole := int64(0)
	beat := uint64(1 << 60)
	if err := o.until(l, func() {
		switch k := o.desk.AllTasks(); {
		case len(k) == 1 && k[0].State == canal.Failed:
			open.Store(true)
			whole = o.task(canal.Task{Kind: canal.Backfill, Dataset: "entry"})
		case whole != 0 && k[whole-1].State == canal.Done && beat == 1<<60:
			beat = o.beat
		}
	}, func() bool { return o.lastMark(o.data[0]) > beat }); err != nil {
		t.Fatal(err)
	}
	o.equal(o.data[0], true)
}
