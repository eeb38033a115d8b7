package across

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"strata/core"
	"strata/fault"
	"strata/local"
)

func TestPost_books_everywhere_or_nowhere(t *testing.T) {
	w := inMemory(t, schema(t), "a", "b", "c")
	c := w.coordinator(nil)
	first := w.must(c, pay("one", 300), core.Applied, "")
	want := []core.Balance{{Account: 1, Seq: 2, Balance: 700, Amount: -300}, {Account: 2, Seq: 2, Balance: 1300, Amount: 300}}
	if first.State != Done || !reflect.DeepEqual(first.Balances, want) {
		t.Fatalf("%+v", first)
	}
	if w.balance("a", 90) != 300 || w.balance("b", 90) != -300 {
		t.Fatal("transit", w.balance("a", 90), w.balance("b", 90))
	}
	again := w.must(c, pay("one", 300), core.Replayed, "")
	if !reflect.DeepEqual(again.Balances, first.Balances) {
		t.Fatalf("%+v", again)
	}
	w.must(c, pay("one", 301), core.Conflict, core.IDConflict)

	for range 2 {
		a := w.must(c, pay("two", 701), core.Refused, core.BelowMinimum)
		if a.Ledger != "a" || a.Field != "legs[0].amount" || a.State != Done {
			t.Fatalf("%+v", a)
		}
	}
	w.must(c, pay("two", 700), core.Conflict, core.IDConflict)

	three := Transfer{ID: "three", Kind: "shop", OrderTime: begun(), Legs: []Leg{
		{Ledger: "c", Account: 3, Unit: "CNY", Amount: 90}, {Ledger: "a", Account: 2, Unit: "CNY", Amount: -100},
		{Ledger: "b", Account: 19, Unit: "POINT", Amount: -7}, {Ledger: "b", Account: 3, Unit: "CNY", Amount: 10},
		{Ledger: "c", Account: 19, Unit: "POINT", Amount: 7}}}
	a := w.must(c, three, core.Applied, "")
	for i, l := range three.Legs {
		if b := a.Balances[i]; b.Account != l.Account || b.Amount != l.Amount || b.Balance != w.balance(l.Ledger, l.Account) {
			t.Fatalf("leg %d: %+v", i, b)
		}
	}
	settle := Transfer{ID: "settle", Kind: "settle", OrderTime: begun(), Legs: []Leg{
		{Ledger: "a", Account: 90, Unit: "CNY", Amount: -400}, {Ledger: "a", Account: 9, Unit: "CNY", Amount: 400},
		{Ledger: "b", Account: 90, Unit: "CNY", Amount: 400}, {Ledger: "b", Account: 9, Unit: "CNY", Amount: -400}}}
	w.must(c, settle, core.Applied, "")
	if w.balance("a", 90) != 0 {
		t.Fatal("not settled:", w.balance("a", 90))
	}
	w.whole()
	if s := c.Stats(); s.Applied != 3 || s.Replayed != 1 || s.Conflicts != 2 || s.Refused != 2 || s.Errors+s.InFlight+s.Stuck != 0 {
		t.Fatalf("%+v", s)
	}
}

