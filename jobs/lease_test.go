package jobs_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"strata/fault"
	"strata/jobs"
	"strata/local/localtest"
)

func TestLease_taken_for_another_key(t *testing.T) {
	w := newWorld(t, "2026-05-17T00:30:00Z")
	taker := w.scheduler(t, []jobs.Job{w.daily()})
	paused := w.scheduler(t, []jobs.Job{w.daily(func(ctx context.Context, due jobs.Due) (jobs.Result, error) {
		w.expire(t)
		_, err := taker.RunNow(ctx, "cut", "2026-05-01", false)
		return jobs.Result{Summary: "too late"}, err
	})})
	w.pass(time.Hour)
	if err := paused.RunDue(t.Context()); !errors.Is(err, jobs.ErrLost) {
		t.Fatalf("got %v", err)
	}
	must(t, taker.RunDue(t.Context()))
	w.wantRan(t, "2026-05-16", "2026-05-01", "2026-05-16")
	w.wantDone(t, taker, "cut", "2026-05-01", "2026-05-16")
}

func TestLease_taken_from_a_paused_runner(t *testing.T) {
	for _, fails := range []bool{false, true} {
		t.Run(fmt.Sprintf("whose job then fails: %t", fails), func(t *testing.T) {
			w := newWorld(t, "2026-05-17T00:30:00Z")
			begun, goOn := make(chan uint64, 1), make(chan struct{})
			paused := w.scheduler(t, []jobs.Job{w.daily(func(_ context.Context, due jobs.Due) (jobs.Result, error) {
				begun <- due.Token
				<-goOn
				if fails {
					return jobs.Result{}, errors.New("too late")
				}
				return jobs.Result{Summary: "too late"}, nil
			})})
			w.pass(time.Hour)
			ended := make(chan error, 1)
			go func() { ended <- paused.RunDue(t.Context()) }()
			old := <-begun
			w.expire(t)
			taker := w.scheduler(t, []jobs.Job{w.daily()})
			must(t, taker.RunDue(t.Context()))
			w.wantDone(t, taker, "cut", "2026-05-16")
			close(goOn)
			err := <-ended
			wantKind(t, err, fault.Conflict)
			if !errors.Is(err, jobs.ErrLost) || paused.Stats().Lost != 1 || paused.Stats().Done+paused.Stats().Failed != 0 {
				t.Fatalf("the loser learns %v, %+v", err, paused.Stats())
			}
			w.wantDone(t, taker, "cut", "2026-05-16")
			r := w.history(t, taker, "cut")[0]
			if r.Owner != taker.Owner() || r.Token <= old || r.Attempt != 2 || r.Summary != "cut 2026-05-16" || r.LastError != "" {
				t.Fatalf("got %+v", r)
			}
		})
	}
}

func TestLease_taken_while_the_other_still_runs(t *testing.T) {
	w := newWorld(t, "2026-05-17T00:30:00Z")
	begun, goOn := make(chan struct{}), make(chan struct{})
	paused := w.scheduler(t, []jobs.Job{w.daily(func(context.Context, jobs.Due) (jobs.Result, error) {
		close(begun)
		<-goOn
		return jobs.Result{Summary: "too late"}, nil
	})})
	w.pass(time.Hour)
	ended := make(chan error, 1)
	go func() { ended <- paused.RunDue(t.Context()) }()
	<-begun
	w.expire(t)
	taker := w.scheduler(t, []jobs.Job{w.daily(func(_ context.Context, due jobs.Due) (jobs.Result, error) {
		close(goOn)
		if err := <-ended; !errors.Is(err, jobs.ErrLost) {
			t.Errorf("the loser learns %v", err)
		}
		return jobs.Result{Summary: "cut " + due.Key}, nil
	})})
	must(t, taker.RunDue(t.Context()))
	w.wantDone(t, taker, "cut", "2026-05-16")
	if r := w.history(t, taker, "cut")[0]; r.Summary != "cut 2026-05-16" {
		t.Fatalf("got %+v", r)
	}
}

