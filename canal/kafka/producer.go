package kafka

import (
	"context"
	"slices"
	"sync"
	"time"

	"strata/canal"
	"strata/fault"
)

// maxInFlight bounds the bytes that wait for their acknowledgement: enough for a second at full speed, and flat memory.
const maxInFlight = 64 << 20

// producer writes under one producer id, for one term.
//
// Send encodes records into the last batch of their lane. Each broker has a link, a goroutine that takes the first batch of
// every lane it leads, sends them in one request and waits for the answer: batches grow meanwhile. A lane whose batch
// could not be written loses its link; the guide, one goroutine, finds its leader and gives it a link again.
type producer struct {
	s     *Sink
	id    int64
	epoch int16
	guide *guide

	ctx    context.Context // of the goroutines; ended by Close
	cancel context.CancelFunc
	run    sync.WaitGroup

	mu      sync.Mutex
	change  chan struct{} // closed and made anew when something was acknowledged or err changes, and somebody waits
	waits   bool
	flying  int // bytes of records in batches
	records int // not acknowledged
	err     error
	topics  map[string]*topic // by dataset
	recent  *topic
	lost    []*lane // lanes with batches and without a link
	links   map[string]*link
	free    []*batch
	kept    int // bytes of free
}

// topic is what a producer knows of one.
type topic struct {
	name, dataset string
	lanes         []*lane   // by partition; nil: nothing was sent
	id            [16]byte  // as the brokers first said; zero where they don't
	missing       time.Time // since when the brokers don't know it
}

// lane is the queue of one partition.
type lane struct {
	topic     *topic
	partition int32
	queue     []*batch
	sequence  int32 // of the next batch's first record
	next      int64 // offset after the last acknowledged record; -1: none
	link      *link // nil: its leader is to be found
	listed    bool  // it stands in its link's ready, or in lost
	busy      bool  // its first batch is on its way
	failures  int   // since the last acknowledgement
	last      error // why its first batch could not be written
}

// Producer is part of canal.Sink. Errors: Unavailable, Denied.
func (s *Sink) Producer(ctx context.Context) (canal.Producer, error) {
	p := &producer{s: s, change: make(chan struct{}), topics: make(map[string]*topic), links: make(map[string]*link)}
	p.ctx, p.cancel = context.WithCancel(context.WithoutCancel(ctx))
	p.guide = &guide{p: p, wake: make(chan struct{}, 1)}
	stop := context.AfterFunc(ctx, p.cancel) // ctx bounds only the opening
	err := p.guide.identify()
	if !stop() && err == nil {
		err = fault.Wrap(fault.KindOf(ctx.Err()), "open producer", ctx.Err())
	}
	if err != nil {
		p.guide.hangUp()
		p.cancel()
		return nil, err
	}
	p.run.Go(p.guide.work)
	s.counts.current.Store(p)
	return p, nil
}

// Send is part of canal.Producer. An ended ctx is an error like any other: what was queued before may be written, so nothing
// may come after it.
func (p *producer) Send(ctx context.Context, records []canal.Record) error {
	ms := p.s.cfg.Now().UnixMilli()
	p.mu.Lock()
	defer p.mu.Unlock()
	defer p.kick()
	for i := range records {
		r := &records[i]
		size := recordLen(r)
		if size+batchHead > p.s.cfg.MaxMessageBytes {
			p.fail(tooLarge(r.Dataset, len(r.Key), size, p.s.cfg.MaxMessageBytes))
		}
		for p.err == nil && p.flying > 0 && p.flying+size > maxInFlight {
			p.waits = true
			p.kick()
			if err := p.wait(ctx); err != nil {
				p.fail(fault.Wrap(fault.KindOf(err), "send records", err))
			}
		}
		if p.err != nil {
			return p.err
		}
		p.queue(r, size, ms)
	}
	return p.err
}

func tooLarge(dataset string, key, size, limit int) error {
	return fault.New(fault.TooLarge, "send record", "a record of %s with a key of %d bytes has %d bytes, the limit is %d", dataset, key, size, limit).
		WithHint("raise the limit of a record's size here and max.message.bytes of topic %s (or message.max.bytes of the brokers)", canal.Topic(dataset))
}

