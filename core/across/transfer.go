package across

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"time"

	"strata/core"
)

// The limits of a transfer across ledgers. MaxLedgers: each is a request of its own that runs beside the others.
const (
	MaxLedgers   = 16
	MaxNameBytes = 32
	// OwnPrefix begins the ids that the coordinator gives to transfers inside the ledgers. Nobody else may use such ids.
	OwnPrefix = core.CoordinatorPrefix
)

// The codes of this package, beside those of core that a ledger's refusal carries.
const (
	UnknownLedger core.Code = "unknown_ledger"
	NoTransit     core.Code = "no_transit" // the ledger has no transit account in a unit that the transfer moves
	Aborted       core.Code = "aborted"    // it was not decided in time, and given up
)

// Leg is one side of a transfer: minor units of Unit, positive for a credit, negative for a debit, never zero.
type Leg struct {
	Ledger  string `json:"ledger"`
	Account int64  `json:"account,string"`
	Unit    string `json:"unit"`
	Amount  int64  `json:"amount,string"`
	Nature  string `json:"nature,omitempty"` // as core.Leg's
}

// Transfer moves amounts between accounts of two or more ledgers; its legs sum to zero per unit over all of them. The fields
// are those of core.Transfer, with the same limits.
type Transfer struct {
	ID           string    `json:"id"`
	Kind         string    `json:"kind"`
	OrderTime    time.Time `json:"order_time"`
	BusinessDate time.Time `json:"business_date,omitzero"`
	Memo         string    `json:"memo,omitempty"`
	Metadata     string    `json:"metadata,omitempty"`
	Tenant       string    `json:"tenant,omitempty"`
	Order        string    `json:"order,omitempty"`
	Product      string    `json:"product,omitempty"`
	Legs         []Leg     `json:"legs"`
}

// normal is the transfer as it is kept and compared.
func (t Transfer) normal() Transfer {
	t.OrderTime = t.OrderTime.UTC().Truncate(time.Microsecond)
	if !t.BusinessDate.IsZero() {
		t.BusinessDate = core.Date(t.BusinessDate)
	}
	return t
}

// Hash is the SHA-256 of every field, each with its length: two transfers have the same body if it is equal.
func (t *Transfer) Hash() [32]byte {
	n := t.normal()
	buf := []byte{1} // the form of the body
	text := func(fields ...string) {
		for _, s := range fields {
			buf = binary.BigEndian.AppendUint32(buf, uint32(len(s)))
			buf = append(buf, s...)
		}
	}
	number := func(v int64) { buf = binary.BigEndian.AppendUint64(buf, uint64(v)) }
	text(n.ID, n.Kind)
	number(n.OrderTime.Unix())
	number(int64(n.OrderTime.Nanosecond()))
	number(n.BusinessDate.Unix())
	text(n.Memo, n.Metadata, n.Tenant, n.Order, n.Product)
	for _, l := range n.Legs {
		text(l.Ledger, l.Unit, l.Nature)
		number(l.Account)
		number(l.Amount)
	}
	return sha256.Sum256(buf)
}

// IDs are the ids of a transfer's Try, Confirm and Cancel, the same in each ledger: x:, the SHA-256 of its id in base64url,
// :t, :c or :a; 47 characters.
func IDs(id string) (try, confirm, cancel string) {
	stem := OwnPrefix + stem(id)
	return stem + ":t", stem + ":c", stem + ":a"
}

func stem(id string) string {
	sum := sha256.Sum256([]byte(id))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// State is how far a transfer is.
type State string

// The states. Trying: reserved here and there, and not decided. Commit, Abort: decided, and not carried out everywhere yet.
// Done: carried out in every ledger.
const (
	Trying State = "trying"
	Commit State = "commit"
	Abort  State = "abort"
	Done   State = "done"
)

// Answer is the answer for one transfer. Outcome, Code, Message, Field and Ledger never change (but Applied becomes
// Replayed); State and Balances say how far the ledgers are.
type Answer struct {
	Outcome core.Outcome
	State   State
	Code    core.Code // "" where it is booked
	Message string
	Field   string // of the transfer: legs[1].account; "" where it is the whole
	Ledger  string // the one that refused; "" where none did
	// Balances are one per leg, in order, as the ledgers answered; nil until Done, and where it is not booked.
	Balances []core.Balance
}

func refuse(code core.Code, message string) Answer {
	return Answer{Outcome: core.Refused, State: Done, Code: code, Message: message}
}

// Part is a transfer inside one ledger.
type Part struct {
	Ledger string
	// Progress is waiting, confirmed or cancelled.
	Progress Progress
	Code     core.Code // of a ledger's refusal: of the Try, or, against all promises, of the Confirm or Cancel
	Error    string    // the last one; "" after success
	// From and To bound the accounting date on which it was booked; zero where it is not known, or not booked.
	From, To time.Time
	Balances []core.Balance // of the Confirm
}

// Progress is how far a Part is.
type Progress string

// The values of Progress.
const (
	Waiting   Progress = "waiting"
	Confirmed Progress = "confirmed"
	Cancelled Progress = "cancelled"
)

// Status is everything that is known of a transfer.
type Status struct {
	ID       string
	Transfer Transfer // only ID where it was refused for what it is
	State    State
	Decision State // Commit, Abort; "" before
	Answer   Answer
	Parts    []Part // by ledger
	At       time.Time
	Due      time.Time // when recovery looks at it next; of no meaning where Done
	Attempts int64     // of recovery
}
