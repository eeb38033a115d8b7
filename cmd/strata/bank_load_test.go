package main

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"time"

	"strata/core"
)

// The accounts of a bank. Users, their points and the accounts with a mode have the minimum 0.
const (
	vault    = 1   // no bounds; pays everybody in
	mint     = 2   // the same, for points
	payer    = 100 // to 115
	merchant = 200 // to 203: no bounds
	hot      = 210 // 211: hot, with the minimum 0
	moded    = 220 // to 223: buffered, sub_accounts, simple, simple
	points   = 300 // to 315
	users    = 16
	nobody   = 999 // there is none
	purse    = 5_000
)

// open opens the accounts and pays in.
func (b *bank) open() {
	b.t.Helper()
	var list []map[string]any
	add := func(id int64, unit string, bounded bool) {
		a := map[string]any{"id": fmt.Sprint(id), "name": fmt.Sprint("account ", id), "unit": unit}
		if bounded {
			a["min_balance"] = "0"
		}
		list = append(list, a)
	}
	add(vault, "CNY", false)
	add(mint, "POINT", false)
	funding := core.Transfer{ID: "funding", Kind: "deposit", OrderTime: b.order}
	pay := func(from, to, amount int64, unit string) {
		funding.Legs = append(funding.Legs, core.Leg{Account: from, Unit: unit, Amount: -amount}, core.Leg{Account: to, Unit: unit, Amount: amount})
	}
	for i := range int64(users) {
		add(payer+i, "CNY", true)
		add(points+i, "POINT", true)
		pay(vault, payer+i, purse, "CNY")
		pay(mint, points+i, 1000, "POINT")
	}
	for i := range int64(4) {
		add(merchant+i, "CNY", false)
	}
	add(hot, "CNY", false)
	for _, id := range []int64{hot + 1, moded, moded + 1, moded + 2, moded + 3} {
		add(id, "CNY", true)
		pay(vault, id, purse, "CNY")
	}
	body, err := json.Marshal(list)
	if err != nil {
		b.t.Fatal(err)
	}
	b.insist(http.MethodPost, "/v1/accounts", string(body), 200)
	b.units = len(list)
	if r := b.post(b.random(0), funding); r == nil || !r[0].booked() {
		b.t.Fatalf("%+v", r)
	}
}

// switchMode switches; the same again does nothing, so it may be asked until it is answered.
func (b *bank) switchMode(id int64, mode string) {
	body := fmt.Sprintf(`{"mode":%q}`, mode)
	if mode == "sub_accounts" {
		body = `{"mode":"sub_accounts","inner":4}`
	}
	b.insist(http.MethodPatch, fmt.Sprint("/v1/accounts/", id), body, 200)
}

// switchAll puts the accounts that are there for it into a mode each.
func (b *bank) switchAll() {
	for i, mode := range []string{"buffered", "sub_accounts", "simple", "simple"} {
		b.switchMode(moded+int64(i), mode)
	}
}

// clerk is one client with a seed of its own. It sends one request after the other.
type clerk struct {
	*rand.Rand
	b      *bank
	name   string
	n      int
	trys   []core.Transfer // applied, and not ended by it
	booked []core.Transfer // posts and confirms, with their legs
	old    []core.Transfer // all that it sent
}

func (b *bank) clerk(name string) *clerk {
	return &clerk{Rand: b.random(uint64(len(name))<<32 + hash(name)), b: b, name: name}
}

func hash(s string) (h uint64) {
	for _, c := range []byte(s) {
		h = h*131 + uint64(c)
	}
	return h
}

func (c *clerk) next(kind string) core.Transfer {
	c.n++
	return core.Transfer{ID: fmt.Sprintf("%s-%d", c.name, c.n), Kind: kind, OrderTime: c.b.order.Add(-time.Duration(c.IntN(3600)) * time.Second)}
}

func (c *clerk) user() int64 { return payer + c.Int64N(users) }

// payee is often a hot account, and sometimes one with a mode.
func (c *clerk) payee() int64 {
	return []int64{hot, hot, hot + 1, merchant + c.Int64N(4), moded + c.Int64N(4), moded + c.Int64N(4), c.user(), vault}[c.IntN(8)]
}

func leg(account int64, unit string, amount int64) core.Leg {
	return core.Leg{Account: account, Unit: unit, Amount: amount}
}

// pay moves an amount from one to another.
func (c *clerk) pay(kind string, from, to, amount int64) core.Transfer {
	t := c.next(kind)
	t.Legs = []core.Leg{leg(from, "CNY", -amount), leg(to, "CNY", amount)}
	return t
}

func (c *clerk) payment() core.Transfer {
	if c.IntN(8) == 0 { // between simple accounts only, which goes beside the lanes where it is alone
		k := c.Int64N(2)
		return c.pay("payment", moded+2+k, moded+3-k, 1+c.Int64N(900))
	}
	from, to := c.user(), c.payee()
	for from == to {
		to = c.payee()
	}
	if c.IntN(4) == 0 {
		from, to = to, from
	}
	t := c.pay("payment", from, to, 1+c.Int64N(900))
	if c.IntN(5) == 0 { // with a fee, and points
		fee := min(3, -t.Legs[0].Amount-1)
		if fee > 0 {
			t.Legs[1].Amount -= fee
			t.Legs = append(t.Legs, leg(merchant, "CNY", fee), leg(mint, "POINT", -5), leg(points+c.Int64N(users), "POINT", 5))
		}
	}
	if c.IntN(8) == 0 {
		t.Tenant, t.Order, t.Memo = "shop", fmt.Sprint("order ", c.n)[:5]+fmt.Sprint(c.n%7), "höflich \"bezahlt\""
	}
	return t
}

