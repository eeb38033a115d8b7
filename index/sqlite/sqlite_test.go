package sqlite_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"strata/catalog"
	"strata/fault"
	"strata/index"
	"strata/index/indextest"
	"strata/index/sqlite"
)

func open(t testing.TB, cfg sqlite.Config) *sqlite.Index {
	t.Helper()
	if cfg.Dir == "" {
		cfg.Dir = t.TempDir()
	}
	x, err := sqlite.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	return x
}

func TestConformance(t *testing.T) {
	indextest.Run(t, func(t testing.TB) index.Index { return open(t, sqlite.Config{}) })
}

func TestCrash(t *testing.T) {
	dead := errors.New("dead")
	for point, want := range map[string]int64{"sqlite.apply": 0, "sqlite.applied": 1} {
		t.Run(point, func(t *testing.T) {
			d, dir := indextest.Entries(), t.TempDir()
			x := open(t, sqlite.Config{Dir: dir, At: func(p string) error {
				if p == point {
					return dead
				}
				return nil
			}})
			doc := indextest.Doc(d, "entry_202611", indextest.Entry(1, 1, 10, "2026-11-02", nil), index.MakeVersion(3, 1), false)
			if err := x.Ensure(t.Context(), d); err != nil {
				t.Fatal(err)
			}
			if _, err := x.Apply(t.Context(), d.Name, []index.Document{doc}); !errors.Is(err, dead) {
				t.Fatalf("Apply: %v", err)
			}
			if err := x.Close(); err != nil {
				t.Fatal(err)
			}
			x = open(t, sqlite.Config{Dir: dir})
			defer func() { _ = x.Close() }()
			n, err := x.Count(t.Context(), index.Search{Dataset: d.Name, Shards: []string{"entry_202611"}})
			if err != nil || n != want {
				t.Errorf("%d documents, %v, want %d", n, err, want)
			}
			if out, err := x.Apply(t.Context(), d.Name, []index.Document{doc}); err != nil || (out[0].Status == index.Newer) != (want == 1) {
				t.Errorf("applied again: %v, %v", out, err)
			}
		})
	}
}

// TestL7_a_dataset_that_another_process_made_is_found: a reader that was there before sync made its file.
func TestL7_a_dataset_that_another_process_made_is_found(t *testing.T) {
	d, dir := indextest.Entries(), t.TempDir()
	reader, other, writer := open(t, sqlite.Config{Dir: dir}), open(t, sqlite.Config{Dir: dir}), open(t, sqlite.Config{Dir: dir})
	for _, x := range []*sqlite.Index{reader, other, writer} {
		t.Cleanup(func() { _ = x.Close() })
	}
	if _, err := reader.Watermarks(t.Context(), d.Name); !fault.Is(err, fault.NotFound) {
		t.Fatalf("before it is made: %v", err)
	}
	if err := writer.Ensure(t.Context(), d); err != nil {
		t.Fatal(err)
	}
	doc := indextest.Doc(d, "entry_202611", indextest.Entry(1, 1, 10, "2026-11-02", nil), index.MakeVersion(3, 1), false)
	if _, err := writer.Apply(t.Context(), d.Name, []index.Document{doc}); err != nil {
		t.Fatal(err)
	}
	if n, err := reader.Count(t.Context(), index.Search{Dataset: d.Name, Shards: []string{"entry_202611"}}); err != nil || n != 1 {
		t.Errorf("%d documents, %v", n, err)
	}
	if term, err := other.HighestTerm(t.Context()); err != nil || term != 3 {
		t.Errorf("highest term %d, %v", term, err)
	}
}

func TestOpen(t *testing.T) {
	t.Run("Unsafe for a file that isn't an index", func(t *testing.T) {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "entry.db"), []byte("this is certainly not a database, whatever its name says"), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := sqlite.Open(t.Context(), sqlite.Config{Dir: dir}); !fault.Is(err, fault.Unsafe) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("OK a second time, and closed calls say so", func(t *testing.T) {
		d, dir := indextest.Entries(), t.TempDir()
		for range 2 {
			x := open(t, sqlite.Config{Dir: dir})
			if err := x.Ensure(t.Context(), d); err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(x.Close(), x.Close()); err != nil {
				t.Fatal(err)
			}
			if err := x.Ensure(t.Context(), d); !fault.Is(err, fault.Unavailable) {
				t.Errorf("after Close: %v", err)
			}
		}
	})
}

// BenchmarkApply is documents of 7 columns in batches of 2,000, with and without the words of one.
func BenchmarkApply(b *testing.B) {
	b.Run("plain", func(b *testing.B) { benchmarkApply(b, indextest.Entries()) })
	b.Run("words", func(b *testing.B) {
		d := indextest.Entries()
		d.Text = []string{"memo"}
		benchmarkApply(b, d)
	})
}

func benchmarkApply(b *testing.B, d *catalog.Dataset) {
	x, memo := open(b, sqlite.Config{}), "付款 for Order 17, 上海浦东新区 Refund"
	defer func() { _ = x.Close() }()
	if err := x.Ensure(b.Context(), d); err != nil {
		b.Fatal(err)
	}
	n := 0
	for b.Loop() {
		docs := make([]index.Document, 0, 2000)
		for range cap(docs) {
			n++
			row := indextest.Entry(n*7919%10007, n, n, "2026-11-02", &memo)
			docs = append(docs, indextest.Doc(d, "entry_202611", row, index.Version(n), false))
		}
		if _, err := x.Apply(b.Context(), d.Name, docs); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "docs/s")
	m := 0
	err := x.Scan(b.Context(), d.Name, "entry_202611", catalog.Key(""), func(*index.Stored) error { m++; return nil })
	if err != nil || m != n {
		b.Fatalf("scanned %d of %d: %v", m, n, err)
	}
}

func BenchmarkDigests(b *testing.B) {
	x := open(b, sqlite.Config{})
	defer func() { _ = x.Close() }()
	indextest.BenchDigests(b, x, 300_000)
}
