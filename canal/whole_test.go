package canal_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"runtime/pprof"
	"strings"
	"testing"
	"time"

	"strata/canal"
	"strata/canal/binlog"
	"strata/canal/canaltest"
	"strata/canal/control"
	"strata/canal/kafka"
	"strata/catalog"
	"strata/core"
	"strata/db"
	"strata/fault"
	"strata/local"
	"strata/local/localtest"
)

// whole is a pipeline over real servers.
type whole struct {
	t    testing.TB
	dsn  string
	db   *db.DB
	sink *kafka.Sink
	ctl  *control.Control
	from string
	data []*catalog.Dataset
}

func newWhole(t testing.TB, specs []catalog.Spec, ddl ...string) *whole {
	t.Helper()
	ctx := t.Context()
	w := &whole{t: t, dsn: localtest.Schema(t, localtest.Shared(t))}
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	var err error
	w.db, err = db.Open(ctx, db.Config{DSN: w.dsn, Name: "live", Store: catalog.Live, Purpose: db.Writer})
	check(err)
	check(db.EnsureTables(ctx, w.db))
	for _, q := range ddl {
		w.exec(q)
	}
	for _, s := range specs {
		d, err := db.Resolve(ctx, w.db, s)
		check(err)
		w.data = append(w.data, d)
	}
	w.ctl, err = control.Open(ctx, w.db, "test")
	check(err)
	w.sink, err = kafka.Open(kafka.Config{Brokers: localtest.Kafka(t).Brokers(), Log: slog.New(slog.DiscardHandler)})
	check(err)
	w.from, err = db.GTIDPos(ctx, w.db)
	check(err)
	t.Cleanup(func() {
		if err := errors.Join(w.sink.Close(), w.db.Close()); err != nil {
			t.Error(err)
		}
	})
	return w
}

func (w *whole) exec(q string, args ...any) {
	w.t.Helper()
	if _, err := w.db.SQL().ExecContext(w.t.Context(), q, args...); err != nil {
		w.t.Fatal(q, err)
	}
}

func (w *whole) beat() uint64 {
	w.t.Helper()
	h, err := db.Beat(w.t.Context(), w.db, catalog.At(time.Now()))
	if err != nil {
		w.t.Fatal(err)
	}
	return h.Seq
}

func (w *whole) leader(at func(string) error, every time.Duration) *canal.Leader {
	w.t.Helper()
	src, err := binlog.New(binlog.Config{Endpoints: []binlog.Endpoint{{Name: "live", DSN: w.dsn, ServerID: 1 + rand.Uint32N(1<<30)}}, SpillDir: w.t.TempDir(), Datasets: w.data, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		w.t.Fatal(err)
	}
	l, err := canal.New(canal.Config{Name: "test", Holder: "a", Datasets: w.data, Source: src, Sink: w.sink, Control: w.ctl, Lease: w.ctl,
		Log: slog.New(slog.DiscardHandler), Now: time.Now, Start: w.from, CheckpointEvery: every, At: at})
	if err != nil {
		w.t.Fatal(err)
	}
	return l
}

// run lets a leader work until the heartbeat has passed, or it ends by itself.
func (w *whole) run(l *canal.Leader, until uint64) error {
	w.t.Helper()
	ctx, stop := context.WithTimeout(w.t.Context(), 60*time.Second)
	defer stop()
	done := make(chan error, 1)
	go func() { done <- l.Run(ctx) }()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case err := <-done:
			return err
		case <-tick.C:
			if l.Stats().Beat.Seq >= until {
				stop()
				return <-done
			}
		}
	}
}

