package core_test

import (
	"fmt"
	"testing"

	"strata/core"
	"strata/core/coretest"
)

// BenchmarkApply is a batch of 500 plain transfers, as a poster does it between two statements.
func BenchmarkApply(b *testing.B) {
	zero := int64(0)
	now := coretest.Start()
	var ts []*core.Transfer
	for i := range int64(500) {
		ts = append(ts, &core.Transfer{ID: fmt.Sprint(i), Kind: "payment", OrderTime: now, Legs: []core.Leg{
			{Account: 1, Unit: "CNY", Amount: -1}, {Account: 2 + i%100, Unit: "CNY", Amount: 1}}})
	}
	b.ReportAllocs()
	for b.Loop() {
		batch := &core.Batch{Now: now, Day: now, Horizon: core.DefaultHorizon, Accounts: map[int64]*core.Account{}}
		for _, id := range batch.Needs(ts).Accounts {
			batch.Accounts[id] = &core.Account{ID: id, Unit: "CNY", Balance: 1000, MinBalance: &zero}
		}
		for i := range ts {
			if a := batch.Apply(ts[i : i+1]); a[0].Outcome != core.Applied {
				b.Fatal(a)
			}
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/500, "ns/transfer")
}
