package binlog

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"sync/atomic"

	"strata/canal"
	"strata/catalog"
	"strata/fault"
)

const (
	spillPattern = "strata-spill-*"
	spillBuffer  = 256 << 10
)

// spillFile is where changes go that don't fit into memory.
type spillFile interface {
	io.Writer
	io.ReaderAt
	io.Closer
	Name() string
}

// createSpill makes a new file in the folder.
func createSpill(dir string) (spillFile, error) {
	f, err := os.CreateTemp(dir, spillPattern)
	if err != nil {
		return nil, err // not a nil *os.File in an interface
	}
	return f, nil
}

// sweepSpills makes the folder and removes the files of an earlier process. One that another process has open stays readable
// for it.
func sweepSpills(dir string) error {
	op := "prepare spill folder " + dir
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fault.New(fault.Unavailable, op, "%w", err).WithHint("make the folder, writable for strata")
	}
	left, err := filepath.Glob(filepath.Join(dir, spillPattern))
	if err == nil {
		err = removeAll(left)
	}
	return fault.Wrap(fault.Unavailable, op, err)
}

// origin is what changes of one table have in common.
type origin struct {
	d     *catalog.Dataset
	form  *canal.Form
	shard string
}

// spill is changes on disk, one after the other: number of the table, operation, ordinal, then its images, each the number
// of cells and the cells with their length + 1, 0 for NULL. All numbers are varints.
type spill struct {
	dir    string
	file   spillFile
	w      *bufio.Writer
	size   int64
	tables []origin
	onDisk *atomic.Int64
	num    []byte
}

func (s *Source) spill(onDisk *atomic.Int64) (*spill, error) {
	sp := &spill{dir: s.cfg.SpillDir, onDisk: onDisk}
	f, err := s.newSpill()
	if err != nil {
		return nil, sp.failed(err)
	}
	sp.file, sp.w = f, bufio.NewWriterSize(f, spillBuffer)
	return sp, nil
}

func (s *spill) failed(err error) error {
	return fault.New(fault.Unavailable, "spill transaction", "%w", err).
		WithHint("a transaction that doesn't fit into memory goes to %s: make room there, or make smaller transactions", s.dir)
}

// add appends one change.
func (s *spill) add(c *canal.Change) error {
	o := origin{c.Dataset, c.Form, c.Shard}
	at := len(s.tables) - 1
	for at >= 0 && s.tables[at] != o {
		at--
	}
	if at < 0 {
		at = len(s.tables)
		s.tables = append(s.tables, o)
	}
	b := binary.AppendUvarint(s.num[:0], uint64(at))
	b = append(b, byte(c.Op))
	s.num = binary.AppendUvarint(b, uint64(c.Ordinal))
	err := s.write(s.num)
	if c.Op != canal.Insert && err == nil {
		err = s.row(&c.Before)
	}
	if c.Op != canal.Delete && err == nil {
		err = s.row(&c.After)
	}
	return err
}

func (s *spill) row(r *catalog.Row) error {
	s.num = binary.AppendUvarint(s.num[:0], uint64(r.Len()))
	for i := range r.Len() {
		cell := r.Cell(i)
		if cell == nil {
			s.num = append(s.num, 0)
			continue
		}
		s.num = binary.AppendUvarint(s.num, uint64(len(cell))+1)
		if len(cell) < 4096 { // one write for several small cells
			s.num = append(s.num, cell...)
			continue
		}
		if err := s.write(s.num); err != nil {
			return err
		}
		if err := s.write(cell); err != nil {
			return err
		}
		s.num = s.num[:0]
	}
	return s.write(s.num)
}

func (s *spill) write(b []byte) error {
	n, err := s.w.Write(b)
	s.size += int64(n)
	s.onDisk.Add(int64(n))
	if err != nil {
		return s.failed(err)
	}
	return nil
}

// flush makes all that was added readable.
func (s *spill) flush() error {
	if err := s.w.Flush(); err != nil {
		return s.failed(err)
	}
	return nil
}

// Bytes is part of canal.Spill.
func (s *spill) Bytes() int64 { return s.size }

// Each is part of canal.Spill.
func (s *spill) Each(f func(*canal.Change) error) error {
	r := bufio.NewReaderSize(io.NewSectionReader(s.file, 0, s.size), spillBuffer)
	var c canal.Change
	var cell []byte
	for {
		at, err := binary.ReadUvarint(r)
		if err == io.EOF {
			return nil
		}
		if err == nil && at >= uint64(len(s.tables)) {
			err = errSpill
		}
		if err == nil {
			err = s.read(r, &c, &cell, s.tables[at])
		}
		if err != nil {
			return fault.Wrap(fault.Unavailable, "read spilled transaction from "+s.file.Name(), err)
		}
		if err := f(&c); err != nil {
			return err
		}
	}
}

var errSpill = errors.New("the file is not as it was written")

func (s *spill) read(r *bufio.Reader, c *canal.Change, cell *[]byte, o origin) error {
	op, err := r.ReadByte()
	if err != nil {
		return short(err)
	}
	ordinal, err := binary.ReadUvarint(r)
	if err != nil {
		return short(err)
	}
	c.Dataset, c.Form, c.Shard, c.Op, c.Ordinal = o.d, o.form, o.shard, canal.Op(op), uint32(ordinal)
	c.Before.Reset()
	c.After.Reset()
	if c.Op != canal.Insert {
		err = readRow(r, &c.Before, cell)
	}
	if c.Op != canal.Delete && err == nil {
		err = readRow(r, &c.After, cell)
	}
	return short(err)
}

func short(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

func readRow(r *bufio.Reader, to *catalog.Row, cell *[]byte) error {
	n, err := binary.ReadUvarint(r)
	if err != nil {
		return err
	}
	for range n {
		size, err := binary.ReadUvarint(r)
		if err != nil {
			return err
		}
		if size == 0 {
			to.AppendNull()
			continue
		}
		if size--; size > math.MaxInt32 {
			return errSpill
		}
		if size <= spillBuffer { // out of the buffer, without another copy
			b, err := r.Peek(int(size))
			if err != nil {
				return err
			}
			if to.Append(b[:len(b):len(b)]); size == 0 {
				continue
			}
			if _, err := r.Discard(int(size)); err != nil {
				return err
			}
			continue
		}
		if uint64(cap(*cell)) < size {
			*cell = make([]byte, size)
		}
		*cell = (*cell)[:size]
		if _, err := io.ReadFull(r, *cell); err != nil {
			return err
		}
		to.Append(*cell)
	}
	return nil
}

// close removes the file.
func (s *spill) close() {
	s.onDisk.Add(-s.size)
	_ = s.file.Close()           // what it holds isn't needed any more
	_ = os.Remove(s.file.Name()) // else the next New does
}

// spills is several spills, one after the other.
type spills []*spill

// Each is part of canal.Spill.
func (s spills) Each(f func(*canal.Change) error) error {
	for _, sp := range s {
		if err := sp.Each(f); err != nil {
			return err
		}
	}
	return nil
}

// Bytes is part of canal.Spill.
func (s spills) Bytes() (n int64) {
	for _, sp := range s {
		n += sp.Bytes()
	}
	return n
}

func (s spills) close() {
	for _, sp := range s {
		sp.close()
	}
}

func (s spills) flush() error {
	for _, sp := range s {
		if err := sp.flush(); err != nil {
			return fmt.Errorf("finish: %w", err)
		}
	}
	return nil
}
