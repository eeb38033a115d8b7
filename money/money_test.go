package money_test

import (
	"math"
	"math/big"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"strata/fault"
	"strata/money"
)

// amounts favours the ends of the range.
func amounts() *rapid.Generator[money.Amount] {
	return rapid.Custom(func(t *rapid.T) money.Amount {
		return money.Amount(rapid.OneOf(rapid.Int64(), rapid.SampledFrom([]int64{math.MinInt64, math.MinInt64 + 1, -1, 0, 1, math.MaxInt64}), rapid.Int64Range(-1e6, 1e6)).Draw(t, "amount"))
	})
}

func TestCheckedArithmetic(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := amounts().Draw(t, "a"), amounts().Draw(t, "b")
		x, y := big.NewInt(int64(a)), big.NewInt(int64(b))
		check := func(name string, got money.Amount, err error, want *big.Int) {
			if want.IsInt64() != (err == nil) || err == nil && int64(got) != want.Int64() {
				t.Fatalf("%s of %d and %d: %d, %v; want %s", name, a, b, got, err, want)
			}
			if err != nil && !fault.Is(err, fault.Invalid) {
				t.Fatal(err)
			}
		}
		s, err := a.Add(b)
		check("sum", s, err, new(big.Int).Add(x, y))
		s, err = a.Sub(b)
		check("difference", s, err, new(big.Int).Sub(x, y))
		s, err = a.Neg()
		check("negation", s, err, new(big.Int).Neg(x))
	})
}

func TestSumsAreExact(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var sum, other money.Sum
		want, wantOther := new(big.Int), new(big.Int)
		for _, a := range rapid.SliceOfN(amounts(), 0, 40).Draw(t, "amounts") {
			sum.Add(a)
			want.Add(want, big.NewInt(int64(a)))
		}
		for range rapid.IntRange(0, 60).Draw(t, "doublings") {
			sum.AddSum(sum)
			want.Lsh(want, 1)
		}
		other.Add(amounts().Draw(t, "other"))
		wantOther.SetString(other.String(), 10)
		if sum.String() != want.String() || sum.Sign() != want.Sign() || sum.IsZero() != (want.Sign() == 0) {
			t.Fatalf("%s, want %s", sum, want)
		}
		if sum.Cmp(other) != want.Cmp(wantOther) || sum.Cmp(sum) != 0 {
			t.Fatalf("compare %s and %s is %d", sum, other, sum.Cmp(other))
		}
		if a, ok := sum.Amount(); ok != want.IsInt64() || ok && int64(a) != want.Int64() {
			t.Fatalf("%s as an amount is %d, %v", sum, a, ok)
		}
		if sum.Neg().String() != new(big.Int).Neg(want).String() {
			t.Fatalf("-(%s) is %s", sum, sum.Neg())
		}
		if back, err := money.ParseSum(sum.String()); err != nil || back != sum {
			t.Fatalf("%s reads back as %s, %v", sum, back, err)
		}
	})
}

