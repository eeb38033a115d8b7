package mysql

import (
	"context"
	"database/sql"
	"encoding/json"

	"strata/archive"
	"strata/db"
	"strata/fault"
)

const createSegment = `CREATE TABLE IF NOT EXISTS strata_segment (
 id         VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL PRIMARY KEY,
 dataset    VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
 shard      VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
 epoch      BIGINT UNSIGNED NOT NULL,
 state      VARCHAR(16) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
 document   LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
 manifest   LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NULL,
 updated_at TIMESTAMP(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6) ON UPDATE CURRENT_TIMESTAMP(6)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4`

// Control keeps segments in the control database.
type Control struct {
	d *db.DB
}

// NewControl makes a Control of a Writer or an Admin. It changes nothing before the first Save, which makes the table.
func NewControl(d *db.DB) (*Control, error) {
	if d == nil || d.Purpose() == db.Reader {
		return nil, fault.New(fault.Invalid, "check archive control", "the control database is missing, or opened for reading")
	}
	return &Control{d: d}, nil
}

// Save is part of archive.Control.
func (c *Control) Save(ctx context.Context, s archive.Segment) error {
	op := "save segment " + string(s.ID)
	doc, err := json.Marshal(s)
	if err != nil {
		return fault.Wrap(fault.Internal, op, err)
	}
	save := func() error {
		_, err := c.d.SQL().ExecContext(ctx, `INSERT INTO strata_segment (id, dataset, shard, epoch, state, document) VALUES (?,?,?,?,?,?)
			ON DUPLICATE KEY UPDATE state=VALUES(state), document=VALUES(document)`, string(s.ID), s.Dataset, s.Shard, s.Epoch, string(s.State), string(doc))
		return err
	}
	err = save()
	if db.IsNoTable(err) {
		if _, err = c.d.SQL().ExecContext(ctx, createSegment); err == nil {
			err = save()
		}
	}
	return db.Classify(op, err)
}

// Load is part of archive.Control.
func (c *Control) Load(ctx context.Context, id archive.SegmentID) (archive.Segment, bool, error) {
	found, err := c.read(ctx, "WHERE id=?", string(id))
	if err != nil || len(found) == 0 {
		return archive.Segment{}, false, err
	}
	return found[0], true, nil
}

// Segments is part of archive.Control.
func (c *Control) Segments(ctx context.Context) ([]archive.Segment, error) {
	return c.read(ctx, "ORDER BY dataset, shard, epoch")
}

func (c *Control) read(ctx context.Context, rest string, args ...any) ([]archive.Segment, error) {
	const op = "read segments"
	docs, err := texts(ctx, c.d, "SELECT document FROM strata_segment "+rest, args...)
	if db.IsNoTable(err) {
		return nil, nil
	}
	if err != nil {
		return nil, db.Classify(op, err)
	}
	var out []archive.Segment
	for _, doc := range docs {
		var s archive.Segment
		if err := json.Unmarshal([]byte(doc), &s); err != nil {
			return nil, fault.Wrap(fault.Internal, op, err)
		}
		out = append(out, s)
	}
	return out, nil
}

// SaveManifest is part of archive.Control.
func (c *Control) SaveManifest(ctx context.Context, id archive.SegmentID, body []byte) error {
	op := "save manifest of " + string(id)
	_, err := c.d.SQL().ExecContext(ctx, "UPDATE strata_segment SET manifest=? WHERE id=?", string(body), string(id))
	return db.Classify(op, err)
}

// LoadManifest is part of archive.Control.
func (c *Control) LoadManifest(ctx context.Context, id archive.SegmentID) ([]byte, error) {
	var body sql.NullString
	err := c.d.SQL().QueryRowContext(ctx, "SELECT manifest FROM strata_segment WHERE id=?", string(id)).Scan(&body)
	if err == sql.ErrNoRows || db.IsNoTable(err) || err == nil && !body.Valid {
		return nil, nil
	}
	return []byte(body.String), db.Classify("read manifest of "+string(id), err)
}
