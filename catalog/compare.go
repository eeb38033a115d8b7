package catalog

import (
	"bytes"
	"math"
	"strconv"
	"strings"
)

// Compare orders two cells of a column type: negative, zero, positive. NULL (nil) sorts first and equals itself. Numbers
// compare by value, dates and times by time, everything else byte by byte.
func Compare(t Type, a, b []byte) int {
	if a == nil || b == nil {
		switch {
		case a == nil && b == nil:
			return 0
		case a == nil:
			return -1
		default:
			return 1
		}
	}
	switch t.Kind {
	case Int, Uint, Decimal, Year:
		return compareNumber(a, b)
	case Float, Double:
		return compareFloat(a, b)
	case Time:
		return compareTime(a, b)
	default:
		return bytes.Compare(a, b)
	}
}

// compareNumber compares plain decimal numbers of any length: "-12.50" < "3".
func compareNumber(a, b []byte) int {
	na, nb := len(a) > 0 && a[0] == '-', len(b) > 0 && b[0] == '-'
	if na != nb {
		if zeroNumber(a) && zeroNumber(b) {
			return 0
		}
		if na {
			return -1
		}
		return 1
	}
	if na {
		return compareMagnitude(b[1:], a[1:])
	}
	return compareMagnitude(a, b)
}

func zeroNumber(a []byte) bool { return len(bytes.Trim(a, "-0.")) == 0 }

func compareMagnitude(a, b []byte) int {
	ai, af, _ := bytes.Cut(a, []byte("."))
	bi, bf, _ := bytes.Cut(b, []byte("."))
	ai, bi = bytes.TrimLeft(ai, "0"), bytes.TrimLeft(bi, "0")
	if len(ai) != len(bi) {
		if len(ai) < len(bi) {
			return -1
		}
		return 1
	}
	if c := bytes.Compare(ai, bi); c != 0 {
		return c
	}
	return bytes.Compare(bytes.TrimRight(af, "0"), bytes.TrimRight(bf, "0"))
}

func compareFloat(a, b []byte) int {
	x, errX := strconv.ParseFloat(string(a), 64)
	y, errY := strconv.ParseFloat(string(b), 64)
	if errX != nil || errY != nil || math.IsNaN(x) || math.IsNaN(y) {
		return bytes.Compare(a, b)
	}
	switch {
	case x < y:
		return -1
	case x > y:
		return 1
	default:
		return 0
	}
}

// compareTime compares [-]H…H:MM:SS[.f]; the fraction has the same number of digits on both sides.
func compareTime(a, b []byte) int {
	norm := func(c []byte) ([]byte, bool) {
		neg := len(c) > 0 && c[0] == '-'
		return []byte(strings.ReplaceAll(strings.TrimPrefix(string(c), "-"), ":", "")), neg
	}
	x, nx := norm(a)
	y, ny := norm(b)
	if nx {
		x = append([]byte("-"), x...)
	}
	if ny {
		y = append([]byte("-"), y...)
	}
	return compareNumber(x, y)
}

// Sort is one sort column of an order: the column's position, its type, and the direction.
type Sort struct {
	Index int
	Type  Type
	Desc  bool
}

// CompareRows orders two rows by the sort columns; zero means equal in all of them. NULL sorts first ascending and last
// descending.
func CompareRows(by []Sort, a, b *Row) int {
	for _, s := range by {
		c := Compare(s.Type, a.Cell(s.Index), b.Cell(s.Index))
		if c == 0 {
			continue
		}
		if s.Desc {
			return -c
		}
		return c
	}
	return 0
}
