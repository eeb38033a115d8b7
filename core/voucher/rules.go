package voucher

import (
	"fmt"
	"maps"
	"reflect"
	"slices"

	"github.com/expr-lang/expr/vm"

	"strata/core"
	"strata/money"
)

// Line is one journal line: exactly one of Debit and Credit is above zero, minor units of Unit.
type Line struct {
	Subject string
	Unit    string
	Debit   int64
	Credit  int64
}

// Derived is what rules make of an event.
type Derived struct {
	Rules []string // the rules that matched, in the document's order; none: no rule is about this event
	Lines []Line
}

type rule struct {
	name  string
	when  *vm.Program
	leg   bool
	lines []line
}

type line struct {
	when, subject, unit, amount *vm.Program // when may be nil
	credit                      bool
}

func compileRule(f *ruleForm, bad *problems) rule {
	r := rule{name: f.Name, leg: f.Each == "leg"}
	if f.Each != "" && f.Each != "leg" {
		bad.add(&Problem{Code: BadDocument, Rule: f.Name, Field: "each", Message: fmt.Sprintf("%q is neither leg nor left out", f.Each)})
	}
	if len(f.Lines) == 0 || len(f.Lines) > maxPerRule {
		bad.add(&Problem{Code: BadDocument, Rule: f.Name, Field: "lines", Message: fmt.Sprintf("%d lines are not 1 to %d", len(f.Lines), maxPerRule)})
		return r
	}
	once := newLanguage(&scope{})
	l := once
	if r.leg {
		l = &language{env: once.env, plain: once.plain, options: once.options, leg: true}
	}
	one := func(l *language, field, src string, kind reflect.Kind) *vm.Program {
		program, p := l.compile(src, kind)
		if p != nil {
			p.Rule, p.Field = f.Name, field
			bad.add(p)
		}
		return program
	}
	r.when = one(once, "when", f.When, reflect.Bool)
	for i, lf := range f.Lines {
		at := fmt.Sprintf("lines[%d].", i)
		n := line{credit: lf.Side == "credit"}
		if lf.Side != "debit" && lf.Side != "credit" {
			bad.add(&Problem{Code: BadDocument, Rule: f.Name, Field: at + "side", Message: fmt.Sprintf("%q is neither debit nor credit", lf.Side)})
		}
		if lf.When != "" {
			n.when = one(l, at+"when", lf.When, reflect.Bool)
		}
		n.subject = one(l, at+"subject", lf.Subject, reflect.String)
		n.unit = one(l, at+"unit", lf.Unit, reflect.String)
		n.amount = one(l, at+"amount", lf.Amount, reflect.Int)
		r.lines = append(r.lines, n)
	}
	return r
}

// Derive makes the journal lines of an event: those of every rule whose condition holds. An amount of 0 leaves its line out,
// one below 0 stands on the other side. Each rule balances per unit by itself. The error is a *Problem.
func (d *Document) Derive(ev *core.Event) (Derived, error) {
	e := d.evaluators.Get().(*evaluator)
	defer d.evaluators.Put(e)
	out, problem := d.derive(e, ev)
	if problem != nil {
		return Derived{}, problem
	}
	return out, nil
}

func (d *Document) derive(e *evaluator, ev *core.Event) (Derived, *Problem) {
	var out Derived
	if p := e.set(ev); p != nil {
		return out, p
	}
	for i := range d.rules {
		r := &d.rules[i]
		holds, err := e.vm.Run(r.when, &e.scope)
		if err != nil {
			return out, r.problem("when", notComputed(err))
		}
		if holds != true {
			continue
		}
		start := len(out.Lines)
		if r.leg {
			for _, l := range e.scope.Legs {
				e.scope.Leg = l
				if p := d.addLines(e, r, &out); p != nil {
					return out, p
				}
			}
			e.scope.Leg = legView{}
		} else if p := d.addLines(e, r, &out); p != nil {
			return out, p
		}
		if unit, debit, credit, ok := balanced(out.Lines[start:]); !ok {
			return out, &Problem{Code: Unbalanced, Rule: r.name, Field: "lines", Message: fmt.Sprintf("debits %s, credits %s in %s", debit, credit, unit)}
		}
		out.Rules = append(out.Rules, r.name)
	}
	return out, nil
}

