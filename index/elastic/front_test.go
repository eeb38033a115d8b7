package elastic_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"strata/index/elastic"
	"strata/local/localtest"
)

// front stands before a real Elasticsearch and does to requests and answers what a test wants.
type front struct {
	*httptest.Server
	t    testing.TB
	node string

	mu sync.Mutex
	do func(w http.ResponseWriter, r *http.Request, body []byte) bool // false: forward
}

func newFront(t testing.TB) *front {
	t.Helper()
	f := &front{t: t, node: localtest.SharedElastic(t)}
	f.Server = httptest.NewServer(f)
	t.Cleanup(f.Close)
	return f
}

// then sets what is done from now on; nil forwards all.
func (f *front) then(do func(w http.ResponseWriter, r *http.Request, body []byte) bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.do = do
}

// ServeHTTP fulfils http.Handler.
func (f *front) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // the client has gone
	}
	f.mu.Lock()
	do := f.do
	f.mu.Unlock()
	if do != nil && do(w, r, body) {
		return
	}
	status, answer := f.forward(r, body)
	reply(w, status, answer)
}

// forward sends a request on and returns the answer. A client that goes away doesn't end it.
func (f *front) forward(r *http.Request, body []byte) (int, []byte) {
	req, err := http.NewRequestWithContext(context.WithoutCancel(r.Context()), r.Method, f.node+r.URL.RequestURI(), bytes.NewReader(body))
	if err != nil {
		f.t.Error(err)
		return http.StatusBadGateway, nil
	}
	req.Header.Set("Content-Type", r.Header.Get("Content-Type"))
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		f.t.Error(err)
		return http.StatusBadGateway, nil
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(res.Body)
	if err != nil {
		f.t.Error(err)
	}
	return res.StatusCode, answer
}

func reply(w http.ResponseWriter, status int, body []byte) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(body)
}

// cut ends the connection without an answer.
func cut(w http.ResponseWriter) {
	if h, ok := w.(http.Hijacker); ok {
		if conn, _, err := h.Hijack(); err == nil {
			_ = conn.Close()
		}
	}
}

func isBulk(r *http.Request) bool    { return r.URL.Path == "/_bulk" }
func isRefresh(r *http.Request) bool { return strings.HasSuffix(r.URL.Path, "/_refresh") }
func isSearch(r *http.Request) bool {
	return r.URL.Path == "/_msearch" || r.URL.Path == "/_search"
}

// rejected is Elasticsearch's answer when its queue is full.
const rejected = `{"error":{"type":"es_rejected_execution_exception","reason":"rejected execution of a task"},"status":429}`

// partly forwards some documents of a bulk and answers for the others what it is told.
func (f *front) partly(w http.ResponseWriter, r *http.Request, body []byte, refuse func(i int) (status int, reason string)) {
	lines := strings.SplitAfter(string(body), "\n")
	var on strings.Builder
	var answers []string // "" where Elasticsearch is asked
	for i := 0; i+1 < len(lines); i += 2 {
		status, reason := refuse(i / 2)
		if status == 0 {
			on.WriteString(lines[i] + lines[i+1])
			answers = append(answers, "")
			continue
		}
		var action struct {
			Index struct {
				ID    string `json:"_id"`
				Index string `json:"_index"`
			} `json:"index"`
		}
		if err := json.Unmarshal([]byte(lines[i]), &action); err != nil {
			f.t.Error(err)
		}
		id, _ := json.Marshal(action.Index.ID)
		answers = append(answers, fmt.Sprintf(`{"index":{"_index":%q,"_id":%s,"status":%d,"error":{"type":%q,"reason":"scripted"}}}`,
			action.Index.Index, id, status, reason))
	}
	var got struct {
		Items []json.RawMessage `json:"items"`
	}
	if on.Len() > 0 {
		_, raw := f.forward(r, []byte(on.String()))
		if err := json.Unmarshal(raw, &got); err != nil {
			f.t.Errorf("%s: %v", raw, err)
		}
	}
	next := 0
	for i := range answers {
		if answers[i] == "" && next < len(got.Items) {
			answers[i] = string(got.Items[next])
			next++
		}
	}
	reply(w, http.StatusOK, []byte(`{"errors":true,"items":[`+strings.Join(answers, ",")+`]}`))
}

// prefix is one of the test's own; what has it is deleted at the end.
func (f *front) prefix(t testing.TB) string {
	prefix := localtest.Unique("t")
	t.Cleanup(func() { deleteAll(t, f.node, prefix) })
	return prefix
}

// behind opens an index whose requests go by the front, and which never waits.
func (f *front) behind(t testing.TB, cfg elastic.Config) *elastic.Index {
	t.Helper()
	cfg.URL = f.URL
	cfg.Pause = func(ctx context.Context, _ time.Duration) error { return ctx.Err() }
	x, err := elastic.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	return x
}

// admin sends a request to the real Elasticsearch, as a person would by hand.
func (f *front) admin(method, path, body string) string {
	f.t.Helper()
	req, err := http.NewRequestWithContext(context.Background(), method, f.node+path, strings.NewReader(body))
	if err != nil {
		f.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		f.t.Fatal(err)
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode >= 300 {
		f.t.Fatalf("%s %s: %s %s %v", method, path, res.Status, answer, err)
	}
	return string(answer)
}
