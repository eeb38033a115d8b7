package survey_test

import (
	"bytes"
	"database/sql"
	"errors"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"strata/catalog"
	"strata/db"
	"strata/fault"
	"strata/local/localtest"
	"strata/survey"
)

var update = flag.Bool("update", false, "write the golden file anew")

// schema is a fresh schema with tables, and a Reader on it.
func schema(t *testing.T, statements ...string) (*db.DB, *sql.DB) {
	t.Helper()
	dsn := localtest.Schema(t, localtest.Shared(t))
	raw := localtest.DB(t, dsn)
	for _, q := range statements {
		localtest.Exec(t, raw, q)
	}
	d, err := db.Open(t.Context(), db.Config{DSN: dsn, Name: "live", Store: catalog.Live, Purpose: db.Reader})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	return d, raw
}

func look(t *testing.T, statements ...string) *survey.Survey {
	t.Helper()
	d, _ := schema(t, statements...)
	s, err := survey.Read(t.Context(), d)
	if err != nil {
		t.Fatal(err)
	}
	sound(t, d, s)
	return s
}

// sound demands that what is written is a configuration's datasets, and that each fits its tables.
func sound(t *testing.T, d *db.DB, s *survey.Survey) string {
	t.Helper()
	var b bytes.Buffer
	f := survey.File{Day: "2026-11-22", Data: "./data", Live: survey.Server{DSN: "app@tcp(10.0.0.1:3306)/bank", PasswordFile: "/etc/strata.live.password"},
		Archive: survey.Server{DSN: "app@tcp(10.0.0.2:3306)/bank_archive", Remark: "CHECK: guessed"}, Brokers: []string{"127.0.0.1:9092"}}
	if err := s.Write(&b, f); err != nil {
		t.Fatal(err)
	}
	text := b.String()
	if len(s.Found) == 0 {
		return text
	}
	_, datasets, _ := strings.Cut(text, "\ndatasets:")
	specs, err := catalog.ParseSpecs([]byte("datasets:"+datasets), "strata.yaml")
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	if len(specs) != len(s.Found) {
		t.Fatalf("%d of %d datasets\n%s", len(specs), len(s.Found), text)
	}
	for i, spec := range specs {
		ds, err := db.Resolve(t.Context(), d, spec)
		if err != nil {
			t.Fatalf("%v: %s\n%s", err, fault.HintOf(err), text)
		}
		for _, table := range s.Found[i].Tables {
			if _, ok := ds.ShardOf(table); !ok {
				t.Errorf("%s is no shard of %s\n%s", table, ds.Name, text)
			}
		}
	}
	return text
}

func found(t *testing.T, s *survey.Survey, name string) survey.Found {
	t.Helper()
	i := slices.IndexFunc(s.Found, func(f survey.Found) bool { return f.Spec.Name == name })
	if i < 0 {
		t.Fatalf("no dataset %s in %+v; refused %+v", name, s.Found, s.Refused)
	}
	return s.Found[i]
}

// refused demands that the table is refused with a reason.
func refused(t *testing.T, s *survey.Survey, table, reason string) {
	t.Helper()
	for _, r := range s.Refused {
		if r.Table == table && strings.Contains(r.Reason, reason) {
			return
		}
	}
	t.Errorf("%s is not refused for %q: %+v", table, reason, s.Refused)
}

