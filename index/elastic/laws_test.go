package elastic_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"strata/catalog"
	"strata/fault"
	"strata/index"
	"strata/index/elastic"
	"strata/local/localtest"
)

// TestL7_a_partial_answer_is_an_error_and_no_page has a server that answers searches partly, each in one way.
func TestL7_a_partial_answer_is_an_error_and_no_page(t *testing.T) {
	r := newRoom(t)
	r.apply(t, r.doc(1, 1, 5), r.doc(2, 1, 5))
	if n := len(r.versions(t)); n != 2 {
		t.Fatalf("%d documents", n)
	}
	shards := func(a map[string]any) map[string]any { s, _ := a["_shards"].(map[string]any); return s }
	for name, spoil := range map[string]func(a map[string]any){
		"timed out":       func(a map[string]any) { a["timed_out"] = true },
		"a shard failed":  func(a map[string]any) { shards(a)["failed"] = 1 },
		"a shard skipped": func(a map[string]any) { shards(a)["skipped"] = 1 },
		"a shard missing": func(a map[string]any) { shards(a)["successful"] = 0 },
		"an index missing": func(a map[string]any) {
			shards(a)["total"], shards(a)["successful"] = 0, 0
		},
		"no word of shards": func(a map[string]any) { delete(a, "_shards") },
	} {
		r.Then(func(w http.ResponseWriter, req *http.Request, body []byte) bool {
			if !isSearch(req) {
				return false
			}
			status, raw := r.Forward(req, body)
			localtest.Reply(w, status, spoiled(t, raw, spoil))
			return true
		})
		p, err := r.x.Search(t.Context(), r.search())
		wants(t, name, err, fault.Unavailable, "partial")
		if p.Rows != nil {
			t.Errorf("%s: %d rows with the error", name, len(p.Rows))
		}
		_, err = r.x.Count(t.Context(), r.search())
		wants(t, name, err, fault.Unavailable, "partial")
		err = r.x.Scan(t.Context(), "entry", november, "", func(*index.Stored) error { return errors.New("a document was given") })
		wants(t, name, err, fault.Unavailable, "partial")
		err = r.x.Digests(t.Context(), "entry", november, "", func(*index.Digest) error { return errors.New("a digest was given") })
		wants(t, name, err, fault.Unavailable, "partial")
		_, err = r.x.Shards(t.Context(), "entry")
		wants(t, name, err, fault.Unavailable, "partial")
		_, err = r.x.HighestTerm(t.Context())
		wants(t, name, err, fault.Unavailable, "partial")
	}
	t.Run("nor the word of a part that all documents are ours", func(t *testing.T) {
		r.Then(func(w http.ResponseWriter, req *http.Request, body []byte) bool {
			if !isSearch(req) || !strings.Contains(string(body), `"must_not"`) {
				return false
			}
			status, raw := r.Forward(req, body)
			localtest.Reply(w, status, spoiled(t, raw, func(a map[string]any) { shards(a)["failed"] = 1 }))
			return true
		})
		err := r.x.Digests(t.Context(), "entry", november, "", func(*index.Digest) error { return errors.New("a digest was given") })
		wants(t, "digests", err, fault.Unavailable, "partial")
	})
	t.Run("nor a page of digests after a whole beginning", func(t *testing.T) {
		r.Then(func(w http.ResponseWriter, req *http.Request, body []byte) bool {
			if !isSearch(req) || !strings.Contains(string(body), `"_version"`) {
				return false
			}
			status, raw := r.Forward(req, body)
			localtest.Reply(w, status, spoiled(t, raw, func(a map[string]any) { a["timed_out"] = true }))
			return true
		})
		err := r.x.Digests(t.Context(), "entry", november, "", func(*index.Digest) error { return errors.New("a digest was given") })
		wants(t, "digests", err, fault.Unavailable, "partial")
	})
	t.Run("nor is a count at least", func(t *testing.T) {
		r.Then(func(w http.ResponseWriter, req *http.Request, body []byte) bool {
			if !isSearch(req) {
				return false
			}
			status, raw := r.Forward(req, body)
			localtest.Reply(w, status, []byte(strings.ReplaceAll(string(raw), `"relation":"eq"`, `"relation":"gte"`)))
			return true
		})
		_, err := r.x.Count(t.Context(), r.search())
		wants(t, "count", err, fault.Unavailable)
	})
	t.Run("nor fewer answers than searches", func(t *testing.T) {
		r.Then(func(w http.ResponseWriter, req *http.Request, _ []byte) bool {
			if !isSearch(req) {
				return false
			}
			localtest.Reply(w, http.StatusOK, []byte(`{"responses":[]}`))
			return true
		})
		if p, err := r.x.Search(t.Context(), r.search()); !fault.Is(err, fault.Unavailable) || p.Rows != nil {
			t.Errorf("%v, %v", p, err)
		}
	})
}

