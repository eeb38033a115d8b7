package memory_test

import (
	"testing"

	"strata/core"
	"strata/core/coretest"
	"strata/core/memory"
)

func TestLedger(t *testing.T) {
	coretest.RunFull(t, func(t *testing.T, clock *core.Clock) core.Full {
		l, err := memory.New(memory.Config{Now: clock.Now, Consumers: []string{core.ForVouchers}})
		if err != nil {
			t.Fatal(err)
		}
		return l
	}, core.Buffered, core.SubAccounts, core.Simple)
}
