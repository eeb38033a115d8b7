package canal_test

import (
	"context"
	"errors"
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

// awayFrom makes one method of the desk fail.
func awayFrom(method string) func(string) error {
	return func(m string) error {
		if m == method {
			return fault.New(fault.Unavailable, m, "away")
		}
		return nil
	}
}

func (o *office) stateOf(id int64) canal.Task { return o.desk.AllTasks()[id-1] }

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

func (p *picky) Locked(ctx context.Context, d *catalog.Dataset, shard string, keys []catalog.Key) (canal.Locked, error) {
	if slices.Contains(keys, "no key") {
		return canal.Locked{}, fault.New(fault.Invalid, "read key", "no key")
	}
	return p.Tables.Locked(ctx, d, shard, keys)
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
	n := 0
	cfg := o.config("a", func(point string) error {
		if point == "canal.send.after" {
			if n++; n == 14 {
				return local.ErrCrash
			}
		}
		return nil
	})
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

// slow is tables whose Locked answers only when it is let go.
type slow struct {
	*canaltest.Tables
	asked chan struct{}
	goOn  chan struct{}
	n     atomic.Int32
}

func (s *slow) Locked(ctx context.Context, d *catalog.Dataset, shard string, keys []catalog.Key) (canal.Locked, error) {
	k, err := s.Tables.Locked(ctx, d, shard, keys)
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
	n := 0
	cfg := o.config("a", func(point string) error {
		if point == "canal.send.after" {
			if n++; n == 2 {
				return local.ErrCrash
			}
		}
		return nil
	})
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

// named is a source of one server, whose streams have something on disk.
type named struct{ *canaltest.Source }

func (named) Reads() string { return "replica-2" }

func (n named) Open(ctx context.Context, at canal.Position) (canal.Stream, error) {
	s, err := n.Source.Open(ctx, at)
	return spilled{s}, err
}

type spilled struct{ canal.Stream }

func (spilled) Spilled() int64 { return 4711 }

func TestStatus_names_the_server_and_is_told_while_nothing_comes(t *testing.T) {
	o := newOffice(t, 1)
	o.write(3)
	cfg := o.config("a", nil)
	cfg.Source = named{o.src}
	l := o.leader(cfg)
	ctx, stop := context.WithTimeout(t.Context(), 20*time.Second)
	defer stop()
	done := make(chan error, 1)
	go func() { done <- l.Run(ctx) }()
	var first time.Time
	for first.IsZero() || !o.desk.Status().At.After(first) || o.desk.Status().GTID != o.last() {
		select {
		case err := <-done:
			t.Fatal("no second status", err)
		case <-time.After(time.Millisecond):
		}
		if s := o.desk.Status(); s != nil && first.IsZero() && s.GTID == o.last() {
			first = s.At
		}
	}
	stop()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if s := o.desk.Status(); s.Source != "replica-2" || s.Spilled != 4711 || l.Stats().Source != "replica-2" || l.Stats().Spilled != 4711 {
		t.Fatalf("%+v", s)
	}
}
