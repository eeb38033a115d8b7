package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"strata/canal"
	"strata/canal/control"
	"strata/catalog"
	"strata/db"
	"strata/local/localtest"
)

func TestETA(t *testing.T) {
	for want, got := range map[string]string{
		"eta 1m30s": eta(10, 100, 10*time.Second), "": eta(0, 100, time.Second) + eta(100, 100, time.Second) + eta(5, 0, time.Second),
	} {
		if got != want {
			t.Errorf("%q instead of %q", got, want)
		}
	}
}

// quiet is a configuration whose capture nobody runs.
type quiet struct {
	path string
	desk *control.Control
}

func newQuiet(t *testing.T) *quiet {
	t.Helper()
	m := localtest.Shared(t)
	live, archive, ctl := localtest.Schema(t, m), localtest.Schema(t, m), localtest.Schema(t, m)
	open := func(dsn string, store catalog.Store) *db.DB {
		d, err := db.Open(t.Context(), db.Config{DSN: dsn, Name: string(store), Store: store, Purpose: db.Writer})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = d.Close() })
		return d
	}
	for dsn, store := range map[string]catalog.Store{live: catalog.Live, archive: catalog.Archive} {
		if err := db.EnsureTables(t.Context(), open(dsn, store)); err != nil {
			t.Fatal(err)
		}
	}
	raw := localtest.DB(t, live)
	localtest.Exec(t, raw, "CREATE TABLE wallet (id INT, unit CHAR(3), PRIMARY KEY (id, unit))")
	for _, month := range []string{"202601", "202602"} {
		localtest.Exec(t, raw, "CREATE TABLE orders_"+month+" (id INT PRIMARY KEY, at DATETIME NOT NULL)")
	}
	localtest.Exec(t, raw, "INSERT INTO orders_202601 SELECT seq, '2026-01-05' FROM seq_1_to_100")
	desk, err := control.Open(t.Context(), open(ctl, catalog.Archive), "strata")
	if err != nil {
		t.Fatal(err)
	}
	return &quiet{configFile(t, live, archive, "control: {dsn: \""+ctl+"\"}\ncapture: {backfill_rows_per_second: 777}\ndatasets:\n- {name: orders, time: at, shards: month}\n- {name: wallet}\n"), desk}
}

// run runs a canal command.
func (q *quiet) run(t *testing.T, args ...string) result {
	t.Helper()
	return strata(t, append([]string{"canal", "-c", q.path}, args...)...)
}

