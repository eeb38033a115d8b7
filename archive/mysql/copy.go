package mysql

import (
	"context"
	"database/sql"
	"regexp"
	"strings"

	"golang.org/x/sync/errgroup"

	"strata/archive"
	"strata/catalog"
	"strata/db"
	"strata/fault"
)

// snapshotRows bounds how long one snapshot of the copy lives: about a second.
const snapshotRows = 50_000

// Copy is part of archive.Work.
func (w *Work) Copy(ctx context.Context) error {
	if err := w.site.cfg.At(archive.PointCopyStart); err != nil {
		return err
	}
	op := "copy " + w.shard.Table
	if err := w.createTable(ctx); err != nil {
		return db.Classify(op, err)
	}
	if err := w.site.cfg.At(archive.PointCopyTable); err != nil {
		return err
	}
	after, err := w.highest(ctx)
	if err != nil {
		return db.Classify(op, err)
	}
	if err := w.copyRows(ctx, after); err != nil {
		return db.Classify(op, err)
	}
	return w.site.cfg.At(archive.PointCopied)
}

// createTable makes the table of live's definition on the archive, where it is missing.
func (w *Work) createTable(ctx context.Context) error {
	var name, ddl string
	if err := w.site.cfg.Live.SQL().QueryRowContext(ctx, "SHOW CREATE TABLE "+db.Quote(w.shard.Table)).Scan(&name, &ddl); err != nil {
		return err
	}
	rest, ok := strings.CutPrefix(ddl, "CREATE TABLE "+db.Quote(w.shard.Table))
	if !ok {
		return fault.New(fault.Internal, "read definition", "it begins with %.60q", ddl)
	}
	rest = regexp.MustCompile(` AUTO_INCREMENT=\d+`).ReplaceAllString(rest, "")
	_, err := w.write.ExecContext(ctx, "CREATE TABLE IF NOT EXISTS "+db.Quote(w.shard.Table)+rest)
	return err
}

// highest is the highest key that the archive has, nil for an empty table.
func (w *Work) highest(ctx context.Context) (*catalog.Key, error) {
	rows, err := w.site.cfg.Archive.Query(ctx, w.ds, nil,
		"SELECT "+db.SelectList(w.ds, nil, "")+" FROM "+db.Quote(w.shard.Table)+" ORDER BY "+keyList(w.ds, " DESC")+" LIMIT 1")
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	var row catalog.Row
	ok, err := rows.Next(&row)
	if err != nil || !ok {
		return nil, err
	}
	key := catalog.KeyOf(&row, w.ds.KeyIndexes())
	return &key, nil
}

// copyRows reads and writes side by side: one batch is read, one waits, one is being loaded.
func (w *Work) copyRows(ctx context.Context, after *catalog.Key) error {
	g, ctx := errgroup.WithContext(ctx)
	full, empty := make(chan *batch, 1), make(chan *batch, 3)
	for range cap(empty) {
		empty <- &batch{}
	}
	g.Go(func() error {
		defer close(full)
		return w.readLive(ctx, after, full, empty)
	})
	g.Go(func() error {
		for b := range full {
			if err := w.writeBatch(ctx, b); err != nil {
				return err
			}
			b.reset()
			empty <- b // never blocks: there are as many batches as places
		}
		return nil
	})
	return g.Wait()
}

func (w *Work) writeBatch(ctx context.Context, b *batch) error {
	err := w.onArchive(ctx, func(tx *sql.Tx, p *archive.Part) error {
		if p.State != catalog.Copying {
			return fault.New(fault.Conflict, "copy "+w.shard.Table, "the archive's part is %s", p.State)
		}
		if err := w.load(ctx, tx, b); err != nil {
			return err
		}
		return w.site.cfg.At(archive.PointCopyOpen)
	})
	if err != nil {
		return err
	}
	w.pass(b.rows)
	return w.site.cfg.At(archive.PointCopyChunk)
}

// readLive reads the table in key order, one snapshot after the other.
func (w *Work) readLive(ctx context.Context, after *catalog.Key, full chan<- *batch, empty <-chan *batch) error {
	keyAt := w.ds.KeyIndexes()
	next := func() (*batch, error) {
		select {
		case b := <-empty:
			return b, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	b, err := next()
	if err != nil {
		return err
	}
	send := func() error {
		select {
		case full <- b:
		case <-ctx.Done():
			return ctx.Err()
		}
		b, err = next()
		return err
	}
	for {
		n, err := w.readSnapshot(ctx, after, func(row *catalog.Row) error {
			b.add(row)
			if b.rows < int64(w.site.cfg.BatchRows) {
				return nil
			}
			return send()
		}, func(last *catalog.Row) {
			key := catalog.KeyOf(last, keyAt)
			after = &key
		})
		if err != nil {
			return err
		}
		if n < snapshotRows {
			break
		}
	}
	if b.rows == 0 {
		return nil
	}
	select {
	case full <- b:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// readSnapshot gives up to snapshotRows rows after a key to each, and the last one of them to last.
func (w *Work) readSnapshot(ctx context.Context, after *catalog.Key, each func(*catalog.Row) error, last func(*catalog.Row)) (n int, err error) {
	where, args, err := bounds{after: after}.where(w.ds)
	if err != nil {
		return 0, err
	}
	snap, err := w.snapshot(ctx)
	if err != nil {
		return 0, err
	}
	defer func() { _ = snap.Close() }()
	rows, err := snap.Rows(ctx, w.ds, nil, selectRows(w.ds, w.shard.Table, where)+" LIMIT ?", append(args, snapshotRows)...)
	if err != nil {
		return 0, err
	}
	defer func() { _ = rows.Close() }()
	var row, end catalog.Row
	for {
		ok, err := rows.Next(&row)
		if err != nil {
			return n, err
		}
		if !ok {
			return n, nil
		}
		n++
		if n == snapshotRows {
			end = row.Clone()
			last(&end)
		}
		if err := each(&row); err != nil {
			return n, err
		}
	}
}

// snapshot opens a snapshot of the live table under the part's epoch.
func (w *Work) snapshot(ctx context.Context) (*db.Snapshot, error) {
	return w.site.cfg.LiveReader.Snapshot(ctx, w.ds, []catalog.Holding{{Shard: w.shard, Store: catalog.Live, Epoch: w.standing.LiveEpoch()}})
}
