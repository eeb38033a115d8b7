package voucher

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"strata/db"
	"strata/fault"
)

// Config is what New needs.
type Config struct {
	// DB is a pool opened for db.Writer on the ledger's primary. The store does not close it.
	DB *db.DB
	// Now is the clock of made_at and of versions.
	Now func() time.Time
	// Log may be nil.
	Log *slog.Logger
	// At is hit at the named crash points; nil: none.
	At func(point string) error
}

// Store holds rules, vouchers, journal and general ledger. Its methods are safe for concurrent use, in several processes.
type Store struct {
	cfg  Config
	mu   sync.Mutex
	docs map[int64]*Document // by version; versions never change
}

// maxLoaded bounds the versions that are kept compiled.
const maxLoaded = 32

// CrashPoints lists the points of At, in the order of a batch, of a retry and of a put.
func CrashPoints() []string {
	return []string{"voucher.before_vouchers", "voucher.after_vouchers", "voucher.after_journal", "voucher.after_general_ledger",
		"voucher.before_commit", "voucher.after_commit", "voucher.before_done", "voucher.after_done",
		"voucher.before_retry", "voucher.after_retry", "voucher.before_put", "voucher.after_put"}
}

// New checks the configuration and makes the tables that are missing. Errors: fault.Invalid for the configuration, else the
// server's.
func New(ctx context.Context, cfg Config) (*Store, error) {
	var errs []error
	bad := func(what string) { errs = append(errs, fault.New(fault.Invalid, "configure vouchers", "%s", what)) }
	if cfg.DB == nil {
		bad("no database")
	} else if cfg.DB.Purpose() != db.Writer {
		bad("the database is opened for a " + cfg.DB.Purpose().String() + " instead of a writer")
	}
	if cfg.Now == nil {
		bad("no clock")
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	s := &Store{cfg: cfg, docs: map[int64]*Document{}}
	for _, ddl := range append(tables(), "INSERT IGNORE INTO voucher_head (id, version) VALUES (1, 0)") {
		if _, err := cfg.DB.SQL().ExecContext(ctx, ddl); err != nil {
			return nil, db.Classify("make voucher tables", err)
		}
	}
	return s, nil
}

func (s *Store) at(point string) error {
	if s.cfg.At == nil {
		return nil
	}
	if err := s.cfg.At(point); err != nil {
		return &crashError{err}
	}
	return nil
}

// crashError carries what a crash point returned: nobody tries again after it.
type crashError struct{ err error }

func (e *crashError) Error() string { return e.err.Error() }
func (e *crashError) Unwrap() error { return e.err }
