package sqlite

import (
	"fmt"
	"strings"
	"testing"

	"strata/index/indextest"
)

// TestPlans holds SQLite to the index that serves each kind of search, in an empty file as in a full one.
func TestPlans(t *testing.T) {
	x, err := Open(t.Context(), Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = x.Close() }()
	d := indextest.Entries()
	d.Text = []string{"memo"}
	if err := x.Ensure(t.Context(), d); err != nil {
		t.Fatal(err)
	}
	const byTime, up = `"c_accounting_date","c_account_id","c_seq"`, ` ORDER BY "c_accounting_date","c_account_id","c_seq" LIMIT 5`
	for where, want := range map[string]string{
		`"c_account_id"=1 AND "c_seq"=5`:                                      "doc_key (_shard=? AND c_account_id=? AND c_seq=?)",
		`("c_account_id","c_seq")>(1,5) ORDER BY "c_account_id","c_seq"`:      "doc_key (_shard=? AND (c_account_id,c_seq)>(?,?))",
		`_deleted=0 AND (` + byTime + `)>(1,5,7)` + up:                        "c_by_accounting_date (_shard=? AND (c_accounting_date,",
		`_deleted=0 AND 1` + up:                                               "c_by_accounting_date (_shard=?)",
		`_deleted=0 AND "c_account_id"=5` + up:                                "doc_key (_shard=? AND c_account_id=?)",
		`_deleted=0 AND ("c_account_id"=5 AND "c_accounting_date">='a')` + up: "doc_key (_shard=? AND c_account_id=?)",
		`_deleted=0 AND ("c_accounting_date">='a' AND "c_accounting_date"<'b') ORDER BY "c_accounting_date" DESC,"c_account_id","c_seq"`: "c_by_accounting_date (_shard=? AND c_accounting_date>? AND c_accounting_date<?)",
		`_deleted=0 AND _id IN (SELECT rowid FROM words WHERE words MATCH '"c_memo" : ("a")')` + up:                                      "USING INTEGER PRIMARY KEY (rowid=?)",
	} {
		plan := ""
		err := x.read(t.Context(), "entry", func(v *view) error {
			q := "EXPLAIN QUERY PLAN SELECT * FROM doc WHERE _shard=1 AND "
			c, err := v.open(q+where, nil)
			if err != nil {
				return err
			}
			for {
				ok, err := c.next(v.ctx)
				if err != nil || !ok {
					return c.close()
				}
				plan += fmt.Sprintln(c.dest[3])
			}
		})
		if err != nil || !strings.Contains(plan, want) {
			t.Errorf("%s\nis planned as %s%v", where, plan, err)
		}
	}
}
