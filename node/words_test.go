package node_test

import (
	"fmt"
	"strings"
	"testing"

	"strata/catalog"
	"strata/local/localtest"
	"strata/node"
	sqltext "strata/router/sql"
)

// TestWords_of_text_columns_are_found_from_the_tables_to_the_answer has columns of two character sets, and rows that change.
func TestWords_of_text_columns_are_found_from_the_tables_to_the_answer(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	localtest.Exec(t, r.live, `CREATE TABLE memo (id INT PRIMARY KEY, note VARCHAR(80) CHARACTER SET utf8mb4 NULL,
		old TEXT CHARACTER SET gbk NULL)`)
	localtest.Exec(t, r.live, "INSERT INTO memo VALUES (1, '退款：Order 17', NULL), (2, 'order 18, refund', '付款'), (3, NULL, '未付款'), (4, 'ORDER 17', '已付'), (5, 'order 17', NULL)")
	n := r.open(t, r.config(t, "datasets:\n  - name: memo\n    text: [note, old]\n"))
	run(t, n, node.Roles{Canal: true, Sync: true})
	for _, q := range []string{"UPDATE memo SET note = 'refund 17' WHERE id = 4", "UPDATE memo SET old = '款付' WHERE id = 2", "DELETE FROM memo WHERE id = 5",
		"INSERT INTO memo VALUES (6, '付款', 'Ｏｒｄｅｒ')"} {
		localtest.Exec(t, r.live, q)
	}
	indexed(t, n)
	for where, want := range map[string]string{
		"MATCH (note) AGAINST ('order 17')":     "1",
		"MATCH (note) AGAINST ('\"17 order\"')": "",
		"MATCH (note) AGAINST ('REFUND')":       "2 4",
		"MATCH (note) AGAINST ('退款')":           "1",
		"MATCH (old) AGAINST ('付款')":            "3",
		"MATCH (old) AGAINST ('付款') OR MATCH (note) AGAINST ('付款') OR MATCH (old) AGAINST ('order')": "3 6",
		"NOT MATCH (old) AGAINST ('付')": "6",
	} {
		q, err := sqltext.Parse("SELECT id FROM memo WHERE " + where)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		served := all(t, n, q, func(row *catalog.Row) { got = append(got, row.Text(0)) })
		if strings.Join(got, " ") != want || len(served.Sources) != 1 || served.Sources[0].Source != "index" {
			t.Errorf("%s: %v from %s", where, got, fmt.Sprintf("%+v", served.Sources))
		}
	}
}
