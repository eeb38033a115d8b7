package voucher

import (
	"fmt"
	"math"
	"math/bits"
)

// Rounding says where a quotient goes that is not whole.
type Rounding string

// The modes. Floor goes down, Ceil up (towards minus and plus infinity), HalfUp to the nearer one and away from zero from the
// middle, HalfEven to the nearer one and from the middle to the even one.
const (
	Floor    Rounding = "floor"
	Ceil     Rounding = "ceil"
	HalfUp   Rounding = "half_up"
	HalfEven Rounding = "half_even"
)

// maxShares bounds the weights of one share.
const maxShares = 1000

// Whole is the kind of number that rules count with: 64 bits, in minor units.
type Whole = int

// MulDiv is a·b/c, rounded once; the product has 128 bits. Errors: c is 0, the result is over 64 bits, no such mode.
func MulDiv(a, b, c Whole, mode Rounding) (Whole, error) {
	switch mode {
	case Floor, Ceil, HalfUp, HalfEven:
	default:
		return 0, fmt.Errorf("rounding %q is not floor, ceil, half_up or half_even", string(mode))
	}
	if c == 0 {
		return 0, fmt.Errorf("%d * %d is divided by 0", a, b)
	}
	negative := (a < 0) != (b < 0) != (c < 0)
	hi, lo := bits.Mul64(magnitude(a), magnitude(b))
	d := magnitude(c)
	over := func() (Whole, error) { return 0, fmt.Errorf("%d * %d / %d is over 64 bits", a, b, c) }
	if hi >= d {
		return over()
	}
	q, r := bits.Div64(hi, lo, d)
	if away(mode, negative, q, r, d) {
		q++
		if q == 0 {
			return over()
		}
	}
	return signed(q, negative, over)
}

// away says whether the quotient q, whose rest is r of d, goes to the next one away from zero.
func away(mode Rounding, negative bool, q, r, d uint64) bool {
	if r == 0 {
		return false
	}
	switch mode {
	case Floor:
		return negative
	case Ceil:
		return !negative
	case HalfUp:
		return r >= d-r
	}
	return r > d-r || r == d-r && q%2 == 1
}

// Share is what the i-th of the weights gets of total, from 0: all of them together get exactly total, none differs from its
// due by a whole minor unit or more, and equal arguments give equal shares. It is the difference of the totals, rounded
// towards zero, that the first i+1 and the first i weights would get. Errors: no weights, one below zero, all zero, over 1000
// of them, no i-th.
func Share(total Whole, weights []Whole, i Whole) (Whole, error) {
	if len(weights) == 0 || len(weights) > maxShares {
		return 0, fmt.Errorf("%d weights are not 1 to %d", len(weights), maxShares)
	}
	if i < 0 || i >= len(weights) {
		return 0, fmt.Errorf("there is no share %d of %d", i, len(weights))
	}
	var all, before uint64
	for k, w := range weights {
		if w < 0 {
			return 0, fmt.Errorf("weight %d is %d, below zero", k, w)
		}
		if k == i {
			before = all
		}
		if all += uint64(w); all > math.MaxInt64 {
			return 0, fmt.Errorf("the weights are over 64 bits")
		}
	}
	if all == 0 {
		return 0, fmt.Errorf("all weights are 0")
	}
	part := func(weight uint64) uint64 {
		hi, lo := bits.Mul64(magnitude(total), weight)
		q, _ := bits.Div64(hi, lo, all) // weight ≤ all, so hi < all
		return q
	}
	return signed(part(before+uint64(weights[i]))-part(before), total < 0, nil)
}

// magnitude is |n|, right for the smallest number as well.
func magnitude(n Whole) uint64 {
	if n < 0 {
		return -uint64(n)
	}
	return uint64(n)
}

func signed(q uint64, negative bool, over func() (Whole, error)) (Whole, error) {
	switch {
	case negative && q <= 1<<63:
		return Whole(-q), nil
	case !negative && q <= math.MaxInt64:
		return Whole(q), nil
	}
	return over()
}

// plus, minus and times are +, - and * that see an overflow.
func plus(a, b Whole) (Whole, error) {
	if s := a + b; (s > a) == (b > 0) {
		return s, nil
	}
	return 0, fmt.Errorf("%d + %d is over 64 bits", a, b)
}

func minus(a, b Whole) (Whole, error) {
	if s := a - b; (s < a) == (b > 0) {
		return s, nil
	}
	return 0, fmt.Errorf("%d - %d is over 64 bits", a, b)
}

func times(a, b Whole) (Whole, error) {
	n, err := MulDiv(a, b, 1, Floor)
	if err != nil {
		return 0, fmt.Errorf("%d * %d is over 64 bits", a, b)
	}
	return n, nil
}
