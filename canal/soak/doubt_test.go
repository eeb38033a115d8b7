package soak

import (
	"testing"

	"strata/local/localtest"
	"strata/local/soaktest"
)

// TestSoak_XA_in_doubt: an XA COMMIT that the server had in its binlog, but not done, when it was killed; after it is up it is
// rolled back. (The other soaks meet this too, less often.)
func TestSoak_XA_in_doubt(t *testing.T) {
	soaktest.SomeRounds(t, func(t *testing.T, seed uint64) {
		m := localtest.Maria(t)
		r := newRig(t, seed, m, localtest.Schema(t, m), nil, "canal")
		r.Load.Always, r.undone = true, true
		r.Write(func() {
			for range 6 {
				r.Commits(80)
				r.Fatal(m.Kill())
				r.Fatal(m.Restart(t.Context()))
				_, _ = r.Load.Settle(t.Context())
			}
		})
		r.proof()
	})
}
