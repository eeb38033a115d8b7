package core

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math/bits"
	"slices"
	"strconv"
	"strings"

	"strata/catalog"
	"strata/fault"
	"strata/money"
)

// maxFindings bounds what a report names; the rest is counted.
const maxFindings = 100

// Trial is the trial balance over all rows of transfer, entry and account, fed in any order from any store. It needs
// memory for the accounts, not for the entries: chains and transfers are checked by sums of hashes, which agree by chance
// with a probability below 2^-60.
//
// It proves: entries sum to zero per unit, and per transfer and unit; every transfer has as many entries as it has legs,
// and every entry its transfer; per account the balance is the sum of its entries, so are debits and credits where the
// dataset has them, they are numbered from 1 without a hole, and each goes on where the one before it ended. What waits in
// a buffer counts as entries do, but for its account: WithBuffer.
type Trial struct {
	entry, transfer, account map[string]int // positions of columns
	buffer                   map[string]int // nil: there is none
	accounts                 map[int64]*tally
	units                    map[string]*money.Sum
	transfers, entries       int64
	opened                   int64
	balance                  [2]Field // Σ amount · hash(transfer, unit): zero if every transfer sums to zero
	legs                     [2]Field // Σ hash(transfer) over entries, less legs · hash(transfer) over transfers
	buckets                  []bucket // the same by transfer: where Locate has to look
	torn                     []int64  // accounts whose chain is broken
	findings                 []string
	found                    int64
}

// tally is what is known of one account so far.
type tally struct {
	unit                    string
	sum, debits, credits    money.Sum
	count, maxSeq           int64
	stated                  [2]int64 // debits and credits
	chain                   [2]uint64
	opened                  bool
	balance, statedEntries  int64
	mismatchedUnit, twoRows bool
}

// TrialReport is the result. It is proven if Problems is 0.
type TrialReport struct {
	Accounts, Transfers, Entries int64
	Units                        []UnitTotal
	Problems                     int64
	Findings                     []string // the first problems, at most 100
}

// UnitTotal is the sum of a unit's entries, which must be zero.
type UnitTotal struct {
	Unit string
	Sum  string
}

// NewTrial takes the resolved datasets; fault.Invalid names a column that is missing.
func NewTrial(transfer, entry, account *catalog.Dataset) (*Trial, error) {
	t := &Trial{accounts: map[int64]*tally{}, units: map[string]*money.Sum{}, buckets: make([]bucket, bucketCount)}
	for _, x := range []struct {
		into    *map[string]int
		dataset *catalog.Dataset
		columns string
	}{
		{&t.transfer, transfer, "id legs"},
		{&t.entry, entry, "account_id seq transfer_id unit amount balance_before balance_after"},
		{&t.account, account, "id unit balance entries"},
	} {
		var err error
		if *x.into, err = positions(x.dataset, x.columns); err != nil {
			return nil, err
		}
	}
	if debits, credits := account.Index("debits"), account.Index("credits"); debits >= 0 && credits >= 0 {
		t.account["debits"], t.account["credits"] = debits, credits
	}
	return t, nil
}

// WithBuffer lets rows of the buffer be added, as the dataset "buffer". It is called before the first Add.
func (t *Trial) WithBuffer(buffer *catalog.Dataset) error {
	var err error
	t.buffer, err = positions(buffer, "account_id transfer_id unit amount")
	return err
}

func positions(d *catalog.Dataset, columns string) (map[string]int, error) {
	at := map[string]int{}
	for _, name := range strings.Fields(columns) {
		i := d.Index(name)
		if i < 0 {
			return nil, fault.New(fault.Invalid, "start trial balance", "dataset %s has no column %s", d.Name, name)
		}
		at[name] = i
	}
	return at, nil
}

// Add takes one row of the dataset transfer, entry or account, with all its columns.
func (t *Trial) Add(dataset string, row *catalog.Row) error {
	switch dataset {
	case "transfer":
		return t.addTransfer(row)
	case "entry":
		return t.addEntry(row)
	case "account":
		return t.addAccount(row)
	case "buffer":
		return t.addBuffered(row)
	}
	return fault.New(fault.Invalid, "add to trial balance", "dataset %s is not part of the ledger", dataset)
}

