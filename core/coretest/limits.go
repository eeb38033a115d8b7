package coretest

import (
	"fmt"
	"math"
	"sync"
	"sync/atomic"

	"strata/core"
)

func limitCases() []fullCase {
	return []fullCase{
		{"a limit per transfer", limitsTransfer},
		{"a limit per day and month, of the accounting date", limitsDay},
		{"limits of account, tenant, operation, ledger", limitsScopes},
		{"a try counts, and gives back what is not confirmed", limitsReservations},
		{"a limit holds at its edge under concurrency", limitsEdge},
		{"a switch turns an operation off", switches},
	}
}

// limit is in CNY.
func limit(name, scope, match, per string, amount, count *int64, kinds ...string) core.Limit {
	return core.Limit{Name: name, Scope: scope, Match: match, Per: per, Unit: "CNY", MaxAmount: amount, MaxCount: count, Kinds: kinds}
}

func limitsTransfer(b *bench) {
	b.accounts(1, 2, 3)
	b.put(core.Settings{Limits: []core.Limit{limit("l", "account", "1", "transfer", ref(100), nil)}})
	b.applies(pay("a", 1, 2, 100), pay("b", 2, 1, 500))
	b.gets(pay("c", 1, 2, 101), core.Refused, core.LimitExceeded, "legs[0].amount")
	b.gets(legs(pay("d", 1, 2, 1), 2, -1, 1, -60, 3, 102, 1, -41), core.Refused, core.LimitExceeded, "legs[1].amount") // debits add up
	b.gets(try("e", 1, 2, 101), core.Refused, core.LimitExceeded, "legs[0].amount")
}

func limitsDay(b *bench) {
	b.accounts(1, 2)
	b.put(core.Settings{Limits: []core.Limit{limit("day", "account", "", "day", ref(100), ref(3)), limit("month", "account", "", "month", ref(150), nil)}})
	b.applies(pay("a", 1, 2, 40), pay("b", 1, 2, 40))
	b.gets(pay("c", 1, 2, 21), core.Refused, core.LimitExceeded, "legs[0].amount")
	b.wantUse(1, "day", 80, 2)
	b.applies(pay("d", 1, 2, 20))
	b.gets(pay("d", 1, 2, 20), core.Replayed, "", "") // counts once
	b.wantUse(1, "day", 100, 3)
	b.gets(pay("e", 1, 2, 1), core.Refused, core.LimitExceeded, "legs[0].amount")
	b.wantUse(2, "day", 0, 0)
	if err := b.CutDay(b.ctx, core.Date(Start()).AddDate(0, 0, 1)); err != nil {
		b.Fatal(err)
	}
	b.wantUse(1, "day", 0, 0)
	b.applies(pay("f", 1, 2, 50))
	b.gets(pay("g", 1, 2, 1), core.Refused, core.LimitExceeded, "legs[0].amount") // the month
	if err := b.CutDay(b.ctx, core.Date(Start()).AddDate(0, 1, 0)); err != nil {
		b.Fatal(err)
	}
	b.applies(pay("h", 1, 2, 1), pay("i", 1, 2, 1), pay("j", 1, 2, 1))
	b.gets(pay("k", 1, 2, 1), core.Refused, core.LimitExceeded, "legs[0].amount") // the count
}

func limitsScopes(b *bench) {
	b.accounts(1, 2, 3)
	dollars := []core.Account{{ID: 7, Unit: "USD"}, {ID: 8, Unit: "USD"}}
	if err := b.Open(b.ctx, dollars); err != nil {
		b.Fatal(err)
	}
	b.put(core.Settings{Limits: []core.Limit{limit("tenant", "tenant", "", "day", ref(10), nil), limit("shop", "tenant", "shop", "day", ref(5), nil),
		limit("op", "operation", "withdraw", "day", ref(20), nil), limit("all", "ledger", "", "day", ref(1000), nil, "withdraw", "payment"),
		limit("kind", "account", "3", "day", ref(1), nil, "withdraw")}})
	n := 0
	as := func(tenant, kind string, from, amount int64) core.Transfer {
		n++
		t := pay(fmt.Sprintf("t%d", n), from, 2, amount)
		t.Tenant, t.Kind = tenant, kind
		return t
	}
	b.gets(as("shop", "payment", 1, 6), core.Refused, core.LimitExceeded, "")
	b.applies(as("shop", "payment", 1, 5), as("other", "payment", 1, 10), as("", "payment", 1, 500))
	b.gets(as("other", "payment", 1, 1), core.Refused, core.LimitExceeded, "")
	b.applies(as("", "withdraw", 1, 20))
	b.gets(as("", "withdraw", 1, 1), core.Refused, core.LimitExceeded, "")
	b.applies(as("", "payment", 3, 400), as("", "free", 1, 100_000))
	b.gets(as("", "payment", 3, 66), core.Refused, core.LimitExceeded, "") // 935 are used
	b.applies(as("", "payment", 3, 65))
	usd := as("shop", "payment", 1, 1)
	usd.Legs = []core.Leg{{Account: 7, Unit: "USD", Amount: -1000}, {Account: 8, Unit: "USD", Amount: 1000}}
	b.applies(usd) // another unit is not counted
	none := b.put(core.Settings{})
	if len(none.Settings.Limits) != 0 {
		b.Fatalf("%+v", none)
	}
	b.applies(as("shop", "withdraw", 3, 10_000))
}

