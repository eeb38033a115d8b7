package elastic_test

import (
	"errors"
	"math/rand/v2"
	"net/http"
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

const november = "entry_202611"

// room is an index with a dataset behind a front.
type room struct {
	*front
	x      *elastic.Index
	d      *catalog.Dataset
	prefix string
}

func newRoom(t testing.TB) *room {
	t.Helper()
	r := &room{front: newFront(t), d: indextest.Entries()}
	r.open(t)
	return r
}

// open makes the room's index, in November.
func (r *room) open(t testing.TB) {
	t.Helper()
	r.prefix = r.front.prefix(t)
	r.x = r.behind(t, elastic.Config{Prefix: r.prefix, Now: r.now})
	if err := r.x.Ensure(t.Context(), r.d); err != nil {
		t.Fatal(err)
	}
}

func (r *room) now() time.Time { return time.Date(2026, 11, 5, 0, 0, 0, 0, time.UTC) }

// index is the name of November's.
func (r *room) index() string { return r.prefix + "-entry-202611" }

func (r *room) doc(seq, amount int, v index.Version) index.Document {
	return indextest.Doc(r.d, november, indextest.Entry(1, seq, amount, "2026-11-02", nil), v, false)
}

func (r *room) search() index.Search {
	return index.Search{Dataset: "entry", Shards: []string{november}, Order: []index.Order{{Column: "account_id"}, {Column: "seq"}}, Limit: 100}
}

// apply applies and expects success.
func (r *room) apply(t testing.TB, docs ...index.Document) []index.Outcome {
	t.Helper()
	out, err := r.x.Apply(t.Context(), "entry", docs)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// versions is what the index has, by key, as a scan after a refresh sees it.
func (r *room) versions(t testing.TB) map[catalog.Key]index.Version {
	t.Helper()
	out := map[catalog.Key]index.Version{}
	err := errors.Join(r.x.Refresh(t.Context(), "entry"), r.x.Scan(t.Context(), "entry", november, "", func(s *index.Stored) error {
		out[s.Key] = s.Version
		return nil
	}))
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// wants checks an error's kind and that it says what to do.
func wants(t testing.TB, what string, err error, kind fault.Kind, words ...string) {
	t.Helper()
	if !fault.Is(err, kind) || fault.HintOf(err) == "" {
		t.Errorf("%s: %v (hint %q), want %s with a hint", what, err, fault.HintOf(err), kind)
		return
	}
	for _, w := range words {
		if !strings.Contains(err.Error()+fault.HintOf(err), w) {
			t.Errorf("%s: %v (hint %q) says nothing of %q", what, err, fault.HintOf(err), w)
		}
	}
}

// TestL2_nothing_is_lost_or_goes_back_through_mixed_answers applies random batches, stale and repeated documents among them,
// through a server that answers some bulks wholly or partly with 429, 500, 503 and 413, and loses answers after the write.
func TestL2_nothing_is_lost_or_goes_back_through_mixed_answers(t *testing.T) {
	r := newRoom(t)
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	dice := rand.New(rand.NewPCG(seed, 2))
	seen := map[string]int{}
	r.Then(func(w http.ResponseWriter, req *http.Request, body []byte) bool {
		if !isBulk(req) {
			return false
		}
		kind := []string{"", "", "429", "503", "500", "413", "lost before", "lost after", "items", "items"}[dice.IntN(10)]
		seen[kind]++
		switch kind {
		case "429":
			localtest.Reply(w, http.StatusTooManyRequests, []byte(localtest.Rejected))
		case "503", "500":
			localtest.Reply(w, map[string]int{"503": 503, "500": 500}[kind], []byte(`{"error":{"type":"unavailable_shards_exception","reason":"scripted"},"status":503}`))
		case "413":
			if strings.Count(string(body), "\n") <= 4 {
				return false
			}
			localtest.Reply(w, http.StatusRequestEntityTooLarge, nil)
		case "lost before":
			localtest.Cut(w)
		case "lost after":
			r.Forward(req, body)
			localtest.Cut(w)
		case "items":
			r.Partly(w, req, body, func(int, string) (int, string) {
				switch dice.IntN(4) {
				case 0:
					return http.StatusTooManyRequests, "es_rejected_execution_exception"
				case 1:
					return http.StatusServiceUnavailable, "unavailable_shards_exception"
				}
				return 0, ""
			})
		default:
			return false
		}
		return true
	})
	newest := map[catalog.Key]index.Version{}
	for range 40 {
		var docs []index.Document
		for range 1 + dice.IntN(30) {
			doc := r.doc(dice.IntN(40), dice.IntN(1000), index.MakeVersion(1+dice.Uint32N(2), 1+dice.Uint64N(500)))
			doc.Deleted = dice.IntN(5) == 0
			docs = append(docs, doc)
		}
		out, err := r.x.Apply(t.Context(), "entry", docs)
		for tries := 0; err != nil && tries < 20; tries++ { // as sync does
			if !fault.Is(err, fault.Unavailable) {
				t.Fatal(err)
			}
			out, err = r.x.Apply(t.Context(), "entry", docs)
		}
		if err != nil {
			t.Fatal(err)
		}
		for i, o := range out {
			newest[docs[i].Key] = max(newest[docs[i].Key], docs[i].Version)
			if o.Status == index.Refused || o.Status == index.Newer && o.StoredVersion < docs[i].Version {
				t.Fatalf("document %d: %+v", i, o)
			}
		}
	}
	r.Then(nil)
	got := r.versions(t)
	for k, v := range newest {
		if got[k] != v {
			t.Errorf("key %s has version %d, want %d", k, got[k], v)
		}
	}
	if len(got) != len(newest) {
		t.Errorf("%d documents instead of %d", len(got), len(newest))
	}
	for _, kind := range []string{"429", "503", "500", "413", "lost before", "lost after", "items"} {
		if seen[kind] == 0 {
			t.Errorf("no bulk met %q: %v", kind, seen)
		}
	}
}

func TestBulkAnswers(t *testing.T) {
	r := newRoom(t)
	t.Run("a document that Elasticsearch refuses is Refused with its reason, the others are written", func(t *testing.T) {
		bad := r.doc(1, 10, 5)
		bad.After = []byte(`{"_strata":{},` + string(bad.After[1:]))
		out := r.apply(t, r.doc(2, 20, 5), bad, r.doc(3, 30, 5))
		if out[0].Status != index.Applied || out[1].Status != index.Refused || !strings.Contains(out[1].Reason, "_strata") || out[2].Status != index.Applied {
			t.Errorf("%+v", out)
		}
	})
	t.Run("a batch whose answer came too late is there, and applied again it is Newer", func(t *testing.T) {
		slow := r.behind(t, elastic.Config{Prefix: r.prefix, RequestLimit: 3 * time.Second})
		late := true
		r.Then(func(_ http.ResponseWriter, req *http.Request, body []byte) bool {
			if !isBulk(req) || !late {
				return false
			}
			late = false
			r.Forward(req, body)
			<-req.Context().Done()
			return true
		})
		out, err := slow.Apply(t.Context(), "entry", []index.Document{r.doc(4, 40, 7)})
		if want := (index.Outcome{Status: index.Newer, StoredVersion: 7}); err != nil || late || out[0] != want {
			t.Errorf("%+v, %v", out, err)
		}
	})
	t.Run("one document above the server's limit is Refused", func(t *testing.T) {
		r.Then(func(w http.ResponseWriter, req *http.Request, body []byte) bool {
			if !isBulk(req) || !strings.Contains(string(body), `"seq":6,`) {
				return false
			}
			localtest.Reply(w, http.StatusRequestEntityTooLarge, nil)
			return true
		})
		out := r.apply(t, r.doc(5, 1, 5), r.doc(6, 1, 5), r.doc(7, 1, 5))
		if out[0].Status != index.Applied || out[1].Status != index.Refused || out[2].Status != index.Applied {
			t.Errorf("%+v", out)
		}
	})
	t.Run("an answer for other documents is not believed", func(t *testing.T) {
		for name, answer := range map[string]string{
			"too few":  `{"errors":false,"items":[]}`,
			"other id": `{"errors":false,"items":[{"index":{"_index":"x","_id":"other","status":201}}]}`,
			"no JSON":  `<html>`,
			"nothing":  `{}`,
		} {
			r.Then(func(w http.ResponseWriter, req *http.Request, _ []byte) bool {
				if isBulk(req) {
					localtest.Reply(w, http.StatusOK, []byte(answer))
				}
				return isBulk(req)
			})
			if out, err := r.x.Apply(t.Context(), "entry", []index.Document{r.doc(8, 1, 5)}); !fault.Is(err, fault.Unavailable) || out != nil {
				t.Errorf("%s: %+v, %v", name, out, err)
			}
		}
	})
	t.Run("trouble that ends soon is not noticed, other trouble is Unavailable and loses nothing", func(t *testing.T) {
		asked, ends := 0, 7
		r.Then(func(w http.ResponseWriter, req *http.Request, _ []byte) bool {
			if !isBulk(req) {
				return false
			}
			if asked++; asked > ends {
				return false
			}
			localtest.Reply(w, http.StatusServiceUnavailable, nil)
			return true
		})
		if out := r.apply(t, r.doc(9, 1, 5)); out[0].Status != index.Applied || asked != 8 {
			t.Errorf("%+v after %d tries", out, asked)
		}
		asked, ends = 0, 1000
		_, err := r.x.Apply(t.Context(), "entry", []index.Document{r.doc(10, 1, 5)})
		wants(t, "503 for long", err, fault.Unavailable, "tried 8 times")
		r.Then(nil)
		if out := r.apply(t, r.doc(10, 1, 5)); out[0].Status != index.Applied {
			t.Errorf("afterwards %+v", out)
		}
	})
	t.Run("half of the documents put off all the time: the other half is progress", func(t *testing.T) {
		bulks, documents := 0, 0
		dice := rand.New(rand.NewPCG(1, 2))
		r.Then(func(w http.ResponseWriter, req *http.Request, body []byte) bool {
			if !isBulk(req) {
				return false
			}
			bulks, documents = bulks+1, documents+strings.Count(string(body), "\n")/2
			r.Partly(w, req, body, func(int, string) (int, string) {
				return []int{0, http.StatusTooManyRequests}[dice.IntN(2)], "es_rejected_execution_exception"
			})
			return true
		})
		const batches, each = 20, 300
		for n := range batches {
			var docs []index.Document
			for i := range each {
				docs = append(docs, r.doc(100+n*each+i, 1, 5))
			}
			for i, o := range r.apply(t, docs...) {
				if o.Status != index.Applied {
					t.Fatalf("document %d: %+v", i, o)
				}
			}
		}
		if bulks > 15*batches || documents > 3*batches*each {
			t.Errorf("%d bulks of %d documents for %d", bulks, documents, batches*each)
		}
		r.Then(nil)
	})
	t.Run("a login that is refused is Denied at once", func(t *testing.T) {
		for _, code := range []int{http.StatusUnauthorized, http.StatusForbidden} {
			r.Then(func(w http.ResponseWriter, _ *http.Request, _ []byte) bool {
				localtest.Reply(w, code, []byte(`{"error":{"type":"security_exception","reason":"missing authentication credentials"},"status":401}`))
				return true
			})
			_, err := r.x.Apply(t.Context(), "entry", []index.Document{r.doc(11, 1, 5)})
			wants(t, "apply", err, fault.Denied)
			_, err = r.x.Search(t.Context(), r.search())
			wants(t, "search", err, fault.Denied)
		}
	})
}

func TestOpenRefusesOtherServers(t *testing.T) {
	f := newFront(t)
	for name, about := range map[string]string{
		"8": `{"version":{"number":"8.15.0"}}`, "6": `{"version":{"number":"6.8.23"}}`, "7.10": `{"version":{"number":"7.10.2"}}`,
		"OpenSearch": `{"version":{"distribution":"opensearch","number":"7.17.9"}}`, "nothing": `{}`,
	} {
		f.Then(func(w http.ResponseWriter, _ *http.Request, _ []byte) bool {
			localtest.Reply(w, http.StatusOK, []byte(about))
			return true
		})
		_, err := elastic.Open(t.Context(), elastic.Config{URL: f.URL})
		wants(t, name, err, fault.Unsafe, "7.17")
	}
	for name, cfg := range map[string]elastic.Config{"no URL": {}, "no URL's form": {URL: "::"}, "prefix": {URL: f.URL, Prefix: "Strata-1"}} {
		if _, err := elastic.Open(t.Context(), cfg); !fault.Is(err, fault.Invalid) && !fault.Is(err, fault.Unavailable) {
			t.Errorf("%s: %v", name, err)
		}
	}
	f.Close()
	_, err := elastic.Open(t.Context(), elastic.Config{URL: f.URL})
	wants(t, "nobody there", err, fault.Unavailable)
}
