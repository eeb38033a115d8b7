package local_test

import (
	"database/sql"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"strata/fault"
	"strata/local"
	"strata/local/localtest"
)

func TestMariaKeepsPortAndDataOverStopKillAndRestart(t *testing.T) {
	t.Parallel()
	h := localtest.Home(t)
	m := localtest.Start(t, h, local.MariaConfig{Name: "live", Schemas: []string{"strata"}})
	db := localtest.DB(t, m.DSN("strata"))
	localtest.Exec(t, db, "CREATE TABLE kept (id INT PRIMARY KEY)")
	if _, err := h.StartMaria(t.Context(), local.MariaConfig{Name: "live"}); !fault.Is(err, fault.Busy) {
		t.Errorf("second start of the same name: %v", err)
	}
	for i, end := range []func() error{m.Kill, func() error { return m.Stop(t.Context()) }, m.Kill} {
		localtest.Exec(t, db, "INSERT INTO kept VALUES (?)", i)
		pid, exited := m.PID(), m.Exited()
		if err := end(); err != nil {
			t.Fatal(err)
		}
		<-exited
		if m.PID() != 0 || syscall.Kill(pid, 0) == nil {
			t.Fatalf("process %d is still there", pid)
		}
		if err := end(); err != nil {
			t.Errorf("ending it again: %v", err)
		}
		addr := m.Addr()
		if err := m.Restart(t.Context()); err != nil {
			t.Fatal(err)
		}
		if m.Addr() != addr {
			t.Errorf("moved from %s to %s", addr, m.Addr())
		}
		if got := count(t, db, "kept"); got != i+1 {
			t.Errorf("%d rows after restart %d", got, i+1)
		}
	}
	logText, err := os.ReadFile(filepath.Join(h.Dir(), "live", "log"))
	if err != nil || strings.Count(string(logText), "Normal shutdown") != 1 {
		t.Errorf("want one orderly stop in the log, %v:\n%s", err, logText)
	}
}

func TestMariaHasTheSettingsThatCaptureAsserts(t *testing.T) {
	t.Parallel()
	m := localtest.Maria(t, "--max-allowed-packet=20M", "--max-allowed-packet=24M")
	db := localtest.DB(t, m.DSN(""))
	for name, want := range map[string]string{
		"sync_binlog": "1", "innodb_flush_log_at_trx_commit": "1", "binlog_format": "ROW", "binlog_row_image": "FULL",
		"binlog_row_metadata": "FULL", "gtid_strict_mode": "ON", "character_set_server": "utf8mb4", "log_bin": "ON",
		"log_bin_trust_function_creators": "ON", "skip_name_resolve": "ON", "bind_address": "127.0.0.1",
		"performance_schema": "OFF", "max_connections": "300", "log_slave_updates": "ON", "read_only": "OFF",
		"max_allowed_packet": fmt.Sprint(24 << 20), "innodb_buffer_pool_size": fmt.Sprint(64 << 20),
	} {
		var key, got string
		if err := db.QueryRowContext(t.Context(), "SHOW GLOBAL VARIABLES LIKE '"+name+"'").Scan(&key, &got); err != nil || got != want {
			t.Errorf("%s is %q, %v; want %q", name, got, err, want)
		}
	}
	var engine string
	err := db.QueryRowContext(t.Context(), "SELECT engine FROM information_schema.tables WHERE table_schema='mysql' AND table_name='gtid_slave_pos'").Scan(&engine)
	if err != nil || engine != "InnoDB" {
		t.Errorf("gtid_slave_pos is %q, %v: a crash would lose the replica's place", engine, err)
	}
	if text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", m.PID())); err == nil {
		for line := range strings.Lines(string(text)) {
			var kB int
			if n, _ := fmt.Sscanf(line, "VmRSS: %d kB", &kB); n == 1 && kB > 130<<10 {
				t.Errorf("resident memory is %d kB, want at most 130 MB", kB)
			}
		}
	}
	for _, user := range []string{"root", ""} {
		bad, err := sql.Open("mysql", fmt.Sprintf("%s@tcp(%s)/", user, m.Addr()))
		if err != nil {
			t.Fatal(err)
		}
		if err := bad.PingContext(t.Context()); err == nil {
			t.Errorf("user %q got in without a password", user)
		}
		_ = bad.Close()
	}
}

