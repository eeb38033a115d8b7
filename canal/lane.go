package canal

import (
	"slices"
	"strings"

	"strata/catalog"
	"strata/fault"
)

// chunkBytes is the size of the arenas that hold values until Kafka has acknowledged them: large against a row, small
// against memory.
const chunkBytes = 256 << 10

// lane is what a term knows of one dataset.
type lane struct {
	d        *catalog.Dataset
	parts    []part
	key      []string // of the rows in its topic, by the checkpoint; nil: not known
	stopped  *Stopped
	shapes   map[*Form]*shape
	shape    *shape // the last one used
	shards   map[string]*shard
	shard    *shard // the last one used
	lettered bool   // a letter of this term was logged
}

// part is one partition of a lane.
type part struct {
	from   PartPosition // as the checkpoint has it
	number uint64       // of the last record that counts
	tail   tail
}

func newLane(d *catalog.Dataset) *lane {
	return &lane{d: d, parts: make([]part, d.Partitions), shapes: make(map[*Form]*shape), shards: make(map[string]*shard)}
}

// rekeyed is an error where the rows have other names now than in the topic.
func (l *lane) rekeyed() error {
	if l.key == nil || slices.Equal(l.key, l.d.Key) {
		return nil
	}
	return fault.New(fault.Unsafe, "open dataset "+l.d.Name, "its rows are named by (%s) in its topic, and its tables have the primary key (%s) now",
		strings.Join(l.key, ", "), strings.Join(l.d.Key, ", ")).
		WithHint("give the tables their primary key back, or declare the dataset under another name: nothing would ever take the rows under their old keys away")
}

// shard is what every envelope of a physical table has in common.
type shard struct {
	table  string
	source []byte // the beginning of its source block
	txn    uint64 // the transaction that events counts for
	events uint32 // of the transaction, in this table
}

// image is one record to be: an update of a key is two.
type image struct {
	op      Op
	before  *catalog.Row
	after   *catalog.Row
	of      *catalog.Row // whose key and hash the record has
	ordinal uint32
}

// images splits a change; the second is used only where n is 2.
func (s *shape) images(c *Change) (out [2]image, n int) {
	before, after := &c.Before, &c.After
	same := c.Op == Update && s.sameKey(before, after)
	if s.masker != nil {
		before, after = s.mask(0, before), s.mask(1, after)
	}
	switch {
	case c.Op == Insert:
		out[0] = image{Insert, nil, after, after, c.Ordinal}
	case c.Op == Delete:
		out[0] = image{Delete, before, nil, before, c.Ordinal}
	case same:
		out[0] = image{Update, before, after, after, c.Ordinal + 1}
	default:
		out[0] = image{Delete, before, nil, before, c.Ordinal}
		out[1] = image{Insert, nil, after, after, c.Ordinal + 1}
		return out, 2
	}
	return out, 1
}

// arena hands out memory that is never moved or reused; the garbage collector takes a chunk when its records are gone.
type arena struct{ free []byte }

// room returns an empty slice with at least n bytes of room, for one text that is then kept or forgotten.
func (a *arena) room(n int) []byte {
	if n > cap(a.free)-len(a.free) {
		if n > chunkBytes/4 {
			return make([]byte, 0, n)
		}
		a.free = make([]byte, 0, chunkBytes)
	}
	return a.free[len(a.free):]
}

// keep makes what was written into the last room last, and returns it.
func (a *arena) keep(b []byte) []byte {
	if n := len(a.free); cap(b) == cap(a.free)-n && len(b) > 0 && cap(a.free) > n && &b[0] == &a.free[:n+1][n] {
		a.free = a.free[:n+len(b)]
	}
	return b[:len(b):len(b)]
}

// stopFor makes the note of a dataset that can't go on from pos.
func stopFor(pos Position, err error) *Stopped {
	s := &Stopped{Position: pos, Kind: fault.KindOf(err).String(), Reason: err.Error(), Hint: fault.HintOf(err)}
	if s.Hint == "" {
		s.Hint = "repair the cause, then rewind the dataset; backfill it where the binlog is gone"
	}
	return s
}

// ofDataset reports whether an error concerns one dataset only, so that the others may go on.
func ofDataset(err error) bool {
	switch fault.KindOf(err) {
	case fault.Unsafe, fault.Invalid, fault.Proof, fault.TooLarge, fault.NotFound, fault.Denied:
		return true
	default:
		return false
	}
}
