package catalog

import (
	"testing"

	"pgregory.net/rapid"
)

// shop is a sharded dataset with a nullable number and a text.
func shop() *Dataset {
	return &Dataset{Name: "shop", Table: "shop", Time: "at", Text: []string{"who"}, Scheme: Scheme{{MinInstant, Monthly}}, Columns: []Column{
		{Name: "at", Type: Type{Kind: DateTime}}, {Name: "n", Type: Type{Kind: Int}, Nullable: true}, {Name: "who", Type: Type{Kind: Text}, Nullable: true}}}
}

// values are few, so that comparisons meet.
func values(column string) *rapid.Generator[string] {
	switch column {
	case "at":
		return rapid.SampledFrom([]string{"2025-12-31 23:59:59", "2026-01-01 00:00:00", "2026-01-10 00:00:00", "2026-01-31 23:59:59", "2026-02-01 00:00:00", "2026-02-01 00:00:01"})
	case "n":
		return rapid.SampledFrom([]string{"-1", "0", "7", "10"})
	}
	return rapid.SampledFrom([]string{"", "a", "ab", "B", "付款"})
}

func drawShopFilter(t *rapid.T, depth int) Filter {
	op := rapid.SampledFrom([]Op{True, False, Eq, Ne, Lt, Le, Gt, Ge, In, IsNull, Prefix, Contains, Match, And, Or, Not}).Draw(t, "op")
	if depth == 0 && (op == And || op == Or || op == Not) {
		op = Eq
	}
	switch op {
	case True, False:
		return Filter{Op: op}
	case Not:
		return Filter{Op: Not, Args: []Filter{drawShopFilter(t, depth-1)}}
	case And, Or:
		f := Filter{Op: op}
		for range rapid.IntRange(1, 3).Draw(t, "args") {
			f.Args = append(f.Args, drawShopFilter(t, depth-1))
		}
		return f
	}
	f := Filter{Op: op, Column: rapid.SampledFrom([]string{"at", "n", "who"}).Draw(t, "column")}
	n := 1
	switch op {
	case Prefix, Contains:
		f.Column = "who"
	case Match:
		return Cmp("who", op, rapid.SampledFrom([]string{"a", "b", "付款", "款"}).Draw(t, "value"))
	case In:
		n = rapid.IntRange(1, 3).Draw(t, "values")
	case IsNull:
		return f
	}
	for range n {
		f.Values = append(f.Values, values(f.Column).Draw(t, "value"))
	}
	return f
}

func drawShopRow(t *rapid.T) Row {
	var r Row
	r.AppendString(values("at").Draw(t, "at"))
	for _, c := range []string{"n", "who"} {
		if rapid.Bool().Draw(t, "null") {
			r.AppendNull()
			continue
		}
		r.AppendString(values(c).Draw(t, c))
	}
	return r
}

func TestSimplifyAndFoldKeepTheAnswer(t *testing.T) {
	d := shop()
	rapid.Check(t, func(t *rapid.T) {
		f, r := drawShopFilter(t, 3), drawShopRow(t)
		if err := f.Check(d); err != nil {
			t.Fatal(err)
		}
		want := f.Accepts(d, &r)
		if s := f.Simplify(); s.Accepts(d, &r) != want {
			t.Fatalf("%s accepts %v, simplified to %s", f, want, s)
		}
		at, _ := InstantOf(d.Columns[0].Type, r.Cell(0))
		shard := d.ShardAt(at)
		if s := f.Fold(d, shard.Range); s.Accepts(d, &r) != want {
			t.Fatalf("%s accepts %v, folded for %s to %s", f, want, shard.Table, s)
		}
	})
}

func TestFoldDecides(t *testing.T) {
	d := shop()
	at, _ := InstantOf(Type{Kind: Date}, []byte("2026-01-15"))
	january := d.ShardAt(at).Range
	for _, c := range []struct {
		f    Filter
		want Op
	}{
		{Cmp("at", Ge, "2026-02-01 00:00:00"), False}, {Cmp("at", Lt, "2026-02-01 00:00:00"), True}, {Cmp("at", Lt, "2026-01-01 00:00:00"), False},
		{Cmp("at", Ge, "2026-01-01 00:00:00"), True}, {Cmp("at", Eq, "2026-03-01 00:00:00"), False}, {Cmp("at", Ne, "2026-03-01 00:00:00"), True},
		{Cmp("at", Gt, "2026-01-01 00:00:00"), Gt}, {Filter{Op: IsNull, Column: "at"}, False}, {Cmp("n", Eq, "1"), Eq},
		{AndAll(Cmp("at", Ge, "2026-01-01 00:00:00"), Cmp("n", Eq, "1")), Eq},
	} {
		if got := c.f.Fold(d, january); got.Op != c.want {
			t.Errorf("%s folds to %s", c.f, got)
		}
	}
}
