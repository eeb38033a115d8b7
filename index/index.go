package index

import (
	"context"
	"slices"

	"strata/catalog"
	"strata/fault"
)

// TermBits and SeqBits are the parts of a Version.
const (
	TermBits = 20
	SeqBits  = 43
)

// Version orders the images of one document: term << SeqBits | seq. It fits a signed 64-bit integer.
type Version uint64

// MakeVersion joins a capture term (1 … 2^20-1) and a sequence number (0 … 2^43-1).
func MakeVersion(term uint32, seq uint64) Version { return Version(uint64(term)<<SeqBits | seq) }

// Term is the capture term that minted the version.
func (v Version) Term() uint32 { return uint32(v >> SeqBits) }

// Seq is the sequence number within the term.
func (v Version) Seq() uint64 { return uint64(v) & (1<<SeqBits - 1) }

// Document is the image of one row. After is the row's flat JSON object (catalog.AppendJSON's form), perhaps of a time when
// its table had other columns: what it lacks is NULL, what the dataset lacks is not there. For a tombstone it is
// the last known image, or nil where none is known.
type Document struct {
	Shard   string
	Key     catalog.Key
	Version Version
	Hash    catalog.Hash
	Deleted bool
	After   []byte
}

// ID is the document's id in the index.
func (d *Document) ID() string { return catalog.DocumentID(d.Shard, d.Key) }

// Status is what became of one document of a batch.
type Status uint8

// The outcomes. Applied: written. Newer: an equal or newer version is there (success). Refused: the index will never take
// this document (Reason says why); the others of the batch are not affected.
const (
	Applied Status = iota
	Newer
	Refused
)

// Outcome is the answer for one document.
type Outcome struct {
	Status        Status
	StoredVersion Version // with Newer: the version that is there
	Reason        string  // with Refused
}

// Watermark says how far one Kafka partition of one dataset is applied and searchable.
type Watermark struct {
	Dataset   string
	Partition int32
	Term      uint32          // highest open term seen
	Number    uint64          // last partition number applied; the next expected is one more
	Offset    int64           // Kafka offset of the next record to read
	GTID      string          // the source position at the last mark
	Heartbeat uint64          // heartbeat sequence of the last mark: everything committed before that heartbeat is searchable
	At        catalog.Instant // commit time of that heartbeat by the source's clock
	Frozen    string          // not empty: a gap was found; what is missing
	Version   Version         // orders watermarks: an older one never replaces a newer one
}

// Writer is the applying side. One goroutine per dataset and partition uses it; calls for different partitions run in
// parallel.
type Writer interface {
	// Ensure makes what the dataset needs, or checks what is there: a stored mapping that contradicts the dataset, or lacks a
	// text column, is fault.Unsafe. Idempotent.
	Ensure(ctx context.Context, d *catalog.Dataset) error
	// Apply writes documents of one dataset, one Outcome per document in order. The same id may occur several times: the
	// highest version wins. An error means that nothing is known about any item and that the batch must be applied again.
	// Durable when it returns. docs and their memory belong to the caller again after the return. A document whose After is
	// not the row's JSON, or whose key columns are not its Key, is Refused; so is one without After that is not Deleted, and one
	// with other columns than the dataset's whose row doesn't have the document's Hash.
	Apply(ctx context.Context, dataset string, docs []Document) ([]Outcome, error)
	// Refresh makes everything that this Index applied before the call visible to Search and Scan.
	Refresh(ctx context.Context, dataset string) error
	// PutWatermark stores w if its Version is higher than the stored one's; otherwise it does nothing and returns nil.
	PutWatermark(ctx context.Context, w Watermark) error
	// Sweep removes the tombstones of a dataset whose Version is below a bound, and returns how many. The caller answers for it
	// that no older image of them can come again. A document that lives, or that came back to life meanwhile, is never touched.
	// What Refresh has not made visible may stay for the next time; after an error some are gone and some are there.
	Sweep(ctx context.Context, dataset string, below Version) (int64, error)
}

// Order is one sort column.
type Order struct {
	Column string
	Desc   bool
}

