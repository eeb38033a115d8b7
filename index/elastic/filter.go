package elastic

import (
	"slices"
	"strings"
	"unicode/utf8"

	"strata/catalog"
	"strata/fault"
)

const (
	// maxNodes and maxDepth bound a filter: Elasticsearch refuses more than 1,024 clauses and 20 levels, of which each of
	// ours may be two.
	maxNodes = 500
	maxDepth = 8
	// maxValues bounds the values of one search, below Elasticsearch's 65,536 of one condition.
	maxValues = 30_000
	// maxContains bounds the characters of a Contains. It becomes an automaton, and Elasticsearch refuses those above a
	// size: 333 times the same character was too much.
	maxContains = 200
	// maxBound bounds the bytes of a text to compare with by order, which becomes an automaton too, of at most 1,000 states.
	maxBound = 900
)

// query builds the condition of a search.
type query struct {
	ds     *dataset
	nodes  int
	values int
	long   []string // columns of which documents with long texts are only candidates
}

func all() obj  { return obj{"match_all": obj{}} }
func none() obj { return obj{"match_none": obj{}} }

func term(path string, v any) obj { return obj{"term": obj{path: obj{"value": v}}} }

func every(conditions ...any) obj { return obj{"bool": obj{"filter": conditions}} }

func some(conditions ...any) obj {
	return obj{"bool": obj{"should": conditions, "minimum_should_match": 1}}
}

// but is a condition and not another.
func but(is, not obj) obj { return obj{"bool": obj{"filter": []any{is}, "must_not": []any{not}}} }

// filter returns the condition that f is true, or (want false) that it is false: in SQL's logic not every document is one
// of both. f must have passed Check.
func (q *query) filter(f catalog.Filter, want bool, depth int) (obj, error) {
	if q.nodes++; q.nodes > maxNodes {
		return nil, fault.New(fault.TooLarge, "build search", "the filter has more than %d conditions", maxNodes)
	}
	if depth > maxDepth {
		return nil, fault.New(fault.TooLarge, "build search", "the filter is nested more than %d levels deep", maxDepth)
	}
	switch f.Op {
	case catalog.True, catalog.False:
		if (f.Op == catalog.True) == want {
			return all(), nil
		}
		return none(), nil
	case catalog.Not:
		return q.filter(f.Args[0], !want, depth)
	case catalog.And, catalog.Or:
		conditions := make([]any, 0, len(f.Args))
		for _, a := range flatten(f.Op, f.Args) {
			c, err := q.filter(a, want, depth+1)
			if err != nil {
				return nil, err
			}
			conditions = append(conditions, c)
		}
		if (f.Op == catalog.And) == want {
			return every(conditions...), nil
		}
		return some(conditions...), nil
	}
	return q.leaf(f, want)
}

// flatten lifts the arguments of nested nodes of the same kind.
func flatten(op catalog.Op, args []catalog.Filter) []catalog.Filter {
	var out []catalog.Filter
	for _, a := range args {
		if a.Op == op {
			out = append(out, flatten(op, a.Args)...)
		} else {
			out = append(out, a)
		}
	}
	return out
}

func (q *query) leaf(f catalog.Filter, want bool) (obj, error) {
	c := &q.ds.fields[q.ds.d.Index(f.Column)]
	if f.Op == catalog.IsNull {
		if want {
			return obj{"bool": obj{"must_not": []any{q.present(c)}}}, nil
		}
		return q.present(c), nil
	}
	if q.values += len(f.Values); q.values > maxValues {
		return nil, fault.New(fault.TooLarge, "build search", "more than %d values", maxValues)
	}
	is, err := q.test(c, f, want)
	if err != nil || c.form != asKeyword {
		return is, err
	}
	if !slices.Contains(q.long, c.name) {
		q.long = append(q.long, c.name)
	}
	return some(is, term(own+".long", c.name)), nil
}

// present is that the column isn't NULL.
func (q *query) present(c *field) obj {
	exists := obj{"exists": obj{"field": c.path()}}
	if c.form == asKeyword {
		return some(exists, term(own+".long", c.name))
	}
	return exists
}

