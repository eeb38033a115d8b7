package syncer

import (
	"encoding/json"
	"fmt"

	"strata/canal"
	"strata/fault"
)

// tally is what one partition knows of the records so far: which count, and whether one is missing.
type tally struct {
	gate   canal.Gate
	number uint64 // of the last record that counted
	frozen string // not empty: what is missing
	opened bool   // the last record was an open
}

// verdict is what is to be done with a record.
type verdict uint8

const (
	apply     verdict = iota // it is new: a change, a backfill or a mark
	control                  // an open, a resume or a delete's null value: nothing to apply
	dropped                  // a dead leader's
	duplicate                // counted before
)

// take judges the next record of the partition. A dead leader's records are dropped before anything is counted.
func (t *tally) take(r *canal.Record) (verdict, error) {
	h := &r.Header
	known := t.gate.Highest
	if !t.gate.Pass(h) {
		return dropped, nil
	}
	opened := t.opened
	t.opened = h.Kind == canal.KindOpen
	if h.Term > known && h.Kind != canal.KindOpen {
		t.freeze("the open of term %d before offset %d is missing", h.Term, r.Offset)
		t.gate.Highest = h.Term
	}
	switch {
	case h.Kind == canal.KindOpen, h.Kind == canal.KindTombstone:
		return control, nil
	case h.Kind == canal.KindResume:
		return control, t.resume(r, opened)
	case !h.Kind.Counts():
		return control, fault.New(fault.Invalid, "read record", "kind %q at offset %d", rune(h.Kind), r.Offset).
			WithHint("a newer strata writes to this topic; update this one")
	case h.Number <= t.number:
		return duplicate, nil
	case h.Number > t.number+1:
		t.gap(t.number+1, h.Number-1)
	}
	t.number = h.Number
	return apply, nil
}

// resume compares the leader's count with this partition's. What was missing earlier is forgotten where it says that it was
// repaired. Records that are missing just before it are not, since the repairs may be among them; but right after an open there
// are none: somebody has decided that the dataset goes on.
func (t *tally) resume(r *canal.Record, opened bool) error {
	var v canal.Resume
	if err := json.Unmarshal(canal.Payload(r.Value), &v); err != nil {
		return fault.Wrap(fault.Invalid, fmt.Sprintf("parse resume at offset %d", r.Offset), err)
	}
	if v.Repaired {
		t.frozen = ""
	}
	switch {
	case v.LastNumber > t.number && !(v.Repaired && opened):
		t.gap(t.number+1, v.LastNumber)
	case v.LastNumber < t.number && !v.Repaired:
		t.freeze("the leader of term %d goes on after number %d, but %d was applied", r.Header.Term, v.LastNumber, t.number)
	}
	t.number = v.LastNumber
	return nil
}

func (t *tally) gap(from, to uint64) {
	if from == to {
		t.freeze("number %d is missing", from)
		return
	}
	t.freeze("numbers %d to %d are missing", from, to)
}

// freeze keeps the first reason: what came later may be its consequence.
func (t *tally) freeze(format string, args ...any) {
	if t.frozen == "" {
		t.frozen = fmt.Sprintf(format, args...)
	}
}
