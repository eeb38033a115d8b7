package daybook

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"
	"time"

	"strata/catalog"
	"strata/core"
	"strata/db"
	"strata/fault"
	"strata/money"
)

// DayReport says what the end of one accounting date found and did.
type DayReport struct {
	Date     string      `json:"date"`
	Accounts int64       `json:"accounts"` // with a day balance
	Entries  int64       `json:"entries"`
	Written  int64       `json:"written"` // day balances that were written now; 0: it was done before
	Units    []Turnover  `json:"units,omitempty"`
	Late     []LateCount `json:"late,omitempty"` // transfers of earlier business dates that were booked on this date
	// Compared is false where nothing could be compared any more, because the date's entries have left the live database.
	Compared bool        `json:"compared"`
	Findings []Finding   `json:"findings,omitempty"`
	Earlier  []DayReport `json:"earlier,omitempty"` // dates before it that were not frozen yet
}

// Turnover is what moved in a unit.
type Turnover struct {
	Unit    string `json:"unit"`
	Debits  string `json:"debits"`
	Credits string `json:"credits"`
}

// LateCount counts transfers by the business date that they missed.
type LateCount struct {
	BusinessDate string `json:"business_date"`
	Transfers    int64  `json:"transfers"`
}

// EndOfDay freezes the balances of a closed accounting date, and before it those of the dates since the last frozen one. The
// first date that is ever frozen gets a row for every account that has a balance, and later ones carry on from it. What is
// frozen already is derived again and compared; nothing is ever overwritten. Errors: fault.Busy where the date is open, or
// where credits of the date wait in buffers (naming the accounts); fault.Invalid for a date before the first frozen one;
// fault.Stale where the date's entries have left the live database before it was frozen; fault.Proof where what is frozen
// differs: the report has the findings.
func (b *Book) EndOfDay(ctx context.Context, date time.Time) (DayReport, error) {
	date = core.Date(date)
	op := "end of day " + dateOf(date)
	open, err := readDay(ctx, b.cfg.DB.SQL())
	if err != nil {
		return DayReport{}, err
	}
	if !date.Before(open) {
		return DayReport{}, fault.New(fault.Busy, op, "the open accounting date is %s", dateOf(open)).WithHint("cut the day first")
	}
	first, last, some, err := frozen(ctx, b.cfg.DB.SQL())
	switch {
	case err != nil:
		return DayReport{}, err
	case !some:
		first, last = date, date.AddDate(0, 0, -1)
	case date.Before(first):
		return DayReport{}, fault.New(fault.Invalid, op, "the first frozen date is %s", dateOf(first))
	}
	var earlier []DayReport
	for d := last.AddDate(0, 0, 1); d.Before(date); d = d.AddDate(0, 0, 1) {
		r, err := b.freeze(ctx, d, d.Equal(first), false)
		earlier = append(earlier, r)
		if err != nil {
			return DayReport{Date: dateOf(date), Earlier: earlier}, err
		}
	}
	r, err := b.freeze(ctx, date, date.Equal(first), !date.After(last))
	r.Earlier = earlier
	return r, err
}

func readDay(ctx context.Context, q querier) (time.Time, error) {
	const op = "read accounting date"
	var day time.Time
	err := each(ctx, q, op, "SELECT accounting_date FROM day WHERE id=1", nil, func(scan func(...any) error) error {
		var text string
		if err := scan(&text); err != nil {
			return err
		}
		var err error
		day, err = time.Parse(time.DateOnly, text)
		return fault.Wrap(fault.Internal, op, err)
	})
	if err == nil && day.IsZero() {
		return day, fault.New(fault.NotFound, op, "the ledger has no open day")
	}
	return day, err
}

// frozen is the first and the last date that is complete.
func frozen(ctx context.Context, q querier) (first, last time.Time, some bool, err error) {
	const op = "read frozen dates"
	err = each(ctx, q, op, "SELECT MIN(accounting_date), MAX(accounting_date) FROM day_end", nil, func(scan func(...any) error) error {
		var low, high sql.NullString
		if err := scan(&low, &high); err != nil || !low.Valid {
			return err
		}
		some = true
		if first, err = time.Parse(time.DateOnly, low.String); err == nil {
			last, err = time.Parse(time.DateOnly, high.String)
		}
		return fault.Wrap(fault.Internal, op, err)
	})
	return first, last, some, err
}

