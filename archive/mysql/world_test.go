package mysql

import (
	"context"
	"database/sql"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"strata/archive"
	"strata/archive/archivetest"
	"strata/catalog"
	"strata/db"
	"strata/local/localtest"
)

// world is a live schema, an archive schema and a control schema on one server, with a dataset of daily shards.
type world struct {
	live, liveReader, arch, archReader, control *db.DB
	app                                         *sql.DB // an application's sessions on live
	ds                                          *catalog.Dataset
	now                                         time.Time
	rows                                        int // in every shard
	days                                        []string
}

const shardDDL = `(
  id BIGINT NOT NULL,
  sub VARBINARY(8) NOT NULL,
  at DATETIME(6) NOT NULL,
  unit VARCHAR(12) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  amount BIGINT NULL,
  memo VARCHAR(200) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NULL,
  raw BLOB NULL,
  fixed BINARY(6) NULL,
  flags BIT(13) NULL,
  rate FLOAT NULL,
  price DECIMAL(20,4) NULL,
  seen TIMESTAMP(3) NULL,
  state ENUM('open','closed') NOT NULL DEFAULT 'closed',
  note TEXT CHARACTER SET latin1 NULL,
  PRIMARY KEY (id, sub),
  KEY at (at)
) ENGINE=InnoDB`

func open(t testing.TB, dsn, name string, store catalog.Store, p db.Purpose) *db.DB {
	t.Helper()
	d, err := db.Open(t.Context(), db.Config{DSN: dsn, Name: name, Store: store, Purpose: p, MaxConns: 16})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	return d
}

// newWorld makes shards of n days with rows each; the clock stands 200 days after the first.
func newWorld(t testing.TB, n, rows int) *world {
	t.Helper()
	maria := localtest.Shared(t)
	liveDSN, archDSN, controlDSN := localtest.Schema(t, maria), localtest.Schema(t, maria), localtest.Schema(t, maria)
	w := &world{
		live: open(t, liveDSN, "live", catalog.Live, db.Admin), liveReader: open(t, liveDSN, "live", catalog.Live, db.Reader),
		arch: open(t, archDSN, "archive", catalog.Archive, db.Admin), archReader: open(t, archDSN, "archive", catalog.Archive, db.Reader),
		control: open(t, controlDSN, "control", catalog.Archive, db.Writer),
		app:     localtest.DB(t, liveDSN), rows: rows, now: time.Date(2026, 7, 20, 12, 0, 0, 0, time.UTC),
	}
	for _, d := range []*db.DB{w.live, w.arch} {
		if err := db.EnsureTables(t.Context(), d); err != nil {
			t.Fatal(err)
		}
	}
	for i := range n {
		day := time.Date(2026, 1, 1+i, 0, 0, 0, 0, time.UTC)
		w.days = append(w.days, "e_"+day.Format("20060102"))
		w.makeShard(t, w.days[i], i, day)
	}
	w.makeShard(t, "e_"+w.now.Format("20060102"), 1000, w.now.Truncate(24*time.Hour))
	localtest.Exec(t, w.app, "CREATE TABLE e_late_1 "+shardDDL)
	spec := catalog.Spec{Name: "e", Time: "at", Shards: catalog.Scheme{{From: catalog.MinInstant, Interval: catalog.Daily}},
		Money: []catalog.Money{{Column: "amount", UnitColumn: "unit"}}}
	var err error
	if w.ds, err = db.Resolve(t.Context(), w.live, spec); err != nil {
		t.Fatal(err)
	}
	return w
}

// makeShard makes a table whose rows have everything that is hard to carry: every byte, NULLs, empty texts, escapes.
func (w *world) makeShard(t testing.TB, table string, i int, day time.Time) {
	t.Helper()
	localtest.Exec(t, w.app, "CREATE TABLE "+table+" "+shardDDL)
	if w.rows == 0 {
		return
	}
	var b strings.Builder
	b.WriteString("SET time_zone='+00:00'")
	localtest.Exec(t, w.app, b.String())
	for from := 0; from < w.rows; from += 2000 {
		b.Reset()
		b.WriteString("INSERT INTO " + table + " (id, sub, at, unit, amount, memo, raw, fixed, flags, rate, price, seen, note) VALUES ")
		for r := from; r < min(from+2000, w.rows); r++ {
			if r > from {
				b.WriteString(",")
			}
			at := day.Add(time.Duration(r) * time.Microsecond).Format("2006-01-02 15:04:05.000000")
			fmt.Fprintf(&b, `(%d, x'%02x09', '%s', '%s', %d, `, i*1_000_000+r, r%256, at, []string{"EUR", "JPY"}[r%2], r*7-1000)
			switch r % 4 {
			case 0:
				fmt.Fprintf(&b, `NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL)`)
			case 1:
				fmt.Fprintf(&b, `'', '', '', b'0', 0, 0, '2026-03-29 01:30:00.125', '')`)
			default:
				fmt.Fprintf(&b, `'%s', x'%02x000a095c27ff', x'00ff%02x', b'1000000000001', %g, -%d.0001, '2026-01-01 00:00:00', 'é%d')`,
					`付款\\N\t\n\0\\`, r%256, r%256, 0.1*float64(r), r, r)
			}
		}
		localtest.Exec(t, w.app, b.String())
	}
}

