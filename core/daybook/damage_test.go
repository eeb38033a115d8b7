package daybook

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// damage is one change by hand.
type damage struct {
	name    string
	query   string
	table   string // of the finding; "": none is expected
	key     string
	column  string // "" where it is the whole row; one of several that the finding names
	another string // another table that the finding may name: two rows contradict each other, and either can be wrong
}

// backup keeps all tables, so that a damage can be undone.
func backup(t testing.TB, r *rig) (tables []string) {
	t.Helper()
	rows, err := r.sql.QueryContext(t.Context(), "SELECT table_name FROM information_schema.tables WHERE table_schema=DATABASE() AND table_name NOT LIKE 'strata%' ORDER BY 1")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			t.Fatal(err)
		}
		tables = append(tables, name)
	}
	for _, name := range tables {
		r.exec(t, "CREATE TABLE bak_"+name+" LIKE "+name)
		r.exec(t, "INSERT INTO bak_"+name+" SELECT * FROM "+name)
	}
	return tables
}

func restore(t testing.TB, r *rig, table string) {
	t.Helper()
	r.exec(t, "DELETE FROM "+table)
	r.exec(t, "INSERT INTO "+table+" SELECT * FROM bak_"+table)
}

// tableOf is the table that a statement changes.
func tableOf(query string) string {
	words := strings.Fields(query)
	for i, w := range words {
		if w == "UPDATE" || w == "FROM" || w == "INTO" {
			return words[i+1]
		}
	}
	return ""
}

func datasetOf(table string) string {
	for _, d := range []string{"entry", "transfer"} {
		if strings.HasPrefix(table, d+"_") && table != "transfer_id" {
			return d
		}
	}
	return table
}

func try(t *testing.T, r *rig, d damage) {
	t.Helper()
	table := tableOf(d.query)
	res, err := r.sql.ExecContext(t.Context(), d.query)
	if err != nil {
		t.Fatalf("%s: %v", d.query, err)
	}
	defer restore(t, r, table)
	if n, _ := res.RowsAffected(); n != 1 {
		t.Fatalf("%s: %d rows", d.query, n)
	}
	all, _ := r.check(t)
	if d.table == "" {
		if len(all) > 0 {
			t.Fatalf("%s: %v", d.query, all)
		}
		return
	}
	found := slices.ContainsFunc(all, func(f Finding) bool {
		named := f.Table == d.table || d.another != "" && f.Table == d.another
		column := d.column == "*" || f.Column == d.column || d.column != "" && slices.Contains(strings.FieldsFunc(f.Column, func(c rune) bool { return c == ' ' || c == ',' }), d.column)
		return named && (f.Table != d.table || column && (f.Key == d.key || d.key == "")) && f.String() != ""
	})
	if !found {
		t.Errorf("%s: it should name %s %s %s:\n%s", d.query, d.table, d.key, d.column, lines(all))
	}
	if len(all) > 20 {
		t.Errorf("%s: %d findings:\n%s", d.query, len(all), lines(all))
	}
}

func lines(all []Finding) string {
	var b strings.Builder
	for _, f := range all {
		fmt.Fprintf(&b, "  %s: %s\n", f.Section, f)
	}
	return b.String()
}

// TestL12_a_change_by_hand_of_any_cell_names_the_row changes one cell of each column of each table, by one cent, one letter,
// one day or one second.
func TestL12_a_change_by_hand_of_any_cell_names_the_row(t *testing.T) {
	r, _ := story(t)
	tables := backup(t, r)
	tried := 0
	for _, table := range tables {
		for _, d := range cells(t, r, table) {
			t.Run(d.name, func(t *testing.T) { try(t, r, d) })
			tried++
		}
	}
	if tried < 100 {
		t.Fatalf("only %d cells were changed", tried)
	}
	r.wantClean(t)
}

