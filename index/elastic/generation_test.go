package elastic_test

import (
	"encoding/json"
	"net/http"
	"testing"
	"time"

	"strata/fault"
	"strata/index"
	"strata/index/elastic"
	"strata/index/indextest"
	"strata/local/localtest"
)

func TestGenerations(t *testing.T) {
	indextest.RunGenerations(t, func(t testing.TB) (here, there index.Shelf) {
		cfg := elastic.Config{URL: localtest.SharedElastic(t), Prefix: localtest.Unique("t")}
		t.Cleanup(func() { deleteAll(t, cfg.URL, cfg.Prefix) })
		return open(t, cfg), open(t, cfg)
	})
}

// TestPublicAlias: the name that people search stands for the generation that answers, its later shards too.
func TestPublicAlias(t *testing.T) {
	cfg := elastic.Config{URL: localtest.SharedElastic(t), Prefix: localtest.Unique("t")}
	t.Cleanup(func() { deleteAll(t, cfg.URL, cfg.Prefix) })
	d, ctx := indextest.Entries(), t.Context()
	x, err := index.NewGenerations(index.GenerationsConfig{Shelf: open(t, cfg), Now: time.Now})
	ok := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	ok(err)
	defer func() { _ = x.Close() }()
	ok(x.Ensure(ctx, d))
	_, err = x.Begin(ctx, d.Name, []index.Watermark{{Dataset: d.Name, Term: 1, Version: index.MakeVersion(1, 0)}}, index.MakeVersion(1, 1), nil)
	ok(err)
	next, err := x.Open(ctx, d.Name, 2)
	ok(err)
	ok(next.Ensure(ctx, d))
	_, err = x.Handover(ctx, d.Name, 2, true)
	ok(err)
	ok(x.Switch(ctx, d.Name, 2))
	late := indextest.Doc(d, "entry_203001", indextest.Entry(1, 1, 10, "2030-01-02", nil), index.MakeVersion(3, 1), false)
	if _, err := x.Apply(ctx, d.Name, []index.Document{late}); err != nil {
		t.Fatal(err)
	}
	ok(x.Ensure(ctx, d))
	behind := aliased(t, cfg.URL, cfg.Prefix+"-entry")
	if len(behind) < 3 || !behind[cfg.Prefix+"-entry.2-203001"] {
		t.Fatalf("the alias stands for %v", behind)
	}
	for name := range behind {
		if name[:len(cfg.Prefix+"-entry.2-")] != cfg.Prefix+"-entry.2-" {
			t.Errorf("the alias stands for %s", name)
		}
	}
	// The register goes with the state: the first generation is not made in the place of what answered.
	ok(x.Drop(ctx, d.Name, 1))
	req, err := http.NewRequestWithContext(ctx, http.MethodDelete, cfg.URL+"/"+cfg.Prefix+".state.1", nil)
	ok(err)
	res, err := http.DefaultClient.Do(req)
	ok(err)
	ok(res.Body.Close())
	y := open(t, cfg)
	defer func() { _ = y.Close() }()
	if err := y.Ensure(ctx, d); !fault.Is(err, fault.Unsafe) || fault.HintOf(err) == "" {
		t.Fatalf("with its state lost: %v", err)
	}
}

// aliased are the indices behind an alias.
func aliased(t *testing.T, node, alias string) map[string]bool {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, node+"/_alias/"+alias, nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	var answer map[string]any
	if err := json.NewDecoder(res.Body).Decode(&answer); err != nil {
		t.Fatal(err)
	}
	if err := res.Body.Close(); err != nil {
		t.Fatal(err)
	}
	out := map[string]bool{}
	for name := range answer {
		out[name] = true
	}
	return out
}
