package daybook

import (
	"bytes"
	"slices"
	"strconv"
	"time"

	"strata/catalog"
	"strata/core"
	"strata/fault"
	"strata/money"
)

// businessDate is the transfer's, or the day of its order time.
func businessDate(v [][]byte) []byte {
	if v[tBusiness] != nil {
		return v[tBusiness]
	}
	return v[tOrdered][:min(len(v[tOrdered]), len(time.DateOnly))]
}

// remembered reports whether an id that was posted then must be remembered.
func (c *checker) remembered(posted []byte) bool {
	at, ok := catalog.InstantOf(catalog.Type{Kind: catalog.DateTime, FSP: 6}, posted)
	return ok && !at.Time().Before(c.cfg.Remembered)
}

// compareRow compares the transfer's row with its legs, and the legs with their accounts.
func (c *checker) compareRow(x *bundle, whole []leg) {
	t := x.transfer
	var amount int64
	unit := ""
	sums := map[string]*money.Sum{}
	for i := range whole {
		l := &whole[i]
		if i == 0 {
			unit = string(l.unit)
		}
		if l.amount > 0 && string(l.unit) == unit {
			amount += l.amount
		}
		if sums[string(l.unit)] == nil {
			sums[string(l.unit)] = &money.Sum{}
		}
		sums[string(l.unit)].Add(money.Amount(l.amount))
		c.compareLeg(l)
	}
	for unit, sum := range sums {
		if !sum.IsZero() {
			c.find(inTransfers, Finding{Table: "transfer", Key: x.id, Column: "entries in " + unit, Want: "0", Got: sum.String(), Text: "the sum of its legs"})
		}
	}
	if n := strconv.Itoa(len(whole)); n != string(t[tLegs]) {
		c.find(inTransfers, Finding{Table: "transfer", Key: x.id, Column: "legs", Want: n, Got: string(t[tLegs]), Text: "its entries and buffered credits"})
	}
	if unit != string(t[tUnit]) {
		c.find(inTransfers, Finding{Table: "transfer", Key: x.id, Column: "unit", Want: unit, Got: string(t[tUnit]), Text: "of its first leg"})
	} else if n := strconv.FormatInt(amount, 10); n != string(t[tAmount]) {
		c.find(inTransfers, Finding{Table: "transfer", Key: x.id, Column: "amount", Want: n, Got: string(t[tAmount]), Text: "the sum of its credits in " + unit})
	}
}

// compareLeg compares a leg with its account.
func (c *checker) compareLeg(l *leg) {
	table, key := l.key()
	a := c.accounts[l.row]
	if a == nil || a.rows == 0 {
		if l.buffered {
			c.find(inBuffers, Finding{Table: table, Key: key, Column: "account_id", Want: "an account", Got: strconv.FormatInt(l.row, 10)})
		}
		return
	}
	if (a.mixed || a.entryUnit == a.unit || l.buffered) && string(l.unit) != a.unit {
		c.find(inEntries, Finding{Table: table, Key: key, Column: "unit", Want: a.unit, Got: string(l.unit), Text: "of its account"})
	}
	if l.buffered && l.amount <= 0 {
		c.find(inBuffers, Finding{Table: table, Key: key, Column: "amount", Want: "a credit", Got: strconv.FormatInt(l.amount, 10)})
	}
	if a.strategy == "" && len(l.funds) == 0 {
		return
	}
	parts, err := core.ParseParts(string(l.funds))
	switch {
	case err != nil:
		c.find(inFunds, Finding{Table: table, Key: key, Column: "funds", Want: "parts", Got: string(l.funds), Text: err.Error()})
	case len(parts) == 0 && a.parted > 0:
		c.find(inFunds, Finding{Table: table, Key: key, Column: "funds", Want: "parts", Got: "", Text: "the account's other entries have them"})
	case len(parts) > 0 && sumParts(parts) != l.amount:
		c.find(inFunds, Finding{Table: table, Key: key, Column: "funds", Want: strconv.FormatInt(l.amount, 10), Got: string(l.funds), Text: "the sum of the parts is the amount"})
	}
}

// witness is a cell that says the same as others.
type witness struct {
	table, key, column string
	value              []byte
}

