package db_test

import (
	"strconv"
	"testing"

	"strata/catalog"
	"strata/db"
	"strata/local/localtest"
)

// BenchmarkScan reads rows of 12 columns through a snapshot; one op is one row.
func BenchmarkScan(b *testing.B) {
	const rows = 100_000
	dsn := localtest.Schema(b, localtest.Shared(b))
	w, r := open(b, dsn, db.Writer), open(b, dsn, db.Reader)
	must(b, db.EnsureTables(b.Context(), w))
	exec(b, w, `CREATE TABLE w (id BIGINT PRIMARY KEY, a BIGINT, b BIGINT UNSIGNED, c INT, at DATETIME(6), ts TIMESTAMP(6) NULL, amount DECIMAL(20,4),
		unit CHAR(3), note VARCHAR(100), state ENUM('a','b'), ref BINARY(16), f DOUBLE)`,
		"INSERT INTO w SELECT seq, seq*7, seq*11, seq%1000, '2026-01-01 10:20:30.123456', '2026-01-01 10:20:30.123456', seq/7, 'EUR', REPEAT('x', 60), 'b', MD5(seq)<=>'', seq/3 FROM seq_1_to_"+strconv.Itoa(rows))
	cols, key, err := db.Describe(b.Context(), r, "w")
	must(b, err)
	ds := &catalog.Dataset{Name: "w", Table: "w", Columns: cols, Key: key}
	var row catalog.Row
	b.ReportAllocs()
	b.ResetTimer()
	for n := 0; n < b.N; {
		s, err := r.Snapshot(b.Context(), ds, []catalog.Holding{{Shard: ds.ShardAt(0), Store: catalog.Live}})
		must(b, err)
		res, err := s.Rows(b.Context(), ds, nil, "SELECT "+db.SelectList(ds, nil, "")+" FROM w LIMIT "+strconv.Itoa(min(rows, b.N-n)))
		must(b, err)
		for {
			ok, err := res.Next(&row)
			must(b, err)
			if !ok {
				break
			}
			n++
		}
		must(b, s.Close())
	}
}

// BenchmarkLookup reads one row by its key, ownership checked.
func BenchmarkLookup(b *testing.B) {
	_, _, r := setup(b, 1000)
	ds := ledger()
	h := hold(ds, 0)[0]
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		_, found, err := r.Lookup(b.Context(), ds, h, catalog.Key(strconv.Itoa(1+i%1000)), nil)
		if err != nil || !found {
			b.Fatal(found, err)
		}
	}
}

// BenchmarkSnapshot opens and closes a snapshot of one table.
func BenchmarkSnapshot(b *testing.B) {
	_, _, r := setup(b, 10)
	ds := ledger()
	hs := hold(ds, 0)
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		s, err := r.Snapshot(b.Context(), ds, hs)
		must(b, err)
		must(b, s.Close())
	}
}
