package main

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"strata/core"
	"strata/local/localtest"
)

// line is one entry as it is stored.
type line struct {
	account, seq          int64
	transfer              string
	leg                   int64
	unit                  string
	amount, before, after int64
	date                  string
}

// kept is what an id is remembered with.
type kept struct {
	outcome string
	answer  core.Answer
}

// content is all that the databases hold, of one moment each.
type content struct {
	lines    []line             // by account and number
	buffer   []line             // not merged yet
	accounts map[int64][2]int64 // balance and number of entries
	parent   map[int64]int64
	ids      map[string]kept
	rows     map[string]int64 // transfer rows by id: legs
}

// tablesLike are the tables with the prefix.
func tablesLike(ctx context.Context, x *sql.Tx, prefix string) (out []string, err error) {
	err = each(ctx, x, "SELECT table_name FROM information_schema.tables WHERE table_schema=DATABASE() AND table_name LIKE '"+prefix+`\_%' ORDER BY 1`, func(scan func(...any) error) error {
		var name string
		err := scan(&name)
		out = append(out, name)
		return err
	})
	return out, err
}

func each(ctx context.Context, x *sql.Tx, query string, f func(scan func(...any) error) error) error {
	rows, err := x.QueryContext(ctx, query)
	if err != nil {
		return fmt.Errorf("%s: %w", query, err)
	}
	defer rows.Close()
	for rows.Next() {
		if err := f(rows.Scan); err != nil {
			return err
		}
	}
	return rows.Err()
}

// content reads the live database, and the archive's entries and transfers.
func (b *bank) content() *content {
	b.t.Helper()
	c := &content{accounts: map[int64][2]int64{}, parent: map[int64]int64{}, ids: map[string]kept{}, rows: map[string]int64{}}
	for _, dsn := range []string{b.live, b.archive} {
		if err := c.read(b.t.Context(), localtest.DB(b.t, dsn), dsn == b.live); err != nil {
			b.t.Fatal(err)
		}
	}
	slices.SortFunc(c.lines, func(a, b line) int { return cmp.Or(cmp.Compare(a.account, b.account), cmp.Compare(a.seq, b.seq)) })
	return c
}

func (c *content) read(ctx context.Context, db *sql.DB, live bool) error {
	x, err := db.BeginTx(ctx, &sql.TxOptions{Isolation: sql.LevelRepeatableRead, ReadOnly: true})
	if err != nil {
		return err
	}
	defer func() { _ = x.Rollback() }()
	if live {
		if err := c.readSides(ctx, x); err != nil {
			return err
		}
	}
	for _, kind := range []string{"transfer", "entry"} {
		names, err := tablesLike(ctx, x, kind)
		if err != nil {
			return err
		}
		for _, name := range names {
			if name == "transfer_id" {
				continue
			}
			if err := c.readShard(ctx, x, kind, name); err != nil {
				return err
			}
		}
	}
	return nil
}

func (c *content) readShard(ctx context.Context, x *sql.Tx, kind, name string) error {
	if kind == "transfer" {
		return each(ctx, x, "SELECT id, legs FROM "+name, func(scan func(...any) error) error {
			var id string
			var legs int64
			err := scan(&id, &legs)
			if _, twice := c.rows[id]; twice {
				return fmt.Errorf("transfer %s has two rows", id)
			}
			c.rows[id] = legs
			return err
		})
	}
	return each(ctx, x, "SELECT account_id, seq, transfer_id, leg, unit, amount, balance_before, balance_after, accounting_date FROM "+name, func(scan func(...any) error) error {
		var l line
		err := scan(&l.account, &l.seq, &l.transfer, &l.leg, &l.unit, &l.amount, &l.before, &l.after, &l.date)
		c.lines = append(c.lines, l)
		return err
	})
}

// readSides comes first: the snapshot begins with it.
func (c *content) readSides(ctx context.Context, x *sql.Tx) error {
	err := each(ctx, x, "SELECT id, parent, balance, entries FROM account", func(scan func(...any) error) error {
		var id, parent, balance, entries int64
		err := scan(&id, &parent, &balance, &entries)
		c.accounts[id], c.parent[id] = [2]int64{balance, entries}, parent
		return err
	})
	if err != nil {
		return err
	}
	err = each(ctx, x, "SELECT account_id, transfer_id, leg, unit, amount FROM buffer", func(scan func(...any) error) error {
		var l line
		err := scan(&l.account, &l.transfer, &l.leg, &l.unit, &l.amount)
		c.buffer = append(c.buffer, l)
		return err
	})
	if err != nil {
		return err
	}
	return each(ctx, x, "SELECT id, outcome, answer FROM transfer_id", func(scan func(...any) error) error {
		var id, outcome string
		var raw []byte
		if err := scan(&id, &outcome, &raw); err != nil {
			return err
		}
		a, err := core.ParseAnswer(outcome, raw)
		c.ids[id] = kept{outcome, a}
		return err
	})
}

// root is the account that the outside sees.
func (c *content) root(id int64) int64 {
	if p := c.parent[id]; p != 0 {
		return p
	}
	return id
}

