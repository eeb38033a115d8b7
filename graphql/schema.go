package graphql

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	gql "github.com/graphql-go/graphql"
	"github.com/graphql-go/graphql/language/ast"

	"strata/catalog"
	"strata/fault"
)

// builder makes the schema.
type builder struct {
	ask    func(p gql.ResolveParams, t *table) (any, error)
	int64  *gql.Scalar
	page   *gql.Object
	served *gql.Object
	fresh  *gql.InputObject
	ops    map[string]*gql.InputObject // the types of conditions by name
}

// table is a dataset with its GraphQL names.
type table struct {
	ds    *catalog.Dataset
	names []string // of the columns
}

func newSchema(datasets []*catalog.Dataset, ask func(gql.ResolveParams, *table) (any, error)) (gql.Schema, error) {
	b := &builder{ask: ask, int64: int64Scalar(), ops: map[string]*gql.InputObject{}}
	b.shared()
	var errs []error
	fields, types := gql.Fields{}, map[string]string{}
	for _, d := range datasets {
		name := safeName(d.Name)
		typ := strings.ToUpper(name[:1]) + name[1:]
		if other := types[typ]; other != "" || fields[name] != nil {
			errs = append(errs, fault.New(fault.Invalid, "make schema", "datasets %s and %s have the same GraphQL name", other, d.Name))
			continue
		}
		types[typ] = d.Name
		f, err := b.connection(d, typ)
		errs = append(errs, err)
		fields[name] = f
	}
	if err := errors.Join(errs...); err != nil {
		return gql.Schema{}, err
	}
	s, err := gql.NewSchema(gql.SchemaConfig{Query: gql.NewObject(gql.ObjectConfig{Name: "Query", Fields: fields})})
	return s, fault.Wrap(fault.Invalid, "make schema", err)
}

// safeName makes a GraphQL name of a column or dataset.
func safeName(s string) string {
	s = regexp.MustCompile(`[^_0-9A-Za-z]`).ReplaceAllString(s, "_")
	switch s {
	case "and", "or", "not", "true", "false", "null":
		return "col_" + s
	}
	if s == "" || s[0] >= '0' && s[0] <= '9' || strings.HasPrefix(s, "__") {
		return "col_" + s
	}
	return s
}

// int64Scalar is exact: JSON has doubles only, so it goes out as a string of digits.
func int64Scalar() *gql.Scalar {
	digits := func(v any) any {
		switch v := v.(type) {
		case string:
			if regexp.MustCompile(`^-?\d{1,20}$`).MatchString(v) {
				return v
			}
		case int:
			return strconv.Itoa(v)
		case int64:
			return strconv.FormatInt(v, 10)
		case uint64:
			return strconv.FormatUint(v, 10)
		}
		return nil
	}
	return gql.NewScalar(gql.ScalarConfig{
		Name:        "Int64",
		Description: "A 64-bit integer, signed or not, as a string of digits. Integer literals are accepted too.",
		Serialize:   digits,
		ParseValue:  digits,
		ParseLiteral: func(v ast.Value) any {
			switch v := v.(type) {
			case *ast.IntValue:
				return digits(v.Value)
			case *ast.StringValue:
				return digits(v.Value)
			}
			return nil
		},
	})
}

// shared makes the types that all datasets use.
func (b *builder) shared() {
	field := func(t gql.Output) *gql.Field { return &gql.Field{Type: gql.NewNonNull(t)} }
	list := func(t gql.Output) *gql.Field { return field(gql.NewList(gql.NewNonNull(t))) }
	shard := gql.NewObject(gql.ObjectConfig{Name: "ServedShard", Fields: gql.Fields{"shard": field(gql.String), "epoch": field(b.int64)}})
	source := gql.NewObject(gql.ObjectConfig{Name: "ServedSource", Fields: gql.Fields{
		"source": field(gql.String), "shards": list(shard), "rows": field(b.int64), "heartbeat": field(b.int64),
		"lagMs": field(b.int64), "why": field(gql.String)}})
	b.served = gql.NewObject(gql.ObjectConfig{Name: "Served", Description: "Where the answer came from and how fresh it is.", Fields: gql.Fields{
		"sources": list(source), "complete": field(gql.Boolean), "reason": {Type: gql.String}, "replans": field(gql.Int), "position": field(b.int64)}})
	b.page = gql.NewObject(gql.ObjectConfig{Name: "PageInfo", Fields: gql.Fields{"endCursor": {Type: gql.String}, "hasNextPage": field(gql.Boolean)}})
	b.fresh = gql.NewInputObject(gql.InputObjectConfig{Name: "Freshness", Fields: gql.InputObjectConfigFieldMap{
		"strong":    {Type: gql.Boolean, Description: "One snapshot per server, on its primary; the index is not asked."},
		"boundedMs": {Type: gql.Int, Description: "Sources may lag at most this long."},
		"atLeast":   {Type: b.int64, Description: "The position of an earlier answer or write."},
		"waitMs":    {Type: gql.Int, Description: "How long a source that lags may be waited for."}}})
}

// scalar is the GraphQL type of a column.
func (b *builder) scalar(c catalog.Column) *gql.Scalar {
	switch c.Type.Kind {
	case catalog.Int, catalog.Uint, catalog.Year:
		return b.int64
	}
	return gql.String
}

