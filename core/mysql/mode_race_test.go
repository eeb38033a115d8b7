package mysql

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"strata/core"
	"strata/local"
	"strata/local/localtest"
)

// hotPair is two processes with accounts 1 (no minimum), 2, 5 and 6 (at least 0), with some money on 5 and 6.
func hotPair(t *testing.T) (start, []*running) {
	t.Helper()
	s := fresh(t)
	s.edit = func(c *Config) { c.MergeEvery = 10 * time.Millisecond; c.Consumers = []string{core.ForVouchers} }
	a, b := run(t, s), run(t, s)
	if err := a.Open(t.Context(), randomAccounts(0)); err != nil {
		t.Fatal(err)
	}
	wantApplied(t, a, move("fill5", s.clock.Now(), 1, 5, 100), move("fill6", s.clock.Now(), 1, 6, 100))
	return s, []*running{a, b}
}

// caller posts random transfers about the hot accounts, and keeps what it was answered.
type caller struct {
	name    string
	l       *running
	r       *rand.Rand
	sent    []core.Transfer
	got     []core.Answer
	trys    []string
	balance map[int64]int64 // what the answers say
}

func (c *caller) next(i int, at time.Time) core.Transfer {
	id, hot := fmt.Sprint(c.name, "-", i), []int64{5, 6}[c.r.IntN(2)]
	amount, other := c.r.Int64N(20)+1, []int64{1, 1, 1, 11 - hot}[c.r.IntN(4)]
	switch n := c.r.IntN(10); {
	case n < 4:
		return move(id, at, other, hot, amount)
	case n < 7:
		return move(id, at, hot, other, 2*amount)
	case n == 7 || len(c.trys) == 0:
		x := move(id, at, []int64{hot, other}[n%2], []int64{other, hot}[n%2], amount)
		x.Action = core.Try
		c.trys = append(c.trys, id)
		return x
	default:
		of := c.trys[0]
		c.trys = c.trys[1:]
		return act(id, []core.Action{core.Confirm, core.Confirm, core.Cancel}[c.r.IntN(3)], of, at)
	}
}

// run posts until stop, one, two or three transfers at a time.
func (c *caller) run(t *testing.T, s start, stop *atomic.Bool, posted *atomic.Int64) {
	for i := 0; !stop.Load(); {
		var call []core.Transfer
		for range 1 + c.r.IntN(3) {
			call = append(call, c.next(i, s.clock.Now()))
			i++
		}
		answers, err := c.l.Post(t.Context(), call)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			return
		}
		for k, a := range answers {
			if a.Outcome != core.Applied && a.Code != core.BelowMinimum && a.Code != core.NotFound {
				t.Errorf("%+v: %+v", call[k], a)
			}
			if a.Outcome == core.Applied && (a.Action == core.Post || a.Action == core.Confirm) {
				for _, b := range a.Balances {
					c.balance[b.Account] += b.Amount
				}
			}
		}
		c.sent, c.got = append(c.sent, call...), append(c.got, answers...)
		posted.Add(int64(len(call)))
	}
}

// TestL12_modes_switch_under_load switches two accounts about at random, and cuts days, while callers of two processes post
// to them from all sides: in the end everything is there once, nothing is below its minimum, and all that can be derived
// from the entries is what the tables say.
func TestL12_modes_switch_under_load(t *testing.T) {
	s, both := hotPair(t)
	var stop atomic.Bool
	var posted atomic.Int64
	var wg sync.WaitGroup
	callers := make([]*caller, 6)
	for i := range callers {
		callers[i] = &caller{name: fmt.Sprint("c", i), l: both[i%2], r: rand.New(rand.NewPCG(uint64(i), 7)), balance: map[int64]int64{}}
		wg.Go(func() { callers[i].run(t, s, &stop, &posted) })
	}
	r := rand.New(rand.NewPCG(3, 3))
	modes := append(allModes(), core.RealTime)
	for i := range 24 {
		enough := posted.Load() + 10
		localtest.Eventually(t, time.Minute, "callers go on", func() (bool, error) { return posted.Load() >= enough || t.Failed(), nil })
		mode, id := modes[r.IntN(len(modes))], []int64{5, 6}[i%2]
		if err := both[r.IntN(2)].SwitchMode(t.Context(), id, mode, 2+r.IntN(4)); err != nil {
			t.Error(err)
		}
		if i%8 == 7 {
			s.clock.Set(s.clock.Now().Add(24 * time.Hour))
			if err := both[0].CutDay(t.Context(), s.clock.Now()); err != nil {
				t.Error(err)
			}
		}
	}
	stop.Store(true)
	wg.Wait()
	wantAsAnswered(t, both, callers)
	wantChecked(t, s)
	for _, id := range []int64{5, 6} {
		switchTo(t, both[0], id, core.RealTime)
	}
	if n := count(t, both[0].db, "SELECT COUNT(*) FROM buffer") + count(t, both[0].db, "SELECT COUNT(*) FROM account WHERE id<0 AND (balance<>0 OR state<>'closed')"); n != 0 {
		t.Fatalf("%d rows are left", n)
	}
	wantAsAnswered(t, both, callers)
	wantChecked(t, s)
	_, report := content(t, s.dsn)
	wantBalanced(t, report)
}

