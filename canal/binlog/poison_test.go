package binlog_test

import (
	"fmt"
	"strings"
	"testing"

	"strata/canal"
	"strata/canal/binlog"
	"strata/catalog"
	"strata/fault"
)

func TestL11_what_can_not_be_followed_poisons_its_dataset_alone(t *testing.T) {
	for name, qs := range map[string][]string{
		"statement insert":  {"SET SESSION binlog_format=STATEMENT", "INSERT INTO entry VALUES (9,'s')"},
		"statement update":  {"SET SESSION binlog_format=STATEMENT", "/* x */ update `entry` set note='b'"},
		"statement delete":  {"SET SESSION binlog_format=STATEMENT", "DELETE FROM entry WHERE id=1"},
		"statement set for": {"SET SESSION binlog_format=STATEMENT", "SET STATEMENT max_statement_time=9 FOR REPLACE INTO entry VALUES (1,'r')"},
		"other name of key": {"ALTER TABLE entry CHANGE id nr INT", "INSERT INTO entry VALUES (9,'x')"},
		"versioned":         {"ALTER TABLE entry ADD SYSTEM VERSIONING", "INSERT INTO entry VALUES (9,'x')"},
		"other type":        {"ALTER TABLE entry MODIFY note VARBINARY(20)", "INSERT INTO entry VALUES (9,'x')"},
		"signed to not":     {"ALTER TABLE entry MODIFY id INT UNSIGNED", "INSERT INTO entry VALUES (9,'x')"},
		"other key":         {"ALTER TABLE entry DROP PRIMARY KEY, ADD PRIMARY KEY (id, note)", "INSERT INTO entry VALUES (9,'x')"},
		"key by its old name": {"ALTER TABLE entry ADD nr INT NOT NULL DEFAULT 5",
			"ALTER TABLE entry DROP PRIMARY KEY, DROP COLUMN id, CHANGE nr id INT NOT NULL, ADD PRIMARY KEY (id)"},
		"partial image": {"SET SESSION binlog_row_image=MINIMAL", "UPDATE entry SET note='m' WHERE id=1"},
		"back to a savepoint": {"BEGIN", "INSERT INTO entry VALUES (7,'kept')", "SAVEPOINT s", "INSERT INTO my VALUES (1)", "INSERT INTO entry VALUES (8,'undone')",
			"ROLLBACK TO s", "COMMIT"},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, entry, "CREATE TABLE good (id INT PRIMARY KEY)", "CREATE TABLE my (id INT PRIMARY KEY) ENGINE=MyISAM", "INSERT INTO entry VALUES (1,'a')")
			bad, good := r.dataset(catalog.Spec{Name: "entry", Table: "entry"}), r.dataset(catalog.Spec{Name: "good", Table: "good"})
			st := r.open(r.source(r.dsn, 1<<20, bad, good), canal.Position{GTID: r.from})
			conn, err := r.sql.Conn(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = conn.Close() }()
			for _, q := range append(qs, "SET SESSION binlog_format=ROW, binlog_row_image=FULL", "INSERT INTO good VALUES (1)") {
				if _, err := conn.ExecContext(t.Context(), q); err != nil {
					t.Fatal(q, err)
				}
			}
			xs := r.read(st)
			if got := say(&xs[len(xs)-1]); got != "good c#0 1; " {
				t.Fatal(got)
			}
			hit := 0
			for _, x := range xs {
				for _, p := range x.Poison {
					hit++
					if p.Dataset != bad || fault.HintOf(p.Err) == "" {
						t.Fatalf("%+v", p)
					}
				}
			}
			if hit == 0 {
				t.Fatalf("not noticed: %s", all(xs))
			}
		})
	}
}

func TestSource_alarms_on_DDL_by_others_and_not_on_stratas_own(t *testing.T) {
	shard := "(id INT PRIMARY KEY, at DATETIME NOT NULL)"
	r := newRig(t, "CREATE TABLE e_202601 "+shard, "CREATE TABLE e_202602 "+shard, "CREATE TABLE e_202603 "+shard, "CREATE TABLE plain "+shard)
	scheme := catalog.Scheme{{From: catalog.MinInstant, Interval: catalog.Monthly}}
	d := r.dataset(catalog.Spec{Name: "e", Table: "e", Time: "at", Shards: scheme})
	st := r.open(r.source(r.dsn, 0, d), canal.Position{GTID: r.from})
	r.exec("TRUNCATE TABLE e_202601")
	r.exec("RENAME TABLE e_202602 TO e_202602__strata_x1")
	r.exec("INSERT INTO e_202602__strata_x1 VALUES (1,'2026-02-01')") // not captured under that name
	r.exec("DROP TABLE e_202602__strata_x1")
	r.exec("DROP TABLE e_202601, plain")
	r.exec("CREATE TABLE e_202604 " + shard)
	r.exec("INSERT INTO e_202604 VALUES (4,'2026-04-01 10:00:00')") // a new shard is captured by itself
	r.exec("RENAME TABLE e_202603 TO gone")
	xs := r.read(st)
	var alarms []string
	for _, x := range xs {
		for _, a := range x.Alarms {
			alarms = append(alarms, fmt.Sprintf("%s %s %s", a.What, a.Table, a.Effect))
		}
	}
	if got := strings.Join(alarms, ", "); got != "truncate e_202601 gone, drop e_202601 gone, rename e_202603 gone" {
		t.Fatal(got)
	}
	if got := all(xs); got != "e_202604 c#0 4 2026-04-01 10:00:00; " {
		t.Fatal(got)
	}
}

func TestCheckTables_names_what_the_stream_could_not_read(t *testing.T) {
	r := newRig(t, "CREATE TABLE entry (id INT PRIMARY KEY)", "CREATE TABLE kept (id INT PRIMARY KEY) WITH SYSTEM VERSIONING")
	for table, want := range map[string]string{"entry": "", "kept": "table kept is system versioned"} {
		d := r.dataset(catalog.Spec{Name: table, Table: table})
		err := binlog.CheckTables(t.Context(), r.db, d)
		if (err == nil) != (want == "") || err != nil && (!strings.Contains(err.Error(), want) || fault.HintOf(err) == "") {
			t.Errorf("%s: %v", table, err)
		}
	}
	d := r.dataset(catalog.Spec{Name: "entry", Table: "entry"})
	d.Columns = append(d.Columns, catalog.Column{Name: "note", Collation: "gb18030_chinese_ci"}) // only MySQL has it
	if err := binlog.CheckTables(t.Context(), r.db, d); !fault.Is(err, fault.Unsafe) || !strings.Contains(err.Error(), "column note") {
		t.Error(err)
	}
}
