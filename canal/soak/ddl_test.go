package soak

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/IBM/sarama"

	"strata/local"
	"strata/local/localtest"
	"strata/local/soaktest"
)

// alterations of table wide, each after a stretch of inserts. Statements of one are run one after the other.
var alterations = [][]string{
	{"ALTER TABLE wide ADD COLUMN d VARCHAR(60) NULL AFTER id"},
	{"ALTER TABLE wide ADD COLUMN e VARCHAR(60) NULL FIRST"},
	{"ALTER TABLE wide MODIFY COLUMN c VARCHAR(60) NULL AFTER e"},
	{"ALTER TABLE wide DROP COLUMN b"},
	{"ALTER TABLE wide RENAME COLUMN a TO f"},
	{"ALTER TABLE wide RENAME COLUMN c TO d, RENAME COLUMN d TO c"},
	{"ALTER TABLE wide MODIFY COLUMN f VARCHAR(200) CHARACTER SET latin1"},
	{"ALTER TABLE wide CONVERT TO CHARACTER SET utf8mb4"},
	{"ALTER TABLE wide ADD INDEX (f), ENGINE=InnoDB"},
	{"CREATE TABLE wide_new LIKE wide", "ALTER TABLE wide_new ADD COLUMN g VARCHAR(60) NULL AFTER e, MODIFY COLUMN f VARCHAR(60) NULL FIRST", "INSERT INTO wide_new SELECT f, e, NULL, c, id, d, v FROM wide",
		"RENAME TABLE wide TO wide_old, wide_new TO wide", "DROP TABLE wide_old"},
	{"ALTER TABLE wide DROP COLUMN c, ADD COLUMN c VARCHAR(60) NULL FIRST"},
	{"ALTER TABLE wide PARTITION BY RANGE (id) (PARTITION p0 VALUES LESS THAN (60), PARTITION p1 VALUES LESS THAN MAXVALUE)", "CREATE TABLE wide_part LIKE wide",
		"ALTER TABLE wide_part REMOVE PARTITIONING", "ALTER TABLE wide EXCHANGE PARTITION p0 WITH TABLE wide_part"},
}

var mariaAlterations = [][]string{
	{"ALTER ONLINE TABLE wide WAIT 5 ADD COLUMN IF NOT EXISTS h VARCHAR(60) NULL AFTER id"},
	{"SET STATEMENT max_statement_time=60 FOR ALTER TABLE IF EXISTS wide RENAME COLUMN IF EXISTS h TO i"},
}

// names are the columns of table wide that have a text, in their order.
func (r *rig) names() (names []string) {
	r.T.Helper()
	rows, err := r.DB.QueryContext(r.T.Context(), "SELECT column_name FROM information_schema.columns WHERE table_schema=DATABASE() AND table_name='wide' AND column_name NOT IN ('id', 'v') ORDER BY ordinal_position")
	r.Fatal(err)
	defer rows.Close()
	for rows.Next() {
		var n string
		r.Fatal(rows.Scan(&n))
		names = append(names, n)
	}
	r.Fatal(rows.Err())
	return names
}

// fill writes rows one by one, each cell with its column's name, and changes some of those before.
func (r *rig) fill(conn *sql.Conn, from, to int) {
	r.T.Helper()
	exec := func(q string) {
		if _, err := conn.ExecContext(r.T.Context(), q); err != nil {
			r.T.Fatalf("%s: %v", q, err)
		}
	}
	names := r.names()
	exec("START TRANSACTION")
	for id := from; id < to; id++ {
		var cells, sets []string
		for _, n := range names {
			cells = append(cells, fmt.Sprintf("'%s:%d'", n, id))
			sets = append(sets, fmt.Sprintf("%s='%s:%d'", n, n, id))
		}
		exec(fmt.Sprintf("INSERT INTO wide (id, v, %s) VALUES (%d, 1, %s)", strings.Join(names, ", "), id, strings.Join(cells, ", ")))
		if id%5 == 0 {
			exec(fmt.Sprintf("UPDATE wide SET v=v+1, %s WHERE id=%d", strings.Join(sets, ", "), id/2))
		}
		if id%200 == 0 {
			exec("COMMIT")
			exec("START TRANSACTION")
		}
	}
	exec("COMMIT")
}

// altered is a round: inserts and DDL while nothing captures, and then the proof.
func (r *rig) altered(each int, list [][]string) {
	t := r.T
	conn, err := r.DB.Conn(context.WithoutCancel(t.Context()))
	r.Fatal(err)
	defer conn.Close()
	r.fill(conn, 1, each)
	r.Begin("canal")
	client := r.Client()
	c := newChecker("strata.wide", partitions)
	r.until(c, client)
	r.Off(func() {
		for i, ddl := range list {
			for _, q := range ddl {
				if _, err := conn.ExecContext(t.Context(), q); err != nil {
					t.Fatalf("%s: %v", q, err)
				}
			}
			r.fill(conn, (i+1)*each, (i+2)*each)
		}
	})
	c.after = func(row map[string]any, value []byte) {
		for name, cell := range row {
			if text, ok := cell.(string); ok && !strings.HasPrefix(text, name+":") {
				c.fault("column %s has %q: %s", name, text, value)
			}
		}
	}
	r.until(c, client)
	r.CanalStatus(0, "repairs   0 keys")
	r.until(c, client)
	r.sameAsWide(c)
}

