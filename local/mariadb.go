package local

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/go-sql-driver/mysql"

	"strata/fault"
)

const (
	loginUser      = "strata"
	startLimit     = 2 * time.Minute  // crash recovery of a loaded server included
	termLimit      = 20 * time.Second // from SIGTERM to SIGKILL
	portAttempts   = 5                // ports taken between choosing and listening
	socketPathMax  = 100              // sun_path holds 107 bytes
	defaultPoolMiB = 64
)

// MariaConfig says which server StartMaria starts.
type MariaConfig struct {
	Name          string   // folder in the Home: letters a-z, digits, _ and -
	ServerID      uint32   // server_id; 0: 1
	Domain        uint32   // gtid_domain_id
	ReplicaOf     *Maria   // nil: no replication
	ReplicaVia    string   // host:port to reach ReplicaOf by, a Proxy for instance; "": its own address
	ReadOnly      bool     // read_only=1, and the login strata cannot write past it (root on the socket can)
	Schemas       []string // created where missing; on a replica outside the binlog
	Options       []string // more mariadbd flags, after ours, so they win
	BufferPoolMiB int      // innodb_buffer_pool_size; 0: 64
}

// Maria is one private server. The exported fields stay the same over Restart. Methods are safe for concurrent use;
// Stop, Kill and Restart exclude one another.
type Maria struct {
	Name     string
	Host     string // 127.0.0.1
	Port     int
	User     string // strata: ALL PRIVILEGES WITH GRANT OPTION (without READ_ONLY ADMIN when ReadOnly)
	Password string
	Socket   string // path; root logs in here without a password

	home   *Home
	cfg    MariaConfig
	dir    string // the server's folder
	temp   string // folder of the socket where dir's path is too long, else ""
	binary string

	op sync.Mutex // held by start, Stop, Kill, Restart

	mu   sync.Mutex
	proc *process // the last one started
}

// StartMaria bootstraps the server's data once, starts it and waits until it answers, has its login and schemas and, as
// a replica, runs both replication threads. It replicates by GTID from the very beginning of ReplicaOf's binlog. Errors:
// Unavailable (mariadbd isn't installed or didn't come up), Busy (a server of that name runs), Invalid (the name).
// After an error nothing is left running.
func (h *Home) StartMaria(ctx context.Context, cfg MariaConfig) (*Maria, error) {
	binary, err := findMariadbd()
	if err != nil {
		return nil, err
	}
	dir, err := h.child(cfg.Name)
	if err != nil {
		return nil, err
	}
	m := &Maria{Name: cfg.Name, Host: "127.0.0.1", User: loginUser, Password: h.secret, home: h, cfg: cfg, dir: dir, binary: binary}
	if _, err := os.Stat(m.pidFile()); err == nil {
		return nil, fault.New(fault.Busy, "start mariadb", "%s is running", cfg.Name)
	}
	m.op.Lock()
	defer m.op.Unlock()
	if err := m.bootstrap(ctx); err != nil {
		return nil, err
	}
	if m.Port, err = rememberedPort(dir); err != nil {
		return nil, err
	}
	m.Socket = filepath.Join(dir, "sock")
	if len(m.Socket) > socketPathMax {
		if m.temp, err = os.MkdirTemp("", "st"); err != nil {
			return nil, fault.Wrap(fault.Unavailable, "make socket folder", err)
		}
		m.Socket = filepath.Join(m.temp, "sock")
	}
	for range portAttempts {
		if err = m.start(ctx); !fault.Is(err, fault.Busy) {
			break
		}
		if m.Port, err = newPort(dir); err != nil {
			return nil, err
		}
	}
	if err != nil {
		return nil, err
	}
	return m, nil
}

// DSN is the address for go-sql-driver/mysql, without parameters: user:password@tcp(host:port)/schema.
func (m *Maria) DSN(schema string) string {
	return fmt.Sprintf("%s:%s@tcp(%s)/%s", m.User, m.Password, m.Addr(), schema)
}

// RootDSN is the same for root on the socket, who may write to a read-only server.
func (m *Maria) RootDSN(schema string) string {
	return fmt.Sprintf("root@unix(%s)/%s", m.Socket, schema)
}

// Addr is host:port.
func (m *Maria) Addr() string { return fmt.Sprintf("%s:%d", m.Host, m.Port) }

// PID is the process number, 0 when the server isn't running.
func (m *Maria) PID() int {
	if p := m.process(); p.running() {
		return p.pid
	}
	return 0
}

