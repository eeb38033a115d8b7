package core_test

import (
	"fmt"
	"math"
	"testing"
	"time"

	"strata/core"
)

// edge is a Batch over accounts 1 to 9 of one unit, without bounds.
func edge() *core.Batch {
	at := time.Date(2026, 5, 17, 10, 0, 0, 0, time.UTC)
	b := &core.Batch{Day: core.Date(at), Now: at, Horizon: core.DefaultHorizon, Accounts: map[int64]*core.Account{}}
	for id := int64(1); id <= 9; id++ {
		b.Accounts[id] = &core.Account{ID: id, Unit: "CNY"}
	}
	return b
}

func edgeMove(b *core.Batch, id string, action core.Action, from, to, amount int64) *core.Transfer {
	return &core.Transfer{ID: id, Kind: "k", OrderTime: b.Now, Action: action, Legs: []core.Leg{
		{Account: from, Unit: "CNY", Amount: -amount}, {Account: to, Unit: "CNY", Amount: amount}}}
}

func edgeEnd(b *core.Batch, id string, action core.Action, of string) *core.Transfer {
	return &core.Transfer{ID: id, Kind: "k", OrderTime: b.Now, Action: action, Of: of}
}

// wantCodes applies the transfers one by one, all asked for at once, and compares the codes.
func wantCodes(t *testing.T, b *core.Batch, ts []*core.Transfer, codes ...core.Code) {
	t.Helper()
	b.Needs(ts)
	for i, x := range ts {
		a := b.Apply([]*core.Transfer{x})[0]
		if want := codes[i]; a.Code != want || (a.Outcome == core.Applied) != (want == "") {
			t.Fatalf("%s: %+v instead of %q", x.ID, a, want)
		}
	}
}

// TestL12_a_confirm_has_room: whatever comes between a Try and its Confirm, sums of 64 bits do not stand in its way.
func TestL12_a_confirm_has_room(t *testing.T) {
	const most = math.MaxInt64
	for name, c := range map[string]struct {
		prepare  func(b *core.Batch)
		from, to int64 // of the try of 10
		between  [2]int64
		amount   int64
		try      core.Code
		second   core.Code
	}{
		"credits have turned over": {func(b *core.Batch) {
			b.Accounts[2].Credits, b.Accounts[2].Debits = most-20, most-20
		}, 1, 2, [2]int64{3, 2}, 11, "", core.Overflow},
		"debits have turned over": {func(b *core.Batch) {
			b.Accounts[2].Credits, b.Accounts[2].Debits = most-20, most-20
		}, 2, 1, [2]int64{2, 3}, 11, "", core.Overflow},
		"the balance is high": {func(b *core.Batch) {
			b.Accounts[2].Balance = most - 20
		}, 1, 2, [2]int64{3, 2}, 11, "", core.Overflow},
		"the balance is low": {func(b *core.Batch) {
			b.Accounts[2].Balance = -most + 20
		}, 2, 1, [2]int64{2, 3}, 12, "", core.Overflow},
		"exactly what is left": {func(b *core.Batch) {
			b.Accounts[2].Credits = most - 20
		}, 1, 2, [2]int64{3, 2}, 10, "", ""},
		"no room for the try": {func(b *core.Batch) {
			b.Accounts[2].Credits = most - 9
		}, 1, 2, [2]int64{3, 2}, 9, core.Overflow, ""},
		"buffered, with more than its half": {func(b *core.Batch) {
			b.Accounts[2].Mode, b.Accounts[2].Credits = core.Buffered, 1<<62-9
		}, 1, 2, [2]int64{3, 2}, 9, core.Overflow, ""},
		"buffered, with its half": {func(b *core.Batch) {
			b.Accounts[2].Mode, b.Accounts[2].Balance = core.Buffered, 1<<62-10
		}, 1, 2, [2]int64{2, 3}, 11, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			b := edge()
			c.prepare(b)
			confirmed := core.Code("")
			if c.try != "" {
				confirmed = core.NotFound
			}
			wantCodes(t, b, []*core.Transfer{edgeMove(b, "try", core.Try, c.from, c.to, 10), edgeMove(b, "between", core.Post, c.between[0], c.between[1], c.amount),
				edgeEnd(b, "confirm", core.Confirm, "try")}, c.try, c.second, confirmed)
		})
	}
}

