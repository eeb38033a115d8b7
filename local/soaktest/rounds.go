package soaktest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
)

// Main builds the program under test once, says in program where it is, and runs the tests; it returns the exit code.
func Main(m *testing.M, program *string) int {
	dir, err := os.MkdirTemp("", "st")
	if err == nil {
		defer os.RemoveAll(dir)
		*program = filepath.Join(dir, "strata")
		var out []byte
		if out, err = exec.Command("go", "build", "-o", *program, "strata/cmd/strata").CombinedOutput(); err != nil {
			err = fmt.Errorf("%w: %s", err, out)
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "build strata:", err)
		return 1
	}
	return m.Run()
}

// roundsOf is the environment's variable with the number of rounds of `make soak`; seedOf names the first one's seed.
const (
	roundsOf = "STRATA_SOAK_ROUNDS"
	seedOf   = "STRATA_SOAK_SEED"
)

// SoakOnly leaves a long test to `make soak`.
func SoakOnly(t *testing.T) {
	t.Helper()
	if os.Getenv(roundsOf) == "" {
		t.Skip("set STRATA_SOAK_ROUNDS; make soak")
	}
}

// Rounds calls f as often as `make soak` wants, each with a seed of its own, until one fails.
func Rounds(t *testing.T, f func(t *testing.T, seed uint64)) {
	t.Helper()
	repeat(t, 1, f)
}

// SomeRounds is Rounds for what takes minutes, or differs little from seed to seed: a tenth of them.
func SomeRounds(t *testing.T, f func(t *testing.T, seed uint64)) {
	t.Helper()
	repeat(t, 10, f)
}

func repeat(t *testing.T, part int, f func(t *testing.T, seed uint64)) {
	t.Helper()
	n, err := strconv.Atoi(os.Getenv(roundsOf))
	if err != nil || n < 1 {
		t.Skip("set STRATA_SOAK_ROUNDS; make soak")
	}
	n = max(1, n/part)
	first, _ := strconv.ParseUint(os.Getenv(seedOf), 10, 64)
	for i := range n {
		seed := first + uint64(i)
		if !t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) { f(t, seed) }) {
			return
		}
	}
}
