package local

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"strata/fault"
)

const (
	bootstrapLimit = time.Minute
	followLimit    = 30 * time.Second
)

// findMariadbd looks in PATH and in the sbin folders, which are not in a normal user's PATH.
func findMariadbd() (string, error) {
	for _, name := range []string{"mariadbd", "/usr/sbin/mariadbd", "/usr/local/sbin/mariadbd", "/usr/libexec/mariadbd"} {
		if path, err := exec.LookPath(name); err == nil {
			return filepath.Abs(path)
		}
	}
	return "", fault.New(fault.Unavailable, "find mariadbd", "not in PATH and not in /usr/sbin").
		WithHint("apt-get install --no-install-recommends mariadb-server-core, or set STRATA_LIVE_DSN, STRATA_ARCHIVE_DSN " +
			"(and STRATA_OFFLINE_DSN, STRATA_CONTROL_DSN) to servers that run")
}

// bootstrap fills part with the system tables.
func (m *Maria) bootstrap(ctx context.Context, part string) error {
	script, err := systemTables(m.binary)
	if err != nil {
		return err
	}
	argv := append([]string{m.binary, "--no-defaults", "--bootstrap", "--datadir=" + part, "--log-warnings=0",
		"--enforce-storage-engine=", "--max-allowed-packet=8M", "--net-buffer-length=16K", "--skip-log-bin"}, m.common()...)
	return m.run(ctx, "bootstrap", bootstrapLimit, command{argv: argv, stdin: script})
}

// systemTables is the script that makes the system tables, from the files of the installed package. root keeps only
// its login on the socket.
func systemTables(binary string) (io.Reader, error) {
	prefix := filepath.Dir(filepath.Dir(binary))
	for _, dir := range []string{prefix + "/share/mysql", prefix + "/share/mariadb", "/usr/share/mysql", "/usr/share/mariadb"} {
		for _, family := range []string{"mysql", "mariadb"} { // renamed in MariaDB 11
			script := bytes.NewBufferString("create database if not exists mysql;\nuse mysql;\nSET @auth_root_socket=NULL;\n")
			found := true
			for _, part := range []string{"system_tables", "performance_tables", "system_tables_data"} {
				text, err := os.ReadFile(filepath.Join(dir, family+"_"+part+".sql"))
				found = found && err == nil
				script.Write(text)
				script.WriteByte('\n')
			}
			if found {
				script.WriteString("DELETE FROM mysql.global_priv WHERE Host<>'localhost' OR User='';\n")
				return script, nil
			}
		}
	}
	return nil, fault.New(fault.Unavailable, "find system tables", "no mysql_system_tables.sql for %s in its share folder", binary).
		WithHint("apt-get install --reinstall --no-install-recommends mariadb-server-core")
}

// common are the flags that bootstrap and server share: the redo log's size must be the same in both.
func (m *Maria) common() []string {
	flags := []string{"--tmpdir=" + filepath.Join(m.dir, "tmp"), "--innodb-log-file-size=32M",
		"--aria-pagecache-buffer-size=2M", "--key-buffer-size=1M"}
	if os.Getuid() == 0 {
		flags = append(flags, "--user=root")
	}
	return flags
}

// argv is the server's command line.
func (m *Maria) argv() ([]string, error) {
	pool := m.cfg.BufferPoolMiB
	if pool == 0 {
		pool = defaultPoolMiB
	}
	flags := append([]string{m.binary, "--no-defaults", "--datadir=" + filepath.Join(m.dir, "data")}, m.common()...)
	flags = append(flags,
		"--socket="+m.Socket, "--pid-file="+filepath.Join(m.dir, "mariadbd.pid"), "--bind-address="+m.Host,
		fmt.Sprintf("--port=%d", m.Port), "--skip-name-resolve", "--max-connections=300",
		fmt.Sprintf("--server-id=%d", max(m.cfg.ServerID, 1)), fmt.Sprintf("--gtid-domain-id=%d", m.cfg.Domain),
		"--log-bin=binlog", "--relay-log=relay", "--log-slave-updates=1", "--skip-slave-start", "--gtid-strict-mode=1",
		"--binlog-format=ROW", "--binlog-row-image=FULL", "--binlog-row-metadata=FULL",
		"--sync-binlog=1", "--innodb-flush-log-at-trx-commit=1", "--sync-master-info=1", "--sync-relay-log=0",
		"--character-set-server=utf8mb4", "--log-bin-trust-function-creators=1", "--performance-schema=0",
		fmt.Sprintf("--innodb-buffer-pool-size=%dM", pool), "--innodb-log-buffer-size=8M", "--table-definition-cache=600",
	)
	if m.cfg.ReadOnly {
		flags = append(flags, "--read-only=1")
	}
	return append(flags, m.cfg.Options...), nil
}