func (t *Trial) addTransfer(row *catalog.Row) error {
	legs, err := number(row, t.transfer["legs"])
	if err != nil {
		return err
	}
	t.transfers++
	hash := hashText(row.Cell(t.transfer["id"]), nil)
	for i, h := range hash {
		t.legs[i] = t.legs[i].Sub(FieldOf(h).Times(legs))
	}
	b := bucketOf(t.buckets, hash)
	b.legs = b.legs.Sub(FieldOf(hash[0]).Times(legs))
	return nil
}

func (t *Trial) addEntry(row *catalog.Row) error {
	var n [5]int64
	for i, name := range [...]string{"account_id", "seq", "amount", "balance_before", "balance_after"} {
		var err error
		if n[i], err = number(row, t.entry[name]); err != nil {
			return err
		}
	}
	id, seq, amount, was, is := n[0], n[1], n[2], n[3], n[4]
	unit := row.Cell(t.entry["unit"])
	t.entries++
	t.addLeg(row.Cell(t.entry["transfer_id"]), unit, amount)
	a := t.tally(id)
	if a.count == 0 && !a.opened {
		a.unit = string(unit)
	}
	a.mismatchedUnit = a.mismatchedUnit || a.unit != string(unit)
	a.sum.Add(money.Amount(amount))
	if amount < 0 {
		a.debits.AddSum(money.SumOf(money.Amount(amount)).Neg())
	} else {
		a.credits.Add(money.Amount(amount))
	}
	a.count++
	a.maxSeq = max(a.maxSeq, seq)
	if after := was + amount; after != is || (after > was) != (amount > 0) {
		t.find("account %d entry %d: %d + %d is not %d", id, seq, was, amount, is)
	}
	end, start := hashLink(id, seq, is), hashLink(id, seq-1, was)
	for i := range a.chain {
		a.chain[i] += end[i] - start[i]
	}
	return nil
}

// addBuffered counts a credit that has no entry yet: for its transfer and unit.
func (t *Trial) addBuffered(row *catalog.Row) error {
	if t.buffer == nil {
		return fault.New(fault.Invalid, "add to trial balance", "the dataset buffer is not part of it")
	}
	amount, err := number(row, t.buffer["amount"])
	if err != nil {
		return err
	}
	t.addLeg(row.Cell(t.buffer["transfer_id"]), row.Cell(t.buffer["unit"]), amount)
	return nil
}

// addLeg counts one leg for its transfer and unit.
func (t *Trial) addLeg(transfer, unit []byte, amount int64) {
	total := t.units[string(unit)]
	if total == nil {
		total = &money.Sum{}
		t.units[string(unit)] = total
	}
	total.Add(money.Amount(amount))
	hash, both := hashText(transfer, nil), hashText(transfer, unit)
	for i, h := range both {
		t.balance[i] = t.balance[i].Add(FieldOf(h).Times(amount))
	}
	for i, h := range hash {
		t.legs[i] = t.legs[i].Add(FieldOf(h))
	}
	b := bucketOf(t.buckets, hash)
	b.balance, b.legs = b.balance.Add(FieldOf(both[0]).Times(amount)), b.legs.Add(FieldOf(hash[0]))
}

func (t *Trial) addAccount(row *catalog.Row) error {
	id, err := number(row, t.account["id"])
	if err != nil {
		return err
	}
	a := t.tally(id)
	a.twoRows = a.opened
	if a.balance, err = number(row, t.account["balance"]); err != nil {
		return err
	}
	if a.statedEntries, err = number(row, t.account["entries"]); err != nil {
		return err
	}
	for i, name := range [...]string{"debits", "credits"} {
		at, has := t.account[name]
		if !has {
			break
		}
		if a.stated[i], err = number(row, at); err != nil {
			return err
		}
	}
	unit := row.Text(t.account["unit"])
	a.mismatchedUnit = a.mismatchedUnit || a.count > 0 && a.unit != unit
	a.unit, a.opened = unit, true
	t.opened++
	return nil
}

func (t *Trial) tally(id int64) *tally {
	a := t.accounts[id]
	if a == nil {
		a = &tally{}
		t.accounts[id] = a
	}
	return a
}

func (t *Trial) find(format string, args ...any) {
	t.found++
	if len(t.findings) < maxFindings {
		t.findings = append(t.findings, fmt.Sprintf(format, args...))
	}
}

