package db_test

import (
	"context"
	"strconv"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"

	"strata/catalog"
	"strata/db"
	"strata/fault"
	"strata/local"
	"strata/local/localtest"
)

// open opens a pool on dsn that is closed with the test.
func open(t testing.TB, dsn string, purpose db.Purpose, change ...func(*db.Config)) *db.DB {
	t.Helper()
	cfg := db.Config{DSN: dsn, Name: "live", Store: catalog.Live, Purpose: purpose}
	for _, c := range change {
		c(&cfg)
	}
	d, err := db.Open(t.Context(), cfg)
	must(t, err)
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	return d
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("%v\n%s", err, fault.HintOf(err))
	}
}

func exec(t testing.TB, d *db.DB, statements ...string) {
	t.Helper()
	for _, q := range statements {
		if _, err := d.SQL().ExecContext(t.Context(), q); err != nil {
			t.Fatalf("%s: %v", q, err)
		}
	}
}

// wantKind fails unless err has kind k.
func wantKind(t testing.TB, err error, k fault.Kind) {
	t.Helper()
	if !fault.Is(err, k) {
		t.Fatalf("got %v (%s), want kind %s", err, fault.KindOf(err), k)
	}
}

// ledger is an unsharded dataset of table t with id, who and amount.
func ledger() *catalog.Dataset {
	return &catalog.Dataset{Name: "t", Table: "t", Key: []string{"id"}, Columns: []catalog.Column{
		{Name: "id", Type: catalog.Type{Kind: catalog.Int, Size: 8}},
		{Name: "who", Type: catalog.Type{Kind: catalog.Text}},
		{Name: "amount", Type: catalog.Type{Kind: catalog.Int, Size: 8}},
	}}
}

// setup makes a schema with strata's tables and table t of n rows, and returns a writer and a reader.
func setup(t testing.TB, n int) (dsn string, w, r *db.DB) {
	t.Helper()
	dsn = localtest.Schema(t, localtest.Shared(t))
	w, r = open(t, dsn, db.Writer), open(t, dsn, db.Reader)
	must(t, db.EnsureTables(t.Context(), w))
	exec(t, w, "CREATE TABLE t (id BIGINT PRIMARY KEY, who VARCHAR(40) COLLATE utf8mb4_general_ci, amount BIGINT)")
	if n > 0 {
		exec(t, w, "INSERT INTO t SELECT seq, CONCAT('who ', seq), seq*100 FROM seq_1_to_"+strconv.Itoa(n))
	}
	return dsn, w, r
}

// count reads all rows and returns how many there were.
func count(t testing.TB, rows *db.Rows) int {
	t.Helper()
	var row catalog.Row
	n := 0
	for {
		ok, err := rows.Next(&row)
		must(t, err)
		if !ok {
			return n
		}
		n++
	}
}

func TestOpen(t *testing.T) {
	m := localtest.Shared(t)
	ctx := t.Context()
	t.Run("bad DSN is invalid", func(t *testing.T) {
		_, err := db.Open(ctx, db.Config{DSN: "nonsense", Name: "live"})
		wantKind(t, err, fault.Invalid)
	})
	t.Run("no schema is invalid", func(t *testing.T) {
		_, err := db.Open(ctx, db.Config{DSN: m.DSN(""), Name: "live"})
		wantKind(t, err, fault.Invalid)
	})
	t.Run("unknown schema is invalid", func(t *testing.T) {
		_, err := db.Open(ctx, db.Config{DSN: m.DSN("no_such_schema"), Name: "live"})
		wantKind(t, err, fault.Invalid)
		if fault.HintOf(err) == "" {
			t.Error("no hint")
		}
	})
	t.Run("wrong password is denied", func(t *testing.T) {
		_, err := db.Open(ctx, db.Config{DSN: "nobody:x@tcp(" + hostPort(m.DSN("x")) + ")/mysql", Name: "live"})
		wantKind(t, err, fault.Denied)
	})
	t.Run("a closed port is unavailable and named", func(t *testing.T) {
		_, err := db.Open(ctx, db.Config{DSN: "u:p@tcp(127.0.0.1:1)/x", Name: "live"})
		wantKind(t, err, fault.Unavailable)
		if want := "is a server listening on 127.0.0.1:1?"; fault.HintOf(err) != want {
			t.Errorf("hint %q, want %q", fault.HintOf(err), want)
		}
	})
	t.Run("sessions are set by purpose", func(t *testing.T) {
		dsn := localtest.Schema(t, m) + "?parseTime=true&multiStatements=true&time_zone=%27%2B08%3A00%27"
		for purpose, want := range map[db.Purpose]string{db.Reader: "REPEATABLE-READ ON 3", db.Writer: "READ-COMMITTED OFF 5", db.Admin: "READ-COMMITTED OFF 1"} {
			d := open(t, dsn, purpose)
			var got, zone string
			must(t, d.SQL().QueryRowContext(ctx, "SELECT CONCAT_WS(' ', @@tx_isolation, @@tx_read_only, @@lock_wait_timeout), @@time_zone").Scan(&got, &zone))
			if got != want || zone != "+00:00" {
				t.Errorf("%s: %s %s, want %s", purpose, got, zone, want)
			}
		}
	})
}

