package ddlcheck

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"strata/canal"
	"strata/catalog"
	"strata/fault"
)

// Severity says how much a statement asks for.
type Severity uint8

// The severities, rising.
const (
	Fine Severity = iota
	Notice
	Repair
	Refused
)

// String is the severity's word.
func (s Severity) String() string {
	return [...]string{"fine", "notice", "repair", "refused"}[min(s, Refused)]
}

// Finding is what one statement does to one table.
type Finding struct {
	Line      int      // of the statement in the script, from 1
	Table     string   // "" where the statement names none
	Dataset   string   // "" where the table isn't captured
	Statement string   // at most 200 bytes of it
	Topic     string   // what happens to the dataset's topic and its envelopes
	Index     string   // what happens to its documents
	Severity  Severity // the highest of what the statement does
	Why       string
}

// Config is what a check needs.
type Config struct {
	Schema   string // the captured one; statements without a schema mean it until a USE
	Datasets []*catalog.Dataset
	// Describe reads a table as it is now: its columns and its primary key; fault.NotFound where there is none. nil: the tables
	// are taken to be as their datasets say.
	Describe func(ctx context.Context, table string) ([]catalog.Column, []string, error)
}

// Check reads a script and says what capture will do at each statement. Errors: fault.Invalid for a Config without datasets,
// and those of Describe but NotFound.
func Check(ctx context.Context, cfg Config, script string) ([]Finding, error) {
	if cfg.Schema == "" || len(cfg.Datasets) == 0 {
		return nil, fault.New(fault.Invalid, "check ddl", "there is no schema or no dataset to check against")
	}
	c := &check{cfg: cfg, schema: cfg.Schema, tables: map[string]*table{}}
	var out []Finding
	for _, st := range canal.SplitStatements(script) {
		found, err := c.statement(ctx, st)
		if err != nil {
			return nil, err
		}
		out = append(out, found...)
	}
	return out, nil
}

// check is a walk through a script.
type check struct {
	cfg    Config
	schema string            // that names without one mean
	tables map[string]*table // as they are after the statements so far
}

// table is a captured table at one point of the script.
type table struct {
	name    string
	d       *catalog.Dataset
	missing bool
	columns []catalog.Column
	key     []string
}

func (c *check) captured(name canal.TableName) *catalog.Dataset {
	if name.Schema == "" {
		name.Schema = c.schema
	}
	if name.Schema != c.cfg.Schema || strings.Contains(name.Name, "__strata_") {
		return nil
	}
	for _, d := range c.cfg.Datasets {
		if _, ok := d.ShardOf(name.Name); ok {
			return d
		}
	}
	return nil
}

// at is the table as it is at this point of the script.
func (c *check) at(ctx context.Context, name string, d *catalog.Dataset) (*table, error) {
	if t := c.tables[name]; t != nil {
		return t, nil
	}
	t := &table{name: name, d: d, columns: slices.Clone(d.Columns), key: d.Key}
	if c.cfg.Describe != nil {
		columns, key, err := c.cfg.Describe(ctx, name)
		var f *fault.Error
		switch {
		case errors.As(err, &f) && f.Kind == fault.NotFound:
			t.missing = true
		case err != nil:
			return nil, err
		default:
			t.columns, t.key = slices.Clone(columns), key
		}
	}
	c.tables[name] = t
	return t, nil
}

// statement is the findings for one statement.
func (c *check) statement(ctx context.Context, st canal.Statement) ([]Finding, error) {
	base := Finding{Line: st.Line, Statement: short(st.Text)}
	if st.Open() {
		base.worse(Repair, "unknown", "unknown", "a string, a name or a comment begins here and has no end; what follows it can't be read")
		return []Finding{base}, nil
	}
	if st.Verb == "USE" {
		c.schema = strings.Trim(st.After(0), "`; \n\r\t")
		return nil, nil
	}
	if st.DML() && st.Verb != "CALL" {
		base.Topic, base.Why = "its rows are captured as any other's", "not DDL; it must not be run with binlog_format=STATEMENT"
		return []Finding{base}, nil
	}
	var out []Finding
	for _, a := range st.Alterations() {
		if a.Table.Name == "" {
			out = append(out, c.schemaGone(base, a)...)
			continue
		}
		f := base
		f.Table = a.Table.Name
		d := c.captured(a.Table)
		if d == nil {
			f.Why = "not a captured table"
			out = append(out, f)
			continue
		}
		t, err := c.at(ctx, a.Table.Name, d)
		if err != nil {
			return nil, err
		}
		f.Dataset = d.Name
		c.judge(&f, t, a)
		judgeCascade(&f, d, st)
		if a.What == "load" || a.What == "replace" {
			if _, made := newTable(st); made != nil && made.like == "" {
				c.judgeNew(&f, d, made)
			}
		}
		out = append(out, f)
	}
	if len(out) == 0 {
		f, err := c.create(ctx, base, st)
		return []Finding{f}, err
	}
	return out, nil
}

