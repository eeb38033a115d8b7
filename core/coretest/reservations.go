package coretest

import (
	"fmt"
	"reflect"
	"time"

	"strata/core"
	"strata/fault"
)

func reservationCases() []fullCase {
	return []fullCase{
		{"a try reserves and books nothing", triesReserve},
		{"a confirm books the whole", confirmsWhole},
		{"a confirm books a part and gives the rest back", confirmsPart},
		{"a cancel gives everything back", cancels},
		{"the truth table of try, confirm and cancel", truthTable},
		{"a try after its cancel is hung", hangs},
		{"a lapsed reservation is not confirmed and can be given back", lapses},
		{"reservations are listed by state", lists},
		{"refuses what does not fit the action", refusesActions},
		{"try, confirm and cancel in one call", inOneCall},
	}
}

func triesReserve(b *bench) {
	b.accounts(1, 100, 101)
	b.applies(pay("fill", 1, 100, 50))
	a := b.applies(try("t", 100, 101, 30))[0]
	if a.Action != core.Try || a.Balances[0].Seq != 0 || a.Balances[0].Balance != 50 || a.Balances[0].Amount != -30 {
		b.Fatalf("%+v", a)
	}
	b.wantPending(100, 50, 30, 0)
	b.wantPending(101, 0, 0, 30)
	b.wantBalance(100, 50, 1)
	b.gets(pay("over", 100, 1, 21), core.Refused, core.BelowMinimum, "legs[0].amount")
	b.gets(try("over2", 100, 1, 21), core.Refused, core.BelowMinimum, "legs[0].amount")
	b.gets(pay("early", 101, 1, 1), core.Refused, core.BelowMinimum, "legs[0].amount") // reserved is not there yet
	b.applies(pay("rest", 100, 1, 20))
	b.gets(try("t", 100, 101, 30), core.Replayed, "", "")
	b.gets(try("t", 100, 101, 31), core.Conflict, core.IDConflict, "id")
	r, err := b.full.Reservation(b.ctx, "t")
	want := try("t", 100, 101, 30)
	if err != nil || r.State != core.Pending || !reflect.DeepEqual(r.Transfer.Legs, want.Legs) || r.Transfer.Hash() != want.Hash() ||
		!r.Day.Equal(core.Date(Start())) || !r.At.Equal(Start()) {
		b.Fatalf("%+v, %v", r, err)
	}
	_, err = b.full.Reservation(b.ctx, "nobody")
	b.wantFault(err, fault.NotFound, "a reservation that is not there")
}

func confirmsWhole(b *bench) {
	b.accounts(1, 100, 101)
	b.applies(pay("fill", 1, 100, 50), try("t", 100, 101, 30))
	a := b.applies(ends(core.Confirm, "c", "t"))[0]
	want := []core.Balance{{Account: 100, Seq: 2, Balance: 20, Amount: -30}, {Account: 101, Seq: 1, Balance: 30, Amount: 30}}
	if a.Action != core.Confirm || !reflect.DeepEqual(a.Balances, want) {
		b.Fatalf("%+v", a)
	}
	b.wantPending(100, 20, 0, 0)
	b.wantPending(101, 30, 0, 0)
	again := b.gets(ends(core.Confirm, "c", "t"), core.Replayed, "", "")
	if !reflect.DeepEqual(again.Balances, want) {
		b.Fatalf("%+v", again)
	}
	b.gets(ends(core.Confirm, "c2", "t"), core.Refused, core.AlreadyEnded, "of")
	r, err := b.full.Reservation(b.ctx, "t")
	if err != nil || r.State != core.Confirmed || r.EndedBy != "c" || !r.EndedAt.Equal(Start()) {
		b.Fatalf("%+v, %v", r, err)
	}
}

