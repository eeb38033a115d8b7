package elastic_test

import (
	"context"
	"net/http"
	"testing"
	"time"

	"strata/index"
	"strata/index/elastic"
	"strata/index/indextest"
	"strata/local/localtest"
)

// open opens an index with a prefix of its own in the shared Elasticsearch; its indices are deleted at the end of the test.
func open(t testing.TB, cfg elastic.Config) *elastic.Index {
	t.Helper()
	if cfg.URL == "" {
		cfg.URL = localtest.SharedElastic(t)
	}
	if cfg.Prefix == "" {
		cfg.Prefix = localtest.Unique("t")
		node := cfg.URL
		t.Cleanup(func() { deleteAll(t, node, cfg.Prefix) })
	}
	x, err := elastic.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	return x
}

// deleteAll deletes the indices of a prefix.
func deleteAll(t testing.TB, node, prefix string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for _, names := range []string{prefix + "-*", prefix + ".*"} {
		req, err := http.NewRequestWithContext(ctx, http.MethodDelete, node+"/"+names+"?expand_wildcards=all", nil)
		if err != nil {
			t.Error(err)
			return
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Error(err)
			return
		}
		if err := res.Body.Close(); err != nil || res.StatusCode != http.StatusOK {
			t.Errorf("delete %s: %s %v", names, res.Status, err)
		}
	}
}

func TestConformance(t *testing.T) {
	indextest.Run(t, func(t testing.TB) index.Index { return open(t, elastic.Config{}) })
}
