package graphql

import (
	"github.com/graphql-go/graphql/language/ast"

	"strata/fault"
)

const (
	maxBody          = 256 << 10
	maxDepth         = 10
	maxIntrospection = 25  // depth below __schema and __type
	maxIntroLists    = 3   // lists within lists there: each multiplies the answer
	maxFields        = 500 // with fragments counted where they are spread; validation compares pairs
	maxValueDepth    = 40  // of arguments
)

// limiter walks a document before it is validated.
type limiter struct {
	fragments map[string]*ast.FragmentDefinition
	given     map[string]any // variables
	count     int
	open      map[string]bool // fragments on the path
}

// check refuses what would be expensive to validate or to run, and conditions that would be dropped.
func check(doc *ast.Document, variables map[string]any) error {
	l := &limiter{fragments: map[string]*ast.FragmentDefinition{}, given: variables, open: map[string]bool{}}
	given := map[string]any{}
	for k, v := range variables {
		if v == nil {
			continue
		}
		given[k] = v
		if hasNull(v, 0) {
			return fault.New(fault.Invalid, "check variables", "$%s holds a null", k).
				WithHint("leave a condition out, or ask for isNull: a null condition would be no condition")
		}
	}
	l.given = given
	for _, def := range doc.Definitions {
		if f, ok := def.(*ast.FragmentDefinition); ok && f.Name != nil {
			l.fragments[f.Name.Value] = f
		}
	}
	for _, def := range doc.Definitions {
		op, ok := def.(*ast.OperationDefinition)
		if !ok {
			continue
		}
		for _, v := range op.VariableDefinitions {
			if v.Variable != nil && v.Variable.Name != nil && v.DefaultValue != nil && l.given[v.Variable.Name.Value] == nil {
				l.given[v.Variable.Name.Value] = v.DefaultValue
			}
		}
		if err := l.selections(op.SelectionSet, 1, -1); err != nil {
			return err
		}
	}
	return nil
}

func hasNull(v any, depth int) bool {
	if depth > maxValueDepth {
		return false // coercion will refuse it, or the filter's own limit
	}
	switch v := v.(type) {
	case nil:
		return true
	case map[string]any:
		for _, e := range v {
			if hasNull(e, depth+1) {
				return true
			}
		}
	case []any:
		for _, e := range v {
			if hasNull(e, depth+1) {
				return true
			}
		}
	}
	return false
}

func tooLarge(format string, args ...any) error {
	return fault.New(fault.TooLarge, "check query", format, args...).WithHint("ask for less at once")
}

// selections walks one selection set; lists is the number of introspection lists above it, -1 outside introspection.
func (l *limiter) selections(set *ast.SelectionSet, depth, lists int) error {
	if set == nil {
		return nil
	}
	limit := maxDepth
	if lists >= 0 {
		limit = maxIntrospection
	}
	if depth > limit {
		return tooLarge("the query is nested deeper than %d", limit)
	}
	for _, s := range set.Selections {
		if l.count++; l.count > maxFields {
			return tooLarge("the query has more than %d fields", maxFields)
		}
		var err error
		switch s := s.(type) {
		case *ast.Field:
			err = l.field(s, depth, lists)
		case *ast.InlineFragment:
			err = l.selections(s.SelectionSet, depth, lists)
		case *ast.FragmentSpread:
			err = l.spread(s, depth, lists)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (l *limiter) spread(s *ast.FragmentSpread, depth, lists int) error {
	f := l.fragments[s.Name.Value]
	if f == nil {
		return nil // validation names it
	}
	if l.open[s.Name.Value] {
		return fault.New(fault.Invalid, "check query", "fragment %s contains itself", s.Name.Value)
	}
	l.open[s.Name.Value] = true
	defer delete(l.open, s.Name.Value)
	return l.selections(f.SelectionSet, depth, lists)
}

func (l *limiter) field(f *ast.Field, depth, lists int) error {
	for _, a := range f.Arguments {
		if err := l.value(a.Value, 0); err != nil {
			return err
		}
	}
	if f.Name == nil {
		return nil
	}
	switch f.Name.Value {
	case "__schema", "__type":
		lists = 0
	case "fields", "interfaces", "possibleTypes", "inputFields":
		if lists >= 0 {
			if lists++; lists > maxIntroLists {
				return tooLarge("introspection is nested deeper than %d lists", maxIntroLists)
			}
		}
	}
	return l.selections(f.SelectionSet, depth+1, lists)
}

// value refuses variables without a value inside objects and lists: graphql-go leaves such a condition out.
func (l *limiter) value(v ast.Value, depth int) error {
	if depth > maxValueDepth {
		return tooLarge("an argument is nested deeper than %d", maxValueDepth)
	}
	switch v := v.(type) {
	case *ast.Variable:
		if depth > 0 && v.Name != nil && l.given[v.Name.Value] == nil {
			return fault.New(fault.Invalid, "check variables", "$%s has no value", v.Name.Value).
				WithHint("give it a value: without one its condition would be dropped")
		}
	case *ast.ObjectValue:
		for _, f := range v.Fields {
			if err := l.value(f.Value, depth+1); err != nil {
				return err
			}
		}
	case *ast.ListValue:
		for _, e := range v.Values {
			if err := l.value(e, depth+1); err != nil {
				return err
			}
		}
	}
	return nil
}
