package canaltest

import (
	"context"
	"errors"
	"slices"
	"sync"

	"strata/canal"
	"strata/catalog"
	"strata/fault"
)

// Sink is topics in memory.
type Sink struct {
	mu     sync.Mutex
	topics map[string][]log
	// Lose decides, when a producer closes, how many of the n records of a partition that are not acknowledged still
	// arrive: at once, or when Land is called (late true). nil: none arrive.
	Lose func(dataset string, partition int32, n int) (arrive int, late bool)
	late []canal.Record
	// Fail makes Send fail when it returns an error for a record. The records before it arrive. nil: none.
	Fail func(r *canal.Record) error
}

type log struct {
	first   int64
	records []canal.Record
}

// NewSink makes a Sink without topics.
func NewSink() *Sink { return &Sink{topics: make(map[string][]log)} }

// Ensure is part of canal.Sink.
func (s *Sink) Ensure(_ context.Context, d *catalog.Dataset, create bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	t, ok := s.topics[d.Name]
	switch {
	case !ok && !create:
		return fault.New(fault.NotFound, "ensure topic", "%s is gone", d.Name)
	case !ok:
		s.topics[d.Name] = make([]log, d.Partitions)
	case len(t) != int(d.Partitions):
		return fault.New(fault.Unsafe, "ensure topic", "%s has %d partitions, not %d", d.Name, len(t), d.Partitions)
	}
	return nil
}

func (s *Sink) log(dataset string, partition int32) (*log, error) {
	t := s.topics[dataset]
	if int(partition) >= len(t) {
		return nil, fault.New(fault.NotFound, "find partition", "%d of %s", partition, dataset)
	}
	return &t[partition], nil
}

// Bounds is part of canal.Sink.
func (s *Sink) Bounds(_ context.Context, dataset string, partition int32) (int64, int64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l, err := s.log(dataset, partition)
	if err != nil {
		return 0, 0, err
	}
	return l.first, l.first + int64(len(l.records)), nil
}

// Read is part of canal.Sink.
func (s *Sink) Read(_ context.Context, dataset string, partition int32, from, to int64, f func(*canal.Record) error) error {
	s.mu.Lock()
	l, err := s.log(dataset, partition)
	if err != nil {
		s.mu.Unlock()
		return err
	}
	if from < l.first {
		s.mu.Unlock()
		return fault.New(fault.Unsafe, "read partition", "offset %d is gone", from)
	}
	to = min(to, l.first+int64(len(l.records)))
	var records []canal.Record
	if from < to {
		records = slices.Clone(l.records[from-l.first : to-l.first])
	}
	s.mu.Unlock()
	for i := range records {
		if err := f(&records[i]); err != nil {
			return err
		}
	}
	return nil
}

// Records returns a partition's records that are there.
func (s *Sink) Records(dataset string, partition int32) []canal.Record {
	s.mu.Lock()
	defer s.mu.Unlock()
	l, err := s.log(dataset, partition)
	if err != nil {
		return nil
	}
	return slices.Clone(l.records)
}

// Cut drops the records of a partition before an offset.
func (s *Sink) Cut(dataset string, partition int32, before int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if l, err := s.log(dataset, partition); err == nil && before > l.first {
		l.records, l.first = slices.Clone(l.records[before-l.first:]), before
	}
}

// Lack takes one record out of a partition, as if it never was; offsets stay.
func (s *Sink) Lack(dataset string, partition int32, offset int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if l, err := s.log(dataset, partition); err == nil && offset >= l.first {
		l.records = slices.Delete(slices.Clone(l.records), int(offset-l.first), int(offset-l.first)+1)
	}
}

// Drop deletes a topic.
func (s *Sink) Drop(dataset string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.topics, dataset)
}

// Land lets the late records of closed producers arrive.
func (s *Sink) Land() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.late {
		s.append(r)
	}
	s.late = nil
}

func (s *Sink) append(r canal.Record) int64 {
	l, err := s.log(r.Dataset, r.Partition)
	if err != nil {
		return -1
	}
	r.Offset = l.first + int64(len(l.records))
	r.Key, r.Value = slices.Clone(r.Key), slices.Clone(r.Value)
	l.records = append(l.records, r)
	return r.Offset
}

// Producer is part of canal.Sink.
func (s *Sink) Producer(context.Context) (canal.Producer, error) {
	return &producer{s: s, acked: make(map[place]int64)}, nil
}

type place struct {
	dataset   string
	partition int32
}

type producer struct {
	s      *Sink
	queue  []canal.Record
	acked  map[place]int64
	err    error
	closed bool
}

var errClosed = errors.New("producer is closed")

// Send is part of canal.Producer. Nothing arrives before Flush or Close.
func (p *producer) Send(ctx context.Context, records []canal.Record) error {
	p.s.mu.Lock()
	defer p.s.mu.Unlock()
	if p.closed {
		return errClosed
	}
	if p.err == nil {
		p.err = ctx.Err()
	}
	for i := range records {
		if p.err != nil {
			return p.err
		}
		if p.s.Fail != nil {
			if p.err = p.s.Fail(&records[i]); p.err != nil {
				return p.err
			}
		}
		p.queue = append(p.queue, records[i])
	}
	return p.err
}

// Flush is part of canal.Producer.
func (p *producer) Flush(context.Context) error {
	p.s.mu.Lock()
	defer p.s.mu.Unlock()
	if p.err != nil {
		return p.err
	}
	for _, r := range p.queue {
		off := p.s.append(r)
		if off < 0 {
			p.err = fault.New(fault.Unavailable, "send record", "no partition %d of %s", r.Partition, r.Dataset)
			return p.err
		}
		p.acked[place{r.Dataset, r.Partition}] = off + 1
	}
	p.queue = nil
	return nil
}

// Acked is part of canal.Producer.
func (p *producer) Acked(dataset string, partition int32) int64 {
	p.s.mu.Lock()
	defer p.s.mu.Unlock()
	if off, ok := p.acked[place{dataset, partition}]; ok {
		return off
	}
	return -1
}

// Close is part of canal.Producer. What was not flushed is lost but for a first part of each partition, as Lose says.
func (p *producer) Close() error {
	p.s.mu.Lock()
	defer p.s.mu.Unlock()
	if p.closed {
		return nil
	}
	p.closed = true
	by := map[place][]canal.Record{}
	var order []place
	for _, r := range p.queue {
		at := place{r.Dataset, r.Partition}
		if by[at] == nil {
			order = append(order, at)
		}
		by[at] = append(by[at], r)
	}
	for _, at := range order {
		n, late := 0, false
		if p.s.Lose != nil {
			n, late = p.s.Lose(at.dataset, at.partition, len(by[at]))
		}
		for _, r := range by[at][:n] {
			if late {
				p.s.late = append(p.s.late, r)
			} else {
				p.s.append(r)
			}
		}
	}
	p.queue = nil
	return nil
}