func TestReplicaFollowsFromTheBeginningAndOverRestarts(t *testing.T) {
	t.Parallel()
	h := localtest.Home(t)
	live := localtest.Start(t, h, local.MariaConfig{Name: "live", ServerID: 1, Domain: 1, Schemas: []string{"strata"}})
	source := localtest.DB(t, live.DSN("strata"))
	localtest.Exec(t, source, "CREATE TABLE moved (id INT PRIMARY KEY)")
	localtest.Exec(t, source, "INSERT INTO moved VALUES (1)")
	offline := localtest.Start(t, h, local.MariaConfig{Name: "offline", ServerID: 2, Domain: 1, ReplicaOf: live, ReadOnly: true,
		Schemas: []string{"strata"}})
	replica := localtest.DB(t, offline.DSN("strata"))
	follows(t, source, replica, 1)
	if _, err := replica.ExecContext(t.Context(), "INSERT INTO moved VALUES (9)"); err == nil {
		t.Error("the read-only replica took a write")
	}
	if err := offline.Kill(); err != nil {
		t.Fatal(err)
	}
	localtest.Exec(t, source, "INSERT INTO moved VALUES (2)")
	if err := offline.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	follows(t, source, replica, 2)
	if err := live.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := live.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	localtest.Exec(t, source, "INSERT INTO moved VALUES (3)")
	follows(t, source, replica, 3)
	var own int
	q := "SELECT @@gtid_binlog_pos NOT LIKE CONCAT('1-1-%')"
	if err := replica.QueryRowContext(t.Context(), q).Scan(&own); err != nil || own != 0 {
		t.Errorf("the replica wrote GTIDs of its own: %d, %v", own, err)
	}
}

