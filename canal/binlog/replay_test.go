package binlog_test

import (
	"fmt"
	"strings"
	"testing"

	"strata/canal"
	"strata/catalog"
	"strata/db"
	"strata/local/localtest"
)

// replica is tables as the changes of a stream make them: by shard and key, the row.
type replica map[string]map[string]string

// rowText is the row's key and all its cells, in the dataset's order.
func rowText(d *catalog.Dataset, form *canal.Form, row *catalog.Row) (key, cells string) {
	at := func(i int) int {
		if form != nil {
			return form.At[i]
		}
		return i
	}
	var b strings.Builder
	for i := range d.Columns {
		if k := at(i); k < 0 || row.Null(k) {
			b.WriteString(" NULL")
		} else {
			fmt.Fprintf(&b, " %q", row.Text(k))
		}
	}
	for _, i := range d.KeyIndexes() {
		key += fmt.Sprintf("%q ", row.Text(at(i)))
	}
	return key, b.String()
}

// apply applies a change, and says where it doesn't fit what came before.
func (m replica) apply(c *canal.Change) error {
	rows := m[c.Shard]
	if rows == nil {
		rows = map[string]string{}
		m[c.Shard] = rows
	}
	if c.Op != canal.Insert {
		key, cells := rowText(c.Dataset, c.Form, &c.Before)
		if rows[key] != cells {
			return fmt.Errorf("%s of %s %s: before is%.300s, it was%.300s", string(c.Op), c.Shard, key, cells, rows[key])
		}
		delete(rows, key)
	}
	if c.Op != canal.Delete {
		key, cells := rowText(c.Dataset, c.Form, &c.After)
		if _, there := rows[key]; there {
			return fmt.Errorf("%s of %s %s, which is there", string(c.Op), c.Shard, key)
		}
		rows[key] = cells
	}
	return nil
}

// differences are those to what SELECT gives.
func (m replica) differences(r *rig, d *catalog.Dataset) (out []string) {
	r.t.Helper()
	sel, err := r.db.Query(r.t.Context(), d, nil, "SELECT "+db.SelectList(d, nil, "")+" FROM "+db.Quote(d.Table))
	if err != nil {
		r.t.Fatal(err)
	}
	defer func() { _ = sel.Close() }()
	n := 0
	var row catalog.Row
	for {
		ok, err := sel.Next(&row)
		if err != nil {
			r.t.Fatal(err)
		}
		if !ok {
			break
		}
		n++
		if key, cells := rowText(d, nil, &row); m[d.Table][key] != cells {
			out = append(out, fmt.Sprintf("%s %s: replayed%.300s, SELECT%.300s", d.Table, key, m[d.Table][key], cells))
		}
	}
	if n != len(m[d.Table]) {
		out = append(out, fmt.Sprintf("%s: %d rows replayed, %d in SELECT", d.Table, len(m[d.Table]), n))
	}
	return out
}

// replayCase is tables, all captured, and what one session does to them.
type replayCase struct {
	tables, qs []string
	only       db.Flavor
	both       bool
}

