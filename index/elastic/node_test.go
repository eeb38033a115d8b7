package elastic_test

import (
	"errors"
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

// ownNode is a room whose Elasticsearch no other test uses.
func ownNode(t *testing.T, options map[string]string) (*room, *local.Elastic) {
	t.Helper()
	node := localtest.StartElastic(t, localtest.Home(t), local.ElasticConfig{Name: "elastic1", Options: options})
	r := &room{front: newFrontOf(t, node.URL()), d: indextest.Entries()}
	r.open(t)
	return r, node
}

// TestElasticsearchRunsFull has the disk watermarks of a real node fall and rise again.
func TestElasticsearchRunsFull(t *testing.T) {
	t.Parallel()
	r, _ := ownNode(t, map[string]string{"cluster.routing.allocation.disk.threshold_enabled": "true", "cluster.info.update.interval": "10s"})
	r.apply(t, r.doc(1, 1, 5))
	watermark := func(free string) {
		r.admin("PUT", "/_cluster/settings", fmt.Sprintf(`{"transient":{"cluster.routing.allocation.disk.watermark.low":%q,
			"cluster.routing.allocation.disk.watermark.high":%[1]q,"cluster.routing.allocation.disk.watermark.flood_stage":%[1]q}}`, free))
	}
	try := func(v index.Version) error {
		_, err := r.x.Apply(t.Context(), "entry", []index.Document{r.doc(2, 1, v)})
		return err
	}
	watermark("1000000gb")
	v := index.Version(1)
	localtest.Eventually(t, 2*time.Minute, "the index is read-only", func() (bool, error) {
		v++
		err := try(v)
		if !fault.Is(err, fault.Unavailable) {
			return false, err
		}
		return true, nil
	})
	wants(t, "apply", try(v), fault.Unavailable, "disk is too full", "free disk space")
	wants(t, "watermark", r.x.PutWatermark(t.Context(), index.Watermark{Dataset: "entry", Version: v}), fault.Unavailable, "disk is too full")
	_, err := r.x.Sweep(t.Context(), "entry", 1)
	if err != nil {
		t.Errorf("a sweep of nothing: %v", err)
	}
	if got := r.versions(t); got["1,1"] != 5 || got["1,2"] >= v {
		t.Errorf("read while it is full: %v", got)
	}
	watermark("1b")
	localtest.Eventually(t, 2*time.Minute, "it goes on by itself", func() (bool, error) {
		err := errors.Join(try(v), r.x.PutWatermark(t.Context(), index.Watermark{Dataset: "entry", Version: v}))
		if fault.Is(err, fault.Unavailable) {
			return false, nil
		}
		return err == nil, err
	})
	if got := r.versions(t); got["1,1"] != 5 || got["1,2"] != v {
		t.Errorf("afterwards: %v", got)
	}
}

// TestL4_an_index_restored_from_a_snapshot_is_not_taken_for_what_it_was restores what is older than the watermark says: the data
// alone, the state alone, and both.
func TestL4_an_index_restored_from_a_snapshot_is_not_taken_for_what_it_was(t *testing.T) {
	t.Parallel()
	repo := t.TempDir()
	r, _ := ownNode(t, map[string]string{"path.repo": repo})
	r.admin("PUT", "/_snapshot/old", fmt.Sprintf(`{"type":"fs","settings":{"location":%q}}`, repo))
	mark := index.Watermark{Dataset: "entry", Version: 5, Offset: 1}
	put := func(doc index.Document) {
		t.Helper()
		r.apply(t, doc)
		mark.Version, mark.Offset = doc.Version, mark.Offset+1
		if err := errors.Join(r.x.Refresh(t.Context(), "entry"), r.x.PutWatermark(t.Context(), mark)); err != nil {
			t.Fatal(err)
		}
	}
	fresh := func() error {
		return r.behind(t, elastic.Config{Prefix: r.prefix, Now: r.now}).Ensure(t.Context(), r.d)
	}
	restore := func(name, what string) {
		t.Helper()
		r.admin("DELETE", "/"+what, "")
		r.admin("POST", "/_snapshot/old/"+name+"/_restore?wait_for_completion=true", fmt.Sprintf(`{"indices":%q}`, what))
	}
	state := r.prefix + ".state.1"
	put(r.doc(1, 1, 5))
	r.admin("PUT", "/_snapshot/old/first?wait_for_completion=true", fmt.Sprintf(`{"indices":%q}`, r.prefix+"*"))
	put(r.doc(2, 1, 6))
	t.Run("the state alone claims less than there is", func(t *testing.T) {
		restore("first", state)
		if err := fresh(); err != nil {
			t.Fatal(err)
		}
		marks, err := r.x.Watermarks(t.Context(), "entry")
		if err != nil || len(marks) != 1 || marks[0].Version != 5 {
			t.Errorf("%+v, %v", marks, err)
		}
		if got := r.versions(t); got["1,2"] != 6 {
			t.Errorf("%v", got)
		}
	})
	for what, names := range map[string]string{"the data alone": r.index(), "both": r.index() + "," + state} {
		t.Run(what, func(t *testing.T) {
			restore("first", names)
			out, err := r.x.Apply(t.Context(), "entry", []index.Document{r.doc(3, 1, 7)})
			if err != nil || out[0].Status != index.Applied {
				t.Fatalf("a write notices nothing, so something else must: %+v, %v", out, err)
			}
			for range 2 {
				wants(t, "refresh", r.x.Refresh(t.Context(), "entry"), fault.Unsafe, r.index(), "snapshot")
			}
			wants(t, "a new process", fresh(), fault.Unsafe, r.index(), "snapshot", "_delete_by_query")
		})
	}
	t.Run("what the hint says mends it", func(t *testing.T) {
		r.admin("POST", "/"+r.prefix+".state/_delete_by_query?refresh=true&q=dataset:entry", "")
		r.x = r.behind(t, elastic.Config{Prefix: r.prefix, Now: r.now})
		if err := r.x.Ensure(t.Context(), r.d); err != nil {
			t.Fatal(err)
		}
		if marks, err := r.x.Watermarks(t.Context(), "entry"); err != nil || len(marks) != 0 {
			t.Errorf("%+v, %v: it must be applied again from the beginning", marks, err)
		}
		r.apply(t, r.doc(1, 1, 5), r.doc(2, 1, 6), r.doc(3, 1, 7))
		want := map[catalog.Key]index.Version{"1,1": 5, "1,2": 6, "1,3": 7}
		for k, v := range r.versions(t) {
			if want[k] != v {
				t.Errorf("%s has version %d", k, v)
			}
			delete(want, k)
		}
		if len(want) > 0 {
			t.Errorf("missing: %v", want)
		}
	})
}
