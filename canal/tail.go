package canal

import (
	"context"
	"encoding/binary"
	"errors"

	"strata/catalog"
	"strata/fault"
)

const (
	// maxTail bounds what all tails of a term may hold in memory, in units of 8 bytes: three transactions of five million rows,
	// or a minute and more at full speed.
	maxTail = 16 << 20
	// txnWeight is what a GTID costs beside its records.
	txnWeight = 24
)

// sent is a change in a tail: its ordinal, and the beginning of its row image's hash.
type sent uint64

func sentOf(ordinal uint32, h catalog.Hash) sent {
	return sent(ordinal)<<32 | sent(binary.BigEndian.Uint32(h[:]))
}

// tail is what a partition has beyond the checkpoint, as Gate lets it through. It is a prefix of what the leader will send.
type tail struct {
	sent    map[string][]sent   // by GTID: changes that are in Kafka, in order, unmatched so far
	order   []string            // the GTIDs of sent, as they came; those at the beginning may be matched by now
	marks   map[string]struct{} // GTIDs whose mark is in Kafka
	left    int                 // unmatched changes
	number  uint64              // of the last record that counts
	highest uint32              // highest open seen
}

// Why a tail can't be read.
var (
	errMadeAnew = errors.New("the topic was made anew, or lost its end")
	errCut      = errors.New("the topic lost what was sent after the checkpoint")
)

// readTail reads a partition from the checkpoint's place up to offset `to`. What it holds is taken from room.
func readTail(ctx context.Context, sink Sink, dataset string, partition int32, from PartPosition, to int64, room *int) (tail, error) {
	t := tail{sent: make(map[string][]sent), marks: make(map[string]struct{}), number: from.Number, highest: from.Term}
	gate := Gate{Highest: from.Term}
	err := sink.Read(ctx, dataset, partition, from.Offset, to, func(r *Record) error {
		h := &r.Header
		if !gate.Pass(h) {
			return nil
		}
		if h.Kind.Counts() {
			if h.Number != t.number+1 {
				return fault.New(fault.Proof, "read tail", "partition %d of dataset %s: number %d at offset %d after %d: %w",
					partition, dataset, h.Number, r.Offset, t.number, errCut).
					WithHint("records of this topic were lost or written by somebody else; load the dataset anew")
			}
			t.number = h.Number
		}
		switch h.Kind {
		case KindChange:
			list := t.sent[h.GTID]
			*room--
			if len(list) == 0 {
				t.order = append(t.order, h.GTID)
				*room -= txnWeight
			}
			t.sent[h.GTID] = append(list, sentOf(h.Ordinal, h.Hash))
			t.left++
		case KindMark:
			t.marks[h.GTID] = struct{}{}
			*room -= txnWeight
		default:
		}
		if *room < 0 {
			return fault.New(fault.TooLarge, "read tail", "partition %d of dataset %s has more records after the checkpoint than there is memory for: %w",
				partition, dataset, errCut).WithHint("the checkpoint in the control database is lost or far too old; restore it")
		}
		return nil
	})
	t.highest = gate.Highest
	return t, err
}

// take reports whether the change is in the tail, and removes it.
func (t *tail) take(gtid string, ordinal uint32) bool {
	list := t.sent[gtid]
	if len(list) == 0 || uint32(list[0]>>32) != ordinal {
		return false
	}
	if t.left--; len(list) == 1 {
		delete(t.sent, gtid)
	} else {
		t.sent[gtid] = list[1:]
	}
	return true
}

// oldest is the GTID of the first change that is unmatched; "" if there is none.
func (t *tail) oldest() string {
	for len(t.order) > 0 && len(t.sent[t.order[0]]) == 0 {
		t.order = t.order[1:]
	}
	if len(t.order) == 0 {
		return ""
	}
	return t.order[0]
}

// forget drops what is unmatched: it was sent, but of another history.
func (t *tail) forget() {
	t.sent, t.order, t.marks, t.left = nil, nil, nil, 0
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
	why := errCut
	if next < from.Offset {
		why = errMadeAnew
	}
	return fault.New(fault.Unsafe, "read tail", "partition %d of dataset %s has offsets %d to %d, the checkpoint is at %d: %w",
		partition, dataset, first, next, from.Offset, why).
		WithHint("the topic was cut, made anew or restored; what was sent can't be known, so load the dataset anew")
}

// mendFor is the task that mends a topic whose tail can't be read for this reason; "" where a person has to decide.
func mendFor(err error) TaskKind {
	switch {
	case errors.Is(err, errMadeAnew), fault.Is(err, fault.NotFound):
		return Backfill
	case errors.Is(err, errCut):
		return Rewind
	default:
		return ""
	}
}
