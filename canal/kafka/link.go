package kafka

import (
	"errors"
	"math"
	"time"

	"github.com/IBM/sarama"

	"strata/fault"
)

// link is the way to one broker. One request is in flight at a time.
type link struct {
	p       *producer
	address string
	wake    chan struct{}
	ready   []*lane // with a batch to send; guarded by the producer's mu
	parcels []parcel
	packer  *packer
	conn    *conn     // nil: to be opened
	next    time.Time // before it no small request begins, unless somebody waits
	timer   *time.Timer
}

const (
	// linger is the time between the beginnings of two small requests: a stream of small transactions would cost the broker
	// a request each, which is most of what they cost at all.
	linger = 5 * time.Millisecond
	// worthwhile is what is sent at once: so many bytes make a request cheap.
	worthwhile = 64 << 10
)

// gather waits for more to send: no longer than until next, and not at all while somebody waits or enough is there.
func (k *link) gather() {
	p := k.p
	for {
		p.mu.Lock()
		now := len(k.ready) == 0 || p.waits || p.flying >= worthwhile || p.err != nil
		p.mu.Unlock()
		left := k.next.Sub(p.s.cfg.Now())
		if now || left <= 0 || left > linger {
			return
		}
		k.timer.Reset(left)
		select {
		case <-k.timer.C:
			return
		case <-k.wake:
		case <-p.ctx.Done():
			return
		}
	}
}

// linkTo returns the link to a broker, and starts it. mu is held.
func (p *producer) linkTo(address string) (*link, error) {
	if k := p.links[address]; k != nil {
		return k, nil
	}
	pack, err := newPacker(p.s.codec)
	if err != nil {
		return nil, err
	}
	k := &link{p: p, address: address, wake: make(chan struct{}, 1), packer: pack, timer: time.NewTimer(linger)}
	p.links[address] = k
	p.run.Go(k.work)
	return k, nil
}

// work sends until the producer is closed.
func (k *link) work() {
	defer func() {
		if k.conn != nil {
			k.conn.close()
		}
	}()
	for k.p.ctx.Err() == nil {
		k.gather()
		if k.take(); len(k.parcels) == 0 {
			select {
			case <-k.wake:
			case <-k.p.ctx.Done():
			}
			continue
		}
		k.next = k.p.s.cfg.Now().Add(linger)
		err := k.exchange()
		if err != nil && k.conn != nil {
			k.conn.close()
			k.conn = nil
		}
		k.settle(err)
	}
}

// take gathers the first batch of each lane that is ready.
func (k *link) take() {
	p := k.p
	k.parcels = k.parcels[:0]
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err != nil {
		return
	}
	now := p.s.cfg.Now()
	size, n := 0, 0
	for _, l := range k.ready {
		b := l.queue[0]
		if n > 0 && size+len(b.buf) > maxRequest {
			break
		}
		n++
		size += len(b.buf)
		l.listed, l.busy = false, true
		if !b.sealed {
			b.seal(p.id, p.epoch, l.sequence)
			l.sequence = following(l.sequence, b.n)
		}
		if b.since.IsZero() {
			b.since = now
		}
		k.parcels = append(k.parcels, parcel{lane: l, batch: b})
	}
	k.ready = append(k.ready[:0], k.ready[n:]...)
}

// following is the sequence number n records later; after the largest comes 0.
func following(sequence, n int32) int32 { return int32((int64(sequence) + int64(n)) & math.MaxInt32) }

// exchange sends the parcels and has them answered. After an error the connection is of no more use.
func (k *link) exchange() error {
	var err error
	for i := range k.parcels {
		if err := k.parcels[i].batch.finish(k.packer); err != nil {
			return fault.Wrap(fault.Internal, "compress a batch", err)
		}
	}
	if k.conn == nil {
		if k.conn, err = open(k.p.ctx, k.p.s.producing, k.p.s.dialer, k.address); err != nil {
			return err
		}
	}
	k.p.s.counts.requests.Add(1)
	if err := k.conn.produce(k.parcels); err != nil {
		return err
	}
	for i := range k.parcels {
		// A duplicate is there, but its place may be forgotten. All that this producer has in the partition is before
		// its end, and what others have there is for the reader's Gate.
		if a := &k.parcels[i]; a.code == sarama.ErrDuplicateSequenceNumber && a.offset < 0 {
			end, err := k.conn.newest(a.lane.topic.name, a.lane.partition)
			if err != nil {
				return err
			}
			a.offset = end - int64(a.batch.n)
		}
	}
	return nil
}

// settle takes what the broker said, or that it said nothing, into account.
func (k *link) settle(err error) {
	p := k.p
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := range k.parcels {
		a := &k.parcels[i]
		a.lane.busy = false
		switch verdict := judge(a.code); {
		case p.ctx.Err() != nil:
		case err != nil:
			p.s.counts.retries.Add(1)
			p.again(a.lane, err)
		case verdict == written:
			p.acknowledge(a)
		case verdict == retry:
			p.s.counts.retries.Add(1)
			p.again(a.lane, describe(a))
		default:
			p.fail(p.refused(a))
		}
	}
	p.changed()
	p.kick()
}