// wantAsAnswered compares balances with the answers, and the answers with those of a repetition.
func wantAsAnswered(t *testing.T, both []*running, callers []*caller) {
	t.Helper()
	want, applied := map[int64]int64{1: -200, 5: 100, 6: 100}, 0
	for _, c := range callers {
		for id, amount := range c.balance {
			want[id] += amount
		}
		for from := 0; from < len(c.sent); from += 400 {
			call := c.sent[from:min(from+400, len(c.sent))]
			again, err := both[len(c.name)%2].Post(t.Context(), call)
			if err != nil {
				t.Fatal(err)
			}
			for i, a := range again {
				was := c.got[from+i]
				if was.Outcome == core.Applied {
					applied++
				}
				if was.Again().Outcome != a.Outcome || was.Code != a.Code || !reflect.DeepEqual(was.Balances, a.Balances) {
					t.Fatalf("%+v\nwas %+v\nis  %+v", call[i], was, a)
				}
			}
		}
	}
	if applied == 0 {
		t.Error("nothing was applied")
	}
	for _, id := range []int64{1, 5, 6} {
		a, err := both[0].Balance(t.Context(), id)
		if err != nil || a.Balance != want[id] || id > 1 && a.Available() < 0 {
			t.Fatalf("account %d: %+v instead of %d, %v", id, a, want[id], err)
		}
	}
}

// TestL12_nothing_posts_after_a_freeze, in any mode, from any process: what is there when SetState returns is all.
func TestL12_nothing_posts_after_a_freeze(t *testing.T) {
	for _, mode := range append(allModes(), core.RealTime) {
		t.Run(mode.String(), func(t *testing.T) {
			s, both := hotPair(t)
			switchTo(t, both[0], 5, mode)
			switchTo(t, both[0], 1, map[bool]core.Mode{true: core.Simple, false: core.RealTime}[mode == core.Simple])
			var stop atomic.Bool
			var wg sync.WaitGroup
			for w := range 4 {
				wg.Go(func() {
					for i := 0; !stop.Load(); i++ {
						x := move(fmt.Sprintf("%s%d-%d", mode, w, i), s.clock.Now(), 1, 5, 1)
						if i%3 == 2 {
							x = move(x.ID, s.clock.Now(), 5, 1, 2)
						}
						if out, err := both[w%2].Post(t.Context(), []core.Transfer{x}); err != nil || out[0].Code != "" && out[0].Code != core.AccountFrozen {
							t.Errorf("%+v, %v", out, err)
							return
						}
					}
				})
			}
			shape := func() core.Account {
				a, err := both[0].Balance(t.Context(), 5)
				if err != nil {
					t.Fatal(err)
				}
				a.Entries, a.Buffered = 0, 0 // merging goes on
				return a
			}
			for i := range 5 {
				if err := both[i%2].SetState(t.Context(), 5, core.Frozen); err != nil {
					t.Fatal(err)
				}
				before := shape()
				for k, l := range both {
					if a := one(t, l, move(fmt.Sprintf("frozen%d-%d", i, k), s.clock.Now(), 1, 5, 1)); a.Code != core.AccountFrozen {
						t.Fatalf("%+v", a)
					}
				}
				if after := shape(); !reflect.DeepEqual(before, after) {
					t.Fatalf("%+v\nbecame %+v", before, after)
				}
				if err := both[i%2].SetState(t.Context(), 5, core.Open); err != nil {
					t.Fatal(err)
				}
			}
			stop.Store(true)
			wg.Wait()
			wantChecked(t, s)
		})
	}
}

