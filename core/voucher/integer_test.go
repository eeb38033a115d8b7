package voucher

import (
	"math/big"
	"testing"

	"pgregory.net/rapid"
)

func anyWhole() *rapid.Generator[int] {
	return rapid.OneOf(rapid.Int(), rapid.IntRange(-20, 20), rapid.SampledFrom([]int{0, 1, -1, 1<<63 - 1, -1 << 63, 1 << 62, 10_000}))
}

// exact is a·b/c by big numbers.
func exact(a, b, c int, mode Rounding) *big.Int {
	n := new(big.Int).Mul(big.NewInt(int64(a)), big.NewInt(int64(b)))
	d := big.NewInt(int64(c))
	if d.Sign() < 0 {
		n.Neg(n)
		d.Neg(d)
	}
	floor, rest := new(big.Int).DivMod(n, d, new(big.Int)) // 0 ≤ rest < d
	up := false
	switch half := new(big.Int).Lsh(rest, 1).Cmp(d); mode {
	case Ceil:
		up = rest.Sign() != 0
	case HalfUp:
		up = half > 0 || half == 0 && n.Sign() > 0
	case HalfEven:
		up = half > 0 || half == 0 && floor.Bit(0) == 1
	}
	if up {
		floor.Add(floor, big.NewInt(1))
	}
	return floor
}

// TestL8_mul_div_is_exact compares every rounding with numbers of any size.
func TestL8_mul_div_is_exact(t *testing.T) {
	for a := -25; a <= 25; a++ { // all the small middles
		for c := -6; c <= 6; c++ {
			for _, mode := range []Rounding{Floor, Ceil, HalfUp, HalfEven} {
				if c == 0 {
					continue
				}
				if got, err := MulDiv(a, 1, c, mode); err != nil || int64(got) != exact(a, 1, c, mode).Int64() {
					t.Fatalf("%d / %d %s: %d %v instead of %s", a, c, mode, got, err, exact(a, 1, c, mode))
				}
			}
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		a, b, c := anyWhole().Draw(t, "a"), anyWhole().Draw(t, "b"), anyWhole().Draw(t, "c")
		mode := rapid.SampledFrom([]Rounding{Floor, Ceil, HalfUp, HalfEven}).Draw(t, "mode")
		got, err := MulDiv(a, b, c, mode)
		if c == 0 {
			if err == nil {
				t.Fatal("divided by 0")
			}
			return
		}
		want := exact(a, b, c, mode)
		if (err == nil) != want.IsInt64() || err == nil && int64(got) != want.Int64() {
			t.Fatalf("%d %v instead of %s", got, err, want)
		}
	})
}

// TestL8_shares_sum_exactly: what is split is all there, and nobody is off by a minor unit.
func TestL8_shares_sum_exactly(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		total := anyWhole().Draw(t, "total")
		weights := rapid.SliceOfN(rapid.IntRange(0, 1<<40), 1, 20).Draw(t, "weights")
		sum, all := new(big.Int), new(big.Int)
		for _, w := range weights {
			all.Add(all, big.NewInt(int64(w)))
		}
		for i := range weights {
			got, err := Share(total, weights, i)
			if all.Sign() == 0 {
				if err == nil {
					t.Fatal("shared among nobody")
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			sum.Add(sum, big.NewInt(int64(got)))
			// |got·all − total·weight| < all
			off := new(big.Int).Mul(big.NewInt(int64(got)), all)
			off.Sub(off, new(big.Int).Mul(big.NewInt(int64(total)), big.NewInt(int64(weights[i]))))
			if off.CmpAbs(all) >= 0 {
				t.Fatalf("share %d of %d is %d", i, total, got)
			}
		}
		if sum.Cmp(big.NewInt(int64(total))) != 0 {
			t.Fatalf("the shares sum to %s instead of %d", sum, total)
		}
	})
}

func TestArithmeticSeesOverflow(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := anyWhole().Draw(t, "a"), anyWhole().Draw(t, "b")
		x, y := big.NewInt(int64(a)), big.NewInt(int64(b))
		for name, c := range map[string]struct {
			f    func(a, b Whole) (Whole, error)
			want *big.Int
		}{"plus": {plus, new(big.Int).Add(x, y)}, "minus": {minus, new(big.Int).Sub(x, y)}, "times": {times, new(big.Int).Mul(x, y)}} {
			got, err := c.f(a, b)
			if (err == nil) != c.want.IsInt64() || err == nil && int64(got) != c.want.Int64() {
				t.Fatalf("%s of %d and %d: %d %v instead of %s", name, a, b, got, err, c.want)
			}
		}
	})
}
