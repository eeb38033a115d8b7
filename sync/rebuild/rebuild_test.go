package rebuild_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"strata/canal"
	"strata/fault"
	"strata/index"
	"strata/local"
	"strata/local/localtest"
	"strata/sync/rebuild"
)

func TestSteps(t *testing.T) {
	w := newWorld(t)
	w.run(w.b)
	r := w.start()
	if r.Generation != 2 {
		t.Fatalf("%+v", r)
	}
	list, err := w.x.Generations(t.Context(), w.d.Name)
	w.ok(err)
	if g := list[1]; g.Floor != index.MakeVersion(4, 100) || g.Start[1].Offset != 60 || g.Start[1].Number != 55 || g.Start[1].Term != 4 || g.Start[1].Heartbeat != 0 {
		t.Fatalf("it begins at %+v", g)
	}
	_, err = w.b.Start(t.Context(), w.d.Name, "bob", "me too")
	w.is(err, fault.Conflict)
	w.claim(2, 20)
	w.filled(canal.Done)
	r = w.at(rebuild.Done)
	if r.Compared != 9 || r.Who != "ann" || r.Why != "why not" || r.StartedAt.IsZero() {
		t.Errorf("%+v", r)
	}
	task := w.desk.tasks[0]
	if task.Kind != canal.Backfill || task.Dataset != w.d.Name || len(task.Shards) != 0 || task.Who != "ann" || !strings.Contains(task.Why, "why not") {
		t.Errorf("the backfill is %+v", task)
	}
	w.is(w.b.Drop(t.Context(), w.d.Name, 2, "ann", ""), fault.Conflict)
	w.ok(w.b.Drop(t.Context(), w.d.Name, 1, "ann", "old"))
	lines, err := w.b.List(t.Context())
	w.ok(err)
	if len(lines) != 1 || lines[0].Number != 2 || lines[0].State != index.Serving || lines[0].Rebuild.Phase != rebuild.Done {
		t.Errorf("%+v", lines)
	}
	if len(w.desk.evidence) < 3 {
		t.Errorf("evidence %+v", w.desk.evidence)
	}
	_, err = w.b.Pause(t.Context(), w.d.Name, "ann")
	w.is(err, fault.NotFound)
	_, err = w.b.Start(t.Context(), "nothing", "ann", "")
	w.is(err, fault.NotFound)
	_, err = w.b.Look(t.Context(), "nothing")
	w.is(err, fault.NotFound)
}

func TestL2_a_rebuild_starts_only_where_capture_says_that_all_before_is_sent(t *testing.T) {
	w := newWorld(t)
	parts := w.desk.state.Checkpoint.Parts
	for name, cp := range map[string]*canal.Checkpoint{
		"nothing captured":             nil,
		"not this dataset":             {Term: 4, Seq: 9},
		"a partition too few":          {Term: 4, Seq: 9, Parts: map[string][]canal.PartPosition{w.d.Name: parts[w.d.Name][:1]}},
		"stopped":                      {Term: 4, Seq: 9, Parts: parts, Stopped: map[string]canal.Stopped{w.d.Name: {Reason: "gone"}}},
		"not opened in this term":      {Term: 5, Seq: 9, Parts: parts},
		"nothing of it was ever acked": {Term: 4, Seq: 9, Parts: map[string][]canal.PartPosition{w.d.Name: {{Offset: -1, Term: 4}, {Offset: 3, Term: 4}}}},
	} {
		w.desk.state.Checkpoint = cp
		_, err := w.b.Start(t.Context(), w.d.Name, "ann", "")
		if !fault.Is(err, fault.Unavailable) || fault.HintOf(err) == "" {
			t.Errorf("%s: %v", name, err)
		}
	}
	list, err := w.x.Generations(t.Context(), w.d.Name)
	if err != nil || len(list) != 1 {
		t.Errorf("%+v, %v", list, err)
	}
}

func TestL4_a_generation_answers_once_it_has_what_was_claimed(t *testing.T) {
	w := newWorld(t)
	looks := w.rebuilds(func(point string) error {
		if point == "rebuild.switch" {
			x, err := w.x.Open(t.Context(), w.d.Name, 2)
			if err != nil {
				return err
			}
			marks, err := x.Watermarks(t.Context(), w.d.Name)
			w.early.Store(err != nil || marks[0].Heartbeat < 10)
		}
		return nil
	})
	w.run(looks)
	w.start()
	w.claim(2, 8) // of 10
	w.filled(canal.Done)
	w.at(rebuild.Switching)
	localtest.Eventually(t, settle, "the handover stands, or it has answered", func() (bool, error) {
		marks, err := w.x.Watermarks(t.Context(), w.d.Name)
		return err == nil && marks[0].Heartbeat == 8, err
	})
	list, err := w.x.Generations(t.Context(), w.d.Name)
	if err != nil || list[0].State != index.Serving {
		t.Fatalf("%+v, %v", list, err)
	}
	w.claim(2, 10)
	w.at(rebuild.Done)
	marks, err := w.x.Watermarks(t.Context(), w.d.Name)
	if err != nil || marks[0].Heartbeat != 10 || w.early.Load() {
		t.Fatalf("%+v, %v; it answered before it had what was claimed: %t", marks, err, w.early.Load())
	}
}

