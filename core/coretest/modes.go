package coretest

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"

	"strata/core"
	"strata/fault"
)

func modeCases() []fullCase {
	return []fullCase{
		{"modes are switched and shown", switchesModes},
		{"an account looks the same in every mode", sameInEveryMode},
		{"modes are switched under load", switchesUnderLoad},
		{"a buffered account's money can be spent at once", spendsBuffered},
		{"large credits fit in every mode", largeCredits},
	}
}

// each runs do once per mode that the ledger has.
func (b *bench) each(do func(mode core.Mode, inner int, first int64)) {
	if len(b.modes) == 0 {
		b.Skip("it has real_time only")
	}
	for i, mode := range b.modes {
		inner := 0
		if mode == core.SubAccounts {
			inner = 4
		}
		do(mode, inner, int64(1000*(i+1)))
	}
}

func (b *bench) mode(id int64, mode core.Mode, inner int) {
	b.Helper()
	if err := b.full.SwitchMode(b.ctx, id, mode, inner); err != nil {
		b.Fatal(err)
	}
}

func switchesModes(b *bench) {
	b.each(func(mode core.Mode, inner int, first int64) {
		b.accounts(first)
		for range 2 {
			b.mode(first, mode, inner)
		}
		a, err := b.Balance(b.ctx, first)
		if err != nil || a.Mode != mode {
			b.Fatalf("%+v, %v", a, err)
		}
		b.mode(first, core.RealTime, 0)
		b.wantFault(b.full.SwitchMode(b.ctx, first+999, mode, inner), fault.NotFound, "an account that is not there")
		if mode == core.SubAccounts {
			for _, bad := range []int{1, 65} {
				b.wantFault(b.full.SwitchMode(b.ctx, first, mode, bad), fault.Invalid, "a bad number of inner accounts")
			}
		}
	})
	b.accounts(1)
	b.wantFault(b.full.SwitchMode(b.ctx, 1, core.Simple+1, 0), fault.Invalid, "an unknown mode")
}

func sameInEveryMode(b *bench) {
	b.each(func(mode core.Mode, inner int, first int64) {
		hot, other := first, first/1000 // other has no minimum
		b.accounts(other, hot)
		b.mode(hot, mode, inner)
		id := func(s string) string { return fmt.Sprintf("%s-%s", s, mode) }
		b.applies(pay(id("a"), other, hot, 50), pay(id("b"), other, hot, 7))
		b.gets(pay(id("a"), other, hot, 50), core.Replayed, "", "")
		b.wantPending(hot, 57, 0, 0)
		b.gets(pay(id("c"), hot, other, 58), core.Refused, core.BelowMinimum, "legs[0].amount")
		b.applies(pay(id("d"), hot, other, 57), try(id("t"), other, hot, 9), ends(core.Confirm, id("e"), id("t")), try(id("u"), hot, other, 4))
		b.wantPending(hot, 9, 4, 0)
		b.gets(pay(id("f"), hot, other, 6), core.Refused, core.BelowMinimum, "legs[0].amount")
		b.applies(ends(core.Cancel, id("x"), id("u")), ends(core.Reverse, id("r"), id("e")))
		b.wantPending(hot, 0, 0, 0)
		b.applies(pay(id("g"), other, hot, 5))
		b.state(hot, core.Frozen)
		b.gets(pay(id("h"), other, hot, 5), core.Refused, core.AccountFrozen, "legs[1].account")
		b.wantFault(b.full.SetState(b.ctx, hot, core.Closed), fault.Conflict, "a balance")
		b.mode(hot, core.RealTime, 0)
		b.wantPending(hot, 5, 0, 0)
		a, err := b.Balance(b.ctx, hot)
		if err != nil || a.Buffered != 0 || a.State != core.Frozen || a.Entries == 0 {
			b.Fatalf("%+v, %v", a, err)
		}
	})
}

