package db

import (
	"context"
	"database/sql/driver"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-sql-driver/mysql"

	"strata/fault"
)

// sqlMode is strict for what is written; it has none of the NO_ZERO modes, so that zero dates can be read and copied.
const sqlMode = "STRICT_TRANS_TABLES,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION"

// connector makes sessions: it dials, sets, asserts, and kills.
type connector struct {
	base    *mysql.Config
	purpose Purpose
	limit   time.Duration
	flavor  Flavor // set by probe, before the pool exists

	mu     sync.Mutex
	closed bool           // nobody waits for kills any more
	kills  sync.WaitGroup // Add under mu, and only while not closed
}

// driverConn is what a connection of go-sql-driver can do.
type driverConn interface {
	driver.Conn
	driver.ConnBeginTx
	driver.ConnPrepareContext
	driver.ExecerContext
	driver.QueryerContext
	driver.Pinger
	driver.SessionResetter
	driver.Validator
	driver.NamedValueChecker
}

// session is one asserted connection. Its statements are killed on the server when their context ends.
type session struct {
	driverConn
	from   *connector
	net    net.Conn
	id     uint64 // CONNECTION_ID()
	server string // which server the id belongs to
	broken atomic.Bool
	once   sync.Once // at most one kill
}

func newConnector(base *mysql.Config, purpose Purpose, limit time.Duration) *connector {
	base.ParseTime, base.MultiStatements, base.ClientFoundRows, base.ColumnsWithAlias = false, false, false, false
	base.InterpolateParams = true
	base.AllowAllFiles = false
	base.Loc = time.UTC
	base.Logger = &mysql.NopLogger{} // every error comes back as an error
	base.MaxAllowedPacket = packetLimit
	base.Collation = "utf8mb4_bin"
	if base.Timeout == 0 {
		base.Timeout = dialLimit
	}
	return &connector{base: base, purpose: purpose, limit: limit}
}

// Driver is part of driver.Connector.
func (c *connector) Driver() driver.Driver { return &mysql.MySQLDriver{} }

// plain opens a connection that is neither set nor asserted.
func (c *connector) plain(ctx context.Context) (driverConn, net.Conn, error) {
	cfg := c.base.Clone()
	var wire net.Conn
	if cfg.DialFunc == nil {
		cfg.DialFunc = func(ctx context.Context, network, addr string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, addr)
		}
	}
	dial := cfg.DialFunc
	cfg.DialFunc = func(ctx context.Context, network, addr string) (net.Conn, error) {
		var err error
		wire, err = dial(ctx, network, addr)
		return wire, err
	}
	inner, err := mysql.NewConnector(cfg)
	if err != nil {
		return nil, nil, fault.Wrap(fault.Invalid, "check DSN", err)
	}
	dc, err := inner.Connect(ctx)
	if err != nil {
		return nil, nil, err
	}
	return dc.(driverConn), wire, nil
}

// probe asks the server who it is, before the first session is made.
func (c *connector) probe(ctx context.Context) (version string, err error) {
	dc, _, err := c.plain(ctx)
	if err != nil {
		return "", err
	}
	defer func() { _ = dc.Close() }()
	row, err := oneRow(ctx, dc, "SELECT VERSION()")
	if err != nil {
		return "", err
	}
	c.flavor = flavorOf(row[0])
	return row[0], nil
}

func flavorOf(version string) Flavor {
	if strings.Contains(strings.ToLower(version), "mariadb") {
		return MariaDB
	}
	return MySQL
}

// Connect opens a session, sets it and asserts it. It is part of driver.Connector.
func (c *connector) Connect(ctx context.Context) (driver.Conn, error) {
	dc, wire, err := c.plain(ctx)
	if err != nil {
		return nil, err
	}
	s := &session{driverConn: dc, from: c, net: wire}
	if err := c.prepare(ctx, s); err != nil {
		_ = dc.Close()
		return nil, err
	}
	return s, nil
}

// variable is one session variable with its value as it is set and as it reads back.
type variable struct{ name, set, want string }

// variables is what every session of the connector has.
func (c *connector) variables() []variable {
	isolation, readOnly := "transaction_isolation", "transaction_read_only"
	if c.flavor == MariaDB {
		isolation, readOnly = "tx_isolation", "tx_read_only"
	}
	level, ro, lockWait := "READ-COMMITTED", "0", "5"
	switch c.purpose {
	case Reader:
		level, ro, lockWait = "REPEATABLE-READ", "1", "3"
	case Admin:
		lockWait = "1"
	}
	vs := []variable{
		{"time_zone", "'+00:00'", "+00:00"},
		{"sql_mode", "'" + sqlMode + "'", sqlMode},
		{isolation, "'" + level + "'", level},
		{readOnly, ro, ro},
		{"autocommit", "1", "1"},
		{"lock_wait_timeout", lockWait, lockWait},
	}
	if c.limit > 0 && c.flavor == MariaDB {
		s := strconv.FormatFloat(c.limit.Seconds(), 'f', 6, 64)
		vs = append(vs, variable{"max_statement_time", s, s})
	} else if c.limit > 0 {
		s := strconv.FormatInt(max(1, c.limit.Milliseconds()), 10)
		vs = append(vs, variable{"max_execution_time", s, s})
	}
	return vs
}

