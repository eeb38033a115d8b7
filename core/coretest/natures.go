package coretest

import (
	"reflect"

	"strata/core"
)

func natureCases() []fullCase {
	return []fullCase{
		{"credits have a nature, debits spend in the strategy's order", naturesSpend},
		{"a nature pays for its operations and products only", naturesRestrict},
		{"a split balance inherits what its payers spent", naturesInherit},
		{"a reversal brings natures back where they came from", naturesReverse},
		{"what brings money for refunds only is taken back by its reversal", naturesRefundOnly},
		{"a try reserves natures, a part of them is confirmed", naturesReserve},
		{"unknown natures and strategies are refused", naturesUnknown},
		{"several payers get back what each spent", naturesSeveralPayers},
	}
}

// wallets has accounts 1 (not split), 11, 12, 13 (wallet), 21 (shop).
func (b *bench) wallets() {
	b.Helper()
	accounts := []core.Account{{ID: 1, Unit: "CNY"}, {ID: 2, Unit: "CNY"}, {ID: 21, Unit: "CNY", Strategy: "shop"}}
	for id := int64(11); id < 14; id++ {
		accounts = append(accounts, core.Account{ID: id, Unit: "CNY", Strategy: "wallet"})
	}
	if err := b.Open(b.ctx, accounts); err != nil {
		b.Fatal(err)
	}
	b.put(core.Settings{Strategies: strategies()})
}

func strategies() []core.Strategy {
	return []core.Strategy{
		{Name: "wallet", Default: "cash", Natures: []core.NatureRule{{Name: "bonus", Kinds: []string{"payment"}}, {Name: "card", Kinds: []string{"payment"}, Products: []string{"book"}},
			{Name: "cash"}, {Name: "refund", RefundOnly: true}}},
		{Name: "shop", Default: "sales", Natures: []core.NatureRule{{Name: "sales"}, {Name: "cash"}, {Name: "bonus"}}},
	}
}

// fund credits an account from account 1 with natures: nature, amount, …
func (b *bench) fund(id string, account int64, parts ...any) {
	b.Helper()
	t := legs(pay(id, 1, 1, 1))
	for i := 0; i < len(parts); i += 2 {
		amount := int64(parts[i+1].(int))
		t.Legs = append(t.Legs, core.Leg{Account: 1, Unit: "CNY", Amount: -amount}, core.Leg{Account: account, Unit: "CNY", Amount: amount, Nature: parts[i].(string)})
	}
	b.applies(t)
}

func naturesSpend(b *bench) {
	b.wallets()
	b.fund("f", 11, "cash", 50, "bonus", 20, "", 5)
	b.wantFunds(11, "bonus", 20, 0, "cash", 55, 0)
	a := b.applies(pay("a", 11, 1, 30))[0]
	want := []core.Part{{Nature: "bonus", Amount: -20}, {Nature: "cash", Amount: -10}}
	if !reflect.DeepEqual(a.Balances[0].Parts, want) || a.Balances[1].Parts != nil {
		b.Fatalf("%+v", a)
	}
	b.wantFunds(11, "cash", 45, 0)
	if kept, _, err := b.Answer(b.ctx, "a"); err != nil || !reflect.DeepEqual(kept.Balances, a.Balances) {
		b.Fatalf("%+v, %v", kept, err)
	}
	b.gets(pay("b", 11, 1, 46), core.Refused, core.BelowMinimum, "legs[0].amount")
	b.gets(legs(pay("c", 1, 1, 1), 11, -50, 1, 40, 11, 10), core.Refused, core.BelowMinimum, "legs[0].amount") // a split balance pays from what it had
	b.applies(legs(pay("d", 1, 1, 1), 11, -45, 1, 40, 11, 5))
	b.wantFunds(11, "cash", 5, 0)
}

