package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/csv"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"strata/node"
)

// TestCommands asks the shared demo by every command that only reads.
func TestCommands(t *testing.T) {
	t.Parallel()
	d := served(t)
	verifying.Lock()
	defer verifying.Unlock()
	for name, f := range map[string]func(*testing.T, shared){
		"query: three formats, one answer":             queryFormats,
		"query: sums over all stores":                  querySums,
		"query: pages by cursor make the whole":        queryPages,
		"query: a text comes out as it went in":        queryTexts,
		"explain says which sources and why":           explains,
		"statement proves itself":                      statements,
		"statement: a failed one replaces no file":     statementKept,
		"archive: plan, dry run and status":            archives,
		"catalog, canal, sync":                         showsState,
		"check-config prints no secret":                showsConfig,
		"graphql: pages by cursor make the whole":      graphqlPages,
		"graphql, healthz and readyz answer as stated": graphqlDoors,
	} {
		t.Run(name, func(t *testing.T) { f(t, d) })
	}
}

// lines are the lines of a text, without the empty last one.
func lines(s string) []string { return strings.Split(strings.TrimRight(s, "\n"), "\n") }

func queryFormats(t *testing.T, d shared) {
	const q = "SELECT account_id, seq, unit, amount FROM entry WHERE account_id = 1001 ORDER BY account_id, seq"
	as := func(format string) string {
		r := strata(t, "query", "--data", d.dir, "--format", format, q)
		r.want(t, 0)
		if format != "json" && !strings.Contains(r.stderr, "rows; ") {
			t.Errorf("no proof: %s", r)
		}
		return r.stdout
	}
	table := lines(as("table"))
	records, err := csv.NewReader(strings.NewReader(as("csv"))).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	objects := lines(as("json"))
	if len(table) < 5 || len(table) != len(records) || len(objects) != len(records) { // a header there, the proof here
		t.Fatalf("%d lines, %d records, %d objects", len(table), len(records), len(objects))
	}
	for i, rec := range records {
		if cells := strings.Fields(table[i]); !slices.Equal(cells, rec) {
			t.Errorf("table %v, csv %v", cells, rec)
		}
		if i == 0 {
			continue
		}
		var o map[string]any
		dec := json.NewDecoder(strings.NewReader(objects[i-1]))
		dec.UseNumber()
		if err := dec.Decode(&o); err != nil {
			t.Fatal(err)
		}
		if got := []string{fmt.Sprint(o["account_id"]), fmt.Sprint(o["seq"]), fmt.Sprint(o["unit"]), fmt.Sprint(o["amount"])}; !slices.Equal(got, rec) {
			t.Errorf("json %v, csv %v", got, rec)
		}
		if rec[1] != strconv.Itoa(i) {
			t.Errorf("seq %s is the row %d", rec[1], i)
		}
	}
	var end struct {
		Rows   int
		Served struct{ Complete bool }
	}
	if err := json.Unmarshal([]byte(objects[len(objects)-1]), &end); err != nil || end.Rows != len(records)-1 || !end.Served.Complete {
		t.Errorf("%v: %s", err, objects[len(objects)-1])
	}
	if short := strata(t, "query", "--data", d.dir, "--json", q); len(lines(short.stdout)) != len(objects) {
		t.Errorf("--json is not --format json: %s", short)
	}
}

func querySums(t *testing.T, d shared) {
	for _, flags := range [][]string{nil, {"--strong"}, {"--bounded=30s"}} {
		r := strata(t, append([]string{"query", "--data", d.dir, "--format=csv", "SELECT unit, count(*) AS n, sum(amount) AS s FROM entry WHERE transfer_id LIKE 'load-%' GROUP BY unit"}, flags...)...)
		r.want(t, 0, "live", "archive")
		records, err := csv.NewReader(strings.NewReader(r.stdout)).ReadAll()
		if err != nil || len(records) != 5 {
			t.Fatalf("%v: %s", err, r)
		}
		for _, rec := range records[1:] {
			if rec[2] != "0" {
				t.Errorf("%v does not sum to zero", rec)
			}
		}
	}
	r := strata(t, "query", "--data", d.dir, "--format=csv", "SELECT count(*) AS n FROM transfer")
	r.want(t, 0)
	if n := number(t, lines(r.stdout)[1]); n < 300 || n > 360 {
		t.Errorf("%d transfers", n)
	}
}