// prepare sets the session's variables and reads them back.
func (c *connector) prepare(ctx context.Context, s *session) error {
	vs := c.variables()
	set, get := "SET NAMES utf8mb4 COLLATE utf8mb4_bin", "SELECT CONNECTION_ID(), "+serverMark+", VERSION(), @@character_set_client, @@character_set_results, @@collation_connection"
	for _, v := range vs {
		set += ", SESSION " + v.name + "=" + v.set
		get += ", @@SESSION." + v.name
	}
	if _, err := s.driverConn.ExecContext(ctx, set, nil); err != nil {
		return err
	}
	row, err := oneRow(ctx, s.driverConn, get)
	if err != nil {
		return err
	}
	if s.id, err = strconv.ParseUint(row[0], 10, 64); err != nil {
		return fault.Wrap(fault.Unsafe, "read connection id", err)
	}
	s.server = row[1]
	if f := flavorOf(row[2]); f != c.flavor {
		return fault.New(fault.Unsafe, "open session", "%s answers at %s, which was %s", f, c.base.Addr, c.flavor)
	}
	for i, want := range []string{"utf8mb4", "utf8mb4", "utf8mb4_bin"} {
		if row[3+i] != want {
			return fault.New(fault.Unsafe, "open session", "the session's character set is %s instead of %s", row[3+i], want)
		}
	}
	for i, v := range vs {
		if have := row[6+i]; !sameSetting(have, v.want) {
			return fault.New(fault.Unsafe, "open session", "%s is %q after it was set to %q", v.name, have, v.want).
				WithHint("does a proxy or init_connect on %s change session settings?", c.base.Addr)
		}
	}
	return nil
}

// serverMark tells servers apart behind one address.
const serverMark = "CONCAT_WS('/', @@server_id, @@hostname, @@port)"

// sameSetting compares values as SELECT @@… prints them.
func sameSetting(have, want string) bool {
	if have == want {
		return true
	}
	a, errA := strconv.ParseFloat(have, 64)
	b, errB := strconv.ParseFloat(want, 64)
	return errA == nil && errB == nil && a == b
}

// IsValid reports whether the pool may keep the session.
func (s *session) IsValid() bool { return !s.broken.Load() && s.driverConn.IsValid() }

// ResetSession is called before the pool hands the session out again.
func (s *session) ResetSession(ctx context.Context) error {
	if s.broken.Load() {
		return driver.ErrBadConn
	}
	return s.driverConn.ResetSession(ctx)
}

// ExecContext runs a statement; if ctx ends before it does, the server is told.
func (s *session) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	done := s.watch(ctx)
	defer done()
	return s.driverConn.ExecContext(ctx, query, args)
}

// QueryContext runs a query; if ctx ends before its result was read, the server is told.
func (s *session) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	done := s.watch(ctx)
	rows, err := s.driverConn.QueryContext(ctx, query, args)
	if err != nil {
		done()
		return nil, err
	}
	return &result{driverRows: rows.(driverRows), session: s, done: done}, nil
}

// watch kills the session when ctx ends before the returned function is called, which must happen exactly once.
func (s *session) watch(ctx context.Context) (done func()) {
	if ctx.Done() == nil {
		return func() {}
	}
	stop := context.AfterFunc(ctx, s.kill)
	return func() {
		if !stop() {
			s.broken.Store(true) // the kill is under way: nobody else may get this connection
		}
	}
}

// kill ends the session on the server. It returns at once; DB.Close waits for it.
func (s *session) kill() {
	s.broken.Store(true)
	s.once.Do(func() {
		done := s.from.started()
		go func() {
			defer done()
			s.from.kill(s.id, s.server)
		}()
	})
}

// started makes wait wait until the returned function is called. A kill that starts after wait is not waited for.
func (c *connector) started() (done func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return func() {}
	}
	c.kills.Add(1)
	return c.kills.Done
}

// wait ends when every kill that was started has ended.
func (c *connector) wait() {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.kills.Wait()
}

// abandon drops the connection without reading what the server still sends, and kills the statement there.
func (s *session) abandon() {
	s.kill()
	_ = s.net.Close()
}

// kill ends a connection from another one, if that one is on the same server. Nothing is lost when it fails: the server
// notices the closed connection at its next write.
func (c *connector) kill(id uint64, server string) {
	ctx, cancel := context.WithTimeout(context.Background(), killLimit)
	defer cancel()
	dc, _, err := c.plain(ctx)
	if err != nil {
		return
	}
	defer func() { _ = dc.Close() }()
	row, err := oneRow(ctx, dc, "SELECT "+serverMark)
	if err != nil || row[0] != server {
		return
	}
	_, _ = dc.ExecContext(ctx, "KILL "+strconv.FormatUint(id, 10), nil) // 1094: it is gone already
}

// oneRow reads the single row of a query as texts; NULL is "".
func oneRow(ctx context.Context, q driver.QueryerContext, query string) ([]string, error) {
	rows, err := q.QueryContext(ctx, query, nil)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	vals := make([]driver.Value, len(rows.Columns()))
	if err := rows.Next(vals); err != nil {
		if err == io.EOF {
			err = fault.New(fault.Internal, "read one row", "no row: %s", query)
		}
		return nil, err
	}
	out := make([]string, len(vals))
	for i, v := range vals {
		switch v := v.(type) {
		case nil:
		case []byte:
			out[i] = string(v)
		default:
			out[i] = fmt.Sprint(v)
		}
	}
	if err := rows.Next(vals); err != io.EOF {
		return nil, fault.New(fault.Internal, "read one row", "more than one row: %s", query)
	}
	return out, nil
}
