package voucher

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/expr-lang/expr/vm"

	"strata/core"
)

// ParamType is what a case's parameter may be.
type ParamType string

// The types: an amount is a whole number of minor units, an account an account's id, a text up to 255 characters, a unit
// such as CNY.
const (
	AmountParam  ParamType = "amount"
	AccountParam ParamType = "account"
	TextParam    ParamType = "text"
	UnitParam    ParamType = "unit"
)

// Param is one parameter of a case.
type Param struct {
	Name     string
	Type     ParamType
	Default  *string // nil: it must be given
	Min, Max *int64  // of an amount; nil: no bound
}

// Case is a business case: parameters in, one balanced transfer out.
type Case struct {
	name   string
	params []Param
	values []caseValue
	legs   []caseLeg
	texts  []caseText // tenant, order, product, memo, and metadata by name
}

type caseValue struct {
	name    string
	program *vm.Program
}

type caseLeg struct{ when, account, unit, amount, nature *vm.Program }

type caseText struct {
	field, key string // key: of metadata
	program    *vm.Program
}

// Name is the case's name, which is its transfers' kind.
func (c *Case) Name() string { return c.name }

// Params are the case's parameters, in order.
func (c *Case) Params() []Param { return slices.Clone(c.params) }

// Cases are the document's cases, in order.
func (d *Document) Cases() []*Case {
	out := make([]*Case, len(d.caseNames))
	for i, name := range d.caseNames {
		out[i] = d.cases[name]
	}
	return out
}

// Transfer makes the transfer of a case. head brings what the case does not: ID, OrderTime, BusinessDate, Tenant, Order,
// Product, Memo, Metadata; its kind and legs are not looked at. Parameters are texts: amounts and accounts in digits. The same
// head and parameters give the same transfer. The error is one fault.Invalid with a Problem whose Field names the parameter or
// the leg; the transfer is one that Refusal says nothing about.
func (d *Document) Transfer(name string, head core.Transfer, params map[string]string) (core.Transfer, error) {
	var bad problems
	c := d.cases[name]
	if c == nil {
		bad.add(&Problem{Code: UnknownCase, Rule: name, Message: "there is no such case"})
		return core.Transfer{}, bad.failed(name)
	}
	env := c.read(params, &bad)
	if bad.all != nil {
		return core.Transfer{}, bad.failed(name)
	}
	t, problem := c.transfer(head, env)
	if problem == nil {
		if a := t.Refusal(); a != nil {
			problem = &Problem{Code: BadTransfer, Field: a.Field, Message: a.Message}
			if a.Code == core.Unbalanced {
				problem.Code = Unbalanced
			}
		}
	}
	if problem != nil {
		problem.Rule = name
		bad.add(problem)
		return core.Transfer{}, bad.failed(name)
	}
	return t, nil
}

// read checks parameters and makes the environment of the case's expressions.
func (c *Case) read(params map[string]string, bad *problems) map[string]any {
	env := make(map[string]any, len(c.params)+len(c.values))
	for _, p := range c.params {
		text, given := params[p.Name]
		if !given && p.Default == nil {
			bad.add(&Problem{Code: MissingParam, Rule: c.name, Field: "params." + p.Name, Message: fmt.Sprintf("the %s is missing", p.Type)})
			continue
		}
		if !given {
			text = *p.Default
		}
		value, why := p.read(text)
		if why != "" {
			bad.add(&Problem{Code: BadParam, Rule: c.name, Field: "params." + p.Name, Message: why})
		}
		env[p.Name] = value
	}
	for _, name := range slices.Sorted(maps.Keys(params)) {
		if !slices.ContainsFunc(c.params, func(p Param) bool { return p.Name == name }) {
			bad.add(&Problem{Code: UnknownParam, Rule: c.name, Field: "params." + name, Message: "the case has no such parameter"})
		}
	}
	return env
}

