package jobs_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"strata/fault"
	"strata/jobs"
	"strata/local/localtest"
)

func TestScheduler_a_second_run_of_the_same_date_is_a_noop(t *testing.T) {
	w := newWorld(t, "2026-05-17T00:30:00Z")
	job := w.daily(func(_ context.Context, due jobs.Due) (jobs.Result, error) {
		if due.Job != "cut" || due.Date.Format(time.DateOnly) != due.Key || due.Attempt != 1 || due.Token == 0 || due.Manual {
			t.Errorf("due is %+v", due)
		}
		return jobs.Result{Summary: "cut", Details: json.RawMessage(`{"rows": 5}`)}, nil
	})
	s := w.scheduler(t, []jobs.Job{job})
	must(t, s.RunDue(t.Context()))
	w.wantRan(t) // nothing before the first slot after it was registered
	w.pass(30 * time.Minute)
	for range 2 {
		must(t, s.RunDue(t.Context()))
		must(t, w.scheduler(t, []jobs.Job{job}).RunDue(t.Context()))
	}
	w.wantRan(t, "2026-05-16")
	w.wantDone(t, s, "cut", "2026-05-16")
	r := w.history(t, s, "cut")[0]
	if r.Summary != "cut" || string(r.Details) != `{"rows": 5}` || r.Owner != s.Owner() || r.Started.IsZero() || r.LastError != "" {
		t.Fatalf("got %+v", r)
	}
	// Another schedule for the same dates: the date is done.
	job.Schedule = "TZ=UTC 30 2 * * *"
	s = w.scheduler(t, []jobs.Job{job})
	w.set(t, "2026-05-17T02:30:00Z")
	must(t, s.RunDue(t.Context()))
	w.wantRan(t, "2026-05-16")
	if st := s.Stats(); st.Started != 0 || st.Errors != 0 {
		t.Fatalf("got %+v", st)
	}
}

func TestScheduler_catches_up_after_a_downtime(t *testing.T) {
	for name, c := range map[string]struct {
		edit   func(*jobs.Job)
		want   []string
		passed int64
	}{
		"all":          {func(*jobs.Job) {}, []string{"2026-05-16", "2026-05-17", "2026-05-18", "2026-05-19"}, 0},
		"all, bounded": {func(j *jobs.Job) { j.MaxCatchUp = 2 }, []string{"2026-05-18", "2026-05-19"}, 2},
		"last":         {func(j *jobs.Job) { j.CatchUp = jobs.CatchUpLast }, []string{"2026-05-19"}, 3},
		"none":         {func(j *jobs.Job) { j.CatchUp = jobs.CatchUpNone }, nil, 4},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, "2026-05-17T00:30:00Z")
			job := w.daily()
			c.edit(&job)
			w.scheduler(t, []jobs.Job{job})
			w.set(t, "2026-05-20T08:00:00Z")
			s := w.scheduler(t, []jobs.Job{job})
			must(t, s.RunDue(t.Context()))
			w.wantRan(t, c.want...)
			w.wantDone(t, s, "cut", c.want...)
			list, err := s.List(t.Context())
			must(t, err)
			if list[0].Passed != c.passed || s.Stats().Passed != c.passed || list[0].Next.Format(time.RFC3339) != "2026-05-21T01:00:00Z" {
				t.Fatalf("got %+v, want %d passed", list[0], c.passed)
			}
		})
	}
}

func TestScheduler_runs_once_on_the_days_when_clocks_change(t *testing.T) {
	w := newWorld(t, "2026-03-07T00:00:00Z")
	job := w.daily()
	job.Schedule, job.DayShift = "TZ=America/New_York 30 2 * * *", 0
	s := w.scheduler(t, []jobs.Job{job})
	for w.now().Before(time.Date(2026, 3, 10, 0, 0, 0, 0, time.UTC)) {
		must(t, s.RunDue(t.Context()))
		w.pass(29 * time.Minute)
	}
	w.wantRan(t, "2026-03-07", "2026-03-08", "2026-03-09")
	w.set(t, "2026-10-31T00:00:00Z")
	localtest.Exec(t, w.sql.SQL(), "UPDATE strata_job SET planned_to='2026-10-31'")
	for w.now().Before(time.Date(2026, 11, 3, 0, 0, 0, 0, time.UTC)) {
		must(t, s.RunDue(t.Context()))
		w.pass(29 * time.Minute)
	}
	w.wantRan(t, "2026-03-07", "2026-03-08", "2026-03-09", "2026-10-31", "2026-11-01", "2026-11-02")
}

