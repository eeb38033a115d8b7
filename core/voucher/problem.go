package voucher

import (
	"errors"
	"strings"

	"strata/fault"
)

// Code says what is wrong with a document, a case's parameters or an event; stable, for programs.
type Code string

// The codes.
const (
	BadDocument   Code = "bad_document"   // not the form that this package reads
	BadExpression Code = "bad_expression" // does not compile, or is not of the field's type
	NotInteger    Code = "not_integer"    // counts with something else than whole numbers
	BadSample     Code = "bad_sample"     // a sample event or case that does not give what it should
	Unbalanced    Code = "unbalanced"     // debits and credits differ in a unit
	NotComputable Code = "not_computable" // an expression failed on this event: overflow, division by zero, no such element
	BadLine       Code = "bad_line"       // a subject or unit that is none, or too many lines
	BadEvent      Code = "bad_event"      // an event that no rule can be asked about
	NoRules       Code = "no_rules"       // no version is in force on the accounting date
	NotStorable   Code = "not_storable"   // the database did not take the voucher

	UnknownCase  Code = "unknown_case"
	MissingParam Code = "missing_param"
	UnknownParam Code = "unknown_param"
	BadParam     Code = "bad_param"
	BadTransfer  Code = "bad_transfer" // the case gives a transfer that the ledger would refuse
)

// Problem is one thing that is wrong: a stable code, the rule or case, its field, and a sentence.
type Problem struct {
	Code    Code
	Rule    string // the rule's, case's, subject's or sample's name; "" where it is the whole
	Field   string // lines[1].amount, params.user; "" where it is the whole
	Message string
}

// Error reads "rule field: message (code)".
func (p *Problem) Error() string {
	var b strings.Builder
	for _, part := range []string{p.Rule, p.Field} {
		if part != "" {
			if b.Len() > 0 {
				b.WriteByte(' ')
			}
			b.WriteString(part)
		}
	}
	if b.Len() > 0 {
		b.WriteString(": ")
	}
	b.WriteString(p.Message)
	return b.String() + " (" + string(p.Code) + ")"
}

// Problems returns all problems in err, in order; none where it has none.
func Problems(err error) []*Problem {
	switch e := err.(type) {
	case nil:
		return nil
	case *Problem:
		return []*Problem{e}
	case interface{ Unwrap() []error }:
		var out []*Problem
		for _, one := range e.Unwrap() {
			out = append(out, Problems(one)...)
		}
		return out
	}
	return Problems(errors.Unwrap(err))
}

// maxProblems bounds what is said about one document.
const maxProblems = 50

// problems collects what is wrong with a document.
type problems struct {
	all []error
}

func (c *problems) add(p *Problem) {
	if p != nil && len(c.all) < maxProblems {
		c.all = append(c.all, p)
	}
}

// err is nil, or one fault.Invalid with all of them.
func (c *problems) err() error { return invalid("compile rules", c.all) }

func invalid(op string, all []error) error {
	return fault.Wrap(fault.Invalid, op, errors.Join(all...))
}
