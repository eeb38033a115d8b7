package main

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"strata/canal/kafka"
	"strata/catalog"
	"strata/local/localtest"
)

// problemsOf runs check-config and returns what it prints as JSON.
func problemsOf(t *testing.T, code int, path string, args ...string) []problemLine {
	t.Helper()
	r := strata(t, append([]string{"check-config", "--json", path}, args...)...)
	r.want(t, code)
	var out struct {
		OK       bool
		Problems []problemLine
		Error    struct{ Kind string }
	}
	if err := json.Unmarshal([]byte(r.stdout), &out); err != nil || out.OK != (code == 0) || out.OK != (out.Error.Kind == "") {
		t.Fatalf("%v: %s", err, r)
	}
	return out.Problems
}

// expect is a problem: on which line, and what is said.
type expect struct {
	line int
	says string
}

func (e expect) in(list []problemLine) bool {
	for _, p := range list {
		if p.Line == e.line && strings.Contains(p.Message+" "+p.Hint, e.says) {
			return true
		}
	}
	return false
}

func wantProblems(t *testing.T, list []problemLine, want ...expect) {
	t.Helper()
	for _, e := range want {
		if !e.in(list) {
			t.Errorf("%q on line %d is not in %+v", e.says, e.line, list)
		}
	}
	if len(list) != len(want) {
		t.Errorf("%d problems instead of %d: %+v", len(list), len(want), list)
	}
}

func TestCheckConfig_names_every_problem_of_the_file(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "strata.yaml")
	text := `data: ./data
live: {dsn: "a:secret@tcp(h:1)/s", pasword_file: x}
archive: {dsn: "a@tcp(h:1)/"}
kafka:
  brokers: []
  compression: brotli
capture:
  envelope: avro
  mask_key: {env: A, fiel: b}
http: 0.0.0.0:80
datasets:
  - name: Orders
  - name: a
    tabel: b
  - name: a
    money:
      - {column: x}
archive_policies:
  - {dataset: gone, older_than_days: 0}
nonsense: true
`
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	list := problemsOf(t, 2, path)
	wantProblems(t, list, expect{2, "pasword_file"}, expect{3, "schema"}, expect{5, "none is named"}, expect{6, "brotli"}, expect{8, "avro"},
		expect{9, "fiel"}, expect{10, "loopback"}, expect{12, `"Orders"`}, expect{14, "tabel"}, expect{15, "twice"}, expect{15, "either unit_column or unit"},
		expect{19, "gone"}, expect{19, "older_than_days"}, expect{20, "nonsense"})
	r := strata(t, "check-config", path)
	r.want(t, 2, path+":12:", path+":20: unknown key", "problems")
	if strings.Contains(r.String(), "secret") {
		t.Errorf("a password: %s", r)
	}
	strata(t, "check-config", path, "-c", path).want(t, 2, "twice")
}

