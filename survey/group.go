package survey

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"strata/catalog"
)

// group is the tables of one dataset.
type group struct {
	base   string
	scheme catalog.Scheme // empty: one table
	shards []*table       // by time
	late   []*table
}

// all are the tables of the group.
func (g *group) all() []*table { return append(slices.Clone(g.shards), g.late...) }

// model is the table whose columns count: the newest shard.
func (g *group) model() *table { return g.shards[len(g.shards)-1] }

// differing names the tables that don't look like the model.
func (g *group) differing() (out []string) {
	want := g.model().shape()
	for _, t := range g.all() {
		if t.shape() != want {
			out = append(out, t.name)
		}
	}
	return out
}

// otherKeys says why the shards can't be one dataset: a row is named by the same key in all of them.
func (g *group) otherKeys() string {
	for _, t := range g.all() {
		if m := g.model(); !slices.Equal(t.key, m.key) {
			return fmt.Sprintf("shard %s has the primary key (%s), %s has (%s): give all shards the same one", t.name, strings.Join(t.key, ", "), m.name,
				strings.Join(m.key, ", "))
		}
	}
	return ""
}

// dateOf reads a table's name as a shard's.
func dateOf(name string) (base string, from time.Time, digits int, ok bool) {
	at := strings.LastIndexByte(name, '_')
	if at < 1 {
		return "", from, 0, false
	}
	suffix := name[at+1:]
	layout := map[int]string{8: "20060102", 6: "200601", 4: "2006"}[len(suffix)]
	from, err := time.Parse(layout, suffix)
	if layout == "" || err != nil || from.Year() < 1990 || from.Year() > 2100 {
		return "", from, 0, false
	}
	return name[:at], from, len(suffix), true
}

// markDated tells of tables whose names have dates in another form than shards have: each of them is a dataset now.
func (s *Survey) markDated() {
	form := regexp.MustCompile(`^(.*?)_?(?:19|20)[0-9]{2}_?[0-9]{2}(?:_?[0-9]{2})?$`)
	alike := map[string][]int{}
	for i, f := range s.Found {
		if m := form.FindStringSubmatch(f.Spec.Table); m != nil && !f.Spec.Sharded() {
			alike[m[1]] = append(alike[m[1]], i)
		}
	}
	for base, list := range alike {
		if len(list) < 2 {
			continue
		}
		for _, i := range list {
			s.Found[i].Check = append(s.Found[i].Check, fmt.Sprintf("its name looks like one of %d time shards, in a form that strata doesn't know: they would be one dataset as "+
				"%[2]s_202601 (month), %[2]s_20260105 (day or week) or %[2]s_2026 (year), and are one each as they are", len(list), cmp.Or(base, "name")))
		}
	}
}

// groups puts tables together, by base name; what can't be put anywhere goes to the survey's refused.
func groups(tables []*table, s *Survey) []*group {
	plain, byBase := map[string]*table{}, map[string]*group{}
	for _, t := range tables {
		if base, _, _, ok := dateOf(t.name); ok {
			if byBase[base] == nil {
				byBase[base] = &group{base: base}
			}
			byBase[base].shards = append(byBase[base].shards, t)
			continue
		}
		plain[t.name] = t
	}
	refuse := func(reason string, list ...*table) {
		for _, t := range list {
			s.Refused = append(s.Refused, Refused{Table: t.name, Reason: reason})
		}
	}
	var out []*group
	for base, g := range byBase {
		if p := plain[base]; p != nil && len(g.shards) == 1 {
			plain[g.shards[0].name] = g.shards[0] // a copy of the plain one
			continue
		} else if p != nil {
			refuse(fmt.Sprintf("it has the plain name of %d shards such as %s, and no dataset can have both: rename it", len(g.shards), g.shards[0].name), p)
			delete(plain, base)
		}
		reason := g.order()
		if reason == "" {
			reason = s.refusedShard(g)
		}
		if reason != "" {
			refuse(reason, g.shards...)
			continue
		}
		out = append(out, g)
	}
	for _, t := range tables {
		base, _, ok := strings.Cut(t.name, "_late_")
		if g := byBase[base]; ok && g != nil && len(g.scheme) > 0 {
			if _, is := (&catalog.Dataset{Name: "x", Table: base, Scheme: g.scheme}).ShardOf(t.name); is {
				g.late = append(g.late, t)
				delete(plain, t.name)
			}
		}
	}
	for _, t := range plain {
		out = append(out, &group{base: t.name, shards: []*table{t}})
	}
	slices.SortFunc(out, func(a, b *group) int { return strings.Compare(a.base, b.base) })
	return out
}

// refusedShard says which table that can't be taken is a shard of the group by its name: the dataset would claim it all the
// same.
func (s *Survey) refusedShard(g *group) string {
	d := catalog.Dataset{Name: "x", Table: g.base, Scheme: g.scheme}
	for _, r := range s.Refused {
		if _, is := d.ShardOf(r.Table); is && r.unfit {
			return fmt.Sprintf("shard %s can't be taken (%s), and a dataset can't leave out one of its shards", r.Table, r.Reason)
		}
	}
	return ""
}

// order sorts the shards by time and finds their scheme; a reason says why there is none.
func (g *group) order() string {
	type dated struct {
		t      *table
		from   time.Time
		digits int
	}
	list := make([]dated, len(g.shards))
	mondays := true
	days := 0
	for i, t := range g.shards {
		_, from, digits, _ := dateOf(t.name)
		list[i] = dated{t, from, digits}
		if digits == 8 {
			days++
			mondays = mondays && from.Weekday() == time.Monday
		}
	}
	// At one instant the coarser one comes first, so that it is seen to overlap.
	slices.SortFunc(list, func(a, b dated) int {
		if c := a.from.Compare(b.from); c != 0 {
			return c
		}
		return a.digits - b.digits
	})
	fine := catalog.Daily
	if mondays && days > 1 {
		fine = catalog.Weekly
	}
	interval := map[int]catalog.Interval{4: catalog.Yearly, 6: catalog.Monthly, 8: fine}
	var scheme catalog.Scheme
	for i, e := range list {
		g.shards[i] = e.t
		v := interval[e.digits]
		switch {
		case len(scheme) == 0:
			scheme = catalog.Scheme{{From: catalog.MinInstant, Interval: v}}
		case scheme[len(scheme)-1].Interval != v:
			scheme = append(scheme, catalog.Step{From: catalog.At(e.from), Interval: v})
		}
	}
	if err := scheme.Validate(); err != nil {
		return "the names of its shards don't follow one another: " + err.Error()
	}
	d := catalog.Dataset{Name: "x", Table: g.base, Scheme: scheme}
	for _, t := range g.shards {
		if _, ok := d.ShardOf(t.name); !ok {
			return fmt.Sprintf("%s does not fit between the other shards of %s", t.name, g.base)
		}
	}
	if len(g.base) > 48 {
		return "its name is not letters, digits and underscores, at most 48"
	}
	g.scheme = scheme
	return ""
}
