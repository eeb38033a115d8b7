package binlog_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"testing"

	"strata/canal"
	"strata/catalog"
	"strata/db"
	"strata/local/localtest"
)

// column is a type of the matrix with a maker of SQL values.
type column struct {
	ddl  string
	make func(*rand.Rand) string
}

// columns are the types that both servers have, and those of one of them.
func columns(flavor db.Flavor) []column {
	pick := func(vs ...string) func(*rand.Rand) string {
		return func(r *rand.Rand) string { return vs[r.IntN(len(vs))] }
	}
	quoted := func(f func(*rand.Rand) string) func(*rand.Rand) string {
		return func(r *rand.Rand) string { return "'" + f(r) + "'" }
	}
	integer := func(bits int, signed bool) func(*rand.Rand) string {
		return func(r *rand.Rand) string {
			v := r.Uint64() >> (64 - bits) >> r.IntN(bits)
			if !signed {
				return fmt.Sprint(v)
			}
			v >>= 1
			if r.IntN(2) == 0 {
				return fmt.Sprintf("-%d-1", v)
			}
			return fmt.Sprint(v)
		}
	}
	decimal := func(p, s int) func(*rand.Rand) string {
		return func(r *rand.Rand) string {
			digits := func(n int) string {
				b := []byte{}
				for range n {
					b = append(b, byte('0'+r.IntN(10)))
				}
				return string(b)
			}
			out := []string{"", "-"}[r.IntN(2)] + "0" + digits(r.IntN(p-s+1))
			if s > 0 {
				out += "." + digits(s)
			}
			return out
		}
	}
	frac := func(r *rand.Rand, fsp int) string {
		if fsp == 0 {
			return ""
		}
		if r.IntN(3) == 0 {
			return "." + strings.Repeat("0", fsp)
		}
		return fmt.Sprintf(".%0*d", fsp, r.IntN([]int{1, 10, 100, 1000, 10000, 100000, 1000000}[fsp]))
	}
	date := func(r *rand.Rand) string {
		return pick("0000-00-00", "1000-01-01", "9999-12-31", "2024-00-00", "2024-02-00", fmt.Sprintf("%04d-%02d-%02d", 1900+r.IntN(200), 1+r.IntN(12), 1+r.IntN(28)))(r)
	}
	text := func(alphabet string, most int) func(*rand.Rand) string {
		runes := []rune(alphabet)
		return quoted(func(r *rand.Rand) string {
			b := []rune{}
			for range r.IntN(most + 1) {
				b = append(b, runes[r.IntN(len(runes))])
			}
			return strings.TrimRight(string(b), " ")
		})
	}
	binary := func(most int) func(*rand.Rand) string {
		return func(r *rand.Rand) string {
			b := make([]byte, r.IntN(most+1))
			for i := range b {
				b[i] = byte(r.IntN(3) * r.IntN(128))
			}
			return fmt.Sprintf("x'%x'", b)
		}
	}
	out := []column{
		{"FLOAT", pick("0", "-0e0", "1.5", "-3.4e38", "1e-30", "16777217", "0.1", "123456.789", "1e7", "1e20", "1e21", "1e22")},
		{"DOUBLE", pick("0", "-0e0", "1.5", "-1.7e308", "5e-324", "0.1", "123456789.123456789", "1e7", "1e20", "1e21", "1e22", "9007199254740993")},
		{"YEAR", pick("0", "1901", "2026", "2155")}, {"DATE", quoted(date)},
		{"ENUM('a','b,c','d''e','中')", pick("'a'", "'b,c'", "'d''e'", "'中'")}, {"ENUM('é','乙') CHARACTER SET gbk", pick("'é'", "'乙'")},
		{"SET('x','y','zä')", pick("''", "'x'", "'y,zä'", "'x,y,zä'")},
		{"ENUM('中','b') CHARACTER SET binary", pick("'中'", "'b'", "0")}, {"SET('中','b') CHARACTER SET binary", pick("'中,b'", "'b'", "''")},
		{"BINARY(6)", binary(6)}, {"BINARY(255)", binary(40)}, {"VARBINARY(300)", binary(300)}, {"BLOB", binary(600)}, {"LONGBLOB", binary(70000)},
		{"CHAR(5)", text("ab 中é😀", 5)}, {"CHAR(200)", text("ab 中é😀", 9)}, {"VARCHAR(20)", text("ab 中é😀\"\t/", 20)}, {"TEXT", text("ab 中", 300)}, {"VARCHAR(300)", text("ab 中", 300)},
		{"VARCHAR(20) CHARACTER SET latin1", text("aé€ß•", 20)}, {"CHAR(9) CHARACTER SET latin1", text("aé€ß•", 9)}, {"VARCHAR(20) CHARACTER SET gbk", text("a中文付款€", 20)}, {"VARCHAR(20) CHARACTER SET gb2312", text("a中文付款", 20)},
		{"VARCHAR(20) CHARACTER SET utf8mb3", text("aé中", 20)}, {"VARCHAR(20) CHARACTER SET ascii", text("abc", 20)}, {"VARCHAR(20) CHARACTER SET ucs2", text("aé中", 20)}, {"CHAR(9) CHARACTER SET ucs2", text("aé中", 9)},
		{"VARCHAR(20) CHARACTER SET utf16", text("aé中😀", 20)}, {"VARCHAR(20) CHARACTER SET utf16le", text("aé中😀", 20)}, {"VARCHAR(20) CHARACTER SET utf32", text("aé中😀", 20)},
		{"VARCHAR(20) CHARACTER SET cp1251", text("aжя", 20)}, {"VARCHAR(20) CHARACTER SET koi8r", text("aжя", 20)}, {"VARCHAR(20) CHARACTER SET latin2", text("ażł", 20)},
		{"TEXT CHARACTER SET latin1", text("aé€", 50)}, {"POINT", pick("POINT(1,2)", "POINT(-1.5,0)")},
		{"SET(" + manyLabels() + ")", integer(64, false)}, {"ENUM('','a\\\\b','c''d',' e','f,g')", pick("''", `'a\\b'`, "'c''d'", "' e'", "'f,g'", "NULL")},
		{"GEOMETRY", pick("ST_GeomFromText('LINESTRING(0 0,1 1)')", "ST_GeomFromText('MULTIPOINT(1 2,3 4)',4326)", "ST_GeomFromText('POLYGON((0 0,0 1,1 1,0 0))')")},
		{"TINYTEXT CHARACTER SET gbk", text("a中文", 20)}, {"LONGTEXT", text("ab中😀", 900)}, {"TINYBLOB", binary(200)}, {"MEDIUMBLOB", binary(3000)},
		{"VARCHAR(20) CHARACTER SET big5", text("a中文付", 20)}, {"VARCHAR(20) CHARACTER SET sjis", text("aあｱ漢", 20)}, {"VARCHAR(20) CHARACTER SET cp932", text("aあｱ漢", 20)},
		{"VARCHAR(20) CHARACTER SET ujis", text("aあｱ漢", 20)}, {"VARCHAR(20) CHARACTER SET eucjpms", text("aあｱ漢", 20)}, {"VARCHAR(20) CHARACTER SET euckr", text("a한국", 20)},
		{"VARCHAR(20) CHARACTER SET greek", text("aαβ", 20)}, {"VARCHAR(20) CHARACTER SET tis620", text("aกข", 20)}, {"CHAR(9) CHARACTER SET utf32", text("aé中", 9)},
		{"INT INVISIBLE", integer(32, true)}, {"BIGINT GENERATED ALWAYS AS (id*2) VIRTUAL", nil}, {"VARCHAR(30) GENERATED ALWAYS AS (CONCAT('x',id)) STORED", nil},
	}
	if flavor == db.MariaDB {
		out = append(out,
			column{"VARCHAR(20) COLLATE uca1400_ai_ci", text("aé中", 20)}, column{"YEAR(2)", pick("0", "1970", "2026", "2069")},
			column{"UUID", pick("'123e4567-e89b-12d3-a456-426655440000'", "'01890000-0000-7000-8000-000000000000'", "'00000000-0000-0000-0000-000000000000'", "UUID()")},
			column{"INET6", pick("'::'", "'::1'", "'::ffff:1.2.3.4'", "'::1.2.3.4'", "'2001:db8::1:0:0:1'", "'1:0:2:3:4:5:6:7'", "'0:0:1::'", "'fe80::'", "'1:0:0:2::'", "'::ffff:0:0'", "'::5:0'")},
			column{"INET4", pick("'0.0.0.0'", "'1.2.3.0'", "'255.255.255.255'")},
			column{"VARCHAR(254) CHARACTER SET latin1 COMPRESSED", text("aaaa é", 254)}, column{"VARCHAR(255) CHARACTER SET latin1 COMPRESSED", text("aaaa é", 255)},
			column{"VARBINARY(300) COMPRESSED", binary(300)}, column{"TEXT COMPRESSED", text("ab 中", 700)}, column{"TINYBLOB COMPRESSED", binary(200)}, column{"LONGBLOB COMPRESSED", binary(70000)},
			column{"JSON", pick(`'{"a": [1, 2.50, "ü"]}'`, `'null'`, `'"x"'`)})
	} else {
		out = append(out, column{"JSON", jsonValue}, column{"JSON", jsonValue}, column{"VECTOR(3)", pick("TO_VECTOR('[1,2.5,-3]')", "TO_VECTOR('[0,0]')")})
	}
	for i, n := range []string{"TINYINT", "SMALLINT", "MEDIUMINT", "INT", "", "", "", "BIGINT"} {
		if n != "" {
			out = append(out, column{n, integer(8*i+8, true)}, column{n + " UNSIGNED", integer(8*i+8, false)})
		}
	}
	out = append(out, column{"INT(9) UNSIGNED ZEROFILL", integer(20, false)}, column{"DECIMAL(12,3) ZEROFILL", pick("0", "1.5", "99999.999")})
	for _, d := range [][2]int{{1, 0}, {9, 2}, {10, 0}, {18, 9}, {20, 11}, {38, 10}, {65, 30}, {30, 30}} {
		out = append(out, column{fmt.Sprintf("DECIMAL(%d,%d)", d[0], d[1]), decimal(d[0], d[1])})
	}
	for _, b := range []int{1, 7, 8, 9, 33, 64} {
		out = append(out, column{fmt.Sprintf("BIT(%d)", b), integer(b, false)})
	}
	for fsp := range 7 {
		out = append(out, column{fmt.Sprintf("DATETIME(%d)", fsp), quoted(func(r *rand.Rand) string {
			return fmt.Sprintf("%s %02d:%02d:%02d%s", date(r), r.IntN(24), r.IntN(60), r.IntN(60), frac(r, fsp))
		})}, column{fmt.Sprintf("TIMESTAMP(%d) NULL", fsp), quoted(func(r *rand.Rand) string {
			return pick("0000-00-00 00:00:00", "1970-01-01 00:00:01"+frac(r, fsp), "2038-01-19 03:14:07"+frac(r, fsp), fmt.Sprintf("2026-%02d-%02d %02d:%02d:%02d%s", 1+r.IntN(12), 1+r.IntN(28), r.IntN(24), r.IntN(60), r.IntN(60), frac(r, fsp)))(r)
		})}, column{fmt.Sprintf("TIME(%d)", fsp), quoted(func(r *rand.Rand) string {
			return fmt.Sprintf("%s%02d:%02d:%02d%s", []string{"", "-"}[r.IntN(2)], r.IntN(839), r.IntN(59), r.IntN(59), frac(r, fsp))
		})})
	}
	return out
}

