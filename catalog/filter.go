package catalog

import (
	"slices"
	"strings"

	"strata/fault"
)

// Op is what a Filter node does.
type Op uint8

// The operations. The zero value is True: the zero Filter accepts every row.
const (
	True Op = iota
	False
	And
	Or
	Not
	Eq
	Ne
	Lt
	Le
	Gt
	Ge
	In
	IsNull
	Prefix
	Contains
	Match
)

var opNames = [...]string{"true", "false", "and", "or", "not", "=", "<>", "<", "<=", ">", ">=", "in", "is null", "prefix", "contains", "matches"}

// String is the operation's name as `explain` prints it.
func (o Op) String() string { return opNames[o] }

// Filter is a condition over one row, as data. Leaves name a column and hold canonical texts; And, Or and Not hold Args.
// The logic is SQL's: a comparison with NULL is unknown, and only rows for which the whole is true pass. Character types
// compare byte by byte in every source. Prefix and Contains are for character columns and compare bytes too. Match is for a
// dataset's text columns and compares words (see Phrases).
type Filter struct {
	Op     Op
	Column string
	Values []string // one for a comparison, any number for In
	Args   []Filter
}

// truth is SQL's: -1 false, 0 unknown, 1 true.
type truth int8

// Check reports the first thing in f that the dataset cannot answer: an unknown column, a comparison without a value, a
// value that is not of the column's type. Errors: fault.Invalid; fault.TooLarge for a Match of too many words.
func (f Filter) Check(d *Dataset) error {
	switch f.Op {
	case True, False:
		return nil
	case And, Or, Not:
		if len(f.Args) == 0 || f.Op == Not && len(f.Args) != 1 {
			return fault.New(fault.Invalid, "check filter", "%s with %d conditions", f.Op, len(f.Args))
		}
		for _, a := range f.Args {
			if err := a.Check(d); err != nil {
				return err
			}
		}
		return nil
	}
	col, ok := d.Column(f.Column)
	if !ok {
		return fault.New(fault.Invalid, "check filter", "dataset %s has no column %q", d.Name, f.Column).
			WithHint("its columns are %s", strings.Join(d.Names(), ", "))
	}
	if n := len(f.Values); f.Op == IsNull && n != 0 || f.Op == In && n == 0 || f.Op != In && f.Op != IsNull && n != 1 {
		return fault.New(fault.Invalid, "check filter", "%s %s with %d values", f.Column, f.Op, n)
	}
	if (f.Op == Prefix || f.Op == Contains) && col.Type.Kind != Text {
		return fault.New(fault.Invalid, "check filter", "%s: %s is for character columns", f.Column, f.Op)
	}
	for _, v := range f.Values {
		if err := CheckCell(col.Type, v); err != nil {
			return fault.Wrap(fault.Invalid, "check filter column "+f.Column, err)
		}
	}
	if f.Op == Match {
		return f.checkMatch(d)
	}
	return nil
}

func (f Filter) checkMatch(d *Dataset) error {
	if !slices.Contains(d.Text, f.Column) {
		return fault.New(fault.Invalid, "check filter", "%s: %s is for text columns, which this is not", f.Column, f.Op).
			WithHint("declare it: `text: [%s]` in dataset %s, and rebuild its index; or look for a part of the text", f.Column, d.Name)
	}
	if _, err := Phrases(f.Values[0]); err != nil {
		return fault.Wrap(fault.KindOf(err), "check filter column "+f.Column, err)
	}
	return nil
}

// Accepts reports whether the row passes.
func (f Filter) Accepts(d *Dataset, r *Row) bool { return f.eval(d, r) > 0 }

func (f Filter) eval(d *Dataset, r *Row) truth {
	switch f.Op {
	case True:
		return 1
	case False:
		return -1
	case Not:
		return -f.Args[0].eval(d, r)
	case And, Or:
		worst, best := truth(1), truth(-1)
		for _, a := range f.Args {
			t := a.eval(d, r)
			worst, best = min(worst, t), max(best, t)
		}
		if f.Op == And {
			return worst
		}
		return best
	}
	i := d.Index(f.Column)
	if i < 0 {
		return -1
	}
	cell := r.Cell(i)
	if f.Op == IsNull {
		return of(cell == nil)
	}
	if cell == nil {
		return 0
	}
	return f.test(d.Columns[i].Type, cell)
}

func of(b bool) truth {
	if b {
		return 1
	}
	return -1
}

func (f Filter) test(t Type, cell []byte) truth {
	if f.Op == In {
		return of(slices.ContainsFunc(f.Values, func(v string) bool { return Compare(t, cell, []byte(v)) == 0 }))
	}
	switch f.Op {
	case Prefix:
		return of(strings.HasPrefix(string(cell), f.Values[0]))
	case Contains:
		return of(strings.Contains(string(cell), f.Values[0]))
	case Match:
		phrases, err := Phrases(f.Values[0])
		return of(err == nil && matches(cell, phrases))
	}
	c := Compare(t, cell, []byte(f.Values[0]))
	switch f.Op {
	case Eq:
		return of(c == 0)
	case Ne:
		return of(c != 0)
	case Lt:
		return of(c < 0)
	case Le:
		return of(c <= 0)
	case Gt:
		return of(c > 0)
	default:
		return of(c >= 0)
	}
}

