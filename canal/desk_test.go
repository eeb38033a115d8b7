package canal_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"strata/canal"
	"strata/canal/canaltest"
	"strata/catalog"
	"strata/local"
)

// office is a rig with a desk, whose writer keeps to what its tables hold. Notes are unique: they name a state of a row.
type office struct {
	*rig
	desk   *canaltest.Desk
	tables *canaltest.Tables
	rnd    *rand.Rand
	state  map[string]map[int]string
	beat   uint64
	step   uint64   // µs between two heartbeats
	clock  uint64   // of the last one
	shards []string // of the first dataset
	xa     bool
	start  string
	all    []*catalog.Dataset // what the writer knows
	mu     sync.Mutex         // of the writer
}

func newOffice(t *testing.T, seed uint64) *office {
	r := newRig(t)
	o := &office{rig: r, desk: canaltest.NewDesk(r.control), tables: canaltest.NewTables(r.src, seed), rnd: rand.New(rand.NewPCG(seed, 3)),
		state: map[string]map[int]string{}, shards: []string{"entry", "entry_b"}, all: r.data, step: 7_000_000}
	return o
}

func (o *office) config(holder string, at func(string) error) canal.Config {
	cfg := o.rig.config(holder, at)
	cfg.Desk, cfg.Tables, cfg.Start = o.desk, o.tables, o.start
	return cfg
}

// write commits n transactions that follow the rows there are, each second one with a heartbeat after it.
func (o *office) write(n int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.burst(n, true)
	o.pulse1()
}

// burst commits without a heartbeat at the end.
func (o *office) burst(n int, beats bool) {
	for range n {
		o.n++
		x := canal.Txn{Time: int64(o.beat), XACommit: o.xa && o.rnd.IntN(4) == 0}
		met := map[string]bool{}
		for k := range 1 + o.rnd.IntN(3) {
			d, shard := o.all[1], "transfer"
			if o.rnd.IntN(3) > 0 {
				d, shard = o.all[0], o.shards[o.rnd.IntN(len(o.shards))]
			}
			id := o.rnd.IntN(12)
			name := fmt.Sprint(shard, id)
			if met[name] {
				continue
			}
			met[name] = true
			rows := o.state[shard]
			if rows == nil {
				rows = map[int]string{}
				o.state[shard] = rows
			}
			c := canal.Change{Dataset: d, Shard: shard, Ordinal: uint32(2 * k)}
			old, is := rows[id]
			note := fmt.Sprintf("n%d.%d", o.n, k)
			switch {
			case !is:
				c.Op, c.After = canal.Insert, canaltest.Row(id, note)
				rows[id] = note
			case o.rnd.IntN(3) == 0:
				c.Op, c.Before = canal.Delete, canaltest.Row(id, old)
				delete(rows, id)
			default:
				c.Op, c.Before, c.After = canal.Update, canaltest.Row(id, old), canaltest.Row(id, note)
				rows[id] = note
			}
			x.Changes = append(x.Changes, c)
		}
		o.src.Commit(x)
		if beats && o.rnd.IntN(2) == 0 {
			o.pulse1()
		}
	}
}

// pulse commits a heartbeat, a step (7 s) after the last one by its clock.
func (o *office) pulse() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.pulse1()
}

func (o *office) pulse1() {
	o.beat++
	o.clock += o.step
	o.src.Commit(canal.Txn{Beat: &canal.Beat{Seq: o.beat, At: catalog.Instant(o.clock)}})
}

// until runs a leader until cond holds, with a heartbeat now and then; between is called each time.
func (o *office) until(l *canal.Leader, between func(), cond func() bool) error {
	o.t.Helper()
	ctx, stop := context.WithTimeout(context.Background(), 30*time.Second)
	defer stop()
	done := make(chan error, 1)
	go func() { done <- l.Run(ctx) }()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case err := <-done:
			if ctx.Err() != nil {
				o.t.Fatalf("it took too long: tasks %+v, stats %+v", o.desk.AllTasks(), l.Stats())
			}
			return err
		case <-tick.C:
			if between != nil {
				between()
			}
			o.pulse()
			if s := l.Stats(); s.Leading && cond() {
				at := o.last()
				for l.Stats().GTID != at && o.lasts(l, at) {
					select {
					case err := <-done:
						return err
					case <-tick.C:
					}
				}
				stop()
				return <-done
			}
		}
	}
}