// bad is a transfer that is refused.
func (c *clerk) bad() core.Transfer {
	t := c.payment()
	switch c.IntN(4) {
	case 0:
		t.Legs[0].Amount--
	case 1:
		t.Legs[1].Account = nobody
	case 2:
		t = c.pay("payment", c.user(), hot, 10*purse*users)
	default:
		t.Legs[0].Unit, t.Legs[1].Unit = "POINT", "POINT"
		t.Legs = t.Legs[:2]
		t.Legs[0].Amount = -t.Legs[1].Amount
	}
	return t
}

// end confirms, whole or in part, or cancels one of its trys.
func (c *clerk) end() core.Transfer {
	i := c.IntN(len(c.trys))
	try := c.trys[i]
	c.trys = slices.Delete(c.trys, i, i+1)
	t := c.next(try.Kind)
	t.Of = try.ID
	if c.IntN(3) == 0 {
		t.Action = core.Cancel
		return t
	}
	t.Action = core.Confirm
	if c.IntN(2) == 0 && len(try.Legs) == 2 {
		t.Legs = part(c.Rand, try.Legs, 1)
	}
	return t
}

// part is legs of two with another, smaller amount.
func part(r *rand.Rand, legs []core.Leg, sign int64) []core.Leg {
	x := 1 + r.Int64N(max(legs[1].Amount, -legs[1].Amount))
	if legs[1].Amount < 0 {
		x = -x
	}
	return []core.Leg{leg(legs[0].Account, legs[0].Unit, -x*sign), leg(legs[1].Account, legs[1].Unit, x*sign)}
}

// reversal reverses one of its posts or confirms, whole or in part; what is more than is left is refused.
func (c *clerk) reversal() core.Transfer {
	of := c.booked[c.IntN(len(c.booked))]
	t := c.next("refund")
	t.Action, t.Of = core.Reverse, of.ID
	if c.IntN(2) == 0 && len(of.Legs) == 2 {
		t.Legs = part(c.Rand, of.Legs, -1)
	}
	return t
}

// one is the next transfer of any kind.
func (c *clerk) one() core.Transfer {
	switch k := c.IntN(20); {
	case k < 3:
		t := c.payment()
		t.Action = core.Try
		if c.IntN(4) == 0 {
			t.Expires = c.b.order.Add(time.Minute + time.Duration(c.IntN(20))*time.Second)
		}
		return t
	case k < 7 && len(c.trys) > 0:
		return c.end()
	case k < 9 && len(c.booked) > 0:
		return c.reversal()
	case k == 9:
		return c.bad()
	}
	return c.payment()
}

// request is what one request posts: one transfer, a few, a chain, or what was sent before.
func (c *clerk) request() []core.Transfer {
	switch k := c.IntN(10); {
	case k == 0 && len(c.old) > 0:
		return []core.Transfer{c.old[c.IntN(len(c.old))]}
	case k == 1:
		chain := make([]core.Transfer, 2+c.IntN(3))
		for i := range chain {
			if chain[i] = c.payment(); c.IntN(8) == 0 {
				chain[i] = c.bad()
			}
			chain[i].Linked = i < len(chain)-1
		}
		return chain
	case k < 4:
		batch := make([]core.Transfer, 2+c.IntN(12))
		for i := range batch {
			batch[i] = c.one()
		}
		return batch
	}
	return []core.Transfer{c.one()}
}

// work sends requests until stop is closed.
func (c *clerk) work(stop <-chan struct{}) {
	for {
		select {
		case <-stop:
			return
		default:
		}
		if c.b.t.Failed() {
			return
		}
		c.send(c.request())
	}
}

func (c *clerk) send(call []core.Transfer) []reply {
	replies := c.b.post(c.Rand, call...)
	for i, r := range replies {
		t := call[i]
		fresh := !slices.ContainsFunc(c.old, func(o core.Transfer) bool { return o.ID == t.ID })
		if len(call) == 1 && !fresh {
			continue
		}
		c.old = append(c.old, t)
		switch {
		case !r.booked():
		case t.Action == core.Try:
			c.trys = append(c.trys, t)
		case t.Action == core.Post || t.Action == core.Confirm && len(t.Legs) > 0:
			c.booked = append(c.booked, t)
		}
	}
	if i := slices.IndexFunc(replies, func(r reply) bool { return r.Code == string(core.LinkedFailed) }); i >= 0 {
		for _, r := range replies[:min(len(replies), len(call))] {
			if call[i].Linked && r.booked() {
				c.b.t.Errorf("%s was booked, and another one of its chain was not: %+v", r.ID, replies)
			}
		}
	}
	return replies
}

// load runs clerks beside f and waits for their last answers.
func (b *bank) load(clerks int, name string, f func()) []*clerk {
	stop := make(chan struct{})
	var wg sync.WaitGroup
	var all []*clerk
	for i := range clerks {
		c := b.clerk(fmt.Sprintf("%s%d", name, i))
		all = append(all, c)
		wg.Go(func() { c.work(stop) })
	}
	func() {
		defer wg.Wait()
		defer close(stop)
		f()
	}()
	return all
}

// more waits for so many further answers; without them within the limit the test fails.
func (b *bank) more(answers int64) {
	b.t.Helper()
	until := b.book.answers.Load() + answers
	if !b.await(runLimit, func() bool { return b.book.answers.Load() >= until || b.t.Failed() }) {
		b.t.Fatalf("no %d further answers within %s; %s", answers, runLimit, b.book.counts())
	}
}
