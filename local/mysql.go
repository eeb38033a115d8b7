package local

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"strata/fault"
)

const initializeLimit = 2 * time.Minute

// MySQLConfig says which server StartMySQL starts.
type MySQLConfig struct {
	Name          string   // folder in the Home: letters a-z, digits, _ and -
	Root          string   // where FindMySQL found it
	ServerID      uint32   // server_id; 0: 1
	ReplicaOf     *MySQL   // nil: no replication
	ReplicaVia    string   // host:port to reach ReplicaOf by, a Proxy for instance; "": its own address
	ReadOnly      bool     // super_read_only=1 (root on the socket can turn it off)
	Schemas       []string // created where missing; not on a replica, which gets its source's
	Options       []string // more mysqld flags, after ours, so they win
	BufferPoolMiB int      // innodb_buffer_pool_size; 0: 64
}

// MySQL is one private MySQL, run from a folder by that folder's own loader. The exported fields stay the same over
// Restart.
type MySQL struct {
	Database

	cfg MySQLConfig
}

// FindMySQL returns the folder with MySQL's unpacked Debian packages: STRATA_MYSQL_ROOT, else mysql in the cache folder
// (STRATA_CACHE, else ~/.cache/strata), where `make setup-test` puts it. Unavailable: there is none.
func FindMySQL(getenv func(string) string) (root string, err error) {
	root = getenv("STRATA_MYSQL_ROOT")
	if root == "" {
		root = filepath.Join(Cache(getenv), "mysql")
	}
	if _, err := os.Stat(filepath.Join(root, "usr/sbin/mysqld")); err != nil {
		return "", fault.New(fault.Unavailable, "find MySQL", "%w", err).
			WithHint("`make setup-test` fetches it where apt-get can download; or set STRATA_MYSQL_ROOT")
	}
	return root, nil
}

// Cache is the folder of what was downloaded for tests: STRATA_CACHE, else ~/.cache/strata.
func Cache(getenv func(string) string) string {
	if dir := getenv("STRATA_CACHE"); dir != "" {
		return dir
	}
	return filepath.Join(getenv("HOME"), ".cache", "strata")
}

// StartMySQL makes the server's data once, starts it and waits until it answers, has its login and schemas and, as a
// replica, runs both replication threads. It replicates by GTID from the very beginning of ReplicaOf's binlog. Errors:
// Unavailable (Root holds no server, or it didn't come up), Busy (a server of that name runs), Invalid (the name). After
// an error nothing is left running.
func (h *Home) StartMySQL(ctx context.Context, cfg MySQLConfig) (*MySQL, error) {
	root, err := filepath.Abs(cfg.Root)
	if err == nil {
		_, err = os.Stat(filepath.Join(root, "usr/sbin/mysqld"))
	}
	if err != nil {
		return nil, fault.Wrap(fault.Unavailable, "find MySQL", err)
	}
	cfg.Root = root
	base, err := h.newDatabase("mysql", cfg.Name)
	if err != nil {
		return nil, err
	}
	m := &MySQL{Database: base, cfg: cfg}
	m.Server.argv, m.Server.ready = m.argv, m.ready
	err = m.bringUp(ctx, func(part string) error {
		return m.run(ctx, "initialize", initializeLimit, command{argv: append(m.program(), "--datadir="+part, "--initialize-insecure", "--skip-log-bin")})
	})
	if err != nil {
		return nil, err
	}
	return m, nil
}

// program is the server with what it needs whatever it is to do. The folder's own loader and libraries run it, so they
// need not fit the system's.
func (m *MySQL) program() []string {
	root := m.cfg.Root
	var argv []string
	loaders, _ := filepath.Glob(root + "/usr/lib*/ld-linux*.so.*") // its one error is of the pattern
	if len(loaders) > 0 {                                          // else it was not unpacked but installed
		libs, _ := filepath.Glob(root + "/usr/lib/*-linux-gnu*")
		libs = append(libs, root+"/usr/lib/mysql/private", root+"/usr/lib/mysql")
		argv = append(argv, loaders[0], "--library-path", strings.Join(libs, ":"))
	}
	argv = append(argv, root+"/usr/sbin/mysqld", "--no-defaults", "--basedir="+root+"/usr", "--lc-messages-dir="+root+"/usr/share/mysql",
		"--character-sets-dir="+root+"/usr/share/mysql/charsets", "--plugin-dir="+root+"/usr/lib/mysql/plugin",
		"--tmpdir="+filepath.Join(m.dir, "tmp"), "--innodb-redo-log-capacity=32M", "--mysqlx=OFF")
	if os.Getuid() == 0 {
		argv = append(argv, "--user=root")
	}
	return argv
}

