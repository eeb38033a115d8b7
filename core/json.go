package core

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"time"
	"unicode/utf8"

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
	const op = "parse transfer"
	var t Transfer
	if len(raw) > 0 && !utf8.Valid(raw) {
		return t, fault.New(fault.Invalid, op, "it is not UTF-8")
	}
	err := readObject(raw, op, "", func(key string, v json.RawMessage) (bool, error) {
		var err error
		switch key {
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
			err = json.Unmarshal(v, &t.Linked)
		case "legs":
			t.Legs, err = readLegs(v, op)
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
func readLegs(raw json.RawMessage, op string) ([]Leg, error) {
	var legs []Leg
	err := readArray(raw, func(i int, v json.RawMessage) error {
		if i > MaxLegs {
			return nil
		}
		var l Leg
		legs = append(legs, l)
		path := fmt.Sprintf("legs[%d]", i)
		return readObject(v, op, path, func(key string, v json.RawMessage) (bool, error) {
			l := &legs[i]
			switch key {
			case "account":
				return true, readNumber(v, &l.Account)
			case "unit":
				return true, readText(v, &l.Unit)
			case "amount":
				return true, readNumber(v, &l.Amount)
			case "nature":
				return true, readText(v, &l.Nature)
			}
			return false, nil
		})
	})
	return legs, err
}

// readObject gives every field to take, which says whether it knows it. An error of take that names no field gets path and
// key as its Object.
func readObject(raw []byte, op, path string, take func(key string, v json.RawMessage) (bool, error)) error {
	at := func(key string, err error) error {
		var named *fault.Error
		if errors.As(err, &named) {
			return err
		}
		if path != "" && key != "" {
			key = "." + key
		}
		return &fault.Error{Kind: fault.Invalid, Op: op, Object: path + key, Err: err}
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	if start, err := d.Token(); err != nil || start != json.Delim('{') {
		return at("", errors.New("it is not a JSON object"))
	}
	var seen []string
	for d.More() {
		token, err := d.Token()
		if err != nil {
			return at("", err)
		}
		key, _ := token.(string) // inside an object, keys are strings
		var v json.RawMessage
		if err := d.Decode(&v); err != nil {
			return at(key, err)
		}
		for _, s := range seen {
			if s == key {
				return at(key, errors.New("it stands there twice"))
			}
		}
		seen = append(seen, key)
		if known, err := take(key, v); err != nil {
			return at(key, err)
		} else if !known {
			return at(key, errors.New("there is no such field"))
		}
	}
	if _, err := d.Token(); err != nil {
		return at("", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return at("", errors.New("something follows the JSON object"))
	}
	return nil
}

// readArray gives every element to take.
func readArray(raw []byte, take func(i int, v json.RawMessage) error) error {
	d := json.NewDecoder(bytes.NewReader(raw))
	if start, err := d.Token(); err != nil || start != json.Delim('[') {
		return errors.New("it is not an array")
	}
	for i := 0; d.More(); i++ {
		var v json.RawMessage
		if err := d.Decode(&v); err != nil {
			return err
		}
		if err := take(i, v); err != nil {
			return err
		}
	}
	return nil
}

func readText(raw json.RawMessage, into *string) error {
	if raw[0] != '"' {
		return errors.New("it is not a string")
	}
	return json.Unmarshal(raw, into)
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
	s := string(raw)
	if raw[0] == '"' {
		if err := json.Unmarshal(raw, &s); err != nil {
			return err
		}
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || s[0] == '+' {
		return fmt.Errorf("%s is not a whole number from %d to %d", raw, math.MinInt64, math.MaxInt64)
	}
	*into = n
	return nil
}
