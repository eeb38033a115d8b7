package sqltext

import (
	"encoding/hex"
	"strconv"
	"strings"

	"github.com/pingcap/tidb/pkg/parser/ast"
	"github.com/pingcap/tidb/pkg/parser/opcode"
	"github.com/pingcap/tidb/pkg/parser/test_driver"

	"strata/catalog"
)

// maxDigits is where DECIMAL ends; longer numbers would be cut by the parser.
const maxDigits = 65

// condition turns an expression of WHERE into a filter.
func (b *builder) condition(e ast.ExprNode, depth int) (catalog.Filter, error) {
	if depth > maxDepth {
		return catalog.Filter{}, b.refuse(nil, "the condition is nested deeper than %d", maxDepth)
	}
	switch e := e.(type) {
	case *ast.ParenthesesExpr:
		return b.condition(e.Expr, depth+1)
	case *ast.UnaryOperationExpr:
		if e.Op != opcode.Not && e.Op != opcode.Not2 {
			break
		}
		return b.not(true, depth, e.V)
	case *ast.BinaryOperationExpr:
		return b.binary(e, depth)
	case *ast.PatternInExpr:
		if e.Sel != nil {
			return catalog.Filter{}, b.refuse(e, "subqueries are not supported")
		}
		c, err := b.column(e.Expr)
		if err != nil {
			return catalog.Filter{}, err
		}
		f := catalog.Filter{Op: catalog.In, Column: c}
		for _, v := range e.List {
			text, err := b.value(v)
			if err != nil {
				return f, err
			}
			f.Values = append(f.Values, text)
		}
		return negate(e.Not, f), nil
	case *ast.BetweenExpr:
		return b.between(e)
	case *ast.IsNullExpr:
		c, err := b.column(e.Expr)
		return negate(e.Not, catalog.Filter{Op: catalog.IsNull, Column: c}), err
	case *ast.PatternLikeOrIlikeExpr:
		return b.like(e)
	case *ast.MatchAgainst:
		return b.match(e)
	case *test_driver.ValueExpr:
		if e.Kind() != test_driver.KindInt64 { // TRUE, FALSE, 1, 0
			break
		}
		if e.GetInt64() == 0 {
			return catalog.Filter{Op: catalog.False}, nil
		}
		return catalog.Filter{}, nil
	}
	return catalog.Filter{}, b.refuse(e, "this condition is not supported")
}

func negate(not bool, f catalog.Filter) catalog.Filter {
	if !not {
		return f
	}
	return catalog.Filter{Op: catalog.Not, Args: []catalog.Filter{f}}
}

func (b *builder) not(not bool, depth int, e ast.ExprNode) (catalog.Filter, error) {
	f, err := b.condition(e, depth+1)
	return negate(not, f), err
}

// binary reads AND, OR and comparisons.
func (b *builder) binary(e *ast.BinaryOperationExpr, depth int) (catalog.Filter, error) {
	var op catalog.Op
	switch e.Op {
	case opcode.LogicAnd:
		op = catalog.And
	case opcode.LogicOr:
		op = catalog.Or
	case opcode.EQ:
		op = catalog.Eq
	case opcode.NE:
		op = catalog.Ne
	case opcode.LT:
		op = catalog.Lt
	case opcode.LE:
		op = catalog.Le
	case opcode.GT:
		op = catalog.Gt
	case opcode.GE:
		op = catalog.Ge
	default:
		return catalog.Filter{}, b.refuse(e, "this condition is not supported")
	}
	if op == catalog.And || op == catalog.Or {
		return b.list(e, op, depth)
	}
	if _, left := unwrap(e.L).(*ast.ColumnNameExpr); left {
		return b.compare(e.L, op, e.R)
	}
	if _, right := unwrap(e.R).(*ast.ColumnNameExpr); !right {
		return catalog.Filter{}, b.refuse(e.L, "only a column may be compared with a value")
	}
	if op >= catalog.Lt { // 5 < amount is amount > 5
		op = map[catalog.Op]catalog.Op{catalog.Lt: catalog.Gt, catalog.Le: catalog.Ge, catalog.Gt: catalog.Lt, catalog.Ge: catalog.Le}[op]
	}
	return b.compare(e.R, op, e.L)
}

// list flattens a chain of one operator, which the parser nests to the left, so that its length is no depth.
func (b *builder) list(e *ast.BinaryOperationExpr, op catalog.Op, depth int) (catalog.Filter, error) {
	var operands []ast.ExprNode
	for {
		operands = append(operands, e.R)
		l, ok := e.L.(*ast.BinaryOperationExpr)
		if !ok || l.Op != e.Op {
			operands = append(operands, e.L)
			break
		}
		e = l
	}
	out := catalog.Filter{Op: op}
	for i := len(operands) - 1; i >= 0; i-- {
		f, err := b.condition(operands[i], depth+1)
		if err != nil {
			return f, err
		}
		out.Args = append(out.Args, f)
	}
	return out, nil
}

func unwrap(e ast.ExprNode) ast.ExprNode {
	for {
		p, ok := e.(*ast.ParenthesesExpr)
		if !ok {
			return e
		}
		e = p.Expr
	}
}

func (b *builder) compare(column ast.ExprNode, op catalog.Op, value ast.ExprNode) (catalog.Filter, error) {
	c, err := b.column(column)
	if err != nil {
		return catalog.Filter{}, err
	}
	v, err := b.value(value)
	return catalog.Cmp(c, op, v), err
}

