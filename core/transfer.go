package core

import (
	"crypto/sha256"
	"encoding/binary"
	"math"
	"time"
	"unicode/utf8"
)

// The limits of a transfer. Legs: an answer, with a balance for each, has to fit a TEXT column.
const (
	MaxIDBytes   = 64
	MaxKindBytes = 32
	MaxUnitBytes = 12
	MaxNameRunes = 128
	MaxMemoRunes = 255
	MaxLegs      = 1000
)

// Account is one account with its state.
type Account struct {
	ID   int64
	Name string // at most 128 characters
	Unit string // CNY, USD, POINT: upper-case letters and digits, at most 12
	// MinBalance is the lowest balance that a transfer may leave; nil: none.
	MinBalance *int64
	Balance    int64 // minor units; a positive one is what the ledger owes
	Entries    int64 // how many entries it has, and the number of the last
}

// Leg is one side of a transfer: minor units of Unit, positive for a credit, negative for a debit, never zero.
type Leg struct {
	Account int64
	Unit    string
	Amount  int64
}

// Transfer moves amounts between accounts.
type Transfer struct {
	ID        string    // chosen by the caller: 1 to 64 visible ASCII characters, no space
	Kind      string    // the same, at most 32
	OrderTime time.Time // when it was ordered; microseconds, the rest is cut off
	Memo      string    // at most 255 characters of UTF-8, no NUL
	Legs      []Leg     // 2 to 1000
}

// Nameable reports whether the id can be remembered at all. What has no such id is refused without a trace.
func (t *Transfer) Nameable() bool { return visible(t.ID, MaxIDBytes) }

// Validate says why the transfer can't be applied whatever the accounts are: the code and a sentence, or "".
func (t *Transfer) Validate() (Code, string) {
	switch {
	case !t.Nameable():
		return BadTransfer, "the id is not 1 to 64 visible ASCII characters"
	case !visible(t.Kind, MaxKindBytes):
		return BadTransfer, "the kind is not 1 to 32 visible ASCII characters"
	case !Storable(t.OrderTime):
		return BadTransfer, "the order time is not between 1970 and 9999"
	case !printable(t.Memo, MaxMemoRunes):
		return BadTransfer, "the memo is not UTF-8 of at most 255 characters without NUL"
	case len(t.Legs) < 2 || len(t.Legs) > MaxLegs:
		return BadTransfer, "a transfer has 2 to 1000 legs"
	}
	return t.validateLegs()
}

// validateLegs adds credits and debits per unit apart, each in 64 bits with its carry seen.
func (t *Transfer) validateLegs() (Code, string) {
	type total struct {
		unit          string
		credit, debit uint64
	}
	sums := make([]total, 0, 2)
	for _, l := range t.Legs {
		if l.Amount == 0 {
			return BadTransfer, "a leg has the amount 0"
		}
		if !ValidUnit(l.Unit) {
			return BadTransfer, "a unit is not 1 to 12 upper-case letters and digits"
		}
		i := 0
		for i < len(sums) && sums[i].unit != l.Unit {
			i++
		}
		if i == len(sums) {
			sums = append(sums, total{unit: l.Unit})
		}
		side, amount := &sums[i].credit, uint64(l.Amount)
		if l.Amount < 0 {
			side, amount = &sums[i].debit, -amount
		}
		if amount > math.MaxInt64 || *side+amount > math.MaxInt64 {
			return Overflow, "the legs in " + l.Unit + " exceed 64 bits"
		}
		*side += amount
	}
	for _, s := range sums {
		if s.credit != s.debit {
			return Unbalanced, "the legs in " + s.unit + " do not sum to zero"
		}
	}
	return "", ""
}

// Total is what a transfer's row shows: the first leg's unit and the sum of the credits in it. The transfer is valid.
func (t *Transfer) Total() (unit string, amount int64) {
	unit = t.Legs[0].Unit
	for _, l := range t.Legs {
		if l.Unit == unit && l.Amount > 0 {
			amount += l.Amount
		}
	}
	return unit, amount
}

// Hash is the SHA-256 of every field, each with its length: two transfers have the same body if it is equal.
func (t *Transfer) Hash() [32]byte {
	buf := make([]byte, 0, 64+len(t.ID)+len(t.Kind)+len(t.Memo)+len(t.Legs)*32)
	text := func(s string) {
		buf = binary.BigEndian.AppendUint32(buf, uint32(len(s)))
		buf = append(buf, s...)
	}
	buf = append(buf, 1) // form of the body; another form would need another number
	text(t.ID)
	text(t.Kind)
	buf = binary.BigEndian.AppendUint64(buf, uint64(t.OrderTime.UnixMicro()))
	text(t.Memo)
	buf = binary.BigEndian.AppendUint32(buf, uint32(len(t.Legs)))
	for _, l := range t.Legs {
		buf = binary.BigEndian.AppendUint64(buf, uint64(l.Account))
		buf = binary.BigEndian.AppendUint64(buf, uint64(l.Amount))
		text(l.Unit)
	}
	return sha256.Sum256(buf)
}

// Storable reports whether a DATETIME column and a shard's name can hold t.
func Storable(t time.Time) bool { y := t.UTC().Year(); return y >= 1970 && y <= 9999 }

// Date is the day of t in UTC, as a time at midnight.
func Date(t time.Time) time.Time {
	y, m, d := t.UTC().Date()
	return time.Date(y, m, d, 0, 0, 0, 0, time.UTC)
}

// ValidUnit reports whether unit is 1 to 12 upper-case ASCII letters and digits.
func ValidUnit(unit string) bool {
	for _, c := range []byte(unit) {
		if (c < 'A' || c > 'Z') && (c < '0' || c > '9') {
			return false
		}
	}
	return unit != "" && len(unit) <= MaxUnitBytes
}

// visible leaves the space out: the server's comparison would ignore it at the end.
func visible(s string, limit int) bool {
	for _, c := range []byte(s) {
		if c <= ' ' || c > '~' {
			return false
		}
	}
	return s != "" && len(s) <= limit
}

func printable(s string, limit int) bool {
	if !utf8.ValidString(s) || utf8.RuneCountInString(s) > limit {
		return false
	}
	for _, c := range []byte(s) {
		if c == 0 {
			return false
		}
	}
	return true
}
