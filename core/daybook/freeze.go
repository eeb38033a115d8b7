package daybook

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"strata/catalog"
	"strata/db"
	"strata/fault"
	"strata/money"
)

// dayBalance is one row of day_balance.
type dayBalance struct {
	account                  int64
	unit                     string
	balance, debits, credits int64
	entries                  int64
}

// chunkTries bounds how often a chunk is done again because another run wrote the same rows.
const chunkTries = 3

// chunks freezes or compares all accounts of the date, ascending.
func (r *dayRun) chunks(ctx context.Context) error {
	for after, more := int64(math.MinInt64), true; more; {
		if err := r.b.at("daybook.before_chunk"); err != nil {
			return err
		}
		to, err := r.bound(ctx, after)
		if err != nil {
			return err
		}
		more = to != math.MaxInt64
		named := len(r.report.Findings)
		for try := 1; ; try++ {
			r.report.Findings = r.report.Findings[:named]
			err = r.chunk(ctx, after, to)
			if err == nil || try == chunkTries || !fault.Is(err, fault.Conflict) && !fault.Is(err, fault.Busy) {
				break
			}
		}
		if err != nil {
			return err
		}
		if err := r.b.at("daybook.after_chunk"); err != nil {
			return err
		}
		if r.b.cfg.Progress != nil {
			r.b.cfg.Progress(r.report.Accounts, 0)
		}
		after = to
	}
	return nil
}

// bound is the last account of the next chunk; MaxInt64 where it is the last chunk.
func (r *dayRun) bound(ctx context.Context, after int64) (int64, error) {
	n := r.b.cfg.ChunkAccounts
	var ids []int64
	add := func(scan func(...any) error) error {
		var id int64
		err := scan(&id)
		ids = append(ids, id)
		return err
	}
	if r.base {
		if err := each(ctx, r.b.cfg.DB.SQL(), "read accounts", "SELECT id FROM account WHERE id>? ORDER BY id LIMIT ?", []any{after, n}, add); err != nil {
			return 0, err
		}
	}
	for _, table := range r.tables {
		if r.base {
			break
		}
		query := "SELECT DISTINCT account_id FROM " + db.Quote(table) + " FORCE INDEX (accounting_date) WHERE accounting_date=? AND account_id>? ORDER BY account_id LIMIT ?"
		if err := each(ctx, r.b.cfg.DB.SQL(), "read accounts of "+table, query, []any{dateOf(r.date), after, n}, add); err != nil {
			return 0, err
		}
	}
	slices.Sort(ids)
	if ids = slices.Compact(ids); len(ids) < n {
		return math.MaxInt64, nil
	}
	return ids[n-1], nil
}

// chunk derives the day balances of the accounts in (after, to], compares those that are there and writes the others, in one
// transaction that keeps their entries on live.
func (r *dayRun) chunk(ctx context.Context, after, to int64) error {
	x, err := begin(ctx, r.b.cfg.DB)
	if err != nil {
		return err
	}
	defer x.end()
	if err := r.hold(ctx, x); err != nil {
		return err
	}
	want, err := r.derive(ctx, x, after, to)
	if err != nil {
		return err
	}
	have, err := r.stored(ctx, x, after, to)
	if err != nil {
		return err
	}
	late, err := r.lateOf(ctx, x, after, to)
	if err != nil {
		return err
	}
	var missing []dayBalance
	for _, w := range want {
		h, ok := have[w.account]
		delete(have, w.account)
		switch key := r.key(w.account); {
		case ok:
			r.compareRow(key, w, h)
		case r.done:
			r.find(Finding{Table: "day_balance", Key: key, Column: "", Want: w.String(), Got: "", Text: "the row is missing"})
		default:
			missing = append(missing, w)
		}
	}
	for id, h := range have {
		r.find(Finding{Table: "day_balance", Key: r.key(id), Column: "", Want: "", Got: h.String(), Text: "the account has no entries on this date"})
	}
	if err := insertBalances(ctx, x, r.date, missing); err != nil {
		return err
	}
	if err := r.b.at("daybook.after_insert"); err != nil {
		return err
	}
	if err := x.commit(ctx); err != nil {
		return err
	}
	r.count(want, late, int64(len(missing)))
	return nil
}

