package daybook

import (
	"context"
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

// Line is one account in a trial balance: minor units; a balance is credits less debits, turnovers are positive.
type Line struct {
	Account int64  `json:"account"`
	Parent  int64  `json:"parent,omitempty"` // of an inner account
	Unit    string `json:"unit"`
	Side    string `json:"side"`
	Opening int64  `json:"opening"`
	Debits  int64  `json:"debits"`
	Credits int64  `json:"credits"`
	Closing int64  `json:"closing"`
	// Buffered is the part of Credits and Closing that waits for a merge; open dates only.
	Buffered int64 `json:"buffered,omitempty"`
}

// UnitBalance is the sum of a unit's lines.
type UnitBalance struct {
	Unit     string `json:"unit"`
	Accounts int64  `json:"accounts"`
	Opening  string `json:"opening"`
	Debits   string `json:"debits"`
	Credits  string `json:"credits"`
	Closing  string `json:"closing"`
	OK       bool   `json:"ok"` // debits are credits, opening and closing are zero
}

// Balance is the end of a trial balance.
type Balance struct {
	Date   string        `json:"date"`
	Frozen bool          `json:"frozen"` // from the day balances; else from accounts and entries
	Open   bool          `json:"open"`   // the accounting date is open: the lines are of one moment of it
	Units  []UnitBalance `json:"units"`
	OK     bool          `json:"ok"`
}

// CSVHeader names the fields of CSV.
func CSVHeader() []string {
	return []string{"account", "parent", "unit", "side", "opening", "debits", "credits", "closing", "buffered"}
}

// CSV is the line as fields for a CSV writer.
func (l Line) CSV() []string {
	n := func(v int64) string { return fmt.Sprint(v) }
	return []string{n(l.Account), n(l.Parent), l.Unit, l.Side, n(l.Opening), n(l.Debits), n(l.Credits), n(l.Closing), n(l.Buffered)}
}

// TrialBalance gives a line for every account that has a balance or moved on the date, by account, and returns the sums per
// unit. A frozen date comes from the day balances, carried forward; a later one from accounts and entries; both in one
// snapshot, which holds up DDL of these tables for as long as f takes. Memory does not grow with the accounts. Errors:
// fault.NotFound for a date before the first frozen one, fault.Invalid for one after the open date, fault.Stale where entries
// of a date that was not frozen have left live, and f's. A balance that does not balance is no error: OK is false.
func (b *Book) TrialBalance(ctx context.Context, date time.Time, f func(Line) error) (Balance, error) {
	date = core.Date(date)
	for try := 1; ; try++ {
		s, err := b.pin(ctx, date)
		if err != nil {
			if fault.Is(err, fault.Stale) && try < pinTries {
				continue
			}
			return Balance{}, err
		}
		out, err := s.balance(ctx, f)
		if e := s.snap.Close(); err == nil {
			err = e
		}
		return out, err
	}
}

// pinTries bounds how often a snapshot is opened because a range moved.
const pinTries = 5

// pinned is a snapshot of what a trial balance reads.
type pinned struct {
	snap   *db.Snapshot
	date   time.Time
	open   time.Time
	frozen bool
	since  []string // tables of entries that may hold some of the date or later
}

// pin opens the snapshot. Its first statement names all tables.
func (b *Book) pin(ctx context.Context, date time.Time) (*pinned, error) {
	shards, err := shardsOf(ctx, b.cfg.Reader, b.entry)
	if err != nil {
		return nil, err
	}
	p := &pinned{date: date}
	var left string
	entries := db.Reading{Dataset: b.entry}
	for _, s := range shards {
		switch {
		case !s.Late && s.Range.To <= catalog.At(date):
		case s.released:
			left = s.Table
		default:
			p.since = append(p.since, s.Table)
			entries.Holdings = append(entries.Holdings, catalog.Holding{Shard: s.Shard, Store: catalog.Live, Epoch: s.epoch})
		}
	}
	reads := []db.Reading{entries}
	for _, table := range []string{"day", "day_end", "day_balance", "account", "buffer"} {
		reads = append(reads, plain(table))
	}
	if p.snap, err = b.cfg.Reader.SnapshotAll(ctx, reads...); err != nil {
		return nil, err
	}
	if err := p.check(ctx, left); err != nil {
		_ = p.snap.Close()
		return nil, err
	}
	return p, nil
}

// plain is a reading of an unsharded table, which is always live's.
func plain(table string) db.Reading {
	ds := &catalog.Dataset{Name: table, Table: table}
	return db.Reading{Dataset: ds, Holdings: []catalog.Holding{{Shard: ds.ShardAt(0), Store: catalog.Live}}}
}

func (p *pinned) check(ctx context.Context, left string) (err error) {
	op := "trial balance of " + dateOf(p.date)
	if p.open, err = readDay(ctx, p.snap.Conn()); err != nil {
		return err
	}
	first, last, some, err := frozen(ctx, p.snap.Conn())
	if err != nil {
		return err
	}
	p.frozen = some && !p.date.After(last)
	switch {
	case p.date.After(p.open):
		return fault.New(fault.Invalid, op, "the open accounting date is %s", dateOf(p.open))
	case some && p.date.Before(first):
		return fault.New(fault.NotFound, op, "the first frozen date is %s", dateOf(first))
	case !p.frozen && left != "":
		return fault.New(fault.Stale, op, "the date was not frozen, and %s has left the live database", left)
	}
	return nil
}

// balance streams the lines.
func (p *pinned) balance(ctx context.Context, f func(Line) error) (Balance, error) {
	query, args := p.liveQuery()
	if p.frozen {
		query, args = frozenQuery(p.date)
	}
	totals := map[string]*[5]money.Sum{}
	err := each(ctx, p.snap.Conn(), "trial balance of "+dateOf(p.date), query, args, func(scan func(...any) error) error {
		var l Line
		if err := scan(&l.Account, &l.Parent, &l.Unit, &l.Side, &l.Opening, &l.Debits, &l.Credits, &l.Closing, &l.Buffered); err != nil {
			return err
		}
		if l.Opening == 0 && l.Debits == 0 && l.Credits == 0 && l.Closing == 0 {
			return nil
		}
		sums := totals[l.Unit]
		if sums == nil {
			sums = &[5]money.Sum{}
			totals[l.Unit] = sums
		}
		for i, n := range [...]int64{1, l.Opening, l.Debits, l.Credits, l.Closing} {
			sums[i].Add(money.Amount(n))
		}
		return f(l)
	})
	if err != nil {
		return Balance{}, err
	}
	out := Balance{Date: dateOf(p.date), Frozen: p.frozen, Open: p.date.Equal(p.open), Units: []UnitBalance{}, OK: true}
	for unit, s := range totals {
		n, _ := s[0].Amount()
		u := UnitBalance{Unit: unit, Accounts: int64(n), Opening: s[1].String(), Debits: s[2].String(), Credits: s[3].String(), Closing: s[4].String(),
			OK: s[1].IsZero() && s[2] == s[3] && s[4].IsZero()}
		out.Units, out.OK = append(out.Units, u), out.OK && u.OK
	}
	slices.SortFunc(out.Units, func(a, b UnitBalance) int { return strings.Compare(a.Unit, b.Unit) })
	return out, nil
}

// frozenQuery takes each account's last day balance up to the date.
func frozenQuery(date time.Time) (string, []any) {
	on := "(SELECT m.accounting_date FROM day_balance m WHERE m.account_id=a.id AND m.accounting_date<=? ORDER BY m.accounting_date DESC LIMIT 1)"
	return "SELECT a.id, a.parent, a.unit, a.side," +
		" IF(b.accounting_date=?, CAST(b.balance AS DECIMAL(20))-b.credits+b.debits, b.balance)," +
		" IF(b.accounting_date=?, b.debits, 0), IF(b.accounting_date=?, b.credits, 0), b.balance, 0" +
		" FROM account a JOIN day_balance b ON b.account_id=a.id AND b.accounting_date=" + on + " ORDER BY a.id", slices.Repeat([]any{dateOf(date)}, 4)
}

// liveQuery takes what came later off the accounts' balances; credits that wait in the buffer are of their date.
func (p *pinned) liveQuery() (string, []any) {
	const columns = "account_id, accounting_date, amount, 0 AS buffered"
	date := dateOf(p.date)
	sub := "SELECT account_id, accounting_date, amount, amount AS buffered FROM buffer"
	var args []any
	for _, t := range p.since {
		sub += " UNION ALL SELECT " + columns + " FROM " + db.Quote(t) + " WHERE accounting_date>=?"
		args = append(args, date)
	}
	// total is what to add to the account's row to get the closing balance: less what came later, with what is buffered.
	moved := "SELECT account_id," +
		" SUM(IF(accounting_date=? AND amount<0, -CAST(amount AS DECIMAL(20)), 0)) AS debits," +
		" SUM(IF(accounting_date=? AND amount>0, amount, 0)) AS credits," +
		" SUM(IF(accounting_date>?, buffered-amount, buffered)) AS total," +
		" SUM(IF(accounting_date<=?, buffered, 0)) AS waiting FROM (" + sub + ") u GROUP BY account_id"
	head := slices.Repeat([]any{date}, 4)
	closing := "CAST(a.balance AS DECIMAL(20))+COALESCE(e.total,0)"
	return "SELECT a.id, a.parent, a.unit, a.side, " + closing + "+COALESCE(e.debits,0)-COALESCE(e.credits,0)," +
		" COALESCE(e.debits,0), COALESCE(e.credits,0), " + closing + ", COALESCE(e.waiting,0)" +
		" FROM account a LEFT JOIN (" + moved + ") e ON e.account_id=a.id ORDER BY a.id", append(head, args...)
}
