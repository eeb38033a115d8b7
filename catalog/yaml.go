package catalog

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"

	"strata/fault"
)

// defaultPartitions is the number of Kafka partitions of a dataset that declares none.
const defaultPartitions = 4

// maxPartitions bounds what a dataset may ask for: each costs a goroutine and a watermark.
const maxPartitions = 256

// Spec is a dataset as its owner declares it in YAML; what the server knows better (columns, the key) is read from it by
// db.Resolve. A Spec is good when CheckSpecs says so.
type Spec struct {
	// Name of the dataset: a to z, digits, underscore, a letter first, at most 40 characters.
	Name string `yaml:"name"`
	// Table is the physical base name in the live schema. Defaults to Name.
	Table string `yaml:"table,omitempty"`
	// Key may repeat the primary key's columns, in its order; it is refused where it is not the primary key. Empty: the
	// primary key.
	Key []string `yaml:"key,omitempty,flow"`
	// Time is the time column of a sharded dataset; empty for an unsharded one.
	Time string `yaml:"time,omitempty"`
	// Shards is day, week, month or year, or a list of {from: 2024-01-01, interval: month}; empty: unsharded.
	Shards Scheme `yaml:"shards,omitempty"`
	// Account is the account column; empty for none.
	Account string `yaml:"account,omitempty"`
	// Money names the columns of minor units and their units.
	Money []Money `yaml:"money,omitempty"`
	// Text names the character columns whose words the index finds.
	Text []string `yaml:"text,omitempty,flow"`
	// TerminalWhen is an SQL condition; rows for which it is not true are not moved. Empty: every row may be moved.
	TerminalWhen string `yaml:"terminal_when,omitempty"`
	// Partitions of the Kafka topic, fixed for its life. 0: 4.
	Partitions int32 `yaml:"partitions,omitempty"`
	// RowsGone is keep or stop: what capture does when TRUNCATE or DROP takes a shard's rows away. Empty: keep.
	RowsGone GoneRule `yaml:"rows_gone,omitempty"`
	// Cascades is refuse or accept: what capture does where a foreign key changes the table's rows without row events. Empty:
	// refuse.
	Cascades CascadeRule `yaml:"cascades,omitempty"`
	// Masks hide columns from everything behind the capture.
	Masks []MaskSpec `yaml:"masks,omitempty"`
}

// stepText is one step of a scheme as it is written.
type stepText struct {
	From     yamlDay  `yaml:"from,omitempty"`
	Interval Interval `yaml:"interval"`
}

// yamlDay is the From of a step: a date, or nothing for the first step.
type yamlDay struct{ at *Instant }

// yamlList tells a list from everything else.
type yamlList bool

// UnmarshalYAML is part of goccy/go-yaml's NodeUnmarshaler.
func (l *yamlList) UnmarshalYAML(n ast.Node) error {
	_, list := n.(*ast.SequenceNode)
	*l = yamlList(list)
	return nil
}

// UnmarshalYAML reads a date such as 2024-01-01.
func (y *yamlDay) UnmarshalYAML(n ast.Node) error {
	t, err := time.Parse(time.DateOnly, n.GetToken().Value)
	if err != nil {
		return yamlErrorAt(n, "from %q is not a date such as 2024-01-01", n.GetToken().Value)
	}
	at := At(t)
	y.at = &at
	return nil
}

// MarshalYAML writes what UnmarshalYAML reads.
func (y yamlDay) MarshalYAML() (any, error) {
	if y.at == nil {
		return nil, nil
	}
	return y.at.String(), nil
}

// IsZero keeps a From that is not there out of the text.
func (y yamlDay) IsZero() bool { return y.at == nil }

// UnmarshalYAML reads an interval's name.
func (v *Interval) UnmarshalYAML(n ast.Node) error {
	got, err := ParseInterval(n.GetToken().Value)
	if err != nil {
		return yamlErrorAt(n, "%q is not day, week, month or year", n.GetToken().Value)
	}
	*v = got
	return nil
}

// MarshalYAML writes the interval's name.
func (v Interval) MarshalYAML() (any, error) { return v.String(), nil }

// yamlErrorAt is an error with the line of n.
func yamlErrorAt(n ast.Node, format string, args ...any) error {
	return &yaml.SyntaxError{Message: fmt.Sprintf(format, args...), Token: n.GetToken()}
}

