package db

import (
	"context"
	"database/sql"
	"sync"
	"time"

	"github.com/go-sql-driver/mysql"

	"strata/catalog"
	"strata/fault"
)

// Flavor is which of the two servers answers.
type Flavor uint8

// The flavors.
const (
	MariaDB Flavor = iota
	MySQL
)

// String is the server's name.
func (f Flavor) String() string { return [...]string{"MariaDB", "MySQL"}[f] }

// Purpose decides how the sessions of a pool are set. The zero value is the most careful one.
type Purpose uint8

// The purposes. Reader: REPEATABLE READ, read only. Writer: READ COMMITTED. Admin: READ COMMITTED for DDL, which gives up
// a metadata lock after one second so that it never holds up a table's readers.
const (
	Reader Purpose = iota
	Writer
	Admin
)

// String is the purpose's lower-case name.
func (p Purpose) String() string { return [...]string{"reader", "writer", "admin"}[p] }

const (
	defaultMaxConns = 8
	dialLimit       = 5 * time.Second // a server that doesn't answer a connect by then is away
	idleLimit       = 5 * time.Minute // below every sane wait_timeout
	packetLimit     = 64 << 20        // bytes of one statement after interpolation
	killLimit       = 5 * time.Second
)

// Config says which server to open, and for what.
type Config struct {
	// DSN in go-sql-driver's form, user:password@tcp(host:port)/schema; a schema is required.
	DSN string
	// Name is the endpoint's name in messages: live, offline, archive.
	Name string
	// Store is whose parts this server's strata_part states.
	Store   catalog.Store
	Purpose Purpose
	// MaxConns bounds the pool. 0: 8.
	MaxConns int
	// StatementLimit is enforced by the server, per statement on MariaDB and per SELECT on MySQL; 0: none. Reaching it
	// is fault.Timeout.
	StatementLimit time.Duration
}

// DB is a pool of asserted sessions on one server's schema. It is safe for concurrent use.
type DB struct {
	pool    *sql.DB
	dial    *connector
	cfg     Config
	version string

	closing sync.Once
}

// Open makes the pool and proves it with one session. Errors: Invalid (DSN, unknown schema), Denied, Unavailable (with
// the address in the hint), Unsafe (a session setting that the server did not take over).
func Open(ctx context.Context, cfg Config) (*DB, error) {
	op := "open " + cfg.Name
	mc, err := mysql.ParseDSN(cfg.DSN)
	if err != nil {
		return nil, fault.Wrap(fault.Invalid, op, err).(*fault.Error).
			WithHint("a DSN looks like user:password@tcp(127.0.0.1:3306)/schema")
	}
	if mc.DBName == "" {
		return nil, fault.New(fault.Invalid, op, "the DSN names no schema").
			WithHint("a DSN looks like user:password@tcp(127.0.0.1:3306)/schema")
	}
	if cfg.MaxConns <= 0 {
		cfg.MaxConns = defaultMaxConns
	}
	c := newConnector(mc, cfg.Purpose, cfg.StatementLimit)
	version, err := c.probe(ctx)
	if err != nil {
		return nil, openError(ctx, op, mc, err)
	}
	d := &DB{pool: sql.OpenDB(c), dial: c, cfg: cfg, version: version}
	d.pool.SetMaxOpenConns(cfg.MaxConns)
	d.pool.SetMaxIdleConns(cfg.MaxConns)
	d.pool.SetConnMaxIdleTime(idleLimit)
	if err := d.pool.PingContext(ctx); err != nil {
		_ = d.Close()
		return nil, openError(ctx, op, mc, err)
	}
	return d, nil
}

// openError adds to the kind of a failed connect what the operator can do.
func openError(ctx context.Context, op string, mc *mysql.Config, err error) error {
	err = classify(ctx, op, err)
	e, ok := err.(*fault.Error)
	if !ok || e.Hint != "" {
		return err
	}
	switch {
	case Number(err) == 1049:
		return e.WithHint("create schema %s on %s, or correct the DSN", mc.DBName, mc.Addr)
	case e.Kind == fault.Denied:
		return e.WithHint("user %s needs a login and privileges on schema %s at %s", mc.User, mc.DBName, mc.Addr)
	case e.Kind == fault.Unavailable || e.Kind == fault.Timeout:
		return e.WithHint("is a server listening on %s?", mc.Addr)
	}
	return err
}

// SQL is the pool itself, for statements that this package has no call for. Its errors are the driver's: pass them
// through Classify.
func (d *DB) SQL() *sql.DB { return d.pool }

// Name is the endpoint's name.
func (d *DB) Name() string { return d.cfg.Name }

// Store is whose parts this server states.
func (d *DB) Store() catalog.Store { return d.cfg.Store }

// Purpose is what the sessions are set for.
func (d *DB) Purpose() Purpose { return d.cfg.Purpose }

// Schema is the schema of the DSN.
func (d *DB) Schema() string { return d.dial.base.DBName }

// Flavor is which server answered at Open.
func (d *DB) Flavor() Flavor { return d.dial.flavor }

// Version is the server's VERSION() at Open.
func (d *DB) Version() string { return d.version }

// Addr is host:port or the socket's path.
func (d *DB) Addr() string { return d.dial.base.Addr }

// Close closes the pool and waits for kills that are under way. Closing twice is harmless.
func (d *DB) Close() error {
	var err error
	d.closing.Do(func() {
		err = d.pool.Close()
		d.dial.wait()
	})
	return err
}
