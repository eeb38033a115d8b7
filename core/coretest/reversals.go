package coretest

import (
	"reflect"

	"strata/core"
)

func reversalCases() []fullCase {
	return []fullCase{
		{"a reversal books the opposite", reversesWhole},
		{"a reversal takes a part, never more than is left", reversesPart},
		{"only a booked post or confirm is reversed", reversesOnlyBooked},
		{"a reversal is bound by accounts", reversesBound},
	}
}

func reversesWhole(b *bench) {
	b.accounts(1, 2, 3)
	b.applies(legs(pay("a", 1, 1, 1), 1, -30, 2, 20, 3, 10))
	a := b.applies(ends(core.Reverse, "r", "a"))[0]
	want := []core.Balance{{Account: 1, Seq: 2, Balance: 0, Amount: 30}, {Account: 2, Seq: 2, Balance: 0, Amount: -20}, {Account: 3, Seq: 2, Balance: 0, Amount: -10}}
	if a.Action != core.Reverse || !reflect.DeepEqual(a.Balances, want) {
		b.Fatalf("%+v", a)
	}
	b.gets(ends(core.Reverse, "r", "a"), core.Replayed, "", "")
	b.gets(ends(core.Reverse, "r2", "a"), core.Refused, core.Exceeds, "of")
	b.gets(ends(core.Reverse, "r3", "r"), core.Refused, core.NotFound, "of") // what is reversed wrongly is posted again
}

func reversesPart(b *bench) {
	b.accounts(1, 2, 3)
	b.applies(legs(pay("a", 1, 1, 1), 1, -30, 2, 20, 3, 10))
	part := func(id string, pairs ...int64) core.Transfer { return legs(ends(core.Reverse, id, "a"), pairs...) }
	b.gets(part("r1", 1, 31, 2, -20, 3, -11), core.Refused, core.Exceeds, "legs[0].amount")
	b.gets(part("r2", 1, 5, 2, -5), core.Refused, core.BadTransfer, "legs")
	b.gets(part("r3", 1, 5, 3, -5, 2, 0), core.Refused, core.BadTransfer, "legs[1].account")
	b.gets(part("r4", 1, -5, 2, 5, 3, 0), core.Refused, core.BadTransfer, "legs[0].amount")
	b.gets(part("r5", 1, 5, 2, -4, 3, 0), core.Refused, core.Unbalanced, "legs")
	b.applies(part("r6", 1, 15, 2, -15, 3, 0)) // the fee stays
	b.gets(part("r7", 1, 6, 2, -6, 3, 0), core.Refused, core.Exceeds, "legs[1].amount")
	b.applies(part("r8", 1, 3, 2, 0, 3, -3))
	b.wantBalance(1, -12, 3)
	b.wantBalance(2, 5, 2)
	b.wantBalance(3, 7, 2)
	a := b.applies(ends(core.Reverse, "rest", "a"))[0]
	want := []core.Balance{{Account: 1, Seq: 4, Balance: 0, Amount: 12}, {Account: 2, Seq: 3, Balance: 0, Amount: -5}, {Account: 3, Seq: 3, Balance: 0, Amount: -7}}
	if !reflect.DeepEqual(a.Balances, want) {
		b.Fatalf("%+v", a)
	}
	b.gets(part("r9", 1, 1, 2, -1, 3, 0), core.Refused, core.Exceeds, "legs[0].amount")
}

func reversesOnlyBooked(b *bench) {
	b.accounts(1, 2, 100)
	b.applies(try("t", 1, 2, 5), try("u", 1, 2, 5), ends(core.Cancel, "x", "u"), legs(ends(core.Confirm, "c", "t"), 1, -3, 2, 3))
	b.gets(pay("refused", 100, 1, 5), core.Refused, core.BelowMinimum, "legs[0].amount")
	for _, of := range []string{"t", "u", "x", "refused", "nobody"} {
		b.gets(ends(core.Reverse, "r-"+of, of), core.Refused, core.NotFound, "of")
	}
	b.applies(ends(core.Reverse, "r", "c"))
	b.wantPending(2, 0, 0, 0)
}

func reversesBound(b *bench) {
	b.accounts(1, 2, 100)
	b.put(core.Settings{Limits: []core.Limit{{Name: "day", Scope: "account", Unit: "CNY", Per: "day", MaxAmount: ref(50)}}})
	b.applies(pay("a", 1, 100, 30), pay("spend", 100, 2, 20))
	b.gets(ends(core.Reverse, "r", "a"), core.Refused, core.BelowMinimum, "of")
	b.gets(legs(ends(core.Reverse, "r1", "a"), 1, 11, 100, -11), core.Refused, core.BelowMinimum, "legs[1].amount")
	b.applies(legs(ends(core.Reverse, "r2", "a"), 1, 10, 100, -10))
	b.wantUse(1, "day", 30, 1) // a reversal neither counts nor gives back
	b.wantUse(100, "day", 20, 1)
	if err := b.full.SetState(b.ctx, 2, core.Frozen); err != nil {
		b.Fatal(err)
	}
	b.gets(ends(core.Reverse, "r3", "spend"), core.Refused, core.AccountFrozen, "of")
}
