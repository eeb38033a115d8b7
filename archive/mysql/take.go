package mysql

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"database/sql/driver"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"strata/archive"
	"strata/catalog"
	"strata/db"
	"strata/fault"
)

const (
	lockSeconds     = 5 // for the lock of a killed connection to be set free
	passes          = 3 // copy, compare, prune
	killReaderAfter = 3 // tries for a lock that strata's own readers may hold up
	lockTries       = 6
)

// createPrune is the table of marker rows on live.
const createPrune = `CREATE TABLE IF NOT EXISTS strata_prune (
 segment VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
 chunk   VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
 token   VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
 row_count BIGINT NOT NULL,
 hash    VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
 at      TIMESTAMP(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6),
 PRIMARY KEY (segment, chunk)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4`

// Work is one table in the hands of one mover.
type Work struct {
	site     *Site
	ds       *catalog.Dataset // with the table's own columns
	shard    catalog.Shard
	token    string
	standing archive.Standing
	lock     *sql.Conn // live
	write    *sql.Conn // archive
	pin      *db.Snapshot
	fenceGTD string      // live's position after the fence
	live     db.Identity // at Take
	archive  db.Identity // at Take
	done     int64       // rows passed
	loads    int         // names of LOAD DATA's readers
}

// Take is part of archive.Site.
func (s *Site) Take(ctx context.Context, ds *catalog.Dataset, shard catalog.Shard, token string) (archive.Work, error) {
	w := &Work{site: s, shard: shard, token: token}
	if err := w.take(ctx, ds); err != nil {
		_ = w.Close()
		return nil, db.Classify("take "+shard.Table, err)
	}
	return w, nil
}

func (w *Work) take(ctx context.Context, ds *catalog.Dataset) (err error) {
	s := w.site
	if err := s.prepareSchemas(ctx); err != nil {
		return err
	}
	if err := w.connect(ctx); err != nil {
		return err
	}
	if err := w.exists(ctx, ds); err != nil {
		return err
	}
	live, err := claimLive(ctx, w.lock, ds, w.shard, w.token)
	if err != nil {
		return err
	}
	if err := s.cfg.At(archive.PointTakeLive); err != nil {
		return err
	}
	arch, err := s.claimArchive(ctx, ds, w.shard, w.token)
	if err != nil {
		return err
	}
	w.standing = archive.Standing{Shard: w.shard, Live: live, Archive: arch}
	if w.standing.Table, err = hasTable(ctx, s.cfg.Live, w.shard.Table); err != nil {
		return err
	}
	if w.standing.Stage() == archive.Broken {
		return fault.New(fault.Proof, "take "+w.shard.Table, "live says %s at %d, the archive %s at %d", live.State, live.Epoch, arch.State, arch.Epoch).
			WithHint("look at strata_part of both servers; was one restored from an old backup?")
	}
	if err := w.describe(ctx, ds); err != nil {
		return err
	}
	return s.cfg.At(archive.PointTaken)
}

// exists refuses a table that live neither has nor ever stated: a part made for it would be a promise to readers.
func (w *Work) exists(ctx context.Context, ds *catalog.Dataset) error {
	has, err := hasTable(ctx, w.site.cfg.Live, w.shard.Table)
	if err != nil || has {
		return err
	}
	part, err := readPart(ctx, w.site.cfg.Live, ds, w.shard.Table)
	if err == nil && part == nil {
		return fault.New(fault.NotFound, "take "+w.shard.Table, "live has no such table").WithHint("make a new plan")
	}
	return err
}

// prepareSchemas makes the tables that a move writes to.
func (s *Site) prepareSchemas(ctx context.Context) error {
	for _, d := range []*db.DB{s.cfg.Live, s.cfg.Archive} {
		if err := db.EnsureTables(ctx, d); err != nil {
			return err
		}
		if err := d.CheckDurable(ctx); err != nil {
			return err
		}
	}
	_, err := s.cfg.Live.SQL().ExecContext(ctx, createPrune)
	return err
}

