package canal

import (
	"slices"
	"strings"
)

// Alteration is what a statement may have done to one table, as far as row events don't tell it.
type Alteration struct {
	Table  TableName // an empty Name: every table of the schema
	What   string    // drop, truncate, rename, alter, replace, partition, repair, load
	Effect Effect
	// Added, Dropped are the names of columns that come and go; a column that is renamed does both.
	Added, Dropped []string
	// Typed are the columns that MODIFY and CHANGE give a type, under their new names.
	Typed []TypedColumn
	// KeyDropped: the primary key goes. Key are the columns of a new one.
	KeyDropped bool
	Key        []string
	Versioned  bool // it becomes system versioned
	// Rewrites says, for people, which part of the statement made the effect Rewritten; "" for the others.
	Rewrites string
}

// TypedColumn is a column as a clause defines it.
type TypedColumn struct {
	Name, Type       string // the first word of the type, in upper case
	Unsigned, Binary bool   // UNSIGNED or ZEROFILL; CHARACTER SET binary or BYTE
}

// ownMark is in the names that one attempt of the archiver gives to tables.
const ownMark = "__strata_"

// Alterations are the tables that a DDL statement names as its targets, each once, with what it did to them. A statement
// that does nothing to the rows of tables that exist, such as CREATE TABLE or DROP INDEX, has none. A target whose change
// isn't understood is Rewritten. The archiver's own renames are left out.
func (s Statement) Alterations() []Alteration {
	p := parser{words: s.words}
	var out []Alteration
	p.next()
	switch s.Verb {
	case "TRUNCATE":
		p.skip("TABLE")
		out = []Alteration{{Table: p.table(), What: "truncate", Effect: Gone}}
	case "DROP":
		out = p.drop()
	case "RENAME":
		if p.skip("TABLE") || p.skip("TABLES") {
			out = p.rename()
		}
	case "CREATE":
		out = p.create(s)
	case "ALTER":
		out = p.alter()
	case "REPAIR":
		p.skipAny("NO_WRITE_TO_BINLOG", "LOCAL")
		if p.skip("TABLE") || p.skip("TABLES") {
			out = p.list("repair", Rewritten)
		}
	}
	if s.odd {
		for i := range out {
			if out[i].What == "alter" && out[i].Effect == NoEffect {
				out[i].Effect, out[i].Rewrites = Rewritten, "a string with a backslash, or text that is not UTF-8, can't be read with certainty"
			}
		}
	}
	return merge(out)
}

// Creates is the table that a CREATE TABLE makes; the zero TableName for other statements.
func (s Statement) Creates() TableName {
	p := parser{words: s.words}
	if !p.skip("CREATE") {
		return TableName{}
	}
	p.skip("OR", "REPLACE")
	if !p.skip("TABLE") {
		return TableName{}
	}
	return p.table()
}

// merge puts what a statement did to the same table together.
func merge(in []Alteration) []Alteration {
	var out []Alteration
	for _, a := range in {
		if a.Table == (TableName{}) || strings.Contains(a.Table.Name, ownMark) {
			continue
		}
		i := slices.IndexFunc(out, func(o Alteration) bool { return o.Table == a.Table })
		if i < 0 {
			out = append(out, a)
			continue
		}
		if a.Effect > out[i].Effect {
			out[i].Effect, out[i].Rewrites, out[i].What = a.Effect, a.Rewrites, a.What
		}
		out[i].Added, out[i].Dropped = append(out[i].Added, a.Added...), append(out[i].Dropped, a.Dropped...)
		out[i].Typed, out[i].Key = append(out[i].Typed, a.Typed...), append(out[i].Key, a.Key...)
	}
	return out
}

// parser walks over the words of a DDL statement.
type parser struct {
	words []word
	at    int
}

func (p *parser) more() bool { return p.at < len(p.words) }

func (p *parser) next() word {
	if !p.more() {
		return word{}
	}
	p.at++
	return p.words[p.at-1]
}

// is reports whether these bare words or characters come next.
func (p *parser) is(words ...string) bool {
	for i, w := range words {
		if p.at+i >= len(p.words) || !p.words[p.at+i].is(w) {
			return false
		}
	}
	return true
}

// skip steps over the words if they come next, and reports whether they did.
func (p *parser) skip(words ...string) bool {
	if !p.is(words...) {
		return false
	}
	p.at += len(words)
	return true
}

