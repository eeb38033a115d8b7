package rest

import (
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"net/http"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	"strata/core"
	"strata/fault"
)

// The document and the handlers say the same: every test of this package holds each answer against the document, and these
// go through the document from end to end.

func TestDocument_has_the_routes_and_no_others(t *testing.T) {
	s := readSpec(t)
	byName := map[string]operation{}
	for _, o := range s.all {
		byName[o.name] = o
	}
	for _, rt := range routes() {
		o, ok := byName[rt.name]
		if !ok || o.method != rt.method || o.path != rt.pattern {
			t.Errorf("%s %s is %s %s in the document", rt.method, rt.pattern, o.method, o.path)
			continue
		}
		delete(byName, rt.name)
		var query, inPath []string
		for _, p := range anys(o.raw["parameters"]) {
			m, _ := s.at(p)
			switch m["in"] {
			case "query":
				query = append(query, m["name"].(string))
			case "path":
				inPath = append(inPath, m["name"].(string))
			}
		}
		for _, name := range inPath {
			if !strings.Contains(rt.pattern, "{"+name+"}") {
				t.Errorf("%s: the path has no %s", rt.name, name)
			}
		}
		if strings.Count(rt.pattern, "{") != len(inPath) || !sameSet(query, rt.query) {
			t.Errorf("%s: path %v, query %v in the document, %v in the route", rt.name, inPath, query, rt.query)
		}
		var statuses []string
		for _, st := range rt.all() {
			statuses = append(statuses, strconv.Itoa(st))
		}
		if in := slices.Collect(maps.Keys(o.raw["responses"].(map[string]any))); !sameSet(in, statuses) {
			t.Errorf("%s: statuses %v in the document, %v in the route", rt.name, in, statuses)
		}
		if schema, _ := s.requestBody(o); (schema != nil) != (rt.body > 0) {
			t.Errorf("%s: the document has the body %v, the route takes %d bytes", rt.name, schema, rt.body)
		}
	}
	for name := range byName {
		t.Errorf("%s is in the document only", name)
	}
}

func sameSet(a, b []string) bool {
	a, b = slices.Clone(a), slices.Clone(b)
	slices.Sort(a)
	slices.Sort(b)
	return slices.Equal(a, b)
}

// path fills a path's parameters in.
func (o operation) at() string {
	return strings.NewReplacer("{id}", "7", "{tenant}", "shop", "{order}", "4711", "{name}", "pay", "{transfer}", "t1").Replace(o.path)
}

// send sends an operation with a body, and with what it needs besides.
func (r *rig) send(o operation, body string, changes ...with) answered {
	r.t.Helper()
	path := o.at()
	if o.name == "listReservations" {
		path += "?state=pending"
	}
	if o.name == "putSettings" {
		changes = append([]with{header("If-Match", `"7"`)}, changes...)
	}
	return r.do(o.method, path, body, changes...)
}

// anyBody is the first example of an operation's body, by name.
func (s *spec) anyBody(o operation) string {
	_, examples := s.requestBody(o)
	if len(examples) == 0 {
		return ""
	}
	names := slices.Sorted(maps.Keys(examples))
	return compact(examples[names[0]].(map[string]any)["value"])
}

func compact(v any) string {
	raw, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(raw)
}

func TestDocument_examples_are_taken_and_answered(t *testing.T) {
	r := newRig(t)
	asked := &spec{root: r.spec.root, seen: map[string]bool{}}
	properties := map[string]bool{}
	for _, o := range r.spec.all {
		schema, examples := r.spec.requestBody(o)
		if schema == nil {
			if a := r.send(o, ""); a.status != http.StatusOK {
				t.Errorf("%s: %d %s", o.name, a.status, a.raw)
			}
		}
		for name, e := range examples {
			value := e.(map[string]any)["value"]
			if err := asked.check(schema, value, o.name); err != nil {
				t.Errorf("%s, example %q: %v", o.name, name, err)
			}
			if a := r.send(o, compact(value)); a.status >= 300 {
				t.Errorf("%s, example %q: %d %s", o.name, name, a.status, a.raw)
			}
		}
		if schema != nil {
			asked.properties(schema, o.name, properties)
		}
		for status := range o.raw["responses"].(map[string]any) {
			answer, _, example, _ := r.spec.response(o, status)
			if example == nil {
				continue
			}
			if err := asked.check(answer, example, "example of "+o.name); err != nil {
				t.Errorf("%s %s: %v", o.name, status, err)
			}
		}
	}
	for key := range properties {
		if !asked.seen[key] {
			t.Errorf("no example of a request has %s, so nothing shows that it is taken", key)
		}
	}
}

