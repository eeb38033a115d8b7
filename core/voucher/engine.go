package voucher

import (
	"context"
	"sync/atomic"
	"time"

	"strata/core"
	"strata/fault"
)

const (
	maxBatchEvents = 500
	maxBatchBytes  = 2 << 20 // of bodies: a statement stays far below the server's packet
	maxBatchLegs   = 4000
	minPause       = 50 * time.Millisecond
	maxPause       = 5 * time.Second
)

// EngineConfig is what NewEngine needs.
type EngineConfig struct {
	Store *Store
	// Feed is the ledger's, for core.ForVouchers.
	Feed core.Feed
	// Every is how long Run waits where the feed is empty. 0: 200 ms.
	Every time.Duration
}

// Engine turns the feed's events into vouchers. Several may run on one feed.
type Engine struct {
	cfg   EngineConfig
	stats counters
}

// Stats are counts since NewEngine.
type Stats struct {
	Events, Booked, None, Failed, Lines int64
	Repeated                            int64 // events whose voucher was there
	Retries                             int64 // batches made again: other writers, newer rules
}

type counters struct{ events, booked, none, failed, lines, repeated, retries atomic.Int64 }

func (c *counters) count(all int, fresh []*made) {
	c.events.Add(int64(all))
	c.repeated.Add(int64(all - len(fresh)))
	for _, m := range fresh {
		c.lines.Add(int64(len(m.lines)))
		switch m.state {
		case Booked:
			c.booked.Add(1)
		case None:
			c.none.Add(1)
		case Failed:
			c.failed.Add(1)
		}
	}
}

// NewEngine checks the configuration.
func NewEngine(cfg EngineConfig) (*Engine, error) {
	const op = "configure voucher engine"
	switch {
	case cfg.Store == nil:
		return nil, fault.New(fault.Invalid, op, "no store")
	case cfg.Feed == nil:
		return nil, fault.New(fault.Invalid, op, "no feed")
	case cfg.Every < 0:
		return nil, fault.New(fault.Invalid, op, "the pause is below zero")
	}
	if cfg.Every == 0 {
		cfg.Every = 200 * time.Millisecond
	}
	return &Engine{cfg: cfg}, nil
}

// Stats returns the counts.
func (e *Engine) Stats() Stats {
	c := &e.stats
	return Stats{Events: c.events.Load(), Booked: c.booked.Load(), None: c.none.Load(), Failed: c.failed.Load(), Lines: c.lines.Load(),
		Repeated: c.repeated.Load(), Retries: c.retries.Load()}
}

// Step takes up to 500 events and returns how many; 0: the feed is empty. When it returns without an error, each of them has
// its voucher, durable, and has left the feed. After an error some may have a voucher and be in the feed still: the next Step
// finds the voucher and only ends the event.
func (e *Engine) Step(ctx context.Context) (int, error) {
	events, err := e.cfg.Feed.Next(ctx, maxBatchEvents)
	if err != nil {
		return 0, err
	}
	bodies := make([]string, len(events))
	for i := range events {
		bodies[i] = string(eventBody(&events[i]))
	}
	for start := 0; start < len(events); {
		end, bytes, legs := start, 0, 0
		for end < len(events) && (end == start || bytes+len(bodies[end]) <= maxBatchBytes && legs+len(events[end].Transfer.Legs) <= maxBatchLegs) {
			bytes, legs = bytes+len(bodies[end]), legs+len(events[end].Transfer.Legs)
			end++
		}
		if err := e.take(ctx, events[start:end], bodies[start:end]); err != nil {
			return start, err
		}
		start = end
	}
	return len(events), nil
}

func (e *Engine) take(ctx context.Context, events []core.Event, bodies []string) error {
	s := e.cfg.Store
	if err := s.store(ctx, events, bodies, &e.stats); err != nil {
		return err
	}
	ids := make([]string, len(events))
	for i := range events {
		ids[i] = events[i].Transfer.ID
	}
	if err := s.at("voucher.before_done"); err != nil {
		return err
	}
	if err := e.cfg.Feed.Done(ctx, ids); err != nil {
		return err
	}
	return s.at("voucher.after_done")
}

// Run takes events until ctx ends, and returns nil then. A server that is away or busy is waited for; any other error ends it.
func (e *Engine) Run(ctx context.Context) error {
	pause := minPause
	for {
		n, err := e.Step(ctx)
		if ctx.Err() != nil { // what Step says of it is the stop itself; nothing is lost
			return nil //nolint:nilerr // a stop that was asked for
		}
		wait := time.Duration(0)
		switch {
		case err == nil && n > 0:
			pause = minPause
		case err == nil:
			pause, wait = minPause, e.cfg.Every
		case transient(err):
			e.cfg.Store.cfg.Log.Warn("vouchers wait for the database", "err", err, "pause", pause)
			wait, pause = pause, min(2*pause, maxPause)
		default:
			return err
		}
		if wait > 0 && !sleep(ctx, wait) {
			return nil
		}
	}
}

func transient(err error) bool {
	if crashed(err) {
		return false
	}
	switch fault.KindOf(err) {
	case fault.Busy, fault.Unavailable, fault.Timeout, fault.Interrupted:
		return true
	}
	return false
}

func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