// TestL12_a_confirm_has_room_when_a_buffer_was_merged: what waited in the buffer is booked first, and fills the room.
func TestL12_a_confirm_has_room_when_a_buffer_was_merged(t *testing.T) {
	b := edge()
	a := b.Accounts[2]
	a.Mode, a.Balance, a.Credits = core.Buffered, 1<<62-10, 1<<62-10
	wantCodes(t, b, []*core.Transfer{edgeMove(b, "try", core.Try, 1, 2, 10)}, "")
	a.Buffered = 1 << 40
	if no := b.Merge(2, []core.Entry{{Account: 2, Transfer: "waited", Unit: "CNY", Amount: 1 << 40}}); no != nil {
		t.Fatalf("%+v", no)
	}
	wantCodes(t, b, []*core.Transfer{edgeEnd(b, "confirm", core.Confirm, "try")}, "")
	if a.Balance != 1<<62+1<<40 || a.PendingCredits != 0 {
		t.Fatalf("%+v", a)
	}
}

// TestL12_nothing_of_a_refused_chain_can_be_reversed, though its first transfer was applied for a moment.
func TestL12_nothing_of_a_refused_chain_can_be_reversed(t *testing.T) {
	b := edge()
	first, second := edgeMove(b, "first", core.Post, 1, 2, 10), edgeMove(b, "second", core.Post, 1, 77, 10)
	first.Linked = true
	back := edgeEnd(b, "back", core.Reverse, "first")
	b.Needs([]*core.Transfer{first, second, back})
	if a := b.Apply([]*core.Transfer{first, second}); a[0].Code != core.LinkedFailed || a[1].Code != core.UnknownAccount {
		t.Fatalf("%+v", a)
	}
	if a := b.Apply([]*core.Transfer{back})[0]; a.Code != core.NotFound {
		t.Fatalf("%+v", a)
	}
}

// TestOrder_time_at_its_edges: the last moments that are in time, and the first that are not.
func TestOrder_time_at_its_edges(t *testing.T) {
	now := time.Date(2026, 5, 17, 10, 0, 0, 0, time.UTC)
	const horizon = 48 * time.Hour
	for order, want := range map[time.Time]core.Code{
		now.Add(-horizon): "", now.Add(-horizon - time.Microsecond): core.TooOld,
		now.Add(core.Ahead): "", now.Add(core.Ahead + time.Microsecond): core.TooEarly,
	} {
		if code, _ := core.CheckTime(order, now, horizon); code != want {
			t.Errorf("%s: %q instead of %q", order, code, want)
		}
	}
}

// TestBad_amounts_at_the_edges_of_64_bits are refused; none is wrapped.
func TestBad_amounts_at_the_edges_of_64_bits(t *testing.T) {
	b := edge()
	with := func(id string, action core.Action, of string, amounts ...int64) *core.Transfer {
		x := edgeEnd(b, id, action, of)
		for i, n := range amounts {
			x.Legs = append(x.Legs, core.Leg{Account: int64(i + 1), Unit: "CNY", Amount: n})
		}
		return x
	}
	var ts []*core.Transfer
	var codes []core.Code
	add := func(code core.Code, x *core.Transfer) { ts, codes = append(ts, x), append(codes, code) }
	for i, action := range []core.Action{core.Post, core.Try} {
		id := func(n int) string { return fmt.Sprintf("t%d-%d", i, n) }
		add(core.Overflow, with(id(1), action, "", math.MinInt64, math.MaxInt64, 1))
		add(core.Overflow, with(id(2), action, "", math.MinInt64, math.MinInt64))
		add(core.Overflow, with(id(3), action, "", math.MaxInt64, math.MaxInt64, -math.MaxInt64, -math.MaxInt64))
		add(core.Unbalanced, with(id(4), action, "", math.MaxInt64, -math.MaxInt64+1))
	}
	add("", with("all", core.Post, "", -math.MaxInt64, math.MaxInt64))
	add(core.Overflow, with("more", core.Post, "", -1, 0+1))
	add("", edgeEnd(b, "back", core.Reverse, "all"))
	add(core.Overflow, with("edge", core.Reverse, "all", math.MinInt64, math.MinInt64))
	add(core.Exceeds, with("again", core.Reverse, "all", 1, -1))
	wantCodes(t, b, ts, codes...)
	if a := b.Accounts[1]; a.Balance != 0 || a.Debits != math.MaxInt64 || a.Credits != math.MaxInt64 {
		t.Fatalf("%+v", a)
	}
}
