package rest

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"time"

	"strata/core"
	"strata/fault"
)

func TestNew_names_everything_that_is_missing(t *testing.T) {
	_, err := New(Config{MaxKeys: -1})
	for _, word := range []string{"Ledger", "Log", "Now", "negative"} {
		if err == nil || !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), word) {
			t.Errorf("%v does not name %s", err, word)
		}
	}
}

func TestServer_answers_this_machine_only(t *testing.T) {
	from := func(remote, host string) with {
		return func(r *http.Request) { r.RemoteAddr, r.Host = remote, host }
	}
	r := newRig(t)
	for _, c := range [][2]string{{"127.0.0.1:1", "127.0.0.1:8080"}, {"[::1]:1", "[::1]:8080"}, {"127.0.0.1:1", "localhost"}} {
		if a := r.do(http.MethodGet, "/v1/day", "", from(c[0], c[1])); a.status != 200 {
			t.Errorf("%v: %s", c, a.raw)
		}
	}
	for _, c := range [][2]string{{"10.0.0.1:1", "localhost"}, {"127.0.0.1:1", "evil.example:8080"}, {"", "localhost"}, {"127.0.0.1:1", ""}} {
		r.problem(403, "denied", "", http.MethodGet, "/v1/day", "", from(c[0], c[1]))
	}
	r = newRig(t, authorize("bob", nil))
	if a := r.do(http.MethodGet, "/v1/day", "", from("10.0.0.1:1", "ledger.example")); a.status != 200 {
		t.Errorf("with credentials: %s", a.raw)
	}
}

func TestServer_refuses_in_its_form(t *testing.T) {
	r := newRig(t)
	r.problem(404, "unknown_path", "", http.MethodGet, "/v1/nothing", "")
	r.problem(404, "unknown_path", "", http.MethodGet, "/", "")
	r.problem(404, "unknown_path", "", http.MethodPost, "/v1//transfers", "{}")
	r.problem(404, "unknown_path", "", http.MethodPost, "/v1/transfers/", "{}")
	r.problem(404, "unknown_path", "", http.MethodGet, "/v1/settings/../day", "")
	if a := r.problem(405, "method_not_allowed", "", http.MethodDelete, "/v1/accounts/1", ""); a.header.Get("Allow") != "GET, PATCH" {
		t.Errorf("%v", a.header)
	}
	r.problem(405, "method_not_allowed", "", http.MethodGet, "/v1/settings/rollback", "")
	r.problem(415, "media_type", "Content-Type", http.MethodPost, "/v1/transfers", "{}", header("Content-Type", "application/x-www-form-urlencoded"))
	r.problem(415, "media_type", "Content-Type", http.MethodPost, "/v1/transfers", "{}", header("Content-Type", ""))
	r.problem(415, "media_type", "Content-Type", http.MethodPost, "/v1/transfers", "{}", header("Content-Type", "application/json; charset=latin1"))
	r.problem(415, "media_type", "Content-Encoding", http.MethodPost, "/v1/transfers", "{}", header("Content-Encoding", "gzip"))
	r.problem(400, "bad_parameter", "limit", http.MethodGet, "/v1/accounts?limit=1001", "")
	r.problem(400, "bad_parameter", "limit", http.MethodGet, "/v1/accounts?limit=0", "")
	r.problem(400, "bad_parameter", "limit", http.MethodGet, "/v1/accounts?limit=1&limit=2", "")
	r.problem(400, "bad_parameter", "after", http.MethodGet, "/v1/accounts?after=x", "")
	r.problem(400, "bad_parameter", "", http.MethodGet, "/v1/accounts?%zz", "")
	r.problem(400, "bad_parameter", "state", http.MethodGet, "/v1/reservations", "")
	r.problem(400, "bad_parameter", "after", http.MethodGet, "/v1/reservations?state=pending&after=%C3%A9", "")
	r.problem(400, "bad_parameter", "after", http.MethodGet, "/v1/notices?after=a%20b", "")
	r.problem(400, "bad_parameter", "id", http.MethodGet, "/v1/accounts/01", "")
	if a := r.do(http.MethodPost, "/v1/transfers", payment("t1", ""), header("Content-Type", "Application/JSON; charset=UTF-8")); a.status != 201 {
		t.Errorf("%d %s", a.status, a.raw)
	}
}

func TestServer_bounds_bodies(t *testing.T) {
	r := newRig(t)
	long := payment("t1", strings.Repeat(" ", maxBody))
	chunked := func(q *http.Request) { q.ContentLength = -1 }
	r.problem(413, "body_too_large", "", http.MethodPost, "/v1/transfers", long)
	r.problem(413, "body_too_large", "", http.MethodPost, "/v1/transfers", long, chunked)
	if a := r.do(http.MethodPost, "/v1/transfers", payment("t1", ""), chunked); a.status != 201 {
		t.Errorf("%d %s", a.status, a.raw)
	}
	r.problem(400, "bad_json", "", http.MethodPost, "/v1/transfers", "{}", func(q *http.Request) { q.Body = io.NopCloser(strings.NewReader("{")) })
	r.server.bodies.Add(maxBodies)
	r.problem(503, "overloaded", "", http.MethodPost, "/v1/transfers", payment("t1", ""))
	r.server.bodies.Add(-maxBodies)
	if n := r.server.bodies.Load(); n != 0 {
		t.Errorf("%d bytes are still counted", n)
	}
}