func TestParseSumRefuses(t *testing.T) {
	limit := "170141183460469231731687303715884105727" // 2^127-1
	for _, good := range []string{limit, "-" + limit, "-170141183460469231731687303715884105728", "0", "-5"} {
		if s, err := money.ParseSum(good); err != nil || s.String() != good {
			t.Errorf("%s is %s, %v", good, s, err)
		}
	}
	for _, bad := range []string{"", "-", "1.5", "+1", " 1", "170141183460469231731687303715884105728", "-170141183460469231731687303715884105729",
		"340282366920938463463374607431768211456", "999999999999999999999999999999999999999999"} {
		if _, err := money.ParseSum(bad); !fault.Is(err, fault.Invalid) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func TestFormatAndParseAreInverse(t *testing.T) {
	points, err := money.NewUnits([]money.Info{{Code: "points", Exponent: 0, Name: "Points"}, {Code: "wei", Exponent: 18, Name: "Wei"}})
	if err != nil {
		t.Fatal(err)
	}
	rapid.Check(t, func(t *rapid.T) {
		a := amounts().Draw(t, "amount")
		u := rapid.SampledFrom([]money.Unit{"EUR", "JPY", "BHD", "CLF", "points", "wei"}).Draw(t, "unit")
		text, err := points.Format(a, u)
		if err != nil {
			t.Fatal(err)
		}
		back, err := points.Parse(text, u)
		if err != nil || back != a {
			t.Fatalf("%d %s is %s is %d, %v", a, u, text, back, err)
		}
		info, _ := points.Lookup(u)
		if got := info.FormatSum(money.SumOf(a)); got != text {
			t.Fatalf("sum %s, amount %s", got, text)
		}
	})
}

func TestParse(t *testing.T) {
	for _, c := range []struct {
		text string
		unit money.Unit
		want money.Amount
	}{{"12.34", "EUR", 1234}, {"12", "EUR", 1200}, {"-0.05", "EUR", -5}, {"+1.5", "EUR", 150}, {"100", "JPY", 100}, {"1.234", "BHD", 1234}, {"0.0001", "CLF", 1},
		{"92233720368547758.07", "EUR", math.MaxInt64}, {"-92233720368547758.08", "EUR", math.MinInt64}, {"007", "JPY", 7}} {
		if got, err := money.Parse(c.text, c.unit); err != nil || got != c.want {
			t.Errorf("%s %s is %d, %v", c.text, c.unit, got, err)
		}
	}
	for text, unit := range map[string]money.Unit{"": "EUR", "-": "EUR", ".5": "EUR", "5.": "EUR", "1.234": "EUR", "1.0": "JPY", "1,5": "EUR", "1e3": "EUR",
		"--1": "EUR", "+-1": "EUR", "92233720368547758.08": "EUR", "1": "eur", "2": "XXX", " 1": "EUR", "１": "EUR"} {
		if _, err := money.Parse(text, unit); !fault.Is(err, fault.Invalid) {
			t.Errorf("%q %s: %v", text, unit, err)
		}
	}
}

func TestISOTable(t *testing.T) {
	all := money.ISO()
	if len(all) < 165 {
		t.Errorf("%d units", len(all))
	}
	numbers := map[int]money.Unit{}
	for i, u := range all {
		if len(u.Code) != 3 || strings.ToUpper(string(u.Code)) != string(u.Code) || u.Name == "" || u.Numeric < 1 || u.Numeric > 999 {
			t.Errorf("%+v", u)
		}
		if i > 0 && all[i-1].Code >= u.Code {
			t.Errorf("%s comes after %s", u.Code, all[i-1].Code)
		}
		if other, twice := numbers[u.Numeric]; twice && u.Code != "XCG" { // XCG took over ANG's number
			t.Errorf("%s and %s have number %d", u.Code, other, u.Numeric)
		}
		numbers[u.Numeric] = u.Code
		if got, ok := money.Lookup(u.Code); !ok || got != u {
			t.Errorf("lookup of %s: %+v", u.Code, got)
		}
	}
	for code, exponent := range map[money.Unit]int{"EUR": 2, "USD": 2, "JPY": 0, "KRW": 0, "BHD": 3, "KWD": 3, "TND": 3, "CLF": 4, "UYW": 4, "UYI": 0, "XCG": 2, "VED": 2, "ZWG": 2, "ISK": 0, "HUF": 2, "MGA": 2, "XOF": 0} {
		if u, ok := money.Lookup(code); !ok || u.Exponent != exponent {
			t.Errorf("%s: %+v", code, u)
		}
	}
	if _, ok := money.Lookup("XAU"); ok {
		t.Error("gold is a unit of a ledger")
	}
}

func TestNewUnitsRefuses(t *testing.T) {
	for name, bad := range map[string][]money.Info{
		"an empty code":               {{}},
		"a code with a space":         {{Code: "a b"}},
		"a long code":                 {{Code: "abcdefghijklm"}},
		"a negative exponent":         {{Code: "pts", Exponent: -1}},
		"an exponent over 18":         {{Code: "pts", Exponent: 19}},
		"a code twice":                {{Code: "pts"}, {Code: "pts"}},
		"EUR with another exponent":   {{Code: "EUR", Exponent: 3}},
		"one bad unit among good one": {{Code: "pts"}, {Code: ""}},
	} {
		if _, err := money.NewUnits(bad); !fault.Is(err, fault.Invalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := (money.Units{}).Format(1, "pts"); !fault.Is(err, fault.Invalid) || fault.HintOf(err) == "" {
		t.Errorf("unknown unit: %v", err)
	}
}
