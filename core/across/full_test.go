package across

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math"
	"testing"
	"time"

	"strata/core"
	"strata/core/memory"
	"strata/core/mysql"
	"strata/db"
	"strata/fault"
	"strata/local/localtest"
)

// kinds are the ledgers that this package is proven with: each opens a running one, empty, that ends with the test.
func kinds() map[string]func(t testing.TB, clock *core.Clock) core.Full {
	return map[string]func(t testing.TB, clock *core.Clock) core.Full{
		"memory": func(t testing.TB, clock *core.Clock) core.Full {
			l, err := memory.New(memory.Config{Now: clock.Now})
			if err != nil {
				t.Fatal(err)
			}
			return l
		},
		"mysql": func(t testing.TB, clock *core.Clock) core.Full {
			return engine(t, localtest.Schema(t, localtest.Shared(t)), clock)
		},
	}
}

// engine opens a ledger on a schema and runs it until the test's end.
func engine(t testing.TB, dsn string, clock *core.Clock) *mysql.Ledger {
	l, err := mysql.New(t.Context(), mysql.Config{DB: open(t, dsn), Now: clock.Now})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- l.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return l
}

// each runs a test with the names' ledgers of each kind.
func each(t *testing.T, test func(t *testing.T, w *world, full map[string]core.Full)) {
	for kind, open := range kinds() {
		t.Run(kind, func(t *testing.T) {
			w, full := opened(t, schema(t), open)
			test(t, w, full)
		})
	}
}

func opened(t testing.TB, d *db.DB, open func(t testing.TB, clock *core.Clock) core.Full) (*world, map[string]core.Full) {
	clock := &core.Clock{}
	clock.Set(begun())
	full, parts := map[string]core.Full{}, map[string]Participant{}
	for _, name := range []string{"a", "b"} {
		full[name] = open(t, clock)
		parts[name] = full[name]
	}
	return worldOf(t, d, clock, parts), full
}

// TestConfirm_is_not_refused does, between Try and Confirm, what would refuse a Try.
func TestConfirm_is_not_refused(t *testing.T) {
	each(t, func(t *testing.T, w *world, full map[string]core.Full) {
		ctx := t.Context()
		kind := slug(t)
		must := func(err error) {
			t.Helper()
			if err != nil {
				t.Fatal(err)
			}
		}
		put := func(s core.Settings) {
			for _, name := range w.names {
				v, err := full[name].Settings(ctx)
				must(err)
				_, err = full[name].PutSettings(ctx, v.Number, s, "test", "test")
				must(err)
			}
		}
		both := func(do func(l core.Full, id int64) error) {
			must(do(full["a"], 1))
			must(do(full["b"], 2))
			must(do(full["a"], 90))
			must(do(full["b"], 90))
		}
		mode := func(m core.Mode, inner int) func() {
			return func() { // a switch may be refused while something is pending, but must not hurt it
				both(func(l core.Full, id int64) error { _ = l.SwitchMode(ctx, id, m, inner); return nil })
			}
		}
		for _, c := range []struct {
			name   string
			during func()
			after  func()
		}{
			{"frozen", func() {
				both(func(l core.Full, id int64) error { return l.SetState(ctx, id, core.Frozen) })
			}, func() {
				both(func(l core.Full, id int64) error { return l.SetState(ctx, id, core.Open) })
			}},
			{"not closed while it is pending", func() {
				if err := full["a"].SetState(ctx, 90, core.Closed); !fault.Is(err, fault.Conflict) {
					t.Fatal(err)
				}
			}, func() {}},
			{"bounds", func() {
				low, high := int64(5000), int64(-5000)
				both(func(l core.Full, id int64) error { return l.SetBounds(ctx, id, &low, nil) })
				must(full["b"].SetBounds(ctx, 2, nil, &high))
			}, func() {
				both(func(l core.Full, id int64) error { return l.SetBounds(ctx, id, nil, nil) })
			}},
			{"switched off", func() {
				put(core.Settings{Off: []core.Switch{{Operation: "*"}}})
			}, func() { put(core.Settings{}) }},
			{"limits", func() {
				none := int64(0)
				put(core.Settings{Limits: []core.Limit{{Name: "none", Scope: "ledger", Unit: "CNY", Per: "day", MaxAmount: &none, MaxCount: &none}}})
			}, func() { put(core.Settings{}) }},
			{"the rest is spent", func() {
				a, err := full["a"].Balance(ctx, 1)
				must(err)
				w.postTo("a", kind+"-spend", 1, 9, a.Available())
				w.postTo("a", kind+"-again", 9, 1, 1000)
			}, func() {}},
			{"switched to buffered", mode(core.Buffered, 0), mode(core.RealTime, 0)},
			{"switched to sub-accounts", mode(core.SubAccounts, 2), mode(core.RealTime, 0)},
			{"switched to simple", mode(core.Simple, 0), mode(core.RealTime, 0)},
			{"a day is cut", func() {
				both(func(l core.Full, _ int64) error { return l.CutDay(ctx, begun().AddDate(0, 1, 0)) })
			}, func() {}},
		} {
			t.Run(c.name, func(t *testing.T) {
				w.t = t
				co := w.coordinator(nil)
				for _, name := range w.names {
					w.wires[name].plan([]trouble{fine, away})
				}
				before := w.balance("b", 2)
				a := w.must(co, pay(slug(t), 10), core.Applied, "")
				if a.State != Commit {
					t.Fatalf("%+v", a)
				}
				c.during()
				w.heal(co)
				c.after()
				w.whole()
				if got := w.balance("b", 2) - before; got != 10 || co.Stats().Stuck != 0 {
					t.Fatalf("%d, %+v", got, co.Stats())
				}
				w.clock.Set(begun())
			})
		}
	})
}