func naturesRestrict(b *bench) {
	b.wallets()
	b.fund("f", 11, "bonus", 20, "card", 30, "cash", 10)
	withdraw := pay("w", 11, 1, 11)
	withdraw.Kind = "withdraw"
	b.gets(withdraw, core.Refused, core.NatureRefused, "legs[0].amount")
	withdraw.ID, withdraw.Legs[0].Amount, withdraw.Legs[1].Amount = "w2", -10, 10
	b.applies(withdraw)
	b.gets(pay("p", 11, 1, 21), core.Refused, core.NatureRefused, "legs[0].amount")
	book := pay("book", 11, 1, 41)
	book.Product = "book"
	b.applies(book)
	b.wantFunds(11, "card", 9, 0)
}

func naturesInherit(b *bench) {
	b.wallets()
	b.fund("f", 11, "bonus", 20, "cash", 30)
	b.applies(pay("a", 11, 12, 30))
	b.wantFunds(11, "cash", 20, 0)
	b.wantFunds(12, "bonus", 20, 0, "cash", 10, 0)
	// In the order of the legs: 12 spends bonus and cash, 1 is not split.
	b.applies(legs(pay("b", 1, 1, 1), 13, 25, 12, -30, 1, -10, 2, 10, 21, 5))
	b.wantFunds(13, "bonus", 20, 0, "cash", 5, 0)
	b.wantFunds(21, "sales", 5, 0)
	b.fund("g", 12, "card", 10)
	book := pay("c", 12, 21, 10)
	book.Product = "book"
	b.gets(book, core.Refused, core.UnknownNature, "legs[1].nature") // a shop has no cards
	b.wantFunds(12, "card", 10, 0)
}

func naturesReverse(b *bench) {
	b.wallets()
	b.fund("f", 11, "bonus", 30, "cash", 70)
	b.applies(legs(pay("a", 1, 1, 1), 11, -100, 1, 50, 12, 50)) // account 1 got bonus and cash, 12 cash
	b.wantFunds(12, "cash", 50, 0)
	part := func(id string, pairs ...int64) core.Transfer { return legs(ends(core.Reverse, id, "a"), pairs...) }
	b.applies(part("r1", 11, 50, 1, 0, 12, -50))
	b.wantFunds(12)
	b.wantFunds(11, "cash", 50, 0)
	b.applies(part("r2", 11, 20, 1, -20, 12, 0))
	b.wantFunds(11, "bonus", 20, 0, "cash", 50, 0)
	b.applies(part("r3", 11, 15, 1, -15, 12, 0))
	b.wantFunds(11, "bonus", 30, 0, "cash", 55, 0)
	b.applies(ends(core.Reverse, "r4", "a"))
	b.wantFunds(11, "bonus", 30, 0, "cash", 70, 0)
}

func naturesRefundOnly(b *bench) {
	b.wallets()
	b.fund("f", 11, "cash", 10, "refund", 30)
	b.gets(pay("a", 11, 1, 11), core.Refused, core.NatureRefused, "legs[0].amount")
	b.applies(pay("b", 11, 1, 10))
	part := legs(ends(core.Reverse, "r1", "f"), 1, 0, 11, 0, 1, 12, 11, -12)
	b.applies(part)
	b.wantFunds(11, "refund", 18, 0)
	b.gets(ends(core.Reverse, "r2", "f"), core.Refused, core.BelowMinimum, "of") // its cash is gone
	b.fund("g", 11, "bonus", 100)
	b.gets(ends(core.Reverse, "r3", "f"), core.Refused, core.NatureRefused, "of")
	b.fund("h", 11, "cash", 10)
	b.applies(ends(core.Reverse, "r4", "f"))
	b.wantFunds(11, "bonus", 100, 0)
}

