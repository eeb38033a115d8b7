package across

import (
	"context"
	"fmt"
	"log"
	"sync"
	"testing"
	"time"

	"strata/core"
	"strata/core/memory"
	"strata/local/localtest"
)

// A loan is an account on the debit side: what is owed is its negative balance, and it can't be above 0, since nobody pays
// back more than there is owed. That one rule, checked in the transfer's own transaction, settles every race for the debt.
const (
	loan      = 100 // owes 1000
	wallet    = 1   // the user pays from it
	deduction = 2   // the bank's scheduled deduction arrives here
	collector = 3   // the collector's trust account
	bank      = 9
)

func loanAccounts() []core.Account {
	zero := int64(0)
	return []core.Account{
		{ID: loan, Name: "loan 4711", Unit: "CNY", Side: core.DebitSide, MaxBalance: &zero},
		{ID: wallet, Name: "wallet", Unit: "CNY"}, {ID: deduction, Name: "deduction", Unit: "CNY"},
		{ID: collector, Name: "collector", Unit: "CNY"}, {ID: bank, Name: "bank", Unit: "CNY", Side: core.DebitSide},
	}
}

func move(id, kind string, from, to, amount int64) core.Transfer {
	return core.Transfer{ID: id, Kind: kind, OrderTime: begun(), Legs: []core.Leg{
		{Account: from, Unit: "CNY", Amount: -amount}, {Account: to, Unit: "CNY", Amount: amount}}}
}

// lend pays the loan out and fills the channels' accounts.
func lend(ctx context.Context, l core.Ledger, n int) error {
	_, err := l.Post(ctx, []core.Transfer{move(fmt.Sprint("lend-", n), "lend", loan, wallet, 1000),
		move(fmt.Sprint("in-1-", n), "deposit", bank, deduction, 1000), move(fmt.Sprint("in-2-", n), "deposit", bank, collector, 1000)})
	return err
}

// race lets the three channels repay one debt at the same moment, each by an id of its own, each knowing nothing of the
// others. It returns their answers.
func race(ctx context.Context, ledgers []core.Ledger, n int) (answers [3]core.Answer, err error) {
	var wg sync.WaitGroup
	errs := make([]error, len(answers))
	for i, from := range []int64{wallet, deduction, collector} {
		wg.Go(func() {
			t := move(fmt.Sprintf("repay-%d-%d", from, n), "repay", from, loan, 1000)
			got, err := ledgers[i%len(ledgers)].Post(ctx, []core.Transfer{t})
			if err != nil {
				errs[i] = err
				return
			}
			answers[i] = got[0]
		})
	}
	wg.Wait()
	for _, e := range errs {
		if e != nil {
			err = e
		}
	}
	return answers, err
}

// winners counts who took the money; the others must have been told that there is nothing to pay.
func winners(answers [3]core.Answer) (n int) {
	for _, a := range answers {
		switch {
		case a.Outcome == core.Applied:
			n++
		case a.Outcome != core.Refused || a.Code != core.AboveMaximum:
			return -1
		}
	}
	return n
}

// Three channels race for one debt.
func Example_loan() {
	ctx := context.Background()
	l, err := memory.New(memory.Config{Now: begun})
	if err != nil {
		log.Fatal(err)
	}
	if err := l.Open(ctx, loanAccounts()); err != nil {
		log.Fatal(err)
	}
	if err := lend(ctx, l, 1); err != nil {
		log.Fatal(err)
	}
	answers, err := race(ctx, []core.Ledger{l}, 1)
	if err != nil {
		log.Fatal(err)
	}
	a, err := l.Balance(ctx, loan)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(winners(answers), "channel took the money; owed:", -a.Balance)
	// Output: 1 channel took the money; owed: 0
}

func TestLoan_exactly_one_channel_takes_the_money(t *testing.T) {
	clock := &core.Clock{}
	clock.Set(begun())
	for kind, open := range kinds() {
		t.Run(kind, func(t *testing.T) { loanRaces(t, open(t, clock)) })
	}
	t.Run("three ledgers on one database", func(t *testing.T) { // as three processes would be
		dsn := localtest.Schema(t, localtest.Shared(t))
		loanRaces(t, engine(t, dsn, clock), engine(t, dsn, clock), engine(t, dsn, clock))
	})
}

func loanRaces(t *testing.T, ledgers ...core.Ledger) {
	t.Helper()
	l := ledgers[0]
	if err := l.Open(t.Context(), loanAccounts()); err != nil {
		t.Fatal(err)
	}
	for n := range 20 {
		if err := lend(t.Context(), l, n); err != nil {
			t.Fatal(err)
		}
		first, err := race(t.Context(), ledgers, n)
		if err != nil || winners(first) != 1 {
			t.Fatalf("%+v, %v", first, err)
		}
		again, err := race(t.Context(), ledgers, n) // each channel asks again, as after a crash
		if err != nil {
			t.Fatal(err)
		}
		for i := range again {
			if want := first[i].Again(); again[i].Outcome != want.Outcome || again[i].Code != want.Code {
				t.Fatalf("%+v, and before %+v", again[i], first[i])
			}
		}
		if a, err := l.Balance(t.Context(), loan); err != nil || a.Balance != 0 {
			t.Fatalf("%+v, %v", a, err)
		}
	}
}

// TestLoan_a_channel_that_reserves: the scheduled deduction takes days, so it reserves the debt first. Meanwhile the others
// are refused; when the bank declines, the debt is free again.
func TestLoan_a_channel_that_reserves_keeps_the_others_out(t *testing.T) {
	for kind, open := range kinds() {
		t.Run(kind, func(t *testing.T) {
			clock := &core.Clock{}
			clock.Set(begun())
			l := open(t, clock)
			post := func(x core.Transfer, outcome core.Outcome, code core.Code) {
				t.Helper()
				a, err := l.Post(t.Context(), []core.Transfer{x})
				if err != nil || a[0].Outcome != outcome || a[0].Code != code {
					t.Fatalf("%s: %+v, %v", x.ID, a, err)
				}
			}
			if err := l.Open(t.Context(), loanAccounts()); err != nil {
				t.Fatal(err)
			}
			if err := lend(t.Context(), l, 1); err != nil {
				t.Fatal(err)
			}
			try := move("deduct", "repay", deduction, loan, 1000)
			try.Action, try.Expires = core.Try, begun().Add(72*time.Hour)
			post(try, core.Applied, "")
			post(move("user-1", "repay", wallet, loan, 1000), core.Refused, core.AboveMaximum)
			post(core.Transfer{ID: "declined", Kind: "repay", OrderTime: begun(), Action: core.Cancel, Of: "deduct"}, core.Applied, "")
			post(move("collect-1", "repay", collector, loan, 1000), core.Applied, "")
			post(core.Transfer{ID: "settled", Kind: "repay", OrderTime: begun(), Action: core.Confirm, Of: "deduct"}, core.Refused, core.AlreadyEnded)
			if a, err := l.Balance(t.Context(), loan); err != nil || a.Balance != 0 || a.PendingCredits != 0 {
				t.Fatalf("%+v, %v", a, err)
			}
		})
	}
}
