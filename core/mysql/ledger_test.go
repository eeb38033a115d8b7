package mysql

import (
	"testing"

	"strata/core"
	"strata/core/coretest"
	"strata/local/localtest"
)

func TestLedger(t *testing.T) {
	coretest.Run(t, func(t *testing.T, clock *core.Clock) core.Ledger {
		return run(t, start{dsn: localtest.Schema(t, localtest.Shared(t)), clock: clock}).Ledger
	})
}
