package tables

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"strata/canal"
	"strata/catalog"
	"strata/db"
	"strata/fault"
)

// snapshotLimit is how long a snapshot may hold up DDL.
const snapshotLimit = 5 * time.Second

// replicaWait is longer than a replica that keeps up is behind, and short enough that repairs go on beside one that doesn't.
const replicaWait = 5 * time.Second

// Config is what Tables needs.
type Config struct {
	// Captured is the server that the stream reads now, as a Reader.
	Captured func() *db.DB
	// Locks is the same server as a Writer, whose sessions may lock rows. Nothing is written, so a read-only replica will do.
	Locks func() *db.DB
	// Live is live itself, as a Writer, where Locks may be a replica of it; nil, or nil of it: there is no other than Locks.
	Live func() *db.DB
	// ReplicaWait is how long the captured replica may take to get to where live was. 0: 5 s.
	ReplicaWait time.Duration
	// Archives are the archives, as Readers.
	Archives map[catalog.Store]*db.DB
	// View asks every store who owns the dataset's shards.
	View func(ctx context.Context, d *catalog.Dataset) (*catalog.View, error)
	Now  func() time.Time
	// SnapshotLimit is how long a snapshot lives. 0: 5 s.
	SnapshotLimit time.Duration
}

// Tables is a canal.Tables, for any number of goroutines.
type Tables struct {
	cfg Config

	noLive atomic.Int64 // until then live itself isn't asked, Unix time in ns
	mu     sync.Mutex
	parked map[place]*cursor // between two chunks
	shapes map[place]shape   // of tables that have other columns than their dataset
	closed bool
}

// maxShapes bounds what is remembered: more tables than that have hardly other columns than their dataset at one time.
const maxShapes = 1000

// place is what at most one cursor is parked for.
type place struct{ dataset, shard string }

// New checks the configuration.
func New(cfg Config) (*Tables, error) {
	var errs []error
	need := func(ok bool, what string) {
		if !ok {
			errs = append(errs, fault.New(fault.Invalid, "configure tables", "%s is missing", what))
		}
	}
	need(cfg.Captured != nil, "Captured")
	need(cfg.Locks != nil, "Locks")
	need(cfg.View != nil, "View")
	need(cfg.Now != nil, "Now")
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	if cfg.SnapshotLimit <= 0 {
		cfg.SnapshotLimit = snapshotLimit
	}
	if cfg.ReplicaWait <= 0 {
		cfg.ReplicaWait = replicaWait
	}
	return &Tables{cfg: cfg, parked: map[place]*cursor{}}, nil
}

// Close ends the snapshots that wait for another chunk. Twice is no error.
func (t *Tables) Close() error {
	t.mu.Lock()
	t.closed = true
	open := t.parked
	t.parked = map[place]*cursor{}
	t.mu.Unlock()
	var errs []error
	for _, c := range open {
		errs = append(errs, c.close())
	}
	return errors.Join(errs...)
}

// Shards is part of canal.Tables.
func (t *Tables) Shards(ctx context.Context, d *catalog.Dataset) ([]canal.TableShard, error) {
	view, err := t.cfg.View(ctx, d)
	if err != nil {
		return nil, err
	}
	byStore := map[catalog.Store][]string{}
	out := make([]canal.TableShard, 0, len(view.Holdings))
	for _, h := range view.Holdings {
		byStore[h.Store] = append(byStore[h.Store], h.Shard.Table)
		out = append(out, canal.TableShard{Holding: h})
	}
	estimates := map[catalog.Store]map[string]int64{}
	for store, names := range byStore {
		pool, err := t.store(store)
		if err != nil {
			return nil, err
		}
		if estimates[store], err = estimate(ctx, pool, names); err != nil {
			return nil, err
		}
	}
	for i := range out {
		h := &out[i].Holding
		out[i].Rows = estimates[h.Store][h.Shard.Table]
	}
	slices.SortFunc(out, func(a, b canal.TableShard) int { return strings.Compare(a.Holding.Shard.Table, b.Holding.Shard.Table) })
	return out, nil
}

// store is the pool that reads a store.
func (t *Tables) store(s catalog.Store) (*db.DB, error) {
	pool := t.cfg.Archives[s]
	if s == catalog.Live {
		pool = t.cfg.Captured()
	}
	if pool == nil {
		return nil, fault.New(fault.Unavailable, "read "+string(s), "there is no connection to this store").
			WithHint("name the store's server in strata.yaml")
	}
	return pool, nil
}

// estimate reads how many rows the server thinks that tables have.
func estimate(ctx context.Context, pool *db.DB, names []string) (map[string]int64, error) {
	op := "estimate rows of " + pool.Name()
	args := []any{pool.Schema()}
	for _, n := range names {
		args = append(args, n)
	}
	rows, err := pool.SQL().QueryContext(ctx, "SELECT TABLE_NAME, COALESCE(TABLE_ROWS,0) FROM information_schema.TABLES WHERE TABLE_SCHEMA=? AND TABLE_NAME IN (?"+
		strings.Repeat(",?", len(names)-1)+")", args...)
	if err != nil {
		return nil, db.Classify(op, err)
	}
	defer func() { _ = rows.Close() }()
	out := make(map[string]int64, len(names))
	for rows.Next() {
		var name string
		var n int64
		if err := rows.Scan(&name, &n); err != nil {
			return nil, fault.Wrap(fault.Internal, op, err)
		}
		out[name] = n
	}
	return out, db.Classify(op, rows.Err())
}
