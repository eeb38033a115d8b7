package local_test

import (
	"database/sql"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"

	"strata/fault"
	"strata/local"
	"strata/local/localtest"
)

func TestMySQLKeepsPortAndDataOverStopKillAndRestart(t *testing.T) {
	t.Parallel()
	h := localtest.Home(t)
	m := localtest.StartMySQL(t, h, local.MySQLConfig{Name: "live", Schemas: []string{"strata"}})
	db := localtest.DB(t, m.DSN("strata"))
	localtest.Exec(t, db, "CREATE TABLE kept (id INT PRIMARY KEY)")
	if _, err := h.StartMySQL(t.Context(), local.MySQLConfig{Name: "live", Root: rootOfMySQL(t)}); !fault.Is(err, fault.Busy) {
		t.Errorf("second start of the same name: %v", err)
	}
	for i, end := range []func() error{m.Kill, func() error { return m.Stop(t.Context()) }} {
		localtest.Exec(t, db, "INSERT INTO kept VALUES (?)", i)
		pid, addr, exited := m.PID(), m.Addr(), m.Exited()
		if err := errorsOf(m.Pause(), m.Resume(), end()); err != nil {
			t.Fatal(err)
		}
		<-exited
		if m.PID() != 0 || syscall.Kill(pid, 0) == nil {
			t.Fatalf("process %d is still there", pid)
		}
		if err := m.Restart(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := count(t, db, "kept"); m.Addr() != addr || got != i+1 {
			t.Errorf("%d rows after restart %d, at %s, before %s", got, i+1, m.Addr(), addr)
		}
	}
}

func TestMySQLHasTheSettingsThatCaptureAsserts(t *testing.T) {
	t.Parallel()
	m := localtest.SharedMySQL(t)
	db := localtest.DB(t, localtest.Schema(t, m))
	for name, want := range map[string]string{
		"sync_binlog": "1", "innodb_flush_log_at_trx_commit": "1", "binlog_format": "ROW", "binlog_row_image": "FULL",
		"binlog_row_metadata": "FULL", "gtid_mode": "ON", "enforce_gtid_consistency": "ON", "character_set_server": "utf8mb4",
		"log_bin": "ON", "skip_name_resolve": "ON", "bind_address": "127.0.0.1", "log_replica_updates": "ON", "read_only": "OFF",
		"innodb_buffer_pool_size": fmt.Sprint(64 << 20),
	} {
		var key, got string
		if err := db.QueryRowContext(t.Context(), "SHOW GLOBAL VARIABLES LIKE '"+name+"'").Scan(&key, &got); err != nil || got != want {
			t.Errorf("%s is %q, %v; want %q", name, got, err, want)
		}
	}
	bad, err := sql.Open("mysql", "root@tcp("+m.Addr()+")/")
	if err != nil {
		t.Fatal(err)
	}
	defer bad.Close()
	if err := bad.PingContext(t.Context()); err == nil {
		t.Error("root got in without a password")
	}
}

func TestAMySQLReplicaFollowsFromTheBeginningAndOverAKill(t *testing.T) {
	t.Parallel()
	h := localtest.Home(t)
	source := localtest.StartMySQL(t, h, local.MySQLConfig{Name: "live", ServerID: 1, Schemas: []string{"strata"}})
	from := localtest.DB(t, source.DSN("strata"))
	localtest.Exec(t, from, "CREATE TABLE moved (id INT PRIMARY KEY)")
	replica := localtest.StartMySQL(t, h, local.MySQLConfig{Name: "offline", ServerID: 2, ReplicaOf: source, ReadOnly: true})
	follow := func(id int) {
		t.Helper()
		localtest.Exec(t, from, "INSERT INTO moved VALUES (?)", id)
		var done string
		if err := from.QueryRowContext(t.Context(), "SELECT @@gtid_executed").Scan(&done); err != nil {
			t.Fatal(err)
		}
		var late int
		err := localtest.DB(t, replica.DSN("")).QueryRowContext(t.Context(), "SELECT WAIT_FOR_EXECUTED_GTID_SET(?, 20)", done).Scan(&late)
		if err != nil || late != 0 {
			t.Fatalf("the replica does not reach %s: %d, %v", done, late, err)
		}
		to := localtest.DB(t, replica.DSN("strata"))
		if n := count(t, to, "moved"); n != id {
			t.Errorf("%d rows on the replica, want %d", n, id)
		}
		if _, err := to.ExecContext(t.Context(), "INSERT INTO moved VALUES (99)"); err == nil {
			t.Error("the read-only replica took a write")
		}
	}
	follow(1)
	if err := errorsOf(replica.Kill(), replica.Restart(t.Context())); err != nil {
		t.Fatal(err)
	}
	follow(2)
}

func TestMySQLThatIsNotThereIsNamedWithWhatToDo(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	_, err := local.FindMySQL(func(name string) string { return map[string]string{"STRATA_CACHE": dir}[name] })
	if !fault.Is(err, fault.Unavailable) || !strings.Contains(err.Error(), dir) || !strings.Contains(fault.HintOf(err), "STRATA_MYSQL_ROOT") {
		t.Errorf("%v, hint %q", err, fault.HintOf(err))
	}
	if _, err := localtest.Home(t).StartMySQL(t.Context(), local.MySQLConfig{Name: "live", Root: dir}); !fault.Is(err, fault.Unavailable) {
		t.Errorf("start: %v", err)
	}
}

// rootOfMySQL is where MySQL lies, for tests that have started one already.
func rootOfMySQL(t *testing.T) string {
	t.Helper()
	root, err := local.FindMySQL(os.Getenv)
	if err != nil {
		t.Fatal(err)
	}
	return root
}
