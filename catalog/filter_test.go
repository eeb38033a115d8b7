package catalog

import (
	"fmt"
	"strconv"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func filterDataset() *Dataset {
	return &Dataset{Name: "d", Table: "d", Key: []string{"id"}, Time: "day", Scheme: Scheme{{MinInstant, Monthly}},
		Columns: []Column{
			{Name: "id", Type: Type{Kind: Int, Size: 8}},
			{Name: "day", Type: Type{Kind: Date}},
			{Name: "note", Type: Type{Kind: Text}, Nullable: true},
		}}
}

func drawFilter(t *rapid.T, depth int) Filter {
	kind := rapid.IntRange(0, 9).Draw(t, "kind")
	if depth > 0 && kind < 4 {
		if kind == 0 {
			return Filter{Op: Not, Args: []Filter{drawFilter(t, depth-1)}}
		}
		args := make([]Filter, rapid.IntRange(1, 3).Draw(t, "args"))
		for i := range args {
			args[i] = drawFilter(t, depth-1)
		}
		return Filter{Op: []Op{And, Or}[kind%2], Args: args}
	}
	op := Op(rapid.IntRange(int(Eq), int(Ge)).Draw(t, "op"))
	switch kind {
	case 4:
		return Filter{Op: []Op{True, False}[rapid.IntRange(0, 1).Draw(t, "constant")]}
	case 5:
		return Filter{Op: IsNull, Column: rapid.SampledFrom([]string{"note", "day"}).Draw(t, "column")}
	case 6:
		return Cmp("id", op, strconv.Itoa(rapid.IntRange(-2, 12).Draw(t, "id")))
	case 7:
		return Filter{Op: In, Column: "day", Values: []string{drawDay(t), drawDay(t)}}
	case 8:
		return Cmp("note", op, rapid.SampledFrom([]string{"", "a", "b"}).Draw(t, "note"))
	default:
		return Cmp("day", op, drawDay(t))
	}
}

func drawDay(t *rapid.T) string {
	d := time.Date(2026, 1, 25, 0, 0, 0, 0, time.UTC).AddDate(0, 0, rapid.IntRange(0, 45).Draw(t, "day"))
	return d.Format("2006-01-02")
}

// Folding and simplifying keep the answer for every row of the shard: a source whose filter folds to false has no row.
func TestFilter_fold_keeps_the_answer(t *testing.T) {
	d := filterDataset()
	rapid.Check(t, func(t *rapid.T) {
		f := drawFilter(t, 3)
		day := drawDay(t)
		at, ok := InstantOf(Type{Kind: Date}, []byte(day))
		if !ok {
			t.Fatalf("%s is no day", day)
		}
		var r Row
		r.AppendString(fmt.Sprint(rapid.IntRange(0, 10).Draw(t, "row id")))
		r.AppendString(day)
		if note := rapid.SampledFrom([]string{"null", "", "a", "b"}).Draw(t, "row note"); note == "null" {
			r.AppendNull()
		} else {
			r.AppendString(note)
		}
		want := f.Accepts(d, &r)
		if got := f.Simplify().Accepts(d, &r); got != want {
			t.Fatalf("simplified %s to %s: %v became %v", f, f.Simplify(), want, got)
		}
		folded := f.Fold(d, d.ShardAt(at).Range)
		if got := folded.Accepts(d, &r); got != want {
			t.Fatalf("folded %s to %s: %v became %v for day %s", f, folded, want, got, day)
		}
	})
}

func TestFilter_fold_drops_shards_outside(t *testing.T) {
	d := filterDataset()
	jan := d.ShardAt(At(time.Date(2026, 1, 10, 0, 0, 0, 0, time.UTC))).Range
	for _, c := range []struct {
		filter Filter
		want   Op
	}{
		{Cmp("day", Ge, "2026-02-01"), False},
		{Cmp("day", Lt, "2026-01-01"), False},
		{Cmp("day", Lt, "2026-02-01"), True},
		{AndAll(Cmp("day", Ge, "2025-06-01"), Cmp("day", Le, "2026-03-01")), True},
		{Cmp("day", Eq, "2026-02-14"), False},
		{Filter{Op: In, Column: "day", Values: []string{"2025-12-31", "2026-02-01"}}, False},
		{Filter{Op: Not, Args: []Filter{Cmp("day", Ge, "2026-02-01")}}, True},
		{Filter{Op: IsNull, Column: "day"}, False},
		{Cmp("day", Ge, "2026-01-15"), Ge},
	} {
		if got := c.filter.Fold(d, jan); got.Op != c.want {
			t.Errorf("%s folded to %s", c.filter, got)
		}
	}
}

func TestFilter_check_names_the_fault(t *testing.T) {
	d := filterDataset()
	for _, f := range []Filter{
		Cmp("nosuch", Eq, "1"), Cmp("id", Eq, "x"), Cmp("day", Lt, "yesterday"), {Op: In, Column: "id"}, {Op: Not},
		{Op: And}, {Op: Contains, Column: "id", Values: []string{"1"}},
	} {
		if err := f.Check(d); err == nil {
			t.Errorf("%+v passed", f)
		}
	}
	if err := AndAll(Cmp("id", Eq, "1"), Cmp("note", Prefix, "a")).Check(d); err != nil {
		t.Error(err)
	}
}

func TestCheckCell_dates(t *testing.T) {
	dt := Type{Kind: DateTime, FSP: 6}
	for text, ok := range map[string]bool{
		"2026-01-31": true, "2026-01-31 08:00:00": true, "2026-01-31T08:00:00.5": true, "2026-01-31 08:00:00.123456": true,
		"2026-02-31": false, "2026-1-3": false, "2026-01-31 25:00:00": false, "2026-01-31 08:00:00.": false,
		"2026-01-31 08:00:00.1234567": false, "": false, "2026-01-31 08:00": false,
	} {
		if err := CheckCell(dt, text); (err == nil) != ok {
			t.Errorf("%q: %v", text, err)
		}
	}
}
