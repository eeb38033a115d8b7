package mysql

import (
	"testing"

	"strata/core"
	"strata/core/coretest"
	"strata/local/localtest"
)

func allModes() []core.Mode { return []core.Mode{core.Buffered, core.SubAccounts, core.Simple} }

func TestFullInModes(t *testing.T) {
	coretest.RunFull(t, func(t *testing.T, clock *core.Clock) core.Full {
		return run(t, start{dsn: localtest.Schema(t, localtest.Shared(t)), clock: clock, edit: consumed}).Ledger
	}, allModes()...)
}

func TestRandomInModes(t *testing.T) {
	s := fresh(t)
	s.edit = consumed
	l := run(t, s)
	coretest.Random(t, l.Ledger, s.clock, allModes()...)
}
