package daybook

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"

	"strata/core"
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
func (l *leg) key() (table, key string) {
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
		c.unbooked(x)
	} else {
		c.booked(x)
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
func (c *checker) unbooked(x *bundle) {
	for i := range x.legs {
		table, key := x.legs[i].key()
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
		return
	}
	c.looked(inAnswers, 1)
	a, ok := c.parseAnswer(x)
	if !ok || a.Outcome == core.Refused {
		return
	}
	if a.Code != "" && a.Code != core.NullCancelled {
		c.find(inAnswers, Finding{Table: "transfer_id", Key: x.id, Column: "outcome", Want: "refused", Got: "applied", Text: "its code is " + string(a.Code)})
		return
	}
	switch a.Action {
	case core.Try:
		if x.reservation == nil {
			c.find(inPending, Finding{Table: "reservation", Key: x.id, Want: "a row", Text: "the try was applied"})
		}
	case core.Cancel: // it may have come after another cancel, or after the end: what it was of is not kept
	default:
		c.find(inTransfers, Finding{Table: "transfer", Key: x.id, Want: "a row", Text: "the remembered answer says that it was applied"})
	}
}

// booked looks at a transfer with its legs and its answer.
func (c *checker) booked(x *bundle) {
	t := x.transfer
	if x.rows > 1 {
		c.find(inTransfers, Finding{Table: "transfer", Key: x.id, Want: "one row", Got: fmt.Sprint(x.rows)})
	}
	if ofNothing := len(t[tOf]) == 0; ofNothing != (string(t[tAction]) == "post") {
		c.find(inTransfers, Finding{Table: "transfer", Key: x.id, Column: "action, of_id", Want: "what it is of, but for a post", Got: string(t[tOf]), Text: "its action is " + string(t[tAction])})
	}
	whole := c.whole(x)
	c.matched = core.Transfer{}
	var answer *core.Answer
	if x.answer != nil {
		c.looked(inAnswers, 1)
		a, ok := c.compareAnswer(x, whole)
		if !ok {
			return
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
	c.compareEvents(x, whole, answer)
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
			table, key := l.key()
			c.find(inEntries, Finding{Table: table, Key: key, Column: "leg", Want: "another number", Got: strconv.FormatInt(l.no, 10), Text: "transfer " + x.id + " has this leg twice"})
		}
		out = append(out, l)
	}
	return out
}
