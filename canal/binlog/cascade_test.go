package binlog_test

import (
	"strings"
	"testing"

	"strata/canal"
	"strata/canal/binlog"
	"strata/catalog"
	"strata/db"
	"strata/fault"
	"strata/local/localtest"
)

func TestL11_a_statement_that_may_change_any_table_stops_all_datasets(t *testing.T) {
	onBoth(t, func(t *testing.T, server localtest.Database) {
		for name, qs := range map[string][]string{
			"a function that writes":  {"CREATE FUNCTION f() RETURNS INT BEGIN INSERT INTO entry VALUES (1,'f'); RETURN 1; END", "SET SESSION binlog_format=STATEMENT", "SELECT f()"},
			"a function in an INSERT": {"CREATE FUNCTION f() RETURNS INT BEGIN INSERT INTO entry VALUES (1,'f'); RETURN 1; END", "SET SESSION binlog_format=STATEMENT", "INSERT INTO other SELECT f()"},
			"a table with triggers":   {"CREATE TRIGGER tr AFTER INSERT ON other FOR EACH ROW INSERT INTO entry VALUES (NEW.id,'t')", "SET SESSION binlog_format=STATEMENT", "INSERT INTO other VALUES (1)"},
			"a view":                  {"CREATE VIEW v AS SELECT * FROM entry", "SET SESSION binlog_format=STATEMENT", "INSERT INTO v VALUES (1,'v')"},
		} {
			t.Run(name, func(t *testing.T) {
				r := rigOn(t, server, entry, "CREATE TABLE other (id INT PRIMARY KEY)", "CREATE TABLE third (id INT PRIMARY KEY)")
				st := r.open(r.source(r.dsn, 0, r.dataset(catalog.Spec{Name: "entry", Table: "entry"}), r.dataset(catalog.Spec{Name: "third", Table: "third"})), canal.Position{GTID: r.from})
				r.session(append(qs, "SET SESSION binlog_format=ROW")...)
				xs := r.read(st)
				last := xs[len(xs)-1]
				if len(last.Poison) != 2 || fault.HintOf(last.Poison[0].Err) == "" {
					t.Fatalf("%+v", last.Poison)
				}
			})
		}
		t.Run("but not one on a table of its own", func(t *testing.T) {
			r := rigOn(t, server, entry, "CREATE TABLE other (id INT PRIMARY KEY)")
			st := r.open(r.source(r.dsn, 0, r.dataset(catalog.Spec{Name: "entry", Table: "entry"})), canal.Position{GTID: r.from})
			r.session("SET SESSION binlog_format=STATEMENT", "INSERT INTO other VALUES (1)", "SET SESSION binlog_format=ROW")
			for _, x := range r.read(st) {
				if len(x.Poison) > 0 {
					t.Fatal(x.Poison[0].Err)
				}
			}
			r.exec("CREATE TRIGGER tr AFTER DELETE ON other FOR EACH ROW DELETE FROM entry") // what was known before is no more
			r.session("SET SESSION binlog_format=STATEMENT", "DELETE FROM other", "SET SESSION binlog_format=ROW")
			if xs := r.read(st); len(xs[len(xs)-1].Poison) != 1 {
				t.Fatal("a trigger that was made meanwhile is not known")
			}
		})
	})
}

const child = "CREATE TABLE child (id INT PRIMARY KEY, p INT, q INT, FOREIGN KEY (p) REFERENCES parent (id) "

func TestSource_refuses_a_table_whose_rows_a_foreign_key_changes_unseen(t *testing.T) {
	onBoth(t, func(t *testing.T, server localtest.Database) {
		for rules, refused := range map[string]bool{"": false, "ON DELETE RESTRICT": false, "ON DELETE CASCADE": true, "ON UPDATE CASCADE": true, "ON DELETE SET NULL": true, "ON UPDATE SET NULL": true} {
			r := rigOn(t, server, "CREATE TABLE parent (id INT PRIMARY KEY)", child+rules+")")
			refused = refused && r.db.Flavor() == db.MariaDB // MySQL 9.7 writes row events
			for _, spec := range []catalog.Spec{{Name: "child", Table: "child"}, {Name: "child", Table: "child", Cascades: catalog.CascadeAccept}, {Name: "parent", Table: "parent"}} {
				src := r.source(r.dsn, 0, r.dataset(spec))
				st, err := src.Open(t.Context(), canal.Position{GTID: r.from})
				if want := refused && spec.Name == "child" && spec.Cascades == catalog.CascadeRefuse; want != (err != nil) ||
					want && (!fault.Is(err, fault.Unsafe) || !strings.Contains(fault.HintOf(err), "cascades: accept")) {
					t.Errorf("%q, %+v: %v", rules, spec, err)
				}
				if err == nil {
					_ = st.Close()
				}
			}
		}
	})
}

func TestCheckCascades_sees_the_keys_with_SELECT_alone(t *testing.T) {
	r := newRig(t, "CREATE TABLE parent (id INT PRIMARY KEY)", child+"ON DELETE CASCADE)")
	name := localtest.Unique("u")
	r.exec("CREATE USER " + name + " IDENTIFIED BY 'x'")
	r.exec("GRANT SELECT ON " + r.db.Schema() + ".* TO " + name)
	cfg := r.login()
	cfg.User, cfg.Passwd = name, "x"
	d, err := db.Open(t.Context(), db.Config{DSN: cfg.FormatDSN(), Name: "reader", Store: catalog.Live, Purpose: db.Reader})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = d.Close() }()
	if err := binlog.CheckCascades(t.Context(), d, []*catalog.Dataset{r.dataset(catalog.Spec{Name: "child", Table: "child"})}); !fault.Is(err, fault.Unsafe) {
		t.Fatal(err)
	}
}

func TestL11_a_foreign_key_that_changes_rows_stops_its_dataset_when_it_comes(t *testing.T) {
	onBoth(t, func(t *testing.T, server localtest.Database) {
		shard := "(id INT PRIMARY KEY, at DATETIME NOT NULL, p INT)"
		r := rigOn(t, server, "CREATE TABLE parent (id INT PRIMARY KEY)", "CREATE TABLE e_202601 "+shard, "CREATE TABLE good (id INT PRIMARY KEY, p INT)")
		e := r.dataset(catalog.Spec{Name: "e", Table: "e", Time: "at", Shards: catalog.Scheme{{From: catalog.MinInstant, Interval: catalog.Monthly}}})
		good := r.dataset(catalog.Spec{Name: "good", Table: "good", Cascades: catalog.CascadeAccept})
		st := r.open(r.source(r.dsn, 0, e, good), canal.Position{GTID: r.from})
		for i, q := range []string{"ALTER TABLE e_202601 ADD FOREIGN KEY (p) REFERENCES parent (id) ON DELETE CASCADE",
			"CREATE TABLE e_202602 (id INT PRIMARY KEY, at DATETIME NOT NULL, p INT, FOREIGN KEY (p) REFERENCES parent (id) ON UPDATE SET NULL)",
			"ALTER TABLE good ADD FOREIGN KEY (p) REFERENCES parent (id) ON DELETE CASCADE", "ALTER TABLE e_202601 ADD FOREIGN KEY (p) REFERENCES parent (id)"} {
			r.exec(q)
			want := 0
			if i < 2 && r.db.Flavor() == db.MariaDB {
				want = 1
			}
			if xs := r.read(st); len(xs[len(xs)-1].Poison) != want {
				t.Errorf("%s: %+v", q, xs[len(xs)-1].Poison)
			}
		}
	})
}
