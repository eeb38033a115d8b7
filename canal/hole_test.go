package canal_test

import (
	"encoding/json"
	"testing"

	"strata/canal"
)

// TestL3_a_backfill_for_a_hole_lowers_the_claim_until_it_is_done: a reader that found records missing, which can't be read in the
// binlog any more, is told when it is whole.
func TestL3_a_backfill_for_a_hole_lowers_the_claim_until_it_is_done(t *testing.T) {
	o := newOffice(t, 3)
	o.write(10)
	o.work(nil, nil)
	o.marked()
	at := o.last()
	o.write(5)
	o.work(nil, nil)
	id := o.task(canal.Task{Kind: canal.Backfill, Dataset: "entry", GTID: at})
	wrong := o.task(canal.Task{Kind: canal.Backfill, Dataset: "entry", GTID: "0-1-999999"})
	o.write(3)
	o.work(nil, nil)
	if k := o.stateOf(id); k.State != canal.Done {
		t.Fatalf("%+v", k)
	}
	if k := o.stateOf(wrong); k.State != canal.Failed {
		t.Errorf("a place that is not captured yet: %+v", k)
	}
	o.marked()
	d := o.data[0]
	for p := range d.Partitions {
		told, repaired, after := false, false, false
		for _, r := range o.sink.Records(d.Name, p) {
			switch r.Header.Kind {
			case canal.KindMark:
				var m canal.Mark
				if err := json.Unmarshal(canal.Payload(r.Value), &m); err != nil {
					t.Fatal(err)
				}
				if m.GTID == at && m.Heartbeat == 0 {
					told = true
				}
				after = after || repaired && m.Heartbeat > 0
			case canal.KindResume:
				var v canal.Resume
				if err := json.Unmarshal(canal.Payload(r.Value), &v); err != nil {
					t.Fatal(err)
				}
				repaired = repaired || told && v.Repaired
			}
		}
		if !told || !repaired || !after {
			t.Errorf("partition %d: told %t, repaired %t, marks after it %t", p, told, repaired, after)
		}
	}
}
