package elastic_test

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"strata/catalog"
	"strata/fault"
	"strata/index"
	"strata/index/elastic"
	"strata/index/indextest"
	"strata/local/localtest"
)

// digests is what the index has, by key, without the rows.
func (r *room) digests(t testing.TB) map[catalog.Key]index.Digest {
	t.Helper()
	out := map[catalog.Key]index.Digest{}
	err := errors.Join(r.x.Refresh(t.Context(), "entry"), r.x.Digests(t.Context(), "entry", november, "", func(d *index.Digest) error {
		out[d.Key] = *d
		return nil
	}))
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// scanned is what a Scan gives, by key, and the ids of what isn't strata's.
func (r *room) scanned(t testing.TB) (got map[catalog.Key]index.Stored, foreign map[string]bool) {
	t.Helper()
	got, foreign = map[catalog.Key]index.Stored{}, map[string]bool{}
	err := errors.Join(r.x.Refresh(t.Context(), "entry"), r.x.Scan(t.Context(), "entry", november, "", func(s *index.Stored) error {
		one := *s
		if one.Row = s.Row.Clone(); s.Foreign != "" {
			foreign[s.Foreign] = true
			return nil
		}
		got[s.Key] = one
		return nil
	}))
	if err != nil {
		t.Fatal(err)
	}
	return got, foreign
}

// sameDigests holds Digests to Scan.
func (r *room) sameDigests(t testing.TB) {
	t.Helper()
	n := 0
	got, foreign := r.scanned(t)
	err := r.x.Digests(t.Context(), "entry", november, "", func(d *index.Digest) error {
		s := got[d.Key]
		if n++; d.Foreign != "" && !foreign[d.Foreign] || d.Foreign == "" && *d != (index.Digest{Key: s.Key, Version: s.Version, Hash: s.Hash, Deleted: s.Deleted}) {
			t.Errorf("digest %+v of %+v", d, s)
		}
		return nil
	})
	if err != nil || n != len(got)+len(foreign) {
		t.Errorf("%d digests of %d documents and %d others: %v", n, len(got), len(foreign), err)
	}
}

func TestHandsOnTheIndex(t *testing.T) {
	fresh := func(r *room) error {
		x := r.behind(t, elastic.Config{Prefix: r.prefix})
		return x.Ensure(t.Context(), r.d)
	}
	put := func(r *room) error {
		_, err := r.x.Apply(t.Context(), "entry", []index.Document{r.doc(2, 1, 9)})
		return err
	}
	find := func(r *room) error {
		_, err := r.x.Search(t.Context(), r.search())
		return err
	}
	t.Run("deleted", func(t *testing.T) {
		r := newRoom(t)
		r.apply(t, r.doc(1, 1, 5))
		r.admin("DELETE", "/"+r.index(), "")
		wants(t, "apply", put(r), fault.Unsafe, r.index())
		wants(t, "search", find(r), fault.Unsafe, r.index())
		wants(t, "scan", r.x.Scan(t.Context(), "entry", november, "", nil), fault.Unsafe)
		_, err := r.x.Get(t.Context(), "entry", []string{november + "/1,1"})
		wants(t, "get", err, fault.Unsafe, r.index())
		wants(t, "a new process", fresh(r), fault.Unsafe, r.index())
		if names := r.admin("GET", "/_cat/indices/"+r.prefix+"-*", ""); strings.Contains(names, r.index()) {
			t.Errorf("it was made again: %s", names)
		}
	})
	t.Run("the state deleted", func(t *testing.T) {
		r := newRoom(t)
		r.apply(t, r.doc(1, 1, 5))
		r.admin("DELETE", "/"+r.prefix+".state.1", "")
		wants(t, "watermark", r.x.PutWatermark(t.Context(), index.Watermark{Dataset: "entry", Version: 1}), fault.Unsafe, ".state")
		_, err := r.x.Watermarks(t.Context(), "entry")
		wants(t, "watermarks", err, fault.Unsafe)
		if err := fresh(r); err != nil {
			t.Errorf("a new process: %v", err)
		}
		if marks, err := r.x.Watermarks(t.Context(), "entry"); err != nil || len(marks) != 0 {
			t.Errorf("%v, %v", marks, err)
		}
		if got := r.versions(t); got["1,1"] != 5 {
			t.Errorf("%v", got)
		}
	})
	t.Run("closed", func(t *testing.T) {
		r := newRoom(t)
		r.apply(t, r.doc(1, 1, 5))
		r.admin("POST", "/"+r.index()+"/_close", "")
		wants(t, "apply", put(r), fault.Unavailable, "_open")
		wants(t, "search", find(r), fault.Unavailable, "_open")
		wants(t, "scan", r.x.Scan(t.Context(), "entry", november, "", nil), fault.Unavailable, "_open")
		wants(t, "refresh", r.x.Refresh(t.Context(), "entry"), fault.Unavailable, "_open")
		r.admin("POST", "/"+r.index()+"/_open?wait_for_active_shards=1", "")
		if err := errors.Join(put(r), find(r)); err != nil {
			t.Error(err)
		}
	})
	t.Run("read-only", func(t *testing.T) {
		r := newRoom(t)
		for block, word := range map[string]string{"write": "read-only by hand", "read_only_allow_delete": "disk"} {
			r.admin("PUT", "/"+r.index()+"/_settings", `{"index.blocks.`+block+`":true}`)
			wants(t, block, put(r), fault.Unavailable, word)
			if err := find(r); err != nil {
				t.Errorf("search under %s: %v", block, err)
			}
			r.admin("PUT", "/"+r.index()+"/_settings", `{"index.blocks.`+block+`":null}`)
		}
		if err := put(r); err != nil {
			t.Error(err)
		}
	})
	t.Run("an alias moved", func(t *testing.T) {
		r := newRoom(t)
		r.admin("PUT", "/"+r.prefix+"-other", "")
		move := func(alias string) {
			r.admin("POST", "/_aliases", fmt.Sprintf(`{"actions":[{"remove":{"index":%q,"alias":%q}},{"add":{"index":%q,"alias":%[2]q}}]}`,
				r.index(), alias, r.prefix+"-other"))
		}
		move(r.index() + ".write")
		wants(t, "apply", put(r), fault.Unsafe, ".write")
		wants(t, "a new process", fresh(r), fault.Unsafe)
		r.admin("POST", "/_aliases", fmt.Sprintf(`{"actions":[{"remove":{"index":%q,"alias":%q}},{"add":{"index":%q,"alias":%[2]q}}]}`,
			r.prefix+"-other", r.index()+".write", r.index()))
		if err := errors.Join(put(r), fresh(r)); err != nil {
			t.Errorf("put back: %v", err)
		}
		r.admin("POST", "/_aliases", fmt.Sprintf(`{"actions":[{"remove":{"index":%q,"alias":%q}}]}`, r.index(), r.prefix+"-entry"))
		wants(t, "a new process", fresh(r), fault.Unsafe, r.prefix+"-entry", "_aliases")
	})
	t.Run("documents written by somebody else", func(t *testing.T) {
		r := newRoom(t)
		r.apply(t, r.doc(1, 10, 5), r.doc(2, 20, 5), r.doc(3, 30, 5), r.doc(4, 40, 5))
		id := func(key string) string { return "/" + r.index() + "/_doc/" + url.PathEscape(november+"/"+key) }
		r.admin("POST", strings.Replace(id("1,1"), "_doc", "_update", 1), `{"doc":{"amount":99}}`)
		r.admin("PUT", id("1,2"), `{"account_id":1,"seq":2}`)
		r.admin("PUT", id("1,3"), `{"account_id":1,"seq":3,"memo":7}`)
		wrong := r.admin("GET", "/"+r.index()+"/_source/"+url.PathEscape(november+"/1,4"), "")
		r.admin("PUT", id("1,4"), strings.Replace(wrong, `"account_id":1`, `"account_id":77`, 1))
		got, foreign := r.scanned(t)
		if len(got) != 2 || len(foreign) != 2 || !foreign[november+"/1,3"] || !foreign[november+"/1,4"] {
			t.Fatalf("%v, not strata's %v", got, foreign)
		}
		one, two := got["1,1"], got["1,2"]
		if h, _ := one.Row.Hash(nil); one.Version != 6 || one.Row.Text(3) != "99" || h == one.Hash {
			t.Errorf("a changed cell: %+v", one)
		}
		if two.Hash != (catalog.Hash{}) || two.Deleted || !two.Row.Null(3) {
			t.Errorf("a document written over: %+v", two)
		}
		r.sameDigests(t)
		docs, err := r.x.Get(t.Context(), "entry", []string{november + "/1,3", november + "/1,4"})
		if err != nil || len(docs) != 2 || docs[0].Key != "1,3" || docs[1].Key != "1,4" || docs[0].Hash != (catalog.Hash{}) || docs[1].Hash != (catalog.Hash{}) {
			t.Errorf("asked for: %+v %v", docs, err)
		}
		if p, err := r.x.Search(t.Context(), r.search()); err != nil || len(p.Rows) != 2 {
			t.Errorf("%d rows, %v", len(p.Rows), err)
		}
		if out := r.apply(t, r.doc(2, 20, 8)); out[0].Status != index.Applied {
			t.Errorf("repaired: %+v", out)
		}
	})
	t.Run("documents with ids of their own", func(t *testing.T) {
		r := newRoom(t)
		r.apply(t, r.doc(1, 10, 5), r.doc(2, 20, 5), r.doc(3, 30, 5))
		r.versions(t)
		source := r.admin("GET", "/"+r.index()+"/_source/"+url.PathEscape(november+"/1,2"), "")
		r.admin("PUT", "/"+r.index()+"/_doc/copy?refresh=true", source)
		got, foreign := r.scanned(t)
		if len(got) != 3 || len(foreign) != 1 || !foreign["copy"] {
			t.Errorf("a copy: %v, not strata's %v", got, foreign)
		}
		r.sameDigests(t)
		r.admin("PUT", "/"+r.index()+"/_doc/other", `{"account_id":1,"seq":2}`)
		r.admin("PUT", "/"+r.index()+"/_doc/none?refresh=true", `{"x":1}`)
		got, foreign = r.scanned(t)
		if len(got) != 3 || len(foreign) != 3 || !foreign["other"] || !foreign["none"] {
			t.Errorf("three: %v, not strata's %v", got, foreign)
		}
		r.sameDigests(t)
	})
	t.Run("an alias of two", func(t *testing.T) {
		r := newRoom(t)
		other := r.prefix + "_other"
		t.Cleanup(func() { r.admin("DELETE", "/"+other, "") })
		r.admin("PUT", "/"+other, fmt.Sprintf(`{"aliases":{%q:{}}}`, r.index()+".write"))
		wants(t, "apply", put(r), fault.Unsafe, r.index()+".write", "alone")
		wants(t, "a new process", fresh(r), fault.Unsafe, r.index()+".write", other)
		r.admin("POST", "/_aliases", fmt.Sprintf(`{"actions":[{"add":{"index":%q,"alias":%q,"is_write_index":true}}]}`, other, r.index()+".write"))
		wants(t, "apply to the other", put(r), fault.Unsafe, r.index()+".write")
		r.admin("POST", "/_aliases", fmt.Sprintf(`{"actions":[{"remove":{"index":%q,"alias":%q}}]}`, other, r.index()+".write"))
		if err := errors.Join(put(r), fresh(r)); err != nil {
			t.Errorf("taken away: %v", err)
		}
		if got := r.versions(t); got["1,2"] != 9 {
			t.Errorf("%v", got)
		}
	})
	t.Run("an alias taken away", func(t *testing.T) {
		r := newRoom(t)
		r.admin("POST", "/_aliases", fmt.Sprintf(`{"actions":[{"remove":{"index":%q,"alias":%q}}]}`, r.index(), r.index()+".write"))
		wants(t, "apply", put(r), fault.Unsafe, r.index()+".write")
		wants(t, "a new process", fresh(r), fault.Unsafe, r.index()+".write", "_aliases")
	})
	t.Run("deleted while nothing is written", func(t *testing.T) {
		r := newRoom(t)
		now := time.Date(2026, 11, 5, 0, 0, 0, 0, time.UTC)
		r.x = r.behind(t, elastic.Config{Prefix: r.prefix, Now: func() time.Time { return now }})
		if err := errors.Join(r.x.Ensure(t.Context(), r.d), r.x.Refresh(t.Context(), "entry")); err != nil {
			t.Fatal(err)
		}
		r.admin("DELETE", "/"+r.index(), "")
		now = now.Add(10 * time.Second)
		for range 2 {
			wants(t, "refresh", r.x.Refresh(t.Context(), "entry"), fault.Unsafe, r.index())
		}
	})
	t.Run("acknowledged writes no longer synced", func(t *testing.T) {
		r := newRoom(t)
		r.admin("PUT", "/"+r.index()+"/_settings", `{"index.translog.durability":"async"}`)
		wants(t, "a new process", fresh(r), fault.Unsafe, r.index(), "durability")
	})
	t.Run("a document of somebody else with a version above all", func(t *testing.T) {
		r := newRoom(t)
		r.apply(t, r.doc(1, 10, 5), r.doc(2, 20, 5))
		doc := func(seq int) string {
			return fmt.Sprintf("/%s/_doc/%s", r.index(), url.PathEscape(fmt.Sprintf("%s/1,%d", november, seq)))
		}
		const above = 1 << 62
		r.admin("PUT", doc(1)+fmt.Sprintf("?version_type=external&version=%d", above), `{"account_id":1,"seq":1}`)
		r.admin("POST", strings.Replace(doc(2), "_doc", "_update", 1), `{"doc":{"amount":99}}`)
		out := r.apply(t, r.doc(1, 11, 6), r.doc(2, 20, 5), r.doc(2, 20, 4))
		if out[0].Status != index.Refused || !strings.Contains(out[0].Reason, doc(1)) {
			t.Errorf("refused as older than what is not strata's: %+v", out[0])
		}
		for _, o := range out[1:] {
			if o != (index.Outcome{Status: index.Newer, StoredVersion: 6}) {
				t.Errorf("applied again to a document of which a cell was changed: %+v", o)
			}
		}
		if got := r.digests(t)["1,1"]; got != (index.Digest{Key: "1,1", Version: above}) {
			t.Errorf("%+v", got)
		}
		r.admin("DELETE", doc(1)+fmt.Sprintf("?version_type=external&version=%d", uint64(above)+1), "")
		r.admin("PUT", "/"+r.index()+"/_settings", `{"index.gc_deletes":"0s"}`)
		localtest.Eventually(t, time.Minute, "it is applied after that was deleted and forgotten", func() (bool, error) {
			r.admin("POST", "/"+r.index()+"/_refresh", "")
			out, err := r.x.Apply(t.Context(), "entry", []index.Document{r.doc(1, 11, 6)})
			if fault.Is(err, fault.Unavailable) { // Elasticsearch still knows which version it deleted
				return false, nil
			}
			return err == nil && out[0].Status == index.Applied, err
		})
	})
	t.Run("made by somebody else", func(t *testing.T) {
		for _, name := range []string{"-entry", "-entry-202610", ".state.1", ".state"} {
			r := &room{front: newFront(t), d: indextest.Entries()}
			r.prefix = r.front.prefix(t)
			r.admin("PUT", "/"+r.prefix+name+"/_doc/1?refresh=true", `{"account_id":"1"}`)
			wants(t, name, fresh(r), fault.Unsafe, r.prefix+name)
		}
	})
	t.Run("another mapping", func(t *testing.T) {
		r := newRoom(t)
		r.admin("DELETE", "/"+r.index(), "")
		r.admin("PUT", "/"+r.index(), fmt.Sprintf(`{"mappings":{"dynamic":false,"_meta":{"strata":{"format":3,"dataset":"entry","shard":%q,"shape":{"Name":"entry"}}},
			"properties":{"account_id":{"type":"keyword"}}},"aliases":{%q:{},%q:{}}}`, november, r.prefix+"-entry", r.index()+".write"))
		wants(t, "a new process", fresh(r), fault.Unsafe, "mapping")
	})
}
