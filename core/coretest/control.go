package coretest

import (
	"context"
	"fmt"
	"math"
	"reflect"
	"strings"
	"sync"

	"strata/core"
	"strata/fault"
)

func controlCases() []fullCase {
	return []fullCase{
		{"accounts keep what they were opened with", opensWhole},
		{"a frozen account lets through what was reserved only", freezes},
		{"a closed account is empty and stays closed", closes},
		{"bounds hold what is posted, and change", bounds},
		{"balances and what is pending fit 64 bits", pendingOverflow},
		{"a standing has account, funds and uses", standings},
		{"accounts are listed by id", listsAccounts},
		{"an account is frozen under load", freezesUnderLoad},
	}
}

func opensWhole(b *bench) {
	whole := core.Account{ID: 5, Name: "账户", Tenant: "shop", Unit: "POINT", Side: core.DebitSide, MinBalance: ref(-5), MaxBalance: ref(7), Strategy: "s", Metadata: `{"a": 1}`}
	given := whole
	given.State, given.Mode, given.Balance, given.Entries, given.Credits, given.PendingDebits = core.Closed, core.Buffered, 9, 9, 9, 9
	for range 2 {
		if err := b.Open(b.ctx, []core.Account{given}); err != nil {
			b.Fatal(err)
		}
	}
	have, err := b.Balance(b.ctx, 5)
	if whole.OpenedAt = Start(); err != nil || !have.OpenedAt.Equal(Start()) {
		b.Fatalf("%+v, %v", have, err)
	}
	if have.OpenedAt = whole.OpenedAt; !reflect.DeepEqual(have, whole) {
		b.Fatalf("%+v instead of %+v", have, whole)
	}
	for name, change := range map[string]func(*core.Account){
		"tenant": func(a *core.Account) { a.Tenant = "" }, "side": func(a *core.Account) { a.Side = core.CreditSide },
		"minimum": func(a *core.Account) { a.MinBalance = nil }, "maximum": func(a *core.Account) { a.MaxBalance = ref(8) },
		"strategy": func(a *core.Account) { a.Strategy = "t" }, "metadata": func(a *core.Account) { a.Metadata = "" },
	} {
		other := whole
		change(&other)
		b.wantFault(b.Open(b.ctx, []core.Account{other}), fault.Conflict, "another "+name)
	}
	for name, change := range map[string]func(*core.Account){
		"id": func(a *core.Account) { a.ID = 0 }, "inner id": func(a *core.Account) { a.ID = -1 }, "tenant": func(a *core.Account) { a.Tenant = "a b" },
		"metadata": func(a *core.Account) { a.Metadata = "1" }, "bounds": func(a *core.Account) { a.MinBalance = ref(9) },
		"strategy": func(a *core.Account) { a.Strategy = strings.Repeat("s", 33) }, "name": func(a *core.Account) { a.Name = "\x00" },
	} {
		other := whole
		other.ID = 6
		change(&other)
		b.wantFault(b.Open(b.ctx, []core.Account{other}), fault.Invalid, "a bad "+name)
	}
}

func (b *bench) state(id int64, s core.State) {
	b.Helper()
	if err := b.full.SetState(b.ctx, id, s); err != nil {
		b.Fatal(err)
	}
}

func freezes(b *bench) {
	b.accounts(1, 2, 3)
	b.applies(pay("a", 1, 2, 50), try("t", 2, 3, 10), try("u", 2, 3, 10))
	b.state(2, core.Frozen)
	b.state(2, core.Frozen)
	b.gets(pay("b", 2, 1, 1), core.Refused, core.AccountFrozen, "legs[0].account")
	b.gets(pay("c", 1, 2, 1), core.Refused, core.AccountFrozen, "legs[1].account")
	b.gets(try("d", 2, 1, 1), core.Refused, core.AccountFrozen, "legs[0].account")
	b.gets(ends(core.Reverse, "r", "a"), core.Refused, core.AccountFrozen, "of")
	b.applies(ends(core.Confirm, "e", "t"), ends(core.Cancel, "f", "u"))
	b.wantPending(2, 40, 0, 0)
	b.state(2, core.Open)
	b.gets(pay("b", 2, 1, 1), core.Refused, core.AccountFrozen, "legs[0].account") // refused stays refused
	b.applies(pay("g", 2, 1, 1))
	b.wantFault(b.full.SetState(b.ctx, 99, core.Frozen), fault.NotFound, "an account that is not there")
}

