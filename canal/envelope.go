package canal

import (
	"strconv"

	"strata/catalog"
)

// opRead is the envelope's letter for a row that was read from its table.
const opRead Op = 'r'

// envelope writes values. One goroutine.
type envelope struct {
	name    string
	origin  Origin
	schemas bool
	// Of the transaction in hand, or of the rows that are read:
	txn      uint64 // counts them
	snapshot string
	time     int64    // ms
	middle   []byte   // of the source block, from server_id to row
	id       []byte   // of the transaction block, up to the total order; nil: there is none
	events   uint32   // of the transaction, in topics
	begun    bool     // its begin was sent
	touched  []*shard // by it

	lane   *lane  // the last one used
	known  uint64 // events that were in tails and that Stats doesn't know of yet
	queued int    // bytes of the batch
	usual  int    // size of the last value
}

func newEnvelope(cfg *Config) envelope {
	return envelope{name: cfg.Name, origin: cfg.Source.Origin(), schemas: cfg.Envelope == WithSchema}
}

// start sets the transaction whose changes follow.
func (e *envelope) start(x *Txn) {
	e.txn++
	e.events, e.begun, e.touched, e.snapshot, e.time = 0, false, e.touched[:0], "false", x.Time*1000
	e.middle = strconv.AppendUint(append(e.middle[:0], `,"server_id":`...), uint64(x.ServerID), 10)
	e.middle = append(append(e.middle, `,"gtid":`...), text(x.GTID)...)
	e.middle = append(e.middle, `,"row":`...)
	e.id = append(append(e.id[:0], `{"id":`...), text(x.GTID)...)
	e.id = append(e.id, `,"total_order":`...)
}

// read sets that what follows was read from its table, at nowMs.
func (e *envelope) read(nowMs int64) {
	e.txn++
	e.snapshot, e.time, e.id = "incremental", nowMs, e.id[:0]
	e.middle = append(e.middle[:0], `,"server_id":0,"gtid":null,"row":`...)
}

// shardOf is the lane's note of a physical table.
func (e *envelope) shardOf(l *lane, table string) *shard {
	if l.shard != nil && l.shard.table == table {
		return l.shard
	}
	s, ok := l.shards[table]
	if !ok {
		s = &shard{table: table, source: []byte(`,"source":{"version":"1","connector":` + text(e.origin.Connector) + `,"name":` + text(e.name) +
			`,"db":` + text(e.origin.Schema) + `,"table":` + text(table) + `,"snapshot":"`)}
		l.shards[table] = s
	}
	l.shard = s
	return s
}

// count counts an event of the transaction; n is 1, or -1 to take it back.
func (e *envelope) count(t *shard, n int) {
	if t.txn != e.txn {
		t.txn, t.events = e.txn, 0
		e.touched = append(e.touched, t)
	}
	t.events += uint32(n)
	e.events += uint32(n)
}

// append appends the value of an image that was counted.
func (e *envelope) append(dst []byte, s *shape, t *shard, i *image, nowMs int64) []byte {
	dst = append(dst, s.valueHead...)
	dst = append(dst, `{"before":`...)
	dst = s.appendImage(dst, i.before)
	dst = append(dst, `,"after":`...)
	dst = s.appendImage(dst, i.after)
	dst = append(dst, t.source...)
	dst = append(dst, e.snapshot...)
	dst = append(dst, `","ts_ms":`...)
	dst = strconv.AppendInt(dst, e.time, 10)
	dst = append(dst, e.middle...)
	dst = strconv.AppendUint(dst, uint64(i.ordinal), 10)
	dst = append(dst, `},"op":"`...)
	dst = append(dst, byte(i.op))
	dst = append(dst, `","ts_ms":`...)
	dst = strconv.AppendInt(dst, nowMs, 10)
	dst = append(dst, `,"transaction":`...)
	if len(e.id) == 0 {
		dst = append(dst, `null}`...)
	} else {
		dst = append(dst, e.id...)
		dst = strconv.AppendUint(dst, uint64(e.events), 10)
		dst = append(dst, `,"data_collection_order":`...)
		dst = strconv.AppendUint(dst, uint64(t.events), 10)
		dst = append(dst, `}}`...)
	}
	return s.tail(dst)
}

// appendKey appends the record key of a row, and returns also what of it decides the partition: the key without schema, so
// that a key stays in its partition when its column's type is widened.
func (s *shape) appendKey(dst []byte, r *catalog.Row) (key, plain []byte) {
	dst = append(dst, s.keyHead...)
	from := len(dst)
	dst = appendFields(dst, s.key, r)
	plain = dst[from:]
	return s.tail(dst), plain
}

// tail closes what a head opened.
func (s *shape) tail(dst []byte) []byte {
	if s.valueHead != nil {
		dst = append(dst, '}')
	}
	return dst
}

// text is s as a JSON string.
func text(s string) string { return string(jsonValue(s)) }
