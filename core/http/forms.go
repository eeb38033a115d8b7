package rest

import (
	"encoding/json"
	"net/http"
	"strconv"
	"time"

	"strata/core"
	"strata/fault"
)

// digit is a 64-bit number that is written as a string of digits.
type digit int64

// MarshalJSON writes it.
func (d digit) MarshalJSON() ([]byte, error) {
	return append(strconv.AppendInt([]byte{'"'}, int64(d), 10), '"'), nil
}

func maybe(n *int64) *digit { return (*digit)(n) }

// moment is a time with microseconds, null where it is zero.
type moment time.Time

// MarshalJSON writes it.
func (m moment) MarshalJSON() ([]byte, error) {
	t := time.Time(m)
	if t.IsZero() {
		return []byte("null"), nil
	}
	return t.UTC().AppendFormat(nil, `"2006-01-02T15:04:05.000000Z"`), nil
}

// day is a date, null where it is zero.
type day time.Time

// MarshalJSON writes it.
func (d day) MarshalJSON() ([]byte, error) {
	t := time.Time(d)
	if t.IsZero() {
		return []byte("null"), nil
	}
	return t.UTC().AppendFormat(nil, `"2006-01-02"`), nil
}

// embedded is text that is JSON already; "" is null.
func embedded(text string) json.RawMessage {
	if text == "" {
		return nil
	}
	return json.RawMessage(text)
}

// answer is a reply with v as its body.
func answer(v any) (reply, error) {
	raw, err := json.Marshal(v)
	if err != nil {
		return reply{}, fault.Wrap(fault.Internal, "encode answer", err)
	}
	return reply{status: http.StatusOK, body: raw}, nil
}

// partForm is a core.Part.
type partForm struct {
	Nature string `json:"nature"`
	Amount digit  `json:"amount"`
}

func partsOf(parts []core.Part) []partForm {
	out := make([]partForm, 0, len(parts))
	for _, p := range parts {
		out = append(out, partForm{p.Nature, digit(p.Amount)})
	}
	return out
}