// big is ledger b with an account 50 that has room for 20 more, and what reserves 15 of it and leaves the Confirm to recovery.
func (w *world) big(t *testing.T, full map[string]core.Full, co *Coordinator) (move func(id string, from, to int64), reserve func(id string, code core.Code)) {
	t.Helper()
	kind := slug(t)
	if err := full["b"].Open(t.Context(), []core.Account{{ID: 50, Name: "big", Unit: "CNY"}, {ID: 51, Name: "small", Unit: "CNY"}}); err != nil {
		t.Fatal(err)
	}
	move = func(id string, from, to int64) { w.postTo("b", kind+id, from, to, math.MaxInt64-20) }
	move("up", 51, 50)
	return move, func(id string, code core.Code) {
		t.Helper()
		for _, name := range w.names {
			w.wires[name].plan([]trouble{fine, away})
		}
		x := pay(kind+id, 15)
		x.Legs[1].Account = 50
		if a, err := co.Post(t.Context(), x); err != nil || a.Code != code {
			t.Errorf("%s: %+v, %v instead of %q", id, a, err, code)
		}
	}
}

// TestConfirm_fits_the_balance: what is reserved fits, whatever is reserved and booked before its Confirm.
func TestConfirm_fits_the_balance(t *testing.T) {
	each(t, func(t *testing.T, w *world, full map[string]core.Full) {
		co := w.coordinator(nil)
		_, reserve := w.big(t, full, co)
		reserve("1", "")
		reserve("2", core.Overflow)
		w.heal(co)
		w.whole()
	})
}

// TestConfirm_fits_the_turnover: the sums of debits and credits, which only grow, have room for what is reserved.
func TestConfirm_fits_the_turnover(t *testing.T) {
	each(t, func(t *testing.T, w *world, full map[string]core.Full) {
		co := w.coordinator(nil)
		move, reserve := w.big(t, full, co)
		move("down", 50, 51) // the balance is 0 again
		reserve("1", "")
		reserve("2", core.Overflow)
		w.heal(co)
		w.whole()
	})
}

// slug makes ids of a test's name.
func slug(t *testing.T) string {
	sum := sha256.Sum256([]byte(t.Name()))
	return hex.EncodeToString(sum[:6])
}

// TestLate_try_meets_the_fence: the real ledgers do with a Try after its Cancel what this package relies on.
func TestLate_try_meets_the_fence(t *testing.T) {
	each(t, func(t *testing.T, w *world, full map[string]core.Full) {
		id := slug(t)
		co := w.coordinator(nil)
		w.wires["b"].plan([]trouble{late, late, fine})
		if _, err := co.Post(t.Context(), pay(id, 10)); err == nil {
			t.Fatal("it was answered")
		}
		w.clock.Set(w.clock.Now().Add(time.Minute))
		if _, err := co.Recover(t.Context()); err != nil { // its Cancel is late, too
			t.Fatal(err)
		}
		w.heal(co)
		for n := range 3 {
			if err := w.wires["b"].deliver(context.Background(), 1, uint64(n)); err != nil {
				t.Fatal(err)
			}
		}
		w.whole()
		try, _, _ := IDs(id)
		r, err := full["b"].Reservation(t.Context(), try)
		if err != nil || r.State != core.Fenced || r.LateTrys < 1 {
			t.Fatalf("%+v, %v", r, err)
		}
		if a, known, err := full["b"].Answer(t.Context(), try); err != nil || !known || a.Code != core.Hung {
			t.Fatalf("%+v, %v, %v", a, known, err)
		}
		w.must(co, pay(id, 10), core.Refused, Aborted)
	})
}

// TestL12_ledgers_crash_points stops the coordinator at each point over real ledgers.
func TestL12_ledgers_crash_points(t *testing.T) {
	each(t, func(t *testing.T, w *world, _ map[string]core.Full) {
		kind := slug(t)
		moved := int64(0)
		for i, point := range CrashPoints() {
			for nth := 1; nth <= 2; nth++ {
				id := fmt.Sprintf("%s-%d-%d", kind, i, nth)
				trap := trapAt(point, nth)
				c := w.coordinator(trap)
				_, _ = c.Post(t.Context(), pay(id+"g", 3))
				_, _ = c.Post(t.Context(), pay(id+"b", 5000))
				_ = c.CutDay(t.Context(), begun().AddDate(0, 0, i+1))
				next := w.coordinator(nil)
				w.heal(next)
				if date, cutting, err := next.Cutting(t.Context()); err != nil {
					t.Fatal(err)
				} else if cutting {
					if err := next.CutDay(t.Context(), date); err != nil {
						t.Fatal(err)
					}
				}
				if st, known, err := next.Find(t.Context(), id+"g"); err != nil {
					t.Fatal(err)
				} else if known && st.Decision == Commit {
					moved += 3
				}
				w.whole()
				if w.balance("a", 1) != 1000-moved || w.balance("b", 2) != 1000+moved {
					t.Fatal(point, nth, w.balance("a", 1), w.balance("b", 2))
				}
				if found := w.findings(next, begun()); i > 0 && found != "" && nth == 2 {
					t.Fatal(point, nth, found)
				}
			}
		}
	})
}