func TestServer_bounds_requests_at_once_and_their_time(t *testing.T) {
	inside, leave := make(chan struct{}), make(chan struct{})
	r := newRig(t, func(c *Config) { c.MaxRequests = 1 })
	r.stub.post = func(context.Context, []core.Transfer) ([]core.Answer, error) {
		inside <- struct{}{}
		<-leave
		return []core.Answer{{Outcome: core.Applied}}, nil
	}
	done := make(chan int)
	go func() {
		w := httptest.NewRecorder()
		r.server.ServeHTTP(w, r.request(http.MethodPost, "/v1/transfers", payment("t1", "")))
		done <- w.Code
	}()
	<-inside
	if a := r.problem(503, "overloaded", "", http.MethodGet, "/v1/day", ""); a.header.Get("Retry-After") != "1" {
		t.Errorf("%v", a.header)
	}
	close(leave)
	if code := <-done; code != 201 {
		t.Errorf("%d", code)
	}
	if s := r.server.Stats(); s.Requests != 2 || s.Now != 0 || s.Overloaded != 1 || s.Failed != 1 {
		t.Errorf("%+v", s)
	}
	r = newRig(t, func(c *Config) { c.RequestLimit = time.Nanosecond })
	r.stub.post = func(ctx context.Context, _ []core.Transfer) ([]core.Answer, error) {
		<-ctx.Done()
		return nil, fault.Wrap(fault.Unavailable, "post", ctx.Err())
	}
	r.problem(504, "timeout", "", http.MethodPost, "/v1/transfers", payment("t1", ""))
}

func TestServer_keeps_what_went_wrong_inside(t *testing.T) {
	r := newRig(t)
	r.stub.err = errors.New("the password is 1234")
	a := r.problem(500, "internal", "", http.MethodGet, "/v1/day", "")
	if instance := a.field("instance").(string); strings.Contains(string(a.raw), "1234") || !strings.Contains(r.logs.String(), "1234") || !strings.Contains(r.logs.String(), instance) {
		t.Errorf("%s, logged %s", a.raw, r.logs)
	}
	r.stub.err = fault.New(fault.Interrupted, "post", "stopping")
	r.problem(503, "unavailable", "", http.MethodGet, "/v1/day", "")
	r.stub.err = fault.New(fault.Stale, "read", "a status that the route does not have")
	r.problem(500, "internal", "", http.MethodGet, "/v1/day", "")
	r.stub.err = nil
	r.stub.post = func(context.Context, []core.Transfer) ([]core.Answer, error) { panic("a bug") }
	r.problem(500, "internal", "", http.MethodPost, "/v1/transfers", payment("t1", ""))
	if !strings.Contains(r.logs.String(), "a bug") {
		t.Errorf("logged %s", r.logs)
	}
}

func TestServer_tells_the_audit(t *testing.T) {
	var acts []Act
	r := newRig(t, authorize("bob", nil), func(c *Config) { c.Audit = func(a Act) { acts = append(acts, a) } })
	r.do(http.MethodGet, "/v1/day", "")
	r.do(http.MethodPost, "/v1/transfers", payment("t1", ""))
	r.do(http.MethodPost, "/v1/transfers/batch", "["+payment("a", "")+","+payment("b", "")+"]")
	r.do(http.MethodPut, "/v1/settings", `{"settings":{},"reason":"why"}`, header("If-Match", `"7"`))
	r.do(http.MethodPatch, "/v1/accounts/7", `{"state":"frozen"}`)
	r.do(http.MethodPost, "/v1/day/cut", `{"date":"2026-11-23"}`)
	r.stub.err = fault.New(fault.NotFound, "find", "none")
	r.do(http.MethodPatch, "/v1/accounts/8", `{"state":"frozen"}`)
	at := newClock().now
	want := []Act{{at, "bob", "postTransfer", "t1", 1, 201, ""}, {at, "bob", "postBatch", "a", 2, 200, ""}, {at, "bob", "putSettings", `"7"`, 1, 200, ""},
		{at, "bob", "changeAccount", "7", 1, 200, ""}, {at, "bob", "cutDay", "2026-11-23", 1, 200, ""}, {at, "bob", "changeAccount", "8", 1, 404, "not_found"}}
	if !reflect.DeepEqual(acts, want) {
		t.Errorf("%+v", acts)
	}
}

