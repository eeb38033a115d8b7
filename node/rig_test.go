package node_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"strata/catalog"
	"strata/core"
	"strata/core/load"
	coremysql "strata/core/mysql"
	"strata/fault"
	"strata/local"
	"strata/local/localtest"
	"strata/node"
	"strata/router"
)

// settle is how long anything may take that no signal announces, on a loaded machine.
const settle = 60 * time.Second

// rig is private servers and the configuration of a node on them.
type rig struct {
	stack *local.Stack
	live  *sql.DB
	text  string // of the configuration, without datasets and policies
	at    atomic.Pointer[func(point string) error]
}

// quietVerifier: what it would mend is what tests look for.
const quietVerifier = "verify: {every: \"off\"}\n"

func newRig(t *testing.T) *rig {
	t.Helper()
	r := &rig{stack: localtest.Stack(t)}
	a := r.stack.Addresses
	r.live = localtest.DB(t, a.Live.DSN)
	r.text = fmt.Sprintf("data: %s\nlive: {dsn: %q}\noffline: {dsn: %q}\narchive: {dsn: %q}\ncontrol: {dsn: %q}\nkafka: {brokers: [%q]}\nheartbeat_ms: 200\n"+
		quietVerifier,
		t.TempDir(), a.Live.DSN, a.Offline.DSN, a.Archive.DSN, a.Control.DSN, a.Kafka[0])
	return r
}

// config is the rig's configuration with more YAML at its end.
func (r *rig) config(t *testing.T, more string) node.Config {
	t.Helper()
	cfg, err := node.Parse([]byte(r.text+more), "strata.yaml", func(string) string { return "" })
	if err != nil {
		t.Fatal(err, fault.HintOf(err))
	}
	return cfg
}

func (r *rig) options(t *testing.T, cfg node.Config) node.Options {
	log := slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn}))
	return node.Options{Config: cfg, Log: log, Now: time.Now, At: func(point string) error {
		if f := r.at.Load(); f != nil {
			return (*f)(point)
		}
		return nil
	}}
}

func (r *rig) open(t *testing.T, cfg node.Config) *node.Node {
	t.Helper()
	return openNode(t, r.options(t, cfg))
}

func openNode(t *testing.T, o node.Options) *node.Node {
	t.Helper()
	n, err := node.OpenAndSetup(t.Context(), o)
	if err != nil {
		t.Fatal(err, fault.HintOf(err))
	}
	t.Cleanup(func() {
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	})
	return n
}

// goRun runs f until the test ends; its error fails the test.
func goRun(t *testing.T, what string, f func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- f(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil && !fault.Is(err, fault.Interrupted) {
			t.Errorf("%s: %v", what, err)
		}
	})
}

func run(t *testing.T, n *node.Node, roles node.Roles) {
	t.Helper()
	goRun(t, "run node", func(ctx context.Context) error { return n.Run(ctx, roles) })
}

// indexed waits until everything committed before the call is searchable.
func indexed(t *testing.T, n *node.Node) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), settle)
	defer cancel()
	if err := n.WaitIndexed(ctx, nil); err != nil {
		t.Fatal(err)
	}
}

// proven verifies the parts and returns the report, which has no difference.
func proven(t *testing.T, n *node.Node, parts ...string) node.Report {
	t.Helper()
	rep, err := n.Verify(t.Context(), node.VerifyRequest{Parts: parts})
	if err != nil {
		t.Fatal(err, fault.HintOf(err))
	}
	if !rep.OK || rep.Differences != 0 || !rep.MoneySumsEqual {
		t.Fatalf("%d differences, money sums equal %v:\n%s", rep.Differences, rep.MoneySumsEqual, strings.Join(rep.Findings[:min(20, len(rep.Findings))], "\n"))
	}
	return rep
}

// number asks live for one number.
func (r *rig) number(t *testing.T, query string, args ...any) int64 {
	t.Helper()
	return number(t, r.live, query, args...)
}