// manyLabels are the 64 that a SET may have.
func manyLabels() string {
	var out []string
	for i := range 64 {
		out = append(out, fmt.Sprintf("'m%dé'", i))
	}
	return strings.Join(out, ",")
}

// jsonValue makes a value of MySQL's JSON, with the types that only its functions can make.
func jsonValue(r *rand.Rand) string {
	leaves := []string{"NULL", "1", "-1", "65535", "-32769", "4294967296", "18446744073709551615", "-9223372036854775808", "1.5e0", "0e0", "1e20", "1.25e-7", "123456789012345680e0", "1e15", "1e-15",
		"-1.5e300", "0.1e0", "1234567890123456.8e0", "-2251799813685247.5e0", "1234567890123456e0", "CAST('0.50' AS DECIMAL(5,2))", "CAST('-123456789012345678901234567890.123456789' AS DECIMAL(65,9))", "'text'", "''", "'中é😀'", `'a"b\\\\c\n\t\r'`, "CAST(x'01021f' AS CHAR)",
		"CAST('true' AS JSON)", "CAST('false' AS JSON)", "CAST('null' AS JSON)", "CAST('2026-01-02' AS DATE)", "CAST('2026-01-02 03:04:05.67' AS DATETIME(6))", "CAST('-12:34:56.7' AS TIME(6))", "CAST('00:00:00' AS TIME)",
		"CAST('2026-01-02 03:04:05' AS DATETIME)", "x'00ff'", "REPEAT(x'00ff', 100)", "b'101'", "REPEAT('long ', 100)", "REPEAT('x', 70000)", "'{}'", "JSON_OBJECT()", "JSON_ARRAY()", "ST_GeomFromText('POINT(1 2)')"}
	leaf := func() string { return leaves[r.IntN(len(leaves))] }
	var value func(depth int) string
	value = func(depth int) string {
		if depth == 0 || r.IntN(3) == 0 {
			return leaf()
		}
		var parts []string
		object := r.IntN(2) == 0
		for i := range r.IntN(5) {
			if object {
				parts = append(parts, fmt.Sprintf("'%s%d'", []string{"k", "a longer key ", "é"}[r.IntN(3)], i))
			}
			parts = append(parts, value(depth-1))
		}
		if object {
			return "JSON_OBJECT(" + strings.Join(parts, ",") + ")"
		}
		return "JSON_ARRAY(" + strings.Join(parts, ",") + ")"
	}
	return "JSON_EXTRACT(JSON_ARRAY(" + value(3) + "),'$[0]')"
}

