package mysql

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"strata/core"
	"strata/db"
	"strata/local/localtest"
)

// stoppable is a process whose batches stop between their locks and their rows when it is armed, until they are let go.
type stoppable struct {
	*running
	armed          atomic.Bool
	once           sync.Once
	reached, letGo chan struct{}
}

func runStoppable(t *testing.T, s start) *stoppable {
	t.Helper()
	p := &stoppable{reached: make(chan struct{}), letGo: make(chan struct{})}
	s.at = func(point string) error {
		if point == "core.before_rows" && p.armed.CompareAndSwap(true, false) {
			close(p.reached)
			<-p.letGo
		}
		return nil
	}
	p.running = run(t, s)
	t.Cleanup(p.release) // before the ledger's stop, which waits for the batch
	return p
}

func (p *stoppable) release() { p.once.Do(func() { close(p.letGo) }) }

// stopped posts x and comes back when it has its locks; the answer comes after the channel letGo is closed.
func (p *stoppable) stopped(t *testing.T, x core.Transfer) <-chan core.Answer {
	t.Helper()
	p.armed.Store(true)
	answer := make(chan core.Answer, 1)
	go func() {
		out, err := p.Post(context.Background(), []core.Transfer{x})
		if err != nil {
			out = []core.Answer{{Message: err.Error()}}
		}
		answer <- out[0]
	}()
	<-p.reached
	return answer
}

// wantWaiting runs f and comes back when it waits for a lock; it fails the test where f ends before.
func wantWaiting(t *testing.T, d *db.DB, f func() error) <-chan error {
	t.Helper()
	done := make(chan error, 1)
	go func() { done <- f() }()
	localtest.Eventually(t, 20*time.Second, "it waits", func() (bool, error) {
		if len(done) > 0 {
			t.Fatal("it did not wait")
		}
		var name string
		var n int // innodb_trx is not read afresh for whoever reads it often
		err := d.SQL().QueryRowContext(t.Context(), "SHOW GLOBAL STATUS LIKE 'Innodb_row_lock_current_waits'").Scan(&name, &n)
		return n > 0, err
	})
	return done
}

// TestL12_a_change_waits_for_the_batch_in_flight: what a batch has read under lock is so until it is durable. So what is posted
// after a change came back has seen it.
func TestL12_a_change_waits_for_the_batch_in_flight(t *testing.T) {
	next := time.Date(2026, 5, 18, 0, 0, 0, 0, time.UTC)
	for name, change := range map[string]func(ctx context.Context, l *running) error{
		"the cut of a day": func(ctx context.Context, l *running) error { return l.CutDay(ctx, next) },
		"settings": func(ctx context.Context, l *running) error {
			_, err := l.PutSettings(ctx, 0, core.Settings{Off: []core.Switch{{Operation: "k"}}}, "ops", "")
			return err
		},
		"a freeze": func(ctx context.Context, l *running) error { return l.SetState(ctx, 1, core.Frozen) },
		"bounds":   func(ctx context.Context, l *running) error { return l.SetBounds(ctx, 1, ptr(int64(0)), nil) },
		"a mode":   func(ctx context.Context, l *running) error { return l.SwitchMode(ctx, 1, core.Buffered, 0) },
	} {
		for _, guessed := range []bool{false, true} {
			if !guessed && name != "the cut of a day" {
				continue // the same statements' locks
			}
			t.Run(map[bool]string{false: "", true: "guessed, "}[guessed]+name, func(t *testing.T) {
				s := fresh(t)
				p, other := runStoppable(t, s), run(t, s)
				if err := p.Open(t.Context(), randomAccounts(0)); err != nil {
					t.Fatal(err)
				}
				if err := p.EnsureShards(t.Context(), s.clock.Now(), next); err != nil {
					t.Fatal(err)
				}
				if guessed {
					wantApplied(t, p.running, payAt("a", s.clock.Now()))
					wantApplied(t, p.running, payAt("b", s.clock.Now()))
				}
				answer := p.stopped(t, payAt("x", s.clock.Now()))
				done := wantWaiting(t, other.db, func() error { return change(t.Context(), other) })
				p.release()
				if a := <-answer; a.Outcome != core.Applied {
					t.Fatalf("%+v", a)
				}
				if err := <-done; err != nil {
					t.Fatal(err)
				}
				if n := count(t, other.db, "SELECT COUNT(*) FROM entry_202605 WHERE transfer_id='x' AND accounting_date='2026-05-17'"); n != 2 {
					t.Fatalf("%d entries of the old day", n)
				}
			})
		}
	}
}

