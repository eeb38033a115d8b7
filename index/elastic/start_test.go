package elastic_test

import (
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"strata/fault"
	"strata/local/localtest"
)

// TestReads_wait_for_a_shard_that_is_being_started: somebody made the index a moment ago; and not for ever.
func TestReads_wait_for_a_shard_that_is_being_started(t *testing.T) {
	const recovering = `{"error":{"type":"illegal_index_shard_state_exception","reason":"CurrentState[RECOVERING]"},"status":503}`
	r := newRoom(t)
	var left atomic.Int64
	r.Then(func(w http.ResponseWriter, q *http.Request, _ []byte) bool {
		if !strings.HasSuffix(q.URL.Path, "/_mget") || left.Add(-1) < 0 {
			return false
		}
		localtest.Reply(w, http.StatusServiceUnavailable, []byte(recovering))
		return true
	})
	left.Store(3)
	if _, err := r.x.Watermarks(t.Context(), "entry"); err != nil {
		t.Fatal(err)
	}
	left.Store(1000)
	if _, err := r.x.Watermarks(t.Context(), "entry"); !fault.Is(err, fault.Unavailable) {
		t.Fatal(err)
	}
}
