package canal

import (
	"context"
	"time"

	"strata/catalog"
)

// TaskKind is what a task does.
type TaskKind string

// The kinds of tasks.
const (
	// Backfill sends every row of shards, or of a range of keys in them, as it is.
	Backfill TaskKind = "backfill"
	// Rewind collects the keys that changed after a GTID set, and repairs them. A stopped dataset goes on.
	Rewind TaskKind = "rewind"
	// Failover collects the keys that were sent after the last place which both histories have, and repairs them; made by a
	// leader that finds another history on its server.
	Failover TaskKind = "failover"
	// Accept lets a stopped dataset go on without any repair: somebody's decision.
	Accept TaskKind = "accept"
	// Adopt takes a server whose history has nothing in common with what was captured: somebody's decision. Every dataset
	// stops there until it is backfilled.
	Adopt TaskKind = "adopt"
)

// TaskState is how a task stands.
type TaskState string

// The states. Done, Ended and Failed are final.
const (
	Queued  TaskState = "queued"
	Running TaskState = "running"
	Paused  TaskState = "paused"
	Done    TaskState = "done"
	Ended   TaskState = "ended" // by an operator
	Failed  TaskState = "failed"
)

// Wish is what an operator wants of a task.
type Wish string

// The wishes. The zero value is to run it.
const (
	Run   Wish = ""
	Pause Wish = "pause"
	End   Wish = "end"
)

// Task is work beside the stream. The leader does one after the other per dataset, in order of ID.
type Task struct {
	ID      int64    `json:"id"`
	Kind    TaskKind `json:"kind"`
	Dataset string   `json:"dataset"`          // "" is every dataset; not for a Backfill
	Shards  []string `json:"shards,omitempty"` // Backfill: physical tables, of live or an archive; none: all
	// From and To are the keys between which a Backfill stays, From < key <= To in the order of the primary key; "" is open.
	From catalog.Key `json:"from,omitempty"`
	To   catalog.Key `json:"to,omitempty"`
	// GTID of a Rewind: the changes after it; "": after what the dataset's Stopped says. Of a Backfill: the topic lacks changes
	// after it, so no more is claimed until the task is done; "": nothing is known to be missing.
	GTID string `json:"gtid,omitempty"`
	// RowsPerSecond bounds what a Backfill reads from the source; 0: no bound.
	RowsPerSecond int       `json:"rows_per_second,omitempty"`
	Wish          Wish      `json:"wish,omitempty"`
	State         TaskState `json:"state"`
	Done          int64     `json:"done"`            // rows sent, or keys collected
	Total         int64     `json:"total"`           // estimate of rows; 0: not known
	Place         string    `json:"place,omitempty"` // the leader's own note of how far it is
	Who           string    `json:"who"`
	Why           string    `json:"why"`
	Err           string    `json:"err,omitempty"` // why it failed, or what it waits for
	CreatedAt     time.Time `json:"created_at"`
	UpdatedAt     time.Time `json:"updated_at"`
}

// RepairKey is a row whose image is to be sent anew as it is in its store, or as absent.
type RepairKey struct {
	Dataset string      `json:"dataset"`
	Shard   string      `json:"shard"`
	Key     catalog.Key `json:"key"`
	Task    int64       `json:"task,omitempty"` // the task that wants it; 0: a person or the verifier
	Why     string      `json:"why"`
	Tries   int         `json:"tries"`
	// Version is set by Due and read by Settle; every Enqueue of the key changes it.
	Version uint64 `json:"-"`
}

// byHand reports whether a person or the verifier has found that the index differs from the row's owner.
func (k *RepairKey) byHand() bool { return k.Task == 0 }

// Evidence is one line of the append-only log of what was done to the pipeline.
type Evidence struct {
	ID     int64     `json:"id"`
	At     time.Time `json:"at"`
	What   string    `json:"what"` // term, backfill, rewind, failover, repair, accept, stop, alarm, letter, resume
	Term   uint32    `json:"term"`
	Who    string    `json:"who"`
	Why    string    `json:"why"`
	Detail string    `json:"detail"` // JSON
}

