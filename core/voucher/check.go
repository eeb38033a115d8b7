package voucher

import (
	"context"
	"database/sql"
	"fmt"
	"maps"
	"slices"
	"time"

	"strata/core"
	"strata/fault"
	"strata/money"
)

// FindingKind says what is wrong with a row.
type FindingKind string

// The kinds.
const (
	RuleChanged    FindingKind = "rule_changed"    // a version's row is not as it was put
	VoucherChanged FindingKind = "voucher_changed" // a voucher's row is not as it was written
	LineDiffers    FindingKind = "line_differs"    // the journal has another line, one more or one less than the rules give
	OutOfBalance   FindingKind = "out_of_balance"  // a voucher's or a day's debits are not its credits
	GLDiffers      FindingKind = "gl_differs"      // the general ledger is not the sum of the journal
	CountDiffers   FindingKind = "count_differs"   // a day's count of vouchers
	Disagrees      FindingKind = "disagrees"       // a subject is not the sum of its accounts' entries
	VoucherFailed  FindingKind = "voucher_failed"  // a transfer waits for rules that can book it
	VoucherMissing FindingKind = "voucher_missing" // a booked transfer has neither voucher nor place in the feed
	EventDiffers   FindingKind = "event_differs"   // a voucher's event is not the ledger's transfer
	NoTransfer     FindingKind = "no_transfer"     // a voucher whose transfer the ledger does not have
)

// Finding is one difference, with the row that it is in. What does not apply is empty; Line counts from 0 and is -1 then.
type Finding struct {
	Kind       FindingKind
	Table      string
	Date       string
	Transfer   string
	Line       int
	Subject    string
	Unit       string
	Want, Have string
}

// String names the row first: "journal 2026-11-22 t1 line 0: …".
func (f Finding) String() string {
	row := f.Table
	for _, part := range []string{f.Date, f.Transfer, f.Subject, f.Unit} {
		if part != "" {
			row += " " + part
		}
	}
	if f.Line >= 0 {
		row += fmt.Sprintf(" line %d", f.Line)
	}
	return fmt.Sprintf("%s: %s: wanted %s, have %s", row, f.Kind, f.Want, f.Have)
}

// Checking is a question to Check.
type Checking struct {
	// From and To are accounting dates, [From, To); zero: no bound.
	From, To time.Time
	// Ledger gives the ledger's own booked transfers, to compare the vouchers' events with and to find what has no voucher;
	// nil: not looked at. An event needs the transfer's id and accounting date; where it has legs, they and the kind are
	// compared as well.
	Ledger Source
	// Waiting tells which events wait in the feed; nil: none. It is looked at with Ledger only.
	Waiting Waiter
	// Progress is told the accounting dates; nil: nobody.
	Progress func(done, total int64)
}

// Waiter knows what is in a feed.
type Waiter interface {
	// Waiting returns those of the transfers that are in the feed.
	Waiting(ctx context.Context, transfers []string) ([]string, error)
}

// Checked says what Check looked at. It is proven if Findings is 0.
type Checked struct {
	Days, Vouchers, Lines, Sums, Transfers, Findings int64
}

// check is one that is under way.
type check struct {
	store  *Store
	ask    Checking
	report func(Finding)
	out    Checked
	bad    map[int64]bool // versions that can't be used
}

// Check derives everything again: the lines from each voucher's event and version, the general ledger from the lines, the
// counts from the vouchers, what a subject should have from its accounts' legs. Each accounting date is read in one snapshot,
// so that it may run beside the engine. report gets every finding. The error is about the check itself.
func (s *Store) Check(ctx context.Context, ask Checking, report func(Finding)) (Checked, error) {
	c := &check{store: s, ask: ask, report: report, bad: map[int64]bool{}}
	if err := c.rules(ctx); err != nil {
		return c.out, err
	}
	days, err := c.days(ctx)
	if err != nil {
		return c.out, err
	}
	for i, date := range days {
		d := &checkDay{check: c, date: date, journal: map[glKey]*sides{}, legs: map[glKey]*agreement{}, versions: map[int64]*Document{}}
		if err := d.run(ctx); err != nil {
			return c.out, fmt.Errorf("check vouchers of %s: %w", date, err)
		}
		c.out.Days++
		if ask.Progress != nil {
			ask.Progress(int64(i+1), int64(len(days)))
		}
	}
	if ask.Ledger != nil {
		if err := c.ledger(ctx); err != nil {
			return c.out, fmt.Errorf("compare vouchers with the ledger: %w", err)
		}
	}
	return c.out, nil
}

