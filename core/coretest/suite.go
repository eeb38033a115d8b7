// Package coretest holds what every core.Ledger and every core.Full must pass: the sentences of the interfaces' comments and
// every code, each with a subtest of its name, and random workloads that are compared with the model in memory.
package coretest

import (
	"context"
	"fmt"
	"math"
	"reflect"
	"sync"
	"testing"
	"time"

	"strata/core"
	"strata/fault"
)

// Start is the time at which a suite's clock stands when it asks for a ledger.
func Start() time.Time { return time.Date(2026, 5, 17, 10, 0, 0, 0, time.UTC) }

// Open makes an empty, running ledger whose clock is given; it ends with the test.
type Open func(t *testing.T, clock *core.Clock) core.Ledger

// bench is one ledger under test.
type bench struct {
	*testing.T
	core.Ledger
	full  core.Full // nil in Run
	modes []core.Mode
	clock *core.Clock
	ctx   context.Context
}

// Run runs the suite.
func Run(t *testing.T, open Open) {
	for _, c := range []struct {
		name string
		test func(*bench)
	}{
		{"opens accounts once and refuses other ones", opensAccounts},
		{"answers in order, each seeing the balances before it", answersInOrder},
		{"TestL12 same id and body gives the same answer", replays},
		{"TestL12 another body is refused", conflicts},
		{"TestL12 refused stays refused", staysRefused},
		{"TestL12 the same id twice in one call", twiceInOneCall},
		{"TestL8 overflow is refused", overflows},
		{"refuses what is not a transfer", refusesBadTransfers},
		{"refuses by accounts", refusesByAccounts},
		{"refuses what is too old or too early", refusesByTime},
		{"keeps minimum balances", keepsMinimum},
		{"keeps every character of a memo", keepsMemos},
		{"the day moves forward only", cutsDays},
		{"shards are made again harmlessly", ensuresShards},
		{"concurrent calls stay exact", concurrentCalls},
	} {
		t.Run(c.name, func(t *testing.T) {
			clock := &core.Clock{}
			clock.Set(Start())
			c.test(&bench{T: t, Ledger: open(t, clock), clock: clock, ctx: t.Context()})
		})
	}
}

// accounts opens ids in unit CNY; those from 100 on have the minimum 0.
func (b *bench) accounts(ids ...int64) {
	b.Helper()
	zero := int64(0)
	var as []core.Account
	for _, id := range ids {
		a := core.Account{ID: id, Name: fmt.Sprintf("账户 %d", id), Unit: "CNY"}
		if id >= 100 {
			a.MinBalance = &zero
		}
		as = append(as, a)
	}
	if err := b.Open(b.ctx, as); err != nil {
		b.Fatal(err)
	}
}

func (b *bench) post(ts ...core.Transfer) []core.Answer {
	b.Helper()
	out, err := b.Post(b.ctx, ts)
	if err != nil {
		b.Fatal(err)
	}
	if len(out) != len(ts) {
		b.Fatalf("%d answers for %d transfers", len(out), len(ts))
	}
	return out
}

func (b *bench) wantBalance(id, balance, entries int64) {
	b.Helper()
	a, err := b.Balance(b.ctx, id)
	if err != nil {
		b.Fatal(err)
	}
	if a.Balance != balance || a.Entries != entries {
		b.Fatalf("account %d has %d after %d entries instead of %d after %d", id, a.Balance, a.Entries, balance, entries)
	}
}

func (b *bench) wantAnswer(have core.Answer, outcome core.Outcome, code core.Code) {
	b.Helper()
	if have.Outcome != outcome || have.Code != code || (code == "") != (have.Message == "") {
		b.Fatalf("the answer is %+v instead of %s %q", have, outcome, code)
	}
	if booked := outcome == core.Applied || outcome == core.Replayed; (booked && have.Action != core.Cancel) != (len(have.Balances) > 0) {
		b.Fatalf("%s with balances %v", outcome, have.Balances)
	}
}

// pay moves amount from one account to another.
func pay(id string, from, to, amount int64) core.Transfer {
	return core.Transfer{ID: id, Kind: "payment", OrderTime: Start().Add(-time.Minute), Memo: "午餐 🍜",
		Legs: []core.Leg{{Account: from, Unit: "CNY", Amount: -amount}, {Account: to, Unit: "CNY", Amount: amount}}}
}

