package syncer

import (
	"testing"

	"strata/canal"
)

// BenchmarkDocument is what a change of an entry of the ledger costs before it is given to the index.
func BenchmarkDocument(b *testing.B) {
	c := NewDecoder(entries())
	r := canal.Record{Key: []byte(`{"account_id":1001,"seq":17}`),
		Value: []byte(`{"before":null,"after":{"account_id":1001,"seq":17,"transfer_id":"bench-1-000000017","leg":0,"unit":"CNY","amount":123456,"balance_before":1234567,"balance_after":1358023,"accounting_date":"2026-01-01","order_time":"2026-01-01 10:11:12.000000","posted_at":"2026-01-01 10:12:12.000000","funds":""},"source":{"version":"1","connector":"mariadb","name":"strata","db":"strata","table":"entry_202601","snapshot":"false","ts_ms":1767261132000,"server_id":1,"gtid":"0-1-12345","row":17},"op":"c","ts_ms":1767261132123,"transaction":{"id":"0-1-12345","total_order":17,"data_collection_order":17}}`)}
	r.Header.Shard, r.Header.Term, r.Header.Seq = "entry_202601", 1, 1
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.Document(&r); err != nil {
			b.Fatal(err)
		}
	}
}