func closes(b *bench) {
	b.accounts(1, 2, 3)
	b.applies(pay("a", 1, 2, 50))
	b.wantFault(b.full.SetState(b.ctx, 2, core.Closed), fault.Conflict, "a balance")
	b.applies(pay("b", 2, 1, 50), try("t", 1, 2, 5))
	b.wantFault(b.full.SetState(b.ctx, 2, core.Closed), fault.Conflict, "a pending credit")
	b.applies(ends(core.Cancel, "x", "t"), try("u", 2, 1, 5))
	b.wantFault(b.full.SetState(b.ctx, 2, core.Closed), fault.Conflict, "a pending debit")
	b.applies(ends(core.Cancel, "y", "u"))
	b.state(2, core.Frozen)
	b.state(2, core.Closed)
	b.state(2, core.Closed)
	b.gets(pay("c", 1, 2, 1), core.Refused, core.AccountClosed, "legs[1].account")
	b.gets(ends(core.Reverse, "r", "b"), core.Refused, core.AccountClosed, "of")
	for _, s := range []core.State{core.Open, core.Frozen} {
		b.wantFault(b.full.SetState(b.ctx, 2, s), fault.Conflict, "a closed account")
	}
	a, err := b.Balance(b.ctx, 2)
	if err != nil || a.State != core.Closed {
		b.Fatalf("%+v, %v", a, err)
	}
}

func bounds(b *bench) {
	b.accounts(1, 2)
	if err := b.full.SetBounds(b.ctx, 2, ref(10), ref(100)); err != nil {
		b.Fatal(err)
	}
	b.applies(pay("a", 1, 2, 5)) // below already, and not further
	b.gets(pay("b", 2, 1, 1), core.Refused, core.BelowMinimum, "legs[0].amount")
	b.applies(pay("c", 1, 2, 90))
	b.gets(pay("d", 1, 2, 6), core.Refused, core.AboveMaximum, "legs[1].amount")
	b.applies(try("t", 1, 2, 3))
	b.gets(pay("e", 1, 2, 3), core.Refused, core.AboveMaximum, "legs[1].amount") // what is reserved needs its room
	b.gets(try("u", 1, 2, 3), core.Refused, core.AboveMaximum, "legs[1].amount")
	b.applies(pay("f", 1, 2, 2), legs(pay("through", 1, 1, 1), 1, -50, 2, 50, 2, -50, 1, 50))
	if err := b.full.SetBounds(b.ctx, 2, nil, ref(20)); err != nil {
		b.Fatal(err)
	}
	b.gets(pay("g", 1, 2, 1), core.Refused, core.AboveMaximum, "legs[1].amount")
	b.applies(pay("h", 2, 1, 40), ends(core.Confirm, "i", "t")) // above already; what was reserved is booked
	b.wantPending(2, 60, 0, 0)
	b.wantFault(b.full.SetBounds(b.ctx, 2, ref(2), ref(1)), fault.Invalid, "no room")
	b.wantFault(b.full.SetBounds(b.ctx, 99, nil, nil), fault.NotFound, "an account that is not there")
}

