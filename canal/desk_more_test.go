package canal_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
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

func TestL2_repairs_race_with_changes_and_end_as_the_tables(t *testing.T) {
	for i, point := range append([]string{"", "canal.ack.after", "canal.checkpoint.after"}, canal.DeskCrashPoints()[8:]...) {
		for seed := range uint64(3) {
			t.Run(fmt.Sprintf("%s/%d", point, seed), func(t *testing.T) {
				t.Parallel()
				o := newOffice(t, uint64(i)*7+seed)
				o.write(20)
				o.work(nil, nil)
				rnd := rand.New(rand.NewPCG(seed, 11)) // the writer's is used beside this
				var n atomic.Int64
				o.tables.Between = func() {
					if n.Load() < 100 {
						o.write(1)
					}
				}
				held := 0
				o.tables.Held = func(string, catalog.Key) bool {
					held++
					return held%5 == 0 && held < 200
				}
				o.work(func(int) func(string) error {
					if point == "" {
						return nil
					}
					return local.NewTrap(point, 1+rnd.IntN(3)).At
				}, func() {
					if n.Add(1) > 25 {
						return
					}
					var keys []canal.RepairKey
					for range 5 {
						keys = append(keys, canal.RepairKey{Dataset: "entry", Shard: o.shards[rnd.IntN(2)], Key: catalog.Key(fmt.Sprint(rnd.IntN(15)))})
					}
					if err := o.desk.Enqueue(context.Background(), keys); err != nil {
						t.Error(err)
					}
				})
				o.equal(o.data[0], true)
				o.equal(o.data[1], true)
			})
		}
	}
}

func TestRepair_mends_what_the_binlog_never_said(t *testing.T) {
	o := newOffice(t, 1)
	one := func(op canal.Op, id int, note string) {
		c := canal.Change{Dataset: o.data[0], Shard: "entry", Op: op, After: canaltest.Row(id, note)}
		if op == canal.Delete {
			c = canal.Change{Dataset: o.data[0], Shard: "entry", Op: op, Before: canaltest.Row(id, note)}
		}
		o.src.Commit(canal.Txn{Changes: []canal.Change{c}})
	}
	one(canal.Insert, 1, "a")
	one(canal.Insert, 2, "b")
	one(canal.Insert, 3, "c")
	o.src.Hide(func(rows map[string]map[int]string) {
		rows["entry"][1] = "hidden"
		delete(rows["entry"], 2)
	})
	o.pulse()
	for _, k := range []catalog.Key{"1", "2", "3"} {
		if err := o.desk.Enqueue(t.Context(), []canal.RepairKey{{Dataset: "entry", Shard: "entry", Key: k}}); err != nil {
			t.Fatal(err)
		}
	}
	o.work(nil, nil)
	got := map[string]string{}
	for p := range o.data[0].Partitions {
		for _, r := range o.sink.Records("entry", p) {
			if r.Header.Kind == canal.KindChange || r.Header.Kind == canal.KindBackfill {
				name, note, err := stateOf(&r)
				if err != nil {
					t.Fatal(err)
				}
				got[name] = note
			}
		}
	}
	if got["entry 1"] != "hidden" || got["entry 2"] != "" || got["entry 3"] != "c" {
		t.Fatalf("%v", got)
	}
}

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

// endsEqual compares the end of a topic, whatever came before it, with the tables.
func (o *office) endsEqual(d *catalog.Dataset) {
	o.t.Helper()
	last := map[string]string{}
	for p := range d.Partitions {
		gate := canal.Gate{}
		for _, r := range o.sink.Records(d.Name, p) {
			if gate.Pass(&r.Header) && (r.Header.Kind == canal.KindChange || r.Header.Kind == canal.KindBackfill) {
				name, note, err := stateOf(&r)
				if err != nil {
					o.t.Fatal(err)
				}
				if last[name] = note; note == "" {
					delete(last, name)
				}
			}
		}
	}
	want := map[string]string{}
	for shard, rows := range o.src.At(len(o.src.Txns())) {
		if (shard == "transfer") == (d.Name == "transfer") {
			for id, note := range rows {
				want[fmt.Sprint(shard, " ", id)] = note
			}
		}
	}
	if fmt.Sprint(last) != fmt.Sprint(want) {
		o.t.Fatalf("%s: the topic ends as\n%v, the tables as\n%v\ntasks %+v", d.Name, last, want, o.desk.AllTasks())
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

func TestL2_a_topic_that_lost_its_tail_is_mended_and_nothing_is_sent_again(t *testing.T) {
	for name, damage := range map[string]func(*canaltest.Sink, *catalog.Dataset) error{
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
	} {
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
			n := 0
			o.work(nil, func() {
				if n++; n < 20 {
					o.write(1)
				}
			})
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
			beat := o.beat
			if err := o.until(o.leader(o.config("a", nil)), nil, func() bool { return o.lastMark(o.data[0]) > beat }); err != nil {
				t.Fatal(err)
			}
		})
	}
}