// setUp makes the login and the schemas, where they are missing. What a replica makes stays out of its binlog: in
// strict mode a GTID of its own would stop replication.
func (m *Maria) setUp(ctx context.Context, conn *sql.Conn) error {
	login := fmt.Sprintf("'%s'@'%s'", m.User, m.Host)
	var known int
	err := conn.QueryRowContext(ctx, "SELECT COUNT(*) FROM mysql.global_priv WHERE User=? AND Host=?", m.User, m.Host).Scan(&known)
	if err != nil {
		return fmt.Errorf("read logins: %w", err)
	}
	steps := []string{"SET sql_log_bin=0"}
	if known == 0 {
		steps = append(steps, "CREATE USER "+login, "GRANT ALL PRIVILEGES ON *.* TO "+login+" WITH GRANT OPTION")
		if m.cfg.ReadOnly {
			steps = append(steps, "REVOKE READ_ONLY ADMIN ON *.* FROM "+login)
		}
	}
	steps = append(steps, "ALTER USER "+login+" IDENTIFIED BY '"+m.Password+"'") // the secret file may be a new one
	if m.cfg.ReplicaOf == nil {
		steps = append(steps, "SET sql_log_bin=1")
	}
	for _, schema := range m.cfg.Schemas {
		var there int
		q := "SELECT COUNT(*) FROM information_schema.schemata WHERE schema_name=?"
		if err := conn.QueryRowContext(ctx, q, schema).Scan(&there); err != nil {
			return fmt.Errorf("read schemas: %w", err)
		}
		if there == 0 { // an IF NOT EXISTS that does nothing would still write to the binlog
			steps = append(steps, "CREATE DATABASE IF NOT EXISTS `"+strings.ReplaceAll(schema, "`", "``")+"`")
		}
	}
	for i, q := range steps {
		if _, err := conn.ExecContext(ctx, q); err != nil {
			return fmt.Errorf("set up server, step %d of %d: %w", i+1, len(steps), err) // not q: it may hold the password
		}
	}
	return nil
}

// follow points the server at its primary, whose port may be a new one, and waits for both replication threads. Where
// it goes on is in gtid_slave_pos, which commits with the rows; empty at first: the beginning of the primary's binlog.
// It does not commit with DDL: after a crash between the two the statement would run again, and strict mode stops the
// replica for good ("out-of-order sequence number"). So what the replica's own binlog has counts as done: a statement is
// written there after it is done. Recovery either rolls back a DDL that isn't there or completes it and writes it there,
// under the replica's server id, with the number that it has on the primary.
func (m *Maria) follow(ctx context.Context, conn *sql.Conn, p *process) error {
	primary, via := m.cfg.ReplicaOf, m.cfg.ReplicaVia
	if via == "" {
		via = primary.Addr()
	}
	host, port, err := net.SplitHostPort(via)
	if err != nil {
		return fault.Wrap(fault.Invalid, "read address of primary", err)
	}
	change := fmt.Sprintf("CHANGE MASTER TO MASTER_HOST='%s', MASTER_PORT=%s, MASTER_USER='%s', MASTER_PASSWORD='%s', "+
		"MASTER_USE_GTID=slave_pos, MASTER_CONNECT_RETRY=1", host, port, primary.User, primary.Password)
	var applied, logged string
	if err := conn.QueryRowContext(ctx, "SELECT @@GLOBAL.gtid_slave_pos, @@GLOBAL.gtid_binlog_pos").Scan(&applied, &logged); err != nil {
		return fmt.Errorf("read replication position: %w", err)
	}
	position, err := doneGTID(m.cfg.Domain, primary.cfg.ServerID, applied, logged)
	if err != nil {
		return err
	}
	steps := []string{"STOP SLAVE", change}
	if position != "" {
		m.home.log.Info("replica had done more than it knew", "server", m.Name, "knew", applied, "did", logged)
		steps = append(steps, "SET GLOBAL gtid_slave_pos='"+position+"'")
	}
	for i, q := range append(steps, "START SLAVE") {
		if _, err := conn.ExecContext(ctx, q); err != nil {
			return fmt.Errorf("set up replication, step %d: %w", i+1, err)
		}
	}
	if primary.PID() == 0 {
		m.home.log.Info("primary is down, replication waits for it", "server", m.Name, "primary", primary.Name)
		return nil
	}
	last := ""
	err = poll(ctx, followLimit, func(ctx context.Context) (bool, error) {
		if !p.running() {
			return false, errExited
		}
		status, err := statusRow(ctx, conn, "SHOW SLAVE STATUS")
		if err != nil {
			return false, err
		}
		last = status["Last_IO_Error"] + status["Last_SQL_Error"]
		if status["Last_SQL_Errno"] != "0" {
			return false, errors.New("replication stopped")
		}
		return status["Slave_IO_Running"] == "Yes" && status["Slave_SQL_Running"] == "Yes", nil
	})
	if err != nil {
		return fmt.Errorf("follow %s: %w: %s", primary.Name, err, last)
	}
	return nil
}

// doneGTID is the primary's GTID up to which a replica has done everything, where its binlog is further than what it has
// noted as applied; else "". The lists are MariaDB's: domain-server-sequence, one a domain.
func doneGTID(domain, server uint32, applied, logged string) (string, error) {
	last := func(list string) (seq uint64, err error) {
		for text := range strings.SplitSeq(list, ",") {
			var d, s uint32
			var n uint64
			if text == "" {
				continue
			}
			if _, err := fmt.Sscanf(text, "%d-%d-%d", &d, &s, &n); err != nil {
				return 0, fmt.Errorf("read replication position %q: %w", list, err)
			}
			if d == domain {
				seq = n
			}
		}
		return seq, nil
	}
	noted, errN := last(applied)
	done, errD := last(logged)
	if err := errors.Join(errN, errD); err != nil || done <= noted {
		return "", err
	}
	return fmt.Sprintf("%d-%d-%d", domain, max(server, 1), done), nil
}

// statusRow is the last row of q by column name.
func statusRow(ctx context.Context, conn *sql.Conn, q string) (map[string]string, error) {
	rows, err := conn.QueryContext(ctx, q)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	columns, err := rows.Columns()
	if err != nil {
		return nil, err
	}
	values := make([]sql.NullString, len(columns))
	targets := make([]any, len(columns))
	for i := range values {
		targets[i] = &values[i]
	}
	status := make(map[string]string, len(columns))
	for rows.Next() {
		if err := rows.Scan(targets...); err != nil {
			return nil, err
		}
		for i, c := range columns {
			status[c] = values[i].String
		}
	}
	return status, rows.Err()
}
