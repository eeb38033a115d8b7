package binlog_test

import (
	"context"
	"database/sql"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"time"

	driver "github.com/go-sql-driver/mysql"

	"strata/canal"
	"strata/canal/binlog"
	"strata/canal/canaltest"
	"strata/catalog"
	"strata/db"
	"strata/fault"
	"strata/local"
	"strata/local/localtest"
)

// waitLimit bounds the waits for what no signal tells.
const waitLimit = 30 * time.Second

// rig is a schema of its own on the shared server, and a source over it.
type rig struct {
	t    *testing.T
	dsn  string
	sql  *sql.DB
	db   *db.DB
	from string
}

func newRig(t *testing.T, ddl ...string) *rig {
	t.Helper()
	return rigOn(t, localtest.Shared(t), ddl...)
}

// onBoth runs a test on MariaDB and, where it is there, on MySQL.
func onBoth(t *testing.T, f func(t *testing.T, server localtest.Database)) {
	t.Run("mariadb", func(t *testing.T) { f(t, localtest.Shared(t)) })
	t.Run("mysql", func(t *testing.T) { f(t, localtest.SharedMySQL(t)) })
}

// rigOn is a rig with a schema of its own on a server.
func rigOn(t *testing.T, server localtest.Database, ddl ...string) *rig {
	t.Helper()
	return rigAt(t, localtest.Schema(t, server), ddl...)
}

// rigAt is a rig in a schema.
func rigAt(t *testing.T, dsn string, ddl ...string) *rig {
	t.Helper()
	r := &rig{t: t, dsn: dsn}
	r.sql = localtest.DB(t, r.dsn)
	d, err := db.Open(t.Context(), db.Config{DSN: r.dsn, Name: "live", Store: catalog.Live, Purpose: db.Writer})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	r.db = d
	if err := db.EnsureTables(t.Context(), d); err != nil {
		t.Fatal(err)
	}
	for _, q := range ddl {
		r.exec(q)
	}
	r.from = r.pos()
	return r
}

func (r *rig) exec(q string, args ...any) {
	r.t.Helper()
	localtest.Exec(r.t, r.sql, q, args...)
}

// login is the parts of the rig's DSN.
func (r *rig) login() *driver.Config {
	r.t.Helper()
	cfg, err := driver.ParseDSN(r.dsn)
	if err != nil {
		r.t.Fatal(err)
	}
	return cfg
}

func (r *rig) pos() string {
	r.t.Helper()
	pos, err := db.GTIDPos(r.t.Context(), r.db)
	if err != nil {
		r.t.Fatal(err)
	}
	return pos
}

func (r *rig) dataset(spec catalog.Spec) *catalog.Dataset {
	r.t.Helper()
	d, err := db.Resolve(r.t.Context(), r.db, spec)
	if err != nil {
		r.t.Fatal(err)
	}
	return d
}

func (r *rig) source(dsn string, maxTxn int64, datasets ...*catalog.Dataset) *binlog.Source {
	r.t.Helper()
	return r.configured(binlog.Config{Endpoints: []binlog.Endpoint{r.endpoint("live", dsn)}, Datasets: datasets, MaxTxnBytes: maxTxn})
}

// endpoint is a server under ids that nobody else reads with.
func (r *rig) endpoint(name, dsn string) binlog.Endpoint {
	return binlog.Endpoint{Name: name, DSN: dsn, ServerID: 1000 + rand.Uint32N(1<<20)*binlog.Streams}
}

// configuredAs is a source that connects to nothing.
func (r *rig) configuredAs(flavor db.Flavor) *binlog.Source {
	r.t.Helper()
	s, err := binlog.New(binlog.Config{Endpoints: []binlog.Endpoint{r.endpoint("live", r.dsn)}, Flavor: flavor, Log: slog.New(slog.DiscardHandler),
		SpillDir: r.t.TempDir(), Datasets: []*catalog.Dataset{canaltest.Dataset("d", 1)}})
	if err != nil {
		r.t.Fatal(err)
	}
	return s
}