func (r *dayRun) key(account int64) string {
	return r.report.Date + "," + strconv.FormatInt(account, 10)
}

func (r *dayRun) find(f Finding) {
	if len(r.report.Findings) < maxNamed {
		r.report.Findings = append(r.report.Findings, f)
	}
}

func (r *dayRun) compareRow(key string, want, have dayBalance) {
	if want.unit != have.unit {
		r.find(Finding{Table: "day_balance", Key: key, Column: "unit", Want: want.unit, Got: have.unit})
	}
	if r.balances || !r.base {
		r.compare("day_balance", key, "balance", want.balance, have.balance)
	}
	r.compare("day_balance", key, "debits", want.debits, have.debits)
	r.compare("day_balance", key, "credits", want.credits, have.credits)
	r.compare("day_balance", key, "entries", want.entries, have.entries)
}

func (d dayBalance) String() string {
	return fmt.Sprintf("balance %d %s, debits %d, credits %d, entries %d", d.balance, d.unit, d.debits, d.credits, d.entries)
}

func (r *dayRun) count(rows []dayBalance, late map[string]int64, written int64) {
	for _, w := range rows {
		r.report.Accounts++
		r.report.Entries += w.entries
		sums := r.units[w.unit]
		if sums == nil {
			sums = &[2]money.Sum{}
			r.units[w.unit] = sums
		}
		sums[0].Add(money.Amount(w.debits))
		sums[1].Add(money.Amount(w.credits))
	}
	for date, n := range late {
		r.late[date] += n
	}
	r.report.Written += written
}

// hold keeps the date's tables from being released until x ends, and makes sure that they were not.
func (r *dayRun) hold(ctx context.Context, x *tx) error {
	tables := slices.Compact(slices.Sorted(slices.Values(append(slices.Clone(r.tables), r.later...))))
	args := []any{r.b.entry.Name}
	for _, t := range tables {
		args = append(args, t)
	}
	query := "SELECT shard, state FROM strata_part WHERE dataset=? AND shard IN (''" + strings.Repeat(",?", len(tables)) + ") LOCK IN SHARE MODE"
	return each(ctx, x.conn, "lock ownership", query, args, func(scan func(...any) error) error {
		var shard, state string
		if err := scan(&shard, &state); err != nil {
			return err
		}
		if catalog.State(state) != catalog.Owned {
			return fault.New(fault.Stale, "end of day "+dateOf(r.date), "%s is %s now", shard, state).WithHint("run the end of day again")
		}
		return nil
	})
}

// stored reads the rows that are there.
func (r *dayRun) stored(ctx context.Context, x *tx, after, to int64) (map[int64]dayBalance, error) {
	out := map[int64]dayBalance{}
	query := "SELECT account_id, unit, balance, debits, credits, entries FROM day_balance WHERE accounting_date=? AND account_id>? AND account_id<=?"
	err := each(ctx, x.conn, "read day balances", query, []any{dateOf(r.date), after, to}, func(scan func(...any) error) error {
		var d dayBalance
		err := scan(&d.account, &d.unit, &d.balance, &d.debits, &d.credits, &d.entries)
		out[d.account] = d
		return err
	})
	return out, err
}

func insertBalances(ctx context.Context, x *tx, date time.Time, rows []dayBalance) error {
	if len(rows) == 0 {
		return nil
	}
	args := make([]any, 0, len(rows)*7)
	for _, d := range rows {
		args = append(args, dateOf(date), d.account, d.unit, d.balance, d.debits, d.credits, d.entries)
	}
	_, err := x.conn.ExecContext(ctx, "INSERT INTO day_balance (accounting_date, account_id, unit, balance, debits, credits, entries) VALUES (?,?,?,?,?,?,?)"+
		strings.Repeat(",(?,?,?,?,?,?,?)", len(rows)-1), args...)
	return db.Classify("write day balances", err)
}