func TestCheckConfig_asks_the_servers(t *testing.T) {
	t.Parallel()
	m := localtest.Shared(t)
	live, archive := localtest.Schema(t, m), localtest.Schema(t, m)
	control := localtest.Schema(t, m)
	db := localtest.DB(t, live)
	for _, q := range []string{"CREATE TABLE keyless (a INT)", "CREATE TABLE sound (a INT PRIMARY KEY)",
		"CREATE TABLE odd (id INT PRIMARY KEY, price DECIMAL(10,2), at DATETIME)", "CREATE TABLE cut_202601 (id INT PRIMARY KEY, at DATETIME NULL)"} {
		localtest.Exec(t, db, q)
	}
	broker := localtest.Kafka(t).Brokers()[0]
	sink, err := kafka.Open(kafka.Config{Brokers: []string{broker}, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = sink.Close() })
	if err := sink.Ensure(t.Context(), &catalog.Dataset{Name: "sound", Partitions: 2}, true); err != nil {
		t.Fatal(err)
	}
	with := func(rest string) string {
		return configWith(t, live, archive, broker, "control: {dsn: \""+control+"\"}\n"+rest)
	}
	t.Run("nothing is wrong", func(t *testing.T) {
		path := with("datasets:\n  - name: sound\n    partitions: 2\n")
		problemsOf(t, 0, path)
		r := strata(t, "check-config", path)
		r.want(t, 0, "name: sound", "heartbeat_ms: 1000", "nothing is wrong", "1 datasets", "kafka: ", "MariaDB")
		if strings.Contains(r.String(), m.Password) {
			t.Errorf("it prints the password: %s", r)
		}
	})
	t.Run("all problems with tables and topics come at once, by line", func(t *testing.T) {
		list := problemsOf(t, 2, with(`datasets:
  - name: sound
    partitions: 4
  - name: keyless
  - name: nowhere
  - name: odd
    account: no_such
    money:
      - {column: price, unit: EUR}
      - {column: lost, unit: EUR}
  - name: cut
    time: at
    shards: month
  - name: uncut
    time: at
    shards: day
`))
		wantProblems(t, list, expect{8, "2 partitions"}, expect{9, "no primary key"}, expect{10, "nowhere"}, expect{12, "no_such"}, expect{14, "price is a decimal"},
			expect{15, "lost"}, expect{17, "NULL"}, expect{21, "no shard"})
	})
	t.Run("shards that rows can't be found in alike", func(t *testing.T) {
		for _, q := range []string{"CREATE TABLE uneven_202604 (id INT PRIMARY KEY, at DATETIME NOT NULL, later INT)", "CREATE TABLE uneven_202603 (id INT, k INT, at DATETIME NOT NULL, PRIMARY KEY (id, k))",
			"CREATE TABLE uneven_202602 (id INT, at DATETIME NOT NULL)", "CREATE TABLE uneven_202601 (id INT PRIMARY KEY)", "CREATE TABLE uneven_202512 (id INT PRIMARY KEY, at DATETIME NOT NULL)",
			"CREATE TABLE uneven_20260115 (id INT)"} {
			localtest.Exec(t, db, q)
		}
		list := problemsOf(t, 2, with("datasets:\n  - name: uneven\n    time: at\n    shards: month\n"))
		wantProblems(t, list, expect{7, "uneven_202603 has the primary key (id, k)"}, expect{7, "uneven_202602 has no primary key"}, expect{7, "uneven_202601 has no column at"})
	})
	t.Run("live as its own archive is refused", func(t *testing.T) {
		list := problemsOf(t, 2, configWith(t, live, live, broker, "control: {dsn: \""+control+"\"}\ndatasets: [{name: odd}]\n"))
		wantProblems(t, list, expect{3, "of its own"})
	})
	t.Run("a server id that is taken is refused", func(t *testing.T) {
		id := text(t, db, "SELECT @@server_id")
		wantProblems(t, problemsOf(t, 2, with("capture: {server_id: "+id+"}\ndatasets: [{name: odd}]\n")), expect{6, "throw each other out"})
	})
	t.Run("servers that are away are all named", func(t *testing.T) {
		list := problemsOf(t, 3, configFile(t, live, away, "datasets: [{name: odd}]\n"))
		wantProblems(t, list, expect{3, "127.0.0.1:1"}, expect{3, "127.0.0.1:1"}, expect{4, ""}) // archive, its control schema, kafka
	})
	t.Run("a login that is refused", func(t *testing.T) {
		list := problemsOf(t, 3, configWith(t, strings.Replace(live, m.Password, "wrong", 1), archive, broker, "control: {dsn: \""+control+"\"}\ndatasets: [{name: odd}]\n"))
		if len(list) == 0 || list[0].Line != 2 || !strings.Contains(list[0].Message, "Access denied") {
			t.Errorf("%+v", list)
		}
	})
	t.Run("privileges that are missing", func(t *testing.T) {
		root := localtest.DB(t, m.RootDSN(""))
		schema := live[strings.LastIndex(live, "/")+1:]
		schema, _, _ = strings.Cut(schema, "?")
		user := "poor_" + schema
		localtest.Exec(t, root, fmt.Sprintf("CREATE USER '%s'@'%%' IDENTIFIED BY 'pw'", user))
		localtest.Exec(t, root, fmt.Sprintf("GRANT SELECT, INSERT, UPDATE, DELETE, CREATE ON `%s`.* TO '%s'@'%%'", strings.ReplaceAll(schema, "_", `\_`), user))
		t.Cleanup(func() { _, _ = root.Exec(fmt.Sprintf("DROP USER '%s'@'%%'", user)) })
		poor := fmt.Sprintf("%s:pw@tcp(%s)/%s", user, m.Addr(), schema)
		list := problemsOf(t, 2, configWith(t, poor, archive, broker, "control: {dsn: \""+control+"\"}\ndatasets: [{name: odd}]\n"))
		wantProblems(t, list, expect{2, "ALTER, DROP, TRIGGER"}, expect{2, "REPLICATION SLAVE"})
	})
	t.Run("folders that can't be written", func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "file")
		if err := os.WriteFile(file, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		list := problemsOf(t, 2, with("capture: {spill_dir: "+file+"/spill}\ndatasets: [{name: odd}]\n"))
		wantProblems(t, list, expect{6, "folder"})
	})
	t.Run("a secret that is not there", func(t *testing.T) {
		wantProblems(t, problemsOf(t, 2, with("capture: {mask_key: {env: NOT_SET_ANYWHERE}}\ndatasets: [{name: odd}]\n")), expect{6, "NOT_SET_ANYWHERE"})
	})
	t.Run("settings that lose data, each with its cure", func(t *testing.T) {
		unsafe := localtest.Maria(t, "--binlog-format=STATEMENT", "--sync-binlog=0", "--innodb-doublewrite=0")
		risky := localtest.Schema(t, unsafe)
		localtest.Exec(t, localtest.DB(t, risky), "CREATE TABLE odd (a INT PRIMARY KEY)")
		list := problemsOf(t, 2, configWith(t, risky, archive, broker, "control: {dsn: \""+control+"\"}\ndatasets: [{name: odd}]\n"))
		wantProblems(t, list, expect{2, "SET GLOBAL binlog_format = 'ROW'"}, expect{2, "SET GLOBAL sync_binlog = 1"}, expect{2, "innodb_doublewrite"})
		strata(t, "check-config", configWith(t, risky, archive, broker, "control: {dsn: \""+control+"\"}\ndatasets: [{name: odd}]\n")).
			want(t, 2, "binlog_format is STATEMENT instead of ROW", "sync_binlog is 0 instead of 1")
	})
}
