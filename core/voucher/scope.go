package voucher

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/expr-lang/expr/vm"

	"strata/core"
)

// legView is a leg as rules see it.
type legView struct {
	Index   Whole  `expr:"index"`
	Account Whole  `expr:"account"`
	Unit    string `expr:"unit"`
	Amount  Whole  `expr:"amount"` // credit above zero, debit below
	Nature  string `expr:"nature"`
}

// scope is an event as rules see it, with the functions that need it. It is an evaluator's, and not for concurrent use.
type scope struct {
	ID             string            `expr:"id"`
	Kind           string            `expr:"kind"`
	Action         string            `expr:"action"`
	Of             string            `expr:"of"`
	Tenant         string            `expr:"tenant"`
	Order          string            `expr:"order"`
	Product        string            `expr:"product"`
	Memo           string            `expr:"memo"`
	Unit           string            `expr:"unit"`   // of the first leg
	Amount         Whole             `expr:"amount"` // the credits in it
	BusinessDate   string            `expr:"business_date"`
	AccountingDate string            `expr:"accounting_date"`
	Legs           []legView         `expr:"legs"`
	Leg            legView           `expr:"leg"`
	Metadata       map[string]string `expr:"metadata"`

	Credits   func(unit string) (Whole, error)              `expr:"credits"`    // of all legs in a unit, above zero
	Debits    func(unit string) (Whole, error)              `expr:"debits"`     // the same, above zero
	SumOf     func(account Whole) (Whole, error)            `expr:"sum_of"`     // of an account's legs, signed
	CreditsOf func(account Whole) (Whole, error)            `expr:"credits_of"` // above zero
	DebitsOf  func(account Whole) (Whole, error)            `expr:"debits_of"`  // above zero
	SubjectOf func(account Whole) (string, error)           `expr:"subject_of"` // as the subjects declare it
	Part      func(leg Whole, nature string) (Whole, error) `expr:"part"`       // of a leg's amount, signed as it

	parts [][]core.Part // by leg; nil where there are none
}

// evaluator evaluates a document's programs on one event after the other.
type evaluator struct {
	vm    vm.VM
	scope scope
}

func newEvaluator(subjectOf func(int64) (string, bool)) *evaluator {
	e := &evaluator{vm: vm.VM{MemoryBudget: memoryBudget}}
	s := &e.scope
	side := func(sign Whole, of func(legView) bool) (sum Whole, err error) {
		for _, l := range s.Legs {
			if !of(l) || sign > 0 && l.Amount < 0 || sign < 0 && l.Amount > 0 {
				continue
			}
			if sign < 0 {
				sum, err = minus(sum, l.Amount)
			} else {
				sum, err = plus(sum, l.Amount)
			}
			if err != nil {
				return 0, err
			}
		}
		return sum, nil
	}
	inUnit := func(unit string) func(legView) bool { return func(l legView) bool { return l.Unit == unit } }
	ofAccount := func(id Whole) func(legView) bool { return func(l legView) bool { return l.Account == id } }
	s.Credits = func(unit string) (Whole, error) { return side(1, inUnit(unit)) }
	s.Debits = func(unit string) (Whole, error) { return side(-1, inUnit(unit)) }
	s.SumOf = func(id Whole) (Whole, error) { return side(0, ofAccount(id)) }
	s.CreditsOf = func(id Whole) (Whole, error) { return side(1, ofAccount(id)) }
	s.DebitsOf = func(id Whole) (Whole, error) { return side(-1, ofAccount(id)) }
	s.SubjectOf = func(id Whole) (string, error) {
		if subject, ok := subjectOf(int64(id)); ok {
			return subject, nil
		}
		return "", fmt.Errorf("no subject declares account %d", id)
	}
	s.Part = func(leg Whole, nature string) (sum Whole, err error) {
		if leg < 0 || leg >= len(s.Legs) {
			return 0, fmt.Errorf("there is no leg %d of %d", leg, len(s.Legs))
		}
		if leg < len(s.parts) {
			for _, p := range s.parts[leg] {
				if p.Nature == nature {
					if sum, err = plus(sum, Whole(p.Amount)); err != nil {
						return 0, err
					}
				}
			}
		}
		return sum, nil
	}
	return e
}

// set puts an event before the evaluator.
func (e *evaluator) set(ev *core.Event) *Problem {
	s, t := &e.scope, &ev.Transfer
	legs, problem := bookedLegs(ev)
	if problem != nil {
		return problem
	}
	s.Legs, s.parts, s.Leg = s.Legs[:0], s.parts[:0], legView{}
	s.Unit, s.Amount = legs[0].Unit, 0
	var err error
	for i, l := range legs {
		s.Legs = append(s.Legs, legView{Index: i, Account: Whole(l.Account), Unit: l.Unit, Amount: Whole(l.Amount), Nature: l.Nature})
		if l.Unit == s.Unit && l.Amount > 0 {
			if s.Amount, err = plus(s.Amount, Whole(l.Amount)); err != nil {
				return &Problem{Code: BadEvent, Field: fmt.Sprintf("legs[%d]", i), Message: err.Error()}
			}
		}
	}
	for _, b := range ev.Balances {
		s.parts = append(s.parts, b.Parts)
	}
	s.ID, s.Kind, s.Action, s.Of = t.ID, t.Kind, t.Action.String(), t.Of
	s.Tenant, s.Order, s.Product, s.Memo = t.Tenant, t.Order, t.Product, t.Memo
	business := t.BusinessDate
	if business.IsZero() {
		business = t.OrderTime
	}
	s.BusinessDate, s.AccountingDate = day(business), day(ev.AccountingDate)
	if s.Metadata, err = metadata(t.Metadata); err != nil {
		return &Problem{Code: BadEvent, Field: "metadata", Message: err.Error()}
	}
	return nil
}

// bookedLegs are the event's legs; they must be as many as its balances, where it has any.
func bookedLegs(ev *core.Event) ([]core.Leg, *Problem) {
	legs := ev.Transfer.Legs
	if len(legs) == 0 {
		return nil, &Problem{Code: BadEvent, Field: "legs", Message: "the event has no legs"}
	}
	if len(ev.Balances) != 0 && len(ev.Balances) != len(legs) {
		return nil, &Problem{Code: BadEvent, Field: "legs", Message: fmt.Sprintf("%d legs and %d balances", len(legs), len(ev.Balances))}
	}
	return legs, nil
}

func day(t time.Time) string { return t.UTC().Format(time.DateOnly) }

// metadata reads a JSON object into texts: strings as they are, everything else as its JSON.
func metadata(raw string) (map[string]string, error) {
	if raw == "" {
		return nil, nil
	}
	var values map[string]json.RawMessage
	if err := json.Unmarshal([]byte(raw), &values); err != nil {
		return nil, fmt.Errorf("it is not a JSON object: %w", err)
	}
	out := make(map[string]string, len(values))
	for name, value := range values {
		var text string
		if strings.HasPrefix(string(value), `"`) {
			if err := json.Unmarshal(value, &text); err != nil {
				return nil, fmt.Errorf("%q: %w", name, err)
			}
		} else {
			text = string(value)
		}
		out[name] = text
	}
	return out, nil
}
