package verify

import (
	"math"
	"testing"
	"time"
)

// A span and its rest take as long as the bound says, or ten times the work, whichever is longer, but not for ever; where a row
// took three times as long as it can, thirty times the work.
func TestTurn(t *testing.T) {
	for _, c := range []struct {
		rows     int64
		worked   time.Duration
		slowness float64
		whole    time.Duration
	}{
		{20_000, 150 * time.Millisecond, 1, 2 * time.Second},
		{20_000, 400 * time.Millisecond, 1, 4 * time.Second},
		{20_000, 400 * time.Millisecond, 3, 12 * time.Second},
		{20_000, 2 * time.Second, 3, 30 * time.Second},
		{20_000, time.Hour, 1, 30 * time.Second},
		{600_000, time.Hour, 2, time.Minute},
		{0, 0, 1, 0},
	} {
		if got := turn(c.rows, 10_000, c.worked, c.slowness); got != c.whole {
			t.Errorf("%+v: %s", c, got)
		}
	}
}

// A row is slow by the quickest of its own dataset, which is forgotten slowly; what is too little to tell says nothing.
func TestSlowness(t *testing.T) {
	g := &reign{quickest: map[string]float64{}}
	is := func(dataset string, rows int64, worked time.Duration, want float64) {
		t.Helper()
		if got := g.slowness(dataset, rows, worked); math.Abs(got-want) > want/1000 {
			t.Errorf("%s, %d rows in %s: %v instead of %v", dataset, rows, worked, got, want)
		}
	}
	is("a", 20_000, 800*time.Millisecond, 1)
	is("a", 10_000, 100*time.Millisecond, 1)
	is("b", 10_000, time.Second, 1)
	is("a", 10_000, 303*time.Millisecond, 3)
	is("a", leastSpan-1, time.Hour, 1)
	is("a", 0, 0, 1)
	for range 200 {
		g.slowness("a", 10_000, 404*time.Millisecond)
	}
	is("a", 10_000, 404*time.Millisecond, 1)
}