func number(t *testing.T, d *sql.DB, query string, args ...any) int64 {
	t.Helper()
	var n int64
	if err := d.QueryRowContext(t.Context(), query, args...).Scan(&n); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return n
}

// ledger is a loaded ledger on a rig.
type ledger struct {
	*rig
	node  *node.Node
	posts *coremysql.Ledger
	clock *core.Clock
	load  load.Config
}

// newLedger loads transfers over the months up to `to`; nothing captures yet. more is YAML.
func newLedger(t *testing.T, months, transfers int, more string) *ledger {
	t.Helper()
	l := &ledger{rig: newRig(t), clock: &core.Clock{}}
	to := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	plan := load.Plan{Seed: 7, Transfers: transfers, Accounts: 80, From: to.AddDate(0, -months, 0), To: to}
	l.clock.Set(plan.From)
	o := l.options(t, l.config(t, "ledger: true\n"+more))
	o.LedgerClock, o.FirstDay = l.clock.Now, plan.From
	l.node = openNode(t, o)
	var err error
	if l.posts, err = l.node.Ledger(t.Context()); err != nil {
		t.Fatal(err)
	}
	goRun(t, "run ledger", l.posts.Run)
	l.load = load.Config{Plan: plan, Ledger: l.posts, Clock: l.clock}
	if _, err := load.Past(t.Context(), l.load); err != nil {
		t.Fatal(err, fault.HintOf(err))
	}
	return l
}

// archive moves what the policies say at the ledger's end and returns how many tables moved.
func (l *ledger) archive(ctx context.Context) (int, error) {
	mover, err := l.node.Mover(ctx, nil)
	if err != nil {
		return 0, err
	}
	plan, err := mover.Plan(ctx, l.load.Plan.To)
	if err != nil {
		return 0, err
	}
	for _, u := range plan.Unmovable {
		if !strings.Contains(u.Shard, "_late_") {
			return 0, fmt.Errorf("unmovable: %v", u)
		}
	}
	res, err := mover.Run(ctx, plan)
	return res.Moved, err
}

// entries are the keys of all entries in time order, read from live's tables.
func (l *ledger) entries(t *testing.T) []string {
	t.Helper()
	tables := texts(t, l.live, `SELECT table_name FROM information_schema.tables WHERE table_schema='strata' AND table_name LIKE 'entry\_2%'`)
	var parts []string
	for _, name := range tables {
		parts = append(parts, "SELECT accounting_date, account_id, seq FROM "+name)
	}
	return texts(t, l.live, "SELECT CONCAT_WS(' ', accounting_date, account_id, seq) FROM ("+strings.Join(parts, " UNION ALL ")+
		") e ORDER BY accounting_date, account_id, seq")
}

// texts is a result of one column.
func texts(t *testing.T, d *sql.DB, query string, args ...any) []string {
	t.Helper()
	rows, err := d.QueryContext(t.Context(), query, args...)
	if err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	defer rows.Close()
	var out []string
	for rows.Next() {
		var s string
		if err := rows.Scan(&s); err != nil {
			t.Fatal(err)
		}
		out = append(out, s)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return out
}

// take reads up to max rows of a result; it reports whether the result has ended, which it only does completely.
func take(ctx context.Context, res *router.Result, max int, f func(*catalog.Row)) (ended bool, err error) {
	for range max {
		row, err := res.Next(ctx)
		if errors.Is(err, io.EOF) {
			if s := res.Served(); !s.Complete {
				return true, fmt.Errorf("an incomplete answer: %s", s.Reason)
			}
			return true, nil
		}
		if err != nil {
			return false, err
		}
		f(row)
	}
	return false, nil
}

// all reads a query to its end.
func all(t *testing.T, n *node.Node, q router.Query, f func(*catalog.Row)) router.Served {
	t.Helper()
	res, err := n.Router().Query(t.Context(), q)
	if err != nil {
		t.Fatal(err, fault.HintOf(err))
	}
	defer res.Close()
	for {
		ended, err := take(t.Context(), res, 1000, f)
		if err != nil {
			t.Fatal(err)
		}
		if ended {
			return res.Served()
		}
	}
}
