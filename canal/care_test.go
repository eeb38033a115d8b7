package canal

import (
	"testing"

	"strata/catalog"
)

// numbered is a Source whose positions are single letters.
type numbered struct{ Source }

func (numbered) Reached(at, want string) (bool, error) { return at >= want, nil }

func TestL4_of_two_claims_the_lower_one_holds(t *testing.T) {
	l := newLane(&catalog.Dataset{Name: "entry", Partitions: 1})
	for _, c := range []struct{ has, gets, want string }{{"b", "c", "b"}, {"c", "b", "b"}, {"b", "b", "b"}, {"", "b", ""}, {"b", "", ""}} {
		cfg := &Config{Source: numbered{}}
		tm := &term{cfg: cfg, care: map[*lane]*care{l: {lowered: &Lowered{Mark: Mark{GTID: c.has}, Tasks: []int64{1}}}}}
		o := &office{t: tm, cfg: cfg}
		if err := o.lower(l, 2, Mark{GTID: c.gets}); err != nil {
			t.Fatal(err)
		}
		if low := tm.care[l].lowered; low.Mark.GTID != c.want || len(low.Tasks) != 2 || tm.care[l].tell != (c.has != c.want) {
			t.Errorf("%+v: %+v, tell %v", c, low, tm.care[l].tell)
		}
	}
}

func TestL2_changed_keys_are_kept_as_long_as_a_chunk_in_hand_may_be_older(t *testing.T) {
	o := &office{t: &term{}, beats: []Beat{{Seq: 5}, {Seq: 6}, {Seq: 7}, {Seq: 8}}}
	f := &fill{since: 5, touched: map[rowName]uint64{{"entry", "5"}: 5, {"entry", "6"}: 6, {"entry", "7"}: 7}, chunks: []*chunk{{Chunk: Chunk{Beat: 6}}}}
	o.prune(f, f.oldest())
	if len(f.touched) != 2 || f.touched[rowName{"entry", "6"}] != 6 || f.since != 6 {
		t.Fatalf("%+v", f)
	}
}
