package core

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"strata/catalog"
	"strata/money"
)

const (
	bucketCount = 1 << 14
	// locateLimit bounds what a Locator keeps, in entries and transfers; beyond it, it names what it has.
	locateLimit = 1_000_000
	// maxNamed bounds the entries that are named with one transfer.
	maxNamed = 6
)

// bucket is the part of Trial's sums that comes from about one transfer in bucketCount. Both are zero where all is well.
type bucket struct{ balance, legs Field }

func bucketOf(all []bucket, hash [2]uint64) *bucket { return &all[hash[1]%bucketCount] }

// Locator names the rows behind what a Trial found, where the Trial itself could only say that there are some. It wants the
// same rows once more, in any order, and keeps only those of accounts and transfers under suspicion.
type Locator struct {
	t         *Trial
	torn      map[int64][]link
	accounts  map[int64]link // the end of each chain, as the account's row says
	transfers map[string]*suspect
	kept      int
	full      bool
}

// link is one entry of a chain.
type link struct{ seq, was, is int64 }

// suspect is a transfer of a bucket whose sums are not zero.
type suspect struct {
	rows, legs, count int64
	sums              map[string]*money.Sum
	entries           []string
}

// Locate returns the Locator of what Report found; nil where there is nothing to look for.
func (t *Trial) Locate() *Locator {
	l := &Locator{t: t, torn: map[int64][]link{}, accounts: map[int64]link{}, transfers: map[string]*suspect{}}
	for _, id := range t.torn[:min(len(t.torn), maxFindings)] {
		l.torn[id] = nil
	}
	if len(l.torn) == 0 && t.balance == ([2]Field{}) && t.legs == ([2]Field{}) {
		return nil
	}
	return l
}

// Add takes one row, as Trial.Add does.
func (l *Locator) Add(dataset string, row *catalog.Row) error {
	switch dataset {
	case "transfer":
		return l.addTransfer(row)
	case "entry":
		return l.addEntry(row)
	case "buffer":
		return l.addBuffered(row)
	}
	id, err := number(row, l.t.account["id"])
	if _, torn := l.torn[id]; err != nil || !torn {
		return err
	}
	var end link
	if end.seq, err = number(row, l.t.account["entries"]); err != nil {
		return err
	}
	end.is, err = number(row, l.t.account["balance"])
	l.accounts[id] = end
	return err
}

// suspect returns the transfer's, or nil where nothing is wrong in its bucket or there is no more room.
func (l *Locator) suspect(id []byte) *suspect {
	if *bucketOf(l.t.buckets, hashText(id, nil)) == (bucket{}) {
		return nil
	}
	s := l.transfers[string(id)]
	if s == nil && l.room() {
		s = &suspect{sums: map[string]*money.Sum{}}
		l.transfers[string(id)] = s
	}
	return s
}

func (l *Locator) room() bool {
	l.kept++
	l.full = l.kept > locateLimit
	return !l.full
}

func (l *Locator) addTransfer(row *catalog.Row) error {
	s := l.suspect(row.Cell(l.t.transfer["id"]))
	if s == nil {
		return nil
	}
	legs, err := number(row, l.t.transfer["legs"])
	s.rows, s.legs = s.rows+1, s.legs+legs
	return err
}

func (l *Locator) addEntry(row *catalog.Row) error {
	var n [5]int64
	for i, name := range [...]string{"account_id", "seq", "amount", "balance_before", "balance_after"} {
		var err error
		if n[i], err = number(row, l.t.entry[name]); err != nil {
			return err
		}
	}
	id, seq, amount := n[0], n[1], n[2]
	if _, torn := l.torn[id]; torn && l.room() {
		l.torn[id] = append(l.torn[id], link{seq, n[3], n[4]})
	}
	l.addLeg(row.Cell(l.t.entry["transfer_id"]), row.Text(l.t.entry["unit"]), amount, fmt.Sprintf("account %d entry %d", id, seq))
	return nil
}

func (l *Locator) addBuffered(row *catalog.Row) error {
	if l.t.buffer == nil {
		return nil // Trial.Add has refused it
	}
	amount, err := number(row, l.t.buffer["amount"])
	if err != nil {
		return err
	}
	l.addLeg(row.Cell(l.t.buffer["transfer_id"]), row.Text(l.t.buffer["unit"]), amount, "account "+row.Text(l.t.buffer["account_id"])+" buffer")
	return nil
}

// addLeg counts one leg of a transfer under suspicion.
func (l *Locator) addLeg(transfer []byte, unit string, amount int64, name string) {
	s := l.suspect(transfer)
	if s == nil {
		return
	}
	s.count++
	if s.sums[unit] == nil {
		s.sums[unit] = &money.Sum{}
	}
	s.sums[unit].Add(money.Amount(amount))
	if len(s.entries) < maxNamed {
		s.entries = append(s.entries, name)
	}
}

// Findings names rows, at most 100; what changed between the two passes is not among them.
func (l *Locator) Findings() []string {
	var out []string
	if l.full {
		out = append(out, fmt.Sprintf("more than %d rows are under suspicion; not all of them are named", locateLimit))
	}
	for _, id := range slices.Sorted(maps.Keys(l.torn)) {
		out = append(out, l.chain(id)...)
	}
	for _, id := range slices.Sorted(maps.Keys(l.transfers)) {
		out = append(out, l.transfers[id].findings(id)...)
	}
	return out[:min(len(out), maxFindings)]
}

// chain names the places where an account's entries do not join.
func (l *Locator) chain(id int64) (out []string) {
	end, links := l.accounts[id], l.torn[id]
	slices.SortFunc(links, func(a, b link) int { return int(a.seq - b.seq) })
	var last link // an account begins with nothing
	for _, e := range links {
		if e.seq > end.seq {
			break // posted after the account's row was read, or not the account's
		}
		switch {
		case e.seq == last.seq:
			out = append(out, fmt.Sprintf("account %d entry %d is there twice", id, e.seq))
		case e.seq > last.seq+1:
			out = append(out, fmt.Sprintf("account %d entry %d is missing", id, last.seq+1))
		case e.was != last.is && e.seq == 1:
			out = append(out, fmt.Sprintf("account %d entry 1 begins with %d instead of 0", id, e.was))
		case e.was != last.is:
			out = append(out, fmt.Sprintf("account %d entry %d ended with %d, account %d entry %d begins with %d", id, last.seq, last.is, id, e.seq, e.was))
		}
		last = e
	}
	if last.seq == end.seq && last.is != end.is {
		out = append(out, fmt.Sprintf("account %d entry %d, the last one, ended with %d, the account's balance is %d", id, last.seq, last.is, end.is))
	}
	return out
}

func (s *suspect) findings(id string) (out []string) {
	for _, unit := range slices.Sorted(maps.Keys(s.sums)) {
		if sum := s.sums[unit]; !sum.IsZero() {
			out = append(out, fmt.Sprintf("transfer %s: its entries sum to %s in %s instead of 0 (%s)", id, sum, unit, strings.Join(s.entries, ", ")))
		}
	}
	switch {
	case s.rows == 0:
		out = append(out, fmt.Sprintf("transfer %s has %d entries and no row (%s)", id, s.count, strings.Join(s.entries, ", ")))
	case s.rows > 1:
		out = append(out, fmt.Sprintf("transfer %s has %d rows", id, s.rows))
	case s.legs != s.count:
		out = append(out, fmt.Sprintf("transfer %s has %d legs and %d entries (%s)", id, s.legs, s.count, strings.Join(s.entries, ", ")))
	}
	return out
}
