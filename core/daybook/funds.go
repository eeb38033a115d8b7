package daybook

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"

	"strata/core"
)

// fundKey names a nature's share of an account.
type fundKey struct {
	account int64
	nature  string
}

// fundTally is what is known of it.
type fundTally struct {
	rows             int
	balance, pending int64 // as the row says
	sum, reserved    int64 // of entries' parts, of pending reservations' debit parts
}

func (c *checker) fundOf(account int64, nature string) *fundTally {
	k := fundKey{account, nature}
	f := c.funds[k]
	if f == nil {
		f = &fundTally{}
		c.funds[k] = f
	}
	return f
}

// fund takes a row: account_id nature balance pending.
func (c *checker) fund(v [][]byte) error {
	var id, balance, pending int64
	if err := numbers(v, []int{0, 2, 3}, &id, &balance, &pending); err != nil {
		return err
	}
	f := c.fundOf(id, c.text(v[1]))
	f.rows, f.balance, f.pending = f.rows+1, balance, pending
	c.looked(inFunds, 1)
	return nil
}

// addParts adds an entry's parts.
func (c *checker) addParts(account int64, v [][]byte) error {
	parts, err := core.ParseParts(string(v[eFunds]))
	if err != nil {
		return nil //nolint:nilerr // the entry is named with its transfer
	}
	for _, p := range parts {
		c.fundOf(account, c.text([]byte(p.Nature))).sum += p.Amount
	}
	return nil
}

func sumParts(parts []core.Part) (sum int64) {
	for _, p := range parts {
		sum += p.Amount
	}
	return sum
}

// closeFunds compares the funds with what entries and reservations say.
func (c *checker) closeFunds() {
	keys := slices.SortedFunc(maps.Keys(c.funds), func(a, b fundKey) int {
		return cmp.Or(cmp.Compare(a.account, b.account), cmp.Compare(a.nature, b.nature))
	})
	total := map[int64]int64{}
	for _, k := range keys {
		f := c.funds[k]
		key := strconv.FormatInt(k.account, 10) + "," + k.nature
		total[k.account] += f.balance
		if f.rows == 0 && (f.sum != 0 || f.reserved != 0) {
			c.find(inFunds, Finding{Table: "fund", Key: key, Want: fmt.Sprintf("balance %d, pending %d", f.sum, f.reserved), Text: "the row is missing"})
			continue
		}
		c.wrong(inFunds, "fund", key, "balance", f.sum, f.balance, "the parts of the account's entries")
		c.wrong(inFunds, "fund", key, "pending", f.reserved, f.pending, "the parts of its pending reservations")
	}
	for _, id := range slices.Sorted(maps.Keys(total)) {
		if a := c.accounts[id]; a == nil || a.rows == 0 {
			c.find(inFunds, Finding{Table: "fund", Key: strconv.FormatInt(id, 10), Text: "there is no such account"})
		}
	}
}

// wrongFunds reports whether the account's funds are not what its entries say.
func (c *checker) wrongFunds(account int64, parts []core.Part) bool {
	for _, p := range parts {
		if f := c.funds[fundKey{account, p.Nature}]; f == nil || f.sum != f.balance {
			return true
		}
	}
	return false
}
