package verify

import (
	"context"
	"time"

	"strata/catalog"
	"strata/index"
)

// Book keeps what a Runner knows, for its successors and for operators, in the control database. Times are the database's
// where not said otherwise.
type Book interface {
	// Acquire takes the lease for a while, or renews it, and reports whether holder has it.
	Acquire(ctx context.Context, holder string, ttl time.Duration) (bool, error)
	// Release gives it back, where holder has it.
	Release(ctx context.Context, holder string) error
	// Load returns what was saved last, with Holder and SavedAt; the zero value before the first time.
	Load(ctx context.Context) (Progress, error)
	// Save stores the progress where holder is the last that got the lease, and reports whether it did.
	Save(ctx context.Context, holder string, p *Progress) (bool, error)
	// Found stores differences as open. One that is open already, by dataset, shard and key, keeps its FoundAt.
	Found(ctx context.Context, list []Finding) error
	// Settle stores State, SettledAt (now), What and Hint of findings that are open, by dataset, shard and key.
	Settle(ctx context.Context, list []Finding) error
	// Findings lists those of a dataset ("": all) in a state ("": all) with an ID above after, by ID.
	Findings(ctx context.Context, dataset string, state State, after int64, limit int) ([]Finding, error)
	// Counts counts by dataset: found, repaired and gone since then, and open now.
	Counts(ctx context.Context, since time.Time) (map[string]Counts, error)
	// PutReport stores a day's report (2006-01-02) in the place of an earlier one.
	PutReport(ctx context.Context, date string, body []byte, signature string) error
	// Report returns a day's report, "": the last one's; ok false where there is none.
	Report(ctx context.Context, date string) (body []byte, signature string, ok bool, err error)
}

// Counts are findings of one dataset.
type Counts struct {
	Found    int64 `json:"found"`
	Repaired int64 `json:"repaired"`
	Gone     int64 `json:"gone"`
	Open     int64 `json:"open"`
}

// Progress is how far the verifier is. A pass goes once over every dataset.
type Progress struct {
	Pass    int64     `json:"pass"` // from 1
	Mode    Mode      `json:"mode"`
	BeganAt time.Time `json:"began_at"`
	EndedAt time.Time `json:"ended_at"` // of this pass; zero: it goes on
	Now     string    `json:"now"`      // the dataset in work; "": none
	Held    string    `json:"held"`     // why the work waits at the moment; "": it doesn't
	// Rows of this pass that were compared, of about Total.
	Rows  int64 `json:"rows"`
	Total int64 `json:"total"`
	// Places are where the comparison of a dataset goes on that was begun in this pass.
	Places map[string]*Place `json:"places"`
	// Done are the datasets that this pass is through with.
	Done []string `json:"done"`
	// Skipped are the datasets that could not be compared, and are tried again.
	Skipped map[string]Skip `json:"skipped"`
	// Last is the last whole comparison of each dataset.
	Last map[string]Finished `json:"last"`
	// Bounds say how far each dataset was when; Swept what was removed.
	Bounds map[string][]Bound `json:"bounds"`
	Swept  map[string]Swept   `json:"swept"`
	// Holder is who saved this, SavedAt when.
	Holder  string    `json:"holder"`
	SavedAt time.Time `json:"saved_at"`
}

// Place is where the comparison of a dataset goes on.
type Place struct {
	Report DatasetReport `json:"report"` // of the shards before
	Past   []string      `json:"past"`   // the shards before
	Shard  string        `json:"shard"`  // in work; "": between two
	// Of that shard: the last key handled, and what was counted.
	After   catalog.Key `json:"after"`
	Lookups bool        `json:"lookups"`
	Sourced bool        `json:"sourced"`
	Scanned catalog.Key `json:"scanned"`
	Rows    int64       `json:"rows"`
	Docs    int64       `json:"documents"`
	Sums    []UnitSum   `json:"sums,omitempty"`
	// Total is how many rows the dataset has, about.
	Total int64 `json:"total"`
}

// Skip is why a dataset was passed over.
type Skip struct {
	At   time.Time `json:"at"`
	Why  string    `json:"why"`
	Hint string    `json:"hint,omitempty"`
}

// Finished is a whole comparison of a dataset.
type Finished struct {
	DatasetReport
	Pass int64     `json:"pass"`
	At   time.Time `json:"at"`
}

// Bound says that every version below Version was minted before At.
type Bound struct {
	At      time.Time     `json:"at"`
	Version index.Version `json:"version"`
}

// Swept is the last sweep of a dataset's tombstones.
type Swept struct {
	At      time.Time     `json:"at"`
	Below   index.Version `json:"below"`
	Removed int64         `json:"removed"`
	Why     string        `json:"why,omitempty"` // why nothing was swept
}

// fill makes the maps that are missing.
func (p *Progress) fill() {
	if p.Places == nil {
		p.Places = map[string]*Place{}
	}
	if p.Done == nil {
		p.Done = []string{}
	}
	if p.Skipped == nil {
		p.Skipped = map[string]Skip{}
	}
	if p.Last == nil {
		p.Last = map[string]Finished{}
	}
	if p.Bounds == nil {
		p.Bounds = map[string][]Bound{}
	}
	if p.Swept == nil {
		p.Swept = map[string]Swept{}
	}
}
