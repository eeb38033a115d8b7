package router

import (
	"context"
	"time"

	"strata/catalog"
)

// Order is one sort column of a query.
type Order struct {
	Column string
	Desc   bool
}

// Func is an aggregate function.
type Func string

// The aggregate functions. Sum is for integer and DECIMAL columns and is exact; a sum of money columns must group by
// their unit column (law L8). Count counts rows.
const (
	Count Func = "count"
	Sum   Func = "sum"
)

// Aggregate is one computed column: Count of rows (Column "") or Sum of a column. Name is the output column's name.
type Aggregate struct {
	Func   Func
	Column string
	Name   string
}

// Freshness says how fresh and how firm an answer must be. The zero value is Any.
type Freshness struct {
	// Strong: one snapshot per mutable server, on its primary; the index is not asked.
	Strong bool
	// Bounded: sources may lag at most this long behind their primary; 0 means no bound.
	Bounded time.Duration
	// AtLeast: every source must have reached this heartbeat sequence of live (a write's or an earlier answer's
	// position); 0 means none.
	AtLeast uint64
	// Wait is how long a source that lags may be waited for before the query turns elsewhere or is refused; 0 means 2 s.
	Wait time.Duration
}

// Query is a question about one dataset, as data.
type Query struct {
	Dataset string
	Columns []string // nil: all columns in the dataset's order; not with Aggregates
	Filter  catalog.Filter
	// Order is completed with the key columns so that it is total. nil: by time column, then key.
	Order []Order
	// Limit is the number of rows of a page; 0 streams everything. At most 10,000 unless 0.
	Limit int
	// Cursor of an earlier Result of the same query: go on after its last row.
	Cursor string
	// Aggregates make the query an aggregation; GroupBy are its columns and its order.
	Aggregates []Aggregate
	GroupBy    []string
	Freshness  Freshness
	// Timeout of the whole query, on the servers too; 0 means the router's default.
	Timeout time.Duration
}

// Served is the proof part of an answer: where it came from and how fresh it is.
type Served struct {
	Sources  []ServedSource `json:"sources"`
	Complete bool           `json:"complete"`         // false never comes without Reason
	Reason   string         `json:"reason,omitempty"` // why it is not complete
	Replans  int            `json:"replans"`          // how often a moved range made the router plan again
	// Position is the lowest heartbeat sequence of live among the mutable sources: everything committed before that
	// heartbeat is in the answer. 0 if only archives were asked.
	Position uint64 `json:"position"`

	positioned bool
}

// ServedSource is one source's share of an answer.
type ServedSource struct {
	Source    string        `json:"source"` // "live", "archive", "index"
	Shards    []ServedShard `json:"shards"`
	Rows      int64         `json:"rows"`
	Heartbeat uint64        `json:"heartbeat"` // live's heartbeat sequence that this source had reached; 0: none
	LagMs     int64         `json:"lag_ms"`    // age of that heartbeat when the source was opened
	Why       string        `json:"why"`       // why this source was picked, in a few words
}

// ServedShard is one shard with the epoch under which it was read.
type ServedShard struct {
	Shard string `json:"shard"`
	Epoch uint64 `json:"epoch"`
}

// Rows is a stream of rows in the query's order.
type Rows interface {
	// Next returns the next row, valid until the next call, or io.EOF at the end of a complete answer. Any other error
	// means that the rows so far are not the whole answer. After an error or EOF it returns the same again.
	Next(ctx context.Context) (*catalog.Row, error)
	// Close ends the stream; an unfinished statement is killed on its server. Idempotent.
	Close() error
}

// Fetch is what one source is asked for: one leg of a plan.
type Fetch struct {
	Dataset  *catalog.Dataset
	Holdings []catalog.Holding // the shards of this leg, all of this source
	// Filter is the query's, canonical and simplified; a source may fold it for each holding.
	Filter  catalog.Filter
	Columns []string // wanted, in order; includes every Order column
	Order   []Order  // total
	// After: canonical texts of the Order columns of the last row that was emitted; nil: from the start; a nil cell NULL.
	After []*string
	// Limit: more rows than this are never taken; 0: no limit. A source may use it to fetch less.
	Limit int
	// Aggregates: then Columns are the GroupBy columns, each row ends with the aggregates' values (a sum of nothing is
	// NULL), and rows come in any order; a group may come several times, with parts of its values.
	Aggregates []Aggregate
	Freshness  Freshness
	Deadline   time.Time
}

// Opened is a source's answer to a Fetch.
type Opened struct {
	Rows      Rows
	Heartbeat uint64          // live's heartbeat sequence seen in the snapshot or watermark; 0: none
	At        catalog.Instant // its commit time
}

// Source is a place that can be asked: a store through MySQL, or the index.
type Source interface {
	// Name is "live", "archive", "index".
	Name() string
	// Open checks that every holding of f is this source's at exactly that epoch in the snapshot that the rows come from
	// (law L5) and that the freshness asked for is reached, and returns rows in f.Order. fault.Stale: the range moved or a
	// table changed; the router plans again. fault.Unavailable, fault.Timeout: this source can't answer now. The same
	// errors may come from Rows.Next later. Rows are never short without an error (law L7).
	Open(ctx context.Context, f Fetch) (Opened, error)
}

// Coster is a Source that can say how a fetch would be served; the planner asks it where it is there.
type Coster interface {
	// Cost estimates f without running it.
	Cost(ctx context.Context, f Fetch) (Cost, error)
}

// Cost is an estimate.
type Cost struct {
	Indexed bool  // an index of the table serves filter or order; false: every row of the shards would be read
	Rows    int64 // rows that would be read
	Why     string
}

// Viewer says who owns what; it is asked at the start of every plan.
type Viewer interface {
	View(ctx context.Context, d *catalog.Dataset) (*catalog.View, error)
}
