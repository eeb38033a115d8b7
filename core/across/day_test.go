package across

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"strata/core"
	"strata/fault"
	"strata/local/localtest"
)

func (w *world) findings(c *Coordinator, date time.Time) string {
	w.t.Helper()
	found, err := c.DayClosable(context.Background(), date)
	if err != nil {
		w.t.Fatal(err)
	}
	out := ""
	for _, f := range found {
		out += string(f.Kind) + " " + f.Ledger + f.Transfer + f.Unit + "\n"
	}
	return out
}

func TestDayClosable_names_what_is_open(t *testing.T) {
	today, tomorrow := core.Date(begun()), core.Date(begun()).AddDate(0, 0, 1)
	w := inMemory(t, schema(t), "a", "b")
	c := w.coordinator(nil)
	w.must(c, pay("before", 10), core.Applied, "")
	if got := w.findings(c, today); got != "not_cut a\nnot_cut b\n" {
		t.Fatal(got)
	}
	// Each ledger cut for itself, with a transfer between: one leg is on either day.
	if err := w.ledgers["a"].CutDay(t.Context(), tomorrow); err != nil {
		t.Fatal(err)
	}
	w.must(c, pay("between", 20), core.Applied, "")
	if err := w.ledgers["b"].CutDay(t.Context(), tomorrow); err != nil {
		t.Fatal(err)
	}
	w.wires["b"].plan([]trouble{fine, away, away})
	w.must(c, pay("flying", 30), core.Applied, "")
	if got := w.findings(c, today); got != "in_flight flying\nsplit between\n" {
		t.Fatal(got)
	}
	w.heal(c)
	w.must(c, pay("after", 40), core.Applied, "")
	if got := w.findings(c, today); got != "split between\n" {
		t.Fatal(got)
	}
}

// TestL8_days_close_with_transit_at_zero posts from four sides while three days are cut by two coordinators. Before each cut a
// Confirm is lost on its way, and between two ledgers' cuts somebody tries to post. At the end of each day transit nets to
// zero, in the books as well as in the notes.
func TestL8_days_close_with_transit_at_zero(t *testing.T) {
	w := inMemory(t, schema(t), "a", "b", "c")
	books := map[string]*ends{}
	for _, name := range w.names {
		books[name] = &ends{Participant: w.wires[name], at: map[string]int64{}}
		l := w.ledgers[name]
		l.Participant, l.Books = books[name], books[name]
		w.ledgers[name] = l
	}
	hasty, err := New(t.Context(), Config{DB: w.db, Ledgers: w.ledgers, Now: w.clock.Now, Held: time.Nanosecond})
	if err != nil {
		t.Fatal(err)
	}
	var between atomic.Int64
	both := []*Coordinator{w.coordinator(nil), w.coordinator(func(point string) error {
		if point == "across.after_cut" {
			_, err := hasty.Post(context.Background(), pay(fmt.Sprint("between", between.Add(1)), 1))
			if !fault.Is(err, fault.Busy) {
				t.Errorf("between two cuts: %v", err)
			}
		}
		return nil
	})}
	p := newPosters(t, both)
	for n := 1; n <= 3; n++ {
		p.wait(20)
		missed := make(chan struct{}, 1)
		w.wires["b"].set(func(a core.Action) trouble {
			if a != core.Confirm {
				return fine
			}
			select {
			case missed <- struct{}{}:
				return away
			default:
				return fine
			}
		})
		for len(missed) == 0 {
			p.wait(1)
		}
		for _, c := range both {
			p.cutters.Go(func() {
				err := c.CutDay(t.Context(), begun().AddDate(0, 0, n))
				if err != nil && !fault.Is(err, fault.Busy) {
					t.Error(err)
				}
			})
		}
		p.cutters.Wait()
	}
	p.stop()
	if err := both[1].CutDay(t.Context(), begun().AddDate(0, 0, 4)); err != nil {
		t.Fatal(err)
	}
	w.heal(both[0])
	w.whole()
	for n := range 4 {
		if got := w.findings(both[0], begun().AddDate(0, 0, n)); got != "" {
			t.Errorf("day %d: %s", n, got)
		}
	}
	if between.Load() == 0 {
		t.Error("nothing was posted between two cuts")
	}
	books["b"].at["90 2026-05-20"]++
	if got := w.findings(both[1], begun().AddDate(0, 0, 3)); got != "differs CNY\n" {
		t.Fatal(got)
	}
}

