package core

import (
	"encoding/json"
	"fmt"
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
	Seq     int64 // 0: reserved, buffered and not merged yet, or of an account in SubAccounts; the last two tell no balance
	Balance int64
	Amount  int64  // of the leg
	Parts   []Part // of the leg's amount, where the account has a Strategy; signed as Amount, sorted by nature
}

// SameBalance reports whether both are the same.
func SameBalance(a, b Balance) bool {
	return a.Account == b.Account && a.Seq == b.Seq && a.Balance == b.Balance && a.Amount == b.Amount && slices.Equal(a.Parts, b.Parts)
}

// Answer is the answer for one transfer.
type Answer struct {
	Outcome  Outcome
	Code     Code      // "" where booked; NullCancelled also goes with Applied
	Message  string    // for people; "" where there is no code
	Field    string    // what of the transfer the code is about: legs[1].amount; "" where it is the whole
	Action   Action    // of an applied transfer: what it did
	Balances []Balance // one per leg that was booked or reserved, in order; nil for a Cancel and where not booked
}

// Refuse is a refusal of the whole.
func Refuse(code Code, message string) Answer {
	return Answer{Outcome: Refused, Code: code, Message: message}
}

// refuse is a refusal that names the field.
func refuse(code Code, field, format string, args ...any) *Answer {
	return &Answer{Outcome: Refused, Code: code, Field: field, Message: fmt.Sprintf(format, args...)}
}

// ConflictAnswer is the answer for an id that belongs to another body.
func ConflictAnswer() Answer {
	return Answer{Outcome: Conflict, Code: IDConflict, Field: "id", Message: "this id was used for another transfer"}
}

// LinkedAnswer is the answer for a transfer of a chain that another one of it breaks.
func LinkedAnswer() Answer {
	return Answer{Outcome: Refused, Code: LinkedFailed, Field: "linked", Message: "another transfer of its chain was refused"}
}

// Again is the answer that the same transfer gets the next time.
func (a Answer) Again() Answer {
	if a.Outcome == Applied {
		a.Outcome = Replayed
	}
	return a
}

// AppendJSON appends the answer as it is remembered, without its outcome: {"a":action,"b":[[account,seq,balance,amount],…]}
// with {"nature":amount,…} as a fifth element where the leg has parts, or {"c":code,"m":message,"f":field}. The action post,
// empty texts and no balances are left out, but for "b" where there is nothing else.
func (a *Answer) AppendJSON(dst []byte) []byte {
	dst = append(dst, '{')
	start := len(dst)
	for _, f := range [...]struct{ key, value string }{{"c", string(a.Code)}, {"m", a.Message}, {"f", a.Field}} {
		if f.value != "" {
			dst = appendText(appendKey(dst, f.key), f.value)
		}
	}
	if a.Action != Post {
		dst = appendText(appendKey(dst, "a"), a.Action.String())
	}
	if len(a.Balances) > 0 || len(dst) == start {
		dst = appendBalances(appendKey(dst, "b"), a.Balances)
	}
	return append(dst, '}')
}

func appendBalances(dst []byte, balances []Balance) []byte {
	dst = append(dst, '[')
	for i := range balances {
		b := &balances[i]
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = strconv.AppendInt(append(dst, '['), b.Account, 10)
		dst = strconv.AppendInt(append(dst, ','), b.Seq, 10)
		dst = strconv.AppendInt(append(dst, ','), b.Balance, 10)
		dst = strconv.AppendInt(append(dst, ','), b.Amount, 10)
		if len(b.Parts) > 0 {
			dst = AppendParts(append(dst, ','), b.Parts)
		}
		dst = append(dst, ']')
	}
	return append(dst, ']')
}

// balanceForm reads one element of appendBalances.
type balanceForm Balance

func (b *balanceForm) UnmarshalJSON(raw []byte) error {
	var cells []json.RawMessage
	if err := json.Unmarshal(raw, &cells); err != nil {
		return err
	}
	if len(cells) < 3 || len(cells) > 5 {
		return fmt.Errorf("a balance of %d elements", len(cells))
	}
	for i, into := range [...]*int64{&b.Account, &b.Seq, &b.Balance, &b.Amount} {
		if i < len(cells) {
			if err := json.Unmarshal(cells[i], into); err != nil {
				return err
			}
		}
	}
	if len(cells) < 5 {
		return nil
	}
	var err error
	b.Parts, err = ParseParts(string(cells[4]))
	return err
}

func plainBalances(forms []balanceForm) []Balance {
	if len(forms) == 0 {
		return nil
	}
	out := make([]Balance, len(forms))
	for i := range forms {
		out[i] = Balance(forms[i])
	}
	return out
}

// ParseAnswer reads what AppendJSON wrote for a transfer whose remembered outcome is applied or refused; the answer's
// outcome is Replayed or Refused. Balances of three elements, without the amount, are read, too.
func ParseAnswer(outcome string, raw []byte) (Answer, error) {
	const op = "parse remembered answer"
	var form struct {
		Balances []balanceForm `json:"b"`
		Code     Code          `json:"c"`
		Message  string        `json:"m"`
		Field    string        `json:"f"`
		Action   string        `json:"a"`
	}
	if err := json.Unmarshal(raw, &form); err != nil {
		return Answer{}, fault.Wrap(fault.Internal, op, err)
	}
	a := Answer{Code: form.Code, Message: form.Message, Field: form.Field, Balances: plainBalances(form.Balances)}
	var known bool
	if a.Action, known = ParseAction(form.Action); !known {
		return Answer{}, fault.New(fault.Internal, op, "action %q", form.Action)
	}
	switch outcome {
	case "applied":
		a.Outcome = Replayed
	case "refused":
		a.Outcome = Refused
	default:
		return Answer{}, fault.New(fault.Internal, op, "outcome %q", outcome)
	}
	return a, nil
}