// connect opens both connections, takes the lock and remembers who the servers are.
func (w *Work) connect(ctx context.Context) (err error) {
	s := w.site
	if w.live, err = s.cfg.Live.Identity(ctx); err != nil {
		return err
	}
	if w.archive, err = s.cfg.Archive.Identity(ctx); err != nil {
		return err
	}
	if w.lock, err = s.cfg.Live.SQL().Conn(ctx); err != nil {
		return err
	}
	if w.write, err = s.cfg.Archive.SQL().Conn(ctx); err != nil {
		return err
	}
	if _, err := w.lock.ExecContext(ctx, "SET SESSION wait_timeout=604800, lock_wait_timeout=1, innodb_lock_wait_timeout=5"); err != nil {
		return err
	}
	// What the source holds is copied as it is, zero dates and zero ids too.
	if _, err := w.write.ExecContext(ctx, "SET SESSION wait_timeout=604800, innodb_lock_wait_timeout=5, sql_mode='STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION,NO_AUTO_VALUE_ON_ZERO,ALLOW_INVALID_DATES'"); err != nil {
		return err
	}
	if err := w.acquire(ctx, w.lock, w.liveLock()); err != nil {
		return err
	}
	if err := w.evict(ctx, w.lock, w.pinLock()); err != nil {
		return err
	}
	return w.acquire(ctx, w.write, w.archiveLock())
}

// lockName names the table's lock on a server.
func (w *Work) lockName(d *db.DB, what string) string {
	sum := sha256.Sum256([]byte(d.Schema() + "." + w.shard.Table))
	return "strata-" + what + ":" + hex.EncodeToString(sum[:20])
}

func (w *Work) liveLock() string    { return w.lockName(w.site.cfg.Live, "move") }
func (w *Work) archiveLock() string { return w.lockName(w.site.cfg.Archive, "write") }
func (w *Work) pinLock() string     { return w.lockName(w.site.cfg.Live, "pin") }

// acquire takes a lock on a connection, killing the connection that holds it: its transaction is rolled back, and what its
// mover still tries there fails.
func (w *Work) acquire(ctx context.Context, conn *sql.Conn, name string) error {
	var got sql.NullInt64
	if err := conn.QueryRowContext(ctx, "SELECT GET_LOCK(?, 0)", name).Scan(&got); err != nil {
		return err
	}
	if got.Int64 == 1 {
		return nil
	}
	if err := w.evict(ctx, conn, name); err != nil {
		return err
	}
	if err := conn.QueryRowContext(ctx, "SELECT GET_LOCK(?, ?)", name, lockSeconds).Scan(&got); err != nil {
		return err
	}
	if got.Int64 != 1 {
		return fault.New(fault.Busy, "take "+w.shard.Table, "its lock %s is not set free", name)
	}
	return nil
}

// evict kills the connection that holds a lock, if one does.
func (w *Work) evict(ctx context.Context, conn *sql.Conn, name string) error {
	var holder sql.NullInt64
	if err := conn.QueryRowContext(ctx, "SELECT IS_USED_LOCK(?)", name).Scan(&holder); err != nil || !holder.Valid {
		return err
	}
	w.site.cfg.Log.Warn("killing the connection of an earlier mover", "table", w.shard.Table, "connection", holder.Int64)
	_, err := conn.ExecContext(ctx, fmt.Sprintf("KILL %d", holder.Int64))
	if db.Number(err) == 1094 {
		return nil
	}
	return err
}

// describe gives the Work the table's own columns: shards of one dataset may differ.
func (w *Work) describe(ctx context.Context, ds *catalog.Dataset) error {
	from := w.site.cfg.Live
	if st := w.standing.Stage(); st == archive.Released || st == archive.Sealed {
		from = w.site.cfg.Archive
	}
	columns, key, err := db.Describe(ctx, from, w.shard.Table)
	if err != nil {
		return err
	}
	own := *ds
	own.Columns, own.Key = columns, key
	w.ds = &own
	if from == w.site.cfg.Live {
		err = from.SQL().QueryRowContext(ctx, "SELECT COALESCE(TABLE_ROWS,0) FROM information_schema.TABLES WHERE TABLE_SCHEMA=? AND TABLE_NAME=?",
			from.Schema(), w.shard.Table).Scan(&w.standing.Rows)
	}
	return err
}

// Standing is part of archive.Work.
func (w *Work) Standing() archive.Standing { return w.standing }

// Close is part of archive.Work.
func (w *Work) Close() error {
	w.unpin()
	drop := func(c *sql.Conn) {
		if c == nil {
			return
		}
		_ = c.Raw(func(any) error { return driver.ErrBadConn }) // the pool forgets it, the server rolls back
		_ = c.Close()
	}
	drop(w.lock)
	drop(w.write)
	w.lock, w.write = nil, nil
	return nil
}