// sameAsWide compares the topic with the table, in all columns that this has now.
func (r *rig) sameAsWide(c *checker) {
	t := r.T
	t.Helper()
	names := r.names()
	want := r.Table("SELECT CONCAT('{\"id\":', id, '}'), v, " + strings.Join(names, ", ") + " FROM wide")
	compare(t, "wide", want, c, names...)
	t.Logf("%d rows, records %v, columns %v", len(c.rows), c.counts, names)
}

// until waits for a row that is written now, and what was before it.
func (r *rig) until(c *checker, client sarama.Client) {
	r.T.Helper()
	r.ends++
	localtest.Exec(r.T, r.DB, "REPLACE INTO wide (id, v) VALUES (0, ?)", r.ends)
	goal := uint64(0)
	localtest.Eventually(r.T, 3*limit, "the last row", func() (bool, error) {
		if err := c.read(client); err != nil || c.rows[`{"id":0}`]["v"] != r.ends {
			return false, err
		}
		if goal == 0 {
			goal = 1 + c.last()
		}
		return c.reached(goal), nil
	})
}

const wide = "CREATE TABLE wide (id BIGINT PRIMARY KEY, v BIGINT NOT NULL, a VARCHAR(60) NULL, b VARCHAR(60) NULL, c VARCHAR(60) NULL) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4"

func ddlRig(t *testing.T, live soaktest.Server, dsn string) *rig {
	return made(t, soaktest.Setup{Live: live, DSN: dsn, Tables: []string{wide}, Datasets: fmt.Sprintf("  - {name: wide, partitions: %d}\n", partitions)})
}

func ddlMaria(t *testing.T, each int) {
	m := localtest.Maria(t)
	ddlRig(t, m, localtest.Schema(t, m)).altered(each, slices.Concat(alterations, mariaAlterations))
}

func ddlMySQL(t *testing.T, each int) {
	m := localtest.StartMySQL(t, localtest.Home(t), local.MySQLConfig{Name: "live"})
	ddlRig(t, m, localtest.Schema(t, m)).altered(each, alterations)
}

// TestCapture_follows_DDL_that_is_behind_it: every value stands under the name that its column had.
func TestCapture_follows_DDL_that_is_behind_it(t *testing.T) { ddlMaria(t, 100) }

// wideRig has table wide with some rows, which were captured.
func wideRig(t *testing.T) (*rig, *sql.Conn, sarama.Client, *checker) {
	t.Helper()
	m := localtest.Shared(t)
	r := ddlRig(t, m, localtest.Schema(t, m))
	conn, err := r.DB.Conn(context.WithoutCancel(t.Context()))
	r.Fatal(err)
	t.Cleanup(func() { _ = conn.Close() })
	r.fill(conn, 1, 50)
	r.Begin("canal")
	client := r.Client()
	c := newChecker("strata.wide", partitions)
	r.until(c, client)
	return r, conn, client, c
}

// TestCapture_backfills_columns_that_were_added_meanwhile: a row that is sent again has what its record before it had.
func TestCapture_backfills_columns_that_were_added_meanwhile(t *testing.T) {
	r, conn, client, c := wideRig(t)
	for i, q := range []string{"ALTER TABLE wide ADD COLUMN late VARCHAR(60) NULL AFTER id", "ALTER TABLE wide DROP COLUMN b", "ALTER TABLE wide RENAME COLUMN a TO z"} {
		localtest.Exec(t, r.DB, q)
		r.fill(conn, 50+50*i, 100+50*i)
		r.Strata("canal", "backfill", "wide", "--why", q, "--wait")
		r.Strata("canal", "repair", "wide", "wide", "60", "--why", q)
		r.CanalStatus(0, "repairs   0 keys")
		r.until(c, client)
		r.sameAsWide(c)
	}
	if c.counts["b"] < 200 {
		t.Errorf("%v", c.counts)
	}
}

// TestCapture_stops_at_a_column_that_had_another_kind: what was written under it is not guessed at, and a backfill mends it.
func TestCapture_stops_at_a_column_that_had_another_kind(t *testing.T) {
	r, _, client, c := wideRig(t)
	r.Off(func() {
		for _, q := range []string{"ALTER TABLE wide ADD COLUMN k INT NULL", "UPDATE wide SET k=id*7 WHERE id>10", "ALTER TABLE wide MODIFY COLUMN k VARCHAR(60) NULL",
			"UPDATE wide SET k=CONCAT('k:', id) WHERE id>5", "DELETE FROM wide WHERE id=7"} {
			localtest.Exec(t, r.DB, q)
		}
	})
	r.CanalStatus(1, "STOPPED   wide", "column k has type 3", "strata canal backfill wide")
	r.Strata("canal", "backfill", "wide", "--why", "a column had another kind", "--wait")
	r.CanalStatus(0, "repairs   0 keys")
	r.until(c, client)
	r.sameAsWide(c)
}

// TestSoak_DDL: with 100,000 events of lag, on MySQL too.
func TestSoak_DDL(t *testing.T) {
	soaktest.SomeRounds(t, func(t *testing.T, _ uint64) {
		t.Run("MariaDB", func(t *testing.T) { ddlMaria(t, 8000) })
		t.Run("MySQL", func(t *testing.T) { ddlMySQL(t, 8000) })
	})
}
