package index

import (
	"slices"
	"strings"

	"strata/catalog"
	"strata/fault"
)

// CheckColumns refuses a dataset whose key or text columns it doesn't have. Errors: fault.Invalid.
func CheckColumns(d *catalog.Dataset) error {
	for _, role := range []struct {
		name    string
		columns []string
	}{{"key", d.Key}, {"text", d.Text}} {
		for _, c := range role.columns {
			if d.Index(c) < 0 {
				return fault.New(fault.Invalid, "ensure index of "+d.Name, "the dataset's %s column %q is not among its columns", role.name, c)
			}
		}
	}
	if len(d.Key) == 0 {
		return fault.New(fault.Invalid, "ensure index of "+d.Name, "the dataset has no key")
	}
	return nil
}

// SameShape refuses a dataset for which an index that was made for another state of it can't answer: other columns, another
// key, text columns whose words it doesn't have. Words that are no longer wanted do no harm. Errors: fault.Unsafe, with hint.
func SameShape(was, d *catalog.Dataset) error {
	bad := func(format string, args ...any) error {
		return fault.New(fault.Unsafe, "ensure index of "+d.Name, format, args...).WithHint("make another beside it: strata sync rebuild %s", DatasetOf(d.Name))
	}
	same := slices.Equal(was.Key, d.Key) && slices.EqualFunc(was.Columns, d.Columns, func(a, b catalog.Column) bool {
		return a.Name == b.Name && a.Type == b.Type
	})
	if !same {
		return bad("the index was made for other columns (%s) than the dataset has (%s)", strings.Join(was.Names(), ","), strings.Join(d.Names(), ","))
	}
	lacks := slices.DeleteFunc(slices.Clone(d.Text), func(name string) bool { return slices.Contains(was.Text, name) })
	if len(lacks) > 0 {
		return bad("the index doesn't have the words of text column %s, declared after it was made", strings.Join(lacks, ", "))
	}
	return nil
}