func (r *rig) configured(cfg binlog.Config) *binlog.Source {
	r.t.Helper()
	cfg.Flavor, cfg.Log = r.db.Flavor(), slog.New(slog.DiscardHandler)
	if cfg.SpillDir == "" {
		cfg.SpillDir = r.t.TempDir()
	}
	s, err := binlog.New(cfg)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() {
		if err := s.Close(); err != nil {
			r.t.Error(err)
		}
	})
	return s
}

func (r *rig) open(s *binlog.Source, at canal.Position) canal.Stream {
	r.t.Helper()
	st, err := s.Open(r.t.Context(), at)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() {
		if err := st.Close(); err != nil {
			r.t.Error(err)
		}
	})
	return st
}

// read returns all transactions up to the server's position now; their memory is their own.
func (r *rig) read(st canal.Stream) []canal.Txn {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), 20*time.Second)
	defer cancel()
	end := r.pos()
	var out []canal.Txn
	for {
		x, err := st.Next(ctx)
		if err != nil {
			r.t.Fatal(err)
		}
		y := *x
		y.Changes, y.Spill = nil, nil
		for range 1 + min(1, len(x.Changes)) { // twice gives the same
			y.Changes = nil
			if err := x.Each(func(c *canal.Change) error {
				k := *c
				k.Before, k.After = c.Before.Clone(), c.After.Clone()
				y.Changes = append(y.Changes, k)
				return nil
			}); err != nil {
				r.t.Fatal(err)
			}
		}
		out = append(out, y)
		if y.Position.GTID == end {
			return out
		}
	}
}

func say(x *canal.Txn) string {
	var b strings.Builder
	for i := range x.Changes {
		c := &x.Changes[i]
		fmt.Fprintf(&b, "%s %c#%d", c.Shard, c.Op, c.Ordinal)
		for _, r := range []*catalog.Row{&c.Before, &c.After} {
			cells := r.Len()
			if c.Form != nil && cells > 0 { // the table's columns; the dataset's are among them
				cells = len(c.Form.At)
			}
			for k := range cells {
				if c.Form != nil {
					if k = c.Form.At[k]; k < 0 {
						b.WriteString(" none")
						continue
					}
				}
				if r.Null(k) {
					b.WriteString(" NULL")
				} else {
					b.WriteString(" " + r.Text(k))
				}
			}
		}
		b.WriteString("; ")
	}
	return b.String()
}

func all(xs []canal.Txn) string {
	var out []string
	for i := range xs {
		if s := say(&xs[i]); s != "" {
			out = append(out, s)
		}
	}
	return strings.Join(out, "| ")
}

const entry = "CREATE TABLE entry (id INT PRIMARY KEY, note VARCHAR(20) CHARACTER SET utf8mb4)"

func TestSource_delivers_whole_transactions_with_ordinals_over_all_tables(t *testing.T) {
	r := newRig(t, entry, "CREATE TABLE other (id INT PRIMARY KEY, v INT)")
	src := r.source(r.dsn, 0, r.dataset(catalog.Spec{Name: "entry", Table: "entry"}))
	st := r.open(src, canal.Position{GTID: r.from})
	r.exec("INSERT INTO entry VALUES (1,'a'),(2,NULL)")
	tx, err := r.sql.Begin()
	if err != nil {
		t.Fatal(err)
	}
	for _, q := range []string{"INSERT INTO other VALUES (1,1),(2,2)", "UPDATE other SET v=9", "UPDATE entry SET note='ü中' WHERE id=1",
		"DELETE FROM entry WHERE id=2", "UPDATE entry SET id=7 WHERE id=1"} {
		if _, err := tx.Exec(q); err != nil {
			t.Fatal(err)
		}
	}
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
	got := all(r.read(st))
	want := "entry c#0 1 a; entry c#1 2 NULL; | entry u#6 1 a 1 ü中; entry d#8 2 NULL; entry u#9 1 ü中 7 ü中; "
	if got != want {
		t.Fatalf("got  %s\nwant %s", got, want)
	}
}

