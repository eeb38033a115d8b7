package canal_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

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

func TestRepair_gives_up_what_is_no_key_and_what_is_not_captured_and_repairs_the_others(t *testing.T) {
	o := newOffice(t, 1)
	o.write(20)
	o.work(nil, nil)
	bad := &picky{Tables: o.tables}
	cfg := o.config("a", nil)
	cfg.Tables = bad
	for _, k := range []canal.RepairKey{{Dataset: "entry", Shard: "entry", Key: "1"}, {Dataset: "entry", Shard: "entry", Key: "no key"}, {Dataset: "entry", Shard: "entry", Key: "2"}, {Dataset: "was", Shard: "was", Key: "3"}} {
		if err := o.desk.Enqueue(t.Context(), []canal.RepairKey{k}); err != nil {
			t.Fatal(err)
		}
	}
	l := o.leader(cfg)
	if err := o.until(l, nil, o.idle); err != nil {
		t.Fatal(err)
	}
	if l.Stats().Repaired != 2 {
		t.Fatalf("%+v", l.Stats())
	}
	o.work(nil, nil)
	n := 0
	for _, e := range o.desk.Evidence() {
		if e.What == "repair" && (strings.Contains(e.Detail, "no key") || strings.Contains(e.Detail, `"was"`)) {
			n++
		}
	}
	if n != 2 {
		t.Fatalf("%+v", o.desk.Evidence())
	}
}

// picky refuses keys that are no number.
type picky struct{ *canaltest.Tables }

func (p *picky) Locked(ctx context.Context, d *catalog.Dataset, shard string, keys []catalog.Key, owner bool) (canal.Locked, error) {
	if slices.Contains(keys, "no key") {
		return canal.Locked{}, fault.New(fault.Invalid, "read key", "no key")
	}
	return p.Tables.Locked(ctx, d, shard, keys, owner)
}

// slow is tables whose Locked answers only when it is let go.
type slow struct {
	*canaltest.Tables
	asked chan struct{}
	goOn  chan struct{}
	n     atomic.Int32
}

func (s *slow) Locked(ctx context.Context, d *catalog.Dataset, shard string, keys []catalog.Key, owner bool) (canal.Locked, error) {
	k, err := s.Tables.Locked(ctx, d, shard, keys, owner)
	if len(keys) > 0 && s.n.Add(1) == 1 {
		close(s.asked)
		select {
		case <-s.goOn:
		case <-ctx.Done():
		}
	}
	return k, err
}

func TestL2_rows_that_were_read_for_repair_in_a_history_that_was_left_are_not_sent(t *testing.T) {
	o := newOffice(t, 1)
	row := func(op canal.Op, id int, note string) canal.Txn {
		c := canal.Change{Dataset: o.data[0], Shard: "entry", Op: op, After: canaltest.Row(id, note)}
		return canal.Txn{Changes: []canal.Change{c}}
	}
	o.src.Commit(row(canal.Insert, 1, "a"))
	o.pulse()
	o.work(nil, nil)
	base := len(o.src.Txns())
	read := &slow{Tables: o.tables, asked: make(chan struct{}), goOn: make(chan struct{})}
	o.src.Commit(row(canal.Insert, 2, "lost"))
	if err := o.desk.Enqueue(t.Context(), []canal.RepairKey{{Dataset: "entry", Shard: "entry", Key: "2"}}); err != nil {
		t.Fatal(err)
	}
	cfg := o.config("a", nil)
	cfg.Tables = read
	l := o.leader(cfg)
	step := 0
	if err := o.until(l, func() {
		switch step {
		case 0:
			select {
			case <-read.asked:
				o.src.Restore(base, 2)
				step = 1
			default:
			}
		case 1:
			for range 5 {
				o.pulse()
			}
			step = 2
		case 2:
			if slices.ContainsFunc(o.desk.AllTasks(), func(k canal.Task) bool { return k.Dataset == "entry" && k.State == canal.Running }) {
				close(read.goOn)
				step = 3
			}
		}
	}, func() bool { return step == 3 && o.idle() }); err != nil {
		t.Fatal(err)
	}
	o.endsEqual(o.data[0])
	for p := range o.data[0].Partitions {
		for _, r := range o.sink.Records("entry", p) {
			if r.Header.Kind == canal.KindBackfill && strings.Contains(string(r.Value), "lost") {
				t.Fatalf("%s", r.Value)
			}
		}
	}
}
