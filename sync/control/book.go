package control

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"time"

	"strata/db"
	"strata/fault"
	"strata/sync/verify"
)

// Book is one index's, which is named as Reports has it. It is safe for concurrent use.
type Book struct {
	d     *db.DB
	index string
}

var _ verify.Book = (*Book)(nil)

// OpenBook makes the tables and the index's row where they are missing. d must be a Writer or an Admin on the control database.
func OpenBook(ctx context.Context, d *db.DB, index string) (*Book, error) {
	const op = "open verifier's book"
	if d == nil || index == "" || len(index) > 255 {
		return nil, fault.New(fault.Invalid, op, "a database and an index's name of at most 255 bytes are needed")
	}
	for _, q := range bookTables() {
		if _, err := d.SQL().ExecContext(ctx, q); err != nil {
			return nil, db.Classify(op, err)
		}
	}
	if _, err := d.SQL().ExecContext(ctx, `INSERT IGNORE INTO sync_verifier (target, holder, lease_until, saved_by, writes)
		VALUES (?, '', '1970-01-01', '', 0)`, index); err != nil {
		return nil, db.Classify(op, err)
	}
	return &Book{d, index}, nil
}

func bookTables() []string {
	return []string{`CREATE TABLE IF NOT EXISTS sync_verifier (
 target      VARCHAR(255) CHARACTER SET latin1 COLLATE latin1_bin NOT NULL PRIMARY KEY,
 holder      VARCHAR(255) NOT NULL,
 lease_until DATETIME(6) NOT NULL,
 progress    LONGTEXT NULL,
 saved_by    VARCHAR(255) NOT NULL,
 saved_at    DATETIME(6) NULL,
 writes      BIGINT UNSIGNED NOT NULL
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin`,
		`CREATE TABLE IF NOT EXISTS sync_finding (
 id         BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY,
 target     VARCHAR(255) CHARACTER SET latin1 COLLATE latin1_bin NOT NULL,
 hash       BINARY(16) NOT NULL,
 dataset    VARCHAR(64) NOT NULL,
 shard      VARCHAR(64) NOT NULL,
 row_key    MEDIUMBLOB NOT NULL,
 what       TEXT NOT NULL,
 source     TEXT NOT NULL,
 idx        TEXT NOT NULL,
 hint       TEXT NOT NULL,
 state      VARCHAR(16) NOT NULL,
 queued     TINYINT NOT NULL,
 pass       BIGINT NOT NULL,
 found_at   DATETIME(6) NOT NULL,
 settled_at DATETIME(6) NULL,
 UNIQUE KEY (target, hash),
 KEY (target, state, id),
 KEY (target, found_at),
 KEY (target, settled_at)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin`,
		`CREATE TABLE IF NOT EXISTS sync_report (
 target    VARCHAR(255) CHARACTER SET latin1 COLLATE latin1_bin NOT NULL,
 day       DATE NOT NULL,
 body      LONGTEXT NOT NULL,
 signature VARCHAR(128) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
 made_at   DATETIME(6) NOT NULL,
 PRIMARY KEY (target, day)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin`}
}

// Acquire is part of verify.Book. A lease that lasts much longer than one can was given before the clock was set back.
func (b *Book) Acquire(ctx context.Context, holder string, ttl time.Duration) (bool, error) {
	return b.write(ctx, "acquire verifier's lease", `UPDATE sync_verifier SET holder=?, lease_until=UTC_TIMESTAMP(6)+INTERVAL ? MICROSECOND, writes=writes+1
		WHERE target=? AND (holder=? OR holder='' OR lease_until<UTC_TIMESTAMP(6) OR lease_until>UTC_TIMESTAMP(6)+INTERVAL ? MICROSECOND)`,
		holder, ttl.Microseconds(), b.index, holder, 10*ttl.Microseconds())
}

// Release is part of verify.Book.
func (b *Book) Release(ctx context.Context, holder string) error {
	_, err := b.write(ctx, "release verifier's lease", "UPDATE sync_verifier SET holder='', writes=writes+1 WHERE target=? AND holder=?", b.index, holder)
	return err
}

// Load is part of verify.Book.
func (b *Book) Load(ctx context.Context) (verify.Progress, error) {
	const op = "load verifier's progress"
	var p verify.Progress
	var text, at sql.NullString
	var by string
	err := b.d.SQL().QueryRowContext(ctx, "SELECT progress, saved_by, CAST(saved_at AS CHAR) FROM sync_verifier WHERE target=?", b.index).Scan(&text, &by, &at)
	if errors.Is(err, sql.ErrNoRows) || err == nil && !text.Valid {
		return p, nil
	}
	if err != nil {
		return p, db.Classify(op, err)
	}
	if err := json.Unmarshal([]byte(text.String), &p); err != nil {
		return verify.Progress{}, fault.Wrap(fault.Unsafe, op, err).(*fault.Error).
			WithHint("DELETE FROM sync_verifier lets the verifier begin a new pass; its findings and reports stay")
	}
	p.Holder = by
	p.SavedAt, err = parseTime(at.String)
	return p, fault.Wrap(fault.Internal, op, err)
}

// Save is part of verify.Book.
func (b *Book) Save(ctx context.Context, holder string, p *verify.Progress) (bool, error) {
	text, err := json.Marshal(p)
	if err != nil {
		return false, fault.Wrap(fault.Internal, "encode verifier's progress", err)
	}
	return b.write(ctx, "save verifier's progress", `UPDATE sync_verifier SET progress=?, saved_by=?, saved_at=UTC_TIMESTAMP(6), writes=writes+1
		WHERE target=? AND holder=?`, string(text), holder, b.index, holder)
}

// PutReport is part of verify.Book. Findings that were settled long ago go with it.
func (b *Book) PutReport(ctx context.Context, date string, body []byte, signature string) error {
	const op = "store verifier's report"
	if _, err := b.d.SQL().ExecContext(ctx, "REPLACE INTO sync_report (target, day, body, signature, made_at) VALUES (?,?,?,?,UTC_TIMESTAMP(6))",
		b.index, date, string(body), signature); err != nil {
		return db.Classify(op, err)
	}
	_, err := b.d.SQL().ExecContext(ctx, "DELETE FROM sync_finding WHERE target=? AND settled_at<UTC_TIMESTAMP(6)-INTERVAL ? DAY LIMIT ?",
		b.index, keptDays, forgetRows)
	return db.Classify(op, err)
}

// Report is part of verify.Book.
func (b *Book) Report(ctx context.Context, date string) (body []byte, signature string, ok bool, err error) {
	q, args := "SELECT body, signature FROM sync_report WHERE target=?", []any{b.index}
	if date != "" {
		q, args = q+" AND day=?", append(args, date)
	}
	err = b.d.SQL().QueryRowContext(ctx, q+" ORDER BY day DESC LIMIT 1", args...).Scan(&body, &signature)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, "", false, nil
	}
	return body, signature, err == nil, db.Classify("read verifier's report", err)
}

// write runs one conditional statement and reports whether it changed the row.
func (b *Book) write(ctx context.Context, op, query string, args ...any) (bool, error) {
	r, err := b.d.SQL().ExecContext(ctx, query, args...)
	if err != nil {
		return false, db.Classify(op, err)
	}
	n, err := r.RowsAffected()
	return n == 1, db.Classify(op, err)
}

// parseTime reads a DATETIME(6) in UTC; "" is the zero time.
func parseTime(s string) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	return time.Parse("2006-01-02 15:04:05.999999", s)
}
