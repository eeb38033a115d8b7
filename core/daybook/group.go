package daybook

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"time"

	"strata/catalog"
	"strata/core"
	"strata/fault"
	"strata/money"
)

// The cells of a transfer.
const (
	tID = iota
	tKind
	tOrdered
	tDate
	tPosted
	tLegs
	tUnit
	tAmount
	tMemo
	tAction
	tOf
	tBusiness
	tTenant
	tOrder
	tProduct
	tMetadata
)

// The cells of transfer_id.
const (
	aID = iota
	aHash
	aOutcome
	aAnswer
	aOrdered
	aPosted
)

// The cells of a buffer row.
const (
	bTransfer = iota
	bAccount
	bLeg
	bUnit
	bAmount
	bDate
	bOrdered
	bPosted
	bFunds
	bID
)

// leg is one leg as it was booked: an entry, a buffered credit, or what several inner accounts took of it.
type leg struct {
	no, account     int64 // the account as the outside knows it
	row             int64 // the account of the row
	seq             int64 // 0: buffered, or spread over inner accounts
	amount, after   int64
	unit, funds     []byte
	date, at, since []byte // accounting date, posted at, order time
	buffered, inner bool
}

// key names the leg's row.
func (l *leg) key(c *checker) (table, key string) {
	if l.buffered {
		return "buffer", strconv.FormatInt(l.seq, 10)
	}
	return "entry", fmt.Sprintf("%d,%d", l.row, l.seq)
}

// bundle is everything that belongs to one id.
type bundle struct {
	id          string
	rows        int // of transfer
	transfer    [][]byte
	legs        []leg
	answer      [][]byte
	reservation [][]byte
	reversed    [][][]byte
	orders      [][][]byte
	outbox      [][][]byte
	ends        [][][]byte
	names       [][][]byte
}

// transfer takes a row.
func (c *checker) transfer(v [][]byte) error {
	c.looked(inTransfers, 1)
	if d := c.days; d.frozen(v[tDate]) && string(businessDate(v)) < string(v[tDate]) {
		d.of(v[tDate]).late++
	}
	c.limits.posted(v)
	if string(v[tAction]) != "post" {
		if err := c.keep(c.ids, kNames, v[tOf], [][]byte{v[tID], v[tAction]}); err != nil {
			return err
		}
	}
	return c.keep(c.ids, kTransfer, v[tID], v)
}

// businessDate is the transfer's, or the day of its order time.
func businessDate(v [][]byte) []byte {
	if v[tBusiness] != nil {
		return v[tBusiness]
	}
	return v[tOrdered][:min(len(v[tOrdered]), len(time.DateOnly))]
}

// buffer takes a row.
func (c *checker) buffer(v [][]byte) error {
	var id, amount int64
	if err := numbers(v, []int{bAccount, bAmount}, &id, &amount); err != nil {
		return err
	}
	c.looked(inBuffers, 1)
	c.tally(id).buffered += amount
	c.unitSum(v[bUnit], amount)
	return c.keep(c.ids, kBuffer, v[bTransfer], v)
}

// group looks at all rows of one id.
func (c *checker) group(g []record) error {
	x, err := c.bundle(g)
	if err != nil {
		return err
	}
	if x.rows == 0 {
		err = c.unbooked(x)
	} else {
		err = c.booked(x)
	}
	if err != nil {
		return err
	}
	c.ordered(x)
	if err := c.reserved(x); err != nil {
		return err
	}
	return c.pass(x)
}

// slabCells is more than any row has.
const slabCells = 32

// bundle takes the records apart. It is valid until the next one is.
func (c *checker) bundle(g []record) (*bundle, error) {
	c.x = bundle{id: string(g[0].id), legs: c.x.legs[:0]}
	x, room := &c.x, c.slab[:0]
	for i := range g {
		if cap(room)-len(room) < slabCells {
			room = make([][]byte, 0, 64*slabCells)
			c.slab = room
		}
		v := g[i].split(room[len(room):len(room):cap(room)])
		room = room[:len(room)+len(v)]
		switch g[i].kind {
		case kTransfer:
			x.rows++
			x.transfer = v
		case kEntry, kBuffer:
			l, err := c.legOf(g[i].kind, v)
			if err != nil {
				return nil, err
			}
			x.legs = append(x.legs, l)
		case kAnswer:
			x.answer = v
		case kReservation:
			x.reservation = v
		case kReversed:
			x.reversed = append(x.reversed, v)
		case kOrder:
			x.orders = append(x.orders, v)
		case kOutbox:
			x.outbox = append(x.outbox, v)
		case kEnds:
			x.ends = append(x.ends, v)
		case kNames:
			x.names = append(x.names, v)
		}
	}
	slices.SortFunc(x.legs, func(a, b leg) int {
		return cmp.Or(cmp.Compare(a.no, b.no), cmp.Compare(b.account, a.account), cmp.Compare(a.row, b.row), cmp.Compare(a.seq, b.seq))
	})
	return x, nil
}