func (b *builder) between(e *ast.BetweenExpr) (catalog.Filter, error) {
	low, err := b.compare(e.Expr, catalog.Ge, e.Left)
	if err != nil {
		return low, err
	}
	high, err := b.compare(e.Expr, catalog.Le, e.Right)
	return negate(e.Not, catalog.Filter{Op: catalog.And, Args: []catalog.Filter{low, high}}), err
}

// like reads a pattern without wildcards but at its ends.
func (b *builder) like(e *ast.PatternLikeOrIlikeExpr) (catalog.Filter, error) {
	var none catalog.Filter
	if !e.IsLike {
		return none, b.refuse(e, "ILIKE is not supported: texts compare byte by byte")
	}
	c, err := b.column(e.Expr)
	if err != nil {
		return none, err
	}
	v, ok := e.Pattern.(*test_driver.ValueExpr)
	if !ok || v.Kind() != test_driver.KindString {
		return none, b.refuse(e, "LIKE takes a string")
	}
	var text strings.Builder
	first, last := false, false // a % at the ends
	pattern := v.GetString()
	for i := 0; i < len(pattern); i++ {
		ch := pattern[i]
		switch {
		case last:
			return none, b.refuse(e, "LIKE takes 'text%%' or '%%text%%'")
		case ch == e.Escape && i+1 < len(pattern):
			i++
			text.WriteByte(pattern[i])
		case ch == '%' && i == 0 && len(pattern) > 1:
			first = true
		case ch == '%':
			last = true
		case ch == '_':
			return none, b.refuse(e, "the wildcard _ is not supported; LIKE takes 'text%%' or '%%text%%'")
		default:
			text.WriteByte(ch)
		}
	}
	op := catalog.Eq
	switch {
	case first && !last:
		return none, b.refuse(e, "LIKE '%%text' is not supported; LIKE takes 'text%%' or '%%text%%'")
	case first:
		op = catalog.Contains
	case last:
		op = catalog.Prefix
	}
	return negate(e.Not, catalog.Cmp(c, op, text.String())), nil
}

// match reads MATCH (column) AGAINST ('words').
func (b *builder) match(e *ast.MatchAgainst) (catalog.Filter, error) {
	var none catalog.Filter
	if len(e.ColumnNames) != 1 {
		return none, b.refuse(e, "MATCH takes one column; join several by OR")
	}
	if e.Modifier != ast.FulltextSearchModifierNaturalLanguageMode {
		return none, b.refuse(e, "MATCH has no modes: all words and all \"phrases\" must be there")
	}
	c, err := b.column(&ast.ColumnNameExpr{Name: e.ColumnNames[0]})
	if err != nil {
		return none, err
	}
	v, ok := unwrap(e.Against).(*test_driver.ValueExpr)
	if !ok || v.Kind() != test_driver.KindString {
		return none, b.refuse(e, "AGAINST takes a string")
	}
	return catalog.Cmp(c, catalog.Match, v.GetString()), nil
}

// value reads a literal as canonical text.
func (b *builder) value(e ast.ExprNode) (string, error) {
	switch e := unwrap(e).(type) {
	case *ast.UnaryOperationExpr:
		v, ok := unwrap(e.V).(*test_driver.ValueExpr)
		if !ok || e.Op != opcode.Minus && e.Op != opcode.Plus {
			break
		}
		text, numeric, err := b.literal(v)
		if err != nil {
			return "", err
		}
		if !numeric {
			break
		}
		if e.Op == opcode.Minus && strings.Trim(text, "0.") != "" {
			text = "-" + text
		}
		return text, nil
	case *ast.FuncCallExpr:
		if e.FnName.O == ast.DateLiteral || e.FnName.O == ast.TimestampLiteral || e.FnName.O == ast.TimeLiteral {
			if v, ok := e.Args[0].(*test_driver.ValueExpr); ok && v.Kind() == test_driver.KindString {
				return v.GetString(), nil
			}
		}
	case *test_driver.ValueExpr:
		text, _, err := b.literal(e)
		return text, err
	}
	return "", b.refuse(e, "only a value may stand here")
}

func (b *builder) literal(v *test_driver.ValueExpr) (text string, numeric bool, err error) {
	switch v.Kind() {
	case test_driver.KindInt64:
		return strconv.FormatInt(v.GetInt64(), 10), true, nil
	case test_driver.KindUint64:
		return strconv.FormatUint(v.GetUint64(), 10), true, nil
	case test_driver.KindFloat32, test_driver.KindFloat64:
		return strconv.FormatFloat(v.GetFloat64(), 'g', -1, 64), true, nil
	case test_driver.KindMysqlDecimal:
		text := v.GetMysqlDecimal().String()
		if len(text) > maxDigits {
			return "", false, b.refuse(v, "the number has more than %d digits", maxDigits)
		}
		return text, true, nil
	case test_driver.KindString, test_driver.KindBytes:
		return v.GetString(), false, nil
	case test_driver.KindBinaryLiteral:
		return hex.EncodeToString(v.GetBinaryLiteral()), false, nil
	case test_driver.KindNull:
		return "", false, b.refuse(v, "NULL is compared by IS NULL")
	}
	return "", false, b.refuse(v, "this value is not supported")
}
