package across

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"

	"strata/core"
	"strata/core/memory"
	"strata/fault"
	"strata/local"
)

// story is a random history of two coordinators on one database, and what they said.
type story struct {
	*world
	rt   *rapid.T
	run  int64
	both []*Coordinator
	trap atomic.Pointer[local.Trap]

	mu   sync.Mutex
	sent map[string][]Transfer // by id, each body that was ever posted
	said map[string]Answer     // by id and body
}

// TestL12_random_schedules posts, recovers, crashes, loses, delays and cuts days at random, several things at once. At the
// end, when all wires work: everything or nothing on every ledger, transit nets to zero, nothing is reserved, and no answer
// that was ever given has changed.
func TestL12_random_schedules(t *testing.T) { randomSchedules(t) }

// TestSoak_random_schedules is the same, 500 times a round.
func TestSoak_random_schedules(t *testing.T) {
	rounds, err := strconv.Atoi(os.Getenv("STRATA_SOAK_ROUNDS"))
	if err != nil || rounds < 1 {
		t.Skip("set STRATA_SOAK_ROUNDS; make soak")
	}
	checks := flag.Lookup("rapid.checks").Value
	before := checks.String()
	t.Cleanup(func() { _ = checks.Set(before) })
	_ = checks.Set(strconv.Itoa(500 * rounds))
	randomSchedules(t)
}

func randomSchedules(t *testing.T) {
	t.Helper()
	d, run := schema(t), int64(0)
	rapid.Check(t, func(rt *rapid.T) {
		run++
		s := &story{world: inMemory(t, d, "a", "b", "c"), rt: rt, run: run, sent: map[string][]Transfer{}, said: map[string]Answer{}}
		at := func(point string) error {
			if trap := s.trap.Load(); trap != nil {
				return trap.At(point)
			}
			return nil
		}
		s.both = []*Coordinator{s.coordinator(at), s.coordinator(at)}
		for range rapid.IntRange(3, 12).Draw(rt, "steps") {
			s.step()
		}
		s.trap.Store(nil)
		s.deliverAll(1)
		s.heal(s.both[0])
		if date, cutting, err := s.both[0].Cutting(context.Background()); err != nil {
			t.Fatal(err)
		} else if cutting { // as its schedule would
			if err := s.both[1].CutDay(context.Background(), date); err != nil {
				t.Fatal(err)
			}
		}
		s.check()
		s.deliverAll(2) // what comes after everything has ended changes nothing
		s.check()
	})
}

func (s *story) step() {
	rt, ctx := s.rt, context.Background()
	for _, name := range s.names {
		s.wires[name].plan(rapid.SliceOfN(rapid.Custom(func(t *rapid.T) trouble {
			return max(fine, trouble(rapid.IntRange(-4, int(manner)-1).Draw(t, "trouble")))
		}), 0, 6).Draw(rt, "troubles of "+name))
	}
	s.trap.Store(nil)
	if point := rapid.IntRange(-2*len(CrashPoints()), len(CrashPoints())-1).Draw(rt, "crash"); point >= 0 {
		s.trap.Store(local.NewTrap(CrashPoints()[point], rapid.IntRange(1, 4).Draw(rt, "nth")))
	}
	var wg sync.WaitGroup
	for _, c := range s.both[:rapid.IntRange(1, 2).Draw(rt, "at once")] {
		switch rapid.SampledFrom([]string{"post", "post", "post", "post", "recover", "recover", "late", "cut"}).Draw(rt, "what") {
		case "post":
			x := s.transfer()
			wg.Go(func() { s.post(ctx, c, x) })
		case "recover":
			s.clock.Set(s.clock.Now().Add(time.Duration(rapid.IntRange(0, 60).Draw(rt, "seconds")) * time.Second))
			wg.Go(func() { _, _ = c.Recover(ctx) })
		case "late":
			name, n := rapid.SampledFrom(s.names).Draw(rt, "ledger"), rapid.IntRange(1, 3).Draw(rt, "calls")
			wg.Go(func() { _ = s.wires[name].deliver(ctx, n, 3) })
		case "cut":
			date := begun().AddDate(0, 0, rapid.IntRange(0, 3).Draw(rt, "date"))
			wg.Go(func() { _ = c.CutDay(ctx, date) })
		}
	}
	wg.Wait()
}

// transfer is one of five ids, with few bodies.
func (s *story) transfer() Transfer {
	rt := s.rt
	x := Transfer{ID: fmt.Sprintf("r%d-%d", s.run, rapid.IntRange(1, 5).Draw(rt, "id")), Kind: "pay", OrderTime: begun()}
	if old := s.sent[x.ID]; len(old) > 0 && rapid.IntRange(0, 4).Draw(rt, "same") > 0 {
		return old[0]
	}
	rest := int64(0)
	for i, name := range s.names[:rapid.IntRange(2, 3).Draw(rt, "ledgers")] {
		amount := int64(rapid.SampledFrom([]int{-700, -400, -30, 25, 500}).Draw(rt, "amount"))
		if i > 0 && rapid.Bool().Draw(rt, "rest") {
			amount = -rest
		}
		if amount != 0 {
			x.Legs = append(x.Legs, Leg{Ledger: name, Account: int64(rapid.IntRange(1, 3).Draw(rt, "account")), Unit: "CNY", Amount: amount})
			rest += amount
		}
	}
	if rest != 0 {
		x.Legs = append(x.Legs, Leg{Ledger: s.names[0], Account: 9, Unit: "CNY", Amount: -rest})
	}
	s.sent[x.ID] = append(s.sent[x.ID], x)
	return x
}