// bank is a schema as one finds it.
func bank() (out []string) {
	month := func(y, m int) string {
		return fmt.Sprintf(`CREATE TABLE orders_%04d%02d (id BIGINT PRIMARY KEY, customer_id BIGINT NOT NULL, created_at DATETIME(3) NOT NULL, updated_at DATETIME(3) NOT NULL,
			status ENUM('new','paid','cancelled') NOT NULL, currency CHAR(3) NOT NULL, amount_minor BIGINT NOT NULL, fee BIGINT NOT NULL, KEY (customer_id), KEY (created_at))`, y, m)
	}
	for m := 9; m <= 12; m++ {
		out = append(out, month(2025, m),
			fmt.Sprintf("INSERT INTO orders_2025%02d SELECT seq, 4711, DATE_ADD('2025-%02d-03', INTERVAL seq HOUR), '2026-02-01', 'paid', 'CNY', seq*100, 1 FROM seq_1_to_50", m, m))
	}
	return append(out, month(2026, 1),
		strings.Replace(month(2026, 1), "orders_202601", "orders_late_1", 1),
		"CREATE TABLE customers (id BIGINT PRIMARY KEY, name VARCHAR(80) NOT NULL, born DATE NULL)",
		"INSERT INTO customers VALUES (4711, 'Zhang Wei', '1980-05-05')",
		"CREATE TABLE wallet (user_id BIGINT PRIMARY KEY, balance BIGINT NOT NULL, credit_balance DECIMAL(20,4) NOT NULL)",
		"CREATE TABLE log_20260105 (id BIGINT PRIMARY KEY, at TIMESTAMP(6) NOT NULL, line TEXT)",
		"CREATE TABLE log_20260112 LIKE log_20260105",
		"INSERT INTO log_20260105 VALUES (1, '2026-01-09 10:00:00', 'secret line')",
		`CREATE TABLE payment (id BIGINT, paid_on DATE NOT NULL, user_id BIGINT, amount INT, PRIMARY KEY (id, paid_on)) PARTITION BY RANGE (TO_DAYS(paid_on))
			(PARTITION p1 VALUES LESS THAN (TO_DAYS('2026-01-01')), PARTITION p2 VALUES LESS THAN MAXVALUE)`,
		"CREATE TABLE keyless (a INT)", "CREATE TABLE old (a INT PRIMARY KEY) ENGINE=MyISAM",
		"CREATE VIEW v AS SELECT * FROM customers")
}