// matrix is the tables of the test with their columns.
func matrix(flavor db.Flavor) map[string][]column {
	text := func(chars string, most int) func(*rand.Rand) string {
		runes := []rune(chars)
		return func(r *rand.Rand) string {
			var b strings.Builder
			for range r.IntN(most + 1) {
				b.WriteRune(runes[r.IntN(len(runes))])
			}
			return "'" + strings.TrimRight(b.String(), " ") + "'"
		}
	}
	all := columns(flavor)
	out := map[string][]column{"m_utf8mb4": all[:len(all)/2], "n_utf8mb4": all[len(all)/2:]}
	for set, chars := range map[string]string{"latin1": "aé€ß ", "gbk": "a中文 ", "utf8mb3": "aé中 "} {
		labels := fmt.Sprintf("('%c','b,c','%s')", []rune(chars)[1], strings.TrimSpace(chars))
		out["t_"+set] = []column{{"CHAR(7)", text(chars, 7)}, {"VARCHAR(99)", text(chars, 99)}, {"TEXT", text(chars, 300)}, {"TINYTEXT", text(chars, 20)},
			{"ENUM" + labels, func(r *rand.Rand) string { return fmt.Sprint(1 + r.IntN(3)) }}, {"CHAR(255)", text(chars, 200)}, {"VARBINARY(9)", func(*rand.Rand) string { return "x'e900ff'" }}}
	}
	return out
}

