package routertest

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"strata/catalog"
	"strata/db"
	"strata/local/localtest"
	"strata/router"
)

// Now is the clock of tests: it stands.
func Now() time.Time { return time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC) }

// Config is a router's configuration for tests, without viewer and sources.
func Config(datasets ...*catalog.Dataset) router.Config {
	return router.Config{Datasets: datasets, Secret: []byte("0123456789abcdef"), Now: Now, Log: slog.New(slog.DiscardHandler)}
}

// World is a live store and an archive between which shards move.
type World interface {
	router.Viewer
	// Load makes a shard of live with these rows.
	Load(t testing.TB, d *catalog.Dataset, shard catalog.Shard, rows []catalog.Row)
	// Archive moves a shard of live to the archive, at the next epoch.
	Archive(t testing.TB, d *catalog.Dataset, shard string)
	// Restore moves it back, at the next epoch.
	Restore(t testing.TB, d *catalog.Dataset, shard string)
	// Beat raises live's heartbeat and returns it.
	Beat(t testing.TB) uint64
}

// Memories is a World of two Memory stores.
type Memories struct {
	Live, Archived *Memory
	mu             sync.Mutex
	epochs         map[string]uint64
	beat           uint64
	onView         func(n int)
	views          int
}

// NewMemories makes an empty World.
func NewMemories() *Memories {
	return &Memories{Live: NewMemory(catalog.Live), Archived: NewMemory(catalog.Archive), epochs: map[string]uint64{}}
}

// Sources are the two stores for a router's configuration.
func (w *Memories) Sources() map[catalog.Store]router.Source {
	return map[catalog.Store]router.Source{catalog.Live: w.Live, catalog.Archive: w.Archived}
}

// OnView calls f after each view was taken, before it is returned, with its number from 1.
func (w *Memories) OnView(f func(n int)) { w.onView, w.views = f, 0 }

// View is part of router.Viewer.
func (w *Memories) View(_ context.Context, d *catalog.Dataset) (*catalog.View, error) {
	w.mu.Lock()
	v, err := catalog.MergeView(d, []catalog.Says{w.Live.Says(), w.Archived.Says()})
	w.mu.Unlock()
	w.views++
	if w.onView != nil {
		w.onView(w.views)
	}
	return v, err
}

// Load is part of World.
func (w *Memories) Load(_ testing.TB, _ *catalog.Dataset, shard catalog.Shard, rows []catalog.Row) {
	w.Live.Load(shard, 0, rows)
}

// Archive is part of World.
func (w *Memories) Archive(_ testing.TB, d *catalog.Dataset, shard string) {
	w.move(d, w.Live, w.Archived, shard)
}

// Restore is part of World.
func (w *Memories) Restore(_ testing.TB, d *catalog.Dataset, shard string) {
	w.move(d, w.Archived, w.Live, shard)
}

func (w *Memories) move(d *catalog.Dataset, from, to *Memory, shard string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.epochs[shard]++
	sh, _ := d.ShardOf(shard)
	to.Load(sh, w.epochs[shard], from.Release(shard, w.epochs[shard]))
}

// Beat is part of World.
func (w *Memories) Beat(testing.TB) uint64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.beat++
	w.Live.SetBeat(w.beat, catalog.At(Now()))
	return w.beat
}

// Servers is a World of two schemas on one server.
type Servers struct {
	Live, Archived *db.DB // readers
	writers        map[catalog.Store]*db.DB
	viewer         router.Viewer
	ddl            map[string]string
}

// NewServers makes two schemas with strata's own tables. ddl gives, by dataset, the definition of a shard without its
// name; Event's is known. viewer makes the router's Viewer over the two.
func NewServers(t testing.TB, ddl map[string]string, viewer func(live *db.DB, archives ...*db.DB) router.Viewer) *Servers {
	t.Helper()
	m := localtest.Shared(t)
	w := &Servers{writers: map[catalog.Store]*db.DB{}, ddl: map[string]string{"event": eventDDL}}
	for name, def := range ddl {
		w.ddl[name] = def
	}
	open := func(dsn string, store catalog.Store, purpose db.Purpose) *db.DB {
		d, err := db.Open(t.Context(), db.Config{DSN: dsn, Name: string(store), Store: store, Purpose: purpose, StatementLimit: 30 * time.Second})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = d.Close() })
		return d
	}
	for _, store := range []catalog.Store{catalog.Live, catalog.Archive} {
		dsn := localtest.Schema(t, m)
		w.writers[store] = open(dsn, store, db.Writer)
		if err := db.EnsureTables(t.Context(), w.writers[store]); err != nil {
			t.Fatal(err)
		}
		if store == catalog.Live {
			w.Live = open(dsn, store, db.Reader)
		} else {
			w.Archived = open(dsn, store, db.Reader)
		}
	}
	w.viewer = viewer(w.Live, w.Archived)
	return w
}

