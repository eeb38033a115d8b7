package across

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"strata/core"
	"strata/local/localtest"
)

// TestL12_servers_killed kills, twice, the server that holds the coordinator's tables and one of two ledgers, while four callers
// post and post again until they have an answer. At the end all is whole, and booked once.
func TestL12_servers_killed(t *testing.T) {
	clock := &core.Clock{}
	clock.Set(begun())
	m := localtest.Maria(t)
	a := engine(t, localtest.Schema(t, localtest.Shared(t)), clock)
	b := engine(t, localtest.Schema(t, m), clock)
	w := worldOf(t, open(t, localtest.Schema(t, m)), clock, map[string]Participant{"a": a, "b": b})
	c := w.coordinator(nil)
	ctx, cancel := context.WithCancel(context.Background())
	ran := make(chan error, 1)
	go func() { ran <- c.Run(ctx) }()

	const callers, each = 4, 20
	var answered, booked atomic.Int64
	var wg sync.WaitGroup
	for k := range callers {
		wg.Go(func() {
			for i := range each {
				x := pay(fmt.Sprintf("k%d-%d", k, i), 1)
				localtest.Eventually(t, 60*time.Second, "an answer for "+x.ID, func() (bool, error) {
					got, err := c.Post(context.Background(), x)
					if err != nil {
						return false, nil // nothing is known: it is posted again
					}
					if got.Outcome == core.Applied || got.Outcome == core.Replayed {
						booked.Add(1)
					} else if got.Code != Aborted {
						return false, fmt.Errorf("%s: %+v", x.ID, got)
					}
					return true, nil
				})
				answered.Add(1)
			}
		})
	}
	for n := range 2 {
		localtest.Eventually(t, 60*time.Second, "some answers", func() (bool, error) { return answered.Load() >= int64(15+25*n), nil })
		if err := m.Kill(); err != nil {
			t.Fatal(err)
		}
		clock.Set(clock.Now().Add(time.Minute)) // what was in flight is due now
		if err := m.Restart(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	wg.Wait()
	cancel()
	if err := <-ran; err != nil {
		t.Fatal(err)
	}
	w.heal(c)
	w.whole()
	if n := booked.Load(); w.balance("a", 1) != 1000-n || w.balance("b", 2) != 1000+n {
		t.Fatalf("%d answers say booked: %d, %d", n, w.balance("a", 1), w.balance("b", 2))
	}
	t.Logf("%d booked of %d, %+v", booked.Load(), callers*each, c.Stats())
}
