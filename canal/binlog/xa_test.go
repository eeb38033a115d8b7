package binlog_test

import (
	"database/sql"
	"database/sql/driver"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"strata/canal"
	"strata/catalog"
	"strata/fault"
	"strata/local/localtest"
)

// session runs statements on one connection.
func (r *rig) session(qs ...string) {
	r.t.Helper()
	conn, err := r.sql.Conn(r.t.Context())
	if err != nil {
		r.t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	r.on(conn, qs...)
}

func (r *rig) on(conn *sql.Conn, qs ...string) {
	r.t.Helper()
	for _, q := range qs {
		if _, err := conn.ExecContext(r.t.Context(), q); err != nil {
			r.t.Fatal(q, err)
		}
	}
}

// prepare leaves a prepared XA transaction behind.
func (r *rig) prepare(id string, qs ...string) {
	r.t.Helper()
	conn, err := r.sql.Conn(r.t.Context())
	if err != nil {
		r.t.Fatal(err)
	}
	qs = append([]string{"XA START " + id}, qs...)
	r.on(conn, append(qs, "XA END "+id, "XA PREPARE "+id)...)
	// A session that is gone leaves it to the others; a server may only give it to them a moment later.
	_ = conn.Raw(func(any) error { return driver.ErrBadConn })
	_ = conn.Close()
	r.t.Cleanup(func() { _, _ = r.sql.Exec("XA ROLLBACK " + id) }) // where the test has failed
}

// decide commits or rolls back what a session that is gone has prepared.
func (r *rig) decide(q string) {
	r.t.Helper()
	localtest.Eventually(r.t, waitLimit, q, func() (bool, error) {
		_, err := r.sql.Exec(q)
		return err == nil, nil
	})
}

// over is a position after a restart: what was saved.
func over(t *testing.T, p canal.Position) canal.Position {
	t.Helper()
	text, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	var out canal.Position
	if err := json.Unmarshal(text, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

func TestL1_a_prepared_XA_transaction_is_held_over_restarts_until_its_outcome(t *testing.T) {
	onBoth(t, func(t *testing.T, server localtest.Database) {
		for name, maxTxn := range map[string]int64{"in memory": 0, "on disk": 1} {
			t.Run(name, func(t *testing.T) {
				r := rigOn(t, server, entry, "CREATE TABLE other (id INT PRIMARY KEY)")
				d := r.dataset(catalog.Spec{Name: "entry", Table: "entry"})
				src := r.source(r.dsn, maxTxn, d)
				id := fmt.Sprintf("'%s'", strings.ReplaceAll(name, " ", "")+r.from[:4])
				st := r.open(src, canal.Position{GTID: r.from})
				r.prepare(id+",'c'", "INSERT INTO entry VALUES (1,'kept'),(2,'too')", "UPDATE entry SET note='both' WHERE id=2")
				r.prepare(id+",'r'", "INSERT INTO entry VALUES (3,'rolled back')")
				r.prepare(id+",'o'", "INSERT INTO other VALUES (3)")
				xs := r.read(st)
				if got := all(xs); got != "" {
					t.Fatal("delivered before the outcome: ", got)
				}
				r.exec("INSERT INTO entry VALUES (9,'between')")
				xs = append(xs, r.read(st)...)
				if err := st.Close(); err != nil {
					t.Fatal(err)
				}
				for i := len(xs) - 1; i >= len(xs)-3; i-- { // restarts at several places, the last of them before all outcomes
					at := over(t, xs[i].Position)
					again := r.open(src, at)
					if got := all(r.read(again)); strings.Contains(got, "kept") || strings.Contains(got, "back") {
						t.Fatal("delivered by a restart: ", got)
					}
					if err := again.Close(); err != nil {
						t.Fatal(err)
					}
				}
				at := over(t, xs[len(xs)-1].Position)
				if len(at.XA) != 3 || at.XA[0].Before == "" || at.XA[0].GTID == "" {
					t.Fatalf("%+v", at.XA)
				}
				st = r.open(src, at)
				r.decide("XA ROLLBACK " + id + ",'r'")
				r.decide("XA COMMIT " + id + ",'c'")
				r.decide("XA COMMIT " + id + ",'o'")
				xs = r.read(st)
				if got := all(xs); got != "entry c#0 9 between; | entry c#0 1 kept; entry c#1 2 too; entry u#2 2 too 2 both; " {
					t.Fatal(got)
				}
				for _, x := range xs {
					if x.XACommit != strings.Contains(say(&x), "kept") {
						t.Fatalf("%s: XACommit %v", say(&x), x.XACommit)
					}
				}
				if end := xs[len(xs)-1].Position; len(end.XA) != 0 {
					t.Fatalf("%+v", end.XA)
				}
			})
		}
	})
}

func TestSource_an_XA_transaction_that_is_not_where_it_was_is_refused_by_its_id(t *testing.T) {
	m := localtest.Maria(t)
	r := rigOn(t, m, entry)
	src := r.source(r.dsn, 0, r.dataset(catalog.Spec{Name: "entry", Table: "entry"}))
	st := r.open(src, canal.Position{GTID: r.from})
	r.prepare("'p'", "INSERT INTO entry VALUES (1,'a')")
	r.exec("INSERT INTO entry VALUES (2,'b')")
	xs := r.read(st)
	at := xs[len(xs)-1].Position
	wrong := over(t, at)
	wrong.XA[0].GTID = wrong.Last.GTID
	wrong.Last = canal.Last{}
	if _, err := src.Open(t.Context(), wrong); !errors.Is(err, canal.ErrLost) || !strings.Contains(err.Error(), wrong.XA[0].ID) {
		t.Fatalf("another group in its place: %v", err)
	}
	r.exec("FLUSH BINARY LOGS")
	r.exec("INSERT INTO entry VALUES (3,'c')")
	xs = append(xs, r.read(st)...)
	at = xs[len(xs)-1].Position
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	r.purge()
	_, err := src.Open(t.Context(), at)
	if !fault.Is(err, fault.Unsafe) || errors.Is(err, canal.ErrLost) || !strings.Contains(err.Error(), at.XA[0].ID) || !strings.Contains(fault.HintOf(err), "rewind") {
		t.Fatalf("purged: %v, hint %q", err, fault.HintOf(err))
	}
}

// purge removes all binlog but the last file.
func (r *rig) purge() {
	r.t.Helper()
	localtest.Eventually(r.t, waitLimit, "the old binlog is gone", func() (bool, error) {
		if _, err := r.sql.Exec("PURGE BINARY LOGS BEFORE '2038-01-01'"); err != nil {
			return false, err
		}
		rows, err := r.sql.Query("SHOW BINARY LOGS")
		if err != nil {
			return false, err
		}
		defer func() { _ = rows.Close() }()
		n := 0
		for rows.Next() {
			n++
		}
		return n == 1, rows.Err()
	})
}
