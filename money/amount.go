package money

import (
	"math"
	"math/bits"
	"strconv"

	"strata/fault"
)

// Amount is a number of minor units: cents of EUR, yen, points. Negative amounts are fine.
type Amount int64

// Add returns a+b. Errors: fault.Invalid on overflow.
func (a Amount) Add(b Amount) (Amount, error) {
	s := a + b
	if (s > a) != (b > 0) && b != 0 {
		return 0, fault.New(fault.Invalid, "add amounts", "%d + %d is over 64 bits", a, b)
	}
	return s, nil
}

// Sub returns a-b. Errors: fault.Invalid on overflow.
func (a Amount) Sub(b Amount) (Amount, error) {
	s := a - b
	if (s < a) != (b > 0) && b != 0 {
		return 0, fault.New(fault.Invalid, "subtract amounts", "%d - %d is over 64 bits", a, b)
	}
	return s, nil
}

// Neg returns -a. Errors: fault.Invalid for the smallest amount, which has no positive counterpart.
func (a Amount) Neg() (Amount, error) {
	if a == math.MinInt64 {
		return 0, fault.New(fault.Invalid, "negate amount", "%d has no counterpart in 64 bits", a)
	}
	return -a, nil
}

// String is the amount in minor units, as a ledger column holds it.
func (a Amount) String() string { return strconv.FormatInt(int64(a), 10) }

// ParseMinor reads minor units as String writes them. Errors: fault.Invalid.
func ParseMinor(s string) (Amount, error) {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return 0, fault.New(fault.Invalid, "parse amount", "%q is not a 64-bit number of minor units", s)
	}
	return Amount(n), nil
}

// Sum is a total of 128 bits, two's complement. The zero value is 0; Sums are compared with ==.
type Sum struct {
	hi int64
	lo uint64
}

// SumOf is an amount as a Sum.
func SumOf(a Amount) Sum { return Sum{int64(a) >> 63, uint64(a)} }

// Add adds an amount. 2^63 amounts of any size fit.
func (s *Sum) Add(a Amount) { s.AddSum(SumOf(a)) }

// AddSum adds another sum.
func (s *Sum) AddSum(o Sum) {
	lo, carry := bits.Add64(s.lo, o.lo, 0)
	hi, _ := bits.Add64(uint64(s.hi), uint64(o.hi), carry)
	s.hi, s.lo = int64(hi), lo
}

// Neg returns -s.
func (s Sum) Neg() Sum {
	lo, borrow := bits.Sub64(0, s.lo, 0)
	hi, _ := bits.Sub64(0, uint64(s.hi), borrow)
	return Sum{int64(hi), lo}
}

// IsZero reports whether the sum is 0.
func (s Sum) IsZero() bool { return s == Sum{} }

// Sign is -1, 0 or 1.
func (s Sum) Sign() int {
	switch {
	case s.hi < 0:
		return -1
	case s.IsZero():
		return 0
	}
	return 1
}

// Cmp orders two sums: -1, 0 or 1.
func (s Sum) Cmp(o Sum) int {
	switch {
	case s == o:
		return 0
	case s.hi < o.hi || s.hi == o.hi && s.lo < o.lo:
		return -1
	}
	return 1
}

// Amount is the sum as an amount, and whether it fits one.
func (s Sum) Amount() (Amount, bool) {
	a := Amount(int64(s.lo))
	return a, SumOf(a) == s
}

// String is the sum in minor units, all digits.
func (s Sum) String() string {
	var room [40]byte
	i := len(room)
	m := s
	if s.hi < 0 {
		m = s.Neg() // the smallest sum stays itself, and is right as the unsigned magnitude below
	}
	hi, lo := uint64(m.hi), m.lo
	for {
		var rest uint64
		hi, rest = hi/10, hi%10
		lo, rest = bits.Div64(rest, lo, 10)
		i--
		room[i] = byte('0' + rest)
		if hi == 0 && lo == 0 {
			break
		}
	}
	if s.hi < 0 {
		i--
		room[i] = '-'
	}
	return string(room[i:])
}

// ParseSum reads what String writes, up to 128 bits. Errors: fault.Invalid.
func ParseSum(text string) (Sum, error) {
	bad := func() (Sum, error) {
		return Sum{}, fault.New(fault.Invalid, "parse sum", "%q is not a 128-bit number of minor units", text)
	}
	digits, negative := text, false
	if len(text) > 0 && text[0] == '-' {
		digits, negative = text[1:], true
	}
	if digits == "" {
		return bad()
	}
	var hi, lo uint64
	for i := range len(digits) {
		c := digits[i]
		if c < '0' || c > '9' {
			return bad()
		}
		over, h := bits.Mul64(hi, 10)
		carry, l := bits.Mul64(lo, 10)
		l, c1 := bits.Add64(l, uint64(c-'0'), 0)
		h, c2 := bits.Add64(h, carry, c1)
		if over != 0 || c2 != 0 {
			return bad()
		}
		hi, lo = h, l
	}
	s := Sum{int64(hi), lo}
	if negative {
		if s.hi < 0 && s != (Sum{math.MinInt64, 0}) {
			return bad()
		}
		return s.Neg(), nil
	}
	if s.hi < 0 {
		return bad()
	}
	return s, nil
}
