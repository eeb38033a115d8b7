package db_test

import (
	"context"
	"strconv"
	"strings"
	"testing"

	"strata/catalog"
	"strata/db"
	"strata/fault"
	"strata/local/localtest"
)

// typeCase is one column: its definition, the type that Describe must give, and literals with their canonical cells;
// "\x00" stands for NULL.
type typeCase struct {
	def   string
	typ   catalog.Type
	cells [][2]string
}

const null = "\x00"

func typeCases() []typeCase {
	type T = catalog.Type
	return []typeCase{
		{"TINYINT", T{Kind: catalog.Int, Size: 1}, [][2]string{{"-128", "-128"}, {"NULL", null}, {"0", "0"}}},
		{"SMALLINT UNSIGNED", T{Kind: catalog.Uint, Size: 2}, [][2]string{{"65535", "65535"}}},
		{"MEDIUMINT", T{Kind: catalog.Int, Size: 3}, [][2]string{{"-8388608", "-8388608"}}},
		{"MEDIUMINT UNSIGNED", T{Kind: catalog.Uint, Size: 3}, [][2]string{{"16777215", "16777215"}}},
		{"INT(8) ZEROFILL", T{Kind: catalog.Uint, Size: 4}, [][2]string{{"42", "42"}, {"4294967295", "4294967295"}}},
		{"BIGINT", T{Kind: catalog.Int, Size: 8}, [][2]string{{"-9223372036854775808", "-9223372036854775808"}}},
		{"BIGINT UNSIGNED", T{Kind: catalog.Uint, Size: 8}, [][2]string{{"18446744073709551615", "18446744073709551615"}}},
		{"DECIMAL(65,30)", T{Kind: catalog.Decimal, Scale: 30}, [][2]string{
			{"99999999999999999999999999999999999.999999999999999999999999999999", "99999999999999999999999999999999999.999999999999999999999999999999"},
			{"-0.5", "-0.500000000000000000000000000000"}, {"0", "0.000000000000000000000000000000"}}},
		{"DECIMAL(5,2) ZEROFILL", T{Kind: catalog.Decimal, Scale: 2}, [][2]string{{"0.5", "0.50"}, {"12.5", "12.50"}}},
		{"DECIMAL(10)", T{Kind: catalog.Decimal}, [][2]string{{"-7", "-7"}}},
		{"FLOAT", T{Kind: catalog.Float}, [][2]string{{"0.1", "0.1"}, {"16777217", "1.6777216e+07"}, {"-1e-30*1e-30", "0"}, {"3.4028234e38", "3.4028235e+38"}, {"NULL", null}}},
		{"DOUBLE", T{Kind: catalog.Double}, [][2]string{{"0.1", "0.1"}, {"1e300", "1e+300"}, {"-1e-300*1e-300", "0"}, {"0.1e0+0.2e0", "0.30000000000000004"}}},
		{"DATE", T{Kind: catalog.Date}, [][2]string{{"'2026-02-28'", "2026-02-28"}, {"'0000-00-00'", "0000-00-00"}, {"'2026-00-00'", "2026-00-00"}}},
		{"DATETIME", T{Kind: catalog.DateTime}, [][2]string{{"'2026-01-31 23:59:59'", "2026-01-31 23:59:59"}, {"0", "0000-00-00 00:00:00"}}},
		{"DATETIME(6)", T{Kind: catalog.DateTime, FSP: 6}, [][2]string{{"'2026-01-31 23:59:59.5'", "2026-01-31 23:59:59.500000"}}},
		{"TIMESTAMP(3) NULL", T{Kind: catalog.Timestamp, FSP: 3}, [][2]string{{"'2026-03-29 02:30:00'", "2026-03-29 02:30:00.000"}, {"NULL", null}}},
		{"TIME", T{Kind: catalog.Time}, [][2]string{{"'-838:59:59'", "-838:59:59"}, {"'08:00'", "08:00:00"}}},
		{"TIME(6)", T{Kind: catalog.Time, FSP: 6}, [][2]string{{"'12:00:00'", "12:00:00.000000"}, {"'-00:00:00.1'", "-00:00:00.100000"}}},
		{"YEAR", T{Kind: catalog.Year}, [][2]string{{"2026", "2026"}, {"0", "0000"}}},
		{"YEAR(2)", T{Kind: catalog.Year, Size: 2}, [][2]string{{"2026", "2026"}, {"0", "2000"}, {"1970", "1970"}, {"69", "2069"}, {"99", "1999"}}},
		{"CHAR(5) CHARACTER SET latin1", T{Kind: catalog.Text}, [][2]string{{"_latin1 X'E9'", "é"}, {"'a  '", "a"}}},
		{"VARCHAR(20) CHARACTER SET gbk", T{Kind: catalog.Text}, [][2]string{{"'付款'", "付款"}, {"'a  '", "a  "}}},
		{"VARCHAR(20) CHARACTER SET utf8mb4", T{Kind: catalog.Text}, [][2]string{{"''", ""}, {"NULL", null}, {"'😀\\0\\\\\\''", "😀\x00\\'"}}},
		{"LONGTEXT CHARACTER SET utf8mb4", T{Kind: catalog.Text}, [][2]string{{"REPEAT('é', 70000)", strings.Repeat("é", 70000)}, {"''", ""}}},
		{"ENUM('a,b','c''d')", T{Kind: catalog.Enum}, [][2]string{{"'c''d'", "c'd"}, {"1", "a,b"}}},
		{"SET('x','y','z')", T{Kind: catalog.Set}, [][2]string{{"'z,x'", "x,z"}, {"''", ""}}},
		{"JSON", T{Kind: catalog.Text}, [][2]string{{`'{"b": 1.50, "a": "é"}'`, `{"b": 1.50, "a": "é"}`}}},
		{"UUID", T{Kind: catalog.UUID}, [][2]string{{"'123E4567-e89b-12d3-a456-426655440000'", "123e4567-e89b-12d3-a456-426655440000"}}},
		{"INET4", T{Kind: catalog.INET, Size: 4}, [][2]string{{"'192.168.0.1'", "192.168.0.1"}}},
		{"INET6", T{Kind: catalog.INET, Size: 16}, [][2]string{{"'2001:db8::ff00'", "2001:db8::ff00"}}},
		{"BINARY(6)", T{Kind: catalog.Binary, Size: 6, Fixed: true}, [][2]string{{"'ab'", "616200000000"}}},
		{"VARBINARY(10)", T{Kind: catalog.Binary}, [][2]string{{"X'00FF'", "00ff"}, {"''", ""}, {"NULL", null}}},
		{"BLOB", T{Kind: catalog.Binary}, [][2]string{{"X'27005C'", "27005c"}}},
		{"BIT(64)", T{Kind: catalog.Bit, Size: 64}, [][2]string{{"18446744073709551615", "ffffffffffffffff"}, {"5", "0000000000000005"}}},
		{"BIT(9)", T{Kind: catalog.Bit, Size: 9}, [][2]string{{"b'100000001'", "0101"}}},
		{"POINT", T{Kind: catalog.Spatial}, [][2]string{{"ST_PointFromText('POINT(1 2)')", "000000000101000000000000000000f03f0000000000000040"}}},
		{"VARCHAR(9) INVISIBLE", T{Kind: catalog.Text}, [][2]string{{"'x'", "x"}}},
	}
}

