package coretest

import (
	"fmt"
	"testing"
	"time"

	"strata/core"
	"strata/fault"
)

// OpenFull makes an empty, running ledger whose clock is given; it ends with the test. Where it has a method
// Feed(consumer string) core.Feed, it keeps events for core.ForVouchers.
type OpenFull func(t *testing.T, clock *core.Clock) core.Full

// RunFull runs the suite of Full, Run's in it. modes are the posting modes that the ledger can switch to.
func RunFull(t *testing.T, open OpenFull, modes ...core.Mode) {
	Run(t, func(t *testing.T, clock *core.Clock) core.Ledger { return open(t, clock) })
	var cases []fullCase
	for _, more := range [][]fullCase{reservationCases(), chainCases(), reversalCases(), limitCases(), natureCases(), controlCases(), tuningCases(), modeCases()} {
		cases = append(cases, more...)
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			clock := &core.Clock{}
			clock.Set(Start())
			l := open(t, clock)
			c.test(&bench{T: t, Ledger: l, full: l, modes: modes, clock: clock, ctx: t.Context()})
		})
	}
}

type fullCase struct {
	name string
	test func(*bench)
}

// do gives the transfer another action.
func do(action core.Action, of string, t core.Transfer) core.Transfer {
	t.Action, t.Of = action, of
	return t
}

// ends is a Confirm, Cancel or Reverse of the whole.
func ends(action core.Action, id, of string) core.Transfer {
	t := pay(id, 1, 1, 1)
	t.Legs = nil
	return do(action, of, t)
}

func try(id string, from, to, amount int64) core.Transfer {
	return do(core.Try, "", pay(id, from, to, amount))
}

// legs replaces the legs: account, amount, account, amount, … in CNY.
func legs(t core.Transfer, pairs ...int64) core.Transfer {
	t.Legs = nil
	for i := 0; i < len(pairs); i += 2 {
		t.Legs = append(t.Legs, core.Leg{Account: pairs[i], Unit: "CNY", Amount: pairs[i+1]})
	}
	return t
}

// link binds all but the last.
func link(ts ...core.Transfer) []core.Transfer {
	for i := range ts[:len(ts)-1] {
		ts[i].Linked = true
	}
	return ts
}

// gets posts one transfer and looks at the answer: outcome, code, field.
func (b *bench) gets(t core.Transfer, outcome core.Outcome, code core.Code, field string) core.Answer {
	b.Helper()
	a := b.post(t)[0]
	b.wantAnswer(a, outcome, code)
	if a.Field != field {
		b.Fatalf("the answer names %q instead of %q: %+v", a.Field, field, a)
	}
	return a
}

func (b *bench) applies(ts ...core.Transfer) []core.Answer {
	b.Helper()
	out := b.post(ts...)
	for _, a := range out {
		b.wantAnswer(a, core.Applied, "")
	}
	return out
}

// wantPending looks at an account: balance, pending debits, pending credits.
func (b *bench) wantPending(id, balance, debits, credits int64) {
	b.Helper()
	a, err := b.Balance(b.ctx, id)
	if err != nil || a.Balance != balance || a.PendingDebits != debits || a.PendingCredits != credits {
		b.Fatalf("account %d has %d, %d and %d pending, instead of %d, %d and %d (%v)", id, a.Balance, a.PendingDebits, a.PendingCredits,
			balance, debits, credits, err)
	}
	if a.Balance != a.Credits-a.Debits {
		b.Fatalf("account %d: %d is not %d - %d", id, a.Balance, a.Credits, a.Debits)
	}
}

// put puts settings in force.
func (b *bench) put(s core.Settings) core.Version {
	b.Helper()
	now, err := b.full.Settings(b.ctx)
	if err != nil {
		b.Fatal(err)
	}
	v, err := b.full.PutSettings(b.ctx, now.Number, s, "ops", "a test")
	if err != nil {
		b.Fatal(err)
	}
	return v
}

func (b *bench) standing(id int64) core.Standing {
	b.Helper()
	s, err := b.full.Standing(b.ctx, id)
	if err != nil {
		b.Fatal(err)
	}
	return s
}

// wantUse looks at what an account's limit of the day has counted.
func (b *bench) wantUse(id int64, limit string, amount, count int64) {
	b.Helper()
	var have core.Use
	for _, u := range b.standing(id).Uses {
		if u.Limit == limit {
			have = u
		}
	}
	if have.Amount != amount || have.Count != count {
		b.Fatalf("limit %s of account %d counts %d in %d instead of %d in %d", limit, id, have.Amount, have.Count, amount, count)
	}
}

// wantFunds looks at an account's funds: nature, balance, pending, …
func (b *bench) wantFunds(id int64, want ...any) {
	b.Helper()
	s := b.standing(id)
	var have []any
	total := int64(0)
	for _, f := range s.Funds {
		have = append(have, f.Nature, int(f.Balance), int(f.Pending))
		total += f.Balance
	}
	if fmt.Sprintln(have...) != fmt.Sprintln(want...) || total != s.Account.Balance {
		b.Fatalf("account %d has %v instead of %v; its balance is %d", id, have, want, s.Account.Balance)
	}
}

func (b *bench) wantFault(err error, kind fault.Kind, what string) {
	b.Helper()
	if !fault.Is(err, kind) {
		b.Fatalf("%s: %v", what, err)
	}
}

func (b *bench) later(d time.Duration) { b.clock.Set(b.clock.Now().Add(d)) }

func ref(n int64) *int64 { return &n }
