package mysql

import (
	"fmt"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"strata/core"
)

// TestModeRate prints how many credits of one hot account STRATA_LOAD transfers of 64 callers in each of two processes make
// a second, by its mode.
func TestModeRate(t *testing.T) {
	n, _ := strconv.Atoi(os.Getenv("STRATA_LOAD"))
	if n == 0 {
		t.Skip("STRATA_LOAD is not set")
	}
	for _, mode := range append([]core.Mode{core.RealTime}, allModes()...) {
		t.Run(mode.String(), func(t *testing.T) {
			s, both := hotPair(t)
			var payers []core.Account
			for i := range int64(1000) {
				payers = append(payers, core.Account{ID: 1000 + i, Unit: "CNY"})
			}
			if err := both[0].Open(t.Context(), payers); err != nil {
				t.Fatal(err)
			}
			switchTo(t, both[0], 5, mode)
			var next atomic.Int64
			var wg sync.WaitGroup
			began := time.Now()
			for w := range 128 {
				wg.Go(func() {
					for {
						i := next.Add(1)
						if i > int64(n) {
							return
						}
						out, err := both[w%2].Post(t.Context(), []core.Transfer{move(fmt.Sprint("r", i), s.clock.Now(), 1000+i%1000, 5, 1)})
						if err != nil || out[0].Outcome != core.Applied {
							t.Errorf("%+v, %v", out, err)
							return
						}
					}
				})
			}
			wg.Wait()
			took := time.Since(began)
			t.Logf("%d credits in %s: %.0f/s", n, took.Round(time.Millisecond), float64(n)/took.Seconds())
		})
	}
}
