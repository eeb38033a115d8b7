package binlog_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"

	driver "github.com/go-sql-driver/mysql"

	"strata/canal"
	"strata/canal/binlog"
	"strata/catalog"
	"strata/db"
	"strata/fault"
	"strata/local"
	"strata/local/localtest"
)

// via is a DSN through a proxy.
func via(t *testing.T, dsn string, p *local.Proxy) string {
	t.Helper()
	cfg, err := driver.ParseDSN(dsn)
	if err != nil {
		t.Fatal(err)
	}
	cfg.Addr = p.Addr()
	return cfg.FormatDSN()
}

func proxyTo(t *testing.T, addr string) *local.Proxy {
	t.Helper()
	p, err := local.NewProxy(addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	return p
}

func TestSource_reads_the_first_endpoint_that_answers_and_the_first_again_later(t *testing.T) {
	r := newRig(t, entry)
	d := r.dataset(catalog.Spec{Name: "entry", Table: "entry"})
	p := proxyTo(t, localtest.Shared(t).Addr())
	src := r.configured(binlog.Config{Datasets: []*catalog.Dataset{d},
		Endpoints: []binlog.Endpoint{r.endpoint("first", via(t, r.dsn, p)), r.endpoint("second", r.dsn)}})
	if src.Current() != nil || src.CurrentEndpoint() != (binlog.Endpoint{}) {
		t.Fatal("a current endpoint before the first stream")
	}
	p.Refuse(true)
	r.exec("INSERT INTO entry VALUES (1,'a')")
	st := r.open(src, canal.Position{GTID: r.from})
	xs := r.read(st)
	if got := all(xs); got != "entry c#0 1 a; " || src.CurrentEndpoint().Name != "second" || src.Current().Name() != "second" {
		t.Fatal(got, src.CurrentEndpoint())
	}
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	p.Refuse(false)
	r.exec("INSERT INTO entry VALUES (2,'b')")
	st = r.open(src, xs[len(xs)-1].Position)
	if got := all(r.read(st)); got != "entry c#0 1 a; | entry c#0 2 b; " || src.Current().Name() != "first" {
		t.Fatal(got, src.Current().Name())
	}
	p.Refuse(true)
	p.Cut()
	if _, err := st.Next(t.Context()); !fault.Is(err, fault.Unavailable) {
		t.Fatal(err)
	}
}

func TestSource_four_streams_read_at_once_and_a_fifth_is_refused(t *testing.T) {
	r := newRig(t, entry)
	src := r.source(r.dsn, 0, r.dataset(catalog.Spec{Name: "entry", Table: "entry"}))
	r.exec("INSERT INTO entry VALUES (1,'a')")
	var open []canal.Stream
	for range binlog.Streams {
		open = append(open, r.open(src, canal.Position{GTID: r.from}))
	}
	if _, err := src.Open(t.Context(), canal.Position{GTID: r.from}); !fault.Is(err, fault.Busy) {
		t.Fatal(err)
	}
	r.exec("INSERT INTO entry VALUES (2,'b')") // none was thrown out by another
	for _, st := range open {
		if got := all(r.read(st)); got != "entry c#0 1 a; | entry c#0 2 b; " {
			t.Fatal(got)
		}
	}
	if err := open[1].Close(); err != nil {
		t.Fatal(err)
	}
	r.open(src, canal.Position{GTID: r.from})
}

func TestSource_an_Open_that_was_given_up_takes_no_server_id(t *testing.T) {
	r := &rig{t: t, dsn: "u:p@tcp(127.0.0.1:1)/s"}
	src := r.configuredAs(db.MariaDB)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for range binlog.Streams + 1 {
		if _, err := src.Open(ctx, canal.Position{}); !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
	}
}

func TestSource_leaves_no_goroutine_behind(t *testing.T) {
	r := newRig(t, entry, "CREATE TABLE big (id INT PRIMARY KEY, b LONGBLOB)")
	src := r.source(r.dsn, 0, r.dataset(catalog.Spec{Name: "entry", Table: "entry"}))
	r.exec("INSERT INTO entry VALUES (1,'a')")
	r.exec("INSERT INTO big SELECT seq, REPEAT('x',1000000) FROM seq_1_to_40") // more than the queue holds: the reader waits for room
	readers := func() int {
		buf := make([]byte, 1<<20)
		return strings.Count(string(buf[:runtime.Stack(buf, true)]), "replication.(*BinlogSyncer).onStream")
	}
	before := readers()
	for i := range 2 {
		st := r.open(src, canal.Position{GTID: r.from})
		if i > 0 {
			if _, err := st.Next(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if readers() == before {
			t.Fatal("the test looks for the wrong goroutine")
		}
		for range 2 {
			if err := st.Close(); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := st.Next(t.Context()); err == nil {
			t.Fatal("a closed stream goes on")
		}
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := src.Open(gone, canal.Position{GTID: r.from}); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	localtest.Eventually(t, waitLimit, "all readers have ended", func() (bool, error) { return readers() == before, nil })
}

func TestSource_a_connection_without_a_sign_of_life_ends(t *testing.T) {
	r := newRig(t, entry)
	p := proxyTo(t, localtest.Shared(t).Addr())
	src := r.configured(binlog.Config{Datasets: []*catalog.Dataset{r.dataset(catalog.Spec{Name: "entry", Table: "entry"})},
		Endpoints: []binlog.Endpoint{r.endpoint("live", via(t, r.dsn, p))}, ReadLimit: 2 * time.Second})
	st := r.open(src, canal.Position{GTID: r.from})
	r.exec("INSERT INTO entry VALUES (1,'a')")
	if got := all(r.read(st)); got != "entry c#0 1 a; " {
		t.Fatal(got)
	}
	p.Stall(true) // the other side is gone, and nobody says so
	if x, err := st.Next(t.Context()); !fault.Is(err, fault.Unavailable) {
		t.Fatal(x, err)
	}
}

func TestSource_closing_a_stream_kills_nobody_on_the_server_that_answers_by_now(t *testing.T) {
	r := newRig(t, entry)
	p := proxyTo(t, localtest.Shared(t).Addr())
	st := r.open(r.source(via(t, r.dsn, p), 0, r.dataset(catalog.Spec{Name: "entry", Table: "entry"})), canal.Position{GTID: r.from})
	another, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = another.Close() }()
	p.Retarget(another.Addr().String())
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	mine, err := net.Dial("tcp", another.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = mine.Close() }()
	first, err := another.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = first.Close() }()
	if first.RemoteAddr().String() != mine.LocalAddr().String() {
		t.Fatal("Close has connected anew")
	}
}

// lost checks that a place is refused as one that the server's history lacks.
func lost(t *testing.T, src *binlog.Source, at canal.Position, words string) {
	t.Helper()
	st, err := src.Open(t.Context(), at)
	if err == nil {
		_ = st.Close()
	}
	if !fault.Is(err, fault.Unsafe) || !errors.Is(err, canal.ErrLost) || fault.HintOf(err) == "" || !strings.Contains(err.Error(), words) {
		t.Fatalf("%v, hint %q; want lost, %s", err, fault.HintOf(err), words)
	}
}

func TestSource_a_place_that_was_purged_or_never_there_is_lost(t *testing.T) {
	onBoth(t, func(t *testing.T, server localtest.Database) {
		r := rigOn(t, server, entry)
		src := r.source(r.dsn, 0, r.dataset(catalog.Spec{Name: "entry", Table: "entry"}))
		ahead := "0-1-99999999"
		if r.db.Flavor() == db.MySQL {
			ahead = r.from + ",11111111-2222-3333-4444-555555555555:1-7"
		}
		lost(t, src, canal.Position{GTID: ahead}, "lacks")
		r.exec("INSERT INTO entry VALUES (1,'a')")
		r.exec("FLUSH BINARY LOGS")
		r.exec("INSERT INTO entry VALUES (2,'b')")
		r.purge()
		lost(t, src, canal.Position{}, "no longer has")
		lost(t, src, canal.Position{GTID: r.from}, "no longer has")
	})
}

// TestSource_a_binlog_that_is_reset_while_it_is_read: where its file has a name that is used again, the server says nothing.
func TestSource_a_binlog_that_is_reset_while_it_is_read_is_opened_again(t *testing.T) {
	for _, flushes := range []int{0, 2} {
		r := rigOn(t, localtest.Maria(t), entry)
		d := r.dataset(catalog.Spec{Name: "entry", Table: "entry"})
		src := r.configured(binlog.Config{Datasets: []*catalog.Dataset{d}, Endpoints: []binlog.Endpoint{r.endpoint("one", r.dsn)}, ReadLimit: 2 * time.Second})
		for range flushes {
			r.exec("FLUSH BINARY LOGS")
		}
		r.exec("INSERT INTO entry VALUES (1,'a')")
		st := r.open(src, canal.Position{GTID: r.from})
		xs := r.read(st)
		r.exec("RESET MASTER")
		r.exec("INSERT INTO entry VALUES (2,'b')")
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		var err error
		for err == nil {
			_, err = st.Next(ctx)
		}
		if !fault.Is(err, fault.Unavailable) || ctx.Err() != nil {
			t.Fatal(flushes, err)
		}
		if _, err := src.Open(t.Context(), xs[len(xs)-1].Position); !errors.Is(err, canal.ErrLost) {
			t.Fatal(flushes, err)
		}
	}
}

func TestSource_a_restored_server_is_known_by_the_digest_of_the_last_group(t *testing.T) {
	m := localtest.Maria(t)
	r := rigOn(t, m, entry)
	src := r.source(r.dsn, 0, r.dataset(catalog.Spec{Name: "entry", Table: "entry"}))
	r.exec("RESET MASTER")
	r.exec("INSERT INTO entry VALUES (1,'a')")
	r.exec("INSERT INTO entry VALUES (2,'b')")
	st := r.open(src, canal.Position{})
	xs := r.read(st)
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	r.exec("RESET MASTER")
	r.exec("INSERT INTO entry VALUES (3,'a')")
	r.exec("INSERT INTO entry VALUES (4,'another')")
	r.exec("INSERT INTO entry VALUES (5,'c')")
	last := xs[len(xs)-1].Position.Last
	again := r.read(r.open(src, xs[len(xs)-1].Position))
	if again[0].GTID != last.GTID || again[0].Position.Last.Digest == last.Digest {
		t.Fatalf("%+v, was %+v", again[0].Position.Last, last)
	}
}

func TestSource_a_domain_that_the_server_does_not_know_is_left_out_unless_changes_of_it_were_read(t *testing.T) {
	m := localtest.Maria(t)
	r := rigOn(t, m, entry)
	src := r.source(r.dsn, 0, r.dataset(catalog.Spec{Name: "entry", Table: "entry"}))
	st := r.open(src, canal.Position{GTID: r.from})
	r.session("SET SESSION gtid_domain_id=5", "INSERT INTO entry VALUES (1,'five')", "SET SESSION gtid_domain_id=0")
	r.exec("INSERT INTO entry VALUES (2,'zero')")
	xs := r.read(st)
	at := xs[len(xs)-1].Position
	if len(at.Domains) != 2 || at.Domains[0] != 0 || at.Domains[1] != 5 || len(xs[0].Position.Domains) != 1 {
		t.Fatalf("domains %v", at.Domains)
	}
	r.exec("FLUSH BINARY LOGS")
	r.purge()
	r.exec("FLUSH BINARY LOGS DELETE_DOMAIN_ID=(5)")
	r.exec("INSERT INTO entry VALUES (3,'c')")
	lost(t, src, canal.Position{GTID: at.GTID, Domains: at.Domains}, "5-")
	for _, stale := range []string{"5-1-1", "77-9-5"} {
		zero, _, _ := strings.Cut(at.GTID, ",")
		pos := canal.Position{GTID: zero + "," + stale, Domains: []uint32{0}}
		st := r.open(src, pos)
		ctx, cancel := context.WithTimeout(t.Context(), waitLimit)
		x, err := st.Next(ctx)
		for err == nil && len(x.Changes) == 0 {
			x, err = st.Next(ctx)
		}
		cancel()
		if err != nil || say(x) != "entry c#0 3 c; " || !strings.Contains(x.Position.GTID, stale) {
			t.Fatalf("%s: %+v, %v", stale, x, err)
		}
		if err := st.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// pair is a primary with a replica, a source that reads the first of them through a proxy, and one that reads the replica only.
type pair struct {
	*rig
	primary, replica *local.Maria
	second           *sql.DB
	wire             *local.Proxy // from the replica to the primary
	address          *local.Proxy // from the source to the primary
	src, only        *binlog.Source
	notes            []string
}

func newPair(t *testing.T) *pair {
	h := localtest.Home(t)
	primary := localtest.Start(t, h, local.MariaConfig{Name: "primary", ServerID: 1, Schemas: []string{"shop"}})
	wire := proxyTo(t, primary.Addr())
	replica := localtest.Start(t, h, local.MariaConfig{Name: "replica", ServerID: 2, ReplicaOf: primary, ReplicaVia: wire.Addr(), Schemas: []string{"shop"}})
	p := &pair{rig: rigAt(t, primary.DSN("shop"), entry), primary: primary, replica: replica, second: localtest.DB(t, replica.DSN("shop")), wire: wire}
	d := p.dataset(catalog.Spec{Name: "entry", Table: "entry"})
	p.reaches(p.pos())
	p.address = proxyTo(t, primary.Addr())
	p.src = p.configured(binlog.Config{Datasets: []*catalog.Dataset{d}, Note: func(text string) { p.notes = append(p.notes, text) },
		Endpoints: []binlog.Endpoint{p.endpoint("primary", via(t, p.dsn, p.address)), p.endpoint("replica", replica.DSN("shop"))}})
	p.only = p.source(replica.DSN("shop"), 0, d)
	return p
}

// reaches waits until the replica has a position.
func (p *pair) reaches(pos string) {
	p.t.Helper()
	localtest.Eventually(p.t, waitLimit, "the replica has "+pos, func() (bool, error) {
		var got int
		err := p.second.QueryRow("SELECT MASTER_GTID_WAIT(?, 0.1)", pos).Scan(&got)
		return got == 0, err
	})
}

func TestSource_a_replica_that_is_behind_is_waited_for_and_one_that_never_will_be_is_lost(t *testing.T) {
	r := newPair(t)
	src, only, second, wire, address := r.src, r.only, r.second, r.wire, r.address
	wire.Refuse(true)
	wire.Cut() // the replica gets nothing any more
	r.exec("INSERT INTO entry VALUES (1,'a')")
	st := r.open(src, canal.Position{GTID: r.from})
	xs := r.read(st)
	at := xs[len(xs)-1].Position
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	_, err := only.Open(t.Context(), at)
	if !fault.Is(err, fault.Unavailable) || errors.Is(err, canal.ErrLost) || !strings.Contains(err.Error(), xs[len(xs)-1].GTID) {
		t.Fatalf("behind: %v", err)
	}
	address.Refuse(true)
	address.Cut()
	if _, err = src.Open(t.Context(), at); !fault.Is(err, fault.Unavailable) || errors.Is(err, canal.ErrLost) {
		t.Fatalf("behind, and the primary is away: %v", err)
	}
	wire.Refuse(false)
	localtest.Exec(t, second, "STOP SLAVE")
	localtest.Exec(t, second, "START SLAVE")
	r.reaches(at.GTID)
	st = r.open(src, at)
	x, err := st.Next(t.Context())
	if err != nil || x.Position.Last != at.Last || say(x) != say(&xs[len(xs)-1]) || src.CurrentEndpoint().Name != "replica" {
		t.Fatalf("after the switch: %+v, %v, from %s", x, err, src.CurrentEndpoint().Name)
	}
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}

	localtest.Exec(t, second, "STOP SLAVE")
	r.exec("INSERT INTO entry VALUES (2,'never replicated')")
	address.Refuse(false)
	st = r.open(src, at)
	xs = r.read(st)
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	at = xs[len(xs)-1].Position
	address.Refuse(true)
	address.Cut()
	lost(t, src, at, "lacks")
	root := localtest.DB(t, r.replica.RootDSN("shop"))
	for i := range 3 {
		localtest.Exec(t, root, fmt.Sprintf("INSERT INTO entry VALUES (%d,'of the new primary')", 10+i))
	}
	lost(t, src, at, "without it")

	if len(r.notes) != 0 {
		t.Fatal(r.notes)
	}
	address.Retarget(r.replica.Addr())
	address.Refuse(false)
	address.Cut()
	if st, err = src.Open(t.Context(), canal.Position{GTID: r.from}); err != nil {
		t.Fatal(err)
	}
	if err := st.Close(); err != nil || len(r.notes) != 1 || !strings.Contains(r.notes[0], "another server answers as primary") {
		t.Fatal(err, r.notes)
	}
}