// agree names the cells that say something else than most; all of them where none has a majority.
func (c *checker) agree(section string, all []witness) {
	best := all[0].value
	differ := false
	for i := range all {
		differ = differ || !bytes.Equal(all[i].value, best)
	}
	if !differ {
		return
	}
	votes := 0
	for i := range all {
		n := 0
		for k := range all {
			if bytes.Equal(all[k].value, all[i].value) {
				n++
			}
		}
		if n > votes {
			votes, best = n, all[i].value
		}
	}
	for _, w := range all {
		want := best
		if bytes.Equal(w.value, best) {
			if votes*2 > len(all) {
				continue
			}
			want = all[slices.IndexFunc(all, func(o witness) bool { return !bytes.Equal(o.value, best) })].value
		}
		c.find(section, Finding{Table: w.table, Key: w.key, Column: w.column, Want: string(want), Got: string(w.value), Text: "as the other rows of the transfer"})
	}
}

// compareTimes compares dates and times over all rows of a transfer.
func (c *checker) compareTimes(x *bundle) {
	t := x.transfer
	same := true
	for i := range x.legs {
		l := &x.legs[i]
		same = same && bytes.Equal(l.date, t[tDate]) && bytes.Equal(l.since, t[tOrdered]) && bytes.Equal(l.at, t[tPosted])
	}
	if x.answer != nil {
		same = same && bytes.Equal(x.answer[aOrdered], t[tOrdered]) && bytes.Equal(x.answer[aPosted], t[tPosted])
	}
	if same {
		return
	}
	n := len(x.legs) + 2
	dates := append(make([]witness, 0, n), witness{"transfer", x.id, "accounting_date", t[tDate]})
	ordered := append(make([]witness, 0, n), witness{"transfer", x.id, "order_time", t[tOrdered]})
	posted := append(make([]witness, 0, n), witness{"transfer", x.id, "posted_at", t[tPosted]})
	for i := range x.legs {
		l := &x.legs[i]
		table, key := l.key()
		dates = append(dates, witness{table, key, "accounting_date", l.date})
		ordered = append(ordered, witness{table, key, "order_time", l.since})
		posted = append(posted, witness{table, key, "posted_at", l.at})
	}
	if x.answer != nil {
		ordered = append(ordered, witness{"transfer_id", x.id, "order_time", x.answer[aOrdered]})
		posted = append(posted, witness{"transfer_id", x.id, "posted_at", x.answer[aPosted]})
	}
	for _, all := range [][]witness{dates, ordered, posted} {
		c.agree(inEntries, all)
	}
}

func orderKey(o [][]byte) string { return string(o[1]) + "," + string(o[2]) + "," + string(o[0]) }

// ordered compares the order numbers.
func (c *checker) ordered(x *bundle) {
	c.looked(inOrders, int64(len(x.orders)))
	for _, o := range x.orders {
		switch {
		case x.rows > 0 && (!bytes.Equal(o[1], x.transfer[tTenant]) || !bytes.Equal(o[2], x.transfer[tOrder])):
			c.find(inOrders, Finding{Table: "merchant_order", Key: orderKey(o), Want: string(x.transfer[tTenant]) + "," + string(x.transfer[tOrder]), Got: string(o[1]) + "," + string(o[2]),
				Text: "of transfer " + x.id})
		case x.rows == 0 && x.answer == nil && c.remembered(o[3]):
			c.find(inOrders, Finding{Table: "merchant_order", Key: orderKey(o), Column: "transfer_id", Want: "a transfer or a remembered id", Got: x.id})
		case x.answer != nil && bytes.Compare(o[3], x.answer[aPosted]) < 0: // it is stamped a little later, to keep the order
			c.find(inOrders, Finding{Table: "merchant_order", Key: orderKey(o), Column: "posted_at", Want: "not before " + string(x.answer[aPosted]), Got: string(o[3])})
		}
	}
	if x.rows > 0 && len(x.orders) == 0 && len(x.transfer[tOrder]) > 0 && c.remembered(x.transfer[tPosted]) {
		c.find(inOrders, Finding{Table: "merchant_order", Key: string(x.transfer[tTenant]) + "," + string(x.transfer[tOrder]) + "," + x.id, Want: "a row", Text: "the transfer names the order"})
	}
}

func instant(cell []byte) (time.Time, error) {
	at, ok := catalog.InstantOf(catalog.Type{Kind: catalog.DateTime, FSP: 6}, cell)
	if !ok {
		return time.Time{}, fault.New(fault.Proof, "read ledger row", "%q is not a time", cell)
	}
	return at.Time(), nil
}
