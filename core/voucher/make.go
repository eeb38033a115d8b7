package voucher

import (
	"context"
	"errors"
	"strconv"
	"time"
	"unicode/utf8"

	"strata/core"
)

// State is what has become of an event.
type State string

// The states. Booked: its lines are in the journal. None: no rule is about it. Failed: the rules could not book it; the reason
// stands with it, nothing of it is in the journal, and Retry asks newer rules.
const (
	Booked State = "booked"
	None   State = "none"
	Failed State = "failed"
)

// maxReasonRunes is what the column holds.
const maxReasonRunes = 512

// made is a voucher to be written.
type made struct {
	id, date string
	version  int64
	state    State
	code     Code
	reason   string
	attempts int64
	at       string
	body     string
	lines    []Line
}

// seal is the hash that stands in the voucher's row.
func (m *made) seal() [32]byte { return m.sealWith(len(m.lines)) }

func (m *made) sealWith(lines int) [32]byte {
	return sealOf(m.date, m.id, strconv.FormatInt(m.version, 10), string(m.state), strconv.Itoa(lines), string(m.code), m.reason,
		strconv.FormatInt(m.attempts, 10), m.at, m.body)
}

// fail makes it a failed voucher.
func (m *made) fail(p *Problem) {
	m.state, m.code, m.lines = Failed, p.Code, nil
	m.reason = reasonOf(p)
}

// reasonOf is a problem's text without its code, cut to the column.
func reasonOf(p *Problem) string {
	text := p.Error()
	text = text[:len(text)-len(p.Code)-3]
	if utf8.RuneCountInString(text) > maxReasonRunes {
		text = string([]rune(text)[:maxReasonRunes-1]) + "…"
	}
	return text
}

// maker makes vouchers by the versions in force.
type maker struct {
	store *Store
	query querier
	times timetable
	at    string
}

func (s *Store) maker(ctx context.Context) (*maker, error) {
	times, err := s.timetable(ctx)
	return &maker{store: s, query: s.cfg.DB.SQL(), times: times, at: stamp(s.cfg.Now())}, err
}

// make makes the voucher of an event; what the rules can't do makes a failed one. An error is about the rules' own row.
func (m *maker) make(ctx context.Context, ev *core.Event, body string, attempts int64) (made, error) {
	date := ev.AccountingDate
	storable := core.Storable(date)
	if !storable {
		date = time.Unix(0, 0)
	}
	out := made{id: ev.Transfer.ID, date: day(date), attempts: attempts, at: m.at, body: body}
	if !storable {
		out.fail(&Problem{Code: BadEvent, Field: "accounting_date", Message: "the event's accounting date is not between 1970 and 9999"})
		return out, nil
	}
	out.version = m.times.on(out.date)
	if out.version == 0 {
		out.fail(&Problem{Code: NoRules, Message: "no rules are in force on " + out.date})
		return out, nil
	}
	doc, err := m.store.load(ctx, m.query, out.version)
	if err != nil {
		return out, err
	}
	out.derive(doc, ev)
	return out, nil
}

// derive sets state and lines by a document.
func (m *made) derive(doc *Document, ev *core.Event) {
	derived, err := doc.Derive(ev)
	var problem *Problem
	switch {
	case errors.As(err, &problem):
		m.fail(problem)
	case len(derived.Rules) == 0:
		m.state = None
	default:
		m.state, m.lines = Booked, derived.Lines
	}
}
