package node_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"

	"strata/archive"
	"strata/catalog"
	"strata/node"
	"strata/router"
)

// The months of the ledger that the moves of this file meet: 18 are loaded, those older than the policy move.
const (
	loadedMonths = 18
	transfers    = 4000
)

// entryKey is the text by which ledger.entries names an entry.
func entryKey(row *catalog.Row) string { return row.Text(0) + " " + row.Text(1) + " " + row.Text(2) }

func entryColumns() []string { return []string{"accounting_date", "account_id", "seq"} }

// reader reads a part of a known list at a time and finds what is missing, twice or out of order.
type reader struct {
	name string
	want []string
	got  int
	read func(ctx context.Context, rows int, f func(key string)) (ended bool, err error)
	end  bool
}

// step reads about rows more rows.
func (r *reader) step(ctx context.Context, rows int) error {
	if r.end {
		return nil
	}
	var wrong error
	ended, err := r.read(ctx, rows, func(key string) {
		if wrong == nil && (r.got >= len(r.want) || r.want[r.got] != key) {
			wrong = fmt.Errorf("%s: row %d is %s instead of %s", r.name, r.got, key, strings.Join(r.want[min(r.got, len(r.want)):min(r.got+1, len(r.want))], ""))
		}
		r.got++
	})
	r.end = ended
	if err != nil {
		err = fmt.Errorf("%s after %d rows: %w", r.name, r.got, err)
	}
	if ended && err == nil && wrong == nil && r.got != len(r.want) {
		wrong = fmt.Errorf("%s ended after %d of %d rows", r.name, r.got, len(r.want))
	}
	return errors.Join(err, wrong)
}

// finish reads the rest.
func (r *reader) finish(t *testing.T) {
	t.Helper()
	for !r.end {
		if err := r.step(t.Context(), 1000); err != nil {
			t.Fatal(err)
		}
	}
}

// duringMove runs step at each step of the mover, from the mover's own goroutine: deterministic, and whatever the mover
// holds at that point is held. It moves what the policy says and returns the number of tables.
func (l *ledger) duringMove(t *testing.T, step func(point string) error) int {
	t.Helper()
	var one sync.Mutex
	hook := func(point string) error {
		if !strings.HasPrefix(point, "archive.") {
			return nil
		}
		one.Lock()
		defer one.Unlock()
		if err := step(point); err != nil {
			return fmt.Errorf("at %s: %w", point, err)
		}
		return nil
	}
	l.at.Store(&hook)
	defer l.at.Store(nil)
	moved, err := l.archive(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return moved
}

// streamReader reads one open result.
func streamReader(t *testing.T, n *node.Node, name string, q router.Query, want []string) (*reader, *router.Result) {
	t.Helper()
	res, err := n.Router().Query(t.Context(), q)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = res.Close() })
	return &reader{name: name, want: want, read: func(ctx context.Context, rows int, f func(string)) (bool, error) {
		return take(ctx, res, rows, func(row *catalog.Row) { f(entryKey(row)) })
	}}, res
}

func TestL5_stream_across_a_move(t *testing.T) {
	l := newLedger(t, loadedMonths, transfers, "archive_policies: [{dataset: entry, older_than_days: 480}]\n")
	want := l.entries(t)
	backwards := make([]string, len(want))
	for i, k := range want {
		backwards[len(want)-1-i] = k
	}
	q := router.Query{Dataset: "entry", Columns: entryColumns()}
	slow, slowly := streamReader(t, l.node, "slow stream", q, want)
	early, _ := streamReader(t, l.node, "stream that waited", q, want)
	q.Order = []router.Order{{Column: "accounting_date", Desc: true}, {Column: "account_id", Desc: true}, {Column: "seq", Desc: true}}
	back, _ := streamReader(t, l.node, "stream backwards", q, backwards)
	for _, r := range []*reader{slow, early, back} {
		if err := r.step(t.Context(), 5); err != nil {
			t.Fatal(err)
		}
	}
	// A stream that reads on makes the mover wait some seconds for its snapshot. So there is no reading between the fence's
	// parts, and in the second move only after its rename.
	steps, tables, renamed := 0, 0, false
	moved := l.duringMove(t, func(point string) error {
		switch point {
		case archive.PointTakeStart:
			tables, renamed = tables+1, false
		case archive.PointPruneRenamed:
			renamed = true
		}
		if point == archive.PointFenceInsert || point == archive.PointFenceUpdate || tables > 1 && !renamed {
			return nil
		}
		steps++
		return errors.Join(slow.step(t.Context(), 25), back.step(t.Context(), 200))
	})
	if moved < 2 || slow.end || slow.got < 100 {
		t.Fatalf("%d tables moved in %d steps, %d rows read meanwhile: the stream was not across the move", moved, steps, slow.got)
	}
	t.Logf("%d tables moved in %d steps; %d, %d and %d of %d rows were read before", moved, steps, slow.got, early.got, back.got, len(want))
	for _, r := range []*reader{slow, early, back} {
		r.finish(t)
	}
	if s := slowly.Served(); s.Replans == 0 || len(s.Sources) != 2 {
		t.Errorf("the slow stream never met a range that had moved: %+v", s)
	}
}