// Exited is closed when the process that runs now has ended, whoever ended it. Restart makes a new channel.
func (m *Maria) Exited() <-chan struct{} { return m.process().exited }

// Stop ends the server: SIGTERM, and SIGKILL when it takes 20 s or ctx ends first (data is durable either way). It
// returns when the process is gone; a server that isn't running is no error.
func (m *Maria) Stop(ctx context.Context) error {
	m.op.Lock()
	defer m.op.Unlock()
	p := m.process()
	// A paused server takes SIGTERM only after SIGCONT.
	if err := errors.Join(p.signal(syscall.SIGTERM), p.signal(syscall.SIGCONT)); err != nil {
		return err
	}
	timer := time.NewTimer(termLimit)
	defer timer.Stop()
	select {
	case <-p.exited:
		return nil
	case <-timer.C:
	case <-ctx.Done():
	}
	m.home.log.Info("server did not stop in time, killing it", "server", m.Name, "pid", p.pid)
	return p.kill()
}

// Kill ends the server by SIGKILL and waits until it is gone.
func (m *Maria) Kill() error {
	m.op.Lock()
	defer m.op.Unlock()
	return m.process().kill()
}

// Restart starts the server again on the same port, with the same data, and waits as StartMaria does; a replica whose
// primary is down doesn't wait for its threads. A server that runs is no error. Errors: Busy (somebody took the port).
func (m *Maria) Restart(ctx context.Context) error {
	m.op.Lock()
	defer m.op.Unlock()
	if m.process().running() {
		return nil
	}
	return m.start(ctx)
}

// Pause stops the process with SIGSTOP: connections stay, nothing answers. It returns when every thread stands still.
func (m *Maria) Pause() error {
	p := m.process()
	if err := p.signal(syscall.SIGSTOP); err != nil {
		return err
	}
	err := poll(context.Background(), killLimit, func(context.Context) (bool, error) {
		if !p.running() {
			return true, nil
		}
		return stoppedThreads(p.pid)
	})
	return fault.Wrap(fault.Unavailable, "pause server", err)
}

// Resume lets a paused process go on.
func (m *Maria) Resume() error { return m.process().signal(syscall.SIGCONT) }

func (m *Maria) process() *process {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.proc
}

func (m *Maria) pidFile() string { return filepath.Join(m.home.dir, m.Name+".pid") }

// start spawns the server on m.Port and makes it ready. Busy: the port is taken. The caller holds op.
func (m *Maria) start(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	if err := ctx.Err(); err != nil {
		return fault.New(fault.KindOf(err), "start mariadb", "%s: %w", m.Name, err)
	}
	if m.temp != "" {
		if err := os.Mkdir(m.temp, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
			return fault.Wrap(fault.Unavailable, "make socket folder", err)
		}
	}
	logFile := filepath.Join(m.dir, "log")
	mark, err := markLog(logFile)
	if err != nil {
		return err
	}
	began := time.Now()
	p, err := spawn(command{kind: "mariadb " + m.Name, argv: m.argv(), log: logFile, pidFile: m.pidFile(), temp: m.temp})
	if err != nil {
		return err
	}
	m.mu.Lock()
	m.proc = p
	m.mu.Unlock()
	if err := m.ready(ctx, p); err != nil {
		err = explainStart(err, m.Name, logFile, mark)
		return errors.Join(err, p.kill())
	}
	m.home.log.Info("started server", "server", m.Name, "addr", m.Addr(), "pid", p.pid, "took", time.Since(began))
	return nil
}

// ready waits until the server answers root on its socket, then gives it what MariaConfig asks for.
func (m *Maria) ready(ctx context.Context, p *process) error {
	cfg := mysql.NewConfig()
	cfg.User, cfg.Net, cfg.Addr, cfg.Logger = "root", "unix", m.Socket, &mysql.NopLogger{}
	connector, err := mysql.NewConnector(cfg)
	if err != nil {
		return fault.Wrap(fault.Internal, "configure root connection", err)
	}
	pool := sql.OpenDB(connector)
	defer pool.Close()
	var conn *sql.Conn
	err = poll(ctx, startLimit, func(ctx context.Context) (bool, error) {
		if !p.running() {
			return false, errExited
		}
		c, err := pool.Conn(ctx)
		conn = c
		return err == nil, nil // it isn't listening yet
	})
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := m.setUp(ctx, conn); err != nil {
		return err
	}
	if m.cfg.ReplicaOf == nil {
		return nil
	}
	return m.follow(ctx, conn, p)
}
