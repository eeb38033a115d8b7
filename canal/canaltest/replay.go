package canaltest

import (
	"context"
	"encoding/json"
	"fmt"

	"strata/canal"
	"strata/catalog"
)

// Seen is a change as a reader of the topic meets it.
type Seen struct {
	Partition int32
	Header    canal.Header
	Key       string
	Op        string
	Before    string
	After     string
}

// Replay reads a dataset's topic as sync does and returns the changes that count, by partition in order. It is an error if
// numbers are not consecutive, versions don't rise, a change comes twice, or a header contradicts its value.
func Replay(ctx context.Context, sink canal.Sink, d *catalog.Dataset) ([]Seen, error) {
	var out []Seen
	for p := range d.Partitions {
		first, next, err := sink.Bounds(ctx, d.Name, p)
		if err != nil {
			return nil, err
		}
		gate := canal.Gate{}
		number, term, seq := uint64(0), uint32(0), uint64(0)
		met := map[string]bool{}
		err = sink.Read(ctx, d.Name, p, first, next, func(r *canal.Record) error {
			h := r.Header
			if !gate.Pass(&h) {
				return nil
			}
			if h.Term < term || h.Term == term && h.Seq <= seq {
				return fmt.Errorf("partition %d offset %d: version %d/%d after %d/%d", p, r.Offset, h.Term, h.Seq, term, seq)
			}
			term, seq = h.Term, h.Seq
			if h.Kind == canal.KindResume && h.Number != number {
				return fmt.Errorf("partition %d offset %d: resume says %d, last was %d", p, r.Offset, h.Number, number)
			}
			if !h.Kind.Counts() {
				return nil
			}
			if h.Number != number+1 {
				return fmt.Errorf("partition %d offset %d: number %d after %d", p, r.Offset, h.Number, number)
			}
			number = h.Number
			if h.Kind != canal.KindChange {
				return nil
			}
			id := fmt.Sprintf("%s#%d", h.GTID, h.Ordinal)
			if met[id] {
				return fmt.Errorf("partition %d offset %d: %s came before", p, r.Offset, id)
			}
			met[id] = true
			var e canal.Envelope
			if err := json.Unmarshal(canal.Payload(r.Value), &e); err != nil {
				return fmt.Errorf("partition %d offset %d: %w", p, r.Offset, err)
			}
			if e.Source.GTID != h.GTID || e.Source.Table != h.Shard || e.Source.Row != h.Ordinal || canal.PartitionOf(canal.Payload(r.Key), d.Partitions) != p {
				return fmt.Errorf("partition %d offset %d: header %+v is not of %s", p, r.Offset, h, r.Value)
			}
			out = append(out, Seen{p, h, string(canal.Payload(r.Key)), e.Op, string(e.Before), string(e.After)})
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}

// Check compares what was seen of a dataset with what its source committed: the same changes, each once, per key in the
// same order.
func Check(d *catalog.Dataset, txns []canal.Txn, seen []Seen) error {
	want := map[string][]string{}
	n := 0
	key := func(r *catalog.Row) string { return string(canal.RecordKey(d, r, d.KeyIndexes())) }
	expect := func(k, gtid string, ordinal uint32, op canal.Op) {
		want[k] = append(want[k], fmt.Sprintf("%s#%d %c", gtid, ordinal, op))
		n++
	}
	for _, x := range txns {
		for i := range x.Changes {
			c := &x.Changes[i]
			if c.Dataset != d {
				continue
			}
			switch {
			case c.Op == canal.Insert:
				expect(key(&c.After), x.GTID, c.Ordinal, c.Op)
			case c.Op == canal.Delete:
				expect(key(&c.Before), x.GTID, c.Ordinal, c.Op)
			case key(&c.Before) == key(&c.After):
				expect(key(&c.After), x.GTID, c.Ordinal+1, c.Op)
			default:
				expect(key(&c.Before), x.GTID, c.Ordinal, canal.Delete)
				expect(key(&c.After), x.GTID, c.Ordinal+1, canal.Insert)
			}
		}
	}
	got := map[string][]string{}
	for _, s := range seen {
		got[s.Key] = append(got[s.Key], fmt.Sprintf("%s#%d %s", s.Header.GTID, s.Header.Ordinal, s.Op))
	}
	if len(seen) != n {
		return fmt.Errorf("%d changes were seen, %d were committed", len(seen), n)
	}
	for k, w := range want {
		if fmt.Sprint(got[k]) != fmt.Sprint(w) {
			return fmt.Errorf("key %s: seen %v, committed %v", k, got[k], w)
		}
	}
	return nil
}