func TestDocument_every_field_of_an_answer_is_answered(t *testing.T) {
	r := newRig(t)
	properties := map[string]bool{}
	for _, o := range r.spec.all {
		r.send(o, r.spec.anyBody(o))
		for status := range o.raw["responses"].(map[string]any) {
			schema, _, _, _ := r.spec.response(o, status)
			r.spec.properties(schema, "answer", properties)
		}
	}
	r.do(http.MethodGet, "/v1/accounts?limit=2", "")
	r.do(http.MethodGet, "/v1/reservations?state=fenced&limit=1", "")
	r.do(http.MethodGet, "/v1/notices?limit=1", "")
	post, _ := r.operationNamed("postTransfer")
	r.stub.err = fault.New(fault.Busy, "post", "%w", &core.RetryAfter{After: 1})
	r.send(post, r.spec.anyBody(post))
	r.stub.post = answering(core.Answer{Outcome: core.Refused, Code: core.BelowMinimum, Field: "legs[0]"})
	r.send(post, r.spec.anyBody(post))
	r.send(post, "{")
	for key := range properties {
		if !r.spec.seen[key] {
			t.Errorf("no answer had %s", key)
		}
	}
}

func (r *rig) operationNamed(name string) (operation, bool) {
	for _, o := range r.spec.all {
		if o.name == name {
			return o, true
		}
	}
	return operation{}, false
}

// TestDocument_other_fields_are_refused tries every word of this package's and core's sources, and of the document, as a
// field of every object of every request, and as a query parameter.
func TestDocument_other_fields_are_refused(t *testing.T) {
	r := newRig(t)
	words := map[string]bool{"ID": true, "Legs": true, "": true}
	for _, dir := range []string{".", ".."} {
		wordsOf(t, dir, words)
	}
	for _, o := range r.spec.all {
		schema, examples := r.spec.requestBody(o)
		for _, e := range examples {
			value := e.(map[string]any)["value"]
			r.eachObject(schema, value, func(fits []map[string]any, object map[string]any) {
				for w := range words {
					if known(fits, w) {
						continue
					}
					object[w] = "1"
					if a := r.send(o, compact(value)); a.status != http.StatusBadRequest || !strings.HasSuffix(fmt.Sprint(a.field("field")), w) {
						t.Errorf("%s takes the field %q, which the document does not have: %d %s", o.name, w, a.status, a.raw)
					}
					delete(object, w)
				}
			})
		}
		query := map[string]bool{}
		for _, p := range anys(o.raw["parameters"]) {
			m, _ := r.spec.at(p)
			query[fmt.Sprint(m["name"])] = m["in"] == "query"
		}
		for w := range words {
			if strings.Trim(w, "abcdefghijklmnopqrstuvwxyz_") == "" && w != "" && !query[w] {
				r.problem(http.StatusBadRequest, "bad_parameter", w, o.method, o.at()+"?"+w+"=1", r.spec.anyBody(o))
			}
		}
	}
}

func known(schemas []map[string]any, name string) bool {
	for _, m := range schemas {
		props, _ := m["properties"].(map[string]any)
		if _, ok := props[name]; ok || m["additionalProperties"] == true {
			return true
		}
	}
	return false
}

