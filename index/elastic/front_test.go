package elastic_test

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"strata/index/elastic"
	"strata/local/localtest"
)

// front stands before a real Elasticsearch and does to requests and answers what a test wants.
type front struct {
	*localtest.Front
	t testing.TB
}

func newFront(t testing.TB) *front {
	t.Helper()
	return newFrontOf(t, localtest.SharedElastic(t))
}

func newFrontOf(t testing.TB, node string) *front {
	return &front{localtest.NewFront(t, node), t}
}

func isBulk(r *http.Request) bool    { return r.URL.Path == "/_bulk" }
func isRefresh(r *http.Request) bool { return strings.HasSuffix(r.URL.Path, "/_refresh") }
func isSearch(r *http.Request) bool {
	return r.URL.Path == "/_msearch" || r.URL.Path == "/_search"
}

// prefix is one of the test's own; what has it is deleted at the end.
func (f *front) prefix(t testing.TB) string {
	prefix := localtest.Unique("t")
	t.Cleanup(func() { deleteAll(t, f.Node, prefix) })
	return prefix
}

// behind opens an index whose requests go by the front, and which never waits.
func (f *front) behind(t testing.TB, cfg elastic.Config) *elastic.Index {
	t.Helper()
	cfg.URL = f.URL
	cfg.Pause = func(ctx context.Context, _ time.Duration) error { return ctx.Err() }
	x, err := elastic.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	return x
}

// admin sends a request to the real Elasticsearch, as a person would by hand.
func (f *front) admin(method, path, body string) string {
	f.t.Helper()
	req, err := http.NewRequestWithContext(context.Background(), method, f.Node+path, strings.NewReader(body))
	if err != nil {
		f.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		f.t.Fatal(err)
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode >= 300 {
		f.t.Fatalf("%s %s: %s %s %v", method, path, res.Status, answer, err)
	}
	return string(answer)
}
