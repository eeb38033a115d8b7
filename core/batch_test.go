package core_test

import (
	"testing"

	"strata/core"
	"strata/core/coretest"
	"strata/core/memory"
)

func openEngine(t *testing.T, clock *core.Clock) *engine {
	tuning, err := memory.New(memory.Config{Now: clock.Now})
	if err != nil {
		t.Fatal(err)
	}
	return newEngine(clock.Now, tuning)
}

// TestBatch runs the suite over a poster that is nothing but Batch and maps.
func TestBatch(t *testing.T) {
	coretest.RunFull(t, func(t *testing.T, clock *core.Clock) core.Full { return openEngine(t, clock) }, core.Buffered, core.Simple)
}

// TestL12_batch_equals_the_model: whatever is posted, Batch and the model, which share no applying code, give the same
// answers and keep the same state.
func TestL12_batch_equals_the_model(t *testing.T) {
	clock := &core.Clock{}
	clock.Set(coretest.Start())
	coretest.Random(t, openEngine(t, clock), clock, core.Buffered, core.Simple)
}
