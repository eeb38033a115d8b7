package canal_test

import (
	"sync/atomic"
	"testing"

	"strata/canal"
	"strata/canal/canaltest"
	"strata/fault"
)

func TestBackfill_beside_XA_goes_on_after_a_clock_was_set_back_and_heartbeats_began_anew(t *testing.T) {
	o := newOffice(t, 1)
	o.xa = true
	o.beat = 1 << 40
	o.write(30)
	o.start = o.last()
	id := o.task(canal.Task{Kind: canal.Backfill, Dataset: "entry"})
	var anew atomic.Bool
	o.tables.Fail = func(method, _ string) error {
		if method == "Chunk" && !anew.Load() {
			return fault.New(fault.Unavailable, method, "away")
		}
		return nil
	}
	n := 0
	o.work(nil, func() {
		if o.stateOf(id).State == canal.Running && n < 20 {
			n++
			o.write(2)
		}
		if n == 20 && anew.CompareAndSwap(false, true) {
			o.mu.Lock()
			o.beat, o.clock = 1, 7_000_000
			o.mu.Unlock()
		}
	})
	o.equal(o.data[0], false)
}

func TestL2_a_new_leader_reads_nothing_for_a_while_after_XA_commits_that_it_did_not_see(t *testing.T) {
	for seed := range uint64(12) {
		o := newOffice(t, seed)
		o.step = 1000
		o.write(20)
		for id, old := range o.src.At(len(o.src.Txns()))["entry"] {
			o.src.Commit(canal.Txn{XACommit: true, Changes: []canal.Change{{Dataset: o.data[0], Shard: "entry", Op: canal.Update, Before: canaltest.Row(id, old), After: canaltest.Row(id, "new "+old)}}})
		}
		n := len(o.src.Txns())
		o.pulse()
		at := o.last()
		l := o.leader(o.config("a", nil))
		if err := o.until(l, nil, func() bool { return !o.lasts(l, at) }); err != nil {
			t.Fatal(err)
		}
		o.tables.XALate = len(o.src.Txns()) - n + 5
		o.step = 7_000_000 // the minute passes with the ninth
		o.task(canal.Task{Kind: canal.Backfill, Dataset: "entry"})
		o.work(nil, nil)
		o.equal(o.data[0], false)
	}
}

func TestL2_rows_that_an_XA_transaction_changed_just_before_a_snapshot_are_not_taken_from_it(t *testing.T) {
	for seed := range uint64(8) {
		o := newOffice(t, seed)
		o.step = 1000 // a minute never passes
		o.write(20)
		o.start = o.last()
		for id, old := range o.src.At(len(o.src.Txns()))["entry"] {
			o.src.Commit(canal.Txn{XACommit: true, Changes: []canal.Change{{Dataset: o.data[0], Shard: "entry", Op: canal.Update, Before: canaltest.Row(id, old), After: canaltest.Row(id, "new "+old)}}})
		}
		o.tables.XALate = 1 << 20
		o.task(canal.Task{Kind: canal.Backfill, Dataset: "entry"})
		o.work(nil, nil)
		o.equal(o.data[0], false)
	}
}

// A server that goes down between writing the outcome of an XA transaction and doing it may do the other thing afterwards.
func TestL2_rows_of_XA_transactions_that_a_crash_undid_are_read_again(t *testing.T) {
	for name, successor := range map[string]bool{"by the same leader": false, "by its successor": true} {
		t.Run(name, func(t *testing.T) {
			o := newOffice(t, 1)
			update := func(id int, from, to string) []canal.Change {
				return []canal.Change{{Dataset: o.data[0], Shard: "entry", Op: canal.Update, Before: canaltest.Row(id, from), After: canaltest.Row(id, to)}}
			}
			for id, note := range map[int]string{1: "a", 2: "b", 3: "c"} {
				o.src.Commit(canal.Txn{Changes: []canal.Change{{Dataset: o.data[0], Shard: "entry", Op: canal.Insert, After: canaltest.Row(id, note)}}})
			}
			o.pulse()
			o.src.Commit(canal.Txn{XACommit: true, Changes: update(1, "a", "committed in the binlog alone")})
			o.src.Commit(canal.Txn{Undone: update(2, "b", "committed after all")})
			if successor {
				if err := o.run(o.leader(o.config("a", nil))); err != nil {
					t.Fatal(err)
				}
			}
			o.src.Hide(func(rows map[string]map[int]string) {
				rows["entry"][1], rows["entry"][2] = "a", "committed after all"
			})
			o.src.Commit(canal.Txn{Started: true})
			o.work(nil, nil)
			o.endsEqual(o.data[0])
		})
	}
}
