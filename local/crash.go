package local

import (
	"errors"
	"maps"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"strata/fault"
)

// ErrCrash is what a Trap returns at its point. A room hands it up like any error of its own.
var ErrCrash = errors.New("crash point reached")

// CrashFromEnv reads STRATA_CRASH, "name" or "name:3", and returns what kills this process with SIGKILL the first, or
// third, time the named point is hit. It returns nil when the variable is not set. With a value it can't read, the
// function returned fails with Invalid at every point: a test that believes in a crash must not pass without one.
func CrashFromEnv(getenv func(string) string) func(point string) error {
	text := getenv("STRATA_CRASH")
	if text == "" {
		return nil
	}
	name, count, counted := strings.Cut(text, ":")
	nth := 1
	if counted {
		nth, _ = strconv.Atoi(count) // 0 when it isn't a number
	}
	if name == "" || nth < 1 {
		return func(string) error {
			return fault.New(fault.Invalid, "read STRATA_CRASH", "%q", text).WithHint("it reads name or name:3")
		}
	}
	trap := NewTrap(name, nth)
	return func(point string) error {
		if trap.At(point) == nil {
			return nil
		}
		if err := syscall.Kill(os.Getpid(), syscall.SIGKILL); err != nil {
			return fault.Wrap(fault.Internal, "kill own process", err)
		}
		select {} // the signal ends the process before another step
	}
}

// Trap is a crash point inside a test's own process: At returns ErrCrash at the nth hit of its point, once, so the same
// Trap may go to the run that recovers. It counts every point it sees. Safe for concurrent use.
type Trap struct {
	point  string
	nth    int
	sprung chan struct{}

	mu   sync.Mutex
	hits map[string]int
	seen []string
}

// NewTrap makes a Trap for the nth hit (from 1) of point.
func NewTrap(point string, nth int) *Trap {
	return &Trap{point: point, nth: nth, sprung: make(chan struct{}), hits: make(map[string]int)}
}

// Record makes a Trap that never springs: its Points are the list a test of all crash points goes through.
func Record() *Trap { return NewTrap("", 0) }

// At counts a hit of point.
func (t *Trap) At(point string) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.hits[point]++
	if t.hits[point] == 1 {
		t.seen = append(t.seen, point)
	}
	if t.nth < 1 || point != t.point || t.hits[point] != t.nth {
		return nil
	}
	close(t.sprung)
	return ErrCrash
}

// Sprung is closed when At has returned ErrCrash, or is about to.
func (t *Trap) Sprung() <-chan struct{} { return t.sprung }

// Hits is how often each point was hit.
func (t *Trap) Hits() map[string]int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return maps.Clone(t.hits)
}

// Points lists the points seen, in the order of their first hit.
func (t *Trap) Points() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return append([]string(nil), t.seen...)
}
