package canal_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"strata/canal"
	"strata/canal/canaltest"
	"strata/catalog"
	"strata/fault"
	"strata/local"
)

func TestL2_a_backfill_beside_the_stream_never_goes_back(t *testing.T) {
	points := slices.Concat([]string{"", "canal.ack.after", "canal.checkpoint.before", "canal.checkpoint.after", "canal.mark.after", "canal.send.after"}, canal.DeskCrashPoints())
	for i, point := range points {
		for seed := range uint64(4) {
			t.Run(fmt.Sprintf("%s/%d", point, seed), func(t *testing.T) {
				t.Parallel()
				o := newOffice(t, uint64(i)*100+seed)
				o.xa = seed%2 == 1
				o.tables.MaxAge, o.tables.XALate = int(seed/2)*12, 4
				o.write(20)
				o.start = o.last()
				o.task(canal.Task{Kind: canal.Backfill, Dataset: "entry", Who: "w"})
				o.task(canal.Task{Kind: canal.Backfill, Dataset: "transfer", Who: "w"})
				lose := rand.New(rand.NewPCG(seed, 99))
				o.sink.Lose = func(_ string, _ int32, n int) (int, bool) { return lose.IntN(n + 1), lose.IntN(2) == 0 }
				n, bursts := 0, 0
				o.tables.Fail = func(method, _ string) error { // a snapshot shows what the stream doesn't have yet
					o.mu.Lock()
					defer o.mu.Unlock()
					if bursts++; method == "Chunk" && bursts < 40 {
						o.burst(4, false)
					}
					return nil
				}
				o.work(o.traps(point, 4), func() {
					if n++; n < 40 {
						o.write(2)
					}
				})
				o.equal(o.data[0], false)
				o.equal(o.data[1], false)
				for _, k := range o.desk.AllTasks() {
					if k.State != canal.Done {
						t.Fatalf("%+v", k)
					}
				}
			})
		}
	}
}

func TestL4_a_dataset_that_is_new_is_backfilled_and_claims_nothing_before(t *testing.T) {
	for i, point := range append([]string{"", "canal.mark.after", "canal.ack.after", "canal.checkpoint.after"}, canal.DeskCrashPoints()...) {
		t.Run(point, func(t *testing.T) {
			t.Parallel()
			o := newOffice(t, uint64(i))
			o.tables.MaxAge = 6
			both := o.data
			o.data = both[1:]
			o.write(10)
			o.work(nil, nil)
			o.write(10)
			o.data = both
			o.work(o.traps(point, 3), o.trickle(20))
			o.marked()
			o.equal(o.data[0], true)
			o.equal(o.data[1], true)
			k := o.desk.AllTasks()
			if len(k) != 1 || k[0].Kind != canal.Backfill || k[0].Who != "strata" || k[0].State != canal.Done {
				t.Fatalf("tasks: %+v", k)
			}
		})
	}
}

func TestL4_a_statement_that_changes_values_lowers_the_claim_until_the_shard_is_read_anew(t *testing.T) {
	for i, point := range append([]string{"", "canal.checkpoint.after"}, canal.DeskCrashPoints()...) {
		t.Run(point, func(t *testing.T) {
			t.Parallel()
			o := newOffice(t, uint64(i))
			o.tables.MaxAge = 8
			o.write(10)
			o.work(nil, nil)
			o.write(3)
			o.src.Commit(canal.Txn{Alarms: []canal.Alarm{{Dataset: "entry", Table: "entry_b", What: "alter", Effect: canal.Rewritten}}})
			at := len(o.src.Txns())
			o.write(3)
			o.work(func(int) func(string) error {
				if point == "" {
					return nil
				}
				return local.NewTrap(point, 1).At
			}, nil)
			o.marked()
			o.equal(o.data[0], true)
			k := o.desk.AllTasks()
			if len(k) != 1 || k[0].State != canal.Done || fmt.Sprint(k[0].Shards) != "[entry_b]" || k[0].Done == 0 {
				t.Fatalf("tasks %+v", k)
			}
			for p := range o.data[0].Partitions { // no mark between the statement and what mends it
				repaired := false
				for _, r := range o.sink.Records("entry", p) {
					repaired = repaired || r.Header.Kind == canal.KindResume && strings.Contains(string(r.Value), `"repaired":true`)
					if ok, _ := o.src.Reached(r.Header.GTID, o.src.Txns()[at-1].GTID); ok && r.Header.Kind == canal.KindMark && !repaired {
						t.Fatalf("mark %s before the repair", r.Value)
					}
				}
			}
		})
	}
}

