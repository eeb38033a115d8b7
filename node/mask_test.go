package node_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"strata/catalog"
	"strata/fault"
	"strata/local/localtest"
	"strata/node"
	"strata/router"
)

// TestMasks_are_proven_and_never_answered: what is masked on its way to the index is compared as it must be there, and an
// answer has the stores' values, whoever gives the rest of it.
func TestMasks_are_proven_and_never_answered(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	localtest.Exec(t, r.live, `CREATE TABLE card (id INT PRIMARY KEY, holder VARCHAR(40) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
		number VARCHAR(30) CHARACTER SET ascii COLLATE ascii_bin NOT NULL, ident VARCHAR(30) NULL, cvv INT NOT NULL)`)
	localtest.Exec(t, r.live, "INSERT INTO card SELECT seq, CONCAT('h', seq), CONCAT('622202', 1000000000 + seq), IF(seq % 3, CONCAT('身份', seq), NULL), seq FROM seq_1_to_500")
	localtest.Exec(t, r.live, "ANALYZE TABLE card")
	secret := filepath.Join(t.TempDir(), "mask.key")
	write := func(key string) {
		if err := os.WriteFile(secret, []byte(key+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("0123456789abcdef")
	n := r.open(t, r.config(t, "scan_rows: 1\ncapture: {mask_key: {file: "+secret+"}}\n"+`datasets:
  - name: card
    masks: [{column: number, mask: last4}, {column: ident, mask: hash}, {column: cvv, mask: drop}]
`))
	run(t, n, node.Roles{Canal: true, Sync: true})
	for _, q := range []string{"UPDATE card SET number = CONCAT('4', number), ident = 'other' WHERE id % 10 = 0", "DELETE FROM card WHERE id % 50 = 0",
		"INSERT INTO card VALUES (900, 'late', '7', '', -1)"} {
		localtest.Exec(t, r.live, q)
	}
	indexed(t, n)
	t.Run("equal", func(t *testing.T) {
		if rep := proven(t, n, "index"); rep.RowsCompared != 491 {
			t.Errorf("%d rows compared", rep.RowsCompared)
		}
	})
	t.Run("unequal under another secret", func(t *testing.T) {
		write("another-secret-of-16")
		defer write("0123456789abcdef")
		rep, err := n.Verify(t.Context(), node.VerifyRequest{Parts: []string{"index"}})
		if err != nil || rep.OK || rep.Differences == 0 {
			t.Errorf("%d differences, %v", rep.Differences, err)
		}
	})
	t.Run("refused under no secret", func(t *testing.T) {
		write("short")
		defer write("0123456789abcdef")
		if _, err := n.Verify(t.Context(), node.VerifyRequest{Parts: []string{"index"}}); !fault.Is(err, fault.Invalid) || fault.HintOf(err) == "" {
			t.Errorf("%v, hint %q", err, fault.HintOf(err))
		}
	})
	for name, c := range map[string]struct {
		filter  catalog.Filter
		columns []string
		source  string
	}{
		"plain columns by the index":         {catalog.Cmp("holder", catalog.Eq, "h7"), []string{"id", "holder"}, "index"},
		"a masked column by live":            {catalog.Cmp("number", catalog.Eq, "6222021000000007"), []string{"id"}, "live"},
		"a masked column that is read, too":  {catalog.Cmp("holder", catalog.Eq, "h7"), []string{"number"}, "live"},
		"all columns, for some are masked":   {catalog.Cmp("holder", catalog.Eq, "h7"), nil, "live"},
		"a masked column within a condition": {catalog.AndAll(catalog.Cmp("holder", catalog.Eq, "h7"), catalog.Cmp("cvv", catalog.Eq, "7")), []string{"id"}, "live"},
	} {
		t.Run(name, func(t *testing.T) {
			var got []string
			served := all(t, n, router.Query{Dataset: "card", Columns: c.columns, Filter: c.filter}, func(row *catalog.Row) {
				for i := range row.Len() {
					got = append(got, row.Text(i))
				}
			})
			want := map[string]string{"id": "7", "holder": "h7", "number": "6222021000000007", "ident": "身份7", "cvv": "7"}
			columns := c.columns
			if columns == nil {
				columns = []string{"id", "holder", "number", "ident", "cvv"}
			}
			var cells []string
			for _, name := range columns {
				cells = append(cells, want[name])
			}
			if !slices.Equal(got, cells) || len(served.Sources) != 1 || served.Sources[0].Source != c.source {
				t.Errorf("%v from %s", got, fmt.Sprintf("%+v", served.Sources))
			}
		})
	}
}
