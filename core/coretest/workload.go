package coretest

import (
	"context"
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"strata/core"
	"strata/core/memory"
)

// Random drives a ledger and the model in memory with the same random calls, by rapid: all actions, chains, repeated ids
// with the same and with other bodies, states, bounds, modes, settings, days. Answers, accounts, funds, uses, reservations,
// orders and events are equal. The ledger may hold other things; every round has accounts and ids of its own.
func Random(t *testing.T, l core.Full, clock *core.Clock, modes ...core.Mode) {
	round := 0
	rapid.Check(t, func(rt *rapid.T) {
		round++
		w := newWorld(rt, t.Context(), l, clock, round, modes)
		for range rapid.IntRange(8, 24).Draw(rt, "steps") {
			clock.Set(clock.Now().Add(time.Duration(rapid.IntRange(1, 90).Draw(rt, "seconds")) * time.Second))
			w.step()
		}
		w.finish()
	})
}

// world is one round.
type world struct {
	rt          *rapid.T
	ctx         context.Context
	real, model core.Full
	clock       *core.Clock
	round       int
	base        int64
	modes       []core.Mode
	shifted     map[int64]bool // accounts that were not always in real time
	sent        map[string]core.Transfer
	ids         []string
	booked      []string // Posts and Confirms that were applied
	pending     []string // Trys that were applied
	early       []string // cancelled before they were tried
	counts      map[string]int64
}

// The accounts of a round, above its base.
const (
	bank     = 1 // no bounds; as 2
	bounded  = 5 // 3 and 4: at least 0; 5: 0 to 300
	dollars  = 6 // 7: at least 0
	wallet   = 8 // and 9
	shop     = 10
	hot      = 11 // modes; 12: at least 0; 13: a wallet
	unknown  = 14
	baseStep = 100
)

func newWorld(rt *rapid.T, ctx context.Context, l core.Full, clock *core.Clock, round int, modes []core.Mode) *world {
	w := &world{rt: rt, ctx: ctx, real: l, clock: clock, round: round, base: int64(round * baseStep), modes: modes, shifted: map[int64]bool{},
		sent: map[string]core.Transfer{}}
	day, err := l.Day(ctx)
	w.ok(err)
	w.model, err = memory.New(memory.Config{Now: clock.Now, FirstDay: day, Consumers: []string{core.ForVouchers}})
	w.ok(err)
	var accounts []core.Account
	for id := int64(1); id < unknown; id++ {
		a := core.Account{ID: w.base + id, Name: "x", Unit: "CNY"}
		switch id {
		case 3, 4, bounded, dollars + 1, hot + 1:
			a.MinBalance = ref(0)
		case wallet, wallet + 1, hot + 2:
			a.Strategy = "wallet"
		case shop:
			a.Strategy = "shop"
		}
		if id == bounded {
			a.MaxBalance = ref(300)
		}
		if id == dollars || id == dollars+1 {
			a.Unit = "USD"
		}
		accounts = append(accounts, a)
	}
	w.both("open", func(l core.Full) error { return l.Open(ctx, accounts) })
	w.put(core.Settings{Strategies: strategies()})
	clock.Set(clock.Now().Add(time.Hour)) // what a round that was broken off left
	w.expireAll(l)
	w.counts, err = l.CountReservations(ctx)
	w.ok(err)
	w.fill()
	if w.chance(60, "limits") {
		w.put(w.settings())
	}
	if w.chance(60, "modes") {
		w.mode()
	}
	return w
}

// fill gives the wallets natures, and money to those that have none.
func (w *world) fill() {
	t := w.transfer("payment")
	for _, p := range []struct {
		to     int64
		nature string
		amount int64
	}{{3, "", 400}, {4, "", 200}, {hot + 1, "", 50}, {wallet, "cash", 300}, {wallet, "bonus", 160}, {wallet + 1, "card", 70}, {wallet + 1, "cash", 300},
		{wallet + 1, "refund", 40}, {hot + 2, "cash", 180}, {hot + 2, "bonus", 30}, {shop, "", 150}} {
		t.Legs = append(t.Legs, core.Leg{Account: w.base + bank, Unit: "CNY", Amount: -p.amount},
			core.Leg{Account: w.base + p.to, Unit: "CNY", Amount: p.amount, Nature: p.nature})
	}
	w.post([]core.Transfer{t})
}

func (w *world) ok(err error) {
	if err != nil {
		w.rt.Helper()
		w.rt.Fatal(err)
	}
}

// both does the same to the ledger and the model: the same error kinds, or none.
func (w *world) both(what string, do func(l core.Full) error) {
	real, model := do(w.real), do(w.model)
	if (real == nil) != (model == nil) {
		w.rt.Fatalf("%s: %v instead of %v", what, real, model)
	}
}

// below draws from [0, n) evenly: rapid's own ranges prefer small numbers, and most that happens would be the first case.
func (w *world) below(n int, what string) int {
	x := uint64(rapid.Uint32().Draw(w.rt, what))
	return int(x * 0x9E3779B97F4A7C15 >> 40 % uint64(n))
}

func (w *world) chance(percent int, what string) bool { return w.below(100, what) >= 100-percent }

func (w *world) account(what string, to int) int64 { return w.base + 1 + int64(w.below(to, what)) }

// pick draws one of all.
func pick[T any](w *world, what string, all ...T) T { return all[w.below(len(all), what)] }

