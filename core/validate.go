package core

import (
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"unicode/utf8"

	"strata/fault"
)

// Nameable reports whether the id can be remembered at all. What has no such id is refused without a trace.
func (t *Transfer) Nameable() bool { return visible(t.ID, MaxIDBytes) }

// Ordered reports whether it names an order number under which it is remembered, refused or not.
func (t *Transfer) Ordered() bool {
	return visible(t.Order, MaxOrderBytes) && (t.Tenant == "" || visible(t.Tenant, MaxTenantBytes))
}

// Validate says why the transfer can't be applied whatever the accounts are: the code and a sentence, or "".
func (t *Transfer) Validate() (Code, string) {
	if a := t.Refusal(); a != nil {
		return a.Code, a.Message
	}
	return "", ""
}

// CoordinatorPrefix begins the ids of what a coordinator over several ledgers posts inside one of them.
const CoordinatorPrefix = "x:"

// CheckCaller refuses, for the doors where people and programs come in, what only a coordinator may post: fault.Invalid with
// the field as its Object. A cancel by hand between a coordinator's Try and Confirm would book one ledger without the other.
func CheckCaller(t *Transfer) error {
	for _, f := range [][2]string{{"id", t.ID}, {"of", t.Of}} {
		if strings.HasPrefix(f[1], CoordinatorPrefix) {
			return &fault.Error{Kind: fault.Invalid, Op: "check transfer", Object: f[0],
				Err: fmt.Errorf("ids that begin with %s are a coordinator's, over several ledgers", CoordinatorPrefix)}
		}
	}
	return nil
}

// Refusal is the answer for a transfer that can't be applied whatever the accounts are, with the field; nil where it can.
func (t *Transfer) Refusal() *Answer {
	switch {
	case !t.Nameable():
		return refuse(BadTransfer, "id", "the id is not 1 to 64 visible ASCII characters")
	case strings.HasPrefix(t.ID, MovePrefix):
		return refuse(BadTransfer, "id", "ids that begin with "+MovePrefix+" are the ledger's own")
	case !visible(t.Kind, MaxKindBytes):
		return refuse(BadTransfer, "kind", "the kind is not 1 to 32 visible ASCII characters")
	case t.Kind == MoveKind:
		return refuse(BadTransfer, "kind", "the kind "+MoveKind+" is the ledger's own")
	case !Storable(t.OrderTime):
		return refuse(BadTransfer, "order_time", "the order time is not between 1970 and 9999")
	case !t.BusinessDate.IsZero() && !Storable(t.BusinessDate):
		return refuse(BadTransfer, "business_date", "the business date is not between 1970 and 9999")
	case !printable(t.Memo, MaxMemoRunes):
		return refuse(BadTransfer, "memo", "the memo is not UTF-8 of at most 255 characters without NUL")
	case !validMetadata(t.Metadata):
		return refuse(BadTransfer, "metadata", "the metadata are not a JSON object of at most 2048 bytes")
	case t.Tenant != "" && !visible(t.Tenant, MaxTenantBytes):
		return refuse(BadTransfer, "tenant", "the tenant is not at most 32 visible ASCII characters")
	case t.Order != "" && !visible(t.Order, MaxOrderBytes):
		return refuse(BadTransfer, "order", "the order is not at most 64 visible ASCII characters")
	case t.Product != "" && !visible(t.Product, MaxProductBytes):
		return refuse(BadTransfer, "product", "the product is not at most 32 visible ASCII characters")
	}
	if a := t.refuseAction(); a != nil {
		return a
	}
	return t.refuseLegs()
}

