package intake

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"strata/db"
	"strata/fault"
)

// TableMarks are Marks in the table import_mark of one database.
type TableMarks struct{ db *db.DB }

// NewTableMarks makes the table where it is missing. d is a pool opened for db.Writer on the ledger's database.
func NewTableMarks(ctx context.Context, d *db.DB) (*TableMarks, error) {
	if d.Purpose() != db.Writer {
		return nil, fault.New(fault.Invalid, "keep import marks", "the database is opened for a %s instead of a writer", d.Purpose())
	}
	if _, err := d.SQL().ExecContext(ctx, `CREATE TABLE IF NOT EXISTS import_mark (
  content CHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  items BIGINT NOT NULL,
  applied BIGINT NOT NULL,
  refused BIGINT NOT NULL,
  changed_at DATETIME(6) NOT NULL,
  PRIMARY KEY (content)
) ENGINE=InnoDB`); err != nil {
		return nil, fmt.Errorf("make table import_mark: %w", db.Classify("create table", err))
	}
	return &TableMarks{db: d}, nil
}

// Mark is Marks.
func (t *TableMarks) Mark(ctx context.Context, key string) (Mark, error) {
	var m Mark
	err := t.db.SQL().QueryRowContext(ctx, "SELECT items, applied, refused FROM import_mark WHERE content = ?", key).Scan(&m.Items, &m.Applied, &m.Refused)
	if errors.Is(err, sql.ErrNoRows) {
		return Mark{}, nil
	}
	return m, db.Classify("read import mark", err)
}

// PutMark is Marks.
func (t *TableMarks) PutMark(ctx context.Context, key string, m Mark) error {
	_, err := t.db.SQL().ExecContext(ctx, `INSERT INTO import_mark (content, items, applied, refused, changed_at) VALUES (?, ?, ?, ?, UTC_TIMESTAMP(6))
		ON DUPLICATE KEY UPDATE items = VALUES(items), applied = VALUES(applied), refused = VALUES(refused), changed_at = VALUES(changed_at)`,
		key, m.Items, m.Applied, m.Refused)
	return db.Classify("write import mark", err)
}