func TestL5_cursor_opened_before_a_move(t *testing.T) {
	l := newLedger(t, loadedMonths, transfers, "archive_policies: [{dataset: entry, older_than_days: 420}]\n")
	want := l.entries(t)
	pages := l.pageReader(want)
	graph := l.connectionReader(t, want)
	sums := l.sums(t)
	for _, r := range []*reader{pages, graph} {
		if err := r.step(t.Context(), 10); err != nil {
			t.Fatal(err)
		}
	}
	steps := map[string]int{}
	moved := l.duringMove(t, func(point string) error {
		steps[point]++
		err := errors.Join(pages.step(t.Context(), 30), graph.step(t.Context(), 25))
		if now, e := l.readSums(t.Context()); e != nil || now != sums {
			err = errors.Join(err, e, fmt.Errorf("sums are %q instead of %q", now, sums))
		}
		return err
	})
	if moved < 3 || pages.end || graph.end {
		t.Fatalf("%d tables moved, ended: %v, %v", moved, pages.end, graph.end)
	}
	for _, p := range archive.MovePoints() {
		if steps[p] < moved {
			t.Errorf("nobody read at %s: %d of %d moves", p, steps[p], moved)
		}
	}
	t.Logf("%d tables moved; %d and %d of %d rows were read before", moved, pages.got, graph.got, len(want))
	pages.finish(t)
	graph.finish(t)
	if now := l.sums(t); now != sums {
		t.Errorf("sums are %q instead of %q", now, sums)
	}
}

// pageReader pages by cursors, each page a query of its own.
func (l *ledger) pageReader(want []string) *reader {
	q := router.Query{Dataset: "entry", Columns: entryColumns()}
	return &reader{name: "cursor", want: want, read: func(ctx context.Context, rows int, f func(string)) (bool, error) {
		q.Limit = rows
		res, err := l.node.Router().Query(ctx, q)
		if err != nil {
			return false, err
		}
		defer res.Close()
		if _, err := take(ctx, res, rows+1, func(row *catalog.Row) { f(entryKey(row)) }); err != nil {
			return false, err
		}
		q.Cursor = res.Cursor()
		return q.Cursor == "", nil
	}}
}

// connectionReader pages through GraphQL, over HTTP.
func (l *ledger) connectionReader(t *testing.T, want []string) *reader {
	t.Helper()
	listener, err := node.Listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	base := "http://" + listener.Addr().String()
	goRun(t, "serve", func(ctx context.Context) error {
		return l.node.Serve(ctx, listener, func(string) error { return nil })
	})
	var after *string
	const query = `query($first: Int, $after: String) { entry(first: $first, after: $after) {
		edges { node { accounting_date account_id seq } } pageInfo { endCursor hasNextPage } served { complete } } }`
	return &reader{name: "connection", want: want, read: func(ctx context.Context, rows int, f func(string)) (bool, error) {
		var out struct {
			Data struct {
				Entry struct {
					Edges []struct {
						Node struct {
							Date    string `json:"accounting_date"`
							Account string `json:"account_id"`
							Seq     string `json:"seq"`
						} `json:"node"`
					} `json:"edges"`
					PageInfo struct {
						EndCursor   *string `json:"endCursor"`
						HasNextPage bool    `json:"hasNextPage"`
					} `json:"pageInfo"`
					Served struct{ Complete bool } `json:"served"`
				} `json:"entry"`
			} `json:"data"`
			Errors []json.RawMessage `json:"errors"`
		}
		if err := ask(ctx, base, query, map[string]any{"first": rows, "after": after}, &out); err != nil {
			return false, err
		}
		page := &out.Data.Entry
		if len(out.Errors) > 0 || !page.Served.Complete {
			return false, fmt.Errorf("errors %s, complete %v", out.Errors, page.Served.Complete)
		}
		for _, e := range page.Edges {
			f(e.Node.Date + " " + e.Node.Account + " " + e.Node.Seq)
		}
		after = page.PageInfo.EndCursor
		return !page.PageInfo.HasNextPage, nil
	}}
}

// ask posts a GraphQL request.
func ask(ctx context.Context, base, query string, variables map[string]any, into any) error {
	body, err := json.Marshal(map[string]any{"query": query, "variables": variables})
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, base+"/graphql", bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	return json.NewDecoder(resp.Body).Decode(into)
}

// sums are count and money of all entries by unit, and the number of transfers.
func (l *ledger) sums(t *testing.T) string {
	t.Helper()
	s, err := l.readSums(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func (l *ledger) readSums(ctx context.Context) (string, error) {
	var out strings.Builder
	for _, q := range []router.Query{
		{Dataset: "entry", GroupBy: []string{"unit"}, Aggregates: []router.Aggregate{{Func: router.Count, Name: "n"},
			{Func: router.Sum, Column: "amount", Name: "amount"}, {Func: router.Sum, Column: "balance_after", Name: "after"}}},
		{Dataset: "transfer", GroupBy: []string{"unit"}, Aggregates: []router.Aggregate{{Func: router.Count, Name: "n"},
			{Func: router.Sum, Column: "amount", Name: "amount"}}},
	} {
		res, err := l.node.Router().Query(ctx, q)
		if err != nil {
			return "", err
		}
		_, err = take(ctx, res, 1000, func(row *catalog.Row) {
			for i := range row.Len() {
				fmt.Fprintf(&out, "%s ", row.Text(i))
			}
			out.WriteString("\n")
		})
		if err := errors.Join(err, res.Close()); err != nil {
			return "", err
		}
	}
	return out.String(), nil
}
