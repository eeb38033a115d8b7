package binlog_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"strata/canal"
	"strata/catalog"
	"strata/db"
)

// columns are the types of the matrix, each with a maker of SQL values.
func columns() []struct {
	ddl  string
	make func(*rand.Rand) string
} {
	type column = struct {
		ddl  string
		make func(*rand.Rand) string
	}
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
		{"SET('x','y','zä')", pick("''", "'x'", "'y,zä'", "'x,y,zä'")}, {"JSON", pick(`'{"a": [1, 2.50, "ü"]}'`, `'null'`, `'"x"'`)},
		{"UUID", pick("'123e4567-e89b-12d3-a456-426655440000'", "'01890000-0000-7000-8000-000000000000'", "'00000000-0000-0000-0000-000000000000'", "UUID()")},
		{"INET6", pick("'::'", "'::1'", "'::ffff:1.2.3.4'", "'::1.2.3.4'", "'2001:db8::1:0:0:1'", "'1:0:2:3:4:5:6:7'", "'0:0:1::'", "'fe80::'", "'1:0:0:2::'", "'::ffff:0:0'", "'::5:0'")},
		{"INET4", pick("'0.0.0.0'", "'1.2.3.0'", "'255.255.255.255'")},
		{"BINARY(6)", binary(6)}, {"BINARY(255)", binary(40)}, {"VARBINARY(300)", binary(300)}, {"BLOB", binary(600)}, {"LONGBLOB", binary(70000)},
		{"CHAR(5)", text("ab 中é😀", 5)}, {"CHAR(200)", text("ab 中é😀", 9)}, {"VARCHAR(20)", text("ab 中é😀\"\t/", 20)}, {"TEXT", text("ab 中", 300)}, {"VARCHAR(300)", text("ab 中", 300)},
		{"VARCHAR(20) CHARACTER SET latin1", text("aé€ß•", 20)}, {"CHAR(9) CHARACTER SET latin1", text("aé€ß•", 9)}, {"VARCHAR(20) CHARACTER SET gbk", text("a中文付款€", 20)}, {"VARCHAR(20) CHARACTER SET gb2312", text("a中文付款", 20)},
		{"VARCHAR(20) CHARACTER SET utf8mb3", text("aé中", 20)}, {"VARCHAR(20) CHARACTER SET ascii", text("abc", 20)}, {"VARCHAR(20) CHARACTER SET ucs2", text("aé中", 20)}, {"CHAR(9) CHARACTER SET ucs2", text("aé中", 9)},
		{"VARCHAR(20) CHARACTER SET utf16", text("aé中😀", 20)}, {"VARCHAR(20) CHARACTER SET utf16le", text("aé中😀", 20)}, {"VARCHAR(20) CHARACTER SET utf32", text("aé中😀", 20)},
		{"VARCHAR(20) CHARACTER SET cp1251", text("aжя", 20)}, {"VARCHAR(20) CHARACTER SET koi8r", text("aжя", 20)}, {"VARCHAR(20) CHARACTER SET latin2", text("ażł", 20)},
		{"TEXT CHARACTER SET latin1", text("aé€", 50)}, {"POINT", pick("POINT(1,2)", "POINT(-1.5,0)")}, {"VARCHAR(20) COLLATE uca1400_ai_ci", text("aé中", 20)},
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

func TestCells_of_the_binlog_equal_those_of_SELECT(t *testing.T) {
	cols := columns()
	ddl := []string{"id INT PRIMARY KEY"}
	for i, c := range cols {
		ddl = append(ddl, fmt.Sprintf("c%d %s", i, c.ddl))
	}
	r := newRig(t, "CREATE TABLE m ("+strings.Join(ddl, ",")+") CHARACTER SET utf8mb4 ROW_FORMAT=DYNAMIC")
	d := r.dataset(catalog.Spec{Name: "m", Table: "m"})
	conn, err := r.sql.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if _, err := conn.ExecContext(t.Context(), "SET SESSION sql_mode='ALLOW_INVALID_DATES', time_zone='+00:00'"); err != nil {
		t.Fatal(err)
	}
	const rows = 150
	rnd := rand.New(rand.NewPCG(1, 2))
	for id := range rows {
		vals := []string{fmt.Sprint(id)}
		for _, c := range cols {
			if rnd.IntN(12) == 0 {
				vals = append(vals, "NULL")
			} else {
				vals = append(vals, c.make(rnd))
			}
		}
		if _, err := conn.ExecContext(t.Context(), "INSERT INTO m VALUES ("+strings.Join(vals, ",")+")"); err != nil {
			t.Fatal(err)
		}
	}
	got := map[string]catalog.Row{}
	for _, x := range r.read(r.open(r.source(r.dsn, 0, d), canal.Position{GTID: r.from})) {
		for _, p := range x.Poison {
			t.Fatal(p.Err)
		}
		for _, c := range x.Changes {
			got[c.After.Text(0)] = c.After
		}
	}
	compare(t, r, d, got, rows)
}

// compare looks at every cell of the table.
func compare(t *testing.T, r *rig, d *catalog.Dataset, got map[string]catalog.Row, rows int) {
	t.Helper()
	cols := columns()
	sel, err := r.db.Query(t.Context(), d, nil, "SELECT "+db.SelectList(d, nil, "")+" FROM m")
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
			break
		}
		n++
		mine := got[row.Text(0)]
		for i, c := range d.Columns {
			if mine.Null(i) != row.Null(i) || mine.Text(i) != row.Text(i) {
				decl := "id"
				if i > 0 {
					decl = cols[i-1].ddl
				}
				t.Errorf("row %s column %s (%s): binlog %.80q, SELECT %.80q", row.Text(0), c.Name, decl, mine.Text(i), row.Text(i))
			}
		}
	}
	if n != rows || len(got) != rows {
		t.Fatalf("%d rows by SELECT, %d by binlog", n, len(got))
	}
}
