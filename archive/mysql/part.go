package mysql

import (
	"context"
	"database/sql"

	"strata/archive"
	"strata/catalog"
	"strata/db"
	"strata/fault"
)

const partColumns = "SELECT shard, range_from, range_to, epoch, token, state, segment, manifest FROM strata_part"

// scanner is a row of a result.
type scanner interface{ Scan(...any) error }

func scanPart(row scanner, ds *catalog.Dataset) (*archive.Part, error) {
	p := archive.Part{Part: catalog.Part{Dataset: ds.Name}}
	err := row.Scan(&p.Shard, &p.Range.From, &p.Range.To, &p.Epoch, &p.Token, &p.State, &p.Segment, &p.Manifest)
	return &p, err
}

// readParts reads the dataset's parts, or one table's. A schema without strata_part has none.
func readParts(ctx context.Context, d *db.DB, ds *catalog.Dataset, table string) ([]*archive.Part, error) {
	op := "read parts of " + d.Name()
	query, args := partColumns+" WHERE dataset=?", []any{ds.Name}
	if table != "" {
		query, args = query+" AND shard=?", append(args, table)
	}
	rows, err := d.SQL().QueryContext(ctx, query, args...)
	if db.IsNoTable(err) {
		return nil, nil
	}
	if err != nil {
		return nil, db.Classify(op, err)
	}
	defer func() { _ = rows.Close() }()
	var out []*archive.Part
	for rows.Next() {
		p, err := scanPart(rows, ds)
		if err != nil {
			return nil, db.Classify(op, err)
		}
		out = append(out, p)
	}
	return out, db.Classify(op, rows.Err())
}

// readPart reads one table's part, nil for none.
func readPart(ctx context.Context, d *db.DB, ds *catalog.Dataset, table string) (*archive.Part, error) {
	parts, err := readParts(ctx, d, ds, table)
	if err != nil || len(parts) == 0 {
		return nil, err
	}
	return parts[0], nil
}

// lockPart locks the part's row for the transaction and checks that the token is still the mover's.
func lockPart(ctx context.Context, tx *sql.Tx, ds *catalog.Dataset, table, token string) (*archive.Part, error) {
	op := "lock part of " + table
	p, err := scanPart(tx.QueryRowContext(ctx, partColumns+" WHERE dataset=? AND shard=? FOR UPDATE", ds.Name, table), ds)
	if err == sql.ErrNoRows {
		return nil, fault.New(fault.Conflict, op, "the part's row is gone")
	}
	if err != nil {
		return nil, db.Classify(op, err)
	}
	if p.Token != token {
		return nil, takenOver(op)
	}
	return p, nil
}

func takenOver(op string) error {
	return fault.New(fault.Conflict, op, "another mover has taken the table over").WithHint("it finishes the move; `strata archive status` shows it")
}

// claimLive writes the token into live's row, making the row where live had none.
func claimLive(ctx context.Context, conn *sql.Conn, ds *catalog.Dataset, shard catalog.Shard, token string) (*archive.Part, error) {
	op := "claim " + shard.Table + " on live"
	tx, err := conn.BeginTx(ctx, nil)
	if err != nil {
		return nil, db.Classify(op, err)
	}
	defer func() { _ = tx.Rollback() }()
	// Insert first: a locking read of a row that isn't there deadlocks.
	if _, err := tx.ExecContext(ctx, `INSERT IGNORE INTO strata_part (dataset, shard, range_from, range_to, epoch, token, state)
		VALUES (?,?,?,?,0,?,'owned')`, ds.Name, shard.Table, int64(shard.Range.From), int64(shard.Range.To), token); err != nil {
		return nil, db.Classify(op, err)
	}
	p, err := scanPart(tx.QueryRowContext(ctx, partColumns+" WHERE dataset=? AND shard=? FOR UPDATE", ds.Name, shard.Table), ds)
	if err != nil {
		return nil, db.Classify(op, err)
	}
	if p.State == catalog.Released && p.Token == "" {
		return nil, fault.New(fault.Conflict, op, "segment %s is sealed", p.Segment).WithHint("make a new plan")
	}
	if p.State == catalog.Owned {
		p.Segment = archive.IDOf(shard.Table, p.Epoch+1)
	}
	p.Token = token
	if _, err := tx.ExecContext(ctx, "UPDATE strata_part SET token=?, segment=? WHERE dataset=? AND shard=?", token, string(p.Segment), ds.Name, shard.Table); err != nil {
		return nil, db.Classify(op, err)
	}
	return p, db.Classify(op, tx.Commit())
}

// claimTries bounds how often two movers may meet in claimArchive.
const claimTries = 100

// claimArchive writes the token into the archive's row by compare-and-set, as long as live has the same token: so the mover
// whose token stands on live wins on the archive too.
func (s *Site) claimArchive(ctx context.Context, ds *catalog.Dataset, shard catalog.Shard, token string) (*archive.Part, error) {
	op := "claim " + shard.Table + " on the archive"
	for range claimTries {
		seen, err := readPart(ctx, s.cfg.Archive, ds, shard.Table) // before live is looked at
		if err != nil {
			return nil, err
		}
		live, err := readPart(ctx, s.cfg.Live, ds, shard.Table)
		if err != nil {
			return nil, err
		}
		if live == nil || live.Token != token {
			return nil, takenOver(op)
		}
		var res sql.Result
		if seen == nil {
			res, err = s.cfg.Archive.SQL().ExecContext(ctx, `INSERT IGNORE INTO strata_part (dataset, shard, range_from, range_to, epoch, token, state, segment)
				VALUES (?,?,?,?,?,?,'copying',?)`, ds.Name, shard.Table, int64(shard.Range.From), int64(shard.Range.To), live.Epoch, token, string(live.Segment))
		} else {
			state, segment := seen.State, seen.Segment
			if state == catalog.Released && seen.Token == "" {
				state = catalog.Copying
			}
			if state == catalog.Copying {
				segment = live.Segment
			}
			res, err = s.cfg.Archive.SQL().ExecContext(ctx, "UPDATE strata_part SET token=?, state=?, segment=? WHERE dataset=? AND shard=? AND token=? AND state=? AND epoch=?",
				token, state, string(segment), ds.Name, shard.Table, seen.Token, seen.State, seen.Epoch)
		}
		if err != nil {
			return nil, db.Classify(op, err)
		}
		if n, err := res.RowsAffected(); err == nil && n == 1 {
			return readPart(ctx, s.cfg.Archive, ds, shard.Table)
		}
	}
	return nil, fault.New(fault.Busy, op, "other movers took it %d times meanwhile", claimTries)
}
