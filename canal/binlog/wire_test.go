package binlog_test

import (
	"fmt"
	"strings"
	"testing"

	"strata/canal"
	"strata/catalog"
	"strata/fault"
	"strata/local/localtest"
)

// global sets a server's variable and takes it back at the end of the test.
func (r *rig) global(name, value, back string) {
	r.t.Helper()
	r.exec("SET GLOBAL " + name + "=" + value)
	r.t.Cleanup(func() {
		if _, err := r.sql.Exec("SET GLOBAL " + name + "=" + back); err != nil {
			r.t.Error(err)
		}
	})
}

func TestSource_compression_and_checksums_of_the_binlog_change_nothing(t *testing.T) {
	for _, c := range []struct {
		server string
		set    [][3]string // name, value, back
	}{
		{"mariadb", [][3]string{{"binlog_checksum", "NONE", "CRC32"}}},
		{"mariadb", [][3]string{{"log_bin_compress", "ON", "OFF"}, {"log_bin_compress_min_len", "10", "256"}}},
		{"mariadb", [][3]string{{"log_bin_compress", "ON", "OFF"}, {"binlog_checksum", "NONE", "CRC32"}}},
		{"mysql", [][3]string{{"binlog_checksum", "NONE", "CRC32"}}},
		{"mysql", [][3]string{{"binlog_transaction_compression", "ON", "OFF"}}},
		{"mysql", [][3]string{{"binlog_transaction_compression", "ON", "OFF"}, {"binlog_checksum", "NONE", "CRC32"}}},
		{"mysql", [][3]string{{"binlog_rows_query_log_events", "ON", "OFF"}}},
	} {
		t.Run(fmt.Sprint(c.server, c.set), func(t *testing.T) {
			var server localtest.Database
			if c.server == "mysql" {
				server = localtest.SharedMySQL(t)
			} else {
				server = localtest.Shared(t)
			}
			r := rigOn(t, server, entry)
			d := r.dataset(catalog.Spec{Name: "entry", Table: "entry"})
			st := r.open(r.source(r.dsn, 0, d), canal.Position{GTID: r.from})
			for _, s := range c.set {
				r.global(s[0], s[1], s[2])
			}
			r.sql.SetMaxIdleConns(0) // new sessions have the new settings
			r.exec(insertMany(1, 3000))
			r.session("BEGIN", "UPDATE entry SET note='changed' WHERE id<=2", "DELETE FROM entry WHERE id=3", "COMMIT")
			xs := r.read(st)
			n := 0
			for i := range xs[:len(xs)-1] {
				n += len(xs[i].Changes)
			}
			if got := say(&xs[len(xs)-1]); n != 3000 || got != "entry u#0 1 row 0 1 changed; entry u#2 2 row 1 2 changed; entry d#4 3 row 2; " {
				t.Fatal(n, got)
			}
		})
	}
}