func naturesReserve(b *bench) {
	b.wallets()
	b.fund("f", 11, "bonus", 20, "cash", 30)
	a := b.applies(try("t", 11, 12, 30))[0]
	if want := []core.Part{{Nature: "bonus", Amount: -20}, {Nature: "cash", Amount: -10}}; !reflect.DeepEqual(a.Balances[0].Parts, want) {
		b.Fatalf("%+v", a)
	}
	b.wantFunds(11, "bonus", 20, 20, "cash", 30, 10)
	b.gets(pay("over", 11, 1, 21), core.Refused, core.BelowMinimum, "legs[0].amount")
	b.applies(pay("cash", 11, 1, 5))
	b.applies(legs(ends(core.Confirm, "c", "t"), 11, -25, 12, 25)) // what would have been spent first
	b.wantFunds(11, "cash", 20, 0)
	b.wantFunds(12, "bonus", 20, 0, "cash", 5, 0)
	b.applies(try("u", 11, 12, 20), ends(core.Cancel, "x", "u"))
	b.wantFunds(11, "cash", 20, 0)
	b.applies(try("v", 12, 11, 25))
	b.wantFunds(12, "bonus", 20, 20, "cash", 5, 5)
	b.put(core.Settings{}) // what was reserved can be ended without its strategy
	b.applies(ends(core.Confirm, "d", "v"))
	b.wantFunds(11, "bonus", 20, 0, "cash", 25, 0)
	b.gets(pay("none", 11, 1, 1), core.Refused, core.UnknownNature, "legs[0].account")
	b.gets(pay("none2", 1, 11, 1), core.Refused, core.UnknownNature, "legs[1].account")
}

func naturesUnknown(b *bench) {
	b.wallets()
	named := func(id string, to int64, nature string) core.Transfer {
		t := pay(id, 1, to, 5)
		t.Legs[1].Nature = nature
		return t
	}
	b.gets(named("a", 11, "gold"), core.Refused, core.UnknownNature, "legs[1].nature")
	b.gets(named("b", 2, "cash"), core.Refused, core.UnknownNature, "legs[1].nature") // account 2 is not split
	b.gets(do(core.Try, "", named("c", 11, "gold")), core.Refused, core.UnknownNature, "legs[1].nature")
	b.applies(named("d", 11, "bonus"))
	b.wantFunds(11, "bonus", 5, 0)
}

func naturesSeveralPayers(b *bench) {
	b.wallets()
	b.fund("f1", 11, "cash", 50)
	b.fund("f2", 12, "bonus", 50)
	b.applies(legs(pay("a", 1, 1, 1), 11, -50, 12, -50, 1, -10, 13, 100, 2, 10))
	b.wantFunds(13, "bonus", 50, 0, "cash", 50, 0)
	b.applies(ends(core.Reverse, "r", "a"))
	b.wantFunds(11, "cash", 50, 0)
	b.wantFunds(12, "bonus", 50, 0)
	b.wantFunds(13)
	// Each gets back what it spent, also in parts: 11 has bonus 30 and cash 20 in it, 12 bonus 20 and cash 30.
	b.applies(pay("out1", 11, 1, 50), pay("out2", 12, 1, 50))
	b.fund("f3", 11, "bonus", 30, "cash", 20)
	b.fund("f4", 12, "bonus", 20, "cash", 30)
	b.applies(legs(pay("b", 1, 1, 1), 11, -50, 12, -50, 13, 100))
	b.wantFunds(13, "bonus", 50, 0, "cash", 50, 0)
	b.applies(legs(ends(core.Reverse, "b1", "b"), 11, 30, 12, 0, 13, -30))
	b.wantFunds(11, "bonus", 30, 0)
	b.applies(legs(ends(core.Reverse, "b2", "b"), 11, 20, 12, 20, 13, -40))
	b.wantFunds(11, "bonus", 30, 0, "cash", 20, 0)
	b.wantFunds(12, "bonus", 20, 0)
	b.applies(ends(core.Reverse, "b3", "b"))
	b.wantFunds(12, "bonus", 20, 0, "cash", 30, 0)
}
