package mysql

import (
	"context"
	"database/sql"

	"strata/archive"
	"strata/catalog"
	"strata/db"
	"strata/fault"
)

// Own is part of archive.Work.
func (w *Work) Own(ctx context.Context, digest string) error {
	op := "own " + w.shard.Table
	if err := w.site.cfg.At(archive.PointOwnStart); err != nil {
		return err
	}
	if err := w.sameServers(ctx); err != nil {
		return db.Classify(op, err)
	}
	if err := w.awaitGTID(ctx, w.site.cfg.Promotable, w.fenceGTD, "the fence"); err != nil {
		return db.Classify(op, err)
	}
	if err := w.pinned(ctx); err != nil {
		return err
	}
	err := w.onLive(ctx, func(_ *sql.Tx, live *archive.Part) error { // its row stays locked while the archive commits
		if live.State != catalog.Owned {
			return fault.New(fault.Conflict, op, "live's part is %s", live.State)
		}
		return w.onArchive(ctx, func(tx *sql.Tx, p *archive.Part) error {
			if p.State != catalog.Copying {
				return fault.New(fault.Conflict, op, "the archive's part is %s", p.State)
			}
			p.State, p.Epoch, p.Manifest = catalog.Owned, live.Epoch+1, digest
			if err := w.setPart(ctx, tx, p); err != nil {
				return err
			}
			if err := w.site.cfg.At(archive.PointOwnOpen); err != nil {
				return err
			}
			w.standing.Archive = p
			return nil
		})
	})
	if err != nil {
		return db.Classify(op, err)
	}
	return w.site.cfg.At(archive.PointOwned)
}

// pinned proves that the pin stands. Errors: Stale.
func (w *Work) pinned(ctx context.Context) error {
	op := "check pin of " + w.shard.Table
	if w.pin == nil {
		return fault.New(fault.Stale, op, "there is none")
	}
	if err := w.pin.Alive(ctx); err != nil {
		if ctx.Err() != nil {
			return db.Classify(op, ctx.Err())
		}
		return fault.New(fault.Stale, op, "it is lost: %w", err).WithHint("run again: all rows are compared anew")
	}
	return nil
}

// sameServers proves that both servers are who they were at Take, and as durable.
func (w *Work) sameServers(ctx context.Context) error {
	for _, c := range []struct {
		d   *db.DB
		was db.Identity
	}{{w.site.cfg.Live, w.live}, {w.site.cfg.LiveReader, w.live}, {w.site.cfg.Archive, w.archive}} {
		is, err := c.d.Identity(ctx)
		if err != nil {
			return err
		}
		if is != c.was {
			return fault.New(fault.Unsafe, "check server "+c.d.Name(), "it is another one than the move began on").WithHint("run again")
		}
	}
	for _, d := range []*db.DB{w.site.cfg.Live, w.site.cfg.Archive} {
		if err := d.CheckDurable(ctx); err != nil {
			return err
		}
	}
	return nil
}

// awaitGTID waits until every server has pos.
func (w *Work) awaitGTID(ctx context.Context, servers []*db.DB, pos, what string) error {
	for _, d := range servers {
		has, err := db.HasGTID(ctx, d, pos, w.site.cfg.GTIDWait)
		if err != nil {
			return err
		}
		if !has {
			return fault.New(fault.Busy, "wait for "+d.Name(), "it lacks %s, %s, after %s", what, pos, w.site.cfg.GTIDWait).
				WithHint("look at its replication, then run again")
		}
	}
	return nil
}

// setPart writes state, epoch, manifest and token of a locked part.
func (w *Work) setPart(ctx context.Context, tx *sql.Tx, p *archive.Part) error {
	_, err := tx.ExecContext(ctx, "UPDATE strata_part SET state=?, epoch=?, manifest=?, token=? WHERE dataset=? AND shard=?",
		string(p.State), p.Epoch, p.Manifest, p.Token, w.ds.Name, w.shard.Table)
	return err
}

// Release is part of archive.Work.
func (w *Work) Release(ctx context.Context, digest string) error {
	op := "release " + w.shard.Table
	if err := w.pinned(ctx); err != nil {
		return err
	}
	err := w.onLive(ctx, func(tx *sql.Tx, live *archive.Part) error {
		p, err := readPart(ctx, w.site.cfg.Archive, w.ds, w.shard.Table)
		if err != nil {
			return err
		}
		if p == nil || p.State != catalog.Owned || p.Epoch != live.Epoch+1 || p.Manifest != digest || live.State != catalog.Owned {
			return fault.New(fault.Conflict, op, "the parts are not those of a segment that the archive owns")
		}
		live.State, live.Epoch, live.Manifest = catalog.Released, p.Epoch, digest
		if err := w.setPart(ctx, tx, live); err != nil {
			return err
		}
		if err := w.site.cfg.At(archive.PointReleaseOpen); err != nil {
			return err
		}
		w.standing.Live = live
		return nil
	})
	if err != nil {
		return db.Classify(op, err)
	}
	w.unpin()
	return w.site.cfg.At(archive.PointReleased)
}

