package binlog_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"strata/canal"
	"strata/catalog"
	"strata/local/localtest"
)

// named is a row by the names that its change gives to the cells.
func named(c *canal.Change, r *catalog.Row) map[string]string {
	columns := c.Dataset.Columns
	if c.Form != nil {
		columns = c.Form.Columns
	}
	out := map[string]string{}
	for i := range r.Len() {
		if r.Null(i) {
			out[columns[i].Name] = "NULL"
		} else {
			out[columns[i].Name] = r.Text(i)
		}
	}
	return out
}

// byName are the inserted rows of all transactions.
func byName(t *testing.T, xs []canal.Txn) []map[string]string {
	t.Helper()
	var out []map[string]string
	for _, x := range xs {
		for _, p := range x.Poison {
			t.Fatal(p.Err)
		}
		for i := range x.Changes {
			out = append(out, named(&x.Changes[i], &x.Changes[i].After))
		}
	}
	return out
}

// schemaWalk changes a table's columns at random and knows what each is called now.
type schemaWalk struct {
	r     *rig
	rnd   *rand.Rand
	names []string // besides id
	count int
}

func (w *schemaWalk) pick() string { return w.names[w.rnd.IntN(len(w.names))] }

func (w *schemaWalk) fresh() string {
	w.count++
	return fmt.Sprintf("c%d", w.count)
}

func (w *schemaWalk) rename(from, to string) {
	w.names[slices.Index(w.names, from)] = to
}

func (w *schemaWalk) alter() {
	place := []string{"", " FIRST", " AFTER id"}[w.rnd.IntN(3)]
	switch w.rnd.IntN(8) {
	case 0:
		n := w.fresh()
		w.r.exec("ALTER TABLE entry ADD COLUMN " + n + " VARCHAR(20)" + place)
		w.names = append(w.names, n)
	case 1:
		if n := w.pick(); len(w.names) > 3 {
			w.r.exec("ALTER TABLE entry DROP COLUMN " + n)
			w.names = slices.DeleteFunc(w.names, func(x string) bool { return x == n })
		}
	case 2:
		from, to := w.pick(), w.fresh()
		w.r.exec("ALTER TABLE entry RENAME COLUMN " + from + " TO " + to)
		w.rename(from, to)
	case 3:
		w.r.exec("ALTER TABLE entry MODIFY " + w.pick() + " VARCHAR(30)" + place)
	case 4: // two columns swap their names
		a, b := w.names[0], w.names[1]
		w.r.exec("ALTER TABLE entry RENAME COLUMN " + a + " TO " + b + ", RENAME COLUMN " + b + " TO " + a)
		w.names[0], w.names[1] = b, a
	case 5:
		from, to := w.pick(), w.fresh()
		w.r.exec("ALTER TABLE entry CHANGE " + from + " " + to + " VARCHAR(25) CHARACTER SET latin1" + place)
		w.rename(from, to)
	case 6: // a column goes and another one of its name comes elsewhere
		n := w.pick()
		w.r.exec("ALTER TABLE entry DROP COLUMN " + n + ", ADD COLUMN " + n + " VARCHAR(21)" + place)
	case 7:
		w.r.exec("CREATE INDEX i" + fmt.Sprint(w.count) + " ON entry (id)")
		w.count++
	}
}

func TestL1_no_value_stands_under_another_columns_name_however_late_it_is_read(t *testing.T) {
	onBoth(t, func(t *testing.T, server localtest.Database) {
		r := rigOn(t, server, "CREATE TABLE entry (id INT PRIMARY KEY, a VARCHAR(20), b VARCHAR(20), note VARCHAR(20))")
		d := r.dataset(catalog.Spec{Name: "entry", Table: "entry"})
		w := &schemaWalk{r: r, rnd: rand.New(rand.NewPCG(3, 4)), names: []string{"a", "b", "note"}}
		var want []map[string]string
		id := 0
		for range 24 {
			w.alter()
			for range 3 {
				id++
				row := map[string]string{"id": fmt.Sprint(id)}
				columns, values := "id", fmt.Sprint(id)
				for _, n := range w.names {
					row[n] = fmt.Sprintf("%s/%d", n, id)
					columns, values = columns+","+n, values+",'"+row[n]+"'"
				}
				r.exec("INSERT INTO entry (" + columns + ") VALUES (" + values + ")")
				want = append(want, row)
			}
		}
		xs := r.read(r.open(r.source(r.dsn, 0, d), canal.Position{GTID: r.from})) // only now: with all the lag there is
		got := byName(t, xs)
		if len(got) != len(want) {
			t.Fatalf("%d rows instead of %d", len(got), len(want))
		}
		for i := range want {
			if !maps.Equal(got[i], want[i]) {
				t.Fatalf("row %d: %v, want %v", i, got[i], want[i])
			}
		}
		for _, x := range xs {
			for _, c := range x.Changes {
				for i, at := range formAt(&c) {
					if at >= 0 && c.Form.Columns[at].Name != d.Columns[i].Name {
						t.Fatalf("column %s of the dataset is said to be at %+v", d.Columns[i].Name, c.Form.Columns[at])
					}
				}
			}
		}
	})
}