func opensAccounts(b *bench) {
	b.accounts(1, 100)
	b.accounts(1, 100)
	b.wantBalance(1, 0, 0)
	other := []core.Account{{ID: 7, Name: "x", Unit: "CNY"}, {ID: 1, Name: "account 1", Unit: "USD"}}
	if err := b.Open(b.ctx, other); !fault.Is(err, fault.Conflict) {
		b.Fatalf("another unit: %v", err)
	}
	if _, err := b.Balance(b.ctx, 7); !fault.Is(err, fault.NotFound) {
		b.Fatalf("an account of a call that failed: %v", err)
	}
	if err := b.Open(b.ctx, []core.Account{{ID: 8, Unit: "cny"}}); !fault.Is(err, fault.Invalid) {
		b.Fatalf("a bad unit: %v", err)
	}
	b.post(pay("a", 1, 100, 5))
	b.accounts(1, 100)
	b.wantBalance(100, 5, 1)
}

func answersInOrder(b *bench) {
	b.accounts(1, 100, 101)
	got := b.post(pay("a", 1, 100, 50), pay("b", 100, 101, 60), pay("c", 100, 101, 20))
	b.wantAnswer(got[0], core.Applied, "")
	b.wantAnswer(got[1], core.Refused, core.BelowMinimum)
	want := core.Answer{Outcome: core.Applied, Balances: []core.Balance{{Account: 100, Seq: 2, Balance: 30, Amount: -20},
		{Account: 101, Seq: 1, Balance: 20, Amount: 20}}}
	if !reflect.DeepEqual(got[2], want) {
		b.Fatalf("%+v instead of %+v", got[2], want)
	}
	b.wantBalance(1, -50, 1)
	b.wantBalance(100, 30, 2)
	b.wantBalance(101, 20, 1)
	if out, err := b.Post(b.ctx, nil); err != nil || len(out) != 0 {
		b.Fatalf("no transfers: %v, %v", out, err)
	}
}

func replays(b *bench) {
	b.accounts(1, 2)
	first := b.post(pay("a", 1, 2, 5))[0]
	b.post(pay("b", 1, 2, 7))
	again := b.post(pay("a", 1, 2, 5))[0]
	b.wantAnswer(again, core.Replayed, "")
	if !reflect.DeepEqual(again.Balances, first.Balances) {
		b.Fatalf("%v instead of %v", again.Balances, first.Balances)
	}
	kept, known, err := b.Answer(b.ctx, "a")
	if err != nil || !known || !reflect.DeepEqual(kept, again) {
		b.Fatalf("remembered: %+v, %v, %v", kept, known, err)
	}
	if _, known, err := b.Answer(b.ctx, "nobody"); err != nil || known {
		b.Fatalf("an id that was never posted: %v, %v", known, err)
	}
	b.wantBalance(2, 12, 2)
}

func conflicts(b *bench) {
	b.accounts(1, 2)
	b.post(pay("a", 1, 2, 5))
	for name, change := range map[string]func(*core.Transfer){
		"memo":       func(t *core.Transfer) { t.Memo = "" },
		"kind":       func(t *core.Transfer) { t.Kind = "refund" },
		"order time": func(t *core.Transfer) { t.OrderTime = t.OrderTime.Add(time.Microsecond) },
		"amount":     func(t *core.Transfer) { t.Legs[0].Amount, t.Legs[1].Amount = -6, 6 },
		"account":    func(t *core.Transfer) { t.Legs[1].Account = 1 },
		"invalid":    func(t *core.Transfer) { t.Legs = nil },
	} {
		t := pay("a", 1, 2, 5)
		change(&t)
		if got := b.post(t)[0]; got.Outcome != core.Conflict || got.Code != core.IDConflict {
			b.Fatalf("another %s: %+v", name, got)
		}
	}
	b.wantBalance(2, 5, 1)
}

func staysRefused(b *bench) {
	b.accounts(1, 100, 101)
	first := b.post(pay("a", 100, 101, 5))[0]
	b.wantAnswer(first, core.Refused, core.BelowMinimum)
	b.post(pay("fill", 1, 100, 1000))
	if again := b.post(pay("a", 100, 101, 5))[0]; !reflect.DeepEqual(again, first) {
		b.Fatalf("%+v instead of %+v", again, first)
	}
	b.wantAnswer(b.post(pay("a", 100, 101, 4))[0], core.Conflict, core.IDConflict)
	b.wantBalance(101, 0, 0)
}

