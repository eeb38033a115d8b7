package daybook

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"strata/catalog"
	"strata/core"
	"strata/db"
	"strata/fault"
)

// chunkAccounts bounds a transaction of the end of day; IN lists stay below the 1000 from which MariaDB makes joins of them.
const chunkAccounts = 500

// EndTable is the DDL of `day_end`: one row per accounting date whose day balances are complete. The dates have no gap.
const EndTable = `CREATE TABLE IF NOT EXISTS day_end (
  accounting_date DATE NOT NULL,
  accounts BIGINT NOT NULL,
  entries BIGINT NOT NULL,
  late BIGINT NOT NULL,
  at DATETIME(6) NOT NULL,
  PRIMARY KEY (accounting_date)
) ENGINE=InnoDB`

// Merger turns buffered credits into entries.
type Merger interface {
	// Merge merges everything that is in the buffer of these accounts now. What it could not merge stays, with an error.
	Merge(ctx context.Context, accounts []int64) error
}

// Config is what New needs.
type Config struct {
	// DB is a pool opened for db.Writer on the live primary; Reader one opened for db.Reader on the same server. The Book
	// closes neither.
	DB, Reader *db.DB
	// TransferShards and EntryShards are the ledger's shard schemes; empty: by month.
	TransferShards, EntryShards catalog.Scheme
	// Now is the clock of day_end.at.
	Now func() time.Time
	// Merger is asked for accounts whose buffer holds credits of a date that shall be frozen; nil: those are fault.Busy.
	Merger Merger
	// ChunkAccounts bounds the accounts of one transaction. 0: 500, which is also the most.
	ChunkAccounts int
	// Log may be nil.
	Log *slog.Logger
	// At is hit at the named crash points; nil: none.
	At func(point string) error
	// Progress is told the accounts that are frozen so far, and 0 for the total, which nobody knows; nil: nobody.
	Progress func(done, total int64)
}

// Book keeps the day balances of one ledger database. It is safe for concurrent use.
type Book struct {
	cfg             Config
	transfer, entry *catalog.Dataset // names, tables and schemes only
}

// CrashPoints lists the points of At, in their order.
func CrashPoints() []string {
	return []string{"daybook.before_merge", "daybook.after_merge", "daybook.before_chunk", "daybook.after_insert", "daybook.after_chunk",
		"daybook.before_end", "daybook.after_end"}
}

// New checks the configuration and makes the tables day_balance and day_end where they are missing. Errors: fault.Invalid
// for the configuration, else the server's.
func New(ctx context.Context, cfg Config) (*Book, error) {
	var errs []error
	bad := func(what string) { errs = append(errs, fault.New(fault.Invalid, "configure day book", "%s", what)) }
	if cfg.DB == nil || cfg.DB.Purpose() != db.Writer {
		bad("DB is not a pool of writers")
	}
	if cfg.Reader == nil || cfg.Reader.Purpose() != db.Reader {
		bad("Reader is not a pool of readers")
	}
	if cfg.Now == nil {
		bad("no clock")
	}
	if cfg.ChunkAccounts < 0 || cfg.ChunkAccounts > chunkAccounts {
		bad("ChunkAccounts is not between 0 and 500")
	}
	specs := core.Datasets(cfg.TransferShards, cfg.EntryShards)
	errs = append(errs, catalog.CheckSpecs(specs))
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	if cfg.ChunkAccounts == 0 {
		cfg.ChunkAccounts = chunkAccounts
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	b := &Book{cfg: cfg, transfer: skeleton(specs[0]), entry: skeleton(specs[1])}
	return b, EnsureTables(ctx, cfg.DB)
}

// EnsureTables makes the tables that the day book writes to, and the ledger's other side tables, where they are missing.
func EnsureTables(ctx context.Context, d *db.DB) error {
	for _, ddl := range append(core.SideTables(), EndTable) {
		if _, err := d.SQL().ExecContext(ctx, ddl); err != nil {
			return db.Classify("make day book tables", err)
		}
	}
	return nil
}

func skeleton(s catalog.Spec) *catalog.Dataset {
	return &catalog.Dataset{Name: s.Name, Table: s.Table, Time: s.Time, Scheme: s.Shards}
}

func (b *Book) at(point string) error {
	if b.cfg.At == nil {
		return nil
	}
	return b.cfg.At(point)
}

func dateOf(t time.Time) string { return t.Format(time.DateOnly) }
