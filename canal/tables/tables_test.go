package tables_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"strata/canal/tables"
	"strata/catalog"
	"strata/db"
	"strata/fault"
	"strata/local/localtest"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func kind(t testing.TB, err error, want fault.Kind) {
	t.Helper()
	if !fault.Is(err, want) {
		t.Fatalf("%v is not %s", err, want)
	}
}

// rig is a live server with a schema, an archive beside it, and Tables over both.
type rig struct {
	dsn                     string
	writer, archiver, admin *db.DB
	tables                  *tables.Tables
	clock                   atomic.Int64 // added to the time, in ns
	d                       *catalog.Dataset
}

func (r *rig) now() time.Time { return time.Now().Add(time.Duration(r.clock.Load())) }

func acct() *catalog.Dataset {
	return &catalog.Dataset{Name: "acct", Table: "acct", Key: []string{"id"}, Columns: []catalog.Column{
		{Name: "id", Type: catalog.Type{Kind: catalog.Int, Size: 8}}, {Name: "ver", Type: catalog.Type{Kind: catalog.Int, Size: 8}}}}
}

// newRig makes it on a server; f may change the configuration.
func newRig(t testing.TB, m localtest.Database, d *catalog.Dataset, f ...func(*tables.Config)) *rig {
	t.Helper()
	dsn, archive := localtest.Schema(t, m), localtest.Schema(t, m)
	open := func(dsn string, s catalog.Store, p db.Purpose) *db.DB {
		pool, err := db.Open(t.Context(), db.Config{DSN: dsn, Name: string(s), Store: s, Purpose: p, MaxConns: 16})
		must(t, err)
		t.Cleanup(func() { _ = pool.Close() })
		return pool
	}
	r := &rig{dsn: dsn, writer: open(dsn, catalog.Live, db.Writer), archiver: open(archive, catalog.Archive, db.Writer), admin: open(dsn, catalog.Live, db.Admin), d: d}
	must(t, db.EnsureTables(t.Context(), r.writer))
	must(t, db.EnsureTables(t.Context(), r.archiver))
	live, arch := open(dsn, catalog.Live, db.Reader), open(archive, catalog.Archive, db.Reader)
	cfg := tables.Config{Captured: func() *db.DB { return live }, Locks: func() *db.DB { return r.writer }, Archives: map[catalog.Store]*db.DB{catalog.Archive: arch},
		Now: r.now, View: func(ctx context.Context, d *catalog.Dataset) (*catalog.View, error) {
			var says []catalog.Says
			for _, p := range []*db.DB{live, arch} {
				s, err := db.Says(ctx, p, d)
				if err != nil {
					return nil, err
				}
				says = append(says, s)
			}
			return catalog.MergeView(d, says)
		}}
	for _, f := range f {
		f(&cfg)
	}
	var err error
	r.tables, err = tables.New(cfg)
	must(t, err)
	t.Cleanup(func() { must(t, r.tables.Close()) })
	return r
}

func (r *rig) exec(t testing.TB, on *db.DB, queries ...string) {
	t.Helper()
	for _, q := range queries {
		if _, err := on.SQL().ExecContext(t.Context(), q); err != nil {
			t.Fatalf("%s: %v", q, err)
		}
	}
}

// fill makes the table acct with n rows of version 1.
func (r *rig) fill(t testing.TB, on *db.DB, n int) {
	t.Helper()
	r.exec(t, on, "CREATE TABLE acct (id BIGINT PRIMARY KEY, ver BIGINT NOT NULL)")
	for from := 0; from < n; from += 1000 {
		var b strings.Builder
		for i := from; i < min(n, from+1000); i++ {
			fmt.Fprintf(&b, ",(%d,1)", i)
		}
		r.exec(t, on, "INSERT INTO acct VALUES "+b.String()[1:])
	}
}

func (r *rig) holding(t testing.TB) catalog.Holding {
	t.Helper()
	shards, err := r.tables.Shards(t.Context(), r.d)
	must(t, err)
	if len(shards) != 1 {
		t.Fatalf("%+v", shards)
	}
	return shards[0].Holding
}

// all reads a holding chunk by chunk and returns its keys in the order in which they came.
func (r *rig) all(t testing.TB, h catalog.Holding, after, to catalog.Key, rows, bytes int) (keys []catalog.Key, chunks int) {
	t.Helper()
	for {
		c, err := r.tables.Chunk(t.Context(), r.d, h, after, to, rows, bytes)
		must(t, err)
		if len(c.Rows) > rows {
			t.Fatalf("%d rows", len(c.Rows))
		}
		for i := range c.Rows {
			keys = append(keys, catalog.KeyOf(&c.Rows[i], r.d.KeyIndexes()))
		}
		if n := len(c.Rows); n > 0 && c.Last != keys[len(keys)-1] {
			t.Fatalf("Last is %q, the last row %q", c.Last, keys[len(keys)-1])
		}
		after = c.Last
		chunks++
		if c.End {
			return keys, chunks
		}
	}
}

func TestShards(t *testing.T) {
	d := acct()
	d.Name, d.Table, d.Time, d.Scheme = "entry", "entry", "id", catalog.Scheme{{From: catalog.MinInstant, Interval: catalog.Monthly}}
	r := newRig(t, localtest.Shared(t), d)
	for _, table := range []string{"entry_202601", "entry_202602", "entry_late_1", "entry_other"} {
		r.exec(t, r.writer, "CREATE TABLE "+table+" (id BIGINT PRIMARY KEY, ver BIGINT NOT NULL)")
	}
	r.exec(t, r.writer, "INSERT INTO entry_202602 VALUES (1,1),(2,1)", "INSERT INTO strata_part (dataset, shard, range_from, range_to, epoch, state) VALUES ('entry','entry_202601',0,0,1,'released')")
	r.exec(t, r.archiver, "CREATE TABLE entry_202601 (id BIGINT PRIMARY KEY, ver BIGINT NOT NULL)",
		"INSERT INTO strata_part (dataset, shard, range_from, range_to, epoch, state) VALUES ('entry','entry_202601',0,0,1,'owned')")
	got, err := r.tables.Shards(t.Context(), d)
	must(t, err)
	var said []string
	for _, s := range got {
		said = append(said, fmt.Sprintf("%s %s %d", s.Holding.Shard.Table, s.Holding.Store, s.Holding.Epoch))
	}
	if want := []string{"entry_202601 archive 1", "entry_202602 live 0", "entry_late_1 live 0"}; !slices.Equal(said, want) {
		t.Errorf("%q", said)
	}
	bare, err := tables.New(tables.Config{})
	if bare != nil || !fault.Is(err, fault.Invalid) {
		t.Error(err)
	}
}