// acknowledge drops a batch that is written.
func (p *producer) acknowledge(a *parcel) {
	l, b := a.lane, a.batch
	if a.offset < l.next {
		p.fail(fault.New(fault.Unsafe, "send to topic "+l.topic.name, "partition %d wrote at offset %d after %d", l.partition, a.offset, l.next).
			WithHint("the topic was made anew, or a replica that lacked records became leader: load the dataset anew"))
		return
	}
	l.next = a.offset + int64(b.n)
	copy(l.queue, l.queue[1:])
	l.queue[len(l.queue)-1] = nil
	l.queue = l.queue[:len(l.queue)-1]
	l.failures, l.last = 0, nil
	l.topic.missing = time.Time{}
	p.flying -= len(b.buf) - batchHead
	p.records -= int(b.n)
	p.s.counts.written(b)
	p.recycle(b)
	p.list(l)
}

// again takes the lane from its link, so that its leader is found and the same batch is sent again; not for ever.
func (p *producer) again(l *lane, err error) {
	l.link, l.last = nil, err
	l.failures++
	if errors.Is(err, sarama.ErrSASLAuthenticationFailed) {
		p.fail(classify("send to topic "+l.topic.name, err))
		return
	}
	p.overdue(l)
	p.list(l)
}

// overdue fails the producer when the lane's first batch was tried for too long.
func (p *producer) overdue(l *lane) {
	b, now := l.queue[0], p.s.cfg.Now()
	if b.since.IsZero() {
		b.since = now
	}
	if now.Sub(b.since) >= p.s.cfg.DeliveryTimeout {
		p.fail(fault.New(fault.Unavailable, "send to topic "+l.topic.name, "partition %d takes nothing for %s: %w", l.partition, p.s.cfg.DeliveryTimeout, l.last).
			WithHint("are all brokers up, and enough replicas in sync for min.insync.replicas?"))
	}
}

type verdict uint8

const (
	refused verdict = iota
	written
	retry
)

// judge says what a broker's code means for a batch. What is unknown is refused.
func judge(code sarama.KError) verdict {
	switch code {
	case sarama.ErrNoError, sarama.ErrDuplicateSequenceNumber:
		return written
	case sarama.ErrNotLeaderForPartition, sarama.ErrLeaderNotAvailable, sarama.ErrRequestTimedOut, sarama.ErrBrokerNotAvailable,
		sarama.ErrReplicaNotAvailable, sarama.ErrNetworkException, sarama.ErrNotEnoughReplicas, sarama.ErrNotEnoughReplicasAfterAppend,
		sarama.ErrFencedLeaderEpoch, sarama.ErrUnknownLeaderEpoch, sarama.ErrKafkaStorageError, sarama.ErrOffsetsLoadInProgress,
		sarama.ErrConsumerCoordinatorNotAvailable, sarama.ErrNotCoordinatorForConsumer, sarama.ErrThrottlingQuotaExceeded,
		sarama.ErrUnknownTopicOrPartition, // a broker that has just started may not know it yet; the guide asks
		sarama.ErrInvalidMessage:          // the wire's fault: the batch was right when it left
		return retry
	default:
		return refused
	}
}

func describe(a *parcel) error {
	if a.message == "" {
		return a.code
	}
	return errors.Join(a.code, errors.New(a.message))
}

// refused is the error of a batch that the broker will never take.
func (p *producer) refused(a *parcel) error {
	op := "send to topic " + a.lane.topic.name
	switch a.code {
	case sarama.ErrMessageSizeTooLarge, sarama.ErrMessageSetSizeTooLarge:
		// The record is within our limit, so it is the topic's that is lower.
		return fault.New(fault.TooLarge, op, "partition %d refuses a batch of %d bytes with %d records, the largest of which has %d bytes and a key of %d: %w",
			a.lane.partition, len(a.batch.wire()), a.batch.n, a.batch.most, a.batch.key, describe(a)).
			WithHint("somebody lowered max.message.bytes of topic %s (or a limit of the brokers): set it to %d again", a.lane.topic.name, p.s.cfg.MaxMessageBytes)
	case sarama.ErrOutOfOrderSequenceNumber, sarama.ErrUnknownProducerID, sarama.ErrInvalidProducerEpoch, sarama.ErrProducerFenced:
		return fault.New(fault.Unavailable, op, "partition %d lost the sequence: %w", a.lane.partition, describe(a)).
			WithHint("the broker has not what it had acknowledged, or another uses our producer id; the next term reads the topic's end and goes on from there")
	default:
		return classify(op, describe(a))
	}
}
