package daybook

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"maps"
	"os"
	"slices"
	"strconv"

	"strata/core"
	"strata/fault"
)

// days is what is known of accounting dates.
type days struct {
	first, last string // frozen; "" where none is
	closed      bool   // an entry was seen: the frozen dates are known
	ends        map[string]*dayEnd
	counted     map[string]*dayEnd // the same, from day_balance and transfer
	weights     map[string][3]core.Field
	seed        maphash.Seed
	open        string // the open accounting date
	dir         string
	file        *os.File
	out         *bufio.Writer
	buf         []byte
	rows        int64
	early       []string // keys of day balances of dates that are not frozen
	newest      string   // the newest date of an entry
}

type dayEnd struct{ accounts, entries, late int64 }

func newDays(dir string) *days {
	return &days{dir: dir, ends: map[string]*dayEnd{}, counted: map[string]*dayEnd{}, weights: map[string][3]core.Field{}, seed: maphash.MakeSeed()}
}

func (d *days) frozen(date []byte) bool {
	return d.first != "" && string(date) >= d.first && string(date) <= d.last
}

func (d *days) of(date []byte) *dayEnd {
	e := d.counted[string(date)]
	if e == nil {
		e = &dayEnd{}
		d.counted[string(date)] = e
	}
	return e
}

// dayEnd takes a row: accounting_date accounts entries late.
func (c *checker) dayEnd(v [][]byte) error {
	d := c.days
	if d.closed {
		return fault.New(fault.Internal, "check ledger", "the rows of day_end come after entries")
	}
	e := &dayEnd{}
	if err := numbers(v, []int{1, 2, 3}, &e.accounts, &e.entries, &e.late); err != nil {
		return err
	}
	date := string(v[0])
	d.ends[date] = e
	if d.first == "" || date < d.first {
		d.first = date
	}
	d.last = max(d.last, date)
	c.looked(inDays, 1)
	return nil
}

// day takes the row: accounting_date settings modes id.
func (c *checker) day(v [][]byte) error {
	c.days.open = string(v[0])
	c.sett.days++
	return numbers(v, []int{1, 2, 3}, &c.sett.inForce, &c.sett.modes, &c.sett.id)
}

// weight is three random numbers of a date.
func (d *days) weight(date []byte) [3]core.Field {
	w, ok := d.weights[string(date)]
	if !ok {
		for i := range w {
			w[i] = core.FieldOf(maphash.String(d.seed, string(date)+strconv.Itoa(i)))
		}
		d.weights[string(date)] = w
	}
	return w
}

// entry counts an entry on its date.
func (d *days) entry(a *tally, date []byte, amount int64) {
	d.closed = true
	if string(date) > d.newest {
		d.newest = string(date)
	}
	switch {
	case d.first == "":
		return
	case string(date) < d.first:
		a.before += amount
		return
	case string(date) > d.last:
		a.after += amount
		return
	}
	w := d.weight(date)
	side := w[1]
	if amount < 0 {
		side, amount = w[0], -amount
	}
	a.turnover = a.turnover.Add(side.Times(amount)).Add(w[2])
}

// dayBalance takes a row: accounting_date account_id unit balance debits credits entries.
func (c *checker) dayBalance(v [][]byte) error {
	d := c.days
	var id, balance, debits, credits, entries int64
	if err := numbers(v, []int{1, 3, 4, 5, 6}, &id, &balance, &debits, &credits, &entries); err != nil {
		return err
	}
	c.looked(inDays, 1)
	key := string(v[0]) + "," + string(v[1])
	if !d.frozen(v[0]) {
		if len(d.early) <= maxNamed {
			d.early = append(d.early, key)
		}
		return nil
	}
	e := d.of(v[0])
	e.accounts, e.entries = e.accounts+1, e.entries+entries
	a := c.tally(id)
	w := d.weight(v[0])
	a.turnover = a.turnover.Sub(w[0].Times(debits)).Sub(w[1].Times(credits)).Sub(w[2].Times(entries))
	if a.first == "" {
		a.first, a.opening = string(v[0]), balance-credits+debits
	} else if a.close+credits-debits != balance {
		a.turnover = a.turnover.Add(w[0]) // in doubt: it will be looked at row by row
	}
	a.close = balance
	if a.dayUnit == "" {
		a.dayUnit = c.text(v[2])
	} else if a.dayUnit != string(v[2]) {
		a.turnover = a.turnover.Add(w[0])
	}
	return d.keep(v)
}

