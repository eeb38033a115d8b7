package canal_test

import (
	"context"
	"math/rand/v2"
	"strings"
	"testing"

	"strata/canal"
	"strata/canal/canaltest"
	"strata/fault"
)

func TestL11_a_poisoned_dataset_stops_alone_and_stays_stopped(t *testing.T) {
	r := newRig(t)
	rnd := rand.New(rand.NewPCG(14, 1))
	r.commit(rnd, 10)
	good := len(r.src.Txns())
	poison := canal.Txn{Poison: []canal.Poison{{Dataset: r.data[0], Err: fault.New(fault.Unsafe, "read table", "no column").WithHint("do this")}}}
	poison.Changes = []canal.Change{{Dataset: r.data[0], Shard: "entry", Op: canal.Insert, After: canaltest.Row(1, "never")},
		{Dataset: r.data[1], Shard: "transfer", Op: canal.Insert, Ordinal: 1, After: canaltest.Row(1, "still")}}
	r.src.Commit(poison)
	r.commit(rnd, 10)
	for range 2 { // a restart doesn't forget
		l := r.leader(r.config("a", nil))
		if err := r.run(l); err != nil {
			t.Fatal(err)
		}
		s := l.Stats().Stopped["entry"]
		if s.Hint != "do this" || s.Position.GTID != r.src.Txns()[good-1].GTID {
			t.Fatalf("stopped: %+v", l.Stats().Stopped)
		}
		r.commit(rnd, 3)
	}
	seen, err := canaltest.Replay(context.Background(), r.sink, r.data[1])
	if err == nil {
		err = canaltest.Check(r.data[1], r.src.Txns()[:len(r.src.Txns())-4], seen)
	}
	if err != nil {
		t.Fatal(err)
	}
	if seen, err = canaltest.Replay(context.Background(), r.sink, r.data[0]); err == nil {
		err = canaltest.Check(r.data[0], r.src.Txns()[:good], seen)
	}
	if err != nil {
		t.Fatal(err)
	}
	for p := range int32(3) {
		records := r.sink.Records("entry", p)
		if last := records[len(records)-1]; last.Header.Kind == canal.KindMark && strings.Contains(string(last.Value), r.last()) {
			t.Fatal("a stopped dataset got a mark: its watermark would claim what it lacks")
		}
	}
}

func TestLeader_stops_a_dataset_whose_rows_have_got_another_key_while_nobody_led(t *testing.T) {
	r := newRig(t)
	rnd := rand.New(rand.NewPCG(16, 1))
	r.commit(rnd, 10)
	if err := r.run(r.leader(r.config("a", nil))); err != nil {
		t.Fatal(err)
	}
	before := len(r.sink.Records("entry", 0))
	r.data[0].Key = []string{"id", "note"}
	for range 2 { // a restart doesn't forget
		r.commit(rnd, 10)
		l := r.leader(r.config("a", nil))
		if err := r.run(l); err != nil {
			t.Fatal(err)
		}
		if s := l.Stats().Stopped; len(s) != 1 || !strings.Contains(s["entry"].Reason, "named by (id)") || s["entry"].Hint == "" {
			t.Fatalf("stopped: %+v", s)
		}
	}
	if n := len(r.sink.Records("entry", 0)); n != before {
		t.Errorf("%d records were sent under other keys", n-before)
	}
}