func TestPost_refuses_bad_input(t *testing.T) {
	w := inMemory(t, schema(t), "a", "b")
	c := w.coordinator(nil)
	long := strings.Repeat("x", 65)
	for i, test := range []struct {
		code  core.Code
		field string
		edit  func(*Transfer)
	}{
		{core.BadTransfer, "", func(x *Transfer) { x.Legs = nil }},
		{core.BadTransfer, "", func(x *Transfer) { x.Legs[1].Ledger = "a" }},
		{UnknownLedger, "legs[1].ledger", func(x *Transfer) { x.Legs[1].Ledger = "z\x00" + long }},
		{core.Unbalanced, "", func(x *Transfer) { x.Legs[1].Amount++ }},
		{core.Unbalanced, "", func(x *Transfer) { x.Legs[1].Account = 90 }}, // transit could not net to zero
		{NoTransit, "", func(x *Transfer) { x.Legs[0].Unit, x.Legs[1].Unit = "USD", "USD" }},
		{core.BadTransfer, "kind", func(x *Transfer) { x.Kind = "" }},
		{core.BadTransfer, "memo", func(x *Transfer) { x.Memo = "\xff" }},
		{core.BadTransfer, "order", func(x *Transfer) { x.Order = long }}, // only a Confirm carries it
		{core.BadTransfer, "metadata", func(x *Transfer) { x.Metadata = "[]" }},
		{core.BadTransfer, "business_date", func(x *Transfer) { x.BusinessDate = time.Date(12026, 1, 1, 0, 0, 0, 0, time.UTC) }},
		{core.BadTransfer, "order_time", func(x *Transfer) { x.OrderTime = time.Time{} }},
		{core.TooOld, "order_time", func(x *Transfer) { x.OrderTime = begun().Add(-core.DefaultHorizon - time.Second) }},
		{core.TooEarly, "order_time", func(x *Transfer) { x.OrderTime = begun().Add(core.Ahead + time.Second) }},
		{core.Overflow, "", func(x *Transfer) {
			x.Legs = append(x.Legs, x.Legs...)
			for i := range x.Legs {
				x.Legs[i].Amount = (1<<63 - 1) * int64(2*(i%2)-1)
			}
		}},
		{core.UnknownAccount, "", func(x *Transfer) { x.Legs[1].Account = 77 }}, // the ledger's word
	} {
		t.Run(fmt.Sprint(i, " ", test.code, " ", test.field), func(t *testing.T) {
			x := pay(fmt.Sprint("bad", i), 5)
			test.edit(&x)
			for range 2 {
				a := w.must(c, x, core.Refused, test.code)
				if a.Message == "" || a.Field != test.field && test.field != "" || a.State != Done {
					t.Fatalf("%+v", a)
				}
			}
			x.Memo += "?"
			w.must(c, x, core.Conflict, core.IDConflict)
		})
	}
	w.must(c, pay("", 5), core.Refused, core.BadTransfer)
	w.must(c, pay(long, 5), core.Refused, core.BadTransfer)
	w.heal(c)
	w.whole()
	if w.balance("a", 1) != 1000 || w.balance("b", 2) != 1000 {
		t.Fatal("something was booked")
	}
}

// TestL12_crash_points_all_or_nothing stops the coordinator at each point, at each hit, and lets another one recover.
func TestL12_crash_points_all_or_nothing(t *testing.T) {
	d := schema(t)
	run := func(w *world, id string, at func(string) error) {
		c := w.coordinator(at)
		_, _ = c.Post(t.Context(), pay(id+"-good", 300))
		_, _ = c.Post(t.Context(), pay(id+"-bad", 5000))
		_ = c.CutDay(t.Context(), begun().AddDate(0, 0, 1))
	}
	record := local.Record()
	run(inMemory(t, d, "a", "b"), "record", record.At)
	hits, n := record.Hits(), 0
	for _, point := range CrashPoints() {
		if hits[point] == 0 {
			t.Errorf("%s was never hit", point)
		}
		for nth := 1; nth <= hits[point]; nth++ {
			t.Run(fmt.Sprint(point, " ", nth), func(t *testing.T) {
				w := inMemory(t, d, "a", "b")
				n++
				id := fmt.Sprint("crash", n)
				trap := local.NewTrap(point, nth)
				run(w, id, trap.At)
				select {
				case <-trap.Sprung():
				default:
					t.Fatal("the point was not hit")
				}
				next := w.coordinator(nil)
				w.heal(next)
				if err := next.CutDay(t.Context(), begun().AddDate(0, 0, 1)); err != nil {
					t.Fatal(err)
				}
				w.heal(next)
				w.whole()
				if found, err := next.DayClosable(t.Context(), begun()); err != nil || len(found) > 0 {
					t.Fatalf("%+v, %v", found, err)
				}
				st, known, err := next.Find(t.Context(), id+"-good")
				if err != nil {
					t.Fatal(err)
				}
				moved := int64(0)
				if known && st.Answer.Outcome == core.Replayed {
					moved = 300
				}
				if w.balance("a", 1) != 1000-moved || w.balance("b", 2) != 1000+moved || w.balance("a", 90) != moved {
					t.Fatalf("%+v: %d, %d", st, w.balance("a", 1), w.balance("b", 2))
				}
				if known {
					w.must(next, pay(id+"-good", 300), st.Answer.Outcome, st.Answer.Code)
				}
			})
		}
	}
}

