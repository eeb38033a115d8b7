package soak

import (
	"testing"

	"strata/local/localtest"
)

// TestSoak_XA_in_doubt: an XA COMMIT that the server had in its binlog, but not done, when it was killed; after it is up it is
// rolled back. (The other soaks meet this too, less often.)
func TestSoak_XA_in_doubt(t *testing.T) {
	someRounds(t, func(t *testing.T, seed uint64) {
		m := localtest.Maria(t)
		r := newRig(t, seed, m, localtest.Schema(t, m), nil, "canal")
		r.load.always, r.undone = true, true
		r.write(func() {
			for range 6 {
				r.commits(80)
				r.fatal(m.Kill())
				r.fatal(m.Restart(t.Context()))
				_, _ = r.load.settle(t.Context())
			}
		})
		r.proof()
	})
}
