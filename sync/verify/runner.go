package verify

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"strata/fault"
	"strata/index"
)

const (
	// leaseTTL is how long a holder that says nothing keeps the lease; it is renewed three times in it.
	leaseTTL = 15 * time.Second
	// defaultEvery is from one pass's beginning to the next's.
	defaultEvery = time.Hour
	// defaultMaxLag is the lag at which the verifier stops reading.
	defaultMaxLag = 10 * time.Second
	// defaultSweepAge is how old a tombstone must be that is swept.
	defaultSweepAge = 7 * 24 * time.Hour
	// retryAfter is when a dataset that was passed over is tried again.
	retryAfter = time.Minute
)

// Sweeper removes tombstones.
type Sweeper interface {
	// Sweep is index.Writer's.
	Sweep(ctx context.Context, dataset string, below index.Version) (int64, error)
}

// RunnerConfig is what a Runner needs. Everything without a default is required.
type RunnerConfig struct {
	// Config: Part, Progress and Turn are the Runner's own.
	Config
	Book Book
	Log  *slog.Logger
	// Holder names this process, for the lease and for people.
	Holder string
	// Every is from one pass's beginning to the next's; a pass that takes longer is followed by the next at once. 0: an hour.
	Every time.Duration
	// RowsPerSecond bounds what is read of the sources, and the time at work to a tenth, or less where servers are busy. 0: no bound.
	RowsPerSecond int
	// SpanRows bounds the rows that are read in one snapshot. 0: two seconds' worth of RowsPerSecond.
	SpanRows int
	// MaxLag: nothing is read while a dataset's watermark is older, but for a span a minute up to 10 s. 0: 10 s.
	MaxLag time.Duration
	// Busy says why a dataset is not to be compared now, such as a backfill that is under way; "": nothing. nil: never anything.
	Busy func(ctx context.Context, dataset string) (why string, err error)
	// Retry is when a dataset that was passed over is tried again. 0: a minute.
	Retry time.Duration
	// Lease is how long a process that says nothing keeps the lease. 0: 15 s.
	Lease time.Duration

	// Sweeper removes tombstones; nil: nobody does.
	Sweeper Sweeper
	// Oldest returns, for each partition of a dataset's topic, the version of the oldest record that can still be read.
	Oldest func(ctx context.Context, dataset string) ([]index.Version, error)
	// SweepAge is how old a tombstone must be at least. 0: 7 days.
	SweepAge time.Duration

	// Sign signs a day's report.
	Sign func(body []byte) string
}

// Runner verifies all the time, one process at a time.
type Runner struct {
	cfg RunnerConfig

	mu    sync.Mutex
	stats Stats
	of    map[string]*DatasetStats
}

// NewRunner checks the configuration.
func NewRunner(cfg RunnerConfig) (*Runner, error) {
	errs := []error{cfg.complete()}
	need := func(ok bool, what string) {
		if !ok {
			errs = append(errs, fault.New(fault.Invalid, "configure verifier", "no %s", what))
		}
	}
	need(cfg.Book != nil, "book")
	need(cfg.Log != nil, "logger")
	need(cfg.Holder != "", "holder")
	need(cfg.Sign != nil, "signature")
	need(cfg.Sweeper == nil || cfg.Oldest != nil, "oldest records, to sweep by")
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	def := func(v *time.Duration, to time.Duration) {
		if *v <= 0 {
			*v = to
		}
	}
	def(&cfg.Every, defaultEvery)
	def(&cfg.MaxLag, defaultMaxLag)
	def(&cfg.SweepAge, defaultSweepAge)
	def(&cfg.Retry, retryAfter)
	def(&cfg.Lease, leaseTTL)
	return &Runner{cfg: cfg, of: map[string]*DatasetStats{}}, nil
}

// Run verifies whenever this process has the lease, until ctx ends; it returns nil then. A control database that is away is
// waited for. Only a crash point ends it otherwise.
func (r *Runner) Run(ctx context.Context) error {
	quiet := false
	for {
		ok, err := r.cfg.Book.Acquire(ctx, r.cfg.Holder, r.cfg.Lease)
		if err == nil && ok {
			err = r.reign(ctx)
		}
		var c *crash
		switch {
		case errors.As(err, &c):
			return c.err
		case ctx.Err() != nil:
			return nil //nolint:nilerr // a stop was asked for
		case err != nil && !quiet:
			r.cfg.Log.Warn("verifier waits", "err", err, "hint", fault.HintOf(err))
		}
		quiet = err != nil
		if !r.rest(ctx, r.cfg.Lease/3) {
			return nil
		}
	}
}

// errLost ends a reign: another process has the lease, or it could not be renewed.
var errLost = errors.New("the verifier's lease is lost")

// reign verifies while the lease lasts.
func (r *Runner) reign(ctx context.Context) error {
	own, cancel := context.WithCancelCause(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		r.renew(own, cancel)
	}()
	r.note(func(s *Stats) { s.Leads = true })
	err := r.passes(own)
	cancel(nil)
	<-ended
	r.note(func(s *Stats) { s.Leads, s.Dataset, s.Held = false, "", false })
	if errors.Is(context.Cause(own), errLost) {
		err = errLost
	}
	var c *crash
	if !errors.As(err, &c) {
		out, stop := context.WithTimeout(context.WithoutCancel(ctx), r.cfg.Lease/3)
		defer stop()
		if rerr := r.cfg.Book.Release(out, r.cfg.Holder); rerr != nil {
			r.cfg.Log.Info("verifier's lease is not given back, it will run out", "err", rerr)
		}
	}
	return err
}

// renew keeps the lease, and ends the reign where that is not certain any more.
func (r *Runner) renew(ctx context.Context, cancel context.CancelCauseFunc) {
	last := time.Now()
	for r.rest(ctx, r.cfg.Lease/3) {
		sent := time.Now()
		ok, err := r.cfg.Book.Acquire(ctx, r.cfg.Holder, r.cfg.Lease)
		switch {
		case err == nil && ok:
			last = sent
		case err == nil, time.Since(last) > r.cfg.Lease*2/3:
			cancel(errLost)
			return
		}
	}
}

// rest waits; false where ctx ended.
func (r *Runner) rest(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
