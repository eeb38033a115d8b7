package rest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

// spec is the document, and what of it was seen.
type spec struct {
	root map[string]any
	seen map[string]bool // schema pointer + "." + property
	all  []operation     // by name
}

func readSpec(t testing.TB) *spec {
	t.Helper()
	s := &spec{root: parsed(t, document).(map[string]any), seen: map[string]bool{}}
	s.all = s.operations()
	return s
}

// parsed is JSON with its numbers as text.
func parsed(t testing.TB, raw []byte) any {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		t.Fatalf("%v in %s", err, raw)
	}
	return v
}

// at follows a reference, however many times.
func (s *spec) at(v any) (map[string]any, string) {
	m, _ := v.(map[string]any)
	where := ""
	for m["$ref"] != nil {
		where = m["$ref"].(string)
		next := any(s.root)
		for _, step := range strings.Split(strings.TrimPrefix(where, "#/"), "/") {
			next = next.(map[string]any)[step]
		}
		m, _ = next.(map[string]any)
	}
	return m, where
}

// check says why v does not fit the schema; nil: it does. Properties that fit are noted as seen.
func (s *spec) check(schema any, v any, path string) error {
	m, where := s.at(schema)
	if m == nil {
		return fmt.Errorf("%s: no schema %v", path, schema)
	}
	if where == "" {
		where = path
	}
	for word := range m {
		if !slices.Contains([]string{"type", "description", "pattern", "examples", "enum", "default", "format", "oneOf", "maxLength", "minimum",
			"maximum", "additionalProperties", "required", "properties", "maxItems", "items"}, word) {
			return fmt.Errorf("%s: the schema says %s, which this validator does not know", path, word)
		}
	}
	if m["oneOf"] != nil {
		return s.oneOf(m, v, path)
	}
	if kind, ok := m["type"].(string); ok && kindOf(v) != kind && (kind != "number" || kindOf(v) != "integer") {
		return fmt.Errorf("%s: %v is %s instead of %s", path, v, kindOf(v), kind)
	}
	if enum, ok := m["enum"].([]any); ok && !slices.Contains(enum, v) {
		return fmt.Errorf("%s: %v is not one of %v", path, v, enum)
	}
	switch v := v.(type) {
	case string:
		return checkText(m, v, path)
	case json.Number:
		return checkNumber(m, v, path)
	case []any:
		if limit, ok := m["maxItems"].(json.Number); ok && number(limit) < int64(len(v)) {
			return fmt.Errorf("%s: %d items", path, len(v))
		}
		for i, e := range v {
			if err := s.check(m["items"], e, fmt.Sprintf("%s[%d]", path, i)); err != nil {
				return err
			}
		}
	case map[string]any:
		return s.members(m, v, path, where)
	}
	return nil
}

func (s *spec) members(m, v map[string]any, path, where string) error {
	for _, name := range list(m["required"]) {
		if _, ok := v[name]; !ok {
			return fmt.Errorf("%s: %s is missing", path, name)
		}
	}
	props, _ := m["properties"].(map[string]any)
	for name, e := range v {
		schema, ok := props[name]
		if !ok {
			schema = m["additionalProperties"]
			if schema == true {
				continue
			}
			if schema == false || schema == nil {
				return fmt.Errorf("%s: the document has no %s", path, name)
			}
		}
		if err := s.check(schema, e, path+"."+name); err != nil {
			return err
		}
		s.seen[where+"."+name] = true
	}
	return nil
}

func (s *spec) oneOf(m map[string]any, v any, path string) error {
	var fits int
	var whys []string
	for i, c := range anys(m["oneOf"]) {
		if err := s.check(c, v, fmt.Sprintf("%s(%d)", path, i)); err != nil {
			whys = append(whys, err.Error())
		} else {
			fits++
		}
	}
	if fits != 1 {
		return fmt.Errorf("%s: %v fits %d of its forms: %s", path, v, fits, strings.Join(whys, "; "))
	}
	return nil
}

func checkText(m map[string]any, v, path string) error {
	if p, ok := m["pattern"].(string); ok && !regexp.MustCompile(p).MatchString(v) {
		return fmt.Errorf("%s: %q does not match %s", path, v, p)
	}
	if limit, ok := m["maxLength"].(json.Number); ok && int64(utf8.RuneCountInString(v)) > number(limit) {
		return fmt.Errorf("%s: %q is too long", path, v)
	}
	var err error
	switch m["format"] {
	case "date-time":
		_, err = time.Parse(time.RFC3339Nano, v)
	case "date":
		_, err = time.Parse(time.DateOnly, v)
	}
	return err
}

func checkNumber(m map[string]any, v json.Number, path string) error {
	if low, ok := m["minimum"].(json.Number); ok && number(v) < number(low) {
		return fmt.Errorf("%s: %s is below %s", path, v, low)
	}
	if high, ok := m["maximum"].(json.Number); ok && number(v) > number(high) {
		return fmt.Errorf("%s: %s is above %s", path, v, high)
	}
	return nil
}

func kindOf(v any) string {
	switch v := v.(type) {
	case nil:
		return "null"
	case string:
		return "string"
	case bool:
		return "boolean"
	case []any:
		return "array"
	case json.Number:
		if _, err := v.Int64(); err == nil {
			return "integer"
		}
		return "number"
	}
	return "object"
}

func number(n json.Number) int64 {
	i, _ := n.Int64()
	return i
}

func list(v any) []string {
	var out []string
	all, _ := v.([]any)
	for _, e := range all {
		out = append(out, e.(string))
	}
	return out
}

// operation is one of the document's.
type operation struct {
	method, path, name string
	raw                map[string]any
}

func (s *spec) operations() []operation {
	var out []operation
	for path, item := range s.root["paths"].(map[string]any) {
		for method, raw := range item.(map[string]any) {
			o := raw.(map[string]any)
			out = append(out, operation{strings.ToUpper(method), path, o["operationId"].(string), o})
		}
	}
	slices.SortFunc(out, func(a, b operation) int { return strings.Compare(a.name, b.name) })
	return out
}

// response is the schema and the media type of an answer.
func (s *spec) response(o operation, status string) (schema any, media string, example any, ok bool) {
	r, _ := s.at(o.raw["responses"].(map[string]any)[status])
	if r == nil {
		return nil, "", nil, false
	}
	for kind, c := range r["content"].(map[string]any) {
		content := c.(map[string]any)
		return content["schema"], kind, content["example"], true
	}
	return nil, "", nil, false
}

// requestBody is the schema and the examples of a request.
func (s *spec) requestBody(o operation) (schema any, examples map[string]any) {
	b, ok := o.raw["requestBody"].(map[string]any)
	if !ok {
		return nil, nil
	}
	content := b["content"].(map[string]any)["application/json"].(map[string]any)
	return content["schema"], content["examples"].(map[string]any)
}

// properties lists every property that a schema can have, as check notes it.
func (s *spec) properties(schema any, path string, into map[string]bool) {
	m, where := s.at(schema)
	if where == "" {
		where = path
	}
	for _, c := range anys(m["oneOf"]) {
		s.properties(c, path, into)
	}
	if items, ok := m["items"]; ok {
		s.properties(items, path, into)
	}
	props, _ := m["properties"].(map[string]any)
	for name, p := range props {
		key := where + "." + name
		if into[key] {
			continue
		}
		into[key] = true
		s.properties(p, path+"."+name, into)
	}
}

func anys(v any) []any {
	all, _ := v.([]any)
	return all
}
