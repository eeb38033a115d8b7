package mysql

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"strata/catalog"
	"strata/core"
	"strata/db"
	"strata/fault"
)

const (
	maxBatch      = 500   // transfers: more doesn't raise the rate, it only holds locks longer
	maxBatchLegs  = 4_000 // bounds a statement to about a megabyte
	queueRequests = 4_096 // waiting calls; each is a goroutine of the caller's
)

// Config is what New needs.
type Config struct {
	// DB is a pool opened for db.Writer on the live primary. The ledger does not close it.
	DB *db.DB
	// Now is the lane's clock: posted_at, the horizon.
	Now func() time.Time
	// FirstDay is the accounting date of an empty ledger; zero: the day of Now.
	FirstDay time.Time
	// TransferShards and EntryShards are the shard schemes; empty: by month.
	TransferShards, EntryShards catalog.Scheme
	// Horizon is how long ids are remembered at least. 0: core.DefaultHorizon.
	Horizon time.Duration
	// QueueTransfers bounds what waits for the lane; beyond it Post is fault.Busy. 0: 8192, about half a second's work.
	QueueTransfers int
	// Log may be nil.
	Log *slog.Logger
	// At is hit at the named crash points; nil: none.
	At func(point string) error
}

// Ledger is the ledger of one database. Its methods are safe for concurrent use; Run must run for Post to be answered.
type Ledger struct {
	cfg             Config
	transfer, entry *catalog.Dataset // names, tables and schemes only
	queue           chan *request
	queued          atomic.Int64 // transfers in the queue and in the batch
	running         atomic.Bool
	ended           chan struct{}
	lane            lane
	stats           counters
}

// Stats are counts since New.
type Stats struct {
	Batches, Applied, Replayed, Conflicts, Refused, Failed int64
	Late                                                   int64 // rows written to late shards
	Retries, Ambiguous                                     int64 // batches done again; of those, after a commit without an answer
	Guessed, Missed                                        int64 // batches whose answers were guessed rightly, wrongly
	Queued                                                 int64 // transfers waiting now
}

type counters struct {
	batches, late, retries, ambiguous, guessed, missed atomic.Int64
	outcomes                                           [5]atomic.Int64 // by core.Outcome
}

// CrashPoints lists the points of At, in the order of a batch.
func CrashPoints() []string {
	return []string{"core.before_ids", "core.after_ids", "core.before_rows", "core.after_rows", "core.after_balances",
		"core.before_commit", "core.after_commit", "core.before_shard", "core.after_shard", "core.before_cut", "core.after_cut"}
}

// New checks the configuration and makes the tables that are missing, the late shards and strata's own among them. Errors:
// fault.Invalid for the configuration, else the server's.
func New(ctx context.Context, cfg Config) (*Ledger, error) {
	var errs []error
	bad := func(what string) { errs = append(errs, fault.New(fault.Invalid, "configure ledger", "%s", what)) }
	if cfg.DB == nil {
		bad("no database")
	} else if cfg.DB.Purpose() != db.Writer {
		bad("the database is opened for a " + cfg.DB.Purpose().String() + " instead of a writer")
	}
	if cfg.Now == nil {
		bad("no clock")
	}
	if cfg.Horizon < 0 || cfg.QueueTransfers < 0 {
		bad("a limit is below zero")
	}
	specs := core.Datasets(cfg.TransferShards, cfg.EntryShards)
	errs = append(errs, catalog.CheckSpecs(specs))
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	if cfg.Horizon == 0 {
		cfg.Horizon = core.DefaultHorizon
	}
	if cfg.QueueTransfers == 0 {
		cfg.QueueTransfers = 8192
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.FirstDay.IsZero() {
		cfg.FirstDay = cfg.Now()
	}
	l := &Ledger{cfg: cfg, queue: make(chan *request, queueRequests), ended: make(chan struct{})}
	l.transfer, l.entry = skeleton(specs[0]), skeleton(specs[1])
	l.lane.known = core.Book{}
	return l, l.makeTables(ctx)
}

func skeleton(s catalog.Spec) *catalog.Dataset {
	return &catalog.Dataset{Name: s.Name, Table: s.Table, Time: s.Time, Scheme: s.Shards}
}

// Stats returns the counts.
func (l *Ledger) Stats() Stats {
	c := &l.stats
	n := func(o core.Outcome) int64 { return c.outcomes[o].Load() }
	return Stats{Batches: c.batches.Load(), Applied: n(core.Applied), Replayed: n(core.Replayed), Conflicts: n(core.Conflict),
		Refused: n(core.Refused), Failed: n(core.Failed), Late: c.late.Load(), Retries: c.retries.Load(),
		Ambiguous: c.ambiguous.Load(), Guessed: c.guessed.Load(), Missed: c.missed.Load(), Queued: l.queued.Load()}
}

// Post is core.Poster. A context that ends before the lane has taken the call's first transfer takes the call back;
// later, Post waits for the answers, which is bounded, so that the transfers' memory is the caller's again at the return.
func (l *Ledger) Post(ctx context.Context, transfers []core.Transfer) ([]core.Answer, error) {
	n := int64(len(transfers))
	if n == 0 {
		return nil, nil
	}
	limit := int64(l.cfg.QueueTransfers)
	if n > limit {
		return nil, fault.New(fault.TooLarge, "post", "%d transfers in one call; the limit is %d", n, limit)
	}
	busy := fault.New(fault.Busy, "post", "%d transfers are waiting", l.queued.Load()).WithHint("post again with the same ids")
	if l.queued.Add(n) > limit {
		l.queued.Add(-n)
		return nil, busy
	}
	r := &request{transfers: transfers, answers: make([]core.Answer, n), left: len(transfers), done: make(chan struct{})}
	select {
	case l.queue <- r:
	default:
		l.queued.Add(-n)
		return nil, busy
	}
	select {
	case <-r.done:
		return r.result()
	case <-l.ended:
	case <-ctx.Done():
		if r.taken.CompareAndSwap(false, true) {
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