func (w *Work) unpin() {
	if w.pin != nil {
		// The connection goes back to the pool and must not take the lock with it.
		_, _ = w.pin.Conn().ExecContext(context.Background(), "DO RELEASE_LOCK(?)", w.pinLock())
		_ = w.pin.Close()
		w.pin = nil
	}
}

// pass reports n more rows.
func (w *Work) pass(n int64) {
	w.done += n
	w.site.cfg.Progress(w.done, max(w.done, passes*w.standing.Rows))
}

// onLive runs f in a transaction on live that holds the part's row under this token.
func (w *Work) onLive(ctx context.Context, f func(*sql.Tx, *archive.Part) error) error {
	tx, err := w.lock.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	return w.within(ctx, tx, f)
}

// onArchive is onLive on the archive.
func (w *Work) onArchive(ctx context.Context, f func(*sql.Tx, *archive.Part) error) error {
	tx, err := w.write.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	return w.within(ctx, tx, f)
}

func (w *Work) within(ctx context.Context, tx *sql.Tx, f func(*sql.Tx, *archive.Part) error) error {
	defer func() { _ = tx.Rollback() }()
	p, err := lockPart(ctx, tx, w.ds, w.shard.Table, w.token)
	if err != nil {
		return err
	}
	if err := f(tx, p); err != nil {
		return err
	}
	return tx.Commit()
}

// ddl runs a statement on the connection that holds the lock, trying again while others hold the table.
func (w *Work) ddl(ctx context.Context, query string) error {
	for try := 1; ; try++ {
		err := w.guarded(ctx, query)
		if db.Number(err) != 1205 {
			return err
		}
		if try == lockTries {
			return fault.New(fault.Busy, "lock "+w.shard.Table, "held for %d tries: %w", try, err).
				WithHint("a long transaction or a prepared XA transaction holds the table: SHOW PROCESSLIST, XA RECOVER")
		}
		if try == killReaderAfter {
			if err := w.killReaders(ctx); err != nil {
				return err
			}
			continue // before the next reader comes
		}
		if err := wait(ctx, w.site.cfg.RetryWait); err != nil {
			return err
		}
	}
}

// guarded proves that lock and token are still ours, on the connection that then runs the statement: if that connection
// was killed, the statement fails too.
func (w *Work) guarded(ctx context.Context, query string) error {
	var own sql.NullBool
	var token string
	err := w.lock.QueryRowContext(ctx, "SELECT IS_USED_LOCK(?)=CONNECTION_ID(), (SELECT token FROM strata_part WHERE dataset=? AND shard=?)",
		w.liveLock(), w.ds.Name, w.shard.Table).Scan(&own, &token)
	if err != nil {
		return err
	}
	if !own.Bool || token != w.token {
		return takenOver("change " + w.shard.Table)
	}
	_, err = w.lock.ExecContext(ctx, query)
	return err
}

// killReaders ends the read-only transactions of strata's own logins in the live schema. Their readers go on elsewhere.
func (w *Work) killReaders(ctx context.Context) error {
	users := map[string]bool{}
	for _, d := range []*db.DB{w.site.cfg.Live, w.site.cfg.LiveReader} {
		u, err := texts(ctx, d, "SELECT SUBSTRING_INDEX(USER(),'@',1)")
		if err != nil {
			return err
		}
		users[u[0]] = true
	}
	rows, err := w.site.cfg.Live.SQL().QueryContext(ctx, `SELECT p.ID, p.USER FROM information_schema.INNODB_TRX t
		JOIN information_schema.PROCESSLIST p ON p.ID=t.trx_mysql_thread_id WHERE t.trx_is_read_only=1 AND p.DB=?`, w.site.cfg.Live.Schema())
	if err != nil {
		return err
	}
	var ids []uint64
	for rows.Next() {
		var id uint64
		var user string
		if err := rows.Scan(&id, &user); err != nil {
			return errors.Join(err, rows.Close())
		}
		if users[user] && (w.pin == nil || id != w.pin.ID()) {
			ids = append(ids, id)
		}
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil {
		return err
	}
	for _, id := range ids {
		w.site.cfg.Log.Warn("killing a reader that holds the table", "table", w.shard.Table, "connection", id)
		if _, err := w.site.cfg.Live.SQL().ExecContext(ctx, fmt.Sprintf("KILL %d", id)); err != nil && db.Number(err) != 1094 {
			return err
		}
	}
	return nil
}

// wait waits, or ends with ctx.
func wait(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
