package mysql

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"strata/archive"
	"strata/catalog"
	"strata/db"
	"strata/fault"
)

const (
	defaultBatchRows = 10_000          // of LOAD DATA: larger ones gain nothing and hold the part's row longer
	defaultRetryWait = 5 * time.Second // between tries for a lock: each one stalls the table's readers for up to a second
	defaultGTIDWait  = time.Minute     // for a replica to catch up with a commit of ours
)

// Config says which servers a Site works with.
type Config struct {
	Live       *db.DB // Admin, the primary
	LiveReader *db.DB // Reader, the same server and schema
	Archive    *db.DB // Admin, the primary
	// Promotable are the live endpoints that could become primary: they must have the fence before the archive owns.
	Promotable []*db.DB
	// Copies are the archive servers that must have the rows before live's are dropped.
	Copies []*db.DB
	// BatchRows is the number of rows of a commit on the archive. 0: 10,000.
	BatchRows int
	// RetryWait is the time between tries for a table's lock. 0: 5 s.
	RetryWait time.Duration
	// GTIDWait is how long Promotable and Copies may take to catch up. 0: 1 minute.
	GTIDWait time.Duration
	Log      *slog.Logger
	// At is called at each crash point; nil for none.
	At func(point string) error
	// Progress is told rows passed and rows to pass (an estimate, three passes) of the table in work; nil for none.
	Progress func(done, total int64)
}

// Site is a live server and an archive.
type Site struct {
	cfg Config
}

// New checks the configuration, and that LiveReader reads the server that Live writes. It changes nothing.
func New(ctx context.Context, cfg Config) (*Site, error) {
	var errs []error
	purpose := func(name string, d *db.DB, want db.Purpose, store catalog.Store) {
		switch {
		case d == nil:
			errs = append(errs, errors.New(name+" is missing"))
		case d.Purpose() != want || d.Store() != store:
			errs = append(errs, fmt.Errorf("%s is a %s of %s, not a %s of %s", name, d.Purpose(), d.Store(), want, store))
		}
	}
	purpose("live", cfg.Live, db.Admin, catalog.Live)
	purpose("live reader", cfg.LiveReader, db.Reader, catalog.Live)
	purpose("archive", cfg.Archive, db.Admin, catalog.Archive)
	if cfg.Log == nil {
		errs = append(errs, errors.New("no logger"))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, fault.Wrap(fault.Invalid, "check archive site", err)
	}
	if cfg.BatchRows <= 0 {
		cfg.BatchRows = defaultBatchRows
	}
	if cfg.RetryWait <= 0 {
		cfg.RetryWait = defaultRetryWait
	}
	if cfg.GTIDWait <= 0 {
		cfg.GTIDWait = defaultGTIDWait
	}
	if cfg.At == nil {
		cfg.At = func(string) error { return nil }
	}
	if cfg.Progress == nil {
		cfg.Progress = func(int64, int64) {}
	}
	s := &Site{cfg: cfg}
	return s, s.checkServers(ctx)
}

// checkServers refuses a reader of another server, and an archive that is live itself.
func (s *Site) checkServers(ctx context.Context) error {
	var ids [3]db.Identity
	for i, d := range []*db.DB{s.cfg.Live, s.cfg.LiveReader, s.cfg.Archive} {
		var err error
		if ids[i], err = d.Identity(ctx); err != nil {
			return err
		}
	}
	if ids[0] != ids[1] || s.cfg.Live.Schema() != s.cfg.LiveReader.Schema() {
		return fault.New(fault.Unsafe, "check archive site", "the live reader is not on the live primary")
	}
	if ids[0] == ids[2] && s.cfg.Live.Schema() == s.cfg.Archive.Schema() {
		return fault.New(fault.Unsafe, "check archive site", "live and archive are one schema of one server")
	}
	return nil
}

// Survey is part of archive.Site.
func (s *Site) Survey(ctx context.Context, ds *catalog.Dataset) ([]archive.Standing, error) {
	// The tables first: a table that goes while its part says released is then never seen without its part.
	found := map[string]*archive.Standing{}
	at := func(shard catalog.Shard) *archive.Standing {
		st := found[shard.Table]
		if st == nil {
			st = &archive.Standing{Shard: shard}
			found[shard.Table] = st
		}
		return st
	}
	if err := s.sizes(ctx, ds, at); err != nil {
		return nil, err
	}
	// Live before the archive: what a move in progress changes on live, it changed on the archive before.
	for _, d := range []*db.DB{s.cfg.Live, s.cfg.Archive} {
		parts, err := readParts(ctx, d, ds, "")
		if err != nil {
			return nil, err
		}
		for _, p := range parts {
			shard, ok := ds.ShardOf(p.Shard)
			if !ok {
				shard = catalog.Shard{Dataset: ds.Name, Table: p.Shard, Range: p.Range}
			}
			if d.Store() == catalog.Live {
				at(shard).Live = p
			} else {
				at(shard).Archive = p
			}
		}
	}
	var out []archive.Standing
	for _, st := range found {
		out = append(out, *st)
	}
	slices.SortFunc(out, func(a, b archive.Standing) int {
		if a.Shard.Late != b.Shard.Late {
			if a.Shard.Late {
				return 1
			}
			return -1
		}
		if a.Shard.Range.From != b.Shard.Range.From {
			if a.Shard.Range.From < b.Shard.Range.From {
				return -1
			}
			return 1
		}
		return strings.Compare(a.Shard.Table, b.Shard.Table)
	})
	return out, nil
}

// sizes lists live's tables of the dataset.
func (s *Site) sizes(ctx context.Context, ds *catalog.Dataset, at func(catalog.Shard) *archive.Standing) error {
	rows, err := s.cfg.Live.SQL().QueryContext(ctx, `SELECT TABLE_NAME, COALESCE(TABLE_ROWS,0), COALESCE(DATA_LENGTH,0)+COALESCE(INDEX_LENGTH,0)
		FROM information_schema.TABLES WHERE TABLE_SCHEMA=? AND LEFT(TABLE_NAME, ?)=? AND TABLE_TYPE IN ('BASE TABLE','SYSTEM VERSIONED')`,
		s.cfg.Live.Schema(), len(ds.Table), ds.Table)
	if err != nil {
		return db.Classify("list tables of live", err)
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var name string
		var n, bytes int64
		if err := rows.Scan(&name, &n, &bytes); err != nil {
			return db.Classify("list tables of live", err)
		}
		if shard, ok := ds.ShardOf(name); ok {
			st := at(shard)
			st.Table, st.Rows, st.Bytes = true, n, bytes
		}
	}
	return db.Classify("list tables of live", rows.Err())
}

// hasTable reports whether the schema of d has a base table.
func hasTable(ctx context.Context, d *db.DB, table string) (bool, error) {
	var n int
	err := d.SQL().QueryRowContext(ctx, "SELECT COUNT(*) FROM information_schema.TABLES WHERE TABLE_SCHEMA=? AND TABLE_NAME=?", d.Schema(), table).Scan(&n)
	return n > 0, db.Classify("look for table "+table+" on "+d.Name(), err)
}

// texts reads a query of one text column.
func texts(ctx context.Context, d *db.DB, query string, args ...any) ([]string, error) {
	rows, err := d.SQL().QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	var out []string
	for rows.Next() {
		var s sql.NullString
		if err := rows.Scan(&s); err != nil {
			return nil, err
		}
		out = append(out, s.String)
	}
	return out, rows.Err()
}