// Status is how a leader stands, as it last reported.
type Status struct {
	Term     uint32              `json:"term"`
	Leader   string              `json:"leader"`
	At       time.Time           `json:"at"`
	Source   string              `json:"source"` // the endpoint that it reads
	GTID     string              `json:"gtid"`
	Beat     Beat                `json:"beat"`
	LagMs    int64               `json:"lag_ms"` // from the last heartbeat's time to now; -1 before the first
	Records  uint64              `json:"records"`
	Letters  uint64              `json:"letters"`
	OpenXA   []OpenXA            `json:"open_xa"`
	Spilled  int64               `json:"spilled_bytes"` // of the transaction in hand
	ToRepair int64               `json:"to_repair"`     // keys in the queue
	Numbers  map[string][]uint64 `json:"numbers"`       // by dataset, by partition: the last number sent
	Stopped  map[string]Stopped  `json:"stopped"`
	Lowered  map[string]Lowered  `json:"lowered"`
	Alarms   map[string]string   `json:"alarms"` // the last one, by table
	// Err is what keeps the leader from reading its source, or why its term ended, where no other one has reported since; Hint is
	// what to do.
	Err  string `json:"err,omitempty"`
	Hint string `json:"hint,omitempty"`
}

// Desk keeps what operators and leaders want done beside the stream. Every write that takes a term happens only while that
// term is the highest taken, and the call reports whether it did.
type Desk interface {
	// Tasks returns the tasks that are not in a final state, by ID.
	Tasks(ctx context.Context) ([]Task, error)
	// AddTask stores a task as Queued and returns its ID. term 0 is an operator's; else the condition holds.
	AddTask(ctx context.Context, term uint32, t Task) (id int64, ok bool, err error)
	// Advance stores State, Done, Total, Place and Err of a task, and returns its Wish as it is now.
	Advance(ctx context.Context, term uint32, t Task) (w Wish, ok bool, err error)
	// Enqueue adds keys; one that is there already, by dataset, shard and key, is made due now and belongs to the later of
	// both tasks. A key twice in one call is one.
	Enqueue(ctx context.Context, keys []RepairKey) error
	// Due returns up to n keys that are due, oldest first. No key is put off for long by a clock that is set back.
	Due(ctx context.Context, n int) ([]RepairKey, error)
	// Left counts the keys of a task, and those of its datasets (all where it names none) that belong to later tasks, since
	// some may have been its own; all keys for task 0.
	Left(ctx context.Context, task int64) (int64, error)
	// Settle removes done, and makes later due again after the pause with one more in Tries. A key that was enqueued again
	// after it was returned by Due stays as it is; one that is not there any more is no error.
	Settle(ctx context.Context, term uint32, done, later []RepairKey, pause time.Duration) (bool, error)
	// Record appends to the evidence log.
	Record(ctx context.Context, e Evidence) error
	// Report stores the status.
	Report(ctx context.Context, term uint32, s Status) (bool, error)
	// Remember keeps a copy of a checkpoint beyond the next ones: old ones are thinned out, so that about 1,000 are kept.
	Remember(ctx context.Context, term uint32, c *Checkpoint) (bool, error)
	// History calls f with what was remembered, newest first, until f returns false.
	History(ctx context.Context, f func(*Checkpoint) (bool, error)) error
}

// TableShard is a physical table with the store that owns it.
type TableShard struct {
	Holding catalog.Holding
	Rows    int64 // estimate
}

// Chunk is rows that were read in one snapshot of the store that owns them, in the order of the primary key.
type Chunk struct {
	Rows []catalog.Row
	Form *Form // of Rows; nil: the dataset's own columns
	// Beat is the captured server's heartbeat in the same snapshot; for an archive's chunk it is 0: its rows don't change.
	Beat uint64
	Last catalog.Key // of the last row
	End  bool        // there is nothing after Last
}

// Found is a row that was read with a lock, or its absence at its owner.
type Found struct {
	Holding catalog.Holding
	Row     *catalog.Row // nil: there is none
	// Held: somebody holds the row; it was not read.
	Held bool
}

// Locked is what a repair read, and when: everything in After's set that concerns the rows is in what was read, and nothing
// of Before's set is not.
type Locked struct {
	Before, After string  // GTID sets; the captured server has After
	Found         []Found // by key
	Form          *Form   // of the rows in Found; nil: the dataset's own columns
}

// Tables reads rows of the captured server and of the archives by the rules of the stores: never a part that its store
// doesn't own (fault.Stale: ask for Shards again).
type Tables interface {
	// Shards lists the dataset's physical tables, sorted by name, each once, by a fresh view.
	Shards(ctx context.Context, d *catalog.Dataset) ([]TableShard, error)
	// Chunk reads at most rows rows, or a few more than bytes bytes, of after < key <= to in the order of the primary key;
	// "" is open.
	Chunk(ctx context.Context, d *catalog.Dataset, h catalog.Holding, after, to catalog.Key, rows, bytes int) (Chunk, error)
	// Locked reads the rows of one shard by key where they are now. owner: of a shard that live owns, on live itself where that
	// can be, and not on the captured replica of it, which may differ.
	Locked(ctx context.Context, d *catalog.Dataset, shard string, keys []catalog.Key, owner bool) (Locked, error)
}