func confirmsPart(b *bench) {
	b.accounts(1, 100, 101, 102)
	b.applies(pay("fill", 1, 100, 50), legs(try("t", 1, 1, 1), 100, -30, 101, 20, 102, 10))
	part := func(id string, pairs ...int64) core.Transfer { return legs(ends(core.Confirm, id, "t"), pairs...) }
	b.gets(part("c1", 100, -31, 101, 21, 102, 10), core.Refused, core.Exceeds, "legs[0].amount")
	b.gets(part("c2", 100, -20, 101, 20), core.Refused, core.BadTransfer, "legs")
	b.gets(part("c3", 100, -30, 102, 10, 101, 20), core.Refused, core.BadTransfer, "legs[1].account")
	b.gets(part("c4", 100, 30, 101, -20, 102, -10), core.Refused, core.BadTransfer, "legs[0].amount")
	b.gets(part("c5", 100, 0, 101, 0, 102, 0), core.Refused, core.BadTransfer, "legs")
	b.gets(part("c6", 100, -20, 101, 10, 102, 9), core.Refused, core.Unbalanced, "legs")
	a := b.applies(part("c7", 100, -8, 101, 0, 102, 8))[0] // a leg of 0 books nothing
	want := []core.Balance{{Account: 100, Seq: 2, Balance: 42, Amount: -8}, {Account: 102, Seq: 1, Balance: 8, Amount: 8}}
	if !reflect.DeepEqual(a.Balances, want) {
		b.Fatalf("%+v", a)
	}
	b.wantPending(100, 42, 0, 0)
	b.wantPending(101, 0, 0, 0)
	b.wantPending(102, 8, 0, 0)
	b.gets(part("c8", 100, -8, 101, 8, 102, 0), core.Refused, core.AlreadyEnded, "of")
}

func cancels(b *bench) {
	b.accounts(1, 100, 101)
	b.applies(pay("fill", 1, 100, 50), try("t", 100, 101, 30))
	a := b.applies(ends(core.Cancel, "x", "t"))[0]
	if a.Action != core.Cancel || a.Balances != nil {
		b.Fatalf("%+v", a)
	}
	b.wantPending(100, 50, 0, 0)
	b.wantPending(101, 0, 0, 0)
	b.gets(ends(core.Cancel, "x", "t"), core.Replayed, "", "")
	b.gets(ends(core.Cancel, "x2", "t"), core.Applied, "", "") // it is true that it is cancelled
	r, err := b.full.Reservation(b.ctx, "t")
	if err != nil || r.State != core.Cancelled || r.EndedBy != "x" {
		b.Fatalf("%+v, %v", r, err)
	}
	b.wantBalance(100, 50, 1)
}

// truthTable is the table of doc.go.
func truthTable(b *bench) {
	b.accounts(1, 2)
	short := try("lapsed", 1, 2, 5)
	short.Expires = Start().Add(time.Minute)
	gone := try("expired", 1, 2, 5)
	gone.Expires = Start().Add(time.Second)
	b.applies(try("confirmed", 1, 2, 5), try("cancelled", 1, 2, 5), gone, ends(core.Confirm, "p1", "confirmed"), ends(core.Cancel, "p2", "cancelled"))
	b.gets(ends(core.Cancel, "p3", "fenced"), core.Applied, core.NullCancelled, "of")
	b.later(2 * time.Second)
	if n, err := b.full.ExpireReservations(b.ctx, 10); n != 1 || err != nil {
		b.Fatal(n, err)
	}
	b.applies(short, try("pending", 1, 2, 5), try("pending2", 1, 2, 5))
	b.later(time.Minute)
	for i, c := range []struct {
		of      string
		action  core.Action
		outcome core.Outcome
		code    core.Code
	}{
		{"nobody", core.Confirm, core.Refused, core.NotFound},
		{"pending", core.Confirm, core.Applied, ""},
		{"lapsed", core.Confirm, core.Refused, core.Lapsed},
		{"confirmed", core.Confirm, core.Refused, core.AlreadyEnded},
		{"cancelled", core.Confirm, core.Refused, core.AlreadyEnded},
		{"expired", core.Confirm, core.Refused, core.Lapsed},
		{"fenced", core.Confirm, core.Refused, core.AlreadyEnded},
		{"pending2", core.Cancel, core.Applied, ""},
		{"lapsed", core.Cancel, core.Applied, ""},
		{"confirmed", core.Cancel, core.Refused, core.AlreadyEnded},
		{"cancelled", core.Cancel, core.Applied, ""},
		{"expired", core.Cancel, core.Applied, ""},
		{"fenced", core.Cancel, core.Applied, core.NullCancelled},
		{"nobody2", core.Cancel, core.Applied, core.NullCancelled},
	} {
		field := "of"
		if c.code == "" {
			field = ""
		}
		id := fmt.Sprintf("%s-%s-%d", c.action, c.of, i)
		b.gets(ends(c.action, id, c.of), c.outcome, c.code, field)
		again := c.outcome
		if again == core.Applied {
			again = core.Replayed
		}
		b.gets(ends(c.action, id, c.of), again, c.code, field)
	}
	b.wantPending(1, -10, 0, 0)
}