func (c *check) find(f Finding) {
	c.out.Findings++
	c.report(f)
}

// rules looks at every version's row, and at the number of the newest.
func (c *check) rules(ctx context.Context) error {
	x, err := c.store.begin(ctx, true)
	if err != nil {
		return err
	}
	defer x.end()
	newest, err := x.head(ctx, "")
	if err != nil {
		return err
	}
	count := int64(0)
	err = x.each(ctx, "read rules", func(r *sql.Rows) error {
		v, intact, err := scanVersion(r)
		if err != nil {
			return err
		}
		if count++; !intact || v.Number != count {
			c.bad[v.Number] = true
			c.find(Finding{Kind: RuleChanged, Table: "voucher_rule", Line: -1, Want: fmt.Sprintf("version %d as it was put", count), Have: fmt.Sprintf("version %d, changed", v.Number)})
			count = v.Number
		}
		return nil
	}, "SELECT version, body, author, reason, at, active_from, seal FROM voucher_rule ORDER BY version")
	if err == nil && newest != count {
		c.find(Finding{Kind: RuleChanged, Table: "voucher_head", Line: -1, Want: fmt.Sprintf("version %d", count), Have: fmt.Sprintf("version %d", newest)})
	}
	return err
}

func (c *check) bounds() (from, to string) {
	from, to = dateOr(c.ask.From), "9999-12-31"
	if !c.ask.To.IsZero() {
		to = day(c.ask.To.AddDate(0, 0, -1))
	}
	return from, to
}

// days are the accounting dates that any of the tables has.
func (c *check) days(ctx context.Context) ([]string, error) {
	x, err := c.store.begin(ctx, true)
	if err != nil {
		return nil, err
	}
	defer x.end()
	from, to := c.bounds()
	seen := map[string]bool{}
	for _, table := range []string{"voucher", "journal", "general_ledger", "voucher_day"} {
		err := x.each(ctx, "list accounting dates", func(r *sql.Rows) error {
			var date string
			err := r.Scan(&date)
			seen[date] = true
			return err
		}, "SELECT DISTINCT accounting_date FROM "+table+" WHERE accounting_date BETWEEN ? AND ?", from, to)
		if err != nil {
			return nil, err
		}
	}
	return slices.Sorted(maps.Keys(seen)), nil
}

// ledgerDay counts one accounting date of the ledger.
type ledgerDay struct{ vouchers, transfers int64 }

// ledger compares every booked transfer with its voucher's event, and finds those without one.
func (c *check) ledger(ctx context.Context) error {
	from, to := c.ask.From, c.ask.To
	if from.IsZero() {
		from = time.Date(1970, 1, 1, 0, 0, 0, 0, time.UTC)
	}
	if to.IsZero() {
		to = time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC)
	}
	days, err := c.vouchersByDay(ctx) // before the ledger is read: it only grows
	if err != nil {
		return err
	}
	var page []core.Event
	flush := func() error {
		err := c.compare(ctx, page, days)
		page = page[:0]
		return err
	}
	err = c.ask.Ledger.Events(ctx, from, to, func(ev core.Event) error {
		if page = append(page, ev); len(page) < pageRows {
			return nil
		}
		return flush()
	})
	if err == nil {
		err = flush()
	}
	if err != nil {
		return err
	}
	for _, date := range slices.Sorted(maps.Keys(days)) {
		if d := days[date]; d.vouchers > d.transfers {
			if err := c.strangers(ctx, date); err != nil {
				return err
			}
		}
	}
	return nil
}

func (c *check) vouchersByDay(ctx context.Context) (map[string]*ledgerDay, error) {
	x, err := c.store.begin(ctx, true)
	if err != nil {
		return nil, err
	}
	defer x.end()
	from, to := c.bounds()
	days := map[string]*ledgerDay{}
	return days, x.each(ctx, "count vouchers", func(r *sql.Rows) error {
		var date string
		d := &ledgerDay{}
		err := r.Scan(&date, &d.vouchers)
		days[date] = d
		return err
	}, "SELECT accounting_date, COUNT(*) FROM voucher WHERE accounting_date BETWEEN ? AND ? GROUP BY accounting_date", from, to)
}

