package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"strata/core"
	"strata/fault"
)

// balanceForm, partForm and legForm are core's, with the API's names.
type balanceForm struct {
	Account int64      `json:"account"`
	Seq     int64      `json:"seq"`
	Balance int64      `json:"balance"`
	Amount  int64      `json:"amount"`
	Parts   []partForm `json:"parts,omitempty"`
}

type partForm struct {
	Nature string `json:"nature"`
	Amount int64  `json:"amount"`
}

type legForm struct {
	Account int64  `json:"account"`
	Unit    string `json:"unit"`
	Amount  int64  `json:"amount"`
	Nature  string `json:"nature,omitempty"`
}

func balanceForms(list []core.Balance) []balanceForm {
	out := make([]balanceForm, len(list))
	for i, b := range list {
		out[i] = balanceForm{Account: b.Account, Seq: b.Seq, Balance: b.Balance, Amount: b.Amount}
		for _, p := range b.Parts {
			out[i].Parts = append(out[i].Parts, partForm(p))
		}
	}
	return out
}

func answerForm(id string, a core.Answer) map[string]any {
	return map[string]any{"id": id, "outcome": a.Outcome.String(), "code": a.Code, "message": a.Message, "field": a.Field, "balances": balanceForms(a.Balances)}
}

func legForms(list []core.Leg) []legForm {
	out := make([]legForm, len(list))
	for i, l := range list {
		out[i] = legForm(l)
	}
	return out
}

// plain refuses a name that no id of the ledger can be. "" is none, and let through.
func plain(what, text string) error {
	for _, c := range []byte(text) {
		if c <= ' ' || c > '~' {
			return fault.New(fault.Invalid, "read flags", "%s %q is not visible ASCII", what, text)
		}
	}
	return nil
}

// atMost refuses a number of rows below 1.
func atMost(limit int) error {
	if limit < 1 {
		return fault.New(fault.Invalid, "read flags", "--limit %d is below 1", limit)
	}
	return nil
}

// readStrictly decodes one JSON value: no unknown field, no name twice in whatever case, nothing behind it.
func readStrictly(raw []byte, into any) error {
	if err := noneTwice(json.NewDecoder(bytes.NewReader(raw))); err != nil {
		return err
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.DisallowUnknownFields()
	if err := dec.Decode(into); err != nil {
		return err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return errors.New("something follows the value")
	}
	return nil
}

// noneTwice passes one value and says which name stands twice in its object.
func noneTwice(dec *json.Decoder) error {
	start, err := dec.Token()
	if errors.Is(err, io.EOF) {
		return errors.New("it ends too early")
	}
	if err != nil {
		return err
	}
	open, nested := start.(json.Delim)
	if !nested {
		return nil
	}
	seen := map[string]bool{}
	for dec.More() {
		if open == '{' {
			token, err := dec.Token()
			if err != nil {
				return err
			}
			name := strings.ToLower(fmt.Sprint(token))
			if seen[name] {
				return fmt.Errorf("the name %q is there twice", name)
			}
			seen[name] = true
		}
		if err := noneTwice(dec); err != nil {
			return err
		}
	}
	_, err = dec.Token()
	return err
}