// keep writes a day balance down, so that those of accounts in doubt can be read again.
func (d *days) keep(v [][]byte) error {
	if d.file == nil {
		f, err := os.CreateTemp(d.dir, "strata-check-")
		if err != nil {
			return fault.Wrap(fault.Unavailable, "make temporary file", err)
		}
		if err := os.Remove(f.Name()); err != nil {
			return fault.Wrap(fault.Unavailable, "unlink temporary file", err)
		}
		d.file, d.out = f, bufio.NewWriterSize(f, 1<<18)
	}
	b := d.buf[:0]
	for _, cell := range v {
		b = appendCell(b, cell)
	}
	d.buf = b
	var head [4]byte
	binary.LittleEndian.PutUint32(head[:], uint32(len(b)))
	_, err := d.out.Write(head[:])
	if err == nil {
		_, err = d.out.Write(b)
	}
	d.rows++
	return fault.Wrap(fault.Unavailable, "write temporary file", err)
}

func (d *days) ended() error {
	if d.out == nil {
		return nil
	}
	return fault.Wrap(fault.Unavailable, "write temporary file", d.out.Flush())
}

func (d *days) close() {
	if d.file != nil {
		_ = d.file.Close()
	}
}

// suspect reports whether the account's day balances are not what its entries say.
func (d *days) suspect(a *tally) bool {
	switch {
	case d.first == "" || a.rows != 1:
		return false
	case a.first == "":
		return a.turnover != 0 || a.before != 0
	}
	return a.turnover != 0 || a.dayUnit != a.unit || a.opening != a.before || a.close != a.sum-a.after || a.before != 0 && a.first != d.first
}

// closeDays compares the day balances of accounts in doubt one by one, and counts.
func (c *checker) closeDays(t *torn) error {
	d := c.days
	for _, key := range d.early {
		if d.open != "" && key[:len(d.open)] >= d.open {
			c.find(inDays, Finding{Table: "day_balance", Key: key, Got: "a row", Text: "the date is open"})
		} else {
			c.section[inDays].Note = "some dates are not frozen to their end; what is there of them was not compared"
		}
	}
	if d.open != "" && d.newest > d.open {
		c.find(inDays, Finding{Table: "day", Key: "1", Column: "accounting_date", Want: d.newest, Got: d.open, Text: "there are entries of the later date"})
	}
	if d.last != "" && d.open != "" && d.last >= d.open {
		c.find(inDays, Finding{Table: "day", Key: "1", Column: "accounting_date", Want: "after " + d.last, Got: d.open, Text: "that date is frozen"})
	}
	c.closeEnds()
	c.section[inDays].Findings += t.moreD
	if len(t.dates) == 0 {
		return nil
	}
	have := map[int64]map[string][][]byte{}
	for id := range t.dates {
		have[id] = map[string][][]byte{}
	}
	if err := d.each(func(v [][]byte) error {
		id, err := number(v[1])
		if rows := have[id]; err == nil && rows != nil {
			rows[string(v[0])] = cloneCells(v)
		}
		return err
	}); err != nil {
		return err
	}
	for _, id := range slices.Sorted(maps.Keys(t.dates)) {
		c.closeDates(id, t.dates[id], have[id])
	}
	return nil
}

