package soak

import (
	"errors"
	"strings"
	"testing"

	"strata/local"
	"strata/local/localtest"
	"strata/local/soaktest"
)

// rowsSent is how many records of rows are in both topics.
func (r *rig) rowsSent() (n int) {
	r.T.Helper()
	client := r.Client()
	orders, items := r.readers()
	for _, c := range []*checker{orders, items} {
		r.Fatal(c.read(client))
		n += c.counts["c"] + c.counts["b"]
	}
	return n
}

// refused waits until every process has ended by itself, and checks what `canal status` says then.
func (r *rig) refused(words ...string) {
	r.T.Helper()
	for _, p := range r.Procs {
		if code := r.Quit(p); code == 0 {
			r.T.Errorf("exit code 0:\n%s", p.Tail())
		}
	}
	out, code := r.Try("canal", "status")
	for _, w := range words {
		if !strings.Contains(out, w) {
			r.T.Errorf("canal status doesn't say %q: exit %d, %s", w, code, out)
		}
	}
	if code != 1 {
		r.T.Errorf("canal status: exit %d: %s", code, out)
	}
}

// lost is a round in which binlog beyond the checkpoint goes while capture is down.
func lost(t *testing.T, m soaktest.Server, dsn string, seed uint64, statements ...string) (r *rig, sent int) {
	r = newRig(t, seed, m, dsn, nil, "canal")
	r.Load.XA = false // a new leader reads nothing for a minute after an XA COMMIT whose keys it can't know
	r.Write(func() { r.Commits(between) })
	r.proof()
	r.Write(func() {
		r.Off(func() {
			sent = r.rowsSent()
			r.Committed(between)
			for _, q := range statements {
				localtest.Exec(t, r.DB, q)
				if strings.HasPrefix(q, "PURGE") {
					r.purged(q)
				}
			}
		})
	})
	return r, sent
}

// purged repeats a purge until one file is left: the server keeps those that it still sends to somebody who is gone.
func (r *rig) purged(q string) {
	localtest.Eventually(r.T, limit, "the purge", func() (bool, error) {
		if _, err := r.DB.ExecContext(r.T.Context(), q); err != nil {
			return false, err
		}
		rows, err := r.DB.QueryContext(r.T.Context(), "SHOW BINARY LOGS")
		if err != nil {
			return false, err
		}
		n := 0
		for rows.Next() {
			n++
		}
		return n == 1, errors.Join(rows.Err(), rows.Close())
	})
}

// regained follows what `canal status` says to do about binlog that is gone.
func (r *rig) regained(sent int, why string) {
	r.T.Helper()
	r.CanalStatus(1, "STOPPED   orders", "STOPPED   items", why, "strata canal backfill")
	if n := r.rowsSent(); n != sent {
		r.T.Errorf("%d rows were sent", n-sent)
	}
	r.Write(func() {
		for _, dataset := range []string{"orders", "items"} {
			r.Strata("canal", "backfill", dataset, "--why", "the binlog was purged", "--wait")
		}
	})
	r.whole()
}

// TestSoak_stops_where_the_binlog_was_purged: nothing is sent until somebody says so. Then topics equal tables, rows that
// are gone from these included.
func TestSoak_stops_where_the_binlog_was_purged(t *testing.T) {
	soaktest.SoakOnly(t)
	m := localtest.Maria(t)
	r, sent := lost(t, m, localtest.Schema(t, m), 21, "FLUSH BINARY LOGS", "FLUSH BINARY LOGS", "PURGE BINARY LOGS BEFORE NOW() + INTERVAL 1 HOUR")
	r.regained(sent, "its binlog was purged")
}

// TestSoak_purged_binlog: MySQL's, and all of MariaDB's by RESET MASTER, which has no place in common with what was read.
func TestSoak_purged_binlog(t *testing.T) {
	soaktest.SomeRounds(t, func(t *testing.T, seed uint64) {
		t.Run("MySQL", func(t *testing.T) {
			m := localtest.StartMySQL(t, localtest.Home(t), local.MySQLConfig{Name: "live"})
			r, sent := lost(t, m, localtest.Schema(t, m), seed, "FLUSH BINARY LOGS", "FLUSH BINARY LOGS", "PURGE BINARY LOGS BEFORE NOW() + INTERVAL 1 HOUR")
			r.regained(sent, "its binlog was purged")
		})
		t.Run("RESET MASTER", func(t *testing.T) {
			m := localtest.Maria(t)
			reset(t, m, localtest.Schema(t, m), seed, "RESET MASTER")
		})
		t.Run("RESET BINARY LOGS AND GTIDS", func(t *testing.T) {
			m := localtest.StartMySQL(t, localtest.Home(t), local.MySQLConfig{Name: "live"})
			reset(t, m, localtest.Schema(t, m), seed, "RESET BINARY LOGS AND GTIDS")
		})
	})
}

// reset is a round in which the history of the server begins anew; nothing is sent before somebody says that this is right.
func reset(t *testing.T, m soaktest.Server, dsn string, seed uint64, statement string) {
	r, sent := lost(t, m, dsn, seed, statement)
	r.refused("HALTED", "hint: ", "strata canal adopt")
	r.Strata("canal", "adopt", "--why", "the binlog was reset")
	r.regained(sent, "lacks this place")
}

// TestSoak_sends_nothing_of_another_server: one with other rows answers at the address, with a binlog that is as long.
func TestSoak_sends_nothing_of_another_server(t *testing.T) {
	soaktest.SoakOnly(t)
	home := localtest.Home(t)
	m := localtest.Start(t, home, local.MariaConfig{Name: "live"})
	other := localtest.Start(t, home, local.MariaConfig{Name: "other"})
	dsn := localtest.Schema(t, m)
	r := newRig(t, 22, m, dsn, nil, "canal")
	r.Write(func() { r.Commits(between) })
	r.proof()
	schema := dsn[strings.LastIndex(dsn, "/")+1:]
	localtest.Exec(t, localtest.DB(t, other.DSN("")), "CREATE DATABASE "+schema)
	there := localtest.DB(t, other.DSN(schema))
	names := r.Table("SHOW FULL TABLES WHERE Table_type='BASE TABLE'")
	for name := range names {
		var text string
		r.Fatal(r.DB.QueryRow("SHOW CREATE TABLE "+name).Scan(&name, &text))
		localtest.Exec(t, there, text)
	}
	var last uint64
	r.Fatal(r.DB.QueryRow("SELECT SUBSTRING_INDEX(@@GLOBAL.gtid_binlog_pos, '-', -1)").Scan(&last))
	for id, at := 1, uint64(0); at < last+100; id++ {
		localtest.Exec(t, there, "INSERT INTO orders VALUES (?, 1, 'of another', 1, '2026-11-01')", id)
		r.Fatal(there.QueryRow("SELECT SUBSTRING_INDEX(@@GLOBAL.gtid_binlog_pos, '-', -1)").Scan(&at))
	}
	sent := r.rowsSent()
	r.Wire.Retarget(other.Addr())
	r.Wire.Cut()
	r.refused("HALTED", "another history", "hint: ")
	if n := r.rowsSent(); n != sent {
		t.Errorf("%d rows were sent", n-sent)
	}
	r.Wire.Retarget(m.Addr())
	r.Wire.Cut()
	r.Write(func() { r.Commits(between) })
	r.whole()
}