// Simplify removes constants and nests: the result accepts exactly the same rows. A Not around an unknown stays.
func (f Filter) Simplify() Filter {
	switch f.Op {
	case And, Or:
		return f.simplifyList()
	case Not:
		a := f.Args[0].Simplify()
		switch a.Op {
		case True:
			return Filter{Op: False}
		case False:
			return Filter{Op: True}
		case Not:
			return a.Args[0]
		}
		return Filter{Op: Not, Args: []Filter{a}}
	}
	return f
}

func (f Filter) simplifyList() Filter {
	neutral, absorbing := True, False
	if f.Op == Or {
		neutral, absorbing = False, True
	}
	var args []Filter
	for _, a := range f.Args {
		a = a.Simplify()
		switch a.Op {
		case absorbing:
			return Filter{Op: absorbing}
		case neutral:
		case f.Op:
			args = append(args, a.Args...)
		default:
			args = append(args, a)
		}
	}
	switch len(args) {
	case 0:
		return Filter{Op: neutral}
	case 1:
		return args[0]
	}
	return Filter{Op: f.Op, Args: args}
}

// Fold replaces what the range of a shard already decides: every row of the shard has its time column inside r and not
// NULL. The result, simplified, accepts the same rows of that shard; False means that the shard need not be asked.
func (f Filter) Fold(d *Dataset, r Range) Filter {
	if d.Time == "" || r == All() {
		return f.Simplify()
	}
	return f.fold(d, r).Simplify()
}

func (f Filter) fold(d *Dataset, r Range) Filter {
	switch f.Op {
	case And, Or, Not:
		args := make([]Filter, len(f.Args))
		for i, a := range f.Args {
			args[i] = a.fold(d, r)
		}
		return Filter{Op: f.Op, Args: args}
	}
	if f.Column != d.Time {
		return f
	}
	if f.Op == IsNull {
		return Filter{Op: False}
	}
	col, _ := d.Column(d.Time)
	if f.Op == In {
		var keep []string
		for _, v := range f.Values {
			if t, ok := InstantOf(col.Type, []byte(v)); !ok || r.Contains(t) {
				keep = append(keep, v)
			}
		}
		if len(keep) == 0 {
			return Filter{Op: False}
		}
		return Filter{Op: In, Column: f.Column, Values: keep}
	}
	if len(f.Values) != 1 {
		return f
	}
	t, ok := InstantOf(col.Type, []byte(f.Values[0]))
	if !ok {
		return f
	}
	return f.foldAt(t, r)
}

// foldAt decides a comparison of the time column with t for a shard whose times are in [r.From, r.To-1].
func (f Filter) foldAt(t Instant, r Range) Filter {
	below, above := t < r.From, t >= r.To // t lies before or after every row
	yes, no := Filter{Op: True}, Filter{Op: False}
	switch f.Op {
	case Eq:
		if below || above {
			return no
		}
	case Ne:
		if below || above {
			return yes
		}
	case Lt:
		if above {
			return yes
		}
		if t <= r.From {
			return no
		}
	case Le:
		if t >= r.To-1 {
			return yes
		}
		if below {
			return no
		}
	case Gt:
		if below {
			return yes
		}
		if t >= r.To-1 {
			return no
		}
	case Ge:
		if t <= r.From {
			return yes
		}
		if above {
			return no
		}
	}
	return f
}

// Conjuncts returns the conditions that must all hold: the arguments of a top-level And, or f alone; none for True.
func (f Filter) Conjuncts() []Filter {
	switch f.Op {
	case True:
		return nil
	case And:
		return f.Args
	}
	return []Filter{f}
}

// FindColumn returns the first column of the filter for which f is true, or "".
func (f Filter) FindColumn(is func(column string) bool) string {
	if f.Column != "" && is(f.Column) {
		return f.Column
	}
	for _, a := range f.Args {
		if name := a.FindColumn(is); name != "" {
			return name
		}
	}
	return ""
}

// FindOp returns the column of the first condition with the operation, or "".
func (f Filter) FindOp(op Op) string {
	if f.Op == op {
		return f.Column
	}
	for _, a := range f.Args {
		if name := a.FindOp(op); name != "" {
			return name
		}
	}
	return ""
}

// AndAll joins conditions.
func AndAll(fs ...Filter) Filter { return Filter{Op: And, Args: fs}.Simplify() }

// Cmp is a comparison of a column with one value.
func Cmp(column string, op Op, value string) Filter {
	return Filter{Op: op, Column: column, Values: []string{value}}
}

// String prints the condition in SQL's manner, for explain and for logs.
func (f Filter) String() string {
	switch f.Op {
	case True, False:
		return f.Op.String()
	case Not:
		return "not (" + f.Args[0].String() + ")"
	case And, Or:
		parts := make([]string, len(f.Args))
		for i, a := range f.Args {
			parts[i] = a.String()
			if a.Op == And || a.Op == Or {
				parts[i] = "(" + parts[i] + ")"
			}
		}
		return strings.Join(parts, " "+f.Op.String()+" ")
	case IsNull:
		return f.Column + " is null"
	case In:
		return f.Column + " in ('" + strings.Join(f.Values, "','") + "')"
	}
	return f.Column + " " + f.Op.String() + " '" + f.Values[0] + "'"
}
