package elastic_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"strata/catalog"
	"strata/fault"
	"strata/index"
	"strata/index/elastic"
	"strata/index/indextest"
	"strata/local"
	"strata/local/localtest"
)

// TestL2_a_killed_node_loses_nothing kills Elasticsearch among bulks and applies what had no answer again.
func TestL2_a_killed_node_loses_nothing(t *testing.T) {
	t.Parallel()
	node := localtest.StartElastic(t, localtest.Home(t), local.ElasticConfig{Name: "elastic1"})
	prefix := localtest.Unique("t")
	x := open(t, elastic.Config{URL: node.URL(), Prefix: prefix, Pause: func(ctx context.Context, _ time.Duration) error { return ctx.Err() }})
	d := indextest.Entries()
	if err := x.Ensure(t.Context(), d); err != nil {
		t.Fatal(err)
	}
	seen := indextest.Doc(d, november, indextest.Entry(1000, 1, 1, "2026-11-02", nil), 1, false)
	acked := make(chan int, 1000)
	last := make(chan error, 1)
	applied := map[catalog.Key]index.Version{}
	if _, err := x.Apply(t.Context(), "entry", []index.Document{seen}); err != nil {
		t.Fatal(err)
	}
	if err := x.Refresh(t.Context(), "entry"); err != nil {
		t.Fatal(err)
	}
	applied[seen.Key] = seen.Version
	go func() {
		for n := 0; ; n++ {
			var docs []index.Document
			for i := range 200 {
				docs = append(docs, indextest.Doc(d, november, indextest.Entry(i, n%7, n, "2026-11-02", nil), index.Version(n+1), false))
			}
			if _, err := x.Apply(t.Context(), "entry", docs); err != nil {
				last <- err
				return
			}
			for i := range docs {
				applied[docs[i].Key] = docs[i].Version
			}
			acked <- n
		}
	}()
	for range 20 {
		<-acked
	}
	if err := node.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := <-last; !fault.Is(err, fault.Unavailable) {
		t.Fatalf("the node was killed: %v", err)
	}
	if err := node.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	// a reader of another process, which believes the watermark that was written after that refresh
	reader := open(t, elastic.Config{URL: node.URL(), Prefix: prefix})
	n, err := reader.Count(t.Context(), index.Search{Dataset: "entry", Shards: []string{november}, Filter: catalog.Cmp("account_id", catalog.Eq, "1000")})
	if err != nil || n != 1 {
		t.Errorf("what was refreshed before the kill is found %d times, %v", n, err)
	}
	if err := x.Refresh(t.Context(), "entry"); err != nil {
		t.Fatal(err)
	}
	err = x.Scan(t.Context(), "entry", november, "", func(s *index.Stored) error {
		if s.Version < applied[s.Key] {
			return fmt.Errorf("%s has version %d, %d was acknowledged", s.Key, s.Version, applied[s.Key])
		}
		delete(applied, s.Key)
		return nil
	})
	if err != nil || len(applied) != 0 {
		t.Errorf("%d documents are gone, %v", len(applied), err)
	}
}
