package canal

import (
	"context"

	"strata/catalog"
)

// Op is what a change does to its row.
type Op byte

// The operations, by their letter in the envelope.
const (
	Insert Op = 'c'
	Update Op = 'u'
	Delete Op = 'd'
)

// Change is one row change of a committed transaction.
type Change struct {
	Dataset *catalog.Dataset
	Shard   string // physical table
	Op      Op
	Before  catalog.Row // Update and Delete
	After   catalog.Row // Insert and Update
	// Ordinal of the change's first image among all row images of its group; the After of an Update has Ordinal+1.
	Ordinal uint32
}

// Beat is a heartbeat that a transaction committed.
type Beat struct {
	Seq uint64
	At  catalog.Instant
}

// Poison says that a dataset can't follow the transaction it came with, and why.
type Poison struct {
	Dataset *catalog.Dataset
	Err     error
}

// Alarm is something that happened to a captured table which an operator should know of.
type Alarm struct {
	Dataset string
	Table   string
	What    string // drop, truncate, rename, alter, replace
}

// Txn is one group of the binlog, committed. A group without anything captured is a Txn without Changes: it moves the
// position.
type Txn struct {
	GTID     string
	ServerID uint32
	Time     int64 // seconds since 1970 UTC, of the statement
	Changes  []Change
	Beat     *Beat
	Poison   []Poison // their datasets' Changes of this Txn must not be used
	Alarms   []Alarm
	// Position just after the group.
	Position Position
	// OpenXA is the number of prepared XA transactions with captured changes that the stream holds back. While it isn't
	// 0, Position must not be saved: a new stream would not deliver their changes.
	OpenXA int
}

// Last names a group so that it can be recognised.
type Last struct {
	GTID   string       `json:"gtid"`
	Before string       `json:"before"` // the GTID set just before it: a stream opened there delivers it first
	Digest catalog.Hash `json:"digest"` // of the group's content
}

// Position is a place between two groups.
type Position struct {
	GTID string `json:"gtid"` // the GTID set up to here; "" is the very beginning
	Last Last   `json:"last"` // the group just before; zero where none was seen
	// XA lists prepared XA transactions that are open here and have no captured changes, joined by semicolons.
	XA string `json:"xa,omitempty"`
}

// PartPosition is a place in a Kafka partition.
type PartPosition struct {
	Offset int64  `json:"offset"` // of the next record
	Number uint64 `json:"number"` // of the last record before Offset that counts
	Term   uint32 `json:"term"`   // highest open before Offset
}

// Stopped says since when and why a dataset isn't captured any more.
type Stopped struct {
	Position Position `json:"position"` // everything up to here was sent
	Kind     string   `json:"kind"`
	Reason   string   `json:"reason"`
	Hint     string   `json:"hint"`
}

// Checkpoint is what a leader needs to go on: everything up to Position is in Kafka, acknowledged, before the offsets.
type Checkpoint struct {
	Term     uint32                    `json:"term"`
	Seq      uint64                    `json:"seq"`
	Rows     uint64                    `json:"rows"` // row changes sent since the pipeline's beginning, by all terms
	Position Position                  `json:"position"`
	Parts    map[string][]PartPosition `json:"parts"` // by dataset, by partition
	Stopped  map[string]Stopped        `json:"stopped"`
}

// Origin says where a Source's rows come from, for the envelope.
type Origin struct {
	Connector string // mariadb, mysql
	Schema    string
}

// Source is a binlog.
type Source interface {
	Origin() Origin
	// Open starts a stream of whole committed transactions in commit order. With an at.Last it begins at at.Last.Before,
	// so that at.Last is delivered again, first of its domain; else it begins just after at.GTID, "" being the very
	// beginning. A server that no longer has that place is fault.Unsafe with a hint, one that is away fault.Unavailable.
	// The same place gives the same Txns, with the same ordinals and digests, every time.
	Open(ctx context.Context, at Position) (Stream, error)
}

// Stream delivers transactions to one goroutine.
type Stream interface {
	// Next blocks for the next transaction, which is valid until the next call. A ctx that ends gives its error and
	// leaves the stream as it was: the next call goes on. Any other error ends the stream; fault.Unavailable means that
	// opening again at the last Position may help.
	Next(ctx context.Context) (*Txn, error)
	// Close ends the stream and its connection. Twice is no error.
	Close() error
}
