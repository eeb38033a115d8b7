package mysql

import (
	"context"
	"errors"
	"sync"
	"time"

	"strata/catalog"
	"strata/db"
	"strata/fault"
	"strata/router"
)

const (
	holdLimit = 5 * time.Second       // of a snapshot: DDL, and with it the fence of a move, waits for readers
	pollEvery = 20 * time.Millisecond // while live's heartbeat is waited for
)

// Config is what a Source needs.
type Config struct {
	DB  *db.DB // a Reader, of the store's primary
	Now func() time.Time
	// Hold is how long a snapshot may be held. 0: 5 s.
	Hold time.Duration
}

// Source reads one store. It is safe for concurrent use.
type Source struct {
	db   *db.DB
	now  func() time.Time
	hold time.Duration

	mu     sync.Mutex
	tables map[string]loaded // by dataset
}

// New checks the configuration and makes a Source.
func New(cfg Config) (*Source, error) {
	var errs []error
	if cfg.DB == nil {
		errs = append(errs, fault.New(fault.Invalid, "configure mysql source", "no DB"))
	} else if cfg.DB.Purpose() != db.Reader {
		errs = append(errs, fault.New(fault.Invalid, "configure mysql source", "the pool is a %s, not a reader", cfg.DB.Purpose()))
	}
	if cfg.Now == nil {
		errs = append(errs, fault.New(fault.Invalid, "configure mysql source", "no Now"))
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	if cfg.Hold <= 0 {
		cfg.Hold = holdLimit
	}
	return &Source{db: cfg.DB, now: cfg.Now, hold: cfg.Hold, tables: map[string]loaded{}}, nil
}

// Name is the store's name.
func (s *Source) Name() string { return string(s.db.Store()) }

// Open is part of router.Source.
func (s *Source) Open(ctx context.Context, f router.Fetch) (router.Opened, error) {
	snap, err := s.fresh(ctx, f)
	if err != nil {
		return router.Opened{}, err
	}
	var opened router.Opened
	if s.db.Store() == catalog.Live { // an archive's heartbeat is its own, and its rows don't change
		b := snap.Heartbeat()
		opened.Heartbeat, opened.At = b.Seq, b.At
	}
	if len(f.Aggregates) > 0 {
		opened.Rows, err = newSums(ctx, f, snap)
	} else {
		opened.Rows, err = newStream(s, f, snap)
	}
	if err != nil {
		_ = snap.Close() // nothing was read
		return router.Opened{}, err
	}
	return opened, nil
}

// fresh opens a snapshot in which live's heartbeat has come as far as was asked.
func (s *Source) fresh(ctx context.Context, f router.Fetch) (*db.Snapshot, error) {
	ctx, cancel := context.WithDeadline(ctx, f.Deadline)
	defer cancel()
	giveUp := time.NewTimer(f.Freshness.Wait)
	defer giveUp.Stop()
	poll := time.NewTicker(pollEvery)
	defer poll.Stop()
	for {
		snap, err := s.db.Snapshot(ctx, f.Dataset, f.Holdings)
		if err != nil {
			return nil, err
		}
		beat := snap.Heartbeat().Seq
		if s.db.Store() != catalog.Live || beat >= f.Freshness.AtLeast {
			return snap, nil
		}
		if err := snap.Close(); err != nil {
			return nil, err
		}
		select {
		case <-poll.C:
		case <-giveUp.C:
			return nil, fault.New(fault.Unavailable, "open "+s.Name(), "its heartbeat is %d, %d was asked for", beat, f.Freshness.AtLeast).
				WithHint("is the heartbeat being written? `strata canal status` shows it")
		case <-ctx.Done():
			return nil, db.Classify("open "+s.Name(), ctx.Err())
		}
	}
}

// Viewer asks the stores themselves who owns what.
type Viewer struct {
	live     *db.DB
	archives []*db.DB
}

// NewViewer makes a Viewer over live and the archives.
func NewViewer(live *db.DB, archives ...*db.DB) *Viewer { return &Viewer{live, archives} }

// viewTries bounds how often a view that contradicts itself is asked for again.
const viewTries = 3

// View asks live first: it releases a range only after the archive owns it, so a move under way shows one owner at least.
// A restore goes the other way round; what looks like a range without an owner is therefore asked again before it is said.
func (v *Viewer) View(ctx context.Context, d *catalog.Dataset) (*catalog.View, error) {
	var last error
	for range viewTries {
		var says []catalog.Says
		for _, from := range append([]*db.DB{v.live}, v.archives...) {
			s, err := db.Says(ctx, from, d)
			if err != nil {
				return nil, err
			}
			says = append(says, s)
		}
		view, err := catalog.MergeView(d, says)
		if !fault.Is(err, fault.Proof) {
			return view, err
		}
		last = err
	}
	return nil, last
}