func twiceInOneCall(b *bench) {
	b.accounts(1, 100)
	got := b.post(pay("a", 1, 100, 5), pay("a", 1, 100, 5), pay("a", 1, 100, 6), pay("r", 100, 1, 99), pay("r", 100, 1, 99))
	b.wantAnswer(got[0], core.Applied, "")
	b.wantAnswer(got[1], core.Replayed, "")
	b.wantAnswer(got[2], core.Conflict, core.IDConflict)
	b.wantAnswer(got[3], core.Refused, core.BelowMinimum)
	b.wantAnswer(got[4], core.Refused, core.BelowMinimum)
	got = b.post(pay("a", 1, 100, 6), pay("a", 1, 100, 5), pay("a", 1, 100, 6))
	b.wantAnswer(got[0], core.Conflict, core.IDConflict)
	b.wantAnswer(got[1], core.Replayed, "")
	b.wantAnswer(got[2], core.Conflict, core.IDConflict)
	b.wantBalance(100, 5, 1)
}

func overflows(b *bench) {
	b.accounts(1, 2, 3)
	b.wantAnswer(b.post(pay("max", 1, 2, math.MaxInt64))[0], core.Applied, "")
	b.wantAnswer(b.post(pay("one more", 3, 2, 1))[0], core.Refused, core.BadTransfer) // a space in the id
	b.wantAnswer(b.post(pay("more", 3, 2, 1))[0], core.Refused, core.Overflow)
	b.wantAnswer(b.post(pay("less", 1, 3, 2))[0], core.Refused, core.Overflow)
	b.wantBalance(2, math.MaxInt64, 1)
	b.wantBalance(1, -math.MaxInt64, 1)
	b.wantBalance(3, 0, 0)
	wrap := pay("wrap", 1, 2, 1)
	wrap.Legs = []core.Leg{{Account: 3, Unit: "CNY", Amount: math.MaxInt64}, {Account: 3, Unit: "CNY", Amount: math.MaxInt64}, {Account: 3, Unit: "CNY", Amount: 2}, {Account: 3, Unit: "CNY", Amount: math.MinInt64}}
	b.wantAnswer(b.post(wrap)[0], core.Refused, core.Overflow) // sums to zero modulo 2^64 only
}

func refusesBadTransfers(b *bench) {
	b.accounts(1, 2)
	many := make([]core.Leg, core.MaxLegs+2)
	for i := range many {
		many[i] = core.Leg{Account: int64(1 + i%2), Unit: "CNY", Amount: int64(1 - 2*(i%2))}
	}
	long := make([]byte, 256)
	for i := range long {
		long[i] = 'x'
	}
	n := 0
	for _, c := range []struct {
		code   core.Code
		change func(*core.Transfer)
	}{
		{core.BadTransfer, func(t *core.Transfer) { t.ID = "" }},
		{core.BadTransfer, func(t *core.Transfer) { t.ID = "ä" }},
		{core.BadTransfer, func(t *core.Transfer) { t.ID = string(long[:65]) }},
		{core.BadTransfer, func(t *core.Transfer) { t.Kind = "" }},
		{core.BadTransfer, func(t *core.Transfer) { t.Memo = "a\x00b" }},
		{core.BadTransfer, func(t *core.Transfer) { t.Memo = "\xff" }},
		{core.BadTransfer, func(t *core.Transfer) { t.Memo = string(long) }},
		{core.BadTransfer, func(t *core.Transfer) { t.OrderTime = time.Time{} }},
		{core.BadTransfer, func(t *core.Transfer) { t.OrderTime = time.Date(12026, 1, 1, 0, 0, 0, 0, time.UTC) }},
		{core.BadTransfer, func(t *core.Transfer) { t.Legs = nil }},
		{core.BadTransfer, func(t *core.Transfer) { t.Legs = t.Legs[:1] }},
		{core.BadTransfer, func(t *core.Transfer) { t.Legs = many }},
		{core.BadTransfer, func(t *core.Transfer) { t.Legs[0].Amount, t.Legs[1].Amount = 0, 0 }},
		{core.BadTransfer, func(t *core.Transfer) { t.Legs[0].Unit, t.Legs[1].Unit = "", "" }},
		{core.Unbalanced, func(t *core.Transfer) { t.Legs[1].Amount++ }},
		{core.Unbalanced, func(t *core.Transfer) { t.Legs[1].Unit = "USD" }},
	} {
		n++
		t := pay(fmt.Sprintf("bad-%d", n), 1, 2, 5)
		c.change(&t)
		b.wantAnswer(b.post(t)[0], core.Refused, c.code)
		b.wantAnswer(b.post(t)[0], core.Refused, c.code)
	}
	t := pay("many", 1, 2, 1)
	t.Legs = many[:core.MaxLegs]
	b.wantAnswer(b.post(t)[0], core.Applied, "")
	b.wantBalance(1, core.MaxLegs/2, core.MaxLegs/2)
}

