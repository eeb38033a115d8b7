package archive

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"hash"

	"strata/catalog"
	"strata/fault"
)

// ChunkRows is the number of rows under one hash of a manifest. It is fixed, so that a manifest can be made again.
const ChunkRows = 1000

// Tally hashes, counts and sums rows that come in key order. Memory grows by one hash per ChunkRows rows.
type Tally struct {
	ds      *catalog.Dataset
	keyAt   []int
	timeAt  int // -1: no time column
	within  catalog.Range
	columns []*moneyColumn
	hash    hash.Hash
	buf     []byte
	last    catalog.Row // key cells of the last row
	inChunk int64
	outside int64
	rows    int64
	chunks  []Chunk
}

// NewTally makes a tally of rows of ds that should lie in the range. Errors: Invalid where a money column is missing.
func NewTally(ds *catalog.Dataset, within catalog.Range) (*Tally, error) {
	t := &Tally{ds: ds, keyAt: ds.KeyIndexes(), timeAt: -1, within: within, hash: sha256.New()}
	if ds.Time != "" {
		t.timeAt = ds.Index(ds.Time)
	}
	var err error
	t.columns, err = moneyColumns(ds)
	return t, err
}

// Add takes the next row. Errors: Proof for a money cell that is no integer of 64 bits or has no unit.
func (t *Tally) Add(row *catalog.Row) error {
	t.buf = row.AppendImage(t.buf[:0])
	t.hash.Write(t.buf)
	t.last.Reset()
	for _, i := range t.keyAt {
		t.last.Append(row.Cell(i))
	}
	if t.timeAt >= 0 && t.within != catalog.All() {
		at, ok := catalog.InstantOf(t.ds.Columns[t.timeAt].Type, row.Cell(t.timeAt))
		if !ok || !t.within.Contains(at) {
			t.outside++
		}
	}
	for _, c := range t.columns {
		if err := c.add(row); err != nil {
			return fault.Wrap(fault.Proof, "tally "+t.ds.Name+" "+string(t.lastKey()), err)
		}
	}
	t.rows++
	t.inChunk++
	if t.inChunk == ChunkRows {
		t.cut()
	}
	return nil
}

// Rows is the number of rows so far.
func (t *Tally) Rows() int64 { return t.rows }

// Outside is the number of rows whose time is NULL or not in the range.
func (t *Tally) Outside() int64 { return t.outside }

// Totals ends the tally.
func (t *Tally) Totals() Totals {
	if t.inChunk > 0 {
		t.cut()
	}
	h := sha256.New()
	var n [8]byte
	binary.BigEndian.PutUint64(n[:], uint64(t.rows))
	h.Write(n[:])
	for _, c := range t.chunks {
		h.Write([]byte(c.Hash))
	}
	out := Totals{Rows: t.rows, Hash: hex.EncodeToString(h.Sum(nil)), Sums: []Sum{}, Chunks: append([]Chunk{}, t.chunks...)}
	for _, c := range t.columns {
		out.Sums = append(out.Sums, c.list()...)
	}
	return out
}

func (t *Tally) cut() {
	var sum [sha256.Size]byte
	t.hash.Sum(sum[:0])
	t.hash.Reset()
	t.chunks = append(t.chunks, Chunk{Last: t.lastKey(), Rows: t.inChunk, Hash: hex.EncodeToString(sum[:16])})
	t.inChunk = 0
}

func (t *Tally) lastKey() catalog.Key {
	at := make([]int, t.last.Len())
	for i := range at {
		at[i] = i
	}
	return catalog.KeyOf(&t.last, at)
}
