package soak

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	login "strata/broker"
	"strata/local"
	"strata/local/localtest"
)

const (
	limit      = 4 * time.Minute // of one wait; a loaded machine needs minutes
	partitions = 3
	beat       = 200 * time.Millisecond
	events     = 8   // of one round
	between    = 120 // commits
)

// program is the binary under test, built once.
var program string

func TestMain(m *testing.M) { os.Exit(testMain(m)) }

func testMain(m *testing.M) int {
	dir, err := os.MkdirTemp("", "st")
	if err == nil {
		defer os.RemoveAll(dir)
		program = filepath.Join(dir, "strata")
		var out []byte
		if out, err = exec.Command("go", "build", "-o", program, "strata/cmd/strata").CombinedOutput(); err != nil {
			err = fmt.Errorf("%w: %s", err, out)
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "build strata:", err)
		return 1
	}
	return m.Run()
}

// server is a database that can be killed.
type server interface {
	Addr() string
	Kill() error
	Restart(ctx context.Context) error
	Pause() error
	Resume() error
}

// broker is a Kafka that can be killed; one that can't is only used.
type broker interface {
	Brokers() []string
	Kill() error
	Restart(ctx context.Context) error
}

// rig is one round.
type rig struct {
	t       *testing.T
	rnd     *rand.Rand
	live    server
	liveDSN string
	db      *sql.DB // on live
	control *sql.DB
	wire    *local.Proxy // between live and capture
	kafka   broker       // nil: in this process, and not to be killed
	brokers []string
	config  string
	data    string // folder
	env     []string
	login   login.Security // to Kafka
	procs   []*proc
	load    *load
	ends    float64
	forks   bool // the live database's history is replaced by another one
	undone  bool // it is killed, with XA transactions under way
}

func (r *rig) fatal(err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatal(err)
	}
}

// leader is the index of the process that leads now, or -1.
func (r *rig) leader() int {
	cmd := exec.Command(program, "canal", "status", "--json", "-c", r.config)
	out, _ := cmd.Output() // exit 1 says that something is stopped
	var s struct {
		Leader string `json:"leader"`
	}
	if json.Unmarshal(out, &s) != nil {
		return -1
	}
	for i, p := range r.procs {
		if _, pid, ok := strings.Cut(s.Leader, ":"); ok && pid == strconv.Itoa(p.cmd.Process.Pid) {
			return i
		}
	}
	return -1
}

// event does one thing to one of the parts.
func (r *rig) event() string {
	ctx := r.t.Context()
	switch n := r.rnd.IntN(9); n {
	case 0, 1:
		i := r.rnd.IntN(len(r.procs))
		if n == 0 {
			i = max(r.leader(), 0)
		}
		r.procs[i].kill()
		r.fatal(r.procs[i].start())
		return fmt.Sprint("killed process ", i)
	case 2, 3:
		r.fatal(r.live.Kill())
		r.fatal(r.live.Restart(ctx))
		return "killed the live database"
	case 4, 5:
		if r.kafka == nil {
			r.wire.Cut()
			return "cut the wire"
		}
		r.fatal(r.kafka.Kill())
		r.fatal(r.kafka.Restart(ctx))
		return "killed Kafka"
	case 6:
		r.wire.Cut()
		return "cut the wire"
	case 7:
		r.wire.CutAfter(int64(r.rnd.IntN(200_000)))
		return "cut the wire inside something"
	default:
		i := max(r.leader(), 0)
		p := r.procs[i].cmd.Process
		r.fatal(p.Signal(syscall.SIGSTOP))
		localtest.Eventually(r.t, limit, "another leader", func() (bool, error) {
			for _, o := range r.procs {
				if o != r.procs[i] {
					r.fatal(o.again())
				}
			}
			now := r.leader()
			return now >= 0 && now != i, nil
		})
		r.fatal(p.Signal(syscall.SIGCONT))
		return fmt.Sprintf("process %d slept while another led", i)
	}
}

// round runs a load with events in between, and then the proof.
func (r *rig) round() {
	r.undone = true
	r.write(func() {
		for range events {
			r.commits(between)
			r.t.Log(r.event())
			_, _ = r.load.settle(r.t.Context()) // what a crash left prepared holds its rows
		}
	})
	r.proof()
}