// TestL12_an_expiry_and_a_cancel_end_a_reservation_once: whichever has it first, the other one sees what became of it.
func TestL12_an_expiry_and_a_cancel_end_a_reservation_once(t *testing.T) {
	s := fresh(t)
	p, other := runStoppable(t, s), run(t, s)
	if err := p.Open(t.Context(), randomAccounts(0)); err != nil {
		t.Fatal(err)
	}
	limit := core.Settings{Limits: []core.Limit{{Name: "day", Scope: "account", Unit: "CNY", Per: "day", MaxAmount: ptr(int64(100))}}}
	if _, err := p.PutSettings(t.Context(), 0, limit, "ops", ""); err != nil {
		t.Fatal(err)
	}
	try := act("try", core.Try, "", s.clock.Now())
	try.Expires = s.clock.Now().Add(time.Minute)
	wantApplied(t, p.running, try, act("other", core.Try, "", s.clock.Now()))
	s.clock.Set(try.Expires)
	answer := p.stopped(t, act("cancel", core.Cancel, "try", s.clock.Now()))
	expired := 0
	done := wantWaiting(t, other.db, func() (err error) { expired, err = other.ExpireReservations(t.Context(), 10); return err })
	p.release()
	if a := <-answer; a.Outcome != core.Applied || a.Code != "" {
		t.Fatalf("%+v", a)
	}
	if err := <-done; err != nil || expired != 0 {
		t.Fatalf("%d expired, %v", expired, err)
	}
	standing, err := other.Standing(t.Context(), 1)
	if err != nil || standing.Account.PendingDebits != 1 || len(standing.Uses) != 1 || standing.Uses[0].Amount != 1 || standing.Uses[0].Count != 1 {
		t.Fatalf("%+v, %v", standing, err)
	}
	if r, err := other.Reservation(t.Context(), "try"); err != nil || r.State != core.Cancelled || r.EndedBy != "cancel" {
		t.Fatalf("%+v, %v", r, err)
	}
}

// TestL12_reversals_wait_for_one_another: the second one reverses what the first one left.
func TestL12_reversals_wait_for_one_another(t *testing.T) {
	s := fresh(t)
	p, other := runStoppable(t, s), run(t, s)
	if err := p.Open(t.Context(), randomAccounts(0)); err != nil {
		t.Fatal(err)
	}
	wantApplied(t, p.running, move("pay", s.clock.Now(), 1, 2, 10))
	part := act("part", core.Reverse, "pay", s.clock.Now())
	part.Legs = []core.Leg{{Account: 1, Unit: "CNY", Amount: 4}, {Account: 2, Unit: "CNY", Amount: -4}}
	answer := p.stopped(t, part)
	var second core.Answer
	done := wantWaiting(t, other.db, func() error {
		out, err := other.Post(t.Context(), []core.Transfer{act("rest", core.Reverse, "pay", s.clock.Now())})
		if err == nil {
			second = out[0]
		}
		return err
	})
	p.release()
	if a := <-answer; a.Outcome != core.Applied {
		t.Fatalf("%+v", a)
	}
	if err := <-done; err != nil || second.Outcome != core.Applied || second.Balances[0].Amount != 6 || second.Balances[0].Balance != 0 {
		t.Fatalf("%+v, %v", second, err)
	}
}