func (w *world) step() {
	switch w.below(24, "step") {
	case 0:
		id, state := w.account("account", unknown), pick(w, "state", core.Open, core.Open, core.Open, core.Frozen, core.Closed)
		w.both("set state", func(l core.Full) error { return l.SetState(w.ctx, id, state) })
	case 1:
		w.bounds()
	case 2:
		w.put(w.settings())
	case 3:
		w.cut()
	case 4:
		w.expire()
	case 5, 6:
		w.mode()
	default:
		var call []core.Transfer
		for range 1 + w.below(14, "transfers") {
			t := w.random()
			call = append(call, t)
			w.sent[t.ID] = t
		}
		if last := &call[len(call)-1]; last.Linked && w.chance(95, "ends") {
			last.Linked = false
			w.sent[last.ID] = *last
		}
		w.post(call)
	}
}

func (w *world) bounds() {
	id := w.base + pick[int64](w, "account", bank, 3, bounded, wallet, dollars+1)
	var low, high *int64
	if w.chance(60, "low") {
		low = ref(rapid.Int64Range(-100, 100).Draw(w.rt, "minimum"))
	}
	if w.chance(60, "high") {
		high = ref(rapid.Int64Range(0, 400).Draw(w.rt, "maximum"))
	}
	w.both("set bounds", func(l core.Full) error { return l.SetBounds(w.ctx, id, low, high) })
}

func (w *world) cut() {
	day, err := w.real.Day(w.ctx)
	w.ok(err)
	next := day.AddDate(0, 0, pick(w, "days", 0, 1, 1, 40))
	w.both("cut day", func(l core.Full) error { return l.CutDay(w.ctx, next) })
}

func (w *world) expire() {
	if real, model := w.expireAll(w.real), w.expireAll(w.model); real != model {
		w.rt.Fatalf("%d reservations were given back instead of %d", real, model)
	}
}

func (w *world) expireAll(l core.Full) (all int) {
	for {
		n, err := l.ExpireReservations(w.ctx, 200)
		w.ok(err)
		if n == 0 {
			return all
		}
		all += n
	}
}

func (w *world) mode() {
	if len(w.modes) == 0 {
		return
	}
	id := w.base + hot + int64(w.below(3, "account"))
	mode := pick(w, "mode", append([]core.Mode{core.RealTime}, w.modes...)...)
	if mode == core.SubAccounts && id == w.base+hot+2 {
		return // a balance that is split by nature is not spread
	}
	w.shifted[id] = true
	w.both("switch mode", func(l core.Full) error { return l.SwitchMode(w.ctx, id, mode, 3) })
}

func (w *world) put(s core.Settings) {
	w.both("put settings", func(l core.Full) error {
		v, err := l.Settings(w.ctx)
		if err == nil {
			_, err = l.PutSettings(w.ctx, v.Number, s, "random", "")
		}
		return err
	})
}

// settings has limits of the round's own names.
func (w *world) settings() core.Settings {
	s := core.Settings{Strategies: strategies()}
	for _, l := range []core.Limit{
		limit("acc-day", "account", "", "day", ref(200), nil), limit("acc-month", "account", fmt.Sprint(w.base+wallet), "month", ref(150), ref(6), "payment"),
		limit("tenant", "tenant", "", "day", ref(250), nil), limit("op", "operation", "withdraw", "day", nil, ref(4)),
		limit("all", "ledger", "", "month", ref(2000), ref(60)), limit("each", "account", "", "transfer", ref(90), nil),
	} {
		if l.Name = fmt.Sprintf("%s-%d", l.Name, w.round); w.chance(50, l.Name) {
			s.Limits = append(s.Limits, l)
		}
	}
	if w.chance(20, "off") {
		s.Off = []core.Switch{{Operation: pick(w, "operation", "*", "withdraw"), Account: w.account("off", unknown)}}
	}
	switch w.below(10, "strategies") {
	case 0:
		s.Strategies = nil
	case 1:
		n := s.Strategies[0].Natures
		n[0], n[2] = n[2], n[0]
	case 2:
		s.Strategies[0].Natures = s.Strategies[0].Natures[1:]
	}
	return s
}

func (w *world) post(call []core.Transfer) {
	real, err := w.real.Post(w.ctx, call)
	w.ok(err)
	model, err := w.model.Post(w.ctx, call)
	w.ok(err)
	for i := range call {
		if why := w.differs(real[i], model[i]); why != "" {
			w.rt.Fatalf("%s: %+v\nledger: %+v\nmodel:  %+v", why, call[i], real[i], model[i])
		}
		switch a := model[i]; {
		case a.Outcome != core.Applied:
		case a.Action == core.Post, a.Action == core.Confirm:
			w.booked = append(w.booked, call[i].ID)
		case a.Action == core.Try:
			w.pending = append(w.pending, call[i].ID)
		}
	}
}

// differs compares answers; numbers and balances of accounts that were not always in real time may be others.
func (w *world) differs(real, model core.Answer) string {
	if real.Outcome != model.Outcome || real.Code != model.Code || real.Field != model.Field || real.Action != model.Action || len(real.Balances) != len(model.Balances) {
		return "another answer"
	}
	for i, r := range real.Balances {
		m := model.Balances[i]
		if w.shifted[r.Account] {
			r.Seq, r.Balance, m.Seq, m.Balance = 0, 0, 0, 0
		}
		if !core.SameBalance(r, m) {
			return fmt.Sprintf("another balance of leg %d", i)
		}
	}
	return ""
}
