package kafka

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/IBM/sarama"

	"strata/broker"
)

const (
	// ackLimit is how long a broker may wait for its replicas.
	ackLimit = 10 * time.Second
	// answerLimit is how long we wait for a broker's answer: its own limit and the way.
	answerLimit = ackLimit + 5*time.Second
	// maxRequest bounds a request of several batches; brokers take 100 MiB.
	maxRequest = 16 << 20
	// maxAnswer bounds what is read as an answer: a produce response has some 50 bytes a partition.
	maxAnswer = 16 << 20

	produceKey     = 0
	produceVersion = 8 // Kafka 2.4 and later
)

// conn is a connection to one broker, of one goroutine. sarama opens it: it logs in, and asks the small questions. Produce
// requests go past it, because its own form of a batch costs a microsecond a record.
type conn struct {
	net      net.Conn
	broker   *sarama.Broker
	client   string
	number   int32 // of the last request
	head     []byte
	cuts     []int
	pieces   net.Buffers
	answer   []byte
	unlisten func() bool
}

// tap keeps the connection that sarama dials, and ties it to ctx.
type tap struct {
	ctx    context.Context // of the dialling: sarama's interface has none
	dialer *broker.Dialer
	conn   net.Conn
	stop   func() bool
}

// Dial is what sarama calls.
func (t *tap) Dial(network, address string) (net.Conn, error) {
	c, err := t.dialer.DialContext(t.ctx, network, address)
	if err != nil {
		return nil, err
	}
	t.conn, t.stop = c, context.AfterFunc(t.ctx, func() { _ = c.Close() }) // whoever uses it sees the error
	return c, nil
}

// open connects to a broker and logs in. The connection is closed when ctx ends.
func open(ctx context.Context, cfg *sarama.Config, d *broker.Dialer, address string) (*conn, error) {
	t := &tap{ctx: ctx, dialer: d}
	own := *cfg
	own.Net.Proxy.Dialer = t
	b := sarama.NewBroker(address)
	if err := b.Open(&own); err != nil {
		return nil, err
	}
	if ok, err := b.Connected(); !ok || err != nil {
		if t.conn != nil {
			t.stop()
			_ = t.conn.Close()
		}
		_ = b.Close() // says that it isn't connected
		if err == nil {
			err = sarama.ErrNotConnected
		}
		return nil, fmt.Errorf("connect to broker %s: %w", address, err)
	}
	return &conn{net: t.conn, broker: b, client: cfg.ClientID, unlisten: t.stop}, nil
}

// close ends the connection.
func (c *conn) close() {
	c.unlisten()
	_ = c.net.Close()
	_ = c.broker.Close() // only ends sarama's side
}

// parcel is one batch on its way, and what the broker said of it.
type parcel struct {
	lane    *lane
	batch   *batch
	answer  bool // whether there was one
	code    sarama.KError
	offset  int64 // of the first record
	message string
}

// byPlace orders parcels as a request has them.
func byPlace(a, b parcel) int {
	if c := strings.Compare(a.lane.topic.name, b.lane.topic.name); c != 0 {
		return c
	}
	return int(a.lane.partition - b.lane.partition)
}

// produce sends the parcels in one request, and fills in the answers. An error says nothing of what was written.
func (c *conn) produce(parcels []parcel) error {
	slices.SortFunc(parcels, byPlace)
	c.number++
	c.compose(parcels)
	if err := c.net.SetDeadline(time.Now().Add(answerLimit)); err != nil {
		return fmt.Errorf("send to broker: %w", err)
	}
	sending := c.pieces
	if _, err := sending.WriteTo(c.net); err != nil {
		return fmt.Errorf("send to broker: %w", err)
	}
	var size [4]byte
	if _, err := io.ReadFull(c.net, size[:]); err != nil {
		return fmt.Errorf("read the broker's answer: %w", err)
	}
	n := binary.BigEndian.Uint32(size[:])
	if n > maxAnswer {
		return fmt.Errorf("read the broker's answer: it has %d bytes", n)
	}
	c.answer = slices.Grow(c.answer[:0], int(n))[:n]
	if _, err := io.ReadFull(c.net, c.answer); err != nil {
		return fmt.Errorf("read the broker's answer: %w", err)
	}
	return readAnswer(c.answer, c.number, parcels)
}