// compare compares some of the ledger's transfers with their vouchers.
func (c *check) compare(ctx context.Context, events []core.Event, days map[string]*ledgerDay) error {
	bodies, err := c.bodies(ctx, events)
	if err != nil {
		return err
	}
	var missing []core.Event
	for i := range events {
		ev := &events[i]
		c.out.Transfers++
		raw, there := bodies[ev.Transfer.ID]
		if !there {
			missing = append(missing, *ev)
			continue
		}
		if d := days[day(ev.AccountingDate)]; d != nil {
			d.transfers++
		}
		if len(ev.Transfer.Legs) > 0 {
			c.same(ev, raw)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	return c.missing(ctx, missing)
}

func (c *check) bodies(ctx context.Context, events []core.Event) (map[string]string, error) {
	out := map[string]string{}
	if len(events) == 0 {
		return out, nil
	}
	ids := make([]any, len(events))
	for i := range events {
		ids[i] = events[i].Transfer.ID
	}
	x, err := c.store.begin(ctx, true)
	if err != nil {
		return nil, err
	}
	defer x.end()
	rows, err := x.vouchers(ctx, "WHERE transfer_id IN "+marks(1, len(ids)), ids...)
	for i := range rows {
		out[rows[i].id] = rows[i].body
	}
	return out, err
}

// same compares what rules may ask about: kind, date, legs.
func (c *check) same(ev *core.Event, raw string) {
	have, err := parseEvent([]byte(raw))
	f := Finding{Kind: EventDiffers, Table: "voucher", Date: day(ev.AccountingDate), Transfer: ev.Transfer.ID, Line: -1}
	if err != nil {
		f.Want, f.Have = "the ledger's transfer", err.Error()
		c.find(f)
		return
	}
	if f.Want, f.Have = summary(ev), summary(&have); f.Want != f.Have {
		c.find(f)
	}
}

func summary(ev *core.Event) string {
	text := fmt.Sprintf("%s %s on %s:", ev.Transfer.Kind, ev.Transfer.Action, day(ev.AccountingDate))
	for _, l := range ev.Transfer.Legs {
		text += fmt.Sprintf(" %d %s %d;", l.Account, l.Unit, l.Amount)
	}
	return text
}

// missing reports transfers that are lost. An event leaves the feed after its voucher is there: so the feed is asked first.
func (c *check) missing(ctx context.Context, events []core.Event) error {
	ids := make([]string, len(events))
	for i := range events {
		ids[i] = events[i].Transfer.ID
	}
	waiting := map[string]bool{}
	if c.ask.Waiting != nil {
		in, err := c.ask.Waiting.Waiting(ctx, ids)
		if err != nil {
			return err
		}
		for _, id := range in {
			waiting[id] = true
		}
	}
	bodies, err := c.bodies(ctx, events)
	if err != nil {
		return err
	}
	for i := range events {
		ev := &events[i]
		if _, there := bodies[ev.Transfer.ID]; !there && !waiting[ev.Transfer.ID] {
			c.find(Finding{Kind: VoucherMissing, Table: "voucher", Date: day(ev.AccountingDate), Transfer: ev.Transfer.ID, Line: -1, Want: "a voucher, or its event in the feed", Have: "neither"})
		}
	}
	return nil
}

// maxStrangers bounds the ids of a day that are kept to name what the ledger does not have.
const maxStrangers = 5_000_000

// strangers names the vouchers of a day whose transfers the ledger does not have.
func (c *check) strangers(ctx context.Context, date string) error {
	from, err := time.Parse(time.DateOnly, date)
	if err != nil {
		return fault.Wrap(fault.Proof, "read accounting date", err)
	}
	to := from.AddDate(0, 0, 1)
	have := map[string]bool{}
	err = c.store.Events(ctx, from, to, func(ev core.Event) error {
		if have[ev.Transfer.ID] = true; len(have) > maxStrangers {
			return fault.New(fault.TooLarge, "find vouchers without transfers", "%s has over %d vouchers", date, maxStrangers)
		}
		return nil
	})
	if err == nil {
		err = c.ask.Ledger.Events(ctx, from, to, func(ev core.Event) error {
			delete(have, ev.Transfer.ID)
			return nil
		})
	}
	for _, id := range slices.Sorted(maps.Keys(have)) {
		c.find(Finding{Kind: NoTransfer, Table: "voucher", Date: date, Transfer: id, Line: -1, Want: "a transfer of the ledger", Have: "none"})
	}
	return err
}

// agreement is what a subject's accounts moved on a day, and what the journal gave the subject.
type agreement struct {
	legs, lines money.Sum
	transfers   []string // the first ones that differ by themselves
}