// UnmarshalYAML reads a scheme: the name of an interval, or a list of steps.
func (s *Scheme) UnmarshalYAML(unmarshal func(any) error) error {
	var list yamlList
	if err := unmarshal(&list); err != nil {
		return err
	}
	if !list {
		var v Interval
		err := unmarshal(&v)
		*s = Scheme{{From: MinInstant, Interval: v}}
		return err
	}
	var steps []stepText
	if err := unmarshal(&steps); err != nil {
		return err
	}
	*s = make(Scheme, len(steps))
	for i, st := range steps {
		(*s)[i] = Step{From: MinInstant, Interval: st.Interval}
		if st.From.at != nil {
			(*s)[i].From = *st.From.at
		}
	}
	return nil
}

// MarshalYAML writes what UnmarshalYAML reads.
func (s Scheme) MarshalYAML() (any, error) {
	if len(s) == 1 && s[0].From == MinInstant {
		return s[0].Interval.String(), nil
	}
	steps := make([]stepText, len(s))
	for i, st := range s {
		steps[i].Interval = st.Interval
		if st.From != MinInstant {
			steps[i].From.at = &st.From
		}
	}
	return steps, nil
}

// WithDefaults returns the spec with its empty fields filled in.
func (s Spec) WithDefaults() Spec {
	if s.Table == "" {
		s.Table = s.Name
	}
	if s.Partitions == 0 {
		s.Partitions = defaultPartitions
	}
	return s
}

// Sharded reports whether the declared dataset has time shards.
func (s Spec) Sharded() bool { return len(s.Shards) > 0 }

// skeleton is the dataset as far as the spec alone knows it: enough to recognise its tables.
func (s Spec) skeleton() *Dataset {
	s = s.WithDefaults()
	return &Dataset{Name: s.Name, Table: s.Table, Time: s.Time, Scheme: s.Shards}
}

// ParseSpecs reads a YAML document whose only top-level key is `datasets`, a list. Unknown keys are refused. file is the
// name for messages, which read "file:line: what". The specs come back checked and with defaults. Errors: fault.Invalid,
// all problems joined as far as they can be told apart.
func ParseSpecs(src []byte, file string) ([]Spec, error) {
	var doc struct {
		Datasets []Spec `yaml:"datasets"`
	}
	if err := yaml.NewDecoder(bytes.NewReader(src), yaml.Strict()).Decode(&doc); err != nil {
		return nil, fault.Wrap(fault.Invalid, "parse datasets", YAMLError(file, err))
	}
	for i := range doc.Datasets {
		doc.Datasets[i] = doc.Datasets[i].WithDefaults()
	}
	if err := CheckSpecs(doc.Datasets); err != nil {
		return nil, fault.Wrap(fault.Invalid, "check datasets "+file, err)
	}
	return doc.Datasets, nil
}

// YAMLError turns an error of the YAML decoder into one line "file:line: what", where the decoder knows the line.
func YAMLError(file string, err error) error {
	var at yaml.Error
	if !errors.As(err, &at) || at.GetToken() == nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	return fmt.Errorf("%s:%d: %s", file, at.GetToken().Position.Line, at.GetMessage())
}

// CheckSpecs reports everything that is wrong with the specs themselves and between them, joined, or nil: bad names,
// duplicates, schemes that cut a shard, two datasets that claim one table. Errors: fault.Invalid.
func CheckSpecs(specs []Spec) error {
	var errs []error
	names := map[string]bool{}
	for _, s := range specs {
		errs = append(errs, s.check()...)
		if names[s.Name] {
			errs = append(errs, fault.New(fault.Invalid, "check dataset "+s.Name, "the name is used twice"))
		}
		names[s.Name] = true
	}
	near := neighbours{full: map[string][]int{}, cut: map[string][]int{}}
	for i := range specs {
		for _, j := range near.of(specs[i]) {
			if t := claimed(specs[j], specs[i]); t != "" && specs[i].Name != specs[j].Name {
				errs = append(errs, fault.New(fault.Invalid, "check dataset "+specs[i].Name, "datasets %s and %s both claim table %s",
					specs[j].Name, specs[i].Name, t))
			}
		}
		near.add(specs[i], i)
	}
	return errors.Join(errs...)
}