// opNames are the operations of a column's filter by GraphQL name, in the order in which they are joined.
func opNames() []struct {
	name string
	op   catalog.Op
} {
	return []struct {
		name string
		op   catalog.Op
	}{{"eq", catalog.Eq}, {"ne", catalog.Ne}, {"lt", catalog.Lt}, {"le", catalog.Le}, {"gt", catalog.Gt}, {"ge", catalog.Ge},
		{"prefix", catalog.Prefix}, {"contains", catalog.Contains}, {"matches", catalog.Match}, {"in", catalog.In}, {"isNull", catalog.IsNull}}
}

// conditions is the input type for one column's conditions.
func (b *builder) conditions(d *catalog.Dataset, c catalog.Column) *gql.InputObject {
	s := b.scalar(c)
	name, text, words := s.Name()+"Conditions", c.Type.Kind == catalog.Text, slices.Contains(d.Text, c.Name)
	switch {
	case words:
		name = "WordsConditions"
	case text:
		name = "TextConditions"
	}
	if t := b.ops[name]; t != nil {
		return t
	}
	fields := gql.InputObjectConfigFieldMap{}
	for _, o := range opNames() {
		switch {
		case o.op == catalog.In:
			fields[o.name] = &gql.InputObjectFieldConfig{Type: gql.NewList(gql.NewNonNull(s))}
		case o.op == catalog.IsNull:
			fields[o.name] = &gql.InputObjectFieldConfig{Type: gql.Boolean}
		case o.op == catalog.Match && words:
			fields[o.name] = &gql.InputObjectFieldConfig{Type: s, Description: `Words and "phrases", all of which must be in the text; asks the index only.`}
		case o.op == catalog.Match:
		case o.op != catalog.Prefix && o.op != catalog.Contains || text:
			fields[o.name] = &gql.InputObjectFieldConfig{Type: s}
		}
	}
	t := gql.NewInputObject(gql.InputObjectConfig{Name: name, Fields: fields})
	b.ops[name] = t
	return t
}

// connection is the field of one dataset.
func (b *builder) connection(d *catalog.Dataset, typ string) (*gql.Field, error) {
	t := &table{ds: d}
	node, enum := gql.Fields{}, gql.EnumValueConfigMap{}
	filters := gql.InputObjectConfigFieldMap{}
	for i, c := range d.Columns {
		name := safeName(c.Name)
		if node[name] != nil {
			return nil, fault.New(fault.Invalid, "make schema", "two columns of dataset %s have the GraphQL name %s", d.Name, name)
		}
		t.names = append(t.names, name)
		node[name] = &gql.Field{Type: b.scalar(c), Description: fmt.Sprintf("%s %s", c.Type.Kind, c.Collation), Resolve: cell(i)}
		enum[name] = &gql.EnumValueConfig{Value: c.Name}
		filters[name] = &gql.InputObjectFieldConfig{Type: b.conditions(d, c)}
	}
	filter := gql.NewInputObject(gql.InputObjectConfig{Name: typ + "Filter", Fields: filters})
	all := gql.NewList(gql.NewNonNull(filter))
	filter.AddFieldConfig("and", &gql.InputObjectFieldConfig{Type: all})
	filter.AddFieldConfig("or", &gql.InputObjectFieldConfig{Type: all})
	filter.AddFieldConfig("not", &gql.InputObjectFieldConfig{Type: filter})
	column := gql.NewEnum(gql.EnumConfig{Name: typ + "Column", Values: enum})
	order := gql.NewInputObject(gql.InputObjectConfig{Name: typ + "Order", Fields: gql.InputObjectConfigFieldMap{
		"column": {Type: gql.NewNonNull(column)}, "desc": {Type: gql.Boolean}}})
	edge := gql.NewObject(gql.ObjectConfig{Name: typ + "Edge", Fields: gql.Fields{
		"cursor": {Type: gql.NewNonNull(gql.String)},
		"node":   {Type: gql.NewNonNull(gql.NewObject(gql.ObjectConfig{Name: typ, Fields: node})), Resolve: self}}})
	connection := gql.NewObject(gql.ObjectConfig{Name: typ + "Connection", Fields: gql.Fields{
		"edges":    {Type: gql.NewNonNull(gql.NewList(gql.NewNonNull(edge)))},
		"pageInfo": {Type: gql.NewNonNull(b.page)}, "served": {Type: gql.NewNonNull(b.served)}}})
	return &gql.Field{
		Type: gql.NewNonNull(connection),
		Args: gql.FieldConfigArgument{
			"filter": {Type: filter}, "order": {Type: gql.NewList(gql.NewNonNull(order))},
			"first": {Type: gql.Int, DefaultValue: defaultFirst}, "after": {Type: gql.String}, "freshness": {Type: b.fresh}},
		Resolve: func(p gql.ResolveParams) (any, error) { return b.ask(p, t) },
	}, nil
}

func self(p gql.ResolveParams) (any, error) { return p.Source, nil }

// cell resolves column i of an edge's row.
func cell(i int) gql.FieldResolveFn {
	return func(p gql.ResolveParams) (any, error) {
		e, ok := p.Source.(*edge)
		if !ok {
			return nil, fault.New(fault.Internal, "resolve column", "a %T instead of a row", p.Source)
		}
		if e.row.Null(i) {
			return nil, nil
		}
		return e.row.Text(i), nil
	}
}