// argv is the server's command line.
func (m *MySQL) argv() ([]string, error) {
	pool := m.cfg.BufferPoolMiB
	if pool == 0 {
		pool = defaultPoolMiB
	}
	flags := append(m.program(),
		"--datadir="+filepath.Join(m.dir, "data"), "--socket="+m.Socket, "--pid-file="+filepath.Join(m.dir, "mysqld.pid"),
		"--bind-address="+m.Host, fmt.Sprintf("--port=%d", m.Port), "--skip-name-resolve", "--max-connections=300",
		fmt.Sprintf("--server-id=%d", max(m.cfg.ServerID, 1)),
		"--log-bin=binlog", "--relay-log=relay", "--log-replica-updates=ON", "--skip-replica-start=ON",
		"--gtid-mode=ON", "--enforce-gtid-consistency=ON",
		"--binlog-format=ROW", "--binlog-row-image=FULL", "--binlog-row-metadata=FULL",
		"--sync-binlog=1", "--innodb-flush-log-at-trx-commit=1",
		"--character-set-server=utf8mb4", "--log-bin-trust-function-creators=1", "--performance-schema=OFF",
		"--secure-file-priv="+filepath.Join(m.dir, "tmp"), "--local-infile=ON",
		fmt.Sprintf("--innodb-buffer-pool-size=%dM", pool), "--innodb-log-buffer-size=8M", "--table-definition-cache=600",
	)
	if m.cfg.ReadOnly {
		flags = append(flags, "--super-read-only=1")
	}
	return append(flags, m.cfg.Options...), nil
}

// ready waits until the server answers root on its socket, then gives it what MySQLConfig asks for.
func (m *MySQL) ready(ctx context.Context, p *process) error {
	if m.cfg.ReplicaOf == nil {
		return m.serves(ctx, p, m.setUp, nil)
	}
	return m.serves(ctx, p, m.setUp, m.follow)
}

// setUp makes the login, outside the binlog, and the schemas.
func (m *MySQL) setUp(ctx context.Context, conn *sql.Conn) error {
	login := fmt.Sprintf("'%s'@'%s'", m.User, m.Host)
	steps := []string{"SET sql_log_bin=0", "CREATE USER IF NOT EXISTS " + login, "GRANT ALL ON *.* TO " + login + " WITH GRANT OPTION",
		"ALTER USER " + login + " IDENTIFIED BY '" + m.Password + "'", "SET sql_log_bin=1"} // the secret file may be a new one
	if m.cfg.ReadOnly {
		steps = append(append([]string{"SET GLOBAL read_only=0"}, steps...), "SET GLOBAL super_read_only=1")
	}
	for _, schema := range m.cfg.Schemas {
		var there int
		q := "SELECT COUNT(*) FROM information_schema.schemata WHERE schema_name=?"
		if err := conn.QueryRowContext(ctx, q, schema).Scan(&there); err != nil {
			return fmt.Errorf("read schemas: %w", err)
		}
		if there == 0 && m.cfg.ReplicaOf == nil {
			steps = append(steps, "CREATE DATABASE `"+strings.ReplaceAll(schema, "`", "``")+"`")
		}
	}
	for i, q := range steps {
		if _, err := conn.ExecContext(ctx, q); err != nil {
			return fmt.Errorf("set up server, step %d of %d: %w", i+1, len(steps), err) // not q: it may hold the password
		}
	}
	return nil
}

// follow points the server at its source, whose port may be a new one, and waits for both replication threads. Where it
// goes on follows from the GTIDs that it has executed.
func (m *MySQL) follow(ctx context.Context, conn *sql.Conn, p *process) error {
	source, via := m.cfg.ReplicaOf, m.cfg.ReplicaVia
	if via == "" {
		via = source.Addr()
	}
	host, port, ok := strings.Cut(via, ":")
	if !ok {
		return fault.New(fault.Invalid, "read address of source", "%q: want host:port", via)
	}
	change := fmt.Sprintf("CHANGE REPLICATION SOURCE TO SOURCE_HOST='%s', SOURCE_PORT=%s, SOURCE_USER='%s', SOURCE_PASSWORD='%s', "+
		"SOURCE_AUTO_POSITION=1, SOURCE_CONNECT_RETRY=1, GET_SOURCE_PUBLIC_KEY=1", host, port, source.User, source.Password)
	for i, q := range []string{"STOP REPLICA", change, "START REPLICA"} {
		if _, err := conn.ExecContext(ctx, q); err != nil {
			return fmt.Errorf("set up replication, step %d: %w", i+1, err)
		}
	}
	if source.PID() == 0 {
		m.home.log.Info("source is down, replication waits for it", "server", m.Name, "source", source.Name)
		return nil
	}
	last := ""
	err := poll(ctx, followLimit, func(ctx context.Context) (bool, error) {
		if !p.running() {
			return false, errExited
		}
		status, err := statusRow(ctx, conn, "SHOW REPLICA STATUS")
		if err != nil {
			return false, err
		}
		last = status["Last_IO_Error"] + status["Last_SQL_Error"]
		if status["Last_SQL_Errno"] != "0" {
			return false, errors.New("replication stopped")
		}
		return status["Replica_IO_Running"] == "Yes" && status["Replica_SQL_Running"] == "Yes", nil
	})
	if err != nil {
		return fmt.Errorf("follow %s: %w: %s", source.Name, err, last)
	}
	return nil
}