func TestSource_follows_tagged_GTIDs(t *testing.T) {
	r := rigOn(t, localtest.SharedMySQL(t), entry)
	src := r.source(r.dsn, 0, r.dataset(catalog.Spec{Name: "entry", Table: "entry"}))
	st := r.open(src, canal.Position{GTID: r.from})
	r.exec("INSERT INTO entry VALUES (1,'a')")
	r.session("SET gtid_next='AUTOMATIC:blue'", "INSERT INTO entry VALUES (2,'b')", "INSERT INTO entry VALUES (3,'c')", "SET gtid_next='AUTOMATIC'")
	r.exec("INSERT INTO entry VALUES (4,'d')")
	xs := r.read(st)
	if got := all(xs); got != "entry c#0 1 a; | entry c#0 2 b; | entry c#0 3 c; | entry c#0 4 d; " {
		t.Fatal(got)
	}
	for _, x := range xs {
		if strings.Contains(x.GTID, ":blue:") != strings.Contains("b; c; ", say(&x)[12:]) {
			t.Fatal(x.GTID, say(&x))
		}
		again := r.open(src, x.Position)
		if got := r.read(again); got[0].GTID != x.GTID || got[0].Position.Last != x.Position.Last {
			t.Fatalf("from %s: %s", x.Position.GTID, got[0].GTID)
		}
		if err := again.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestL11_what_MySQL_writes_in_part_stops_its_dataset_alone(t *testing.T) {
	for name, qs := range map[string][]string{
		"statement":     {"SET SESSION binlog_format=STATEMENT", "UPDATE doc SET j='{}' WHERE id=1"},
		"minimal image": {"SET SESSION binlog_row_image=MINIMAL", "UPDATE doc SET j='{}' WHERE id=1"},
		"noblob image":  {"SET SESSION binlog_row_image=NOBLOB", "UPDATE doc SET n=2 WHERE id=1"},
		"partial JSON":  {"SET SESSION binlog_row_value_options=PARTIAL_JSON", "UPDATE doc SET j=JSON_SET(j,'$.a',2) WHERE id=1"},
	} {
		t.Run(name, func(t *testing.T) {
			r := rigOn(t, localtest.SharedMySQL(t), "CREATE TABLE doc (id INT PRIMARY KEY, n INT, j JSON, t TEXT)", "CREATE TABLE good (id INT PRIMARY KEY)",
				`INSERT INTO doc VALUES (1,1,'{"a":1,"b":"some text that is long enough to be left out of the image"}','long')`)
			bad, good := r.dataset(catalog.Spec{Name: "doc", Table: "doc"}), r.dataset(catalog.Spec{Name: "good", Table: "good"})
			st := r.open(r.source(r.dsn, 0, bad, good), canal.Position{GTID: r.from})
			r.session(append(qs, "SET SESSION binlog_format=ROW, binlog_row_image=FULL, binlog_row_value_options=''", "INSERT INTO good VALUES (1)")...)
			xs := r.read(st)
			hit := 0
			for _, x := range xs {
				for _, p := range x.Poison {
					if hit++; p.Dataset != bad || !fault.Is(p.Err, fault.Unsafe) || fault.HintOf(p.Err) == "" {
						t.Fatalf("%+v", p)
					}
				}
			}
			if hit == 0 || say(&xs[len(xs)-1]) != "good c#0 1; " {
				t.Fatal(hit, all(xs))
			}
		})
	}
}

func TestSource_brings_what_strata_part_says(t *testing.T) {
	onBoth(t, func(t *testing.T, server localtest.Database) {
		r := rigOn(t, server, entry)
		st := r.open(r.source(r.dsn, 0, r.dataset(catalog.Spec{Name: "entry", Table: "entry"})), canal.Position{GTID: r.from})
		r.session("BEGIN", "INSERT INTO strata_part (dataset,shard,range_from,range_to,epoch,token,state) VALUES ('entry','entry_202601',-5,10,18446744073709551615,'t1','copying')",
			"UPDATE strata_part SET state='owned', token=''", "INSERT INTO entry VALUES (1,'a')", "DELETE FROM strata_part", "COMMIT")
		xs := r.read(st)
		x := xs[len(xs)-1]
		want := []catalog.Part{
			{Dataset: "entry", Shard: "entry_202601", Range: catalog.Range{From: -5, To: 10}, Epoch: 1<<64 - 1, Token: "t1", State: catalog.Copying},
			{Dataset: "entry", Shard: "entry_202601", Range: catalog.Range{From: -5, To: 10}, Epoch: 1<<64 - 1, State: catalog.Owned}}
		if len(x.Parts) != 2 || x.Parts[0] != want[0] || x.Parts[1] != want[1] || say(&x) != "entry c#3 1 a; " {
			t.Fatalf("%+v, %s", x.Parts, say(&x))
		}
	})
}

func TestSource_rows_of_strata_part_that_can_not_be_read_end_the_stream(t *testing.T) {
	r := newRig(t, entry, "INSERT INTO strata_part (dataset,shard,range_from,range_to,epoch,state) VALUES ('entry','e',0,1,1,'owned')")
	st := r.open(r.source(r.dsn, 0, r.dataset(catalog.Spec{Name: "entry", Table: "entry"})), canal.Position{GTID: r.from})
	r.session("SET SESSION binlog_row_image=MINIMAL", "UPDATE strata_part SET epoch=2", "SET SESSION binlog_row_image=FULL")
	if x, err := st.Next(t.Context()); !fault.Is(err, fault.Unsafe) || !strings.Contains(err.Error(), "strata_part") {
		t.Fatal(x, err)
	}
}
