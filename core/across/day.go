package across

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"strata/core"
	"strata/db"
	"strata/fault"
	"strata/money"
)

// Net is the sum of all transit accounts in one unit. Zero where nothing is in flight.
type Net struct {
	Unit    string
	Sum     money.Sum
	Ledgers map[string]int64 // the transit account's balance by ledger
}

// String is the net with its parts: CNY -100: a=-600 b=500.
func (n Net) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s:", n.Unit, n.Sum)
	for _, name := range slices.Sorted(maps.Keys(n.Ledgers)) {
		fmt.Fprintf(&b, " %s=%d", name, n.Ledgers[name])
	}
	return b.String()
}

// TransitNet reads the transit accounts' balances, one after the other, and sums them by unit, ascending: while transfers are
// being confirmed the sums move.
func TransitNet(ctx context.Context, ledgers map[string]Ledger) ([]Net, error) {
	return net(ledgers, func(l Ledger, id int64) (int64, bool, error) {
		a, err := l.Balance(ctx, id)
		return a.Balance, true, err
	})
}

func net(ledgers map[string]Ledger, balance func(Ledger, int64) (int64, bool, error)) ([]Net, error) {
	nets := map[string]*Net{}
	partial := map[string]bool{}
	for _, name := range slices.Sorted(maps.Keys(ledgers)) {
		l := ledgers[name]
		for _, unit := range slices.Sorted(maps.Keys(l.Transit)) {
			b, known, err := balance(l, l.Transit[unit])
			if err != nil {
				return nil, fault.Wrap(fault.KindOf(err), fmt.Sprintf("read transit account %d of ledger %s", l.Transit[unit], name), err)
			}
			if nets[unit] == nil {
				nets[unit] = &Net{Unit: unit, Ledgers: map[string]int64{}}
			}
			nets[unit].Ledgers[name] = b
			nets[unit].Sum.Add(money.Amount(b))
			partial[unit] = partial[unit] || !known
		}
	}
	var out []Net
	for _, unit := range slices.Sorted(maps.Keys(nets)) {
		if !partial[unit] {
			out = append(out, *nets[unit])
		}
	}
	return out, nil
}

// Finding says why a day can't be closed.
type Finding struct {
	Kind     FindingKind
	Ledger   string // NotCut
	Transfer string // InFlight, Split
	Unit     string // Differs
	Message  string
}

// FindingKind is the class of a Finding.
type FindingKind string

// The kinds. NotCut: the ledger's open date is not after the day. InFlight: a transfer that is decided, and may be booked on the
// day in one ledger, and after it in another that has not answered yet. Split: one that is done, and may be booked so.
// Differs: the transit accounts of a unit don't sum to zero at the end of the day.
const (
	NotCut   FindingKind = "not_cut"
	InFlight FindingKind = "in_flight"
	Split    FindingKind = "split"
	Differs  FindingKind = "differs"
)

const findingLimit = 100 // of each kind: a page for a person

// DayClosable reports why a date can't be closed; nothing: transit nets to zero at its end, for ever. Where ledgers have Books
// their balances are compared; units of which a ledger has none are judged by the coordinator's notes alone.
func (c *Coordinator) DayClosable(ctx context.Context, date time.Time) ([]Finding, error) {
	date = core.Date(date)
	// The order of reads: the ledgers' dates, what is in flight, what is done. What is decided after the first read is booked
	// after the day everywhere; what ends between the reads is seen by the last.
	_, out, err := c.days(ctx, date)
	if err != nil {
		return nil, err
	}
	flying, err := c.carryOut(ctx, date)
	if err != nil {
		return nil, err
	}
	for _, w := range flying {
		out = append(out, Finding{Kind: InFlight, Transfer: w.rec.id, Message: "not booked yet in " + w.waiting()})
	}
	rows, err := c.store.split(ctx, date, findingLimit)
	if err != nil {
		return nil, err
	}
	for _, r := range rows {
		var where []string
		for _, p := range r.parts {
			where = append(where, fmt.Sprintf("%s between %s and %s", p.Ledger, p.From.Format(time.DateOnly), p.To.Format(time.DateOnly)))
		}
		out = append(out, Finding{Kind: Split, Transfer: r.id, Message: "booked in " + strings.Join(where, ", ")})
	}
	nets, err := net(c.cfg.Ledgers, func(l Ledger, id int64) (int64, bool, error) {
		if l.Books == nil {
			return 0, false, nil
		}
		b, err := l.Books.BalanceAt(ctx, id, date)
		if fault.Is(err, fault.NotFound) {
			return 0, false, nil
		}
		return b, true, err
	})
	if err != nil {
		return nil, err
	}
	return append(out, differing(nets)...), nil
}

