package soak

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"strata/local/localtest"
	"strata/local/soaktest"
)

const (
	limit      = soaktest.Limit
	partitions = soaktest.Partitions
	beat       = soaktest.Beat
)

// program is the binary under test, built once.
var program string

func TestMain(m *testing.M) { os.Exit(soaktest.Main(m, &program)) }

// rig is one round.
type rig struct {
	*soaktest.Rig
	ends   float64
	forks  bool // the live database's history is replaced by another one
	undone bool // it is killed, with XA transactions under way
}

// newRig makes the servers of a round. kafka nil: one in this process, which is not killed.
func newRig(t *testing.T, seed uint64, live soaktest.Server, liveDSN string, kafka soaktest.Broker, roles ...string) *rig {
	t.Helper()
	return made(t, soaktest.Setup{Seed: seed, Live: live, DSN: liveDSN, Kafka: kafka, Tables: soaktest.Tables(), Roles: roles})
}

func made(t *testing.T, s soaktest.Setup) *rig {
	t.Helper()
	s.Program = program
	return &rig{Rig: s.New(t)}
}

// status waits until `canal status` has each of some words and the exit code.
func (r *rig) status(code int, words ...string) {
	r.T.Helper()
	var out string
	var got int
	r.T.Cleanup(func() {
		if r.T.Failed() {
			r.T.Logf("wanted exit %d and %q; canal status, exit %d, said:\n%s", code, words, got, out)
		}
	})
	localtest.Eventually(r.T, limit, fmt.Sprintf("canal status with exit %d and %q", code, words), func() (bool, error) {
		if err := r.Alive(); err != nil {
			return false, err
		}
		out, got = r.Try("canal", "status")
		for _, w := range words {
			if !strings.Contains(out, w) {
				return false, nil
			}
		}
		return got == code, nil
	})
}

// evidence waits until the evidence log has so many lines of a kind.
func (r *rig) evidence(what string, n int) {
	r.T.Helper()
	localtest.Eventually(r.T, limit, "evidence of "+what, func() (bool, error) {
		out, _ := r.Try("canal", "evidence", "--json", "--limit", "10000")
		return strings.Count(out, `"what":"`+what+`"`)+strings.Count(out, `"what": "`+what+`"`) >= n, r.Alive()
	})
}
