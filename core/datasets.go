package core

import (
	"strata/catalog"
)

// Monthly is the default shard scheme.
func Monthly() catalog.Scheme {
	return catalog.Scheme{{From: catalog.MinInstant, Interval: catalog.Monthly}}
}

// Datasets declares the ledger's tables as datasets: transfer, entry, account, in this order. The schemes are the shards of
// transfer and of entry; an empty one is by month.
func Datasets(transfer, entry catalog.Scheme) []catalog.Spec {
	if len(transfer) == 0 {
		transfer = Monthly()
	}
	if len(entry) == 0 {
		entry = Monthly()
	}
	specs := []catalog.Spec{
		{Name: "transfer", Key: []string{"id"}, Time: "order_time", Shards: transfer,
			Money: []catalog.Money{{Column: "amount", UnitColumn: "unit"}}},
		{Name: "entry", Key: []string{"account_id", "seq"}, Time: "accounting_date", Shards: entry, Account: "account_id",
			Money: []catalog.Money{{Column: "amount", UnitColumn: "unit"}}},
		{Name: "account", Key: []string{"id"}, Account: "id",
			Money: []catalog.Money{{Column: "balance", UnitColumn: "unit"}}},
	}
	for i := range specs {
		specs[i] = specs[i].WithDefaults()
	}
	return specs
}
