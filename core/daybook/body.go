package daybook

import (
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"

	"strata/catalog"
	"strata/core"
)

// body is the transfer as its row and its legs tell it.
func (c *checker) body(x *bundle, whole []leg) (core.Transfer, bool) {
	v := x.transfer
	ordered, err := instant(v[tOrdered])
	action, known := core.ParseAction(string(v[tAction]))
	if err != nil || !known {
		return core.Transfer{}, false
	}
	t := core.Transfer{ID: x.id, Kind: string(v[tKind]), OrderTime: ordered, Memo: string(v[tMemo]), Metadata: string(v[tMetadata]),
		Tenant: string(v[tTenant]), Order: string(v[tOrder]), Product: string(v[tProduct]), Action: action, Of: string(v[tOf])}
	if v[tBusiness] != nil {
		at, ok := catalog.InstantOf(catalog.Type{Kind: catalog.Date}, v[tBusiness])
		if !ok {
			return core.Transfer{}, false
		}
		t.BusinessDate = at.Time()
	}
	t.Legs = make([]core.Leg, len(whole))
	for i, l := range whole {
		t.Legs[i] = core.Leg{Account: l.account, Unit: c.text(l.unit), Amount: l.amount}
	}
	return t, true
}

// maxTries bounds the combinations of natures that are tried out for one transfer.
const maxTries = 4096

// compareBody looks for a body that the row and the legs can have come from, and that has the remembered hash: what the
// tables don't keep is tried out (whether it was linked, whether it named its business date and its credits' natures, whether
// a confirm or reverse named its legs).
func (c *checker) compareBody(x *bundle, whole []leg, answer *core.Answer) {
	t, ok := c.body(x, whole)
	if !ok {
		return
	}
	want := string(x.answer[aHash])
	legs := t.Legs
	c.untold = false
	if c.tryBody(t, want, whole) {
		return
	}
	if t.Action != core.Post {
		t.Legs = nil
		if c.tryBody(t, want, nil) {
			return
		}
		if c.partialBody(x, want, t, legs) {
			return
		}
	}
	if answer != nil && len(answer.Balances) == len(legs) { // the entries are wrong, and named: then the row is right
		told := slices.Clone(legs)
		for i := range answer.Balances {
			told[i].Account = answer.Balances[i].Account
			if answer.Balances[i].Amount != 0 {
				told[i].Amount = answer.Balances[i].Amount
			}
			if a := c.accounts[told[i].Account]; a != nil {
				told[i].Unit = a.unit
			}
		}
		t.Legs = told
		if !slices.Equal(told, legs) && c.tryBody(t, want, whole) {
			return
		}
	}
	if at, err := instant(x.answer[aOrdered]); err == nil && !at.Equal(t.OrderTime) {
		if t.OrderTime, t.Legs = at, legs; c.tryBody(t, want, whole) {
			return // the order time is named already
		}
	}
	if c.untold {
		c.unproven++
		return
	}
	t.Legs = legs
	c.wrongBody(x.id, want, &t)
}

// wrongBody names both rows: which of them was changed can't be told.
func (c *checker) wrongBody(id, want string, t *core.Transfer) {
	hash := t.Hash()
	c.find(inTransfers, Finding{Table: "transfer", Key: id, Column: "kind, memo, metadata, product, tenant, merchant_order or business_date",
		Want: "a body with the hash " + want, Got: hex.EncodeToString(hash[:]), Text: "the row and its entries are not what was posted, or the hash was changed"})
	c.find(inAnswers, Finding{Table: "transfer_id", Key: id, Column: "body_hash", Want: hex.EncodeToString(hash[:]), Got: want,
		Text: "the body that the transfer's row and entries tell"})
}

// tryBody tries what the row does not say; c.matched is then what was posted. whole are the legs that t's came from; nil: t has none.
func (c *checker) tryBody(t core.Transfer, want string, whole []leg) bool {
	explicit := []bool{true}
	if t.BusinessDate.IsZero() || t.BusinessDate.Equal(core.Date(t.OrderTime)) {
		explicit = []bool{false, true}
	}
	date := t.Day()
	for _, e := range explicit {
		if t.BusinessDate = date; !e {
			t.BusinessDate = core.Transfer{}.BusinessDate
		}
		for _, t.Linked = range [...]bool{false, true} {
			if sameHash(&t, want) {
				c.matched = t
				return true
			}
			if t.Action == core.Post && c.tryNatures(t, want, whole) {
				return true
			}
		}
	}
	return false
}

func sameHash(t *core.Transfer, want string) bool {
	h := t.Hash()
	var text [64]byte
	hex.Encode(text[:], h[:])
	return string(text[:]) == want
}

// tryNatures lets credits to split accounts name natures: first what is likely, then every combination of none, the natures
// that a credit brought, and those of the strategies. c.untold says that not all were tried: where there are more than maxTries,
// or where a payer's natures were inherited, since then what the credit named was not looked at.
func (c *checker) tryNatures(t core.Transfer, want string, whole []leg) bool {
	n := naming{want: want, t: t}
	inherited := false
	for i := range whole {
		if len(whole[i].funds) == 0 {
			continue
		}
		if whole[i].amount <= 0 {
			inherited = true
			continue
		}
		parts, _ := core.ParseParts(string(whole[i].funds)) // named with the entry
		own, all := "", []string{""}
		for _, p := range parts {
			own, all = p.Nature, append(all, p.Nature)
		}
		likely, strategy := own, ""
		if a := c.accounts[whole[i].row]; a != nil {
			strategy = a.strategy
		}
		for _, nature := range c.limits.natures {
			if !slices.Contains(all, nature) {
				all = append(all, nature)
			}
		}
		if c.limits.isDefault(strategy, own) {
			likely = ""
		}
		n.at, n.own, n.likely, n.all = append(n.at, i), append(n.own, []string{"", own}), append(n.likely, []string{likely}), append(n.all, all)
	}
	if len(n.at) == 0 {
		return false
	}
	c.untold = c.untold || inherited
	n.t.Legs = slices.Clone(t.Legs)
	for _, names := range [][][]string{n.likely, n.own, n.all} {
		found, whole := n.product(names)
		if found {
			c.matched = n.t
			return true
		}
		c.untold = c.untold || !whole
	}
	return false
}

