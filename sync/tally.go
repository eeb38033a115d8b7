package syncer

import (
	"encoding/json"
	"fmt"
	"strings"

	"strata/canal"
	"strata/fault"
	"strata/index"
)

// tally is what one partition knows of the records so far: which count, and whether one is missing.
type tally struct {
	gate    canal.Gate
	number  uint64        // of the last record that counted
	version index.Version // not below that record's
	frozen  string        // not empty: what is missing
	later   string        // not empty: what was found missing after the claim was lowered, which the repair under way may not know
	opened  bool          // the last record was an open
	beat    uint64        // heartbeat of the last mark
	lowered bool          // that mark lowered the claim: a repair is under way
	doubt   bool          // the record may be of another topic under the same name
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
		t.gate.Highest, t.doubt = h.Term, true
	}
	switch {
	case h.Kind == canal.KindOpen, h.Kind == canal.KindTombstone:
		return control, nil
	case h.Kind == canal.KindResume:
		return control, t.resume(r, opened)
	case !h.Kind.Counts():
		return control, fault.New(fault.Invalid, "read record", "kind %q at offset %d", rune(h.Kind), r.Offset).
			WithHint("a newer strata writes to this topic; update this one")
	case h.Number <= t.number && index.MakeVersion(h.Term, h.Seq) <= t.version:
		return duplicate, nil
	case h.Number <= t.number: // newer than all that was counted
		t.freeze("the numbers begin anew at offset %d with %d, after %d: the topic was made anew", r.Offset, h.Number, t.number)
		t.doubt = true
	case h.Number > t.number+1:
		t.gap(t.number+1, h.Number-1)
	}
	t.number, t.version = h.Number, index.MakeVersion(h.Term, h.Seq)
	return apply, nil
}

// claim learns from a mark what the leader claims. A lower heartbeat than before says that a repair has begun.
func (t *tally) claim(beat uint64) {
	t.lowered, t.beat = beat < t.beat, beat
}

// resume compares the leader's count with this partition's. What was missing earlier is forgotten where it says that it was
// repaired, but for what was found missing after the repair had begun. Records that are missing just before it are not
// forgotten either, since the repairs may be among them; but right after an open there are none: somebody has decided that the
// dataset goes on.
func (t *tally) resume(r *canal.Record, opened bool) error {
	var v canal.Resume
	if err := json.Unmarshal(canal.Payload(r.Value), &v); err != nil {
		return fault.Wrap(fault.Invalid, fmt.Sprintf("parse resume at offset %d", r.Offset), err)
	}
	if v.Repaired {
		t.repaired(opened)
	}
	switch {
	case v.LastNumber > t.number && !(v.Repaired && opened):
		t.gap(t.number+1, v.LastNumber)
	case v.LastNumber < t.number && !v.Repaired:
		t.freeze("the leader of term %d goes on after number %d, but %d was applied", r.Header.Term, v.LastNumber, t.number)
	}
	t.number, t.version = v.LastNumber, index.MakeVersion(r.Header.Term, r.Header.Seq)
	return nil
}

func (t *tally) gap(from, to uint64) {
	if from == to {
		t.freeze("number %d is missing", from)
		return
	}
	t.freeze("numbers %d to %d are missing", from, to)
}

// repaired forgets what was missing. Where the topic was made anew it has the source by now, but the index may have what went
// with the old one.
func (t *tally) repaired(opened bool) {
	switch {
	case opened:
		t.frozen, t.later = "", ""
	case strings.HasPrefix(t.frozen, madeAnew):
		t.frozen = wholeAgain
	default:
		t.frozen, t.later = t.later, ""
	}
	t.lowered = false
}

// freeze keeps the first reason: what came later may be its consequence.
func (t *tally) freeze(format string, args ...any) {
	what := fmt.Sprintf(format, args...)
	if t.frozen == "" {
		t.frozen = what
	}
	if (t.lowered || strings.HasPrefix(t.frozen, madeAnew)) && t.later == "" {
		t.later = what
	}
}