// read reads a value, or says why it is none.
func (p *Param) read(text string) (any, string) {
	switch p.Type {
	case AmountParam, AccountParam:
		n, err := strconv.ParseInt(text, 10, 64)
		switch {
		case err != nil:
			return Whole(0), fmt.Sprintf("%q is not a whole number of 64 bits", clip(text))
		case p.Type == AccountParam && n < 1:
			return Whole(0), fmt.Sprintf("account %d is none: they are numbered from 1", n)
		case p.Min != nil && n < *p.Min:
			return Whole(0), fmt.Sprintf("%d is below %d", n, *p.Min)
		case p.Max != nil && n > *p.Max:
			return Whole(0), fmt.Sprintf("%d is above %d", n, *p.Max)
		}
		return Whole(n), ""
	case UnitParam:
		if !core.ValidUnit(text) {
			return "", fmt.Sprintf("%q is not 1 to 12 upper-case letters and digits", clip(text))
		}
	default:
		if !utf8.ValidString(text) || utf8.RuneCountInString(text) > core.MaxMemoRunes || strings.ContainsRune(text, 0) {
			return "", fmt.Sprintf("it is not UTF-8 of at most %d characters without NUL", core.MaxMemoRunes)
		}
	}
	return text, ""
}

func clip(text string) string { return text[:min(len(text), 80)] }

func (c *Case) transfer(head core.Transfer, env map[string]any) (core.Transfer, *Problem) {
	t := head
	t.Kind, t.Legs, t.Action, t.Of = c.name, nil, core.Post, ""
	machine := vm.VM{MemoryBudget: memoryBudget}
	run := func(field string, p *vm.Program) (any, *Problem) {
		value, err := machine.Run(p, env)
		if err != nil {
			problem := notComputed(err)
			problem.Field = field
			return nil, problem
		}
		return value, nil
	}
	for _, v := range c.values {
		value, problem := run("values."+v.name, v.program)
		if problem != nil {
			return t, problem
		}
		env[v.name] = value
	}
	for i := range c.legs {
		leg, skip, problem := c.legs[i].eval(i, run)
		if problem != nil {
			return t, problem
		}
		if !skip {
			t.Legs = append(t.Legs, leg)
		}
	}
	return t, c.setTexts(&t, run)
}

type runner func(field string, p *vm.Program) (any, *Problem)

// eval evaluates a leg; one whose condition does not hold or whose amount is 0 is left out.
func (l *caseLeg) eval(i int, run runner) (leg core.Leg, skip bool, problem *Problem) {
	var value any
	one := func(name string, p *vm.Program) bool {
		if p == nil || problem != nil {
			return false
		}
		value, problem = run(fmt.Sprintf("legs[%d].%s", i, name), p)
		return problem == nil
	}
	if one("when", l.when) && value != true {
		return leg, true, nil
	}
	if one("amount", l.amount) {
		leg.Amount = int64(value.(Whole))
	}
	if one("account", l.account) {
		leg.Account = int64(value.(Whole))
	}
	if one("unit", l.unit) {
		leg.Unit = value.(string)
	}
	if one("nature", l.nature) {
		leg.Nature = value.(string)
	}
	return leg, leg.Amount == 0, problem
}

func (c *Case) setTexts(t *core.Transfer, run runner) *Problem {
	meta := map[string]any{}
	for _, x := range c.texts {
		value, problem := run(strings.TrimSuffix(x.field+"."+x.key, "."), x.program)
		if problem != nil {
			return problem
		}
		text := value.(string)
		switch x.field {
		case "tenant":
			t.Tenant = text
		case "order":
			t.Order = text
		case "product":
			t.Product = text
		case "memo":
			t.Memo = text
		default:
			meta[x.key] = text
		}
	}
	if len(meta) == 0 {
		return nil
	}
	if t.Metadata != "" {
		var given map[string]json.RawMessage
		if err := json.Unmarshal([]byte(t.Metadata), &given); err != nil {
			return &Problem{Code: BadTransfer, Field: "metadata", Message: "the metadata are not a JSON object"}
		}
		for name, value := range given {
			if meta[name] == nil {
				meta[name] = value
			}
		}
	}
	raw, err := json.Marshal(meta)
	if err != nil {
		return &Problem{Code: BadTransfer, Field: "metadata", Message: err.Error()}
	}
	t.Metadata = string(raw)
	return nil
}

