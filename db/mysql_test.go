package db_test

import (
	"context"
	"database/sql"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"

	"strata/catalog"
	"strata/db"
	"strata/fault"
	"strata/local/localtest"
)

// mysqlSchema makes a schema on the MySQL that STRATA_TEST_MYSQL_DSN names; without one the test is left out, since
// there is no private MySQL to start.
func mysqlSchema(t *testing.T) string {
	t.Helper()
	cfg, err := mysql.ParseDSN(os.Getenv("STRATA_TEST_MYSQL_DSN"))
	if err != nil || cfg.Addr == "" || cfg.User == "" {
		t.Skip("STRATA_TEST_MYSQL_DSN names no MySQL")
	}
	name := "t" + strconv.Itoa(os.Getpid()) + strings.ToLower(t.Name())
	cfg.DBName = ""
	pool, err := sql.Open("mysql", cfg.FormatDSN())
	must(t, err)
	_, err = pool.Exec("CREATE DATABASE " + name)
	must(t, err)
	t.Cleanup(func() {
		_, _ = pool.Exec("DROP DATABASE " + name)
		_ = pool.Close()
	})
	cfg.DBName = name
	return cfg.FormatDSN()
}

func TestMySQL(t *testing.T) {
	dsn := mysqlSchema(t)
	w, r, a := open(t, dsn, db.Writer), open(t, dsn, db.Reader, func(c *db.Config) { c.StatementLimit = 20 * time.Second }), open(t, dsn, db.Admin)
	if r.Flavor() != db.MySQL || a.Flavor() != db.MySQL {
		t.Fatalf("%s is %s", r.Version(), r.Flavor())
	}
	must(t, db.EnsureTables(t.Context(), w))
	t.Run("types", func(t *testing.T) {
		for _, c := range typeCases() {
			if k := c.typ.Kind; k == catalog.UUID || k == catalog.INET {
				continue
			}
			if c.def == "JSON" {
				c.typ.Kind = catalog.JSON
				c.cells = [][2]string{{`'{"b": 1.50, "a": "é"}'`, `{"a": "é", "b": 1.5}`}, {"NULL", null}}
			}
			t.Run(strings.ReplaceAll(c.def, "/", "_"), func(t *testing.T) { typeIsCanonical(t, w, r, c) })
		}
	})
	exec(t, w, "CREATE TABLE t (id BIGINT PRIMARY KEY, who VARCHAR(40), amount BIGINT)", "INSERT INTO t VALUES (1,'a',100),(2,'b',200)")
	ds := ledger()
	t.Run("reads", func(t *testing.T) {
		h, err := db.Beat(t.Context(), w, 7)
		must(t, err)
		s, err := r.Snapshot(t.Context(), ds, hold(ds, 0))
		must(t, err)
		if s.Heartbeat() != h {
			t.Errorf("%+v, want %+v", s.Heartbeat(), h)
		}
		rows, err := s.Rows(t.Context(), ds, nil, "SELECT "+db.SelectList(ds, nil, "t")+" FROM t WHERE id>?", 0)
		must(t, err)
		if n := count(t, rows); n != 2 {
			t.Errorf("%d rows", n)
		}
		must(t, s.Alive(t.Context()))
		must(t, s.Close())
		_, found, err := r.Lookup(t.Context(), ds, hold(ds, 0)[0], "2", nil)
		must(t, err)
		if !found {
			t.Error("row 2 not found")
		}
		_, err = r.Snapshot(t.Context(), ds, hold(ds, 1))
		wantKind(t, err, fault.Stale)
		says, err := db.Says(t.Context(), r, ds)
		must(t, err)
		if len(says.Tables) != 1 {
			t.Errorf("%+v", says)
		}
	})
	t.Run("settings and positions", func(t *testing.T) { mysqlSettings(t, w, r) })
	t.Run("cancel", func(t *testing.T) { mysqlCancel(t, w, r) })
}

func mysqlSettings(t *testing.T, w, r *db.DB) {
	must(t, r.CheckCapture(t.Context()))
	must(t, r.CheckDurable(t.Context()))
	id, err := r.Identity(t.Context())
	must(t, err)
	if id.UID == "" {
		t.Errorf("%+v", id)
	}
	pos, err := db.GTIDPos(t.Context(), w)
	must(t, err)
	for _, wait := range []time.Duration{0, time.Second} {
		ok, err := db.HasGTID(t.Context(), r, pos, wait)
		must(t, err)
		if !ok {
			t.Errorf("lacks its own position %q", pos)
		}
	}
}

func mysqlCancel(t *testing.T, w, r *db.DB) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done, kills := make(chan error, 1), killed(t, w)
	go func() {
		_, err := r.Query(ctx, ledger(), []string{"id"}, "SELECT SLEEP(60) /* cancel_mysql */")
		done <- err
	}()
	localtest.Eventually(t, 30*time.Second, "statement runs", func() (bool, error) {
		n, err := statements(t.Context(), w, "cancel_mysql")
		return n == 1, err
	})
	cancel()
	wantKind(t, <-done, fault.Interrupted)
	gone(t, w, "cancel_mysql", kills)
}
