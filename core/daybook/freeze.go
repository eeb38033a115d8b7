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

// derive computes the rows from the entries.
func (r *dayRun) derive(ctx context.Context, x *tx, after, to int64) ([]dayBalance, error) {
	rows, err := r.turnover(ctx, x, after, to)
	if err != nil {
		return nil, err
	}
	if r.base {
		return r.based(ctx, x, after, to, rows)
	}
	if err := r.carry(ctx, x, rows); err != nil {
		return nil, err
	}
	return rows, nil
}

// union is a subquery over tables of entries.
func union(tables []string, columns, where string) string {
	var b strings.Builder
	for i, t := range tables {
		if i > 0 {
			b.WriteString(" UNION ALL ")
		}
		b.WriteString("SELECT " + columns + " FROM " + db.Quote(t) + " FORCE INDEX (accounting_date) WHERE " + where)
	}
	return b.String()
}

// repeat repeats a subquery's arguments for each of n tables.
func repeat(n int, args ...any) []any { return slices.Repeat(args, n) }

// turnover reads what moved on the date, by account, and notes on which dates it was ordered.
func (r *dayRun) turnover(ctx context.Context, x *tx, after, to int64) ([]dayBalance, error) {
	const op = "sum entries of the date"
	r.ordered = nil
	if len(r.tables) == 0 {
		return nil, nil
	}
	query := "SELECT account_id, ordered, MIN(unit), MAX(unit), SUM(IF(amount<0,-CAST(amount AS DECIMAL(20)),0)), SUM(IF(amount>0,amount,0)), COUNT(*) FROM (" +
		union(r.tables, "account_id, unit, amount, DATE(order_time) AS ordered", "accounting_date=? AND account_id>? AND account_id<=?") +
		") e GROUP BY account_id, ordered ORDER BY account_id, ordered"
	var out []dayBalance
	seen := map[string]bool{}
	err := each(ctx, x.conn, op, query, repeat(len(r.tables), dateOf(r.date), after, to), func(scan func(...any) error) error {
		var d dayBalance
		var ordered, other, debits, credits string
		if err := scan(&d.account, &ordered, &d.unit, &other, &debits, &credits, &d.entries); err != nil {
			return err
		}
		n := len(out)
		if d.unit != other || n > 0 && out[n-1].account == d.account && out[n-1].unit != d.unit {
			return fault.New(fault.Proof, op, "account %d has entries in several units, such as %s", d.account, other)
		}
		var err error
		if d.debits, err = wholeNumber(op, d.account, debits); err == nil {
			d.credits, err = wholeNumber(op, d.account, credits)
		}
		if err != nil {
			return err
		}
		if !seen[ordered] {
			seen[ordered] = true
			at, err := time.Parse(time.DateOnly, ordered)
			if err != nil {
				return fault.Wrap(fault.Internal, op, err)
			}
			r.ordered = append(r.ordered, at)
		}
		if n == 0 || out[n-1].account != d.account {
			out = append(out, d)
			return nil
		}
		return out[n-1].add(d)
	})
	return out, err
}

// add adds another part of the same account's turnover.
func (d *dayBalance) add(o dayBalance) error {
	debits, err := money.Amount(d.debits).Add(money.Amount(o.debits))
	if err != nil {
		return err
	}
	credits, err := money.Amount(d.credits).Add(money.Amount(o.credits))
	d.debits, d.credits, d.entries = int64(debits), int64(credits), d.entries+o.entries
	return err
}

func wholeNumber(op string, account int64, text string) (int64, error) {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return 0, fault.New(fault.TooLarge, op, "account %d: %s exceeds 64 bits", account, text)
	}
	return n, nil
}

// carry adds the turnover to the account's last day balance before the date; without one, it began at zero.
func (r *dayRun) carry(ctx context.Context, x *tx, rows []dayBalance) error {
	const op = "read last day balances"
	if len(rows) == 0 {
		return nil
	}
	at := make(map[int64]*dayBalance, len(rows))
	args := make([]any, 0, len(rows)+1)
	for i := range rows {
		at[rows[i].account] = &rows[i]
		args = append(args, rows[i].account)
	}
	query := "SELECT b.account_id, b.balance FROM (SELECT account_id, MAX(accounting_date) AS date FROM day_balance WHERE account_id IN (?" +
		strings.Repeat(",?", len(rows)-1) + ") AND accounting_date<? GROUP BY account_id) m JOIN day_balance b ON b.account_id=m.account_id AND b.accounting_date=m.date"
	err := each(ctx, x.conn, op, query, append(args, dateOf(r.date)), func(scan func(...any) error) error {
		var id, balance int64
		err := scan(&id, &balance)
		if err == nil {
			at[id].balance = balance
		}
		return err
	})
	if err != nil {
		return err
	}
	for i := range rows {
		d := &rows[i]
		sum := money.SumOf(money.Amount(d.balance))
		sum.Add(money.Amount(d.credits))
		sum.AddSum(money.SumOf(money.Amount(d.debits)).Neg())
		closing, ok := sum.Amount()
		if !ok {
			return fault.New(fault.TooLarge, op, "account %d: the balance %s exceeds 64 bits", d.account, sum)
		}
		d.balance = int64(closing)
	}
	return nil
}

