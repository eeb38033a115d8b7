package canal

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"strata/fault"
)

// BeaterConfig is what a Beater needs.
type BeaterConfig struct {
	// Write commits a heartbeat on the live primary (db.Beat) and returns its sequence number.
	Write func(ctx context.Context, now time.Time) (uint64, error)
	// Every is the time between heartbeats. 0: 1 s. An index is never fresher than that.
	Every time.Duration
	Now   func() time.Time
	Log   *slog.Logger
}

// BeaterStats is how a Beater stands.
type BeaterStats struct {
	Seq    uint64 // of the last heartbeat written
	At     time.Time
	Failed uint64 // heartbeats that were not written
	Err    string // why the last one failed; "" when it did not
}

// Beater writes heartbeats.
type Beater struct {
	cfg BeaterConfig

	mu    sync.Mutex
	stats BeaterStats
}

// NewBeater checks the configuration.
func NewBeater(cfg BeaterConfig) (*Beater, error) {
	if cfg.Write == nil || cfg.Now == nil || cfg.Log == nil {
		return nil, fault.New(fault.Invalid, "configure heartbeat", "Write, Now or Log is missing")
	}
	if cfg.Every <= 0 {
		cfg.Every = time.Second
	}
	return &Beater{cfg: cfg}, nil
}

// Stats returns a copy.
func (b *Beater) Stats() BeaterStats {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.stats
}

// Run writes a heartbeat at once and then one every interval until ctx ends (nil). A primary that is away or refuses is
// logged once and tried again at the next beat, each try for at most five intervals; another error ends it.
func (b *Beater) Run(ctx context.Context) error {
	tick := time.NewTicker(b.cfg.Every)
	defer tick.Stop()
	for {
		if err := b.beat(ctx); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

func (b *Beater) beat(ctx context.Context) error {
	limited, cancel := context.WithTimeout(ctx, 5*b.cfg.Every)
	defer cancel()
	now := b.cfg.Now()
	seq, err := b.cfg.Write(limited, now)
	if ctx.Err() != nil {
		return nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if err == nil {
		if b.stats.Err != "" {
			b.cfg.Log.Info("heartbeat is written again", "seq", seq)
		}
		b.stats.Seq, b.stats.At, b.stats.Err = seq, now, ""
		return nil
	}
	b.stats.Failed++
	if b.stats.Err == "" {
		b.cfg.Log.Warn("heartbeat not written", "err", err)
	}
	b.stats.Err = err.Error()
	switch fault.KindOf(err) {
	case fault.Unavailable, fault.Timeout, fault.Busy, fault.Unsafe, fault.Denied:
		return nil
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return nil
	}
	return err
}
