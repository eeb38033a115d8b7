package main

import (
	"database/sql"
	"encoding/json"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"strata/local/localtest"
)

// One row is changed behind strata's back; verify ends with 1 and names that row. What a case changes is restored at its
// end. The cases run one after another, on the shared demo, and nothing else verifies it meanwhile.
func TestVerify_bites(t *testing.T) {
	t.Parallel()
	d := served(t)
	verifying.Lock()
	defer verifying.Unlock()
	verifierRests(t, d.dir)
	for name, c := range damages() {
		t.Run(name, func(t *testing.T) { bitten(t, d.dir, c.part, c.do(t, d)) })
	}
	t.Run("everything is restored", func(t *testing.T) {
		strata(t, "verify", "--data", d.dir, "--json").want(t, 0, `"ok": true`, `"differences": 0`)
	})
}

// verifierRests waits until the demo's own verifier is through with a pass: the next one comes in an hour, and repairs.
func verifierRests(t *testing.T, dir string) {
	t.Helper()
	localtest.Eventually(t, runLimit, "the verifier's pass has ended", func() (bool, error) {
		var st struct {
			Pass    int64     `json:"pass"`
			EndedAt time.Time `json:"ended_at"`
		}
		r := strata(t, "verify", "--status", "--data", dir, "--json")
		err := json.Unmarshal([]byte(r.stdout), &st)
		return st.Pass > 0 && !st.EndedAt.IsZero(), err
	})
}

// TestVerify_words reads what the demo's verifier says of itself.
func TestVerify_words(t *testing.T) {
	t.Parallel()
	d := served(t)
	verifying.Lock()
	defer verifying.Unlock()
	verifierRests(t, d.dir)
	ask := func(args ...string) result { return strata(t, append([]string{"verify", "--data", d.dir}, args...)...) }
	ask("--status").want(t, 0, "pass ", "DATASET", "entry", "done", "ended ")
	ask("--status", "--json").want(t, 0, `"pass"`, `"last"`, `"findings"`)
	ask("--findings").want(t, 0)
	ask("--findings", "--json").want(t, 0, "[]")
	ask("--report").want(t, 0, "report of ", "entry", "sum ", ", valid")
	ask("--report", "--json").want(t, 0, `"signed": true`, `"sums_of": "source"`)
	ask("--mode", "fast", "--dataset", "entry").want(t, 0, " 0 differences", "not compared")
	shard := text(t, open(t, d.book.Live), "SELECT table_name FROM information_schema.tables WHERE table_schema=DATABASE() AND table_name LIKE 'entry\\_2%' LIMIT 1")
	ask("--dataset", "entry", "--shard", shard, "--from-key", "1,0", "--to-key", "1000000,0", "--repair", "--json").want(t, 0, `"ok": true`, `"shards": 1`)
	for _, c := range []refusal{
		{2, "invalid", []string{"verify", "--data", d.dir, "--shard", "x"}, []string{"--dataset"}},
		{2, "invalid", []string{"verify", "--data", d.dir, "2026-01-01"}, []string{"--report"}},
		{2, "invalid", []string{"verify", "--data", d.dir, "--report", "yesterday"}, []string{"date"}},
		{2, "invalid", []string{"verify", "--data", d.dir, "--dataset", "entry", "--from-key", "x"}, []string{"key"}},
		{2, "invalid", []string{"verify", "--data", d.dir, "--dataset", "entry", "--part", "ledger"}, []string{"part index"}},
	} {
		c.check(t)
	}
	ask("--report", "1999-01-01").want(t, 2, "there is none")
}

// bitten expects a failed proof that names the row by each of names.
func bitten(t *testing.T, dir, part string, names []string) {
	t.Helper()
	r := strata(t, "verify", "--data", dir, "--json", "--part", part)
	r.want(t, 1)
	if !strings.Contains(r.stderr, "hint: ") {
		t.Errorf("no hint: %s", r)
	}
	var rep struct {
		OK          bool
		Differences int64
		Findings    []string
	}
	if err := json.Unmarshal([]byte(r.stdout), &rep); err != nil || rep.OK || rep.Differences == 0 {
		t.Errorf("%v: %s", err, r)
	}
	all := strings.Join(rep.Findings, "\n")
	for _, n := range names {
		if !strings.Contains(all, n) {
			t.Errorf("%q is not in:\n%s", n, all)
		}
	}
}

// damage changes something, restores it at the end of the test, and says what the findings must name.
type damage struct {
	part string
	do   func(t *testing.T, d shared) (names []string)
}

