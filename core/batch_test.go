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
	e := openEngine(t, clock)
	coretest.Random(t, e, clock, core.Buffered, core.Simple)
	t.Logf("%d merges on demand", e.merges)
}

// TestL12_a_refused_chain_leaves_nothing: a batch is as it was after a chain that was refused, wherever it broke.
func TestL12_a_refused_chain_leaves_nothing(t *testing.T) {
	clock := &core.Clock{}
	clock.Set(coretest.Start())
	e := openEngine(t, clock)
	chains := 0
	e.watch = func(before, after string) {
		if chains++; before != after {
			t.Fatalf("it left something:\n%s\n%s", before, after)
		}
	}
	coretest.Random(t, e, clock, core.Buffered)
	if chains == 0 {
		t.Errorf("%d chains were refused", chains)
	}
}

// TestL8_every_balance_is_derived_again: from the entries, the buffers and the reservations, whatever was posted. So every
// transfer sums to zero, every fund is what its entries moved, and nothing is below 0.
func TestL8_every_balance_is_derived_again(t *testing.T) {
	clock := &core.Clock{}
	clock.Set(coretest.Start())
	e := openEngine(t, clock)
	coretest.Random(t, e, clock, core.Buffered)
	if r := e.replay(); r.Problems > 0 {
		t.Fatalf("%+v", r)
	}
}
