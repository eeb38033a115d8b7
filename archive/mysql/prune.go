package mysql

import (
	"context"
	"database/sql"

	"strata/archive"
	"strata/catalog"
	"strata/db"
	"strata/fault"
)

// attemptMark stands in the names of tables on their way out; they are not captured.
const attemptMark = "__strata_"

// maxName is the server's limit for a table's name.
const maxName = 64

// attempt is the name under which this mover drops the table.
func (w *Work) attempt() string {
	suffix := attemptMark + w.token[:tokenShown]
	return w.shard.Table[:min(len(w.shard.Table), maxName-len(suffix))] + suffix
}

// Archived is part of archive.Work.
func (w *Work) Archived(ctx context.Context) (*archive.Manifest, error) {
	op := "read archived " + w.shard.Table
	rows, err := w.site.cfg.Archive.Query(ctx, w.ds, nil, selectRows(w.ds, w.shard.Table, "1=1"))
	if err != nil {
		return nil, db.Classify(op, err)
	}
	t, err := w.tally(rows, w.pass)
	if err != nil {
		return nil, db.Classify(op, err)
	}
	return archive.NewManifest(w.ds, w.shard, w.standing.Epoch(), t), nil
}

// Prune is part of archive.Work.
func (w *Work) Prune(ctx context.Context, m *archive.Manifest) error {
	if err := w.site.cfg.At(archive.PointPruneStart); err != nil {
		return err
	}
	op := "prune " + w.shard.Table
	if err := w.safeElsewhere(ctx, m); err != nil {
		return db.Classify(op, err)
	}
	left, err := w.leftovers(ctx)
	if err != nil {
		return db.Classify(op, err)
	}
	for _, table := range left {
		if table == w.shard.Table {
			if err := w.setAside(ctx, m); err != nil {
				return db.Classify(op, err)
			}
			table = w.attempt()
		}
		if err := w.drop(ctx, table, m); err != nil {
			return db.Classify(op, err)
		}
	}
	return w.site.cfg.At(archive.PointPruned)
}

// safeElsewhere proves that the archive owns the segment, and that enough servers have what it owns.
func (w *Work) safeElsewhere(ctx context.Context, m *archive.Manifest) error {
	pos, err := db.GTIDPos(ctx, w.site.cfg.Archive)
	if err != nil {
		return err
	}
	p, err := readPart(ctx, w.site.cfg.Archive, w.ds, w.shard.Table)
	if err != nil {
		return err
	}
	if p == nil || p.State != catalog.Owned || p.Epoch != w.standing.LiveEpoch() || p.Manifest != m.Digest() || w.standing.Stage() != archive.Released {
		return fault.New(fault.Conflict, "check owner", "the archive does not own segment %s with manifest %s", m.Segment, m.Digest()).
			WithHint("look at strata_part of both servers; nothing was dropped")
	}
	return w.awaitGTID(ctx, w.site.cfg.Copies, pos, "the archive's rows")
}

// leftovers are the live tables that hold rows of the segment: those renamed by earlier attempts, by their markers, then
// the table itself.
func (w *Work) leftovers(ctx context.Context) ([]string, error) {
	out, err := texts(ctx, w.site.cfg.Live, `SELECT p.chunk FROM strata_prune p JOIN information_schema.TABLES t
		ON t.TABLE_SCHEMA=? AND t.TABLE_NAME=p.chunk WHERE p.segment=? ORDER BY p.chunk`, w.site.cfg.Live.Schema(), string(w.standing.Segment()))
	if err != nil {
		return nil, err
	}
	has, err := hasTable(ctx, w.site.cfg.Live, w.shard.Table)
	if has {
		out = append(out, w.shard.Table)
	}
	return out, err
}

// setAside writes the marker, then renames the table to the attempt's name: readers of the released part wait for nothing,
// and nobody else knows the name.
func (w *Work) setAside(ctx context.Context, m *archive.Manifest) error {
	triggers, err := readTriggers(ctx, w.site.cfg.Live, w.shard.Table)
	if err != nil {
		return err
	}
	fenced := map[string]bool{}
	for _, t := range triggers {
		fenced[t.event] = fenced[t.event] || t.ours()
	}
	if !fenced["INSERT"] || !fenced["UPDATE"] || !fenced["DELETE"] {
		return fault.New(fault.Proof, "set aside "+w.shard.Table, "it has no fence: it is not the table that was released").
			WithHint("a table of that name was made again; move its rows to the late shard and drop it")
	}
	err = w.onLive(ctx, func(tx *sql.Tx, live *archive.Part) error {
		if live.State != catalog.Released || live.Manifest != m.Digest() {
			return fault.New(fault.Conflict, "mark "+w.shard.Table, "live's part is %s", live.State)
		}
		_, err := tx.ExecContext(ctx, "INSERT INTO strata_prune (segment, chunk, token, row_count, hash) VALUES (?,?,?,?,?)",
			string(m.Segment), w.attempt(), w.token, m.Rows, m.Hash)
		if db.Number(err) == 1062 {
			err = nil // this attempt came here before
		}
		return err
	})
	if err != nil {
		return err
	}
	if err := w.site.cfg.At(archive.PointPruneMarked); err != nil {
		return err
	}
	if err := w.ddl(ctx, "RENAME TABLE "+db.Quote(w.shard.Table)+" TO "+db.Quote(w.attempt())); err != nil {
		return err
	}
	return w.site.cfg.At(archive.PointPruneRenamed)
}

// drop hashes every row of a renamed table once more and drops it only if they are the manifest's.
func (w *Work) drop(ctx context.Context, table string, m *archive.Manifest) error {
	if err := w.sameShape(ctx, w.site.cfg.Live, table); err != nil {
		return err
	}
	rows, err := w.site.cfg.Live.Query(ctx, w.ds, nil, selectRows(w.ds, table, "1=1"))
	if err != nil {
		return err
	}
	t, err := w.tally(rows, w.pass)
	if err != nil {
		return err
	}
	if t.Rows != m.Rows || t.Hash != m.Hash {
		return fault.New(fault.Proof, "count "+table, "%w: it has %d rows, the manifest %d", archive.ErrDiffer, t.Rows, m.Rows).
			WithHint("the table is kept under that name on live; somebody changed it after it was released")
	}
	if err := w.site.cfg.At(archive.PointPruneCounted); err != nil {
		return err
	}
	if err := w.ddl(ctx, "DROP TABLE "+db.Quote(table)); err != nil {
		return err
	}
	return w.site.cfg.At(archive.PointPruneDropped)
}