// posters post one unit each, between three ledgers, until stop.
type posters struct {
	wg, cutters sync.WaitGroup
	posted      chan struct{}
	stop        func()
}

func newPosters(t *testing.T, both []*Coordinator) *posters {
	ctx, cancel := context.WithCancel(t.Context())
	p := &posters{posted: make(chan struct{}, 1)}
	p.stop = func() { cancel(); p.wg.Wait() }
	for k := range 4 {
		p.wg.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				x := pay(fmt.Sprintf("p%d-%d", k, i), 1)
				x.Legs[k%2].Ledger, x.Legs[0].Account = "c", 1+int64(k)%3
				if i%2 == 1 {
					x.Legs[0].Amount, x.Legs[1].Amount = x.Legs[1].Amount, x.Legs[0].Amount
				}
				a, err := both[k%2].Post(context.Background(), x)
				for fault.Is(err, fault.Busy) { // the day is being cut
					a, err = both[k%2].Post(context.Background(), x)
				}
				if err != nil || a.Outcome != core.Applied && a.Outcome != core.Replayed && a.Code != core.BelowMinimum {
					t.Errorf("%+v, %v", a, err)
				}
				select {
				case p.posted <- struct{}{}:
				case <-ctx.Done():
				default:
				}
			}
		})
	}
	return p
}

// wait returns when n more were posted.
func (p *posters) wait(n int) {
	for range n {
		<-p.posted
	}
}

// ends keeps the balance of account 90 at the end of each day that is cut.
type ends struct {
	Participant
	mu sync.Mutex
	at map[string]int64
}

func (e *ends) CutDay(ctx context.Context, date time.Time) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	day, err := e.Day(ctx)
	if err != nil {
		return err
	}
	a, err := e.Balance(ctx, 90)
	if err != nil || !day.Before(date) {
		return err
	}
	e.at["90 "+day.Format(time.DateOnly)] = a.Balance
	return e.Participant.CutDay(ctx, date)
}

func (e *ends) BalanceAt(_ context.Context, account int64, date time.Time) (int64, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	b, ok := e.at[fmt.Sprint(account, " ", date.Format(time.DateOnly))]
	if !ok {
		return 0, fault.New(fault.NotFound, "read balance", "none")
	}
	return b, nil
}

