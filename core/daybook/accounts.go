package daybook

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/maphash"
	"maps"
	"slices"
	"strconv"

	"strata/core"
	"strata/fault"
	"strata/money"
)

// tally is what is known of one account. Sums wrap: an account's balance fits 64 bits, so that equal sums are equal balances.
type tally struct {
	unit, mode, state, strategy string // as the row says
	rows                        int32
	parent                      int64
	balance, entries            int64
	debits, credits             int64
	pendingDebits, pendingCred  int64

	entryUnit        string // of its entries; "" none so far
	mixed            bool   // they are in several units
	broken           bool   // some entry's before and amount are not its after
	doubt            bool   // its entries contradict one another or its row
	count, parted    int64  // entries, and those with funds
	maxSeq, last     int64  // the highest number and where it ended
	sum, out, in     int64  // of amounts, of debits, of credits
	chain            uint64 // zero if every entry begins where the one before it ended
	reserved, expect int64  // debits and credits of pending reservations
	buffered         int64

	turnover       core.Field // of the frozen dates: entries less day balances
	before, after  int64      // what was booked before the first frozen date and after the last
	opening, close int64      // by its first and its last day balance
	first, dayUnit string
}

func (c *checker) tally(id int64) *tally {
	a := c.accounts[id]
	if a == nil {
		a = &tally{}
		c.accounts[id] = a
	}
	return a
}

// number reads an integer cell.
func number(cell []byte) (int64, error) {
	n, err := strconv.ParseInt(string(cell), 10, 64)
	if err != nil {
		return 0, fault.Wrap(fault.Proof, "read ledger row", err)
	}
	return n, nil
}

// numbers reads the cells at these positions.
func numbers(v [][]byte, at []int, into ...*int64) (err error) {
	for i, p := range at {
		if *into[i], err = number(v[p]); err != nil {
			return err
		}
	}
	return nil
}

// account takes a row: id unit balance debits credits pending_debits pending_credits entries strategy parent mode state.
func (c *checker) account(v [][]byte) error {
	var id int64
	var n [7]int64
	if err := numbers(v, []int{0, 2, 3, 4, 5, 6, 7, 9}, &id, &n[0], &n[1], &n[2], &n[3], &n[4], &n[5], &n[6]); err != nil {
		return err
	}
	a := c.tally(id)
	a.rows++
	a.unit, a.strategy, a.mode, a.state = c.text(v[1]), c.text(v[8]), c.text(v[10]), c.text(v[11])
	a.balance, a.debits, a.credits, a.pendingDebits, a.pendingCred, a.entries, a.parent = n[0], n[1], n[2], n[3], n[4], n[5], n[6]
	c.looked(inAccounts, 1)
	return nil
}

// partsCache keeps texts that come again and again once.
type partsCache map[string]string

// text is a short text of which there are few.
func (c *checker) text(cell []byte) string {
	if s, ok := c.parts[string(cell)]; ok {
		return s
	}
	s := string(cell)
	if len(c.parts) < 10_000 {
		c.parts[s] = s
	}
	return s
}

// The cells of an entry.
const (
	eAccount = iota
	eSeq
	eTransfer
	eLeg
	eUnit
	eAmount
	eBefore
	eAfter
	eDate
	eOrdered
	ePosted
	eFunds
)

func (c *checker) entry(v [][]byte) error {
	var id, seq, amount, was, is int64
	if err := numbers(v, []int{eAccount, eSeq, eAmount, eBefore, eAfter}, &id, &seq, &amount, &was, &is); err != nil {
		return err
	}
	c.looked(inEntries, 1)
	a := c.tally(id)
	if a.entryUnit == "" {
		a.entryUnit = c.text(v[eUnit])
	}
	a.mixed = a.mixed || a.entryUnit != string(v[eUnit])
	a.count++
	if seq >= a.maxSeq {
		a.maxSeq, a.last = seq, is
	}
	if was+amount != is || (is > was) != (amount > 0) || amount == 0 {
		a.broken = true
	}
	a.sum += amount
	if amount > 0 {
		a.in += amount
	} else {
		a.out -= amount
	}
	a.chain += c.link(id, seq, is) - c.link(id, seq-1, was)
	c.unitSum(v[eUnit], amount)
	if len(v[eFunds]) > 0 {
		a.parted++
		if err := c.addParts(id, v); err != nil {
			return err
		}
	}
	c.days.entry(a, v[eDate], amount)
	return c.keep(c.ids, kEntry, v[eTransfer], v)
}

func (c *checker) unitSum(unit []byte, amount int64) {
	total := c.units[string(unit)]
	if total == nil {
		total = &money.Sum{}
		c.units[string(unit)] = total
	}
	total.Add(money.Amount(amount))
}