// spoiled changes every search's answer.
func spoiled(t testing.TB, raw []byte, spoil func(map[string]any)) []byte {
	var a map[string]any
	if err := json.Unmarshal(raw, &a); err != nil {
		t.Error(err)
		return raw
	}
	if many, ok := a["responses"].([]any); ok {
		for _, one := range many {
			if m, ok := one.(map[string]any); ok {
				spoil(m)
			}
		}
	} else {
		spoil(a)
	}
	out, err := json.Marshal(a)
	if err != nil {
		t.Error(err)
	}
	return out
}

// TestL7_a_lost_point_in_time_ends_a_scan loses it after the first page.
func TestL7_a_lost_point_in_time_ends_a_scan(t *testing.T) {
	r := newRoom(t)
	var docs []index.Document
	for i := range 500 {
		docs = append(docs, r.doc(i, 1, 5))
	}
	r.apply(t, docs...)
	if n := len(r.versions(t)); n != len(docs) {
		t.Fatalf("scanned %d of %d", n, len(docs))
	}
	pages := 0
	r.Then(func(_ http.ResponseWriter, req *http.Request, body []byte) bool {
		if req.URL.Path != "/_search" {
			return false
		}
		if pages++; pages == 2 {
			var s struct {
				PIT struct {
					ID string `json:"id"`
				} `json:"pit"`
			}
			if err := json.Unmarshal(body, &s); err != nil {
				t.Error(err)
			}
			r.admin("DELETE", "/_pit", fmt.Sprintf(`{"id":%q}`, s.PIT.ID))
		}
		return false
	})
	n := 0
	err := r.x.Scan(t.Context(), "entry", november, "", func(*index.Stored) error { n++; return nil })
	wants(t, "scan", err, fault.Unavailable, "point in time")
	if n == 0 || n == len(docs) {
		t.Errorf("%d documents before it", n)
	}
}

// TestL4_a_refresh_covers_what_its_own_caller_wrote has refreshes of one partition beside writes of another one, which must
// not lean on them.
func TestL4_a_refresh_covers_what_its_own_caller_wrote(t *testing.T) {
	finds := func(t *testing.T, r *room, want int64) {
		t.Helper()
		if err := r.x.Refresh(t.Context(), "entry"); err != nil {
			t.Fatal(err)
		}
		if n, err := r.x.Count(t.Context(), r.search()); err != nil || n != want {
			t.Errorf("after its refresh a partition finds %d documents, %v, want %d", n, err, want)
		}
	}
	// held has a document and a refresh under way that has been done without its answer; end lets the answer go.
	held := func(t *testing.T) (r *room, end func()) {
		r = newRoom(t)
		r.apply(t, r.doc(1, 1, 5))
		began, let, over := make(chan struct{}), make(chan struct{}), make(chan error, 1)
		first := true
		r.Then(func(w http.ResponseWriter, req *http.Request, body []byte) bool {
			if !isRefresh(req) || !first {
				return false
			}
			first = false
			status, raw := r.Forward(req, body)
			close(began)
			<-let
			localtest.Reply(w, status, raw)
			return true
		})
		go func() { over <- r.x.Refresh(t.Context(), "entry") }()
		<-began
		return r, func() {
			close(let)
			if err := <-over; err != nil {
				t.Error(err)
			}
		}
	}
	t.Run("while another is under way", func(t *testing.T) {
		r, end := held(t)
		r.apply(t, r.doc(2, 1, 5))
		finds(t, r, 2)
		end()
	})
	t.Run("after another that began before the write has ended", func(t *testing.T) {
		r, end := held(t)
		r.apply(t, r.doc(2, 1, 5))
		end()
		finds(t, r, 2)
	})
	t.Run("after another that was through before the bulk", func(t *testing.T) {
		r := newRoom(t)
		r.apply(t, r.doc(1, 1, 5))
		r.Then(func(_ http.ResponseWriter, req *http.Request, _ []byte) bool {
			if isBulk(req) {
				if err := r.x.Refresh(t.Context(), "entry"); err != nil {
					t.Error(err)
				}
			}
			return false
		})
		r.apply(t, r.doc(2, 1, 5))
		r.Then(nil)
		finds(t, r, 2)
	})
}

// TestL4_what_another_process_wrote_is_refreshed_too is the story of a sync that died between its bulk and its refresh.
func TestL4_what_another_process_wrote_is_refreshed_too(t *testing.T) {
	r := newRoom(t)
	r.apply(t, r.doc(1, 1, 5))
	r.x = r.behind(t, elastic.Config{Prefix: r.prefix})
	if err := r.x.Ensure(t.Context(), r.d); err != nil {
		t.Fatal(err)
	}
	if out := r.apply(t, r.doc(1, 1, 5)); out[0].Status != index.Newer {
		t.Fatalf("%+v", out)
	}
	if err := r.x.Refresh(t.Context(), "entry"); err != nil {
		t.Fatal(err)
	}
	if n, err := r.x.Count(t.Context(), r.search()); err != nil || n != 1 {
		t.Errorf("%d documents, %v", n, err)
	}
}

