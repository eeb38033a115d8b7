package syncer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"strata/canal"
	"strata/catalog"
	"strata/fault"
	"strata/index"
)

// One batch: enough to share an fsync among many documents, little enough to be applied in a fraction of a second. Its bytes
// are the budget's.
const (
	batchRecords = 2000
	batchLinger  = 20 * time.Millisecond
)

// pending is a mark that waits until everything before it is applied.
type pending struct {
	w  index.Watermark
	at catalog.Instant
}

// partition applies one partition of one dataset. One goroutine.
type partition struct {
	s       *Sync
	t       *set
	n       int32
	tally   tally
	anew    bool            // the next record is the first of a topic that was made anew
	from    index.Watermark // as the index had it when the partition began
	claims  *claims
	said    string       // what was last said to be missing
	last    canal.Header // of the last record taken: its version orders what is written about it
	decode  *Decoder
	records []canal.Record
	behind  int64 // so many records stand in the topic after these
	docs    []index.Document
	of      []int // the docs' records
	refused []refusal
	unread  int // of the refused: records that can't be read
	marks   []pending
	ahead   ahead
}

func newPartition(s *Sync, t *set, from index.Watermark, c *claims) *partition {
	p := &partition{s: s, t: t, n: from.Partition, from: from, claims: c, decode: NewDecoder(t.d)}
	p.tally = tally{gate: canal.Gate{Highest: from.Term}, number: from.Number, version: from.Version, frozen: from.Frozen, beat: from.Heartbeat}
	return p
}

func (p *partition) run(ctx context.Context) (err error) {
	from, err := p.begin(ctx)
	if err != nil {
		return err
	}
	p.anew, p.said = strings.HasPrefix(p.tally.frozen, madeAnew), p.tally.frozen
	p.t.read(p.n, from)
	stream, err := p.s.cfg.Feed.Open(ctx, p.t.d, p.n, from)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stream.Close()) }()
	for {
		if err := stream.Wait(ctx); err != nil {
			return err
		}
		if err := p.batch(ctx, stream); err != nil {
			var c *crash
			if !errors.As(err, &c) {
				_ = p.claims.settle(ctx, p.n) // what was applied before is claimed; if it can't be, err is why it is tried again
			}
			return err
		}
	}
}

// begin is where reading begins. Where the topic doesn't have that place, or has another record before it, records are missing:
// the watermark freezes, which is stored before anything is read from the oldest record on, and the records that repair it
// thaw it.
func (p *partition) begin(ctx context.Context) (int64, error) {
	first, next, err := p.s.cfg.Feed.Bounds(ctx, p.t.d, p.n)
	if err != nil {
		return 0, err
	}
	at, same := p.from.Offset, true
	if at > first && at <= next && p.from.Heartbeat > 0 { // else it comes from no mark: a generation that is built begins there
		if same, err = p.same(ctx, at-1); err != nil {
			return 0, err
		}
	}
	switch {
	case at < first:
		p.tally.freeze("offsets %d to %d are gone from the topic", at, first-1)
	case at > next:
		p.tally.frozen = fmt.Sprintf(madeAnew+", or cut: it ends at offset %d and had been read up to %d", next, at)
	case !same:
		p.tally.frozen = fmt.Sprintf(madeAnew+": before offset %d stands another record than was read there", at)
	default:
		if at == next {
			p.t.through(p.n)
		}
		return at, nil
	}
	w := p.from
	w.Frozen, w.Offset, w.Version = p.tally.frozen, first, w.Version+1
	if at >= first {
		p.tally.number, w.Number = 0, 0 // another topic counts from its beginning
	}
	if err := p.s.put(ctx, p.t, w); err != nil {
		return 0, err
	}
	p.s.cfg.Log.Error("watermark frozen", "dataset", p.t.d.Name, "partition", p.n, "missing", p.tally.frozen)
	return first, nil
}

// same reports whether the record at an offset is the mark from which the stored watermark was made.
func (p *partition) same(ctx context.Context, offset int64) (_ bool, err error) {
	stream, err := p.s.cfg.Feed.Open(ctx, p.t.d, p.n, offset)
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, stream.Close()) }()
	records, err := stream.Next(ctx, Batch{Records: 1, Bytes: 1}, nil)
	if err != nil || records[0].Offset != offset { // it was deleted just now, what comes after it is there
		return err == nil, err
	}
	var m canal.Mark
	return records[0].Header.Kind == canal.KindMark && json.Unmarshal(canal.Payload(records[0].Value), &m) == nil &&
		m.Heartbeat == p.from.Heartbeat && m.GTID == p.from.GTID && m.At == p.from.At, nil
}

// batch reads, applies and forgets one batch, for which there is room.
func (p *partition) batch(ctx context.Context, stream Stream) error {
	release, err := p.s.budget.acquire(ctx, p.t.d.Name, p.t.live(p.s.cfg.Now()))
	if err != nil {
		return err
	}
	defer release()
	defer p.claims.begin()()
	p.records, err = stream.Next(ctx, Batch{Records: batchRecords, Bytes: p.s.budget.batchBytes, Linger: batchLinger}, p.records[:0])
	if err != nil {
		return err
	}
	p.behind = stream.Behind()
	if err := p.take(ctx); err != nil {
		return err
	}
	if err := p.flush(ctx); err != nil {
		return err
	}
	p.t.read(p.n, p.records[len(p.records)-1].Offset+1)
	// What the next batch doesn't overwrite would keep the largest batch's memory for as long as the partition is idle.
	clear(p.records)
	clear(p.docs)
	clear(p.refused)
	return nil
}

