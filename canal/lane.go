package canal

import (
	"encoding/json"
	"fmt"
	"strconv"

	"strata/catalog"
	"strata/fault"
)

// chunkBytes is the size of the arenas that hold values until Kafka has acknowledged them: large against a row, small
// against memory.
const chunkBytes = 256 << 10

// lane is what a term knows of one dataset.
type lane struct {
	d       *catalog.Dataset
	keyAt   []int
	keyForm catalog.Dataset // only the key's columns, for the JSON key
	keyRow  catalog.Row
	parts   []part
	stopped *Stopped
	shards  map[string][]byte // shard → its part of the envelope
}

// part is one partition of a lane.
type part struct {
	from   PartPosition // as the checkpoint has it
	number uint64       // of the last record that counts
	tail   tail
}

func newLane(d *catalog.Dataset) *lane {
	l := &lane{d: d, keyAt: d.KeyIndexes(), parts: make([]part, d.Partitions), shards: make(map[string][]byte)}
	for _, i := range l.keyAt {
		l.keyForm.Columns = append(l.keyForm.Columns, d.Columns[i])
	}
	return l
}

// appendKey appends the record key of a row, as RecordKey.
func (l *lane) appendKey(dst []byte, r *catalog.Row) []byte {
	l.keyRow.Reset()
	for _, i := range l.keyAt {
		l.keyRow.Append(r.Cell(i))
	}
	return catalog.AppendJSON(dst, &l.keyForm, &l.keyRow)
}

// sameKey reports whether two images have the same key.
func (l *lane) sameKey(a, b *catalog.Row) bool {
	for _, i := range l.keyAt {
		if string(a.Cell(i)) != string(b.Cell(i)) {
			return false
		}
	}
	return true
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
func (l *lane) images(c *Change) (out [2]image, n int) {
	switch {
	case c.Op == Insert:
		out[0] = image{Insert, nil, &c.After, &c.After, c.Ordinal}
	case c.Op == Delete:
		out[0] = image{Delete, &c.Before, nil, &c.Before, c.Ordinal}
	case l.sameKey(&c.Before, &c.After):
		out[0] = image{Update, &c.Before, &c.After, &c.After, c.Ordinal + 1}
	default:
		out[0] = image{Delete, &c.Before, nil, &c.Before, c.Ordinal}
		out[1] = image{Insert, nil, &c.After, &c.After, c.Ordinal + 1}
		return out, 2
	}
	return out, 1
}

// envelope writes values. One goroutine.
type envelope struct {
	name   string
	origin Origin
	gtid   string
	server uint32
	time   int64
}

// start sets the transaction whose changes follow.
func (e *envelope) start(x *Txn) { e.gtid, e.server, e.time = x.GTID, x.ServerID, x.Time }

// shard is the constant part of a shard's source block.
func (e *envelope) shard(l *lane, table string) []byte {
	if b, ok := l.shards[table]; ok {
		return b
	}
	text := func(s string) string {
		b, err := json.Marshal(s)
		if err != nil {
			panic(fmt.Sprintf("marshal a string: %v", err)) // can't be
		}
		return string(b)
	}
	b := []byte(`,"source":{"version":"1","connector":` + text(e.origin.Connector) + `,"name":` + text(e.name) +
		`,"db":` + text(e.origin.Schema) + `,"table":` + text(table) + `,"snapshot":"false","ts_ms":`)
	l.shards[table] = b
	return b
}

// append appends the value of an image.
func (e *envelope) append(dst []byte, l *lane, shard string, i *image, nowMs int64) []byte {
	dst = append(dst, `{"before":`...)
	dst = appendImage(dst, l.d, i.before)
	dst = append(dst, `,"after":`...)
	dst = appendImage(dst, l.d, i.after)
	dst = append(dst, e.shard(l, shard)...)
	dst = strconv.AppendInt(dst, e.time*1000, 10)
	dst = append(dst, `,"server_id":`...)
	dst = strconv.AppendUint(dst, uint64(e.server), 10)
	dst = append(dst, `,"gtid":"`...) // digits, dashes, colons, a tag of letters: nothing to escape
	dst = append(dst, e.gtid...)
	dst = append(dst, `","row":`...)
	dst = strconv.AppendUint(dst, uint64(i.ordinal), 10)
	dst = append(dst, `},"op":"`...)
	dst = append(dst, byte(i.op))
	dst = append(dst, `","ts_ms":`...)
	dst = strconv.AppendInt(dst, nowMs, 10)
	dst = append(dst, `,"transaction":{"id":"`...)
	dst = append(dst, e.gtid...)
	dst = append(dst, `","total_order":`...)
	dst = strconv.AppendUint(dst, uint64(i.ordinal), 10)
	return append(dst, `}}`...)
}

func appendImage(dst []byte, d *catalog.Dataset, r *catalog.Row) []byte {
	if r == nil {
		return append(dst, `null`...)
	}
	return catalog.AppendJSON(dst, d, r)
}

// arena hands out memory that is never moved or reused; the garbage collector takes a chunk when its records are gone.
type arena struct{ free []byte }

func (a *arena) copy(b []byte) []byte {
	if len(b) > cap(a.free)-len(a.free) {
		if len(b) > chunkBytes/4 {
			return append([]byte(nil), b...)
		}
		a.free = make([]byte, 0, chunkBytes)
	}
	from := len(a.free)
	a.free = append(a.free, b...)
	return a.free[from:len(a.free):len(a.free)]
}

// stopFor makes the note of a dataset that can't go on from pos.
func stopFor(pos Position, err error) *Stopped {
	s := &Stopped{Position: pos, Kind: fault.KindOf(err).String(), Reason: err.Error(), Hint: fault.HintOf(err)}
	if s.Hint == "" {
		s.Hint = "repair the cause, then load the dataset anew: this version can't rewind"
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