// underivable are the columns that nothing else in the ledger says: no check can find a change of them.
func underivable() map[string]string {
	return map[string]string{
		"account.name": "a name", "account.tenant": "set at opening", "account.side": "set at opening", "account.min_balance": "a rule", "account.max_balance": "a rule",
		"account.metadata": "a note", "account.opened_at": "a time", "account.state": "of an account that was never switched",
		"day.modes": "a counter that may stay high", "setting.author": "a name", "setting.reason": "a text", "setting.at": "a time", "setting.body": "the rules themselves",
		"day_end.at": "a time", "reservation.late_trys": "refused tries are not kept", "buffer.id": "a number", "account_mode.inner_count": "of a mode without inner accounts",
		"outbox.consumer": "a name", "merchant_order.posted_at": "a stamp that only orders", "day.accounting_date": "a cut",
	}
}

// cells makes one damage per column.
func cells(t *testing.T, r *rig, table string) (out []damage) {
	t.Helper()
	rows, err := r.sql.QueryContext(t.Context(), "SELECT column_name, data_type, column_type, column_key FROM information_schema.columns WHERE table_schema=DATABASE() AND table_name=? ORDER BY ordinal_position", table)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	type column struct{ name, kind, whole string }
	var columns []column
	var keys []string
	for rows.Next() {
		var c column
		var key string
		if err := rows.Scan(&c.name, &c.kind, &c.whole, &key); err != nil {
			t.Fatal(err)
		}
		columns = append(columns, c)
		if key == "PRI" {
			keys = append(keys, "`"+c.name+"`")
		}
	}
	dataset := datasetOf(table)
	for _, c := range columns {
		if _, ok := underivable()[dataset+"."+c.name]; ok {
			continue
		}
		expr, where := mutate(c.name, c.kind, c.whole), "TRUE"
		if c.kind == "enum" || strings.HasPrefix(c.kind, "var") || c.kind == "datetime" || c.kind == "date" || c.kind == "mediumtext" {
			where = "COALESCE(`" + c.name + "`,'') <> ''"
		}
		switch dataset {
		case "transfer_id": // of refusals there is nothing else
			where += " AND outcome='applied'"
		case "reservation": // of a fence there is little else
			where += " AND state<>'fenced'"
		}
		if strings.Contains(expr, "REGEXP") {
			where += " AND `" + c.name + "` REGEXP '[1-8][]\"}],?'"
		}
		id := "CONCAT_WS(','," + strings.Join(keys, ",") + ")"
		if n := r.text(t, "SELECT COUNT(*) FROM "+table+" WHERE "+where); n == "0" {
			continue
		}
		key := r.text(t, "SELECT "+id+" FROM "+table+" WHERE "+where+" ORDER BY "+strings.Join(keys, " DESC,")+" DESC LIMIT 1")
		d := damage{name: table + "." + c.name, query: "UPDATE " + table + " SET `" + c.name + "`=" + expr + " WHERE " + id + "='" + key + "'", table: dataset, key: key, column: c.name}
		if slices.Contains(keys, "`"+c.name+"`") {
			d.key, d.column = "", "*" // the row is another one now
		}
		switch dataset + "." + c.name {
		case "account.mode":
			d.another = "account_mode"
		case "setting.version":
			d.another = "day"
		case "entry.unit": // where it is the account's only entry
			d.another = "account"
		}
		out = append(out, d)
	}
	return out
}

// mutate is the changed cell as an expression.
func mutate(name, kind, whole string) string {
	c := "`" + name + "`"
	switch kind {
	case "date":
		return "DATE_ADD(" + c + ", INTERVAL 1 DAY)"
	case "datetime":
		return "DATE_ADD(" + c + ", INTERVAL 1 SECOND)"
	case "binary":
		return "UNHEX(CONCAT('00', SUBSTR(HEX(" + c + "), 3)))"
	case "enum":
		first, second, _ := strings.Cut(strings.TrimSuffix(strings.TrimPrefix(whole, "enum("), ")"), ",")
		second, _, _ = strings.Cut(second, ",")
		return "IF(" + c + "=" + first + "," + second + "," + first + ")"
	case "mediumtext":
		return "REGEXP_REPLACE(" + c + ", '[1-8]([]\"}])', '9\\\\1')" // the last digit of some numbers
	case "varchar":
		switch name {
		case "funds":
			return "REGEXP_REPLACE(" + c + ", '[0-8]}', '9}')"
		case "unit":
			return "IF(" + c + "='CNY','USD','CNY')"
		case "period":
			return "CONCAT(SUBSTR(" + c + ",1,5),'04',SUBSTR(" + c + ",8))"
		}
		return "CONCAT(" + c + ",'x')"
	}
	return c + "+1"
}

