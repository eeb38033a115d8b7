package daybook

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"hash/maphash"
	"io"
	"os"
	"slices"

	"strata/fault"
)

const (
	spillFiles  = 64
	spillBuffer = 16 << 10
	// spillLoad bounds what is read into memory at once; a larger file is spread over others first.
	spillLoad = 48 << 20
)

// spill gathers records by id on disk: added in any order, they come back one id after the other. The files have no name, so
// that nothing is left behind however the process ends.
type spill struct {
	dir   string
	seed  maphash.Seed
	files [spillFiles]*os.File
	out   [spillFiles]*bufio.Writer
	size  [spillFiles]int64
	buf   []byte
}

// record is one row that belongs to an id. Its memory is valid during the call that gets it.
type record struct {
	kind  kind
	id    []byte
	cells []byte
	hash  uint64
}

func newSpill(dir string) *spill { return &spill{dir: dir, seed: maphash.MakeSeed()} }

// add adds a record; cells are what appendCell wrote.
func (s *spill) add(k kind, id, cells []byte) error {
	i := maphash.Bytes(s.seed, id) % spillFiles
	if s.files[i] == nil {
		f, err := os.CreateTemp(s.dir, "strata-check-")
		if err != nil {
			return fault.Wrap(fault.Unavailable, "make temporary file", err)
		}
		s.files[i], s.out[i] = f, bufio.NewWriterSize(f, spillBuffer)
		if err := os.Remove(f.Name()); err != nil {
			return fault.Wrap(fault.Unavailable, "unlink temporary file", err)
		}
	}
	b := binary.AppendUvarint(s.buf[:0], uint64(len(id)))
	b = binary.AppendUvarint(b, uint64(len(cells)))
	b = append(append(append(b, byte(k)), id...), cells...)
	s.buf = b
	s.size[i] += int64(len(b))
	_, err := s.out[i].Write(b)
	return fault.Wrap(fault.Unavailable, "write temporary file", err)
}

// load is the records of one file, in memory.
func (s *spill) load(i int) ([]record, error) {
	const op = "read temporary file"
	if err := s.out[i].Flush(); err != nil {
		return nil, fault.Wrap(fault.Unavailable, "write temporary file", err)
	}
	raw := make([]byte, s.size[i])
	if _, err := s.files[i].ReadAt(raw, 0); err != nil && !(errors.Is(err, io.EOF) && len(raw) == 0) {
		return nil, fault.Wrap(fault.Unavailable, op, err)
	}
	out := make([]record, 0, len(raw)/64)
	for len(raw) > 0 {
		id, n := binary.Uvarint(raw)
		cells, m := binary.Uvarint(raw[max(n, 0):])
		if n <= 0 || m <= 0 || uint64(len(raw)-n-m-1) < id+cells {
			return nil, fault.New(fault.Internal, op, "it is not what was written")
		}
		r := record{kind: kind(raw[n+m]), id: raw[n+m+1:][:id]}
		raw = raw[uint64(n+m+1)+id:]
		r.cells, raw = raw[:cells], raw[cells:]
		r.hash = maphash.Bytes(s.seed, r.id)
		out = append(out, r)
	}
	return out, nil
}

// groups calls f with all records of one id after the other, in no order of ids, each group by kind.
func (s *spill) groups(f func([]record) error) error {
	for i := range s.files {
		if s.files[i] == nil {
			continue
		}
		if s.size[i] > spillLoad {
			if err := s.spread(i, f); err != nil {
				return err
			}
			continue
		}
		all, err := s.load(i)
		if err != nil {
			return err
		}
		if err := grouped(all, f); err != nil {
			return err
		}
	}
	return nil
}

// position is where a record is: sorting places is cheaper than sorting records.
type position struct {
	hash uint64
	at   int32
}

// grouped calls f for each id of the records.
func grouped(all []record, f func([]record) error) error {
	order := make([]position, len(all))
	for i := range all {
		order[i] = position{all[i].hash, int32(i)}
	}
	slices.SortFunc(order, func(a, b position) int {
		if a.hash != b.hash {
			return cmp.Compare(a.hash, b.hash)
		}
		x, y := &all[a.at], &all[b.at]
		return cmp.Or(bytes.Compare(x.id, y.id), cmp.Compare(x.kind, y.kind), cmp.Compare(a.at, b.at))
	})
	var group []record
	for from := 0; from < len(order); {
		first := &all[order[from].at]
		group = append(group[:0], *first)
		to := from + 1
		for ; to < len(order) && order[to].hash == first.hash && bytes.Equal(all[order[to].at].id, first.id); to++ {
			group = append(group, all[order[to].at])
		}
		if err := f(group); err != nil {
			return err
		}
		from = to
	}
	return nil
}

// spread divides one file over others, by another hash.
func (s *spill) spread(i int, f func([]record) error) error {
	if err := s.out[i].Flush(); err != nil {
		return fault.Wrap(fault.Unavailable, "write temporary file", err)
	}
	if s.size[i] >= spillLoad*spillFiles*spillFiles {
		return fault.New(fault.TooLarge, "read temporary file", "it has %d bytes", s.size[i])
	}
	finer := newSpill(s.dir)
	defer finer.close()
	in := bufio.NewReaderSize(io.NewSectionReader(s.files[i], 0, s.size[i]), 1<<20)
	var body []byte
	ids := 0
	var last []byte
	for {
		id, err := binary.ReadUvarint(in)
		if errors.Is(err, io.EOF) {
			break
		}
		cells, err2 := binary.ReadUvarint(in)
		k, err3 := in.ReadByte()
		if err := errors.Join(err, err2, err3); err != nil {
			return fault.Wrap(fault.Internal, "read temporary file", err)
		}
		body = slices.Grow(body[:0], int(id+cells))[:id+cells]
		if _, err := io.ReadFull(in, body); err != nil {
			return fault.Wrap(fault.Internal, "read temporary file", err)
		}
		if ids < 2 && !bytes.Equal(last, body[:id]) {
			ids, last = ids+1, bytes.Clone(body[:id])
		}
		if err := finer.add(kind(k), body[:id], body[id:]); err != nil {
			return err
		}
	}
	if ids < 2 {
		return fault.New(fault.TooLarge, "check ledger", "id %q alone has more than %d bytes of rows", last, spillLoad)
	}
	return finer.groups(f)
}

// close gives the files back.
func (s *spill) close() {
	for _, f := range s.files {
		if f != nil {
			_ = f.Close()
		}
	}
}

// appendCell appends one cell to a record: its length and one, 0 for NULL.
func appendCell(dst, cell []byte) []byte {
	if cell == nil {
		return append(dst, 0)
	}
	return append(binary.AppendUvarint(dst, uint64(len(cell))+1), cell...)
}

// split takes a record's cells apart. It was written by appendCell.
func (r *record) split(into [][]byte) [][]byte {
	into = into[:0]
	for b := r.cells; len(b) > 0; {
		n, at := binary.Uvarint(b)
		b = b[at:]
		if n == 0 {
			into = append(into, nil)
			continue
		}
		into, b = append(into, b[:n-1:n-1]), b[n-1:]
	}
	return into
}