func TestL1_nothing_of_a_transaction_that_does_not_commit_is_delivered(t *testing.T) {
	r := newRig(t, entry, "CREATE TABLE my (id INT PRIMARY KEY) ENGINE=MyISAM")
	src := r.source(r.dsn, 0, r.dataset(catalog.Spec{Name: "entry", Table: "entry"}))
	st := r.open(src, canal.Position{GTID: r.from})
	conn, err := r.sql.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	run := func(qs ...string) {
		t.Helper()
		for _, q := range qs {
			if _, err := conn.ExecContext(t.Context(), q); err != nil {
				t.Fatal(q, err)
			}
		}
	}
	run("BEGIN", "INSERT INTO entry VALUES (1,'rolled back')", "ROLLBACK")
	run("BEGIN", "INSERT INTO entry VALUES (2,'kept')", "SAVEPOINT s", "INSERT INTO entry VALUES (3,'to savepoint')", "ROLLBACK TO s", "COMMIT")
	run("BEGIN", "INSERT INTO my VALUES (1)", "INSERT INTO entry VALUES (4,'with MyISAM')", "INSERT INTO my VALUES (2)", "ROLLBACK")
	run("XA START 'r'", "INSERT INTO entry VALUES (5,'xa back')", "XA END 'r'", "XA PREPARE 'r'", "XA ROLLBACK 'r'")
	if got := all(r.read(st)); got != "entry c#0 2 kept; " {
		t.Fatal(got)
	}
	run("XA START 'c','q',7", "INSERT INTO entry VALUES (6,'xa')", "XA END 'c','q',7", "XA PREPARE 'c','q',7")
	xs := r.read(st)
	if got := all(xs); got != "" || len(xs[len(xs)-1].Position.XA) != 1 {
		t.Fatalf("%s, open %d", got, len(xs[len(xs)-1].Position.XA))
	}
	run("XA COMMIT 'c','q',7")
	xs = r.read(st)
	if got := all(xs); got != "entry c#0 6 xa; " || len(xs[len(xs)-1].Position.XA) != 0 {
		t.Fatalf("%s, open %d", got, len(xs[len(xs)-1].Position.XA))
	}
	run("XA START 'o'", "INSERT INTO entry VALUES (8,'one')", "XA END 'o'", "XA COMMIT 'o' ONE PHASE")
	if got := all(r.read(st)); got != "entry c#0 8 one; " {
		t.Fatal(got)
	}
}

func TestL1_a_connection_cut_inside_a_transaction_leaves_nothing_of_it(t *testing.T) {
	r := newRig(t, entry)
	m := localtest.Shared(t)
	cfg, err := driver.ParseDSN(r.dsn)
	if err != nil {
		t.Fatal(err)
	}
	d := r.dataset(catalog.Spec{Name: "entry", Table: "entry"})
	r.exec("INSERT INTO entry SELECT seq, 'a row of some length' FROM seq_1_to_20000")
	r.exec("INSERT INTO entry VALUES (20001,'z')")
	for _, after := range []int64{500, 50_000, 300_000} {
		proxy, err := local.NewProxy(m.Addr())
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = proxy.Close() }()
		cfg.Addr = proxy.Addr()
		proxy.CutAfter(after)
		src := r.source(cfg.FormatDSN(), 0, d)
		n := 0
		st, err := src.Open(t.Context(), canal.Position{GTID: r.from})
		for err == nil {
			var x *canal.Txn
			if x, err = st.Next(t.Context()); err == nil {
				n += len(x.Changes)
			}
		}
		if n != 0 || !fault.Is(err, fault.Unavailable) {
			t.Fatalf("cut after %d: %d changes, %v", after, n, err)
		}
		if st != nil {
			_ = st.Close()
		}
	}
	n := 0
	for _, x := range r.read(r.open(r.source(r.dsn, 0, d), canal.Position{GTID: r.from})) {
		n += len(x.Changes)
	}
	if n != 20001 {
		t.Fatal(n)
	}
}

func TestSource_opened_at_any_transaction_delivers_it_again_with_the_same_digest(t *testing.T) {
	r := newRig(t, entry)
	d := r.dataset(catalog.Spec{Name: "entry", Table: "entry"})
	for i := range 6 {
		r.exec("INSERT INTO entry VALUES (?,?)", i, fmt.Sprint("n", i))
	}
	r.exec("ALTER TABLE entry ADD COLUMN k INT")
	r.exec("UPDATE entry SET note=NULL")
	src := r.source(r.dsn, 0, d)
	first := r.read(r.open(src, canal.Position{GTID: r.from}))
	for i, x := range first {
		st := r.open(src, x.Position)
		again := r.read(st)
		if err := st.Close(); err != nil {
			t.Fatal(err)
		}
		if len(again) != len(first)-i {
			t.Fatalf("from %s: %d transactions instead of %d", x.GTID, len(again), len(first)-i)
		}
		for k := range again {
			if !reflect.DeepEqual(again[k].Position, first[i+k].Position) || say(&again[k]) != say(&first[i+k]) {
				t.Fatalf("from %s: %+v is not %+v", x.GTID, again[k], first[i+k])
			}
		}
	}
	if first[0].Position.Last.Digest == first[1].Position.Last.Digest {
		t.Fatal("digests are all alike")
	}
}

