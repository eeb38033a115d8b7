package voucher

import (
	"fmt"
	"reflect"
	"strings"

	"github.com/expr-lang/expr"
	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/file"
	"github.com/expr-lang/expr/vm"
)

const (
	maxExpressionBytes = 2000
	maxNodes           = 300
	memoryBudget       = 100_000 // elements that one evaluation may make
)

// language compiles expressions over one environment.
type language struct {
	env     any
	leg     bool          // the name leg may be used
	plain   []expr.Option // without the operators
	options []expr.Option
}

// newLanguage is the language of rules and cases: whole numbers, texts, truth values. +, - and * are checked functions.
func newLanguage(env any) *language {
	l := &language{env: env}
	l.options = []expr.Option{expr.Env(env), expr.DisableAllBuiltins(), expr.MaxNodes(maxNodes)}
	for _, name := range builtins() {
		l.options = append(l.options, expr.EnableBuiltin(name))
	}
	for _, f := range functions() {
		l.options = append(l.options, expr.Function(f.name, f.call, f.types...))
	}
	l.plain = l.options[:len(l.options):len(l.options)]
	for operator, name := range operators() {
		l.options = append(l.options, expr.Operator(operator, name))
	}
	return l
}

// builtins are expr's own functions that can't leave the whole numbers, read a clock or make a lot of memory.
func builtins() []string {
	return []string{"any", "all", "none", "one", "count", "len", "string", "upper", "lower", "trim"}
}

func operators() map[string]string {
	return map[string]string{"+": "plus", "-": "minus", "*": "times"}
}

// compile compiles one field. kind is reflect.Bool, reflect.Int or reflect.String.
func (l *language) compile(src string, kind reflect.Kind) (*vm.Program, *Problem) {
	if strings.TrimSpace(src) == "" {
		return nil, &Problem{Code: BadExpression, Message: "it is empty; an expression is wanted"}
	}
	if len(src) > maxExpressionBytes {
		return nil, &Problem{Code: BadExpression, Message: fmt.Sprintf("it is over %d bytes", maxExpressionBytes)}
	}
	// Not optimized, so that no constant hides what it was made of.
	plain, err := expr.Compile(src, append(l.options[:len(l.options):len(l.options)], expr.Optimize(false))...)
	if err != nil {
		return nil, notCompiled(err)
	}
	look := inspector{leg: l.leg}
	root := plain.Node()
	ast.Walk(&root, &look)
	if look.found != nil {
		return nil, look.found
	}
	if t := root.Type(); t == nil || t.Kind() != kind {
		return nil, wrongType(t, kind)
	}
	// With operators expr looks at every call twice, and the second time not at its arguments: what is wrong there is only found
	// without them.
	if _, err := expr.Compile(src, append(l.plain[:len(l.plain):len(l.plain)], expr.Optimize(false))...); err != nil {
		return nil, notCompiled(err)
	}
	program, err := expr.Compile(src, append(l.options[:len(l.options):len(l.options)], expr.AsKind(kind))...)
	if err != nil {
		return nil, notCompiled(err)
	}
	return program, nil
}

func wrongType(t reflect.Type, kind reflect.Kind) *Problem {
	want := map[reflect.Kind]string{reflect.Bool: "true or false", reflect.Int: "a whole number", reflect.String: "a text"}[kind]
	is := "of no one type"
	if t != nil && t.Kind() != reflect.Interface {
		is = t.String()
	}
	p := &Problem{Code: BadExpression, Message: fmt.Sprintf("it is %s instead of %s", is, want)}
	if kind == reflect.String && is == "int" {
		p.Message += `; a text stands in quotes: "1001"`
	}
	return p
}

// notCompiled keeps expr's sentence and leaves its drawing out.
func notCompiled(err error) *Problem {
	message, _, _ := strings.Cut(err.Error(), "\n")
	return &Problem{Code: BadExpression, Message: message}
}

// notComputed is a Problem from an evaluation.
func notComputed(err error) *Problem {
	if f, ok := err.(*file.Error); ok && f.Prev != nil {
		err = f.Prev
	}
	message, _, _ := strings.Cut(err.Error(), "\n")
	return &Problem{Code: NotComputable, Message: message}
}

// inspector refuses what would count with something else than whole numbers, or without a bound.
type inspector struct {
	leg   bool
	found *Problem
}

func (i *inspector) refuse(code Code, format string, args ...any) {
	if i.found == nil {
		i.found = &Problem{Code: code, Message: fmt.Sprintf(format, args...)}
	}
}

// Visit is ast.Visitor.
func (i *inspector) Visit(node *ast.Node) {
	n := *node
	if t := n.Type(); t != nil && (t.Kind() == reflect.Float64 || t.Kind() == reflect.Float32) {
		if b, ok := n.(*ast.BinaryNode); !ok || b.Operator != "/" { // the sentence for / is better
			i.refuse(NotInteger, "%q is not a whole number", n.String())
		}
	}
	switch n := n.(type) {
	case *ast.BinaryNode:
		i.binary(n)
	case *ast.UnaryNode:
		if _, literal := n.Node.(*ast.IntegerNode); n.Operator == "-" && !literal {
			i.refuse(NotInteger, "- before %q would not see an overflow; use neg(…)", n.Node.String())
		}
	case *ast.BuiltinNode:
		i.builtin(n)
	case *ast.IdentifierNode:
		if n.Value == "$env" || n.Value == "leg" && !i.leg {
			i.refuse(BadExpression, "unknown name %s", n.Value)
		}
	case *ast.PredicateNode:
		var inner nested
		ast.Walk(&n.Node, &inner)
		if inner.found {
			i.refuse(BadExpression, "a condition over legs inside another one; it would be asked too often")
		}
	}
}

func (i *inspector) binary(n *ast.BinaryNode) {
	switch n.Operator {
	case "/":
		i.refuse(NotInteger, "/ leaves the whole numbers; use mul_div(a, b, c, mode) or percent(amount, basis_points, mode)")
	case "%", "**", "^", "..":
		i.refuse(NotInteger, "the operator %s is not there", n.Operator)
	case "-", "*":
		i.refuse(NotInteger, "%s wants whole numbers on both sides", n.Operator)
	case "+":
		for _, side := range []ast.Node{n.Left, n.Right} {
			if t := side.Type(); t == nil || t.Kind() != reflect.String {
				i.refuse(NotInteger, "+ wants whole numbers on both sides, or texts")
			}
		}
	case "matches":
		if _, ok := n.Right.(*ast.StringNode); !ok {
			i.refuse(BadExpression, "the pattern of matches is not a text in quotes")
		}
	}
}

func (i *inspector) builtin(n *ast.BuiltinNode) {
	for _, name := range builtins() {
		if n.Name == name {
			return
		}
	}
	i.refuse(BadExpression, "unknown name %s", n.Name)
}

// nested looks for a predicate.
type nested struct{ found bool }

// Visit is ast.Visitor.
func (v *nested) Visit(node *ast.Node) {
	if _, ok := (*node).(*ast.PredicateNode); ok {
		v.found = true
	}
}
