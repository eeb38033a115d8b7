package router_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"strata/catalog"
	"strata/fault"
	"strata/router"
	"strata/router/routertest"
)

// TestCursorKeepsThePosition: the next page asks every mutable source for the first page's heartbeat.
func TestCursorKeepsThePosition(t *testing.T) {
	r, w := memoryRouter(t)
	loadMonths(t, w, 3)
	w.Live.SetBeat(7, 0)
	q := router.Query{Dataset: "event", Limit: 2}
	_, served, cursor, err := routertest.Answer(t.Context(), r, q)
	if err != nil || served.Position != 7 {
		t.Fatal(served.Position, err)
	}
	q.Cursor = cursor
	w.Live.SetBeat(6, 0) // a replica that is behind
	if _, _, _, err := routertest.Answer(t.Context(), r, q); !fault.Is(err, fault.Unavailable) {
		t.Fatalf("a source behind the first page gave %v", err)
	}
}

func TestCursorsThatAreNotOursAreRefused(t *testing.T) {
	now := routertest.Now()
	r, w := memoryRouter(t, func(c *router.Config) { c.Now = func() time.Time { return now } })
	loadMonths(t, w, 3)
	q := router.Query{Dataset: "event", Limit: 2}
	_, _, cursor, err := routertest.Answer(t.Context(), r, q)
	if err != nil {
		t.Fatal(err)
	}
	refused := func(what string, q router.Query) {
		t.Helper()
		if _, err := r.Query(context.Background(), q); !fault.Is(err, fault.Invalid) || fault.HintOf(err) == "" {
			t.Fatalf("%s gave %v", what, err)
		}
	}
	for i := range cursor {
		b := []byte(cursor)
		b[i] = map[bool]byte{true: 'B', false: 'A'}[b[i] == 'A']
		q.Cursor = string(b)
		refused(fmt.Sprintf("a change at %d", i), q)
	}
	for _, c := range []string{"x", "!", cursor[:10], cursor + "AA", strings.Repeat("A", 100_000)} {
		q.Cursor = c
		refused("another text", q)
	}
	q.Cursor = cursor
	for what, f := range map[string]func(*router.Query){
		"columns": func(q *router.Query) { q.Columns = []string{"seq"} },
		"filter":  func(q *router.Query) { q.Filter = catalog.Cmp("seq", catalog.Gt, "0") },
		"order":   func(q *router.Query) { q.Order = []router.Order{{Column: "at", Desc: true}} },
		"strong":  func(q *router.Query) { q.Freshness.Strong = true },
	} {
		other := q
		f(&other)
		refused("other "+what, other)
	}
	if _, _, _, err := routertest.Answer(t.Context(), r, q); err != nil {
		t.Fatal(err)
	}
	now = now.Add(61 * time.Minute)
	refused("an expired cursor", q)
}
