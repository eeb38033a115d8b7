package sqltext

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/pingcap/tidb/pkg/parser"
	"github.com/pingcap/tidb/pkg/parser/ast"
	"github.com/pingcap/tidb/pkg/parser/format"
	"github.com/pingcap/tidb/pkg/parser/test_driver"

	"strata/fault"
	"strata/router"
)

const (
	maxText  = 64 << 10
	maxDepth = 100 // of the syntax tree that is walked
	supports = "supported is SELECT columns|*|count(*)|sum(column) FROM dataset [WHERE …] [GROUP BY …] [ORDER BY …] [LIMIT n]"
)

// Schema is the schema name that may stand before a dataset, for clients that always write one.
const Schema = "strata"

// Parse reads one SELECT.
func Parse(text string) (q router.Query, err error) {
	if len(text) > maxText {
		return q, fault.New(fault.TooLarge, "parse SQL", "the text has %d bytes; at most %d", len(text), maxText)
	}
	defer func() { // the parser is somebody else's; a text must never end the process
		if p := recover(); p != nil {
			q, err = router.Query{}, fault.New(fault.Invalid, "parse SQL", "the parser gave up: %v", p).WithHint(supports)
		}
	}()
	stmts, _, err := parser.New().ParseSQL(text)
	if err != nil {
		return q, fault.New(fault.Invalid, "parse SQL", "%s", tidy(err)).WithHint(supports)
	}
	if len(stmts) != 1 {
		return q, fault.New(fault.Invalid, "parse SQL", "%d statements instead of one", len(stmts)).WithHint(supports)
	}
	sel, ok := stmts[0].(*ast.SelectStmt)
	if !ok {
		return q, fault.New(fault.Invalid, "parse SQL", "only SELECT is answered here, near %q", cut(text)).WithHint(supports)
	}
	b := &builder{text: text}
	return b.statement(sel)
}

// tidy takes the parser's own code and repetitions out of its message.
func tidy(err error) string {
	s := regexp.MustCompile(`^\[parser:\d+\]`).ReplaceAllString(err.Error(), "")
	return strings.TrimSpace(cutTo(s, 200))
}

func cut(s string) string { return cutTo(strings.Join(strings.Fields(s), " "), 60) }

func cutTo(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "") + "…"
}

// builder makes a Query from a syntax tree.
type builder struct {
	text  string
	table string // alias or name that may stand before a column
	q     router.Query
}

// refuse names the place of node.
func (b *builder) refuse(n ast.Node, format string, args ...any) error {
	where := ""
	if n != nil {
		if at := n.OriginTextPosition(); at > 0 && at <= len(b.text) {
			before := b.text[:at]
			line := strings.Count(before, "\n")
			where = fmt.Sprintf(" at line %d column %d", line+1, at-strings.LastIndexByte(before, '\n'))
		}
		if near := restore(n); near != "" {
			where += fmt.Sprintf(" near %q", cut(near))
		}
	}
	return fault.New(fault.Invalid, "parse SQL", "%s%s", fmt.Sprintf(format, args...), where).WithHint(supports)
}

// restore prints a node as SQL.
func restore(n ast.Node) string {
	var s strings.Builder
	flags := format.RestoreStringSingleQuotes | format.RestoreStringWithoutDefaultCharset | format.RestoreKeyWordUppercase
	if err := n.Restore(format.NewRestoreCtx(flags, &s)); err != nil {
		return ""
	}
	return s.String()
}

func (b *builder) statement(s *ast.SelectStmt) (router.Query, error) {
	if err := b.onlyPlain(s); err != nil {
		return b.q, err
	}
	if err := b.from(s.From); err != nil {
		return b.q, err
	}
	var err error
	if s.Where != nil {
		if b.q.Filter, err = b.condition(s.Where, 1); err != nil {
			return b.q, err
		}
	}
	if s.GroupBy != nil {
		if s.GroupBy.Rollup {
			return b.q, b.refuse(nil, "GROUP BY … WITH ROLLUP")
		}
		for _, it := range s.GroupBy.Items {
			c, err := b.column(it.Expr)
			if err != nil {
				return b.q, err
			}
			if !it.NullOrder && it.Desc {
				return b.q, b.refuse(it.Expr, "GROUP BY … DESC")
			}
			b.q.GroupBy = append(b.q.GroupBy, c)
		}
	}
	if err := b.fields(s); err != nil {
		return b.q, err
	}
	if s.OrderBy != nil {
		if err := b.order(s.OrderBy.Items); err != nil {
			return b.q, err
		}
	}
	if s.Limit != nil {
		if err := b.limit(s.Limit); err != nil {
			return b.q, err
		}
	}
	return b.q, nil
}

// onlyPlain refuses every clause that has no place in a Query.
func (b *builder) onlyPlain(s *ast.SelectStmt) error {
	o := s.SelectStmtOpts
	for _, c := range []struct {
		there bool
		what  string
	}{
		{s.Kind != ast.SelectStmtKindSelect, "TABLE or VALUES"},
		{s.With != nil, "WITH"}, {s.Distinct, "DISTINCT"}, {s.Having != nil, "HAVING"}, {len(s.WindowSpecs) > 0, "WINDOW"},
		{s.LockInfo != nil, "FOR UPDATE or LOCK IN SHARE MODE"}, {s.SelectIntoOpt != nil, "INTO"},
		{len(s.TableHints) > 0, "optimizer hints"}, {s.AfterSetOperator != nil, "UNION"}, {s.From == nil, "a SELECT without FROM"},
		{o != nil && (o.SQLBigResult || o.SQLBufferResult || o.SQLSmallResult || o.CalcFoundRows || o.StraightJoin || o.Priority != 0 || len(o.TableHints) > 0),
			"SELECT options such as SQL_CALC_FOUND_ROWS"},
	} {
		if c.there {
			return b.refuse(nil, "%s is not supported", c.what)
		}
	}
	return nil
}