// HandBack is part of archive.Work.
func (w *Work) HandBack(ctx context.Context) error {
	op := "hand back " + w.shard.Table
	w.unpin()
	if st := w.standing.Stage(); st == archive.Owned {
		err := w.onLive(ctx, func(tx *sql.Tx, live *archive.Part) error {
			if live.State != catalog.Owned || live.Epoch >= w.standing.Archive.Epoch {
				return fault.New(fault.Conflict, op, "live's part is %s at %d", live.State, live.Epoch)
			}
			live.Epoch = w.standing.Archive.Epoch + 1
			w.standing.Live = live
			return w.setPart(ctx, tx, live)
		})
		if err != nil {
			return db.Classify(op, err)
		}
	} else if st != archive.Returning {
		return fault.New(fault.Conflict, op, "it is %s", st)
	}
	if err := w.site.cfg.At(archive.PointReturnLive); err != nil {
		return err
	}
	err := w.onArchive(ctx, func(tx *sql.Tx, p *archive.Part) error {
		p.State, p.Epoch, p.Manifest = catalog.Released, w.standing.LiveEpoch(), ""
		w.standing.Archive = p
		return w.setPart(ctx, tx, p)
	})
	if err != nil {
		return db.Classify(op, err)
	}
	if err := w.site.cfg.At(archive.PointReturnArchive); err != nil {
		return err
	}
	if err := w.dropFence(ctx, true); err != nil {
		return db.Classify(op, err)
	}
	if err := w.site.cfg.At(archive.PointReturnFence); err != nil {
		return err
	}
	if err := w.letGo(ctx); err != nil {
		return db.Classify(op, err)
	}
	return w.site.cfg.At(archive.PointReturnDone)
}

// letGo takes the tokens away, live's first: an archive's alone still says that something is unfinished.
func (w *Work) letGo(ctx context.Context) error {
	clear := func(tx *sql.Tx, p *archive.Part) error {
		p.Token = ""
		return w.setPart(ctx, tx, p)
	}
	if err := w.onLive(ctx, clear); err != nil {
		return err
	}
	return w.onArchive(ctx, clear)
}

// Abort is part of archive.Work.
func (w *Work) Abort(ctx context.Context) error {
	op := "abort " + w.shard.Table
	w.unpin()
	if st := w.standing.Stage(); st != archive.Copying {
		return fault.New(fault.Conflict, op, "it is %s", st)
	}
	// The part first: a table without one would look like somebody else's, so the row goes last on the archive.
	err := w.onArchive(ctx, func(tx *sql.Tx, p *archive.Part) error {
		if p.State != catalog.Copying {
			return fault.New(fault.Conflict, op, "the archive's part is %s", p.State)
		}
		return nil
	})
	if err != nil {
		return db.Classify(op, err)
	}
	if _, err := w.write.ExecContext(ctx, "DROP TABLE IF EXISTS "+db.Quote(w.shard.Table)); err != nil {
		return db.Classify(op, err)
	}
	if err := w.site.cfg.At(archive.PointAbortCopy); err != nil {
		return err
	}
	if err := w.dropFence(ctx, true); err != nil {
		return db.Classify(op, err)
	}
	if err := w.site.cfg.At(archive.PointAbortFence); err != nil {
		return err
	}
	if err := w.onLive(ctx, func(tx *sql.Tx, p *archive.Part) error { p.Token = ""; return w.setPart(ctx, tx, p) }); err != nil {
		return db.Classify(op, err)
	}
	err = w.onArchive(ctx, func(tx *sql.Tx, p *archive.Part) error {
		_, err := tx.ExecContext(ctx, "DELETE FROM strata_part WHERE dataset=? AND shard=?", w.ds.Name, w.shard.Table)
		return err
	})
	if err != nil {
		return db.Classify(op, err)
	}
	return w.site.cfg.At(archive.PointAbortDone)
}

// Seal is part of archive.Work.
func (w *Work) Seal(ctx context.Context) error {
	op := "seal " + w.shard.Table
	left, err := w.leftovers(ctx)
	if err != nil {
		return db.Classify(op, err)
	}
	if len(left) > 0 {
		return fault.New(fault.Conflict, op, "live still has %v", left)
	}
	clear := func(tx *sql.Tx, p *archive.Part) error {
		p.Token = ""
		return w.setPart(ctx, tx, p)
	}
	if err := w.onArchive(ctx, clear); err != nil {
		return db.Classify(op, err)
	}
	if err := w.site.cfg.At(archive.PointSealArchive); err != nil {
		return err
	}
	if err := w.onLive(ctx, clear); err != nil {
		return db.Classify(op, err)
	}
	return w.site.cfg.At(archive.PointSealLive)
}
