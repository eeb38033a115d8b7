package main

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"strata/local/localtest"
)

// refusal is a command line that is refused: the exit code, the kind, and what is said.
type refusal struct {
	code int
	kind string
	args []string
	says []string
}

// check runs it as people and as programs do.
func (c refusal) check(t *testing.T) {
	t.Helper()
	r := strata(t, c.args...)
	r.want(t, c.code, append(c.says, "strata: ")...)
	if strings.Contains(r.stderr, "goroutine ") {
		t.Errorf("a panic: %s", r)
	}
	r = strata(t, append([]string{"--json"}, c.args...)...)
	r.want(t, c.code)
	var out struct {
		Error struct{ Kind, Message, Hint string }
	}
	if err := json.Unmarshal([]byte(r.stdout), &out); err != nil {
		t.Fatalf("not one JSON object: %v: %s", err, r)
	}
	all := out.Error.Message + "\n" + out.Error.Hint
	for _, s := range c.says {
		if !strings.Contains(all, strings.TrimPrefix(s, "hint: ")) {
			t.Errorf("with --json %q is not in %s", s, all)
		}
	}
	if out.Error.Kind != c.kind || out.Error.Message == "" {
		t.Errorf("kind %q instead of %q, message %q", out.Error.Kind, c.kind, out.Error.Message)
	}
}

// configFile writes a configuration and returns its path.
func configFile(t *testing.T, live, archive, rest string) string {
	t.Helper()
	return configWith(t, live, archive, "127.0.0.1:1", rest)
}

func configWith(t *testing.T, live, archive, broker, rest string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "strata.yaml")
	text := fmt.Sprintf("data: %s\nlive: {dsn: \"%s\"}\narchive: {dsn: \"%s\"}\nkafka: {brokers: [%q]}\n%s", t.TempDir(), live, archive, broker, rest)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

const away = "strata:x@tcp(127.0.0.1:1)/bank"