// lasts reports whether the leader has not reached a place yet.
func (o *office) lasts(l *canal.Leader, at string) bool {
	ok, err := o.src.Reached(l.Stats().GTID, at)
	return err == nil && !ok
}

// idle reports whether the desk has nothing open.
func (o *office) idle() bool {
	tasks, err := o.desk.Tasks(context.Background())
	left, err2 := o.desk.Left(context.Background(), 0)
	return err == nil && err2 == nil && len(tasks) == 0 && left == 0
}

func (o *office) task(k canal.Task) int64 {
	o.t.Helper()
	id, ok, err := o.desk.AddTask(context.Background(), 0, k)
	if err != nil || !ok {
		o.t.Fatal(ok, err)
	}
	return id
}

// states lists what each row was, in order: a note, or "" for absent, with the transaction that made it so.
type rowState struct {
	note string
	at   int // transactions, counted from 1
}

func (o *office) states(d *catalog.Dataset) map[string][]rowState {
	out := map[string][]rowState{}
	for i, x := range o.src.Txns() {
		for _, a := range x.Alarms {
			for name, list := range out {
				if a.Effect == canal.Gone && strings.HasPrefix(name, a.Table+" ") && list[len(list)-1].note != "" {
					out[name] = append(list, rowState{at: i + 1})
				}
			}
		}
		for _, c := range x.Changes {
			if c.Dataset != d {
				continue
			}
			r, note := &c.After, c.After
			if c.Op == canal.Delete {
				r = &c.Before
			}
			name := c.Shard + " " + r.Text(0)
			s := rowState{at: i + 1}
			if c.Op != canal.Delete {
				s.note = note.Text(1)
			}
			if out[name] == nil {
				out[name] = []rowState{{}} // absent at first
			}
			out[name] = append(out[name], s)
		}
	}
	return out
}

// follow checks a dataset's topic record by record: per key no older image follows a newer one, and a mark claims nothing
// that the topic lacks. It returns the last state of every row that it met.
func (o *office) follow(d *catalog.Dataset, honest bool) (map[string]string, error) {
	states := o.states(d)
	txns := o.src.Txns()
	of := map[string]int{} // transaction by GTID, counted from 1
	for i := range txns {
		of[txns[i].GTID] = i + 1
	}
	last := map[string]string{}
	for p := range d.Partitions {
		rank := map[string]int{}
		gate := canal.Gate{}
		for _, r := range o.sink.Records(d.Name, p) {
			h := r.Header
			if !gate.Pass(&h) {
				continue
			}
			switch h.Kind {
			case canal.KindChange, canal.KindBackfill:
				name, note, err := stateOf(&r)
				if err != nil {
					return nil, err
				}
				at := rank[name]
				for at < len(states[name]) && (states[name][at].note != note || h.Kind == canal.KindChange && of[h.GTID] != states[name][at].at) {
					at++
				}
				if at == len(states[name]) && !(note == "" && at == 0) { // a row that never was may be said to be absent
					return nil, fmt.Errorf("%s partition %d offset %d: %s of row %q comes after state %d of %v", d.Name, p, r.Offset, note, name, rank[name], states[name])
				}
				if at < len(states[name]) {
					rank[name] = at
				}
				last[name] = note
			case canal.KindMark:
				var m canal.Mark
				if err := json.Unmarshal(r.Value, &m); err != nil {
					return nil, err
				}
				if !honest || m.GTID == "" {
					continue
				}
				for name, list := range states {
					if canal.PartitionOf(keyOf(name), d.Partitions) != p {
						continue
					}
					must := 0
					for must+1 < len(list) && list[must+1].at <= of[m.GTID] {
						must++
					}
					_, met := last[name]
					if !met && list[must].note != "" || met && rank[name] < must {
						return nil, fmt.Errorf("%s partition %d offset %d: mark %s claims state %d of row %q, the topic has state %d (met %v) of %v", d.Name, p, r.Offset, m.GTID, must, name, rank[name], met, list)
					}
				}
			}
		}
	}
	return last, nil
}

func keyOf(name string) []byte {
	var shard string
	var id int
	_, _ = fmt.Sscan(name, &shard, &id)
	return fmt.Appendf(nil, `{"id":%d}`, id)
}