// prove replays everything: every balance from the entries in their order, every answer from the entries that it speaks of,
// everything that a client heard from what the ledger remembers. Nothing is left that nobody ordered.
func (b *bank) prove() *content {
	b.t.Helper()
	c := b.content()
	b.book.mu.Lock()
	defer b.book.mu.Unlock()
	var errs []string
	bad := func(format string, args ...any) { errs = append(errs, fmt.Sprintf(format, args...)) }
	c.replay(bad)
	c.answers(bad)
	b.remembers(c, bad)
	b.outside(c, bad)
	if len(errs) > 0 {
		b.t.Errorf("%d findings, such as:\n%s", len(errs), strings.Join(errs[:min(len(errs), 20)], "\n"))
	}
	return c
}

// replay derives every balance from the entries in their order.
func (c *content) replay(bad func(string, ...any)) {
	ends := map[int64][2]int64{}
	for _, l := range c.lines {
		end := ends[l.account]
		if l.seq != end[1]+1 || l.before != end[0] || l.after != l.before+l.amount {
			bad("account %d: after entry %d with balance %d comes %+v", l.account, end[1], end[0], l)
		}
		ends[l.account] = [2]int64{l.after, l.seq}
	}
	for id, have := range c.accounts {
		if have != ends[id] {
			bad("account %d has balance %d and %d entries; its entries say %d and %d", id, have[0], have[1], ends[id][0], ends[id][1])
		}
		delete(ends, id)
	}
	for id := range ends {
		bad("account %d has entries and is not there", id)
	}
}

// key names a leg as the outside sees it.
type key struct {
	transfer string
	account  int64
}

// inner reports whether the ledger itself moved money between the inner accounts of one account.
func inner(id string) bool { return strings.HasPrefix(id, "inner:") }

// answers compares what is remembered with the entries and buffer rows that are there: each booked leg has exactly one,
// refused ones and reservations have none, and no entry is left.
func (c *content) answers(bad func(string, ...any)) {
	lines, sums, units := map[[2]int64]*line{}, map[key]int64{}, map[[2]string]int64{}
	for i := range c.lines {
		l := &c.lines[i]
		lines[[2]int64{l.account, l.seq}] = l
		sums[key{l.transfer, c.root(l.account)}] += l.amount
		units[[2]string{l.transfer, l.unit}] += l.amount
	}
	for _, l := range c.buffer {
		sums[key{l.transfer, l.account}] += l.amount
		units[[2]string{l.transfer, l.unit}] += l.amount
	}
	for k, sum := range units {
		if sum != 0 {
			bad("transfer %s: its entries sum to %d %s", k[0], sum, k[1])
		}
	}
	for id, k := range c.ids {
		booked := k.outcome == "applied" && k.answer.Action != core.Try && k.answer.Action != core.Cancel
		legs, there := c.rows[id]
		if there != booked || booked && legs != int64(len(k.answer.Balances)) {
			bad("transfer %s is %s %s with %d balances, and has a row: %v, of %d legs", id, k.outcome, k.answer.Code, len(k.answer.Balances), there, legs)
		}
		if !booked {
			continue
		}
		for i, x := range k.answer.Balances {
			sums[key{id, x.Account}] -= x.Amount
			if x.Seq == 0 {
				continue // it waited in a buffer then
			}
			if l := lines[[2]int64{x.Account, x.Seq}]; l != nil && c.parent[x.Account] == 0 && (l.transfer != id || l.leg != int64(i) || l.amount != x.Amount || l.after != x.Balance) {
				bad("transfer %s says %+v of leg %d; the entry is %+v", id, x, i, *l)
			}
		}
	}
	for k, sum := range sums {
		if sum != 0 {
			bad("transfer %s (%+v): its entries on account %d are %d more than its answer says", k.transfer, c.ids[k.transfer], k.account, sum)
		}
	}
	for id := range c.rows {
		if _, known := c.ids[id]; !known {
			bad("transfer %s has a row and no id", id)
		}
	}
}

// remembers compares what clients heard with what is remembered.
func (b *bank) remembers(c *content, bad func(string, ...any)) {
	for id, r := range b.book.heard {
		k, known := c.ids[id]
		if !known {
			bad("%s was answered %s and is not remembered", id, r.said())
			continue
		}
		a := &k.answer
		same := r.booked() == (k.outcome == "applied") && r.Code == string(a.Code) && r.Field == a.Field && len(r.balances()) == len(a.Balances)
		for i, x := range r.balances() {
			same = same && core.SameBalance(core.Balance{Account: x.Account, Seq: x.Seq, Balance: x.Balance, Amount: x.Amount, Parts: a.Balances[i].Parts}, a.Balances[i])
		}
		if !same {
			bad("%s was answered %s and is remembered as %+v", id, r.said(), k)
		}
	}
}

// outside sums up what clients heard: it has to be the balances that the API shows.
func (b *bank) outside(c *content, bad func(string, ...any)) {
	if len(b.tellers) == 0 || b.units == 0 {
		return
	}
	want := map[int64]int64{}
	for id, k := range c.ids {
		if _, ours := b.book.heard[id]; !ours && !inner(id) {
			bad("%s is remembered as %+v, and nobody heard of it", id, k)
		}
	}
	for id, r := range b.book.heard {
		if r.booked() && b.book.sent[id].Action != core.Try {
			for _, x := range r.balances() {
				want[x.Account] += x.Amount
			}
		}
	}
	_, have, err := b.balances(b.insist(http.MethodGet, "/v1/accounts?limit=1000", "", 200))
	if err != nil {
		bad("%v", err)
	}
	for _, id := range slices.Sorted(maps.Keys(want)) {
		if have[id] != want[id] {
			bad("account %d has %d; what was answered says %d", id, have[id], want[id])
		}
	}
}
