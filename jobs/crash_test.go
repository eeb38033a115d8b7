package jobs_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"strata/jobs"
	"strata/local"
	"strata/local/localtest"
)

func TestCrash_at_every_point_leaves_one_completion_per_key(t *testing.T) {
	for _, point := range jobs.CrashPoints() {
		if strings.HasPrefix(point, "jobs.renew") {
			continue // below
		}
		for n := range int64(3) {
			t.Run(fmt.Sprintf("%s %d", point, n+1), func(t *testing.T) {
				w := newWorld(t, "2026-05-17T00:30:00Z")
				dies := w.scheduler(t, []jobs.Job{w.daily()}, crashAt(point, n+1))
				w.set(t, "2026-05-19T08:00:00Z")
				// What is planned is planned in one transaction: that point comes once in the first scheduler's life.
				if err := dies.RunDue(t.Context()); !errors.Is(err, errCrash) && point != "jobs.claim.planned" {
					t.Fatalf("got %v, want the crash", err)
				}
				s := w.scheduler(t, []jobs.Job{w.daily()})
				must(t, s.RunDue(t.Context())) // the lease may stand: nothing, or the rest
				w.expire(t)
				must(t, s.RunDue(t.Context()))
				w.wantDone(t, s, "cut", "2026-05-16", "2026-05-17", "2026-05-18")
				if extra := len(w.keys()) - 3; extra < 0 || extra > 1 {
					t.Fatalf("ran %v: at most the key of the crash runs twice", w.keys())
				}
			})
		}
	}
}

func TestCrash_of_the_renewal_ends_the_run_without_a_record(t *testing.T) {
	for _, point := range []string{"jobs.renew.before", "jobs.renew.after"} {
		w := newWorld(t, "2026-05-17T00:30:00Z")
		dies := w.scheduler(t, []jobs.Job{w.daily(func(ctx context.Context, _ jobs.Due) (jobs.Result, error) {
			<-ctx.Done()
			return jobs.Result{}, nil
		})}, crashAt(point, 3), func(c *jobs.Config) { c.Renew = time.Millisecond })
		w.pass(time.Hour)
		if err := dies.Run(t.Context()); !errors.Is(err, errCrash) {
			t.Fatalf("got %v, want the crash", err)
		}
		s := w.scheduler(t, []jobs.Job{w.daily()})
		must(t, s.RunDue(t.Context()))
		w.wantRan(t, "2026-05-16") // the lease stands
		w.expire(t)
		must(t, s.RunDue(t.Context()))
		w.wantDone(t, s, "cut", "2026-05-16")
	}
}

func TestCrash_over_and_over_ends_as_failed(t *testing.T) {
	w := newWorld(t, "2026-05-17T00:30:00Z")
	w.scheduler(t, []jobs.Job{w.daily()})
	w.set(t, "2026-05-18T01:00:00Z")
	last := ""
	for range 3 {
		dies := w.scheduler(t, []jobs.Job{w.daily()}, crashAt("jobs.ran", 1))
		if err := dies.RunDue(t.Context()); !errors.Is(err, errCrash) {
			t.Fatalf("got %v, want the crash", err)
		}
		w.expire(t)
		last = dies.Owner()
	}
	s := w.scheduler(t, []jobs.Job{w.daily()})
	must(t, s.RunDue(t.Context()))
	w.wantRan(t, "2026-05-16", "2026-05-16", "2026-05-16", "2026-05-17")
	r := w.history(t, s, "cut")
	if r[0].State != jobs.Failed || r[0].Completions != 0 || !strings.Contains(r[0].LastError, last+" is gone") || r[1].State != jobs.Done {
		t.Fatalf("got %+v", r)
	}
}

func TestCrash_of_a_run_by_hand_is_not_tried_again(t *testing.T) {
	w := newWorld(t, "2026-05-17T12:00:00Z")
	dies := w.scheduler(t, []jobs.Job{w.daily()}, crashAt("jobs.ran", 1))
	if _, err := dies.RunNow(t.Context(), "cut", "2026-06-01", true); !errors.Is(err, errCrash) {
		t.Fatalf("got %v, want the crash", err)
	}
	w.expire(t)
	s := w.scheduler(t, []jobs.Job{w.daily()})
	must(t, s.RunDue(t.Context()))
	w.wantRan(t, "2026-06-01")
	if r := w.history(t, s, "cut")[0]; r.State != jobs.Failed || !strings.Contains(r.LastError, "is gone") {
		t.Fatalf("got %+v", r)
	}
}

// The runner's lease has ended and another one has begun the same key: it may not record, whoever ends first.
// The database is out of reach for longer than the lease: the job is stopped, and what it returns isn't recorded.
// wait waits for the end of ctx, but not for ever where it never comes.
// proxy is a wire to the server that can be cut.
func (w *world) proxy(t testing.TB) *local.Proxy {
	t.Helper()
	p, err := local.NewProxy(w.server.Addr())
	must(t, err)
	t.Cleanup(func() { _ = p.Close() })
	return p
}

func (w *world) through(t testing.TB, p *local.Proxy) func(*jobs.Config) {
	t.Helper()
	d := w.open(t, strings.Replace(w.dsn, w.server.Addr(), p.Addr(), 1))
	return func(c *jobs.Config) { c.DB = d }
}