func damages() map[string]damage {
	return map[string]damage{
		"a document is gone":                          {"index", documentGone},
		"a document's amount":                         {"index", documentChanged},
		"a document of a row that isn't there":        {"index", documentTooMuch},
		"an archived entry's amount":                  {"index,archive,ledger", archivedEntry},
		"an archived transfer's memo":                 {"index,archive", archivedTransfer},
		"an archived row is gone":                     {"index,archive,ledger", archivedGone},
		"an entry's amount":                           {"ledger", liveEntry("amount=amount+1")},
		"an entry's amount and the balance after it":  {"ledger", liveEntry("amount=amount+1, balance_after=balance_after+1")},
		"an entry's balances":                         {"ledger", liveEntry("balance_before=balance_before+1, balance_after=balance_after+1")},
		"an entry's transfer":                         {"ledger", liveEntry("transfer_id='nobody'")},
		"a last entry's amount and the balance after": {"ledger", lastEntry},
		"a transfer's number of legs":                 {"ledger", liveTransfer("legs=legs+1")},
		"a transfer's id":                             {"ledger", liveTransfer("id='other'")},
		"an account's balance":                        {"ledger", liveAccount},
	}
}

// sqlite opens the index file of a dataset.
func sqlite(t *testing.T, d shared, dataset string) *sql.DB {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+filepath.Join(d.book.Index, dataset+".db")+"?_pragma=busy_timeout(5000)")
	if err != nil {
		t.Fatal(err)
	}
	db.SetMaxOpenConns(1)
	t.Cleanup(func() { _ = db.Close() })
	return db
}

// document is an entry's document in the middle of the index, and its row's name as findings write it.
func document(t *testing.T, db *sql.DB) (id, name string) {
	t.Helper()
	id = text(t, db, "SELECT _id FROM doc WHERE NOT _deleted ORDER BY _id LIMIT 1 OFFSET 100")
	return id, text(t, db, `SELECT 'row ' || c_account_id || ',' || c_seq || ' of ' || s.name FROM doc JOIN shard s ON s.id = _shard WHERE _id = ?`, id)
}

// later runs a statement at the end of the test.
func later(t *testing.T, db *sql.DB, q string, args ...any) {
	t.Helper()
	t.Cleanup(func() {
		if _, err := db.Exec(q, args...); err != nil {
			t.Errorf("restore: %s: %v", q, err)
		}
	})
}

// keep copies rows to the table kept, and puts them back at the end of the test.
func keep(t *testing.T, db *sql.DB, table, where string, args ...any) {
	t.Helper()
	localtest.Exec(t, db, "CREATE TABLE kept AS SELECT * FROM "+table+" WHERE "+where, args...)
	later(t, db, "DROP TABLE kept")
	later(t, db, "REPLACE INTO "+table+" SELECT * FROM kept")
}

func documentGone(t *testing.T, d shared) []string {
	db := sqlite(t, d, "entry")
	id, name := document(t, db)
	keep(t, db, "doc", "_id = ?", id)
	localtest.Exec(t, db, "DELETE FROM doc WHERE _id = ?", id)
	return []string{name, "index none"}
}

func documentTooMuch(t *testing.T, d shared) []string {
	db := sqlite(t, d, "entry")
	id, name := document(t, db)
	later(t, db, "DELETE FROM doc WHERE _id = ? + 1000000", id)
	localtest.Exec(t, db, "CREATE TEMP TABLE more AS SELECT * FROM doc WHERE _id = ?", id)
	localtest.Exec(t, db, "UPDATE more SET _id = _id + 1000000, c_seq = c_seq + 1000000")
	localtest.Exec(t, db, "INSERT INTO doc SELECT * FROM more")
	row, shard, _ := strings.Cut(name, " of ")
	account, seq, _ := strings.Cut(row, ",")
	return []string{fmt.Sprintf("%s,%d of %s", account, number(t, seq)+1_000_000, shard), "source none"}
}

