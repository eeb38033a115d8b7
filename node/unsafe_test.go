package node_test

import (
	"database/sql"
	"strings"
	"testing"

	"strata/fault"
	"strata/local"
	"strata/local/localtest"
	"strata/node"
)

// TestRefusesUnsafeServers has servers that would lose data without a word. The hint must be the cure.
func TestRefusesUnsafeServers(t *testing.T) {
	r := newRig(t)
	localtest.Exec(t, r.live, "CREATE TABLE orders (id INT PRIMARY KEY)")
	cfg := r.config(t, "datasets: [{name: orders}]\n")
	try := func(t *testing.T, cfg node.Config) error {
		n, err := node.Open(t.Context(), r.options(t, cfg))
		if err != nil {
			return err
		}
		return n.Close()
	}
	if err := try(t, cfg); err != nil {
		t.Fatal(err, fault.HintOf(err))
	}
	root := map[string]*sql.DB{"live": localtest.DB(t, r.stack.Live.RootDSN("")), "offline": localtest.DB(t, r.stack.Offline.RootDSN("")),
		"archive": localtest.DB(t, r.stack.Archive.RootDSN(""))}
	for _, c := range []struct{ server, setting, bad, fix, line string }{
		{"live", "binlog_format", "'STATEMENT'", "'ROW'", "binlog_format=ROW"},
		{"live", "binlog_format", "'MIXED'", "'ROW'", "binlog_format=ROW"},
		{"offline", "binlog_format", "'MIXED'", "'ROW'", "binlog_format=ROW"},
		{"live", "binlog_row_image", "'MINIMAL'", "'FULL'", "binlog_row_image=FULL"},
		{"live", "binlog_row_image", "'NOBLOB'", "'FULL'", "binlog_row_image=FULL"},
		{"offline", "binlog_row_image", "'MINIMAL'", "'FULL'", "binlog_row_image=FULL"},
		{"live", "binlog_row_metadata", "'MINIMAL'", "'FULL'", "binlog_row_metadata=FULL"},
		{"offline", "binlog_row_metadata", "'NO_LOG'", "'FULL'", "binlog_row_metadata=FULL"},
		{"offline", "gtid_strict_mode", "OFF", "ON", "gtid_strict_mode=ON"},
		{"live", "sync_binlog", "0", "1", "sync_binlog=1"},
		{"archive", "sync_binlog", "0", "1", "sync_binlog=1"},
		{"live", "innodb_flush_log_at_trx_commit", "2", "1", "innodb_flush_log_at_trx_commit=1"},
		{"archive", "innodb_flush_log_at_trx_commit", "0", "1", "innodb_flush_log_at_trx_commit=1"},
	} {
		t.Run(c.setting+" "+strings.Trim(c.bad, "'")+" on "+c.server+" is refused", func(t *testing.T) {
			localtest.Exec(t, root[c.server], "SET GLOBAL "+c.setting+" = "+c.bad)
			err := try(t, cfg)
			if !fault.Is(err, fault.Unsafe) || !strings.Contains(err.Error(), c.setting) || !strings.Contains(err.Error(), c.server) {
				t.Errorf("%v", err)
			}
			cure := "SET GLOBAL " + c.setting + " = " + c.fix + ";"
			if hint := fault.HintOf(err); !strings.Contains(hint, cure) || !strings.Contains(hint, "my.cnf") || !strings.Contains(hint, c.line) {
				t.Errorf("the hint is %q", hint)
			}
			localtest.Exec(t, root[c.server], cure)
			if err := try(t, cfg); err != nil {
				t.Errorf("after the cure: %v", err)
			}
		})
	}
	t.Run("what is wrong on two servers is said at once, with both cures", func(t *testing.T) {
		localtest.Exec(t, root["live"], "SET GLOBAL binlog_row_image = 'MINIMAL'")
		localtest.Exec(t, root["archive"], "SET GLOBAL sync_binlog = 0")
		err := try(t, cfg)
		localtest.Exec(t, root["live"], "SET GLOBAL binlog_row_image = 'FULL'")
		localtest.Exec(t, root["archive"], "SET GLOBAL sync_binlog = 1")
		hint := fault.HintOf(err)
		for _, want := range []string{"live", "SET GLOBAL binlog_row_image = 'FULL';", "archive", "SET GLOBAL sync_binlog = 1;"} {
			if !fault.Is(err, fault.Unsafe) || !strings.Contains(hint, want) {
				t.Errorf("%q is not in the hint %q of %v", want, hint, err)
			}
		}
	})
	t.Run("a replica that logs no updates is refused", func(t *testing.T) {
		mute := localtest.Start(t, r.stack.Home, local.MariaConfig{Name: "mute", ServerID: 9, Domain: 1, ReplicaOf: r.stack.Live,
			Schemas: []string{"strata"}, Options: []string{"--log-slave-updates=0"}})
		cfg := cfg
		cfg.Offline.DSN = mute.DSN("strata")
		err := try(t, cfg)
		if hint := fault.HintOf(err); !fault.Is(err, fault.Unsafe) || !strings.Contains(hint, "in my.cnf, [mysqld], then restart: log_slave_updates=ON") {
			t.Errorf("%v\n%s", err, hint)
		}
	})
	t.Run("an archive without a server is away, not unsafe", func(t *testing.T) {
		cfg := cfg
		cfg.Archive.DSN = "strata@tcp(127.0.0.1:1)/strata_archive"
		if err := try(t, cfg); !fault.Is(err, fault.Unavailable) || fault.HintOf(err) == "" {
			t.Errorf("%v", err)
		}
	})
	t.Run("a dataset without its table is refused by name", func(t *testing.T) {
		if err := try(t, r.config(t, "datasets: [{name: orders}, {name: oders}]\n")); !fault.Is(err, fault.NotFound) || !strings.Contains(err.Error(), "oders") {
			t.Errorf("%v", err)
		}
	})
}