// legOf makes a leg of an entry or of a buffer row.
func (c *checker) legOf(k kind, v [][]byte) (leg, error) {
	if k == kBuffer {
		l := leg{unit: v[bUnit], funds: v[bFunds], date: v[bDate], at: v[bPosted], since: v[bOrdered], buffered: true}
		err := numbers(v, []int{bAccount, bLeg, bAmount, bID}, &l.row, &l.no, &l.amount, &l.seq)
		l.account = l.row
		return l, err
	}
	l := leg{unit: v[eUnit], funds: v[eFunds], date: v[eDate], at: v[ePosted], since: v[eOrdered]}
	err := numbers(v, []int{eAccount, eLeg, eAmount, eSeq, eAfter}, &l.row, &l.no, &l.amount, &l.seq, &l.after)
	l.account = l.row
	if a := c.accounts[l.row]; a != nil && l.row < 0 && a.parent != 0 {
		l.account, l.inner = a.parent, true
	}
	return l, err
}

// unbooked looks at an id without a transfer.
func (c *checker) unbooked(x *bundle) error {
	for i := range x.legs {
		table, key := x.legs[i].key(c)
		c.find(inTransfers, Finding{Table: table, Key: key, Column: "transfer_id", Want: "a transfer", Got: x.id})
	}
	for _, v := range x.reversed {
		c.find(inReversed, Finding{Table: "reversed", Key: x.id + "," + string(v[1]), Got: string(v[2]), Text: "there is no such transfer"})
	}
	for _, v := range x.outbox {
		c.find(inOutbox, Finding{Table: "outbox", Key: string(v[1]) + "," + x.id, Got: "a row", Text: "there is no such transfer"})
	}
	for _, v := range x.names {
		if string(v[1]) == "reverse" {
			c.find(inReversed, Finding{Table: "transfer", Key: string(v[0]), Column: "of_id", Want: "a transfer", Got: x.id})
		}
	}
	if x.answer == nil {
		return nil
	}
	c.looked(inAnswers, 1)
	a, ok := c.parseAnswer(x)
	if !ok || a.Outcome == core.Refused {
		return nil
	}
	if a.Code != "" && a.Code != core.NullCancelled {
		c.find(inAnswers, Finding{Table: "transfer_id", Key: x.id, Column: "outcome", Want: "refused", Got: "applied", Text: "its code is " + string(a.Code)})
		return nil
	}
	switch a.Action {
	case core.Try:
		if x.reservation == nil {
			c.find(inPending, Finding{Table: "reservation", Key: x.id, Want: "a row", Text: "the try was applied"})
		}
	case core.Cancel:
		if a.Code != core.NullCancelled && len(x.ends) == 0 {
			c.find(inPending, Finding{Table: "reservation", Key: x.id, Column: "ended_by", Want: x.id, Text: "no reservation says that this cancel ended it"})
		}
	default:
		c.find(inTransfers, Finding{Table: "transfer", Key: x.id, Want: "a row", Text: "the remembered answer says that it was applied"})
	}
	return nil
}

func (c *checker) parseAnswer(x *bundle) (core.Answer, bool) {
	a, err := core.ParseAnswer(string(x.answer[aOutcome]), x.answer[aAnswer])
	if err != nil {
		c.find(inAnswers, Finding{Table: "transfer_id", Key: x.id, Column: "answer", Want: "an answer", Got: string(x.answer[aAnswer]), Text: err.Error()})
	}
	return a, err == nil
}