func TestAPathTooLongForASocketGetsItsSocketElsewhere(t *testing.T) {
	t.Parallel()
	h := open(t, filepath.Join(shortDir(t), strings.Repeat("long", 30)))
	m := localtest.Start(t, h, local.MariaConfig{Name: "live"})
	localtest.DB(t, m.RootDSN(""))
	if err := m.Kill(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Dir(m.Socket)); !os.IsNotExist(err) {
		t.Errorf("the socket's folder stays behind: %v", err)
	}
	if err := m.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// gtid_slave_pos does not commit with DDL: a replica that is killed in between has done a statement that it doesn't know of.
func TestAReplicaThatWasKilledAfterDDLGoesOn(t *testing.T) {
	t.Parallel()
	h := localtest.Home(t)
	source := localtest.Start(t, h, local.MariaConfig{Name: "live", ServerID: 1, Domain: 1, Schemas: []string{"s"}})
	replica := localtest.Start(t, h, local.MariaConfig{Name: "offline", ServerID: 2, Domain: 1, ReplicaOf: source, ReadOnly: true, Schemas: []string{"s"}})
	from, to := localtest.DB(t, source.DSN("s")), localtest.DB(t, replica.RootDSN("s"))
	localtest.Exec(t, from, "CREATE TABLE moved (id INT PRIMARY KEY)")
	localtest.Exec(t, from, "INSERT INTO moved VALUES (1)")
	localtest.Exec(t, from, "CREATE TRIGGER fence BEFORE DELETE ON moved FOR EACH ROW SET @a=1")
	follows(t, from, to, 1)
	localtest.Exec(t, to, "STOP SLAVE")
	localtest.Exec(t, to, "SET STATEMENT sql_log_bin=0 FOR DELETE FROM mysql.gtid_slave_pos WHERE seq_no < (SELECT MAX(seq_no) FROM mysql.gtid_slave_pos)")
	localtest.Exec(t, to, "SET STATEMENT sql_log_bin=0 FOR UPDATE mysql.gtid_slave_pos SET seq_no=seq_no-1")
	if err := errorsOf(replica.Kill(), replica.Restart(t.Context())); err != nil {
		t.Fatal(err)
	}
	localtest.Exec(t, from, "INSERT INTO moved VALUES (2)")
	follows(t, from, to, 2)
}

func TestAPausedServerDoesNotAnswerAndCanBeStopped(t *testing.T) {
	t.Parallel()
	m := localtest.Maria(t)
	db := localtest.DB(t, m.DSN(""))
	if err := m.Pause(); err != nil {
		t.Fatal(err)
	}
	answered := make(chan error, 1)
	go func() { _, err := db.ExecContext(t.Context(), "DO 1"); answered <- err }()
	select {
	case err := <-answered:
		t.Fatalf("a paused server answered: %v", err)
	case <-time.After(50 * time.Millisecond): // silence can only be observed by waiting
	}
	if err := m.Resume(); err != nil {
		t.Fatal(err)
	}
	if err := <-answered; err != nil {
		t.Fatal(err)
	}
	if err := m.Pause(); err != nil {
		t.Fatal(err)
	}
	if err := m.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := errorsOf(m.Pause(), m.Resume(), m.Kill()); err != nil {
		t.Errorf("on a stopped server: %v", err)
	}
}

func TestAServerThatCannotStartSaysWhy(t *testing.T) {
	t.Parallel()
	h := localtest.Home(t)
	_, err := h.StartMaria(t.Context(), local.MariaConfig{Name: "live", Options: []string{"--no-such-option=1"}})
	if !fault.Is(err, fault.Unavailable) || !strings.Contains(err.Error(), "no-such-option") || fault.HintOf(err) == "" {
		t.Errorf("got %v, hint %q", err, fault.HintOf(err))
	}
	if left := processesOf(t, h.Dir()+"/"); len(left) > 0 {
		t.Errorf("left running: %v", left)
	}
	for _, name := range []string{"", "..", "a/b", "lock", "a.pid"} {
		if _, err := h.StartMaria(t.Context(), local.MariaConfig{Name: name}); !fault.Is(err, fault.Invalid) {
			t.Errorf("name %q: %v", name, err)
		}
	}
}

func TestMariaRunsAsAnotherUserThanRoot(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		return // then every other test shows it
	}
	const nobody = 65534
	dir := shortDir(t)
	binary := filepath.Join(dir, "test")
	copyProgram(t, binary)
	data := filepath.Join(dir, "data")
	if err := errorsOf(os.Chmod(dir, 0o755), os.Mkdir(data, 0o700), os.Chown(data, nobody, nobody)); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(binary, "-test.run=^TestAPausedServerDoesNotAnswerAndCanBeStopped$", "-test.v")
	cmd.Dir = dir
	cmd.Env = append(slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "GOCOVERDIR=") }),
		"TMPDIR="+data, "HOME="+data)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: TestAPausedServer") {
		t.Errorf("%v\n%s", err, out)
	}
}

// follows waits until replica has applied all that source has committed, then counts rows.
func follows(t *testing.T, source, replica *sql.DB, want int) {
	t.Helper()
	var position string
	if err := source.QueryRowContext(t.Context(), "SELECT @@gtid_binlog_pos").Scan(&position); err != nil {
		t.Fatal(err)
	}
	var late int
	if err := replica.QueryRowContext(t.Context(), "SELECT MASTER_GTID_WAIT(?, 20)", position).Scan(&late); err != nil || late != 0 {
		t.Fatalf("replica does not reach %s: %d, %v", position, late, err)
	}
	if got := count(t, replica, "moved"); got != want {
		t.Errorf("%d rows on the replica, want %d", got, want)
	}
}

func count(t *testing.T, db *sql.DB, table string) (n int) {
	t.Helper()
	if err := db.QueryRowContext(t.Context(), "SELECT COUNT(*) FROM "+table).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// copyProgram copies the test binary, which lies in a folder of its user's alone, to where everybody may run it. Another
// program does it: a file that this process had open for writing can't be run while a child of a parallel test, between fork
// and exec, still holds a copy of the descriptor.
func copyProgram(t *testing.T, to string) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("cp", self, to).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if err := os.Chmod(to, 0o755); err != nil {
		t.Fatal(err)
	}
}

// errorsOf is the first error that isn't nil.
func errorsOf(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