func TestRefusals_before_anything_is_asked(t *testing.T) {
	t.Parallel()
	dir := func(version string) string {
		d := t.TempDir()
		if err := os.WriteFile(filepath.Join(d, "version"), []byte(version+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		return d
	}
	foreign := t.TempDir()
	if err := os.WriteFile(filepath.Join(foreign, "holiday.jpg"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = taken.Close() })
	port := taken.Addr().String()
	for name, c := range map[string]refusal{
		"no command":           {2, "invalid", []string{}, []string{"expected one of", "hint: strata --help"}},
		"an unknown command":   {2, "invalid", []string{"qurey"}, []string{"qurey"}},
		"an unknown flag":      {2, "invalid", []string{"verify", "--nonsense"}, []string{"--nonsense", "hint: "}},
		"a flag without value": {2, "invalid", []string{"query", "--format"}, []string{"--format"}},
		"an unknown format":    {2, "invalid", []string{"query", "--format=xml", "SELECT 1"}, []string{"xml", "table"}},
		"no configuration":     {2, "invalid", []string{"query", "SELECT * FROM entry"}, []string{"strata.yaml", "hint: ", "--config FILE", "--data DIR"}},
		"a file that isn't":    {2, "invalid", []string{"check-config", "-c", "/nowhere/strata.yaml"}, []string{"/nowhere/strata.yaml", "hint: ", "strata.example.yaml"}},
		"config and data":      {2, "invalid", []string{"verify", "-c", "a", "--data", "b"}, []string{"--config", "--data"}},
		"no demo folder":       {2, "invalid", []string{"verify", "--data", t.TempDir()}, []string{"hint: ", "strata demo --data"}},
		"an unknown key":       {2, "invalid", []string{"check-config", "-c", configFile(t, away, away, "ledger: true\nlegder: true\n")}, []string{"legder", ":6", "hint: "}},
		"no servers":           {2, "invalid", []string{"check-config", "-c", configFile(t, "", "", "ledger: true\n")}, []string{"live: dsn", "archive: dsn"}},
		"no dataset":           {2, "invalid", []string{"check-config", "-c", configFile(t, away, away, "")}, []string{"ledger: true"}},
		"one table, two datasets": {2, "invalid", []string{"check-config", "-c", configFile(t, away, away, "datasets:\n- {name: a, table: t}\n- {name: b, table: t}\n")},
			[]string{"a and b both claim table t"}},
		"a public address":        {2, "invalid", []string{"check-config", "-c", configFile(t, away, away, "ledger: true\nhttp: 0.0.0.0:80\n")}, []string{"0.0.0.0:80", "loopback"}},
		"a public demo":           {2, "invalid", []string{"demo", "--http=0.0.0.0:0"}, []string{"loopback"}},
		"a port that is taken":    {4, "busy", []string{"demo", "--http", port}, []string{port, "hint: ", "--http"}},
		"a folder of a later day": {2, "invalid", []string{"demo", "--once", "--data", dir("99")}, []string{`"99"`, "hint: "}},
		"a folder of no version":  {2, "invalid", []string{"demo", "--once", "--data", dir("")}, []string{"version", "hint: "}},
		"a foreign folder":        {2, "invalid", []string{"demo", "--once", "--data", foreign}, []string{"holiday.jpg", "hint: "}},
		"too few accounts":        {2, "invalid", []string{"demo", "--once", "--accounts=3"}, []string{"3 accounts"}},
		"a day that is none":      {2, "invalid", []string{"demo", "--once", "--as-of=31.12.2026"}, []string{"31.12.2026"}},
		"a demo's configuration":  {2, "invalid", []string{"demo", "-c", "strata.yaml"}, []string{"hint: ", "STRATA_LIVE_DSN"}},
		"a server that is away":   {3, "unavailable", []string{"query", "-c", configFile(t, away, away, "ledger: true\n"), "SELECT * FROM entry"}, []string{"127.0.0.1:1", "hint: "}},
		"an unknown role":         {2, "invalid", []string{"serve", "--roles=king", "-c", configFile(t, away, away, "ledger: true\n")}, []string{"king", "hint: ", "canal, sync, router"}},
		"a leg that is none":      {2, "invalid", []string{"ledger", "transfer", "--id=a", "--leg=1:2"}, []string{"1:2", "1001:CNY:-1250"}},
		"a date that is none":     {2, "invalid", []string{"archive", "plan", "--as-of=soon"}, []string{"soon"}},
	} {
		t.Run(name, func(t *testing.T) { c.check(t) })
	}
	if left, err := os.ReadDir(foreign); err != nil || len(left) != 1 {
		t.Errorf("a foreign folder was written to: %v %v", left, err)
	}
}

// Refused flags leave nothing that a second start with right flags would stumble over.
func TestRefusals_leave_nothing_behind(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "d")
	for _, flag := range []string{"--accounts=3", "--transfers=1", "--as-of=never", "--today=-1", "--http=nonsense"} {
		strata(t, "demo", "--data", dir, flag).want(t, 2)
	}
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("a folder was made: %v", err)
	}
}

func TestRefusals_of_servers(t *testing.T) {
	t.Parallel()
	good := localtest.Shared(t)
	live := localtest.Schema(t, good)
	db := localtest.DB(t, live)
	localtest.Exec(t, db, "CREATE TABLE sound (a INT PRIMARY KEY)")
	unsafe := localtest.Maria(t, "--binlog-format=STATEMENT", "--sync-binlog=0", "--innodb-doublewrite=0")
	risky := localtest.Schema(t, unsafe)
	for name, c := range map[string]refusal{
		"an archive that loses data": {3, "unsafe", []string{"query", "-c", configFile(t, live, risky, "datasets: [{name: sound}]\n"), "SELECT * FROM sound"},
			[]string{"sync_binlog is 0 instead of 1", "SET GLOBAL sync_binlog = 1"}},
	} {
		t.Run(name, func(t *testing.T) { c.check(t) })
	}
}