// dayRun is one date while it is frozen or compared.
type dayRun struct {
	b        *Book
	date     time.Time
	base     bool        // the first date: every account has a row
	done     bool        // day_end has it: nothing may be missing
	balances bool        // closing balances can be derived
	tables   []string    // of the date's entries, on live
	later    []string    // of entries after the date, for the base
	ordered  []time.Time // the dates on which the chunk's transfers were ordered
	report   DayReport
	units    map[string]*[2]money.Sum
	late     map[string]int64
}

func (b *Book) freeze(ctx context.Context, date time.Time, base, done bool) (DayReport, error) {
	op := "end of day " + dateOf(date)
	r := &dayRun{b: b, date: date, base: base, done: done, report: DayReport{Date: dateOf(date)}, units: map[string]*[2]money.Sum{}, late: map[string]int64{}}
	if err := b.merge(ctx, date); err != nil {
		return r.report, err
	}
	left, err := r.look(ctx)
	switch {
	case err != nil:
		return r.report, err
	case left && done:
		return r.report, nil
	case left:
		return r.report, fault.New(fault.Stale, op, "entries of the date have left the live database").WithHint("restore their range, then run the end of day again")
	}
	if err := r.chunks(ctx); err != nil {
		return r.report, err
	}
	r.close()
	if len(r.report.Findings) > 0 {
		return r.report, fault.New(fault.Proof, op, "%d day balances are not what the entries say; the first: %s", len(r.report.Findings), r.report.Findings[0])
	}
	return r.report, r.finish(ctx)
}

// finish marks the date as complete, or compares the mark.
func (r *dayRun) finish(ctx context.Context) error {
	late := int64(0)
	for _, n := range r.late {
		late += n
	}
	if !r.done {
		if err := r.b.at("daybook.before_end"); err != nil {
			return err
		}
		_, err := r.b.cfg.DB.SQL().ExecContext(ctx, "INSERT IGNORE INTO day_end (accounting_date, accounts, entries, late, at) VALUES (?,?,?,?,?)",
			dateOf(r.date), r.report.Accounts, r.report.Entries, late, r.b.cfg.Now().UTC().Format("2006-01-02 15:04:05.000000"))
		if err != nil {
			return db.Classify("write end of day", err)
		}
		r.b.cfg.Log.Info("day frozen", "date", dateOf(r.date), "accounts", r.report.Accounts, "entries", r.report.Entries)
		if err := r.b.at("daybook.after_end"); err != nil {
			return err
		}
	}
	err := each(ctx, r.b.cfg.DB.SQL(), "read end of day", "SELECT accounts, entries FROM day_end WHERE accounting_date=?", []any{dateOf(r.date)}, func(scan func(...any) error) error {
		var accounts, entries int64
		if err := scan(&accounts, &entries); err != nil {
			return err
		}
		r.compare("day_end", dateOf(r.date), "accounts", r.report.Accounts, accounts)
		r.compare("day_end", dateOf(r.date), "entries", r.report.Entries, entries)
		return nil
	})
	if err == nil && len(r.report.Findings) > 0 {
		return fault.New(fault.Proof, "end of day "+dateOf(r.date), "%s", r.report.Findings[0])
	}
	return err
}

func (r *dayRun) compare(table, key, column string, want, got int64) {
	if want != got && len(r.report.Findings) < maxNamed {
		r.report.Findings = append(r.report.Findings, Finding{Table: table, Key: key, Column: column, Want: fmt.Sprint(want), Got: fmt.Sprint(got)})
	}
}

func (r *dayRun) close() {
	for unit, sums := range r.units {
		r.report.Units = append(r.report.Units, Turnover{Unit: unit, Debits: sums[0].String(), Credits: sums[1].String()})
		if sums[0] != sums[1] {
			r.report.Findings = append(r.report.Findings, Finding{Table: "entry", Key: r.report.Date, Column: "amount", Want: sums[1].String(), Got: sums[0].String(),
				Text: "the date's debits in " + unit + " are not its credits"})
		}
	}
	slices.SortFunc(r.report.Units, func(a, b Turnover) int { return strings.Compare(a.Unit, b.Unit) })
	for date, n := range r.late {
		r.report.Late = append(r.report.Late, LateCount{date, n})
	}
	slices.SortFunc(r.report.Late, func(a, b LateCount) int { return strings.Compare(a.BusinessDate, b.BusinessDate) })
	r.report.Compared = true
}

