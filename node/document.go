package node

import (
	"errors"
	"fmt"
	"reflect"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"

	"strata/fault"
)

// Problem is one thing that is wrong with a configuration, or with what it names.
type Problem struct {
	// Line of the file; 0 where nothing in it is to blame, such as a key that is missing.
	Line int    `json:"line,omitempty"`
	Path string `json:"path,omitempty"` // of the key, such as datasets[2].time
	Err  error  `json:"-"`
	// Login: a server refused it, so nothing else could be asked there.
	Login bool `json:"-"`
}

// Error reads "what is wrong".
func (p *Problem) Error() string { return p.Err.Error() }

// Unwrap returns the cause.
func (p *Problem) Unwrap() error { return p.Err }

// At is the problem's place in a file: "strata.yaml:12", or only the file's name.
func (p *Problem) At(file string) string {
	if p.Line == 0 {
		return file
	}
	return fmt.Sprintf("%s:%d", file, p.Line)
}

// problems collects what is wrong at which path.
type problems []*Problem

func (p *problems) add(path, format string, args ...any) {
	*p = append(*p, &Problem{Path: path, Err: fmt.Errorf(format, args...)})
}

// addAll adds errors that say themselves where they are from.
func (p *problems) addAll(path string, errs ...error) {
	for _, err := range errs {
		if err != nil {
			*p = append(*p, &Problem{Path: path, Err: err})
		}
	}
}

// document is the text of a configuration, for finding lines.
type document struct {
	body ast.Node
}

// readDocument parses text; an empty one is no error. Errors: what no YAML is.
func readDocument(src []byte) (document, error) {
	f, err := parser.ParseBytes(src, 0)
	if err != nil {
		return document{}, &Problem{Line: errorLine(err), Err: fault.New(fault.Invalid, "parse configuration", "%w", messageOf(err)).WithHint("strata.example.yaml has every key")}
	}
	if len(f.Docs) == 0 || f.Docs[0].Body == nil {
		return document{}, nil
	}
	for _, more := range f.Docs[1:] {
		if more.Body != nil {
			return document{}, &Problem{Line: first(more.Body), Err: fault.New(fault.Invalid, "parse configuration", "a second document begins, of which nothing would be read").WithHint("remove the line of dashes before it")}
		}
	}
	return document{f.Docs[0].Body}, nil
}

// line is that of the key at path, or of the nearest key around it; 0 where there is none. A path is keys joined by dots,
// places in lists in brackets: datasets[2].time.
func (d document) line(path string) int {
	line, n := 0, d.body
	for step := range strings.FieldsFuncSeq(strings.ReplaceAll(path, "[", ".["), func(r rune) bool { return r == '.' }) {
		n = value(n)
		var next ast.Node
		if place, ok := strings.CutPrefix(step, "["); ok {
			var i int
			if _, err := fmt.Sscanf(place, "%d]", &i); err != nil {
				return line
			}
			if list, ok := n.(*ast.SequenceNode); ok && i >= 0 && i < len(list.Values) {
				next = list.Values[i]
				line = first(next)
			}
		} else {
			for _, kv := range entries(n) {
				if keyText(kv) == step {
					next, line = kv.Value, kv.Key.GetToken().Position.Line
				}
			}
		}
		if next == nil {
			return line
		}
		n = next
	}
	return line
}

// first is the line on which a node begins.
func first(n ast.Node) int {
	if m := entries(value(n)); len(m) > 0 {
		return m[0].Key.GetToken().Position.Line
	}
	return n.GetToken().Position.Line
}

// value is what stands behind tags and anchors.
func value(n ast.Node) ast.Node {
	for {
		switch v := n.(type) {
		case *ast.AnchorNode:
			n = v.Value
		case *ast.TagNode:
			n = v.Value
		default:
			return n
		}
	}
}

// entries are the pairs of a mapping; none for anything else.
func entries(n ast.Node) []*ast.MappingValueNode {
	switch v := n.(type) {
	case *ast.MappingNode:
		return v.Values
	case *ast.MappingValueNode:
		return []*ast.MappingValueNode{v}
	}
	return nil
}

func keyText(kv *ast.MappingValueNode) string { return kv.Key.GetToken().Value }