// write runs a load beside f, and leaves nothing of it open.
func (r *rig) write(f func()) {
	ctx, cancel := context.WithCancel(r.t.Context())
	defer cancel()
	var writers sync.WaitGroup
	for range 4 {
		seed := r.rnd.Uint64()
		writers.Go(func() { r.load.run(ctx, rand.New(rand.NewPCG(seed, 1))) })
	}
	f()
	cancel()
	writers.Wait()
	localtest.Eventually(r.t, limit, "the end of what was prepared", func() (bool, error) { return r.load.settle(r.t.Context()) })
}

// commits waits until the load has committed so many transactions more.
func (r *rig) commits(n int64) {
	goal := r.load.commits.Load() + n
	localtest.Eventually(r.t, limit, "commits", func() (bool, error) { return r.load.commits.Load() >= goal, r.alive() })
}

// committed is commits while the processes are down.
func (r *rig) committed(n int64) {
	goal := r.load.commits.Load() + n
	localtest.Eventually(r.t, limit, "commits", func() (bool, error) { return r.load.commits.Load() >= goal, nil })
}

// alive starts again what has ended by itself.
func (r *rig) alive() error {
	for _, p := range r.procs {
		if err := p.again(); err != nil {
			return err
		}
	}
	return nil
}

// proof waits until the last change is in its topic and compares topics, read from their beginning, with tables.
func (r *rig) proof() {
	r.t.Helper()
	r.proofBy(r.readers())
}

// readers are a checker for each topic of the load.
func (r *rig) readers() (orders, items *checker) {
	orders, items = newChecker("strata.orders", partitions), newChecker("strata.items", partitions)
	orders.forks, items.forks = r.forks, r.forks
	orders.undone, items.undone = r.undone, r.undone
	return orders, items
}

func (r *rig) proofBy(orders, items *checker) {
	t := r.t
	t.Helper()
	r.caughtUp(orders, items)
	want := r.table("SELECT CONCAT('{\"id\":', id, '}'), v, note, CAST(amount AS CHAR), CAST(at AS CHAR) FROM orders")
	compare(t, "orders", want, orders, "note", "amount", "at")
	want = r.table("SELECT CONCAT('{\"n\":', n, ',\"at\":\"', at, '\"}'), v, LOWER(HEX(what)), CAST(at AS CHAR) FROM (SELECT * FROM item_202610 UNION ALL SELECT * FROM item_202611) x")
	compare(t, "items", want, items, "what", "at")
	t.Logf("%d commits; orders %d rows, records %v; items %d rows, records %v; load's last error: %v",
		r.load.commits.Load(), len(orders.rows), orders.counts, len(items.rows), items.counts, r.load.last)
}

// caughtUp waits until checkers have read a last change of each topic, and then a mark of a later heartbeat in every partition:
// what stands in another partition than a last change may come after it. Whatever holes they saw must be repaired.
func (r *rig) caughtUp(orders, items *checker) {
	t := r.t
	t.Helper()
	r.ends++
	localtest.Exec(t, r.db, "REPLACE INTO orders VALUES (999999, ?, 'the end', 0, '2026-11-22')", r.ends)
	localtest.Exec(t, r.db, "REPLACE INTO item_202611 VALUES (999999, '2026-11-22', ?, NULL)", r.ends)
	client := r.client()
	beat := uint64(0)
	localtest.Eventually(t, limit, "the last changes in their topics", func() (bool, error) {
		if err := errors.Join(r.alive(), orders.read(client), items.read(client)); err != nil {
			return false, unlessMoving(client, err)
		}
		if orders.rows[`{"id":999999}`]["v"] != r.ends || items.rows[`{"n":999999,"at":"2026-11-22 00:00:00.000"}`]["v"] != r.ends {
			return false, nil
		}
		if beat == 0 {
			beat = 1 + max(orders.last(), items.last())
		}
		return orders.reached(beat) && items.reached(beat), nil
	})
}

// table is rows by key, as text.
func (r *rig) table(query string) map[string][]string {
	rows, err := r.db.QueryContext(r.t.Context(), query)
	r.fatal(err)
	defer rows.Close()
	columns, err := rows.Columns()
	r.fatal(err)
	out := map[string][]string{}
	for rows.Next() {
		cells := make([]sql.NullString, len(columns))
		into := make([]any, len(columns))
		for i := range cells {
			into[i] = &cells[i]
		}
		r.fatal(rows.Scan(into...))
		var text []string
		for _, c := range cells[1:] {
			if !c.Valid {
				c.String = "<nil>"
			}
			text = append(text, c.String)
		}
		out[cells[0].String] = text
	}
	r.fatal(rows.Err())
	return out
}