// based takes what was booked after the date off the balances of all accounts: one statement sees both as of one moment.
func (r *dayRun) based(ctx context.Context, x *tx, after, to int64, moved []dayBalance) ([]dayBalance, error) {
	const op = "derive opening balances"
	at := make(map[int64]dayBalance, len(moved))
	for _, d := range moved {
		at[d.account] = d
	}
	where := "accounting_date>? AND account_id>? AND account_id<=?"
	sub, args := "SELECT 0 AS account_id, 0 AS amount FROM day WHERE 1=0", []any(nil)
	if len(r.later) > 0 {
		sub, args = union(r.later, "account_id, amount", where), repeat(len(r.later), dateOf(r.date), after, to)
		sub = strings.ReplaceAll(sub, "FORCE INDEX (accounting_date)", "FORCE INDEX (PRIMARY)")
	}
	query := "SELECT a.id, a.unit, CAST(a.balance AS DECIMAL(20))-COALESCE(e.amount,0) FROM account a LEFT JOIN (SELECT account_id, SUM(amount) AS amount FROM (" + sub +
		") u GROUP BY account_id) e ON e.account_id=a.id WHERE a.id>? AND a.id<=? ORDER BY a.id"
	var out []dayBalance
	err := each(ctx, x.conn, op, query, append(args, after, to), func(scan func(...any) error) error {
		var id int64
		var unit, balance string
		if err := scan(&id, &unit, &balance); err != nil {
			return err
		}
		d, some := at[id]
		if !some {
			d = dayBalance{account: id, unit: unit}
		}
		var err error
		d.balance, err = wholeNumber(op, id, balance)
		if delete(at, id); some || d.balance != 0 {
			out = append(out, d)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	for id := range at {
		return nil, fault.New(fault.Proof, op, "account %d has entries and no row", id)
	}
	return out, r.sameShards(ctx)
}

// sameShards makes sure that no shard of entries was made while they were summed up.
func (r *dayRun) sameShards(ctx context.Context) error {
	all, err := r.b.entryShards(ctx)
	if err != nil {
		return err
	}
	n := 0
	for _, s := range all {
		if !s.released && (s.Late || s.Range.To > catalog.At(r.date)) {
			n++
		}
	}
	if n == len(r.later) {
		return nil
	}
	if _, err := r.look(ctx); err != nil {
		return err
	}
	return fault.New(fault.Busy, "end of day "+dateOf(r.date), "a shard was made meanwhile")
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

// lateOf counts the transfers of earlier business dates whose first leg is an entry of the chunk.
func (r *dayRun) lateOf(ctx context.Context, x *tx, after, to int64) (map[string]int64, error) {
	out := map[string]int64{}
	for _, entries := range r.tables {
		from := db.Quote(entries) + " e FORCE INDEX (accounting_date)"
		where := " WHERE e.accounting_date=? AND e.account_id>? AND e.account_id<=? AND e.leg=0"
		args := []any{dateOf(r.date), after, to}
		for _, table := range r.transferTables() {
			query := "SELECT COALESCE(t.business_date, DATE(t.order_time)), COUNT(DISTINCT e.transfer_id) FROM " + from + " JOIN " + db.Quote(table) + " t ON t.id=e.transfer_id" + where +
				" AND COALESCE(t.business_date, DATE(t.order_time))<? GROUP BY 1"
			err := each(ctx, x.conn, "count late transfers", query, append(args, dateOf(r.date)), func(scan func(...any) error) error {
				var date string
				var n int64
				err := scan(&date, &n)
				out[date] += n
				return err
			})
			if err != nil && !db.IsNoTable(err) { // a shard that has left: its transfers are counted no more
				return nil, err
			}
		}
	}
	return out, nil
}

// transferTables are the shards that may hold the chunk's transfers, by the dates of their orders, and the late one.
func (r *dayRun) transferTables() []string {
	if len(r.ordered) == 0 {
		return nil
	}
	tables := []string{r.b.transfer.LateShard(1).Table}
	for _, d := range r.ordered {
		tables = append(tables, r.b.transfer.ShardAt(catalog.At(d)).Table)
	}
	slices.Sort(tables)
	return slices.Compact(tables)
}
