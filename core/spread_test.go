package core_test

import (
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"strata/core"
)

// spreadWorld is an account over places beside one that is not spread: what one answers, the other one has to answer.
type spreadWorld struct {
	rt     *rapid.T
	plain  *core.Account
	places []*core.Account // inner ones, then the own row
	bank   [2]*core.Account
	n      int
}

// TestL8_a_spread_account_is_one_account: whichever of its places are locked, it pays and refuses as one row would, and its
// places sum to that row.
func TestL8_a_spread_account_is_one_account(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		var low *int64
		if rapid.Bool().Draw(rt, "bounded") {
			n := rapid.SampledFrom([]int64{-60, 0, 25}).Draw(rt, "minimum")
			low = &n
		}
		w := &spreadWorld{rt: rt, plain: &core.Account{ID: 1, Unit: "CNY", MinBalance: low}}
		for i := range rapid.Int64Range(2, 4).Draw(rt, "inner") {
			w.places = append(w.places, &core.Account{ID: i - 70, Unit: "CNY", Parent: 1})
		}
		w.places = append(w.places, &core.Account{ID: 1, Unit: "CNY", MinBalance: low, Mode: core.SubAccounts})
		for i := range w.bank {
			w.bank[i] = &core.Account{ID: 2, Unit: "CNY"}
		}
		for range rapid.IntRange(1, 40).Draw(rt, "transfers") {
			w.post()
		}
	})
}

// draw draws a Post or a Try of one to three legs on the account.
func (w *spreadWorld) draw() *core.Transfer {
	w.n++
	x := &core.Transfer{ID: fmt.Sprint("t", w.n), Kind: "k", OrderTime: time.Unix(1_700_000_000, 0)}
	if rapid.IntRange(0, 4).Draw(w.rt, "action") == 0 {
		x.Action = core.Try
	}
	sum := int64(0)
	for range rapid.IntRange(1, 3).Draw(w.rt, "legs") {
		amount := rapid.SampledFrom([]int64{-40, -13, -7, -1, 5, 12, 30, 50}).Draw(w.rt, "amount")
		x.Legs = append(x.Legs, core.Leg{Account: 1, Unit: "CNY", Amount: amount})
		sum += amount
	}
	if sum == 0 {
		x.Legs = append(x.Legs, core.Leg{Account: 1, Unit: "CNY", Amount: 1})
		sum = 1
	}
	x.Legs = append(x.Legs, core.Leg{Account: 2, Unit: "CNY", Amount: -sum})
	return x
}

func (w *spreadWorld) batch(bank *core.Account, own *core.Account) *core.Batch {
	return &core.Batch{Now: time.Unix(1_700_000_000, 0), Horizon: time.Hour, Accounts: map[int64]*core.Account{1: own, 2: bank},
		Reservations: map[string]*core.Reservation{}}
}

func (w *spreadWorld) post() {
	x := w.draw()
	want := w.batch(w.bank[0], w.plain).Apply([]*core.Transfer{x})[0]
	sp := &core.Spread{All: rapid.IntRange(0, 3).Draw(w.rt, "all") == 0}
	own := w.places[len(w.places)-1]
	for _, p := range w.places {
		if sp.All || p == own && x.Action == core.Try || rapid.Bool().Draw(w.rt, "locked") {
			sp.Places = append(sp.Places, p)
		}
	}
	b := w.batch(w.bank[1], own)
	b.Spreads = map[int64]*core.Spread{1: sp}
	got := b.Apply([]*core.Transfer{x})[0]
	if got.Outcome == core.Failed {
		if sp.All || !b.Changes.Wanted[1] {
			w.rt.Fatalf("%+v is wanted", b.Changes.Wanted)
		}
		b = w.batch(w.bank[1], own)
		b.Spreads = map[int64]*core.Spread{1: {Places: w.places, All: true}}
		got = b.Apply([]*core.Transfer{x})[0]
	}
	if got.Outcome != want.Outcome || got.Code != want.Code || got.Field != want.Field || len(got.Balances) != len(want.Balances) {
		w.rt.Fatalf("%+v\nspread: %+v\nplain:  %+v", x, got, want)
	}
	var balance, pending, below, sums int64
	for _, p := range w.places {
		balance, pending, below = balance+p.Balance, pending+p.PendingDebits, below+min(0, p.Available())
		if p.Balance != p.Credits-p.Debits {
			w.rt.Fatalf("%+v", p)
		}
	}
	if balance != w.plain.Balance || pending != w.plain.PendingDebits {
		w.rt.Fatalf("%d, %d pending, instead of %+v", balance, pending, w.plain)
	}
	if low := w.plain.MinBalance; low != nil && *low <= 0 && below < *low {
		w.rt.Fatalf("places are %d below 0, at a minimum of %d", below, *low)
	}
	for _, e := range b.Changes.Entries {
		sums += e.Amount
	}
	if moves := len(b.Changes.Moves); sums != 0 || moves > 0 && got.Outcome != core.Applied {
		w.rt.Fatalf("entries sum to %d, %d moves of what is %s", sums, moves, got.Outcome)
	}
}
