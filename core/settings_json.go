package core

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"unicode/utf8"

	"strata/fault"
)

// AppendJSON appends the settings as ParseSettings reads them.
func (s Settings) AppendJSON(dst []byte) ([]byte, error) {
	raw, err := json.Marshal(s)
	if err != nil {
		return dst, fault.Wrap(fault.Invalid, "write settings", err) // a rate that is not a number
	}
	return append(dst, raw...), nil
}

// ParseSettings reads settings as JSON. fault.Invalid has the field as its Object; an unknown field is one, and one that
// stands twice. Compile checks the values.
func ParseSettings(raw []byte) (Settings, error) {
	const op = "parse settings"
	var s Settings
	if !utf8.Valid(raw) {
		return s, fault.New(fault.Invalid, op, "it is not UTF-8")
	}
	err := readObject(raw, op, "", func(key string, v json.RawMessage) (bool, error) {
		switch key {
		case "limits":
			return true, readList(v, op, key, &s.Limits, limitField)
		case "rates":
			return true, readList(v, op, key, &s.Rates, rateField)
		case "off":
			return true, readList(v, op, key, &s.Off, switchField)
		case "strategies":
			return true, readList(v, op, key, &s.Strategies, strategyField)
		}
		return false, nil
	})
	if err != nil {
		return Settings{}, err
	}
	return s, nil
}

// readList reads an array of objects, each field by field.
func readList[T any](raw json.RawMessage, op, path string, into *[]T, field func(t *T, op, path, key string, v json.RawMessage) (bool, error)) error {
	return readArray(raw, func(i int, v json.RawMessage) error {
		var t T
		at := fmt.Sprintf("%s[%d]", path, i)
		err := readObject(v, op, at, func(key string, v json.RawMessage) (bool, error) { return field(&t, op, at, key, v) })
		*into = append(*into, t)
		return err
	})
}

func limitField(l *Limit, _, _, key string, v json.RawMessage) (bool, error) {
	switch key {
	case "name":
		return true, readText(v, &l.Name)
	case "scope":
		return true, readText(v, &l.Scope)
	case "match":
		return true, readText(v, &l.Match)
	case "kinds":
		return true, readNames(v, &l.Kinds)
	case "unit":
		return true, readText(v, &l.Unit)
	case "per":
		return true, readText(v, &l.Per)
	case "max_amount":
		l.MaxAmount = new(int64)
		return true, readNumber(v, l.MaxAmount)
	case "max_count":
		l.MaxCount = new(int64)
		return true, readNumber(v, l.MaxCount)
	}
	return false, nil
}

func rateField(r *Rate, _, _, key string, v json.RawMessage) (bool, error) {
	switch key {
	case "name":
		return true, readText(v, &r.Name)
	case "key":
		return true, readText(v, &r.Key)
	case "per_second":
		return true, json.Unmarshal(v, &r.PerSecond)
	case "burst":
		return true, json.Unmarshal(v, &r.Burst)
	}
	return false, nil
}

func switchField(s *Switch, _, _, key string, v json.RawMessage) (bool, error) {
	switch key {
	case "operation":
		return true, readText(v, &s.Operation)
	case "tenant":
		return true, readText(v, &s.Tenant)
	case "account":
		return true, readNumber(v, &s.Account)
	}
	return false, nil
}

func strategyField(s *Strategy, op, path, key string, v json.RawMessage) (bool, error) {
	switch key {
	case "name":
		return true, readText(v, &s.Name)
	case "default":
		return true, readText(v, &s.Default)
	case "natures":
		return true, readList(v, op, path+".natures", &s.Natures, natureField)
	}
	return false, nil
}

func natureField(n *NatureRule, _, _, key string, v json.RawMessage) (bool, error) {
	switch key {
	case "name":
		return true, readText(v, &n.Name)
	case "kinds":
		return true, readNames(v, &n.Kinds)
	case "products":
		return true, readNames(v, &n.Products)
	case "refund_only":
		return true, json.Unmarshal(v, &n.RefundOnly)
	}
	return false, nil
}

func readNames(raw json.RawMessage, into *[]string) error {
	return readArray(raw, func(_ int, v json.RawMessage) error {
		var s string
		if err := readText(v, &s); err != nil {
			return errors.New("it is not an array of strings")
		}
		*into = append(*into, s)
		return nil
	})
}

// clone is a copy that shares nothing.
func (s Settings) clone() Settings {
	c := Settings{Limits: slices.Clone(s.Limits), Rates: slices.Clone(s.Rates), Off: slices.Clone(s.Off), Strategies: slices.Clone(s.Strategies)}
	number := func(n *int64) *int64 {
		if n == nil {
			return nil
		}
		m := *n
		return &m
	}
	for i := range c.Limits {
		l := &c.Limits[i]
		l.Kinds, l.MaxAmount, l.MaxCount = slices.Clone(l.Kinds), number(l.MaxAmount), number(l.MaxCount)
	}
	for i := range c.Strategies {
		natures := slices.Clone(c.Strategies[i].Natures)
		for k := range natures {
			natures[k].Kinds, natures[k].Products = slices.Clone(natures[k].Kinds), slices.Clone(natures[k].Products)
		}
		c.Strategies[i].Natures = natures
	}
	return c
}
