package mysql

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"strata/catalog"
	"strata/core"
	"strata/db"
	"strata/fault"
)

const (
	maxBatch     = 500   // transfers: more doesn't raise the rate, it only holds locks longer
	maxBatchLegs = 4_000 // bounds what a batch needs of memory
	maxLanes     = 16    // a connection each
	defaultLanes = 2
	// joinAt is how many transfers have to wait before another lane joins those at work: below it, a larger batch is
	// cheaper than a second one.
	joinAt = 20
)

// Config is what New needs.
type Config struct {
	// DB is a pool opened for db.Writer on the live primary. The ledger does not close it.
	DB *db.DB
	// Now is the lanes' clock: posted_at, the horizon, the end of reservations.
	Now func() time.Time
	// FirstDay is the accounting date of an empty ledger; zero: the day of Now.
	FirstDay time.Time
	// TransferShards and EntryShards are the shard schemes; empty: by month.
	TransferShards, EntryShards catalog.Scheme
	// Horizon is how long ids are remembered at least. 0: core.DefaultHorizon.
	Horizon time.Duration
	// Lanes is how many batches may be in flight, at most 16; the pool needs a connection for each and some more. 0: 2.
	Lanes int
	// QueueTransfers bounds what waits for the lanes; beyond it Post is fault.Busy. 0: 8192, about half a second's work.
	QueueTransfers int
	// Consumers are those for which booked transfers are kept in the outbox, core.ForVouchers for instance; none: nothing is.
	Consumers []string
	// AllowUnsafe opens a ledger on a server that may forget what it acknowledged.
	AllowUnsafe bool
	// MergeEvery is how often buffers are merged. 0: 1 s; below 0: never by Run.
	MergeEvery time.Duration
	// Log may be nil.
	Log *slog.Logger
	// At is hit at the named crash points; nil: none.
	At func(point string) error
}

// Ledger is the ledger of one database. Its methods are safe for concurrent use; Run must run for Post to be answered.
type Ledger struct {
	cfg             Config
	transfer, entry *catalog.Dataset // names, tables and schemes only
	queue           *queue
	queued          atomic.Int64 // transfers in the queue and in batches
	running         atomic.Bool
	ended           chan struct{}
	known           known
	rules           sync.Map // *core.Rules by version: few, and they never change
	stamp           stamp
	pace            pace
	purged          purged
	modes           modes
	simple          chan *lane // those that are free
	stats           counters
}

// Stats are counts since New.
type Stats struct {
	Batches, Applied, Replayed, Conflicts, Refused, Failed int64
	Late                                                   int64     // rows written to late shards
	Retries, Ambiguous                                     int64     // batches done again; of those, after a commit without an answer
	Guessed, Missed                                        int64     // batches whose answers were guessed rightly, wrongly
	Queued                                                 int64     // transfers waiting now
	Simple                                                 int64     // transfers posted beside the lanes
	Merged                                                 int64     // rows of buffers that became entries
	Buffered                                               int64     // rows in buffers at Run's last look
	BufferedSince                                          time.Time // when the oldest of them was posted
}

type counters struct {
	batches, late, retries, ambiguous, guessed, missed atomic.Int64
	simple, merged, buffered, bufferedSince            atomic.Int64
	outcomes                                           [5]atomic.Int64 // by core.Outcome
}

// CrashPoints lists the points of At: of a batch in its order, then of what else writes.
func CrashPoints() []string {
	return []string{"core.before_ids", "core.after_ids", "core.before_rows", "core.after_rows", "core.after_balances",
		"core.before_commit", "core.after_commit", "core.before_shard", "core.after_shard", "core.before_cut", "core.after_cut"}
}

// MoreCrashPoints lists the points that only ledgers hit which use more than plain transfers: of a batch in its order, then
// of what else writes.
func MoreCrashPoints() []string {
	return []string{"core.before_side", "core.after_side", "core.before_orders", "core.after_orders", "core.before_outbox",
		"core.after_outbox", "core.before_control", "core.after_control", "core.before_expire", "core.after_expire",
		"core.before_settings", "core.after_settings", "core.before_done", "core.after_done", "core.before_purge", "core.after_purge"}
}

// ModeCrashPoints lists the points that only ledgers hit which have accounts in other modes than RealTime.
func ModeCrashPoints() []string {
	return []string{"core.before_inner", "core.after_inner", "core.before_buffer", "core.after_buffer", "core.before_merged", "core.after_merged",
		"core.after_unbuffered", "core.before_merge", "core.after_merge", "core.before_simple", "core.after_simple",
		"core.before_switch", "core.after_switch"}
}

// New checks the configuration and the server, and makes the tables that are missing, the late shards and strata's own among
// them. Errors: fault.Invalid for the configuration; fault.Unsafe for a server that may forget what it acknowledged, and for
// a ledger of an earlier version; else the server's.
func New(ctx context.Context, cfg Config) (*Ledger, error) {
	specs := core.Datasets(cfg.TransferShards, cfg.EntryShards)
	if err := errors.Join(append(cfg.check(), catalog.CheckSpecs(specs))...); err != nil {
		return nil, err
	}
	cfg.setDefaults()
	if !cfg.AllowUnsafe {
		if err := cfg.DB.CheckDurable(ctx); err != nil {
			return nil, err
		}
	}
	l := &Ledger{cfg: cfg, queue: newQueue(cfg.Lanes, joinAt), ended: make(chan struct{})}
	l.transfer, l.entry = skeleton(specs[0]), skeleton(specs[1])
	l.known.accounts = map[int64]*core.Account{}
	l.startSimple()
	if err := l.makeTables(ctx); err != nil {
		return nil, err
	}
	return l, l.loadModes(ctx)
}

