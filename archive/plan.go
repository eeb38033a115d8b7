package archive

import (
	"fmt"
	"strings"
	"text/tabwriter"
	"time"
)

// Action says what Run does with a planned table.
type Action string

// The actions. Begin a move; Resume one that was begun; Abort one that was begun and can't be finished any more.
const (
	Begin  Action = "move"
	Resume Action = "resume"
	Abort  Action = "abort"
)

// Move is one table of a plan.
type Move struct {
	Dataset string    `json:"dataset"`
	Shard   string    `json:"shard"`
	From    string    `json:"from"`
	To      string    `json:"to"`
	Segment SegmentID `json:"segment"`
	Action  Action    `json:"action"`
	Stage   string    `json:"stage"` // where it stands now
	Rows    int64     `json:"rows"`  // the server's estimate
	Bytes   int64     `json:"bytes"` // the server's estimate, with indexes
	Reason  string    `json:"reason,omitempty"`
}

// Refusal is a table that stays, and why.
type Refusal struct {
	Dataset string `json:"dataset"`
	Shard   string `json:"shard"`
	Reason  string `json:"reason"`
}

// Plan is what Run would do now.
type Plan struct {
	At        time.Time `json:"at"`
	Moves     []Move    `json:"moves"` // in the order in which they run
	Unmovable []Refusal `json:"unmovable"`
	Young     int       `json:"young"` // shards that have not reached the policy's age
	Archived  int       `json:"archived"`
}

// Empty reports whether Run would do nothing.
func (p *Plan) Empty() bool { return len(p.Moves) == 0 }

// Rows is the estimate of all rows to move.
func (p *Plan) Rows() int64 {
	var n int64
	for _, m := range p.Moves {
		n += m.Rows
	}
	return n
}

// String is the plan as people read it.
func (p *Plan) String() string {
	var b strings.Builder
	if p.Empty() {
		b.WriteString("nothing to move\n")
	} else {
		w := tabwriter.NewWriter(&b, 0, 8, 2, ' ', 0)
		fmt.Fprintln(w, "action\tshard\trange\trows (estimate)\tsize\tsegment\tnow")
		for _, m := range p.Moves {
			fmt.Fprintf(w, "%s\t%s\t%s..%s\t%d\t%s\t%s\t%s\n", m.Action, m.Shard, m.From, m.To, m.Rows, size(m.Bytes), m.Segment, m.Stage)
		}
		_ = w.Flush()
		for _, m := range p.Moves {
			if m.Reason != "" {
				fmt.Fprintf(&b, "%s %s: %s\n", m.Action, m.Shard, m.Reason)
			}
		}
	}
	for _, r := range p.Unmovable {
		fmt.Fprintf(&b, "stays: %s: %s\n", r.Shard, r.Reason)
	}
	fmt.Fprintf(&b, "%d shards are too young, %d are archived already\n", p.Young, p.Archived)
	return b.String()
}

// size prints bytes in binary units.
func size(n int64) string {
	units := []string{"B", "KiB", "MiB", "GiB", "TiB"}
	f, i := float64(n), 0
	for f >= 1024 && i < len(units)-1 {
		f, i = f/1024, i+1
	}
	if i == 0 {
		return fmt.Sprintf("%d B", n)
	}
	return fmt.Sprintf("%.1f %s", f, units[i])
}