// TestCells_of_the_binlog_equal_those_of_SELECT compares in this process and in others, whose own time zones differ.
func TestCells_of_the_binlog_equal_those_of_SELECT(t *testing.T) {
	onBoth(t, func(t *testing.T, server localtest.Database) {
		r := rigOn(t, server)
		tables := matrix(r.db.Flavor())
		const rows = 60
		for name, cols := range tables {
			fillMatrix(t, r, name, cols, rows)
		}
		for _, zone := range []string{"UTC", "Asia/Shanghai", "America/New_York"} {
			t.Run(zone, func(t *testing.T) {
				cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestCells_in_a_time_zone$", "-test.v")
				cmd.Env = append(os.Environ(), "TZ="+zone, matrixDSN+"="+r.dsn, matrixFrom+"="+r.from)
				out, err := cmd.CombinedOutput()
				if err != nil || !strings.Contains(string(out), fmt.Sprintf("%d cells are equal", cellsOf(tables, rows))) {
					t.Fatalf("%v\n%s", err, out)
				}
			})
		}
	})
}

const (
	matrixDSN  = "STRATA_TEST_MATRIX_DSN"
	matrixFrom = "STRATA_TEST_MATRIX_FROM"
)

func cellsOf(tables map[string][]column, rows int) int {
	n := 0
	for _, cols := range tables {
		n += rows * (1 + len(cols))
	}
	return n
}

