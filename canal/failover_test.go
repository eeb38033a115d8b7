package canal_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"strata/canal"
	"strata/canal/canaltest"
	"strata/fault"
	"strata/local"
)

func TestL2_a_history_that_went_another_way_is_repaired(t *testing.T) {
	for _, server := range []int{1, 2} {
		for _, back := range []int{0, 1, 2, 3, 5, 8, 12, 20} {
			for _, point := range []string{"", "canal.task.after", "canal.send.after", "canal.ack.after", "canal.settle.before"} {
				t.Run(fmt.Sprintf("server %d, %d back, %s", server, back, point), func(t *testing.T) {
					t.Parallel()
					o := newOffice(t, uint64(back))
					o.write(15)
					o.work(nil, nil)
					for range 3 { // some checkpoints to remember
						o.write(2)
						o.work(nil, nil)
					}
					o.write(6)
					trap := local.NewTrap("canal.mark.before", 3)
					cfg := o.config("a", trap.At)
					cfg.CheckpointEvery = time.Hour // what it sends is beyond the checkpoint
					if err := o.until(o.leader(cfg), nil, func() bool { return false }); !errors.Is(err, local.ErrCrash) {
						t.Fatal(err)
					}
					n := len(o.src.Txns())
					o.src.Restore(n-back, server)
					o.state = o.src.At(n - back)
					o.write(10)
					o.work(func(int) func(string) error {
						if point == "" {
							return nil
						}
						return local.NewTrap(point, 1+o.rnd.IntN(2)).At
					}, nil)
					beat := o.beat
					if err := o.until(o.leader(o.config("a", nil)), nil, func() bool { return o.lastMark(o.data[0]) > beat && o.lastMark(o.data[1]) > beat }); err != nil {
						t.Fatal(err)
					}
					for _, d := range o.data {
						o.endsEqual(d)
					}
				})
			}
		}
	}
}

func TestFailover_without_a_common_place_is_refused(t *testing.T) {
	o := newOffice(t, 5)
	o.write(10)
	o.work(nil, nil)
	o.src.Restore(0, 2)
	o.state = map[string]map[int]string{}
	o.write(30)
	before := len(o.sink.Records("entry", 0))
	if err := o.until(o.leader(o.config("a", nil)), nil, func() bool { return false }); !fault.Is(err, fault.Proof) || fault.HintOf(err) == "" {
		t.Fatal(err)
	}
	for _, r := range o.sink.Records("entry", 0)[before:] {
		if r.Header.Kind.Counts() {
			t.Fatalf("sent %+v", r.Header)
		}
	}
}

func TestL2_a_server_that_is_adopted_is_followed_and_every_dataset_waits_for_its_backfill(t *testing.T) {
	for _, point := range []string{"", "canal.adopt.after", "canal.advance.before", "canal.advance.after", "canal.checkpoint.before", "canal.checkpoint.after"} {
		t.Run(point, func(t *testing.T) {
			o := newOffice(t, 5)
			o.write(10)
			o.work(nil, nil)
			o.src.Restore(0, 2)
			o.state = map[string]map[int]string{}
			o.write(30)
			before := map[string]int{}
			for _, d := range o.data {
				before[d.Name] = o.sent(d)
			}
			id := o.task(canal.Task{Kind: canal.Adopt, Who: "a person"})
			o.work(o.traps(point, 2), nil)
			if k := o.stateOf(id); k.State != canal.Done {
				t.Fatalf("%+v", k)
			}
			for _, d := range o.data {
				if n := o.sent(d); n != before[d.Name] {
					t.Fatalf("%d records of rows of %s were sent", n-before[d.Name], d.Name)
				}
				o.task(canal.Task{Kind: canal.Backfill, Dataset: d.Name})
			}
			o.work(o.traps(point, 9), o.trickle(20))
			for _, d := range o.data {
				o.endsEqual(d)
			}
			o.marked()
		})
	}
}

func TestAdopt_of_the_server_that_is_captured_is_refused(t *testing.T) {
	o := newOffice(t, 6)
	o.write(10)
	o.work(nil, nil)
	id := o.task(canal.Task{Kind: canal.Adopt, Who: "a person"})
	o.work(nil, o.trickle(5))
	if k := o.stateOf(id); k.State != canal.Failed || k.Err == "" {
		t.Fatalf("%+v", k)
	}
	for _, d := range o.data {
		o.equal(d, true)
	}
}

