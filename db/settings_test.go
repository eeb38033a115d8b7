package db_test

import (
	"errors"
	"testing"

	"strata/db"
	"strata/fault"
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
