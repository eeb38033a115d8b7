package mysql

import (
	"context"
	"database/sql"
	"fmt"
	"slices"

	"golang.org/x/sync/errgroup"

	"strata/archive"
	"strata/catalog"
	"strata/db"
	"strata/fault"
)

// repairs is how often what differs is copied again: the table is fenced, so once should do.
const repairs = 3

// rowsOf is what a result gives.
type rowsOf interface {
	Next(*catalog.Row) (bool, error)
	Close() error
}

// Compare is part of archive.Work.
func (w *Work) Compare(ctx context.Context) (*archive.Manifest, error) {
	op := "compare " + w.shard.Table
	if err := w.openPin(ctx); err != nil {
		return nil, db.Classify(op, err)
	}
	for try := 0; ; try++ {
		live, arch, err := w.tallies(ctx)
		if err != nil {
			return nil, db.Classify(op, err)
		}
		if live.Rows == arch.Rows && live.Hash == arch.Hash {
			if err := w.proveCount(ctx, live.Rows); err != nil {
				return nil, db.Classify(op, err)
			}
			return archive.NewManifest(w.ds, w.shard, w.standing.Epoch(), live), w.site.cfg.At(archive.PointCompared)
		}
		if try == repairs || w.standing.Stage() != archive.Copying {
			return nil, fault.New(fault.Proof, op, "%w: live has %d rows, the archive %d", archive.ErrDiffer, live.Rows, arch.Rows)
		}
		n, err := w.repair(ctx, live.Chunks)
		if err != nil {
			return nil, db.Classify(op, err)
		}
		w.site.cfg.Log.Info("copied again what differed", "table", w.shard.Table, "rows", n)
	}
}

// openPin opens the pin and, under it, checks everything that only the pin keeps from changing.
func (w *Work) openPin(ctx context.Context) (err error) {
	w.unpin()
	if w.pin, err = w.snapshot(ctx); err != nil {
		return err
	}
	if err := w.acquire(ctx, w.pin.Conn(), w.pinLock()); err != nil {
		return err
	}
	if err := w.site.cfg.At(archive.PointPinned); err != nil {
		return err
	}
	if err := w.checkFence(ctx); err != nil {
		return err
	}
	for _, d := range []*db.DB{w.site.cfg.Live, w.site.cfg.Archive} {
		if err := w.sameShape(ctx, d, w.shard.Table); err != nil {
			return err
		}
	}
	if w.ds.TerminalWhen == "" {
		return nil
	}
	var open int64
	if err := w.pin.Conn().QueryRowContext(ctx, "SELECT COUNT(*) FROM "+db.Quote(w.shard.Table)+" WHERE NOT COALESCE(("+w.ds.TerminalWhen+"),0)").Scan(&open); err != nil {
		return err
	}
	if open > 0 {
		return archive.Unmovable(w.shard.Table, []string{fmt.Sprintf("%d rows are not terminal: %s", open, w.ds.TerminalWhen)})
	}
	return nil
}

// sameShape proves that the table has the columns and the key that this move began with.
func (w *Work) sameShape(ctx context.Context, d *db.DB, table string) error {
	columns, key, err := db.Describe(ctx, d, table)
	if err != nil {
		return err
	}
	if !slices.Equal(columns, w.ds.Columns) || !slices.Equal(key, w.ds.Key) {
		return fault.New(fault.Conflict, "check definition of "+table, "on %s it is not what the move began with", d.Name()).
			WithHint("where the archive lacks a change that live has, `strata archive` can't go on: drop the archive's copy if its part says copying")
	}
	return nil
}

// tallies reads every row of both sides at once.
func (w *Work) tallies(ctx context.Context) (live, arch archive.Totals, err error) {
	g, ctx := errgroup.WithContext(ctx)
	query := selectRows(w.ds, w.shard.Table, "1=1")
	g.Go(func() error {
		rows, err := w.pin.Rows(ctx, w.ds, nil, query)
		if err != nil {
			return err
		}
		live, err = w.tally(rows, w.pass)
		return err
	})
	g.Go(func() error {
		rows, err := w.site.cfg.Archive.Query(ctx, w.ds, nil, query)
		if err != nil {
			return err
		}
		arch, err = w.tally(rows, func(int64) {})
		return err
	})
	return live, arch, g.Wait()
}

