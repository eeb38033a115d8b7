package coretest

import (
	"fmt"
	"math"
	"time"

	"pgregory.net/rapid"

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
	if len(w.ids) > 1 && w.chance(12, "old id") {
		t, ok := w.sent[rapid.SampledFrom(w.ids).Draw(w.rt, "id")]
		if ok && w.chance(50, "changed") {
			t.Memo += "!"
		}
		if ok {
			return t
		}
	}
	t := w.transfer(rapid.SampledFrom([]string{"payment", "payment", "withdraw"}).Draw(w.rt, "kind"))
	t.Tenant = w.tenant(rapid.SampledFrom([]string{"", "a", "b"}).Draw(w.rt, "tenant"))
	if w.chance(30, "order") {
		t.Order = fmt.Sprintf("%s-%d", rapid.SampledFrom([]string{"o1", "o2"}).Draw(w.rt, "number"), w.round)
	}
	t.Linked = w.chance(18, "linked")
	switch n := rapid.IntRange(0, 19).Draw(w.rt, "action"); {
	case n < 8:
		w.legs(&t)
	case n < 12:
		t.Action = core.Try
		w.legs(&t)
		if n := len(w.early); n > 0 && w.chance(60, "late") {
			t.ID, w.early = w.early[n-1], w.early[:n-1]
		}
		if w.chance(40, "expires") {
			t.Expires = w.clock.Now().Add(time.Duration(rapid.IntRange(0, 300).Draw(w.rt, "lives")) * time.Second)
		}
		w.trys = append(w.trys, t.ID)
	case n < 15:
		t.Action, t.Of = core.Confirm, w.of(w.trys)
		w.part(&t, 1)
	case n < 17:
		t.Action, t.Of = core.Cancel, w.of(w.trys)
		if w.chance(20, "early") {
			t.Of = w.transfer("").ID
			w.early = append(w.early, t.Of)
		}
	default:
		t.Action, t.Of = core.Reverse, w.of(w.ids)
		w.part(&t, -1)
	}
	if w.chance(2, "bad") {
		t.OrderTime = t.OrderTime.AddDate(0, 0, rapid.SampledFrom([]int{-500, 3}).Draw(w.rt, "days"))
	}
	return t
}

// of names an id that was there, or one that comes.
func (w *world) of(ids []string) string {
	if len(ids) == 0 || w.chance(15, "any id") {
		return fmt.Sprintf("r%d-%d", w.round, rapid.IntRange(0, len(w.ids)+2).Draw(w.rt, "of"))
	}
	return rapid.SampledFrom(ids).Draw(w.rt, "of")
}

// legs draws debits and credits that balance, mostly.
func (w *world) legs(t *core.Transfer) {
	if w.chance(30, "product") {
		t.Product = "book"
	}
	amounts, account := rapid.SampledFrom([]int64{1, 2, 3, 5, 10, 20, 30, 40, 60, 100}), w.anyAccount
	if w.chance(3, "huge") {
		amounts = rapid.SampledFrom([]int64{math.MaxInt64, math.MaxInt64 / 2, 1})
		account = func() int64 { return w.account("account", shop) } // a buffered one has less room
	}
	left := int64(0)
	for range rapid.IntRange(1, 3).Draw(w.rt, "legs") {
		l := core.Leg{Account: account(), Unit: "CNY", Amount: amounts.Draw(w.rt, "amount") * rapid.SampledFrom([]int64{1, -1}).Draw(w.rt, "sign")}
		if l.Amount > 0 && w.chance(25, "nature") {
			l.Nature = rapid.SampledFrom([]string{"cash", "bonus", "card", "refund", "gold"}).Draw(w.rt, "name")
		}
		left -= l.Amount
		t.Legs = append(t.Legs, l)
	}
	if w.chance(3, "unbalanced") {
		left++
	}
	if left != 0 {
		t.Legs = append(t.Legs, core.Leg{Account: account(), Unit: "CNY", Amount: left})
	}
	if w.chance(20, "dollars") {
		amount := amounts.Draw(w.rt, "amount")
		t.Legs = append(t.Legs, core.Leg{Account: w.base + dollars, Unit: "USD", Amount: -amount}, core.Leg{Account: w.base + dollars + 1, Unit: "USD", Amount: amount})
	}
}

// anyAccount is one in CNY mostly, and one that there is.
func (w *world) anyAccount() int64 {
	if w.chance(3, "any account") {
		return w.account("account", unknown)
	}
	return w.base + rapid.SampledFrom([]int64{bank, bank, 2, 3, 4, bounded, wallet, wallet, wallet + 1, shop, hot, hot + 1, hot + 2, hot + 2}).Draw(w.rt, "account")
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
			l.Amount = rapid.Int64Range(0, l.Amount).Draw(w.rt, "credit")
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
