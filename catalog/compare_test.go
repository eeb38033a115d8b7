package catalog

import (
	"math/big"
	"strconv"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func sign(n int) int { return max(-1, min(1, n)) }

func TestNumbersCompareByValue(t *testing.T) {
	number := rapid.OneOf(rapid.StringMatching(`-?[0-9]{1,40}(\.[0-9]{1,30})?`), rapid.StringMatching(`-?[0-3]{1,2}(\.[0-1]{1,2})?`))
	rapid.Check(t, func(t *rapid.T) {
		a, b := number.Draw(t, "a"), number.Draw(t, "b")
		x, _ := new(big.Rat).SetString(a)
		y, _ := new(big.Rat).SetString(b)
		for _, k := range []Kind{Int, Uint, Decimal} {
			if got := sign(Compare(Type{Kind: k}, []byte(a), []byte(b))); got != x.Cmp(y) {
				t.Fatalf("%s: compare %s and %s is %d", k, a, b, got)
			}
		}
	})
}

func TestFloatsCompareByValue(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		x, y := rapid.Float64Range(-1e300, 1e300).Draw(t, "x"), rapid.SampledFrom([]float64{0, 1, -1e-9, 2.5e10}).Draw(t, "y")
		want := 0
		if x < y {
			want = -1
		} else if x > y {
			want = 1
		}
		f := func(v float64) []byte { return strconv.AppendFloat(nil, v, 'g', -1, 64) }
		if got := Compare(Type{Kind: Double}, f(x), f(y)); got != want {
			t.Fatalf("compare %v and %v is %d", x, y, got)
		}
	})
}

func TestTimesOfDayCompareByLength(t *testing.T) {
	draw := func(t *rapid.T, name string) (string, int) {
		s := rapid.IntRange(-838*3600, 838*3600).Draw(t, name)
		n := max(s, -s)
		text := pad(n/3600) + ":" + pad(n/60%60) + ":" + pad(n%60) + ".50"
		if s < 0 {
			return "-" + text, 2*s - 1
		}
		return text, 2*s + 1
	}
	rapid.Check(t, func(t *rapid.T) {
		a, x := draw(t, "a")
		b, y := draw(t, "b")
		if got := sign(Compare(Type{Kind: Time, FSP: 2}, []byte(a), []byte(b))); got != sign(x-y) {
			t.Fatalf("compare %s and %s is %d", a, b, got)
		}
	})
}

func pad(n int) string {
	if n < 10 {
		return "0" + strconv.Itoa(n)
	}
	return strconv.Itoa(n)
}

// Compare is a total order for each kind: antisymmetric, transitive, NULL first and equal to itself only.
func TestCompareIsATotalOrder(t *testing.T) {
	kinds := []Kind{Int, Decimal, Double, Date, Year, Text, Binary}
	rapid.Check(t, func(t *rapid.T) {
		typ := Type{Kind: rapid.SampledFrom(kinds).Draw(t, "kind")}
		a, b, c := drawCell(t, typ.Kind), drawCell(t, typ.Kind), drawCell(t, typ.Kind)
		if Compare(typ, a, a) != 0 || sign(Compare(typ, a, b)) != -sign(Compare(typ, b, a)) {
			t.Fatalf("%q, %q", a, b)
		}
		if Compare(typ, a, b) <= 0 && Compare(typ, b, c) <= 0 && Compare(typ, a, c) > 0 {
			t.Fatalf("%q <= %q <= %q, but not the ends", a, b, c)
		}
		if a == nil && (Compare(typ, a, b) == 0) != (b == nil) || a == nil && Compare(typ, a, b) > 0 {
			t.Fatalf("NULL against %q", b)
		}
	})
}

func TestCompareRows(t *testing.T) {
	one, two := "1", "2"
	a, b := RowOf(&one, nil), RowOf(&one, &two)
	by := []Sort{{0, Type{Kind: Int}, false}, {1, Type{Kind: Int}, false}}
	if CompareRows(by, &a, &b) >= 0 {
		t.Error("NULL is not first")
	}
	by[1].Desc = true
	if CompareRows(by, &a, &b) <= 0 || CompareRows(by, &a, &a) != 0 {
		t.Error("NULL is not last in descending order")
	}
}