func TestScheduler_tries_again_with_backoff_until_a_key_has_failed(t *testing.T) {
	w := newWorld(t, "2026-05-17T00:30:00Z")
	bad := "2026-05-16"
	s := w.scheduler(t, []jobs.Job{w.daily(func(_ context.Context, due jobs.Due) (jobs.Result, error) {
		if due.Key == bad {
			return jobs.Result{}, fault.New(fault.Proof, "cut day", "one cent is missing on attempt %d", due.Attempt)
		}
		return jobs.Result{}, nil
	})})
	w.set(t, "2026-05-18T01:00:00Z") // two dates are due
	must(t, s.RunDue(t.Context()))
	w.wantRan(t, bad) // the second date waits behind the first
	r := w.history(t, s, "cut")
	if r[0].State != jobs.Waiting || r[0].Failures != 1 || !r[0].NotBefore.Equal(w.now().Add(10*time.Second)) || r[1].State != jobs.Waiting {
		t.Fatalf("got %+v", r)
	}
	w.pass(9 * time.Second)
	must(t, s.RunDue(t.Context()))
	w.wantRan(t, bad)
	w.pass(time.Second)
	must(t, s.RunDue(t.Context()))
	w.pass(20 * time.Second)
	must(t, s.RunDue(t.Context()))
	w.wantRan(t, bad, bad, bad, "2026-05-17")
	r = w.history(t, s, "cut")
	if r[0].State != jobs.Failed || r[0].Failures != 3 || !strings.Contains(r[0].LastError, "on attempt 3") || r[1].State != jobs.Done {
		t.Fatalf("got %+v", r)
	}
	w.pass(time.Hour)
	must(t, s.RunDue(t.Context()))
	w.wantRan(t, bad, bad, bad, "2026-05-17") // what has failed stays failed
	if st := s.Stats(); st.Failed != 3 || st.Done != 1 || st.Running != 0 {
		t.Fatalf("got %+v", st)
	}

	// By hand it begins anew, and isn't tried again by itself.
	got, err := s.RunNow(t.Context(), "cut", bad, false)
	wantKind(t, err, fault.Proof)
	if got.State != jobs.Failed || got.Failures != 1 || got.Attempt != 4 || !got.Manual {
		t.Fatalf("got %+v", got)
	}
	key := bad
	bad = ""
	got, err = s.RunNow(t.Context(), "cut", key, false)
	must(t, err)
	if got.State != jobs.Done || got.Attempt != 5 || got.Completions != 1 || !strings.Contains(got.LastError, "on attempt 4") {
		t.Fatalf("got %+v", got)
	}
}

func TestScheduler_a_key_that_waits_holds_up_those_that_become_due(t *testing.T) {
	w := newWorld(t, "2026-05-17T00:30:00Z")
	broken := true
	job := w.daily(func(context.Context, jobs.Due) (jobs.Result, error) {
		if broken {
			return jobs.Result{}, errors.New("not yet")
		}
		return jobs.Result{}, nil
	})
	job.Backoff = 30 * time.Hour
	s := w.scheduler(t, []jobs.Job{job})
	for range 2 {
		w.set(t, "2026-05-17T01:00:00Z")
		must(t, s.RunDue(t.Context()))
		w.set(t, "2026-05-18T01:00:00Z")
		must(t, s.RunDue(t.Context()))
	}
	w.wantRan(t, "2026-05-16")
	if r := w.history(t, s, "cut"); len(r) != 2 || r[1].State != jobs.Waiting {
		t.Fatalf("got %+v", r)
	}
	broken = false
	w.set(t, "2026-05-18T07:00:00Z")
	must(t, s.RunDue(t.Context()))
	w.wantDone(t, s, "cut", "2026-05-16", "2026-05-17")
}

func TestScheduler_counts_a_panic_and_a_timeout_as_failures(t *testing.T) {
	w := newWorld(t, "2026-05-17T00:30:00Z")
	panics := w.daily(func(context.Context, jobs.Due) (jobs.Result, error) { panic("no such account") })
	waits := w.daily(func(ctx context.Context, _ jobs.Due) (jobs.Result, error) {
		<-ctx.Done()
		return jobs.Result{}, fmt.Errorf("count rows: %w", ctx.Err())
	})
	waits.Name, waits.Timeout = "wait", time.Millisecond
	s := w.scheduler(t, []jobs.Job{panics, waits})
	w.pass(30 * time.Minute)
	must(t, s.RunDue(t.Context()))
	for name, says := range map[string]string{"cut": "panic: no such account", "wait": "took longer than 1ms"} {
		if r := w.history(t, s, name)[0]; r.State != jobs.Waiting || r.Failures != 1 || !strings.Contains(r.LastError, says) {
			t.Errorf("got %+v", r)
		}
	}
	_, err := s.RunNow(t.Context(), "wait", "", false)
	wantKind(t, err, fault.Timeout)
}