// logs go to the test only when asked for.
func logger() *slog.Logger { return slog.New(slog.NewTextHandler(io.Discard, nil)) }

// site makes a Site with short waits.
func (w *world) site(t testing.TB, at func(string) error, change ...func(*Config)) *Site {
	t.Helper()
	cfg := Config{Live: w.live, LiveReader: w.liveReader, Archive: w.arch, Promotable: []*db.DB{w.live}, Copies: []*db.DB{w.arch},
		BatchRows: 10, RetryWait: 20 * time.Millisecond, GTIDWait: time.Second, Log: logger(), At: at}
	for _, c := range change {
		c(&cfg)
	}
	s, err := New(context.WithoutCancel(t.Context()), cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func (w *world) mover(t testing.TB, at func(string) error, change ...func(*Config)) *archive.Mover {
	t.Helper()
	control, err := NewControl(w.control)
	if err != nil {
		t.Fatal(err)
	}
	m, err := archive.New(archive.Config{Site: w.site(t, at, change...), Control: control, Datasets: []*catalog.Dataset{w.ds},
		Policies: []archive.Policy{{Dataset: "e", Age: 90 * 24 * time.Hour}}, Key: []byte("a key of the tests, long enough"),
		Now: func() time.Time { return w.now }, Log: logger(), At: at})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// planFor is the plan of the mover, cut down to some tables.
func (w *world) planFor(t testing.TB, m *archive.Mover, tables ...string) *archive.Plan {
	t.Helper()
	p, err := m.Plan(t.Context(), w.now)
	if err != nil {
		t.Fatal(err)
	}
	if len(tables) == 0 {
		return p
	}
	var keep []archive.Move
	for _, mv := range p.Moves {
		for _, table := range tables {
			if mv.Shard == table {
				keep = append(keep, mv)
			}
		}
	}
	p.Moves = keep
	return p
}

// watcher reads everything again and again and checks that each row is there exactly once, as it was made.
type watcher struct {
	want   map[catalog.Key]catalog.Hash
	mu     sync.Mutex
	passes int
	stop   context.CancelFunc
	done   chan error
}

func (w *world) hashes(ctx context.Context) (map[catalog.Key]catalog.Hash, error) {
	out := map[catalog.Key]catalog.Hash{}
	var twice error
	keyAt := w.ds.KeyIndexes()
	err := archivetest.Read(ctx, w.ds, w.liveReader, w.archReader, func(h catalog.Holding, row *catalog.Row) {
		key := catalog.KeyOf(row, keyAt)
		if _, there := out[key]; there {
			twice = fmt.Errorf("row %s was read twice, the second time from %s of %s", key, h.Shard.Table, h.Store)
		}
		out[key], _ = row.Hash(nil)
	})
	if err == nil {
		err = twice
	}
	return out, err
}

// watch starts a watcher. Stop it with end.
func (w *world) watch(t testing.TB) *watcher {
	t.Helper()
	want, err := w.hashes(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(want) != w.rows*(len(w.days)+1) {
		t.Fatalf("%d rows were made, %d are read", w.rows*(len(w.days)+1), len(want))
	}
	ctx, cancel := context.WithCancel(context.Background())
	r := &watcher{want: want, stop: cancel, done: make(chan error, 1)}
	go func() {
		for {
			have, err := w.hashes(ctx)
			if ctx.Err() != nil {
				r.done <- nil
				return
			}
			if err == nil {
				err = sameRows(want, have)
			}
			if err != nil {
				r.done <- err
				return
			}
			r.mu.Lock()
			r.passes++
			r.mu.Unlock()
		}
	}()
	t.Cleanup(cancel)
	return r
}

func sameRows(want, have map[catalog.Key]catalog.Hash) error {
	for k, h := range want {
		if have[k] != h {
			_, there := have[k]
			return fmt.Errorf("row %s is missing or another (there: %v); %d of %d rows were read", k, there, len(have), len(want))
		}
	}
	if len(have) != len(want) {
		return fmt.Errorf("%d rows were read, %d were made", len(have), len(want))
	}
	return nil
}

// look reads everything once, here and now.
func (w *world) look(t testing.TB, r *watcher) {
	t.Helper()
	have, err := w.hashes(t.Context())
	if err == nil {
		err = sameRows(r.want, have)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// pass waits for a whole look that began after now.
func (r *watcher) pass(t testing.TB) {
	t.Helper()
	count := func() int { r.mu.Lock(); defer r.mu.Unlock(); return r.passes }
	from := count()
	localtest.Eventually(t, 30*time.Second, "a reader's pass", func() (bool, error) {
		select {
		case err := <-r.done:
			r.done <- err
			return false, fmt.Errorf("the reader ended: %w", err)
		default:
			return count() >= from+2, nil
		}
	})
}

func (r *watcher) end(t testing.TB) {
	t.Helper()
	r.stop()
	if err := <-r.done; err != nil {
		t.Error(err)
	}
	if r.passes == 0 {
		t.Error("the reader never came through")
	}
}

func (w *world) tables(t testing.TB, d *db.DB) []string {
	t.Helper()
	names, err := db.Tables(t.Context(), d, "e_")
	if err != nil {
		t.Fatal(err)
	}
	return names
}
