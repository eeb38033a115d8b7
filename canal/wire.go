package canal

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"strings"

	"strata/catalog"
	"strata/fault"
)

// RecordKind says what a Kafka record of a dataset's topic is.
type RecordKind byte

// The kinds, as they stand in header "k".
const (
	KindChange   RecordKind = 'c' // a row image of a committed transaction
	KindBackfill RecordKind = 'b' // a row image read from the table, or, as a delete without an image, that there is none
	KindMark     RecordKind = 'm' // a heartbeat: everything committed before it stands before it in this partition
	KindOpen     RecordKind = 'o' // a leader takes this partition
	KindResume   RecordKind = 'r' // the leader knows the tail and goes on from there
	// KindTombstone is the null value that follows a delete under the same key, for readers that compact; it has Number 0,
	// does not count and means nothing to strata. It may be missing after a change of leaders.
	KindTombstone RecordKind = 't'
	// KindLetter is in a dead-letter topic: a change that its dataset's topic does not have, or that no index takes. It has no
	// Number; its Term and Seq are those of the change.
	KindLetter RecordKind = 'l'
	// KindClosing is in a dead-letter topic: what became of a letter before it. Term, Seq and Number are 0.
	KindClosing RecordKind = 'x'
	// KindBoundary is in the topic of transactions' boundaries. It has no Number.
	KindBoundary RecordKind = 'e'
)

// Header is what every record carries in Kafka's headers, short binary, big endian.
type Header struct {
	Term uint32     // "t", 4 bytes
	Seq  uint64     // "s", 8 bytes; rises with every record of a term, never used twice
	Kind RecordKind // "k", 1 byte
	// Number "p", 8 bytes: consecutive within the partition over change, backfill and mark records; an open has 0, a resume
	// the number of the last record before it that counts.
	Number uint64
	// Hash "h", 16 bytes: hash of the row image after the change (before, for a delete), masked, with the dataset's columns:
	// NULL where its table has none. Row images only; zero where there is no image.
	Hash catalog.Hash
	// GTID "g": the transaction, Ordinal: the row image's place among all row images of its group. Text "gtid#ordinal".
	GTID    string
	Ordinal uint32
	// Shard "d": the physical table. Row images only.
	Shard string
}

// Counts reports whether records of this kind carry a consecutive Number.
func (k RecordKind) Counts() bool { return k == KindChange || k == KindBackfill || k == KindMark }

// Pair is one Kafka header.
type Pair struct{ Key, Value []byte }

// Mark is the JSON value of a mark.
type Mark struct {
	GTID      string          `json:"gtid"`      // the source's position just after the heartbeat's transaction
	Heartbeat uint64          `json:"heartbeat"` // its sequence number
	At        catalog.Instant `json:"at"`        // its commit time by the writer's clock, µs since 1970 UTC
}

// Resume is the JSON value of a resume.
type Resume struct {
	GTID       string `json:"gtid"`        // the GTID set from which this leader sends
	LastNumber uint64 `json:"last_number"` // number of the last record of this partition that counts
	// Repaired: whatever was missing before this record has been repaired from the source by records that stand before it,
	// so a reader forgets the gaps that it has seen. One just before this record it does not forget, unless an
	// open stands between.
	Repaired bool `json:"repaired,omitempty"`
}

// Letter is the JSON value of a dead letter: a row image that is larger than a value may be, whose dataset's topic has nothing
// in its place; or, with Record, one that is in that topic and that no index takes. The same letter may come again after a
// restart.
type Letter struct {
	Key    json.RawMessage `json:"key"` // as the record would have had it; text where that is no JSON
	Shard  string          `json:"shard"`
	Op     string          `json:"op"` // "" where the value can't be read
	GTID   string          `json:"gtid"`
	Row    uint32          `json:"row"`   // its ordinal
	Bytes  int             `json:"bytes"` // of the value
	Reason string          `json:"reason"`
	TsMs   int64           `json:"ts_ms"`
	Record *LetterRecord   `json:"record,omitempty"`
}

