package syncer

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"golang.org/x/sync/errgroup"

	"strata/catalog"
	"strata/fault"
	"strata/index"
)

const (
	// maxPause bounds the wait before a dataset whose server is away is tried again.
	maxPause = 5 * time.Second
	// stoppedPause is the wait before one that has stopped is: its cause may be gone, and trying changes nothing where it isn't.
	stoppedPause = time.Minute
	// mendEvery is how often a frozen dataset is looked at for a repair to be ordered.
	mendEvery = 5 * time.Second
)

// Target is what a Sync needs of an index: the applying side, and where it stopped.
type Target interface {
	index.Writer
	// Watermarks is index.Reader's.
	Watermarks(ctx context.Context, dataset string) ([]index.Watermark, error)
}

// Config of a Sync. Everything without a default is required.
type Config struct {
	Index    Target
	Feed     Feed
	Datasets []*catalog.Dataset
	Now      func() time.Time
	Log      *slog.Logger
	// At is asked at every crash point; an error ends Run with it. nil: none.
	At func(point string) error
	// Lag is told how long after its commit on live each mark became searchable; nil: nobody wants it. It must not block.
	Lag func(time.Duration)
	// Pause before the first retry of a server that is away; it doubles up to 5 s. 0: 100 ms.
	Pause time.Duration
	// StoppedPause before a stopped dataset is tried again. 0: a minute.
	StoppedPause time.Duration
	// Letters is where records go that the index refuses. nil: one stops its dataset.
	Letters Letters
	// Tasks is where the repair of a gap is ordered. nil: a gap freezes its watermark until somebody orders it.
	Tasks Tasks
	// Documents is the index, read for what went with a topic that was made anew. Required with Tasks.
	Documents Documents
	// Mend is how often a frozen dataset is looked at. 0: 5 s.
	Mend time.Duration
	// Board is where processes share the datasets; Holder is this one's name there. nil: this process applies all.
	Board  Board
	Holder string
	// Beat is how often the board is looked at. 0: 2 s.
	Beat time.Duration
}

// CrashPoints are the names that Config.At is asked with, in the order of the writes.
func CrashPoints() []string {
	return []string{"sync.apply", "sync.applied", "sync.letter", "sync.lettered", "sync.refresh", "sync.refreshed", "sync.watermark", "sync.watermarked",
		"sync.commit", "sync.committed"}
}

// Sync applies topics to an index.
type Sync struct {
	cfg    Config
	sets   []*set
	lag    histogram
	budget *budget
}

// New checks the configuration.
func New(cfg Config) (*Sync, error) {
	var errs []error
	need := func(ok bool, what string) {
		if !ok {
			errs = append(errs, fault.New(fault.Invalid, "configure sync", "no %s", what))
		}
	}
	need(cfg.Index != nil, "index")
	need(cfg.Feed != nil, "feed")
	need(len(cfg.Datasets) > 0, "dataset")
	need(cfg.Now != nil, "clock")
	need(cfg.Log != nil, "logger")
	need(cfg.Tasks == nil || cfg.Documents != nil, "documents for the tasks")
	need(cfg.Board == nil || cfg.Holder != "", "name for the board")
	for _, d := range cfg.Datasets {
		need(d.Partitions > 0, "partitions for dataset "+d.Name)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	if cfg.At == nil {
		cfg.At = func(string) error { return nil }
	}
	if cfg.Lag == nil {
		cfg.Lag = func(time.Duration) {}
	}
	orElse := func(d *time.Duration, usual time.Duration) {
		if *d <= 0 {
			*d = usual
		}
	}
	orElse(&cfg.Pause, 100*time.Millisecond)
	orElse(&cfg.StoppedPause, stoppedPause)
	orElse(&cfg.Mend, mendEvery)
	orElse(&cfg.Beat, beatEvery)
	s := &Sync{cfg: cfg, budget: newBudget(len(cfg.Datasets))}
	for _, d := range cfg.Datasets {
		t := newSet(d)
		t.bind(cfg.Index, 0)
		s.sets = append(s.sets, t)
	}
	return s, nil
}

// crash is an error of a crash point: it ends Run as the process's death would.
type crash struct{ err error }

func (c *crash) Error() string { return c.err.Error() }
func (c *crash) Unwrap() error { return c.err }

func (s *Sync) at(point string) error {
	if err := s.cfg.At(point); err != nil {
		return &crash{err}
	}
	return nil
}

// step does one write between its two crash points.
func (s *Sync) step(before, after string, do func() error) error {
	if err := s.at(before); err != nil {
		return err
	}
	if err := do(); err != nil {
		return err
	}
	return s.at(after)
}

// Run applies until ctx ends, and returns nil then. A dataset that stops does not end it; see Stats.
func (s *Sync) Run(ctx context.Context) error {
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() error { return s.attend(gctx) })
	for _, t := range s.sets {
		g.Go(func() error { return s.runTurns(gctx, t) })
	}
	err := g.Wait()
	s.leave(ctx)
	return err
}