func TestBackfill_follows_a_shard_into_the_archive(t *testing.T) {
	for seed := range uint64(8) {
		o := newOffice(t, seed)
		o.tables.MaxAge = 5
		o.write(30)
		o.start = o.last()
		o.task(canal.Task{Kind: canal.Backfill, Dataset: "entry"})
		n := 0
		o.work(nil, func() {
			switch n++; {
			case n == int(seed)+1:
				o.shards = []string{"entry", "entry_c"}
				o.src.Commit(canal.Txn{Parts: []catalog.Part{{Dataset: "entry", Shard: "entry_b", Epoch: 2, State: catalog.Released, Range: catalog.All()}}})
			case n < 20:
				o.write(1)
			}
		})
		o.equal(o.data[0], false)
	}
}

func TestBackfill_that_cannot_read_a_shard_fails_by_its_name(t *testing.T) {
	o := newOffice(t, 1)
	o.write(20)
	o.tables.Fail = func(method, shard string) error {
		if method == "Chunk" && shard == "entry_b" {
			return fault.New(fault.Denied, "read", "no right")
		}
		return nil
	}
	id := o.task(canal.Task{Kind: canal.Backfill, Dataset: "entry"})
	named := o.task(canal.Task{Kind: canal.Backfill, Dataset: "entry", Shards: []string{"entry_z"}})
	o.work(nil, nil)
	if k := o.desk.AllTasks()[id-1]; k.State != canal.Failed || !strings.Contains(k.Err, "entry_b") {
		t.Fatalf("%+v", k)
	}
	if k := o.desk.AllTasks()[named-1]; k.State != canal.Failed || !strings.Contains(k.Err, "entry_z") {
		t.Fatalf("%+v", k)
	}
}

func TestBackfill_pauses_goes_on_and_ends_as_wished(t *testing.T) {
	o := newOffice(t, 1)
	o.write(40)
	o.start = o.last()
	broken := true
	o.tables.Fail = func(method, shard string) error {
		if broken && method == "Chunk" && shard == "entry_b" {
			return fault.New(fault.Unavailable, "read", "away")
		}
		return nil
	}
	id := o.task(canal.Task{Kind: canal.Backfill, Dataset: "entry"})
	state := func() canal.TaskState { return o.desk.AllTasks()[id-1].State }
	done := func() bool { return o.desk.AllTasks()[id-1].Err != "" }
	if err := o.until(o.leader(o.config("a", nil)), nil, done); err != nil {
		t.Fatal(err)
	}
	o.desk.Wish(id, canal.Pause)
	if err := o.until(o.leader(o.config("a", nil)), nil, func() bool { return state() == canal.Paused }); err != nil {
		t.Fatal(err)
	}
	broken = false
	o.desk.Wish(id, canal.Run)
	o.work(nil, nil)
	if state() != canal.Done {
		t.Fatalf("%+v", o.desk.AllTasks())
	}
	o.equal(o.data[0], false)
	id = o.task(canal.Task{Kind: canal.Backfill, Dataset: "entry"})
	o.desk.Wish(id, canal.End)
	o.work(nil, nil)
	if state() != canal.Ended {
		t.Fatalf("%+v", o.desk.AllTasks())
	}
}

