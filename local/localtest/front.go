package localtest

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
)

// Rejected is Elasticsearch's answer when its queue is full.
const Rejected = `{"error":{"type":"es_rejected_execution_exception","reason":"rejected execution of a task"},"status":429}`

// Front stands before a real Elasticsearch and does to requests and answers what a test wants.
type Front struct {
	*httptest.Server
	Node string // URL of the real one

	t  testing.TB
	mu sync.Mutex
	do func(w http.ResponseWriter, r *http.Request, body []byte) bool
}

// NewFront starts one before a node; it ends with the test, and forwards all until Then.
func NewFront(t testing.TB, node string) *Front {
	t.Helper()
	f := &Front{t: t, Node: node}
	f.Server = httptest.NewServer(f)
	t.Cleanup(f.Close)
	return f
}

// Then sets what is done from now on: do answers a request, or returns false to forward it. nil forwards all.
func (f *Front) Then(do func(w http.ResponseWriter, r *http.Request, body []byte) bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.do = do
}

// ServeHTTP fulfils http.Handler.
func (f *Front) ServeHTTP(w http.ResponseWriter, r *http.Request) {
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
	status, answer := f.Forward(r, body)
	Reply(w, status, answer)
}

// Forward sends a request on and returns the answer. A client that goes away doesn't end it.
func (f *Front) Forward(r *http.Request, body []byte) (int, []byte) {
	req, err := http.NewRequestWithContext(context.WithoutCancel(r.Context()), r.Method, f.Node+r.URL.RequestURI(), bytes.NewReader(body))
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

// Reply answers a request.
func Reply(w http.ResponseWriter, status int, body []byte) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(body)
}

// Cut ends a request's connection without an answer.
func Cut(w http.ResponseWriter) {
	if h, ok := w.(http.Hijacker); ok {
		if conn, _, err := h.Hijack(); err == nil {
			_ = conn.Close()
		}
	}
}

// Partly forwards some documents of a bulk, and answers for the others what it is told: refuse gets a document's place and
// its id, and returns 0 for one that Elasticsearch is asked for.
func (f *Front) Partly(w http.ResponseWriter, r *http.Request, body []byte, refuse func(i int, id string) (status int, kind string)) {
	lines := strings.SplitAfter(string(body), "\n")
	var on strings.Builder
	var answers []string // "" where Elasticsearch is asked
	for i := 0; i+1 < len(lines); i += 2 {
		var action struct {
			Index struct {
				ID    string `json:"_id"`
				Index string `json:"_index"`
			} `json:"index"`
		}
		if err := json.Unmarshal([]byte(lines[i]), &action); err != nil {
			f.t.Error(err)
		}
		status, kind := refuse(i/2, action.Index.ID)
		if status == 0 {
			on.WriteString(lines[i] + lines[i+1])
			answers = append(answers, "")
			continue
		}
		id, _ := json.Marshal(action.Index.ID)
		answers = append(answers, fmt.Sprintf(`{"index":{"_index":%q,"_id":%s,"status":%d,"error":{"type":%q,"reason":"scripted"}}}`,
			action.Index.Index, id, status, kind))
	}
	var got struct {
		Items []json.RawMessage `json:"items"`
	}
	if on.Len() > 0 {
		_, raw := f.Forward(r, []byte(on.String()))
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
	Reply(w, http.StatusOK, []byte(`{"errors":true,"items":[`+strings.Join(answers, ",")+`]}`))
}