// test is a comparison over what is indexed of a column; never true of NULL, in either sense.
func (q *query) test(c *field, f catalog.Filter, want bool) (obj, error) {
	exists := obj{"exists": obj{"field": c.path()}}
	sense := func(is obj) obj {
		if want {
			return is
		}
		return but(exists, is)
	}
	if f.Op != catalog.In && f.Op != catalog.Eq && f.Op != catalog.Ne && f.Op != catalog.Match && len(f.Values[0]) > maxBound {
		return nil, fault.New(fault.TooLarge, "build search", "a text of more than %d bytes to compare %s with", maxBound, c.name).
			WithHint("compare with the beginning of it")
	}
	switch f.Op {
	case catalog.In:
		is, err := in(c, f.Values)
		return sense(is), err
	case catalog.Match:
		is, err := q.match(c, f.Values[0])
		return sense(is), err
	case catalog.Prefix:
		return sense(prefix(c, f.Values[0], exists)), nil
	case catalog.Contains:
		if utf8.RuneCountInString(f.Values[0]) > maxContains {
			return nil, fault.New(fault.TooLarge, "build search", "a text of more than %d characters to look for inside others", maxContains).
				WithHint("look for a part of it")
		}
		return sense(obj{"wildcard": obj{c.path(): obj{"value": "*" + escapeWildcard(f.Values[0]) + "*"}}}), nil
	}
	op := f.Op
	if !want {
		op = opposite(op)
	}
	v, how := c.encode(f.Values[0])
	if how == bad {
		return nil, badValue(f.Values[0])
	}
	return compare(c, op, v, how, exists), nil
}

// match is that all phrases stand in a column's words. Each word counts as a condition.
func (q *query) match(c *field, value string) (obj, error) {
	phrases, err := catalog.Phrases(value)
	if err != nil {
		return nil, err
	}
	all := make([]any, len(phrases))
	for i, p := range phrases {
		n := strings.Count(p, " ")
		if q.nodes += n + 1; q.nodes > maxNodes {
			return nil, fault.New(fault.TooLarge, "build search", "the filter has more than %d conditions and words", maxNodes)
		}
		if all[i] = term(c.wordsPath(), p); n > 0 {
			all[i] = obj{"match_phrase": obj{c.wordsPath(): obj{"query": p}}}
		}
	}
	return every(all...), nil
}

// opposite is the comparison that is true where op is false.
func opposite(op catalog.Op) catalog.Op {
	switch op {
	case catalog.Eq:
		return catalog.Ne
	case catalog.Ne:
		return catalog.Eq
	case catalog.Lt:
		return catalog.Ge
	case catalog.Le:
		return catalog.Gt
	case catalog.Gt:
		return catalog.Le
	default:
		return catalog.Lt
	}
}

// compare compares a column with a form that may stand just below the value meant, or beyond all that there are.
func compare(c *field, op catalog.Op, v value, how fit, exists obj) obj {
	lower := op == catalog.Lt || op == catalog.Le
	if how != exact {
		switch {
		case op == catalog.Eq:
			return none()
		case op == catalog.Ne:
			return exists
		case how == below && lower, how == above && !lower:
			return none()
		case how == below, how == above:
			return exists
		case lower: // v < value meant < next
			op = catalog.Le
		default:
			op = catalog.Gt
		}
	}
	switch op {
	case catalog.Eq:
		return term(c.path(), v.any())
	case catalog.Ne:
		return but(exists, term(c.path(), v.any()))
	}
	sign := map[catalog.Op]string{catalog.Lt: "lt", catalog.Le: "lte", catalog.Gt: "gt", catalog.Ge: "gte"}[op]
	return obj{"range": obj{c.path(): obj{sign: v.any()}}}
}

func in(c *field, values []string) (obj, error) {
	have := make([]any, 0, len(values))
	for _, s := range values {
		switch v, how := c.encode(s); how {
		case bad:
			return nil, badValue(s)
		case exact:
			have = append(have, v.any())
		}
	}
	if len(have) == 0 {
		return none(), nil
	}
	return obj{"terms": obj{c.path(): have}}, nil
}

// prefix is a range, as a prefix query has a limit of length.
func prefix(c *field, p string, exists obj) obj {
	if p == "" {
		return exists
	}
	of := obj{"gte": p}
	if next, ok := successor(p); ok {
		of["lt"] = next
	}
	return obj{"range": obj{c.path(): of}}
}

// successor is the least text above every text that begins with p. The bytes of UTF-8 sort as its characters do.
func successor(p string) (string, bool) {
	r := []rune(p)
	for i := len(r) - 1; i >= 0; i-- {
		switch r[i] {
		case utf8.MaxRune:
			continue
		case 0xd7ff: // what follows are halves of characters
			r[i] = 0xe000
		default:
			r[i]++
		}
		return string(r[:i+1]), true
	}
	return "", false
}

func badValue(text string) error {
	return fault.New(fault.Invalid, "build search", "%q can't be compared with the column", text)
}

// escapeWildcard takes the meaning from what wildcards have one of.
func escapeWildcard(s string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`).Replace(s)
}
