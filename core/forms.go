package core

import (
	"bytes"
	"encoding/json"
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"

	"strata/fault"
)

// AppendParts appends parts as an object sorted by nature, {"bonus":-200,"cash":-500}; nothing where there are none.
func AppendParts(dst []byte, parts []Part) []byte {
	if len(parts) == 0 {
		return dst
	}
	dst = append(dst, '{')
	for _, p := range sortParts(parts) {
		dst = strconv.AppendInt(appendKey(dst, p.Nature), p.Amount, 10)
	}
	return append(dst, '}')
}

// ParseParts reads AppendParts' form, sorted by nature; nil of "".
func ParseParts(text string) ([]Part, error) {
	if text == "" {
		return nil, nil
	}
	const op = "parse parts"
	var parts []Part
	err := readObject([]byte(text), op, "", func(key string, v json.RawMessage) (bool, error) {
		p := Part{Nature: key}
		err := readNumber(v, &p.Amount)
		parts = append(parts, p)
		return validNature(key), err
	})
	if err != nil {
		return nil, err
	}
	return sortParts(parts), nil
}

// sortParts is parts by nature, each once. It does not change parts.
func sortParts(parts []Part) []Part {
	if slices.IsSortedFunc(parts, func(a, b Part) int {
		if a.Nature <= b.Nature { // b stands before a; the same one twice is not sorted, either
			return -1
		}
		return 1
	}) {
		return parts
	}
	out := slices.Clone(parts)
	slices.SortStableFunc(out, func(a, b Part) int { return strings.Compare(a.Nature, b.Nature) })
	n := 0
	for _, p := range out {
		if n > 0 && out[n-1].Nature == p.Nature {
			out[n-1].Amount += p.Amount
			continue
		}
		out[n] = p
		n++
	}
	return out[:n]
}

// AppendReservation appends what of a reservation is kept as its body: {"transfer":{…},"parts":[[["cash",-500]],null],
// "counted":[[limit,subject,period,amount,unit,account],…]}. The rest are columns.
func AppendReservation(dst []byte, r *Reservation) []byte {
	dst = r.Transfer.AppendJSON(append(dst, `{"transfer":`...))
	if len(r.Parts) > 0 {
		dst = append(appendKey(dst, "parts"), '[')
		for i, parts := range r.Parts {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = appendPartList(dst, parts)
		}
		dst = append(dst, ']')
	}
	if len(r.Counted) > 0 {
		raw, _ := json.Marshal(countedForms(r.Counted)) // texts and numbers always have a JSON form
		dst = append(appendKey(dst, "counted"), raw...)
	}
	return append(dst, '}')
}

// appendPartList keeps the order: the one in which they are spent.
func appendPartList(dst []byte, parts []Part) []byte {
	if parts == nil {
		return append(dst, "null"...)
	}
	dst = append(dst, '[')
	for i, p := range parts {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendText(append(dst, '['), p.Nature)
		dst = append(strconv.AppendInt(append(dst, ','), p.Amount, 10), ']')
	}
	return append(dst, ']')
}

func countedForms(counted []Counted) [][6]any {
	out := make([][6]any, len(counted))
	for i, c := range counted {
		out[i] = [6]any{c.Limit, c.Subject, c.Period, c.Amount, c.Unit, c.Account}
	}
	return out
}

// ParseReservation reads AppendReservation's form into Transfer, Parts and Counted.
func ParseReservation(raw []byte, r *Reservation) error {
	const op = "parse reservation"
	r.Parts, r.Counted = nil, nil
	err := readObject(raw, op, "", func(key string, v json.RawMessage) (bool, error) {
		var err error
		switch key {
		case "transfer":
			r.Transfer, err = ParseTransfer(v)
		case "parts":
			err = readArray(v, func(_ int, v json.RawMessage) error {
				parts, err := readPartList(v)
				r.Parts = append(r.Parts, parts)
				return err
			})
		case "counted":
			err = readArray(v, func(_ int, v json.RawMessage) error {
				c := Counted{Use: Use{Count: 1}}
				r.Counted = append(r.Counted, c)
				return readTuple(v, &r.Counted[len(r.Counted)-1])
			})
		default:
			return false, nil
		}
		return true, err
	})
	return fault.Wrap(fault.Internal, op, err)
}

func readTuple(raw []byte, c *Counted) error {
	texts := [...]*string{0: &c.Limit, 1: &c.Subject, 2: &c.Period, 4: &c.Unit, 5: nil}
	numbers := [...]*int64{3: &c.Amount, 5: &c.Account}
	n := 0
	err := readArray(raw, func(i int, v json.RawMessage) error {
		n++
		switch {
		case i < len(texts) && texts[i] != nil:
			return readText(v, texts[i])
		case i < len(numbers) && numbers[i] != nil:
			return readNumber(v, numbers[i])
		}
		return errors.New("it has too many elements")
	})
	if err == nil && n != len(numbers) {
		return errors.New("it has not 6 elements")
	}
	return err
}

func readPartList(raw []byte) ([]Part, error) {
	if bytes.Equal(raw, []byte("null")) {
		return nil, nil
	}
	parts := []Part{}
	err := readArray(raw, func(_ int, v json.RawMessage) error {
		var p Part
		err := readArray(v, func(i int, v json.RawMessage) error {
			if i == 0 {
				return readText(v, &p.Nature)
			}
			return readNumber(v, &p.Amount)
		})
		parts = append(parts, p)
		return err
	})
	return parts, err
}

// AppendEvent appends an event: {"transfer":{…},"balances":[[account,seq,balance,amount],…],"accounting_date":…,"posted_at":…}.
func AppendEvent(dst []byte, e *Event) []byte {
	dst = e.Transfer.AppendJSON(append(dst, `{"transfer":`...))
	dst = appendBalances(appendKey(dst, "balances"), e.Balances)
	dst = appendTimeKey(dst, "accounting_date", time.DateOnly, e.AccountingDate)
	dst = appendTimeKey(dst, "posted_at", microsForm, e.PostedAt)
	return append(dst, '}')
}

// ParseEvent reads AppendEvent's form.
func ParseEvent(raw []byte) (Event, error) {
	const op = "parse event"
	var e Event
	err := readObject(raw, op, "", func(key string, v json.RawMessage) (bool, error) {
		var err error
		switch key {
		case "transfer":
			e.Transfer, err = ParseTransfer(v)
		case "balances":
			var forms []balanceForm
			err = json.Unmarshal(v, &forms)
			e.Balances = plainBalances(forms)
		case "accounting_date":
			err = readTime(v, time.DateOnly, &e.AccountingDate)
		case "posted_at":
			err = readTime(v, time.RFC3339Nano, &e.PostedAt)
		default:
			return false, nil
		}
		return true, err
	})
	return e, fault.Wrap(fault.Internal, op, err)
}