// eachObject calls on with every object of a value and the schemas that it may have.
func (r *rig) eachObject(schema, v any, on func(fits []map[string]any, object map[string]any)) {
	m, _ := r.spec.at(schema)
	fits := []map[string]any{m}
	for _, c := range anys(m["oneOf"]) {
		alternative, _ := r.spec.at(c)
		fits = append(fits, alternative)
	}
	switch v := v.(type) {
	case []any:
		for _, e := range v {
			r.eachObject(m["items"], e, on)
		}
	case map[string]any:
		on(fits, v)
		for _, f := range fits {
			props, _ := f["properties"].(map[string]any)
			for name, p := range props {
				if e, ok := v[name]; ok {
					r.eachObject(p, e, on)
				}
			}
		}
	}
}

// sources are a folder's Go files, without tests.
func sources(t *testing.T, dir string) []*ast.File {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	var out []*ast.File
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, f)
	}
	return out
}

// wordsOf collects the short string literals of a folder's sources, without tests.
func wordsOf(t *testing.T, dir string, into map[string]bool) {
	t.Helper()
	for _, f := range sources(t, dir) {
		ast.Inspect(f, func(n ast.Node) bool {
			if l, ok := n.(*ast.BasicLit); ok && l.Kind == token.STRING {
				if w, err := strconv.Unquote(l.Value); err == nil && len(w) < 24 && strings.Trim(w, "abcdefghijklmnopqrstuvwxyz_") == "" {
					into[w] = true
				}
			}
			return true
		})
	}
}

func TestDocument_a_transfer_has_all_fields_of_cores(t *testing.T) {
	full := cannedTransfer()
	for i, v := 0, reflect.ValueOf(full); i < v.NumField(); i++ {
		if v.Field(i).IsZero() {
			if _, zero := v.Field(i).Interface().(core.Action); !zero {
				t.Fatalf("the test's transfer has no %s", v.Type().Field(i).Name)
			}
		}
	}
	s := readSpec(t)
	raw := full.AppendJSON(nil)
	if err := s.check(map[string]any{"$ref": "#/components/schemas/Transfer"}, parsed(t, raw), "transfer"); err != nil {
		t.Fatal(err)
	}
	properties := map[string]bool{}
	s.properties(map[string]any{"$ref": "#/components/schemas/Transfer"}, "transfer", properties)
	for key := range properties {
		if !s.seen[key] {
			t.Errorf("core's form has no %s: %s", key, raw)
		}
	}
}

func TestDocument_every_code_is_listed(t *testing.T) {
	s := readSpec(t)
	schema, _ := s.at(map[string]any{"$ref": "#/components/schemas/Code"})
	listed := list(schema["enum"])
	said := map[string]bool{}
	for k := fault.Internal; k < fault.Interrupted; k++ {
		said[k.String()] = true
	}
	delete(said, fault.Interrupted.String())
	codesOf(t, ".", said)
	codesOf(t, "..", said)
	for code := range said {
		if !slices.Contains(listed, code) {
			t.Errorf("the document does not list %s", code)
		}
	}
	for _, code := range listed {
		if !said[code] {
			t.Errorf("nothing says %s, which the document lists", code)
		}
	}
}

// codesOf collects what is given to a field `code`, and constants of the type Code.
func codesOf(t *testing.T, dir string, into map[string]bool) {
	t.Helper()
	literal := func(e ast.Expr) {
		if l, ok := e.(*ast.BasicLit); ok {
			code, _ := strconv.Unquote(l.Value)
			into[code] = true
		}
	}
	for _, f := range sources(t, dir) {
		ast.Inspect(f, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.KeyValueExpr:
				if k, ok := n.Key.(*ast.Ident); ok && k.Name == "code" && dir == "." {
					literal(n.Value)
				}
			case *ast.AssignStmt:
				for i, l := range n.Lhs {
					if sel, ok := l.(*ast.SelectorExpr); ok && sel.Sel.Name == "code" && dir == "." && len(n.Rhs) == len(n.Lhs) {
						literal(n.Rhs[i])
					}
				}
			case *ast.ValueSpec:
				if k, ok := n.Type.(*ast.Ident); ok && k.Name == "Code" && len(n.Values) == 1 {
					literal(n.Values[0])
				}
			}
			return true
		})
	}
}