// TestL4_a_refresh_that_a_primary_missed_is_an_error has a refresh answered without all its shards.
func TestL4_a_refresh_that_a_primary_missed_is_an_error(t *testing.T) {
	r := newRoom(t)
	for name, answer := range map[string][2]string{
		"failed":  {`{"_shards":{"total":1,"successful":0,"failed":1}}`, `{"status":"green"}`},
		"away":    {`{"_shards":{"total":1,"successful":0,"failed":0}}`, `{"status":"red"}`},
		"missing": {`{"_shards":{"total":0,"successful":0,"failed":0}}`, `{"status":"green"}`},
		"nothing": {`{}`, `{"status":"green"}`},
	} {
		r.Then(nil)
		r.apply(t, r.doc(1, 1, 5))
		r.Then(func(w http.ResponseWriter, req *http.Request, _ []byte) bool {
			switch {
			case isRefresh(req):
				localtest.Reply(w, http.StatusOK, []byte(answer[0]))
			case strings.HasPrefix(req.URL.Path, "/_cluster/health/"):
				localtest.Reply(w, http.StatusOK, []byte(answer[1]))
			default:
				return false
			}
			return true
		})
		for range 2 { // it isn't forgotten either
			wants(t, name, r.x.Refresh(t.Context(), "entry"), fault.Unavailable, "partial")
		}
	}
}

// TestL4_watermarks_are_read_in_real_time has a writer and a reader of two processes, and more partitions than declared.
func TestL4_watermarks_are_read_in_real_time(t *testing.T) {
	r := newRoom(t)
	reader := r.behind(t, elastic.Config{Prefix: r.prefix})
	var want []index.Watermark
	for _, w := range []struct {
		partition int32
		version   index.Version
		counts    bool
	}{{0, 5, true}, {0, 4, false}, {0, 1 << 62, true}, {9, 1, true}, {0, 1<<62 - 1, false}, {9, 1, false}, {3, 7, true}} {
		m := index.Watermark{Dataset: "entry", Partition: w.partition, Version: w.version, Term: 7, Number: 1 << 63, Offset: 1 << 62,
			GTID: "0-1-2,1-1-3", Heartbeat: 1<<63 + 1, At: -1, Frozen: `"2" to 3`}
		if !w.counts {
			m.GTID = "an older one"
		}
		if err := r.x.PutWatermark(t.Context(), m); err != nil {
			t.Fatal(err)
		}
		if w.counts {
			want = slices.DeleteFunc(want, func(o index.Watermark) bool { return o.Partition == m.Partition })
			want = append(want, m)
			slices.SortFunc(want, func(a, b index.Watermark) int { return int(a.Partition - b.Partition) })
		}
		if got, err := reader.Watermarks(t.Context(), "entry"); err != nil || !slices.Equal(got, want) {
			t.Fatalf("after partition %d version %d: %+v, %v\nwant %+v", w.partition, w.version, got, err, want)
		}
	}
}

// TestL7_shards_that_another_process_made_are_found has a reader that looked before they were there.
func TestL7_shards_that_another_process_made_are_found(t *testing.T) {
	r := newRoom(t)
	reader := r.behind(t, elastic.Config{Prefix: r.prefix})
	s := r.search()
	s.Shards = []string{november, "entry_202601", "entry_late_1", "Entry Ü"}
	if p, err := reader.Search(t.Context(), s); err != nil || len(p.Rows) != 0 {
		t.Fatalf("%v, %v", p, err)
	}
	for i, shard := range s.Shards {
		doc := r.doc(i, 1, 5)
		doc.Shard = shard
		r.apply(t, doc)
	}
	if err := r.x.Refresh(t.Context(), "entry"); err != nil {
		t.Fatal(err)
	}
	if p, err := reader.Search(t.Context(), s); err != nil || len(p.Rows) != 4 {
		t.Errorf("%d rows, %v", len(p.Rows), err)
	}
	names, err := reader.Shards(t.Context(), "entry")
	if want := []string{"Entry Ü", "entry_202601", november, "entry_late_1"}; err != nil || !slices.Equal(names, want) {
		t.Errorf("%q, %v", names, err)
	}
	got, err := reader.Get(t.Context(), "entry", []string{catalog.DocumentID("Entry Ü", "1,3"), catalog.DocumentID(november, "1,3")})
	if err != nil || len(got) != 1 || got[0].Shard != "Entry Ü" {
		t.Errorf("%+v, %v", got, err)
	}
}