func replayCases() map[string]replayCase {
	wide := "w (id INT PRIMARY KEY"
	for i := range 1000 {
		wide += fmt.Sprintf(", c%d TINYINT UNSIGNED", i)
	}
	a, m := "a (id INT PRIMARY KEY, v INT)", "m (id INT PRIMARY KEY, v INT) ENGINE=MyISAM"
	return map[string]replayCase{
		"mixed engines rolled back": {[]string{a, m}, []string{"BEGIN", "INSERT INTO a VALUES (1,1)", "INSERT INTO m VALUES (1,1)", "INSERT INTO a VALUES (2,1)", "INSERT INTO m SELECT id+10,v FROM a", "ROLLBACK",
			"BEGIN", "INSERT INTO a VALUES (3,1)", "INSERT INTO m VALUES (3,1)", "UPDATE a,m SET a.v=7,m.v=8 WHERE a.id=m.id", "COMMIT"}, db.MariaDB, false},
		"every DML": {[]string{"a (id INT PRIMARY KEY, v INT, u INT UNIQUE)", "b (id INT PRIMARY KEY AUTO_INCREMENT, v INT)"}, []string{"INSERT INTO a VALUES (1,1,1),(2,2,2)", "REPLACE INTO a VALUES (3,3,1)", "REPLACE INTO a VALUES (3,4,2)",
			"INSERT INTO a VALUES (3,3,3) ON DUPLICATE KEY UPDATE v=99", "INSERT INTO b (v) SELECT v FROM a", "INSERT INTO a VALUES (10,1,10),(11,1,11)", "UPDATE a JOIN b ON a.id=b.id+9 SET a.v=5,b.v=6",
			"DELETE a,b FROM a JOIN b ON a.id=b.id+9", "UPDATE a SET id=id+100 ORDER BY id DESC", "INSERT IGNORE INTO a VALUES (1,1,1),(1,1,2)", "DELETE FROM a ORDER BY id LIMIT 1"}, 0, true},
		"a thousand columns": {[]string{wide + ")"}, []string{"INSERT INTO w (id,c0,c62,c63,c64,c999) VALUES (1,1,255,255,200,128)", "INSERT INTO w (id) VALUES (2)", "UPDATE w SET c511=255 WHERE id=2", "DELETE FROM w WHERE id=1"}, 0, true},
		"odd keys and values": {[]string{"k (id VARCHAR(30) CHARACTER SET utf8mb4 PRIMARY KEY, e ENUM('a','b'), s SET('x','y'), b BIT(1), d DECIMAL(65,30), y YEAR, t TIME(3), g GEOMETRY)"}, []string{"SET SESSION sql_mode=''",
			"INSERT INTO k VALUES ('😀','','',b'1',-99999999999999999999999999999999999.999999999999999999999999999999,0,'-00:00:00.001',NULL)", "INSERT INTO k (id) VALUES ('')", "UPDATE k SET id='😀x' WHERE id='😀'",
			"INSERT INTO k (id,e,t,y,d) VALUES ('a','zz','-838:59:59.999',1901,-0.000000000000000000000000000001)", "INSERT INTO k (id,g) VALUES ('g', ST_GeomFromText('GEOMETRYCOLLECTION EMPTY'))"}, 0, true},
		"partitions": {[]string{"p (id INT PRIMARY KEY, v INT) PARTITION BY HASH(id) PARTITIONS 7"}, []string{"INSERT INTO p VALUES (1,1),(2,2),(3,3)", "UPDATE p SET id=id+10", "DELETE FROM p PARTITION (p4)"}, 0, true},
		"widths and ZEROFILL": {[]string{"f (id INT PRIMARY KEY, a FLOAT(10,2), b DOUBLE(20,3), c FLOAT, d REAL, e DECIMAL(5,2) ZEROFILL, f INT(6) ZEROFILL, g FLOAT ZEROFILL)"},
			[]string{"INSERT INTO f VALUES (1,1.1,1.1,1.1,1.1,1.1,7,1.5),(2,12345678.9,-0.0005,16777217,1e308,0,0,0),(3,99999.99,123456789012345.678,3.4e38,2.2250738585072014e-308,999.99,999999,1e10)"}, 0, true},
		"temporary tables of the same name": {[]string{a}, []string{"CREATE TEMPORARY TABLE tt (id INT PRIMARY KEY, v INT)", "INSERT INTO tt VALUES (1,1)", "BEGIN", "INSERT INTO a SELECT * FROM tt", "DROP TEMPORARY TABLE tt", "ROLLBACK",
			"CREATE TEMPORARY TABLE a (id INT PRIMARY KEY, v INT)", "INSERT INTO a VALUES (5,5)", "TRUNCATE TABLE a", "ALTER TABLE a ADD x INT", "DROP TEMPORARY TABLE a", "INSERT INTO a VALUES (6,6)"}, 0, true},
		"XA of nothing, and an id used again": {[]string{a}, []string{"XA START 'e'", "XA END 'e'", "XA PREPARE 'e'", "XA COMMIT 'e'", "XA START 'e'", "INSERT INTO a VALUES (7,7)", "DELETE FROM a WHERE id=7", "XA END 'e'", "XA PREPARE 'e'", "XA COMMIT 'e'",
			"XA START 'e'", "INSERT INTO a VALUES (8,8)", "XA END 'e'", "XA PREPARE 'e'", "XA ROLLBACK 'e'", "XA START 'e'", "INSERT INTO a VALUES (9,9)", "XA END 'e'", "XA PREPARE 'e'", "XA COMMIT 'e'"}, 0, true},
		"XA ids of bytes":         {[]string{a}, []string{"XA START X'00ff27',X'0a5c',2147483647", "INSERT INTO a VALUES (1,1)", "XA END X'00ff27',X'0a5c',2147483647", "XA PREPARE X'00ff27',X'0a5c',2147483647", "XA COMMIT X'00ff27',X'0a5c',2147483647"}, 0, true},
		"XA ids of large formats": {[]string{a}, []string{"XA START 'f','',4294967294", "INSERT INTO a VALUES (2,2)", "XA END 'f','',4294967294", "XA PREPARE 'f','',4294967294", "XA COMMIT 'f','',4294967294"}, db.MySQL, false},
		"domains and numbers": {[]string{a}, []string{"INSERT INTO a VALUES (1,1)", "SET SESSION gtid_domain_id=77", "INSERT INTO a VALUES (2,1)", "SET SESSION server_id=4711", "INSERT INTO a VALUES (3,1)",
			"SET SESSION gtid_seq_no=18446744073709551610", "INSERT INTO a VALUES (4,1)", "SET SESSION gtid_domain_id=4294967295", "INSERT INTO a VALUES (5,1)", "SET SESSION gtid_domain_id=0", "INSERT INTO a VALUES (6,1)"}, db.MariaDB, false},
		"a generated key": {[]string{"g (v INT, w INT GENERATED ALWAYS AS (v+1) STORED PRIMARY KEY)"}, []string{"INSERT INTO g (v) VALUES (1),(2)", "UPDATE g SET v=9 WHERE v=2"}, db.MySQL, false},
		"cascades where they are logged": {[]string{"par (id INT PRIMARY KEY)", "child (id INT PRIMARY KEY, p INT, FOREIGN KEY (p) REFERENCES par (id) ON DELETE CASCADE ON UPDATE SET NULL)"},
			[]string{"INSERT INTO par VALUES (1),(2)", "INSERT INTO child VALUES (1,1),(2,2)", "UPDATE par SET id=5 WHERE id=2", "DELETE FROM par WHERE id=1"}, db.MySQL, false},
	}
}

func TestL1_changes_replayed_give_the_tables(t *testing.T) {
	onBoth(t, func(t *testing.T, server localtest.Database) {
		for name, c := range replayCases() {
			t.Run(name, func(t *testing.T) {
				r := rigOn(t, server)
				if !c.both && r.db.Flavor() != c.only {
					t.Skip("only " + c.only.String())
				}
				var datasets []*catalog.Dataset
				for _, ddl := range c.tables {
					r.exec("CREATE TABLE " + ddl)
					table, _, _ := strings.Cut(ddl, " ")
					datasets = append(datasets, r.dataset(catalog.Spec{Name: table, Table: table}))
				}
				st := r.open(r.source(r.dsn, 0, datasets...), canal.Position{GTID: r.from})
				r.session(c.qs...)
				got := replica{}
				xs := r.read(st)
				for i := range xs {
					if len(xs[i].Poison) > 0 {
						t.Fatal(xs[i].Poison[0].Err)
					}
					for k := range xs[i].Changes {
						if err := got.apply(&xs[i].Changes[k]); err != nil {
							t.Fatal(err)
						}
					}
				}
				for _, d := range datasets {
					for _, text := range got.differences(r, d) {
						t.Error(text)
					}
				}
			})
		}
	})
}
