package survey

import (
	"context"
	"database/sql"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"strata/catalog"
	"strata/db"
	"strata/fault"
)

// A candidate for the time column, and how well it was proven.
type candidate struct {
	name    string
	kind    catalog.Kind
	indexed bool
	checked int      // shards that were not empty
	outside []string // of these
}

// proven is lower for what is surer.
func (c *candidate) proven() int {
	switch {
	case c.checked == 0:
		return 3
	case len(c.outside) > 0:
		return 2
	case !c.indexed:
		return 1
	}
	return 0
}

// good: no more than every fourth shard has rows outside its range.
func (c *candidate) good() bool { return 4*len(c.outside) <= c.checked }

const badTime = `upd|modif|expir|delet|due|end|valid|birth`

// taste is lower for a name that more likely says when a row came.
func taste(name string) int {
	name = strings.ToLower(name)
	for i, want := range []string{"accounting_date", "created_at", "create_time", "created", "gmt_create", "ctime", "event_time", "order_time"} {
		if name == want {
			return i
		}
	}
	if matches(badTime, name) {
		return 100
	}
	return 50
}

// chooseTime finds the column that decides which shard a row is in.
func (g *group) chooseTime(ctx context.Context, d *db.DB, f *Found) (reason string, err error) {
	t := g.model()
	var list []candidate
	var nullable []string
	for _, c := range t.columns {
		kind := map[string]catalog.Kind{"date": catalog.Date, "datetime": catalog.DateTime, "timestamp": catalog.Timestamp}[c.dataType]
		switch {
		case kind == 0:
		case c.nullable:
			nullable = append(nullable, c.name)
		default:
			list = append(list, candidate{name: c.name, kind: kind, indexed: t.leads[c.name]})
		}
	}
	for i := range list {
		if err := g.probe(ctx, d, &list[i]); err != nil {
			return "", err
		}
	}
	list = slices.DeleteFunc(list, func(c candidate) bool { return !c.good() })
	slices.SortStableFunc(list, func(a, b candidate) int {
		if c := a.proven() - b.proven(); c != 0 {
			return c
		}
		return taste(a.name) - taste(b.name)
	})
	if len(list) == 0 {
		reason = "no date, datetime or timestamp column has its values within the ranges that the names of the shards say"
		if len(nullable) > 0 {
			reason += "; NULL is possible in " + strings.Join(nullable, ", ") + ": a row without a time belongs to no shard"
		}
		return reason, nil
	}
	c := list[0]
	f.Spec.Time = c.name
	switch c.proven() {
	case 0:
		f.Why["time"] = "an index begins with it, and its values lie within the ranges of the shards"
	case 1:
		f.Why["time"] = "sampled values lie within the ranges of the shards"
		f.Check = append(f.Check, "no index begins with "+c.name+": ranges of time are read by scanning whole shards")
	case 2:
		f.Why["time"] = "its values lie within the ranges of most shards"
		f.Check = append(f.Check, "rows outside their shard's range, so these can't be moved: "+some(c.outside))
	default:
		f.Why["time"] = "by its name only: the shards are empty"
	}
	if c.kind == catalog.Timestamp {
		f.Check = append(f.Check, c.name+" is a TIMESTAMP: the ranges of shards are taken in UTC")
	}
	if len(list) > 1 && list[1].proven() == c.proven() {
		var others []string
		for _, o := range list[1:] {
			others = append(others, o.name)
		}
		f.Check = append(f.Check, "time could also be "+some(others))
	}
	return "", nil
}