// LetterRecord is the record of a dataset's topic that a letter is about.
type LetterRecord struct {
	Partition int32  `json:"partition"`
	Offset    int64  `json:"offset"`
	Hash      string `json:"hash"`
	// Value is its payload where that is JSON, Raw where it isn't (base64); neither where a letter would be larger than the
	// broker takes: partition and offset say where it stands.
	Value json.RawMessage `json:"value,omitempty"`
	Raw   []byte          `json:"raw,omitempty"`
}

// Closing is the JSON value of what became of a letter.
type Closing struct {
	Letter string `json:"letter"`           // its name: LetterName
	State  string `json:"state"`            // replayed, dropped, or refused: then it stays open
	Reason string `json:"reason,omitempty"` // refused: the new reason
	Who    string `json:"who"`
	Why    string `json:"why"`
	TsMs   int64  `json:"ts_ms"`
}

// LetterName names a letter: one that comes again has the same name. A record is named by its place and version, a row that was
// too large by its transaction, or where it was read from its table by its shard and key.
func LetterName(h *Header, v *Letter) string {
	switch {
	case v.Record != nil:
		return fmt.Sprintf("%d@%d:%d.%d", v.Record.Partition, v.Record.Offset, h.Term, h.Seq)
	case v.GTID != "":
		return fmt.Sprintf("%s#%d", v.GTID, v.Row)
	default:
		return v.Shard + "/" + string(v.Key)
	}
}

// Open is the JSON value of an open.
type Open struct {
	Term   uint32 `json:"term"`
	Leader string `json:"leader"` // host and pid, for people
}

// jsonValue is the JSON of a string, or of a type of this room: fields that always marshal.
func jsonValue(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic("marshal plain fields: " + err.Error()) // a broken type, not bad input
	}
	return b
}

// Pairs returns the header as Kafka headers.
func (h *Header) Pairs() []Pair {
	out := make([]Pair, 0, 7)
	out = append(out,
		Pair{[]byte("t"), binary.BigEndian.AppendUint32(nil, h.Term)},
		Pair{[]byte("s"), binary.BigEndian.AppendUint64(nil, h.Seq)},
		Pair{[]byte("p"), binary.BigEndian.AppendUint64(nil, h.Number)},
		Pair{[]byte("k"), []byte{byte(h.Kind)}})
	if h.GTID != "" {
		g := append(make([]byte, 0, len(h.GTID)+11), h.GTID...)
		g = append(g, '#')
		g = binary.BigEndian.AppendUint32(g, h.Ordinal)
		out = append(out, Pair{[]byte("g"), g})
	}
	if h.Kind == KindChange || h.Kind == KindBackfill {
		out = append(out, Pair{[]byte("h"), h.Hash[:]}, Pair{[]byte("d"), []byte(h.Shard)})
	}
	return out
}

// ParseHeader reads Kafka headers; each yields key and value of the i-th of n. Unknown keys are ignored, a missing or
// malformed one of ours is fault.Invalid: the topic belongs to somebody else.
func ParseHeader(n int, each func(i int) (key, value []byte)) (Header, error) {
	var h Header
	seen := 0
	for i := range n {
		k, v := each(i)
		if len(k) != 1 {
			continue
		}
		ok := true
		switch k[0] {
		case 't':
			if ok = len(v) == 4; ok {
				h.Term, seen = binary.BigEndian.Uint32(v), seen+1
			}
		case 's':
			if ok = len(v) == 8; ok {
				h.Seq, seen = binary.BigEndian.Uint64(v), seen+1
			}
		case 'p':
			if ok = len(v) == 8; ok {
				h.Number, seen = binary.BigEndian.Uint64(v), seen+1
			}
		case 'k':
			if ok = len(v) == 1; ok {
				h.Kind, seen = RecordKind(v[0]), seen+1
			}
		case 'h':
			if ok = len(v) == len(h.Hash); ok {
				copy(h.Hash[:], v)
			}
		case 'd':
			h.Shard = string(v)
		case 'g':
			if ok = len(v) > 5 && v[len(v)-5] == '#'; ok {
				h.GTID, h.Ordinal = string(v[:len(v)-5]), binary.BigEndian.Uint32(v[len(v)-4:])
			}
		}
		if !ok {
			return h, fault.New(fault.Invalid, "parse record header", "header %q has %d bytes", k, len(v))
		}
	}
	if seen != 4 {
		return h, fault.New(fault.Invalid, "parse record header", "a record without strata's headers").
			WithHint("the topic has records that strata did not write: keep others off it, delete it and backfill the dataset")
	}
	return h, nil
}