func TestRun_sees_what_others_put(t *testing.T) {
	looked := make(chan struct{})
	r := newRig(t, func(c *Config) { c.Interval = time.Millisecond; c.Ledger.(*stub).looked = looked })
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- r.server.Run(ctx) }()
	<-looked
	r.stub.mu.Lock()
	r.stub.version = core.Version{Number: 9, Settings: core.Settings{Rates: []core.Rate{{Name: "r", Key: "client", PerSecond: 1, Burst: 1}}}}
	r.stub.mu.Unlock()
	for range 3 { // the second one reads it, the third one comes after it is in force
		<-looked
	}
	r.do(http.MethodGet, "/v1/day", "")
	r.problem(429, "rate_limited", "", http.MethodGet, "/v1/day", "")
	r.stub.mu.Lock()
	r.stub.err = fault.New(fault.Unavailable, "read settings", "away")
	r.stub.mu.Unlock()
	for range 3 {
		<-looked
	}
	r.problem(429, "rate_limited", "", http.MethodGet, "/v1/day", "")
	stop()
	for {
		select {
		case <-looked:
			continue
		case err := <-done:
			if err != nil || strings.Count(r.logs.String(), "read settings for rates") != 1 {
				t.Errorf("%v, logged %s", err, r.logs)
			}
			return
		}
	}
}

func TestGuard_sets_every_limit(t *testing.T) {
	var srv http.Server
	newRig(t).server.Guard(&srv)
	if srv.ReadHeaderTimeout == 0 || srv.ReadTimeout == 0 || srv.WriteTimeout <= srv.ReadTimeout || srv.IdleTimeout == 0 || srv.MaxHeaderBytes == 0 {
		t.Errorf("%+v", slog.AnyValue(srv.ReadTimeout))
	}
}

func TestSettings(t *testing.T) {
	const path = "/v1/settings"
	r := newRig(t)
	if a := r.do(http.MethodGet, path, ""); a.header.Get("ETag") != `"7"` || !strings.Contains(string(a.raw), `"max_amount":"9007199254740993"`) {
		t.Errorf("%v %s", a.header, a.raw)
	}
	r.problem(428, "version_required", "If-Match", http.MethodPut, path, `{"settings":{}}`)
	for _, tag := range []string{"*", "7", `W/"7"`, `"7", "8"`, `"x"`, `"`, `""`, `"07"`} {
		r.problem(400, "bad_parameter", "If-Match", http.MethodPut, path, `{"settings":{}}`, header("If-Match", tag))
	}
	put := header("If-Match", `"7"`)
	r.problem(400, "bad_field", "settings", http.MethodPut, path, `{"reason":"x"}`, put)
	r.problem(400, "bad_field", "settings.limits[0].max_amount", http.MethodPut, path, `{"settings":{"limits":[{"max_amount":1.5}]}}`, put)
	r.problem(400, "bad_json", "settings.rates[1].key", http.MethodPut, path, `{"settings":{"rates":[{},{"key":"a","key":"b"}]}}`, put)
	r.stub.put = fault.New(fault.Conflict, "put settings", "version 8 is in force")
	r.problem(412, "version_changed", "If-Match", http.MethodPut, path, `{"settings":{}}`, put)
	r.stub.put = &fault.Error{Kind: fault.Invalid, Op: "check settings", Object: "rates[0].burst", Err: errors.New("it is 0"), Hint: "at least 1"}
	if a := r.problem(400, "invalid", "rates[0].burst", http.MethodPut, path, `{"settings":{}}`, put); a.field("hint") != "at least 1" {
		t.Errorf("%s", a.raw)
	}
}

func TestAccounts(t *testing.T) {
	r := newRig(t)
	if a := r.do(http.MethodGet, "/v1/accounts?after=1&limit=1", ""); a.field("next") != "2" || len(a.field("accounts").([]any)) != 1 {
		t.Errorf("%s", a.raw)
	}
	if a := r.do(http.MethodGet, "/v1/accounts?after=1", ""); a.field("next") != nil || len(a.field("accounts").([]any)) != 2 {
		t.Errorf("%s", a.raw)
	}
	for body, field := range map[string]string{`{"state":"shut"}`: "state", `{"mode":"buffered","inner":-1}`: "inner", `{"min_balance":"0"}`: "", `{}`: "",
		`{"state":"open","mode":"simple"}`: "", `{"state":null}`: "state", `{"state":"open","inner":2}`: ""} {
		r.problem(400, "bad_field", field, http.MethodPatch, "/v1/accounts/7", body)
	}
	for body, field := range map[string]string{`{}`: "", `[{"id":1,"name":"x"}]`: "[0].unit", `[{"id":1,"name":"x","unit":"CNY","balance":5}]`: "[0].balance",
		`[{"id":1,"name":"x","unit":"CNY","metadata":[]}]`: "[0].metadata", `[{"id":1,"name":"x","unit":"CNY","side":"left"}]`: "[0].side"} {
		r.problem(400, "bad_field", field, http.MethodPost, "/v1/accounts", body)
	}
	many := "[" + strings.TrimSuffix(strings.Repeat(`{"id":1,"name":"x","unit":"CNY"},`, maxBatch+1), ",") + "]"
	r.problem(413, "batch_too_large", "", http.MethodPost, "/v1/accounts", many)
	r.problem(400, "bad_field", "date", http.MethodPost, "/v1/day/cut", `{"date":"2026-02-30"}`)
	r.problem(400, "bad_field", "date", http.MethodPost, "/v1/day/cut", `{}`)
}