// neighbours finds the specs that could claim a table of another one without a look at every pair: one's table is the
// other's, or the other's without its last part.
type neighbours struct{ full, cut map[string][]int }

func (n neighbours) add(s Spec, i int) {
	t := s.WithDefaults().Table
	n.full[t] = append(n.full[t], i)
	for _, base := range bases(t) {
		n.cut[base] = append(n.cut[base], i)
	}
}

// of are the places of those that were added and are near, ascending.
func (n neighbours) of(s Spec) []int {
	t := s.WithDefaults().Table
	out := slices.Concat(n.full[t], n.cut[t])
	for _, base := range bases(t) {
		out = append(out, n.full[base]...)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// bases are the tables whose shard could be named t.
func bases(t string) (out []string) {
	if i := strings.LastIndexByte(t, '_'); i > 0 {
		out = append(out, t[:i])
		if base, late := strings.CutSuffix(t[:i], "_late"); late {
			out = append(out, base)
		}
	}
	return out
}

// claimed returns a table that both specs would take for theirs, or "".
func claimed(a, b Spec) string {
	da, db := a.skeleton(), b.skeleton()
	switch {
	case da.Table == db.Table:
		return da.Table
	case da.Sharded() && !db.Sharded():
		if _, ok := da.ShardOf(db.Table); ok {
			return db.Table
		}
	case !da.Sharded() && db.Sharded():
		if _, ok := db.ShardOf(da.Table); ok {
			return da.Table
		}
	case da.Sharded() && db.Sharded():
		// x_late and x: the shards of x_late are x_late_2026…, which x takes for late shards.
		if late, ok := strings.CutPrefix(db.Table, da.Table); ok && late == "_late" {
			return db.Table + "_…"
		}
		if late, ok := strings.CutPrefix(da.Table, db.Table); ok && late == "_late" {
			return da.Table + "_…"
		}
	}
	return ""
}

func (s Spec) check() []error {
	var errs []error
	bad := func(format string, args ...any) {
		errs = append(errs, fault.New(fault.Invalid, "check dataset "+s.Name, format, args...))
	}
	if !isName(s.Name) {
		bad("name %q is not a letter and then at most 39 letters, digits and underscores, all lower case", s.Name)
	}
	if t := s.WithDefaults().Table; !isTable(t) {
		bad("table %q is not letters, digits and underscores, at most 48", t)
	} else if strings.HasPrefix(t, "strata_") {
		bad("table %q: names that start with strata_ are strata's own", t)
	}
	if s.Sharded() && s.Time == "" {
		bad("shards without a time column")
	}
	if s.Time != "" && !s.Sharded() {
		bad("a time column without shards")
	}
	if err := s.Shards.Validate(); err != nil {
		errs = append(errs, fault.Wrap(fault.Invalid, "check dataset "+s.Name, err))
	}
	if s.Partitions < 0 || s.Partitions > maxPartitions {
		bad("%d partitions; 1 to %d are possible", s.Partitions, maxPartitions)
	}
	money := map[string]bool{}
	for _, m := range s.Money {
		switch {
		case m.Column == "":
			bad("a money entry without a column")
		case money[m.Column]:
			bad("money column %s is declared twice", m.Column)
		case (m.UnitColumn == "") == (m.Unit == ""):
			bad("money column %s needs either unit_column or unit", m.Column)
		}
		money[m.Column] = true
	}
	for i, name := range s.Text {
		switch {
		case name == "":
			bad("a text column without a name")
		case slices.Contains(s.Text[:i], name):
			bad("text column %s is declared twice", name)
		}
	}
	return append(errs, s.checkMasks()...)
}

func isName(s string) bool {
	return isTable(s) && len(s) <= 40 && s[0] >= 'a' && s[0] <= 'z' && strings.ToLower(s) == s
}

// isTable keeps physical names within MySQL's 64 characters with the longest suffix and an attempt's mark on them.
func isTable(s string) bool {
	other := func(r rune) bool {
		return r != '_' && (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z')
	}
	return len(s) >= 1 && len(s) <= 48 && !strings.ContainsFunc(s, other)
}
