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
func (g *group) statement(st canal.Statement, schema string) error {
	switch {
	case st.Verb == "SELECT" || st.Verb == "DO" || st.Verb == "CALL":
		// Servers write the call of a function that changes rows, and not what it changed.
		g.poisonAll(fault.New(fault.Unsafe, "read binlog", "%.200q is in the binlog as a statement, and may have changed any table", st.Text).WithHint(statementHint))
	case st.DML():
		return g.dml(st, schema)
	default:
		g.indirect = nil // it may have made a trigger or a view
		g.ddl(st, schema)
	}
	return nil
}

const statementHint = "somebody sets binlog_format in a session; take that right away, and load the dataset anew"

// dml stops the datasets whose tables a statement names, and all where it may have changed any table.
func (g *group) dml(st canal.Statement, schema string) error {
	tables := st.Tables()
	for i := range tables {
		t := &tables[i]
		if t.Schema == "" {
			t.Schema = schema
		}
		if t.Schema != g.s.schema {
			continue
		}
		if d := g.captured(t.Name); d != nil {
			g.poison(d, fault.New(fault.Unsafe, "read binlog", "%s on table %s is in the binlog as a statement, not as rows", st.Verb, t.Name).WithHint(statementHint))
		}
	}
	if g.chars == nil || g.chars.indirect == nil {
		return nil
	}
	if g.indirect == nil {
		var err error
		if g.indirect, err = g.chars.indirect(); err != nil {
			return err
		}
	}
	through := func(t canal.TableName) {
		g.poisonAll(fault.New(fault.Unsafe, "read binlog", "%s by way of %s.%s is in the binlog as a statement, and may have changed any table", st.Verb, t.Schema, t.Name).WithHint(statementHint))
	}
	for _, t := range tables {
		if g.indirect[t] == changesTables {
			through(t)
		}
	}
	for _, t := range st.Names() {
		if t.Schema == "" {
			t.Schema = schema
		}
		if g.indirect[t] == isFunction {
			through(t)
		}
	}
	return nil
}

func (g *group) poisonAll(err error) {
	for _, d := range g.s.cfg.Datasets {
		g.poison(d, err)
	}
}

func (g *group) ddl(st canal.Statement, schema string) {
	if made := st.Creates(); made.Name != "" {
		g.cascades(st, made, schema)
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
			g.rekeyed(d, a)
			g.cascades(st, a.Table, schema)
		}
	}
}

// rekeyed stops a dataset whose rows get other keys all at once, even where the columns have the names that they had: nothing
// would take them away under their old keys.
func (g *group) rekeyed(d *catalog.Dataset, a canal.Alteration) {
	if i := slices.IndexFunc(d.Key, func(k string) bool { return slices.Contains(a.Dropped, k) || slices.Contains(a.Added, k) }); i >= 0 {
		g.poison(d, fault.New(fault.Unsafe, "read binlog", "table %s has got another key column %s", a.Table.Name, d.Key[i]).
			WithHint("declare the dataset under another name, and load it anew"))
	}
}

// cascades stops the dataset of a table that gets a foreign key which changes its rows without row events.
func (g *group) cascades(st canal.Statement, t canal.TableName, schema string) {
	if t.Schema == "" {
		t.Schema = schema
	}
	if t.Schema != g.s.schema || g.chars != nil && g.chars.cascadesLogged || !st.Cascades() {
		return
	}
	if d := g.captured(t.Name); d != nil && d.Cascades != catalog.CascadeAccept {
		g.poison(d, fault.New(fault.Unsafe, "read binlog", "table %s has got a foreign key that changes its rows without row events", t.Name).WithHint(cascadeHint))
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
