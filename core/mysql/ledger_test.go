package mysql

import (
	"testing"

	"strata/core"
	"strata/core/coretest"
	"strata/local/localtest"
)

func TestLedger(t *testing.T) {
	coretest.RunFull(t, func(t *testing.T, clock *core.Clock) core.Full {
		return run(t, start{dsn: localtest.Schema(t, localtest.Shared(t)), clock: clock, edit: consumed}).Ledger
	}, allModes()...)
}