// booked looks at a transfer with its legs and its answer.
func (c *checker) booked(x *bundle) error {
	t := x.transfer
	if x.rows > 1 {
		c.find(inTransfers, Finding{Table: "transfer", Key: x.id, Want: "one row", Got: fmt.Sprint(x.rows)})
	}
	if ofNothing := len(t[tOf]) == 0; ofNothing != (string(t[tAction]) == "post") {
		c.find(inTransfers, Finding{Table: "transfer", Key: x.id, Column: "action, of_id", Want: "what it is of, but for a post", Got: string(t[tOf]), Text: "its action is " + string(t[tAction])})
	}
	whole := c.whole(x)
	var answer *core.Answer
	if x.answer != nil {
		c.looked(inAnswers, 1)
		a, ok := c.compareAnswer(x, whole)
		if !ok {
			return nil
		}
		answer = a
	} else if c.remembered(t[tPosted]) {
		c.find(inAnswers, Finding{Table: "transfer_id", Key: x.id, Want: "a row", Text: "the transfer was posted at " + string(t[tPosted])})
	}
	c.compareRow(x, whole)
	c.compareTimes(x)
	if x.answer != nil {
		c.compareBody(x, whole, answer)
	}
	c.compareEvents(x, whole)
	return nil
}

// remembered reports whether an id that was posted then must be remembered.
func (c *checker) remembered(posted []byte) bool {
	at, ok := catalog.InstantOf(catalog.Type{Kind: catalog.DateTime, FSP: 6}, posted)
	return ok && !at.Time().Before(c.cfg.Remembered)
}

// whole joins what inner accounts took of one leg, and names legs that are there twice.
func (c *checker) whole(x *bundle) []leg {
	out := x.legs
	for i := 1; i < len(x.legs); i++ {
		if x.legs[i].no == x.legs[i-1].no {
			out = nil // the usual case needs no copy
		}
	}
	if out != nil {
		return out
	}
	for _, l := range x.legs {
		if n := len(out); n > 0 && out[n-1].no == l.no {
			p := &out[n-1]
			if l.inner && p.inner && l.account == p.account {
				p.amount += l.amount
				p.seq = 0
				continue
			}
			table, key := l.key(c)
			c.find(inEntries, Finding{Table: table, Key: key, Column: "leg", Want: "another number", Got: strconv.FormatInt(l.no, 10), Text: "transfer " + x.id + " has this leg twice"})
		}
		out = append(out, l)
	}
	return out
}

// compareAnswer compares the remembered balances with the entries. The quick way is that they are the same text.
func (c *checker) compareAnswer(x *bundle, whole []leg) (*core.Answer, bool) {
	action, known := core.ParseAction(string(x.transfer[tAction]))
	want := core.Answer{Outcome: core.Applied, Action: action, Balances: make([]core.Balance, len(whole))}
	for i, l := range whole {
		want.Balances[i] = core.Balance{Account: l.account, Seq: l.seq, Balance: l.after, Amount: l.amount}
		if len(l.funds) > 0 {
			want.Balances[i].Parts, _ = core.ParseParts(string(l.funds)) // named with the entry
		}
	}
	c.image = want.AppendJSON(c.image[:0])
	if known && string(x.answer[aOutcome]) == "applied" && bytes.Equal(c.image, x.answer[aAnswer]) && c.numbered(whole) {
		return &want, true
	}
	have, ok := c.parseAnswer(x)
	if !ok {
		return nil, false
	}
	wrong := func(what, want, got string) {
		c.find(inAnswers, Finding{Table: "transfer_id", Key: x.id, Column: "answer", Want: want, Got: got, Text: what})
	}
	switch {
	case have.Outcome == core.Refused:
		c.find(inAnswers, Finding{Table: "transfer_id", Key: x.id, Column: "outcome", Want: "applied", Got: "refused", Text: "there is a transfer"})
		return nil, false
	case have.Action != action:
		wrong("the action", action.String(), have.Action.String())
	case have.Code != "":
		wrong("the code", "", string(have.Code))
	}
	t, ok := c.body(x, whole) // a body that has the remembered hash says that the legs are right
	proven := ok && action == core.Post && c.tryBody(t, string(x.answer[aHash]), whole)
	c.compareBalances(x, whole, have.Balances, proven, wrong)
	return &have, true
}

