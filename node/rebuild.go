package node

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"fmt"

	"strata/catalog"
	"strata/db"
	"strata/fault"
	"strata/index"
	"strata/sync/rebuild"
	"strata/sync/verify"
)

// Rebuilds makes other generations of the index, and drops them.
func (n *Node) Rebuilds(ctx context.Context) (*rebuild.Rebuilds, error) {
	desk, err := n.Desk(ctx)
	if err != nil {
		return nil, err
	}
	return rebuild.New(rebuild.Config{Index: n.index, Desk: desk, Datasets: n.datasets, Verify: n.verifyGeneration, Lock: n.rebuildLock,
		Stopped: n.generationStopped, Now: n.now, Log: n.log, At: n.at})
}

// runRebuilds works on what operators ordered.
func (n *Node) runRebuilds(ctx context.Context) error {
	b, err := n.Rebuilds(ctx)
	if err != nil {
		return err
	}
	return b.Run(ctx)
}

// generationStopped says why this process's sync has stopped feeding a generation.
func (n *Node) generationStopped(dataset string, generation int) error {
	if s := n.syncNow(); s != nil {
		return s.Stopped(dataset, generation)
	}
	return nil
}

// verifyGeneration compares one generation of a dataset with the stores.
func (n *Node) verifyGeneration(ctx context.Context, d *catalog.Dataset, x index.Reader, progress func(done, total int64)) (rebuild.Verdict, error) {
	var v rebuild.Verdict
	cfg, err := n.verifyConfig(ctx)
	if err != nil {
		return v, err
	}
	cfg.Datasets, cfg.Index, cfg.Progress = []*catalog.Dataset{d}, x, progress
	rep, err := verify.Once(ctx, cfg)
	if err != nil {
		return v, err
	}
	for i := range rep.Datasets {
		one := &rep.Datasets[i]
		v.Rows, v.Differences = v.Rows+one.Rows, v.Differences+one.Differences+one.Unsettled
		for _, f := range one.Findings[:min(1, len(one.Findings))] {
			v.First = fmt.Sprintf("row %s of %s: %s", f.Key, f.Shard, f.What)
		}
		for _, s := range one.Sums {
			if !s.OK {
				v.Differences++
				v.First = fmt.Sprintf("sum(%s) in %s: source %s, index %s", s.Column, s.Unit, s.Source, s.Index)
			}
		}
	}
	if v.Differences == 0 && !rep.OK {
		return v, fault.New(fault.Proof, "verify "+d.Name, "not every row was compared")
	}
	return v, nil
}

// rebuildLock is this process's while it applies the dataset, as it knows then whether the generation is fed; and a lock of the
// control database, which lasts as long as its connection, keeps out one that applied it before and has not noticed.
func (n *Node) rebuildLock(ctx context.Context, dataset string) (release func(), ok bool, err error) {
	const op = "lock rebuild"
	if s := n.syncNow(); s == nil || !s.Applies(dataset) {
		return nil, false, nil
	}
	cdb, err := n.control(ctx)
	if err != nil {
		return nil, false, err
	}
	conn, err := cdb.SQL().Conn(ctx)
	if err != nil {
		return nil, false, db.Classify(op, err)
	}
	var got sql.NullInt64
	err = conn.QueryRowContext(ctx, "SELECT GET_LOCK(CONCAT('strata_rebuild_', MD5(CONCAT(DATABASE(), ' ', ?))), 0)", dataset).Scan(&got)
	if err != nil || got.Int64 != 1 {
		_ = conn.Close() // it has no lock
		return nil, false, db.Classify(op, err)
	}
	return func() {
		_ = conn.Raw(func(any) error { return driver.ErrBadConn }) // the pool forgets it, and its lock ends with it
		_ = conn.Close()
	}, true, nil
}