func formAt(c *canal.Change) []int {
	if c.Form == nil {
		return nil
	}
	return c.Form.At
}

func TestForms_are_one_for_equal_tables_and_none_for_the_datasets_own(t *testing.T) {
	shard := "(id INT PRIMARY KEY, at DATETIME NOT NULL, note VARCHAR(9))"
	r := newRig(t, "CREATE TABLE e_202601 "+shard, "CREATE TABLE e_202602 "+shard)
	d := r.dataset(catalog.Spec{Name: "e", Table: "e", Time: "at", Shards: catalog.Scheme{{From: catalog.MinInstant, Interval: catalog.Monthly}}})
	src := r.source(r.dsn, 0, d)
	insert := func() {
		r.exec("INSERT INTO e_202601 (id,at) VALUES ((SELECT COUNT(*) FROM e_202601 x),'2026-01-01')")
		r.exec("INSERT INTO e_202602 (id,at) VALUES ((SELECT COUNT(*) FROM e_202602 x),'2026-02-01')")
	}
	insert()
	for _, table := range []string{"e_202601", "e_202602"} {
		r.exec("ALTER TABLE " + table + " ADD COLUMN more INT, DROP COLUMN note")
	}
	insert()
	var seen []*canal.Form
	for range 2 { // a stream that is opened again has them still
		seen = seen[:0]
		for _, x := range r.read(r.open(src, canal.Position{GTID: r.from})) {
			for _, c := range x.Changes {
				seen = append(seen, c.Form)
			}
		}
		if len(seen) != 4 || seen[0] != nil || seen[1] != nil || seen[2] == nil || seen[2] != seen[3] {
			t.Fatalf("%v", seen)
		}
	}
	if f := seen[2]; !slices.Equal(f.At, []int{0, 1, -1}) || len(f.Columns) != 3 || f.Columns[2].Name != "more" || f.Columns[2].Type != (catalog.Type{Kind: catalog.Int, Size: 4}) {
		t.Fatalf("%+v", f)
	}
}

func TestForms_know_columns_that_nobody_declared(t *testing.T) {
	r := newRig(t, entry)
	d := r.dataset(catalog.Spec{Name: "entry", Table: "entry"})
	r.exec("ALTER TABLE entry ADD u UUID, ADD i4 INET4 FIRST, ADD i6 INET6, ADD b16 BINARY(16), ADD e ENUM('x','y') CHARACTER SET latin1, ADD d DECIMAL(9,3), ADD t TIME(2), ADD n BIGINT UNSIGNED")
	r.exec("INSERT INTO entry VALUES ('1.2.3.4',1,'a','123e4567-e89b-12d3-a456-426655440000','::1','ab','y',1.5,'-01:02:03.4',18446744073709551615)")
	got := byName(t, r.read(r.open(r.source(r.dsn, 0, d), canal.Position{GTID: r.from})))
	want := map[string]string{"i4": "1.2.3.4", "id": "1", "note": "a", "u": "123e4567-e89b-12d3-a456-426655440000", "i6": "::1",
		"b16": "6162" + strings.Repeat("00", 14), "e": "y", "d": "1.500", "t": "-01:02:03.40", "n": "18446744073709551615"}
	if len(got) != 1 || !maps.Equal(got[0], want) {
		t.Fatalf("%v", got)
	}
}

func TestForms_take_no_type_from_a_table_that_has_changed_since(t *testing.T) {
	r := newRig(t, entry)
	d := r.dataset(catalog.Spec{Name: "entry", Table: "entry"})
	r.exec("ALTER TABLE entry ADD u UUID")
	r.exec("INSERT INTO entry VALUES (1,'a','123e4567-e89b-12d3-a456-426655440000')")
	r.exec("ALTER TABLE entry ADD first INT FIRST") // the name is at another place now
	got := byName(t, r.read(r.open(r.source(r.dsn, 0, d), canal.Position{GTID: r.from})))
	if want := "123e4567e89b12d3a456426655440000"; len(got) != 1 || got[0]["u"] != want {
		t.Fatalf("%v", got)
	}
}

func TestL11_a_table_without_the_time_column_poisons_its_dataset(t *testing.T) {
	shard := "(id INT PRIMARY KEY, at DATETIME NOT NULL, note VARCHAR(9))"
	r := newRig(t, "CREATE TABLE e_202601 "+shard)
	d := r.dataset(catalog.Spec{Name: "e", Table: "e", Time: "at", Shards: catalog.Scheme{{From: catalog.MinInstant, Interval: catalog.Monthly}}})
	r.exec("ALTER TABLE e_202601 RENAME COLUMN at TO happened")
	r.exec("INSERT INTO e_202601 VALUES (1,'2026-01-01','x')")
	xs := r.read(r.open(r.source(r.dsn, 0, d), canal.Position{GTID: r.from}))
	if last := xs[len(xs)-1]; len(last.Poison) != 1 || len(last.Changes) != 0 {
		t.Fatalf("%+v", last)
	}
}

