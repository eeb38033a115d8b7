package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/IBM/sarama"

	"strata/canal"
	"strata/local/localtest"
	"strata/node"
	syncer "strata/sync"
	"strata/sync/dlq"
)

// syncRig is a dataset whose capture and applying run in processes of their own.
type syncRig struct {
	path  string
	admin sarama.ClusterAdmin
	exec  func(sql string)
}

func newSyncRig(t *testing.T) *syncRig {
	t.Helper()
	m := localtest.Maria(t)
	live, archive, ctl := localtest.Schema(t, m), localtest.Schema(t, m), localtest.Schema(t, m)
	raw := localtest.DB(t, live)
	r := &syncRig{exec: func(sql string) { t.Helper(); localtest.Exec(t, raw, sql) }}
	r.exec("CREATE TABLE orders_202601 (id INT PRIMARY KEY, at DATETIME NOT NULL, memo MEDIUMTEXT)")
	brokers := localtest.Kafka(t).Brokers()
	r.path = configWith(t, live, archive, brokers[0], "control: {dsn: \""+ctl+"\"}\nhttp: 127.0.0.1:0\nheartbeat_ms: 200\ncapture: {max_row_bytes: 65536}\n"+
		"datasets:\n- {name: orders, time: at, shards: month}\n")
	var err error
	if r.admin, err = sarama.NewClusterAdmin(brokers, sarama.NewConfig()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.admin.Close() })
	return r
}

// serve starts a process that is ended with the test.
func (r *syncRig) serve(t *testing.T, role string) *process {
	t.Helper()
	p, err := begin(context.Background(), nil, "serve", "--roles="+role, "-c", r.path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = p.cmd.Process.Signal(os.Interrupt)
		if end := p.end(); t.Failed() {
			t.Logf("%s: %s", role, end)
		}
	})
	return p
}

// insert makes rows from..to.
func (r *syncRig) insert(from, to int) {
	r.exec(fmt.Sprintf("INSERT INTO orders_202601 SELECT seq, '2026-01-05', 'seen' FROM seq_%d_to_%d", from, to))
}

func (r *syncRig) state(t *testing.T) (st node.SyncState, d node.SyncDataset) {
	t.Helper()
	out := strata(t, "sync", "status", "--json", "-c", r.path)
	_ = json.Unmarshal([]byte(out.stdout), &st)
	if len(st.Datasets) == 1 {
		d = st.Datasets[0]
	}
	return st, d
}

// applies waits until a process applies the dataset, and returns its number.
func (r *syncRig) applies(t *testing.T, members int) string {
	t.Helper()
	var holder string
	localtest.Eventually(t, runLimit, "a process applies the dataset", func() (bool, error) {
		st, d := r.state(t)
		_, holder, _ = strings.Cut(d.Holder, ":")
		return d.State == syncer.Running && len(st.Processes) >= members && d.LagMs >= 0, nil
	})
	return holder
}

func (r *syncRig) proven(t *testing.T, rows int) {
	t.Helper()
	strata(t, "verify", "--part=index", "-c", r.path).want(t, 0, fmt.Sprintf("%d rows compared, 0 differences", rows))
}

// TestSync_from_gap_to_letter is what an operator sees: one of two processes is killed, records are lost, a row is too large.
func TestSync_from_gap_to_letter(t *testing.T) {
	t.Parallel()
	r := newSyncRig(t)
	strata(t, "sync", "resume", "orders", "--why=x", "-c", r.path).want(t, 0, "within seconds")
	r.insert(1, 500)
	r.serve(t, "canal")
	procs := map[string]*process{}
	for range 2 {
		p := r.serve(t, "sync")
		procs[fmt.Sprint(p.cmd.Process.Pid)] = p
	}
	first := r.applies(t, 2)
	r.proven(t, 500)
	if procs[first] == nil {
		t.Fatalf("%q applies", first)
	}
	_ = procs[first].cmd.Process.Kill()
	r.insert(501, 600)
	r.proven(t, 600) // the other one has taken over
	second := r.applies(t, 1)
	if second == first {
		t.Errorf("%s still applies", second)
	}

	_ = procs[second].cmd.Process.Signal(os.Interrupt)
	procs[second].end()
	strata(t, "sync", "status", "-c", r.path).want(t, 1, "ABSENT", "nobody applies dataset orders")
	r.insert(601, 700)
	r.lose(t)
	third := r.serve(t, "sync")
	localtest.Eventually(t, runLimit, "the gap is named, and its repair is ordered and done", func() (bool, error) {
		var tasks []canal.Task
		out := strata(t, "canal", "tasks", "--json", "-c", r.path)
		if err := json.Unmarshal([]byte(out.stdout), &tasks); err != nil {
			return false, err
		}
		return len(tasks) == 1 && tasks[0].Who == "sync" && tasks[0].Kind == canal.Rewind && tasks[0].State == canal.Done &&
			strings.Contains(tasks[0].Why, "are gone from the topic"), nil
	})
	if got := r.applies(t, 1); got != fmt.Sprint(third.cmd.Process.Pid) {
		t.Errorf("%s applies", got)
	}
	r.proven(t, 700)
	r.letter(t)
}