func TestSurvey_golden(t *testing.T) {
	d, raw := schema(t, bank()...)
	localtest.Exec(t, raw, "ANALYZE TABLE customers")
	s, err := survey.Read(t.Context(), d)
	if err != nil {
		t.Fatal(err)
	}
	s.Schema, s.Server = "bank", "MariaDB 10.11"
	text := sound(t, d, s)
	for _, value := range []string{"4711", "Zhang", "secret line", "1980-05-05", "2026-01-09"} {
		if strings.Contains(text, value) {
			t.Errorf("a row's value %s is in:\n%s", value, text)
		}
	}
	if *update {
		if err := os.WriteFile("testdata/bank.yaml", []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile("testdata/bank.yaml")
	if err != nil || text != string(want) {
		t.Errorf("%v: not testdata/bank.yaml (-update writes it):\n%s", err, text)
	}
}

func TestSurvey_shards(t *testing.T) {
	table := func(name string) string {
		return "CREATE TABLE " + name + " (id INT PRIMARY KEY, at DATETIME NOT NULL, KEY (at))"
	}
	scheme := func(steps ...catalog.Step) string { return fmt.Sprint(catalog.Scheme(steps)) }
	day := func(y, m, d int) catalog.Instant {
		return catalog.At(time.Date(y, time.Month(m), d, 0, 0, 0, 0, time.UTC))
	}
	for name, c := range map[string]struct {
		tables []string
		want   string // the scheme of dataset t; "" none
	}{
		"six digits are months":                  {[]string{"t_202601", "t_202602"}, scheme(catalog.Step{From: catalog.MinInstant, Interval: catalog.Monthly})},
		"four digits are years":                  {[]string{"t_2025", "t_2026"}, scheme(catalog.Step{From: catalog.MinInstant, Interval: catalog.Yearly})},
		"eight digits are days":                  {[]string{"t_20260105", "t_20260106"}, scheme(catalog.Step{From: catalog.MinInstant, Interval: catalog.Daily})},
		"Mondays only are weeks":                 {[]string{"t_20260105", "t_20260112"}, scheme(catalog.Step{From: catalog.MinInstant, Interval: catalog.Weekly})},
		"one Monday is a day":                    {[]string{"t_20260105"}, scheme(catalog.Step{From: catalog.MinInstant, Interval: catalog.Daily})},
		"days after months are a second step":    {[]string{"t_202512", "t_20260101", "t_20260102"}, scheme(catalog.Step{From: catalog.MinInstant, Interval: catalog.Monthly}, catalog.Step{From: day(2026, 1, 1), Interval: catalog.Daily})},
		"thirteen months are no month":           {[]string{"t_202613"}, ""},
		"numbers are no year":                    {[]string{"t_0001", "t_0002"}, ""},
		"a late shard belongs to them":           {[]string{"t_202601", "t_late_1", "t_late_12"}, scheme(catalog.Step{From: catalog.MinInstant, Interval: catalog.Monthly})},
		"a late shard without shards is a table": {[]string{"t_late_1"}, ""},
		"one dated copy beside the plain table":  {[]string{"t", "t_20260101"}, "[]"},
	} {
		t.Run(name, func(t *testing.T) {
			var q []string
			for _, n := range c.tables {
				q = append(q, table(n))
			}
			s := look(t, q...)
			if c.want == "" {
				if len(s.Found) != len(c.tables) || s.Found[0].Spec.Sharded() {
					t.Errorf("%+v", s.Found)
				}
				return
			}
			f := found(t, s, "t")
			if fmt.Sprint(f.Spec.Shards) != c.want || c.want != "[]" && len(f.Tables) != len(c.tables) {
				t.Errorf("%v instead of %s: %v", f.Spec.Shards, c.want, f.Tables)
			}
		})
	}
	t.Run("a plain table beside its shards is named", func(t *testing.T) {
		s := look(t, table("t"), table("t_202601"), table("t_202602"))
		refused(t, s, "t", "rename it")
		found(t, s, "t")
	})
	t.Run("shards with another key are refused", func(t *testing.T) {
		s := look(t, "CREATE TABLE t_202601 (id INT, k INT, at DATETIME NOT NULL, PRIMARY KEY (id, k))", table("t_202602"), table("other"))
		refused(t, s, "t_202601", "shard t_202601 has the primary key (id, k), t_202602 has (id)")
		refused(t, s, "t_202602", "(id, k)")
	})
	t.Run("shards beside one without a key are refused", func(t *testing.T) {
		s := look(t, "CREATE TABLE t_202601 (id INT, at DATETIME NOT NULL)", table("t_202602"), "CREATE TABLE u_late_1 (id INT)", table("u_202601"), table("u_202602"))
		refused(t, s, "t_202601", "no primary key")
		refused(t, s, "t_202602", "t_202601 can't be taken")
		refused(t, s, "u_202602", "u_late_1 can't be taken")
	})
	t.Run("a copy without a key doesn't matter", func(t *testing.T) {
		s := look(t, table("t_202601"), table("t_202602"), "CREATE TABLE t_20260115 (id INT)")
		refused(t, s, "t_20260115", "no primary key")
		if f := found(t, s, "t"); len(f.Tables) != 2 {
			t.Errorf("%v", f.Tables)
		}
	})
	t.Run("one table with a number at its end is a table", func(t *testing.T) {
		f := found(t, look(t, "CREATE TABLE phone_2000 (id INT PRIMARY KEY)"), "phone_2000")
		if f.Spec.Sharded() || len(f.About) == 0 || !strings.Contains(f.About[0], "ends like a shard's") {
			t.Errorf("%+v", f)
		}
	})
	t.Run("days among months are refused", func(t *testing.T) {
		s := look(t, table("t_202512"), table("t_20251215"), table("t_202601"))
		refused(t, s, "t_202512", "don't follow one another")
	})
	t.Run("a shard of another shape is named", func(t *testing.T) {
		f := found(t, look(t, "CREATE TABLE t_202601 (id INT PRIMARY KEY, at DATETIME NOT NULL)", table("t_202602")), "t")
		if !slices.ContainsFunc(f.Check, func(c string) bool { return strings.Contains(c, "t_202601") }) {
			// An index is no difference.
			if len(f.Check) != 0 {
				t.Errorf("%v", f.Check)
			}
		}
		f = found(t, look(t, "CREATE TABLE t_202601 (id INT PRIMARY KEY, at DATETIME NOT NULL, gone INT, KEY (at))", table("t_202602")), "t")
		if !slices.ContainsFunc(f.Check, func(c string) bool { return strings.Contains(c, "other columns") && strings.Contains(c, "t_202601") }) {
			t.Errorf("%v", f.Check)
		}
	})
}

func TestSurvey_time(t *testing.T) {
	two := func(columns string, rows ...string) []string {
		out := []string{"CREATE TABLE t_202601 (id INT PRIMARY KEY, " + columns + ")", "CREATE TABLE t_202602 LIKE t_202601"}
		for _, r := range rows {
			out = append(out, "INSERT INTO t_202601 VALUES ("+r+")")
		}
		return out
	}
	for name, c := range map[string]struct {
		tables []string
		want   string
	}{
		"the one whose values fit":                 {two("created_at DATETIME NOT NULL, due DATE NOT NULL, KEY (created_at), KEY (due)", "1,'2025-12-30','2026-01-05'"), "due"},
		"an index before a sample":                 {two("created_at DATETIME NOT NULL, at DATETIME NOT NULL, KEY (at)", "1,'2026-01-03','2026-01-05'"), "at"},
		"a better name among equals":               {two("updated_at DATETIME NOT NULL, posted DATETIME NOT NULL", "1,'2026-01-03','2026-01-05'"), "posted"},
		"a sample where there is no index":         {two("at DATETIME NOT NULL", "1,'2026-01-31 23:59:59'"), "at"},
		"a name where there are no rows":           {two("updated_at DATETIME NOT NULL, created_at DATETIME NOT NULL"), "created_at"},
		"the last microsecond of the month is in":  {two("at DATETIME(6) NOT NULL, KEY (at)", "1,'2026-01-31 23:59:59.999999'"), "at"},
		"a timestamp is compared in UTC":           {two("at TIMESTAMP NOT NULL, KEY (at)", "1,'2026-01-01 12:00:00'"), "at"},
		"none: the next month's first microsecond": {two("at DATETIME(6) NOT NULL, KEY (at)", "1,'2026-02-01 00:00:00'"), ""},
		"none: NULL is possible":                   {two("at DATETIME NULL, KEY (at)", "1,'2026-01-03'"), ""},
		"none: no time at all":                     {two("at BIGINT NOT NULL"), ""},
	} {
		t.Run(name, func(t *testing.T) {
			s := look(t, c.tables...)
			if c.want == "" {
				refused(t, s, "t_202601", "no date, datetime or timestamp column")
				refused(t, s, "t_202602", "no date, datetime or timestamp column")
				return
			}
			if f := found(t, s, "t"); f.Spec.Time != c.want || f.Why["time"] == "" {
				t.Errorf("%q because %q", f.Spec.Time, f.Why["time"])
			}
		})
	}
	t.Run("some rows outside are named by their shards", func(t *testing.T) {
		var q []string
		for m := 1; m <= 6; m++ {
			q = append(q, fmt.Sprintf("CREATE TABLE t_2026%02d (id INT PRIMARY KEY, at DATETIME NOT NULL, KEY (at))", m),
				fmt.Sprintf("INSERT INTO t_2026%02d VALUES (1, '2026-%02d-05')", m, m))
		}
		f := found(t, look(t, append(q, "INSERT INTO t_202603 VALUES (2, '2026-05-05')")...), "t")
		if f.Spec.Time != "at" || !strings.Contains(strings.Join(f.Check, "\n"), "t_202603") {
			t.Errorf("%q, %v", f.Spec.Time, f.Check)
		}
	})
}

func TestSurvey_columns(t *testing.T) {
	s := look(t,
		"CREATE TABLE a (id INT PRIMARY KEY, user_id INT, merchant_id INT, amount INT, amount_id INT, balance_paid BIGINT, unit_price BIGINT, fee BIGINT, fee_currency CHAR(3), currency CHAR(3), KEY (merchant_id))",
		"CREATE TABLE b (id INT PRIMARY KEY, account_id INT, price DECIMAL(10,2), total_amount BIGINT)",
		"CREATE TABLE c_202601 (id INT PRIMARY KEY, at DATE NOT NULL, state VARCHAR(10))",
		"CREATE TABLE par (id INT PRIMARY KEY)",
		"CREATE TABLE child (id INT PRIMARY KEY, p INT, CONSTRAINT down FOREIGN KEY (p) REFERENCES par (id) ON DELETE CASCADE)")
	a := found(t, s, "a")
	want := []catalog.Money{{Column: "amount", UnitColumn: "currency"}, {Column: "balance_paid", UnitColumn: "currency"}, {Column: "unit_price", UnitColumn: "currency"}, {Column: "fee", UnitColumn: "fee_currency"}}
	if !slices.Equal(a.Spec.Money, want) {
		t.Errorf("%+v", a.Spec.Money)
	}
	if a.Spec.Account != "merchant_id" {
		t.Errorf("account %q: only one has an index", a.Spec.Account)
	}
	b := found(t, s, "b")
	if len(b.Spec.Money) != 0 || b.Spec.Account != "" || !strings.Contains(fmt.Sprint(b.Open), "total_amount") || !strings.Contains(fmt.Sprint(b.Open), "account_id") || !strings.Contains(fmt.Sprint(b.About), "price (decimal(10,2))") {
		t.Errorf("%+v", b)
	}
	if c := found(t, s, "c"); c.Spec.TerminalWhen != "" || !strings.Contains(fmt.Sprint(c.Open), "terminal_when: state IN") {
		t.Errorf("%+v", c)
	}
	if c := found(t, s, "child"); !strings.Contains(fmt.Sprint(c.Check), "down") {
		t.Errorf("%+v", c)
	}
}

func TestSurvey_odd_names(t *testing.T) {
	s := look(t,
		"CREATE TABLE `Order-Items` (id INT PRIMARY KEY)", "CREATE TABLE `订单` (id INT PRIMARY KEY)", "CREATE TABLE `2fa` (id INT PRIMARY KEY)",
		"CREATE TABLE `_x` (`no` INT PRIMARY KEY)", "CREATE TABLE `Orders` (`a: b # c` INT PRIMARY KEY)", "CREATE TABLE `orders` (`l1\nl2: 5` INT PRIMARY KEY, `amount\nx: 5` INT)",
		"CREATE TABLE `"+strings.Repeat("n", 48)+"` (id INT PRIMARY KEY)", "CREATE TABLE `"+strings.Repeat("n", 47)+"` (`123` INT PRIMARY KEY)",
		"CREATE TABLE `"+strings.Repeat("n", 49)+"` (id INT PRIMARY KEY)", "CREATE TABLE `true` (`.5` INT, `~` INT, `'` INT, `\"` INT, PRIMARY KEY (`.5`, `~`, `'`, `\"`))",
		"CREATE TABLE f (a FLOAT PRIMARY KEY)", "CREATE TABLE strata_part (a INT PRIMARY KEY)", "CREATE TABLE mem (a INT PRIMARY KEY) ENGINE=MEMORY")
	refused(t, s, "Order-Items", "letters, digits and underscores")
	refused(t, s, "订单", "letters, digits and underscores")
	refused(t, s, strings.Repeat("n", 49), "48")
	refused(t, s, "f", "not exact")
	refused(t, s, "mem", "no transactions")
	for _, name := range []string{"t_2fa", "t_x", "orders", "orders_2", strings.Repeat("n", 40), strings.Repeat("n", 38) + "_2", "true"} {
		found(t, s, name)
	}
	if len(s.Found) != 7 {
		t.Errorf("%+v", s.Found)
	}
}

func TestSurvey_of_MySQL(t *testing.T) {
	dsn := localtest.Schema(t, localtest.SharedMySQL(t))
	raw := localtest.DB(t, dsn)
	for _, q := range []string{
		"CREATE TABLE orders_202601 (id BIGINT PRIMARY KEY, user_id BIGINT NOT NULL, created_at DATETIME(3) NOT NULL, status ENUM('New','Paid') NOT NULL, currency CHAR(3) NOT NULL, amount_minor BIGINT NOT NULL, KEY (user_id), KEY (created_at))",
		"CREATE TABLE orders_202602 LIKE orders_202601", "INSERT INTO orders_202602 VALUES (1, 2, '2026-02-28 23:59:59.999', 'Paid', 'CNY', 5)",
		"CREATE TABLE payment (id BIGINT, paid_on DATE NOT NULL, PRIMARY KEY (id, paid_on)) PARTITION BY RANGE COLUMNS (paid_on) (PARTITION p1 VALUES LESS THAN ('2026-01-01'), PARTITION p2 VALUES LESS THAN (MAXVALUE))",
		"CREATE TABLE keyless (a INT)",
	} {
		localtest.Exec(t, raw, q)
	}
	d, err := db.Open(t.Context(), db.Config{DSN: dsn, Name: "live", Store: catalog.Live, Purpose: db.Reader})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	s, err := survey.Read(t.Context(), d)
	if err != nil {
		t.Fatal(err)
	}
	sound(t, d, s)
	refused(t, s, "keyless", "no primary key")
	f := found(t, s, "orders")
	if f.Spec.Time != "created_at" || f.Spec.Account != "user_id" || len(f.Spec.Money) != 1 || len(f.Tables) != 2 || !strings.Contains(fmt.Sprint(f.Open), "('Paid')") {
		t.Errorf("%+v", f)
	}
	if p := found(t, s, "payment"); !strings.Contains(fmt.Sprint(p.About), "RANGE COLUMNS (paid_on) in 2 parts") {
		t.Errorf("%+v", p)
	}
}

func TestSurvey_of_nothing(t *testing.T) {
	s := look(t, "CREATE TABLE keyless (a INT)")
	refused(t, s, "keyless", "no primary key")
	if err := s.Plain(); !fault.Is(err, fault.NotFound) || !strings.Contains(fault.HintOf(err), "keyless") {
		t.Errorf("%v", err)
	}
	if err := look(t).Plain(); !fault.Is(err, fault.NotFound) {
		t.Errorf("%v", err)
	}
}

func TestSurvey_write_hands_up_errors(t *testing.T) {
	s := look(t, "CREATE TABLE a (id INT PRIMARY KEY)")
	if err := s.Write(broken{}, survey.File{}); !errors.Is(err, os.ErrClosed) {
		t.Errorf("%v", err)
	}
}

type broken struct{}

func (broken) Write([]byte) (int, error) { return 0, os.ErrClosed }

func TestRead_tells_of_dates_in_another_form(t *testing.T) {
	table := " (id INT PRIMARY KEY, at DATETIME NOT NULL)"
	s := look(t, "CREATE TABLE log_2026_01"+table, "CREATE TABLE log_2026_02"+table, "CREATE TABLE w2026_05"+table, "CREATE TABLE w2026_06"+table, "CREATE TABLE one_2026_01"+table)
	marked := 0
	for _, f := range s.Found {
		if strings.Contains(strings.Join(f.Check, "; "), "one of 2 time shards") {
			marked++
		}
	}
	if marked != 4 {
		t.Errorf("%d are marked: %+v", marked, s.Found)
	}
}

func TestRead_refuses_system_versioned_tables(t *testing.T) {
	s := look(t, "CREATE TABLE plain (id INT PRIMARY KEY)", "CREATE TABLE kept (id INT PRIMARY KEY) WITH SYSTEM VERSIONING")
	if len(s.Found) != 1 || len(s.Refused) != 1 || s.Refused[0].Table != "kept" || !strings.Contains(s.Refused[0].Reason, "system versioned") {
		t.Errorf("%+v %+v", s.Found, s.Refused)
	}
}