func TestPost_tells_what_is_in_flight(t *testing.T) {
	w := inMemory(t, schema(t), "a", "b")
	c := w.coordinator(nil)
	t.Run("a try that is not answered is an error, and given up after the grace", func(t *testing.T) {
		w.wires["b"].plan([]trouble{late})
		if _, err := c.Post(t.Context(), pay("try", 100)); !fault.Is(err, fault.Timeout) || fault.HintOf(err) == "" {
			t.Fatal(err)
		}
		list, err := c.List(t.Context(), "", 10)
		if err != nil || len(list) != 1 || list[0].State != Trying || list[0].Parts[1].Error == "" || list[0].Transfer.Legs[0].Amount != -100 {
			t.Fatalf("%+v, %v", list, err)
		}
		if p, err := c.Recover(t.Context()); err != nil || p.Looked != 0 {
			t.Fatalf("before the grace: %+v, %v", p, err)
		}
		w.clock.Set(w.clock.Now().Add(31 * time.Second))
		if p, err := c.Recover(t.Context()); err != nil || p != (Pass{Looked: 1, Done: 1}) {
			t.Fatalf("after the grace: %+v, %v", p, err)
		}
		if err := w.wires["b"].deliver(t.Context(), 1, 0); err != nil { // it comes after its cancel
			t.Fatal(err)
		}
		try, _, _ := IDs("try")
		if r, err := w.ledgers["b"].Reservation(t.Context(), try); err != nil || r.State != core.Fenced || r.LateTrys != 1 {
			t.Fatalf("%+v, %v", r, err)
		}
		w.must(c, pay("try", 100), core.Refused, Aborted)
		w.whole()
	})
	t.Run("posted again before the grace it is booked", func(t *testing.T) {
		w.wires["a"].plan([]trouble{lost})
		if _, err := c.Post(t.Context(), pay("again", 100)); !fault.Is(err, fault.Unavailable) {
			t.Fatal(err)
		}
		w.must(c, pay("again", 100), core.Applied, "")
		w.whole()
	})
	t.Run("a confirm that is not answered leaves it applied and in flight", func(t *testing.T) {
		w.wires["b"].plan([]trouble{fine, away})
		a := w.must(c, pay("confirm", 100), core.Applied, "")
		if a.State != Commit || a.Balances != nil {
			t.Fatalf("%+v", a)
		}
		if counts, err := c.Count(t.Context()); err != nil || counts[Commit] != 1 {
			t.Fatalf("%v, %v", counts, err)
		}
		w.heal(c)
		st, known, err := c.Find(t.Context(), "confirm")
		if err != nil || !known || st.State != Done || len(st.Answer.Balances) != 2 {
			t.Fatalf("%+v, %v", st, err)
		}
		w.whole()
	})
	if s := c.Stats(); s.Errors != 2 || s.InFlight != 1 || s.Recovered != 2 || s.GivenUp != 1 {
		t.Fatalf("%+v", s)
	}
}

func TestForget_keeps_what_may_be_asked(t *testing.T) {
	w := inMemory(t, schema(t), "a", "b")
	c := w.coordinator(nil)
	w.must(c, pay("old", 1), core.Applied, "")
	w.clock.Set(begun().Add(core.DefaultHorizon))
	if n, err := c.Forget(t.Context(), 10); err != nil || n != 0 {
		t.Fatal(n, err)
	}
	w.must(c, pay("old", 1), core.Replayed, "")
	w.clock.Set(begun().Add(core.DefaultHorizon + core.Ahead + time.Second))
	if n, err := c.Forget(t.Context(), 10); err != nil || n != 1 {
		t.Fatal(n, err)
	}
	w.must(c, pay("old", 1), core.Refused, core.TooOld)
}

// TestPost_old_orders: an order just within the horizon is confirmed when it would be beyond it.
func TestPost_old_orders_are_confirmed_later(t *testing.T) {
	w := inMemory(t, schema(t), "a", "b")
	c := w.coordinator(nil)
	x := pay("old", 10)
	x.OrderTime = begun().Add(-core.DefaultHorizon)
	w.wires["a"].plan([]trouble{fine, away})
	w.wires["b"].plan([]trouble{fine, away})
	w.must(c, x, core.Applied, "")
	w.heal(c)
	w.whole()
	if w.balance("b", 2) != 1010 {
		t.Fatal("not booked")
	}
}