func TestL2_a_paused_leader_with_a_backfill_in_hand_cannot_get_past_its_successor(t *testing.T) {
	for nth := 1; nth <= 4; nth++ {
		o := newOffice(t, uint64(nth))
		o.tables.MaxAge = 4
		o.write(30)
		o.start = o.last()
		o.task(canal.Task{Kind: canal.Backfill, Dataset: "entry"})
		at, paused, goOn := pauseAt("canal.backfill.before", 1)
		cfg := o.config("old", at)
		d := &deaf{Control: o.control}
		cfg.Control, cfg.Lease, cfg.CheckpointEvery = d, canaltest.NewControl(), 5*time.Millisecond
		old := o.leader(cfg)
		done := make(chan error, 1)
		ctx, stop := context.WithCancel(context.Background())
		go func() { done <- old.Run(ctx) }()
		for waiting := true; waiting; {
			select {
			case <-paused:
				waiting = false
			case <-time.After(2 * time.Millisecond):
				o.pulse()
			}
		}
		k := 0
		o.work(nil, func() {
			if k++; k < 10*nth {
				o.write(1)
			}
		})
		close(goOn)
		if err := <-done; !fault.Is(err, fault.Conflict) {
			t.Fatalf("the old leader went on: %v", err)
		}
		stop()
		o.write(5)
		o.work(nil, nil)
		o.equal(o.data[0], false)
	}
}

func TestBackfill_follows_a_shard_that_is_restored_from_the_archive(t *testing.T) {
	for seed := range uint64(4) {
		o := newOffice(t, seed)
		o.write(30)
		released := catalog.Part{Dataset: "entry", Shard: "entry_b", Epoch: 2, State: catalog.Released, Range: catalog.All()}
		o.src.Commit(canal.Txn{Parts: []catalog.Part{released}})
		o.shards = []string{"entry"}
		o.start = o.last()
		o.task(canal.Task{Kind: canal.Backfill, Dataset: "entry"})
		// It goes back to live just after all of it was read.
		var back atomic.Bool
		o.tables.Fail = func(method, shard string) error {
			if method == "Locked" && shard == "entry_b" && back.CompareAndSwap(false, true) {
				o.src.Commit(canal.Txn{})
			}
			return nil
		}
		n := 0
		o.work(nil, func() {
			if back.Load() {
				if n++; n == int(seed)+1 {
					owned := released
					owned.Epoch, owned.State = 3, catalog.Owned
					o.src.Commit(canal.Txn{Parts: []catalog.Part{owned}})
				}
			}
		})
		o.equal(o.data[0], false)
	}
}

func TestL2_rows_that_went_with_the_rewriting_of_a_table_go_from_the_topic_too(t *testing.T) {
	for i, point := range append([]string{""}, canal.DeskCrashPoints()...) {
		t.Run(point, func(t *testing.T) {
			t.Parallel()
			o := newOffice(t, uint64(i))
			o.write(20)
			o.work(nil, nil)
			o.write(3)
			o.src.Commit(canal.Txn{Alarms: []canal.Alarm{{Dataset: "entry", Table: "entry_b", What: "partition", Effect: canal.Gone},
				{Dataset: "entry", Table: "entry_b", What: "partition", Effect: canal.Rewritten}}})
			o.state = o.src.At(len(o.src.Txns()))
			o.write(3)
			o.work(o.traps(point, 2), o.trickle(5))
			o.marked()
			o.equal(o.data[0], false)
		})
	}
}

func TestBackfill_of_a_shard_that_a_statement_rewrote_and_another_dropped_ends(t *testing.T) {
	o := newOffice(t, 1)
	o.write(10)
	o.work(nil, nil)
	o.src.Commit(canal.Txn{Alarms: []canal.Alarm{{Dataset: "entry", Table: "entry_z", What: "alter", Effect: canal.Rewritten}}})
	o.work(nil, nil)
	beat := o.beat
	if err := o.until(o.leader(o.config("a", nil)), nil, func() bool { return o.lastMark(o.data[0]) > beat }); err != nil {
		t.Fatal(err)
	}
	if k := o.desk.AllTasks(); len(k) != 1 || k[0].State != canal.Done {
		t.Fatalf("%+v", k)
	}
	if !slices.ContainsFunc(o.desk.Evidence(), func(e canal.Evidence) bool {
		return strings.Contains(e.Detail, "entry_z") && e.Why == "the shard is gone"
	}) {
		t.Fatal("no evidence of the shard that is gone")
	}
}