// probe compares the values of a column with the ranges of some shards, the newest and the oldest among them.
func (g *group) probe(ctx context.Context, d *db.DB, c *candidate) error {
	ds := catalog.Dataset{Name: "x", Table: g.base, Scheme: g.scheme}
	step := max(1, (len(g.shards)+probedShards-2)/(probedShards-1))
	for i := len(g.shards) - 1; i >= 0; i -= step {
		t := g.shards[i]
		if _, ok := t.column(c.name); !ok {
			continue
		}
		q := "SELECT MIN(" + db.Quote(c.name) + "), MAX(" + db.Quote(c.name) + ") FROM " + db.Quote(t.name)
		if !t.leads[c.name] {
			c.indexed = false
			q = "SELECT MIN(c), MAX(c) FROM (SELECT " + db.Quote(c.name) + " AS c FROM " + db.Quote(t.name) + " LIMIT 1000) AS s"
		}
		var low, high sql.RawBytes
		s, _ := ds.ShardOf(t.name)
		within, some, err := func() (bool, bool, error) {
			rows, err := d.SQL().QueryContext(ctx, q)
			if err != nil {
				return false, false, err
			}
			defer func() { _ = rows.Close() }()
			if !rows.Next() {
				return false, false, rows.Err()
			}
			if err := rows.Scan(&low, &high); err != nil || low == nil {
				return false, false, err
			}
			from, ok1 := catalog.InstantOf(catalog.Type{Kind: c.kind}, low)
			to, ok2 := catalog.InstantOf(catalog.Type{Kind: c.kind}, high)
			return ok1 && ok2 && s.Range.Contains(from) && s.Range.Contains(to), true, rows.Err()
		}()
		if db.IsNoTable(err) {
			continue // it went meanwhile
		}
		if err != nil {
			return db.Classify("compare times of "+t.name, err)
		}
		if some {
			c.checked++
			if !within {
				c.outside = append(c.outside, t.name)
			}
		}
	}
	return nil
}

const (
	moneyName = `(?i)(^|_)(amount|amt|balance|fee|price)s?(_|$)|_minor$|_cents?$|^(amount|balance|price)`
	noMoney   = `(?i)_(id|ids|count|num|type|status|state|rate|flag|mode|version|level|seq|no|days?|at|by)$`
	unitName  = `(?i)(^|_)(currency|ccy|unit|cur)(_code)?$`
)

// matches is for the few names of one schema.
func matches(pattern, name string) bool {
	ok, _ := regexp.MatchString(pattern, name)
	return ok
}

// chooseMoney finds columns of minor units and their units.
func (t *table) chooseMoney(f *Found) {
	var units, money, decimals []string
	for _, c := range t.columns {
		named := matches(moneyName, c.name) && !matches(noMoney, c.name)
		switch c.dataType {
		case "char", "varchar", "enum":
			if matches(unitName, c.name) && c.length <= 16 {
				units = append(units, c.name)
			}
		case "int", "bigint", "mediumint":
			if named {
				money = append(money, c.name)
			}
		case "decimal", "double", "float":
			if named {
				decimals = append(decimals, c.name+" ("+c.columnType+")")
			}
		}
	}
	for _, m := range money {
		if len(units) == 0 {
			f.Open = append(f.Open, Line{"  - {column: " + m + ", unit: …}", ""})
			continue
		}
		f.Spec.Money = append(f.Spec.Money, catalog.Money{Column: m, UnitColumn: unitFor(m, units)})
	}
	if len(f.Open) > 0 {
		f.Open = append([]Line{{"money:", "integers by name, but no unit column is beside them: which unit is it?"}}, f.Open...)
	}
	if len(f.Spec.Money) > 0 {
		f.Why["money"] = "integers by name: are they whole minor units?"
	}
	if len(units) > 1 && len(f.Spec.Money) > 0 {
		f.Check = append(f.Check, "which of "+strings.Join(units, ", ")+" is the unit of which column?")
	}
	if len(decimals) > 0 {
		f.About = append(f.About, "not declared as money, for strata adds whole minor units: "+strings.Join(decimals, ", "))
	}
}

// unitFor is the unit column whose name begins like the money column's, else the plainest.
func unitFor(money string, units []string) string {
	stem, _, _ := strings.Cut(money, "_")
	best := units[0]
	for _, u := range units {
		if u != money && strings.HasPrefix(u, stem+"_") {
			return u
		}
		if len(u) < len(best) {
			best = u
		}
	}
	return best
}