// link is a hash of one end of an entry; the seed is this run's, so that nobody can make two that are equal.
func (c *checker) link(account, seq, balance int64) uint64 {
	var b [24]byte
	binary.LittleEndian.PutUint64(b[:], uint64(account))
	binary.LittleEndian.PutUint64(b[8:], uint64(seq))
	binary.LittleEndian.PutUint64(b[16:], uint64(balance))
	return maphash.Bytes(c.ids.seed, b[:])
}

func (c *checker) wrong(section, table, key, column string, want, got int64, text string) {
	if want != got {
		c.find(section, Finding{Table: table, Key: key, Column: column, Want: strconv.FormatInt(want, 10), Got: strconv.FormatInt(got, 10), Text: text})
	}
}

// closeAccounts compares each account's row with its entries, and returns the accounts whose entries have to be looked at
// one by one.
func (c *checker) closeAccounts() *torn {
	t := &torn{chains: map[int64][]link{}, dates: map[int64]map[string]*turn{}}
	for _, id := range slices.Sorted(maps.Keys(c.accounts)) {
		a := c.accounts[id]
		key := strconv.FormatInt(id, 10)
		switch a.rows {
		case 1:
			c.closeAccount(id, key, a, t)
		case 0:
			c.find(inAccounts, Finding{Table: "account", Key: key, Want: "a row", Got: "", Text: fmt.Sprintf("it has %d entries", a.count)})
		default:
			c.find(inAccounts, Finding{Table: "account", Key: key, Want: "one row", Got: fmt.Sprint(a.rows)})
		}
		if c.days.suspect(a) {
			t.date(id)
		}
	}
	return t
}

func (c *checker) closeAccount(id int64, key string, a *tally, t *torn) {
	if a.entryUnit != "" && !a.mixed && a.entryUnit != a.unit {
		c.find(inAccounts, Finding{Table: "account", Key: key, Column: "unit", Want: a.entryUnit, Got: a.unit, Text: "all its entries are in the other unit"})
	}
	end := c.link(id, a.maxSeq, a.last) - c.link(id, 0, 0)
	doubt := a.count > 0 && a.chain != end || a.broken || a.count != a.maxSeq || a.maxSeq < a.entries && a.last != a.balance
	if a.doubt = doubt; doubt {
		t.chain(id)
	}
	// The row should be where the last entry ended.
	if a.last != a.balance && a.maxSeq >= a.entries {
		c.wrong(inAccounts, "account", key, "balance", a.sum, a.balance, "the sum of its entries")
	}
	if a.count == a.maxSeq && (a.entries < a.count || a.entries > a.count && a.last == a.balance) {
		c.wrong(inAccounts, "account", key, "entries", a.count, a.entries, "")
	}
	if !doubt { // else they are compared with what is known to be wrong
		c.wrong(inAccounts, "account", key, "debits", a.out, a.debits, "the sum of its debit entries")
		c.wrong(inAccounts, "account", key, "credits", a.in, a.credits, "the sum of its credit entries")
	}
	c.wrong(inAccounts, "account", key, "pending_debits", a.reserved, a.pendingDebits, "the debits of its pending reservations")
	c.wrong(inAccounts, "account", key, "pending_credits", a.expect, a.pendingCred, "the credits of its pending reservations")
	if a.strategy == "" && a.parted > 0 && a.parted == a.count {
		c.find(inFunds, Finding{Table: "account", Key: key, Column: "strategy", Want: "a strategy", Got: "", Text: "its entries have funds"})
	}
	if (id < 0) != (a.parent != 0) {
		c.find(inAccounts, Finding{Table: "account", Key: key, Column: "parent", Want: "0, but for inner accounts, which are below 0", Got: strconv.FormatInt(a.parent, 10)})
	}
	if a.strategy != "" && !c.limits.hasStrategy(a.strategy) {
		c.find(inFunds, Finding{Table: "account", Key: key, Column: "strategy", Want: "a strategy of the settings", Got: a.strategy})
	}
	if a.state == "closed" && (a.balance != 0 || a.pendingDebits != 0 || a.pendingCred != 0 || a.buffered != 0) {
		c.find(inAccounts, Finding{Table: "account", Key: key, Column: "state", Want: "open or frozen", Got: "closed", Text: "only an account with nothing on it is closed"})
	}
}

// torn is what is gathered of the accounts in doubt, at most 100 of each kind.
type torn struct {
	chains map[int64][]link
	dates  map[int64]map[string]*turn
	moreC  int64 // accounts beyond
	moreD  int64
	kept   int
	full   bool
	cells  [][]byte
}

// tornLimit bounds the entries that are kept of accounts in doubt.
const tornLimit = 500_000

// link is one entry of a chain.
type link struct{ seq, amount, was, is int64 }

