package verify_test

import (
	"context"
	"database/sql"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"strata/catalog"
	"strata/db"
	"strata/fault"
	"strata/index"
	"strata/index/indextest"
	"strata/index/sqlite"
	"strata/local/localtest"
	"strata/sync/verify"
)

func openIndex(t testing.TB) *sqlite.Index {
	t.Helper()
	x, err := sqlite.Open(t.Context(), sqlite.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = x.Close() })
	return x
}

func entry(account, seq, amount int) catalog.Row {
	return indextest.Entry(account, seq, amount, "2026-11-02", nil)
}

// fresh is an index that says how far it is from a test's own knowledge.
type fresh struct {
	index.Index
	beat    atomic.Uint64
	reached atomic.Uint64 // version
	late    atomic.Int64  // microseconds that the watermarks are old
	lacks   atomic.Bool   // the last partition has no watermark yet
	frozen  string        // why; of only where it is not ""
	only    string
}

func (x *fresh) Watermarks(_ context.Context, dataset string) ([]index.Watermark, error) {
	out := make([]index.Watermark, 4)
	for i := range out {
		out[i] = index.Watermark{Dataset: dataset, Partition: int32(i), Heartbeat: x.beat.Load(), Version: index.Version(x.reached.Load()),
			At: catalog.At(time.Now()) - catalog.Instant(x.late.Load())}
		if x.frozen != "" && (x.only == "" || x.only == dataset) {
			out[i].Frozen, out[i].Heartbeat = x.frozen, 0
		}
	}
	if x.lacks.Load() {
		return out[:3], nil
	}
	return out, nil
}

// stand is a live and an archive schema with an index beside them.
type stand struct {
	t             testing.TB
	live, archive *sql.DB
	d             *catalog.Dataset
	x             *fresh
	cfg           verify.Config
	version       index.Version
	dsns          map[catalog.Store]string
}

const entryColumns = `(account_id BIGINT NOT NULL, seq BIGINT NOT NULL, transfer_id VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
	amount BIGINT NOT NULL, accounting_date DATE NOT NULL, order_time DATETIME(6) NOT NULL, memo VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NULL,
	PRIMARY KEY (account_id, seq)) ENGINE=InnoDB`

func newStand(t testing.TB, d *catalog.Dataset) *stand {
	t.Helper()
	m := localtest.Shared(t)
	s := &stand{t: t, d: d, x: &fresh{Index: openIndex(t)}, version: index.MakeVersion(1, 0)}
	s.x.beat.Store(math.MaxUint64)
	dsns := map[catalog.Store]string{catalog.Live: localtest.Schema(t, m), catalog.Archive: localtest.Schema(t, m)}
	s.dsns = dsns
	s.live, s.archive = localtest.DB(t, dsns[catalog.Live]), localtest.DB(t, dsns[catalog.Archive])
	pool := func(store catalog.Store, purpose db.Purpose) *db.DB {
		p, err := db.Open(t.Context(), db.Config{DSN: dsns[store], Name: string(store), Store: store, Purpose: purpose})
		s.ok(err)
		t.Cleanup(func() { _ = p.Close() })
		return p
	}
	writer, readLive, readArchive := pool(catalog.Live, db.Writer), pool(catalog.Live, db.Reader), pool(catalog.Archive, db.Reader)
	s.ok(db.EnsureTables(t.Context(), writer))
	s.ok(db.EnsureTables(t.Context(), pool(catalog.Archive, db.Writer)))
	s.ok(s.x.Ensure(t.Context(), d))
	s.cfg = verify.Config{Datasets: []*catalog.Dataset{d}, Live: writer, Index: s.x, Now: time.Now,
		Stores: map[catalog.Store]*db.DB{catalog.Live: readLive, catalog.Archive: readArchive},
		View: func(ctx context.Context, d *catalog.Dataset) (*catalog.View, error) {
			var says []catalog.Says
			for _, r := range []*db.DB{readLive, readArchive} {
				one, err := db.Says(ctx, r, d)
				if err != nil {
					return nil, err
				}
				says = append(says, one)
			}
			return catalog.MergeView(d, says)
		}}
	return s
}

func (s *stand) ok(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatalf("%v\n%s", err, fault.HintOf(err))
	}
}

func (s *stand) doc(shard string, row catalog.Row, gone bool) index.Document {
	s.version++
	h, _ := row.Hash(nil)
	return index.Document{Shard: shard, Key: catalog.KeyOf(&row, s.d.KeyIndexes()), Version: s.version, Hash: h, Deleted: gone,
		After: catalog.AppendJSON(nil, s.d, &row)}
}

func (s *stand) apply(docs ...index.Document) {
	s.t.Helper()
	for part := range slices.Chunk(docs, 5000) {
		out, err := s.x.Apply(context.Background(), s.d.Name, part)
		s.ok(err)
		for _, o := range out {
			if o.Status != index.Applied {
				s.t.Fatalf("%+v", o)
			}
		}
	}
}

// fill puts n rows into a shard's table and the index.
func (s *stand) fill(on *sql.DB, shard string, n int) {
	s.t.Helper()
	localtest.Exec(s.t, on, "CREATE TABLE "+shard+" "+entryColumns)
	var docs []index.Document
	var values []string
	for i := range n {
		row := entry(i%97-5, i, i*3-7)
		values = append(values, fmt.Sprintf("(%s,%s,'%s',%s,'%s','%s',NULL)", row.Text(0), row.Text(1), row.Text(2), row.Text(3), row.Text(4), row.Text(5)))
		docs = append(docs, s.doc(shard, row, false))
	}
	for part := range slices.Chunk(values, 5000) {
		localtest.Exec(s.t, on, "INSERT INTO "+shard+" VALUES "+strings.Join(part, ","))
	}
	s.apply(docs...)
}

func (s *stand) verify() verify.DatasetReport {
	s.t.Helper()
	r, err := verify.Once(s.t.Context(), s.cfg)
	s.ok(err)
	if r.OK != r.Datasets[0].OK {
		s.t.Errorf("report %+v", r)
	}
	return r.Datasets[0]
}

func ledger() *catalog.Dataset {
	d := indextest.Entries()
	d.Money = []catalog.Money{{Column: "amount", Unit: "EUR"}}
	return d
}
