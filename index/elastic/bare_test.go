package elastic_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"strata/index"
	"strata/index/elastic"
	"strata/index/indextest"
	"strata/local"
	"strata/local/localtest"
)

// fast is a node as one is operated: its JVM compiles all that it can.
func fast(b *testing.B) string {
	return localtest.StartElastic(b, localtest.Home(b), local.ElasticConfig{Name: "elastic1", HeapMiB: 1024,
		JVM: []string{"-XX:TieredStopAtLevel=4", "-XX:-UseSerialGC", "-XX:+UseG1GC"}}).URL()
}

// recorder keeps the bodies of bulks instead of sending them.
type recorder struct {
	http.RoundTripper
	mu     sync.Mutex
	bodies []string
}

// RoundTrip fulfils http.RoundTripper.
func (r *recorder) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.URL.Path != "/_bulk" {
		return r.RoundTripper.RoundTrip(req)
	}
	raw, err := io.ReadAll(req.Body)
	if err != nil {
		return nil, err
	}
	r.mu.Lock()
	r.bodies = append(r.bodies, string(raw))
	r.mu.Unlock()
	var answer strings.Builder
	lines := strings.Split(string(raw), "\n")
	for i := 0; i+1 < len(lines); i += 2 {
		_, id, _ := strings.Cut(lines[i], `"_id":`)
		id, _, _ = strings.Cut(id, `,"version_type"`)
		_, name, _ := strings.Cut(lines[i], `"_index":"`)
		name, _, _ = strings.Cut(name, `.write"`)
		fmt.Fprintf(&answer, `,{"index":{"_index":%q,"_id":%s,"status":201}}`, name, id)
	}
	return &http.Response{StatusCode: http.StatusOK, Header: http.Header{"Content-Type": {"application/json"}},
		Body: io.NopCloser(strings.NewReader(`{"errors":false,"items":[` + answer.String()[1:] + `]}`))}, nil
}

// BenchmarkApplyAgainstBare has four partitions apply, and four goroutines send the same bodies, made before, to an index of the
// same settings and mapping, in turns.
func BenchmarkApplyAgainstBare(b *testing.B) {
	const partitions, batches, each = 4, 6, 2000
	node := fast(b)
	d := indextest.Entries()
	docs := make([][][]index.Document, partitions)
	n := 0
	for p := range docs {
		for range batches {
			batch := make([]index.Document, each)
			for i := range batch {
				n++
				batch[i] = indextest.Doc(d, november, indextest.Entry(n*7919%10007, n, n, "2026-11-02", nil), index.Version(n), false)
			}
			docs[p] = append(docs[p], batch)
		}
	}
	every := func(f func(p int) error) time.Duration {
		began := time.Now()
		var wg sync.WaitGroup
		for p := range partitions {
			wg.Go(func() {
				if err := f(p); err != nil {
					b.Error(err)
				}
			})
		}
		wg.Wait()
		return time.Since(began)
	}
	make1 := func(h *http.Client) (*elastic.Index, string) {
		prefix := localtest.Unique("t")
		x := open(b, elastic.Config{URL: node, Prefix: prefix, HTTP: h})
		if err := x.Ensure(b.Context(), d); err != nil {
			b.Fatal(err)
		}
		return x, prefix
	}
	rec := &recorder{RoundTripper: http.DefaultTransport}
	x, recorded := make1(&http.Client{Transport: rec})
	bodies := make([][]string, partitions)
	for p := range docs {
		for _, batch := range docs[p] {
			if _, err := x.Apply(b.Context(), d.Name, batch); err != nil {
				b.Fatal(err)
			}
		}
		bodies[p], rec.bodies = rec.bodies, nil
	}
	ours := func() time.Duration {
		x, prefix := make1(nil)
		defer deleteAll(b, node, prefix)
		return every(func(p int) error {
			for _, batch := range docs[p] {
				if _, err := x.Apply(context.Background(), d.Name, batch); err != nil {
					return err
				}
			}
			return nil
		})
	}
	bare := func() time.Duration {
		_, prefix := make1(nil)
		defer deleteAll(b, node, prefix)
		mine := make([][][]byte, partitions)
		for p := range bodies {
			for _, body := range bodies[p] {
				mine[p] = append(mine[p], []byte(strings.ReplaceAll(body, recorded, prefix)))
			}
		}
		client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: partitions, DisableCompression: true}}
		defer client.CloseIdleConnections()
		return every(func(p int) error {
			for _, body := range mine[p] {
				res, err := client.Post(node+"/_bulk", "application/x-ndjson", bytes.NewReader(body))
				if err != nil {
					return err
				}
				raw, err := io.ReadAll(res.Body)
				if err != nil || !bytes.Contains(raw, []byte(`"errors":false`)) {
					return fmt.Errorf("%.200s %w", raw, err)
				}
				if err := res.Body.Close(); err != nil {
					return err
				}
			}
			return nil
		})
	}
	for range 3 { // the node warms up
		ours()
		bare()
	}
	var a, z time.Duration
	for b.Loop() {
		a += ours()
		z += bare()
		z += bare()
		a += ours()
	}
	perSecond := func(t time.Duration) float64 { return float64(2*b.N*n) / t.Seconds() }
	b.ReportMetric(perSecond(a), "docs/s")
	b.ReportMetric(perSecond(z), "bare-docs/s")
	b.ReportMetric(perSecond(a)/perSecond(z), "vs-bare")
}
