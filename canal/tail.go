package canal

import (
	"context"
	"encoding/json"

	"strata/fault"
)

// maxTail bounds what a tail may hold in memory, 4 bytes a record and about 100 a transaction: half a minute at full speed,
// or a first start over a topic whose checkpoint was lost.
const maxTail = 4 << 20

// tail is what a partition has beyond the checkpoint, as Gate lets it through. It is a prefix of what the leader will send.
type tail struct {
	sent    map[string][]uint32 // GTID → ordinals of changes that are in Kafka, in order, unmatched so far
	marks   map[string]struct{} // GTIDs whose mark is in Kafka
	left    int                 // unmatched changes
	number  uint64              // of the last record that counts
	highest uint32              // highest open seen
}

// readTail reads a partition from the checkpoint's place up to offset `to`.
func readTail(ctx context.Context, sink Sink, dataset string, partition int32, from PartPosition, to int64) (tail, error) {
	t := tail{sent: make(map[string][]uint32), marks: make(map[string]struct{}), number: from.Number, highest: from.Term}
	gate := Gate{Highest: from.Term}
	err := sink.Read(ctx, dataset, partition, from.Offset, to, func(r *Record) error {
		h := &r.Header
		if !gate.Pass(h) {
			return nil
		}
		if h.Kind.Counts() {
			if h.Number != t.number+1 {
				return fault.New(fault.Proof, "read tail", "partition %d of dataset %s: number %d at offset %d after %d",
					partition, dataset, h.Number, r.Offset, t.number).
					WithHint("records of this topic were lost or written by somebody else; load the dataset anew")
			}
			t.number = h.Number
		}
		switch h.Kind {
		case KindChange:
			t.sent[h.GTID] = append(t.sent[h.GTID], h.Ordinal)
			t.left++
		case KindMark:
			t.marks[h.GTID] = struct{}{}
		default:
		}
		if t.left > maxTail {
			return fault.New(fault.TooLarge, "read tail", "partition %d of dataset %s has more than %d records after the checkpoint",
				partition, dataset, maxTail).WithHint("the checkpoint in the control database is lost or far too old; restore it")
		}
		return nil
	})
	t.highest = gate.Highest
	return t, err
}

// take reports whether the change is in the tail, and removes it.
func (t *tail) take(gtid string, ordinal uint32) bool {
	list := t.sent[gtid]
	if len(list) == 0 || list[0] != ordinal {
		return false
	}
	if t.left--; len(list) == 1 {
		delete(t.sent, gtid)
	} else {
		t.sent[gtid] = list[1:]
	}
	return true
}

// takeMark reports whether the mark is in the tail, and removes it.
func (t *tail) takeMark(gtid string) bool {
	_, ok := t.marks[gtid]
	delete(t.marks, gtid)
	return ok
}

// whole checks that nothing of the tail is unmatched, before something that isn't in it is sent.
func (t *tail) whole(dataset string, partition int32, gtid string) error {
	if t.left == 0 {
		return nil
	}
	some := ""
	for g := range t.sent {
		some = g
		break
	}
	return fault.New(fault.Proof, "continue partition", "partition %d of dataset %s has no record of %s but %d later ones, such as of %s",
		partition, dataset, gtid, t.left, some).
		WithHint("the source's history is not the one that was sent, or records were lost; load the dataset anew")
}

// checkBounds makes sure that the tail is there from the checkpoint's offset on.
func checkBounds(dataset string, partition int32, from PartPosition, first, next int64) error {
	if first <= from.Offset && from.Offset <= next {
		return nil
	}
	return fault.New(fault.Unsafe, "read tail", "partition %d of dataset %s has offsets %d to %d, the checkpoint is at %d",
		partition, dataset, first, next, from.Offset).
		WithHint("the topic was cut, made anew or restored; what was sent can't be known, so load the dataset anew")
}

func jsonValue(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic("marshal a record of plain fields: " + err.Error()) // can't be
	}
	return b
}