// queue adds a record to the last batch of its lane.
func (p *producer) queue(r *canal.Record, size int, ms int64) {
	t := p.recent
	if t == nil || t.dataset != r.Dataset {
		if t = p.topics[r.Dataset]; t == nil {
			t = &topic{name: canal.Topic(r.Dataset), dataset: r.Dataset}
			p.topics[r.Dataset] = t
		}
		p.recent = t
	}
	for int(r.Partition) >= len(t.lanes) {
		t.lanes = append(t.lanes, nil)
	}
	l := t.lanes[r.Partition]
	if l == nil {
		l = &lane{topic: t, partition: r.Partition, next: -1}
		t.lanes[r.Partition] = l
	}
	var b *batch
	if n := len(l.queue); n > 0 && !l.queue[n-1].sealed && len(l.queue[n-1].buf)+size <= p.s.maxBatch {
		b = l.queue[n-1]
	} else {
		b = p.newBatch()
		room := size
		if n > 0 && !l.queue[n-1].sealed {
			room = max(room, p.s.maxBatch-batchHead) // the one before is full: this one will be
		}
		b.buf = slices.Grow(b.buf, room)
		l.queue = append(l.queue, b)
	}
	before := len(b.buf)
	b.append(r, ms)
	p.flying += len(b.buf) - before
	p.records++
	p.list(l)
}

func (p *producer) newBatch() *batch {
	b := &batch{}
	if n := len(p.free); n > 0 {
		b, p.free = p.free[n-1], p.free[:n-1]
		p.kept -= cap(b.buf) + cap(b.packed)
	}
	b.reset()
	return b
}

// recycle keeps the memory of a batch that nobody reads any more.
func (p *producer) recycle(b *batch) {
	if size := cap(b.buf) + cap(b.packed); cap(b.buf) <= keepBatch && p.kept+size <= maxInFlight {
		p.free = append(p.free, b)
		p.kept += size
	}
}

// list says that the lane has something to send, unless its batch is on its way or it was said.
func (p *producer) list(l *lane) {
	switch {
	case l.busy || l.listed || len(l.queue) == 0:
	case l.link == nil:
		l.listed = true
		p.lost = append(p.lost, l)
	default:
		l.listed = true
		l.link.ready = append(l.link.ready, l)
	}
}

// kick wakes whoever has something to do.
func (p *producer) kick() {
	if p.err != nil {
		return
	}
	if len(p.lost) > 0 {
		signal(p.guide.wake)
	}
	for _, k := range p.links {
		if len(k.ready) > 0 {
			signal(k.wake)
		}
	}
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// wait blocks until something changes; mu is held before and after.
func (p *producer) wait(ctx context.Context) error {
	ch := p.change
	p.waits = true
	p.mu.Unlock()
	defer p.mu.Lock()
	select {
	case <-ch:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (p *producer) changed() {
	if p.waits {
		close(p.change)
		p.change, p.waits = make(chan struct{}), false
	}
}

// fail keeps the first error: from now on nothing more is taken and nothing more is sent. mu is held.
func (p *producer) fail(err error) {
	if p.err == nil {
		p.err = err
		p.s.counts.failed(err)
	}
	p.changed()
}

// Flush is part of canal.Producer.
func (p *producer) Flush(ctx context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.err == nil && p.records > 0 {
		p.waits = true
		p.kick() // a link may be gathering
		if err := p.wait(ctx); err != nil {
			return err
		}
	}
	return p.err
}

// Acked is part of canal.Producer.
func (p *producer) Acked(dataset string, partition int32) int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	t := p.topics[dataset]
	if t == nil || int(partition) >= len(t.lanes) || t.lanes[partition] == nil {
		return -1
	}
	return t.lanes[partition].next
}

// Close is part of canal.Producer. It cuts the connections and waits for its goroutines, not for what is in flight; a
// reader's Gate drops what arrives after the next term's open.
func (p *producer) Close() error {
	p.mu.Lock()
	p.fail(fault.New(fault.Interrupted, "send records", "the producer is closed"))
	p.mu.Unlock()
	p.cancel()
	p.run.Wait()
	p.s.counts.current.CompareAndSwap(p, nil)
	return nil
}
