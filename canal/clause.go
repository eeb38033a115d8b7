package canal

import "slices"

// clause reads one clause of an ALTER TABLE up to its comma: what it does to the rows, how the alteration is called if not
// "alter", and which other tables it touches. What it doesn't know is Rewritten.
func (p *parser) clause(a *Alteration) (e Effect, what string, others []Alteration) {
	if e, others, ok := p.partition(); ok {
		p.at = len(p.words) // it is the last one, and has commas of its own
		return e, "partition", others
	}
	switch {
	case p.skip("ADD"):
		e = p.add(a)
	case p.skip("DROP"):
		e = p.dropClause(a)
	case p.skip("RENAME"):
		return p.renameClause(a)
	case p.skip("ALTER"):
		e = p.alterClause()
	case p.skip("CHANGE"):
		p.skip("COLUMN")
		p.exists()
		from, to := p.next().text, p.next().text
		if from != to {
			a.Dropped, a.Added = append(a.Dropped, from), append(a.Added, to)
		}
		a.Typed = append(a.Typed, p.typed(to))
		e = Rewritten // it has a new type, and the old one isn't known here
	case p.skip("MODIFY"):
		p.skip("COLUMN")
		p.exists()
		a.Typed = append(a.Typed, p.typed(p.next().text))
		e = Rewritten
	case p.skip("DISCARD", "TABLESPACE"):
		e = Gone
	case p.skip("FORCE"), p.skip("ORDER", "BY"), p.skip("ENABLE", "KEYS"), p.skip("DISABLE", "KEYS"), p.is("WAIT"), p.is("NOWAIT"),
		p.skip("WITH", "VALIDATION"), p.skip("WITHOUT", "VALIDATION"):
	default:
		return p.options(), "", nil
	}
	p.rest()
	return e, "", nil
}

// rest steps to the comma that ends the clause, past those in parentheses.
func (p *parser) rest() {
	for depth := 0; p.more(); p.at++ {
		switch {
		case p.is("("):
			depth++
		case p.is(")"):
			depth--
		case p.is(",") && depth <= 0:
			return
		}
	}
}

// typed reads a type and what follows it in the clause.
func (p *parser) typed(name string) TypedColumn {
	from := p.at
	p.rest()
	c := TypedColumn{Name: name}
	for i, w := range p.words[from:p.at] {
		switch {
		case i == 0:
			c.Type = w.upper
		case w.upper == "UNSIGNED" || w.upper == "ZEROFILL":
			c.Unsigned = true
		case w.upper == "BYTE", w.upper == "BINARY" && p.words[from+i-1].upper == "SET":
			c.Binary = true
		}
	}
	return c
}

// key reads the columns of a primary key, if that is what comes.
func (p *parser) key(a *Alteration) {
	if p.skip("CONSTRAINT") && !p.is("PRIMARY") {
		p.next()
	}
	if !p.skip("PRIMARY", "KEY") {
		return
	}
	for p.more() && !p.skip("(") {
		p.next() // USING BTREE, IF NOT EXISTS
	}
	for p.more() && !p.is(")") {
		a.Key = append(a.Key, p.next().text)
		for p.more() && !p.skip(",") && !p.is(")") {
			if p.skip("(") { // a prefix
				p.next()
			}
			p.next()
		}
	}
	p.skip(")")
}

func (p *parser) add(a *Alteration) Effect {
	if p.is("PRIMARY") || p.is("CONSTRAINT") {
		p.key(a)
		return NoEffect
	}
	switch {
	case p.is("INDEX"), p.is("KEY"), p.is("UNIQUE"), p.is("FULLTEXT"), p.is("SPATIAL"), p.is("VECTOR"), p.is("FOREIGN"), p.is("CHECK"):
		return NoEffect
	case p.is("PERIOD"), p.is("SYSTEM"):
		a.Versioned = true
		return Rewritten
	}
	p.skip("COLUMN")
	p.exists()
	if !p.skip("(") {
		name, from := p.next().text, p.at
		a.Added = append(a.Added, name)
		p.rest()
		if slices.ContainsFunc(p.words[from:p.at], func(w word) bool { return w.upper == "PRIMARY" }) {
			a.Key = append(a.Key, name)
		}
		return NoEffect
	}
	for p.more() {
		a.Added = append(a.Added, p.next().text)
		for depth := 0; p.more(); p.at++ {
			if p.is("(") {
				depth++
				continue
			}
			if p.is(")") {
				if depth--; depth < 0 {
					return NoEffect
				}
				continue
			}
			if depth == 0 && p.skip(",") {
				break
			}
		}
	}
	return Rewritten
}

func (p *parser) dropClause(a *Alteration) Effect {
	a.KeyDropped = a.KeyDropped || p.is("PRIMARY", "KEY")
	switch {
	case p.is("INDEX"), p.is("KEY"), p.is("PRIMARY"), p.is("FOREIGN"), p.is("CONSTRAINT"), p.is("CHECK"):
		return NoEffect
	case p.is("PERIOD"), p.is("SYSTEM"):
		return Rewritten
	}
	p.skip("COLUMN")
	p.exists()
	a.Dropped = append(a.Dropped, p.next().text)
	return NoEffect
}