// skipAny steps over every one of the words that come next.
func (p *parser) skipAny(words ...string) {
	for slices.ContainsFunc(words, func(w string) bool { return p.skip(w) }) {
	}
}

// wait steps over WAIT n and NOWAIT.
func (p *parser) wait() {
	if p.skip("WAIT") {
		p.next()
	}
	p.skip("NOWAIT")
}

func (p *parser) exists() {
	_ = p.skip("IF", "NOT", "EXISTS") || p.skip("IF", "EXISTS")
}

// table reads a table's name, with IF [NOT] EXISTS before it and WAIT behind it. No name: the zero TableName.
func (p *parser) table() TableName {
	p.exists()
	p.skip(".") // MySQL's .name
	if !p.more() || !p.words[p.at].name() {
		return TableName{}
	}
	t := TableName{Name: p.next().text}
	if p.skip(".") {
		t = TableName{t.Name, p.next().text}
	}
	p.wait()
	return t
}

// list reads tables separated by commas.
func (p *parser) list(what string, e Effect) []Alteration {
	var out []Alteration
	for {
		out = append(out, Alteration{Table: p.table(), What: what, Effect: e, Rewrites: rewrites(e, what)})
		if !p.skip(",") {
			return out
		}
	}
}

func rewrites(e Effect, why string) string {
	if e == Rewritten {
		return why
	}
	return ""
}

func (p *parser) drop() []Alteration {
	switch {
	case p.is("TEMPORARY"):
	case p.skip("TABLE"), p.skip("TABLES"):
		return p.list("drop", Gone)
	case p.skip("DATABASE"), p.skip("SCHEMA"):
		p.exists()
		return []Alteration{{Table: TableName{Schema: p.next().text}, What: "drop", Effect: Gone}}
	}
	return nil
}

// rename: what leaves a name is gone from it; what comes to a name was not captured under it.
func (p *parser) rename() []Alteration {
	var out []Alteration
	for {
		from := p.table()
		p.skip("TO")
		to := p.table()
		out = append(out, moved(from, to)...)
		if !p.skip(",") {
			return out
		}
	}
}

func moved(from, to TableName) []Alteration {
	if strings.Contains(from.Name, ownMark) || strings.Contains(to.Name, ownMark) {
		return nil
	}
	return []Alteration{{Table: from, What: "rename", Effect: Gone},
		{Table: to, What: "rename", Effect: Rewritten, Rewrites: "another table takes this name, with the rows that it has"}}
}

func (p *parser) create(s Statement) []Alteration {
	replaced := p.skip("OR", "REPLACE")
	if replaced && (p.skip("DATABASE") || p.skip("SCHEMA")) {
		return []Alteration{{Table: TableName{Schema: p.next().text}, What: "drop", Effect: Gone}}
	}
	if !p.skip("TABLE") {
		return nil // TEMPORARY too
	}
	t := p.table()
	if p.is("TABLE") || s.Has("SELECT") { // with rows format, servers log it without the query
		return []Alteration{{Table: t, What: "load", Effect: Rewritten, Rewrites: "the table was filled by the statement itself"}}
	}
	if replaced {
		return []Alteration{{Table: t, What: "replace", Effect: Gone}}
	}
	return nil
}

func (p *parser) alter() []Alteration {
	ignore := false
	for {
		if p.skip("IGNORE") {
			ignore = true
		} else if !p.skip("ONLINE") && !p.skip("OFFLINE") {
			break
		}
	}
	if !p.skip("TABLE") {
		return nil
	}
	a := Alteration{Table: p.table(), What: "alter"}
	if ignore {
		a.Effect, a.Rewrites = Rewritten, "IGNORE deletes rows that break a unique key"
	}
	var others []Alteration
	for first := true; p.more(); first = false {
		if !first {
			p.skip(",")
		}
		from := p.at
		e, what, also := p.clause(&a)
		if e == Rewritten && a.Effect != Rewritten {
			a.Rewrites = excerpt(p.words[from:])
		}
		if e > a.Effect {
			a.Effect = e
		}
		if what != "" {
			a.What = what
		}
		others = append(others, also...)
		if p.at == from {
			p.next()
		}
	}
	return append([]Alteration{a}, others...)
}

// excerpt is the first words of a clause.
func excerpt(words []word) string {
	var b strings.Builder
	for i, w := range words {
		if w.is(",") || i == 8 {
			break
		}
		if i > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(w.text)
	}
	return b.String()
}
