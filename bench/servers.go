package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/go-sql-driver/mysql"

	"strata/fault"
	"strata/local"
	"strata/node"
)

// servers are a benchmark's own: live, its replica, archive, Kafka, and a plain connection to live.
type servers struct {
	stack *local.Stack
	live  *sql.DB // the stock driver, for loads and baselines
}

// servers starts them in the session's folder and notes their versions and settings. Close stops them.
func (s *Session) servers(ctx context.Context) (*servers, error) {
	stack, err := local.Start(ctx, local.Config{Dir: filepath.Join(s.dir, "servers"), Log: s.log})
	if err != nil {
		return nil, err
	}
	v := &servers{stack: stack}
	dsn, err := mysql.ParseDSN(stack.Addresses.Live.DSN)
	if err != nil {
		return nil, errors.Join(fault.Wrap(fault.Internal, "parse dsn", err), v.close())
	}
	connector, err := mysql.NewConnector(dsn)
	if err != nil {
		return nil, errors.Join(fault.Wrap(fault.Internal, "open live", err), v.close())
	}
	v.live = sql.OpenDB(connector)
	if err := s.readBack(ctx, v); err != nil {
		return nil, errors.Join(err, v.close())
	}
	s.say("servers run")
	return v, nil
}

func (v *servers) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	var err error
	if v.live != nil {
		err = v.live.Close()
	}
	return errors.Join(err, v.stack.Stop(ctx))
}

// readBack notes what the servers say of themselves, and refuses relaxed durability.
func (s *Session) readBack(ctx context.Context, v *servers) error {
	if err := v.live.QueryRowContext(ctx, "SELECT VERSION()").Scan(&s.report.Machine.MariaDB); err != nil {
		return fault.Wrap(fault.Unavailable, "read version", err)
	}
	a := v.stack.Addresses
	for _, e := range []struct{ name, dsn string }{{"live", a.Live.DSN}, {"offline", a.Offline.DSN}, {"archive", a.Archive.DSN}} {
		db, err := sql.Open("mysql", e.dsn)
		if err != nil {
			return fault.Wrap(fault.Internal, "open "+e.name, err)
		}
		var sync, flush, pool int64
		err = db.QueryRowContext(ctx, "SELECT @@GLOBAL.sync_binlog, @@GLOBAL.innodb_flush_log_at_trx_commit, @@GLOBAL.innodb_buffer_pool_size").Scan(&sync, &flush, &pool)
		if err = errors.Join(err, db.Close()); err != nil {
			return fault.Wrap(fault.Unavailable, "read settings of "+e.name, err)
		}
		s.set(e.name, fmt.Sprintf("sync_binlog=%d innodb_flush_log_at_trx_commit=%d innodb_buffer_pool_size=%d MiB", sync, flush, pool>>20))
		if sync != 1 || flush != 1 {
			return fault.New(fault.Unsafe, "read settings of "+e.name, "sync_binlog=%d innodb_flush_log_at_trx_commit=%d; figures of relaxed durability are worth nothing", sync, flush)
		}
	}
	return nil
}

// archiveSchema makes a schema on the archive's server.
func (v *servers) archiveSchema(ctx context.Context, name string) error {
	d, err := sql.Open("mysql", v.stack.Addresses.Archive.DSN)
	if err != nil {
		return fault.Wrap(fault.Internal, "open archive", err)
	}
	_, err = d.ExecContext(ctx, "CREATE DATABASE IF NOT EXISTS "+name)
	return fault.Wrap(fault.Unavailable, "make schema", errors.Join(err, d.Close()))
}

// config is a node's configuration over the servers; name is its data folder's.
func (s *Session) config(v *servers, name string) node.Config {
	a := v.stack.Addresses
	return node.Config{
		Data: filepath.Join(s.dir, name),
		Live: node.Server{DSN: a.Live.DSN}, Offline: node.Offline{DSN: a.Offline.DSN},
		Archive: node.Server{DSN: a.Archive.DSN}, Control: node.Server{DSN: a.Control.DSN},
		Kafka: node.Kafka{Brokers: a.Kafka},
	}
}

// runs are a node's roles in the background.
type runs struct {
	cancel context.CancelFunc
	done   chan error
}

func startRoles(ctx context.Context, n *node.Node, r node.Roles) *runs {
	ctx, cancel := context.WithCancel(ctx)
	b := &runs{cancel: cancel, done: make(chan error, 1)}
	go func() { b.done <- n.Run(ctx, r) }()
	return b
}

// stop ends the roles and waits for them.
func (b *runs) stop() error {
	b.cancel()
	return <-b.done
}
