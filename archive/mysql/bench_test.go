package mysql

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"strata/archive"
	"strata/catalog"
	"strata/core"
	"strata/db"
	"strata/local/localtest"
)

// BenchmarkMove moves one shard of the ledger's entries from end to end, and says rows a second and by step.
func BenchmarkMove(b *testing.B) {
	const rows = 200_000
	for b.Loop() {
		b.StopTimer()
		w := newWorld(b, 0, 0)
		localtest.Exec(b, w.app, "CREATE TABLE entry_202601 "+core.EntryTable)
		for from := 0; from < rows; from += 5000 {
			var q strings.Builder
			q.WriteString("INSERT INTO entry_202601 VALUES ")
			for i := from; i < from+5000; i++ {
				if i > from {
					q.WriteString(",")
				}
				fmt.Fprintf(&q, "(%d,%d,'transfer-%016d-%016d',1,'EUR',%d,%d,%d,'2026-01-%02d','2026-01-15 10:00:00.123456','2026-01-15 10:00:01.654321')",
					1_000_000+i/10, i%10, i, i*7919%rows, i%1000, i, i+1000, 1+i%31)
			}
			localtest.Exec(b, w.app, q.String())
		}
		spec := catalog.Spec{Name: "entry", Time: "accounting_date", Shards: catalog.Scheme{{From: catalog.MinInstant, Interval: catalog.Monthly}},
			Money: []catalog.Money{{Column: "amount", UnitColumn: "unit"}}}
		var err error
		if w.ds, err = db.Resolve(b.Context(), w.live, spec); err != nil {
			b.Fatal(err)
		}
		control, err := NewControl(w.control)
		if err != nil {
			b.Fatal(err)
		}
		var last time.Time
		spent := map[string]time.Duration{}
		at := func(point string) error {
			spent[point] += time.Since(last)
			last = time.Now()
			return nil
		}
		m, err := archive.New(archive.Config{Site: w.site(b, at, func(c *Config) { c.BatchRows = 0 }), Control: control, Datasets: []*catalog.Dataset{w.ds},
			Policies: []archive.Policy{{Dataset: "entry", Age: 0}}, Key: []byte("a key of the tests, long enough"), Now: func() time.Time { return w.now }, Log: logger()})
		if err != nil {
			b.Fatal(err)
		}
		plan, err := m.Plan(b.Context(), w.now)
		if err != nil || len(plan.Moves) != 1 {
			b.Fatal(plan, err)
		}
		b.StartTimer()
		began := time.Now()
		last = began
		if _, err := m.Run(b.Context(), plan); err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(rows/time.Since(began).Seconds(), "rows/s")
		b.ReportMetric(float64(spent[archive.PointCopied]+spent[archive.PointCopyChunk]+spent[archive.PointCopyOpen])/rows, "copy-ns/row")
		b.ReportMetric(float64(spent[archive.PointCompared])/rows, "compare-ns/row")
		b.ReportMetric(float64(spent[archive.PointPruneCounted])/rows, "prune-ns/row")
	}
}