// Report closes the books over what was added. It may be called once; Locate then names rows.
func (t *Trial) Report() TrialReport {
	ids := make([]int64, 0, len(t.accounts))
	for id := range t.accounts {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	for _, id := range ids {
		t.closeAccount(id, t.accounts[id])
	}
	r := TrialReport{Accounts: t.opened, Transfers: t.transfers, Entries: t.entries}
	for unit, sum := range t.units {
		r.Units = append(r.Units, UnitTotal{Unit: unit, Sum: sum.String()})
		if !sum.IsZero() {
			t.find("entries in %s sum to %s instead of 0", unit, sum)
		}
	}
	slices.SortFunc(r.Units, func(a, b UnitTotal) int { return strings.Compare(a.Unit, b.Unit) })
	if t.balance != ([2]Field{}) {
		t.find("the entries of some transfer do not sum to zero")
	}
	if t.legs != ([2]Field{}) {
		t.find("some transfer has not as many entries as legs, or some entry has no transfer")
	}
	r.Problems, r.Findings = t.found, t.findings
	return r
}

func (t *Trial) closeAccount(id int64, a *tally) {
	if !a.opened {
		t.find("account %d has %d entries and no account row", id, a.count)
		return
	}
	if a.twoRows {
		t.find("account %d has two rows", id)
	}
	if a.mismatchedUnit {
		t.find("account %d has entries that are not in %s", id, a.unit)
	}
	if a.count != a.statedEntries || a.maxSeq != a.count {
		t.find("account %d has %d entries up to number %d, its row says %d", id, a.count, a.maxSeq, a.statedEntries)
	}
	if a.sum != money.SumOf(money.Amount(a.balance)) {
		t.find("account %d: its entries sum to %s, its balance is %d", id, a.sum, a.balance)
	}
	if _, has := t.account["debits"]; has {
		for i, sum := range [...]money.Sum{a.debits, a.credits} {
			if sum != money.SumOf(money.Amount(a.stated[i])) {
				t.find("account %d: its %s sum to %s, its row says %d", id, [...]string{"debits", "credits"}[i], sum, a.stated[i])
			}
		}
	}
	// Every link but the two ends appears once as an end and once as a start.
	end, start := hashLink(id, a.statedEntries, a.balance), hashLink(id, 0, 0)
	if a.chain != [2]uint64{end[0] - start[0], end[1] - start[1]} {
		t.find("account %d: an entry does not go on where the one before it ended", id)
		t.torn = append(t.torn, id)
	}
}

func number(row *catalog.Row, i int) (int64, error) {
	n, err := strconv.ParseInt(row.Text(i), 10, 64)
	if err != nil {
		return 0, fault.Wrap(fault.Proof, "read trial balance", err)
	}
	return n, nil
}

// hashText is two 64-bit hashes of (a, b); b nil is another value than b empty.
func hashText(a, b []byte) [2]uint64 {
	var fixed [128]byte
	buf := binary.BigEndian.AppendUint32(fixed[:0], uint32(len(a)))
	buf = append(buf, a...)
	if b != nil {
		buf = append(append(buf, 1), b...)
	}
	h := sha256.Sum256(buf)
	return [2]uint64{binary.BigEndian.Uint64(h[:]), binary.BigEndian.Uint64(h[8:])}
}

func hashLink(account, seq, balance int64) [2]uint64 {
	var b [24]byte
	binary.BigEndian.PutUint64(b[:], uint64(account))
	binary.BigEndian.PutUint64(b[8:], uint64(seq))
	binary.BigEndian.PutUint64(b[16:], uint64(balance))
	h := sha256.Sum256(b[:])
	return [2]uint64{binary.BigEndian.Uint64(h[:]), binary.BigEndian.Uint64(h[8:])}
}

// Field is a number modulo the prime 2^61-1: a sum of amounts times random numbers of the field is zero by chance with a
// probability of 2^-61, which is not so modulo a power of two.
type Field uint64

const prime = 1<<61 - 1

// FieldOf is a hash as a number of the field.
func FieldOf(h uint64) Field { return Field(h % prime) }

// Add is f + g.
func (f Field) Add(g Field) Field { return (f + g) % prime }

// Sub is f - g.
func (f Field) Sub(g Field) Field { return (f + prime - g) % prime }

// Times is f · n, for any n.
func (f Field) Times(n int64) Field {
	m := n % prime
	if m < 0 {
		m += prime
	}
	hi, lo := bits.Mul64(uint64(f), uint64(m))
	_, rest := bits.Div64(hi, lo, prime)
	return Field(rest)
}