// mergeTurns bounds how often buffers are merged for one date: after the cut nothing of the date comes to them any more.
const (
	mergeTurns  = 1000
	mergeAtOnce = 1000 // accounts
)

// merge empties the buffers of what belongs to the date or an earlier one.
func (b *Book) merge(ctx context.Context, date time.Time) error {
	for turn := 0; ; turn++ {
		var ids []int64
		err := each(ctx, b.cfg.DB.SQL(), "read buffer", "SELECT DISTINCT account_id FROM buffer WHERE accounting_date<=? ORDER BY account_id LIMIT ?",
			[]any{dateOf(date), mergeAtOnce}, func(scan func(...any) error) error {
				var id int64
				err := scan(&id)
				ids = append(ids, id)
				return err
			})
		if err != nil || len(ids) == 0 {
			return err
		}
		if b.cfg.Merger == nil || turn == mergeTurns {
			return fault.New(fault.Busy, "end of day "+dateOf(date), "credits of the date wait in the buffers of accounts %s", someOf(ids)).WithHint("merge the buffers of these accounts first")
		}
		if err := b.at("daybook.before_merge"); err != nil {
			return err
		}
		if err := b.cfg.Merger.Merge(ctx, ids); err != nil {
			return fmt.Errorf("merge buffers of accounts %s: %w", someOf(ids), err)
		}
		if err := b.at("daybook.after_merge"); err != nil {
			return err
		}
	}
}

// someOf names the first of many.
func someOf(ids []int64) string {
	const most = 20
	text := strings.Trim(fmt.Sprint(ids[:min(len(ids), most)]), "[]")
	if len(ids) > most {
		text += fmt.Sprintf(" and %d more", len(ids)-most)
	}
	return text
}

// look finds the tables that hold the date's entries, and reports whether some of them have left.
func (r *dayRun) look(ctx context.Context) (left bool, err error) {
	all, err := r.b.entryShards(ctx)
	if err != nil {
		return false, err
	}
	day := catalog.At(r.date)
	r.balances, r.tables, r.later = true, nil, nil
	for _, s := range all {
		switch {
		case s.released && s.Range.Contains(day) && !s.Late:
			left = true
		case s.released && s.Range.To > day && r.base:
			r.balances = false // what came later can't be taken off any more
		}
		if s.released {
			continue
		}
		if s.Late || s.Range.Contains(day) {
			r.tables = append(r.tables, s.Table)
		}
		if s.Late || s.Range.To > day {
			r.later = append(r.later, s.Table)
		}
	}
	return left || r.base && !r.done && !r.balances, nil
}

// entryShard is a table of entries that the live database has, or had.
type entryShard struct {
	catalog.Shard
	released bool
	epoch    uint64
}

// entryShards lists them; released ones are those whose rows are not complete on live.
func (b *Book) entryShards(ctx context.Context) ([]entryShard, error) {
	return shardsOf(ctx, b.cfg.DB, b.entry)
}

func shardsOf(ctx context.Context, d *db.DB, ds *catalog.Dataset) ([]entryShard, error) {
	says, err := db.Says(ctx, d, ds)
	if err != nil {
		return nil, err
	}
	var out []entryShard
	gone, epochs := map[string]bool{}, map[string]uint64{}
	for _, p := range says.Parts {
		epochs[p.Shard] = p.Epoch
		if s, ok := ds.ShardOf(p.Shard); ok && p.State != catalog.Owned {
			gone[p.Shard] = true
			out = append(out, entryShard{s, true, p.Epoch})
		}
	}
	for _, table := range says.Tables {
		if s, ok := ds.ShardOf(table); ok && !gone[table] {
			out = append(out, entryShard{s, false, epochs[table]})
		}
	}
	slices.SortFunc(out, func(a, b entryShard) int { return strings.Compare(a.Table, b.Table) })
	return out, nil
}
