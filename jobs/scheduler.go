package jobs

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"strata/db"
	"strata/fault"
)

const (
	defaultLease   = 30 * time.Second
	defaultPoll    = time.Second
	defaultMaxSkew = time.Minute
	minWait        = 10 * time.Millisecond
)

// Config is what a Scheduler needs.
type Config struct {
	DB   *db.DB // a Writer on the control database
	Jobs []Job  // none: a Scheduler that only lists, pauses and resumes
	Log  *slog.Logger
	// Now is the clock by which slots become due. Leases run by the database's clock.
	Now func() time.Time
	// Owner names this process in leases and history. "": host and pid. A part that is unique to this Scheduler is added.
	Owner string
	// Lease is how long after its last renewal a runner's job may be taken by another. 0: 30 s.
	Lease time.Duration
	// Renew is the time between renewals, at most half of Lease. 0: a third of Lease.
	Renew time.Duration
	// Poll is the longest time between two looks at a job. 0: 1 s.
	Poll time.Duration
	// MaxSkew is how far Now may be from the database's clock; beyond it nothing new is begun, since slots that were planned
	// by a wrong clock stay planned. 0: 1 minute; negative: not checked, for a clock of one's own.
	MaxSkew time.Duration
	// At is called at each crash point; an error ends everything there without another write, as a crash would. nil: none.
	At func(point string) error
}

// CrashPoints lists the points that At is called with.
func CrashPoints() []string {
	return []string{"jobs.claim.before", "jobs.claim.planned", "jobs.claim.commit", "jobs.claim.after", "jobs.renew.before",
		"jobs.renew.after", "jobs.ran", "jobs.record.commit", "jobs.record.after"}
}

// Stats counts what this Scheduler did since it was opened.
type Stats struct {
	Running     int   `json:"running"` // now
	Started     int64 `json:"started"`
	Done        int64 `json:"done"`
	Failed      int64 `json:"failed"`      // attempts
	Interrupted int64 `json:"interrupted"` // by a stop
	Lost        int64 `json:"lost"`        // runs whose result was not recorded because the lease was lost
	Passed      int64 `json:"passed"`      // slots that were passed over
	Errors      int64 `json:"errors"`      // passes that ended with an error: the database is away, a lease was lost
}

// Scheduler runs jobs. It is safe for concurrent use.
type Scheduler struct {
	cfg   Config
	owner string
	jobs  map[string]*entry

	mu    sync.Mutex
	stats Stats
}

// entry is a job in this process. busy is held while it runs here, so a lease in this Scheduler's name that is found by who
// holds busy is one that nobody uses any more.
type entry struct {
	*job
	busy sync.Mutex
}

// crash is an error of At.
type crash struct {
	point string
	err   error
}

func (c *crash) Error() string { return c.point + ": " + c.err.Error() }
func (c *crash) Unwrap() error { return c.err }

// Open checks everything at once, makes the tables where they are missing and registers the jobs: the first slot of a job
// that was never seen is the first one after now. Errors: Invalid; those of the database.
func Open(ctx context.Context, cfg Config) (*Scheduler, error) {
	s := &Scheduler{cfg: cfg, jobs: make(map[string]*entry)}
	if err := s.check(); err != nil {
		return nil, err
	}
	if err := EnsureTables(ctx, s.cfg.DB); err != nil {
		return nil, err
	}
	for _, name := range s.names() {
		if err := s.register(ctx, s.jobs[name]); err != nil {
			return nil, err
		}
	}
	return s, nil
}

