package soak

import (
	"context"
	"sync"
	"testing"

	"strata/local/localtest"
	"strata/local/soaktest"
)

// hot backfills a table again and again while its rows change, by XA too, beside a loop of SHOW GLOBAL STATUS. The checker
// sees that the v of a row never goes back.
func (r *rig) hot(times int) {
	ctx, cancel := context.WithCancel(r.T.Context())
	var loop sync.WaitGroup
	loop.Go(func() {
		for ctx.Err() == nil {
			_, _ = r.DB.ExecContext(ctx, "SHOW GLOBAL STATUS") // it is for what it does to the server
		}
	})
	r.Write(func() {
		r.Commits(between)
		for i := range times {
			r.Strata("canal", "backfill", []string{"orders", "items"}[i%2], "--why", "hot", "--wait")
		}
	})
	cancel()
	loop.Wait()
	r.whole()
}

// TestCapture_backfills_what_changes: a few times.
func TestCapture_backfills_what_changes(t *testing.T) {
	m := localtest.Shared(t)
	newRig(t, 71, m, localtest.Schema(t, m), nil, "canal").hot(4)
}

// TestSoak_backfill: twenty in each of a tenth of the rounds.
func TestSoak_backfill(t *testing.T) {
	soaktest.SomeRounds(t, func(t *testing.T, seed uint64) {
		m := localtest.Maria(t)
		newRig(t, seed, m, localtest.Schema(t, m), nil, "canal").hot(20)
	})
}