func hangs(b *bench) {
	b.accounts(1, 2)
	for _, id := range []string{"x", "x2"} {
		b.gets(ends(core.Cancel, id, "t"), core.Applied, core.NullCancelled, "of")
	}
	for range 3 { // a refusal is remembered: only the first one is another try
		b.gets(try("t", 1, 2, 5), core.Refused, core.Hung, "id")
	}
	b.wantPending(1, 0, 0, 0)
	r, err := b.full.Reservation(b.ctx, "t")
	if err != nil || r.State != core.Fenced || r.LateTrys != 1 || r.EndedBy != "x" || r.Transfer.ID != "t" {
		b.Fatalf("%+v, %v", r, err)
	}
	counts, err := b.full.CountReservations(b.ctx)
	if err != nil || counts["fenced"] != 1 || counts["hung"] != 1 || counts["pending"] != 0 {
		b.Fatalf("%v, %v", counts, err)
	}
	// A chain that is refused leaves no fence, and what hangs in it is counted still.
	got := b.post(link(ends(core.Cancel, "y", "u"), try("t2", 1, 2, 5), pay("bad", 1, 99, 1))...)
	b.wantAnswer(got[2], core.Refused, core.UnknownAccount)
	b.gets(try("u", 1, 2, 5), core.Applied, "", "")
}

func lapses(b *bench) {
	b.accounts(1, 100, 101)
	b.applies(pay("fill", 1, 100, 50))
	t := try("t", 100, 101, 30)
	t.Expires = Start().Add(time.Hour)
	forever := try("forever", 100, 101, 5)
	b.applies(t, forever)
	dead := try("dead", 100, 101, 1)
	dead.Expires = Start()
	b.gets(dead, core.Refused, core.Lapsed, "expires")
	b.later(time.Hour - time.Microsecond)
	b.wantListed(core.Pending, "forever", "t")
	b.later(time.Microsecond)
	b.wantListed(core.Pending, "forever")
	b.wantListed(core.Expired, "t")
	b.gets(ends(core.Confirm, "c", "t"), core.Refused, core.Lapsed, "of")
	b.wantPending(100, 50, 35, 0) // until it is given back
	counts, err := b.full.CountReservations(b.ctx)
	if err != nil || counts["expired"] != 1 || counts["pending"] != 1 {
		b.Fatalf("%v, %v", counts, err)
	}
	for _, want := range []int{1, 0} {
		if n, err := b.full.ExpireReservations(b.ctx, 10); err != nil || n != want {
			b.Fatalf("%d given back instead of %d: %v", n, want, err)
		}
	}
	b.wantPending(100, 50, 5, 0)
	r, err := b.full.Reservation(b.ctx, "t")
	if err != nil || r.State != core.Expired || r.EndedBy != "" || !r.EndedAt.Equal(b.clock.Now()) {
		b.Fatalf("%+v, %v", r, err)
	}
	b.applies(ends(core.Confirm, "c2", "forever"))
}