func refusesByAccounts(b *bench) {
	b.accounts(1, 2)
	b.wantAnswer(b.post(pay("a", 1, 99, 5))[0], core.Refused, core.UnknownAccount)
	t := pay("b", 1, 2, 5)
	t.Legs[0].Unit, t.Legs[1].Unit = "USD", "USD"
	b.wantAnswer(b.post(t)[0], core.Refused, core.UnitMismatch)
	b.accounts(99)
	b.wantAnswer(b.post(pay("a", 1, 99, 5))[0], core.Refused, core.UnknownAccount)
	b.wantAnswer(b.post(pay("c", 1, 99, 5))[0], core.Applied, "")
}

func refusesByTime(b *bench) {
	b.accounts(1, 2)
	order := func(id string, at time.Time) core.Transfer {
		t := pay(id, 1, 2, 1)
		t.OrderTime = at
		return t
	}
	oldest := Start().Add(-core.DefaultHorizon)
	b.wantAnswer(b.post(order("edge", oldest))[0], core.Applied, "")
	b.wantAnswer(b.post(order("old", oldest.Add(-time.Microsecond)))[0], core.Refused, core.TooOld)
	b.wantAnswer(b.post(order("early", Start().Add(core.Ahead+time.Second)))[0], core.Refused, core.TooEarly)
	b.clock.Set(Start().Add(time.Hour))
	b.wantAnswer(b.post(order("edge", oldest))[0], core.Replayed, "")
	b.wantAnswer(b.post(order("early", Start().Add(core.Ahead+time.Second)))[0], core.Refused, core.TooEarly)
}

func keepsMinimum(b *bench) {
	b.accounts(1, 100)
	b.post(pay("a", 1, 100, 10))
	b.wantAnswer(b.post(pay("b", 100, 1, 10))[0], core.Applied, "")
	b.wantAnswer(b.post(pay("c", 100, 1, 1))[0], core.Refused, core.BelowMinimum)
	through := pay("d", 100, 1, 5) // passes below, ends at the minimum
	through.Legs = append(through.Legs, core.Leg{Account: 1, Unit: "CNY", Amount: -5}, core.Leg{Account: 100, Unit: "CNY", Amount: 5})
	b.wantAnswer(b.post(through)[0], core.Applied, "")
	b.wantBalance(100, 0, 4)
}

func keepsMemos(b *bench) {
	b.accounts(1, 2)
	for i, memo := range []string{"", "'", `\`, `\'`, `"`, "a'b\\c\"d%_;--", "退款 🎁 ❤️", "\n\r\t\x1a", "  x  "} {
		t := pay(fmt.Sprintf(`q'"\%d`, i), 1, 2, 1)
		t.Memo, t.Kind = memo, `k'"\`
		b.wantAnswer(b.post(t)[0], core.Applied, "")
		b.wantAnswer(b.post(t)[0], core.Replayed, "")
	}
}

func cutsDays(b *bench) {
	day, err := b.Day(b.ctx)
	if err != nil || !day.Equal(core.Date(Start())) {
		b.Fatalf("first day: %v, %v", day, err)
	}
	next := day.AddDate(0, 0, 3)
	for range 2 {
		if err := b.CutDay(b.ctx, next.Add(5*time.Hour)); err != nil {
			b.Fatal(err)
		}
	}
	if err := b.CutDay(b.ctx, day); !fault.Is(err, fault.Invalid) {
		b.Fatalf("an earlier day: %v", err)
	}
	if got, err := b.Day(b.ctx); err != nil || !got.Equal(next) {
		b.Fatalf("after the cut: %v, %v", got, err)
	}
}

func ensuresShards(b *bench) {
	for range 2 {
		if err := b.EnsureShards(b.ctx, Start().AddDate(0, -2, 0), Start().AddDate(0, 1, 0)); err != nil {
			b.Fatal(err)
		}
	}
	if err := b.EnsureShards(b.ctx, Start(), Start()); !fault.Is(err, fault.Invalid) {
		b.Fatalf("an empty range: %v", err)
	}
	b.accounts(1, 2)
	b.wantAnswer(b.post(pay("a", 1, 2, 1))[0], core.Applied, "")
}

func concurrentCalls(b *bench) {
	b.accounts(1, 2, 3)
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			for i := range 10 {
				t := pay(fmt.Sprintf("w%d-%d", w, i), 1, int64(2+i%2), 1)
				if a, err := b.Post(b.ctx, []core.Transfer{t, pay(fmt.Sprintf("shared-%d", i), 1, 2, 1)}); err != nil || a[0].Outcome != core.Applied {
					b.Errorf("%+v, %v", a, err)
				}
			}
		})
	}
	wg.Wait()
	b.wantBalance(1, -90, 90)
	b.wantBalance(2, 50, 50)
	b.wantBalance(3, 40, 40)
}
