package verify

import (
	"testing"
	"time"
)

// A span and its rest take as long as the bound says, or ten times the work, whichever is longer, but not for ever.
func TestTurn(t *testing.T) {
	for _, c := range []struct {
		rows          int64
		worked, whole time.Duration
	}{
		{20_000, 150 * time.Millisecond, 2 * time.Second},
		{20_000, 400 * time.Millisecond, 4 * time.Second},
		{20_000, time.Hour, 30 * time.Second},
		{600_000, time.Hour, time.Minute},
		{0, 0, 0},
	} {
		if got := turn(c.rows, 10_000, c.worked); got != c.whole {
			t.Errorf("%+v: %s", c, got)
		}
	}
}
