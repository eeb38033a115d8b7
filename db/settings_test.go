package db_test

import (
	"errors"
	"testing"

	"strata/db"
	"strata/fault"
	"strata/local"
	"strata/local/localtest"
)

func TestSettingsAreRefusedWithTheirFix(t *testing.T) {
	m := localtest.Maria(t, "--binlog-format=STATEMENT", "--binlog-row-metadata=MINIMAL", "--sync-binlog=0", "--innodb-doublewrite=0")
	d := open(t, localtest.Schema(t, m), db.Reader)
	err := d.CheckCapture(t.Context())
	wantKind(t, err, fault.Unsafe)
	want := "SET GLOBAL binlog_format = 'ROW';\nin my.cnf, [mysqld]: binlog_format=ROW\n" +
		"SET GLOBAL binlog_row_metadata = 'FULL';\nin my.cnf, [mysqld]: binlog_row_metadata=FULL"
	if got := fault.HintOf(err); got != want {
		t.Errorf("hint\n%s\nwant\n%s", got, want)
	}
	var s *db.SettingsError
	if !errors.As(err, &s) || len(s.Settings) != 2 || s.Settings[0].Have != "STATEMENT" {
		t.Errorf("%+v", s)
	}
	err = d.CheckDurable(t.Context())
	wantKind(t, err, fault.Unsafe)
	want = "SET GLOBAL sync_binlog = 1;\nin my.cnf, [mysqld]: sync_binlog=1\nin my.cnf, [mysqld], then restart: innodb_doublewrite=ON"
	if got := fault.HintOf(err); got != want {
		t.Errorf("hint\n%s\nwant\n%s", got, want)
	}
}

func TestSettingsOfAPrivateServerAreGood(t *testing.T) {
	_, w, _ := setup(t, 0)
	must(t, w.CheckCapture(t.Context()))
	must(t, w.CheckDurable(t.Context()))
}

// A binlog or a replication that leaves databases out loses changes without a trace.
func TestFiltersAreRefusedWithTheirFix(t *testing.T) {
	t.Run("in the binlog", func(t *testing.T) {
		m := localtest.Maria(t, "--binlog-do-db=elsewhere")
		err := open(t, localtest.Schema(t, m), db.Reader).CheckCapture(t.Context())
		wantKind(t, err, fault.Unsafe)
		if got := fault.HintOf(err); got != "in my.cnf, [mysqld], then restart: remove binlog_do_db" {
			t.Errorf("hint %q", got)
		}
	})
	t.Run("in the replication", func(t *testing.T) {
		home := localtest.Home(t)
		primary := localtest.Start(t, home, local.MariaConfig{Name: "live", ServerID: 1, Domain: 1, Schemas: []string{"strata"}})
		replica := localtest.Start(t, home, local.MariaConfig{Name: "offline", ServerID: 2, Domain: 1, ReplicaOf: primary,
			Schemas: []string{"strata"}, Options: []string{"--replicate-ignore-table=strata.strata_part"}})
		err := open(t, replica.DSN("strata"), db.Reader).CheckCapture(t.Context())
		wantKind(t, err, fault.Unsafe)
		want := "STOP SLAVE; SET GLOBAL replicate_ignore_table = ''; START SLAVE;\nin my.cnf, [mysqld]: remove replicate_ignore_table"
		if got := fault.HintOf(err); got != want {
			t.Errorf("hint\n%s\nwant\n%s", got, want)
		}
	})
}
