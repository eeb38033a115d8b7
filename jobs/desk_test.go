package jobs_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"strata/db"
	"strata/fault"
	"strata/jobs"
)

func TestRunNow(t *testing.T) {
	w := newWorld(t, "2026-05-17T12:00:00Z")
	var s *jobs.Scheduler
	s = w.scheduler(t, []jobs.Job{w.daily(func(ctx context.Context, due jobs.Due) (jobs.Result, error) {
		if !due.Manual {
			t.Errorf("due is %+v", due)
		}
		_, err := s.RunNow(ctx, "cut", "2026-05-01", false) // while it runs here
		if !fault.Is(err, fault.Busy) {
			t.Errorf("got %v, want busy", err)
		}
		_, err = w.scheduler(t, []jobs.Job{w.daily()}).RunNow(ctx, "cut", "2026-05-01", false) // and elsewhere
		if !fault.Is(err, fault.Busy) || fault.HintOf(err) == "" || !strings.Contains(err.Error(), s.Owner()) {
			t.Errorf("got %v, want busy", err)
		}
		return jobs.Result{}, nil
	})})
	r, err := s.RunNow(t.Context(), "cut", "", false)
	must(t, err)
	if r.Key != "2026-05-16" || r.State != jobs.Done || !r.Manual || r.Completions != 1 {
		t.Fatalf("got %+v", r)
	}
	_, err = s.RunNow(t.Context(), "cut", "2026-05-16", false)
	wantKind(t, err, fault.Conflict)
	r, err = s.RunNow(t.Context(), "cut", "2026-05-16", true)
	must(t, err)
	if r.Completions != 2 || r.Attempt != 2 {
		t.Fatalf("got %+v", r)
	}
	_, err = s.RunNow(t.Context(), "cut", "2026-05-17", false) // due tomorrow
	wantKind(t, err, fault.Invalid)
	_, err = s.RunNow(t.Context(), "cut", "2026-05-17", true)
	must(t, err)
	_, err = s.RunNow(t.Context(), "cut", "tomorrow", true)
	wantKind(t, err, fault.Invalid)
	_, err = s.RunNow(t.Context(), "sweep", "", false)
	wantKind(t, err, fault.NotFound)
	w.set(t, "2026-05-18T01:00:00Z")
	must(t, s.RunDue(t.Context())) // its slot comes: the date is done
	w.wantRan(t, "2026-05-16", "2026-05-16", "2026-05-17")
}

func TestPause_holds_the_schedule_until_resume(t *testing.T) {
	w := newWorld(t, "2026-05-17T00:30:00Z")
	s, other := w.scheduler(t, []jobs.Job{w.daily()}), w.scheduler(t, nil)
	wantKind(t, other.Pause(t.Context(), "sweep"), fault.NotFound)
	for range 2 {
		must(t, other.Pause(t.Context(), "cut"))
	}
	w.set(t, "2026-05-19T08:00:00Z")
	must(t, s.RunDue(t.Context()))
	w.wantRan(t)
	list, err := other.List(t.Context())
	must(t, err)
	if l := list[0]; !l.Paused || l.Configured || l.Next.Format(time.RFC3339) != "2026-05-17T01:00:00Z" || l.Schedule != "TZ=UTC 0 1 * * *" {
		t.Fatalf("got %+v", l)
	}
	_, err = s.RunNow(t.Context(), "cut", "2026-05-17", false)
	must(t, err)
	must(t, other.Resume(t.Context(), "cut"))
	must(t, s.RunDue(t.Context()))
	w.wantRan(t, "2026-05-17", "2026-05-16", "2026-05-18")
	w.wantDone(t, s, "cut", "2026-05-16", "2026-05-17", "2026-05-18")
}

func TestPause_comes_before_a_claim_that_was_about_to_be_made(t *testing.T) {
	w := newWorld(t, "2026-05-17T00:30:00Z")
	other := w.scheduler(t, nil)
	s := w.scheduler(t, []jobs.Job{w.daily()}, func(c *jobs.Config) {
		c.At = func(p string) error {
			if p == "jobs.claim.before" {
				return other.Pause(t.Context(), "cut")
			}
			return nil
		}
	})
	w.pass(time.Hour)
	must(t, s.RunDue(t.Context()))
	w.wantRan(t)
}

func TestList_shows_who_runs_what(t *testing.T) {
	w := newWorld(t, "2026-05-17T00:30:00Z")
	var s *jobs.Scheduler
	s = w.scheduler(t, []jobs.Job{w.daily(func(ctx context.Context, due jobs.Due) (jobs.Result, error) {
		list, err := s.List(ctx)
		if err != nil || len(list) != 1 || list[0].Owner != s.Owner() || list[0].Running != due.Key || list[0].Token != due.Token || list[0].LeaseUntil.IsZero() || s.Stats().Running != 1 {
			t.Errorf("got %+v, %v", list, err)
		}
		return jobs.Result{}, nil
	})})
	w.pass(time.Hour)
	must(t, s.RunDue(t.Context()))
	list, err := s.List(t.Context())
	must(t, err)
	if l := list[0]; l.Owner != "" || l.Running != "" || !l.LeaseUntil.IsZero() || l.LastDone != "2026-05-16" || !l.Configured || l.Waiting+l.Failed != 0 {
		t.Fatalf("got %+v", l)
	}
	if _, err := s.History(t.Context(), "cut", 1001); !fault.Is(err, fault.Invalid) {
		t.Fatalf("got %v", err)
	}
	if _, err := s.History(t.Context(), "sweep", 0); !fault.Is(err, fault.NotFound) {
		t.Fatalf("got %v", err)
	}
}

func TestOpen_names_all_that_is_wrong(t *testing.T) {
	w := newWorld(t, "2026-05-17T00:30:00Z")
	reader, err := db.Open(t.Context(), db.Config{DSN: w.dsn, Name: "control", Store: "live", Purpose: db.Reader})
	must(t, err)
	defer reader.Close()
	_, err = jobs.Open(t.Context(), jobs.Config{DB: reader, Lease: time.Second, Renew: time.Second,
		Jobs: []jobs.Job{{Name: "a", Schedule: "hourly"}, w.daily(), w.daily()}})
	wantKind(t, err, fault.Invalid)
	for _, says := range []string{"not a writer", "Log and Now", "at most half", "zone is missing", "Run is missing", `two jobs are named "cut"`} {
		if !strings.Contains(err.Error(), says) {
			t.Errorf("%q is missing in %v", says, err)
		}
	}
}
