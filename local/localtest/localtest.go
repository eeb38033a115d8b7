// Package localtest gives tests private servers that go away with the test, or with the test binary however it ends: a
// guard process watches each folder, so a test that panics, times out or is killed leaves no server behind.
package localtest

import (
	"context"
	"database/sql"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"

	"strata/fault"
	"strata/local"
)

// startLimit bounds each start of a server; a loaded machine needs a while, for a JVM most of all.
const startLimit = 3 * time.Minute

// guardScript ends what the pid files of folder $0 name, then removes the folder, when its input ends: when the test
// binary is gone. The start time protects a process that got the same number.
const guardScript = `read -r done
for f in "$0"/h/*.pid; do
  [ -f "$f" ] || continue
  pid=$(sed -n 's/.*"pid":\([0-9]*\).*/\1/p' "$f")
  began=$(sed -n 's/.*"started":\([0-9]*\).*/\1/p' "$f")
  [ "$(sed 's/.*) //' "/proc/$pid/stat" 2>/dev/null | cut -d' ' -f20)" = "$began" ] && kill -9 "$pid"
done
rm -rf "$0"`

// state is what must outlive one test: the servers of Shared, SharedMySQL, SharedKafka and SharedElastic, and the counter behind Schema's names.
var state struct {
	maria   shared[*local.Maria]
	mysql   shared[*local.MySQL]
	kafka   shared[*local.JavaKafka]
	elastic shared[*local.Elastic]
	schemas atomic.Int64
}

// shared is a server that is started once and again when a test has killed it.
type shared[S interface{ Restart(context.Context) error }] struct {
	mu      sync.Mutex
	server  S
	started bool
	leash   func() // removes the folder; kept, because its guard ends the server when the leash is collected
}

// get returns the server, running.
func (s *shared[S]) get(t testing.TB, start func(context.Context, *local.Home) (S, error)) S {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), startLimit)
	defer cancel()
	if s.started {
		if err := s.server.Restart(ctx); err != nil {
			fatal(t, err)
		}
		return s.server
	}
	h, remove, err := NewHome()
	if err != nil {
		fatal(t, err)
	}
	server, err := start(ctx, h)
	if err != nil {
		_ = h.Close()
		remove()
		fatal(t, err)
	}
	s.server, s.started, s.leash = server, true, remove
	return server
}

// Home opens a Home in a new folder with a short path; it is closed and removed at the end of the test. Servers started
// in it must be stopped by their starter, or by a Cleanup registered after this call.
func Home(t testing.TB) *local.Home {
	t.Helper()
	h, remove, err := NewHome()
	if err != nil {
		fatal(t, err)
	}
	t.Cleanup(func() {
		if err := h.Close(); err != nil {
			t.Error(err)
		}
		remove()
	})
	return h
}

// Start starts a server in h and kills it at the end of the test.
func Start(t testing.TB, h *local.Home, cfg local.MariaConfig) *local.Maria {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), startLimit)
	defer cancel()
	m, err := h.StartMaria(ctx, cfg)
	if err != nil {
		fatal(t, err)
	}
	t.Cleanup(func() { kill(t, m) })
	return m
}

// Maria starts a private server with more mariadbd options; it is killed at the end of the test.
func Maria(t testing.TB, options ...string) *local.Maria {
	t.Helper()
	return Start(t, Home(t), local.MariaConfig{Name: "maria", Options: options})
}

// Shared is one server for all tests of the test binary, started at first use and again when a test has killed it. It
// ends with the test binary. Use Schema to have a place of one's own in it.
func Shared(t testing.TB) *local.Maria {
	t.Helper()
	return state.maria.get(t, func(ctx context.Context, h *local.Home) (*local.Maria, error) {
		return h.StartMaria(ctx, local.MariaConfig{Name: "shared"})
	})
}

// Database is a server that Schema makes schemas in: *local.Maria or *local.MySQL.
type Database interface {
	DSN(schema string) string
	PID() int
}

// Schema creates an empty schema with a name of its own and returns its DSN; it is dropped at the end of the test.
func Schema(t testing.TB, m Database) (dsn string) {
	t.Helper()
	name := fmt.Sprintf("t%d_%d", os.Getpid(), state.schemas.Add(1))
	db := DB(t, m.DSN(""))
	Exec(t, db, "CREATE DATABASE "+name)
	t.Cleanup(func() {
		if m.PID() == 0 {
			return // killed by the test: nothing to drop it from
		}
		ctx, cancel := context.WithTimeout(context.Background(), startLimit)
		defer cancel()
		if err := drop(ctx, db, name); err != nil {
			t.Errorf("drop schema %s: %v", name, err)
		}
	})
	return m.DSN(name)
}