func number(t *testing.T, s string) int {
	t.Helper()
	n, err := strconv.Atoi(s)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func documentChanged(t *testing.T, d shared) []string {
	db := sqlite(t, d, "entry")
	id, name := document(t, db)
	later(t, db, "UPDATE doc SET c_amount = c_amount - 1 WHERE _id = ?", id)
	localtest.Exec(t, db, "UPDATE doc SET c_amount = c_amount + 1 WHERE _id = ?", id)
	return []string{name + ": amount"}
}

// archived is a row of the oldest shard of a dataset that the archive owns.
func archived(t *testing.T, d shared, dataset, key string) (db *sql.DB, shard string, cells []string) {
	t.Helper()
	db = open(t, d.book.Archive)
	shard = text(t, db, "SELECT shard FROM strata_part WHERE dataset = ? AND state = 'owned' ORDER BY shard LIMIT 1", dataset)
	return db, shard, strings.Split(text(t, db, "SELECT CONCAT_WS('|', "+key+") FROM "+shard+" ORDER BY "+key+" LIMIT 1"), "|")
}

func archivedEntry(t *testing.T, d shared) []string {
	db, shard, key := archived(t, d, "entry", "account_id, seq")
	where := "account_id = " + key[0] + " AND seq = " + key[1]
	keep(t, db, shard, where)
	localtest.Exec(t, db, "UPDATE "+shard+" SET amount = amount + 1 WHERE "+where)
	return []string{"index: entry row " + strings.Join(key, ",") + " of " + shard + ": amount", "archive: " + shard, "account " + key[0] + " entry " + key[1]}
}

func archivedTransfer(t *testing.T, d shared) []string {
	db, shard, key := archived(t, d, "transfer", "id")
	keep(t, db, shard, "id = ?", key[0])
	localtest.Exec(t, db, "UPDATE "+shard+" SET memo = CONCAT(memo, '!') WHERE id = ?", key[0])
	return []string{"index: transfer row " + key[0] + " of " + shard + ": memo", "archive: " + shard}
}

func archivedGone(t *testing.T, d shared) []string {
	db, shard, key := archived(t, d, "transfer", "id")
	keep(t, db, shard, "id = ?", key[0])
	localtest.Exec(t, db, "DELETE FROM "+shard+" WHERE id = ?", key[0])
	return []string{"index: transfer row " + key[0] + " of " + shard, "source none", "archive: " + shard, "transfer " + key[0] + " has "}
}

// liveRow changes one row on live, in a transaction that capture follows: the index is right, the ledger isn't.
func liveRow(t *testing.T, db *sql.DB, table, where, set string) {
	t.Helper()
	keep(t, db, table, where)
	localtest.Exec(t, db, "UPDATE "+table+" SET "+set+" WHERE "+where)
}

// lastShard is the newest shard of a dataset on live: the one of the demo's last month.
func lastShard(dataset string) string { return dataset + "_202603" }

// liveEntry changes an entry in the middle of an account's, so that another one follows it.
func liveEntry(set string) func(t *testing.T, d shared) []string {
	return func(t *testing.T, d shared) []string {
		db, shard := open(t, d.book.Live), lastShard("entry")
		account, seq, _ := strings.Cut(text(t, db, "SELECT CONCAT(account_id, '|', MIN(seq)) FROM "+shard+" GROUP BY account_id HAVING COUNT(*) > 2 LIMIT 1"), "|")
		liveRow(t, db, shard, "account_id = "+account+" AND seq = "+seq, set)
		return []string{"account " + account + " entry " + seq}
	}
}

func lastEntry(t *testing.T, d shared) []string {
	db, shard := open(t, d.book.Live), lastShard("entry")
	account, seq, _ := strings.Cut(text(t, db, "SELECT CONCAT(account_id, '|', seq) FROM "+shard+" JOIN account ON account.id = account_id AND account.entries = seq LIMIT 1"), "|")
	liveRow(t, db, shard, "account_id = "+account+" AND seq = "+seq, "amount = amount + 1, balance_after = balance_after + 1")
	return []string{"account " + account + " entry " + seq}
}

func liveTransfer(set string) func(t *testing.T, d shared) []string {
	return func(t *testing.T, d shared) []string {
		db, shard := open(t, d.book.Live), lastShard("transfer")
		id := text(t, db, "SELECT MIN(id) FROM "+shard)
		if strings.HasPrefix(set, "id=") {
			later(t, db, "DELETE FROM "+shard+" WHERE "+set)
		}
		liveRow(t, db, shard, "id = '"+id+"'", set)
		return []string{"transfer " + id}
	}
}

func liveAccount(t *testing.T, d shared) []string {
	liveRow(t, open(t, d.book.Live), "account", "id = 1005", "balance = balance + 1")
	return []string{"account 1005"}
}

// verifyStopped damages the index of a folder whose servers don't run.
func verifyStopped(t *testing.T, dir string) {
	bitten(t, dir, "index", documentChanged(t, shared{book: addressBook{Index: filepath.Join(dir, "index")}}))
	strata(t, "verify", "--data", dir, "--part", "archive,ledger").want(t, 0)
	mustHaveNoServers(t, dir)
}