func TestConnection_killed_in_a_commit(t *testing.T) {
	for name, c := range map[string]struct {
		point    string
		cut      func(*local.Proxy)
		attempts int
		errs     int
	}{
		"of the record, which is not done":   {"jobs.record.commit", (*local.Proxy).Cut, 1, 0},
		"of the record, which is done":       {"jobs.record.commit", func(p *local.Proxy) { p.CutAfter(0) }, 1, 0},
		"of the claim, which is not done":    {"jobs.claim.commit", (*local.Proxy).Cut, 1, 1},
		"of the claim, which is done":        {"jobs.claim.commit", func(p *local.Proxy) { p.CutAfter(0) }, 2, 1},
		"before the result is recorded":      {"jobs.ran", (*local.Proxy).Cut, 1, 0},
		"before the claim is made":           {"jobs.claim.before", (*local.Proxy).Cut, 1, 0},
		"in the claim, after it has planned": {"jobs.claim.planned", (*local.Proxy).Cut, 1, 1},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, "2026-05-17T00:30:00Z")
			proxy := w.proxy(t)
			var cut atomic.Bool
			s := w.scheduler(t, []jobs.Job{w.daily()}, w.through(t, proxy), func(cfg *jobs.Config) {
				cfg.Lease = 10 * time.Second // nobody takes it; it bounds the tries of a record
				cfg.At = func(p string) error {
					if p == c.point && cut.CompareAndSwap(false, true) {
						c.cut(proxy)
					}
					return nil
				}
			})
			w.pass(time.Hour)
			errs := 0
			for range 2 {
				if err := s.RunDue(t.Context()); err != nil {
					errs++
				}
			}
			if errs > c.errs {
				t.Errorf("%d passes ended with an error, want at most %d", errs, c.errs)
			}
			w.wantRan(t, "2026-05-16")
			w.wantDone(t, s, "cut", "2026-05-16")
			if r := w.history(t, s, "cut")[0]; r.Attempt != c.attempts || r.Failures != 0 {
				t.Fatalf("got %+v", r)
			}
		})
	}
}

func TestDatabase_killed_while_a_job_runs(t *testing.T) {
	w := newWorld(t, "2026-05-17T00:30:00Z")
	s := w.scheduler(t, []jobs.Job{w.daily(func(ctx context.Context, due jobs.Due) (jobs.Result, error) {
		if err := w.server.Kill(); err != nil {
			return jobs.Result{}, err
		}
		return jobs.Result{Summary: "cut " + due.Key}, w.server.Restart(ctx)
	})})
	w.pass(time.Hour)
	must(t, s.RunDue(t.Context()))
	w.wantRan(t, "2026-05-16")
	w.wantDone(t, s, "cut", "2026-05-16")
}

// Two processes that crash and start again, a clock that goes on in uneven steps, a job that fails now and then, and leases
// that end under a runner: each slot has exactly one completion in the end, and none is recorded before an older one.
func TestTwo_schedulers_under_crashes(t *testing.T) {
	w := newWorld(t, "2026-05-17T00:00:00Z")
	var calls, starts atomic.Int64
	job := w.daily(func(context.Context, jobs.Due) (jobs.Result, error) {
		if calls.Add(1)%7 == 0 {
			return jobs.Result{}, errors.New("now and then")
		}
		return jobs.Result{}, nil
	})
	job.Schedule, job.Keyed, job.MaxCatchUp, job.MaxAttempts, job.Backoff = "every 1m", jobs.BySlot, 366, 1000, time.Second
	observer := w.scheduler(t, []jobs.Job{job})
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var g errgroup.Group
	for range 2 {
		g.Go(func() error { return w.crashing(ctx, job, &starts) })
	}
	const slots = 40
	end := w.now().Add(slots * time.Minute)
	looks := 0
	localtest.Eventually(t, 3*time.Minute, "every slot to be done", func() (bool, error) {
		if w.now().Before(end) {
			w.pass(time.Duration(7+len(w.keys())%90) * time.Second)
		} else {
			w.pass(time.Second) // for what waits to be tried again
		}
		if looks++; looks%4 == 0 {
			w.expire(t)
		}
		runs, err := observer.History(ctx, "cut", 1000)
		done := 0
		for _, r := range runs {
			switch r.State {
			case jobs.Done:
				done++
			case jobs.Failed:
				return false, fmt.Errorf("%+v", r)
			}
		}
		return done >= slots, err
	})
	stop()
	must(t, g.Wait())
	runs := w.history(t, observer, "cut")
	last := uint64(0)
	for i, r := range runs[:slots] {
		if r.State != jobs.Done || r.Completions != 1 || r.Slot != time.Date(2026, 5, 17, 0, i+1, 0, 0, time.UTC) || r.Token <= last {
			t.Errorf("slot %d: %+v after token %d", i, r, last)
		}
		last = r.Token
	}
	t.Logf("%d starts of a scheduler, %d calls of the job for %d slots", starts.Load(), calls.Load(), slots)
}

// crashing opens one scheduler after the other, each to crash after some points, until ctx ends.
func (w *world) crashing(ctx context.Context, job jobs.Job, starts *atomic.Int64) error {
	for ctx.Err() == nil {
		s, err := jobs.Open(ctx, w.config([]jobs.Job{job}, crashAt("", 3+starts.Add(1)%17), func(c *jobs.Config) {
			c.Renew, c.Poll = 5*time.Millisecond, 2*time.Millisecond
		}))
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		if err := s.Run(ctx); err != nil && !errors.Is(err, errCrash) {
			return err
		}
		// The time of the dead one's lease goes by.
		if _, err := w.sql.SQL().Exec("UPDATE strata_job SET lease_until='1970-01-01' WHERE owner=?", s.Owner()); err != nil {
			return err
		}
	}
	return nil
}
