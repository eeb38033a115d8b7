package survey

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"strata/catalog"
	"strata/db"
	"strata/fault"
)

// Survey is what was found in a schema.
type Survey struct {
	Schema  string
	Server  string // its version
	Tables  int    // base tables looked at
	Found   []Found
	Refused []Refused
}

// Found is a dataset as it could be declared.
type Found struct {
	Spec   catalog.Spec
	Tables []string // physical, in the order of their time
	Rows   int64    // the server's estimate
	// About are sentences on the dataset as a whole; Why is, by key of its YAML, why the value was chosen.
	About []string
	Why   map[string]string
	// Check are sentences on what a person should look at.
	Check []string
	// Open are lines of YAML that a person may complete, each with a remark.
	Open []Line
}

// Line is a line of YAML and a remark on it.
type Line struct{ Text, Remark string }

// Refused is a table that can't be a dataset.
type Refused struct {
	Table  string `json:"table"`
	Reason string `json:"reason"`

	unfit bool // by itself, whatever is beside it
}

const (
	manyRows     = 100_000_000 // from here on a topic gets more partitions than the default
	probedShards = 12
)

// Read looks at the schema of d, a Reader. Errors: those of the server; a table that can't be taken is none.
func Read(ctx context.Context, d *db.DB) (*Survey, error) {
	tables, err := read(ctx, d)
	if err != nil {
		return nil, err
	}
	s := &Survey{Schema: d.Schema(), Server: d.Flavor().String() + " " + d.Version(), Tables: len(tables)}
	s.refuse(&tables)
	names := map[string]bool{}
	for _, g := range groups(tables, s) {
		f, reason, err := g.dataset(ctx, d)
		if err == nil && reason != "" && len(g.scheme) > 0 && len(g.all()) == 1 {
			alone := &group{base: g.model().name, shards: g.shards}
			if f, reason, err = alone.dataset(ctx, d); reason == "" {
				g = alone
				f.About = append(f.About, "its name ends like a shard's, but no column has times of that range: taken as one table")
			}
		}
		if err != nil {
			return nil, err
		}
		if reason != "" {
			for _, t := range g.all() {
				s.Refused = append(s.Refused, Refused{Table: t.name, Reason: reason})
			}
			continue
		}
		f.Spec.Name = uniqueName(g.base, names)
		s.Found = append(s.Found, f)
	}
	s.markDated()
	slices.SortFunc(s.Refused, func(a, b Refused) int { return strings.Compare(a.Table, b.Table) })
	return s, s.disjoint()
}

// refuse takes out the tables that can't be read as strata reads.
func (s *Survey) refuse(tables *[]*table) {
	*tables = slices.DeleteFunc(*tables, func(t *table) bool {
		reason := t.unfit()
		if reason != "" {
			s.Refused = append(s.Refused, Refused{t.name, reason, true})
		}
		return reason != ""
	})
}

// disjoint takes out what claims another's tables, so that the whole is a configuration.
func (s *Survey) disjoint() error {
	all := make([]catalog.Spec, len(s.Found))
	for i, f := range s.Found {
		all[i] = f.Spec
	}
	if catalog.CheckSpecs(all) == nil {
		return nil // as nearly always: what follows is for the few that are wrong
	}
	for i := 0; i < len(s.Found); i++ {
		specs := make([]catalog.Spec, 0, i+1)
		for _, f := range s.Found[:i+1] {
			specs = append(specs, f.Spec)
		}
		err := catalog.CheckSpecs(specs)
		if err == nil {
			continue
		}
		if !fault.Is(err, fault.Invalid) {
			return err
		}
		for _, t := range s.Found[i].Tables {
			s.Refused = append(s.Refused, Refused{Table: t, Reason: err.Error()})
		}
		s.Found = slices.Delete(s.Found, i, i+1)
		i--
	}
	return nil
}

// dataset makes the best of a group; a reason says why it can't be a dataset.
func (g *group) dataset(ctx context.Context, d *db.DB) (f Found, reason string, err error) {
	t := g.model()
	if _, _, err := db.Describe(ctx, d, t.name); err != nil {
		if fault.Is(err, fault.Invalid) {
			return f, err.Error(), nil
		}
		return f, "", err
	}
	f = Found{Why: map[string]string{}, Spec: catalog.Spec{Table: g.base, Key: t.key, Shards: g.scheme, Partitions: 4}}
	for _, t := range g.all() {
		f.Tables = append(f.Tables, t.name)
		f.Rows += t.rows
	}
	if f.Rows >= manyRows {
		f.Spec.Partitions = 8
	}
	f.Why["partitions"] = "of the Kafka topic, fixed for its life"
	f.Why["key"] = "the primary key"
	if reason := g.otherKeys(); reason != "" {
		return f, reason, nil
	}
	if len(g.scheme) > 0 {
		if reason, err = g.chooseTime(ctx, d, &f); reason != "" || err != nil {
			return f, reason, err
		}
		g.describeShards(&f)
	}
	t.chooseMoney(&f)
	t.chooseAccount(&f)
	t.guessStates(&f)
	t.suggestText(&f)
	t.remark(&f)
	return f, "", nil
}

// describeShards says what was recognised.
func (g *group) describeShards(f *Found) {
	switch first, last := g.shards[0].name, g.shards[len(g.shards)-1].name; len(g.shards) {
	case 1:
		f.Why["shards"] = "by the name of its only shard, " + first
		f.Check = append(f.Check, "only one shard is there: is "+first+" one of a series, or a copy?")
	default:
		f.Why["shards"] = fmt.Sprintf("by the names of %d shards, %s to %s", len(g.shards), first, last)
	}
	if len(g.late) > 0 {
		names := make([]string, len(g.late))
		for i, t := range g.late {
			names[i] = t.name
		}
		f.About = append(f.About, "rows that came late are in "+some(names))
	}
	if odd := g.differing(); len(odd) > 0 {
		f.Check = append(f.Check, "other columns or another key than "+g.model().name+": "+some(odd))
	}
}

// some names up to four of a list.
func some(names []string) string {
	if len(names) <= 4 {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:4], ", "), len(names)-4)
}

// uniqueName is a dataset's name after a table's: lower case, a letter first, at most 40 characters, not taken yet.
func uniqueName(table string, taken map[string]bool) string {
	name := strings.ToLower(table)
	if name[0] < 'a' || name[0] > 'z' {
		name = "t_" + strings.TrimLeft(name, "_")
	}
	name = name[:min(len(name), 40)]
	first := name
	for n := 2; taken[name]; n++ {
		suffix := fmt.Sprintf("_%d", n)
		name = first[:min(len(first), 40-len(suffix))] + suffix
	}
	taken[name] = true
	return name
}
