package jobs_test

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"strata/catalog"
	"strata/db"
	"strata/fault"
	"strata/jobs"
	"strata/local"
	"strata/local/localtest"
)

// world is one control database with a clock that is set by hand.
type world struct {
	server *local.Maria
	dsn    string
	sql    *db.DB
	micros atomic.Int64

	mu  sync.Mutex
	ran []string // keys, at each call of a job's Run
}

func newWorld(t testing.TB, now string) *world {
	t.Helper()
	w := &world{server: localtest.Shared(t)}
	w.dsn = localtest.Schema(t, w.server)
	w.sql = w.open(t, w.dsn)
	w.set(t, now)
	return w
}

func (w *world) open(t testing.TB, dsn string) *db.DB {
	t.Helper()
	d, err := db.Open(t.Context(), db.Config{DSN: dsn, Name: "control", Store: catalog.Live, Purpose: db.Writer})
	must(t, err)
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	return d
}

func (w *world) set(t testing.TB, now string) {
	t.Helper()
	at, err := time.Parse(time.RFC3339, now)
	must(t, err)
	w.micros.Store(at.UnixMicro())
}

func (w *world) now() time.Time { return time.UnixMicro(w.micros.Load()) }

func (w *world) pass(d time.Duration) { w.micros.Add(d.Microseconds()) }

// scheduler opens a Scheduler with leases that no test outlives.
func (w *world) scheduler(t testing.TB, list []jobs.Job, edit ...func(*jobs.Config)) *jobs.Scheduler {
	t.Helper()
	s, err := jobs.Open(t.Context(), w.config(list, edit...))
	must(t, err)
	return s
}

func (w *world) config(list []jobs.Job, edit ...func(*jobs.Config)) jobs.Config {
	cfg := jobs.Config{DB: w.sql, Jobs: list, Log: slog.New(slog.DiscardHandler), Now: w.now, MaxSkew: -1, Lease: time.Hour, Poll: 5 * time.Millisecond}
	for _, e := range edit {
		e(&cfg)
	}
	return cfg
}

// daily is a job at 01:00 UTC for the day before, every date of it; its Run notes the key and then does what is given.
func (w *world) daily(then ...func(context.Context, jobs.Due) (jobs.Result, error)) jobs.Job {
	return jobs.Job{Name: "cut", Schedule: "TZ=UTC 0 1 * * *", Keyed: jobs.ByDate, DayShift: -1, CatchUp: jobs.CatchUpAll, MaxAttempts: 3,
		Run: func(ctx context.Context, due jobs.Due) (jobs.Result, error) {
			w.mu.Lock()
			w.ran = append(w.ran, due.Key)
			w.mu.Unlock()
			if len(then) > 0 {
				return then[0](ctx, due)
			}
			return jobs.Result{Summary: "cut " + due.Key}, nil
		}}
}

func (w *world) keys() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.ran)
}

// expire ends all leases, as their time would.
func (w *world) expire(t testing.TB) {
	t.Helper()
	localtest.Exec(t, w.sql.SQL(), "UPDATE strata_job SET lease_until=UTC_TIMESTAMP(6)-INTERVAL 1 SECOND")
}

func (w *world) history(t testing.TB, s *jobs.Scheduler, name string) []jobs.Run {
	t.Helper()
	runs, err := s.History(t.Context(), name, 1000)
	must(t, err)
	slices.Reverse(runs)
	return runs
}

// wantDone fails unless the history is these keys, each with one recorded completion.
func (w *world) wantDone(t testing.TB, s *jobs.Scheduler, name string, keys ...string) {
	t.Helper()
	var got []string
	for _, r := range w.history(t, s, name) {
		got = append(got, r.Key)
		if r.State != jobs.Done || r.Completions != 1 || r.Ended.IsZero() {
			t.Errorf("%s %s is %s after %d completions: %+v", name, r.Key, r.State, r.Completions, r)
		}
	}
	if !slices.Equal(got, keys) {
		t.Fatalf("history of %s: %v, want %v", name, got, keys)
	}
}

func (w *world) wantRan(t testing.TB, keys ...string) {
	t.Helper()
	if got := w.keys(); !slices.Equal(got, keys) {
		t.Fatalf("ran %v, want %v", got, keys)
	}
}

var errCrash = errors.New("crash")

// crashAt ends everything at the n-th time that point is reached ("": any point), and from then on.
func crashAt(point string, n int64) func(*jobs.Config) {
	var seen atomic.Int64
	return func(c *jobs.Config) {
		c.At = func(p string) error {
			if (p == point || point == "") && seen.Add(1) >= n {
				return errCrash
			}
			return nil
		}
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("%v\n%s", err, fault.HintOf(err))
	}
}

func wantKind(t testing.TB, err error, kind fault.Kind) {
	t.Helper()
	if !fault.Is(err, kind) {
		t.Fatalf("got %v, want kind %s", err, kind)
	}
}