// take judges the records and makes documents and marks of those that count.
func (p *partition) take(ctx context.Context) error {
	p.docs, p.of, p.refused, p.marks = p.docs[:0], p.of[:0], p.refused[:0], p.marks[:0]
	var drops, twice int64
	if p.anew {
		h := &p.records[0].Header
		p.t.begins(p.n, index.MakeVersion(h.Term, h.Seq))
		p.anew = false
	}
	for i := range p.records {
		r := &p.records[i]
		v, err := p.tally.take(r)
		if err == nil && p.tally.doubt {
			err = p.doubt(ctx)
		}
		if err != nil {
			return p.where(r, err)
		}
		p.tally.doubt = false
		switch v {
		case dropped:
			drops++
			continue
		case duplicate:
			twice++
			continue
		}
		p.last = r.Header
		if v == control {
			continue
		}
		if r.Header.Kind == canal.KindMark {
			err = p.takeMark(r)
		} else {
			err = p.takeChange(i)
		}
		if err != nil {
			return p.where(r, err)
		}
	}
	n := int64(len(p.records))
	p.t.count(func(st *DatasetStats) {
		st.Records, st.Dropped, st.Duplicates = st.Records+n, st.Dropped+drops, st.Duplicates+twice
	})
	return nil
}

// doubt is an error where the topic may be another one under its name: reading begins again at the stored watermark, to see.
func (p *partition) doubt(ctx context.Context) error {
	if err := p.claims.settle(ctx, p.n); err != nil {
		return err
	}
	if !p.t.doubt(p.t.stored(p.n)) {
		return nil
	}
	return fault.New(fault.Stale, "read record", "it may be of another topic under this name, which is looked at now")
}

// where names the record in an error.
func (p *partition) where(r *canal.Record, err error) error {
	return fmt.Errorf("sync %s partition %d offset %d: %w", p.t.d.Name, p.n, r.Offset, err)
}

func (p *partition) takeMark(r *canal.Record) error {
	var m canal.Mark
	if err := json.Unmarshal(canal.Payload(r.Value), &m); err != nil {
		return fault.Wrap(fault.Invalid, "parse mark", err)
	}
	p.tally.claim(m.Heartbeat)
	if p.tally.frozen == wholeAgain && p.t.isClean(p.n) {
		p.tally.frozen, p.tally.later = p.tally.later, ""
	}
	if p.tally.frozen != "" {
		return nil
	}
	h := &r.Header
	p.marks = append(p.marks, pending{at: m.At, w: index.Watermark{Dataset: p.t.d.Name, Partition: p.n, Term: p.tally.gate.Highest,
		Number: h.Number, Offset: r.Offset + 1, GTID: m.GTID, Heartbeat: m.Heartbeat, At: m.At, Version: index.MakeVersion(h.Term, h.Seq)}})
	return nil
}

func (p *partition) takeChange(i int) error {
	r := &p.records[i]
	if r.Value == nil {
		return nil // a tombstone for Kafka's own compaction; its delete came before it
	}
	doc, err := p.decode.Document(r)
	var u *unreadable
	if errors.As(err, &u) {
		p.refused = append(p.refused, refusal{r, u.Error()})
		return nil
	}
	if err != nil {
		return err
	}
	p.docs, p.of = append(p.docs, doc), append(p.of, i)
	return nil
}

// flush writes in this order: documents, letters, and then what may be claimed: refresh, watermark, offset. Each step makes the
// next one true.
func (p *partition) flush(ctx context.Context) error {
	p.unread = len(p.refused) // so far
	if err := p.applyDocs(ctx); err != nil {
		return err
	}
	if err := p.sendLetters(ctx); err != nil {
		return err
	}
	if err := p.foreign(); err != nil {
		return err
	}
	p.t.count(func(st *DatasetStats) {
		st.Batches, st.Documents = st.Batches+1, st.Documents+int64(len(p.docs)+p.unread)
	})
	p.t.through(p.n)
	return p.hand(ctx)
}

// hand gives in what may be claimed of the batch, once it is refreshed.
func (p *partition) hand(ctx context.Context) error {
	missing := p.tally.frozen
	news := missing != "" && missing != p.said
	if len(p.marks) == 0 && !news {
		return nil
	}
	p.said = missing
	c := claim{partition: p.n, frozen: missing, last: index.MakeVersion(p.last.Term, p.last.Seq), batches: 1}
	for _, m := range p.marks {
		c.w, c.made = m.w, append(c.made, m.at)
	}
	return p.claims.hand(ctx, c, p.atHead() || news)
}

// atHead reports whether the batch is the last one that there is, for now. One that is not full may not be: a fetch that takes
// longer than the linger cuts a batch short.
func (p *partition) atHead() bool {
	if p.behind >= batchRecords {
		return false
	}
	size := 0
	for i := range p.records {
		size += len(p.records[i].Value)
	}
	return len(p.records) < batchRecords && size < p.s.budget.batchBytes
}

func (p *partition) applyDocs(ctx context.Context) error {
	if len(p.docs) == 0 {
		return nil
	}
	var out []index.Outcome
	err := p.s.step("sync.apply", "sync.applied", func() (err error) {
		out, err = p.t.index.Apply(ctx, p.t.d.Name, p.docs)
		return err
	})
	if err != nil {
		return err
	}
	var applied, newer int64
	for i, o := range out {
		switch o.Status {
		case index.Applied:
			applied++
		case index.Newer:
			newer++
			if o.StoredVersion.Term() > p.tally.gate.Highest {
				if err := p.meets(ctx, p.docs[i].ID(), o.StoredVersion); err != nil {
					return err
				}
			}
		default:
			p.refused = append(p.refused, refusal{&p.records[p.of[i]], p.docs[i].ID() + ": " + o.Reason})
		}
	}
	p.t.count(func(st *DatasetStats) { st.Applied, st.Newer = st.Applied+applied, st.Newer+newer })
	return nil
}