// fillMatrix makes a table and inserts rows of random values.
func fillMatrix(t *testing.T, r *rig, table string, cols []column, rows int) {
	t.Helper()
	_, set, _ := strings.Cut(table, "_")
	ddl, names := []string{"id INT PRIMARY KEY"}, []string{"id"}
	for i, c := range cols {
		ddl = append(ddl, fmt.Sprintf("c%d %s", i, c.ddl))
		if c.make != nil {
			names = append(names, fmt.Sprintf("c%d", i))
		}
	}
	r.exec("CREATE TABLE " + table + " (" + strings.Join(ddl, ",") + ") CHARACTER SET " + set + " ROW_FORMAT=DYNAMIC")
	conn, err := r.sql.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if _, err := conn.ExecContext(t.Context(), "SET SESSION sql_mode='ALLOW_INVALID_DATES', time_zone='+00:00'"); err != nil {
		t.Fatal(err)
	}
	rnd := rand.New(rand.NewPCG(1, 2))
	for id := range rows {
		vals := []string{fmt.Sprint(id)}
		for _, c := range cols {
			switch {
			case c.make == nil:
			case rnd.IntN(12) == 0:
				vals = append(vals, "NULL")
			default:
				vals = append(vals, c.make(rnd))
			}
		}
		if _, err := conn.ExecContext(t.Context(), "INSERT INTO "+table+" ("+strings.Join(names, ",")+") VALUES ("+strings.Join(vals, ",")+")"); err != nil {
			t.Fatalf("%.2000s: %v", strings.Join(vals, ","), err)
		}
	}
}

func TestCells_in_a_time_zone(t *testing.T) {
	dsn := os.Getenv(matrixDSN)
	if dsn == "" {
		t.Skip("run by TestCells_of_the_binlog_equal_those_of_SELECT in processes of its own")
	}
	r := rigAt(t, dsn)
	r.from = os.Getenv(matrixFrom)
	tables := matrix(r.db.Flavor())
	var datasets []*catalog.Dataset
	for name := range tables {
		datasets = append(datasets, r.dataset(catalog.Spec{Name: name, Table: name}))
	}
	got := map[string]catalog.Row{}
	for _, x := range r.read(r.open(r.source(r.dsn, 0, datasets...), canal.Position{GTID: r.from})) {
		for _, p := range x.Poison {
			t.Fatal(p.Err)
		}
		for _, c := range x.Changes {
			if c.Form != nil {
				t.Fatalf("%s has a form of its own: %+v, the dataset is %+v", c.Shard, c.Form.Columns, c.Dataset.Columns)
			}
			got[c.Shard+"/"+c.After.Text(0)] = c.After
		}
	}
	cells := 0
	for _, d := range datasets {
		cells += compare(t, r, d, got, tables[d.Name])
	}
	t.Logf("%d cells are equal", cells)
}

// compare looks at every cell of the table and returns their number.
func compare(t *testing.T, r *rig, d *catalog.Dataset, got map[string]catalog.Row, cols []column) int {
	t.Helper()
	sel, err := r.db.Query(t.Context(), d, nil, "SELECT "+db.SelectList(d, nil, "")+" FROM "+d.Table)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = sel.Close() }()
	n := 0
	var row catalog.Row
	for {
		row.Reset()
		ok, err := sel.Next(&row)
		if err != nil {
			t.Fatal(err)
		}
		if !ok {
			return n
		}
		mine, found := got[d.Table+"/"+row.Text(0)]
		if !found {
			t.Fatalf("row %s of %s was not captured", row.Text(0), d.Table)
		}
		for i, c := range d.Columns {
			n++
			if mine.Null(i) != row.Null(i) || mine.Text(i) != row.Text(i) {
				decl := "id"
				if i > 0 {
					decl = cols[i-1].ddl
				}
				t.Errorf("%s row %s column %s (%s): binlog %.300q, SELECT %.300q", d.Table, row.Text(0), c.Name, decl, mine.Text(i), row.Text(i))
			}
		}
	}
}
