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

	"strata/catalog"
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

// The load of BenchmarkApplyAgainstBare.
const partitions, batches, each = 4, 6, 2000

// against is what both loaders write, and where.
type against struct {
	*testing.B
	node     string
	d        *catalog.Dataset
	docs     [partitions][][]index.Document
	bodies   [partitions][]string
	recorded string // the prefix in the bodies
}

// BenchmarkApplyAgainstBare has four partitions apply, and four goroutines send the same bodies, made before, to an index of the
// same settings and mapping, in turns.
func BenchmarkApplyAgainstBare(b *testing.B) {
	a := &against{B: b, node: fast(b), d: indextest.Entries()}
	n := 0
	for p := range a.docs {
		for range batches {
			batch := make([]index.Document, each)
			for i := range batch {
				n++
				batch[i] = indextest.Doc(a.d, november, indextest.Entry(n*7919%10007, n, n, "2026-11-02", nil), index.Version(n), false)
			}
			a.docs[p] = append(a.docs[p], batch)
		}
	}
	a.record()
	for range 3 { // the node warms up
		a.ours()
		a.bare()
	}
	var ours, bare time.Duration
	for b.Loop() {
		ours += a.ours()
		bare += a.bare()
		bare += a.bare()
		ours += a.ours()
	}
	perSecond := func(t time.Duration) float64 { return float64(2*b.N*n) / t.Seconds() }
	b.ReportMetric(perSecond(ours), "docs/s")
	b.ReportMetric(perSecond(bare), "bare-docs/s")
	b.ReportMetric(perSecond(ours)/perSecond(bare), "vs-bare")
}

// fresh makes an empty index.
func (a *against) fresh(h *http.Client) (x *elastic.Index, prefix string) {
	prefix = localtest.Unique("t")
	x = open(a.B, elastic.Config{URL: a.node, Prefix: prefix, HTTP: h})
	if err := x.Ensure(a.Context(), a.d); err != nil {
		a.Fatal(err)
	}
	return x, prefix
}

// record makes the bodies, sending nothing.
func (a *against) record() {
	rec := &recorder{RoundTripper: http.DefaultTransport}
	x, prefix := a.fresh(&http.Client{Transport: rec})
	a.recorded = prefix
	for p := range a.docs {
		for _, batch := range a.docs[p] {
			if _, err := x.Apply(a.Context(), a.d.Name, batch); err != nil {
				a.Fatal(err)
			}
		}
		a.bodies[p], rec.bodies = rec.bodies, nil
	}
}

// every runs f for all partitions at once.
func (a *against) every(f func(p int) error) time.Duration {
	began := time.Now()
	var wg sync.WaitGroup
	for p := range partitions {
		wg.Go(func() {
			if err := f(p); err != nil {
				a.Error(err)
			}
		})
	}
	wg.Wait()
	return time.Since(began)
}

func (a *against) ours() time.Duration {
	x, prefix := a.fresh(nil)
	defer deleteAll(a.B, a.node, prefix)
	return a.every(func(p int) error {
		for _, batch := range a.docs[p] {
			if _, err := x.Apply(context.Background(), a.d.Name, batch); err != nil {
				return err
			}
		}
		return nil
	})
}

func (a *against) bare() time.Duration {
	_, prefix := a.fresh(nil)
	defer deleteAll(a.B, a.node, prefix)
	var bodies [partitions][][]byte
	for p := range a.bodies {
		for _, body := range a.bodies[p] {
			bodies[p] = append(bodies[p], []byte(strings.ReplaceAll(body, a.recorded, prefix)))
		}
	}
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: partitions, DisableCompression: true}}
	defer client.CloseIdleConnections()
	return a.every(func(p int) error {
		for _, body := range bodies[p] {
			res, err := client.Post(a.node+"/_bulk", "application/x-ndjson", bytes.NewReader(body))
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

func BenchmarkDigests(b *testing.B) {
	x := open(b, elastic.Config{URL: fast(b)})
	defer func() { _ = x.Close() }()
	indextest.BenchDigests(b, x, 300_000)
}
