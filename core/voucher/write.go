package voucher

import (
	"context"
	"database/sql"
	"errors"
	"maps"
	"slices"
	"strings"

	"strata/core"
	"strata/fault"
	"strata/money"
)

// errStale is a batch that was made by rules that are not the newest any more.
var errStale = errors.New("the rules have changed")

// glKey is a row of the general ledger.
type glKey struct{ date, subject, unit string }

func (k glKey) compare(o glKey) int {
	for _, d := range []int{strings.Compare(k.date, o.date), strings.Compare(k.subject, o.subject), strings.Compare(k.unit, o.unit)} {
		if d != 0 {
			return d
		}
	}
	return 0
}

type sides struct{ debit, credit money.Sum }

func (s *sides) add(l Line) {
	s.debit.Add(money.Amount(l.Debit))
	s.credit.Add(money.Amount(l.Credit))
}

// write stores vouchers with their lines, all or none, leaving out those that are there; it returns those that were not.
// errStale: newer rules were put after the vouchers were made.
func (s *Store) write(ctx context.Context, newest int64, all []made) ([]*made, error) {
	x, err := s.begin(ctx, false)
	if err != nil {
		return nil, err
	}
	defer x.end()
	now, err := x.head(ctx, "LOCK IN SHARE MODE")
	if err != nil {
		return nil, err
	}
	if now != newest {
		return nil, errStale
	}
	fresh, err := x.absent(ctx, all)
	if err != nil {
		return nil, err
	}
	if len(fresh) > 0 {
		if err := s.insert(ctx, x, fresh); err != nil {
			return nil, err
		}
	}
	if err := s.at("voucher.before_commit"); err != nil {
		return nil, err
	}
	if err := x.commit(ctx); err != nil {
		return nil, err
	}
	return fresh, s.at("voucher.after_commit")
}

// absent returns the vouchers that are not stored, in the order of the key: two writers lock in the same order.
func (x *tx) absent(ctx context.Context, all []made) ([]*made, error) {
	ids := make([]any, len(all))
	for i := range all {
		ids[i] = all[i].id
	}
	there := map[string]bool{}
	err := x.each(ctx, "find vouchers", func(r *sql.Rows) error {
		var id string
		err := r.Scan(&id)
		there[id] = true
		return err
	}, "SELECT transfer_id FROM voucher WHERE transfer_id IN "+marks(1, len(ids)), ids...)
	if err != nil {
		return nil, err
	}
	var fresh []*made
	for i := range all {
		if !there[all[i].id] {
			fresh = append(fresh, &all[i])
			there[all[i].id] = true
		}
	}
	slices.SortFunc(fresh, func(a, b *made) int {
		if d := strings.Compare(a.date, b.date); d != 0 {
			return d
		}
		return strings.Compare(a.id, b.id)
	})
	return fresh, nil
}

func (s *Store) insert(ctx context.Context, x *tx, fresh []*made) error {
	if err := s.at("voucher.before_vouchers"); err != nil {
		return err
	}
	args := make([]any, 0, len(fresh)*11)
	for _, m := range fresh {
		seal := m.seal()
		args = append(args, m.date, m.id, m.version, string(m.state), len(m.lines), string(m.code), m.reason, m.attempts, m.at, m.body, seal[:])
	}
	if err := x.exec(ctx, "insert vouchers", "INSERT INTO voucher (accounting_date, transfer_id, rule_version, state, line_count, code, reason, attempts, made_at, body, seal) VALUES "+
		marks(len(fresh), 11), args...); err != nil {
		return err
	}
	if err := s.at("voucher.after_vouchers"); err != nil {
		return err
	}
	return s.book(ctx, x, fresh, nil)
}

// book writes the lines of vouchers, and what they change in the sums. gone are vouchers that left the failed ones.
func (s *Store) book(ctx context.Context, x *tx, fresh []*made, gone map[string]int64) error {
	sums, days := map[glKey]*sides{}, map[string]*[3]int64{}
	var args []any
	for _, m := range fresh {
		countDay(days, m)
		for i, l := range m.lines {
			args = append(args, m.date, m.id, i, l.Subject, l.Unit, l.Debit, l.Credit)
			k := glKey{m.date, l.Subject, l.Unit}
			if sums[k] == nil {
				sums[k] = &sides{}
			}
			sums[k].add(l)
		}
	}
	for date, n := range gone {
		days[date][2] -= n
	}
	if len(args) > 0 {
		if err := x.exec(ctx, "insert journal", "INSERT INTO journal (accounting_date, transfer_id, line, subject, unit, debit, credit) VALUES "+
			marks(len(args)/7, 7), args...); err != nil {
			return err
		}
	}
	if err := s.at("voucher.after_journal"); err != nil {
		return err
	}
	if err := x.addSums(ctx, sums); err != nil {
		return err
	}
	if err := s.at("voucher.after_general_ledger"); err != nil {
		return err
	}
	return x.addDays(ctx, days)
}

