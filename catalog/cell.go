package catalog

import (
	"encoding/hex"
	"regexp"
	"strconv"
	"time"
	"unicode/utf8"

	"strata/fault"
)

// CheckCell reports whether text can be compared with cells of the type: digits for an integer, a date for a date. It is
// for values that people write in queries; cells that were read need no check.
func CheckCell(t Type, text string) error {
	bad := func(want string) error {
		return fault.New(fault.Invalid, "check value", "%q is not %s", text, want)
	}
	switch t.Kind {
	case Int, Uint, Decimal, Year:
		if !isNumber(text) {
			return bad("a number")
		}
	case Float, Double:
		if _, err := strconv.ParseFloat(text, 64); err != nil {
			return bad("a number")
		}
	case Date, DateTime, Timestamp:
		if !isDate(text) {
			return bad("a date or time such as 2026-01-31 or 2026-01-31 08:00:00")
		}
	case Time:
		if !isTime(text) {
			return bad("a time such as 08:00:00")
		}
	case Binary, Bit, Spatial:
		if _, err := hex.DecodeString(text); err != nil {
			return bad("lower-case hex")
		}
	default:
		if !utf8.ValidString(text) {
			return bad("UTF-8")
		}
	}
	return nil
}

func isNumber(s string) bool {
	digits, point := 0, false
	for i, c := range s {
		switch {
		case c >= '0' && c <= '9':
			digits++
		case c == '-' && i == 0:
		case c == '.' && !point:
			point = true
		default:
			return false
		}
	}
	return digits > 0
}

func isDate(s string) bool {
	for _, layout := range []string{"2006-01-02", "2006-01-02 15:04:05", "2006-01-02T15:04:05"} {
		if len(s) != len(layout) && !(len(layout) > 10 && len(s) > len(layout)+1 && len(s) <= len(layout)+7 && s[len(layout)] == '.') {
			continue
		}
		if _, err := time.Parse(layout, s); err == nil { // a fraction is accepted after the seconds
			return true
		}
	}
	return false
}

func isTime(s string) bool {
	ok, _ := regexp.MatchString(`^-?\d{2,3}:\d{2}:\d{2}(\.\d{1,6})?$`, s)
	return ok
}

// Canonical brings a value that a person wrote into the canonical text of the type, so that text equality and
// comparison agree: dates get their time part, fractions are padded, an ISO "T" becomes a space. The value must have
// passed CheckCell.
func Canonical(t Type, text string) string {
	if !t.Kind.Temporal() {
		return text
	}
	i, ok := InstantOf(Type{Kind: DateTime}, []byte(text))
	if !ok {
		return text
	}
	if t.Kind == Date && len(text) > 10 && i != At(i.Time().Truncate(24*3600e9)) {
		return text // a time of day against a DATE: compared by instant, not cut
	}
	fsp := 0
	if len(text) > 20 {
		fsp = len(text) - 20
	}
	return string(AppendInstant(nil, Type{Kind: t.Kind, FSP: max(t.FSP, fsp)}, i))
}