func TestL2_a_topic_that_lost_its_tail_is_mended_and_nothing_is_sent_again(t *testing.T) {
	for name, damage := range tailDamages() {
		t.Run(name, func(t *testing.T) {
			o := newOffice(t, 11)
			o.write(20)
			o.work(nil, nil)
			o.write(20)
			cfg := o.config("a", local.NewTrap("canal.ack.after", 1).At)
			cfg.CheckpointEvery = 50 * time.Millisecond
			if err := o.until(o.leader(cfg), nil, func() bool { return false }); !errors.Is(err, local.ErrCrash) {
				t.Fatal(err)
			}
			end := o.last()
			if err := damage(o.sink, o.data[0]); err != nil {
				t.Fatal(err)
			}
			had := map[int32]int{}
			for p := range o.data[0].Partitions {
				had[p] = len(o.sink.Records("entry", p))
			}
			o.work(nil, o.trickle(20))
			kind := canal.Rewind
			if name == "gone" || name == "made anew" {
				kind = canal.Backfill
				o.equal(o.data[0], false)
			}
			o.equal(o.data[1], true)
			if k := o.desk.AllTasks(); len(k) != 1 || k[0].Kind != kind || k[0].State != canal.Done {
				t.Fatalf("tasks: %+v", k)
			}
			for p := range o.data[0].Partitions {
				for _, r := range o.sink.Records("entry", p)[had[p]:] {
					if ok, _ := o.src.Reached(end, r.Header.GTID); r.Header.Kind == canal.KindChange && ok {
						t.Fatalf("%s is sent again", r.Header.GTID)
					}
				}
			}
			o.marked()
		})
	}
}

// TestL2_a_history_that_parts_after_a_statement_was_seen: the first thing after the checkpoint makes a task of its own.
func TestL2_a_history_that_parts_after_an_alarm_is_repaired_all_the_same(t *testing.T) {
	o := newOffice(t, 4)
	o.write(15)
	o.work(nil, nil)
	base := len(o.src.Txns())
	o.src.Commit(canal.Txn{Alarms: []canal.Alarm{{Dataset: "entry", Table: "entry_b", What: "alter", Effect: canal.Rewritten}}})
	o.write(12)
	o.sink.Lose = func(_ string, _ int32, n int) (int, bool) { return n, false }
	o.desk.Fail = awayFrom("Tasks")
	cfg := o.config("a", local.NewTrap("canal.send.after", 14).At)
	cfg.CheckpointEvery = time.Hour
	cfg.Desk = nil
	cfg.Tables = nil
	if err := o.until(o.leader(cfg), nil, func() bool { return false }); !errors.Is(err, local.ErrCrash) {
		t.Fatal(err)
	}
	o.desk.Fail = nil
	o.src.Restore(base+1, 1)
	o.state = o.src.At(base + 1)
	o.write(10)
	o.work(nil, nil)
	for _, d := range o.data {
		o.endsEqual(d)
	}
}

// TestL2_a_history_that_has_the_same_names_and_other_rows: only the content of what was sent after the checkpoint differs.
func TestL2_a_history_that_has_the_same_names_and_other_rows_is_repaired(t *testing.T) {
	o := newOffice(t, 1)
	one := func(id int, note string) canal.Txn {
		return canal.Txn{Changes: []canal.Change{{Dataset: o.data[0], Shard: "entry", Op: canal.Insert, After: canaltest.Row(id, note)}}}
	}
	o.src.Commit(one(1, "kept"))
	o.pulse()
	o.work(nil, nil)
	base := len(o.src.Txns())
	o.src.Commit(one(2, "lost"))
	o.sink.Lose = func(_ string, _ int32, n int) (int, bool) { return n, false }
	cfg := o.config("a", local.NewTrap("canal.send.after", 2).At)
	cfg.CheckpointEvery = time.Hour
	if err := o.until(o.leader(cfg), nil, func() bool { return false }); !errors.Is(err, local.ErrCrash) {
		t.Fatal(err)
	}
	o.src.Restore(base, 1)
	o.src.Commit(one(2, "another"))
	o.pulse()
	o.work(nil, nil)
	o.endsEqual(o.data[0])
}

// TestFailover_tells_what_takes_so_long: nothing is read from the source, nor is there a checkpoint, until all keys are queued.
func TestFailover_tells_what_takes_so_long(t *testing.T) {
	o := newOffice(t, 7)
	o.write(10)
	o.work(nil, nil)
	n := len(o.src.Txns())
	o.write(10)
	o.work(nil, nil)
	o.src.Restore(n, 1)
	o.state = o.src.At(n)
	o.write(20)
	o.desk.Fail = func(method string) error {
		if method == "Enqueue" {
			return fault.New(fault.Internal, "enqueue", "the end of this test")
		}
		return nil
	}
	if err := o.until(o.leader(o.config("a", nil)), nil, func() bool { return false }); !fault.Is(err, fault.Internal) {
		t.Fatal(err)
	}
	if s := o.desk.Status(); s == nil || !strings.Contains(s.Err, "another history") {
		t.Fatalf("%+v", s)
	}
}