func cloneCells(v [][]byte) [][]byte {
	out := make([][]byte, len(v))
	for i := range v {
		out[i] = slices.Clone(v[i])
	}
	return out
}

// each reads the day balances again.
func (d *days) each(f func(v [][]byte) error) error {
	const op = "read temporary file"
	if d.file == nil {
		return nil
	}
	if _, err := d.file.Seek(0, io.SeekStart); err != nil {
		return fault.Wrap(fault.Unavailable, op, err)
	}
	in := bufio.NewReaderSize(d.file, 1<<18)
	var head [4]byte
	var r record
	var v [][]byte
	for {
		if _, err := io.ReadFull(in, head[:]); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return fault.Wrap(fault.Unavailable, op, err)
		}
		n := int(binary.LittleEndian.Uint32(head[:]))
		r.cells = slices.Grow(r.cells[:0], n)[:n]
		if _, err := io.ReadFull(in, r.cells); err != nil {
			return fault.Wrap(fault.Unavailable, op, err)
		}
		v = r.split(v)
		if err := f(v); err != nil {
			return err
		}
	}
}

// closeDates compares one account's day balances with its entries.
func (c *checker) closeDates(id int64, moved map[string]*turn, have map[string][][]byte) {
	d, a := c.days, c.accounts[id]
	dates := map[string]bool{d.first: true}
	for date := range moved {
		dates[date] = d.frozen([]byte(date))
	}
	for date := range have {
		dates[date] = true
	}
	running := a.before
	for _, date := range slices.Sorted(maps.Keys(dates)) {
		if !dates[date] {
			continue
		}
		m := moved[date]
		if m == nil {
			m = &turn{}
		}
		running += m.credits - m.debits
		want := dayBalance{account: id, unit: a.unit, balance: running, debits: m.debits, credits: m.credits, entries: m.entries}
		key := date + "," + strconv.FormatInt(id, 10)
		v, there := have[date]
		expected := m.entries > 0 || date == d.first && running != 0
		switch {
		case !there && expected:
			c.find(inDays, Finding{Table: "day_balance", Key: key, Want: want.String(), Text: "the row is missing"})
		case there && !expected:
			c.find(inDays, Finding{Table: "day_balance", Key: key, Got: "a row", Text: "the account has no entries on this date"})
		case there:
			if got := string(v[2]); got != want.unit {
				c.find(inDays, Finding{Table: "day_balance", Key: key, Column: "unit", Want: want.unit, Got: got})
			}
			for i, n := range []int64{3: want.balance, 4: want.debits, 5: want.credits, 6: want.entries} {
				if got := string(v[i]); i >= 3 && got != strconv.FormatInt(n, 10) {
					column := [...]string{3: "balance", 4: "debits", 5: "credits", 6: "entries"}[i]
					c.find(inDays, Finding{Table: "day_balance", Key: key, Column: column, Want: strconv.FormatInt(n, 10), Got: got})
				}
			}
		}
	}
}

// closeEnds compares the marks of frozen dates with what was counted.
func (c *checker) closeEnds() {
	d := c.days
	for _, date := range slices.Sorted(maps.Keys(d.ends)) {
		e, n := d.ends[date], d.counted[date]
		if n == nil {
			n = &dayEnd{}
		}
		c.wrong(inDays, "day_end", date, "accounts", n.accounts, e.accounts, "day balances of the date")
		c.wrong(inDays, "day_end", date, "entries", n.entries, e.entries, "by the day balances")
		c.wrong(inDays, "day_end", date, "late", n.late, e.late, "transfers of earlier business dates")
	}
	missing := int64(0)
	for date := d.first; date != "" && date < d.last && missing < maxNamed; date = nextDate(date) {
		if d.ends[date] == nil {
			missing++
			c.find(inDays, Finding{Table: "day_end", Key: date, Want: "a row", Text: fmt.Sprintf("%s and %s are frozen", d.first, d.last)})
		}
	}
}