func TestRefusals_beside_a_demo(t *testing.T) {
	t.Parallel()
	d := served(t)
	query := func(args ...string) []string { return append([]string{"query", "--data", d.dir}, args...) }
	page := strata(t, query("--format=json", "SELECT account_id, seq FROM entry ORDER BY account_id, seq LIMIT 5")...)
	page.want(t, 0)
	cursor := lastCursor(t, page)
	forged := []byte(cursor)
	forged[len(forged)/2] ^= 1
	for name, c := range map[string]refusal{
		"the folder is in use": {4, "busy", []string{"demo", "--once", "--data", d.dir}, []string{d.dir, "hint: "}},
		"not a SELECT":         {2, "invalid", query("DELETE FROM entry"), []string{"SELECT", "hint: "}},
		"a join":               {2, "invalid", query("SELECT a.id FROM account a JOIN entry b ON a.id = b.account_id"), []string{"hint: ", "SELECT"}},
		"a broken text":        {2, "invalid", query("SELECT id\nFROM account WHERE id = = 3"), []string{"line 2", "hint: "}},
		"a function":           {2, "invalid", query("SELECT id FROM account WHERE lower(name) = 'x'"), []string{"LOWER(name)", "column 30", "hint: "}},
		"an unknown dataset":   {2, "not_found", query("SELECT * FROM entires"), []string{"entires"}},
		"an unknown column":    {2, "invalid", query("SELECT * FROM entry WHERE colour = 3"), []string{"colour"}},
		"a value of no sense":  {2, "invalid", query("SELECT * FROM entry WHERE seq = 'x'"), []string{"seq"}},
		"a forged cursor":      {2, "invalid", query("--cursor="+string(forged), "SELECT account_id, seq FROM entry ORDER BY account_id, seq LIMIT 5"), []string{"cursor", "hint: "}},
		"another's cursor":     {2, "invalid", query("--cursor="+cursor, "SELECT account_id, seq FROM entry ORDER BY account_id, seq DESC LIMIT 5"), []string{"cursor", "hint: "}},
		"an unknown part":      {2, "invalid", []string{"verify", "--data", d.dir, "--part", "moon"}, []string{"moon", "hint: ", "index, archive, ledger"}},
		"an unknown account":   {2, "not_found", []string{"ledger", "balance", "--data", d.dir, "77777777"}, []string{"77777777"}},
		"a position not there": {3, "timeout", query("--at-least=99999999", "--timeout=2s", "SELECT id FROM account LIMIT 1"), []string{"account"}},
	} {
		t.Run(name, func(t *testing.T) { c.check(t) })
	}
}

// lastCursor is the cursor of a JSON answer's last line.
func lastCursor(t testing.TB, r result) string {
	t.Helper()
	lines := strings.Split(strings.TrimSpace(r.stdout), "\n")
	var end struct{ Cursor string }
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &end); err != nil || end.Cursor == "" {
		t.Fatalf("no cursor: %v: %s", err, r)
	}
	return end.Cursor
}

func TestHelp(t *testing.T) {
	t.Parallel()
	for _, command := range []string{"", "demo", "check-config", "serve", "query", "explain", "statement", "verify", "archive", "archive plan",
		"archive run", "archive status", "init", "canal backfill", "canal repair", "canal rewind", "canal accept", "canal adopt",
		"canal tasks", "canal ddl-check", "canal pause", "canal resume", "canal stop", "canal evidence", "ledger", "ledger open", "ledger transfer", "ledger balance", "ledger load", "canal", "canal status",
		"sync", "sync status", "sync resume", "sync dlq", "sync dlq list", "sync dlq show", "sync dlq replay", "sync dlq drop", "catalog", "catalog show"} {
		t.Run("strata "+command, func(t *testing.T) {
			r := strata(t, append(strings.Fields(command), "--help")...)
			r.want(t, 0, "Usage: strata", "--data", "--json")
			if r.stderr != "" || strings.Contains(r.stdout, "%!") {
				t.Errorf("%s", r)
			}
		})
	}
	strata(t, "--help").want(t, 0, "Exit codes: 0", "130")
	strata(t, "demo", "--help").want(t, 0, "Ctrl-C")
}