func TestKeysSurviveEscaping(t *testing.T) {
	cell := rapid.OneOf(rapid.String(), rapid.StringMatching(`[a%,/ \x00\n0-9é]{0,8}`))
	rapid.Check(t, func(t *rapid.T) {
		var r, o Row
		n := rapid.IntRange(1, 3).Draw(t, "n")
		at := make([]int, n)
		for i := range n {
			at[i] = i
			r.AppendString(cell.Draw(t, "cell"))
			o.AppendString(cell.Draw(t, "other"))
		}
		k := KeyOf(&r, at)
		cells, err := k.Cells()
		if err != nil || len(cells) != n {
			t.Fatalf("%q: %v, %v", k, cells, err)
		}
		for i, c := range cells {
			if c != r.Text(i) {
				t.Fatalf("%q: cell %d is %q, was %q", k, i, c, r.Text(i))
			}
		}
		if (KeyOf(&o, at) == k) != r.Equal(&o) {
			t.Fatalf("key %q and key %q", k, KeyOf(&o, at))
		}
		if strings.ContainsAny(string(k), " \n/\x00") {
			t.Fatalf("%q has a byte that an id must not have", k)
		}
	})
}

func TestBadKeys(t *testing.T) {
	for _, k := range []Key{"%", "%4", "%4x", "a,%"} {
		if _, err := k.Cells(); err == nil {
			t.Errorf("%q is accepted", k)
		}
	}
}

func TestRow(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		cells := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) []byte { return drawCell(t, Text) }), 0, 9).Draw(t, "cells")
		var r Row
		r.AppendString("left over")
		r.Reset()
		for _, c := range cells {
			r.Append(c)
		}
		if r.Len() != len(cells) {
			t.Fatalf("%d cells", r.Len())
		}
		for i, c := range cells {
			if got := r.Cell(i); string(got) != string(c) || (got == nil) != (c == nil) || r.Null(i) != (c == nil) {
				t.Fatalf("cell %d is %q, was %q", i, got, c)
			}
		}
		clone := r.Clone()
		h, scratch := r.Hash(nil)
		if g, _ := clone.Hash(scratch); g != h || !clone.Equal(&r) {
			t.Fatal("a clone is different")
		}
		if back, err := ParseHash(h.String()); err != nil || back != h {
			t.Fatal(err)
		}
	})
}

func TestHashTellsNullEmptyAndBordersApart(t *testing.T) {
	empty, a, ab, b, bc, c := "", "a", "ab", "b", "bc", "c"
	rows := []Row{RowOf(nil), RowOf(&empty), RowOf(), RowOf(&ab, &c), RowOf(&a, &bc), RowOf(&a, &b, &c), RowOf(nil, &empty), RowOf(&empty, nil)}
	seen := map[Hash]int{}
	for i := range rows {
		h, _ := rows[i].Hash(nil)
		if j, ok := seen[h]; ok {
			t.Errorf("rows %d and %d have one hash", i, j)
		}
		seen[h] = i
	}
}

func TestCanonicalValuesOfTime(t *testing.T) {
	for _, c := range []struct {
		typ      Type
		in, want string
	}{
		{Type{Kind: DateTime, FSP: 6}, "2026-01-31", "2026-01-31 00:00:00.000000"},
		{Type{Kind: DateTime}, "2026-01-31T08:00:00", "2026-01-31 08:00:00"},
		{Type{Kind: DateTime}, "2026-01-31 08:00:00.5", "2026-01-31 08:00:00.5"},
		{Type{Kind: Date}, "2026-01-31 00:00:00", "2026-01-31"},
		{Type{Kind: Date}, "2026-01-31 08:00:00", "2026-01-31 08:00:00"},
		{Type{Kind: Text}, "2026-01-31", "2026-01-31"},
	} {
		if got := Canonical(c.typ, c.in); got != c.want {
			t.Errorf("%s as %s is %q, want %q", c.in, c.typ.Kind, got, c.want)
		}
	}
}

func TestInstants(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		typ := Type{Kind: rapid.SampledFrom([]Kind{DateTime, Timestamp}).Draw(t, "kind"), FSP: rapid.IntRange(0, 6).Draw(t, "fsp")}
		unit := int64(time.Second / time.Microsecond)
		for range typ.FSP {
			unit /= 10
		}
		i := Instant(rapid.Int64Range(-30e15, 250e15).Draw(t, "micros") / unit * unit)
		text := AppendInstant(nil, typ, i)
		if back, ok := InstantOf(typ, text); !ok || back != i {
			t.Fatalf("%d is %s is %d", i, text, back)
		}
	})
	for _, bad := range []string{"", "0000-00-00", "2026-00-10", "2026-13-01", "2026-01-32", "2026-01-31 aa:00:00", "garbagegarb"} {
		if _, ok := InstantOf(Type{Kind: DateTime}, []byte(bad)); ok {
			t.Errorf("%q is an instant", bad)
		}
	}
	if _, ok := InstantOf(Type{Kind: DateTime}, nil); ok {
		t.Error("NULL is an instant")
	}
}
