package graphql

import (
	"context"
	"io"
	"strconv"
	"time"

	gql "github.com/graphql-go/graphql"

	"strata/catalog"
	"strata/fault"
	"strata/router"
)

const (
	defaultFirst = 50
	maxRows      = 10_000 // over all fields of a request: they are held in memory
)

// edge is a row with its cursor.
type edge struct {
	row    catalog.Row
	Cursor string `json:"cursor"`
}

// pageInfo is the end of a page.
type pageInfo struct {
	EndCursor   *string `json:"endCursor"`
	HasNextPage bool    `json:"hasNextPage"`
}

// connection is a page of one dataset.
type connection struct {
	Edges    []*edge        `json:"edges"`
	PageInfo pageInfo       `json:"pageInfo"`
	Served   map[string]any `json:"served"`
}

// budget is what is left of maxRows for a request; its fields are resolved one after the other.
type budget struct{ rows int }

type budgetKey struct{}

// resolve answers one connection field.
func (s *Server) resolve(p gql.ResolveParams, t *table) (any, error) {
	q, err := t.query(p.Args)
	if err != nil {
		return nil, err
	}
	if b, ok := p.Context.Value(budgetKey{}).(*budget); ok {
		if b.rows -= q.Limit; b.rows < 0 {
			return nil, fault.New(fault.TooLarge, "query "+q.Dataset, "the request's fields ask for more than %d rows together", maxRows).
				WithHint("ask for fewer rows by `first`, and go on with `after`")
		}
	}
	x, err := s.cfg.Router.Query(p.Context, q)
	if err != nil {
		return nil, err
	}
	defer func() { _ = x.Close() }() // what it could say was said by Next
	return page(p.Context, x)
}

func page(ctx context.Context, x *router.Result) (*connection, error) {
	c := &connection{Edges: []*edge{}}
	for {
		row, err := x.Next(ctx)
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, err
		}
		c.Edges = append(c.Edges, &edge{row.Clone(), x.Cursor()})
	}
	if n := len(c.Edges); n > 0 {
		c.PageInfo.EndCursor = &c.Edges[n-1].Cursor
	}
	c.PageInfo.HasNextPage = x.Cursor() != ""
	c.Served = served(x.Served())
	return c, nil
}

// served brings the proof into the schema's names; a page that ended without an error is complete.
func served(s router.Served) map[string]any {
	sources := make([]any, len(s.Sources))
	for i, src := range s.Sources {
		shards := make([]any, len(src.Shards))
		for j, sh := range src.Shards {
			shards[j] = map[string]any{"shard": sh.Shard, "epoch": sh.Epoch}
		}
		sources[i] = map[string]any{"source": src.Source, "shards": shards, "rows": src.Rows, "heartbeat": src.Heartbeat, "lagMs": src.LagMs, "why": src.Why}
	}
	out := map[string]any{"sources": sources, "complete": s.Complete, "replans": s.Replans, "position": s.Position}
	if s.Reason != "" {
		out["reason"] = s.Reason
	}
	return out
}

// query makes a Query of a field's arguments.
func (t *table) query(args map[string]any) (router.Query, error) {
	q := router.Query{Dataset: t.ds.Name}
	q.Limit, _ = args["first"].(int)
	if q.Limit < 1 {
		return q, fault.New(fault.Invalid, "query "+q.Dataset, "first is %d", q.Limit).WithHint("first is 1 to %d", maxRows)
	}
	q.Cursor, _ = args["after"].(string)
	if f, ok := args["filter"].(map[string]any); ok {
		var err error
		if q.Filter, err = t.filter(f); err != nil {
			return q, err
		}
	}
	orders, _ := args["order"].([]any)
	for _, o := range orders {
		m, _ := o.(map[string]any)
		column, _ := m["column"].(string)
		desc, _ := m["desc"].(bool)
		q.Order = append(q.Order, router.Order{Column: column, Desc: desc})
	}
	f, _ := args["freshness"].(map[string]any)
	q.Freshness.Strong, _ = f["strong"].(bool)
	bounded, _ := f["boundedMs"].(int)
	wait, _ := f["waitMs"].(int)
	q.Freshness.Bounded, q.Freshness.Wait = time.Duration(bounded)*time.Millisecond, time.Duration(wait)*time.Millisecond
	if at, ok := f["atLeast"].(string); ok {
		n, err := strconv.ParseUint(at, 10, 64)
		if err != nil {
			return q, fault.New(fault.Invalid, "query "+q.Dataset, "atLeast %q is not a position", at).
				WithHint("pass served.position of an earlier answer")
		}
		q.Freshness.AtLeast = n
	}
	return q, nil
}

// filter joins a filter's columns in the dataset's order, so that the same filter is the same query.
func (t *table) filter(in map[string]any) (catalog.Filter, error) {
	out := catalog.Filter{Op: catalog.And}
	for i, name := range t.names {
		ops, ok := in[name].(map[string]any)
		if !ok {
			continue
		}
		if len(ops) == 0 {
			return out, fault.New(fault.Invalid, "check filter", "%s has no condition", name).WithHint("write %s: {eq: …}, or leave it out", name)
		}
		for _, o := range opNames() {
			if v, ok := ops[o.name]; ok {
				out.Args = append(out.Args, condition(t.ds.Columns[i].Name, o.op, v))
			}
		}
	}
	for _, l := range []struct {
		name string
		op   catalog.Op
	}{{"and", catalog.And}, {"or", catalog.Or}} {
		list, ok := in[l.name].([]any)
		if !ok {
			continue
		}
		f := catalog.Filter{Op: l.op}
		for _, e := range list {
			m, _ := e.(map[string]any)
			a, err := t.filter(m)
			if err != nil {
				return out, err
			}
			f.Args = append(f.Args, a)
		}
		out.Args = append(out.Args, f)
	}
	if m, ok := in["not"].(map[string]any); ok {
		a, err := t.filter(m)
		if err != nil {
			return out, err
		}
		out.Args = append(out.Args, catalog.Filter{Op: catalog.Not, Args: []catalog.Filter{a}})
	}
	if len(out.Args) == 0 {
		return catalog.Filter{}, nil
	}
	return out, nil
}

func condition(column string, op catalog.Op, v any) catalog.Filter {
	f := catalog.Filter{Op: op, Column: column}
	switch v := v.(type) {
	case string:
		f.Values = []string{v}
	case bool: // isNull
		if !v {
			return catalog.Filter{Op: catalog.Not, Args: []catalog.Filter{f}}
		}
	case []any:
		for _, e := range v {
			s, _ := e.(string)
			f.Values = append(f.Values, s)
		}
	}
	return f
}