// TestL12_a_damage_of_rows_names_them takes rows away, adds some, and changes several that belong together, as somebody would
// who wants to hide it.
func TestL12_a_damage_of_rows_names_them(t *testing.T) {
	r, _ := story(t)
	backup(t, r)
	for _, d := range []damage{
		{"an entry in the middle is gone", "DELETE FROM entry_202605 WHERE account_id=4 AND seq=5", "entry", "4,5", "", ""},
		{"the last entry is gone", "DELETE FROM entry_202605 WHERE account_id=7 AND seq=1", "entry", "7,1", "", ""},
		{"a transfer is gone", "DELETE FROM transfer_202605 WHERE id='p3'", "transfer", "p3", "", ""},
		{"an answer is gone", "DELETE FROM transfer_id WHERE id='p3'", "transfer_id", "p3", "", ""},
		{"the answer of a try is gone", "DELETE FROM transfer_id WHERE id='try-4'", "transfer_id", "try-4", "", ""},
		{"an account is gone", "DELETE FROM account WHERE id=5", "account", "5", "", ""},
		{"a fund is gone", "DELETE FROM fund WHERE account_id=3 AND nature='cash'", "fund", "3,cash", "", ""},
		{"a fund is added", "INSERT INTO fund VALUES (3, 'gold', 1, 0)", "fund", "3,gold", "balance", ""},
		{"money is moved between funds", "UPDATE fund SET balance=balance+1 WHERE account_id=3 AND nature='cash'", "fund", "3,cash", "balance", ""},
		{"a reversed leg is gone", "DELETE FROM reversed WHERE transfer_id='order-2' AND leg=1", "reversed", "order-2,1", "", ""},
		{"a reversed leg is added", "INSERT INTO reversed VALUES ('order-1', 0, 1)", "reversed", "order-1,0", "amount", ""},
		{"a pending reservation is gone", "DELETE FROM reservation WHERE id='try-4'", "reservation", "try-4", "", ""},
		{"a confirmed reservation is gone", "DELETE FROM reservation WHERE id='try-2'", "reservation", "try-2", "", ""},
		{"a cancelled reservation is gone", "DELETE FROM reservation WHERE id='try-3'", "reservation", "try-3", "", ""},
		{"a day balance is gone", "DELETE FROM day_balance WHERE accounting_date='2026-05-01' AND account_id=4", "day_balance", "2026-05-01,4", "", ""},
		{"a base balance is gone", "DELETE FROM day_balance WHERE accounting_date='2026-04-30' AND account_id=4", "day_balance", "2026-04-30,4", "", ""},
		{"a day balance is added", "INSERT INTO day_balance VALUES ('2026-05-01', 8, 'CNY', 1, 0, 0, 0)", "day_balance", "2026-05-01,8", "", ""},
		{"a day balance of the open date is added", "INSERT INTO day_balance VALUES ('2026-05-03', 8, 'CNY', 1, 0, 0, 0)", "day_balance", "2026-05-03,8", "", ""},
		{"the mark of a date is gone", "DELETE FROM day_end WHERE accounting_date='2026-05-01'", "day_end", "2026-05-01", "", ""},
		{"a buffered credit is gone", "DELETE FROM buffer WHERE transfer_id='order-6'", "transfer", "order-6", "entries in CNY", ""},
		{"an order is gone", "DELETE FROM merchant_order WHERE transfer_id='order-1'", "merchant_order", "acme,N1,order-1", "", ""},
		{"an order is added", "INSERT INTO merchant_order VALUES ('acme', 'N9', 'nothing', '2026-05-01 00:00:00')", "merchant_order", "acme,N9,nothing", "transfer_id", ""},
		{"an event is added", "INSERT INTO outbox VALUES ('notice', 'nothing', '2026-05-01 00:00:00', '{}')", "outbox", "notice,nothing", "", ""},
		{"a limit's use is gone", "DELETE FROM limit_use WHERE name='monthly'", "limit_use", "monthly,acme,2026-05", "", ""},
		{"a use of no limit is added", "INSERT INTO limit_use VALUES ('none', '', '2026-05', 1, 1)", "limit_use", "none,,2026-05", "", ""},
		{"the day is put back", "UPDATE day SET accounting_date='2026-05-02'", "day", "1", "accounting_date", ""},
		{"an entry is added at the end", "INSERT INTO entry_202605 SELECT 7, 2, 'p1', 2, unit, 1, balance_after, balance_after+1, accounting_date, order_time, posted_at, '' FROM entry_202605 e WHERE account_id=7 AND seq=1", "account", "7", "entries", ""},
		{"before and after are moved together", "UPDATE entry_202605 SET balance_before=balance_before+1, balance_after=balance_after+1 WHERE account_id=4 AND seq=5", "entry", "4,5", "balance_before", ""},
		{"amount and after are moved together", "UPDATE entry_202605 SET amount=amount+1, balance_after=balance_after+1 WHERE account_id=4 AND seq=5", "entry", "4,5", "amount", ""},
		{"a transfer's row is there twice", "INSERT INTO transfer_late_1 SELECT * FROM transfer_202605 WHERE id='p3'", "transfer", "p3", "", ""},
		{"a buffered credit is added", "INSERT INTO buffer (account_id, transfer_id, leg, unit, amount, accounting_date, order_time, posted_at) VALUES (2, 'p3', 2, 'CNY', 5, '2026-05-03', '2026-05-03 00:00:00', '2026-05-03 00:00:00')", "buffer", "", "leg", ""},
		{"a mode is gone", "DELETE FROM account_mode WHERE account_id=2", "account", "2", "mode", ""},
		{"an account is closed", "UPDATE account SET state='closed' WHERE id=4", "account", "4", "state", ""},
		{"a kind is another one", "UPDATE transfer_202605 SET kind='gift' WHERE id='p3'", "transfer", "p3", "kind", ""},
		{"a reversal is of another transfer", "UPDATE transfer_202605 SET of_id='order-1' WHERE id='rev-1'", "reversed", "order-2,0", "amount", ""},
	} {
		t.Run(d.name, func(t *testing.T) { try(t, r, d) })
	}
	t.Run("a cent that is taken consistently is found by the answers", func(t *testing.T) {
		for _, q := range []string{
			"UPDATE transfer_202605 SET amount=amount+1 WHERE id='p19'",
			"UPDATE entry_202605 SET amount=amount+SIGN(amount), balance_after=balance_after+SIGN(amount) WHERE transfer_id='p19'",
			"UPDATE entry_202605 e JOIN bak_entry_202605 b USING (account_id, seq) SET e.balance_before=e.balance_before+IF(e.account_id=3,1,-1), e.balance_after=e.balance_after+IF(e.account_id=3,1,-1)" +
				" WHERE (e.account_id=3 AND e.seq>(SELECT x.seq FROM (SELECT * FROM bak_entry_202605) x WHERE x.account_id=3 AND x.transfer_id='p19'))" +
				" OR (e.account_id=4 AND e.seq>(SELECT x.seq FROM (SELECT * FROM bak_entry_202605) x WHERE x.account_id=4 AND x.transfer_id='p19'))",
			"UPDATE account SET balance=balance+IF(id=3,1,-1), debits=debits+IF(id=4,1,0), credits=credits+IF(id=3,1,0) WHERE id IN (3,4)",
		} {
			r.exec(t, q)
		}
		all, _ := r.check(t)
		for _, table := range []string{"account", "entry_202605", "transfer_202605"} {
			restore(t, r, table)
		}
		for _, f := range all {
			if f.Table == "transfer_id" && f.Key == "p19" {
				return
			}
		}
		t.Fatalf("nothing names transfer p19:\n%s", lines(all))
	})
	r.wantClean(t)
}