// days reads every ledger's open date; those that are not after date are findings.
func (c *Coordinator) days(ctx context.Context, date time.Time) (map[string]time.Time, []Finding, error) {
	days, out := map[string]time.Time{}, []Finding(nil)
	for _, name := range slices.Sorted(maps.Keys(c.cfg.Ledgers)) {
		day, err := c.cfg.Ledgers[name].Day(ctx)
		if err != nil {
			return nil, nil, fault.Wrap(fault.KindOf(err), "read open date of ledger "+name, err)
		}
		if days[name] = day; !day.After(date) {
			out = append(out, Finding{Kind: NotCut, Ledger: name, Message: "its open date is " + day.Format(time.DateOnly)})
		}
	}
	return days, out, nil
}

func (w *work) waiting() string {
	var names []string
	for _, p := range w.rec.parts {
		if p.Progress == Waiting {
			names = append(names, p.Ledger)
		}
	}
	return strings.Join(names, ", ")
}

func differing(nets []Net) (out []Finding) {
	for _, n := range nets {
		if !n.Sum.IsZero() {
			out = append(out, Finding{Kind: Differs, Unit: n.Unit, Message: "transit nets to " + n.String()})
		}
	}
	return out
}

// CutDay moves the accounting date of all ledgers forward to date so that every transfer is booked on the same side of the cut
// in all its ledgers. The ledgers go on; only decisions to commit wait meanwhile. It first carries out what is decided and
// checks that transit nets to zero; where either fails, no ledger is cut and the gate is opened again: fault.Busy names what is
// in flight, fault.Proof what differs. After an error that came when a ledger was cut already, commits wait until CutDay
// with the same date has succeeded: run it again. One at a time: fault.Busy. Ledgers that are at date or later stay.
func (c *Coordinator) CutDay(ctx context.Context, date time.Time) error {
	date = core.Date(date)
	op := "cut day to " + date.Format(time.DateOnly)
	lock, err := c.store.lockCut(ctx, op)
	if err != nil {
		return err
	}
	defer lock.end()
	if err := c.at("across.before_shut"); err != nil {
		return err
	}
	if err := c.store.shut(ctx, date); err != nil {
		return err
	}
	if err := c.at("across.after_shut"); err != nil {
		return err
	}
	if err := c.still(ctx); err != nil {
		if crashed(err) {
			return err
		}
		return errors.Join(fault.Wrap(fault.KindOf(err), op, err), c.backOut(ctx, date))
	}
	for _, name := range slices.Sorted(maps.Keys(c.cfg.Ledgers)) {
		if err := c.cutOne(ctx, lock, name, date); err != nil {
			return err
		}
	}
	if err := c.at("across.before_reopen"); err != nil {
		return err
	}
	if err := c.store.reopen(ctx, date, true); err != nil {
		return err
	}
	return c.at("across.after_reopen")
}

// Cutting returns the date to which a cut is under way, or was left: until CutDay with it succeeds no transfer is committed.
func (c *Coordinator) Cutting(ctx context.Context) (date time.Time, cutting bool, err error) {
	closing, err := c.store.gate(ctx)
	if err != nil || closing == "" {
		return time.Time{}, false, err
	}
	date, err = time.Parse(time.DateOnly, closing)
	return date, err == nil, fault.Wrap(fault.Internal, "read gate", err)
}

func (c *Coordinator) cutOne(ctx context.Context, lock *tx, name string, date time.Time) error {
	op := "cut day of ledger " + name
	var one int
	if err := lock.row(ctx, op, "SELECT 1", nil, &one); err != nil { // the lock's connection lives
		return err
	}
	l := c.cfg.Ledgers[name]
	day, err := l.Day(ctx)
	if err != nil {
		return fault.Wrap(fault.KindOf(err), op, err)
	}
	if !day.Before(date) {
		return nil
	}
	if err := c.at("across.before_cut"); err != nil {
		return err
	}
	if err := l.CutDay(ctx, date); err != nil {
		return fault.New(fault.KindOf(err), op, "%w", err).WithHint("cut the same day again; until then no transfer across is committed")
	}
	return c.at("across.after_cut")
}