// TestL12_merges_race: two processes merge, credit and debit one account, whose debits need what waits.
func TestL12_merges_race(t *testing.T) {
	s, both := hotPair(t)
	switchTo(t, both[0], 2, core.Buffered)
	if err := both[0].SetBounds(t.Context(), 2, ptr(int64(0)), nil); err != nil {
		t.Fatal(err)
	}
	const each = 60
	var spent atomic.Int64
	var wg sync.WaitGroup
	for w, l := range both {
		wg.Go(func() {
			for i := range each {
				credit, debit := move(fmt.Sprint("c", w, "-", i), s.clock.Now(), 1, 2, 3), move(fmt.Sprint("d", w, "-", i), s.clock.Now(), 2, 1, 3)
				out, err := l.Post(t.Context(), []core.Transfer{credit})
				if err == nil && out[0].Outcome == core.Applied {
					out, err = l.Post(t.Context(), []core.Transfer{debit})
				}
				if err != nil || out[0].Outcome != core.Applied { // what was credited before can be spent
					t.Errorf("%+v, %v", out, err)
					return
				}
				spent.Add(3)
			}
		})
		wg.Go(func() {
			for range each {
				if _, err := l.MergeAll(t.Context(), 3); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if err := both[1].Merge(t.Context(), []int64{2}); err != nil {
		t.Fatal(err)
	}
	a, err := both[0].Balance(t.Context(), 2)
	if err != nil || a.Balance != 0 || a.Entries != 4*each || spent.Load() != 6*each {
		t.Fatalf("%+v, %v, %d spent", a, err, spent.Load())
	}
	wantChecked(t, s)
}

// TestL12_inner_accounts_pay_all_there_is: parallel debits exhaust the balance to the last unit that fits, wherever it
// stands; one is refused only when all places together have less.
func TestL12_inner_accounts_pay_all_there_is(t *testing.T) {
	s, both := hotPair(t)
	wantApplied(t, both[0], move("fill", s.clock.Now(), 1, 5, 900))
	switchTo(t, both[0], 5, core.SubAccounts)
	var paid, refused atomic.Int64
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			for i := range 40 {
				out, err := both[w%2].Post(t.Context(), []core.Transfer{move(fmt.Sprint("p", w, "-", i), s.clock.Now(), 5, 1, 7)})
				switch {
				case err != nil:
					t.Error(err)
				case out[0].Outcome == core.Applied:
					paid.Add(7)
				case out[0].Code == core.BelowMinimum:
					refused.Add(1)
				default:
					t.Errorf("%+v", out[0])
				}
			}
		})
	}
	wg.Wait()
	if paid.Load() != 994 || refused.Load() != 320-142 {
		t.Fatalf("%d of 1000 were paid, %d refused", paid.Load(), refused.Load())
	}
	if n := count(t, both[0].db, "SELECT COUNT(*) FROM account WHERE parent=5 AND balance<0"); n != 0 {
		t.Fatalf("%d inner accounts are below 0", n)
	}
	if n := count(t, both[0].db, "SELECT COUNT(*) FROM transfer_id WHERE id LIKE 'inner:%'"); n < 3 {
		t.Fatalf("%d transfers between them", n)
	}
	wantChecked(t, s)
}

// TestL12_mode_crash_points_resume stops a ledger once at each point of the modes and goes on: the accounts end as in one
// that was never stopped.
func TestL12_mode_crash_points_resume(t *testing.T) {
	story := func(t *testing.T, at func(string) error) (out []core.Account) {
		s := fresh(t)
		s.at = at
		s.edit = func(c *Config) { c.MergeEvery = -1; c.Consumers = []string{core.ForVouchers} }
		l := run(t, s)
		again := func(do func() error) {
			t.Helper()
			for range 2 * len(ModeCrashPoints()) {
				if do() == nil {
					return
				}
				l.stop()
				l = run(t, s)
			}
			t.Fatal(do())
		}
		mode := func(id int64, mode core.Mode) {
			again(func() error { return l.SwitchMode(t.Context(), id, mode, 4) })
		}
		pay := func(id string, from, to, amount int64) {
			t.Helper()
			again(func() error {
				answers, err := l.Post(t.Context(), []core.Transfer{move(id, s.clock.Now(), from, to, amount)})
				if err == nil && answers[0].Outcome == core.Refused {
					t.Errorf("%s: %+v", id, answers[0])
				}
				return err
			})
		}
		again(func() error { return l.Open(t.Context(), randomAccounts(0)) })
		for round := range 3 {
			id := func(s string) string { return fmt.Sprint(s, round) }
			mode(5, core.Buffered)
			pay(id("a"), 1, 5, 10)
			pay(id("b"), 1, 5, 20)
			again(func() error { return l.Merge(t.Context(), []int64{5}) })
			pay(id("c"), 1, 5, 5)
			pay(id("d"), 5, 1, 33) // merges on demand
			pay(id("e"), 1, 5, 40)
			mode(5, core.SubAccounts)
			pay(id("f"), 5, 1, 30) // gathers
			pay(id("g"), 1, 5, 1)
			mode(5, core.Simple)
			mode(1, core.Simple)
			pay(id("h"), 5, 1, 3)
			mode(1, core.RealTime)
			mode(5, core.RealTime)
		}
		for _, id := range []int64{1, 5} {
			a, err := l.Balance(t.Context(), id)
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, a)
		}
		wantChecked(t, s)
		return out
	}
	record := local.Record()
	want := story(t, record.At)
	hits := record.Hits()
	for _, late := range []int{0, 1} {
		c := &crashes{nth: map[string]int{}}
		for _, point := range ModeCrashPoints() {
			if hits[point] == 0 {
				t.Errorf("%s was never hit", point)
			}
			c.nth[point] = 1 + late*(hits[point]/3)
			c.left++
		}
		if got := story(t, c.at); !reflect.DeepEqual(got, want) || c.left != 0 {
			t.Fatalf("%+v\ninstead of %+v; %d points were not hit: %v", got, want, c.left, c.nth)
		}
	}
}