// tasks are all tasks, the newest first.
func (q *quiet) tasks(t *testing.T) []canal.Task {
	t.Helper()
	list, err := q.desk.AllTasks(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func TestCanal_orders_wait_for_a_leader(t *testing.T) {
	t.Parallel()
	q := newQuiet(t)
	q.run(t, "status").want(t, 0, "term      0", "leader    none yet", "position  none yet", "repairs   0 keys")
	t.Run("a backfill is ordered, paused, resumed and stopped", func(t *testing.T) {
		q.run(t, "backfill", "orders", "--why=index was lost", "--who=ann", "--shard=orders_202601", "--rows-per-second=50").
			want(t, 0, "1 shards", "is queued", "no leader reports")
		task := q.tasks(t)[0]
		if task.Kind != canal.Backfill || task.Dataset != "orders" || len(task.Shards) != 1 || task.RowsPerSecond != 50 || task.Who != "ann" || task.Why != "index was lost" {
			t.Fatalf("%+v", task)
		}
		id := fmt.Sprint(task.ID)
		q.run(t, "pause", id).want(t, 0, "pause")
		if w := q.tasks(t)[0].Wish; w != canal.Pause {
			t.Errorf("wish %q", w)
		}
		q.run(t, "resume", id).want(t, 0)
		if w := q.tasks(t)[0].Wish; w != canal.Run {
			t.Errorf("wish %q", w)
		}
		q.run(t, "stop", id, "--who=bob").want(t, 0, "end")
		q.run(t, "tasks").want(t, 0, "TASK", "backfill", "ann", "index was lost")
		q.run(t, "status").want(t, 0, "backfill")
		q.run(t, "evidence").want(t, 0, "ann", "bob", "index was lost")
		var lines []canal.Evidence
		if r := q.run(t, "--json", "evidence", "--after=1"); json.Unmarshal([]byte(r.stdout), &lines) != nil || len(lines) != 3 {
			t.Errorf("%s", r)
		}
	})
	t.Run("a task's shards are each there once, and its bounds as capture writes them", func(t *testing.T) {
		q.run(t, "backfill", "wallet", "--why=付款 😀", "--who=张三", "--shard=wallet", "--shard=wallet", "--from-key=007,a b", "--to-key=008,CNY").want(t, 0, "1 shards")
		if task := q.tasks(t)[0]; len(task.Shards) != 1 || task.From != "7,a%20b" || task.To != "8,CNY" || task.Who != "张三" || task.Why != "付款 😀" {
			t.Errorf("%+v", task)
		}
	})
	t.Run("a finished task stays as it is", func(t *testing.T) {
		task := q.tasks(t)[0]
		if ok, err := q.desk.Take(t.Context(), 0, 1, "host:1"); err != nil || !ok {
			t.Fatal(ok, err)
		}
		task.State = canal.Done
		if _, ok, err := q.desk.Advance(t.Context(), 1, task); err != nil || !ok {
			t.Fatal(ok, err)
		}
		for _, verb := range []string{"pause", "resume", "stop"} {
			q.run(t, verb, fmt.Sprint(task.ID)).want(t, 3, "is done", "hint: ")
		}
	})
	t.Run("a wait that is interrupted ends only the waiting", func(t *testing.T) {
		for _, flag := range []string{"--json=false", "--json"} {
			before := len(q.tasks(t))
			run, err := begin(t.Context(), nil, "canal", "-c", q.path, "backfill", "orders", "--why=wait", "--wait", flag)
			if err != nil {
				t.Fatal(err)
			}
			localtest.Eventually(t, runLimit, "the task is ordered", func() (bool, error) { return len(q.tasks(t)) > before, nil })
			if err := run.cmd.Process.Signal(os.Interrupt); err != nil {
				t.Fatal(err)
			}
			task := q.tasks(t)[0]
			run.end().want(t, 130, fmt.Sprintf("task %d goes on", task.ID), fmt.Sprintf("strata canal stop %d", task.ID))
			if task = q.tasks(t)[0]; task.State != canal.Queued || task.Wish != canal.Run {
				t.Errorf("%+v", task)
			}
		}
	})
	t.Run("keys to repair are queued", func(t *testing.T) {
		q.run(t, "repair", "wallet", "wallet", "7,CNY", "8,CNY", "07,CNY", "--why=differs", "--who=ann").want(t, 0, "2 keys of wallet wait")
		q.run(t, "backfill", "orders", "--shard=orders_202601", "--keys=3", "--keys=400", "--why=differs").want(t, 0, "2 keys of orders_202601")
		q.run(t, "repair", "wallet", "wallet", "9,CNY", "--why=differs", "--dry-run").want(t, 0, "1 keys of wallet would")
		q.run(t, "status").want(t, 0, "repairs   4 keys", "wallet 7,CNY: differs")
	})
	t.Run("a rewind needs a place", func(t *testing.T) {
		q.run(t, "rewind", "orders", "--to=0-1-5", "--why=lost a day").want(t, 0, "every key that changed after 0-1-5")
		if task := q.tasks(t)[0]; task.Kind != canal.Rewind || task.GTID != "0-1-5" || task.Dataset != "orders" {
			t.Errorf("%+v", task)
		}
		q.run(t, "rewind", "--to=0-1-5", "--why=all of it", "--dry-run").want(t, 0, "all datasets")
	})
	for name, c := range map[string]refusal{
		"an unknown dataset":      {2, "not_found", []string{"backfill", "nothing", "--why=x"}, []string{"nothing"}},
		"no reason":               {2, "invalid", []string{"backfill", "orders"}, []string{"--why"}},
		"a shard of nobody":       {2, "not_found", []string{"backfill", "orders", "--why=x", "--shard=orders_203001"}, []string{"orders_203001", "hint: they are orders_202601"}},
		"a bound that is no key":  {2, "invalid", []string{"backfill", "wallet", "--why=x", "--from-key=7"}, []string{"hint: the key of wallet is id,unit"}},
		"keys without a shard":    {2, "invalid", []string{"backfill", "orders", "--why=x", "--keys=7"}, []string{"exactly one --shard"}},
		"a negative speed":        {2, "invalid", []string{"backfill", "orders", "--why=x", "--rows-per-second=-1"}, []string{"-1 is not 0"}},
		"a key that is none":      {2, "invalid", []string{"repair", "orders", "orders_202601", "x", "--why=x"}, []string{"hint: "}},
		"another dataset's table": {2, "invalid", []string{"repair", "orders", "wallet", "1", "--why=x"}, []string{"wallet", "hint: "}},
		"a row of another shard":  {2, "invalid", []string{"repair", "orders", "orders_202602", "5", "--why=x"}, []string{"not in shard orders_202602", "hint: strata canal repair orders orders_202601 5"}},
		"keys of another shard":   {2, "invalid", []string{"backfill", "orders", "--shard=orders_202602", "--keys=777", "--keys=5", "--why=x"}, []string{"not in shard orders_202602"}},
		"a place that is none":    {2, "invalid", []string{"rewind", "orders", "--to=yesterday", "--why=x"}, []string{"yesterday", "hint: it looks like 0-1-4711"}},
		"no place":                {3, "conflict", []string{"rewind", "orders", "--why=x"}, []string{"not stopped", "hint: name a GTID set by --to"}},
		"nothing to accept":       {3, "conflict", []string{"accept", "orders", "--why=x"}, []string{"not stopped"}},
		"an unknown task":         {2, "not_found", []string{"pause", "4711"}, []string{"4711"}},
		"a blank reason":          {2, "invalid", []string{"backfill", "orders", "--why= "}, []string{"--why is blank", "hint: "}},
		"a long reason":           {2, "invalid", []string{"repair", "orders", "orders_202601", "1", "--why=" + strings.Repeat("付", 1001)}, []string{"1001 characters"}},
		"a long name":             {2, "invalid", []string{"backfill", "orders", "--why=x", "--who=" + strings.Repeat("w", 256)}, []string{"256 characters"}},
		"a name of two lines":     {2, "invalid", []string{"repair", "orders", "orders_202601", "1", "--why=x", "--who=ann\nERROR"}, []string{"--who has a line break", "hint: write one line"}},
		"a name that paints":      {2, "invalid", []string{"pause", "1", "--who=\u009b31m"}, []string{"control character"}},
		"a reason that turns":     {2, "invalid", []string{"rewind", "orders", "--to=0-1-5", "--why=a\u202eb"}, []string{"control character"}},
		"no key between":          {2, "invalid", []string{"backfill", "orders", "--why=x", "--from-key=10", "--to-key=9"}, []string{"no key is after", "hint: "}},
		"a speed beyond all":      {2, "invalid", []string{"backfill", "orders", "--why=x", "--rows-per-second=2147483648"}, []string{"0 to 2147483647"}},
		"a number beyond all":     {2, "invalid", []string{"rewind", "orders", "--to=0-1-99999999999999999999", "--why=x"}, []string{"hint: it looks like"}},
		"a domain twice":          {2, "invalid", []string{"rewind", "orders", "--to=0-1-5,0-2-7", "--why=x"}, []string{"domain 0 is there twice"}},
	} {
		t.Run(name, func(t *testing.T) {
			c.args = append([]string{"canal", "-c", q.path}, c.args...)
			c.check(t)
		})
	}
}

func TestL10_a_dry_run_of_a_task_orders_nothing(t *testing.T) {
	t.Parallel()
	q := newQuiet(t)
	r := q.run(t, "backfill", "orders", "--why=try", "--dry-run")
	r.want(t, 0, "backfill of orders: 2 shards", "orders_202601", "orders_202602", "live", "at most 777 rows a second")
	r = q.run(t, "--json", "backfill", "orders", "--why=try", "--dry-run", "--shard=orders_202601", "--from-key=5", "--to-key=9")
	var o ordered
	if err := json.Unmarshal([]byte(r.stdout), &o); err != nil || r.code != 0 || len(o.Shards) != 1 || o.Task.From != "5" || o.Task.To != "9" || o.Task.Why != "try" {
		t.Errorf("%v: %s", err, r)
	}
	if list := q.tasks(t); len(list) != 0 {
		t.Errorf("%+v", list)
	}
	q.run(t, "rewind", "orders", "--to=0-1-5", "--why=try", "--dry-run").want(t, 0, "rewind of orders")
	q.run(t, "repair", "wallet", "wallet", "9,CNY", "--why=try", "--dry-run").want(t, 0, "1 keys of wallet would")
	if left, err := q.desk.Left(t.Context(), 0); err != nil || left != 0 || len(q.tasks(t)) != 0 {
		t.Errorf("%d keys, %v, %v", left, q.tasks(t), err)
	}
}

func TestCanal_status_of_a_stopped_dataset(t *testing.T) {
	t.Parallel()
	q := newQuiet(t)
	ctx := t.Context()
	if ok, err := q.desk.Take(ctx, 0, 1, "host:1"); err != nil || !ok {
		t.Fatal(ok, err)
	}
	cp := &canal.Checkpoint{Term: 1, Position: canal.Position{GTID: "0-1-9"}, Parts: map[string][]canal.PartPosition{},
		Stopped: map[string]canal.Stopped{"orders": {Position: canal.Position{GTID: "0-1-7"}, Kind: "unsafe", Reason: "a statement came", Hint: "set binlog_format"}}}
	save := func() {
		t.Helper()
		if ok, err := q.desk.Save(ctx, 1, cp); err != nil || !ok {
			t.Fatal(ok, err)
		}
	}
	save()
	report := canal.Status{Term: 1, Leader: "host:1", At: time.Now(), Source: "replica1", GTID: "0-1-9", LagMs: 1500, Numbers: map[string][]uint64{"orders": {3, 4}, "wallet": {1}},
		OpenXA: []canal.OpenXA{{ID: "X'aa',X'',1", GTID: "0-1-8"}}, Spilled: 4096, Letters: 2, Alarms: map[string]string{"orders_202601": "truncate\x1b[31m\u009b\u202e"}}
	if ok, err := q.desk.Report(ctx, 1, report); err != nil || !ok {
		t.Fatal(ok, err)
	}
	r := q.run(t, "status")
	r.want(t, 1, "STOPPED   orders at 0-1-7: a statement came", "hint: set binlog_format", "lag       1.5s", "replica1", "numbers   orders 3 4", "open XA   1", "4096 bytes", "2 dead letters", "ALARM     orders_202601")
	if strings.ContainsAny(r.stdout, "\x1b\u009b\u202e") {
		t.Errorf("a control character came through: %q", r.stdout)
	}
	var st struct {
		Stopped map[string]canal.Stopped
		Report  canal.Status
	}
	if ok, err := q.desk.Report(ctx, 1, canal.Status{Term: 1, Leader: "host:1", At: time.Now().Add(-time.Hour)}); err != nil || !ok {
		t.Fatal(ok, err)
	}
	q.run(t, "status").want(t, 1, "1h0m", "nobody leads now")
	if r := q.run(t, "--json", "status"); strings.Contains(r.stdout, `": null`) || !strings.Contains(r.stdout, `"seq": 0`) {
		t.Errorf("a list that is null, or names in another style: %s", r)
	}
	if ok, err := q.desk.Report(ctx, 1, report); err != nil || !ok {
		t.Fatal(ok, err)
	}
	if r := q.run(t, "--json", "status"); r.code != 1 || json.Unmarshal([]byte(r.stdout), &st) != nil || st.Stopped["orders"].Kind != "unsafe" || st.Report.LagMs != 1500 {
		t.Errorf("%s", r)
	}
	q.run(t, "accept", "orders", "--why=rows are not needed", "--dry-run").want(t, 0, "accept of orders")
	q.run(t, "accept", "orders", "--why=rows are not needed").want(t, 0, "is queued")
	q.run(t, "adopt", "--why=its binlog was reset", "--dry-run").want(t, 0, "adoption of the server", "needs a backfill")
	q.run(t, "rewind", "orders", "--why=repair it").want(t, 0, "the place where it stopped")
	cp.Stopped, cp.Lowered = nil, map[string]canal.Lowered{"orders": {Mark: canal.Mark{GTID: "0-1-7"}, Tasks: []int64{2}}}
	save()
	q.run(t, "status").want(t, 1, "LOWERED   orders: whole up to 0-1-7, until tasks 2 are done")
	cp.Lowered = nil
	save()
	q.run(t, "status").want(t, 0)
	delete(report.Numbers, "wallet")
	if ok, err := q.desk.Report(ctx, 1, report); err != nil || !ok {
		t.Fatal(ok, err)
	}
	q.run(t, "status").want(t, 1, "MISSING   wallet", "wallet is not captured", "hint: strata check-config")
	if ok, err := q.desk.Report(ctx, 1, canal.Status{Term: 1, Leader: "host:1", At: time.Now().Add(-time.Hour)}); err != nil || !ok {
		t.Fatal(ok, err)
	}
	q.run(t, "status").want(t, 1, "nobody leads now", "hint: ")
}

// The other servers may be away just when somebody wants to know.
func TestCanal_tells_what_the_control_database_knows_alone(t *testing.T) {
	t.Parallel()
	q := newQuiet(t)
	q.run(t, "backfill", "orders", "--why=index was lost").want(t, 0, "is queued")
	text, err := os.ReadFile(q.path)
	if err != nil {
		t.Fatal(err)
	}
	away := regexp.MustCompile(`(?m)^(live|archive): .*$`).ReplaceAll(text, []byte("$1: {dsn: \"x@tcp(127.0.0.1:1)/gone\"}"))
	if err := os.WriteFile(q.path, away, 0o600); err != nil {
		t.Fatal(err)
	}
	q.run(t, "status").want(t, 0, "backfill")
	q.run(t, "tasks").want(t, 0, "index was lost")
	q.run(t, "evidence").want(t, 0, "index was lost")
	q.run(t, "pause", fmt.Sprint(q.tasks(t)[0].ID)).want(t, 0, "pause")
	q.run(t, "backfill", "orders", "--why=more").want(t, 3, "127.0.0.1:1")
}

func TestCanal_ddl_check(t *testing.T) {
	t.Parallel()
	q := newQuiet(t)
	script := filepath.Join(t.TempDir(), "migration.sql")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(script, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("ALTER TABLE orders_202601 ADD COLUMN memo VARCHAR(20);\n")
	q.run(t, "ddl-check", script).want(t, 0, script+":1: ", "orders_202601")
	write("-- next\nALTER TABLE orders_202601 DROP PRIMARY KEY;\n")
	q.run(t, "ddl-check", script).want(t, 1, script+":2: refused", "hint: ")
	var list []ddlFinding
	if r := q.run(t, "--json", "ddl-check", script); r.code != 1 || json.Unmarshal([]byte(r.stdout), &list) != nil || len(list) != 1 || list[0].Dataset != "orders" {
		t.Errorf("%s", r)
	}
	q.run(t, "ddl-check", script+"x").want(t, 2, "migration.sqlx")
	write("\x89PNG\x00")
	q.run(t, "ddl-check", script).want(t, 2, "no text")
}

// A row that was written past the binlog is nowhere behind it, until a backfill reads it from the table.
func TestCanal_backfill_repairs_what_the_binlog_lacks(t *testing.T) {
	t.Parallel()
	m := localtest.Maria(t)
	live, archive, ctl := localtest.Schema(t, m), localtest.Schema(t, m), localtest.Schema(t, m)
	raw := localtest.DB(t, live)
	for _, month := range []string{"202601", "202602"} {
		localtest.Exec(t, raw, "CREATE TABLE orders_"+month+" (id INT PRIMARY KEY, at DATETIME NOT NULL, memo VARCHAR(20))")
		localtest.Exec(t, raw, "INSERT INTO orders_"+month+" SELECT seq, '"+month[:4]+"-"+month[4:]+"-05', 'seen' FROM seq_1_to_500")
	}
	path := configWith(t, live, archive, localtest.Kafka(t).Brokers()[0], "control: {dsn: \""+ctl+"\"}\nheartbeat_ms: 200\ndatasets:\n- {name: orders, time: at, shards: month}\n")
	serve, err := begin(context.Background(), nil, "serve", "--roles=canal,sync", "-c", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = serve.cmd.Process.Signal(os.Interrupt)
		if r := serve.end(); t.Failed() {
			t.Log(r)
		}
	})
	localtest.Eventually(t, runLimit, "a leader reports", func() (bool, error) {
		r := strata(t, "canal", "status", "--json", "-c", path)
		var st struct{ Report *struct{ Source string } }
		_ = json.Unmarshal([]byte(r.stdout), &st)
		return st.Report != nil, nil
	})
	strata(t, "verify", "--part=index", "-c", path).want(t, 0, "1000 rows compared, 0 differences")

	schema, _, _ := strings.Cut(live[strings.LastIndex(live, "/")+1:], "?")
	hidden, err := localtest.DB(t, m.RootDSN(schema)).Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, sql := range []string{"SET sql_log_bin=0", "INSERT INTO orders_202602 SELECT seq, '2026-02-06', 'hidden' FROM seq_9001_to_9005"} {
		if _, err := hidden.ExecContext(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	if err := hidden.Close(); err != nil {
		t.Fatal(err)
	}
	strata(t, "verify", "--part=index", "-c", path).want(t, 1, "5 differences")
	strata(t, "canal", "backfill", "orders", "--why=rows past the binlog", "--wait", "-c", path).
		want(t, 0, "backfill of orders: 2 shards", "done", "1005 done")
	strata(t, "verify", "--part=index", "-c", path).want(t, 0, "1005 rows compared, 0 differences")
	strata(t, "canal", "status", "-c", path).want(t, 0, "numbers   orders", "lag ")
	strata(t, "canal", "evidence", "-c", path).want(t, 0, "rows past the binlog")
}
