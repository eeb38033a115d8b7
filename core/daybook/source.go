package daybook

import (
	"context"
	"errors"

	"strata/catalog"
	"strata/core"
	"strata/db"
	"strata/fault"
)

// Source gives the rows of a ledger.
type Source interface {
	// Rows calls f, from one goroutine, with every row of the datasets transfer, entry, account and of those of SideSpecs,
	// wherever it is, as of one moment: the live ones from one snapshot. A row is valid during the call. The rows of day_end
	// come before the first entry, those of day_balance ascend by date for each account; else the order is free. A table that
	// there isn't is left out.
	Rows(ctx context.Context, f func(dataset *catalog.Dataset, row *catalog.Row) error) error
}

// SideSpecs declares the ledger's unsharded side tables as datasets, in the order in which a Source gives them.
func SideSpecs() []catalog.Spec {
	var out []catalog.Spec
	for _, name := range []string{"day", "day_end", "day_balance", "setting", "account_mode", "buffer", "fund", "limit_use", "reservation", "reversed",
		"merchant_order", "outbox", "transfer_id"} {
		out = append(out, catalog.Spec{Name: name}.WithDefaults())
	}
	return out
}

// LiveSource is a Source for a ledger of which nothing has left the live database. Where something has, Rows is
// fault.Unsafe: node reads those.
type LiveSource struct {
	db   *db.DB
	sets []*catalog.Dataset
}

// NewLiveSource resolves the ledger's tables, which must be there. d is a pool opened for db.Reader; the schemes are the
// ledger's.
func NewLiveSource(ctx context.Context, d *db.DB, transfers, entries catalog.Scheme) (*LiveSource, error) {
	s := &LiveSource{db: d}
	for _, spec := range append(SideSpecs(), core.Datasets(transfers, entries)...) {
		ds, err := db.Resolve(ctx, d, spec)
		if err != nil {
			return nil, err
		}
		s.sets = append(s.sets, ds)
	}
	return s, nil
}

// Rows is Source.
func (s *LiveSource) Rows(ctx context.Context, f func(dataset *catalog.Dataset, row *catalog.Row) error) error {
	for try := 1; ; try++ {
		snap, reads, err := s.open(ctx)
		if fault.Is(err, fault.Stale) && try < pinTries {
			continue
		}
		if err != nil {
			return err
		}
		for _, r := range reads {
			for _, h := range r.Holdings {
				if err == nil {
					err = tableRows(ctx, snap, r.Dataset, h.Shard.Table, f)
				}
			}
		}
		return errors.Join(err, snap.Close())
	}
}

func (s *LiveSource) open(ctx context.Context) (*db.Snapshot, []db.Reading, error) {
	var reads []db.Reading
	for _, ds := range s.sets {
		r := db.Reading{Dataset: ds}
		if !ds.Sharded() {
			r.Holdings = append(r.Holdings, catalog.Holding{Shard: ds.ShardAt(0), Store: catalog.Live})
			reads = append(reads, r)
			continue
		}
		shards, err := shardsOf(ctx, s.db, ds)
		if err != nil {
			return nil, nil, err
		}
		for _, h := range shards {
			if h.released {
				return nil, nil, fault.New(fault.Unsafe, "read ledger", "%s is not complete in the live database", h.Table)
			}
			r.Holdings = append(r.Holdings, catalog.Holding{Shard: h.Shard, Store: catalog.Live, Epoch: h.epoch})
		}
		reads = append(reads, r)
	}
	snap, err := s.db.SnapshotAll(ctx, reads...)
	return snap, reads, err
}

func tableRows(ctx context.Context, snap *db.Snapshot, ds *catalog.Dataset, table string, f func(*catalog.Dataset, *catalog.Row) error) error {
	rows, err := snap.Rows(ctx, ds, nil, "SELECT "+db.SelectList(ds, nil, "")+" FROM "+db.Quote(table))
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
		if err := f(ds, &row); err != nil {
			return err
		}
	}
}