func said(x Transfer) string { h := x.Hash(); return fmt.Sprintf("%s %x", x.ID, h[:4]) }

// post fails the test where an answer differs from an earlier one, and reports whether there was one.
func (s *story) post(ctx context.Context, c *Coordinator, x Transfer) bool {
	a, err := c.Post(ctx, x)
	if err != nil {
		if fault.Is(err, fault.Internal) && !errors.Is(err, local.ErrCrash) {
			s.t.Errorf("%s: %v", x.ID, err)
		}
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if before, ok := s.said[said(x)]; ok && !same(before, a) {
		s.t.Errorf("%s: %+v, and before %+v", x.ID, a, before)
	}
	s.said[said(x)] = a
	return true
}

// same compares what never changes. Conflict or not is settled by who came first, so it is an answer like the others.
func same(a, b Answer) bool {
	booked := func(a Answer) bool { return a.Outcome == core.Applied || a.Outcome == core.Replayed }
	return (a.Outcome == b.Outcome || booked(a) && booked(b)) && a.Code == b.Code && a.Message == b.Message && a.Field == b.Field && a.Ledger == b.Ledger
}

func (s *story) deliverAll(seed uint64) {
	for _, name := range s.names {
		n := 100
		if seed == 1 {
			n = len(s.wires[name].queued) / 2
		}
		if err := s.wires[name].deliver(context.Background(), n, seed); err != nil {
			s.t.Fatal(err)
		}
	}
}

// check compares the ledgers with what was decided, and the answers with what was said.
func (s *story) check() {
	s.whole()
	ctx := context.Background()
	want, booked := map[string]int64{}, map[string]time.Time{}
	for _, name := range s.names {
		for _, x := range s.wires[name].Participant.(*memory.Ledger).Transfers() {
			booked[name+x.Transfer.ID] = x.Date
		}
		for id := int64(1); id <= 3; id++ {
			want[fmt.Sprint(name, id)] = 1000
		}
		want[fmt.Sprint(name, 9)] = -3000
	}
	for _, id := range slices.Sorted(maps.Keys(s.sent)) {
		owners := map[string]bool{}
		for _, x := range s.sent[id] {
			if !s.post(ctx, s.both[1], x) {
				s.t.Fatalf("%s: no answer at the end", id)
			}
			if s.said[said(x)].Outcome != core.Conflict {
				owners[said(x)] = true
			}
		}
		if len(owners) != 1 {
			s.t.Fatalf("%s belongs to %d bodies", id, len(owners))
		}
		st, known, err := s.both[0].Find(ctx, id)
		if err != nil || !known || st.State != Done {
			s.t.Fatalf("%s: %+v, %v, %v", id, st, known, err)
		}
		if st.Decision == Abort {
			continue
		}
		days := map[time.Time]bool{}
		_, confirm, _ := IDs(id)
		for _, l := range st.Transfer.Legs {
			want[fmt.Sprint(l.Ledger, l.Account)] += l.Amount
			days[booked[l.Ledger+confirm]] = true
		}
		if len(days) != 1 {
			s.t.Fatalf("%s is booked on %d days", id, len(days))
		}
	}
	for key, balance := range want {
		var id int64
		name := key[:1]
		_, _ = fmt.Sscan(key[1:], &id)
		if got := s.balance(name, id); got != balance {
			s.t.Errorf("account %s has %d instead of %d", key, got, balance)
		}
	}
	if s.t.Failed() {
		s.rt.FailNow()
	}
}

// TestL12_two_coordinators_race has one coordinator, whose clock is an hour ahead, give up what the other one is deciding:
// every second time just before the decision, else whenever it happens to.
func TestL12_two_coordinators_race(t *testing.T) {
	w := inMemory(t, schema(t), "a", "b")
	eager, err := New(t.Context(), Config{DB: w.db, Ledgers: w.ledgers, Now: func() time.Time { return w.clock.Now().Add(time.Hour) }})
	if err != nil {
		t.Fatal(err)
	}
	var just atomic.Bool
	slow := w.coordinator(func(point string) error {
		if point == "across.before_decide" && just.Load() {
			_, err := eager.Recover(t.Context())
			return err
		}
		return nil
	})
	applied := int64(0)
	for i := range 60 {
		x := pay(fmt.Sprint("race", i), 1)
		just.Store(i%2 == 0)
		var wg sync.WaitGroup
		answers := make([]Answer, 2)
		for k := range answers {
			wg.Go(func() {
				a, err := slow.Post(t.Context(), x)
				if err != nil {
					t.Error(err)
				}
				answers[k] = a
			})
		}
		wg.Go(func() {
			if _, err := eager.Recover(t.Context()); err != nil {
				t.Error(err)
			}
		})
		wg.Wait()
		if !same(answers[0], answers[1]) || answers[0].Outcome == core.Applied && answers[1].Outcome == core.Applied {
			t.Fatalf("%+v and %+v", answers[0], answers[1])
		}
		if answers[0].Outcome != core.Refused {
			applied++
		}
	}
	w.heal(slow)
	w.whole()
	if w.balance("a", 1) != 1000-applied || w.balance("b", 2) != 1000+applied {
		t.Fatal("balances do not match the answers")
	}
	if s := eager.Stats(); s.GivenUp < 1 {
		t.Fatalf("%+v", s)
	}
}