func (r *rule) problem(field string, p *Problem) *Problem {
	p.Rule, p.Field = r.name, field
	return p
}

func (d *Document) addLines(e *evaluator, r *rule, out *Derived) *Problem {
	for i := range r.lines {
		n := &r.lines[i]
		got, bad, err := d.eval(e, n)
		switch {
		case err != nil:
			return r.problem(fmt.Sprintf("lines[%d].%s", i, bad), notComputed(err))
		case got == Line{}:
			continue
		case !core.ValidUnit(got.Unit):
			return &Problem{Code: BadLine, Rule: r.name, Field: fmt.Sprintf("lines[%d].unit", i), Message: fmt.Sprintf("%q is not 1 to 12 upper-case letters and digits", got.Unit)}
		case !validSubject(got.Subject):
			return &Problem{Code: BadLine, Rule: r.name, Field: fmt.Sprintf("lines[%d].subject", i), Message: fmt.Sprintf("%q is not 1 to %d visible ASCII characters", got.Subject, maxSubjectBytes)}
		case len(out.Lines) == MaxLines:
			return &Problem{Code: BadLine, Rule: r.name, Field: "lines", Message: fmt.Sprintf("the voucher has over %d lines", MaxLines)}
		}
		if _, ok := d.subjects.root(got.Subject); !ok && len(d.subjects.names) > 0 {
			return &Problem{Code: BadLine, Rule: r.name, Field: fmt.Sprintf("lines[%d].subject", i), Message: fmt.Sprintf("%q is not among the subjects", got.Subject)}
		}
		out.Lines = append(out.Lines, got)
	}
	return nil
}

// eval evaluates one line; the zero Line is left out. bad names the field of an error.
func (d *Document) eval(e *evaluator, n *line) (got Line, bad string, err error) {
	if n.when != nil {
		holds, err := e.vm.Run(n.when, &e.scope)
		if err != nil || holds != true {
			return Line{}, "when", err
		}
	}
	value, err := e.vm.Run(n.amount, &e.scope)
	if err != nil {
		return Line{}, "amount", err
	}
	amount, credit := value.(Whole), n.credit
	if amount == 0 {
		return Line{}, "", nil
	}
	if amount < 0 {
		if amount, err = minus(0, amount); err != nil {
			return Line{}, "amount", err
		}
		credit = !credit
	}
	if value, err = e.vm.Run(n.subject, &e.scope); err != nil {
		return Line{}, "subject", err
	}
	got.Subject = value.(string)
	if value, err = e.vm.Run(n.unit, &e.scope); err != nil {
		return Line{}, "unit", err
	}
	got.Unit = value.(string)
	if credit {
		got.Credit = int64(amount)
	} else {
		got.Debit = int64(amount)
	}
	return got, "", nil
}

// balanced names the first unit whose debits are not its credits.
func balanced(lines []Line) (unit string, debit, credit money.Sum, ok bool) {
	type sides struct{ debit, credit money.Sum }
	sums := map[string]*sides{}
	for _, l := range lines {
		s := sums[l.Unit]
		if s == nil {
			s = &sides{}
			sums[l.Unit] = s
		}
		s.debit.Add(money.Amount(l.Debit))
		s.credit.Add(money.Amount(l.Credit))
	}
	for _, unit := range slices.Sorted(maps.Keys(sums)) {
		if s := sums[unit]; s.debit != s.credit {
			return unit, s.debit, s.credit, false
		}
	}
	return "", debit, credit, true
}