func TestEveryTypeIsCanonical(t *testing.T) {
	m := localtest.Shared(t)
	dsn := localtest.Schema(t, m)
	w, r := open(t, dsn, db.Writer), open(t, dsn, db.Reader)
	exec(t, w, "CREATE TABLE probe (id INT PRIMARY KEY)")
	for _, c := range typeCases() {
		t.Run(strings.ReplaceAll(c.def, "/", "_"), func(t *testing.T) { typeIsCanonical(t, w, r, c) })
	}
}

// typeIsCanonical writes the case's literals to a table and reads them back.
func typeIsCanonical(t *testing.T, w, r *db.DB, c typeCase) {
	t.Helper()
	exec(t, w, "DROP TABLE IF EXISTS v", "CREATE TABLE v (id INT PRIMARY KEY, c "+c.def+")")
	cols, key, err := db.Describe(t.Context(), r, "v")
	must(t, err)
	if len(cols) != 2 || len(key) != 1 || key[0] != "id" {
		t.Fatalf("columns %+v, key %v", cols, key)
	}
	if cols[1].Type != c.typ {
		t.Fatalf("type %+v, want %+v", cols[1].Type, c.typ)
	}
	ds := &catalog.Dataset{Name: "v", Table: "v", Columns: cols, Key: key}
	for i, cell := range c.cells {
		exec(t, w, "INSERT INTO v (id, c) VALUES ("+strconv.Itoa(i)+", "+cell[0]+")")
	}
	rows, err := r.Query(t.Context(), ds, nil, "SELECT "+db.SelectList(ds, nil, "v")+" FROM v ORDER BY id")
	must(t, err)
	var row catalog.Row
	for i, cell := range c.cells {
		ok, err := rows.Next(&row)
		must(t, err)
		if !ok {
			t.Fatalf("%d rows, want %d", i, len(c.cells))
		}
		if got := row.Cell(1); (got == nil) != (cell[1] == null) || got != nil && string(got) != cell[1] {
			t.Errorf("%s is %q (NULL: %v), want %q", cell[0], got, got == nil, cell[1])
		}
		bindFinds(t, w, cols[1].Type, row.Cell(1), i)
	}
	must(t, rows.Close())
}