func queryPages(t *testing.T, d shared) {
	const q = "SELECT id, order_time FROM transfer ORDER BY order_time DESC, id"
	whole := strata(t, "query", "--data", d.dir, "--format=csv", q)
	whole.want(t, 0)
	var pages []string
	cursor := ""
	for {
		r := strata(t, "query", "--data", d.dir, "--format=csv", q+" LIMIT 97", "--cursor="+cursor)
		r.want(t, 0)
		pages = append(pages, lines(r.stdout)[1:]...)
		var more bool
		if _, cursor, more = strings.Cut(r.stderr, "more: --cursor "); !more {
			break
		}
		cursor = strings.TrimSpace(cursor)
	}
	if all := lines(whole.stdout)[1:]; !slices.Equal(all, pages) || len(all) < 300 {
		t.Errorf("%d rows at once, %d in pages", len(all), len(pages))
	}
}

func queryTexts(t *testing.T, d shared) {
	r := strata(t, "query", "--data", d.dir, "--format=csv", `SELECT id, memo FROM transfer WHERE memo LIKE '%拉面%' OR memo LIKE 'it''s%'`)
	r.want(t, 0)
	records, err := csv.NewReader(strings.NewReader(r.stdout)).ReadAll()
	if err != nil || len(records) < 10 {
		t.Fatalf("%v: %s", err, r)
	}
	for _, rec := range records[1:] {
		if !strings.Contains(rec[1], "🍜 拉面") && !strings.HasPrefix(rec[1], `it's \ "`) {
			t.Errorf("%q", rec)
		}
	}
}

func explains(t *testing.T, d shared) {
	const q = "SELECT * FROM entry WHERE accounting_date >= '2026-03-01' AND account_id = 1001"
	r := strata(t, "explain", "--data", d.dir, q)
	r.want(t, 0, "live", "entry_202603")
	if strings.Contains(r.stdout, "entry_202501") {
		t.Errorf("a month that can't hold a row: %s", r)
	}
	r = strata(t, "explain", "--data", d.dir, "--json", "SELECT * FROM transfer WHERE memo LIKE '%x%'")
	r.want(t, 0)
	var plan struct {
		Dataset string
		Legs    []struct {
			Source string
			Parts  []struct{ Shard, Why string }
		}
	}
	if err := json.Unmarshal([]byte(r.stdout), &plan); err != nil || plan.Dataset != "transfer" || len(plan.Legs) == 0 || plan.Legs[0].Source == "" || len(plan.Legs[0].Parts) == 0 || plan.Legs[0].Parts[0].Why == "" {
		t.Errorf("%v: %s", err, r)
	}
}

// statements checks the file by its own means: hash, running balance, opening and closing.
func statements(t *testing.T, d shared) {
	path := filepath.Join(t.TempDir(), "s.csv")
	for _, period := range [][]string{nil, {"--from=2025-06-01", "--to=2026-02-15"}} {
		r := strata(t, append([]string{"statement", "--data", d.dir, "--account=1001", "--out", path}, period...)...)
		r.want(t, 0, "balanced true")
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		at := bytes.LastIndex(text, []byte("\nsha256,")) + 1
		sum := sha256.Sum256(text[:at])
		if at == 0 || !strings.HasPrefix(string(text[at:]), "sha256,"+hex.EncodeToString(sum[:])+",") {
			t.Errorf("the hash is not that of the file: %s", text[max(at, 0):])
		}
		if !strings.Contains(r.stderr, hex.EncodeToString(sum[:])) {
			t.Errorf("another hash is said: %s", r)
		}
		checkBalances(t, text, period == nil)
	}
	r := strata(t, "statement", "--data", d.dir, "--account=1001", "--json")
	r.want(t, 0)
	var s struct {
		Rows     int64
		Balanced bool
		SHA256   string
	}
	if err := json.Unmarshal([]byte(r.stdout), &s); err != nil || !s.Balanced || s.Rows == 0 || len(s.SHA256) != 64 {
		t.Errorf("%v: %s", err, r)
	}
}

