package memory_test

import (
	"testing"

	"strata/core"
	"strata/core/coretest"
	"strata/core/memory"
)

func TestLedger(t *testing.T) {
	coretest.Run(t, func(t *testing.T, clock *core.Clock) core.Ledger {
		l, err := memory.New(memory.Config{Now: clock.Now})
		if err != nil {
			t.Fatal(err)
		}
		return l
	})
}
