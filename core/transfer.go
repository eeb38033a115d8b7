package core

import (
	"crypto/sha256"
	"encoding/binary"
	"time"
)

// The limits of a transfer. A chain is posted in one piece, and an answer has a balance for each leg.
const (
	MaxIDBytes       = 64
	MaxKindBytes     = 32
	MaxUnitBytes     = 12
	MaxNameRunes     = 128
	MaxMemoRunes     = 255
	MaxLegs          = 1000
	MaxMetadataBytes = 2048
	MaxTenantBytes   = 32
	MaxOrderBytes    = 64
	MaxProductBytes  = 32
	MaxNatureBytes   = 24
	MaxStrategyBytes = 32
	MaxChain         = 500
	MaxChainLegs     = 10_000 // of all its transfers: it is one transaction
)

// Leg is one side of a transfer: minor units of Unit, positive for a credit, negative for a debit; zero only in a Confirm or
// Reverse, where it books nothing of that leg.
type Leg struct {
	Account int64
	Unit    string
	Amount  int64
	// Nature is where the money comes from, on a credit to an account with a Strategy, as far as the credit inherits none
	// from payers whose balances are split; "" is the Strategy's default. A debit has none: the Strategy says what is spent.
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

// Total is what a transfer's row shows: the first leg's unit and the sum of the credits in it. The transfer is
// valid and has its legs (Batch.Booked).
func (t *Transfer) Total() (unit string, amount int64) {
	if len(t.Legs) == 0 {
		return "", 0
	}
	unit = t.Legs[0].Unit
	for _, l := range t.Legs {
		if l.Unit == unit && l.Amount > 0 {
			amount += l.Amount
		}
	}
	return unit, amount
}

// Hash is the SHA-256 of every field, each with its length: two transfers have the same body if it is equal. A transfer
// that uses none of the fields which came later has the first form.
func (t *Transfer) Hash() [32]byte {
	buf := make([]byte, 0, 128+len(t.ID)+len(t.Kind)+len(t.Memo)+len(t.Metadata)+len(t.Legs)*32)
	text := func(s string) {
		buf = binary.BigEndian.AppendUint32(buf, uint32(len(s)))
		buf = append(buf, s...)
	}
	moment := func(at time.Time) {
		if at.IsZero() {
			buf = append(buf, 0)
			return
		}
		buf = binary.BigEndian.AppendUint64(append(buf, 1), uint64(at.UnixMicro()))
	}
	form := t.form()
	buf = append(buf, form)
	text(t.ID)
	text(t.Kind)
	buf = binary.BigEndian.AppendUint64(buf, uint64(t.OrderTime.UnixMicro()))
	text(t.Memo)
	if form > 1 {
		moment(dateOrZero(t.BusinessDate))
		text(t.Metadata)
		text(t.Tenant)
		text(t.Order)
		text(t.Product)
		buf = append(buf, byte(t.Action))
		text(t.Of)
		moment(t.Expires)
		buf = append(buf, 0)
		if t.Linked {
			buf[len(buf)-1] = 1
		}
	}
	buf = binary.BigEndian.AppendUint32(buf, uint32(len(t.Legs)))
	for _, l := range t.Legs {
		buf = binary.BigEndian.AppendUint64(buf, uint64(l.Account))
		buf = binary.BigEndian.AppendUint64(buf, uint64(l.Amount))
		text(l.Unit)
		if form > 1 {
			text(l.Nature)
		}
	}
	return sha256.Sum256(buf)
}

// form is the number of the body's form: 1 where no field is used that came later.
func (t *Transfer) form() byte {
	later := !t.BusinessDate.IsZero() || t.Metadata != "" || t.Tenant != "" || t.Order != "" || t.Product != "" ||
		t.Action != Post || t.Of != "" || !t.Expires.IsZero() || t.Linked
	for i := 0; i < len(t.Legs) && !later; i++ {
		later = t.Legs[i].Nature != ""
	}
	if later {
		return 2
	}
	return 1
}

func dateOrZero(t time.Time) time.Time {
	if t.IsZero() {
		return t
	}
	return Date(t)
}

// Micros is t as it is stored: UTC, microseconds, the rest cut off.
func Micros(t time.Time) time.Time { return t.UTC().Truncate(time.Microsecond) }

// Day is the date that a transfer belongs to outside.
func (t *Transfer) Day() time.Time {
	if t.BusinessDate.IsZero() {
		return Date(t.OrderTime)
	}
	return Date(t.BusinessDate)
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