// tally reads rows to their end. Rows outside the range make the table unmovable.
func (w *Work) tally(rows rowsOf, pass func(int64)) (archive.Totals, error) {
	defer func() { _ = rows.Close() }()
	t, err := archive.NewTally(w.ds, w.shard.Range)
	if err != nil {
		return archive.Totals{}, err
	}
	var row catalog.Row
	for {
		ok, err := rows.Next(&row)
		if err != nil {
			return archive.Totals{}, err
		}
		if !ok {
			break
		}
		if err := t.Add(&row); err != nil {
			return archive.Totals{}, err
		}
		if t.Rows()%archive.ChunkRows == 0 {
			pass(archive.ChunkRows)
		}
	}
	pass(t.Rows() % archive.ChunkRows)
	if t.Outside() > 0 {
		return archive.Totals{}, archive.Unmovable(w.shard.Table, []string{fmt.Sprintf("%d rows lie outside its range %s", t.Outside(), w.shard.Range)})
	}
	return t.Totals(), nil
}

// proveCount asks both servers themselves how many rows there are: a compare that read nothing, or not all, fails here.
func (w *Work) proveCount(ctx context.Context, want int64) error {
	query := "SELECT COUNT(*) FROM " + db.Quote(w.shard.Table)
	var live, arch int64
	if err := w.pin.Conn().QueryRowContext(ctx, query).Scan(&live); err != nil {
		return err
	}
	if err := w.site.cfg.Archive.SQL().QueryRowContext(ctx, query).Scan(&arch); err != nil {
		return err
	}
	if live != want || arch != want {
		return fault.New(fault.Proof, "count "+w.shard.Table, "%d rows were compared, live counts %d, the archive %d", want, live, arch)
	}
	return nil
}

// ranges are the key ranges of chunks, together all keys there can be.
func ranges(chunks []archive.Chunk) []bounds {
	out := []bounds{{}}
	for i := range chunks {
		if i > 0 {
			out = append(out, bounds{after: &chunks[i-1].Last})
			out[i-1].to = &chunks[i-1].Last
		}
	}
	return out
}

// repair copies again every range in which the archive has other rows than live's chunks say.
func (w *Work) repair(ctx context.Context, chunks []archive.Chunk) (n int64, err error) {
	for i, b := range ranges(chunks) {
		want := archive.Chunk{}
		if i < len(chunks) {
			want = chunks[i]
		}
		have, err := w.tallyRange(ctx, b)
		if err != nil {
			return n, err
		}
		if sameChunk(want, have) {
			continue
		}
		more, err := w.copyRange(ctx, b)
		if err != nil {
			return n, err
		}
		n += more
	}
	return n, nil
}

// sameChunk reports whether the totals of a range are those of one chunk; the zero Chunk is no rows.
func sameChunk(c archive.Chunk, t archive.Totals) bool {
	if c.Rows == 0 || t.Rows == 0 {
		return c.Rows == t.Rows
	}
	return len(t.Chunks) == 1 && t.Chunks[0] == c
}

// tallyRange hashes the archive's rows of a range.
func (w *Work) tallyRange(ctx context.Context, b bounds) (archive.Totals, error) {
	where, args, err := b.where(w.ds)
	if err != nil {
		return archive.Totals{}, err
	}
	rows, err := w.site.cfg.Archive.Query(ctx, w.ds, nil, selectRows(w.ds, w.shard.Table, where), args...)
	if err != nil {
		return archive.Totals{}, err
	}
	everywhere := *w
	everywhere.shard.Range = catalog.All() // what lies outside is about to be replaced
	return everywhere.tally(rows, func(int64) {})
}

// copyRange replaces the archive's rows of a range by the pin's, in one transaction.
func (w *Work) copyRange(ctx context.Context, b bounds) (int64, error) {
	where, args, err := b.where(w.ds)
	if err != nil {
		return 0, err
	}
	rows, err := w.pin.Rows(ctx, w.ds, nil, selectRows(w.ds, w.shard.Table, where), args...)
	if err != nil {
		return 0, err
	}
	defer func() { _ = rows.Close() }()
	var part batch
	var row catalog.Row
	for {
		ok, err := rows.Next(&row)
		if err != nil {
			return 0, err
		}
		if !ok {
			break
		}
		part.add(&row)
	}
	return part.rows, w.onArchive(ctx, func(tx *sql.Tx, p *archive.Part) error {
		if p.State != catalog.Copying {
			return fault.New(fault.Conflict, "copy "+w.shard.Table+" again", "the archive's part is %s", p.State)
		}
		if _, err := tx.ExecContext(ctx, "DELETE FROM "+db.Quote(w.shard.Table)+" WHERE "+where, args...); err != nil {
			return err
		}
		if err := w.load(ctx, tx, &part); err != nil {
			return err
		}
		return w.site.cfg.At(archive.PointRepair)
	})
}
