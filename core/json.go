package core

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"time"

	"strata/fault"
)

const microsForm = "2006-01-02T15:04:05.000000Z"

// appendKey appends a key, after a comma where it is not the first.
func appendKey(dst []byte, key string) []byte {
	if dst[len(dst)-1] != '{' {
		dst = append(dst, ',')
	}
	return append(append(append(dst, '"'), key...), '"', ':')
}

// appendText appends a JSON string; most need no escapes.
func appendText(dst []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c == '"' || c == '\\' || c > '~' {
			raw, _ := json.Marshal(s) // strings always have a JSON form
			return append(dst, raw...)
		}
	}
	return append(append(append(dst, '"'), s...), '"')
}

func appendTextKey(dst []byte, key, s string) []byte {
	if s == "" {
		return dst
	}
	return appendText(appendKey(dst, key), s)
}

func appendTimeKey(dst []byte, key, form string, t time.Time) []byte {
	if t.IsZero() {
		return dst
	}
	dst = append(appendKey(dst, key), '"')
	return append(t.UTC().AppendFormat(dst, form), '"')
}

func appendDigits(dst []byte, n int64) []byte {
	return append(strconv.AppendInt(append(dst, '"'), n, 10), '"')
}

// AppendJSON appends the transfer as callers, events and reservations write it: account ids and amounts are strings of
// digits (numbers are read, too), times RFC 3339 with microseconds, dates 2006-01-02, metadata an object, empty fields left
// out: {"id":"t1","kind":"payment","order_time":"2026-11-22T08:00:00.000000Z","legs":[{"account":"1","unit":"CNY","amount":"-100"},…]}.
func (t *Transfer) AppendJSON(dst []byte) []byte {
	dst = append(dst, '{')
	dst = appendTextKey(dst, "id", t.ID)
	dst = appendTextKey(dst, "kind", t.Kind)
	dst = appendTimeKey(dst, "order_time", microsForm, t.OrderTime)
	dst = appendTimeKey(dst, "business_date", time.DateOnly, t.BusinessDate)
	dst = appendTextKey(dst, "memo", t.Memo)
	if t.Metadata != "" {
		dst = append(appendKey(dst, "metadata"), t.Metadata...)
	}
	dst = appendTextKey(dst, "tenant", t.Tenant)
	dst = appendTextKey(dst, "order", t.Order)
	dst = appendTextKey(dst, "product", t.Product)
	if t.Action != Post {
		dst = appendText(appendKey(dst, "action"), t.Action.String())
	}
	dst = appendTextKey(dst, "of", t.Of)
	dst = appendTimeKey(dst, "expires", microsForm, t.Expires)
	if t.Linked {
		dst = append(appendKey(dst, "linked"), "true"...)
	}
	if len(t.Legs) == 0 {
		return append(dst, '}')
	}
	dst = append(appendKey(dst, "legs"), '[')
	for i := range t.Legs {
		l := &t.Legs[i]
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(dst, '{')
		dst = appendDigits(appendKey(dst, "account"), l.Account)
		dst = appendTextKey(dst, "unit", l.Unit)
		dst = appendDigits(appendKey(dst, "amount"), l.Amount)
		dst = appendTextKey(dst, "nature", l.Nature)
		dst = append(dst, '}')
	}
	return append(dst, ']', '}')
}

// ParseTransfer reads AppendJSON's form. fault.Invalid has the field as its Object; an unknown field is one, and one that
// stands twice. Nothing is required here: Validate says what is missing.
func ParseTransfer(raw []byte) (Transfer, error) {
	v, err := Scan(raw, transferLevels)
	if err != nil {
		return Transfer{}, placed("parse transfer", "", err)
	}
	return ReadTransfer(&v)
}

// transferLevels are those of a transfer's own values: its members, its legs, and theirs.
const transferLevels = 3

// ReadTransfer is ParseTransfer of a text that was scanned, with at least 3 levels kept.
func ReadTransfer(v *Value) (Transfer, error) {
	const op = "parse transfer"
	var t Transfer
	err := readMembers(v, op, "", func(m *Value) (bool, error) {
		var err error
		switch v := json.RawMessage(m.Raw); m.Name {
		case "id":
			err = readText(v, &t.ID)
		case "kind":
			err = readText(v, &t.Kind)
		case "order_time":
			err = readTime(v, time.RFC3339Nano, &t.OrderTime)
		case "business_date":
			err = readTime(v, time.DateOnly, &t.BusinessDate)
		case "memo":
			err = readText(v, &t.Memo)
		case "metadata":
			if v[0] != '{' {
				return true, errors.New("it is not an object")
			}
			t.Metadata = string(v)
		case "tenant":
			err = readText(v, &t.Tenant)
		case "order":
			err = readText(v, &t.Order)
		case "product":
			err = readText(v, &t.Product)
		case "action":
			var name string
			if err = readText(v, &name); err == nil {
				var known bool
				if t.Action, known = ParseAction(name); !known {
					err = fmt.Errorf("%q is not post, try, confirm, cancel or reverse", name)
				}
			}
		case "of":
			err = readText(v, &t.Of)
		case "expires":
			err = readTime(v, time.RFC3339Nano, &t.Expires)
		case "linked":
			if t.Linked = v[0] == 't'; v[0] != 't' && v[0] != 'f' {
				err = errors.New("it is not true or false")
			}
		case "legs":
			t.Legs, err = readLegs(m, op)
		default:
			return false, nil
		}
		return true, err
	})
	if err != nil {
		return Transfer{}, err
	}
	return t, nil
}

