package verify

import (
	"slices"
	"strings"
	"time"

	"strata/catalog"
	"strata/index"
)

// Report is what a comparison found.
type Report struct {
	OK       bool            `json:"ok"` // nothing differs any more, and every row was compared
	Datasets []DatasetReport `json:"datasets"`
}

// Side says of which side a sum was made.
type Side string

// The sides.
const (
	OfBoth   Side = "both"
	OfSource Side = "source"
)

// DatasetReport is one dataset's part.
type DatasetReport struct {
	Dataset string `json:"dataset"`
	OK      bool   `json:"ok"`
	Mode    Mode   `json:"mode"`
	// Position is the lowest heartbeat that the index had reached for a comparison: every row committed on live before it
	// was compared.
	Position    uint64       `json:"position"`
	Shards      int          `json:"shards"`
	Rows        int64        `json:"rows"`        // of the sources, each compared with its document
	Sampled     int64        `json:"sampled"`     // of these, compared cell by cell though the mode is fast
	Documents   int64        `json:"documents"`   // of the index, without tombstones
	Rechecked   int64        `json:"rechecked"`   // keys that differed at first sight and were read again
	Differences int64        `json:"differences"` // found; Findings lists the first 1,000
	Repaired    int64        `json:"repaired"`    // of these, equal by now through the leader
	Open        int64        `json:"open"`        // of these, still different
	Unsettled   int64        `json:"unsettled"`   // rows that changed at every look, so nothing can be said of them
	Letters     int64        `json:"letters"`     // open dead letters; each is a difference that no key stands for here
	Findings    []Difference `json:"findings,omitempty"`
	SumsOf      Side         `json:"sums_of"` // source: only its rows were read (fast)
	Sums        []UnitSum    `json:"sums,omitempty"`
}

// conclude says whether all is well.
func (r *DatasetReport) conclude() {
	r.OK = r.Open == 0 && r.Unsettled == 0 && r.Letters == 0 && !slices.ContainsFunc(r.Sums, func(s UnitSum) bool { return !s.OK })
}

// State is what became of a difference.
type State string

// The states. Open: it is still there. Repaired: the leader sent the row anew and the document is equal. Gone: it was found
// equal without the verifier's doing.
const (
	Open     State = "open"
	Repaired State = "repaired"
	Gone     State = "gone"
)

// Difference is one key where index and source disagree.
type Difference struct {
	Dataset string `json:"dataset"`
	Shard   string `json:"shard"`
	Key     string `json:"key"` // "%id:…": not a row's key, but the id of a document that isn't strata's
	What    string `json:"what"`
	Source  string `json:"source,omitempty"`
	Index   string `json:"index,omitempty"`
	State   State  `json:"state"`
	Hint    string `json:"hint,omitempty"` // what somebody has to do, where a repair can't
}

// Document is the id of the document that the difference is about where that is no row's.
func (d *Difference) Document() (id string, ok bool) { return strings.CutPrefix(d.Key, idMark) }

// Finding is a Difference as a Book keeps it.
type Finding struct {
	ID int64 `json:"id"`
	Difference
	Queued    bool      `json:"queued"` // its key was given to the leader
	Pass      int64     `json:"pass"`
	FoundAt   time.Time `json:"found_at"`
	SettledAt time.Time `json:"settled_at"` // when it was found equal; zero: not yet
}

// UnitSum is the sum of a money column in one unit, in minor units.
type UnitSum struct {
	Column string `json:"column"`
	Unit   string `json:"unit"`
	Source string `json:"source"`
	Index  string `json:"index,omitempty"` // "": not read
	OK     bool   `json:"ok"`
}

// diff is a key of which it is certain that both sides disagreed.
type diff struct {
	look
	Difference
	doc     *catalog.Row  // of the index at the last look; nil: none
	version index.Version // of the document, or of its tombstone, when the difference was found; 0: there was none
	resent  bool          // the leader has sent the row anew since
}