// switchesUnderLoad: no cent is lost or made while an account is posted to from all sides and switched about.
func switchesUnderLoad(b *bench) {
	b.each(func(mode core.Mode, inner int, first int64) {
		hot, first := first, first/1000 // first has no minimum
		b.accounts(first, hot)
		ctx, stop := context.WithCancel(b.ctx)
		defer stop()
		var in, out atomic.Int64
		var wg sync.WaitGroup
		for w := range 4 {
			wg.Go(func() {
				for i := 0; ctx.Err() == nil; i++ {
					credit, debit := pay(fmt.Sprintf("%s-c%d-%d", mode, w, i), first, hot, 3), pay(fmt.Sprintf("%s-d%d-%d", mode, w, i), hot, first, 2)
					got, err := b.Post(b.ctx, []core.Transfer{credit, debit})
					if err != nil || got[0].Outcome != core.Applied || got[1].Outcome != core.Applied && got[1].Code != core.BelowMinimum {
						b.Errorf("%+v, %v", got, err)
						return
					}
					in.Add(3)
					if got[1].Outcome == core.Applied {
						out.Add(2)
					}
				}
			})
		}
		for range 4 {
			b.mode(hot, mode, inner)
			b.mode(hot, core.RealTime, 0)
		}
		b.mode(hot, mode, inner)
		stop()
		wg.Wait()
		b.wantPending(hot, in.Load()-out.Load(), 0, 0)
		b.mode(hot, core.RealTime, 0)
		b.wantPending(hot, in.Load()-out.Load(), 0, 0)
	})
}

func spendsBuffered(b *bench) {
	b.wallets()
	b.each(func(mode core.Mode, inner int, first int64) {
		if mode == core.SubAccounts {
			return // a balance that is split by nature is not spread
		}
		id := func(s string) string { return fmt.Sprintf("%s-%s", s, mode) }
		wallet := first + 1
		if err := b.Open(b.ctx, []core.Account{{ID: wallet, Unit: "CNY", Strategy: "wallet"}}); err != nil {
			b.Fatal(err)
		}
		b.mode(wallet, mode, inner)
		b.fund(id("f"), wallet, "cash", 10)
		b.fund(id("g"), wallet, "bonus", 5)
		b.wantFunds(wallet, "bonus", 5, 0, "cash", 10, 0)
		got := b.applies(pay(id("h"), 1, wallet, 4), pay(id("p"), wallet, 2, 8))
		if have := fmt.Sprint(got[1].Balances[0].Parts); have != "[{bonus -5} {cash -3}]" {
			b.Fatalf("it spends %s", have)
		}
		b.wantFunds(wallet, "cash", 11, 0)
		b.mode(wallet, core.RealTime, 0)
		b.wantFunds(wallet, "cash", 11, 0)
	})
}

// largeCredits: what nobody can take back must fit when it is merged.
func largeCredits(b *bench) {
	b.each(func(mode core.Mode, inner int, first int64) {
		id := func(s string) string { return fmt.Sprintf("%s-%s", s, mode) }
		b.accounts(first, first/1000)
		b.mode(first, mode, inner)
		b.applies(pay(id("a"), first/1000, first, 7), pay(id("b"), first/1000, first, 1<<50), pay(id("c"), first, first/1000, 1<<50+6))
		b.wantPending(first, 1, 0, 0)
		got := b.post(pay(id("d"), first/1000, first, 1<<62), pay(id("e"), first/1000, first, 1<<62), pay(id("f"), first/1000, first, 1<<40))
		for _, a := range got { // an account with less room may refuse earlier, never wrap
			if a.Outcome != core.Applied && a.Code != core.Overflow {
				b.Fatalf("%+v", a)
			}
		}
		a, err := b.Balance(b.ctx, first)
		if err != nil || a.Balance < 1 {
			b.Fatalf("%+v, %v", a, err)
		}
		b.mode(first, core.RealTime, 0)
		b.wantPending(first, a.Balance, 0, 0)
	})
}
