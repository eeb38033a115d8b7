package syncer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"strata/canal"
	"strata/catalog"
	"strata/fault"
	"strata/index"
)

// One batch: enough to share an fsync among many documents, little enough to be applied in a fraction of a second.
const (
	batchRecords = 2000
	batchBytes   = 4 << 20
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
	stored  index.Watermark // as the index has it
	last    canal.Header    // of the last record taken: its version orders what is written about it
	keys    *canal.KeyReader
	heads   heads
	shard   string // last shard seen, which is nearly always the next one's
	records []canal.Record
	docs    []index.Document
	marks   []pending
	ahead   ahead
}

func newPartition(s *Sync, t *set, from index.Watermark) *partition {
	p := &partition{s: s, t: t, n: from.Partition, stored: from, keys: canal.NewKeyReader(t.d)}
	p.tally = tally{gate: canal.Gate{Highest: from.Term}, number: from.Number, frozen: from.Frozen}
	return p
}

func (p *partition) run(ctx context.Context) (err error) {
	stream, err := p.s.cfg.Feed.Open(ctx, p.t.d, p.n, p.stored.Offset)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stream.Close()) }()
	for {
		p.records, err = stream.Next(ctx, Batch{Records: batchRecords, Bytes: batchBytes, Linger: batchLinger}, p.records[:0])
		if err != nil {
			return err
		}
		if err := p.take(); err != nil {
			return err
		}
		if err := p.flush(ctx); err != nil {
			return err
		}
	}
}

// take judges the records and makes documents and marks of those that count.
func (p *partition) take() error {
	p.docs, p.marks = p.docs[:0], p.marks[:0]
	var drops, twice int64
	for i := range p.records {
		r := &p.records[i]
		v, err := p.tally.take(r)
		if err != nil {
			return p.where(r, err)
		}
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
			err = p.takeChange(r)
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

// where names the record in an error.
func (p *partition) where(r *canal.Record, err error) error {
	return fmt.Errorf("sync %s partition %d offset %d: %w", p.t.d.Name, p.n, r.Offset, err)
}

func (p *partition) takeMark(r *canal.Record) error {
	if p.tally.frozen != "" {
		return nil
	}
	var m canal.Mark
	if err := json.Unmarshal(canal.Payload(r.Value), &m); err != nil {
		return fault.Wrap(fault.Invalid, "parse mark", err)
	}
	h := &r.Header
	p.marks = append(p.marks, pending{at: m.At, w: index.Watermark{Dataset: p.t.d.Name, Partition: p.n, Term: p.tally.gate.Highest,
		Number: h.Number, Offset: r.Offset + 1, GTID: m.GTID, Heartbeat: m.Heartbeat, At: m.At, Version: index.MakeVersion(h.Term, h.Seq)}})
	return nil
}

func (p *partition) takeChange(r *canal.Record) error {
	if r.Value == nil {
		return nil // a tombstone for Kafka's own compaction; its delete came before it
	}
	h := &r.Header
	if h.Shard != p.shard {
		if _, ok := p.t.d.ShardOf(h.Shard); !ok {
			return fault.New(fault.Invalid, "apply change", "%q is not a shard of the dataset", h.Shard).
				WithHint("was the dataset's shard scheme changed? it must be the one with which the topic was written")
		}
		p.shard = h.Shard
	}
	value, err := payload(r.Value, &p.heads.value)
	if err != nil {
		return err
	}
	rawKey, err := payload(r.Key, &p.heads.key)
	if err != nil {
		return err
	}
	c, err := parseEnvelope(value)
	if err != nil {
		return err
	}
	key, err := p.keys.Read(rawKey)
	if err != nil {
		return err
	}
	doc := index.Document{Shard: p.shard, Key: key, Version: index.MakeVersion(h.Term, h.Seq),
		Hash: h.Hash, After: c.after}
	if c.op == 'd' {
		doc.Deleted, doc.After = true, c.before
	}
	p.docs = append(p.docs, doc)
	return nil
}

// flush writes in this order: documents, refresh, watermark, offset. Each step makes the next one true.
func (p *partition) flush(ctx context.Context) error {
	if err := p.applyDocs(ctx); err != nil {
		return err
	}
	if err := p.foreign(); err != nil {
		return err
	}
	p.t.count(func(st *DatasetStats) { st.Batches++ })
	newlyFrozen := p.tally.frozen != "" && p.tally.frozen != p.stored.Frozen
	if len(p.marks) == 0 && !newlyFrozen {
		return nil
	}
	if err := p.step("sync.refresh", "sync.refreshed", func() error { return p.s.cfg.Index.Refresh(ctx, p.t.d.Name) }); err != nil {
		return err
	}
	if n := len(p.marks); n > 0 {
		if err := p.put(ctx, p.marks[n-1].w); err != nil {
			return err
		}
		now := catalog.At(p.s.cfg.Now())
		for _, m := range p.marks {
			lag := max(time.Duration(now-m.at)*time.Microsecond, 0) // the writer's clock may be ahead of ours
			p.s.lag.add(lag)
			p.s.cfg.Lag(lag)
		}
	}
	if newlyFrozen {
		w := p.stored
		w.Frozen, w.Version = p.tally.frozen, index.MakeVersion(p.last.Term, p.last.Seq)
		if err := p.put(ctx, w); err != nil {
			return err
		}
		p.s.cfg.Log.Error("watermark frozen", "dataset", p.t.d.Name, "partition", p.n, "missing", p.tally.frozen)
	}
	return p.commit(ctx)
}

func (p *partition) applyDocs(ctx context.Context) error {
	if len(p.docs) == 0 {
		return nil
	}
	var out []index.Outcome
	err := p.step("sync.apply", "sync.applied", func() (err error) {
		out, err = p.s.cfg.Index.Apply(ctx, p.t.d.Name, p.docs)
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
			return fault.New(fault.Invalid, "sync "+p.t.d.Name, "the index refuses %s: %s", p.docs[i].ID(), o.Reason).
				WithHint("nothing after it in partition %d is committed; correct the row or the dataset's declaration and start again", p.n)
		}
	}
	p.t.count(func(st *DatasetStats) { st.Applied, st.Newer = st.Applied+applied, st.Newer+newer })
	return nil
}

// step does one write between its two crash points.
func (p *partition) step(before, after string, do func() error) error {
	if err := p.s.at(before); err != nil {
		return err
	}
	if err := do(); err != nil {
		return err
	}
	return p.s.at(after)
}

func (p *partition) put(ctx context.Context, w index.Watermark) error {
	err := p.step("sync.watermark", "sync.watermarked", func() error { return p.s.cfg.Index.PutWatermark(ctx, w) })
	if err != nil {
		return err
	}
	p.stored = w
	p.t.mark(w)
	return nil
}

// commit tells Kafka, for people; a failure is counted and nothing more, because the watermark is what counts.
func (p *partition) commit(ctx context.Context) error {
	return p.step("sync.commit", "sync.committed", func() error {
		if err := p.s.cfg.Feed.Commit(ctx, p.t.d.Name, p.n, p.stored.Offset, p.stored.Term); err != nil {
			p.t.count(func(st *DatasetStats) { st.Uncommit++ })
		}
		return nil
	})
}