// Search is one page wanted from the index. Tombstones are never in it.
type Search struct {
	Dataset string
	Shards  []string // physical names; only their documents; empty: none
	Filter  catalog.Filter
	Columns []string  // nil: all, in the dataset's order
	Order   []Order   // total: ends with the key columns. NULL sorts first ascending, last descending
	After   []*string // canonical texts of the Order columns of the last row seen; nil: from the start; a nil cell is NULL
	Limit   int       // rows wanted, 1 … MaxLimit
}

// MaxLimit bounds a page: its rows are in memory at once.
const MaxLimit = 10_000

// Check reports the first thing in s that no index can answer about the dataset: a limit out of bounds, After of another
// length than Order, columns that it doesn't have, an order that is not total, a bad filter. Errors: fault.Invalid.
func (s *Search) Check(d *catalog.Dataset) error {
	bad := func(format string, args ...any) error {
		return fault.New(fault.Invalid, "search "+s.Dataset, format, args...)
	}
	if s.Limit < 1 || s.Limit > MaxLimit {
		return bad("limit %d is not in 1 … %d", s.Limit, MaxLimit)
	}
	if s.After != nil && len(s.After) != len(s.Order) {
		return bad("%d cells to go on after, %d order columns", len(s.After), len(s.Order))
	}
	for _, name := range s.Columns {
		if d.Index(name) < 0 {
			return bad("no column %q", name)
		}
	}
	for _, o := range s.Order {
		if d.Index(o.Column) < 0 {
			return bad("no column %q to order by", o.Column)
		}
	}
	for _, k := range d.Key {
		if !slices.ContainsFunc(s.Order, func(o Order) bool { return o.Column == k }) {
			return bad("the order has no key column %s, so it is not total", k)
		}
	}
	return s.Filter.Check(d)
}

// Page is what a search found: whole or an error, never partly (law L7).
type Page struct {
	Rows []catalog.Row // cells in the order of Search.Columns
	More bool          // there is at least one more row after the last
}

// Stored is a document as the index has it, tombstones too.
type Stored struct {
	Shard   string
	Key     catalog.Key
	Version Version
	Hash    catalog.Hash
	Deleted bool
	Row     catalog.Row // all columns of the dataset, decoded from what is stored; empty for a tombstone without an image
	Foreign string      // with Scan: the id of a document that has no place among strata's; nothing but Shard and Version is set then
}

// Digest is a document without its row.
type Digest struct {
	Key     catalog.Key
	Version Version
	Hash    catalog.Hash // zero where somebody else wrote the document
	Deleted bool
	Foreign string // as Stored's
}

// Reader is the asking side, for any number of goroutines.
type Reader interface {
	// Watermarks returns one watermark per partition that ever had one, by partition.
	Watermarks(ctx context.Context, dataset string) ([]Watermark, error)
	// Search returns one page, or an error (fault.NotFound for an unknown dataset, fault.Invalid for a bad filter,
	// fault.Unavailable for a partial answer).
	Search(ctx context.Context, s Search) (Page, error)
	// Count returns how many documents, without tombstones, Search with these Shards and Filter would return in all.
	Count(ctx context.Context, s Search) (int64, error)
	// Get returns what is stored under the ids, tombstones too; ids that are not there are missing from the answer, whose
	// order is not defined. It may see what Search does not see yet.
	Get(ctx context.Context, dataset string, ids []string) ([]Stored, error)
	// Scan calls f for every document of one shard, tombstones too, ascending by the key columns as catalog.Compare orders
	// them (the order of a primary key), from the first key greater than after ("": from the start); it stops at the first
	// error of f and returns it. What f gets is valid until f returns. It sees one point in time, and what Search sees.
	// Foreign documents, which somebody else put there under ids of their own, come where their values place them.
	Scan(ctx context.Context, dataset, shard string, after catalog.Key, f func(*Stored) error) error
	// Digests is Scan without the rows, for whoever compares by hash: the same order and point in time, the same rules for f,
	// and several times as fast.
	Digests(ctx context.Context, dataset, shard string, after catalog.Key, f func(*Digest) error) error
	// Shards returns the physical names that have at least one document, sorted.
	Shards(ctx context.Context, dataset string) ([]string, error)
	// HighestTerm is the highest term of any watermark or document of any dataset; 0 if there is none.
	HighestTerm(ctx context.Context) (uint32, error)
}

// Index is both sides, with its end.
type Index interface {
	Writer
	Reader
	Close() error
}