func compileCase(f *caseForm, bad *problems) *Case {
	c := &Case{name: f.Name}
	refuse := func(field, format string, args ...any) {
		bad.add(&Problem{Code: BadDocument, Rule: f.Name, Field: field, Message: fmt.Sprintf(format, args...)})
	}
	if len(f.Name) > core.MaxKindBytes {
		refuse("name", "a case's name is a transfer's kind: at most %d bytes", core.MaxKindBytes)
	}
	if len(f.Legs) < 2 || len(f.Legs) > maxPerRule || len(f.Params) > maxPerRule || len(f.Values) > maxPerRule || len(f.Metadata) > maxPerRule {
		refuse("legs", "a case has 2 to %d legs, and as many params, values and metadata at most", maxPerRule)
		return c
	}
	env := map[string]any{}
	for i, pf := range f.Params {
		c.params = append(c.params, compileParam(i, &pf, env, refuse))
	}
	one := func(l *language, field, src string, kind reflect.Kind) *vm.Program {
		program, p := l.compile(src, kind)
		if p != nil {
			p.Rule, p.Field = f.Name, field
			bad.add(p)
		}
		return program
	}
	for _, v := range f.Values {
		c.values = append(c.values, compileValue(&v, env, one, refuse))
	}
	l := newLanguage(env)
	option := func(field, src string, kind reflect.Kind) *vm.Program {
		if src == "" {
			return nil
		}
		return one(l, field, src, kind)
	}
	for i, lf := range f.Legs {
		at := fmt.Sprintf("legs[%d].", i)
		c.legs = append(c.legs, caseLeg{when: option(at+"when", lf.When, reflect.Bool), account: one(l, at+"account", lf.Account, reflect.Int),
			unit: one(l, at+"unit", lf.Unit, reflect.String), amount: one(l, at+"amount", lf.Amount, reflect.Int), nature: option(at+"nature", lf.Nature, reflect.String)})
	}
	for _, x := range [][2]string{{"tenant", f.Tenant}, {"order", f.Order}, {"product", f.Product}, {"memo", f.Memo}} {
		if p := option(x[0], x[1], reflect.String); p != nil {
			c.texts = append(c.texts, caseText{field: x[0], program: p})
		}
	}
	for _, key := range slices.Sorted(maps.Keys(f.Metadata)) {
		c.texts = append(c.texts, caseText{"metadata", key, one(l, "metadata."+key, f.Metadata[key], reflect.String)})
	}
	return c
}

func compileParam(i int, f *paramForm, env map[string]any, refuse func(string, string, ...any)) Param {
	p := Param{Name: f.Name, Type: ParamType(f.Type), Default: f.Default, Min: f.Min, Max: f.Max}
	field := fmt.Sprintf("params[%d].", i)
	if why := freeName(f.Name, env); why != "" {
		refuse(field+"name", "%s", why)
		return p
	}
	switch p.Type {
	case AmountParam, AccountParam:
		env[f.Name] = Whole(0)
	case TextParam, UnitParam:
		env[f.Name] = ""
	default:
		refuse(field+"type", "%q is not amount, account, text or unit", f.Type)
		return p
	}
	if p.Type != AmountParam && (p.Min != nil || p.Max != nil) {
		refuse(field+"min", "min and max are for an amount")
	}
	if p.Default != nil {
		if _, why := p.read(*p.Default); why != "" {
			refuse(field+"default", "%s", why)
		}
	}
	return p
}

// compileValue compiles a named value; it is a whole number, or else a text.
func compileValue(f *valueForm, env map[string]any, one func(*language, string, string, reflect.Kind) *vm.Program, refuse func(string, string, ...any)) caseValue {
	v := caseValue{name: f.Name}
	if why := freeName(f.Name, env); why != "" {
		refuse("values."+f.Name, "%s", why)
		return v
	}
	l := newLanguage(maps.Clone(env))
	if v.program, _ = l.compile(f.Value, reflect.String); v.program != nil {
		env[f.Name] = ""
		return v
	}
	v.program = one(l, "values."+f.Name, f.Value, reflect.Int)
	env[f.Name] = Whole(0)
	return v
}

// freeName says why a parameter or value can't have the name, or "".
func freeName(name string, env map[string]any) string {
	if !regexp.MustCompile(`^[a-z][a-z0-9_]{0,47}$`).MatchString(name) {
		return fmt.Sprintf("%q is not a lower-case letter and up to 47 of them, digits and _", clip(name))
	}
	taken := slices.ContainsFunc(functions(), func(f function) bool { return f.name == name }) || slices.Contains(builtins(), name) ||
		slices.Contains([]string{"let", "if", "else", "in", "not", "and", "or", "true", "false", "nil", "matches", "contains"}, name)
	if _, twice := env[name]; twice || taken {
		return fmt.Sprintf("the name %s is taken", name)
	}
	return ""
}

// failed is nil, or one fault.Invalid about a case.
func (c *problems) failed(name string) error {
	return invalid("make transfer of case "+clip(name), c.all)
}