// schemaGone is DROP DATABASE.
func (c *check) schemaGone(base Finding, a canal.Alteration) []Finding {
	if a.Table.Schema != c.cfg.Schema {
		base.Why = "not the captured schema"
		return []Finding{base}
	}
	var out []Finding
	for _, d := range c.cfg.Datasets {
		f := base
		f.Dataset = d.Name
		gone(&f, d, "every table of the schema goes")
		out = append(out, f)
	}
	return out
}

// worse raises a finding.
func (f *Finding) worse(s Severity, topic, index, why string, args ...any) {
	if s < f.Severity {
		return
	}
	if s > f.Severity || f.Why == "" {
		f.Severity, f.Why, f.Topic, f.Index = s, "", "", ""
	}
	f.Why, f.Topic, f.Index = also(f.Why, fmt.Sprintf(why, args...)), also(f.Topic, topic), also(f.Index, index)
}

// also joins two clauses, each once.
func also(have, more string) string {
	switch {
	case have == "" || strings.Contains(more, have):
		return more
	case more == "" || strings.Contains(have, more):
		return have
	}
	return have + "; " + more
}

// gone is what the dataset's rule says when rows go without row events.
func gone(f *Finding, d *catalog.Dataset, why string) {
	if d.RowsGone == catalog.GoneStop {
		f.worse(Refused, "nothing more is sent: the dataset stops (rows_gone: stop)", "frozen until the dataset is repaired", "%s", why)
		return
	}
	f.worse(Notice, "no record: the rows go without row events, an alarm tells of it (rows_gone: keep)", "the documents stay until a verifier has them repaired", "%s", why)
}

const (
	stops    = "the dataset stops at the first row that is written afterwards"
	stopsNow = "the dataset stops at this statement, and is refused at a start, unless it is declared with cascades: accept"
	frozen   = "frozen until the dataset is declared anew and loaded anew"
	anew     = "the shard has to be sent anew in full (strata canal backfill)"
	stale    = "the shard's documents are as before the statement until it was sent anew"
)

// judge says what an alteration of a captured table means, and makes the table what it is afterwards.
func (c *check) judge(f *Finding, t *table, a canal.Alteration) {
	if t.missing && a.What != "rename" {
		f.worse(Notice, "", "", "there is no table %s now", t.name)
	}
	switch a.Effect {
	case canal.Gone:
		gone(f, t.d, "the rows of "+t.name+" go with "+a.What)
		if a.What == "replace" {
			f.worse(Notice, "", "", "the new table must have the key %s and the columns of the dataset", strings.Join(t.d.Key, ", "))
		}
	case canal.SomeGone:
		gone(f, t.d, "the rows of a partition of "+t.name+" go")
	case canal.Rewritten:
		f.worse(Repair, anew, stale, "%s", rewritten(a))
	case canal.NoEffect:
		f.worse(Fine, "no change", "no change", "no value of a row changes")
	}
	if a.Versioned {
		f.worse(Refused, stops, frozen, "system versioning makes history rows that look like rows")
	}
	judgeKey(f, t, a)
	judgeColumns(f, t, a)
	t.apply(a)
}

func rewritten(a canal.Alteration) string {
	if a.Rewrites == "" {
		return a.What + " may change rows without row events"
	}
	return "taken as changing rows without row events: " + a.Rewrites
}

// judgeKey looks at the primary key.
func judgeKey(f *Finding, t *table, a canal.Alteration) {
	if len(a.Key) > 0 && !slices.Equal(slices.Sorted(slices.Values(a.Key)), slices.Sorted(slices.Values(t.d.Key))) {
		f.worse(Refused, stops, frozen, "the primary key becomes %s, the dataset's is %s", strings.Join(a.Key, ", "), strings.Join(t.d.Key, ", "))
	} else if a.KeyDropped && len(a.Key) == 0 {
		f.worse(Refused, stops, frozen, "the primary key goes; rows are named by it")
	}
}

// judgeCascade looks at foreign keys that change rows.
func judgeCascade(f *Finding, d *catalog.Dataset, st canal.Statement) {
	if st.Cascades() && d.Cascades != catalog.CascadeAccept {
		f.worse(Refused, stopsNow, frozen, "a foreign key changes its rows without row events (before MySQL 9.6)")
	}
}

