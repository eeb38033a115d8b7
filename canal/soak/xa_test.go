package soak

import (
	"context"
	"database/sql/driver"
	"encoding/json"
	"strings"
	"testing"

	"strata/local"
	"strata/local/localtest"
	"strata/local/soaktest"
)

// prepare leaves an XA transaction prepared, its connection gone.
func (r *rig) prepare(id string, statements ...string) {
	r.T.Helper()
	conn, err := r.DB.Conn(r.T.Context())
	r.Fatal(err)
	for _, q := range append(append([]string{"XA START '" + id + "'"}, statements...), "XA END '"+id+"'", "XA PREPARE '"+id+"'") {
		if _, err := conn.ExecContext(r.T.Context(), q); err != nil {
			r.T.Fatalf("%s: %v", q, err)
		}
	}
	_ = conn.Raw(func(any) error { return driver.ErrBadConn }) // ends it
	_ = conn.Close()                                           // it is ended
}

// outcome ends a prepared transaction, from a connection of its own.
func (r *rig) outcome(verb, id string) {
	r.T.Helper()
	localtest.Eventually(r.T, limit, verb+" "+id, func() (bool, error) {
		_, err := r.DB.ExecContext(r.T.Context(), verb+" '"+id+"'")
		if err != nil && strings.Contains(err.Error(), "XAER_NOTA") {
			return false, nil // its connection has not ended yet
		}
		return err == nil, err
	})
}

// place is the position of the last checkpoint, and how many XA transactions are open there.
func (r *rig) place() (gtid string, open int) {
	r.T.Helper()
	cmd, _ := r.Try("canal", "status", "--json")
	var s struct {
		GTID   string `json:"gtid"`
		Report struct {
			OpenXA []json.RawMessage `json:"open_xa"`
		} `json:"report"`
	}
	text, _, _ := strings.Cut(cmd, "\nstrata: ")
	if err := json.Unmarshal([]byte(text), &s); err != nil {
		r.T.Fatalf("%v: %s", err, cmd)
	}
	return s.GTID, len(s.Report.OpenXA)
}

// prepared is a round with transactions that stay prepared over restarts of both sides. The position goes on meanwhile.
func (r *rig) prepared() {
	t := r.T
	r.Load.XA = false
	r.proof()
	for i, id := range []string{"c1", "r1", "c2", "r2"} {
		key := string(rune('1' + i))
		r.prepare(id, "INSERT INTO orders VALUES (88000"+key+", 1, '"+id+"', 1, '2026-11-22')", "REPLACE INTO item_202610 VALUES (88000"+key+", '2026-10-02', 1, NULL)")
	}
	r.others()
	before, open := r.place()
	if open != 4 {
		t.Errorf("%d XA transactions are open at %s", open, before)
	}
	r.Down(func() {})
	r.Led()
	r.others()
	r.outcome("XA COMMIT", "c1")
	r.outcome("XA ROLLBACK", "r1")
	r.others()
	r.Fatal(r.Live.Kill())
	r.Fatal(r.Live.Restart(context.WithoutCancel(t.Context())))
	r.others()
	now, open := r.place()
	if open != 2 || now == before {
		t.Errorf("%d XA transactions are open at %s, which was %s", open, now, before)
	}
	r.Down(func() {
		r.outcome("XA COMMIT", "c2")
		r.outcome("XA ROLLBACK", "r2")
	})
	r.proof()
	if _, open := r.place(); open != 0 {
		t.Errorf("%d XA transactions are open", open)
	}
}

// others waits until changes of now are in the topics, beside whatever is prepared.
func (r *rig) others() {
	r.T.Helper()
	r.caughtUp(r.readers())
}

// TestSoak_holds_prepared_transactions: each to its outcome, over restarts of the server and of the process.
func TestSoak_holds_prepared_transactions(t *testing.T) {
	soaktest.SoakOnly(t)
	m := localtest.Maria(t)
	newRig(t, 61, m, localtest.Schema(t, m), nil, "canal").prepared()
}

// TestSoak_prepared does so on MySQL.
func TestSoak_prepared(t *testing.T) {
	soaktest.SomeRounds(t, func(t *testing.T, seed uint64) {
		m := localtest.StartMySQL(t, localtest.Home(t), local.MySQLConfig{Name: "live"})
		newRig(t, seed, m, localtest.Schema(t, m), nil, "canal").prepared()
	})
}