// hostPort cuts the address out of a DSN.
func hostPort(dsn string) string {
	from := 0
	for i, c := range dsn {
		switch c {
		case '(':
			from = i + 1
		case ')':
			return dsn[from:i]
		}
	}
	return dsn
}

func TestIdentity(t *testing.T) {
	_, w, r := setup(t, 0)
	a, err := w.Identity(t.Context())
	must(t, err)
	b, err := r.Identity(t.Context())
	must(t, err)
	if a != b || a.ServerID == 0 || a.Port == 0 {
		t.Errorf("%+v and %+v", a, b)
	}
}

func TestStatementLimitIsTimeout(t *testing.T) {
	dsn, _, _ := setup(t, 0)
	d := open(t, dsn, db.Reader, func(c *db.Config) { c.StatementLimit = 50 * time.Millisecond })
	ds := &catalog.Dataset{Name: "x", Columns: []catalog.Column{{Name: "n", Type: catalog.Type{Kind: catalog.Int}}}}
	rows, err := d.Query(t.Context(), ds, nil, "SELECT COUNT(*) FROM seq_1_to_100000000 a, seq_1_to_1000 b")
	if err == nil {
		var row catalog.Row
		_, err = rows.Next(&row)
	}
	wantKind(t, err, fault.Timeout)
}

func TestHeartbeatRisesByOne(t *testing.T) {
	_, w, r := setup(t, 0)
	snap, err := r.Snapshot(t.Context(), ledger(), nil)
	must(t, err)
	if h := snap.Heartbeat(); h != (db.Heartbeat{}) {
		t.Errorf("before any beat: %+v", h)
	}
	must(t, snap.Close())
	for i := range 3 {
		h, err := db.Beat(t.Context(), w, catalog.Instant(1000+i))
		must(t, err)
		if want := (db.Heartbeat{Seq: uint64(i + 1), At: catalog.Instant(1000 + i)}); h != want {
			t.Errorf("%+v, want %+v", h, want)
		}
		snap, err := r.Snapshot(t.Context(), ledger(), nil)
		must(t, err)
		if snap.Heartbeat() != h {
			t.Errorf("snapshot sees %+v, want %+v", snap.Heartbeat(), h)
		}
		must(t, snap.Close())
	}
}

// TestHeartbeat_over_a_connection_that_breaks: cut while its answer comes, so that nobody knows whether it was written.
func TestHeartbeat_over_a_connection_that_breaks(t *testing.T) {
	dsn, _, _ := setup(t, 0)
	cfg, err := mysql.ParseDSN(dsn)
	must(t, err)
	proxy, err := local.NewProxy(cfg.Addr)
	must(t, err)
	t.Cleanup(func() { _ = proxy.Close() })
	cfg.Addr = proxy.Addr()
	w := open(t, cfg.FormatDSN(), db.Writer)
	before, err := db.Beat(t.Context(), w, 1)
	must(t, err)
	for range 3 {
		proxy.CutAfter(3)
		h, err := db.Beat(t.Context(), w, 2)
		must(t, err)
		if h.Seq <= before.Seq || h.At != 2 {
			t.Errorf("%+v after %+v", h, before)
		}
		before = h
	}
}

func TestGTID(t *testing.T) {
	_, w, _ := setup(t, 1)
	pos, err := db.GTIDPos(t.Context(), w)
	must(t, err)
	if pos == "" {
		t.Fatal("no position")
	}
	ok, err := db.HasGTID(t.Context(), w, pos, 0)
	must(t, err)
	if !ok {
		t.Errorf("the server lacks its own position %s", pos)
	}
	ok, err = db.HasGTID(t.Context(), w, "0-1-999999999", 0)
	must(t, err)
	if ok {
		t.Error("the server has a position of the future")
	}
	_, err = db.HasGTID(t.Context(), w, "nonsense", time.Second)
	wantKind(t, err, fault.Invalid)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	_, err = db.HasGTID(ctx, w, "0-1-999999999", time.Minute)
	wantKind(t, err, fault.Timeout)
}
