package core

import (
	"fmt"
	"time"

	"strata/fault"
)

// maxSpan bounds EnsureShards: more is a mistyped year, and would be thousands of tables.
const maxSpan = 30 * 366 * 24 * time.Hour

// CheckAccount reports what is wrong with an account that shall be opened (fault.Invalid).
func CheckAccount(a *Account) error {
	op := fmt.Sprintf("open account %d", a.ID)
	if !ValidUnit(a.Unit) {
		return fault.New(fault.Invalid, op, "unit %q is not 1 to 12 upper-case letters and digits", a.Unit)
	}
	if !printable(a.Name, MaxNameRunes) {
		return fault.New(fault.Invalid, op, "the name is not UTF-8 of at most %d characters without NUL", MaxNameRunes)
	}
	return nil
}

// SameAccount reports whether both were opened alike: id, name, unit, minimum.
func SameAccount(a, b *Account) bool {
	if a.ID != b.ID || a.Name != b.Name || a.Unit != b.Unit || (a.MinBalance == nil) != (b.MinBalance == nil) {
		return false
	}
	return a.MinBalance == nil || *a.MinBalance == *b.MinBalance
}

// AccountConflict is Open's error for an id that was opened otherwise.
func AccountConflict(id int64) error {
	return fault.New(fault.Conflict, fmt.Sprintf("open account %d", id), "it is there with another name, unit or minimum")
}

// EarlierDay is CutDay's error for a date before the open one.
func EarlierDay(date, open time.Time) error {
	return fault.New(fault.Invalid, "cut day to "+date.Format(time.DateOnly), "the accounting date is %s already", open.Format(time.DateOnly))
}

// CheckSpan reports what is wrong with the range of EnsureShards (fault.Invalid).
func CheckSpan(from, to time.Time) error {
	if !from.Before(to) || to.Sub(from) > maxSpan || !Storable(from) || !Storable(to) {
		return fault.New(fault.Invalid, "make shards", "%s to %s is not a range of at most 30 years", from.Format(time.DateOnly), to.Format(time.DateOnly))
	}
	return nil
}