func TestLease_stands_for_as_long_as_it_is_renewed(t *testing.T) {
	w := newWorld(t, "2026-05-17T00:30:00Z")
	begun, renewed, goOn := make(chan struct{}), make(chan struct{}, 1000), make(chan struct{})
	s := w.scheduler(t, []jobs.Job{w.daily(func(context.Context, jobs.Due) (jobs.Result, error) {
		close(begun)
		<-goOn
		return jobs.Result{}, nil
	})}, func(c *jobs.Config) {
		c.Renew = time.Millisecond
		c.At = func(p string) error {
			if p == "jobs.renew.after" {
				select {
				case renewed <- struct{}{}:
				default:
				}
			}
			return nil
		}
	})
	w.pass(time.Hour)
	ended := make(chan error, 1)
	go func() { ended <- s.RunDue(t.Context()) }()
	<-begun
	w.expire(t)
	for len(renewed) > 0 {
		<-renewed
	}
	<-renewed // may have been sent before the lease was ended
	<-renewed
	other := w.scheduler(t, []jobs.Job{w.daily()})
	must(t, other.RunDue(t.Context()))
	_, err := other.RunNow(t.Context(), "cut", "", true)
	wantKind(t, err, fault.Busy)
	close(goOn)
	must(t, <-ended)
	w.wantRan(t, "2026-05-16")
	w.wantDone(t, s, "cut", "2026-05-16")
}

func TestLease_taken_is_learnt_by_the_running_job(t *testing.T) {
	w := newWorld(t, "2026-05-17T00:30:00Z")
	begun, cause := make(chan struct{}), make(chan error, 1)
	s := w.scheduler(t, []jobs.Job{w.daily(func(ctx context.Context, _ jobs.Due) (jobs.Result, error) {
		close(begun)
		wait(ctx)
		cause <- context.Cause(ctx)
		return jobs.Result{}, nil
	})}, func(c *jobs.Config) { c.Renew = time.Millisecond })
	w.pass(time.Hour)
	ended := make(chan error, 1)
	go func() { ended <- s.RunDue(t.Context()) }()
	<-begun
	localtest.Exec(t, w.sql.SQL(), "UPDATE strata_job SET token=token+1, owner='another'")
	if err := <-cause; !errors.Is(err, jobs.ErrLost) {
		t.Fatalf("the job learns %v", err)
	}
	if err := <-ended; !errors.Is(err, jobs.ErrLost) {
		t.Fatalf("got %v", err)
	}
}

func TestLease_that_cannot_be_renewed_ends_the_run(t *testing.T) {
	w := newWorld(t, "2026-05-17T00:30:00Z")
	proxy := w.proxy(t)
	s := w.scheduler(t, []jobs.Job{w.daily(func(ctx context.Context, _ jobs.Due) (jobs.Result, error) {
		proxy.Refuse(true)
		proxy.Cut()
		wait(ctx)
		if !errors.Is(context.Cause(ctx), jobs.ErrLost) {
			t.Errorf("the job learns %v", context.Cause(ctx))
		}
		return jobs.Result{}, nil
	})}, w.through(t, proxy), func(c *jobs.Config) { c.Lease, c.Renew = 300*time.Millisecond, 50*time.Millisecond })
	w.pass(time.Hour)
	if err := s.RunDue(t.Context()); !errors.Is(err, jobs.ErrLost) {
		t.Fatalf("got %v", err)
	}
	w.expire(t)
	other := w.scheduler(t, []jobs.Job{w.daily()})
	must(t, other.RunDue(t.Context()))
	w.wantDone(t, other, "cut", "2026-05-16")
}

func wait(ctx context.Context) {
	limit := time.NewTimer(20 * time.Second)
	defer limit.Stop()
	select {
	case <-ctx.Done():
	case <-limit.C:
	}
}
