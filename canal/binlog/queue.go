package binlog

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync/atomic"

	"github.com/go-mysql-org/go-mysql/replication"
	"github.com/klauspost/compress/zstd"
)

const (
	queueEvents = 1024     // decode ahead of the reader of the stream
	queueBytes  = 16 << 20 // but no more than this, or one event
	maxEvent    = 1 << 30  // max_allowed_packet's own limit
	maxWindow   = 128 << 20
)

// event is one event of the binlog with what lies behind its body.
type event struct {
	*replication.BinlogEvent
	tail int // bytes of checksum at the end of RawData
}

// errClosed ends the library's reader when the stream is closed.
var errClosed = errors.New("the stream is closed")

// queue decodes events in the goroutine that reads the connection and holds a bounded number of bytes of them.
type queue struct {
	flavor string
	events chan event
	held   atomic.Int64
	room   chan struct{} // something was taken
	closed chan struct{}

	parser *replication.BinlogParser
	inner  *replication.BinlogParser // of events inside a transaction payload
	format []byte                    // the FORMAT_DESCRIPTION event that inner is to learn
	zstd   *zstd.Decoder
	tail   int
}

func newQueue(flavor string) *queue {
	q := &queue{flavor: flavor, events: make(chan event, queueEvents), room: make(chan struct{}, 1), closed: make(chan struct{})}
	q.parser = newParser(flavor)
	return q
}

func newParser(flavor string) *replication.BinlogParser {
	p := replication.NewBinlogParser()
	p.SetFlavor(flavor)
	p.SetRowsEventDecodeFunc(keepRaw)
	p.SetRenderJSONAsMySQLText(true)
	return p
}

// HandleEvent is part of replication.EventHandler: it gets every event undecoded, its checksum verified.
func (q *queue) HandleEvent(raw *replication.BinlogEvent) (err error) {
	defer func() {
		if p := recover(); p != nil { // the library's answer to an event that is cut off
			err = &replication.EventError{Header: raw.Header, Err: fmt.Sprint(p)}
		}
	}()
	if raw.Header.EventType == replication.TRANSACTION_PAYLOAD_EVENT {
		return q.payload(raw.RawData)
	}
	e, err := q.parser.Parse(raw.RawData)
	if err != nil {
		return err
	}
	if f, ok := e.Event.(*replication.FormatDescriptionEvent); ok {
		q.tail = 0
		if f.ChecksumAlgorithm == replication.BINLOG_CHECKSUM_ALG_CRC32 {
			q.tail = replication.BinlogChecksumLength
		}
		q.format = bytes.Clone(raw.RawData)
		if n := len(q.format); n > 5 {
			q.format[n-5] = 0 // the events inside a payload have no checksums
		}
		q.inner = nil
	}
	return q.put(event{e, q.tail})
}

// put waits until there is room.
func (q *queue) put(e event) error {
	n := int64(len(e.RawData))
	for {
		held := q.held.Load()
		if held == 0 || held+n <= queueBytes {
			break
		}
		select {
		case <-q.room:
		case <-q.closed:
			return errClosed
		}
	}
	q.held.Add(n)
	select {
	case q.events <- e:
		return nil
	case <-q.closed:
		return errClosed
	}
}

// took makes room for what the reader of the stream has taken out.
func (q *queue) took(e event) event {
	q.held.Add(-int64(len(e.RawData)))
	select {
	case q.room <- struct{}{}:
	default:
	}
	return e
}

// next returns the next event. done says that there will be none beyond those that wait, and ends with errClosed.
func (q *queue) next(ctx context.Context, done <-chan struct{}) (event, error) {
	select { // most often there is one; and those before a broken connection count
	case e := <-q.events:
		return q.took(e), nil
	default:
	}
	select {
	case e := <-q.events:
		return q.took(e), nil
	case <-done:
		select {
		case e := <-q.events:
			return q.took(e), nil
		default:
			return event{}, errClosed
		}
	case <-ctx.Done():
		return event{}, ctx.Err()
	}
}

// payload takes a compressed transaction apart, one event after the other: decompressed it may be far larger than memory.
func (q *queue) payload(raw []byte) error {
	body, compression, err := payloadBody(raw[replication.EventHeaderSize : len(raw)-q.tail])
	if err != nil {
		return err
	}
	if q.inner == nil {
		q.inner = newParser(q.flavor)
		if _, err := q.inner.Parse(q.format); err != nil {
			return fmt.Errorf("read format of the binlog: %w", err)
		}
	}
	var r io.Reader = bytes.NewReader(body)
	switch compression {
	case replication.ZSTD:
		if q.zstd == nil {
			q.zstd, err = zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxWindow))
		} else {
			err = q.zstd.Reset(r)
		}
		if err != nil {
			return fmt.Errorf("decompress transaction: %w", err)
		}
		r = q.zstd
	case replication.NONE:
	default:
		return fmt.Errorf("a transaction is compressed by method %d, which isn't known", compression)
	}
	for {
		var head [replication.EventHeaderSize]byte
		if _, err := io.ReadFull(r, head[:]); err == io.EOF {
			return nil
		} else if err != nil {
			return fmt.Errorf("decompress transaction: %w", err)
		}
		n := binary.LittleEndian.Uint32(head[9:])
		if n < replication.EventHeaderSize || n > maxEvent {
			return fmt.Errorf("an event of %d bytes in a compressed transaction", n)
		}
		data := make([]byte, n)
		copy(data, head[:])
		if _, err := io.ReadFull(r, data[len(head):]); err != nil {
			return fmt.Errorf("decompress transaction: %w", err)
		}
		e, err := q.inner.Parse(data)
		if err != nil {
			return err
		}
		if err := q.put(event{e, 0}); err != nil {
			return err
		}
	}
}

// payloadBody reads the fields in front of a transaction payload: type and length in one byte each (they are small), then
// the value.
func payloadBody(b []byte) (body []byte, compression uint64, err error) {
	compression = replication.NONE
	for len(b) > 0 {
		field := b[0]
		if field == replication.OTW_PAYLOAD_HEADER_END_MARK {
			return b[1:], compression, nil
		}
		if len(b) < 2 || len(b) < 2+int(b[1]) {
			break
		}
		value := b[2 : 2+int(b[1])]
		if field == replication.OTW_PAYLOAD_COMPRESSION_TYPE_FIELD {
			if compression, err = netInt(value); err != nil {
				return nil, 0, err
			}
		}
		b = b[2+len(value):]
	}
	return nil, 0, errors.New("a transaction payload without an end of its header")
}

// netInt reads MySQL's integer with a length in its first byte.
func netInt(b []byte) (uint64, error) {
	n := 0
	switch {
	case len(b) > 0 && b[0] <= 250:
		return uint64(b[0]), nil
	case len(b) > 0 && b[0] == 252:
		n = 2
	case len(b) > 0 && b[0] == 253:
		n = 3
	case len(b) > 0 && b[0] == 254:
		n = 8
	}
	if n == 0 || len(b) < 1+n {
		return 0, errors.New("a bad number in a transaction payload")
	}
	var out [8]byte
	copy(out[:], b[1:1+n])
	return binary.LittleEndian.Uint64(out[:]), nil
}

// keepRaw leaves the rows to decode in the field that only NDB uses.
func keepRaw(e *replication.RowsEvent, data []byte) error {
	pos, err := e.DecodeHeader(data)
	if err != nil {
		return err
	}
	e.NdbData = data[pos:]
	return nil
}