// maxMisread is how many values of a wrong type are listed.
const maxMisread = 100

// misread lists every value that can't be read as what its key takes, the first of which gave this error: each one that is
// named is taken out, so that the next one is met.
func (d document) misread(err error) (out problems) {
	for err != nil && len(out) < maxMisread {
		out = append(out, &Problem{Line: errorLine(err), Err: messageOf(err)})
		var at yaml.Error
		if !errors.As(err, &at) || at.GetToken() == nil || !blank(d.body, at.GetToken()) {
			return out
		}
		err = yaml.NodeToValue(d.body, &Config{})
	}
	return out
}

// blank puts null in place of the value that begins with a token, and reports whether there was one.
func blank(n ast.Node, t *token.Token) bool {
	is := func(v ast.Node) bool {
		p := value(v).GetToken().Position
		return v.Type() != ast.NullType && p.Line == t.Position.Line && p.Column == t.Position.Column
	}
	n = value(n)
	for _, kv := range entries(n) {
		if blank(kv.Value, t) {
			return true
		}
		if is(kv.Value) {
			kv.Value = ast.Null(t)
			return true
		}
	}
	list, ok := n.(*ast.SequenceNode)
	for i := 0; ok && i < len(list.Values); i++ {
		if blank(list.Values[i], t) {
			return true
		}
		if is(list.Values[i]) {
			list.Values[i] = ast.Null(t)
			return true
		}
	}
	return false
}

// unknown lists every key that the type has no field for.
func unknown(n ast.Node, t reflect.Type, path string) (out problems) {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if decodesItself(t) {
		return nil
	}
	n = value(n)
	join := func(key string) string { return strings.TrimPrefix(path+"."+key, ".") }
	switch t.Kind() {
	case reflect.Slice:
		if list, ok := n.(*ast.SequenceNode); ok {
			for i, v := range list.Values {
				out = append(out, unknown(v, t.Elem(), fmt.Sprintf("%s[%d]", path, i))...)
			}
		}
	case reflect.Map:
		for _, kv := range entries(n) {
			out = append(out, unknown(kv.Value, t.Elem(), join(keyText(kv)))...)
		}
	case reflect.Struct:
		fields := map[string]reflect.Type{}
		yamlFields(t, fields)
		for _, kv := range entries(n) {
			key := keyText(kv)
			switch f, ok := fields[key]; {
			case ok:
				out = append(out, unknown(kv.Value, f, join(key))...)
			case key != "<<":
				out = append(out, &Problem{Line: kv.Key.GetToken().Position.Line, Path: join(key), Err: fault.New(fault.Invalid, "", "unknown key %q", key).WithHint("strata.example.yaml has every key")})
			}
		}
	}
	return out
}

// yamlFields adds the keys of a struct, inlined ones too.
func yamlFields(t reflect.Type, into map[string]reflect.Type) {
	for i := range t.NumField() {
		f := t.Field(i)
		name, options, _ := strings.Cut(f.Tag.Get("yaml"), ",")
		switch {
		case strings.Contains(options, "inline"):
			yamlFields(f.Type, into)
		case name != "" && name != "-":
			into[name] = f.Type
		}
	}
}

// decodesItself reports whether the type reads its YAML by a method of its own.
func decodesItself(t reflect.Type) bool {
	p := reflect.PointerTo(t)
	for _, i := range []reflect.Type{reflect.TypeFor[yaml.NodeUnmarshaler](), reflect.TypeFor[yaml.InterfaceUnmarshaler](), reflect.TypeFor[yaml.BytesUnmarshaler]()} {
		if p.Implements(i) {
			return true
		}
	}
	return false
}

// locate fills in the lines.
func (d document) locate(list problems) {
	for _, p := range list {
		if p.Line == 0 && d.body != nil && p.Path != "" {
			p.Line = d.line(p.Path)
		}
	}
}

// joined is one error of all problems, each with its line.
func (list problems) joined(name string) error {
	errs := make([]error, len(list))
	for i, p := range list {
		errs[i] = p
		if p.Line > 0 {
			errs[i] = fmt.Errorf("%s: %w", p.At(name), p)
		}
	}
	return errors.Join(errs...)
}