// chooseAccount finds the column by which people ask.
func (t *table) chooseAccount(f *Found) {
	var missing []string
	for _, want := range []string{"account_id", "user_id", "customer_id", "merchant_id"} {
		c, ok := t.column(want)
		if !ok {
			continue
		}
		if t.leads[c.name] {
			f.Spec.Account, f.Why["account"] = c.name, "an index begins with it"
			return
		}
		missing = append(missing, c.name)
	}
	if len(missing) > 0 {
		f.Open = append(f.Open, Line{"account: " + missing[0], "no index begins with it: make one first"})
	}
}

const finalState = `(?i)^(paid|done|success|succeeded|failed|failure|cancell?ed|closed|refunded|settled|completed?|finished|expired|reversed|rejected|posted|confirmed)$`

// guessStates suggests when a row is final.
func (t *table) guessStates(f *Found) {
	if len(f.Spec.Shards) == 0 {
		return
	}
	for _, c := range t.columns {
		if lower := strings.ToLower(c.name); lower != "status" && lower != "state" && !strings.HasSuffix(lower, "_status") && !strings.HasSuffix(lower, "_state") {
			continue
		}
		states := "'…'"
		if c.dataType == "enum" {
			var final []string
			for label := range strings.SplitSeq(strings.TrimSuffix(strings.TrimPrefix(c.columnType, "enum("), ")"), ",") {
				if matches(finalState, strings.Trim(label, "'")) {
					final = append(final, label)
				}
			}
			if len(final) > 0 {
				states = strings.Join(final, ", ")
			}
		}
		f.Open = append(f.Open, Line{"terminal_when: " + c.name + " IN (" + states + ")", "a shard with rows in other states is not moved: which are final?"})
		return
	}
}

const freeText = `(?i)(^|_)(memo|note|remark|comment|description|message)s?$`

// suggestText names columns that people write sentences into.
func (t *table) suggestText(f *Found) {
	var names []string
	for _, c := range t.columns {
		if matches(`^(var)?char$|text$`, c.dataType) && matches(freeText, c.name) {
			names = append(names, scalar(c.name))
		}
	}
	if len(names) > 0 {
		f.Open = append(f.Open, Line{"text: [" + strings.Join(names, ", ") + "]", "the index then finds their words, Chinese too; declared later, it must be rebuilt"})
	}
}

// remark adds what a person should know of the table itself.
func (t *table) remark(f *Found) {
	if t.method != "" {
		f.About = append(f.About, fmt.Sprintf("partitioned by %s (%s) in %d parts; strata takes it as one table: captured, indexed and queried, not moved to the archive by parts",
			t.method, strings.ReplaceAll(t.by, "`", ""), t.parts))
		f.Check = append(f.Check, "ALTER TABLE … DROP, TRUNCATE or EXCHANGE PARTITION changes rows without row events: the index keeps them until strata is told")
	}
	if len(t.cascades) > 0 {
		f.Check = append(f.Check, "foreign keys change its rows without row events (ON DELETE or ON UPDATE CASCADE, SET NULL): "+some(t.cascades))
		f.Open = append(f.Open, Line{"cascades: accept", "without it refused (before MySQL 9.6): only where those rules are never used"})
	}
	for _, k := range f.Spec.Key {
		if c, _ := t.column(k); c.collation != "" && !strings.HasSuffix(c.collation, "_bin") {
			f.About = append(f.About, "key column "+k+" is not compared byte by byte on the server ("+c.collation+"); strata compares bytes")
		}
	}
}

// Plain reports whether the survey found nothing to declare.
func (s *Survey) Plain() error {
	if len(s.Found) > 0 {
		return nil
	}
	e := fault.New(fault.NotFound, "look for tables", "schema %s has no table that strata can take, of %d", s.Schema, s.Tables)
	if len(s.Refused) > 0 {
		return e.WithHint("%s: %s", s.Refused[0].Table, s.Refused[0].Reason)
	}
	return e.WithHint("name the schema in the DSN, or with --schema")
}