// renameClause: of a column, of an index, or of the table.
func (p *parser) renameClause(a *Alteration) (Effect, string, []Alteration) {
	defer p.rest()
	switch {
	case p.skip("COLUMN"):
		p.exists()
		from := p.next().text
		if !p.skip("TO") {
			return Rewritten, "", nil
		}
		a.Dropped, a.Added = append(a.Dropped, from), append(a.Added, p.next().text)
		return NoEffect, "", nil
	case p.is("INDEX"), p.is("KEY"):
		return NoEffect, "", nil
	}
	p.skipAny("TO", "AS", "=")
	pair := moved(a.Table, p.table())
	if pair == nil {
		return NoEffect, "", nil
	}
	return Gone, "rename", pair
}

// alterClause: defaults, visibility, enforcement; never a type.
func (p *parser) alterClause() Effect {
	if p.is("INDEX") || p.is("KEY") || p.is("CHECK") || p.is("CONSTRAINT") {
		return NoEffect
	}
	p.skip("COLUMN")
	p.exists()
	p.next()
	if p.is("SET") || p.is("DROP", "DEFAULT") {
		return NoEffect
	}
	return Rewritten
}

// harmless are the options of a table that leave its values as they are.
func harmless() []string {
	return []string{"ALGORITHM", "LOCK", "AUTO_INCREMENT", "AVG_ROW_LENGTH", "CHECKSUM", "TABLE_CHECKSUM", "COMMENT", "COLLATE", "CHARSET",
		"DELAY_KEY_WRITE", "ENCRYPTED", "ENCRYPTION", "ENCRYPTION_KEY_ID", "KEY_BLOCK_SIZE", "MAX_ROWS", "MIN_ROWS", "PACK_KEYS",
		"PAGE_CHECKSUM", "PAGE_COMPRESSED", "PAGE_COMPRESSION_LEVEL", "COMPRESSION", "ROW_FORMAT", "STATS_AUTO_RECALC",
		"STATS_PERSISTENT", "STATS_SAMPLE_PAGES", "TRANSACTIONAL"}
}

// options reads `name [=] value`, several with nothing but blanks between them.
func (p *parser) options() Effect {
	e := NoEffect
	for p.more() && !p.is(",") {
		if p.is("PARTITION", "BY") || p.is("REMOVE", "PARTITIONING") { // they need no comma before them
			p.at = len(p.words)
			return e
		}
		p.skip("DEFAULT")
		switch w := p.next(); {
		case w.upper == "ENGINE" || w.upper == "TYPE":
			p.skip("=")
			if v := p.next(); v.upper != "INNODB" && v.text != "InnoDB" {
				p.rest()
				return Rewritten
			}
		case w.upper == "CHARACTER" && p.skip("SET"), slices.Contains(harmless(), w.upper):
			p.skip("=")
			p.next()
		default:
			p.at--
			p.rest()
			return Rewritten
		}
	}
	return e
}

// partition reads the start of a clause about partitions, if it is one. Moving rows between partitions leaves them what they
// are.
func (p *parser) partition() (e Effect, others []Alteration, ok bool) {
	whole := Alteration{What: "partition", Effect: Rewritten, Rewrites: "rows change tables with a partition"}
	switch {
	case p.skip("TRUNCATE", "PARTITION"), p.skip("DROP", "PARTITION"):
		return SomeGone, nil, true
	case p.skip("IMPORT", "PARTITION"), p.skip("DISCARD", "PARTITION"):
		return Rewritten, nil, true
	case p.skip("EXCHANGE", "PARTITION"):
		p.next()
		p.skip("WITH", "TABLE")
		whole.Table = p.table()
		return Rewritten, []Alteration{whole}, true
	case p.skip("CONVERT", "PARTITION"):
		p.next()
		p.skip("TO", "TABLE")
		whole.Table = p.table()
		return Rewritten, []Alteration{whole}, true
	case p.skip("CONVERT", "TABLE"):
		whole.Table = p.table()
		return Rewritten, []Alteration{whole}, true
	case p.skip("ADD", "PARTITION"), p.skip("REORGANIZE", "PARTITION"), p.skip("COALESCE", "PARTITION"), p.skip("REBUILD", "PARTITION"),
		p.skip("OPTIMIZE", "PARTITION"), p.skip("ANALYZE", "PARTITION"), p.skip("CHECK", "PARTITION"), p.skip("PARTITION", "BY"),
		p.skip("REMOVE", "PARTITIONING"):
		return NoEffect, nil, true
	case p.skip("REPAIR", "PARTITION"):
		return Rewritten, nil, true
	}
	return NoEffect, nil, false
}