func TestPauseAndResume(t *testing.T) {
	w := newWorld(t)
	w.run(w.b)
	w.start()
	w.claim(2, 20)
	task := w.until("a backfill is ordered", func(r rebuild.Rebuild) bool { return r.Task != 0 }).Task
	wish := func() canal.Wish { t, _ := w.desk.TaskByID(w.t.Context(), task); return t.Wish }
	r, err := w.b.Pause(t.Context(), w.d.Name, "bob")
	if w.ok(err); !r.Paused || wish() != canal.Pause {
		t.Fatalf("%+v, wish %q", r, wish())
	}
	w.desk.set(task, func(t *canal.Task) { t.Done, t.Total = 4, 9 })
	if r := w.until("progress", func(r rebuild.Rebuild) bool { return r.Rows == 4 }); r.Phase != rebuild.Filling || r.Total != 9 {
		t.Errorf("%+v", r)
	}
	_, err = w.b.Resume(t.Context(), w.d.Name, "bob")
	if w.ok(err); wish() != canal.Run {
		t.Fatalf("wish %q", wish())
	}
	// A comparison that is under way ends when it is to rest, and begins anew.
	begun, held := make(chan struct{}, 9), make(chan struct{})
	hold := func(ctx context.Context) (rebuild.Verdict, error) {
		begun <- struct{}{}
		select {
		case <-ctx.Done():
			return rebuild.Verdict{}, fault.Wrap(fault.Interrupted, "verify", ctx.Err())
		case <-held:
			return rebuild.Verdict{Rows: 9}, nil
		}
	}
	w.verdict.Store(&hold)
	w.filled(canal.Done)
	<-begun
	w.until("progress", func(r rebuild.Rebuild) bool { return r.Rows == 3 && r.Total == 9 })
	_, err = w.b.Pause(t.Context(), w.d.Name, "bob")
	w.ok(err)
	close(held)
	_, err = w.b.Resume(t.Context(), w.d.Name, "bob")
	w.ok(err)
	w.at(rebuild.Done)
	if w.desk.count() != 1 {
		t.Errorf("%d backfills", w.desk.count())
	}
}

func TestHalts(t *testing.T) {
	w := newWorld(t)
	w.run(w.b)
	w.start()
	halted := func(text string) {
		t.Helper()
		r := w.until("it halts: "+text, func(r rebuild.Rebuild) bool { return r.Halted() })
		if !strings.Contains(r.Err, text) || r.Hint == "" {
			t.Fatalf("%q (%s)", r.Err, r.Hint)
		}
	}
	resume := func() {
		t.Helper()
		_, err := w.b.Resume(t.Context(), w.d.Name, "ann")
		w.ok(err)
	}
	w.filled(canal.Failed)
	halted("backfill 1 is failed")
	resume()
	w.until("another backfill is ordered", func(r rebuild.Rebuild) bool { return r.Task == 2 })
	var stop error = fault.New(fault.Unsafe, "feed", "refused").WithHint("correct it")
	w.stopped.Store(&stop)
	halted("refused")
	w.stopped.Store(nil)
	resume()
	list, err := w.x.Generations(t.Context(), w.d.Name)
	if w.ok(err); list[1].Tries != 2 {
		t.Errorf("those who feed it are told %d times to try again", list[1].Tries)
	}
	differs := func(context.Context) (rebuild.Verdict, error) {
		return rebuild.Verdict{Rows: 9, Differences: 2, First: "row 7"}, nil
	}
	w.verdict.Store(&differs)
	w.claim(2, 20)
	w.filled(canal.Done)
	halted("row 7")
	var tries atomic.Int64
	away := func(context.Context) (rebuild.Verdict, error) {
		if tries.Add(1) < 3 {
			return rebuild.Verdict{}, fault.New(fault.Unavailable, "verify", "away")
		}
		return rebuild.Verdict{Rows: 9}, nil
	}
	w.verdict.Store(&away)
	resume()
	w.at(rebuild.Done)
	if w.desk.count() != 2 {
		t.Errorf("%d backfills", w.desk.count())
	}
}

// holder is an At that lets a rebuild wait at a point.
func holder(point string) (at func(string) error, there, free chan struct{}) {
	there, free = make(chan struct{}), make(chan struct{})
	var once sync.Once
	return func(p string) error {
		if p == point {
			once.Do(func() { close(there); <-free })
		}
		return nil
	}, there, free
}