// compare reports what the topic's replay has otherwise than the table; columns are those after v.
func compare(t *testing.T, name string, want map[string][]string, c *checker, columns ...string) {
	t.Helper()
	for _, w := range c.wrong {
		t.Error(w)
	}
	differ := 0
	say := func(format string, args ...any) {
		if differ++; differ < 10 {
			t.Errorf(format, args...)
		}
	}
	seen := map[string]bool{}
	for key, row := range c.rows {
		w, ok := want[key]
		if !ok {
			say("%s: %s is in the topic, not in the table; its records:\n%s", name, key, strings.Join(c.trail[key], "\n"))
			continue
		}
		seen[key] = true
		got := []string{fmt.Sprint(int64(row["v"].(float64)))}
		for _, col := range columns {
			got = append(got, fmt.Sprint(row[col]))
		}
		if strings.Join(got, "|") != strings.Join(w, "|") {
			say("%s %s: topic %v, table %v; its records:\n%s", name, key, got, w, strings.Join(c.trail[key], "\n"))
		}
	}
	for k := range want {
		if !seen[k] {
			say("%s: %s is in the table, not in the topic; its records:\n%s", name, k, strings.Join(c.trail[k], "\n"))
		}
	}
	if differ > 0 {
		t.Errorf("%s: %d rows differ", name, differ)
	}
}

// TestCapture_survives: one seed, with the Kafka of this process.
func TestCapture_survives(t *testing.T) {
	m := localtest.Maria(t)
	newRig(t, 1, m, localtest.Schema(t, m), nil, "canal", "canal").round()
}

// TestCapture_survives_with_Kafka: one seed, with a real Kafka that is killed too.
func TestCapture_survives_with_Kafka(t *testing.T) { mariaRound(t, 2) }

// TestCapture_survives_on_MySQL: the same from a real MySQL.
func TestCapture_survives_on_MySQL(t *testing.T) { mysqlRound(t, 3) }

// TestSoak_capture and the next are rounds with a seed each.
func TestSoak_capture(t *testing.T) { rounds(t, mariaRound) }

func TestSoak_capture_on_MySQL(t *testing.T) { rounds(t, mysqlRound) }

func mariaRound(t *testing.T, seed uint64) {
	k := localtest.StartKafka(t, localtest.Home(t), local.JavaKafkaConfig{Name: "kafka"})
	m := localtest.Maria(t)
	newRig(t, seed, m, localtest.Schema(t, m), k, "canal", "canal").round()
}

func mysqlRound(t *testing.T, seed uint64) {
	h := localtest.Home(t)
	m := localtest.StartMySQL(t, h, local.MySQLConfig{Name: "live"})
	k := localtest.StartKafka(t, h, local.JavaKafkaConfig{Name: "kafka"})
	newRig(t, seed, m, localtest.Schema(t, m), k, "canal", "canal").round()
}

// soakOnly leaves a long test to `make soak`.
func soakOnly(t *testing.T) {
	t.Helper()
	if os.Getenv("STRATA_SOAK_ROUNDS") == "" {
		t.Skip("set STRATA_SOAK_ROUNDS; make soak")
	}
}

// rounds calls f as often as `make soak` wants, each with a seed of its own, until one fails.
func rounds(t *testing.T, f func(t *testing.T, seed uint64)) {
	t.Helper()
	repeat(t, 1, f)
}

// someRounds is rounds for what takes minutes, or differs little from seed to seed: a tenth of them.
func someRounds(t *testing.T, f func(t *testing.T, seed uint64)) {
	t.Helper()
	repeat(t, 10, f)
}

func repeat(t *testing.T, part int, f func(t *testing.T, seed uint64)) {
	t.Helper()
	n, err := strconv.Atoi(os.Getenv("STRATA_SOAK_ROUNDS"))
	if err != nil || n < 1 {
		t.Skip("set STRATA_SOAK_ROUNDS; make soak")
	}
	n = max(1, n/part)
	first, _ := strconv.ParseUint(os.Getenv("STRATA_SOAK_SEED"), 10, 64)
	for i := range n {
		seed := first + uint64(i)
		if !t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) { f(t, seed) }) {
			return
		}
	}
}
