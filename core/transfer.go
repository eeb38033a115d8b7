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

// Leg is one side of a transfer: minor units of Unit, positive for a credit, negative for a debit, never zero.
type Leg struct {
	Account int64
	Unit    string
	Amount  int64
	// Nature is where the money comes from, on a credit to an account with a Strategy; "" is the Strategy's default. A debit
	// has none: the Strategy says what is spent.
	Nature string
}

// Action is what a transfer does. The zero value is Post.
type Action uint8

// The actions. Post books the legs. Try reserves them: debits lower what is available, credits what there is room for,
// nothing is booked. Confirm books a reservation, whole (no legs) or in part (legs with the same accounts in the same order
// and amounts that are not larger; the rest is given back). Cancel gives a reservation back (no legs); where there is none
// it leaves a fence: a Try of that id that comes later is refused (Hung). Reverse books the opposite of an applied Post,
// Confirm, whole (no legs) or in part (legs as in Confirm, with the opposite sign), never more than is left of it.
const (
	Post Action = iota
	Try
	Confirm
	Cancel
	Reverse
)

// String is the action's name.
func (a Action) String() string {
	return [...]string{"post", "try", "confirm", "cancel", "reverse"}[a]
}

// ParseAction reads a name; "" is Post.
func ParseAction(name string) (Action, bool) {
	for a := Post; a <= Reverse; a++ {
		if name == a.String() || name == "" {
			return a, true
		}
	}
	return Post, false
}

// Transfer moves amounts between accounts.
type Transfer struct {
	ID        string    // chosen by the caller: 1 to 64 visible ASCII characters, no space
	Kind      string    // the operation: payment, withdraw, …; the same, at most 32
	OrderTime time.Time // when it was ordered; microseconds, the rest is cut off
	// BusinessDate is the day that it belongs to outside, kept beside the accounting date; zero: the day of OrderTime, UTC.
	BusinessDate time.Time
	Memo         string // at most 255 characters of UTF-8, no NUL
	Metadata     string // a JSON object of at most 2048 bytes, or ""
	Tenant       string // visible ASCII, at most 32, or ""
	Order        string // the merchant's order number: visible ASCII, at most 64, or ""
	Product      string // what is bought, for natures that buy a product only: visible ASCII, at most 32, or ""
	Action       Action
	Of           string    // Confirm, Cancel: the Try's id; Reverse: the transfer's; else ""
	Expires      time.Time // Try: when the reservation ends by itself; zero: never
	// Linked binds it to the next one of the same call: a chain is applied as a whole or refused as a whole. The last of a
	// chain has it false. A chain is at most 500 transfers.
	Linked bool
	Legs   []Leg // Post, Try: 2 to 1000
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
