package indextest

import (
	"slices"
	"testing"

	"strata/catalog"
	"strata/index"
)

// BenchDigests reads the digests of n documents, whose keys came in no order, once in each turn.
func BenchDigests(b *testing.B, x index.Index, n int) {
	d := Entries()
	if err := x.Ensure(b.Context(), d); err != nil {
		b.Fatal(err)
	}
	batch := make([]index.Document, 0, 2000)
	for i := range n {
		row := Entry(i*7919%10007, i, i, "2026-11-02", nil)
		batch = append(batch, Doc(d, "entry_202611", row, index.Version(i+1), i%10 == 0))
		if len(batch) < cap(batch) && i < n-1 {
			continue
		}
		if _, err := x.Apply(b.Context(), d.Name, slices.Clone(batch)); err != nil {
			b.Fatal(err)
		}
		batch = batch[:0]
	}
	if err := x.Refresh(b.Context(), d.Name); err != nil {
		b.Fatal(err)
	}
	read := 0
	for b.Loop() {
		err := x.Digests(b.Context(), d.Name, "entry_202611", catalog.Key(""), func(*index.Digest) error { read++; return nil })
		if err != nil {
			b.Fatal(err)
		}
	}
	if read != b.N*n {
		b.Fatalf("%d digests in %d turns over %d documents", read, b.N, n)
	}
	b.ReportMetric(float64(read)/b.Elapsed().Seconds(), "docs/s")
}
