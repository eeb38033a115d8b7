package voucher

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"strata/core"
	"strata/fault"
	"strata/money"
)

// DryRun is a question: what would be posted otherwise by a document, over past accounting dates.
type DryRun struct {
	Body []byte
	// Source is where the events come from; nil: the ones that vouchers keep.
	Source Source
	// From and To are accounting dates, [From, To).
	From, To time.Time
	// Limit bounds the transfers that are named. 0: 100.
	Limit int
	// Progress is told the events so far; nil: nobody.
	Progress func(done, total int64)
}

// Difference is its answer. Old is what stands in the books: for an event without a voucher, what the rules in force would
// make of it.
type Difference struct {
	Events    int64
	Changed   int64 // events whose lines differ, or that fail in only one of both
	OldFailed int64
	NewFailed int64
	Sums      []SumChange      // that differ, by date, subject and unit
	Transfers []TransferChange // the first changed ones
	More      bool             // there are more changed transfers than named
}

// SumChange is a subject's sum on a day, old and new.
type SumChange struct {
	Date, Subject, Unit string
	OldDebit, OldCredit money.Sum
	NewDebit, NewCredit money.Sum
}

// TransferChange is a transfer whose lines differ. A reason says why there are none.
type TransferChange struct {
	Transfer, Date       string
	Old, New             []Line
	OldReason, NewReason string
}

const (
	defaultNamed = 100
	maxNamed     = 10_000
	// maxSums bounds the sums of a dry run in memory: subjects × units × days.
	maxSums = 500_000
)

type sumPair struct{ old, new sides }

// dryRun is one that is under way.
type dryRun struct {
	store *Store
	ask   DryRun
	doc   *Document
	times timetable
	sums  map[glKey]*sumPair
	out   Difference
	page  []core.Event
}

// DryRun compares a document with what stands in the books. It writes nothing. Errors: fault.Invalid for the document or the
// period; fault.TooLarge where the period has over 500,000 sums.
func (s *Store) DryRun(ctx context.Context, ask DryRun) (Difference, error) {
	const op = "dry-run rules"
	if !ask.From.Before(ask.To) || ask.Limit < 0 || ask.Limit > maxNamed {
		return Difference{}, fault.New(fault.Invalid, op, "the period is empty, or %d named transfers are not 0 to %d", ask.Limit, maxNamed)
	}
	doc, err := Compile(ask.Body)
	if err != nil {
		return Difference{}, err
	}
	if ask.Limit == 0 {
		ask.Limit = defaultNamed
	}
	if ask.Source == nil {
		ask.Source = s
	}
	r := &dryRun{store: s, ask: ask, doc: doc, sums: map[glKey]*sumPair{}}
	if r.times, err = s.timetable(ctx); err != nil {
		return Difference{}, err
	}
	err = ask.Source.Events(ctx, ask.From, ask.To, func(ev core.Event) error {
		if r.page = append(r.page, ev); len(r.page) < pageRows {
			return nil
		}
		return r.flush(ctx)
	})
	if err == nil {
		err = r.flush(ctx)
	}
	if err != nil {
		return Difference{}, fmt.Errorf("%s: %w", op, err)
	}
	return r.finish(), nil
}

// flush compares a page of events.
func (r *dryRun) flush(ctx context.Context) error {
	versions, err := r.store.bookedBy(ctx, r.page)
	if err != nil {
		return err
	}
	for i := range r.page {
		if err := r.compare(ctx, &r.page[i], versions); err != nil {
			return err
		}
	}
	r.page = r.page[:0]
	if r.ask.Progress != nil {
		r.ask.Progress(r.out.Events, 0)
	}
	return nil
}

// bookedAs is what a voucher says of an event.
type bookedAs struct {
	version int64
	state   State
	reason  string
}

// bookedBy reads how the events' vouchers were made; those without one are absent.
func (s *Store) bookedBy(ctx context.Context, events []core.Event) (map[string]bookedAs, error) {
	out := map[string]bookedAs{}
	if len(events) == 0 {
		return out, nil
	}
	ids := make([]any, len(events))
	for i := range events {
		ids[i] = events[i].Transfer.ID
	}
	x, err := s.begin(ctx, true)
	if err != nil {
		return nil, err
	}
	defer x.end()
	rows, err := x.vouchers(ctx, "WHERE transfer_id IN "+marks(1, len(ids)), ids...)
	for i := range rows {
		out[rows[i].id] = bookedAs{rows[i].version, rows[i].state, rows[i].reason}
	}
	return out, err
}

func (r *dryRun) compare(ctx context.Context, ev *core.Event, versions map[string]bookedAs) error {
	r.out.Events++
	change := TransferChange{Transfer: ev.Transfer.ID, Date: day(ev.AccountingDate)}
	var err error
	if change.Old, change.OldReason, err = r.old(ctx, ev, versions); err != nil {
		return err
	}
	if change.New, change.NewReason, err = r.lines(r.doc, ev); err != nil {
		return err
	}
	if change.OldReason != "" {
		r.out.OldFailed++
	}
	if change.NewReason != "" {
		r.out.NewFailed++
	}
	for _, l := range change.Old {
		r.sum(change.Date, l).old.add(l)
	}
	for _, l := range change.New {
		r.sum(change.Date, l).new.add(l)
	}
	if len(r.sums) > maxSums {
		return fault.New(fault.TooLarge, "sum subjects", "over %d sums of subjects, units and days", maxSums).WithHint("ask for a shorter period")
	}
	if (change.OldReason == "") == (change.NewReason == "") && slices.Equal(change.Old, change.New) {
		return nil
	}
	r.out.Changed++
	if len(r.out.Transfers) < r.ask.Limit {
		r.out.Transfers = append(r.out.Transfers, change)
	} else {
		r.out.More = true
	}
	return nil
}

// old is what stands in the books.
func (r *dryRun) old(ctx context.Context, ev *core.Event, versions map[string]bookedAs) ([]Line, string, error) {
	was, there := versions[ev.Transfer.ID]
	version := was.version
	switch {
	case there && was.state == Failed:
		return nil, was.reason, nil
	case !there:
		if version = r.times.on(day(ev.AccountingDate)); version == 0 {
			return nil, "no rules are in force", nil
		}
	}
	doc, err := r.store.load(ctx, r.store.cfg.DB.SQL(), version)
	if err != nil {
		return nil, "", err
	}
	return r.lines(doc, ev)
}

func (r *dryRun) lines(doc *Document, ev *core.Event) ([]Line, string, error) {
	d, err := doc.Derive(ev)
	var p *Problem
	if errors.As(err, &p) {
		return nil, reasonOf(p), nil
	}
	return d.Lines, "", err
}

func (r *dryRun) sum(date string, l Line) *sumPair {
	k := glKey{date, l.Subject, l.Unit}
	if r.sums[k] == nil {
		r.sums[k] = &sumPair{}
	}
	return r.sums[k]
}

func (r *dryRun) finish() Difference {
	for _, k := range slices.SortedFunc(maps.Keys(r.sums), glKey.compare) {
		if p := r.sums[k]; p.old != p.new {
			r.out.Sums = append(r.out.Sums, SumChange{k.date, k.subject, k.unit, p.old.debit, p.old.credit, p.new.debit, p.new.credit})
		}
	}
	return r.out
}