// TestEmptyCellThatComesFirst: of each kind of column that may be empty, where no cell was read before it.
func TestEmptyCellThatComesFirst(t *testing.T) {
	dsn := localtest.Schema(t, localtest.Shared(t))
	w, r := open(t, dsn, db.Writer), open(t, dsn, db.Reader)
	for _, def := range []string{"VARBINARY(10)", "VARCHAR(10)", "SET('x')"} {
		exec(t, w, "CREATE OR REPLACE TABLE v (c "+def+" PRIMARY KEY)", "INSERT INTO v VALUES ('')")
		cols, key, err := db.Describe(t.Context(), r, "v")
		must(t, err)
		ds := &catalog.Dataset{Name: "v", Table: "v", Columns: cols, Key: key}
		rows, err := r.Query(t.Context(), ds, nil, "SELECT "+db.SelectList(ds, nil, "v")+" FROM v")
		must(t, err)
		var row catalog.Row
		if ok, err := rows.Next(&row); err != nil || !ok || row.Cell(0) == nil {
			t.Errorf("%s: %v, %v: NULL in place of the empty cell", def, ok, err)
		}
		must(t, rows.Close())
	}
}

// bindFinds checks that Bind's expression, written to the column, gives the same row again: the cell is whole.
func bindFinds(t *testing.T, w *db.DB, typ catalog.Type, cell []byte, id int) {
	t.Helper()
	if typ.Kind == catalog.Text && len(cell) > 1000 {
		return
	}
	if k := typ.Kind; (k == catalog.Float || k == catalog.Double) && string(cell) == "0" {
		return // a stored negative zero reads as zero
	}
	expr, args, err := db.Bind(typ, cell, nil)
	must(t, err)
	args = append(args, id)
	res, err := w.SQL().ExecContext(t.Context(), "UPDATE v SET c="+expr+" WHERE id=?", args...)
	must(t, err)
	if n, _ := res.RowsAffected(); n != 0 {
		t.Errorf("writing %q back by %s changed the row", cell, expr)
	}
}

func TestDescribe(t *testing.T) {
	_, w, r := setup(t, 0)
	exec(t, w, "CREATE TABLE k (a INT, b VARCHAR(9) COLLATE utf8mb4_bin, g INT AS (a+1) STORED, h INT AS (a+2) VIRTUAL, PRIMARY KEY (b, a))",
		"CREATE TABLE nokey (a INT)", "CREATE VIEW k_view AS SELECT * FROM k", "CREATE TABLE K_upper (a INT)", "CREATE TABLE kx_1 (a INT)")
	cols, key, err := db.Describe(t.Context(), r, "k")
	must(t, err)
	if len(cols) != 4 || strings.Join(key, ",") != "b,a" || !cols[1].BinaryCollation() || cols[0].Nullable || !cols[2].Nullable {
		t.Errorf("columns %+v, key %v", cols, key)
	}
	_, key, err = db.Describe(t.Context(), r, "nokey")
	must(t, err)
	if key == nil || len(key) != 0 {
		t.Errorf("key %v of a table without one", key)
	}
	_, _, err = db.Describe(t.Context(), r, "absent")
	wantKind(t, err, fault.NotFound)
	tables, err := db.Tables(t.Context(), r, "k")
	must(t, err)
	if strings.Join(tables, ",") != "k,kx_1" {
		t.Errorf("tables %v", tables)
	}
	tables, err = db.Tables(t.Context(), r, "k_")
	must(t, err)
	if len(tables) != 0 {
		t.Errorf("tables %v: _ is no wildcard", tables)
	}
}

