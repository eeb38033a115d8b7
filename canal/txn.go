package canal

import (
	"context"
	"errors"
	"fmt"

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

// Form is the columns of a physical table as its rows were written: DDL may have added, dropped, renamed or moved some since
// the dataset was declared. Forms are compared by pointer: the same table definition gives the same Form.
type Form struct {
	// Columns are the table's, in its order and by its names.
	Columns []catalog.Column
	// At is, by column of the dataset, its place in Columns; -1: the table has no such column, its cell is NULL. Key columns
	// and the time column are always there.
	At []int
}

// Change is one row change of a committed transaction.
type Change struct {
	Dataset *catalog.Dataset
	Form    *Form  // of Before and After; nil: the dataset's own columns
	Shard   string // physical table
	Op      Op
	Before  catalog.Row // Update and Delete
	After   catalog.Row // Insert and Update
	// Ordinal of the change's first image among all row images of its group; the After of an Update has Ordinal+1.
	Ordinal uint32
}

// Beat is a heartbeat that a transaction committed.
type Beat struct {
	Seq uint64          `json:"seq"`
	At  catalog.Instant `json:"at"` // µs since 1970 UTC
}

// Poison says that a dataset can't follow the transaction it came with, and why.
type Poison struct {
	Dataset *catalog.Dataset
	Err     error
}

// Effect is what a statement did to rows without row events.
type Effect uint8

// The effects. What isn't understood is Rewritten.
const (
	NoEffect  Effect = iota // the rows are what they were, perhaps with other columns
	SomeGone                // rows of the table are gone: a partition of it was dropped or truncated
	Gone                    // all rows of the table are gone: drop, truncate, replace
	Rewritten               // values may have changed, rows come and gone: ALTER that converts, a partition exchanged
)

// String is the effect as the evidence has it.
func (e Effect) String() string { return [...]string{"none", "some gone", "gone", "rewritten"}[e] }

// Alarm is something that happened to a captured table which an operator should know of.
type Alarm struct {
	Dataset   string
	Table     string
	What      string // drop, truncate, rename, alter, replace, partition
	Effect    Effect
	Statement string // at most 200 bytes of it
}

// Spill is changes that did not fit into memory.
type Spill interface {
	// Each calls f with every change in order, each valid during the call, and returns f's first error. It may be called
	// again until the next Next of the stream.
	Each(f func(*Change) error) error
	// Bytes is the size on disk.
	Bytes() int64
}

// Txn is one group of the binlog, committed. A group without anything captured is a Txn without Changes: it moves the
// position.
type Txn struct {
	GTID     string
	ServerID uint32
	Time     int64 // seconds since 1970 UTC, of the statement
	Changes  []Change
	Spill    Spill // the changes after Changes, on disk; nil: none
	Beat     *Beat
	// Parts are the rows of strata_part that the transaction wrote, as they are after it.
	Parts []catalog.Part
	// XACommit: the changes were prepared earlier, and readers of the server may see them before or after their place here.
	XACommit bool
	// Undone are changes that the group rolled back after they were prepared. They are not to be sent; what a crash of the
	// server can make of them is in doubt.go.
	Undone []Change
	// Started: the server was started between the group before this one and this one. What it had written to its binlog last
	// may not be what it did: see doubt.go.
	Started bool
	Poison  []Poison // their datasets' Changes of this Txn must not be used
	Alarms  []Alarm
	// Position just after the group.
	Position Position
}

// Each calls f with every change in order, each valid during the call, and returns f's first error.
func (x *Txn) Each(f func(*Change) error) error {
	for i := range x.Changes {
		if err := f(&x.Changes[i]); err != nil {
			return err
		}
	}
	if x.Spill == nil {
		return nil
	}
	return x.Spill.Each(f)
}

// OpenXA is a prepared XA transaction whose outcome is not known yet.
type OpenXA struct {
	ID     string `json:"id"`     // as XA RECOVER FORMAT='SQL' prints it
	GTID   string `json:"gtid"`   // of the group that ended in its prepare
	Before string `json:"before"` // the GTID set just before that group
	// Captured: it changed captured rows. A new stream reads that group again from Before.
	Captured bool `json:"captured"`
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
	// XA lists the prepared XA transactions that are open here, by id.
	XA []OpenXA `json:"open_xa,omitempty"`
	// EndedXA are the ids of the last XA transactions whose outcome was read: after a crash of the server it may come again.
	EndedXA []string `json:"ended_xa,omitempty"`
	// Domains are MariaDB's GTID domains in which captured changes were read, sorted: a server that doesn't know another
	// domain of GTID lacks nothing.
	Domains []uint32 `json:"domains,omitempty"`
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
	// Keys are the columns by which each dataset's rows are named in its topic; absent where no leader has said it yet.
	Keys    map[string][]string `json:"keys,omitempty"`
	Stopped map[string]Stopped  `json:"stopped"`
	// Lowered are datasets whose topic lacks changes that are being repaired: their marks claim no more than this.
	Lowered map[string]Lowered `json:"lowered,omitempty"`
	// XATime is the time of the first heartbeat after the last XA COMMIT of captured rows; MaxInstant: none came yet.
	XATime catalog.Instant `json:"xa_time,omitempty"`
	// Doubt are rows that XA COMMITs changed just before Position.
	Doubt []RepairKey `json:"doubt,omitempty"`
}

// Lowered is a claim that is held down until the tasks that mend the dataset are done.
type Lowered struct {
	Mark  Mark    `json:"mark"`  // what may be claimed; zero: nothing
	Tasks []int64 `json:"tasks"` // ids of the tasks; the last one's end lifts it
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
	// The same place gives the same Txns, with the same ordinals and digests, every time. Captured changes of at.XA are read
	// again from their own places. An error that has ErrLost in it says that the place is not in the server's history.
	Open(ctx context.Context, at Position) (Stream, error)
	// Reached reports whether the GTID set at includes all of the set want. A domain or server id that at has never met is
	// not included.
	Reached(at, want string) (bool, error)
}

// ErrLost is inside the error of a Source whose server lacks the place that it was opened at: purged, or never there.
var ErrLost = errors.New("the server's history lacks this place")

// ErrPurged is inside the error of a server that has the place in its history, and no longer in its binlog. ErrLost is in it.
var ErrPurged = fmt.Errorf("its binlog was purged: %w", ErrLost)

// Stream delivers transactions to one goroutine.
type Stream interface {
	// Next blocks for the next transaction, which is valid until the next call. A ctx that ends gives its error and
	// leaves the stream as it was: the next call goes on. Any other error ends the stream; fault.Unavailable means that
	// opening again at the last Position may help.
	Next(ctx context.Context) (*Txn, error)
	// Close ends the stream and its connection. Twice is no error.
	Close() error
}
