package canal_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"strata/canal"
	"strata/canal/canaltest"
	"strata/catalog"
	"strata/fault"
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

// sent counts the records of rows in a dataset's topic.
func (o *office) sent(d *catalog.Dataset) (n int) {
	for p := range d.Partitions {
		for _, r := range o.sink.Records(d.Name, p) {
			if r.Header.Kind == canal.KindChange || r.Header.Kind == canal.KindBackfill {
				n++
			}
		}
	}
	return n
}

// work lets leaders work until the desk has nothing open, crash as often as they do.
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

// traps crashes each leader once at a point, at a hit up to the most-th; no point is no crash.
func (o *office) traps(point string, most int) func(int) func(string) error {
	return func(int) func(string) error {
		if point == "" {
			return nil
		}
		return local.NewTrap(point, 1+o.rnd.IntN(most)).At
	}
}

// trickle writes a transaction at each call, fewer than so many.
func (o *office) trickle(calls int) func() {
	n := 0
	return func() {
		if n++; n < calls {
			o.write(1)
		}
	}
}

// marked runs a leader until marks of the first dataset flow again.
func (o *office) marked() {
	o.t.Helper()
	beat := o.beat
	if err := o.until(o.leader(o.config("a", nil)), nil, func() bool { return o.lastMark(o.data[0]) > beat }); err != nil {
		o.t.Fatal(err)
	}
}

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
