package rebuild_test

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"strata/canal"
	"strata/catalog"
	"strata/fault"
	"strata/index"
	"strata/index/indextest"
	"strata/index/sqlite"
	"strata/local/localtest"
	"strata/sync/rebuild"
)

const settle = 30 * time.Second

// desk is what a rebuild sees of capture.
type desk struct {
	mu       sync.Mutex
	state    canal.State
	tasks    []canal.Task
	evidence []canal.Evidence
}

func (d *desk) Load(context.Context) (canal.State, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.state, nil
}

func (d *desk) Order(_ context.Context, t canal.Task) (canal.Task, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	t.ID, t.State = int64(len(d.tasks)+1), canal.Queued
	d.tasks = append(d.tasks, t)
	return t, nil
}

func (d *desk) AllTasks(context.Context, int) ([]canal.Task, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	out := slices.Clone(d.tasks)
	slices.Reverse(out)
	return out, nil
}

func (d *desk) TaskByID(_ context.Context, id int64) (canal.Task, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if id < 1 || int(id) > len(d.tasks) {
		return canal.Task{}, fault.New(fault.NotFound, "read task", "%d", id)
	}
	return d.tasks[id-1], nil
}

func (d *desk) SetWish(ctx context.Context, id int64, w canal.Wish, _ string) (canal.Task, error) {
	t, err := d.TaskByID(ctx, id)
	if err != nil {
		return t, err
	}
	if t.State == canal.Done || t.State == canal.Failed || t.State == canal.Ended {
		return t, fault.New(fault.Conflict, "change task", "%d is %s", id, t.State)
	}
	d.set(id, func(t *canal.Task) { t.Wish = w })
	return d.TaskByID(ctx, id)
}

func (d *desk) set(id int64, f func(*canal.Task)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	f(&d.tasks[id-1])
}

func (d *desk) Record(_ context.Context, e canal.Evidence) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.evidence = append(d.evidence, e)
	return nil
}

func (d *desk) count() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.tasks)
}

// world is an index, a desk, and rebuilds over them.
type world struct {
	t       *testing.T
	d       *catalog.Dataset
	x       *index.Generations
	desk    *desk
	cfg     rebuild.Config
	b       *rebuild.Rebuilds
	verdict atomic.Pointer[func(context.Context) (rebuild.Verdict, error)]
	stopped atomic.Pointer[error]
	early   atomic.Bool // a generation was about to answer before it had what was claimed
}

func newWorld(t *testing.T) *world {
	t.Helper()
	shelf, err := sqlite.Open(t.Context(), sqlite.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, d: indextest.Entries(), desk: &desk{}}
	w.d.Partitions = 2
	w.desk.state = canal.State{Term: 4, Checkpoint: &canal.Checkpoint{Term: 4, Seq: 100, Parts: map[string][]canal.PartPosition{
		w.d.Name: {{Offset: 50, Number: 40, Term: 4}, {Offset: 60, Number: 55, Term: 4}}}}}
	if w.x, err = index.NewGenerations(index.GenerationsConfig{Shelf: shelf, Now: time.Now}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.x.Close() })
	w.ok(w.x.Ensure(t.Context(), w.d))
	w.claim(1, 10)
	w.cfg = rebuild.Config{Index: w.x, Desk: w.desk, Datasets: []*catalog.Dataset{w.d}, Now: time.Now, Log: slog.New(slog.DiscardHandler), Every: 2 * time.Millisecond,
		Verify: func(ctx context.Context, d *catalog.Dataset, x index.Reader, progress func(done, total int64)) (rebuild.Verdict, error) {
			progress(3, 9)
			if f := w.verdict.Load(); f != nil {
				return (*f)(ctx)
			}
			return rebuild.Verdict{Rows: 9}, nil
		},
		Stopped: func(string, int) error {
			if e := w.stopped.Load(); e != nil {
				return *e
			}
			return nil
		}}
	w.b = w.rebuilds(nil)
	return w
}

func (w *world) rebuilds(at func(string) error) *rebuild.Rebuilds {
	w.t.Helper()
	cfg := w.cfg
	cfg.At = at
	b, err := rebuild.New(cfg)
	w.ok(err)
	return b
}

func (w *world) ok(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err, fault.HintOf(err))
	}
}

func (w *world) is(err error, kind fault.Kind) {
	w.t.Helper()
	if !fault.Is(err, kind) {
		w.t.Fatalf("%v, want %v", err, kind)
	}
}

// claim makes a generation as one who feeds it does, up to a heartbeat.
func (w *world) claim(generation int, heartbeat uint64) {
	w.t.Helper()
	x, err := w.x.Open(w.t.Context(), w.d.Name, generation)
	w.ok(err)
	w.ok(x.Ensure(w.t.Context(), w.d))
	for p := range w.d.Partitions {
		w.ok(x.PutWatermark(w.t.Context(), index.Watermark{Dataset: w.d.Name, Partition: p, Term: 4, Heartbeat: heartbeat, Version: index.MakeVersion(4, 1000+heartbeat)}))
	}
}

// run works on rebuilds until the test ends; what it returns comes out of the channel.
func (w *world) run(b *rebuild.Rebuilds) (ended chan error, stop func()) {
	ctx, cancel := context.WithCancel(w.t.Context())
	ended = make(chan error, 1)
	go func() { ended <- b.Run(ctx) }()
	w.t.Cleanup(cancel)
	return ended, cancel
}

func (w *world) start() rebuild.Rebuild {
	w.t.Helper()
	r, err := w.b.Start(w.t.Context(), w.d.Name, "ann", "why not")
	w.ok(err)
	return r
}

// until waits until the newest rebuild is so.
func (w *world) until(what string, cond func(r rebuild.Rebuild) bool) rebuild.Rebuild {
	w.t.Helper()
	var r rebuild.Rebuild
	localtest.Eventually(w.t, settle, what, func() (bool, error) {
		var err error
		r, err = w.b.Look(w.t.Context(), w.d.Name)
		return err == nil && cond(r), err
	})
	return r
}

func (w *world) at(p rebuild.Phase) rebuild.Rebuild {
	w.t.Helper()
	return w.until(string(p), func(r rebuild.Rebuild) bool { return r.Phase == p })
}

// filled ends the newest backfill.
func (w *world) filled(state canal.TaskState) {
	w.t.Helper()
	r := w.until("a backfill is ordered", func(r rebuild.Rebuild) bool { return r.Task != 0 })
	w.desk.set(r.Task, func(t *canal.Task) { t.State, t.Done, t.Total, t.Err = state, 9, 9, "" })
}