// carryOut carries out what is decided, as recovery would without waiting, but for what was decided after all ledgers were cut
// beyond date (zero: all of it). It returns what is in flight even so, at most findingLimit.
func (c *Coordinator) carryOut(ctx context.Context, date time.Time) (left []*work, err error) {
	for after := ""; ; {
		rows, err := c.store.list(ctx, []State{Commit}, after, passLimit)
		if err != nil {
			return nil, err
		}
		for _, r := range rows {
			after = r.id
			if !date.IsZero() && r.decision != nil && r.decision.Cut > date.Format(time.DateOnly) {
				continue
			}
			w, err := newWork(r)
			if err != nil {
				return nil, err
			}
			if err := c.drive(ctx, w); err != nil {
				return nil, err
			}
			if w.rec.state != Done && len(left) < findingLimit {
				left = append(left, w)
			}
		}
		if len(rows) < passLimit {
			return left, nil
		}
	}
}

// still carries out what is decided, and checks that nothing is in flight then. The gate is closed.
func (c *Coordinator) still(ctx context.Context) error {
	left, err := c.carryOut(ctx, time.Time{})
	if err != nil {
		return err
	}
	if len(left) > 0 {
		return fault.New(fault.Busy, "wait for transfers in flight", "%d, such as %s in %s", len(left), left[0].rec.id, left[0].waiting()).WithHint(
			"cut again when that ledger is there")
	}
	nets, err := TransitNet(ctx, c.cfg.Ledgers)
	if err != nil {
		return err
	}
	if found := differing(nets); len(found) > 0 {
		return fault.New(fault.Proof, "close day", "%s, with nothing in flight", found[0].Message).WithHint(
			"something else was posted to a transit account: find its entries and post the opposite")
	}
	return nil
}

// backOut opens the gate again if no ledger has the new date: commits on both sides of a cut would be split.
func (c *Coordinator) backOut(ctx context.Context, date time.Time) error {
	days, _, err := c.days(ctx, date)
	if err != nil {
		return err
	}
	for _, day := range days {
		if !day.Before(date) {
			return nil
		}
	}
	return c.store.reopen(ctx, date, false)
}

// lockCut holds off other CutDays for as long as the connection lives.
func (s *store) lockCut(ctx context.Context, op string) (*tx, error) {
	x, err := begin(ctx, s.db)
	if err != nil {
		return nil, err
	}
	var id int
	if err := x.row(ctx, op, "SELECT id FROM across_gate WHERE id = 2 FOR UPDATE NOWAIT", nil, &id); err != nil {
		x.end()
		return nil, err
	}
	return x, nil
}

// shut closes the gate for commits; those that are being decided end first.
func (s *store) shut(ctx context.Context, date time.Time) error {
	day := date.Format(time.DateOnly)
	if _, err := s.exec(ctx, "close gate", "UPDATE across_gate SET closing = ? WHERE id = 1 AND closing IS NULL", day); err != nil {
		return err
	}
	closing, err := s.gate(ctx)
	if err == nil && closing != day {
		err = fault.New(fault.Busy, "cut day to "+day, "the cut to %s is not finished", closing).WithHint("run it again first")
	}
	return err
}

// reopen opens the gate, if it was closed for this date. cut: all ledgers have it.
func (s *store) reopen(ctx context.Context, date time.Time, cut bool) error {
	day := date.Format(time.DateOnly)
	_, err := s.exec(ctx, "open gate", "UPDATE across_gate SET cut = IF(?, GREATEST(cut, closing), cut), closing = NULL WHERE id = 1 AND closing = ?", cut, day)
	return err
}

// gate returns the date to which a cut is under way, or "".
func (s *store) gate(ctx context.Context) (string, error) {
	var closing sql.NullString
	err := s.db.SQL().QueryRowContext(ctx, "SELECT closing FROM across_gate WHERE id = 1").Scan(&closing)
	return closing.String, db.Classify("read gate", err)
}