// compose writes a ProduceRequest around the batches, which are not copied.
func (c *conn) compose(parcels []parcel) {
	cuts := c.cuts[:0]
	d := c.head[:0]
	d = append(d, 0, 0, 0, 0)
	d = binary.BigEndian.AppendUint16(d, produceKey)
	d = binary.BigEndian.AppendUint16(d, produceVersion)
	d = binary.BigEndian.AppendUint32(d, uint32(c.number))
	d = appendString(d, c.client)
	d = append(d, 0xff, 0xff) // no transactional id
	d = append(d, 0xff, 0xff) // acks=all
	d = binary.BigEndian.AppendUint32(d, uint32(ackLimit.Milliseconds()))
	topics := 0
	for i := range parcels {
		if i == 0 || parcels[i].lane.topic != parcels[i-1].lane.topic {
			topics++
		}
	}
	d = binary.BigEndian.AppendUint32(d, uint32(topics))
	size := 0
	for i := range parcels {
		p := &parcels[i]
		if i == 0 || p.lane.topic != parcels[i-1].lane.topic {
			n := 1
			for n < len(parcels)-i && parcels[i+n].lane.topic == p.lane.topic {
				n++
			}
			d = appendString(d, p.lane.topic.name)
			d = binary.BigEndian.AppendUint32(d, uint32(n))
		}
		w := p.batch.wire()
		d = binary.BigEndian.AppendUint32(d, uint32(p.lane.partition))
		d = binary.BigEndian.AppendUint32(d, uint32(len(w)))
		size += len(w)
		cuts = append(cuts, len(d))
	}
	binary.BigEndian.PutUint32(d, uint32(len(d)-4+size))
	c.head, c.cuts, c.pieces = d, cuts, c.pieces[:0]
	from := 0
	for i, at := range cuts {
		c.pieces = append(c.pieces, d[from:at], parcels[i].batch.wire())
		from = at
	}
}

func appendString(d []byte, s string) []byte {
	return append(binary.BigEndian.AppendUint16(d, uint16(len(s))), s...)
}

var errShort = errors.New("read the broker's answer: it is too short")

// reader takes an answer apart; after the first short read everything is zero.
type reader struct {
	b     []byte
	short bool
}

func (r *reader) take(n int) []byte {
	if r.short || n < 0 || n > len(r.b) {
		r.short = true
		return nil
	}
	b := r.b[:n]
	r.b = r.b[n:]
	return b
}

func (r *reader) int(n int) int64 {
	v := uint64(0)
	for _, b := range r.take(n) {
		v = v<<8 | uint64(b)
	}
	return int64(v<<(64-8*n)) >> (64 - 8*n)
}

// text reads a nullable string.
func (r *reader) text() []byte { return r.take(max(0, int(r.int(2)))) }

// readAnswer reads a ProduceResponse of version 8. Every parcel must have its answer.
func readAnswer(b []byte, number int32, parcels []parcel) error {
	r := &reader{b: b}
	if got := int32(r.int(4)); !r.short && got != number {
		return fmt.Errorf("read the broker's answer: it answers request %d, not %d", got, number)
	}
	missing := len(parcels)
	for range r.int(4) {
		topic := string(r.text())
		for range r.int(4) {
			partition, code, offset := int32(r.int(4)), int16(r.int(2)), r.int(8)
			r.take(8 + 8) // times and offsets of the log
			for range r.int(4) {
				r.take(4)
				r.text()
			}
			message := string(r.text())
			if r.short {
				return errShort
			}
			i, ok := slices.BinarySearchFunc(parcels, partition, func(p parcel, partition int32) int {
				if c := strings.Compare(p.lane.topic.name, topic); c != 0 {
					return c
				}
				return int(p.lane.partition - partition)
			})
			if !ok || parcels[i].answer {
				return fmt.Errorf("read the broker's answer: partition %d of %s was not asked", partition, topic)
			}
			p := &parcels[i]
			p.answer, p.code, p.offset, p.message = true, sarama.KError(code), offset, message
			missing--
		}
		if r.short {
			return errShort
		}
	}
	if r.short {
		return errShort
	}
	if missing > 0 {
		return fmt.Errorf("read the broker's answer: %d partitions are missing", missing)
	}
	return nil
}

// newest asks the partition's leader for the offset of the next record.
func (c *conn) newest(topic string, partition int32) (int64, error) {
	req := &sarama.OffsetRequest{Version: 1}
	req.AddBlock(topic, partition, sarama.OffsetNewest, 1)
	res, err := c.broker.GetAvailableOffsets(req)
	if err != nil {
		return 0, fmt.Errorf("ask for the end of %s: %w", topic, err)
	}
	block := res.GetBlock(topic, partition)
	if block == nil {
		return 0, fmt.Errorf("ask for the end of %s: no answer for partition %d", topic, partition)
	}
	if block.Err != sarama.ErrNoError {
		return 0, fmt.Errorf("ask for the end of %s: %w", topic, block.Err)
	}
	return block.Offset, nil
}