// naming is a search for the natures that a transfer's credits named.
type naming struct {
	t                core.Transfer
	want             string
	at               []int // legs
	likely, own, all [][]string
}

// product tries combinations, the last ones first, where all credits name something; it says whether one was right, and
// whether all were tried.
func (n *naming) product(names [][]string) (found, whole bool) {
	total, whole := 1, true
	for _, all := range names {
		if total *= len(all); total > maxTries {
			total, whole = maxTries, false
		}
	}
	for try := range total {
		rest := try
		for k, i := range n.at {
			all := names[k]
			n.t.Legs[i].Nature = all[len(all)-1-rest%len(all)]
			rest /= len(all)
		}
		if sameHash(&n.t, n.want) {
			return true, whole
		}
	}
	return false, whole
}

// partialBody is a confirm or reverse in part, some of whose legs are zero and left no entry: they are those of what it is
// of. That is known later, with the original: it is tried there.
func (c *checker) partialBody(x *bundle, want string, t core.Transfer, legs []core.Leg) bool {
	if t.Of == "" {
		return false
	}
	t.Legs = legs
	raw := t.AppendJSON(nil)
	if err := c.keep(c.ends, kAnswer, []byte(t.Of), [][]byte{[]byte(x.id), []byte(want), raw}); err != nil {
		return false
	}
	return true
}

// compareEvents compares what consumers will get with the transfer.
func (c *checker) compareEvents(x *bundle, whole []leg, answer *core.Answer) {
	for _, v := range x.outbox {
		c.looked(inOutbox, 1)
		if c.sameEvent(x, v, whole, answer) {
			continue
		}
		key := string(v[1]) + "," + x.id
		bad := func(column, want, got, text string) {
			c.find(inOutbox, Finding{Table: "outbox", Key: key, Column: column, Want: want, Got: got, Text: text})
		}
		if string(v[2]) != string(x.transfer[tPosted]) {
			bad("posted_at", string(x.transfer[tPosted]), string(v[2]), "as the transfer's row")
		}
		e, err := core.ParseEvent(v[3])
		if err != nil {
			bad("body", "an event", string(v[3]), err.Error())
			continue
		}
		t, ok := c.body(x, whole)
		if !ok {
			continue
		}
		if e.Transfer.BusinessDate.IsZero() || t.BusinessDate.IsZero() { // the day of the order time, said or not
			e.Transfer.BusinessDate, t.BusinessDate = e.Transfer.Day(), t.Day()
		}
		t.Linked = e.Transfer.Linked
		if len(t.Legs) == len(e.Transfer.Legs) {
			for i := range t.Legs {
				t.Legs[i].Nature = e.Transfer.Legs[i].Nature
			}
		}
		if want, got := t.AppendJSON(nil), e.Transfer.AppendJSON(nil); string(want) != string(got) {
			bad("body", string(want), string(got), "the transfer")
		}
		if date := dateOf(e.AccountingDate); date != string(x.transfer[tDate]) {
			bad("body", string(x.transfer[tDate]), date, "the accounting date")
		}
		if posted := e.PostedAt.Format("2006-01-02 15:04:05.000000"); posted != string(x.transfer[tPosted]) {
			bad("body", string(x.transfer[tPosted]), posted, "the time of posting")
		}
		if len(e.Balances) != len(whole) {
			bad("body", strconv.Itoa(len(whole)), strconv.Itoa(len(e.Balances)), "the number of balances")
			continue
		}
		for i, b := range e.Balances {
			l := &whole[i]
			want := core.Balance{Account: l.account, Seq: l.seq, Balance: l.after, Amount: l.amount}
			if b.Seq == 0 || l.buffered || l.inner {
				want.Seq, want.Balance = b.Seq, b.Balance // buffered when it was told
			}
			want.Parts, _ = core.ParseParts(string(l.funds)) // named with the entry
			if !core.SameBalance(want, b) {
				bad("body", fmt.Sprint(want), fmt.Sprint(b), fmt.Sprintf("balance %d", i))
			}
		}
	}
}

// sameEvent is the quick way: the event is, letter by letter, what the matched body and the answer make.
func (c *checker) sameEvent(x *bundle, v [][]byte, whole []leg, answer *core.Answer) bool {
	date, ok := catalog.InstantOf(catalog.Type{Kind: catalog.Date}, x.transfer[tDate])
	posted, err := instant(x.transfer[tPosted])
	if answer == nil || c.matched.ID != x.id || !ok || err != nil || string(v[2]) != string(x.transfer[tPosted]) || len(answer.Balances) != len(whole) {
		return false
	}
	e := core.Event{Transfer: c.matched, Balances: answer.Balances, AccountingDate: date.Time(), PostedAt: posted}
	if len(e.Transfer.Legs) == 0 {
		for i := range whole {
			e.Transfer.Legs = append(e.Transfer.Legs, core.Leg{Account: whole[i].account, Unit: c.text(whole[i].unit), Amount: whole[i].amount})
		}
	}
	c.image = core.AppendEvent(c.image[:0], &e)
	return string(c.image) == string(v[3])
}