// lose deletes the records of all partitions, once capture has sent rows up to 700.
func (r *syncRig) lose(t *testing.T) {
	t.Helper()
	localtest.Eventually(t, runLimit, "capture has sent the rows", func() (bool, error) {
		var st node.CaptureState
		out := strata(t, "canal", "status", "--json", "-c", r.path)
		return json.Unmarshal([]byte(out.stdout), &st) == nil && st.Rows >= 700, nil
	})
	_, d := r.state(t)
	ends := map[int32]int64{}
	for _, p := range d.Partitions {
		ends[p.Partition] = p.End
	}
	if err := r.admin.DeleteRecords(canal.Topic("orders"), ends); err != nil {
		t.Fatal(err)
	}
}

// letter has a row that is too large, which is listed, replayed once it is smaller, and one that is dropped.
func (r *syncRig) letter(t *testing.T) {
	t.Helper()
	r.exec("INSERT INTO orders_202601 VALUES (9001, '2026-01-06', REPEAT('x', 100000)), (9002, '2026-01-06', REPEAT('y', 100000))")
	list := func(want int) (out dlq.Listing) {
		t.Helper()
		localtest.Eventually(t, runLimit, fmt.Sprintf("%d letters are open", want), func() (bool, error) {
			res := strata(t, "sync", "dlq", "list", "orders", "--json", "-c", r.path)
			out = dlq.Listing{}
			return json.Unmarshal([]byte(res.stdout), &out) == nil && out.Open == int64(want), nil
		})
		return out
	}
	if l := list(2).Letters[0]; l.Key != "9001" || !l.FromCanal || !strings.Contains(l.Reason, "100") {
		t.Errorf("%+v", l)
	}
	strata(t, "sync", "dlq", "list", "orders", "-c", r.path).want(t, 0, "orders_202601", "9001", "2 letters of orders are open")
	strata(t, "sync", "dlq", "show", "orders", "--key=9001", "-c", r.path).want(t, 0, "orders_202601 9001", "too large")
	strata(t, "sync", "dlq", "replay", "orders", "--key=9001", "-c", r.path).want(t, 2, "why")
	strata(t, "sync", "dlq", "replay", "orders", "--why=x", "-c", r.path).want(t, 2, "--all")
	strata(t, "sync", "dlq", "drop", "orders", "--key=5", "--why=x", "-c", r.path).want(t, 2, "none of orders is open")
	r.exec("SET STATEMENT max_statement_time=60 FOR UPDATE orders_202601 SET memo='small' WHERE id=9001")
	list(1)
	strata(t, "sync", "dlq", "list", "orders", "--all", "-c", r.path).want(t, 0, "outdated", "9001")
	strata(t, "sync", "dlq", "drop", "orders", "--all", "--why=nobody reads it", "--dry-run", "-c", r.path).want(t, 0, "9002")
	strata(t, "sync", "dlq", "replay", "orders", "--all", "--why=is it smaller?", "-c", r.path).want(t, 0, "is open", "the leader reads the row anew")
	strata(t, "sync", "dlq", "drop", "orders", "--all", "--why=nobody reads it", "-c", r.path).want(t, 0, "is dropped")
	strata(t, "canal", "evidence", "-c", r.path).want(t, 0, "nobody reads it", "is it smaller?", "letter", "resume")
	strata(t, "sync", "status", "-c", r.path).want(t, 0, "running", "process ")
}