func TestCutDay(t *testing.T) {
	d := schema(t)
	tomorrow := core.Date(begun()).AddDate(0, 0, 1)
	days := func(t *testing.T, w *world) string {
		out := ""
		for _, name := range w.names {
			day, err := w.ledgers[name].Day(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			out += day.Format(" 02")
		}
		return out
	}
	t.Run("cuts nothing while a ledger is away, and lets transfers pass then", func(t *testing.T) {
		w := inMemory(t, d, "a", "b")
		c := w.coordinator(nil)
		w.wires["b"].plan([]trouble{fine, away, away})
		w.must(c, pay("away1", 10), core.Applied, "")
		if err := c.CutDay(t.Context(), tomorrow); !fault.Is(err, fault.Busy) {
			t.Fatal(err)
		}
		if got := days(t, w); got != " 17 17" {
			t.Fatal(got)
		}
		w.must(c, pay("away2", 10), core.Applied, "")
		if err := c.CutDay(t.Context(), tomorrow); err != nil { // it does not wait for recovery
			t.Fatal(err)
		}
		if got := days(t, w); got != " 18 18" {
			t.Fatal(got)
		}
		w.whole()
	})
	t.Run("cuts nothing while somebody else's post differs", func(t *testing.T) {
		w := inMemory(t, d, "a", "b")
		c := w.coordinator(nil)
		w.postTo("a", "stray", 9, 90, 5)
		if err := c.CutDay(t.Context(), tomorrow); !fault.Is(err, fault.Proof) {
			t.Fatal(err)
		}
		w.postTo("a", "back", 90, 9, 5)
		if err := c.CutDay(t.Context(), tomorrow); err != nil {
			t.Fatal(err)
		}
	})
	t.Run("holds commits from the first ledger's cut to the last's", func(t *testing.T) {
		w := inMemory(t, d, "a", "b")
		broken := &uncut{Participant: w.wires["b"], broken: true}
		l := w.ledgers["b"]
		l.Participant = broken
		w.ledgers["b"] = l
		c := w.coordinator(nil)
		if err := c.CutDay(t.Context(), tomorrow); err == nil || fault.HintOf(err) == "" {
			t.Fatal(err)
		}
		if got := days(t, w); got != " 18 17" {
			t.Fatal(got)
		}
		if _, err := c.Post(t.Context(), pay("held", 10)); !fault.Is(err, fault.Busy) {
			t.Fatal(err)
		}
		if err := c.CutDay(t.Context(), tomorrow.AddDate(0, 0, 1)); !fault.Is(err, fault.Busy) {
			t.Fatal("another date:", err)
		}
		broken.broken = false
		done := make(chan Answer, 1)
		patient, err := New(t.Context(), Config{DB: d, Ledgers: w.ledgers, Now: w.clock.Now, Held: time.Minute})
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			a, err := patient.Post(context.Background(), pay("held", 10))
			if err != nil {
				t.Error(err)
			}
			done <- a
		}()
		localtest.Eventually(t, 20*time.Second, "the post waits", func() (bool, error) {
			a, err := w.ledgers["b"].Balance(t.Context(), 2)
			return a.PendingCredits == 10, err
		})
		if err := c.CutDay(t.Context(), tomorrow); err != nil {
			t.Fatal(err)
		}
		if a := <-done; a.Outcome != core.Applied || a.State != Done {
			t.Fatalf("%+v", a)
		}
		if got := w.findings(c, begun()); got != "" {
			t.Fatal(got)
		}
	})
	t.Run("one at a time", func(t *testing.T) {
		w := inMemory(t, d, "a", "b")
		other := w.coordinator(nil)
		nested := make(chan error, 1)
		c := w.coordinator(func(point string) error {
			if point == "across.after_shut" {
				nested <- other.CutDay(t.Context(), tomorrow)
			}
			return nil
		})
		if err := c.CutDay(t.Context(), tomorrow); err != nil {
			t.Fatal(err)
		}
		if err := <-nested; !fault.Is(err, fault.Busy) {
			t.Fatal(err)
		}
	})
}

// uncut is a ledger that can't be cut.
type uncut struct {
	Participant
	broken bool
}

func (u *uncut) CutDay(ctx context.Context, date time.Time) error {
	if u.broken {
		return fault.New(fault.Unavailable, "cut day", "away")
	}
	return u.Participant.CutDay(ctx, date)
}

// postTo posts inside one ledger, beside the coordinator.
func (w *world) postTo(ledger, id string, from, to, amount int64) {
	w.t.Helper()
	a, err := w.ledgers[ledger].Post(context.Background(), []core.Transfer{{ID: id, Kind: "k", OrderTime: begun(), Legs: []core.Leg{
		{Account: from, Unit: "CNY", Amount: -amount}, {Account: to, Unit: "CNY", Amount: amount}}}})
	if err != nil || a[0].Outcome != core.Applied {
		w.t.Fatalf("%+v, %v", a, err)
	}
}
