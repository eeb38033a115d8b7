package canal_test

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"strata/canal"
	"strata/fault"
)

func TestL2_a_rewind_sends_present_rows_and_never_goes_back(t *testing.T) {
	for i, point := range append([]string{"", "canal.mark.after", "canal.ack.after", "canal.checkpoint.after"}, canal.DeskCrashPoints()...) {
		t.Run(point, func(t *testing.T) {
			t.Parallel()
			o := newOffice(t, uint64(i))
			o.write(10)
			from := o.last()
			o.write(20)
			o.work(nil, nil)
			id := o.task(canal.Task{Kind: canal.Rewind, Dataset: "entry", GTID: from, Who: "w"})
			o.work(o.traps(point, 2), o.trickle(20))
			o.marked()
			o.equal(o.data[0], true)
			o.equal(o.data[1], true)
			if k := o.desk.AllTasks()[id-1]; k.State != canal.Done || k.Done == 0 {
				t.Fatalf("%+v", k)
			}
		})
	}
}

func TestRewind_that_is_paused_while_it_reads_goes_on_in_the_same_term(t *testing.T) {
	for i := range 12 {
		o := newOffice(t, uint64(i))
		o.write(3)
		from := o.last()
		o.write(10)
		o.work(nil, nil)
		id := o.task(canal.Task{Kind: canal.Rewind, Dataset: "entry", GTID: from})
		var back atomic.Bool
		o.desk.Fail = func(method string) error {
			if back.Load() {
				return nil
			}
			return awayFrom("Enqueue")(method)
		}
		l := o.leader(o.config("a", nil))
		if err := o.until(l, func() {
			switch k := o.stateOf(id); {
			case k.State == canal.Running && !back.Load():
				o.desk.Wish(id, canal.Pause)
			case k.State == canal.Paused:
				back.Store(true)
				o.desk.Wish(id, canal.Run)
			case k.State == canal.Failed:
				t.Fatalf("%+v", k)
			}
		}, func() bool { return o.stateOf(id).State == canal.Done }); err != nil {
			t.Fatal(err)
		}
	}
}

func TestRewind_to_a_place_that_cannot_be_read_is_refused_and_lowers_no_claim(t *testing.T) {
	for name, to := range map[string]string{"not captured yet": "0-1-99999999", "purged": "0-1-2"} {
		t.Run(name, func(t *testing.T) {
			o := newOffice(t, 1)
			o.write(20)
			o.work(nil, nil)
			o.src.Purge(6)
			id := o.task(canal.Task{Kind: canal.Rewind, Dataset: "entry", GTID: to})
			kind := o.task(canal.Task{Kind: "rewnd", Dataset: "entry"})
			o.work(nil, nil)
			for _, id := range []int64{id, kind} {
				if k := o.stateOf(id); k.State != canal.Failed || k.Err == "" {
					t.Fatalf("%+v", k)
				}
			}
			beat := o.beat
			l := o.leader(o.config("a", nil))
			if err := o.until(l, nil, func() bool { return o.lastMark(o.data[0]) > beat }); err != nil {
				t.Fatal(err)
			}
			if len(l.Stats().Lowered) > 0 {
				t.Fatalf("%+v", l.Stats().Lowered)
			}
			o.equal(o.data[0], true)
		})
	}
}

func TestL4_a_new_dataset_is_not_mended_by_a_rewind(t *testing.T) {
	o := newOffice(t, 1)
	both := o.data
	o.data = both[1:]
	o.write(10)
	o.work(nil, nil)
	o.data = both
	o.desk.Fail = func(method string) error { // the task of strata's own waits
		if method == "Advance" {
			return fault.New(fault.Unavailable, method, "away")
		}
		return nil
	}
	l := o.leader(o.config("a", nil))
	if err := o.until(l, nil, func() bool { return len(o.desk.AllTasks()) == 1 }); err != nil {
		t.Fatal(err)
	}
	o.desk.Fail = nil
	o.desk.Wish(1, canal.Pause)
	id := o.task(canal.Task{Kind: canal.Rewind, Dataset: "entry"})
	if err := o.until(o.leader(o.config("a", nil)), nil, func() bool { return o.stateOf(id).State == canal.Failed }); err != nil {
		t.Fatal(err)
	}
	o.desk.Wish(1, canal.Run)
	o.work(nil, nil)
	o.equal(o.data[0], true)
}

// TestL2_a_rewind_of_a_stopped_dataset_wants_the_history_in_which_it_stopped: another one may have the place by name, and
// then what it did before that place, and what was sent of the old one, would never be repaired.
func TestL2_a_rewind_of_a_stopped_dataset_wants_the_history_in_which_it_stopped(t *testing.T) {
	for name, place := range map[string]string{"where it stopped": "", "earlier": "0-1-2"} {
		for _, adopted := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, adopted %v", name, adopted), func(t *testing.T) {
				o := newOffice(t, 8)
				o.write(10)
				o.work(nil, nil)
				common := len(o.src.Txns())
				o.write(10)
				if adopted {
					o.work(nil, nil)
					common = 0
					o.task(canal.Task{Kind: canal.Adopt, Who: "a person"})
				} else {
					o.src.Commit(canal.Txn{Poison: []canal.Poison{{Dataset: o.data[0], Err: fault.New(fault.Unsafe, "read", "rows changed unseen")}}})
					o.work(nil, nil)
				}
				o.src.Restore(common, 1)
				o.state = o.src.At(common)
				o.write(50)
				o.work(nil, nil)
				id := o.task(canal.Task{Kind: canal.Rewind, Dataset: "entry", GTID: place})
				o.work(nil, nil)
				if k := o.stateOf(id); k.State != canal.Failed || !strings.Contains(k.Err, "backfill the dataset") {
					t.Fatalf("%+v", k)
				}
				for _, d := range o.data {
					o.task(canal.Task{Kind: canal.Backfill, Dataset: d.Name})
				}
				o.work(nil, nil)
				for _, d := range o.data {
					o.endsEqual(d)
				}
				o.marked()
			})
		}
	}
}