func TestAbort(t *testing.T) {
	for _, c := range []struct {
		phase rebuild.Phase
		point string // where it waits while it is aborted
	}{{rebuild.Filling, ""}, {rebuild.Verifying, ""}, {rebuild.Switching, "rebuild.handover"}, {rebuild.Switching, "rebuild.handed"}, {rebuild.Switching, "rebuild.switch"}} {
		t.Run(string(c.phase)+c.point, func(t *testing.T) {
			w := newWorld(t)
			at, there, free := holder(c.point)
			ended, stop := w.run(w.rebuilds(at))
			w.start()
			w.claim(2, 200)
			hold := func(ctx context.Context) (rebuild.Verdict, error) {
				<-ctx.Done()
				return rebuild.Verdict{}, ctx.Err()
			}
			if c.phase == rebuild.Verifying {
				w.verdict.Store(&hold)
			}
			if c.phase != rebuild.Filling {
				w.filled(canal.Done)
			}
			w.until("the backfill is known", func(r rebuild.Rebuild) bool { return r.Task != 0 })
			w.at(c.phase)
			if c.point != "" {
				<-there
			}
			_, err := w.b.Abort(t.Context(), w.d.Name, "ann", "no more")
			w.ok(err)
			close(free)
			list, err := w.x.Generations(t.Context(), w.d.Name)
			if err != nil || len(list) != 1 || list[0].State != index.Serving {
				t.Fatalf("%+v, %v", list, err)
			}
			if task, _ := w.desk.TaskByID(t.Context(), 1); c.phase == rebuild.Filling && task.Wish != canal.End {
				t.Errorf("the backfill is wanted: %+v", task)
			}
			w.verdict.Store(nil)
			if r := w.start(); r.Generation != 3 {
				t.Errorf("%+v", r)
			}
			w.claim(3, 200)
			w.filled(canal.Done)
			w.at(rebuild.Done)
			stop()
			w.ok(<-ended)
		})
	}
}

func TestAbort_comes_too_late(t *testing.T) {
	w := newWorld(t)
	at, there, free := holder("rebuild.switched")
	ended, stop := w.run(w.rebuilds(at))
	w.start()
	w.claim(2, 200)
	w.filled(canal.Done)
	<-there
	_, err := w.b.Abort(t.Context(), w.d.Name, "ann", "no more")
	w.is(err, fault.Conflict)
	close(free)
	w.at(rebuild.Done)
	list, err := w.x.Generations(t.Context(), w.d.Name)
	if w.ok(err); !slices.ContainsFunc(list, func(g index.Generation) bool { return g.Number == 2 && g.State == index.Serving }) {
		t.Fatalf("%+v", list)
	}
	stop()
	w.ok(<-ended)
}

// TestCrash dies at every point, at the first and at the second hit, and another process goes on.
func TestCrash(t *testing.T) {
	for _, point := range rebuild.CrashPoints() {
		for nth := 1; nth <= 2; nth++ {
			t.Run(point, func(t *testing.T) {
				w := newWorld(t)
				trap := local.NewTrap(point, nth)
				dies := w.rebuilds(trap.At)
				ended, stop := w.run(dies)
				_, err := dies.Start(t.Context(), w.d.Name, "ann", "")
				if errors.Is(err, local.ErrCrash) && point == "rebuild.begin" {
					w.start()
				} else if err != nil && !errors.Is(err, local.ErrCrash) {
					t.Fatal(err)
				}
				w.claim(2, 20)
				heir := w.b
				died := false
				for r, err := heir.Look(t.Context(), w.d.Name); err == nil && r.Phase != rebuild.Done && !died; r, err = heir.Look(t.Context(), w.d.Name) {
					select {
					case err := <-ended:
						if died = errors.Is(err, local.ErrCrash); !died {
							t.Fatal(err)
						}
					default:
					}
					if r.Task != 0 {
						w.filled(canal.Done)
					}
				}
				stop()
				w.run(heir)
				w.filled(canal.Done)
				r := w.at(rebuild.Done)
				if r.Generation != 2 || w.desk.count() != 1 {
					t.Errorf("generation %d, %d backfills", r.Generation, w.desk.count())
				}
				if err := dies.Drop(t.Context(), w.d.Name, 1, "ann", ""); err != nil && !errors.Is(err, local.ErrCrash) {
					t.Fatal(err)
				}
				w.ok(heir.Drop(t.Context(), w.d.Name, 1, "ann", ""))
				list, err := w.x.Generations(t.Context(), w.d.Name)
				if err != nil || len(list) != 1 || list[0].Number != 2 {
					t.Errorf("%+v, %v", list, err)
				}
			})
		}
	}
}