func limitsReservations(b *bench) {
	b.accounts(1, 2)
	b.put(core.Settings{Limits: []core.Limit{limit("day", "account", "", "day", ref(100), ref(9))}})
	lapsing := try("lapsing", 1, 2, 5)
	lapsing.Expires = Start().Add(1e9)
	b.applies(try("t", 1, 2, 60), try("u", 1, 2, 30), lapsing)
	b.wantUse(1, "day", 95, 3)
	b.gets(pay("over", 1, 2, 6), core.Refused, core.LimitExceeded, "legs[0].amount")
	b.applies(legs(ends(core.Confirm, "c", "t"), 1, -20, 2, 20))
	b.wantUse(1, "day", 55, 3)
	b.applies(ends(core.Cancel, "x", "u"))
	b.wantUse(1, "day", 25, 2)
	b.later(1e9)
	if n, err := b.full.ExpireReservations(b.ctx, 5); n != 1 || err != nil {
		b.Fatal(n, err)
	}
	b.wantUse(1, "day", 20, 1)
	// What a limit did not count is not given back to it: it came after the try.
	b.applies(try("v", 1, 2, 10))
	b.put(core.Settings{Limits: []core.Limit{limit("new", "account", "", "day", ref(100), nil), limit("day", "account", "", "day", ref(100), nil)}})
	b.applies(pay("w", 1, 2, 3), ends(core.Cancel, "y", "v"))
	b.wantUse(1, "new", 3, 1)
	b.wantUse(1, "day", 23, 2)
	// The period is the try's.
	b.applies(try("z", 1, 2, 7))
	if err := b.CutDay(b.ctx, core.Date(Start()).AddDate(0, 0, 1)); err != nil {
		b.Fatal(err)
	}
	b.applies(pay("today", 1, 2, 9), ends(core.Cancel, "zx", "z"))
	b.wantUse(1, "day", 9, 1)
}

func limitsEdge(b *bench) {
	b.accounts(1, 2)
	b.put(core.Settings{Limits: []core.Limit{limit("day", "account", "1", "day", ref(10), nil)}})
	var applied atomic.Int64
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			for i := range 5 {
				a, err := b.Post(b.ctx, []core.Transfer{pay(fmt.Sprintf("w%d-%d", w, i), 1, 2, 1)})
				switch {
				case err != nil:
					b.Error(err)
				case a[0].Outcome == core.Applied:
					applied.Add(1)
				case a[0].Code != core.LimitExceeded:
					b.Errorf("%+v", a[0])
				}
			}
		})
	}
	wg.Wait()
	if applied.Load() != 10 {
		b.Fatalf("%d were applied", applied.Load())
	}
	b.wantBalance(2, 10, 10)
	b.wantUse(1, "day", 10, 10)
	b.accounts(3, 4, 5, 6)
	b.put(core.Settings{Limits: []core.Limit{limit("big", "ledger", "", "day", nil, ref(5))}})
	b.applies(pay("half", 1, 2, math.MaxInt64/2), pay("half2", 3, 4, math.MaxInt64/2))
	b.gets(pay("more", 5, 6, 2), core.Refused, core.Overflow, "") // what the limit counts does not fit
}

func switches(b *bench) {
	b.accounts(1, 2, 3)
	b.applies(pay("old", 1, 2, 9), try("t", 1, 2, 9), try("u", 1, 2, 9))
	of := func(id, kind, tenant string, from int64) core.Transfer {
		t := pay(id, from, 2, 1)
		t.Kind, t.Tenant = kind, tenant
		return t
	}
	b.put(core.Settings{Off: []core.Switch{{Operation: "withdraw"}, {Operation: "payment", Tenant: "shop"}, {Operation: "*", Account: 3}}})
	b.gets(of("a", "withdraw", "", 1), core.Refused, core.SwitchedOff, "kind")
	b.gets(of("b", "payment", "shop", 1), core.Refused, core.SwitchedOff, "kind")
	b.gets(of("c", "any", "", 3), core.Refused, core.SwitchedOff, "kind")
	b.gets(do(core.Try, "", of("d", "withdraw", "", 1)), core.Refused, core.SwitchedOff, "kind")
	b.applies(of("e", "payment", "other", 1), of("f", "any", "shop", 1))
	b.put(core.Settings{Off: []core.Switch{{Operation: "*"}}})
	b.gets(of("g", "any", "", 1), core.Refused, core.SwitchedOff, "kind")
	b.gets(ends(core.Reverse, "r", "old"), core.Refused, core.SwitchedOff, "kind")
	b.applies(ends(core.Confirm, "c1", "t"), ends(core.Cancel, "c2", "u")) // what was reserved may be ended
	b.put(core.Settings{})
	b.gets(of("g", "any", "", 1), core.Refused, core.SwitchedOff, "kind") // refused stays refused
	b.applies(of("h", "any", "", 1))
}