func (c *Config) check() (errs []error) {
	bad := func(what string) { errs = append(errs, fault.New(fault.Invalid, "configure ledger", "%s", what)) }
	if c.DB == nil {
		bad("no database")
	} else if c.DB.Purpose() != db.Writer {
		bad("the database is opened for a " + c.DB.Purpose().String() + " instead of a writer")
	}
	if c.Now == nil {
		bad("no clock")
	}
	if c.Horizon < 0 || c.QueueTransfers < 0 || c.Lanes < 0 || c.Lanes > maxLanes {
		bad("a limit is out of its range")
	}
	for i, name := range c.Consumers {
		if name == "" || len(name) > 16 || slices.Contains(c.Consumers[:i], name) {
			bad(fmt.Sprintf("consumer %q is not a name of its own of at most 16 letters", name))
		}
	}
	return errs
}

func (c *Config) setDefaults() {
	if c.Horizon == 0 {
		c.Horizon = core.DefaultHorizon
	}
	if c.QueueTransfers == 0 {
		c.QueueTransfers = 8192
	}
	if c.Lanes == 0 {
		c.Lanes = defaultLanes
	}
	if c.MergeEvery == 0 {
		c.MergeEvery = time.Second
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.FirstDay.IsZero() {
		c.FirstDay = c.Now()
	}
}

func skeleton(s catalog.Spec) *catalog.Dataset {
	return &catalog.Dataset{Name: s.Name, Table: s.Table, Time: s.Time, Scheme: s.Shards}
}

// Stats returns the counts.
func (l *Ledger) Stats() Stats {
	c := &l.stats
	n := func(o core.Outcome) int64 { return c.outcomes[o].Load() }
	s := Stats{Batches: c.batches.Load(), Applied: n(core.Applied), Replayed: n(core.Replayed), Conflicts: n(core.Conflict),
		Refused: n(core.Refused), Failed: n(core.Failed), Late: c.late.Load(), Retries: c.retries.Load(),
		Ambiguous: c.ambiguous.Load(), Guessed: c.guessed.Load(), Missed: c.missed.Load(), Queued: l.queued.Load(),
		Simple: c.simple.Load(), Merged: c.merged.Load(), Buffered: c.buffered.Load()}
	if at := c.bufferedSince.Load(); at != 0 {
		s.BufferedSince = time.UnixMicro(at).UTC()
	}
	return s
}

// Post is core.Poster. A context that ends before a lane has taken the call takes it back; later, Post waits for the
// answers, which is bounded, so that the transfers' memory is the caller's again at the return.
func (l *Ledger) Post(ctx context.Context, transfers []core.Transfer) ([]core.Answer, error) {
	n := int64(len(transfers))
	if n == 0 {
		return nil, nil
	}
	limit := int64(l.cfg.QueueTransfers)
	if n > limit {
		return nil, fault.New(fault.TooLarge, "post", "%d transfers in one call; the limit is %d", n, limit)
	}
	if waiting := l.queued.Add(n); waiting > limit {
		l.queued.Add(-n)
		return nil, fault.New(fault.Busy, "post", "%w", &core.RetryAfter{After: l.pace.estimate(waiting)}).
			WithHint("post again with the same ids")
	}
	r := newRequest(transfers)
	if l.modes.some.Load() {
		if done, err := l.postSimple(ctx, r); done || err != nil {
			l.queued.Add(-n)
			r.err = err
			return r.result()
		}
		r.shared = l.modes.shared(r)
	}
	l.queue.push(r)
	select {
	case <-r.done:
		return r.result()
	case <-l.ended:
	case <-ctx.Done():
		if l.queue.withdraw(r) {
			l.queued.Add(-n)
			return nil, fmt.Errorf("post: %w", ctx.Err())
		}
		select {
		case <-r.done:
			return r.result()
		case <-l.ended:
		}
	}
	select {
	case <-r.done: // answered by the last batch
		return r.result()
	default:
		return nil, fault.New(fault.Unavailable, "post", "the ledger has stopped").WithHint("post again with the same ids when it runs")
	}
}

// stamp gives times that rise.
type stamp struct {
	mu   sync.Mutex
	last time.Time
}

// next is at, or just after the last one.
func (s *stamp) next(at time.Time) time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !at.After(s.last) {
		at = s.last.Add(time.Microsecond)
	}
	s.last = at
	return at
}

// pace is how fast transfers were posted lately.
type pace struct {
	mu    sync.Mutex
	since time.Time
	count int
	rate  float64 // a second
}

// window is what the rate is taken over.
const window = time.Second

// did counts transfers.
func (p *pace) did(n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	if p.count += n; p.since.IsZero() || now.Sub(p.since) > 10*window {
		p.since, p.count = now, 0
		return
	}
	if d := now.Sub(p.since); d >= window || p.rate == 0 && d > 0 {
		p.rate = float64(p.count) / d.Seconds()
		p.since, p.count = now, 0
	}
}

// estimate is how long so many transfers take, within reason.
func (p *pace) estimate(transfers int64) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.rate == 0 {
		return 100 * time.Millisecond
	}
	d := time.Duration(float64(transfers) / p.rate * float64(time.Second))
	return min(max(d, 10*time.Millisecond), 10*time.Second).Round(time.Millisecond)
}
