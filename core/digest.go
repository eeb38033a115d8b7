package core

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math/bits"

	"strata/catalog"
)

// Digest is one number for a set of rows, whatever their order and wherever they stand: the sum, modulo 2^256, of each
// row's SHA-256. A row's image is its dataset's name and its cells, length-prefixed, NULL distinct; its shard and store
// are not in it. So two digests are equal if the rows are, and rows that are swapped, doubled or missing change it.
// The zero value is the digest of no rows.
type Digest struct {
	sum     [4]uint64 // most significant first
	rows    int64
	scratch []byte
}

// Add counts one row in. All callers must give all of the dataset's columns in its order.
func (d *Digest) Add(dataset string, row *catalog.Row) {
	b := binary.BigEndian.AppendUint32(d.scratch[:0], uint32(len(dataset)))
	b = append(b, dataset...)
	d.scratch = row.AppendImage(b)
	h := sha256.Sum256(d.scratch)
	var o Digest
	for i := range o.sum {
		o.sum[i] = binary.BigEndian.Uint64(h[i*8:])
	}
	o.rows = 1
	d.Merge(&o)
}

// Merge counts in the rows of another digest.
func (d *Digest) Merge(o *Digest) {
	var carry uint64
	for i := len(d.sum) - 1; i >= 0; i-- {
		d.sum[i], carry = bits.Add64(d.sum[i], o.sum[i], carry)
	}
	d.rows += o.rows
}

// Rows is how many rows were added.
func (d *Digest) Rows() int64 { return d.rows }

// String is the sum in hex and the number of rows: "<64 digits>-<rows>".
func (d *Digest) String() string {
	var b [32]byte
	for i, w := range d.sum {
		binary.BigEndian.PutUint64(b[i*8:], w)
	}
	return fmt.Sprintf("%s-%d", hex.EncodeToString(b[:]), d.rows)
}