func TestL11_DDL_that_row_events_do_not_tell_alarms_with_what_it_did(t *testing.T) {
	const none, someGone, gone, rewritten = canal.NoEffect, canal.SomeGone, canal.Gone, canal.Rewritten
	onBoth(t, func(t *testing.T, server localtest.Database) {
		shard := "(id INT PRIMARY KEY, note VARCHAR(20)) "
		r := rigOn(t, server, "CREATE TABLE entry "+shard, "CREATE TABLE other "+shard+"PARTITION BY RANGE (id) (PARTITION p0 VALUES LESS THAN (10), PARTITION p1 VALUES LESS THAN (20))", "CREATE TABLE staging "+shard)
		entry, other := r.dataset(catalog.Spec{Name: "entry", Table: "entry"}), r.dataset(catalog.Spec{Name: "other", Table: "other"})
		st := r.open(r.source(r.dsn, 0, entry, other), canal.Position{GTID: r.from})
		for _, c := range []struct {
			sql  string
			want []canal.Alarm
		}{
			{"ALTER TABLE entry ADD COLUMN more INT, ADD INDEX (more)", []canal.Alarm{{Table: "entry", What: "alter", Effect: none}}},
			{"ALTER TABLE entry DROP COLUMN note", []canal.Alarm{{Table: "entry", What: "alter", Effect: none}}},
			{"ALTER TABLE entry ADD COLUMN note VARCHAR(20) DEFAULT 'x'", []canal.Alarm{{Table: "entry", What: "alter", Effect: rewritten}}}, // a column of the dataset has other values now
			{"ALTER TABLE entry MODIFY note VARCHAR(10)", []canal.Alarm{{Table: "entry", What: "alter", Effect: rewritten}}},
			{"ALTER TABLE other TRUNCATE PARTITION p0", []canal.Alarm{{Table: "other", What: "partition", Effect: someGone}}},
			{"ALTER TABLE other EXCHANGE PARTITION p1 WITH TABLE staging", []canal.Alarm{{Table: "other", What: "partition", Effect: rewritten}}},
			{"ALTER TABLE other REORGANIZE PARTITION p0, p1 INTO (PARTITION p VALUES LESS THAN (20))", []canal.Alarm{{Table: "other", What: "partition", Effect: none}}},
			{"RENAME TABLE entry TO old, staging TO entry", []canal.Alarm{{Table: "entry", What: "rename", Effect: rewritten}}},
			{"CREATE INDEX i ON entry (note)", nil},
			{"TRUNCATE TABLE entry", []canal.Alarm{{Table: "entry", What: "truncate", Effect: gone}}},
			{"DROP TABLE other, entry", []canal.Alarm{{Table: "other", What: "drop", Effect: gone}, {Table: "entry", What: "drop", Effect: gone}}},
		} {
			r.exec(c.sql)
			var got []canal.Alarm
			for _, x := range r.read(st) {
				for _, a := range x.Alarms {
					if a.Statement == "" {
						t.Errorf("%s: no statement", c.sql)
					}
					got = append(got, canal.Alarm{Table: a.Table, What: a.What, Effect: a.Effect})
				}
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("%s: %+v, want %+v", c.sql, got, c.want)
			}
		}
	})
}

func TestL11_times_in_the_old_form_poison_their_dataset(t *testing.T) {
	r := newRig(t, "CREATE TABLE good (id INT PRIMARY KEY)")
	conn, err := r.sql.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	for _, q := range []string{"SET GLOBAL mysql56_temporal_format=OFF", "CREATE TABLE entry (id INT PRIMARY KEY, at DATETIME(3), t TIMESTAMP NULL)", "SET GLOBAL mysql56_temporal_format=ON",
		"INSERT INTO entry VALUES (1,'2026-01-01 00:00:00.123',NULL)", "INSERT INTO good VALUES (1)"} {
		if _, err := conn.ExecContext(t.Context(), q); err != nil {
			t.Fatal(q, err)
		}
	}
	src := r.source(r.dsn, 0, r.dataset(catalog.Spec{Name: "entry", Table: "entry"}), r.dataset(catalog.Spec{Name: "good", Table: "good"}))
	xs := r.read(r.open(src, canal.Position{GTID: r.from}))
	poison := ""
	for _, x := range xs {
		for _, p := range x.Poison {
			poison += p.Dataset.Name + ": " + p.Err.Error()
		}
	}
	if !strings.Contains(poison, "old form of a time") || !strings.HasPrefix(poison, "entry") || say(&xs[len(xs)-1]) != "good c#0 1; " {
		t.Fatal(poison, all(xs))
	}
}