// numbered reports whether the legs are numbered from 0.
func (c *checker) numbered(whole []leg) bool {
	for i := range whole {
		if whole[i].no != int64(i) || whole[i].buffered {
			return false
		}
	}
	return true
}

// compareBalances compares leg by leg. Where both can be wrong, it names the one that other rows contradict, too.
func (c *checker) compareBalances(x *bundle, whole []leg, have []core.Balance, proven bool, wrong func(what, want, got string)) {
	legs := map[int64]*leg{}
	for i := range whole {
		legs[whole[i].no] = &whole[i]
	}
	for i := range have {
		h, l := &have[i], legs[int64(i)]
		if l == nil {
			c.find(inTransfers, Finding{Table: "entry", Key: fmt.Sprintf("%d,%d", h.Account, h.Seq), Column: "leg", Want: fmt.Sprint(i),
				Text: "transfer " + x.id + " has no entry for this leg"})
			continue
		}
		delete(legs, int64(i))
		c.compareBalance(i, l, h, proven, wrong)
	}
	for i := range whole {
		if l := &whole[i]; legs[l.no] != nil {
			table, key := l.key(c)
			c.find(inTransfers, Finding{Table: table, Key: key, Column: "leg", Want: fmt.Sprintf("below %d", len(have)), Got: strconv.FormatInt(l.no, 10),
				Text: "the remembered answer of transfer " + x.id + " has no such leg"})
		}
	}
}

func (c *checker) compareBalance(i int, l *leg, h *core.Balance, proven bool, wrong func(what, want, got string)) {
	table, key := l.key(c)
	doubt := c.inDoubt(l.row)
	say := func(column, what string, row, told int64, rowIsWrong bool) {
		switch {
		case row == told:
		case rowIsWrong:
			c.find(inEntries, Finding{Table: table, Key: key, Column: column, Want: strconv.FormatInt(told, 10), Got: strconv.FormatInt(row, 10), Text: "the remembered answer"})
		default:
			wrong(fmt.Sprintf("%s of leg %d", what, i), strconv.FormatInt(row, 10), strconv.FormatInt(told, 10))
		}
	}
	say("account_id", "the account", l.account, h.Account, !proven && (doubt || l.buffered || c.inDoubt(h.Account)))
	if h.Amount != 0 { // the first form of answers has none
		say("amount", "the amount", l.amount, h.Amount, !proven && (doubt || l.buffered))
	}
	if h.Seq != 0 && !l.buffered && l.seq != 0 && h.Account == l.row {
		say("seq", "the number", l.seq, h.Seq, doubt)
		say("balance_after", "the balance", l.after, h.Balance, doubt)
	}
	if h.Seq != 0 && l.buffered {
		wrong(fmt.Sprintf("leg %d is buffered", i), "0", strconv.FormatInt(h.Seq, 10))
	}
	parts, err := core.ParseParts(string(l.funds))
	if err == nil && !slices.Equal(parts, h.Parts) && !l.inner {
		if sumParts(h.Parts) == l.amount && (sumParts(parts) != l.amount || c.wrongFunds(l.row, parts)) {
			c.find(inFunds, Finding{Table: table, Key: key, Column: "funds", Want: string(core.AppendParts(nil, h.Parts)), Got: string(l.funds), Text: "the remembered answer"})
		} else {
			wrong(fmt.Sprintf("the parts of leg %d", i), string(l.funds), string(core.AppendParts(nil, h.Parts)))
		}
	}
}

// inDoubt reports whether the account's entries contradict one another.
func (c *checker) inDoubt(account int64) bool {
	a := c.accounts[account]
	return a == nil || a.doubt
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
		c.compareLeg(x, l)
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
func (c *checker) compareLeg(x *bundle, l *leg) {
	table, key := l.key(c)
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
	t, n := x.transfer, 0
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
	n = len(x.legs) + 2
	dates := append(make([]witness, 0, n), witness{"transfer", x.id, "accounting_date", t[tDate]})
	ordered := append(make([]witness, 0, n), witness{"transfer", x.id, "order_time", t[tOrdered]})
	posted := append(make([]witness, 0, n), witness{"transfer", x.id, "posted_at", t[tPosted]})
	for i := range x.legs {
		l := &x.legs[i]
		table, key := l.key(c)
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
