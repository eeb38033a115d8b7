package voucher

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"strata/core"
)

// runSamples asks the rules about every sample: each must give a balanced voucher, the lines that it states, or none at all
// where it says so.
func (d *Document) runSamples(bad *problems) {
	names := map[string]bool{}
	for i := range d.samples {
		s := &d.samples[i]
		bad.name("samples", i, s.Name, names)
		if p := d.runSample(s); p != nil {
			p.Message = fmt.Sprintf("sample %s: %s", s.Name, p.Message)
			bad.add(p)
		}
	}
}

func (d *Document) runSample(s *sampleForm) *Problem {
	ev, problem := d.sampleEvent(s)
	if problem != nil {
		return problem
	}
	e := newEvaluator(d.subjects.of)
	got, problem := d.derive(e, &ev)
	switch {
	case problem != nil:
		return problem
	case s.None && len(got.Rules) > 0:
		return &Problem{Code: BadSample, Rule: s.Name, Field: "none", Message: fmt.Sprintf("rule %s matches", got.Rules[0])}
	case !s.None && len(got.Rules) == 0:
		return &Problem{Code: BadSample, Rule: s.Name, Field: "transfer", Message: "no rule matches"}
	case len(s.Lines) == 0:
		return nil
	}
	lines := make([]string, len(got.Lines))
	for i, l := range got.Lines {
		lines[i] = l.String()
	}
	if !slices.Equal(lines, s.Lines) {
		return &Problem{Code: BadSample, Rule: s.Name, Field: "lines", Message: fmt.Sprintf("the rules give [%s]", strings.Join(lines, "; "))}
	}
	return nil
}

// sampleEvent is the event that a sample stands for, on 2026-01-01 where it says no time.
func (d *Document) sampleEvent(s *sampleForm) (core.Event, *Problem) {
	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	refuse := func(field string, err error) (core.Event, *Problem) {
		message := err.Error()
		if all := Problems(err); len(all) > 0 {
			message = all[0].Error()
		}
		return core.Event{}, &Problem{Code: BadSample, Rule: s.Name, Field: field, Message: message}
	}
	if (s.Case == "") == (s.Transfer == nil) {
		return refuse("transfer", fmt.Errorf("a sample has either a case or a transfer"))
	}
	if s.Case != "" {
		t, err := d.Transfer(s.Case, core.Transfer{ID: s.Name, OrderTime: at}, s.Params)
		if err != nil {
			return refuse("params", err)
		}
		return core.Event{Transfer: t, AccountingDate: at, PostedAt: at}, nil
	}
	raw, err := json.Marshal(s.Transfer)
	if err != nil {
		return refuse("transfer", err)
	}
	t, err := core.ParseTransfer(raw)
	if err != nil {
		return refuse("transfer", err)
	}
	if a := t.Refusal(); a != nil {
		return refuse("transfer."+a.Field, fmt.Errorf("%s", a.Message))
	}
	return core.Event{Transfer: t, AccountingDate: core.Date(t.OrderTime), PostedAt: t.OrderTime}, nil
}

// String is the line as samples and reports write it: "1001 debit CNY 100".
func (l Line) String() string {
	if l.Debit != 0 {
		return fmt.Sprintf("%s debit %s %d", l.Subject, l.Unit, l.Debit)
	}
	return fmt.Sprintf("%s credit %s %d", l.Subject, l.Unit, l.Credit)
}
