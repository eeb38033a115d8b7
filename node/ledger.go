package node

import (
	"context"
	"errors"

	"strata/catalog"
	"strata/core/daybook"
	coremysql "strata/core/mysql"
	"strata/db"
	"strata/fault"
)

// Ledger opens the core on the live primary and makes its tables where they are missing. Its Run must run for transfers
// to be answered.
func (n *Node) Ledger(ctx context.Context) (*coremysql.Ledger, error) {
	if !n.cfg.Ledger {
		return nil, fault.New(fault.Invalid, "open ledger", "this configuration has no ledger").WithHint("set ledger: true")
	}
	w, err := n.liveWriter(ctx)
	if err != nil {
		return nil, err
	}
	return coremysql.New(ctx, n.ledgerConfig(w))
}

func (n *Node) ledgerConfig(w *db.DB) coremysql.Config {
	return coremysql.Config{DB: w, Now: n.ledgerClock, FirstDay: n.firstDay, Lanes: n.cfg.Core.Lanes, QueueTransfers: n.cfg.Core.QueueTransfers,
		Horizon: n.horizon(), Consumers: n.consumers(), TransferShards: n.cfg.TransferShards, EntryShards: n.cfg.EntryShards, Log: n.log, At: n.at}
}

// ledgerDatasets are the first of all datasets.
func (n *Node) ledgerDatasets() []*catalog.Dataset { return n.datasets[:len(n.cfg.ledgerSpecs())] }

// LedgerAndSideRows gives every row of the ledger's side tables and datasets to f, as rowsOf does.
func (n *Node) LedgerAndSideRows(ctx context.Context, f func(d *catalog.Dataset, row *catalog.Row) error) error {
	var all []*catalog.Dataset
	for _, spec := range daybook.SideSpecs() {
		d, err := db.Resolve(ctx, n.live, spec)
		if err != nil {
			return err
		}
		all = append(all, d)
	}
	return n.rowsOf(ctx, append(all, n.ledgerDatasets()...), f)
}

// rowsOf gives every row of the datasets to f, wherever it is now, as of one moment: the live shards are read in one
// snapshot, the archived ones do not change. They come in the datasets' order within a store, live before the archive. f is
// called from one goroutine; the row is valid during the call. The snapshot holds up DDL of the tables for as long as it takes.
func (n *Node) rowsOf(ctx context.Context, datasets []*catalog.Dataset, f func(d *catalog.Dataset, row *catalog.Row) error) error {
	snaps, reads, err := n.ledgerSnapshots(ctx, datasets)
	if err != nil {
		return err
	}
	var errs []error
	for i, snap := range snaps {
		errs = append(errs, readAll(ctx, snap, reads[i], f), snap.Close())
	}
	return errors.Join(errs...)
}

func readAll(ctx context.Context, snap *db.Snapshot, reads []db.Reading, f func(*catalog.Dataset, *catalog.Row) error) error {
	for _, r := range reads {
		for _, h := range r.Holdings {
			err := shardRows(ctx, snap, r.Dataset, h.Shard.Table, func(row *catalog.Row) error { return f(r.Dataset, row) })
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// snapshotTries bounds how often the whole ledger is looked at again because a range moved.
const snapshotTries = 5

// ledgerSnapshots opens the live and the archive snapshot; a range that moves meanwhile makes it look again.
func (n *Node) ledgerSnapshots(ctx context.Context, datasets []*catalog.Dataset) ([]*db.Snapshot, [][]db.Reading, error) {
	for try := 1; ; try++ {
		snaps, reads, err := n.tryLedgerSnapshots(ctx, datasets)
		if !fault.Is(err, fault.Stale) || try == snapshotTries {
			return snaps, reads, err
		}
	}
}

func (n *Node) tryLedgerSnapshots(ctx context.Context, datasets []*catalog.Dataset) (snaps []*db.Snapshot, reads [][]db.Reading, err error) {
	pools := []*db.DB{n.live, n.archive}
	reads = make([][]db.Reading, len(pools))
	for _, d := range datasets {
		view, err := n.View(ctx, d)
		if err != nil {
			return nil, nil, err
		}
		for i, p := range pools {
			var own []catalog.Holding
			for _, h := range view.Holdings {
				if h.Store == p.Store() {
					own = append(own, h)
				}
			}
			if len(own) > 0 {
				reads[i] = append(reads[i], db.Reading{Dataset: d, Holdings: own})
			}
		}
	}
	for i, p := range pools {
		snap, err := p.SnapshotAll(ctx, reads[i]...)
		if err != nil {
			for _, s := range snaps {
				err = errors.Join(err, s.Close())
			}
			return nil, nil, err
		}
		snaps = append(snaps, snap)
	}
	return snaps, reads, nil
}

func shardRows(ctx context.Context, snap *db.Snapshot, d *catalog.Dataset, table string, f func(*catalog.Row) error) error {
	rows, err := snap.Rows(ctx, d, nil, "SELECT "+db.SelectList(d, nil, "")+" FROM "+db.Quote(table))
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }()
	var row catalog.Row
	for {
		ok, err := rows.Next(&row)
		if err != nil || !ok {
			return err
		}
		if err := f(&row); err != nil {
			return err
		}
	}
}