func pendingOverflow(b *bench) {
	b.accounts(1, 2, 3, 4)
	b.applies(pay("a", 1, 2, math.MaxInt64-10), try("t", 3, 2, 5))
	b.gets(try("u", 3, 2, 6), core.Refused, core.Overflow, "legs[1].amount")
	b.gets(pay("b", 3, 2, 6), core.Refused, core.Overflow, "legs[1].amount") // the reservation could not be confirmed
	b.applies(pay("c", 3, 2, 5), ends(core.Confirm, "d", "t"))
	b.wantPending(2, math.MaxInt64, 0, 0)
	b.applies(pay("e", 2, 4, math.MaxInt64))
	b.gets(pay("f", 4, 2, 1), core.Refused, core.Overflow, "legs[1].amount") // what was credited in all
	b.gets(legs(pay("g", 1, 1, 1), 1, math.MaxInt64, 3, -math.MaxInt64, 1, 1, 3, -1), core.Refused, core.Overflow, "legs[2].amount")
}

func standings(b *bench) {
	b.wallets()
	b.put(core.Settings{Strategies: strategies(), Limits: []core.Limit{limit("day", "account", "", "day", ref(100), nil), limit("month", "account", "", "month", ref(100), nil),
		limit("all", "ledger", "", "day", ref(1000), nil)}})
	b.fund("f", 11, "cash", 9, "bonus", 3)
	b.applies(pay("a", 11, 2, 1))
	s := b.standing(11)
	uses := []core.Use{{Limit: "day", Subject: "11", Period: "2026-05-17", Amount: 1, Count: 1}, {Limit: "month", Subject: "11", Period: "2026-05", Amount: 1, Count: 1}}
	if s.Account.Balance != 11 || s.Account.Entries != 3 || !s.Day.Equal(core.Date(Start())) || !reflect.DeepEqual(s.Uses, uses) {
		b.Fatalf("%+v", s)
	}
	b.wantFunds(11, "bonus", 2, 0, "cash", 9, 0)
	_, err := b.full.Standing(b.ctx, 99)
	b.wantFault(err, fault.NotFound, "an account that is not there")
}

func listsAccounts(b *bench) {
	b.accounts(5, 1, 100)
	b.applies(pay("a", 1, 100, 5))
	var have []int64
	for after := int64(0); ; {
		page, err := b.full.List(b.ctx, after, 2)
		if err != nil {
			b.Fatal(err)
		}
		if len(page) == 0 {
			break
		}
		for _, a := range page {
			have, after = append(have, a.ID), a.ID
			if one, err := b.Balance(b.ctx, a.ID); err != nil || !reflect.DeepEqual(one, a) {
				b.Fatalf("%+v instead of %+v (%v)", a, one, err)
			}
		}
	}
	if !reflect.DeepEqual(have, []int64{1, 5, 100}) {
		b.Fatalf("%v", have)
	}
}

// freezesUnderLoad: what is posted after SetState has returned sees it.
func freezesUnderLoad(b *bench) {
	b.accounts(1, 2)
	ctx, stop := context.WithCancel(b.ctx)
	defer stop()
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				a, err := b.Post(b.ctx, []core.Transfer{pay(fmt.Sprintf("w%d-%d", w, i), 1, 2, 1)})
				if err != nil || a[0].Code != "" && a[0].Code != core.AccountFrozen {
					b.Errorf("%+v, %v", a, err)
					return
				}
			}
		})
	}
	for i := range 5 {
		b.state(2, core.Frozen)
		before, err := b.Balance(b.ctx, 2)
		if err != nil {
			b.Fatal(err)
		}
		b.gets(pay(fmt.Sprintf("frozen-%d", i), 1, 2, 1), core.Refused, core.AccountFrozen, "legs[1].account")
		after, err := b.Balance(b.ctx, 2)
		if err != nil || before.Balance != after.Balance {
			b.Errorf("a frozen account went from %d to %d (%v)", before.Balance, after.Balance, err)
		}
		b.state(2, core.Open)
		b.applies(pay(fmt.Sprintf("open-%d", i), 1, 2, 1))
	}
	stop()
	wg.Wait()
}
