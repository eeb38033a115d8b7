package binlog

import (
	"slices"
	"strings"

	"strata/canal"
	"strata/catalog"
	"strata/fault"
)

// statementBytes is how much of a statement an alarm carries.
const statementBytes = 200

// statement looks at DDL and DML text for captured tables: DML poisons their datasets, DDL alarms.
func (g *group) statement(st canal.Statement, schema string) {
	if st.DML() {
		for _, t := range st.Tables() {
			if t.Schema != "" && t.Schema != g.s.schema || t.Schema == "" && schema != g.s.schema {
				continue
			}
			if d := g.captured(t.Name); d != nil {
				g.poison(d, fault.New(fault.Unsafe, "read binlog", "%s on table %s is in the binlog as a statement, not as rows", st.Verb, t.Name).
					WithHint("somebody sets binlog_format in a session; take that right away, and load the dataset anew"))
			}
		}
		return
	}
	for _, a := range st.Alterations() {
		if a.Table.Schema == "" {
			a.Table.Schema = schema
		}
		if a.Table.Schema != g.s.schema {
			continue
		}
		if a.Table.Name == "" {
			for _, d := range g.s.cfg.Datasets {
				g.alarm(d, a, st.Text)
			}
		} else if d := g.captured(a.Table.Name); d != nil {
			g.alarm(d, a, st.Text)
		}
	}
}

// alarm tells of a captured table. A column that comes to a name which the dataset has, new or renamed, has other values
// from now on in all rows.
func (g *group) alarm(d *catalog.Dataset, a canal.Alteration, text string) {
	if a.Effect == canal.NoEffect && slices.ContainsFunc(a.Added, func(c string) bool { return d.Index(c) >= 0 }) {
		a.Effect = canal.Rewritten
	}
	if len(text) > statementBytes {
		text = strings.ToValidUTF8(text[:statementBytes], "")
	}
	g.x.Alarms = append(g.x.Alarms, canal.Alarm{Dataset: d.Name, Table: a.Table.Name, What: a.What, Effect: a.Effect, Statement: strings.ToValidUTF8(text, "�")})
}
