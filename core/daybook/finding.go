package daybook

import "strings"

// maxNamed bounds the findings that are named per section; the others are counted.
const maxNamed = 100

// Finding is one thing that is not as the entries say. Column is "" where it is the whole row: then Want or Got is "" for a
// row that should not be there, or is missing.
type Finding struct {
	Section string `json:"section,omitempty"`
	Table   string `json:"table"` // the dataset or side table, not the shard
	Key     string `json:"key"`   // the cells of its primary key, joined by commas
	Column  string `json:"column,omitempty"`
	Want    string `json:"want"`
	Got     string `json:"got"`
	Text    string `json:"text,omitempty"` // why, for people
}

// String is the finding as one line.
func (f Finding) String() string {
	var b strings.Builder
	b.WriteString(f.Table + " " + f.Key)
	if f.Column != "" {
		b.WriteString(" " + f.Column)
	}
	orNone := func(s string) string {
		if s == "" {
			return "nothing"
		}
		return s
	}
	b.WriteString(": " + orNone(f.Got) + " instead of " + orNone(f.Want))
	if f.Text != "" {
		b.WriteString(" (" + f.Text + ")")
	}
	return b.String()
}