// Writer is a pool that may write to a store.
func (w *Servers) Writer(store catalog.Store) *db.DB { return w.writers[store] }

// View is part of router.Viewer.
func (w *Servers) View(ctx context.Context, d *catalog.Dataset) (*catalog.View, error) {
	return w.viewer.View(ctx, d)
}

// Load is part of World.
func (w *Servers) Load(t testing.TB, d *catalog.Dataset, shard catalog.Shard, rows []catalog.Row) {
	t.Helper()
	w.Create(t, catalog.Live, d, shard)
	w.Insert(t, catalog.Live, d, shard, rows)
}

// Create makes the shard's table.
func (w *Servers) Create(t testing.TB, store catalog.Store, d *catalog.Dataset, shard catalog.Shard) {
	t.Helper()
	localtest.Exec(t, w.writers[store].SQL(), "CREATE TABLE IF NOT EXISTS "+db.Quote(shard.Table)+" "+w.ddl[d.Name])
}

// Insert adds rows to a shard.
func (w *Servers) Insert(t testing.TB, store catalog.Store, d *catalog.Dataset, shard catalog.Shard, rows []catalog.Row) {
	t.Helper()
	for len(rows) > 0 {
		n := min(len(rows), 500)
		var args []any
		var values []string
		for i := range rows[:n] {
			var exprs []string
			for c := range d.Columns {
				expr, more, err := db.Bind(d.Columns[c].Type, rows[i].Cell(c), args)
				if err != nil {
					t.Fatal(err)
				}
				exprs, args = append(exprs, expr), more
			}
			values = append(values, "("+strings.Join(exprs, ",")+")")
		}
		localtest.Exec(t, w.writers[store].SQL(), "INSERT INTO "+db.Quote(shard.Table)+" VALUES "+strings.Join(values, ","), args...)
		rows = rows[n:]
	}
}

// Archive is part of World.
func (w *Servers) Archive(t testing.TB, d *catalog.Dataset, shard string) {
	t.Helper()
	w.move(t, d, shard, catalog.Live, catalog.Archive)
}

// Restore is part of World.
func (w *Servers) Restore(t testing.TB, d *catalog.Dataset, shard string) {
	t.Helper()
	w.move(t, d, shard, catalog.Archive, catalog.Live)
}

// move copies, owns, releases and drops, in the order of a real move.
func (w *Servers) move(t testing.TB, d *catalog.Dataset, shard string, from, to catalog.Store) {
	t.Helper()
	sh, ok := d.ShardOf(shard)
	if !ok {
		t.Fatalf("%s is no shard of %s", shard, d.Name)
	}
	w.Create(t, to, d, sh)
	localtest.Exec(t, w.writers[to].SQL(), fmt.Sprintf("INSERT INTO %s SELECT * FROM %s", db.Quote(shard), db.Quote(w.writers[from].Schema(), shard)))
	var epoch uint64
	row := w.writers[from].SQL().QueryRowContext(t.Context(), "SELECT COALESCE(MAX(epoch),0)+1 FROM strata_part WHERE dataset=? AND shard=?", d.Name, shard)
	if err := row.Scan(&epoch); err != nil {
		t.Fatal(err)
	}
	state := func(store catalog.Store, state catalog.State) {
		localtest.Exec(t, w.writers[store].SQL(), `INSERT INTO strata_part (dataset, shard, range_from, range_to, epoch, state) VALUES (?,?,?,?,?,?)
			ON DUPLICATE KEY UPDATE epoch=VALUES(epoch), state=VALUES(state)`, d.Name, shard, int64(sh.Range.From), int64(sh.Range.To), epoch, string(state))
	}
	state(to, catalog.Owned)
	state(from, catalog.Released)
	localtest.Exec(t, w.writers[from].SQL(), "DROP TABLE "+db.Quote(shard))
}

// Beat is part of World.
func (w *Servers) Beat(t testing.TB) uint64 {
	t.Helper()
	h, err := db.Beat(t.Context(), w.writers[catalog.Live], catalog.At(Now()))
	if err != nil {
		t.Fatal(err)
	}
	return h.Seq
}
