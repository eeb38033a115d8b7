package kafka

import (
	"errors"
	"time"

	"github.com/IBM/sarama"

	"strata/fault"
)

const (
	// backoff is the pause before a leader is asked for again.
	backoff = 100 * time.Millisecond
	// forgotten is how long a topic that was written may be unknown to the brokers until it counts as deleted.
	forgotten = 5 * time.Second
	// noTransactions is a time-out that the brokers want of us and don't use.
	noTransactions = time.Minute
)

// guide finds the leaders of partitions.
type guide struct {
	p     *producer
	wake  chan struct{}
	conn  *conn // to any broker; nil: to be opened
	known []string
	turn  int
}

// work runs until the producer is closed.
func (g *guide) work() {
	defer g.hangUp()
	for g.p.ctx.Err() == nil {
		topics, tried := g.wanted()
		if len(topics) == 0 {
			select {
			case <-g.wake:
			case <-g.p.ctx.Done():
			}
			continue
		}
		if tried {
			g.pause()
		}
		answer, err := g.ask(topics)
		g.attach(answer, err)
	}
}

func (g *guide) pause() {
	timer := time.NewTimer(backoff)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-g.p.ctx.Done():
	}
}

func (g *guide) hangUp() {
	if g.conn != nil {
		g.conn.close()
		g.conn = nil
	}
}

// wanted are the topics of the lanes without a link; tried says that one was found before and failed more than once.
func (g *guide) wanted() (names []string, tried bool) {
	p := g.p
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err != nil {
		return nil, false
	}
	seen := make(map[string]bool, 1)
	for _, l := range p.lost {
		tried = tried || l.failures > 1
		if !seen[l.topic.name] {
			seen[l.topic.name] = true
			names = append(names, l.topic.name)
		}
	}
	return names, tried
}

// connect opens a connection to the next broker of those that are known.
func (g *guide) connect() error {
	if g.conn != nil {
		return nil
	}
	all := append(append([]string{}, g.p.s.cfg.Brokers...), g.known...)
	var errs []error
	for range all {
		address := all[g.turn%len(all)]
		c, err := open(g.p.ctx, g.p.s.producing, g.p.s.dialer, address)
		if err == nil {
			g.conn = c
			return nil
		}
		g.turn++
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// ask asks a broker for the topics' leaders.
func (g *guide) ask(topics []string) (*sarama.MetadataResponse, error) {
	if err := g.connect(); err != nil {
		return nil, err
	}
	res, err := g.conn.broker.GetMetadata(sarama.NewMetadataRequest(g.p.s.producing.Version, topics))
	if err != nil {
		g.hangUp()
		g.turn++
		return nil, err
	}
	g.known = g.known[:0]
	for _, b := range res.Brokers {
		g.known = append(g.known, b.Addr())
	}
	return res, nil
}

// attach gives links to the lanes whose leaders are known now; the others stay lost.
func (g *guide) attach(res *sarama.MetadataResponse, err error) {
	p := g.p
	p.mu.Lock()
	defer p.mu.Unlock()
	defer p.kick()
	if p.err != nil || p.ctx.Err() != nil {
		return
	}
	lost := p.lost
	p.lost = p.lost[len(p.lost):]
	for _, l := range lost {
		l.listed = false
		address, why := "", err
		if err == nil {
			address, why = p.leader(res, l)
		}
		if why == nil {
			l.link, why = p.linkTo(address)
		}
		if why != nil {
			p.again(l, why)
			continue
		}
		p.list(l)
	}
}

// leader finds the lane's leader in an answer, and sees that the topic still is what it was.
func (p *producer) leader(res *sarama.MetadataResponse, l *lane) (string, error) {
	t := l.topic
	op := "send to topic " + t.name
	for _, m := range res.Topics {
		if m.Name != t.name {
			continue
		}
		switch {
		case m.Err == sarama.ErrUnknownTopicOrPartition:
			now := p.s.cfg.Now()
			if t.missing.IsZero() {
				t.missing = now
			} else if now.Sub(t.missing) >= min(forgotten, p.s.cfg.DeliveryTimeout) {
				p.fail(gone(t.name))
			}
			return "", m.Err
		case m.Err == sarama.ErrTopicAuthorizationFailed:
			p.fail(classify(op, m.Err))
			return "", m.Err
		case m.Err != sarama.ErrNoError && m.Err != sarama.ErrLeaderNotAvailable && m.Err != sarama.ErrReplicaNotAvailable:
			return "", m.Err
		case t.id == [16]byte{}:
			t.id = m.Uuid
		case t.id != m.Uuid:
			p.fail(fault.New(fault.Unsafe, op, "it was deleted and made anew").WithHint("what had been sent to it is gone; load the dataset anew"))
		}
		t.missing = time.Time{}
		return leaderIn(res, m, l.partition)
	}
	return "", sarama.ErrUnknownTopicOrPartition
}

func leaderIn(res *sarama.MetadataResponse, m *sarama.TopicMetadata, partition int32) (string, error) {
	for _, part := range m.Partitions {
		if part.ID != partition {
			continue
		}
		for _, b := range res.Brokers {
			if b.ID() == part.Leader {
				return b.Addr(), nil
			}
		}
		return "", sarama.ErrLeaderNotAvailable
	}
	return "", sarama.ErrUnknownTopicOrPartition
}

func gone(topic string) error {
	return fault.New(fault.NotFound, "send to topic "+topic, "the brokers don't know it any more").
		WithHint("the topic was deleted while changes were sent to it; load the dataset anew")
}

// identify gets the producer its id. Errors: Unavailable, Denied.
func (g *guide) identify() error {
	p := g.p
	const op = "open producer"
	for start := p.s.cfg.Now(); ; g.pause() {
		res, err := g.initProducer()
		if err == nil {
			p.id, p.epoch = res.ProducerID, res.ProducerEpoch
			return nil
		}
		if p.ctx.Err() != nil {
			return fault.Wrap(fault.Interrupted, op, p.ctx.Err())
		}
		failed := classify(op, err)
		if !fault.Is(failed, fault.Unavailable) || p.s.cfg.Now().Sub(start) >= p.s.cfg.DeliveryTimeout {
			return failed
		}
	}
}

func (g *guide) initProducer() (*sarama.InitProducerIDResponse, error) {
	if err := g.connect(); err != nil {
		return nil, err
	}
	res, err := g.conn.broker.InitProducerID(&sarama.InitProducerIDRequest{Version: 3, TransactionTimeout: noTransactions, ProducerID: -1, ProducerEpoch: -1})
	if err != nil {
		g.hangUp()
		g.turn++
		return nil, err
	}
	if res.Err != sarama.ErrNoError {
		return nil, res.Err
	}
	return res, nil
}
