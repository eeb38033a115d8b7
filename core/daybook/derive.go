package daybook

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"time"

	"strata/catalog"
	"strata/db"
	"strata/fault"
	"strata/money"
)

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
