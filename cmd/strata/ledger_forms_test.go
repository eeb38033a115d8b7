package main

import (
	"testing"

	"strata/core"
	"strata/fault"
)

func TestLegs_are_whole_minor_units(t *testing.T) {
	for text, want := range map[string]core.Leg{
		"1001:CNY:-1250":     {Account: 1001, Unit: "CNY", Amount: -1250},
		"1001:CNY:5:bonus":   {Account: 1001, Unit: "CNY", Amount: 5, Nature: "bonus"},
		"1001:POINT:5:a:b":   {Account: 1001, Unit: "POINT", Amount: 5, Nature: "a:b"},
		"1001::5":            {Account: 1001, Amount: 5}, // the ledger names the unit
		"1001:CNY:012":       {Account: 1001, Unit: "CNY", Amount: 12},
		"1:CNY:-99999999999": {Account: 1, Unit: "CNY", Amount: -99999999999},
	} {
		if got, err := parseLeg(text); err != nil || got != want {
			t.Errorf("%s: %+v %v", text, got, err)
		}
	}
	for _, text := range []string{"", "1001:CNY", "1001:CNY:", "1001:CNY:12.50", "1001:CNY:1e3", "1001:CNY:1_000", "1001:CNY:5 ", "1001:CNY: 5", "10 20:CNY:5",
		"1001x:CNY:5", "0x10:CNY:5", "x:CNY:5", "1001:CNY:٥", "1001:CNY:9223372036854775808"} {
		if got, err := parseLeg(text); !fault.Is(err, fault.Invalid) {
			t.Errorf("%q: %+v %v", text, got, err)
		}
	}
}

func TestReadStrictly(t *testing.T) {
	type form struct {
		ID   string
		Legs []struct{ Amount int }
	}
	var f form
	if err := readStrictly([]byte(` {"id":"a","legs":[{"amount":1},{"amount":2}]} `), &f); err != nil || f.ID != "a" || len(f.Legs) != 2 || f.Legs[1].Amount != 2 {
		t.Errorf("%+v %v", f, err)
	}
	for _, text := range []string{``, `{`, `{"id":"a","id":"b"}`, `{"id":"a","ID":"b"}`, `{"legs":[{"amount":1,"amount":2}]}`, `{"foo":1}`, `{} {}`, `{"id":"a"}x`, `[`, `{"id"`} {
		if err := readStrictly([]byte(text), &f); err == nil {
			t.Errorf("%s was read", text)
		}
	}
}
