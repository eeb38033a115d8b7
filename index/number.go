package index

import "strings"

// SplitNumber reads a plain decimal number: digits before the point without leading zeros, digits after it without trailing
// ones. Zero is never negative.
func SplitNumber(s string) (neg bool, ints, frac string, ok bool) {
	neg = strings.HasPrefix(s, "-")
	s = strings.TrimPrefix(s, "-")
	ints, frac, _ = strings.Cut(s, ".")
	if ints+frac == "" || strings.Trim(ints, "0123456789") != "" || strings.Trim(frac, "0123456789") != "" {
		return false, "", "", false
	}
	ints, frac = strings.TrimLeft(ints, "0"), strings.TrimRight(frac, "0")
	return neg && ints+frac != "", ints, frac, true
}

// DecimalText is a text that sorts as the number of at most 90 digits, without leading zeros, does: "1", two digits of
// length, and the digits; for a negative number "0", 99 minus the length, and the digits' complement to 9.
func DecimalText(neg bool, digits string) string {
	n := len(digits)
	if !neg || digits == "" {
		return string([]byte{'1', byte('0' + n/10), byte('0' + n%10)}) + digits
	}
	b := make([]byte, 0, 3+n)
	b = append(b, '0', byte('0'+(99-n)/10), byte('0'+(99-n)%10))
	for i := range n {
		b = append(b, '9'-(digits[i]-'0'))
	}
	return string(b)
}

// Increment is the digits of the next number.
func Increment(digits string) string {
	b := []byte(digits)
	for i := len(b) - 1; i >= 0; i-- {
		if b[i] != '9' {
			b[i]++
			return string(b)
		}
		b[i] = '0'
	}
	return "1" + string(b)
}