// from reads the one dataset.
func (b *builder) from(f *ast.TableRefsClause) error {
	j := f.TableRefs
	if j == nil || j.Right != nil {
		return b.refuse(f, "joins are not supported")
	}
	src, ok := j.Left.(*ast.TableSource)
	if !ok {
		return b.refuse(f, "only a dataset can be selected from")
	}
	t, ok := src.Source.(*ast.TableName)
	if !ok {
		return b.refuse(f, "subqueries are not supported")
	}
	if len(t.IndexHints) > 0 || len(t.PartitionNames) > 0 || t.TableSample != nil || t.AsOf != nil {
		return b.refuse(f, "index hints, PARTITION, TABLESAMPLE and AS OF are not supported")
	}
	if t.Schema.O != "" && t.Schema.O != Schema {
		return b.refuse(f, "there is no schema %q", t.Schema.O)
	}
	b.q.Dataset, b.table = t.Name.O, t.Name.O
	if src.AsName.O != "" {
		b.table = src.AsName.O
	}
	return nil
}

// fields reads the select list.
func (b *builder) fields(s *ast.SelectStmt) error {
	var columns []string
	star := false
	for _, f := range s.Fields.Fields {
		if f.WildCard != nil {
			if t := f.WildCard.Table.O; t != "" && t != b.table || f.WildCard.Schema.O != "" {
				return b.refuse(nil, "there is no table %q to select * from", t)
			}
			star = true
			continue
		}
		if a, ok := f.Expr.(*ast.AggregateFuncExpr); ok {
			if err := b.aggregate(a, f.AsName.O); err != nil {
				return err
			}
			continue
		}
		c, err := b.column(f.Expr)
		if err != nil {
			return err
		}
		if f.AsName.O != "" && f.AsName.O != c {
			return b.refuse(f.Expr, "a column can't be renamed to %s", f.AsName.O)
		}
		if len(b.q.Aggregates) > 0 {
			return b.refuse(f.Expr, "columns stand before count and sum")
		}
		columns = append(columns, c)
	}
	switch {
	case star && (len(columns) > 0 || len(s.Fields.Fields) > 1):
		return b.refuse(nil, "* beside other columns")
	case len(b.q.Aggregates) > 0 || len(b.q.GroupBy) > 0:
		if star || !slices.Equal(columns, b.q.GroupBy) {
			return b.refuse(nil, "with count, sum or GROUP BY the select list is the GROUP BY columns in their order, then count and sum")
		}
	case !star:
		b.q.Columns = columns
	}
	return nil
}

func (b *builder) aggregate(a *ast.AggregateFuncExpr, name string) error {
	if a.Distinct || len(a.Args) != 1 || a.Order != nil {
		return b.refuse(a, "only count(*) and sum(column) are supported")
	}
	switch f := router.Func(strings.ToLower(a.F)); f {
	case router.Count:
		if v, ok := a.Args[0].(*test_driver.ValueExpr); !ok || v.Kind() == test_driver.KindNull {
			return b.refuse(a, "only count(*) counts; filter by IS NOT NULL")
		}
		b.q.Aggregates = append(b.q.Aggregates, router.Aggregate{Func: f, Name: name})
		return nil
	case router.Sum:
		c, err := b.column(a.Args[0])
		if err != nil {
			return err
		}
		b.q.Aggregates = append(b.q.Aggregates, router.Aggregate{Func: f, Column: c, Name: name})
		return nil
	}
	return b.refuse(a, "only count(*) and sum(column) are supported")
}

// order reads ORDER BY. An aggregation is ordered by its GROUP BY columns; saying so is allowed.
func (b *builder) order(items []*ast.ByItem) error {
	for i, it := range items {
		c, err := b.column(it.Expr)
		if err != nil {
			return err
		}
		if len(b.q.Aggregates) == 0 {
			b.q.Order = append(b.q.Order, router.Order{Column: c, Desc: it.Desc})
			continue
		}
		if i >= len(b.q.GroupBy) || b.q.GroupBy[i] != c || it.Desc {
			return b.refuse(it.Expr, "an aggregation is ordered by its GROUP BY columns, ascending")
		}
	}
	return nil
}

// limit reads LIMIT n.
func (b *builder) limit(l *ast.Limit) error {
	if l.Offset != nil {
		return b.refuse(l, "OFFSET is not supported: go on with a cursor, or filter by the last key")
	}
	v, ok := l.Count.(*test_driver.ValueExpr)
	if !ok {
		return b.refuse(l, "LIMIT takes a number")
	}
	var n uint64
	switch v.Kind() {
	case test_driver.KindInt64:
		n = uint64(v.GetInt64())
	case test_driver.KindUint64:
		n = v.GetUint64()
	}
	if n == 0 || n > 1<<31 {
		return b.refuse(l, "LIMIT takes a number from 1")
	}
	b.q.Limit = int(n)
	return nil
}

// column reads the name of a column.
func (b *builder) column(e ast.ExprNode) (string, error) {
	for {
		p, ok := e.(*ast.ParenthesesExpr)
		if !ok {
			break
		}
		e = p.Expr
	}
	c, ok := e.(*ast.ColumnNameExpr)
	if !ok {
		return "", b.refuse(e, "only a column may stand here")
	}
	if t := c.Name.Table.O; t != "" && t != b.table || c.Name.Schema.O != "" && c.Name.Schema.O != Schema {
		return "", b.refuse(e, "there is no table %q here", t)
	}
	return c.Name.Name.O, nil
}