func TestL1_through_real_servers_a_crash_at_any_point_loses_and_repeats_nothing(t *testing.T) {
	table := "(id INT PRIMARY KEY, v INT NOT NULL, note VARCHAR(20))"
	w := newWhole(t, []catalog.Spec{{Name: "entry", Table: "entry", Partitions: 3}, {Name: "other", Table: "other", Partitions: 2}},
		"CREATE TABLE entry "+table, "CREATE TABLE other "+table)
	rnd := rand.New(rand.NewPCG(4, 2))
	write := func(n int) uint64 {
		for range n {
			w.exec("INSERT INTO entry VALUES (?,?,'a'),(?,?,'b') ON DUPLICATE KEY UPDATE v=v+1", rnd.IntN(20), rnd.IntN(100), rnd.IntN(20), rnd.IntN(100))
			w.exec("UPDATE entry SET v=v+1 WHERE id<?", rnd.IntN(10))
			w.exec("REPLACE INTO other VALUES (?,?,NULL)", rnd.IntN(9), rnd.IntN(100))
			w.exec("DELETE FROM entry WHERE id=?", rnd.IntN(20))
		}
		return w.beat()
	}
	for i, point := range canal.CrashPoints() {
		end := write(3)
		every := time.Microsecond
		if i%2 == 0 {
			every = time.Hour
		}
		if err := w.run(w.leader(local.NewTrap(point, 1+rnd.IntN(3)).At, every), end); err != nil && !errors.Is(err, local.ErrCrash) {
			t.Fatal(point, err)
		}
	}
	if err := w.run(w.leader(nil, time.Second), write(3)); err != nil {
		t.Fatal(err)
	}
	txns := w.committed()
	for _, d := range w.data {
		seen, err := canaltest.Replay(t.Context(), w.sink, d)
		if err == nil {
			err = canaltest.Check(d, txns, seen)
		}
		if err == nil {
			err = w.equalsTable(d, seen)
		}
		if err != nil {
			t.Fatalf("%s: %v", d.Name, err)
		}
	}
}

// committed reads the binlog anew.
func (w *whole) committed() []canal.Txn {
	w.t.Helper()
	src, err := binlog.New(binlog.Config{Endpoints: []binlog.Endpoint{{Name: "live", DSN: w.dsn, ServerID: 1 + rand.Uint32N(1<<30)}}, SpillDir: w.t.TempDir(), Datasets: w.data, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		w.t.Fatal(err)
	}
	end, err := db.GTIDPos(w.t.Context(), w.db)
	if err != nil {
		w.t.Fatal(err)
	}
	st, err := src.Open(w.t.Context(), canal.Position{GTID: w.from})
	if err != nil {
		w.t.Fatal(err)
	}
	defer func() { _ = st.Close() }()
	var out []canal.Txn
	for {
		x, err := st.Next(w.t.Context())
		if err != nil {
			w.t.Fatal(err)
		}
		y := *x
		y.Changes = nil
		for _, c := range x.Changes {
			c.Before, c.After = c.Before.Clone(), c.After.Clone()
			y.Changes = append(y.Changes, c)
		}
		if out = append(out, y); y.Position.GTID == end {
			return out
		}
	}
}

// equalsTable applies what was seen and compares the result with the table.
func (w *whole) equalsTable(d *catalog.Dataset, seen []canaltest.Seen) error {
	state := map[string]string{}
	for _, s := range seen {
		if delete(state, s.Key); s.Op != "d" {
			state[s.Key] = s.After
		}
	}
	rows, err := w.db.Query(w.t.Context(), d, nil, "SELECT "+db.SelectList(d, nil, "")+" FROM "+db.Quote(d.Table))
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }()
	n := 0
	var r catalog.Row
	for {
		r.Reset()
		ok, err := rows.Next(&r)
		if err != nil {
			return err
		}
		if !ok {
			break
		}
		n++
		if want, got := string(catalog.AppendJSON(nil, d, &r)), state[string(canal.RecordKey(d, &r, d.KeyIndexes()))]; got != want {
			return fmt.Errorf("table has %s, the topic %s", want, got)
		}
	}
	if n != len(state) {
		return fmt.Errorf("table has %d rows, the topic %d", n, len(state))
	}
	return nil
}