// turn is what moved on one date.
type turn struct{ debits, credits, entries int64 }

func (t *torn) chain(id int64) {
	if _, ok := t.chains[id]; ok {
		return
	}
	if len(t.chains) == maxNamed {
		t.moreC++
		return
	}
	t.chains[id] = nil
}

func (t *torn) date(id int64) {
	if len(t.dates) == maxNamed {
		t.moreD++
		return
	}
	t.dates[id] = map[string]*turn{}
}

// gather keeps the entries of accounts in doubt out of the rows of one id.
func (t *torn) gather(g []record) error {
	if len(t.chains) == 0 && len(t.dates) == 0 {
		return nil
	}
	for i := range g {
		if g[i].kind != kEntry {
			continue
		}
		t.cells = g[i].split(t.cells)
		v := t.cells
		id, err := number(v[eAccount])
		if err != nil {
			return err
		}
		_, chain := t.chains[id]
		dates, date := t.dates[id]
		if !chain && !date {
			continue
		}
		var l link
		if err := numbers(v, []int{eSeq, eAmount, eBefore, eAfter}, &l.seq, &l.amount, &l.was, &l.is); err != nil {
			return err
		}
		if chain {
			if t.kept++; t.kept > tornLimit {
				t.full = true
			} else {
				t.chains[id] = append(t.chains[id], l)
			}
		}
		if date {
			d := dates[string(v[eDate])]
			if d == nil {
				d = &turn{}
				dates[string(bytes.Clone(v[eDate]))] = d
			}
			d.entries++
			if l.amount > 0 {
				d.credits += l.amount
			} else {
				d.debits -= l.amount
			}
		}
	}
	return nil
}

// closeChains names the entries that do not join.
func (c *checker) closeChains(t *torn) {
	if t.full {
		c.find(inEntries, Finding{Table: "entry", Text: fmt.Sprintf("more than %d entries are in doubt; not all of them are named", tornLimit)})
	}
	c.section[inEntries].Findings += t.moreC
	for _, id := range slices.Sorted(maps.Keys(t.chains)) {
		c.closeChain(id, t.chains[id], c.accounts[id])
	}
}

func (c *checker) closeChain(id int64, links []link, a *tally) {
	slices.SortFunc(links, func(x, y link) int {
		if x.seq < y.seq {
			return -1
		}
		return 1
	})
	find := func(seq int64, column string, want, got int64, text string) {
		c.find(inEntries, Finding{Table: "entry", Key: fmt.Sprintf("%d,%d", id, seq), Column: column, Want: strconv.FormatInt(want, 10), Got: strconv.FormatInt(got, 10), Text: text})
	}
	lost := func(from, to int64) {
		for seq := from; seq < to && seq < from+maxNamed; seq++ {
			c.find(inEntries, Finding{Table: "entry", Key: fmt.Sprintf("%d,%d", id, seq), Want: "a row", Got: "", Text: "the entry is missing"})
		}
	}
	var before link // an account begins with nothing
	for i, e := range links {
		next := link{seq: e.seq + 1, was: a.balance}
		if i+1 < len(links) {
			next = links[i+1]
		}
		joinedBefore, joinedAfter := e.seq == before.seq+1 && e.was == before.is, next.seq == e.seq+1 && next.was == e.is
		switch {
		case e.seq == before.seq:
			c.find(inEntries, Finding{Table: "entry", Key: fmt.Sprintf("%d,%d", id, e.seq), Want: "one row", Got: "two rows"})
		case e.seq > a.entries && e.seq > before.seq+1:
			find(e.seq, "seq", before.seq+1, e.seq, "the account has fewer entries")
		case e.seq > before.seq+1:
			lost(before.seq+1, e.seq)
		}
		switch {
		case e.was+e.amount == e.is && (joinedBefore || e.seq != before.seq+1):
		case e.was+e.amount == e.is: // this one is right in itself: the one before it was named, or both ends moved
			if before.was+before.amount == before.is {
				find(e.seq, "balance_before", before.is, e.was, "the entry before it ended there")
			}
		case joinedBefore && joinedAfter:
			find(e.seq, "amount", e.is-e.was, e.amount, "between before and after")
		case joinedBefore || !joinedAfter && e.seq == before.seq+1 && before.is+e.amount == e.is:
			if joinedBefore {
				find(e.seq, "balance_after", e.was+e.amount, e.is, "before and amount")
			} else {
				find(e.seq, "balance_before", before.is, e.was, "the entry before it ended there")
			}
		default:
			find(e.seq, "balance_before", e.is-e.amount, e.was, "after less amount")
		}
		before = e
	}
	if before.seq < a.entries && before.is != a.balance {
		lost(before.seq+1, a.entries+1)
	}
}