func (s *Scheduler) check() error {
	const op = "check jobs configuration"
	c := &s.cfg
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fault.New(fault.Invalid, op, format, args...)) }
	if c.DB == nil || c.DB.Purpose() != db.Writer {
		bad("DB is missing or not a writer")
	}
	if c.Log == nil || c.Now == nil {
		bad("Log and Now are needed")
	}
	c.Lease, c.Poll, c.MaxSkew = orElse(c.Lease, defaultLease), orElse(c.Poll, defaultPoll), orElse(c.MaxSkew, defaultMaxSkew)
	c.Renew = orElse(c.Renew, c.Lease/3)
	if c.Renew <= 0 || c.Renew > c.Lease/2 || c.Poll < 0 {
		bad("lease %s, renewal %s, poll %s: all must be positive, and renewal at most half of the lease", c.Lease, c.Renew, c.Poll)
	}
	for _, j := range c.Jobs {
		checked, err := newJob(j)
		if err != nil {
			errs = append(errs, err)
		}
		if s.jobs[j.Name] != nil {
			bad("two jobs are named %q", j.Name)
		}
		s.jobs[j.Name] = &entry{job: checked}
	}
	s.owner = c.Owner
	if s.owner == "" {
		host, err := os.Hostname()
		if err != nil {
			errs = append(errs, fault.Wrap(fault.Internal, op, err))
		}
		s.owner = fmt.Sprintf("%s/%d", host, os.Getpid())
	}
	s.owner += "#" + rand.Text()[:8]
	if len(s.owner) > 200 {
		bad("the owner's name is longer than 190 bytes")
	}
	return errors.Join(errs...)
}

// Owner is the name of this Scheduler in leases and history.
func (s *Scheduler) Owner() string { return s.owner }

// Stats returns the counts.
func (s *Scheduler) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stats
}

func (s *Scheduler) note(change func(*Stats)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(&s.stats)
}

// Run runs the jobs as they become due, each in a line of its own, until ctx ends; it waits for those that run and records
// how they ended. An error of the database is logged, counted and tried again at the next look. Errors: those of At.
func (s *Scheduler) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	for _, e := range s.jobs {
		g.Go(func() error { return s.loop(ctx, e) })
	}
	return g.Wait()
}

// RunDue is one look at all jobs, one after the other by name: it runs what is due and returns when nothing is. Errors:
// those of the database, of all jobs. A run that failed is not an error here; it is in the history.
func (s *Scheduler) RunDue(ctx context.Context) error {
	var errs []error
	for _, name := range s.names() {
		err := s.pass(ctx, s.jobs[name])
		if c := (*crash)(nil); errors.As(err, &c) {
			return err
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

func (s *Scheduler) names() []string { return slices.Sorted(maps.Keys(s.jobs)) }

func (s *Scheduler) loop(ctx context.Context, e *entry) error {
	broken := ""
	for {
		err := s.pass(ctx, e)
		if c := (*crash)(nil); errors.As(err, &c) {
			return err
		}
		if ctx.Err() == nil || fault.KindOf(err) != fault.Interrupted {
			broken = s.report(e, broken, err)
		}
		timer := time.NewTimer(s.wait(e))
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-timer.C:
		}
	}
}

// report logs when a job's passes begin to break, break otherwise, or work again.
func (s *Scheduler) report(e *entry, before string, err error) string {
	if err == nil {
		if before != "" {
			s.cfg.Log.Info("job passes work again", "job", e.Name)
		}
		return ""
	}
	s.note(func(st *Stats) { st.Errors++ })
	if before != err.Error() {
		s.cfg.Log.Warn("job pass ended with an error", "job", e.Name, "err", err, "hint", fault.HintOf(err))
	}
	return err.Error()
}

func (s *Scheduler) wait(e *entry) time.Duration {
	now := s.cfg.Now()
	if next, ok := e.schedule.Next(now); ok {
		return min(max(next.At.Sub(now), minWait), s.cfg.Poll)
	}
	return s.cfg.Poll
}

// pass runs what is due of one job, key after key, until nothing is or somebody else has the job.
func (s *Scheduler) pass(ctx context.Context, e *entry) error {
	if !e.busy.TryLock() {
		return nil // it is being run by hand
	}
	defer e.busy.Unlock()
	for ctx.Err() == nil {
		due, err := s.peek(ctx, e)
		if err != nil || !due {
			return err
		}
		c, err := s.claim(ctx, e, nil)
		if err != nil || c == nil {
			return err
		}
		if _, err := s.execute(ctx, e, c); err != nil {
			return err
		}
	}
	return nil
}

func (s *Scheduler) at(point string) error {
	if s.cfg.At == nil {
		return nil
	}
	if err := s.cfg.At(point); err != nil {
		return &crash{point, err}
	}
	return nil
}
