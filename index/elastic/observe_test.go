package elastic_test

import (
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"strata/index"
	"strata/index/elastic"
	"strata/index/indextest"
	"strata/local/localtest"
)

// A bulk that is put off is told of with its status and its size, each time that it is sent.
func TestObserve_is_told_of_every_request(t *testing.T) {
	f := newFront(t)
	var mu sync.Mutex
	var bulks, others []elastic.Request
	x := f.behind(t, elastic.Config{Prefix: f.prefix(t), Observe: func(r elastic.Request) {
		mu.Lock()
		defer mu.Unlock()
		if r.Operation == "bulk" {
			bulks = append(bulks, r)
		} else {
			others = append(others, r)
		}
	}})
	d := indextest.Entries()
	if err := x.Ensure(t.Context(), d); err != nil {
		t.Fatal(err)
	}
	var sent atomic.Int64 // connections come one after the other, but have goroutines of their own
	f.Then(func(w http.ResponseWriter, r *http.Request, _ []byte) bool {
		if !isBulk(r) {
			return false
		}
		n := sent.Add(1)
		if n == 1 {
			localtest.Reply(w, http.StatusTooManyRequests, []byte(`{"error":{"type":"es_rejected_execution_exception","reason":"full"},"status":429}`))
		} else if n == 2 {
			localtest.Cut(w)
		}
		return n <= 2
	})
	doc := indextest.Doc(d, november, indextest.Entry(1, 1, 10, "2026-11-02", nil), 1, false)
	if _, err := x.Apply(t.Context(), "entry", []index.Document{doc}); err != nil {
		t.Fatal(err)
	}
	if err := x.Refresh(t.Context(), "entry"); err != nil {
		t.Fatal(err)
	}
	mu.Lock()
	defer mu.Unlock()
	var codes []int
	for _, b := range bulks {
		if codes = append(codes, b.Status); b.Bytes < 100 || b.Took <= 0 {
			t.Errorf("%+v", b)
		}
	}
	if !slices.Equal(codes, []int{429, 0, 200}) {
		t.Errorf("bulks ended with %v", codes)
	}
	var operations []string
	for _, r := range others {
		operations = append(operations, r.Operation)
	}
	for _, want := range []string{"admin", "get", "put", "refresh"} {
		if !slices.Contains(operations, want) {
			t.Errorf("no %s in %v", want, operations)
		}
	}
}