func countDay(days map[string]*[3]int64, m *made) {
	if days[m.date] == nil {
		days[m.date] = &[3]int64{}
	}
	days[m.date][map[State]int{Booked: 0, None: 1, Failed: 2}[m.state]]++
}

// addSums adds to the general ledger, in the order of its key.
func (x *tx) addSums(ctx context.Context, sums map[glKey]*sides) error {
	if len(sums) == 0 {
		return nil
	}
	args := make([]any, 0, 5*len(sums))
	for _, k := range slices.SortedFunc(maps.Keys(sums), glKey.compare) {
		args = append(args, k.date, k.subject, k.unit, sums[k].debit.String(), sums[k].credit.String())
	}
	return x.exec(ctx, "add to general ledger", "INSERT INTO general_ledger (accounting_date, subject, unit, debit, credit) VALUES "+marks(len(sums), 5)+
		" ON DUPLICATE KEY UPDATE debit = debit + VALUES(debit), credit = credit + VALUES(credit)", args...)
}

// addDays adds to the counts of vouchers.
func (x *tx) addDays(ctx context.Context, days map[string]*[3]int64) error {
	if len(days) == 0 {
		return nil
	}
	args := make([]any, 0, 4*len(days))
	for _, date := range slices.Sorted(maps.Keys(days)) {
		args = append(args, date, days[date][0], days[date][1], days[date][2])
	}
	return x.exec(ctx, "count vouchers", "INSERT INTO voucher_day (accounting_date, booked, none, failed) VALUES "+marks(len(days), 4)+
		" ON DUPLICATE KEY UPDATE booked = booked + VALUES(booked), none = none + VALUES(none), failed = failed + VALUES(failed)", args...)
}

const maxTurns = 10 // of a batch that loses against other writers

// store writes vouchers of events, each exactly once, whatever other processes do: it makes them by the newest rules, goes on
// where it lost, and halves a batch that the database does not take until the one is found that fails, alone.
func (s *Store) store(ctx context.Context, batch []core.Event, bodies []string, stats *counters) error {
	var last error
	for range maxTurns {
		m, err := s.maker(ctx)
		if err != nil {
			return err
		}
		all := make([]made, len(batch))
		for i := range batch {
			if all[i], err = m.make(ctx, &batch[i], bodies[i], 1); err != nil {
				return err
			}
		}
		last = s.writeOrHalve(ctx, m.times.newest, all, stats)
		if last == nil {
			return nil
		}
		if !errors.Is(last, errStale) && (crashed(last) || !fault.Is(last, fault.Busy) && !fault.Is(last, fault.Conflict)) {
			return last
		}
		stats.retries.Add(1)
	}
	return fault.Wrap(fault.Busy, "write vouchers", last)
}

func crashed(err error) bool {
	var crash *crashError
	return errors.As(err, &crash)
}

func (s *Store) writeOrHalve(ctx context.Context, newest int64, all []made, stats *counters) error {
	fresh, err := s.write(ctx, newest, all)
	if err == nil {
		stats.count(len(all), fresh)
		return nil
	}
	if !poisoned(err) {
		return err
	}
	if len(all) == 1 {
		if all[0].state == Failed && all[0].code == NotStorable {
			return err
		}
		all[0].fail(&Problem{Code: NotStorable, Message: err.Error()})
		return s.writeOrHalve(ctx, newest, all, stats)
	}
	half := len(all) / 2
	if err := s.writeOrHalve(ctx, newest, all[:half], stats); err != nil {
		return err
	}
	return s.writeOrHalve(ctx, newest, all[half:], stats)
}

// poisoned reports whether the database refused the content, so that another turn would end the same way.
func poisoned(err error) bool {
	if crashed(err) || errors.Is(err, errStale) {
		return false
	}
	switch fault.KindOf(err) {
	case fault.Internal, fault.Invalid, fault.TooLarge:
		return true
	}
	return false
}
