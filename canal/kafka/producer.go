package kafka

import (
	"context"
	"encoding/binary"
	"sync"

	"github.com/IBM/sarama"

	"strata/canal"
	"strata/fault"
)

// maxInFlight bounds the bytes that wait for their acknowledgement: enough for a second at full speed, and flat memory.
const maxInFlight = 64 << 20

// recordBytes is what a message costs beside its value.
const recordBytes = 200

// producer is one sarama producer, for one term.
type producer struct {
	s     *Sink
	async sarama.AsyncProducer
	ended chan struct{} // closed when every answer was read

	mu     sync.Mutex
	change chan struct{} // closed and made anew when acked or err changes and somebody waits
	waits  bool
	sent   uint64
	acked  uint64
	flying int
	err    error
	next   map[place]int64
	closed bool
}

type place struct {
	topic     string
	partition int32
}

// Producer is part of canal.Sink.
func (s *Sink) Producer(context.Context) (canal.Producer, error) {
	async, err := sarama.NewAsyncProducer(s.cfg.Brokers, s.config())
	if err != nil {
		return nil, classify("open producer", err)
	}
	p := &producer{s: s, async: async, ended: make(chan struct{}), change: make(chan struct{}), next: make(map[place]int64)}
	go p.answers()
	return p, nil
}

// bytesOf is an Encoder without an allocation of its own.
type bytesOf []byte

// Encode is part of sarama.Encoder.
func (b *bytesOf) Encode() ([]byte, error) { return *b, nil }

// Length is part of sarama.Encoder.
func (b *bytesOf) Length() int { return len(*b) }

// batch is the memory of one Send: as few allocations as a whole.
type batch struct {
	messages []sarama.ProducerMessage
	bytes    []bytesOf
	headers  []sarama.RecordHeader
	arena    []byte
}

// Send is part of canal.Producer.
func (p *producer) Send(ctx context.Context, records []canal.Record) error {
	size := 0
	for i := range records {
		size += recordBytes + len(records[i].Key) + len(records[i].Value)
	}
	if err := p.admit(ctx, len(records), size); err != nil {
		return err
	}
	n := len(records)
	b := batch{make([]sarama.ProducerMessage, n), make([]bytesOf, 2*n), make([]sarama.RecordHeader, 0, 7*n), make([]byte, 0, 160*n)}
	topic, dataset := "", ""
	for i := range records {
		r := &records[i]
		if r.Dataset != dataset {
			topic, dataset = canal.Topic(r.Dataset), r.Dataset
		}
		m := &b.messages[i]
		m.Topic, m.Partition = topic, r.Partition
		if r.Key != nil {
			b.bytes[2*i] = r.Key
			m.Key = &b.bytes[2*i]
		}
		if r.Value != nil {
			b.bytes[2*i+1] = r.Value
			m.Value = &b.bytes[2*i+1]
		}
		m.Headers = b.appendHeaders(&r.Header)
		select {
		case p.async.Input() <- m:
		case <-ctx.Done():
			p.fail(ctx.Err())
			return ctx.Err()
		}
	}
	return nil
}

// admit waits for room and counts the records in.
func (p *producer) admit(ctx context.Context, n, size int) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.err == nil && p.flying > 0 && p.flying+size > maxInFlight {
		if err := p.wait(ctx); err != nil {
			return err
		}
	}
	if p.err != nil {
		return p.err
	}
	p.sent += uint64(n)
	p.flying += size
	return nil
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

func (p *producer) wake() {
	if p.waits {
		close(p.change)
		p.change, p.waits = make(chan struct{}), false
	}
}

// appendHeaders is canal.Header.Pairs without allocations: keys and values lie in the batch's arena.
func (b *batch) appendHeaders(h *canal.Header) []sarama.RecordHeader {
	from := len(b.headers)
	put := func(key byte, f func(dst []byte) []byte) {
		at := len(b.arena)
		b.arena = f(append(b.arena, key))
		b.headers = append(b.headers, sarama.RecordHeader{Key: b.arena[at : at+1 : at+1], Value: b.arena[at+1 : len(b.arena) : len(b.arena)]})
	}
	put('t', func(d []byte) []byte { return binary.BigEndian.AppendUint32(d, h.Term) })
	put('s', func(d []byte) []byte { return binary.BigEndian.AppendUint64(d, h.Seq) })
	put('p', func(d []byte) []byte { return binary.BigEndian.AppendUint64(d, h.Number) })
	put('k', func(d []byte) []byte { return append(d, byte(h.Kind)) })
	if h.GTID != "" {
		put('g', func(d []byte) []byte {
			return binary.BigEndian.AppendUint32(append(append(d, h.GTID...), '#'), h.Ordinal)
		})
	}
	if h.Kind == canal.KindChange || h.Kind == canal.KindBackfill {
		put('h', func(d []byte) []byte { return append(d, h.Hash[:]...) })
		put('d', func(d []byte) []byte { return append(d, h.Shard...) })
	}
	return b.headers[from:len(b.headers):len(b.headers)]
}

// answers counts what Kafka says of every message until the producer is closed.
func (p *producer) answers() {
	defer close(p.ended)
	successes, errs := p.async.Successes(), p.async.Errors()
	var at place
	for successes != nil || errs != nil {
		select {
		case m, ok := <-successes:
			if !ok {
				successes = nil
				continue
			}
			p.mu.Lock()
			p.acked++
			p.flying -= sizeOf(m)
			if at.topic != m.Topic || at.partition != m.Partition {
				at = place{m.Topic, m.Partition}
			}
			p.next[at] = max(p.next[at], m.Offset+1)
			p.wake()
			p.mu.Unlock()
		case e, ok := <-errs:
			if !ok {
				errs = nil
				continue
			}
			p.fail(classify("send to topic "+e.Msg.Topic, e.Err))
		}
	}
}

func sizeOf(m *sarama.ProducerMessage) int {
	n := recordBytes
	if m.Key != nil {
		n += m.Key.Length()
	}
	if m.Value != nil {
		n += m.Value.Length()
	}
	return n
}

// fail keeps the first error and ends all waiting.
func (p *producer) fail(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err == nil {
		p.err = err
	}
	p.wake()
}

// Flush is part of canal.Producer.
func (p *producer) Flush(ctx context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.err == nil && p.acked < p.sent {
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
	if off, ok := p.next[place{canal.Topic(dataset), partition}]; ok {
		return off
	}
	return -1
}

// Close is part of canal.Producer. It does not wait for what is in flight: the answers are read in the background, where
// sarama may go on trying for a while; a reader's Gate drops what arrives after the next term's open.
func (p *producer) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil
	}
	p.closed = true
	if p.err == nil {
		p.err = errClosed()
	}
	idle := p.acked == p.sent
	p.wake()
	p.async.AsyncClose()
	if idle {
		p.mu.Unlock()
		<-p.ended
		p.mu.Lock()
	}
	return nil
}

func errClosed() error {
	return fault.New(fault.Interrupted, "send records", "the producer is closed")
}
