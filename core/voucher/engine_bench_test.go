package voucher

import (
	"fmt"
	"testing"
)

// BenchmarkEngine is events a second, from the feed to the durable voucher: shop orders of five legs and seven lines.
func BenchmarkEngine(b *testing.B) {
	s := openStore(b, openDB(b, schema(b)), nil)
	put(b, s, 0, shop(b), yesterday())
	doc := compiled(b, shop(b))
	q := &queue{}
	for i := range b.N {
		q.events = append(q.events, order(b, doc, fmt.Sprintf("o%08d", i), noon(), 1001+int64(i%900), 5000+int64(i%1000)))
	}
	e := engine(b, s, q)
	b.ResetTimer()
	mustDrain(b, e)
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
}

// BenchmarkDerive is the rules alone.
func BenchmarkDerive(b *testing.B) {
	doc := compiled(b, shop(b))
	ev := order(b, doc, "o1", noon(), 1001, 5000)
	for b.Loop() {
		if _, err := doc.Derive(&ev); err != nil {
			b.Fatal(err)
		}
	}
}