func checkBalances(t *testing.T, text []byte, fromBirth bool) {
	t.Helper()
	rows, err := csv.NewReader(bytes.NewReader(text)).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	balance, entries := new(big.Int), 0
	for _, row := range rows[1:] {
		minor := func(i int) *big.Int {
			n, ok := new(big.Int).SetString(row[i], 10)
			if !ok {
				t.Fatalf("not an amount: %q in %v", row[i], row)
			}
			return n
		}
		switch row[0] {
		case "opening":
			balance = minor(9)
			if fromBirth && balance.Sign() != 0 {
				t.Errorf("it was born with %s", balance)
			}
		case "entry":
			entries++
			if balance.Add(balance, minor(8)); balance.Cmp(minor(9)) != 0 {
				t.Errorf("%v: the balance should be %s", row, balance)
			}
		case "closing":
			if balance.Cmp(minor(9)) != 0 {
				t.Errorf("closing %v, entries lead to %s", row, balance)
			}
		}
	}
	if entries < 3 {
		t.Errorf("%d entries", entries)
	}
}

func statementKept(t *testing.T, d shared) {
	path := filepath.Join(t.TempDir(), "s.csv")
	if err := os.WriteFile(path, []byte("the good old one"), 0o600); err != nil {
		t.Fatal(err)
	}
	strata(t, "statement", "--data", d.dir, "--account=1001", "--from=2026-03-01", "--to=2026-01-01", "--out", path).want(t, 2)
	if text, _ := os.ReadFile(path); string(text) != "the good old one" {
		t.Errorf("it was overwritten: %q", text)
	}
	if all, _ := os.ReadDir(filepath.Dir(path)); len(all) != 1 {
		t.Errorf("left: %v", all)
	}
}

func archives(t *testing.T, d shared) {
	plan := strata(t, "archive", "plan", "--data", d.dir, "--as-of=2026-07-15", "--json")
	plan.want(t, 0)
	var p struct {
		Moves []struct{ Shard, Dataset string }
	}
	if err := json.Unmarshal([]byte(plan.stdout), &p); err != nil || len(p.Moves) < 4 {
		t.Fatalf("%v: %s", err, plan)
	}
	status := func() string {
		r := strata(t, "archive", "status", "--data", d.dir, "--json")
		r.want(t, 0)
		return r.stdout
	}
	before := status()
	dry := strata(t, "archive", "run", "--dry-run", "--data", d.dir, "--as-of=2026-07-15", "--json")
	dry.want(t, 0)
	undated := func(s string) string { _, rest, _ := strings.Cut(s, `"moves"`); return rest }
	if undated(dry.stdout) != undated(plan.stdout) {
		t.Errorf("the dry run is another plan: %s %s", plan, dry)
	}
	if status() != before {
		t.Error("a dry run moved something")
	}
	strata(t, "archive", "plan", "--data", d.dir, "--as-of=2026-07-15").want(t, 0, "transfer_202601", "entry_202603")
	strata(t, "archive", "status", "--data", d.dir).want(t, 0, "SEGMENT", "sealed", "entry_202409")
	strata(t, "archive", "run", "--data", d.dir, "--as-of=2026-03-15").want(t, 0, "0 shards") // all of them have moved
}