func (b *bench) wantListed(state core.ReservationState, want ...string) {
	b.Helper()
	var have []string
	for after := ""; ; {
		page, err := b.full.ListReservations(b.ctx, state, after, 1)
		if err != nil {
			b.Fatal(err)
		}
		if len(page) == 0 {
			break
		}
		after = page[0].ID
		have = append(have, after)
	}
	if !reflect.DeepEqual(have, want) {
		b.Fatalf("%s are %v instead of %v", state, have, want)
	}
}

func lists(b *bench) {
	b.accounts(1, 2)
	b.applies(try("a", 1, 2, 1), try("b", 1, 2, 1), try("c", 1, 2, 1), ends(core.Confirm, "cb", "b"), ends(core.Cancel, "cc", "c"))
	b.gets(ends(core.Cancel, "cd", "d"), core.Applied, core.NullCancelled, "of")
	b.wantListed(core.Pending, "a")
	b.wantListed(core.Confirmed, "b")
	b.wantListed(core.Cancelled, "c")
	b.wantListed(core.Fenced, "d")
	b.wantListed(core.Expired)
	if page, err := b.full.ListReservations(b.ctx, core.Pending, "a", 10); err != nil || len(page) != 0 {
		b.Fatalf("after the last: %v, %v", page, err)
	}
}

func refusesActions(b *bench) {
	b.accounts(1, 2)
	b.applies(try("t", 1, 2, 5))
	at := func(t core.Transfer, d time.Duration) core.Transfer { t.Expires = t.OrderTime.Add(d); return t }
	for i, c := range []struct {
		t     core.Transfer
		field string
	}{
		{do(core.Try, "t", pay("", 1, 2, 5)), "of"},
		{do(core.Post, "t", pay("", 1, 2, 5)), "of"},
		{do(core.Confirm, "", pay("", 1, 2, 5)), "of"},
		{do(core.Cancel, "ä", ends(core.Cancel, "", "")), "of"},
		{do(core.Cancel, "t", pay("", 1, 2, 5)), "legs"},
		{do(core.Reverse+1, "t", pay("", 1, 2, 5)), "action"},
		{legs(try("", 1, 2, 5)), "legs"},
		{legs(ends(core.Confirm, "", "t"), 1, -5), "legs"},
		{at(pay("", 1, 2, 5), time.Hour), "expires"},
		{at(try("", 1, 2, 5), 0), "expires"},
		{at(ends(core.Confirm, "", "t"), time.Hour), "expires"},
		{legs(try("", 1, 2, 5), 1, 0, 2, 0), "legs[0].amount"},
		{legs(try("", 1, 2, 5), -1, -5, 2, 5), "legs[0].account"},
	} {
		c.t.ID = fmt.Sprintf("bad-%d", i)
		b.gets(c.t, core.Refused, core.BadTransfer, c.field)
	}
	b.gets(ends(core.Confirm, "self", "self"), core.Refused, core.BadTransfer, "of")
	other := legs(ends(core.Confirm, "unit", "t"), 1, -5, 2, 5)
	other.Legs[0].Unit, other.Legs[1].Unit = "USD", "USD"
	b.gets(other, core.Refused, core.UnitMismatch, "legs[0].unit")
	b.gets(ends(core.Confirm, "c", "t"), core.Applied, "", "")
}

func inOneCall(b *bench) {
	b.accounts(1, 100, 101)
	got := b.post(pay("fill", 1, 100, 50), try("t", 100, 101, 30), ends(core.Confirm, "c", "t"), ends(core.Cancel, "x", "t"),
		ends(core.Cancel, "y", "u"), try("u", 100, 101, 1), ends(core.Reverse, "r", "c"), ends(core.Confirm, "c", "t"))
	for i, want := range []struct {
		outcome core.Outcome
		code    core.Code
	}{{core.Applied, ""}, {core.Applied, ""}, {core.Applied, ""}, {core.Refused, core.AlreadyEnded}, {core.Applied, core.NullCancelled},
		{core.Refused, core.Hung}, {core.Applied, ""}, {core.Replayed, ""}} {
		b.wantAnswer(got[i], want.outcome, want.code)
	}
	b.wantPending(100, 50, 0, 0)
	b.wantBalance(101, 0, 2)
}
