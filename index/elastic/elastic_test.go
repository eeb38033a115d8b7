package elastic_test

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"strata/fault"
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

// TestSettings has indices made as the configuration says.
func TestSettings(t *testing.T) {
	r := newRoom(t)
	none := 0
	for _, c := range []struct {
		cfg  elastic.Config
		want []string
	}{
		{elastic.Config{}, []string{`"number_of_shards":"1"`, `"auto_expand_replicas":"0-1"`}},
		{elastic.Config{Shards: 3, Replicas: &none}, []string{`"number_of_shards":"3"`, `"number_of_replicas":"0"`}},
	} {
		c.cfg.Prefix, c.cfg.Now = r.front.prefix(t), r.now
		if err := r.behind(t, c.cfg).Ensure(t.Context(), r.d); err != nil {
			t.Fatal(err)
		}
		got := r.admin("GET", "/"+c.cfg.Prefix+"-entry-202611/_settings", "")
		for _, w := range append(c.want, `"refresh_interval":"-1"`, `"durability":"request"`) {
			if !strings.Contains(got, w) {
				t.Errorf("%+v: %s is not in %s", c.cfg, w, got)
			}
		}
		state := r.admin("GET", "/"+c.cfg.Prefix+".state/_settings", "")
		if !strings.Contains(state, c.want[1]) || !strings.Contains(state, `"number_of_shards":"1"`) {
			t.Errorf("%+v: the state has %s", c.cfg, state)
		}
	}
	for _, cfg := range []elastic.Config{{URL: r.URL, Shards: -1}, {URL: r.URL, Shards: elastic.MaxParts + 1}} {
		if _, err := elastic.Open(t.Context(), cfg); !fault.Is(err, fault.Invalid) {
			t.Errorf("%d shards: %v", cfg.Shards, err)
		}
	}
}
