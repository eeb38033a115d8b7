package kafka

import (
	"encoding/binary"
	"hash/crc32"
	"math/bits"
	"time"

	"strata/canal"
)

const (
	// maxBatch bounds a batch of several records: below the brokers' usual message.max.bytes of 1 MiB.
	maxBatch = 900 << 10
	// keepBatch bounds the memory of a batch that is kept for the next one.
	keepBatch = maxBatch + maxBatch/4
	// batchHead is the size of a record batch's header (magic 2).
	batchHead = 61
	// recordHead bounds what a record's own lengths and deltas take.
	recordHead = 1 + 4*binary.MaxVarintLen32 + binary.MaxVarintLen64
)

// batch is records of one partition in Kafka's own form. Once sealed it never changes: what is sent again is the same bytes
// under the same sequence number, which is what makes the broker drop it if it has it.
type batch struct {
	buf    []byte // header, then the records
	packed []byte // the same, compressed; empty: send buf
	n      int32
	base   int64 // ms of the first record
	last   int64
	key    int // size of the largest record's key
	most   int // size of the largest record
	sealed bool
	done   bool      // finished: the bytes are final
	since  time.Time // when it was first to be sent
}

// reset makes b empty.
func (b *batch) reset() {
	if cap(b.buf) < batchHead {
		b.buf = make([]byte, 0, 16<<10)
	}
	*b = batch{buf: b.buf[:batchHead], packed: b.packed[:0]}
}

// wire is what goes to the broker.
func (b *batch) wire() []byte {
	if len(b.packed) > 0 {
		return b.packed
	}
	return b.buf
}

// varintLen is the size of v as zigzag varint.
func varintLen(v int) int { return (bits.Len64(uint64(v)<<1^uint64(v>>63)|1) + 6) / 7 }

// bytesLen is the size of b with its length.
func bytesLen(b []byte) int {
	if b == nil {
		return 1
	}
	return varintLen(len(b)) + len(b)
}

// rowImage reports whether the record has the headers of a row image.
func rowImage(h *canal.Header) bool {
	return h.Kind == canal.KindChange || h.Kind == canal.KindBackfill
}

// headersLen is the size and number of the record's headers.
func headersLen(h *canal.Header) (size, n int) {
	size, n = 7+11+11+4, 4
	if h.GTID != "" {
		g := len(h.GTID) + 5
		size, n = size+2+varintLen(g)+g, n+1
	}
	if rowImage(h) {
		size, n = size+3+len(h.Hash)+2+varintLen(len(h.Shard))+len(h.Shard), n+2
	}
	return size, n
}

// recordLen bounds the size of a record from above, by less than recordHead.
func recordLen(r *canal.Record) int {
	headers, _ := headersLen(&r.Header)
	return recordHead + len(r.Key) + len(r.Value) + headers
}

// append adds a record.
func (b *batch) append(r *canal.Record, ms int64) {
	if b.n == 0 {
		b.base = ms
	}
	b.last = max(b.last, ms)
	headers, count := headersLen(&r.Header)
	at := int(ms - b.base)
	body := 1 + varintLen(at) + varintLen(int(b.n)) + bytesLen(r.Key) + bytesLen(r.Value) + 1 + headers
	if body > b.most {
		b.most, b.key = body, len(r.Key)
	}
	d := binary.AppendVarint(b.buf, int64(body))
	d = append(d, 0) // attributes
	d = binary.AppendVarint(d, int64(at))
	d = binary.AppendVarint(d, int64(b.n))
	d = appendBytes(d, r.Key)
	d = appendBytes(d, r.Value)
	d = append(d, byte(count<<1))
	b.buf = appendHeaders(d, &r.Header)
	b.n++
}

func appendBytes(d, b []byte) []byte {
	if b == nil {
		return append(d, 1) // -1
	}
	return append(binary.AppendVarint(d, int64(len(b))), b...)
}

// appendHeaders appends what canal.Header.Pairs returns: each key one byte long, lengths as zigzag varints.
func appendHeaders(d []byte, h *canal.Header) []byte {
	d = binary.BigEndian.AppendUint32(append(d, 2, 't', 8), h.Term)
	d = binary.BigEndian.AppendUint64(append(d, 2, 's', 16), h.Seq)
	d = binary.BigEndian.AppendUint64(append(d, 2, 'p', 16), h.Number)
	d = append(d, 2, 'k', 2, byte(h.Kind))
	if h.GTID != "" {
		d = binary.AppendVarint(append(d, 2, 'g'), int64(len(h.GTID)+5))
		d = append(append(d, h.GTID...), '#')
		d = binary.BigEndian.AppendUint32(d, h.Ordinal)
	}
	if rowImage(h) {
		d = append(append(d, 2, 'h', byte(len(h.Hash)<<1)), h.Hash[:]...)
		d = binary.AppendVarint(append(d, 2, 'd'), int64(len(h.Shard)))
		d = append(d, h.Shard...)
	}
	return d
}

// finish makes the bytes final, compressed by p where that is smaller. b is sealed. Once is enough.
func (b *batch) finish(p *packer) error {
	if b.done {
		return nil
	}
	var err error
	if b.packed, err = p.pack(b.packed[:0], b.buf); err != nil {
		return err
	}
	codec := codecNone
	if len(b.packed) > 0 {
		codec = p.codec
		copy(b.packed, b.buf[:batchHead])
	}
	w := b.wire()
	binary.BigEndian.PutUint32(w[8:], uint32(len(w)-12))
	w[22] = byte(codec)
	binary.BigEndian.PutUint32(w[17:], crc32.Checksum(w[21:], p.table))
	b.done = true
	return nil
}

// seal closes b for more records and gives it its place in the producer's sequence.
func (b *batch) seal(id int64, epoch int16, sequence int32) {
	h := b.buf[:batchHead]
	clear(h)
	binary.BigEndian.PutUint32(h[12:], ^uint32(0)) // leader epoch: the broker's
	h[16] = 2                                      // magic
	binary.BigEndian.PutUint32(h[23:], uint32(b.n-1))
	binary.BigEndian.PutUint64(h[27:], uint64(b.base))
	binary.BigEndian.PutUint64(h[35:], uint64(b.last))
	binary.BigEndian.PutUint64(h[43:], uint64(id))
	binary.BigEndian.PutUint16(h[51:], uint16(epoch))
	binary.BigEndian.PutUint32(h[53:], uint32(sequence))
	binary.BigEndian.PutUint32(h[57:], uint32(b.n))
	b.sealed = true
}
