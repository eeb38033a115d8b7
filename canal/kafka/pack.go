package kafka

import (
	"bytes"
	"fmt"
	"hash/crc32"

	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"

	"strata/fault"
)

// Compression of record batches, by Kafka's names.
type Compression string

// The compressions. What they cost is in doc.go.
const (
	None   Compression = "none"
	Snappy Compression = "snappy"
	LZ4    Compression = "lz4"
	Zstd   Compression = "zstd"
)

// Kafka's numbers of them.
type codec int8

const (
	codecNone   codec = 0
	codecSnappy codec = 2
	codecLZ4    codec = 3
	codecZstd   codec = 4
)

// packer compresses the batches of one goroutine.
type packer struct {
	codec codec
	table *crc32.Table
	lz4   *lz4.Writer
	zstd  *zstd.Encoder
}

// codecOf is None for "". Errors: Invalid.
func codecOf(c Compression) (codec, error) {
	switch c {
	case "", None:
		return codecNone, nil
	case Snappy:
		return codecSnappy, nil
	case LZ4:
		return codecLZ4, nil
	case Zstd:
		return codecZstd, nil
	default:
		return 0, fault.New(fault.Invalid, "configure kafka", "compression %q is not none, snappy, lz4 or zstd", string(c))
	}
}

func newPacker(c codec) (*packer, error) {
	p := &packer{codec: c, table: crc32.MakeTable(crc32.Castagnoli)}
	switch c {
	case codecLZ4:
		p.lz4 = lz4.NewWriter(nil)
		if err := p.lz4.Apply(lz4.BlockSizeOption(lz4.Block64Kb), lz4.ChecksumOption(false)); err != nil { // as the Java client
			return nil, fmt.Errorf("set up lz4: %w", err)
		}
	case codecZstd:
		var err error
		if p.zstd, err = zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedFastest)); err != nil {
			return nil, fmt.Errorf("set up zstd: %w", err)
		}
	}
	return p, nil
}

// pack returns room for a header and the compressed records of buf, in dst's memory; empty where that is not smaller.
func (p *packer) pack(dst, buf []byte) ([]byte, error) {
	records := buf[batchHead:]
	switch p.codec {
	case codecNone:
		return dst, nil
	case codecSnappy:
		need := batchHead + s2.MaxEncodedLen(len(records))
		if cap(dst) < need {
			dst = make([]byte, 0, need)
		}
		dst = dst[:need]
		dst = dst[:batchHead+len(s2.EncodeSnappy(dst[batchHead:], records))]
	case codecLZ4:
		w := bytes.NewBuffer(append(dst, buf[:batchHead]...))
		p.lz4.Reset(w)
		if _, err := p.lz4.Write(records); err != nil {
			return nil, fmt.Errorf("compress a batch: %w", err)
		}
		if err := p.lz4.Close(); err != nil {
			return nil, fmt.Errorf("compress a batch: %w", err)
		}
		dst = w.Bytes()
	case codecZstd:
		dst = p.zstd.EncodeAll(records, append(dst, buf[:batchHead]...))
	}
	if len(dst) >= len(buf) {
		return dst[:0], nil
	}
	return dst, nil
}
