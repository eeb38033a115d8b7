package db

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"

	"strata/catalog"
	"strata/fault"
)

// Heartbeat is the one row of strata_heartbeat: how far this store's commits are. The zero value is no row.
type Heartbeat struct {
	Seq uint64
	At  catalog.Instant // the clock of who wrote it
}

// Reading names what a snapshot will read: a dataset and the shards of it that this store should own.
type Reading struct {
	Dataset  *catalog.Dataset
	Holdings []catalog.Holding
}

// Snapshot is an open read-only transaction whose tables cannot change until it is closed. It is for one goroutine, and
// has one Rows open at a time. It holds up DDL on its tables: keep it short.
type Snapshot struct {
	db     *DB
	conn   *sql.Conn
	sess   *session
	beat   Heartbeat
	opened time.Time
	open   *Rows
	closed bool
}

// Snapshot opens a snapshot for shards of one dataset. Errors: Stale where the store does not own a holding at its epoch,
// or lacks its table; Busy where DDL holds a table for 3 s; Internal on a pool that is not a Reader.
func (d *DB) Snapshot(ctx context.Context, ds *catalog.Dataset, holdings []catalog.Holding) (*Snapshot, error) {
	return d.SnapshotAll(ctx, Reading{ds, holdings})
}

// SnapshotAll opens one snapshot for shards of several datasets. Errors are those of Snapshot.
func (d *DB) SnapshotAll(ctx context.Context, reads ...Reading) (*Snapshot, error) {
	op := "open snapshot of " + d.cfg.Name
	if d.cfg.Purpose != Reader {
		return nil, fault.New(fault.Internal, op, "the pool is a %s, not a reader", d.cfg.Purpose)
	}
	for _, r := range reads {
		for _, h := range r.Holdings {
			if h.Store != d.cfg.Store {
				return nil, fault.New(fault.Internal, op, "shard %s belongs to %s, this is %s", h.Shard.Table, h.Store, d.cfg.Store)
			}
		}
	}
	for try := 0; ; try++ {
		s, err := d.begin(ctx, op, reads)
		if errors.Is(err, driver.ErrBadConn) && try < badConnTries && ctx.Err() == nil {
			continue
		}
		if err != nil {
			return nil, d.setup(ctx, classify(ctx, op, err))
		}
		return s, nil
	}
}

// begin opens the transaction, sends the first statement and checks what it said. Its errors are the driver's.
func (d *DB) begin(ctx context.Context, op string, reads []Reading) (*Snapshot, error) {
	conn, sess, err := d.session(ctx)
	if err != nil {
		return nil, err
	}
	s := &Snapshot{db: d, conn: conn, sess: sess, opened: time.Now()}
	if _, err := sess.ExecContext(ctx, "START TRANSACTION READ ONLY", nil); err != nil {
		sess.broken.Store(true)
		_ = conn.Close()
		return nil, err
	}
	parts, err := s.first(ctx, reads)
	if err == nil {
		err = checkParts(op, d.cfg.Store, reads, parts)
	}
	if err != nil {
		_ = s.Close()
		return nil, err
	}
	return s, nil
}

// partKey names a row of strata_part.
type partKey struct{ dataset, shard string }

// partSays is what a row of strata_part says.
type partSays struct {
	epoch uint64
	state catalog.State
}

// first sends the statement that names everything, and reads parts and heartbeat from it.
func (s *Snapshot) first(ctx context.Context, reads []Reading) (map[partKey]partSays, error) {
	query, args := firstStatement(reads)
	res, err := s.sess.query(ctx, query, args)
	if err != nil {
		return nil, err
	}
	defer func() { _ = res.Close() }()
	parts := map[partKey]partSays{}
	vals := make([]driver.Value, 6)
	for {
		switch err := res.Next(vals); {
		case err == nil:
		case isEOF(err):
			return parts, nil
		default:
			return nil, err
		}
		n, err := strconv.ParseUint(text(vals[4]), 10, 64)
		if err != nil {
			return nil, fault.Wrap(fault.Internal, "read strata_part", err)
		}
		if text(vals[0]) == "part" {
			parts[partKey{text(vals[1]), text(vals[2])}] = partSays{n, catalog.State(text(vals[3]))}
			continue
		}
		at, err := strconv.ParseInt(text(vals[5]), 10, 64)
		if err != nil {
			return nil, fault.Wrap(fault.Internal, "read strata_heartbeat", err)
		}
		s.beat = Heartbeat{Seq: n, At: catalog.Instant(at)}
	}
}

// firstStatement names strata_part, strata_heartbeat and every table of reads, each branch of six columns.
func firstStatement(reads []Reading) (string, []any) {
	var b strings.Builder
	var args []any
	b.WriteString("SELECT 'part', dataset, shard, CAST(state AS CHAR), CAST(epoch AS CHAR), '0' FROM strata_part WHERE dataset IN (''")
	for _, r := range reads {
		b.WriteString(",?")
		args = append(args, r.Dataset.Name)
	}
	b.WriteString(") UNION ALL SELECT 'beat', '', '', '', CAST(seq AS CHAR), CAST(at AS CHAR) FROM strata_heartbeat")
	for _, r := range reads {
		for _, h := range r.Holdings {
			b.WriteString(" UNION ALL SELECT '','','','','','' FROM " + Quote(h.Shard.Table) + " WHERE 1=0")
		}
	}
	return b.String(), args
}

