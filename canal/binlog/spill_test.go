package binlog_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"strata/canal"
	"strata/canal/binlog"
	"strata/catalog"
	"strata/fault"
	"strata/local/localtest"
)

func files(t *testing.T, dir string) int {
	t.Helper()
	list, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}

func TestL9_what_is_beyond_the_memory_of_a_transaction_is_on_disk_and_the_same(t *testing.T) {
	onBoth(t, func(t *testing.T, server localtest.Database) {
		r := rigOn(t, server, entry, "CREATE TABLE big (id INT PRIMARY KEY, b LONGBLOB)")
		e, b := r.dataset(catalog.Spec{Name: "entry", Table: "entry"}), r.dataset(catalog.Spec{Name: "big", Table: "big"})
		dir := filepath.Join(t.TempDir(), "spill")
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "strata-spill-old"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "foreign"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		small := r.configured(binlog.Config{Endpoints: []binlog.Endpoint{r.endpoint("live", r.dsn)}, Datasets: []*catalog.Dataset{e, b}, MaxTxnBytes: 20_000, SpillDir: dir})
		if n := files(t, dir); n != 1 {
			t.Fatalf("%d files left of the two", n)
		}
		r.session("BEGIN", insertMany(1, 300), "INSERT INTO big VALUES (1,REPEAT('x',1000000)), (2,NULL), (3,'')", "UPDATE entry SET note=NULL WHERE id%2=0",
			"UPDATE big SET b='y' WHERE id=1", "DELETE FROM entry WHERE id>250", "COMMIT")
		r.exec("INSERT INTO entry VALUES (9999,'after')")
		whole := r.read(r.open(r.source(r.dsn, 0, e, b), canal.Position{GTID: r.from}))
		st := r.open(small, canal.Position{GTID: r.from})
		x, err := st.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if x.Spill == nil || len(x.Changes) == 0 || x.Spill.Bytes() < 1_000_000 || x.Spill.Bytes() > 5_000_000 || st.(interface{ Spilled() int64 }).Spilled() != x.Spill.Bytes() || files(t, dir) != 2 {
			t.Fatalf("%d in memory, spill %v, %d files", len(x.Changes), x.Spill, files(t, dir))
		}
		stop := errors.New("stop")
		if err := x.Spill.Each(func(*canal.Change) error { return stop }); err != stop {
			t.Fatal(err)
		}
		if err := st.Close(); err != nil {
			t.Fatal(err)
		}
		st = r.open(small, canal.Position{GTID: r.from})
		spilled := r.read(st)
		if len(whole) != len(spilled) {
			t.Fatal(len(whole), len(spilled))
		}
		for i := range whole {
			if a, b := say(&whole[i]), say(&spilled[i]); a != b || whole[i].Position.Last != spilled[i].Position.Last {
				t.Fatalf("%s: %.300s\nis not %.300s", whole[i].GTID, b, a)
			}
		}
		if files(t, dir) != 1 || st.(interface{ Spilled() int64 }).Spilled() != 0 {
			t.Fatal("the file outlived its transaction")
		}
	})
}

// insertMany is one statement that both servers understand.
func insertMany(from, n int) string {
	var b strings.Builder
	b.WriteString("INSERT INTO entry VALUES ")
	for i := range n {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, "(%d,'row %d')", from+i, i)
	}
	return b.String()
}

func TestL1_a_full_disk_ends_the_stream_and_delivers_nothing_of_the_transaction(t *testing.T) {
	r := newRig(t, entry)
	e := r.dataset(catalog.Spec{Name: "entry", Table: "entry"})
	dir := t.TempDir()
	src := r.configured(binlog.Config{Endpoints: []binlog.Endpoint{r.endpoint("live", r.dsn)}, Datasets: []*catalog.Dataset{e}, MaxTxnBytes: 1000, SpillDir: dir})
	r.exec("INSERT INTO entry VALUES (0,'before')")
	r.exec(insertMany(1, 2000))
	for _, xa := range []bool{false, true} {
		if xa {
			r.prepare("'full'", insertMany(5000, 2000))
			r.from = over(t, canal.Position{GTID: r.from}).GTID
		}
		src.SpillTo("/dev/full")
		st := r.open(src, canal.Position{GTID: r.from})
		x, err := st.Next(t.Context())
		if err != nil || len(x.Changes) != 1 {
			t.Fatalf("%+v, %v", x, err)
		}
		x, err = st.Next(t.Context())
		if x != nil || !fault.Is(err, fault.Unavailable) || !strings.Contains(fault.HintOf(err), dir) {
			t.Fatalf("%+v, %v, hint %q", x, err, fault.HintOf(err))
		}
		if x, again := st.Next(t.Context()); x != nil || again != err {
			t.Fatalf("the stream goes on: %+v, %v", x, again)
		}
		if err := st.Close(); err != nil {
			t.Fatal(err)
		}
		src.SpillTo("")
		st = r.open(src, canal.Position{GTID: r.from})
		n := 0
		for _, x := range r.read(st) {
			n += len(x.Changes)
		}
		if n != 2001 {
			t.Fatalf("%d changes once there is room", n)
		}
		if err := st.Close(); err != nil || files(t, dir) != 0 {
			t.Fatal(err, files(t, dir))
		}
	}
	r.decide("XA ROLLBACK 'full'")
}

func TestL11_a_row_beyond_the_limit_stops_its_dataset_by_its_key(t *testing.T) {
	r := newRig(t, entry, "CREATE TABLE big (id INT PRIMARY KEY, b LONGBLOB)")
	e, b := r.dataset(catalog.Spec{Name: "entry", Table: "entry"}), r.dataset(catalog.Spec{Name: "big", Table: "big"})
	src := r.configured(binlog.Config{Endpoints: []binlog.Endpoint{r.endpoint("live", r.dsn)}, Datasets: []*catalog.Dataset{e, b}, MaxRowBytes: 10_000})
	st := r.open(src, canal.Position{GTID: r.from})
	r.session("BEGIN", "INSERT INTO entry VALUES (1,'a')", "INSERT INTO big VALUES (77,REPEAT('x',20000))", "INSERT INTO entry VALUES (2,'b')", "COMMIT")
	xs := r.read(st)
	x := xs[len(xs)-1]
	if len(x.Poison) != 1 || x.Poison[0].Dataset != b || !fault.Is(x.Poison[0].Err, fault.TooLarge) || !strings.Contains(x.Poison[0].Err.Error(), "77") {
		t.Fatalf("%+v", x.Poison)
	}
	if got := say(&x); got != "entry c#0 1 a; entry c#2 2 b; " {
		t.Fatal(got)
	}
}