func TestSource_conforms(t *testing.T) {
	onBoth(t, func(t *testing.T, server localtest.Database) {
		r := rigOn(t, server, entry)
		d := r.dataset(catalog.Spec{Name: "entry", Table: "entry"})
		canaltest.SourceSuite(t, r.source(r.dsn, 0, d), canal.Position{GTID: r.from}, func(i int) string {
			r.exec("INSERT INTO entry VALUES (?,?)", i, fmt.Sprint("n", i))
			pos := r.pos()
			if r.db.Flavor() == db.MySQL {
				return r.uuid() + ":" + lastUntagged(pos, r.uuid())
			}
			for gtid := range strings.SplitSeq(pos, ",") { // other tests may have used other domains
				if strings.HasPrefix(gtid, "0-") {
					return gtid
				}
			}
			t.Fatalf("no domain 0 in %s", pos)
			return ""
		})
	})
}

// lastUntagged is the last number without a tag that a set has of a server: uuid:1-4:9:tag:1-3 has 9. Other tests may have used
// tags.
func lastUntagged(set, uuid string) (last string) {
	for of := range strings.SplitSeq(set, ",") {
		id, rest, _ := strings.Cut(strings.TrimSpace(of), ":")
		if id != uuid {
			continue
		}
		for part := range strings.SplitSeq(rest, ":") {
			if part[0] < '0' || part[0] > '9' {
				break
			}
			last = part[strings.Index(part, "-")+1:]
		}
	}
	return last
}

// uuid is MySQL's own name in GTIDs.
func (r *rig) uuid() (id string) {
	r.t.Helper()
	if err := r.sql.QueryRow("SELECT @@server_uuid").Scan(&id); err != nil {
		r.t.Fatal(err)
	}
	return id
}

func TestSource_brings_heartbeats(t *testing.T) {
	r := newRig(t, entry)
	st := r.open(r.source(r.dsn, 0, r.dataset(catalog.Spec{Name: "entry", Table: "entry"})), canal.Position{GTID: r.from})
	for i := range 3 {
		h, err := db.Beat(t.Context(), r.db, catalog.Instant(1000+i))
		if err != nil {
			t.Fatal(err)
		}
		xs := r.read(st)
		if b := xs[len(xs)-1].Beat; b == nil || b.Seq != h.Seq || b.At != h.At {
			t.Fatalf("%+v, wrote %+v", b, h)
		}
	}
}

func TestSource_refuses_a_server_without_its_settings_or_its_binlog(t *testing.T) {
	m := localtest.Maria(t, "--binlog-row-metadata=MINIMAL")
	root := localtest.DB(t, m.DSN(""))
	localtest.Exec(t, root, "CREATE DATABASE shop")
	r := &rig{t: t, dsn: m.DSN("shop")}
	r.sql = localtest.DB(t, r.dsn)
	d, err := db.Open(t.Context(), db.Config{DSN: r.dsn, Name: "live", Store: catalog.Live, Purpose: db.Writer})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = d.Close() }()
	r.db = d
	r.exec(entry)
	src := r.source(r.dsn, 0, r.dataset(catalog.Spec{Name: "entry", Table: "entry"}))
	if _, err := src.Open(t.Context(), canal.Position{}); !fault.Is(err, fault.Unsafe) || !strings.Contains(fault.HintOf(err), "binlog_row_metadata") {
		t.Fatalf("%v, hint %q", err, fault.HintOf(err))
	}
	r.exec("SET GLOBAL binlog_row_metadata=FULL")
	st, err := src.Open(t.Context(), canal.Position{})
	if err != nil {
		t.Fatal(err)
	}
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
}