// checkParts compares what the store says with what the view said.
func checkParts(op string, store catalog.Store, reads []Reading, parts map[partKey]partSays) error {
	for _, r := range reads {
		for _, h := range r.Holdings {
			p, stated := parts[partKey{r.Dataset.Name, h.Shard.Table}]
			if err := checkPart(op, store, h, p, stated); err != nil {
				return err
			}
		}
	}
	return nil
}

func checkPart(op string, store catalog.Store, h catalog.Holding, p partSays, stated bool) error {
	if !stated && store == catalog.Live {
		p = partSays{epoch: 0, state: catalog.Owned}
	}
	if p.state == catalog.Owned && p.epoch == h.Epoch {
		return nil
	}
	if p.state == "" {
		return fault.New(fault.Stale, op, "%s says nothing of shard %s, the view says epoch %d", store, h.Shard.Table, h.Epoch)
	}
	return fault.New(fault.Stale, op, "%s says shard %s is %s at epoch %d, the view says owned at %d", store, h.Shard.Table, p.state, p.epoch, h.Epoch)
}

// setup finds out whether "no such table" means that the schema was never set up for strata.
func (d *DB) setup(ctx context.Context, err error) error {
	if !IsNoTable(err) {
		return err
	}
	have, errTables := Tables(ctx, d, "strata_")
	if errTables != nil || slices.Contains(have, "strata_part") && slices.Contains(have, "strata_heartbeat") {
		return err
	}
	return fault.Wrap(fault.Unsafe, "use schema "+d.Schema()+" of "+d.cfg.Name, err).(*fault.Error).
		WithHint("start `strata serve` once: it makes strata_part and strata_heartbeat, which the schema lacks")
}

// Heartbeat is the store's heartbeat as this snapshot sees it.
func (s *Snapshot) Heartbeat() Heartbeat { return s.beat }

// Opened is when the snapshot was begun.
func (s *Snapshot) Opened() time.Time { return s.opened }

// Conn is the snapshot's connection, for statements inside its transaction. Not while a Rows is open.
func (s *Snapshot) Conn() *sql.Conn { return s.conn }

// ID is the connection's id on the server.
func (s *Snapshot) ID() uint64 { return s.sess.id }

// Rows runs a query in the snapshot; its select list must be SelectList(ds, columns), its tables those of the holdings.
// The Rows before must have been read to its end or closed.
func (s *Snapshot) Rows(ctx context.Context, ds *catalog.Dataset, columns []string, query string, args ...any) (*Rows, error) {
	op := "read " + ds.Name + " from " + s.db.cfg.Name
	if s.closed || s.open != nil {
		return nil, fault.New(fault.Internal, op, "the snapshot is closed, or another result is open")
	}
	rows, err := s.sess.rows(ctx, op, ds, columns, query, args)
	if err != nil {
		return nil, classify(ctx, op, err)
	}
	s.open = rows
	rows.release = func() { s.open = nil }
	return rows, nil
}

// Alive reports whether the transaction still stands on the server, so that what it holds is still held.
func (s *Snapshot) Alive(ctx context.Context) error {
	op := "check snapshot of " + s.db.cfg.Name
	if s.closed || s.open != nil {
		return fault.New(fault.Internal, op, "the snapshot is closed, or a result is open")
	}
	row, err := oneRow(ctx, s.sess, "SELECT CONNECTION_ID(), @@in_transaction")
	if s.db.Flavor() == MySQL {
		row, err = oneRow(ctx, s.sess, "SELECT CONNECTION_ID(), COUNT(*) FROM information_schema.innodb_trx WHERE trx_mysql_thread_id=CONNECTION_ID()")
	}
	if err != nil {
		return classify(ctx, op, err)
	}
	if row[0] != strconv.FormatUint(s.sess.id, 10) || row[1] != "1" {
		return fault.New(fault.Stale, op, "connection %s has no open transaction", row[0])
	}
	return nil
}

// Close rolls back and gives the connection back to the pool; a connection with a running statement is killed and
// dropped. Closing twice is harmless.
func (s *Snapshot) Close() error {
	if s.closed {
		return nil
	}
	s.closed = true
	if s.open != nil {
		s.open.close()
	}
	if !s.sess.broken.Load() {
		ctx, cancel := context.WithTimeout(context.Background(), killLimit)
		defer cancel()
		if _, err := s.sess.ExecContext(ctx, "ROLLBACK", nil); err != nil {
			s.sess.broken.Store(true)
		}
	}
	return Classify("close snapshot of "+s.db.cfg.Name, s.conn.Close())
}