func showsState(t *testing.T, d shared) {
	strata(t, "catalog", "show", "--data", d.dir).want(t, 0, "entry_202409", "archive", "live", "transfer_late_1")
	strata(t, "canal", "status", "--data", d.dir).want(t, 0, "term", "position", "1-1-")
	strata(t, "sync", "status", "--data", d.dir).want(t, 0, "HEARTBEAT", "entry")
	var owners []catalogLine
	if r := strata(t, "catalog", "show", "--data", d.dir, "--json"); json.Unmarshal([]byte(r.stdout), &owners) != nil || len(owners) < 30 {
		t.Errorf("%s", r)
	}
	var canal struct {
		Term    int
		Rows    int
		Stopped map[string]any
		Report  *struct{ Source string }
	}
	if r := strata(t, "canal", "status", "--data", d.dir, "--json"); json.Unmarshal([]byte(r.stdout), &canal) != nil || canal.Term < 1 || canal.Rows < 1000 || len(canal.Stopped) > 0 {
		t.Errorf("%s", r)
	}
	var st node.SyncState
	if r := strata(t, "sync", "status", "--data", d.dir, "--json"); r.code != 0 || json.Unmarshal([]byte(r.stdout), &st) != nil || len(st.Datasets) < 3 ||
		len(st.Processes) != 1 || st.Datasets[0].Holder != st.Processes[0].Holder || st.Datasets[0].Partitions[0].Heartbeat == 0 || st.Datasets[0].OpenLetters != 0 {
		t.Errorf("%s", r)
	}
	strata(t, "sync", "dlq", "list", "entry", "--data", d.dir).want(t, 0, "0 letters of entry are open")
}

func showsConfig(t *testing.T, d shared) {
	path := configWith(t, d.book.Live.DSN, d.book.Archive.DSN, d.book.Kafka[0], "ledger: true\noffline: {dsn: \""+d.book.Offline.DSN+"\"}\n")
	for _, args := range [][]string{{"check-config"}, {"check-config", "--offline"}, {"check-config", "--json"}} {
		r := strata(t, append(args, "-c", path)...)
		r.want(t, 0, "ledger", "***")
		if strings.Contains(r.stdout+r.stderr, d.book.Live.Password) {
			t.Errorf("it prints the password: %s", r)
		}
	}
	r := strataEnv(t, []string{"STRATA_LIVE_DSN=x:y@tcp(10.9.8.7:3306)/z"}, "check-config", "--offline", "-c", path)
	r.want(t, 0, "10.9.8.7")
}

// ask posts a GraphQL request.
func ask(t *testing.T, d shared, query string, into any) {
	t.Helper()
	body, _ := json.Marshal(map[string]string{"query": query})
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, d.book.GraphQL, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err == nil {
		err = json.Unmarshal(text, into)
	}
	if err != nil {
		t.Fatalf("%v: %s %s", err, res.Status, text)
	}
}

func graphqlPages(t *testing.T, d shared) {
	var seqs []string
	after := ""
	for range 100 {
		var out struct {
			Errors []any
			Data   struct {
				Entry struct {
					Edges    []struct{ Node struct{ Seq string } }
					PageInfo struct {
						EndCursor   string
						HasNextPage bool
					}
					Served struct {
						Complete bool
						Sources  []struct{ Source string }
					}
				}
			}
		}
		ask(t, d, fmt.Sprintf(`{ entry(first: 7, filter: {account_id: {eq: "1001"}}, order: [{column: account_id}, {column: seq}] %s) {
			edges { node { seq } } pageInfo { endCursor hasNextPage } served { complete sources { source } } } }`, after), &out)
		e := out.Data.Entry
		if len(out.Errors) > 0 || !e.Served.Complete || len(e.Served.Sources) == 0 {
			t.Fatalf("%+v", out)
		}
		for _, edge := range e.Edges {
			seqs = append(seqs, edge.Node.Seq)
		}
		if !e.PageInfo.HasNextPage {
			break
		}
		after = fmt.Sprintf(", after: %q", e.PageInfo.EndCursor)
	}
	for i, s := range seqs {
		if s != strconv.Itoa(i+1) {
			t.Fatalf("%v", seqs)
		}
	}
	if len(seqs) < 8 {
		t.Errorf("one page only: %v", seqs)
	}
}

func graphqlDoors(t *testing.T, d shared) {
	for path, status := range map[string]int{"/healthz": 200, "/readyz": 200, "/nowhere": 404} {
		res, err := http.Get(d.book.HTTP + path)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		if res.StatusCode != status {
			t.Errorf("%s: %s", path, res.Status)
		}
	}
	var out struct {
		Errors []struct{ Extensions struct{ Code, Hint string } }
	}
	if ask(t, d, `{ entry(first: 3, after: "Zm9yZ2Vk") { edges { cursor } } }`, &out); len(out.Errors) != 1 || out.Errors[0].Extensions.Code != "invalid" {
		t.Errorf("%+v", out)
	}
}
