package soak

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"strata/local"
	"strata/local/localtest"
)

// TestCapture_repairs_what_a_restored_server_never_had: the live server is restored from a backup and goes on with the same
// GTIDs and other content.
func TestCapture_repairs_what_a_restored_server_never_had(t *testing.T) {
	home := localtest.Home(t)
	m := localtest.Start(t, home, local.MariaConfig{Name: "live"})
	r := newRig(t, 1, m, localtest.Schema(t, m), nil, "canal")
	r.Load.XA = false
	r.Write(func() { r.Commits(200) })
	r.proof()

	data, backup := filepath.Join(home.Dir(), "live", "data"), filepath.Join(t.TempDir(), "backup")
	copyFolder := func(from, to string) {
		if out, err := exec.Command("cp", "-a", from, to).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	r.Fatal(m.Stop(context.WithoutCancel(t.Context())))
	copyFolder(data, backup)
	r.Fatal(m.Restart(t.Context()))
	r.Write(func() { r.Commits(300) })
	r.proof()

	r.Fatal(m.Kill())
	r.Fatal(os.RemoveAll(data))
	copyFolder(backup, data)
	r.Fatal(m.Restart(t.Context()))
	r.forks = true
	r.Write(func() { r.Commits(100) })
	r.proof()
	if log := r.Strata("canal", "evidence", "--json"); !strings.Contains(log, "failover") {
		t.Errorf("the evidence log has no failover: %s", log)
	}
}

// TestCapture_finds_rows_again_that_never_were_in_the_binlog: sql_log_bin=0, and then a backfill.
func TestCapture_backfills_what_never_was_in_the_binlog(t *testing.T) {
	m := localtest.Shared(t)
	r := newRig(t, 2, m, localtest.Schema(t, m), nil, "canal,sync")
	conn, err := r.DB.Conn(t.Context())
	r.Fatal(err)
	for _, q := range []string{"SET sql_log_bin=0",
		"INSERT INTO orders SELECT 100000+seq, 1, 'unseen', seq, '2026-11-01' FROM seq_1_to_2500",
		"INSERT INTO item_202610 SELECT 100000+seq, '2026-10-05', 1, NULL FROM seq_1_to_1500", "SET sql_log_bin=1"} {
		if _, err := conn.ExecContext(t.Context(), q); err != nil {
			t.Fatal(err)
		}
	}
	r.Fatal(conn.Close())
	r.Write(func() {
		r.Commits(100)
		r.Strata("canal", "backfill", "orders", "--why", "rows were loaded without the binlog", "--wait")
		r.Strata("canal", "backfill", "items", "--why", "rows were loaded without the binlog", "--wait")
	})
	r.proof()
	r.Strata("verify")
}

// TestCapture_rewinds: the keys that changed since a place are sent anew as they are, and no row goes back.
func TestCapture_rewinds(t *testing.T) {
	m := localtest.Shared(t)
	r := newRig(t, 3, m, localtest.Schema(t, m), nil, "canal,sync")
	var from string
	r.Fatal(r.DB.QueryRow("SELECT @@GLOBAL.gtid_binlog_pos").Scan(&from))
	r.Write(func() {
		r.Commits(300)
		r.Strata("canal", "rewind", "orders", "--to", from, "--why", "a drill", "--wait")
		r.Commits(50)
	})
	r.proof()
	r.Strata("verify")
}
