package elastic_test

import (
	"testing"

	"strata/index"
	"strata/index/elastic"
	"strata/index/indextest"
)

// BenchmarkApply is documents of 7 columns in batches of 2,000.
func BenchmarkApply(b *testing.B) {
	x, d := open(b, elastic.Config{}), indextest.Entries()
	defer func() { _ = x.Close() }()
	if err := x.Ensure(b.Context(), d); err != nil {
		b.Fatal(err)
	}
	n := 0
	for b.Loop() {
		docs := make([]index.Document, 0, 2000)
		for range cap(docs) {
			n++
			row := indextest.Entry(n*7919%10007, n, n, "2026-11-02", nil)
			docs = append(docs, indextest.Doc(d, november, row, index.Version(n), false))
		}
		if _, err := x.Apply(b.Context(), d.Name, docs); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "docs/s")
}

func BenchmarkDigests(b *testing.B) {
	x := open(b, elastic.Config{})
	defer func() { _ = x.Close() }()
	indextest.BenchDigests(b, x, 300_000)
}
