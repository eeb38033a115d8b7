package coretest

import (
	"fmt"
	"math"
	"time"

	"strata/core"
)

// tenant and the order numbers are the round's own.
func (w *world) tenant(name string) string {
	if name == "" {
		return ""
	}
	return fmt.Sprintf("%s-%d", name, w.round)
}

// transfer has a new id and no legs.
func (w *world) transfer(kind string) core.Transfer {
	id := fmt.Sprintf("r%d-%d", w.round, len(w.ids))
	w.ids = append(w.ids, id)
	return core.Transfer{ID: id, Kind: kind, OrderTime: w.clock.Now().Add(-time.Second)}
}

// random draws any transfer: most are new, some repeat an id.
func (w *world) random() core.Transfer {
	if len(w.ids) > 1 && w.chance(8, "old id") {
		t, ok := w.sent[pick(w, "id", w.ids...)]
		if ok && w.chance(50, "changed") {
			t.Memo += "!"
		}
		if ok {
			return t
		}
	}
	t := w.transfer(pick(w, "kind", "payment", "payment", "withdraw"))
	t.Tenant = w.tenant(pick(w, "tenant", "", "a", "b"))
	if w.chance(30, "order") {
		t.Order = fmt.Sprintf("%s-%d", pick(w, "number", "o1", "o2"), w.round)
	}
	t.Linked = w.chance(8, "linked")
	switch n := w.below(20, "action"); {
	case n < 7:
		w.legs(&t)
	case n < 11:
		t.Action = core.Try
		w.legs(&t)
		if n := len(w.early); n > 0 && w.chance(60, "late") {
			t.ID, w.early = w.early[n-1], w.early[:n-1]
		}
		if w.chance(40, "expires") {
			t.Expires = w.clock.Now().Add(time.Duration(w.below(400, "lives")) * time.Second)
		}
	case n < 14:
		t.Action, t.Of = core.Confirm, w.of(w.pending)
		w.part(&t, 1)
	case n < 16:
		t.Action, t.Of = core.Cancel, w.of(w.pending)
		if w.chance(20, "early") {
			t.Of = w.transfer("").ID
			w.early = append(w.early, t.Of)
		}
	default:
		t.Action, t.Of = core.Reverse, w.of(w.booked)
		w.part(&t, -1)
	}
	if w.chance(2, "bad") {
		t.OrderTime = t.OrderTime.AddDate(0, 0, pick(w, "days", -500, 3))
	}
	return t
}

// of names an id that was there, or one that comes.
func (w *world) of(ids []string) string {
	if len(ids) == 0 || w.chance(15, "any id") {
		return fmt.Sprintf("r%d-%d", w.round, w.below(len(w.ids)+3, "of"))
	}
	return pick(w, "of", ids...)
}

// legs draws debits and credits that balance, mostly.
func (w *world) legs(t *core.Transfer) {
	if w.chance(30, "product") {
		t.Product = "book"
	}
	amount := func() int64 { return pick[int64](w, "amount", 1, 2, 3, 5, 10, 20, 30, 40, 60, 100) }
	account := w.anyAccount
	if w.chance(2, "huge") {
		amount = func() int64 { return pick[int64](w, "amount", math.MaxInt64, math.MaxInt64/2, 1) }
		account = func() int64 { return w.account("account", shop) } // a buffered one has less room
	}
	left := int64(0)
	for range 1 + w.below(3, "legs") {
		l := core.Leg{Account: account(), Unit: "CNY", Amount: amount() * pick[int64](w, "sign", 1, -1)}
		if id := l.Account - w.base; l.Amount > 0 && (id == wallet || id == wallet+1 || id == hot+2 || w.chance(2, "named")) && w.chance(50, "nature") {
			l.Nature = pick(w, "name", "cash", "bonus", "card", "refund", "cash", "bonus", "cash", "gold")
		}
		left -= l.Amount
		t.Legs = append(t.Legs, l)
	}
	if w.chance(2, "unbalanced") {
		left++
	}
	if left != 0 {
		t.Legs = append(t.Legs, core.Leg{Account: account(), Unit: "CNY", Amount: left})
	}
	if w.chance(20, "dollars") {
		a := amount()
		t.Legs = append(t.Legs, core.Leg{Account: w.base + dollars, Unit: "USD", Amount: -a}, core.Leg{Account: w.base + dollars + 1, Unit: "USD", Amount: a})
	}
}

// anyAccount is one in CNY mostly, and one that there is.
func (w *world) anyAccount() int64 {
	if w.chance(2, "any account") {
		return w.account("account", unknown)
	}
	return w.base + pick[int64](w, "account", bank, bank, bank, 2, 3, 4, bounded, wallet, wallet, wallet+1, wallet+1, shop, hot, hot+1, hot+2, hot+2)
}

// part gives a Confirm (sign 1) or Reverse (-1) legs of its own: a part of each of what it is of.
func (w *world) part(t *core.Transfer, sign int64) {
	of, ok := w.sent[t.Of]
	if ok && of.Action == core.Confirm && len(of.Legs) == 0 {
		of, ok = w.sent[of.Of]
	}
	if !ok || !w.chance(50, "part") {
		return
	}
	left := map[string]int64{} // by unit: what the credits take
	for _, l := range of.Legs {
		if l.Amount > 0 {
			l.Amount = pick(w, "credit", 0, 1, l.Amount/2, l.Amount, l.Amount-1)
			left[l.Unit] += l.Amount
		}
		l.Nature = ""
		t.Legs = append(t.Legs, l)
	}
	for i := range t.Legs {
		l := &t.Legs[i]
		if l.Amount < 0 {
			l.Amount = -min(-l.Amount, left[l.Unit])
			left[l.Unit] += l.Amount
		}
		l.Amount *= sign
	}
	if len(t.Legs) > 0 && w.chance(5, "other part") {
		t.Legs = t.Legs[1:]
	}
}
