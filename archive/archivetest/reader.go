// Package archivetest reads as every reader of strata must while ranges move, and says what it saw: for the tests of the
// archive and of what stands on it.
package archivetest

import (
	"context"
	"fmt"
	"time"

	"strata/catalog"
	"strata/db"
	"strata/fault"
)

// turns bounds how often a reader takes a new view: each one needs a part to have moved meanwhile.
const turns = 200

// Read reads every row of the dataset once from one view of live and archive, shard by shard, each in a snapshot that
// checks the part, and calls each with the shard, its owner and the row. A shard whose part moved, or whose reader was
// killed, is read again from a new view, its rows being given to each only when they were read to their end.
func Read(ctx context.Context, ds *catalog.Dataset, live, archive *db.DB, each func(catalog.Holding, *catalog.Row)) error {
	done := map[string]bool{}
	var last error
	for range turns {
		view, err := View(ctx, ds, live, archive)
		if err != nil {
			return err
		}
		again := false
		for _, h := range view.Holdings {
			if done[h.Shard.Table] {
				continue
			}
			from := live
			if h.Store == catalog.Archive {
				from = archive
			}
			rows, err := shard(ctx, ds, from, h)
			if fault.Is(err, fault.Stale) || fault.Is(err, fault.Unavailable) || fault.Is(err, fault.Interrupted) && ctx.Err() == nil || fault.Is(err, fault.Busy) {
				last, again = err, true
				continue
			}
			if err != nil {
				return err
			}
			for i := range rows {
				each(h, &rows[i])
			}
			done[h.Shard.Table] = true
		}
		if !again {
			return nil
		}
		timer := time.NewTimer(5 * time.Millisecond)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		}
	}
	return fmt.Errorf("read %s: not within %d views: %w", ds.Name, turns, last)
}

// View merges what live and then the archive say. Live first: what a move has released, the archive owned before.
func View(ctx context.Context, ds *catalog.Dataset, live, archive *db.DB) (*catalog.View, error) {
	var says []catalog.Says
	for _, d := range []*db.DB{live, archive} {
		s, err := db.Says(ctx, d, ds)
		if err != nil {
			return nil, err
		}
		says = append(says, s)
	}
	return catalog.MergeView(ds, says)
}

func shard(ctx context.Context, ds *catalog.Dataset, d *db.DB, h catalog.Holding) ([]catalog.Row, error) {
	snap, err := d.Snapshot(ctx, ds, []catalog.Holding{h})
	if err != nil {
		return nil, err
	}
	defer func() { _ = snap.Close() }()
	rows, err := snap.Rows(ctx, ds, nil, "SELECT "+db.SelectList(ds, nil, "")+" FROM "+db.Quote(h.Shard.Table))
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	var out []catalog.Row
	for {
		var row catalog.Row
		ok, err := rows.Next(&row)
		if err != nil || !ok {
			return out, err
		}
		out = append(out, row)
	}
}