// runTurns runs one dataset whenever this process is to apply it.
func (s *Sync) runTurns(ctx context.Context, t *set) error {
	for {
		turn, err := t.turn(ctx)
		if err != nil {
			return nil //nolint:nilerr // a stop was asked for
		}
		err = s.follow(turn, t)
		t.rest()
		if err != nil {
			return err
		}
	}
}

// runSet runs one dataset, again and again: soon while its servers are only away, after a long pause where somebody must act.
func (s *Sync) runSet(ctx context.Context, t *set) error {
	pause := s.cfg.Pause
	for {
		before, was := t.moves(), t.stats()
		err := s.runOnce(ctx, t)
		var c *crash
		var wait time.Duration
		switch {
		case errors.As(err, &c):
			return c.err
		case ctx.Err() != nil, err == nil: // only a requested stop ends a partition without an error
			return nil //nolint:nilerr // a stop was asked for; err is what it did to the readers
		case !transient(err):
			t.stop(Stopped, err)
			if was.State != Stopped || was.Err != err.Error() {
				s.cfg.Log.Error("dataset stopped", "dataset", t.d.Name, "err", err, "hint", fault.HintOf(err), "tried_again_every", s.cfg.StoppedPause)
			}
			wait, pause = s.cfg.StoppedPause, s.cfg.Pause
		default:
			if t.moves() != before {
				pause = s.cfg.Pause
			}
			t.stop(Retrying, err)
			if was.State != Retrying || was.Err != err.Error() {
				s.cfg.Log.Warn("dataset is tried again", "dataset", t.d.Name, "err", err, "hint", fault.HintOf(err), "pause", pause)
			}
			wait, pause = pause, min(2*pause, maxPause)
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-t.wake:
			timer.Stop()
		case <-ctx.Done():
			timer.Stop()
			return nil
		}
	}
}

// transient reports whether the error is of a server that is away or busy, or of a place in a topic that is gone: the next try
// begins where the topic does.
func transient(err error) bool {
	return fault.Is(err, fault.Unavailable) || fault.Is(err, fault.Timeout) || fault.Is(err, fault.Busy) || fault.Is(err, fault.Stale)
}

// runOnce runs a dataset's partitions from their stored watermarks until the first error.
func (s *Sync) runOnce(ctx context.Context, t *set) error {
	if err := t.index.Ensure(ctx, t.d); err != nil {
		return err
	}
	marks, err := t.index.Watermarks(ctx, t.d.Name)
	if err != nil {
		return err
	}
	from := make([]index.Watermark, t.d.Partitions)
	for i := range from {
		from[i] = index.Watermark{Dataset: t.d.Name, Partition: int32(i)}
	}
	for _, m := range marks {
		if int(m.Partition) >= len(from) {
			return fault.New(fault.Unsafe, "sync "+t.d.Name, "the index has a watermark of partition %d, the dataset %d partitions", m.Partition, len(from)).
				WithHint("the number of partitions can't change; rebuild the index for a new topic")
		}
		from[m.Partition] = m
	}
	t.start(from)
	waiting := newClaims()
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return s.claim(ctx, t, waiting) })
	for _, m := range from {
		p := newPartition(s, t, m, waiting)
		g.Go(func() error { return p.run(ctx) })
	}
	if !t.building { // what is missing there is missing in the one that serves, too, or halts the rebuild
		g.Go(func() error { return s.mend(ctx, t) })
	}
	return g.Wait()
}

// Resume tries a stopped dataset now, and counts its letters anew. Errors: NotFound.
func (s *Sync) Resume(dataset string) error {
	for _, t := range s.sets {
		if t.d.Name == dataset {
			t.resume()
			return nil
		}
	}
	return fault.New(fault.NotFound, "resume dataset", "no dataset %q", dataset)
}

// Lag is the commit-to-searchable lag of all datasets' marks since the last ResetLag.
func (s *Sync) Lag() Lag { return s.lag.read(false) }

// ResetLag returns the lag of the window so far and begins a new one.
func (s *Sync) ResetLag() Lag { return s.lag.read(true) }

// Stats is a picture of now.
func (s *Sync) Stats() Stats {
	out := Stats{Lag: s.Lag()}
	for _, t := range s.sets {
		out.Datasets = append(out.Datasets, t.stats())
		for _, of := range t.built() {
			out.Building = append(out.Building, of.stats())
		}
	}
	return out
}

// WaitFor blocks until everything that was committed on live before that heartbeat is searchable in the dataset's index.
// Errors: NotFound for a dataset this Sync doesn't have; fault.Proof where a partition is frozen; the dataset's own error
// where it has stopped; ctx's.
func (s *Sync) WaitFor(ctx context.Context, dataset string, heartbeat uint64) error {
	for _, t := range s.sets {
		if t.d.Name == dataset {
			return s.waitFor(ctx, t, heartbeat)
		}
	}
	return fault.New(fault.NotFound, "wait for index", "no dataset %q", dataset)
}