func TestScheduler_stop_is_no_failure(t *testing.T) {
	w := newWorld(t, "2026-05-17T00:30:00Z")
	begun := make(chan struct{})
	s := w.scheduler(t, []jobs.Job{w.daily(func(ctx context.Context, _ jobs.Due) (jobs.Result, error) {
		close(begun)
		<-ctx.Done()
		return jobs.Result{}, ctx.Err()
	})})
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	w.pass(30 * time.Minute)
	<-begun
	stop()
	must(t, <-ended)
	if r := w.history(t, s, "cut")[0]; r.State != jobs.Waiting || r.Failures != 0 || r.Attempt != 1 {
		t.Fatalf("got %+v", r)
	}
	if st := s.Stats(); st.Interrupted != 1 || st.Failed != 0 || st.Running != 0 {
		t.Fatalf("got %+v", st)
	}
	other := w.scheduler(t, []jobs.Job{w.daily()}) // at once: the lease was given back
	must(t, other.RunDue(t.Context()))
	w.wantDone(t, other, "cut", "2026-05-16")

	// What was begun by hand and stopped does not begin again by itself.
	by, stop := context.WithCancel(t.Context())
	begun = make(chan struct{})
	s2 := w.scheduler(t, []jobs.Job{w.daily(func(ctx context.Context, _ jobs.Due) (jobs.Result, error) {
		stop()
		<-ctx.Done()
		return jobs.Result{}, ctx.Err()
	})})
	r, err := s2.RunNow(by, "cut", "2026-05-10", false)
	wantKind(t, err, fault.Interrupted)
	if r.State != jobs.Failed {
		t.Fatalf("got %+v", r)
	}
}

func TestScheduler_refuses_a_clock_that_is_wrong(t *testing.T) {
	w := newWorld(t, "2036-05-17T00:30:00Z")
	s := w.scheduler(t, []jobs.Job{w.daily()}, func(c *jobs.Config) { c.MaxSkew = 0 })
	w.pass(time.Hour)
	wantKind(t, s.RunDue(t.Context()), fault.Unsafe)
	w.wantRan(t)
	w.wantDone(t, s, "cut")
}

func TestScheduler_forgets_old_history_and_says_so(t *testing.T) {
	w := newWorld(t, "2026-05-17T00:30:00Z")
	job := w.daily()
	job.Keep = 400
	s := w.scheduler(t, []jobs.Job{job})
	localtest.Exec(t, w.sql.SQL(), `INSERT INTO strata_job_run (job, run_key, slot, due_date, state, manual, attempt, failures, completions, not_before, owner, token, summary, last_error)
		SELECT 'cut', DATE('2026-05-16') - INTERVAL seq DAY, DATE('2026-05-16') - INTERVAL seq DAY, DATE('2026-05-16') - INTERVAL seq DAY,
		'done', 0, 1, 0, 1, '1970-01-01', '', 0, '', '' FROM seq_1_to_500`)
	localtest.Exec(t, w.sql.SQL(), "UPDATE strata_job SET token=63")
	w.pass(time.Hour)
	must(t, s.RunDue(t.Context()))
	if n := len(w.history(t, s, "cut")); n != 400 {
		t.Fatalf("%d runs are kept, want 400", n)
	}
	_, err := s.RunNow(t.Context(), "cut", "2025-01-10", false)
	wantKind(t, err, fault.Conflict)
	_, err = s.RunNow(t.Context(), "cut", "2025-01-10", true)
	must(t, err)
}

func TestScheduler_keeps_odd_results_in_bounds(t *testing.T) {
	w := newWorld(t, "2026-05-17T00:30:00Z")
	var result jobs.Result
	var failure error
	s := w.scheduler(t, []jobs.Job{w.daily(func(context.Context, jobs.Due) (jobs.Result, error) { return result, failure })})
	for _, c := range []struct {
		result  jobs.Result
		err     error
		summary string
	}{
		{jobs.Result{Summary: strings.Repeat("ü", 700)}, nil, strings.Repeat("ü", 500)},
		{jobs.Result{Summary: "a\xffb\x00'\\"}, nil, "ab\x00'\\"},
		{jobs.Result{Summary: "s", Details: json.RawMessage("{")}, nil, "[details left out: not JSON] s"},
		{jobs.Result{Summary: "s", Details: json.RawMessage(`"` + strings.Repeat("x", 70000) + `"`)}, nil, "[details left out: too large] s"},
		{jobs.Result{Summary: "s"}, errors.New(strings.Repeat("e\xff", 4000)), "s"},
	} {
		result, failure = c.result, c.err
		r, err := s.RunNow(t.Context(), "cut", "2026-05-10", true)
		if !errors.Is(err, c.err) || r.Summary != c.summary || len(r.LastError) > 1000 || r.Details != nil {
			t.Errorf("got %q, %v", r.Summary, err)
		}
	}
}

func TestScheduler_order_of_several_keys(t *testing.T) {
	w := newWorld(t, "2026-05-17T00:00:30Z")
	job := w.daily()
	job.Schedule, job.Keyed, job.MaxCatchUp = "every 1m", jobs.BySlot, 100
	s := w.scheduler(t, []jobs.Job{job})
	for _, wait := range []time.Duration{time.Second, 30 * time.Second, 0, 10 * time.Minute, 59 * time.Second, time.Second, time.Minute} {
		w.pass(wait)
		must(t, s.RunDue(t.Context()))
	}
	ran := w.keys()
	if len(ran) != 13 || !slices.IsSorted(ran) || len(slices.Compact(ran)) != 13 {
		t.Fatalf("ran %v", ran)
	}
	w.wantDone(t, s, "cut", ran...)
}