// stateOf reads a record: its row, and the note or "" for absent.
func stateOf(r *canal.Record) (name, note string, err error) {
	var e canal.Envelope
	var key struct{ ID int }
	var row struct{ Note string }
	if err := errors.Join(json.Unmarshal(r.Value, &e), json.Unmarshal(r.Key, &key)); err != nil {
		return "", "", err
	}
	if e.Op != "d" {
		if err := json.Unmarshal(e.After, &row); err != nil {
			return "", "", err
		}
	}
	return fmt.Sprint(r.Header.Shard, " ", key.ID), row.Note, nil
}

// equal checks a dataset's topic, and that it ends as the tables are.
func (o *office) equal(d *catalog.Dataset, honest bool) {
	o.t.Helper()
	last, err := o.follow(d, honest)
	if err != nil {
		o.t.Fatal(err)
	}
	want := map[string]string{}
	for shard, rows := range o.src.At(len(o.src.Txns())) {
		if (shard == "transfer") != (d.Name == "transfer") {
			continue
		}
		for id, note := range rows {
			want[fmt.Sprint(shard, " ", id)] = note
		}
	}
	maps.DeleteFunc(last, func(_, note string) bool { return note == "" })
	for name, note := range want {
		if last[name] != note {
			o.t.Fatalf("%s: row %s is %q in its table, %q in the topic", d.Name, name, note, last[name])
		}
	}
	for name, note := range last {
		if _, ok := want[name]; !ok {
			o.t.Fatalf("%s: row %s is absent, %q in the topic", d.Name, name, note)
		}
	}
}

// lastMark returns the highest heartbeat that every partition of a dataset's topic was told, in its last mark.
func (o *office) lastMark(d *catalog.Dataset) uint64 {
	least := ^uint64(0)
	for p := range d.Partitions {
		beat := uint64(0)
		for _, r := range o.sink.Records(d.Name, p) {
			var m canal.Mark
			if r.Header.Kind == canal.KindMark && json.Unmarshal(r.Value, &m) == nil {
				beat = m.Heartbeat
			}
		}
		least = min(least, beat)
	}
	return least
}

// run lets leaders work until the desk has nothing open, crash as often as they do.
func (o *office) work(crash func(i int) func(string) error, between func()) {
	o.t.Helper()
	for i := 0; ; i++ {
		var at func(string) error
		if crash != nil && i < 6 {
			at = crash(i)
		}
		err := o.until(o.leader(o.config("a", at)), between, o.idle)
		switch {
		case err == nil:
			return
		case errors.Is(err, local.ErrCrash):
			o.sink.Land()
			o.write(2)
		default:
			o.t.Fatal(err)
		}
	}
}

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
				o.work(func(i int) func(string) error {
					if point == "" {
						return nil
					}
					return local.NewTrap(point, 1+o.rnd.IntN(4)).At
				}, func() {
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
			n := 0
			o.work(func(int) func(string) error {
				if point == "" {
					return nil
				}
				return local.NewTrap(point, 1+o.rnd.IntN(3)).At
			}, func() {
				if n++; n < 20 {
					o.write(1)
				}
			})
			beat := o.beat
			if err := o.until(o.leader(o.config("a", nil)), nil, func() bool { return o.lastMark(o.data[0]) > beat }); err != nil {
				t.Fatal(err)
			}
			o.equal(o.data[0], true)
			o.equal(o.data[1], true)
			k := o.desk.AllTasks()
			if len(k) != 1 || k[0].Kind != canal.Backfill || k[0].Who != "strata" || k[0].State != canal.Done {
				t.Fatalf("tasks: %+v", k)
			}
		})
	}
}

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
			n := 0
			o.work(func(int) func(string) error {
				if point == "" {
					return nil
				}
				return local.NewTrap(point, 1+o.rnd.IntN(2)).At
			}, func() {
				if n++; n < 20 {
					o.write(1)
				}
			})
			beat := o.beat
			if err := o.until(o.leader(o.config("a", nil)), nil, func() bool { return o.lastMark(o.data[0]) > beat }); err != nil {
				t.Fatal(err)
			}
			o.equal(o.data[0], true)
			o.equal(o.data[1], true)
			if k := o.desk.AllTasks()[id-1]; k.State != canal.Done || k.Done == 0 {
				t.Fatalf("%+v", k)
			}
		})
	}
}
