package verify

import (
	"testing"
	"time"
)

// A span and its rest take as long as the bound says, or ten times the work, whichever is longer; waiting is no work.
func TestTurn(t *testing.T) {
	for _, c := range []struct {
		rows                int64
		perSecond           int
		took, waited, whole time.Duration
	}{
		{20_000, 10_000, 150 * time.Millisecond, 0, 2 * time.Second},
		{20_000, 10_000, 400 * time.Millisecond, 0, 4 * time.Second},
		{20_000, 10_000, 5 * time.Second, 4900 * time.Millisecond, 2 * time.Second},
		{0, 10_000, 3 * time.Second, 3 * time.Second, 0},
	} {
		if got := turn(c.rows, c.perSecond, c.took, c.waited); got != c.whole {
			t.Errorf("%+v: %s", c, got)
		}
	}
}
