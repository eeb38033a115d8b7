package rest

import (
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// clock stands still until it is told to move.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

func newClock() *clock { return &clock{now: time.Date(2026, 11, 22, 8, 0, 0, 0, time.UTC)} }

// rig is a server over a stub, whose every answer is held against the document.
type rig struct {
	t      testing.TB
	spec   *spec
	stub   *stub
	clock  *clock
	server *Server
	logs   *strings.Builder
}

func newRig(t testing.TB, change ...func(*Config)) *rig {
	t.Helper()
	r := &rig{t: t, spec: readSpec(t), stub: &stub{}, clock: newClock(), logs: &strings.Builder{}}
	cfg := Config{Ledger: r.stub, Log: slog.New(slog.NewTextHandler(r.logs, nil)), Now: r.clock.Now, Cases: r.stub, Notices: r.stub, Vouchers: r.stub}
	for _, c := range change {
		c(&cfg)
	}
	var err error
	if r.server, err = New(cfg); err != nil {
		t.Fatal(err)
	}
	return r
}

// with changes a request before it is sent.
type with func(*http.Request)

func header(name, value string) with {
	return func(r *http.Request) { r.Header.Set(name, value) }
}

func (r *rig) request(method, path, body string, changes ...with) *http.Request {
	var in io.Reader
	if body != "" || method != http.MethodGet {
		in = strings.NewReader(body)
	}
	req := httptest.NewRequest(method, path, in)
	req.RemoteAddr, req.Host = "127.0.0.1:5000", "localhost:8080"
	if in != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	for _, c := range changes {
		c(req)
	}
	return req
}

// answered is one answer.
type answered struct {
	status int
	header http.Header
	raw    []byte
	body   any
}

func (a answered) field(name string) any {
	m, _ := a.body.(map[string]any)
	return m[name]
}

// do sends a request and holds the answer against the document.
func (r *rig) do(method, path, body string, changes ...with) answered {
	r.t.Helper()
	req := r.request(method, path, body, changes...)
	w := httptest.NewRecorder()
	r.server.ServeHTTP(w, req)
	out := answered{status: w.Code, header: w.Header(), raw: w.Body.Bytes()}
	out.body = parsed(r.t, out.raw)
	media := w.Header().Get("Content-Type")
	var schema any = map[string]any{"$ref": "#/components/schemas/Problem"}
	want := "application/problem+json"
	if o, ok := r.operation(req); ok && out.field("code") != "unknown_path" {
		if schema, want, _, ok = r.spec.response(o, strconv.Itoa(w.Code)); !ok {
			r.t.Fatalf("%s answers %d, which the document does not have: %s", o.name, w.Code, out.raw)
		}
	}
	if err := r.spec.check(schema, out.body, "answer"); err != nil || media != want {
		r.t.Fatalf("%s %s: %d %s, %v: %s", method, path, w.Code, media, err, out.raw)
	}
	if w.Header().Get("Cache-Control") != "no-store" || w.Header().Get("X-Content-Type-Options") != "nosniff" {
		r.t.Fatalf("%s %s: headers %v", method, path, w.Header())
	}
	return out
}

func (r *rig) operation(req *http.Request) (operation, bool) {
	_, pattern := r.server.mux.Handler(req)
	for _, o := range r.spec.all {
		if pattern == o.method+" "+o.path {
			return o, true
		}
	}
	return operation{}, false
}

// problem sends a request and asserts how it fails.
func (r *rig) problem(status int, code, field string, method, path, body string, changes ...with) answered {
	r.t.Helper()
	a := r.do(method, path, body, changes...)
	got, _ := a.field("field").(string)
	if a.status != status || a.field("code") != code || got != field {
		r.t.Fatalf("%s %s: %d %v %q instead of %d %s %q: %s", method, path, a.status, a.field("code"), got, status, code, field, a.raw)
	}
	return a
}