// readLegs stops above the limit: what comes then is refused whatever it is.
func readLegs(v *Value, op string) ([]Leg, error) {
	if v.Kind != '[' {
		return nil, errors.New("it is not an array")
	}
	legs := make([]Leg, min(len(v.Items), MaxLegs+1))
	for i := range legs {
		l := &legs[i]
		err := readMembers(&v.Items[i], op, "legs["+strconv.Itoa(i)+"]", func(m *Value) (bool, error) {
			switch m.Name {
			case "account":
				return true, readNumber(m.Raw, &l.Account)
			case "unit":
				return true, readText(m.Raw, &l.Unit)
			case "amount":
				return true, readNumber(m.Raw, &l.Amount)
			case "nature":
				return true, readText(m.Raw, &l.Nature)
			}
			return false, nil
		})
		if err != nil {
			return nil, err
		}
	}
	return legs, nil
}

// readObject gives every field to take, which says whether it knows it. An error of take that names no field gets path and
// key as its Object.
func readObject(raw []byte, op, path string, take func(key string, v json.RawMessage) (bool, error)) error {
	v, err := Scan(raw, 1)
	if err != nil {
		return placed(op, path, err)
	}
	return readMembers(&v, op, path, func(m *Value) (bool, error) { return take(m.Name, m.Raw) })
}

// placed is a mistake in a text, with its field as the Object.
func placed(op, path string, err error) error {
	var syntax *SyntaxError
	if errors.As(err, &syntax) && syntax.Field != "" {
		if path != "" && syntax.Field[0] != '[' {
			path += "."
		}
		path += syntax.Field
	}
	return &fault.Error{Kind: fault.Invalid, Op: op, Object: path, Err: err}
}

// readMembers is readObject of a text that was scanned.
func readMembers(v *Value, op, path string, take func(m *Value) (bool, error)) error {
	if v.Kind != '{' {
		return &fault.Error{Kind: fault.Invalid, Op: op, Object: path, Err: errors.New("it is not a JSON object")}
	}
	for i := range v.Items {
		m := &v.Items[i]
		known, err := take(m)
		if err == nil && !known {
			err = errors.New("there is no such field")
		}
		var named *fault.Error
		switch {
		case err == nil:
		case errors.As(err, &named):
			return err
		case path == "":
			return &fault.Error{Kind: fault.Invalid, Op: op, Object: m.Name, Err: err}
		default:
			return &fault.Error{Kind: fault.Invalid, Op: op, Object: path + "." + m.Name, Err: err}
		}
	}
	return nil
}

// readArray gives every element to take.
func readArray(raw []byte, take func(i int, v json.RawMessage) error) error {
	v, err := Scan(raw, 1)
	switch {
	case err != nil:
		return err
	case v.Kind != '[':
		return errors.New("it is not an array")
	}
	for i, e := range v.Items {
		if err := take(i, e.Raw); err != nil {
			return err
		}
	}
	return nil
}

func readText(raw json.RawMessage, into *string) error {
	if raw[0] != '"' {
		return errors.New("it is not a string")
	}
	*into = string(Unquote(raw))
	return nil
}

func readTime(raw json.RawMessage, form string, into *time.Time) error {
	var s string
	if err := readText(raw, &s); err != nil {
		return err
	}
	t, err := time.Parse(form, s)
	if err != nil {
		want := "a time as 2026-11-22T08:00:00.000000Z"
		if form == time.DateOnly {
			want = "a date as 2026-11-22"
		}
		return fmt.Errorf("%q is not %s", s, want)
	}
	*into = Micros(t)
	return nil
}

// readNumber reads an integer of 64 bits, as a string of digits or as a number.
func readNumber(raw json.RawMessage, into *int64) error {
	digits := []byte(raw)
	if raw[0] == '"' {
		digits = Unquote(raw)
	}
	n, err := strconv.ParseInt(string(digits), 10, 64)
	if err != nil || digits[0] == '+' {
		return fmt.Errorf("%s is not a whole number from %d to %d", raw, math.MinInt64, math.MaxInt64)
	}
	*into = n
	return nil
}