// Envelope is Debezium's change envelope without its schema, as far as strata reads it again. Before and After are the
// row's flat JSON objects or null: with the columns that its table had when it was written, without those that are masked
// away. A delete of a row that was looked for in vain has neither, and one that is too large has no Before; so has an update.
type Envelope struct {
	Before      json.RawMessage `json:"before"`
	After       json.RawMessage `json:"after"`
	Op          string          `json:"op"` // c, u, d, r
	Source      EnvelopeSource  `json:"source"`
	Transaction *EnvelopeTxn    `json:"transaction"`
	TsMs        int64           `json:"ts_ms"`
}

// EnvelopeForm is how values and keys are written.
type EnvelopeForm uint8

// The forms: Plain is {"before":…,"after":…,…}; WithSchema is {"schema":…,"payload":{…}}, as Kafka Connect's JsonConverter
// with schemas.enable writes and reads it.
const (
	Plain EnvelopeForm = iota
	WithSchema
)

// EnvelopeSource is where a change comes from, by Debezium's names.
type EnvelopeSource struct {
	Version   string `json:"version"`
	Connector string `json:"connector"`
	Name      string `json:"name"`
	TsMs      int64  `json:"ts_ms"`
	DB        string `json:"db"`
	Table     string `json:"table"`
	ServerID  uint32 `json:"server_id"`
	GTID      string `json:"gtid"`
	Row       uint32 `json:"row"`
	Snapshot  string `json:"snapshot"` // "false", or "incremental" for a row that was read from its table
}

// EnvelopeTxn names the transaction, and the event's place among its events from 1: all of them, and those of its table.
type EnvelopeTxn struct {
	ID                  string `json:"id"`
	TotalOrder          uint32 `json:"total_order"`
	DataCollectionOrder uint32 `json:"data_collection_order"`
}

// RecordKey is the Kafka key of a row: the flat JSON object of its key columns, Debezium's form.
func RecordKey(d *catalog.Dataset, r *catalog.Row, at []int) []byte {
	key := catalog.Dataset{Columns: make([]catalog.Column, len(at))}
	var kr catalog.Row
	for i, c := range at {
		key.Columns[i] = d.Columns[c]
		kr.Append(r.Cell(c))
	}
	return catalog.AppendJSON(nil, &key, &kr)
}

// KeyReader reads the record keys of one dataset. One goroutine.
type KeyReader struct {
	form catalog.Dataset // only the key's columns
	at   []int
	row  catalog.Row
}

// NewKeyReader makes one.
func NewKeyReader(d *catalog.Dataset) *KeyReader {
	k := &KeyReader{}
	for i, c := range d.KeyIndexes() {
		k.form.Columns = append(k.form.Columns, d.Columns[c])
		k.at = append(k.at, i)
	}
	return k
}

// Read returns the row key of a record key's payload (Payload). Errors: fault.Invalid.
func (k *KeyReader) Read(payload []byte) (catalog.Key, error) {
	if err := catalog.ParseJSON(&k.form, payload, &k.row); err != nil {
		return "", err
	}
	return catalog.KeyOf(&k.row, k.at), nil
}

// Topic is the Kafka topic of a dataset.
func Topic(dataset string) string { return "strata." + dataset }

// Boundaries names the topic of transactions' begins and ends, where that is switched on, in place of a dataset's name. It
// has one partition.
const Boundaries = "transaction.boundaries"

// DeadLetters names a dataset's dead-letter topic, in place of a dataset's name. It has one partition.
func DeadLetters(dataset string) string { return dataset + deadLetters }

// IsDeadLetters reports whether the name is one of DeadLetters: no dataset's name has a point.
func IsDeadLetters(name string) bool { return strings.HasSuffix(name, deadLetters) }

const deadLetters = ".dlq"