func TestResolve(t *testing.T) {
	_, w, r := setup(t, 0)
	exec(t, w, "CREATE TABLE nokey (a INT)", "CREATE TABLE e_202601 (id BIGINT, at DATETIME(6) NOT NULL, acc INT, amount BIGINT, unit CHAR(3), d DECIMAL(9,2), PRIMARY KEY (id, at))",
		"CREATE TABLE e_late_1 (id BIGINT PRIMARY KEY)", "CREATE TABLE e_20260 (id BIGINT PRIMARY KEY)", "CREATE TABLE f (x FLOAT PRIMARY KEY)")
	month := catalog.Scheme{{From: catalog.MinInstant, Interval: catalog.Monthly}}
	good := catalog.Spec{Name: "e", Time: "at", Shards: month, Account: "acc", Money: []catalog.Money{{Column: "amount", UnitColumn: "unit"}}}
	ds, err := db.Resolve(t.Context(), r, good)
	must(t, err)
	if strings.Join(ds.Key, ",") != "id,at" || len(ds.Columns) != 6 || ds.Partitions != 4 || ds.Table != "e" {
		t.Errorf("%+v", ds)
	}
	bad := func(name, want string, change func(*catalog.Spec)) {
		t.Run(name, func(t *testing.T) {
			s := good
			change(&s)
			_, err := db.Resolve(context.Background(), r, s)
			wantKind(t, err, fault.Invalid)
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%v does not name %q", err, want)
			}
		})
	}
	bad("no key", "no primary key", func(s *catalog.Spec) { *s = catalog.Spec{Name: "nokey"} })
	bad("float key", "not exact", func(s *catalog.Spec) { *s = catalog.Spec{Name: "f"} })
	bad("other key", "is not the primary key", func(s *catalog.Spec) { s.Key = []string{"at", "id"} })
	bad("time of no time", "must be a date", func(s *catalog.Spec) { s.Time = "acc" })
	bad("money not integer", "not an integer", func(s *catalog.Spec) { s.Money = []catalog.Money{{Column: "d", Unit: "EUR"}} })
	bad("no text column", "text column u is not in table", func(s *catalog.Spec) { s.Text = []string{"u"} })
	bad("text of no characters", "text column d is a decimal, not a character column", func(s *catalog.Spec) { s.Text = []string{"d"} })
	bad("no unit column", "unit column u", func(s *catalog.Spec) { s.Money = []catalog.Money{{Column: "amount", UnitColumn: "u"}} })
	bad("no account column", "account column owner", func(s *catalog.Spec) { s.Account = "owner" })
	bad("no shard", "has no shard", func(s *catalog.Spec) { s.Table = "g" })
}

func TestResolve_takes_the_newest_shard_that_has_a_key(t *testing.T) {
	dsn := localtest.Schema(t, localtest.Shared(t))
	w, r := open(t, dsn, db.Writer), open(t, dsn, db.Reader)
	exec(t, w, "CREATE TABLE s_202601 (id INT PRIMARY KEY, at DATETIME NOT NULL)", "CREATE TABLE s_202602 (id INT PRIMARY KEY, at DATETIME NOT NULL, note TEXT)",
		"CREATE TABLE s_202603 (id INT, at DATETIME NULL)", "CREATE TABLE s_late_1 (id INT PRIMARY KEY, at DATETIME NOT NULL)")
	spec := catalog.Spec{Name: "s", Time: "at", Shards: catalog.Scheme{{From: catalog.MinInstant, Interval: catalog.Monthly}}}
	ds, err := db.Resolve(t.Context(), r, spec)
	must(t, err)
	if len(ds.Columns) != 3 || len(ds.Key) != 1 {
		t.Errorf("%+v", ds)
	}
	exec(t, w, "DROP TABLE s_202601, s_202602, s_late_1")
	if _, err := db.Resolve(t.Context(), r, spec); err == nil || !strings.Contains(err.Error(), "s_202603 has no primary key") {
		t.Error(err)
	}
}
