package core

import (
	"encoding/json"
	"slices"
	"strconv"

	"strata/fault"
)

// Outcome is what became of a transfer. The zero value is Failed: no answer is known.
type Outcome uint8

// The outcomes. Failed: the database could not take this transfer; nothing of it is stored, and it may be posted again.
// Applied: booked now. Replayed: the same transfer was booked before; the answer is the one given then. Conflict: the id
// belongs to another body. Refused: not booked, now and for ever.
const (
	Failed Outcome = iota
	Applied
	Replayed
	Conflict
	Refused
)

// String is the outcome's name.
func (o Outcome) String() string {
	return [...]string{"failed", "applied", "replayed", "conflict", "refused"}[o]
}

// Code says why a transfer was not applied; stable, for programs.
type Code string

// The codes. Booked transfers have none.
const (
	BadTransfer    Code = "bad_transfer"
	Unbalanced     Code = "unbalanced"
	Overflow       Code = "overflow"
	TooOld         Code = "too_old"
	TooEarly       Code = "too_early"
	UnknownAccount Code = "unknown_account"
	UnitMismatch   Code = "unit_mismatch"
	BelowMinimum   Code = "below_minimum"
	IDConflict     Code = "id_conflict"
	NotStorable    Code = "not_storable"

	AboveMaximum  Code = "above_maximum"
	AccountFrozen Code = "account_frozen"
	AccountClosed Code = "account_closed"
	LimitExceeded Code = "limit_exceeded"
	SwitchedOff   Code = "switched_off"
	NatureRefused Code = "nature_refused" // funds are there, but none that may be spent for this
	UnknownNature Code = "unknown_nature"
	NotFound      Code = "not_found"     // the transfer to confirm or reverse
	AlreadyEnded  Code = "already_ended" // confirm after cancel, cancel after confirm, another confirm
	Lapsed        Code = "lapsed"        // the reservation's time is over
	Exceeds       Code = "exceeds"       // more than was reserved, or than is left to reverse
	Hung          Code = "hung"          // a try that came after its cancel
	LinkedFailed  Code = "linked_failed" // another one of its chain was refused
	// NullCancelled goes with Applied: a cancel that found no reservation, and left a fence.
	NullCancelled Code = "null_cancelled"
)

// Balance is an account's state just after one leg: its balance, and the number of the entry that the leg left.
type Balance struct {
	Account int64
	Seq     int64 // 0: reserved, or buffered and not merged yet
	Balance int64
	Amount  int64  // of the leg
	Parts   []Part // of the leg's amount, where the account has a Strategy; signed as Amount
}

// SameBalance reports whether both are the same.
func SameBalance(a, b Balance) bool {
	return a.Account == b.Account && a.Seq == b.Seq && a.Balance == b.Balance && a.Amount == b.Amount && slices.Equal(a.Parts, b.Parts)
}

// Answer is the answer for one transfer.
type Answer struct {
	Outcome  Outcome
	Code     Code      // "" where booked
	Message  string    // for people; "" where booked
	Field    string    // what of the transfer the code is about: legs[1].amount; "" where it is the whole
	Balances []Balance // one per leg, in order; nil where not booked
}

// Refuse is a refusal.
func Refuse(code Code, message string) Answer {
	return Answer{Outcome: Refused, Code: code, Message: message}
}

// ConflictAnswer is the answer for an id that belongs to another body.
func ConflictAnswer() Answer {
	return Answer{Outcome: Conflict, Code: IDConflict, Message: "this id was used for another transfer"}
}

// Again is the answer that the same transfer gets the next time.
func (a Answer) Again() Answer {
	if a.Outcome == Applied {
		a.Outcome = Replayed
	}
	return a
}

// AppendJSON appends the answer as it is remembered, without its outcome: {"b":[[account,seq,balance],…]} or
// {"c":code,"m":message}.
func (a *Answer) AppendJSON(dst []byte) []byte {
	if a.Outcome == Refused {
		code, _ := json.Marshal(a.Code) // strings always have a JSON form
		message, _ := json.Marshal(a.Message)
		dst = append(append(dst, `{"c":`...), code...)
		dst = append(append(dst, `,"m":`...), message...)
		return append(dst, '}')
	}
	dst = append(dst, `{"b":[`...)
	for i, b := range a.Balances {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = strconv.AppendInt(append(dst, '['), b.Account, 10)
		dst = strconv.AppendInt(append(dst, ','), b.Seq, 10)
		dst = strconv.AppendInt(append(dst, ','), b.Balance, 10)
		dst = append(dst, ']')
	}
	return append(dst, ']', '}')
}

// ParseAnswer reads what AppendJSON wrote for a transfer whose remembered outcome is applied or refused; the answer's
// outcome is Replayed or Refused.
func ParseAnswer(outcome string, raw []byte) (Answer, error) {
	var form struct {
		Balances [][3]int64 `json:"b"`
		Code     Code       `json:"c"`
		Message  string     `json:"m"`
	}
	if err := json.Unmarshal(raw, &form); err != nil {
		return Answer{}, fault.Wrap(fault.Internal, "parse remembered answer", err)
	}
	switch outcome {
	case "applied":
		a := Answer{Outcome: Replayed, Balances: make([]Balance, len(form.Balances))}
		for i, b := range form.Balances {
			a.Balances[i] = Balance{Account: b[0], Seq: b[1], Balance: b[2]}
		}
		return a, nil
	case "refused":
		return Refuse(form.Code, form.Message), nil
	}
	return Answer{}, fault.New(fault.Internal, "parse remembered answer", "outcome %q", outcome)
}
