package db

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"slices"
	"strings"

	"github.com/go-sql-driver/mysql"

	"strata/catalog"
	"strata/fault"
)

const createPart = `CREATE TABLE IF NOT EXISTS strata_part (
 dataset    VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
 shard      VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
 range_from BIGINT NOT NULL,
 range_to   BIGINT NOT NULL,
 epoch      BIGINT UNSIGNED NOT NULL,
 token      VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL DEFAULT '',
 state      ENUM('copying','owned','released') CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
 segment    VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL DEFAULT '',
 manifest   VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL DEFAULT '',
 updated_at TIMESTAMP(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6) ON UPDATE CURRENT_TIMESTAMP(6),
 PRIMARY KEY (dataset, shard)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4`

const createHeartbeat = `CREATE TABLE IF NOT EXISTS strata_heartbeat (
 id  TINYINT NOT NULL PRIMARY KEY,
 seq BIGINT UNSIGNED NOT NULL,
 at  BIGINT NOT NULL
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4`

// EnsureTables creates strata_part and strata_heartbeat where they are missing. d must be a Writer or an Admin.
func EnsureTables(ctx context.Context, d *DB) error {
	for _, q := range []string{createPart, createHeartbeat} {
		if _, err := d.pool.ExecContext(ctx, q); err != nil {
			return classify(ctx, "create strata's tables on "+d.cfg.Name, err)
		}
	}
	return nil
}

// Says reads what the store says of a dataset: its parts and, on live, its physical tables. Two statements without a
// snapshot: a view is a hint.
func Says(ctx context.Context, d *DB, ds *catalog.Dataset) (catalog.Says, error) {
	op := "read ownership of " + ds.Name + " from " + d.cfg.Name
	says := catalog.Says{Store: d.cfg.Store}
	// The tables first: a table that goes while its part says released is then never seen without its part.
	if d.cfg.Store == catalog.Live {
		prefix := ds.Table
		if ds.Sharded() {
			prefix += "_"
		}
		tables, err := Tables(ctx, d, prefix)
		if err != nil {
			return catalog.Says{}, err
		}
		says.Tables = slices.DeleteFunc(tables, func(t string) bool {
			_, ok := ds.ShardOf(t)
			return !ok
		})
	}
	rows, err := d.pool.QueryContext(ctx, "SELECT shard, range_from, range_to, epoch, token, state FROM strata_part WHERE dataset=? ORDER BY shard", ds.Name)
	if err != nil {
		return catalog.Says{}, d.setup(ctx, classify(ctx, op, err))
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		p := catalog.Part{Dataset: ds.Name}
		if err := rows.Scan(&p.Shard, &p.Range.From, &p.Range.To, &p.Epoch, &p.Token, &p.State); err != nil {
			return catalog.Says{}, fault.Wrap(fault.Internal, op, err)
		}
		says.Parts = append(says.Parts, p)
	}
	return says, classify(ctx, op, rows.Err())
}

// Beat raises the store's heartbeat by one, with the time given, and returns what was written. d must be a Writer. It is one
// statement of its own: a process that is stopped in the middle of it doesn't hold the row, for which all others would wait. A
// connection that breaks under it is no reason to give up, as it does no harm to raise the heartbeat once more.
func Beat(ctx context.Context, d *DB, now catalog.Instant) (h Heartbeat, err error) {
	op := "beat " + d.cfg.Name
	for try := 0; ; try++ {
		h, err = d.beat(ctx, op, now)
		if try < badConnTries && ctx.Err() == nil && (errors.Is(err, driver.ErrBadConn) || errors.Is(err, mysql.ErrInvalidConn)) {
			continue
		}
		return h, d.setup(ctx, classify(ctx, op, err))
	}
}

func (d *DB) beat(ctx context.Context, op string, now catalog.Instant) (h Heartbeat, err error) {
	res, err := d.pool.ExecContext(ctx, "INSERT INTO strata_heartbeat (id, seq, at) VALUES (1, LAST_INSERT_ID(1), ?) ON DUPLICATE KEY UPDATE seq=LAST_INSERT_ID(seq+1), at=VALUES(at)", int64(now))
	if err != nil {
		return h, err
	}
	seq, err := res.LastInsertId()
	if err == nil && seq <= 0 {
		err = fault.New(fault.Internal, op, "the server doesn't say the number")
	}
	if err != nil {
		return h, err
	}
	return Heartbeat{Seq: uint64(seq), At: now}, nil
}

// Tables lists the schema's base tables whose names start with prefix, byte by byte, sorted.
func Tables(ctx context.Context, d *DB, prefix string) ([]string, error) {
	op := "list tables of " + d.cfg.Name
	rows, err := d.pool.QueryContext(ctx, `SELECT TABLE_NAME FROM information_schema.TABLES
		WHERE TABLE_SCHEMA=? AND TABLE_NAME LIKE ? AND TABLE_TYPE IN ('BASE TABLE','SYSTEM VERSIONED')`, d.Schema(), likePrefix(prefix))
	if err != nil {
		return nil, classify(ctx, op, err)
	}
	names, err := texts(rows)
	if err != nil {
		return nil, classify(ctx, op, err)
	}
	names = slices.DeleteFunc(names, func(n string) bool { return !strings.HasPrefix(n, prefix) })
	slices.Sort(names)
	return names, nil
}

func likePrefix(prefix string) string {
	return strings.NewReplacer(`\`, `\\`, `%`, `\%`, `_`, `\_`).Replace(prefix) + "%"
}

// texts reads a result of one text column and closes it.
func texts(rows *sql.Rows) ([]string, error) {
	defer func() { _ = rows.Close() }()
	var out []string
	for rows.Next() {
		var s string
		if err := rows.Scan(&s); err != nil {
			return nil, err
		}
		out = append(out, s)
	}
	return out, rows.Err()
}