func TestSource_that_is_cut_off_is_read_on_in_the_same_term(t *testing.T) {
	w := newWhole(t, []catalog.Spec{{Name: "entry", Table: "entry", Partitions: 2}}, "CREATE TABLE entry (id INT PRIMARY KEY, note VARCHAR(20))")
	proxy, err := local.NewProxy(localtest.Shared(t).Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = proxy.Close() }()
	real := w.dsn
	w.dsn = strings.Replace(real, localtest.Shared(t).Addr(), proxy.Addr(), 1)
	l := w.leader(nil, time.Second)
	w.dsn = real
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- l.Run(ctx) }()
	for i := range 3 {
		for k := range 50 {
			w.exec("INSERT INTO entry VALUES (?,'x')", i*50+k)
		}
		seq := w.beat()
		localtest.Eventually(t, 20*time.Second, "the heartbeat", func() (bool, error) { return l.Stats().Beat.Seq >= seq, nil })
		proxy.Cut()
	}
	stop()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if s := l.Stats(); s.Reopened == 0 || s.Term != 1 {
		t.Fatalf("%+v", s)
	}
	seen, err := canaltest.Replay(t.Context(), w.sink, w.data[0])
	if err == nil {
		err = w.equalsTable(w.data[0], seen)
	}
	if err != nil || len(seen) != 150 {
		t.Fatal(len(seen), err)
	}
}

func TestBeater_goes_on_when_the_primary_comes_back(t *testing.T) {
	n := 0
	ctx, stop := context.WithCancel(t.Context())
	b, err := canal.NewBeater(canal.BeaterConfig{Every: time.Millisecond, Now: time.Now, Log: slog.New(slog.DiscardHandler),
		Write: func(context.Context, time.Time) (uint64, error) {
			if n++; n == 2 || n == 3 {
				return 0, fault.New(fault.Unavailable, "beat", "away")
			}
			if n == 5 {
				stop()
			}
			return uint64(n), nil
		}})
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Run(ctx); err != nil {
		t.Fatal(err)
	}
	if s := b.Stats(); s.Failed != 2 || s.Seq != 4 || s.Err != "" {
		t.Fatalf("%+v", s)
	}
}

// BenchmarkCapture reads STRATA_BENCH_ROWS (400,000) entry rows of the ledger in transactions of 1,000 from the binlog
// into an in-process Kafka that syncs every batch.
func BenchmarkCapture(b *testing.B) {
	rows := 400_000
	if text := os.Getenv("STRATA_BENCH_ROWS"); text != "" {
		if _, err := fmt.Sscan(text, &rows); err != nil {
			b.Fatal(err)
		}
	}
	w := newWhole(b, []catalog.Spec{{Name: "entry", Table: "entry_202601", Partitions: 8}}, "CREATE TABLE entry_202601 "+core.EntryTable)
	for i := 0; i < rows; i += 1000 {
		w.exec(fmt.Sprintf("INSERT INTO entry_202601 SELECT seq, 1, CONCAT('transfer-2026-01-', seq), 1, 'EUR', seq*7, seq, seq*8, '2026-01-05', '2026-01-05 10:00:00.123456', '2026-01-05 10:00:01.000001' FROM seq_%d_to_%d", i+1, i+1000))
	}
	end := w.beat()
	b.ResetTimer()
	if path := os.Getenv("STRATA_BENCH_PROFILE"); path != "" {
		f, err := os.Create(path)
		if err != nil {
			b.Fatal(err)
		}
		if err := pprof.StartCPUProfile(f); err != nil {
			b.Fatal(err)
		}
		defer pprof.StopCPUProfile()
	}
	began := time.Now()
	l := w.leader(nil, time.Second)
	if err := w.run(l, end); err != nil {
		b.Fatal(err)
	}
	if l.Stats().Records < uint64(rows) {
		b.Fatalf("%+v", l.Stats())
	}
	b.ReportMetric(float64(rows)/time.Since(began).Seconds(), "rows/s")
	b.ReportMetric(float64(l.Stats().Reopened), "reopened")
}