// refuseAction checks what depends on the action, but for the legs' content.
func (t *Transfer) refuseAction() *Answer {
	ends := t.Action == Confirm || t.Action == Cancel || t.Action == Reverse
	switch {
	case t.Action > Reverse:
		return refuse(BadTransfer, "action", "the action is not post, try, confirm, cancel or reverse")
	case ends && !visible(t.Of, MaxIDBytes):
		return refuse(BadTransfer, "of", "a %s names what it is of: 1 to 64 visible ASCII characters", t.Action)
	case ends && t.Of == t.ID:
		return refuse(BadTransfer, "of", "a %s is not of itself", t.Action)
	case !ends && t.Of != "":
		return refuse(BadTransfer, "of", "a %s is of nothing", t.Action)
	case t.Action == Cancel && len(t.Legs) > 0:
		return refuse(BadTransfer, "legs", "a cancel has no legs")
	case (t.Action == Post || t.Action == Try || len(t.Legs) > 0) && t.Action != Cancel && (len(t.Legs) < 2 || len(t.Legs) > MaxLegs):
		return refuse(BadTransfer, "legs", "a transfer has 2 to 1000 legs")
	case t.Expires.IsZero():
		return nil
	case t.Action != Try:
		return refuse(BadTransfer, "expires", "expires is for a try only")
	case !Storable(t.Expires) || !Micros(t.Expires).After(Micros(t.OrderTime)):
		return refuse(BadTransfer, "expires", "expires is not after the order time, or beyond 9999")
	}
	return nil
}

// refuseLegs adds credits and debits per unit apart, each in 64 bits with its carry seen.
func (t *Transfer) refuseLegs() *Answer {
	type total struct {
		unit          string
		credit, debit uint64
	}
	var room [4]total
	sums := room[:0]
	part, empty := t.Action == Confirm || t.Action == Reverse, len(t.Legs) > 0
	for i := range t.Legs {
		l := &t.Legs[i]
		if a := l.refusal(i, part); a != nil {
			return a
		}
		empty = empty && l.Amount == 0
		k := 0
		for k < len(sums) && sums[k].unit != l.Unit {
			k++
		}
		if k == len(sums) {
			sums = append(sums, total{unit: l.Unit})
		}
		side, amount := &sums[k].credit, uint64(l.Amount)
		if l.Amount < 0 {
			side, amount = &sums[k].debit, -amount
		}
		if amount > math.MaxInt64 || *side+amount > math.MaxInt64 {
			return refuse(Overflow, legField(i, "amount"), "the legs in %s exceed 64 bits", l.Unit)
		}
		*side += amount
	}
	if empty {
		return refuse(BadTransfer, "legs", "all legs have the amount 0")
	}
	for _, s := range sums {
		if s.credit != s.debit {
			return refuse(Unbalanced, "legs", "the legs in %s do not sum to zero", s.unit)
		}
	}
	return nil
}

// refusal checks one leg by itself; part: of a Confirm or Reverse.
func (l *Leg) refusal(i int, part bool) *Answer {
	switch {
	case l.Account < 1:
		return refuse(BadTransfer, legField(i, "account"), "account %d is none: they are numbered from 1", l.Account)
	case l.Amount == 0 && !part:
		return refuse(BadTransfer, legField(i, "amount"), "leg %d has the amount 0", i)
	case !ValidUnit(l.Unit):
		return refuse(BadTransfer, legField(i, "unit"), "the unit of leg %d is not 1 to 12 upper-case letters and digits", i)
	case l.Nature == "":
		return nil
	case part || l.Amount < 0:
		return refuse(BadTransfer, legField(i, "nature"), "leg %d names a nature and is not a credit of a post or try", i)
	case !validNature(l.Nature):
		return refuse(BadTransfer, legField(i, "nature"), "the nature of leg %d is not at most 24 visible ASCII characters without quote and backslash", i)
	}
	return nil
}

func legField(i int, name string) string { return fmt.Sprintf("legs[%d].%s", i, name) }

// validNature leaves out what JSON would escape: parts have to fit their column.
func validNature(s string) bool { return visible(s, MaxNatureBytes) && !strings.ContainsAny(s, `"\`) }

func validMetadata(s string) bool {
	return s == "" || len(s) <= MaxMetadataBytes && s[0] == '{' && s[len(s)-1] == '}' && utf8.ValidString(s) && json.Valid([]byte(s))
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
