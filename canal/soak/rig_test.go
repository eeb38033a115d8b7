package soak

import (
	"os"
	"testing"

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