// judgeColumns looks at columns that come, go, or get another type.
func judgeColumns(f *Finding, t *table, a canal.Alteration) {
	for _, name := range a.Dropped {
		switch _, declared := t.d.Column(name); {
		case slices.Contains(t.d.Key, name):
			f.worse(Refused, stops, frozen, "%s is a column of the key", name)
		case slices.Contains(a.Added, name):
			// it comes again at once: looked at below
		case t.d.Time == name:
			f.worse(Refused, stops, frozen, "%s is the dataset's time", name)
		case declared:
			f.worse(Notice, "envelopes have no "+name+" any more", name+" is null in what is written afterwards, and stays in older documents", "%s is a column of the dataset; declare the dataset anew without it", name)
		default:
			f.worse(Notice, "envelopes have no "+name+" any more", "no change", "%s is no column of the dataset", name)
		}
	}
	for _, name := range a.Added {
		if _, declared := t.d.Column(name); !declared {
			f.worse(Notice, "envelopes have "+name+" as well", "no change until the dataset is declared with "+name, "%s is not in the dataset", name)
		} else if !typed(a, name) || !slices.Contains(t.names(), name) {
			f.worse(Repair, anew, stale, "%s comes anew under a name of the dataset, with other values", name)
		}
	}
	for _, n := range a.Typed {
		col, declared := t.d.Column(n.Name)
		kind, known := kindOf(n)
		switch {
		case !declared:
		case !known:
			f.worse(Refused, stops, frozen, "the type %s of %s is not known here, and may not be a %s", n.Type, n.Name, col.Type.Kind)
		case kind != col.Type.Kind && !(col.Type.Kind == catalog.JSON && kind == catalog.Text):
			f.worse(Refused, stops, frozen, "%s becomes a %s; the dataset has a %s", n.Name, kind, col.Type.Kind)
		}
	}
}

func typed(a canal.Alteration, name string) bool {
	return slices.ContainsFunc(a.Typed, func(c canal.TypedColumn) bool { return c.Name == name })
}

func (t *table) names() []string {
	out := make([]string, len(t.columns))
	for i, c := range t.columns {
		out[i] = c.Name
	}
	return out
}

// apply makes the table what it is after the alteration, as far as names go.
func (t *table) apply(a canal.Alteration) {
	t.columns = slices.DeleteFunc(t.columns, func(c catalog.Column) bool { return slices.Contains(a.Dropped, c.Name) })
	for _, n := range a.Added {
		t.columns = append(t.columns, catalog.Column{Name: n})
	}
	t.missing = a.Effect == canal.Gone && (a.What == "drop" || a.What == "rename")
}

// kindOf is the kind of a column's type, in either dialect.
func kindOf(c canal.TypedColumn) (catalog.Kind, bool) {
	switch c.Type {
	case "TINYINT", "SMALLINT", "MEDIUMINT", "INT", "INTEGER", "BIGINT", "BOOL", "BOOLEAN", "INT1", "INT2", "INT3", "INT4", "INT8":
		if c.Unsigned {
			return catalog.Uint, true
		}
		return catalog.Int, true
	case "SERIAL":
		return catalog.Uint, true
	case "DECIMAL", "DEC", "NUMERIC", "FIXED", "NUMBER":
		return catalog.Decimal, true
	case "CHAR", "VARCHAR", "TINYTEXT", "TEXT", "MEDIUMTEXT", "LONGTEXT", "CHARACTER", "NCHAR", "NVARCHAR", "NATIONAL", "VARCHAR2", "CLOB":
		if c.Binary {
			return catalog.Binary, true
		}
		return catalog.Text, true
	case "BINARY", "VARBINARY", "TINYBLOB", "BLOB", "MEDIUMBLOB", "LONGBLOB", "RAW", "VECTOR":
		return catalog.Binary, true
	case "GEOMETRY", "POINT", "LINESTRING", "POLYGON", "MULTIPOINT", "MULTILINESTRING", "MULTIPOLYGON", "GEOMETRYCOLLECTION", "GEOMCOLLECTION":
		return catalog.Spatial, true
	case "REAL":
		return catalog.Double, true
	case "INET4", "INET6":
		return catalog.INET, true
	}
	for _, k := range []catalog.Kind{catalog.Float, catalog.Double, catalog.Date, catalog.DateTime, catalog.Timestamp, catalog.Time, catalog.Year,
		catalog.Enum, catalog.Set, catalog.JSON, catalog.UUID, catalog.Bit} {
		if strings.EqualFold(k.String(), c.Type) {
			return k, true
		}
	}
	return 0, false
}

// short is the beginning of a statement on one line.
func short(text string) string {
	text = strings.Join(strings.Fields(text), " ")
	if len(text) > 200 {
		text = strings.ToValidUTF8(text[:200], "")
	}
	return text
}
