package routertest

import (
	"fmt"
	"math/rand/v2"
	"strings"

	"strata/catalog"
)

// eventDDL is a shard of Event without the table's name.
const eventDDL = `(
  account_id BIGINT NOT NULL,
  seq BIGINT NOT NULL,
  at DATETIME(6) NOT NULL,
  unit VARCHAR(12) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  amount BIGINT NOT NULL,
  rate DECIMAL(20,4) NULL,
  name VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci NULL,
  note VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NULL,
  score DOUBLE NULL,
  raw VARBINARY(16) NULL,
  PRIMARY KEY (account_id, seq),
  KEY at (at, account_id, seq),
  KEY name (name)
) ENGINE=InnoDB`

// Event is a dataset with the column types whose comparison differs between sources, by month of `at`.
func Event() *catalog.Dataset {
	text := func(name, collation string, nullable bool) catalog.Column {
		return catalog.Column{Name: name, Type: catalog.Type{Kind: catalog.Text}, Collation: collation, Nullable: nullable}
	}
	i64 := catalog.Type{Kind: catalog.Int, Size: 8}
	return &catalog.Dataset{
		Name: "event", Table: "event", Key: []string{"account_id", "seq"}, Time: "at", Account: "account_id", Partitions: 1,
		Scheme: catalog.Scheme{{From: catalog.MinInstant, Interval: catalog.Monthly}},
		Money:  []catalog.Money{{Column: "amount", UnitColumn: "unit"}},
		Text:   []string{"name"},
		Columns: []catalog.Column{
			{Name: "account_id", Type: i64}, {Name: "seq", Type: i64},
			{Name: "at", Type: catalog.Type{Kind: catalog.DateTime, FSP: 6}},
			text("unit", "ascii_bin", false), {Name: "amount", Type: i64},
			{Name: "rate", Type: catalog.Type{Kind: catalog.Decimal, Scale: 4}, Nullable: true},
			text("name", "utf8mb4_general_ci", true), text("note", "utf8mb4_bin", true),
			{Name: "score", Type: catalog.Type{Kind: catalog.Double}, Nullable: true},
			{Name: "raw", Type: catalog.Type{Kind: catalog.Binary}, Nullable: true},
		},
	}
}

// Month is the shard event_2026MM.
func Month(month int) catalog.Shard {
	s, _ := Event().ShardOf(fmt.Sprintf("event_2026%02d", month))
	return s
}

// RandomEvents makes n rows of a month; the keys of different months differ. The same seed gives the same rows.
func RandomEvents(seed uint64, month, n int) []catalog.Row {
	rnd := rand.New(rand.NewPCG(seed, uint64(month)))
	pick := func(of ...string) *string {
		if s := of[rnd.IntN(len(of))]; s != "\\N" {
			return &s
		}
		return nil
	}
	rows := make([]catalog.Row, n)
	for i := range rows {
		var r catalog.Row
		r.AppendString(fmt.Sprint(1 + rnd.IntN(5)))
		r.AppendString(fmt.Sprint(month*1_000_000 + i))
		r.AppendString(fmt.Sprintf("2026-%02d-%02d %02d:00:00.%06d", month, 1+rnd.IntN(28), rnd.IntN(24), rnd.IntN(3)))
		r.AppendString(*pick("CNY", "USD", "JPY"))
		r.AppendString(fmt.Sprint(rnd.Int64N(2_000_000_000_000_000_000) - 1_000_000_000_000_000_000))
		for _, c := range []*string{
			pick("\\N", "0.0000", "-3.1400", "12345678901234.5678", "9.0000", "10.0000"),
			pick("\\N", "", "alice", "Alice", "ALICE", "ålice", "bob_%", "bob|x", "付款"),
			pick("\\N", "a", "b", "ab", "B", "付", "~"),
			pick("\\N", "0", "-1.5", "1e+300", "0.1", "3"),
			pick("\\N", "", "00", "ff", "00ff", "ff00"),
		} {
			if c == nil {
				r.AppendNull()
			} else {
				r.AppendString(*c)
			}
		}
		rows[i] = r
	}
	return rows
}

// Text prints a row as scripts write it: cells with " | " between, \N for NULL.
func Text(r *catalog.Row) string {
	cells := make([]string, r.Len())
	for i := range cells {
		if r.Null(i) {
			cells[i] = "\\N"
		} else {
			cells[i] = r.Text(i)
		}
	}
	return strings.Join(cells, " | ")
}

// ParseRow reads Text's form.
func ParseRow(line string) catalog.Row {
	var r catalog.Row
	for _, c := range strings.Split(line, "|") {
		if c = strings.TrimSpace(c); c == "\\N" {
			r.AppendNull()
		} else {
			r.AppendString(c)
		}
	}
	return r
}
