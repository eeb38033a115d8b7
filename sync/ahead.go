package syncer

import (
	"context"

	"strata/fault"
	"strata/index"
)

// ahead is a term that the index has and this partition has not come to yet: another process applied what comes later here, or
// what was applied before is read again. Then the open of that term stands before the offset that was the topic's next one.
type ahead struct {
	term  uint32
	until int64
	id    string // a document with it
}

// meets takes a stored version of a later term than the partition has come to.
func (p *partition) meets(ctx context.Context, id string, v index.Version) error {
	if v.Term() <= p.ahead.term {
		return nil
	}
	_, next, err := p.s.cfg.Feed.Bounds(ctx, p.t.d, p.n)
	if err != nil {
		return err
	}
	p.ahead = ahead{term: v.Term(), until: next, id: id}
	return nil
}

// foreign is an error where the index has a term that is nowhere in the topic. While that is not known nothing is claimed.
func (p *partition) foreign() error {
	if p.ahead.term <= p.tally.gate.Highest {
		p.ahead = ahead{}
		return nil
	}
	if p.records[len(p.records)-1].Offset+1 >= p.ahead.until {
		return fault.New(fault.Unsafe, "sync "+p.t.d.Name, "the index has %s of term %d, partition %d never had more than term %d",
			p.ahead.id, p.ahead.term, p.n, p.tally.gate.Highest).
			WithHint("the index was made from another topic or pipeline; rebuild it")
	}
	p.marks = p.marks[:0]
	return nil
}