// drop drops a schema. A statement that a test left running must not hold it up for a day, lock_wait_timeout's default.
func drop(ctx context.Context, db *sql.DB, schema string) error {
	conn, err := db.Conn(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	if _, err = conn.ExecContext(ctx, "SET SESSION lock_wait_timeout=10"); err == nil {
		_, err = conn.ExecContext(ctx, "DROP DATABASE IF EXISTS "+schema)
	}
	return err
}

// Kafka starts an in-process Kafka in a folder of its own; it is stopped at the end of the test.
func Kafka(t testing.TB) *local.Kafka {
	t.Helper()
	h := Home(t)
	ctx, cancel := context.WithTimeout(context.Background(), startLimit)
	defer cancel()
	k, err := h.StartKafka(ctx)
	if err != nil {
		fatal(t, err)
	}
	t.Cleanup(func() { stop(t, k.Stop) })
	return k
}

// Stack starts all servers, private ones whatever the environment says; they are stopped at the end of the test.
func Stack(t testing.TB) *local.Stack {
	t.Helper()
	dir, remove, err := newDir()
	if err != nil {
		fatal(t, err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), startLimit)
	defer cancel()
	s, err := local.Start(ctx, local.Config{Dir: dir})
	if err != nil {
		remove()
		fatal(t, err)
	}
	t.Cleanup(func() {
		stop(t, s.Stop)
		remove()
	})
	return s
}

// DB opens a pool, checked by a ping, that is closed at the end of the test.
func DB(t testing.TB, dsn string) *sql.DB {
	t.Helper()
	cfg, err := mysql.ParseDSN(dsn)
	if err != nil {
		fatal(t, err)
	}
	cfg.Logger = &mysql.NopLogger{} // a killed server is what tests do
	connector, err := mysql.NewConnector(cfg)
	if err != nil {
		fatal(t, err)
	}
	db := sql.OpenDB(connector)
	t.Cleanup(func() { _ = db.Close() })
	ctx, cancel := context.WithTimeout(context.Background(), startLimit)
	defer cancel()
	if err := db.PingContext(ctx); err != nil {
		fatal(t, err)
	}
	return db
}

// Exec runs one statement and fails the test on an error.
func Exec(t testing.TB, db *sql.DB, q string, args ...any) {
	t.Helper()
	if _, err := db.ExecContext(t.Context(), q, args...); err != nil {
		t.Fatalf("%s: %v", q, err)
	}
}

// Eventually asks cond until it is true, first every 5 ms, then every 50 ms. It fails the test when cond returns an
// error or is not true within timeout. It is for what no signal announces; what names the condition.
func Eventually(t testing.TB, timeout time.Duration, what string, cond func() (bool, error)) {
	t.Helper()
	deadline := time.Now().Add(timeout)
	step := 5 * time.Millisecond
	for {
		ok, err := cond()
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		if ok {
			return
		}
		if !time.Now().Before(deadline) {
			t.Fatalf("%s: not within %s", what, timeout)
		}
		<-time.After(min(step, time.Until(deadline)))
		step = min(step*3/2, 50*time.Millisecond)
	}
}

// NewHome opens a Home in a new folder. remove removes it and ends what runs in it, and so does the end of this process,
// however it comes, or of the last reference to remove.
func NewHome() (h *local.Home, remove func(), err error) {
	dir, remove, err := newDir()
	if err != nil {
		return nil, nil, err
	}
	if h, err = local.Open(dir, nil); err != nil {
		remove()
		return nil, nil, err
	}
	return h, remove, nil
}

// newDir returns a path with a short name for a Home, and what removes it. A guard removes it, with its servers, if the
// test binary ends first, or when remove is no longer reachable.
func newDir() (dir string, remove func(), err error) {
	top, err := os.MkdirTemp("", "st")
	if err != nil {
		return "", nil, err
	}
	guard := exec.Command("/bin/sh", "-c", guardScript, top)
	guard.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // ctrl-C is for the test binary
	var leash io.WriteCloser
	if leash, err = guard.StdinPipe(); err == nil {
		err = guard.Start()
	}
	if err != nil {
		_ = os.RemoveAll(top)
		return "", nil, err
	}
	return top + "/h", func() {
		_ = leash.Close()
		_ = guard.Wait() // it has removed the folder
	}, nil
}

// stop calls what ends a server, with a limit.
func stop(t testing.TB, end func(context.Context) error) {
	ctx, cancel := context.WithTimeout(context.Background(), startLimit)
	defer cancel()
	if err := end(ctx); err != nil {
		t.Error(err)
	}
}

// server is one that runs in a process of its own.
type server interface {
	PID() int
	LogFile() string
	Kill() error
}

// kill ends a server by SIGKILL: nobody wants its data. A failed test shows what a server wrote last that had ended by itself.
func kill(t testing.TB, s server) {
	if t.Failed() && s.PID() == 0 {
		text, err := os.ReadFile(s.LogFile())
		t.Logf("%s has ended; %v; its log's end:\n%s", s.LogFile(), err, text[max(0, len(text)-8<<10):])
	}
	if err := s.Kill(); err != nil {
		t.Error(err)
	}
}

// fatal ends the test with the error and its hint.
func fatal(t testing.TB, err error) {
	t.Helper()
	if hint := fault.HintOf(err); hint != "" {
		t.Fatalf("%v\n%s", err, hint)
	}
	t.Fatal(err)
}
