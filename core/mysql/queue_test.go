package mysql

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"strata/core"
	"strata/db"
	"strata/fault"
	"strata/local/localtest"
)

// TestQueue_gives_an_account_to_one_lane_at_a_time lets lanes take, hold and release random calls: no account is in two
// lanes' hands, and the calls of one account come in the order in which they were pushed.
func TestQueue_gives_an_account_to_one_lane_at_a_time(t *testing.T) {
	const lanes, calls, accounts = 3, 3_000, 9
	q := newQueue(lanes, 1)
	var mu sync.Mutex
	holder, last, taken := map[int64]*lane{}, map[int64]int{}, 0
	work := func(n *lane, r *rand.Rand) {
		for {
			first := q.take(t.Context(), n, true)
			if first == nil {
				return
			}
			batch := []*request{first}
			for range r.IntN(5) {
				if next := q.take(t.Context(), n, false); next != nil {
					batch = append(batch, next)
				}
			}
			q.started()
			mu.Lock()
			for _, c := range batch {
				number := c.left
				c.accounts(func(id int64) bool {
					if h := holder[id]; h != nil && h != n {
						t.Errorf("account %d is in two lanes", id)
					}
					if number < last[id] {
						t.Errorf("account %d: call %d after call %d", id, number, last[id])
					}
					holder[id], last[id] = n, number
					return true
				})
			}
			mu.Unlock()
			mu.Lock()
			for _, c := range batch {
				c.accounts(func(id int64) bool { holder[id] = nil; return true })
			}
			taken += len(batch)
			mu.Unlock()
			q.release(n, batch)
		}
	}
	for i := range lanes {
		go work(&lane{wake: make(chan struct{}, 1)}, rand.New(rand.NewPCG(uint64(i), 7)))
	}
	r := rand.New(rand.NewPCG(1, 1))
	for i := range calls {
		c := &request{left: i + 1}
		for range 1 + r.IntN(2) {
			c.transfers = append(c.transfers, core.Transfer{Legs: []core.Leg{{Account: r.Int64N(accounts)}, {Account: r.Int64N(accounts)}}})
		}
		q.push(c)
		if r.IntN(50) == 0 && q.withdraw(c) {
			mu.Lock()
			taken++
			mu.Unlock()
		}
	}
	localtest.Eventually(t, 60*time.Second, "all calls are taken", func() (bool, error) {
		mu.Lock()
		defer mu.Unlock()
		return taken == calls, nil
	})
}

func TestQueue(t *testing.T) {
	t.Run("a full queue is busy and says until when", func(t *testing.T) {
		s := fresh(t)
		l, err := New(t.Context(), Config{DB: open(t, s.dsn, db.Writer), Now: s.clock.Now, QueueTransfers: 3})
		if err != nil {
			t.Fatal(err)
		}
		posted := make(chan error, 1)
		go func() { // no lane runs: it waits
			_, err := l.Post(t.Context(), []core.Transfer{{}, {}})
			posted <- err
		}()
		localtest.Eventually(t, 30*time.Second, "the call waits", func() (bool, error) { return l.Stats().Queued == 2, nil })
		_, err = l.Post(t.Context(), []core.Transfer{{}, {}})
		var again *core.RetryAfter
		if !fault.Is(err, fault.Busy) || fault.HintOf(err) == "" || !errors.As(err, &again) || again.After <= 0 || again.After > 10*time.Second {
			t.Fatalf("%v", err)
		}
		if _, err := l.Post(t.Context(), make([]core.Transfer, 4)); !fault.Is(err, fault.TooLarge) {
			t.Fatalf("%v", err)
		}
		close(l.ended)
		if err := <-posted; !fault.Is(err, fault.Unavailable) {
			t.Fatalf("after the stop: %v", err)
		}
	})
	t.Run("the time to come again grows with what waits", func(t *testing.T) {
		p := pace{rate: 1000}
		if a, b := p.estimate(500), p.estimate(5_000); a != 500*time.Millisecond || b != 5*time.Second {
			t.Fatalf("%s, %s", a, b)
		}
	})
	t.Run("a configuration is checked at once", func(t *testing.T) {
		_, err := New(t.Context(), Config{Horizon: -1, Consumers: []string{"a", "a"}})
		if err == nil || strings.Count(err.Error(), "\n") != 3 {
			t.Fatalf("%v", err)
		}
	})
	t.Run("a large call goes through in batches, in order", func(t *testing.T) {
		_, l := started(t)
		var ts []core.Transfer
		for i := range 1_300 {
			ts = append(ts, payAt(fmt.Sprint("t", i), l.cfg.Now()))
		}
		answers, err := l.Post(t.Context(), ts)
		if err != nil {
			t.Fatal(err)
		}
		for i, a := range answers {
			if a.Outcome != core.Applied || a.Balances[0].Seq != int64(i+1) {
				t.Fatalf("answer %d: %+v", i, a)
			}
		}
	})
}