func TestStopped_dataset_goes_on_by_a_task_that_mends_it(t *testing.T) {
	for _, task := range []canal.Task{{Kind: canal.Backfill, Dataset: "entry"}, {Kind: canal.Rewind, Dataset: "entry"}, {Kind: canal.Accept, Dataset: "entry"}} {
		t.Run(string(task.Kind), func(t *testing.T) {
			o := newOffice(t, 3)
			o.write(10)
			x := canal.Txn{Alarms: []canal.Alarm{{Dataset: "entry", Table: "entry_b", What: "truncate", Effect: canal.Gone}}}
			o.data[0].RowsGone = catalog.GoneStop
			o.src.Commit(x)
			o.state = o.src.At(len(o.src.Txns()))
			o.write(10)
			l := o.leader(o.config("a", nil))
			if err := o.until(l, nil, func() bool { return l.Stats().GTID == o.last() || len(l.Stats().Stopped) > 0 }); err != nil {
				t.Fatal(err)
			}
			if len(l.Stats().Stopped) != 1 {
				t.Fatalf("%+v", l.Stats())
			}
			part := o.task(canal.Task{Kind: canal.Backfill, Dataset: "entry", Shards: []string{"entry"}})
			o.work(nil, nil)
			if k := o.desk.AllTasks()[part-1]; k.State != canal.Failed || k.Err == "" {
				t.Fatalf("a part mends a stopped dataset: %+v", k)
			}
			id := o.task(task)
			o.write(3)
			o.work(nil, nil)
			if k := o.desk.AllTasks()[id-1]; k.State != canal.Done {
				t.Fatalf("%+v", k)
			}
			beat := o.beat
			if err := o.until(o.leader(o.config("a", nil)), nil, func() bool { return o.lastMark(o.data[0]) > beat }); err != nil {
				t.Fatal(err)
			}
			if _, err := o.follow(o.data[0], false); err != nil {
				t.Fatal(err)
			}
			if task.Kind == canal.Backfill { // rows that went while it was stopped are gone from the topic too
				o.equal(o.data[0], false)
			}
			if task.Kind == canal.Rewind {
				o.state = o.src.At(len(o.src.Txns()))
				for name, note := range o.must(o.data[0]) {
					if !strings.HasPrefix(name, "entry_b") && note != "" && o.state["entry"][idIn(name)] != note {
						t.Fatalf("%s is %q in the topic", name, note)
					}
				}
			}
		})
	}
}

func (o *office) must(d *catalog.Dataset) map[string]string {
	o.t.Helper()
	last, err := o.follow(d, false)
	if err != nil {
		o.t.Fatal(err)
	}
	return last
}

func idIn(name string) (id int) {
	var shard string
	_, _ = fmt.Sscan(name, &shard, &id)
	return id
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
			beat := o.beat
			if err := o.until(o.leader(o.config("a", nil)), nil, func() bool { return o.lastMark(o.data[0]) > beat }); err != nil {
				t.Fatal(err)
			}
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
		paused, goOn := make(chan struct{}), make(chan struct{})
		n := 0
		cfg := o.config("old", func(point string) error {
			if point == "canal.backfill.before" {
				if n++; n == 1 {
					close(paused)
					<-goOn
				}
			}
			return nil
		})
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

func TestDesk_that_is_away_stops_no_stream(t *testing.T) {
	o := newOffice(t, 1)
	o.write(10)
	o.desk.Fail = func(method string) error {
		if method == "AddTask" {
			return nil
		}
		return fault.New(fault.Unavailable, method, "away")
	}
	if err := o.run(o.leader(o.config("a", nil))); err != nil {
		t.Fatal(err)
	}
	o.equal(o.data[0], true)
}

func TestEvidence_and_status_are_written(t *testing.T) {
	o := newOffice(t, 1)
	o.write(10)
	o.task(canal.Task{Kind: canal.Backfill, Dataset: "entry", Who: "me", Why: "because"})
	o.work(nil, nil)
	var what []string
	for _, e := range o.desk.Evidence() {
		what = append(what, e.What+" "+e.Who)
	}
	if s := strings.Join(what, ", "); !strings.Contains(s, "term a") || strings.Count(s, "backfill me") < 2 {
		t.Fatal(s)
	}
	s := o.desk.Status()
	if s == nil || s.Term == 0 || s.GTID == "" || len(s.Numbers["entry"]) != 3 || s.LagMs < 0 {
		t.Fatalf("%+v", s)
	}
}
