package graphql_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"strata/catalog"
	"strata/fault"
	"strata/graphql"
	"strata/router"
	"strata/router/routertest"
)

func open(t testing.TB, change ...func(*router.Config)) (*graphql.Server, *routertest.Memories) {
	t.Helper()
	w := routertest.NewMemories()
	cfg := routertest.Config(routertest.Event())
	cfg.Viewer, cfg.Sources = w, w.Sources()
	for _, f := range change {
		f(&cfg)
	}
	r, err := router.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	s, err := graphql.New(graphql.Config{Router: r, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	return s, w
}

func load(t testing.TB, w *routertest.Memories) {
	row := func(seq int, month int, amount, name string) catalog.Row {
		return routertest.ParseRow(fmt.Sprintf(`1 | %d | 2026-%02d-01 00:00:00.000000 | CNY | %s | 1.5000 | %s | a | 0.5 | ff`, seq, month, amount, name))
	}
	w.Load(t, nil, routertest.Month(1), []catalog.Row{row(1, 1, "9223372036854775807", "alice"), row(2, 1, "2", `\N`)})
	w.Load(t, nil, routertest.Month(2), []catalog.Row{row(3, 2, "-3", "bob")})
	w.Archive(t, routertest.Event(), routertest.Month(1).Table)
	w.Beat(t)
}

// post sends a request and returns status and answer.
func post(t testing.TB, s http.Handler, query string, vars string) (int, map[string]any, string) {
	t.Helper()
	body, err := json.Marshal(map[string]any{"query": query, "variables": json.RawMessage(vars)})
	if err != nil {
		t.Fatal(err)
	}
	req := httptest.NewRequest(http.MethodPost, "/graphql", bytes.NewReader(body))
	req.Header.Set("Content-Type", "application/json")
	rec := httptest.NewRecorder()
	s.ServeHTTP(rec, req)
	var out map[string]any
	if err := json.Unmarshal(rec.Body.Bytes(), &out); err != nil {
		t.Fatalf("%v: %s", err, rec.Body)
	}
	return rec.Code, out, rec.Body.String()
}

func code(out map[string]any) string {
	errs, _ := out["errors"].([]any)
	if len(errs) == 0 {
		return ""
	}
	ext, _ := errs[0].(map[string]any)["extensions"].(map[string]any)
	return fmt.Sprint(ext["code"])
}

func TestPagesAreExactAndProven(t *testing.T) {
	s, w := open(t)
	load(t, w)
	query := `query($after: String) { event(first: 2, after: $after) {
		edges { cursor node { seq amount rate name score raw } } pageInfo { endCursor hasNextPage }
		served { complete position sources { source rows shards { shard epoch } } } } }`
	_, out, body := post(t, s, query, `{}`)
	for _, want := range []string{`"amount":"9223372036854775807"`, `"rate":"1.5000"`, `"name":null`, `"hasNextPage":true`, `"complete":true`,
		`{"epoch":"1","shard":"event_202601"}`, `"position":"1"`} {
		if !strings.Contains(body, want) {
			t.Fatalf("%s is missing in %s", want, body)
		}
	}
	event := out["data"].(map[string]any)["event"].(map[string]any)
	end := event["pageInfo"].(map[string]any)["endCursor"]
	_, _, body = post(t, s, query, fmt.Sprintf(`{"after": %q}`, end))
	if !strings.Contains(body, `"seq":"3"`) || !strings.Contains(body, `"hasNextPage":false`) {
		t.Fatal(body)
	}
	first := event["edges"].([]any)[0].(map[string]any)["cursor"]
	_, _, body = post(t, s, query, fmt.Sprintf(`{"after": %q}`, first))
	if !strings.Contains(body, `"seq":"2"`) || strings.Contains(body, `"seq":"1"`) {
		t.Fatalf("after the first edge: %s", body)
	}
}

func TestFiltersAndOrders(t *testing.T) {
	s, w := open(t)
	load(t, w)
	for filter, want := range map[string]string{
		`{amount: {eq: "9223372036854775807"}}`:                   "1",
		`{amount: {eq: 9223372036854775807}}`:                     "1",
		`{amount: {ge: -3, lt: 3}}`:                               "3 2",
		`{name: {isNull: true}}`:                                  "2",
		`{name: {isNull: false, prefix: "b"}}`:                    "3",
		`{or: [{seq: {in: [1]}}, {name: {contains: "o"}}]}`:       "3 1",
		`{not: {seq: {eq: 1}}, and: [{seq: {ge: 0}}, {seq: {}}]}`: "invalid",
		`{not: {or: [{seq: {eq: 1}}, {seq: {eq: "2"}}]}}`:         "3",
		`{at: {ge: "2026-02-01"}}`:                                "3",
		`{seq: {eq: "one"}}`:                                      "invalid",
		`{seq: {prefix: "1"}}`:                                    "invalid",
		`{unit: {matches: "a"}}`:                                  "invalid", // no text column
		`{name: {matches: "a", eq: "b"}}`:                         "invalid", // there is no index here
		`{or: []}`:                                                "invalid",
		`{nothing: {eq: 1}}`:                                      "invalid",
	} {
		_, out, body := post(t, s, `{ event(filter: `+filter+`, order: [{column: at, desc: true}, {column: seq, desc: true}]) { edges { node { seq } } } }`, `{}`)
		got := code(out)
		if got == "" {
			var seqs []string
			for _, e := range out["data"].(map[string]any)["event"].(map[string]any)["edges"].([]any) {
				seqs = append(seqs, e.(map[string]any)["node"].(map[string]any)["seq"].(string))
			}
			got = strings.Join(seqs, " ")
		}
		if got != want {
			t.Errorf("%s gave %q: %s", filter, got, body)
		}
	}
}

func TestMatchesAsksTheIndex(t *testing.T) {
	index := routertest.NewMemoryIndex()
	s, w := open(t, func(c *router.Config) { c.Index = index })
	load(t, w)
	index.Load(routertest.Month(2), 0, []catalog.Row{routertest.ParseRow(`1 | 3 | 2026-02-01 00:00:00.000000 | CNY | -3 | 1.5000 | 付款 to BOB | a | 0.5 | ff`)})
	w.Beat(t)
	index.SetBeat(9, 0)
	_, _, body := post(t, s, `{ event(filter: {name: {matches: "bob 付款"}}) { edges { node { seq name } } served { sources { source why } } } }`, `{}`)
	for _, want := range []string{`"seq":"3"`, `"source":"index"`, `"why":"only the index has the words of name"`} {
		if !strings.Contains(body, want) || strings.Contains(body, `"live"`) {
			t.Errorf("%s is missing in %s", want, body)
		}
	}
}

func TestConditionsAreNeverDropped(t *testing.T) {
	s, w := open(t)
	load(t, w)
	query := `query($id: Int64, $f: EventFilter) { event(filter: {and: [{seq: {eq: $id}}, {or: [{seq: {ge: 0}}]}]}) { edges { node { seq } } } b: event(filter: $f) { edges { node { seq } } } }`
	for _, vars := range []string{`{}`, `{"id": null}`, `{"id": 1, "f": {"seq": {"eq": null}}}`, `{"id": 1, "f": {"or": [{"seq": null}]}}`, `{"id": 1, "f": {"seq": {}}}`} {
		if _, out, body := post(t, s, query, vars); code(out) != "invalid" {
			t.Errorf("%s gave %s", vars, body)
		}
	}
	if _, out, body := post(t, s, query, `{"id": 9223372036854775807}`); code(out) != "" || strings.Contains(strings.Split(body, `"event"`)[1], "seq") {
		t.Error(body)
	}
}

func TestL9_RequestsAreBoundedBeforeTheyRun(t *testing.T) {
	s, w := open(t)
	load(t, w)
	deep := "{ event { edges { node { seq } } } }"
	alias := new(strings.Builder)
	for i := range 600 {
		fmt.Fprintf(alias, "a%d: event { edges { cursor } } ", i)
	}
	bomb := new(strings.Builder)
	bomb.WriteString("{ ...f0 } ")
	for i := range 30 {
		fmt.Fprintf(bomb, "fragment f%d on Query { ...f%d ...f%d } ", i, i+1, i+1)
	}
	bomb.WriteString("fragment f30 on Query { event { edges { cursor } } }")
	intro := "{ __schema { types { fields { type { fields { type { fields { type { fields { name } } } } } } } } } }"
	for what, c := range map[string]struct{ query, code string }{
		"aliases":       {"{ " + alias.String() + " }", "too_large"},
		"fragments":     {bomb.String(), "too_large"},
		"circle":        {"{ ...f } fragment f on Query { ...f }", "invalid"},
		"depth":         {"{ a " + strings.Repeat("{ a ", 20) + strings.Repeat("}", 20) + "}", "too_large"},
		"introspection": {intro, "too_large"},
		"rows":          {`{ a: event(first: 6000) { edges { cursor } } b: event(first: 6000) { edges { cursor } } }`, "too_large"},
		"page":          {`{ event(first: 10001) { edges { cursor } } }`, "too_large"},
		"none":          {`{ event(first: 0) { edges { cursor } } }`, "invalid"},
		"syntax":        {`{ event( }`, "invalid"},
		"nothing":       {``, "invalid"},
		"mutation":      {`mutation { x }`, "invalid"},
	} {
		before := w.Live.Opens()
		_, out, body := post(t, s, c.query, `{}`)
		if code(out) != c.code || what != "rows" && w.Live.Opens() != before {
			t.Errorf("%s gave %s", what, cutTo(body))
		}
	}
	if status, out, _ := post(t, s, deep+strings.Repeat(" ", 300<<10), `{}`); status != http.StatusRequestEntityTooLarge || code(out) != "too_large" {
		t.Errorf("a long body gave %d", status)
	}
}

func cutTo(s string) string { return s[:min(len(s), 400)] }

func TestErrorsHaveCodesAndInternalsStayInside(t *testing.T) {
	s, w := open(t)
	load(t, w)
	w.Live.OnOpen(func() error { return fmt.Errorf("password=secret") })
	status, out, body := post(t, s, `{ event { edges { cursor } } }`, `{}`)
	if status != 200 || code(out) != "internal" || strings.Contains(body, "secret") {
		t.Error(status, body)
	}
	w.Live.OnOpen(func() error { panic("secret") })
	if _, out, body = post(t, s, `{ event { edges { cursor } } }`, `{}`); code(out) != "internal" || strings.Contains(body, "secret") {
		t.Error(body)
	}
	w.Live.OnOpen(func() error { return fault.New(fault.Unavailable, "open live", "it is away").WithHint("start it") })
	if _, out, body = post(t, s, `{ event { edges { cursor } } }`, `{}`); code(out) != "unavailable" || !strings.Contains(body, `"hint":"start it"`) {
		t.Error(body)
	}
	req := httptest.NewRequest(http.MethodGet, "/graphql?query={event{edges{cursor}}}", nil)
	rec := httptest.NewRecorder()
	if s.ServeHTTP(rec, req); rec.Code != http.StatusMethodNotAllowed {
		t.Error("GET gave", rec.Code)
	}
	req = httptest.NewRequest(http.MethodPost, "/graphql", strings.NewReader(`{"query":"{event{edges{cursor}}}"}`))
	req.Header.Set("Content-Type", "text/plain")
	rec = httptest.NewRecorder()
	if s.ServeHTTP(rec, req); rec.Code != http.StatusUnsupportedMediaType {
		t.Error("a form gave", rec.Code)
	}
}

func TestIntrospectionAsConsolesSendItWorks(t *testing.T) {
	s, _ := open(t)
	const query = `query IntrospectionQuery { __schema { queryType { name } types { ...FullType } directives { name description locations args { ...InputValue } } } }
	fragment FullType on __Type { kind name description fields(includeDeprecated: true) { name description args { ...InputValue } type { ...TypeRef } isDeprecated deprecationReason }
	  inputFields { ...InputValue } interfaces { ...TypeRef } enumValues(includeDeprecated: true) { name description isDeprecated deprecationReason } possibleTypes { ...TypeRef } }
	fragment InputValue on __InputValue { name description type { ...TypeRef } defaultValue }
	fragment TypeRef on __Type { kind name ofType { kind name ofType { kind name ofType { kind name ofType { kind name ofType { kind name ofType { kind name ofType { kind name } } } } } } } }`
	_, out, body := post(t, s, query, `{}`)
	if code(out) != "" || !strings.Contains(body, `"EventFilter"`) {
		t.Fatal(cutTo(body))
	}
}
