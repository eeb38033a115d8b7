package rest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"strata/core"
)

// node is one value of a scanned body.
type node core.Value

// scan reads a body strictly and keeps the items of its first keep levels.
func scan(body []byte, keep int) (node, error) {
	v, err := core.Scan(body, keep)
	var syntax *core.SyntaxError
	if errors.As(err, &syntax) {
		return node{}, &problem{status: http.StatusBadRequest, code: "bad_json", detail: syntax.Why, field: syntax.Field, offset: syntax.At + 1}
	}
	return node(v), err
}

// setter takes a member's value.
type setter func(v *node) error

// fields are the members that an object may have. Names are compared exactly.
type fields map[string]setter

// decode scans a body and hands its members out. Those of must have to be there.
func decode(body []byte, f fields, must ...string) error {
	root, err := scan(body, core.MaxDepth)
	if err != nil {
		return err
	}
	return root.members(f, must...)
}

func badField(at int, format string, args ...any) *problem {
	return &problem{status: http.StatusBadRequest, code: "bad_field", detail: fmt.Sprintf(format, args...), offset: at + 1}
}

// in puts a field's name before those that an error names already.
func in(field string, err error) error {
	var p *problem
	if errors.As(err, &p) {
		switch {
		case p.field == "":
			p.field = field
		case p.field[0] == '[' || field == "":
			p.field = field + p.field
		default:
			p.field = field + "." + p.field
		}
	}
	return err
}

func (n *node) members(f fields, must ...string) error {
	if n.Kind != '{' {
		return badField(n.At, "an object is expected here")
	}
	for i := range n.Items {
		m := (*node)(&n.Items[i])
		set, ok := f[m.Name]
		if !ok {
			return in(m.Name, badField(m.At, "there is no such field").hinted("fields: "+strings.Join(names(f), ", ")))
		}
		if err := set(m); err != nil {
			return in(m.Name, err)
		}
	}
	for _, name := range must {
		if !n.has(name) {
			return in(name, badField(n.At, "the field is missing"))
		}
	}
	return nil
}

func names(f fields) []string {
	out := make([]string, 0, len(f))
	for name := range f {
		out = append(out, name)
	}
	slices.Sort(out)
	return out
}

func (n *node) has(name string) bool {
	return slices.ContainsFunc(n.Items, func(m core.Value) bool { return m.Name == name })
}

// elements hands an array's items out.
func (n *node) elements(each setter) error {
	if n.Kind != '[' {
		return badField(n.At, "an array is expected here")
	}
	for i := range n.Items {
		if err := each((*node)(&n.Items[i])); err != nil {
			return in("["+strconv.Itoa(i)+"]", err)
		}
	}
	return nil
}

func text(into *string) setter {
	return func(v *node) error {
		if v.Kind != '"' {
			return badField(v.At, "a string is expected here")
		}
		*into = string(core.Unquote(v.Raw))
		return nil
	}
}

// digits takes a 64-bit number as a string of digits or as a JSON integer.
func digits(into *int64) setter {
	return func(v *node) error {
		raw := v.Raw
		switch v.Kind {
		case '"':
			raw = core.Unquote(raw)
		case '0':
		default:
			return badField(v.At, "an integer, or a string of its digits, is expected here")
		}
		n, err := strconv.ParseInt(string(raw), 10, 64)
		if err != nil || raw[0] == '+' {
			return badField(v.At, "this is not an integer of 64 bits")
		}
		*into = n
		return nil
	}
}

// perhaps is digits, or null for none.
func perhaps(into **int64) setter {
	return func(v *node) error {
		if v.Kind == 'n' {
			*into = nil
			return nil
		}
		var n int64
		err := digits(&n)(v)
		*into = &n
		return err
	}
}

func count(into *int) setter {
	return func(v *node) error {
		var n int64
		if err := digits(&n)(v); err != nil {
			return err
		}
		if n < 0 || n > math.MaxInt32 {
			return badField(v.At, "this is not a count")
		}
		*into = int(n)
		return nil
	}
}

// object takes an object of any members as compact text.
func object(into *string) setter {
	return func(v *node) error {
		if v.Kind != '{' {
			return badField(v.At, "an object is expected here")
		}
		var out bytes.Buffer
		if err := json.Compact(&out, v.Raw); err != nil {
			return badField(v.At, "this is not JSON")
		}
		*into = out.String()
		return nil
	}
}

// date takes 2026-11-22 as midnight UTC.
func date(into *time.Time) setter {
	return func(v *node) error {
		var t string
		if err := text(&t)(v); err != nil {
			return err
		}
		d, err := time.Parse(time.DateOnly, t)
		if err != nil || !core.Storable(d) {
			return badField(v.At, "a date is written 2026-11-22")
		}
		*into = d
		return nil
	}
}

// word takes the name of one of the values from 0 to last.
func word[T interface {
	~uint8
	String() string
}](into *T, last T) setter {
	return func(v *node) error {
		var t string
		if err := text(&t)(v); err != nil {
			return err
		}
		got, ok := parseWord(t, last)
		if !ok {
			return badField(v.At, "the value is not one of %s", words(last))
		}
		*into = got
		return nil
	}
}

func parseWord[T interface {
	~uint8
	String() string
}](name string, last T) (T, bool) {
	for w := T(0); w <= last; w++ {
		if w.String() == name {
			return w, true
		}
	}
	return 0, false
}

func words[T interface {
	~uint8
	String() string
}](last T) string {
	var all []string
	for w := T(0); w <= last; w++ {
		all = append(all, w.String())
	}
	return strings.Join(all, ", ")
}
